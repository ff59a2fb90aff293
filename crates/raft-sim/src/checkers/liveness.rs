//! Liveness: once no fault disturbs a majority any more, there is a leader, a new entry is committed, and the whole
//! majority catches up, within a budget of election timeouts. It is measured in every run that heals, and required
//! where the scenario requires it.
//!
//! It is the first to catch: elections without end, a leader that cannot commit, a follower that never catches up. It
//! is not a safety property: a failure here is an expectation that was not met.

use super::ghost::node::Seen;
use super::ghost::{Committed, Ghost};
use super::property::{End, Healed};
use crate::record::SimTime;
use crate::scenario::model::Scenario;
use raft_core::{Configuration, EntryId, NodeId, RoleKind, nanos};
use std::time::Duration;

/// How long the healing took, if it succeeded; the error is a sentence about a budget that was exceeded.
pub(super) fn check(ghost: &Ghost, scenario: &Scenario, end: &End<'_>) -> Result<Option<Duration>, String> {
    let Some(healed) = end.healed else {
        return match scenario.expect.heals_within {
            Some(_) => Err("liveness: healing was expected, but the run never healed".to_string()),
            None => Ok(None),
        };
    };
    // The first step since then in which a leader committed something, and the newest entry of it. That leader need not
    // be one of the healed nodes: partly isolated, it may still serve them all, and stickiness keeps them from
    // replacing it.
    let since = ghost.committed.partition_point(|entry| entry.at < healed.at);
    let fresh = ghost
        .committed
        .get(since)
        .and_then(|first| ghost.committed.iter().skip(since).take_while(|entry| entry.record == first.record).last());
    // Without clients nothing new need be committed: a leader that has committed an entry of its own term is enough.
    let has_clients = scenario.clients.count > 0;
    let reached = fresh.or_else(|| settled(ghost).filter(|_| !has_clients)).map(|entry| {
        let caught_up = owed(ghost, healed).map(|id| ghost.node(*id)?.applied_since(entry.id.index, entry.at));
        (entry, caught_up.collect::<Option<Vec<SimTime>>>())
    });
    let heal = match &reached {
        Some((_, Some(times))) => {
            times.iter().max().map(|last| Duration::from_nanos(last.0.saturating_sub(healed.at.0)))
        }
        _ => None,
    };
    let Some(timeouts) = scenario.expect.heals_within else { return Ok(heal) };
    let timeout = nanos(scenario.raft.election_timeout.end);
    let budget = Duration::from_nanos(timeout.saturating_mul(u64::from(timeouts)));
    let waited = Duration::from_nanos(end.at.0.saturating_sub(healed.at.0));
    let within = format!("within {timeouts} election timeouts ({budget:?}) after healing");
    let unaware = unaware(ghost, healed, SimTime(end.at.0.saturating_sub(nanos(budget))));
    if !unaware.is_empty() {
        return Err(format!("liveness: [{}] is removed and still runs, not {within}", unaware.join(" ")));
    }
    if heal.is_some_and(|heal| heal <= budget) {
        return Ok(heal);
    }
    Err(match (heal, reached) {
        (Some(heal), _) => format!("liveness: healing took {heal:?}, not {within}"),
        (None, None) if has_clients => {
            format!("liveness: no leader committed anything {within}; the run waited {waited:?}")
        }
        (None, None) => {
            format!(
                "liveness: no node leads and has committed an entry of its term {within}; the run waited {waited:?}"
            )
        }
        (None, Some((entry, _))) => {
            let behind: Vec<String> = owed(ghost, healed)
                .filter(|id| ghost.node(**id).and_then(|node| node.applied_since(entry.id.index, entry.at)).is_none())
                .map(ToString::to_string)
                .collect();
            let behind = behind.join(" ");
            format!("liveness: [{behind}] did not apply {} {within}; the run waited {waited:?}", entry.id)
        }
    })
}

/// The newest committed entry, if the leader that committed it still leads in the same term.
fn settled(ghost: &Ghost) -> Option<&Committed> {
    let newest = ghost.committed.last()?;
    let leads = |view: Seen| view.role == RoleKind::Leader && view.term == newest.in_term;
    ghost.nodes().iter().any(|node| node.up && node.view.is_some_and(leads)).then_some(newest)
}

/// The healed nodes that were removed before `since`, could ask enough healed voters that know it, and still run: a vote that
/// they ask for is refused, and the refusals say why.
fn unaware(ghost: &Ghost, healed: &Healed, since: SimTime) -> Vec<String> {
    let is_unaware = |id: &&NodeId| {
        let names = |(_, configuration): &&(EntryId, Configuration)| configuration.members.contains_key(*id);
        let removal = ghost.decided().iter().rev().take_while(|place| !names(place)).last();
        let known = removal.and_then(|(at, _)| ghost.committed_at(at.index)).filter(|entry| entry.at <= since);
        let node = ghost.node(**id).filter(|node| node.up && healed.at <= since);
        let (Some(known), Some(node)) = (known, node) else { return false };
        let runs = node.view.is_some_and(|view| view.role != RoleKind::Stopped);
        let Some(own) = node.configuration().filter(|_| runs) else { return false };
        let is_informed = |peer: NodeId| {
            let commit = ghost.node(peer).filter(|node| node.up).and_then(|node| node.view).map(|view| view.commit);
            healed.nodes.contains(&peer) && ghost.is_member(peer) && commit >= Some(known.id.index)
        };
        let mut others = own.clone();
        others.voters.remove(&node.id);
        others.outgoing.remove(&node.id);
        !others.has_quorum(|peer| !is_informed(peer))
    };
    healed.nodes.iter().filter(is_unaware).map(ToString::to_string).collect()
}

/// The healed nodes that are members at the end: a leader does not send to others.
fn owed<'a>(ghost: &'a Ghost, healed: &'a Healed) -> impl Iterator<Item = &'a NodeId> {
    healed.nodes.iter().filter(|id| ghost.is_member(**id))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::LogIndex;

    /// A commit by n1 at record `.1`, which n1 applies at once and n2 later.
    fn healing(budget: Option<u32>) -> (Script, Scenario, u64) {
        let mut script = Script::led();
        let committed = script.records.len() as u64;
        script.step(1, |view| view.applied = LogIndex(2));
        script.step(2, |view| (view.commit, view.applied) = (LogIndex(2), LogIndex(2)));
        let mut scenario = scenario();
        scenario.expect.heals_within = budget;
        (script, scenario, committed)
    }

    fn check_since(
        script: &Script,
        scenario: &Scenario,
        record: u64,
        nodes: &[u64],
    ) -> Result<Option<Duration>, String> {
        let healed = Healed { at: SimTime(record * 1_000_000), nodes: nodes.iter().map(|&id| NodeId(id)).collect() };
        let end = End { at: SimTime(1_000_000_000), history: &[], healed: Some(&healed) };
        check(&ghost_after(script), scenario, &end)
    }

    #[test]
    fn healing_is_measured_until_the_last_node_has_applied_a_fresh_commit() {
        let (script, scenario, committed) = healing(Some(1));
        assert_eq!(check_since(&script, &scenario, committed, &[1, 2]), Ok(Some(Duration::from_millis(2))));
        assert_eq!(check_since(&script, &scenario, committed - 3, &[1, 2]), Ok(Some(Duration::from_millis(5))));
    }

    #[test]
    fn no_fresh_commit_a_straggler_and_a_missed_budget_fail() {
        let (script, mut scenario, committed) = healing(Some(1));
        scenario.clients.count = 1;
        let failure = check_since(&script, &scenario, committed + 1, &[1, 2]).expect_err("nothing new was committed");
        assert!(failure.contains("no leader committed anything within 1 election timeouts"), "{failure}");
        let failure = check_since(&script, &scenario, committed, &[1, 2, 3]).expect_err("n3 has not caught up");
        assert!(failure.contains("[n3] did not apply 2@2"), "{failure}");
        scenario.raft.election_timeout.end = Duration::from_millis(1);
        let failure = check_since(&script, &scenario, committed, &[1, 2]).expect_err("too slow");
        assert!(failure.contains("healing took 2ms"), "{failure}");
        let end = End { at: SimTime(1), history: &[], healed: None };
        assert!(check(&ghost_after(&script), &scenario, &end).is_err(), "never healed");
    }

    #[test]
    fn without_clients_a_leader_and_convergence_are_enough() {
        let (mut script, mut scenario, committed) = healing(Some(1));
        scenario.clients.count = 0;
        assert_eq!(check_since(&script, &scenario, committed + 3, &[1, 2]), Ok(Some(Duration::ZERO)));
        assert_eq!(check_since(&script, &scenario, committed + 1, &[1, 2]), Ok(Some(Duration::from_millis(1))));
        let failure = check_since(&script, &scenario, committed + 1, &[1, 2, 3]).expect_err("n3 has not caught up");
        assert!(failure.contains("[n3] did not apply 2@2"), "{failure}");
        script.step(1, |view| view.role = RoleKind::Follower);
        let failure = check_since(&script, &scenario, committed + 1, &[1, 2]).expect_err("no node leads");
        assert!(failure.contains("no node leads and has committed an entry of its term"), "{failure}");
    }

    #[test]
    fn without_a_demand_nothing_fails() {
        let (script, scenario, committed) = healing(None);
        assert_eq!(check_since(&script, &scenario, committed, &[1, 2, 3]), Ok(None));
        let end = End { at: SimTime(1), history: &[], healed: None };
        assert_eq!(check(&ghost_after(&script), &scenario, &end), Ok(None));
    }
}
