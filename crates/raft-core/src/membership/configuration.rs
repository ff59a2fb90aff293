//! The members of the cluster, its voters, and their quorums (Raft §6, Thesis §4).
//!
//! Pure algebra: this file must not know time, roles or messages.

use crate::canonical::canonical;
use crate::id::NodeId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A configuration of the cluster. A joint configuration (Raft §6) has two halves and needs a quorum of each.
///
/// Invariant of an accepted configuration ([`is_valid`](Self::is_valid)): `voters` is not empty, and `members` names
/// every voter of both halves. A member that is a voter of neither half is a learner (Thesis §4.2.1, non-voting).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Configuration {
    /// The voters of the new half; if not joint, of the only half.
    pub voters: BTreeSet<NodeId>,
    /// The voters of the old half; empty unless joint.
    pub outgoing: BTreeSet<NodeId>,
    /// The voters of the old half that leave when the joint configuration ends; empty unless joint.
    pub leaving: BTreeSet<NodeId>,
    /// Every node that gets appends, with data of the host (addresses), opaque to the core.
    pub members: BTreeMap<NodeId, Bytes>,
}

impl Configuration {
    /// The configuration with these voters, without learners and contexts.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let voters: BTreeSet<NodeId> = voters.into_iter().collect();
        let members = voters.iter().map(|&id| (id, Bytes::new())).collect();
        Self { voters, outgoing: BTreeSet::new(), leaving: BTreeSet::new(), members }
    }

    /// Whether the configuration can be in force: there are voters, every voter is a member, and leaving nodes vote in
    /// the old half only.
    pub fn is_valid(&self) -> bool {
        !self.voters.is_empty()
            && self.halves().flatten().all(|id| self.members.contains_key(id))
            && self.leaving.iter().all(|id| self.outgoing.contains(id) && !self.voters.contains(id))
    }

    /// Whether it needs two quorums (Raft §6).
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `id` is a voter of either half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether `id` is the only voter.
    pub fn is_sole_voter(&self, id: NodeId) -> bool {
        !self.is_joint() && self.voters.len() == 1 && self.voters.contains(&id)
    }

    /// The voters, a set for each half that exists.
    pub fn halves(&self) -> impl Iterator<Item = &BTreeSet<NodeId>> {
        core::iter::once(&self.voters).chain(self.is_joint().then_some(&self.outgoing))
    }

    /// Whether the nodes for which `agrees` holds are a quorum of every half.
    pub fn has_quorum(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        !self.voters.is_empty()
            && self.halves().all(|half| half.iter().filter(|&&id| agrees(id)).count() >= quorum(half.len()))
    }

    /// The greatest value that a quorum of every half has reached: the commit rule's N (Raft §5.3), a read round, or
    /// the time of contact with a quorum. The default value if there are no voters.
    pub fn quorum_value<T: Ord + Default + Copy>(&self, value_of: impl Fn(NodeId) -> T) -> T {
        self.halves().map(|half| half_value(half, &value_of)).min().unwrap_or_default()
    }

    /// The size of the configuration in limits: 8 per name, and the contexts of the members.
    pub(crate) fn size(&self) -> u64 {
        let names = self.voters.len() + self.outgoing.len() + self.leaving.len() + self.members.len();
        self.members.values().fold(8 * names as u64, |sum, member| sum.saturating_add(member.len() as u64))
    }
}

/// The smallest number of nodes out of `voters` such that any two sets of that size share one.
pub(crate) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn half_value<T: Ord + Default + Copy>(half: &BTreeSet<NodeId>, value_of: &impl Fn(NodeId) -> T) -> T {
    let mut values: Vec<T> = half.iter().map(|&id| value_of(id)).collect();
    values.sort_unstable();
    // The value at this position and all above it belong to a quorum: values.len() - place = quorum(values.len()).
    values.len().checked_sub(quorum(values.len())).and_then(|place| values.get(place)).copied().unwrap_or_default()
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, ids: &mut dyn Iterator<Item = NodeId>| {
            for (place, id) in ids.enumerate() {
                write!(f, "{}{id}", if place == 0 { "" } else { " " })?;
            }
            Ok(())
        };
        write!(f, "{{")?;
        if self.is_joint() {
            list(f, &mut self.outgoing.iter().copied())?;
            write!(f, " -> ")?;
        }
        list(f, &mut self.voters.iter().copied())?;
        let mut learners = self.members.keys().copied().filter(|&id| !self.is_voter(id)).peekable();
        if learners.peek().is_some() {
            write!(f, "; learners ")?;
            list(f, &mut learners)?;
        }
        write!(f, "}}")
    }
}

canonical!(Configuration { voters, outgoing, leaving, members });

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().map(|&number| NodeId(number)).collect()
    }

    #[test]
    fn any_two_quorums_intersect() {
        for (voters, expected) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)] {
            assert_eq!(quorum(voters), expected, "{voters} voters");
            assert!(2 * quorum(voters) > voters);
        }
    }

    #[test]
    fn quorum_value_is_the_greatest_a_quorum_reached() {
        let table: &[(&[u64], u64)] = &[
            (&[5], 5),
            (&[5, 3], 3),
            (&[5, 3, 4], 4),
            (&[9, 0, 0], 0),
            (&[9, 9, 0, 0], 0),
            (&[9, 8, 7, 0], 7),
            (&[1, 2, 3, 4, 5], 3),
        ];
        for (matches, expected) in table {
            let configuration = Configuration::of_voters((1..=matches.len() as u64).map(NodeId));
            let value = configuration.quorum_value(|id| matches[id.0 as usize - 1]);
            assert_eq!(value, *expected, "{matches:?}");
        }
        assert_eq!(Configuration::default().quorum_value(|_| 7_u64), 0, "no voters, no quorum");
    }

    #[test]
    fn a_joint_configuration_needs_both_halves() {
        let mut joint = Configuration::of_voters((1..=5).map(NodeId));
        joint.voters = ids(&[3, 4, 5]);
        joint.outgoing = ids(&[1, 2, 3]);
        assert!(joint.is_valid() && joint.is_joint());
        assert!(!joint.has_quorum(|id| id.0 >= 3), "the old half is missing");
        assert!(!joint.has_quorum(|id| id.0 <= 3), "the new half is missing");
        assert!(joint.has_quorum(|id| [2, 3, 4].contains(&id.0)));
        assert_eq!(joint.quorum_value(|id| id.0), 2, "the old half has agreed on 2 only");
        assert_eq!(format!("{joint}"), "{n1 n2 n3 -> n3 n4 n5}");
    }

    #[test]
    fn validity_and_learners() {
        assert!(!Configuration::default().is_valid());
        assert!(!Configuration::default().has_quorum(|_| true), "no voters, no quorum");
        let mut learner = Configuration::of_voters([NodeId(1)]);
        learner.members.insert(NodeId(4), Bytes::new());
        assert!(learner.is_valid() && !learner.is_voter(NodeId(4)) && learner.is_sole_voter(NodeId(1)));
        assert_eq!(format!("{learner}"), "{n1; learners n4}");
        learner.voters.insert(NodeId(9));
        assert!(!learner.is_valid(), "a voter that is no member");
        let mut nobody = Configuration::of_voters([NodeId(1)]);
        nobody.voters.clear();
        assert!(!nobody.is_valid(), "members and no voter");
    }

    #[test]
    fn who_leaves_votes_in_the_old_half_only() {
        let leaving = |id: u64| {
            let mut joint = Configuration::of_voters((1..=3).map(NodeId));
            (joint.voters, joint.outgoing, joint.leaving) = (ids(&[2, 3]), ids(&[1, 2]), ids(&[id]));
            joint
        };
        assert!(leaving(1).is_valid());
        assert!(!leaving(2).is_valid(), "a voter of the new half");
        assert!(!leaving(9).is_valid(), "no voter at all");
        let mut alone = leaving(1);
        alone.voters = ids(&[2]);
        assert!(!alone.is_sole_voter(NodeId(2)), "the old half must agree too");
    }

    #[test]
    fn its_size_counts_every_name_and_what_the_host_stored() {
        let mut joint = Configuration::of_voters((1..=4).map(NodeId));
        (joint.outgoing, joint.leaving) = (ids(&[1, 2, 3]), ids(&[1, 2]));
        joint.members.insert(NodeId(4), Bytes::from_static(b"12345"));
        assert_eq!(joint.size(), 8 * (4 + 3 + 2 + 4) + 5);
    }
}
