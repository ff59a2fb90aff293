//! The abstract state of a cluster: what two clusters have in common when a test of one tests the other too.
//!
//! Of each node it says the role, how its term and log relate to the leader's, and its work in progress: a write, a joint
//! configuration, a snapshot, a leadership transfer. It says nothing about identities, numbers and times, and nodes in equal
//! states count once. So a renamed cluster, a larger one, or one with a longer log, has the same state.
//!
//! The detail is a compromise. With the commit index, reads, and a count of equal nodes there were 18 500 states after 1.7 M
//! events of `swarm --profile all`, and the last half of the events brought a third of them: no run was like another. With
//! roles, terms of last entries, joint configurations and snapshots alone there were 230.

pub mod phases;
pub mod run;

use crate::record::{NodeView, Record, RecordKind};
use raft_core::{Configuration, EntryId, LogIndex, NodeId, RoleKind, Term};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The abstract state of a cluster, followed record by record.
#[derive(Clone, Debug, Default)]
pub struct AbstractState {
    nodes: BTreeMap<NodeId, Option<Node>>,
    call: u64,
    newest: u64,
}

/// The facts of a view that the abstract state needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    role: RoleKind,
    term: Term,
    last: EntryId,
    first: LogIndex,
    /// Facts that do not depend on other nodes, a bit each.
    own: u32,
}

impl AbstractState {
    /// Follows the next record; returns the state after it, if that state is another than before.
    pub fn observe(&mut self, record: &Record) -> Option<u64> {
        let id = record.node?;
        match (&record.view, &record.kind) {
            (None, RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. }) => {
                self.nodes.insert(id, None);
            }
            // All records of a call have the same view.
            (Some(view), _) if record.call == 0 || record.call != self.call => {
                self.call = record.call;
                let node = Some(Node::new(view));
                if self.nodes.insert(id, node) == Some(node) {
                    return None;
                }
            }
            _ => return None,
        }
        let state = self.fingerprint();
        (std::mem::replace(&mut self.newest, state) != state).then_some(state)
    }

    fn fingerprint(&self) -> u64 {
        let up = || self.nodes.values().flatten();
        let term = up().map(|node| node.term).max().unwrap_or_default();
        let leader = up().filter(|node| node.role == RoleKind::Leader).max_by_key(|node| node.term);
        let longest = up().map(|node| node.last).max_by_key(|last| (last.term, last.index));
        let reference = leader.map(|leader| leader.last).or(longest).unwrap_or_default();
        let mut nodes: Vec<u32> =
            self.nodes.values().map(|node| node.map_or(0, |node| 1 + node.relative(term, reference))).collect();
        // Neither names nor numbers of nodes matter.
        nodes.sort_unstable();
        nodes.dedup();
        nodes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, node| (hash ^ u64::from(*node)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

impl Node {
    fn new(view: &NodeView) -> Self {
        let facts = [
            view.quotas.unpersisted_bytes > 0,
            view.in_flight.snapshots > 0,
            view.internals.0.transfer_to.is_some(),
            view.configuration.as_ref().is_some_and(Configuration::is_joint),
        ];
        let own = facts.iter().fold(0, |bits, fact| bits << 1 | u32::from(*fact));
        Self { role: view.role, term: view.term, last: view.last, first: view.first, own }
    }

    /// The node's bits, relative to the highest term and to the leader's last entry, or the most up-to-date one.
    fn relative(self, term: Term, reference: EntryId) -> u32 {
        let log = match (self.last.term.cmp(&reference.term), self.last.index.cmp(&reference.index)) {
            (Ordering::Equal, Ordering::Equal) => 0,
            (Ordering::Less | Ordering::Equal, Ordering::Less) => 1,
            (Ordering::Less, _) => 2,
            (Ordering::Equal | Ordering::Greater, _) => 3,
        };
        let is_behind = u32::from(self.term < term);
        // The leader, or the most up-to-date node, has no entry before this one's log.
        let lacks_prefix = u32::from(self.first > reference.index.next());
        (((self.role as u32) << 2 | log) << 2 | is_behind << 1 | lacks_prefix) << 4 | self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;
    use crate::testing::swarm;

    #[test]
    fn a_swarm_reaches_few_states_again_and_again() {
        let (mut times, mut records) = (BTreeMap::new(), Vec::new());
        run(&swarm(5), 3, &mut records);
        let mut state = AbstractState::default();
        for record in &records {
            state.observe(record).into_iter().for_each(|state| *times.entry(state).or_insert(0) += 1);
        }
        let changes: u32 = times.values().sum();
        assert!(times.len() > 20 && changes > 3 * times.len() as u32, "{} states, {changes} changes", times.len());
    }

    #[test]
    fn names_and_numbers_of_nodes_do_not_matter() {
        let node = |role, last: u64, own| {
            let last = EntryId::new(last, 2);
            Some(Node { role, term: Term(2), last, first: LogIndex(1), own })
        };
        let state = |nodes: &[Option<Node>]| {
            let nodes = (1..).map(NodeId).zip(nodes.iter().copied()).collect();
            AbstractState { nodes, ..AbstractState::default() }.fingerprint()
        };
        let (leader, follower) = (node(RoleKind::Leader, 7, 0), node(RoleKind::Follower, 7, 0));
        assert_eq!(state(&[leader, follower, follower]), state(&[follower, leader]));
        let longer = [node(RoleKind::Leader, 9, 0), node(RoleKind::Follower, 9, 0)];
        assert_eq!(state(&[leader, follower]), state(&longer));
        let others =
            [None, node(RoleKind::Follower, 6, 0), node(RoleKind::Follower, 7, 1), node(RoleKind::Candidate, 7, 0)];
        for other in others {
            assert_ne!(state(&[leader, follower]), state(&[leader, other]), "{other:?}");
        }
    }
}
