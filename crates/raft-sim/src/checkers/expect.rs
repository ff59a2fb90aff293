//! The expectations of a scenario beyond the properties, checked at one time. Each expectation that does not hold is a
//! sentence with the numbers.
//!
//! A node that is down counts with the log and the term on its disk, and not at all for the rest.

mod beliefs;

use super::ghost::Ghost;
use super::ghost::node::{Node, Seen};
use crate::record::{InFlight, Quotas, SimTime};
use crate::scenario::changes::Seats;
use crate::scenario::model::Expectations;
use raft_core::{LogIndex, NodeId, RoleKind, Term, nanos};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The expectations that do not hold now. `sometimes` and `heals_within` concern whole runs and are not checked here.
/// `reached` counts each mark so far.
pub(super) fn failures(
    ghost: &Ghost,
    expectations: &Expectations,
    reached: &BTreeMap<&'static str, u64>,
    at: SimTime,
) -> Vec<String> {
    let mut failures: Vec<String> = Vec::new();
    let leaders = leaders(ghost);
    if let Some(expected) = &expectations.leader {
        failures.extend(leader(&leaders, expected));
    }
    if let Some((id, term)) = leaders.last().filter(|_| expectations.no_leader) {
        failures.push(format!("expected no leader; {id} leads term {term}"));
    }
    if expectations.converged {
        failures.extend(converged(ghost));
    }
    if let Some(index) = expectations.committed {
        failures.extend(
            members(ghost).filter(|(_, view)| view.commit < index).map(|(node, view)| {
                format!("expected commit index {index} everywhere; {} has {}", node.id, view.commit)
            }),
        );
    }
    if let Some(seats) = &expectations.configuration {
        failures.extend(configuration(ghost, seats));
    }
    for (id, terms) in &expectations.logs {
        failures.extend(log(ghost, *id, terms));
    }
    for (id, index) in &expectations.snapshot {
        failures.extend(snapshot(ghost, *id, *index));
    }
    if expectations.idle {
        failures.extend(busy(ghost));
    }
    if let Some(least) = expectations.min_term.filter(|least| ghost.highest_term < *least) {
        failures.push(format!("expected a term of at least {least}; the highest is {}", ghost.highest_term));
    }
    if let Some(most) = expectations.max_term.filter(|most| ghost.highest_term > *most) {
        failures.push(format!("expected no term above {most}; the highest is {}", ghost.highest_term));
    }
    failures.extend(expectations.committed_within.and_then(|span| fresh_commit(ghost, at, span)));
    failures.extend(expectations.stalled_for.and_then(|span| stall(ghost, at, span)));
    for (id, (index, term)) in &expectations.last {
        failures.extend(last(ghost, *id, *index, *term));
    }
    failures.extend(expectations.never.iter().filter_map(|mark| never(mark, reached)));
    failures.extend(expectations.down.as_ref().and_then(|down| beliefs::down(ghost, down)));
    failures.extend(expectations.beliefs().flat_map(|(id, belief)| beliefs::wrong(ghost, id, belief)));
    let (ms, ns) = (at.0 / 1_000_000, at.0 % 1_000_000);
    failures.iter().map(|failure| format!("at {ms}.{ns:06} ms: {failure}")).collect()
}

fn never(mark: &str, reached: &BTreeMap<&'static str, u64>) -> Option<String> {
    let count = reached.get(mark).filter(|count| **count > 0)?;
    Some(format!("expected no `{mark}`; it happened {count} times"))
}

fn up(ghost: &Ghost) -> impl Iterator<Item = (&Node, &Seen)> {
    ghost.nodes().iter().filter(|node| node.up).filter_map(|node| Some((node, node.view.as_ref()?)))
}

/// The nodes that are members of the decided configuration: the expectations concern no others.
fn members(ghost: &Ghost) -> impl Iterator<Item = (&Node, &Seen)> {
    up(ghost).filter(|(node, _)| ghost.is_member(node.id))
}

/// The leaders, by term. If there are two, the first has been replaced and does not know it yet.
fn leaders(ghost: &Ghost) -> Vec<(NodeId, Term)> {
    let mut leaders: Vec<_> =
        up(ghost).filter(|(_, view)| view.role == RoleKind::Leader).map(|(node, view)| (node.id, view.term)).collect();
    leaders.sort_by_key(|(_, term)| *term);
    leaders
}

fn leader(leaders: &[(NodeId, Term)], expected: &BTreeSet<NodeId>) -> Option<String> {
    let any = expected.is_empty();
    let names: Vec<String> = expected.iter().map(ToString::to_string).collect();
    let wanted = if any { "a leader".to_string() } else { format!("leader {}", names.join(" or ")) };
    match leaders.last() {
        None => Some(format!("expected {wanted}; no node leads")),
        Some((id, _)) if any || expected.contains(id) => None,
        Some((id, term)) => Some(format!("expected {wanted}; {id} leads term {term}")),
    }
}

fn converged(ghost: &Ghost) -> Vec<String> {
    let Some((first, _)) = members(ghost).max_by_key(|(node, _)| node.log.last_id()) else {
        return vec!["expected convergence; no node is up".to_string()];
    };
    let last = first.log.last_id();
    let lagging = members(ghost).filter_map(|(node, view)| {
        let ours = node.log.last_id();
        if node.log.chain() != first.log.chain() {
            Some(format!("expected the same logs; {} ends in {last}, {} in {ours}", first.id, node.id))
        } else if view.applied != ours.index {
            Some(format!("expected all applied; {} has applied {} of {}", node.id, view.applied, ours.index))
        } else {
            None
        }
    });
    lagging.collect()
}

fn configuration(ghost: &Ghost, seats: &Seats) -> Option<String> {
    match ghost.decided().last() {
        Some((_, decided)) if seats.are_of(decided) => None,
        Some((at, decided)) => Some(format!("expected configuration {{{seats}}}; {decided} of {at} is decided")),
        None => Some(format!("expected configuration {{{seats}}}; none is decided")),
    }
}

fn log(ghost: &Ghost, id: NodeId, expected: &[Term]) -> Option<String> {
    let Some(node) = ghost.node(id) else { return Some(format!("expected a log of {id}; there is no such node")) };
    let log = if node.up { &node.log } else { &node.durable.log };
    let held: Vec<Term> = log.terms().take(expected.len()).collect();
    if held == expected {
        return None;
    }
    let differs = held.iter().zip(expected).take_while(|(held, expected)| held == expected).count();
    let index = LogIndex(differs as u64 + 1);
    let held = held.get(differs).map_or("nothing".to_string(), |term| format!("term {term}"));
    let expected = expected.get(differs).map_or(Term(0), |term| *term);
    Some(format!("expected an entry of term {expected} at {index} on {id}, found {held}"))
}

/// Whether some leader has committed an entry during the last `span`.
fn fresh_commit(ghost: &Ghost, at: SimTime, span: Duration) -> Option<String> {
    let newest = ghost.committed.last();
    if newest.is_some_and(|entry| entry.at.0 >= at.0.saturating_sub(nanos(span))) {
        return None;
    }
    let newest = newest.map_or_else(
        || "nothing was ever committed".to_string(),
        |entry| format!("the newest, {}, is {:?} old", entry.id, at.since(entry.at)),
    );
    Some(format!("expected a commit within the last {span:?}; {newest}"))
}

/// Whether no leader has: a scenario that shows the effect of a missing rule expects a stall.
fn stall(ghost: &Ghost, at: SimTime, span: Duration) -> Option<String> {
    if at.0 < nanos(span) {
        return Some(format!("expected no commit for {span:?}; the run is not that old"));
    }
    let newest = ghost.committed.last().filter(|entry| entry.at.0 > at.0.saturating_sub(nanos(span)))?;
    let (id, by, ago) = (newest.id, newest.by, at.since(newest.at));
    Some(format!("expected no commit for {span:?}; {by} committed {id} {ago:?} ago"))
}

fn last(ghost: &Ghost, id: NodeId, index: LogIndex, term: Option<Term>) -> Option<String> {
    let Some(node) = ghost.node(id) else { return Some(format!("expected a log of {id}; there is no such node")) };
    let held = if node.up { node.log.last_id() } else { node.durable.log.last_id() };
    let fits = held.index == index && term.is_none_or(|term| held.term == term);
    let wanted = term.map_or_else(|| index.to_string(), |term| format!("{index}@{term}"));
    (!fits).then(|| format!("expected the log of {id} to end at {wanted}, found {held}"))
}

fn snapshot(ghost: &Ghost, id: NodeId, index: LogIndex) -> Option<String> {
    let Some(node) = ghost.node(id) else { return Some(format!("expected a snapshot of {id}; there is no such node")) };
    let newest = node.snapshot.as_ref().map(|snapshot| snapshot.last).unwrap_or_default();
    let held = if node.up { newest } else { node.durable.snapshot_id() };
    (held.index < index).then(|| format!("expected a snapshot of {id} up to {index}; its newest is of {held}"))
}

/// The appends and snapshots that the leader still has in flight.
fn busy(ghost: &Ghost) -> Option<String> {
    let (id, _) = leaders(ghost).last().copied()?;
    let InFlight { messages, bytes, snapshots } = ghost.node(id)?.in_flight;
    if (messages, bytes, snapshots) != (0, 0, 0) {
        return Some(format!(
            "expected nothing in flight; {id} has {messages} appends of {bytes} bytes and {snapshots} snapshots"
        ));
    }
    let waits = |node: &Node| {
        let Quotas { uncommitted_bytes, unpersisted_bytes, applying_bytes, pending_reads, .. } = node.quotas;
        let words = format!(
            "expected nothing waiting; {} has {uncommitted_bytes} bytes not committed, {unpersisted_bytes} bytes not \
             persisted, {applying_bytes} bytes not applied and {pending_reads} reads",
            node.id
        );
        ((uncommitted_bytes, unpersisted_bytes, applying_bytes, pending_reads) != (0, 0, 0, 0)).then_some(words)
    };
    members(ghost).find_map(|(node, _)| waits(node))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;

    fn of(change: impl FnOnce(&mut Expectations)) -> Expectations {
        let mut expectations = Expectations::default();
        change(&mut expectations);
        expectations
    }

    fn assert_holds(script: &Script, expectations: &Expectations) {
        assert_eq!(failures(&ghost_after(script), expectations, &BTreeMap::new(), SimTime(1)), Vec::<String>::new());
    }

    fn assert_fails(script: &Script, expectations: &Expectations, words: &str) {
        let failures = failures(&ghost_after(script), expectations, &BTreeMap::new(), SimTime(1_500_000));
        assert!(failures.iter().any(|failure| failure.contains(words)), "{failures:?} do not say {words:?}");
        assert!(failures.iter().all(|failure| failure.starts_with("at 1.500000 ms: ")), "{failures:?}");
    }

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|&id| NodeId(id)).collect()
    }

    #[test]
    fn snapshots_and_what_is_on_its_way() {
        let mut script = Script::led();
        script.step(1, |view| view.in_flight = InFlight { messages: 2, bytes: 70, snapshots: 1 });
        assert_fails(&script, &of(|expect| expect.idle = true), "n1 has 2 appends of 70 bytes and 1 snapshots");
        script.step(1, |view| view.in_flight = InFlight::default());
        assert_holds(&script, &of(|expect| expect.idle = true));
        script.step(2, |view| view.quotas.unpersisted_bytes = 24);
        assert_fails(&script, &of(|expect| expect.idle = true), "n2 has 0 bytes not committed, 24 bytes not persisted");
        script.step(2, |view| view.quotas.unpersisted_bytes = 0);
        let covers = |index| of(|expect| expect.snapshot = [(NodeId(1), LogIndex(index))].into());
        assert_fails(&script, &covers(2), "expected a snapshot of n1 up to 2; its newest is of 0@0");
        script.save(1, &meta(2, 2));
        script.ask_snapshot(1, meta(2, 2), raft_core::InstallMode::Keep);
        script.sync(1);
        assert_holds(&script, &covers(2));
        assert_fails(&script, &covers(3), "its newest is of 2@2");
    }

    #[test]
    fn leaders() {
        let (none, one) = (Script::started(), Script::led());
        assert_holds(&one, &of(|expect| expect.leader = Some(ids(&[]))));
        assert_holds(&one, &of(|expect| expect.leader = Some(ids(&[1, 2]))));
        assert_fails(
            &one,
            &of(|expect| expect.leader = Some(ids(&[2, 3]))),
            "expected leader n2 or n3; n1 leads term 2",
        );
        assert_fails(&none, &of(|expect| expect.leader = Some(ids(&[]))), "expected a leader; no node leads");
        assert_holds(&none, &of(|expect| expect.no_leader = true));
        assert_fails(&one, &of(|expect| expect.no_leader = true), "expected no leader; n1 leads term 2");
        let newest = Script::legal();
        assert_holds(&newest, &of(|expect| expect.leader = Some(ids(&[2]))));
    }

    #[test]
    fn convergence_and_commits() {
        let mut script = Script::led();
        let expect = of(|expect| (expect.converged, expect.committed) = (true, Some(LogIndex(2))));
        assert_fails(&script, &expect, "n2 ends in 2@2, n3 in 1@1");
        assert_fails(&script, &expect, "expected all applied; n1 has applied 0 of 2");
        assert_fails(&script, &expect, "expected commit index 2 everywhere; n2 has 0");
        for node in [1, 2] {
            script.step(node, |view| (view.commit, view.applied) = (LogIndex(2), LogIndex(2)));
        }
        script.crash(3, crate::record::CrashKind::Kill);
        assert_holds(&script, &expect);
        script.crash(1, crate::record::CrashKind::Kill);
        script.crash(2, crate::record::CrashKind::Kill);
        assert_fails(&script, &expect, "no node is up");
    }

    #[test]
    fn progress_and_stalls() {
        let script = Script::led();
        let committed = ghost_after(&script).committed.last().expect("a commit").at;
        let ms = Duration::from_millis;
        let checked = |after: Duration, expect: &Expectations| {
            failures(&ghost_after(&script), expect, &BTreeMap::new(), committed.after(after)).join("; ")
        };
        let fresh = of(|expect| expect.committed_within = Some(ms(5)));
        let stalled = of(|expect| expect.stalled_for = Some(ms(5)));
        assert_eq!((checked(ms(5), &fresh), checked(ms(5), &stalled)), (String::new(), String::new()));
        let (old, young) = (checked(ms(6), &fresh), checked(ms(4), &stalled));
        assert!(old.contains("expected a commit within the last 5ms; the newest, 2@2, is 6ms old"), "{old}");
        assert!(young.contains("expected no commit for 5ms; n1 committed 2@2 4ms ago"), "{young}");
        let none = Script::started();
        assert_fails(&none, &fresh, "nothing was ever committed");
        assert_fails(&none, &stalled, "the run is not that old");
    }

    #[test]
    fn where_logs_end() {
        let mut script = Script::led();
        let last = |id: u64, index: u64, term: Option<u64>| {
            of(|expect| expect.last = [(NodeId(id), (LogIndex(index), term.map(Term)))].into())
        };
        assert_holds(&script, &last(1, 2, Some(2)));
        assert_holds(&script, &last(3, 1, None));
        assert_fails(&script, &last(3, 2, None), "expected the log of n3 to end at 2, found 1@1");
        assert_fails(&script, &last(1, 2, Some(1)), "expected the log of n1 to end at 2@1, found 2@2");
        assert_fails(&script, &last(9, 1, None), "there is no such node");
        script.ask(2, None, None, vec![noop(3, 2)]);
        assert_holds(&script, &last(2, 3, Some(2)));
        script.crash(2, crate::record::CrashKind::PowerLoss);
        assert_fails(&script, &last(2, 3, Some(2)), "to end at 3@2");
    }

    #[test]
    fn logs_and_terms() {
        let mut script = Script::led();
        let logs = |id: u64, terms: &[u64]| {
            let terms = terms.iter().map(|&term| Term(term)).collect();
            of(|expect| expect.logs = [(NodeId(id), terms)].into())
        };
        assert_holds(&script, &logs(1, &[1, 2]));
        assert_holds(&script, &logs(1, &[1]));
        assert_fails(&script, &logs(1, &[1, 1]), "expected an entry of term 1 at 2 on n1, found term 2");
        assert_fails(&script, &logs(3, &[1, 2]), "expected an entry of term 2 at 2 on n3, found nothing");
        assert_fails(&script, &logs(9, &[1]), "there is no such node");
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.crash(2, crate::record::CrashKind::PowerLoss);
        assert_fails(&script, &logs(2, &[1, 2, 2]), "found nothing");
        assert_holds(&script, &of(|expect| (expect.min_term, expect.max_term) = (Some(Term(2)), Some(Term(2)))));
        assert_fails(
            &script,
            &of(|expect| expect.min_term = Some(Term(3))),
            "expected a term of at least 3; the highest is 2",
        );
        assert_fails(&script, &of(|expect| expect.max_term = Some(Term(1))), "expected no term above 1");
    }
}
