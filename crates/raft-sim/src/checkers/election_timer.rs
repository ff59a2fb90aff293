//! A node that follows or campaigns has a timer: without a leader it campaigns, or asks whether it is still a member (rule R50).
//! Only a node whose disk has writes in flight may wait for those instead, and a node that no configuration of its log names waits
//! until it is added.
//!
//! First to catch: a removed node that nobody sends to and that runs on for good. It backs up no other checker: no entry and no
//! answer is wrong.

use super::calls::{PerCall, Process};
use super::ghost::Ghost;
use super::property::{Fact, Violation};
use crate::record::{Record, RecordKind};
use raft_core::{LogIndex, NodeId, RoleKind, WriteId};

const NAME: &str = "election_timer";

pub(super) type ElectionTimer = PerCall<Timer>;

#[derive(Clone, Copy, Default)]
pub(super) struct Timer {
    asked: WriteId,
    persisted: WriteId,
    /// The first record of the newest call and the commit index after it, if the node has no timer then and is neither leader
    /// nor stopped.
    without: Option<(u64, LogIndex)>,
}

impl Process for Timer {
    fn begin(&mut self, record: &Record) {
        let waits = |role| matches!(role, RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate);
        let view = record.view.as_ref().filter(|view| waits(view.role) && !view.internals.0.has_timer);
        self.without = view.map(|view| (record.number, view.commit));
    }

    fn observe(&mut self, _: NodeId, fact: &Fact<'_>) -> Option<Violation> {
        match &fact.record.kind {
            RecordKind::Asked { write } => self.asked = write.id,
            RecordKind::Persisted { write, .. } => self.persisted = self.persisted.max(*write),
            _ => {}
        }
        None
    }

    fn end(&self, ghost: &Ghost, node: NodeId) -> Option<Violation> {
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
