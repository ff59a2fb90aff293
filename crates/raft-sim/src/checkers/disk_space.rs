//! A leader that is notified that its disk is full transfers leadership to a voter with space, and a node without space takes none.
//!
//! The leader gets the notification about once a second while its disk is full. At the second one it must have begun a transfer, if
//! a voter has answered meanwhile that it holds the leader's whole log and has space. Time for another transfer is left.
//!
//! First to catch: a leader that refuses every write while a quorum has space. Nothing that Raft promises is broken, and reads are
//! served, so no other property sees it.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use super::write_stall::{SLOWEST_CLOCK, longest_timeout};
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{AppendEntriesResponse, AppendOutcome, Cause, Event, NodeId, RoleKind, Rpc};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "disk_space";

#[derive(Clone)]
pub(super) struct DiskSpace {
    /// The longest election timeout of any node.
    timeout: Duration,
    /// The processes whose disks are full, as their nodes know.
    full: BTreeMap<NodeId, Full>,
}

#[derive(Clone)]
struct Full {
    /// The record and the call of the first notification.
    notified: u64,
    call: u64,
    /// The voters that hold the whole log of this leader and have space, with their last answers.
    able: BTreeMap<NodeId, SimTime>,
    /// Since when such a voter is known and no transfer has begun, and how many notifications came since.
    waits: Option<(SimTime, u32)>,
}

impl DiskSpace {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { timeout: longest_timeout(scenario), full: BTreeMap::new() }
    }

    /// The node is notified again; it should have begun a transfer before.
    fn is_overdue(&mut self, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        let new = Full { notified: record.number, call: record.call, able: BTreeMap::new(), waits: None };
        let full = self.full.entry(node).or_insert(new);
        let view = record.view.as_ref().filter(|view| view.role == RoleKind::Leader);
        let voters = view.and_then(|view| Some(&view.configuration.as_ref()?.voters));
        let Some(voters) = voters.filter(|voters| voters.contains(&node)) else {
            full.stay();
            return None;
        };
        // Its clock may be fast: such an answer is recent on any clock.
        let recent = self.timeout / SLOWEST_CLOCK;
        full.able.retain(|peer, answered| voters.contains(peer) && record.at.since(*answered) <= recent);
        let Some((peer, _)) = full.able.first_key_value() else {
            full.waits = None;
            return None;
        };
        let (since, count) = full.waits.get_or_insert((record.at, 0));
        *count += 1;
        // A transfer that an operator has begun may be under way.
        if *count > 2 && record.at.since(*since) > self.timeout.saturating_mul(2 * SLOWEST_CLOCK) {
            let words = format!("{node} has no space since record {} and still leads, and {peer} could", full.notified);
            return Some(fact.contradicts(NAME, full.notified, words));
        }
        None
    }
}

impl Full {
    /// The node has begun a transfer, or does not lead.
    fn stay(&mut self) {
        self.able.clear();
        self.waits = None;
    }

    /// A leader gets an answer.
    fn answered(&mut self, fact: &Fact<'_>, from: NodeId, response: &AppendEntriesResponse) {
        let Some(view) = fact.record.view.as_ref().filter(|view| view.role == RoleKind::Leader) else { return };
        let is_all = response.outcome == AppendOutcome::Matched { index: view.last.index };
        if response.term != view.term || !is_all || response.no_space {
            self.able.remove(&from);
        } else {
            self.able.insert(from, fact.record.at);
        }
    }
}

impl Property for DiskSpace {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        match &record.kind {
            RecordKind::Started { .. } | RecordKind::Crashed { .. } | RecordKind::SpaceTold { is_low: false, .. } => {
                self.full.remove(&node);
            }
            RecordKind::SpaceTold { is_low: true, .. } => return self.is_overdue(fact),
            RecordKind::ClockJumped { .. } => self.full.get_mut(&node)?.stay(),
            RecordKind::Received { from, rpc: Rpc::AppendEntriesResponse(response) } => {
                self.full.get_mut(&node)?.answered(fact, *from, response);
            }
            RecordKind::Observed(Event::TransferBegun { .. }) => self.full.get_mut(&node)?.stay(),
            RecordKind::Observed(Event::BecameRole { role: RoleKind::Candidate, cause, .. }) => {
                let full = self.full.get(&node).filter(|full| full.call < record.call)?;
                if let Cause::TransferRequested { from } = cause {
                    let words = format!("{node} has no space, and takes leadership from {from}");
                    return Some(fact.contradicts(NAME, full.notified, words));
                }
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::Unhashed;
    use raft_core::Term;

    fn told(script: &mut Script, node: u64, is_low: bool) {
        script.push(Some(node), RecordKind::SpaceTold { is_low, task: Unhashed::default() });
    }

    fn answer(script: &mut Script, no_space: bool) {
        let Rpc::AppendEntriesResponse(response) = matched(2, 2) else { panic!("it is an answer") };
        let rpc = Rpc::AppendEntriesResponse(AppendEntriesResponse { no_space, ..response });
        script.push(Some(1), RecordKind::Received { from: NodeId(2), rpc });
    }

    /// n1 leads and is notified each second that its disk is full; n2 answers just before.
    fn full(seconds: u64, no_space: bool) -> Script {
        let mut script = Script::led();
        told(&mut script, 1, true);
        later(&mut script, seconds, no_space);
        script
    }

    fn later(script: &mut Script, seconds: u64, no_space: bool) {
        for _ in 0..seconds {
            let before = script.newest().at;
            answer(script, no_space);
            script.newest().at = before.after(Duration::from_secs(1));
            told(script, 1, true);
            script.newest().at = before.after(Duration::from_secs(1));
        }
    }

    #[test]
    fn a_leader_that_stays_on_a_full_disk_fires() {
        assert_silent(DiskSpace::new(&scenario()), &full(2, false));
        assert_fires(DiskSpace::new(&scenario()), NAME, &full(3, false), "still leads, and n2 could");
    }

    #[test]
    fn nobody_with_space_an_attempt_and_space_again_are_silent() {
        assert_silent(DiskSpace::new(&scenario()), &full(9, true));
        let mut script = full(2, false);
        script.push(Some(1), RecordKind::Observed(Event::TransferBegun { target: NodeId(2) }));
        later(&mut script, 2, false);
        assert_silent(DiskSpace::new(&scenario()), &script);
        let mut script = full(2, false);
        told(&mut script, 1, false);
        later(&mut script, 2, false);
        assert_silent(DiskSpace::new(&scenario()), &script);
    }

    #[test]
    fn a_node_without_space_that_takes_leadership_fires() {
        let takes = |is_low| {
            let mut script = Script::led();
            told(&mut script, 2, is_low);
            script.step(2, |_| {});
            let (role, cause) = (RoleKind::Candidate, Cause::TransferRequested { from: NodeId(1) });
            script.push(Some(2), RecordKind::Observed(Event::BecameRole { role, term: Term(3), cause }));
            script
        };
        assert_silent(DiskSpace::new(&scenario()), &takes(false));
        assert_fires(DiskSpace::new(&scenario()), NAME, &takes(true), "takes leadership from n1");
    }
}
