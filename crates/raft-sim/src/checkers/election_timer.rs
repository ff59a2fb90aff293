//! A node that follows or campaigns has a timer: without a leader it campaigns, or asks whether it is still a member (rule R50).
//! Only a node whose disk has writes in flight may wait for those instead, and a node that no configuration of its log names waits
//! until it is added.
//!
//! First to catch: a removed node that nobody sends to and that runs on for good. It backs up no other checker: no entry and no
//! answer is wrong.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{Record, RecordKind};
use raft_core::{LogIndex, NodeId, RoleKind, WriteId};
use std::collections::BTreeMap;

const NAME: &str = "election_timer";

#[derive(Clone, Default)]
pub(super) struct ElectionTimer {
    processes: BTreeMap<NodeId, Process>,
}

#[derive(Clone, Copy, Default)]
struct Process {
    asked: WriteId,
    persisted: WriteId,
    /// The newest call.
    call: u64,
    /// Its first record and the commit index after it, if the node has no timer then and is neither leader nor stopped.
    without: Option<(u64, LogIndex)>,
}

impl Process {
    fn begin_call(&mut self, record: &Record) {
        self.call = record.call;
        let waits = |role| matches!(role, RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate);
        let view = record.view.as_ref().filter(|view| waits(view.role) && !view.internals.0.has_timer);
        self.without = view.map(|view| (record.number, view.commit));
    }

    /// The violation of the newest call, all of whose records are known.
    fn check_call(&self, ghost: &Ghost, node: NodeId) -> Option<Violation> {
        let (record, commit) = self.without.filter(|_| self.asked == self.persisted)?;
        let configurations = &ghost.node(node)?.configurations;
        let in_force = configurations.partition_point(|(at, _)| at.index <= commit).saturating_sub(1);
        let naming = configurations.iter().skip(in_force).find(|(_, it)| it.members.contains_key(&node));
        let (at, configuration) = naming?;
        let message =
            format!("{node} is named by {configuration} of {at}, does not lead, waits for no write, and has no timer");
        Some(Violation { property: NAME, message, facts: vec![record] })
    }
}

impl Property for ElectionTimer {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        if let RecordKind::Started { .. } | RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. } = record.kind
        {
            self.processes.remove(&node);
            return None;
        }
        if record.call == 0 {
            return None;
        }
        let process = self.processes.entry(node).or_default();
        if process.call != record.call {
            if let Some(violation) = process.check_call(ghost, node) {
                return Some(violation);
            }
            process.begin_call(record);
        }
        match &record.kind {
            RecordKind::Asked { write } => process.asked = write.id,
            RecordKind::Persisted { write, .. } => process.persisted = process.persisted.max(*write),
            _ => {}
        }
        None
    }

    fn finish(&mut self, ghost: &Ghost) -> Option<Violation> {
        self.processes.iter().find_map(|(node, process)| process.check_call(ghost, *node))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Configuration, Entry, EntryId, Payload};

    /// n2 has no timer any more, in this role.
    fn without_timer(role: RoleKind) -> Script {
        let mut script = Script::led();
        script.step(2, |view| {
            view.internals.0.has_timer = false;
            view.role = role;
        });
        script
    }

    #[test]
    fn a_member_without_a_timer_fires() {
        for role in [RoleKind::Follower, RoleKind::PreCandidate, RoleKind::Candidate] {
            assert_fires(ElectionTimer::default(), NAME, &without_timer(role), "n2 is named by {n1 n2 n3} of 1@1");
        }
    }

    #[test]
    fn a_leader_a_stopped_node_a_write_in_flight_and_a_node_that_is_out_are_silent() {
        for role in [RoleKind::Leader, RoleKind::Stopped] {
            assert_silent(ElectionTimer::default(), &without_timer(role));
        }
        let mut script = without_timer(RoleKind::Follower);
        script.ask(2, None, None, vec![noop(3, 2)]);
        assert_silent(ElectionTimer::default(), &script);
        let mut script = Script::led();
        let configuration = Payload::Configuration(Configuration::of_voters([1, 3].map(NodeId)));
        let entry = Entry { id: EntryId::new(3, 2), payload: configuration };
        script.follow(2, 1, 2, EntryId::new(2, 2), vec![entry]);
        script.step(2, |view| (view.commit, view.internals.0.has_timer) = (LogIndex(3), false));
        assert_silent(ElectionTimer::default(), &script);
    }
}
