//! Membership changes (Raft §6, Thesis §4): their steps, and the configurations that they lead to.
//!
//! Every change of voters goes through a joint configuration, even a change of one voter (rule R24). A change of
//! learners or contexts is a single entry, because it changes no quorum. Pure data: this file must not know time, roles
//! or logs.

use super::Configuration;
use crate::id::{LogIndex, NodeId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A membership change: all of its steps happen, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MembershipChange {
    /// The entry that must carry the configuration in force (compare and set); `None` accepts any configuration.
    pub expected: Option<LogIndex>,
    /// The steps, in order.
    pub steps: Vec<MembershipStep>,
    /// Begin it although no quorum of the configuration to come may answer (rule R49). The cluster then stalls until one
    /// does. Overrides no check that safety needs.
    #[cfg_attr(feature = "serde", serde(default))]
    pub force: bool,
}

/// A step of a change.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MembershipStep {
    /// A node that is not a member becomes a learner: it gets the log and does not count for quorums (Thesis §4.2.1).
    /// Never use the id of a node whose disk is gone: such a machine comes back under a new id. `context` is data of
    /// the host (addresses), opaque to the core.
    AddLearner { id: NodeId, context: Bytes },
    /// A learner becomes a voter, if it has caught up.
    Promote { id: NodeId },
    /// A voter becomes a learner.
    Demote { id: NodeId },
    /// A member leaves.
    Remove { id: NodeId },
    /// A member's context changes.
    SetContext { id: NodeId, context: Bytes },
}

/// Why a change is invalid.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum InvalidChange {
    /// There are no steps, or they change nothing.
    Nothing,
    /// The node to add is already a member.
    IsMember { id: NodeId },
    /// The node is no member.
    NoMember { id: NodeId },
    /// The node to promote is already a voter.
    IsVoter { id: NodeId },
    /// The node to demote is no voter.
    NoVoter { id: NodeId },
    /// No voter would be left.
    NoVotersLeft,
}

impl Configuration {
    /// The configuration that begins this change: a joint one if it changes who votes. `self` is not joint.
    ///
    /// # Errors
    /// The first step that is invalid, or the invalid result.
    pub fn begin(&self, change: &MembershipChange) -> Result<Self, InvalidChange> {
        let mut next = self.clone();
        for step in &change.steps {
            next.apply(step)?;
        }
        if next.voters.is_empty() {
            return Err(InvalidChange::NoVotersLeft);
        }
        if next == *self {
            return Err(InvalidChange::Nothing);
        }
        if next.voters == self.voters {
            return Ok(next);
        }
        // The voters of the old half get appends until the new configuration is committed.
        let gone = |id: &NodeId| !next.members.contains_key(id);
        let leaving: BTreeSet<NodeId> = self.voters.iter().copied().filter(gone).collect();
        for (id, context) in &self.members {
            if leaving.contains(id) {
                next.members.insert(*id, context.clone());
            }
        }
        Ok(Self { outgoing: self.voters.clone(), leaving, ..next })
    }

    /// The configuration that ends a joint one (Raft §6: C_new).
    pub fn end(&self) -> Self {
        let mut members = self.members.clone();
        members.retain(|id, _| !self.leaving.contains(id));
        Self { voters: self.voters.clone(), outgoing: BTreeSet::new(), leaving: BTreeSet::new(), members }
    }

    fn apply(&mut self, step: &MembershipStep) -> Result<(), InvalidChange> {
        let member = |id: &NodeId| {
            if self.members.contains_key(id) { Ok(*id) } else { Err(InvalidChange::NoMember { id: *id }) }
        };
        match step {
            MembershipStep::AddLearner { id, context } => {
                if self.members.contains_key(id) {
                    return Err(InvalidChange::IsMember { id: *id });
                }
                self.members.insert(*id, context.clone());
            }
            MembershipStep::Promote { id } => {
                let id = member(id)?;
                if !self.voters.insert(id) {
                    return Err(InvalidChange::IsVoter { id });
                }
            }
            MembershipStep::Demote { id } => {
                let id = member(id)?;
                if !self.voters.remove(&id) {
                    return Err(InvalidChange::NoVoter { id });
                }
            }
            MembershipStep::Remove { id } => {
                let id = member(id)?;
                self.voters.remove(&id);
                self.members.remove(&id);
            }
            MembershipStep::SetContext { id, context } => {
                let id = member(id)?;
                self.members.insert(id, context.clone());
            }
        }
        Ok(())
    }
}

impl fmt::Display for InvalidChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "it changes nothing"),
            Self::IsMember { id } => write!(f, "{id} is already a member"),
            Self::NoMember { id } => write!(f, "{id} is no member"),
            Self::IsVoter { id } => write!(f, "{id} is already a voter"),
            Self::NoVoter { id } => write!(f, "{id} is no voter"),
            Self::NoVotersLeft => write!(f, "no voter would be left"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MembershipStep::{AddLearner, Demote, Promote, Remove, SetContext};
    use alloc::format;
    use alloc::vec;
    use proptest::prelude::*;

    fn change(steps: Vec<MembershipStep>) -> MembershipChange {
        MembershipChange { steps, ..Default::default() }
    }

    fn add(id: u64) -> MembershipStep {
        AddLearner { id: NodeId(id), context: Bytes::from_static(b"x") }
    }

    #[test]
    fn what_changes_make_of_three_voters_and_a_learner() {
        let base = Configuration::of_voters((1..=3).map(NodeId)).begin(&change(vec![add(4)])).expect("a learner");
        assert_eq!(format!("{base}"), "{n1 n2 n3; learners n4}");
        let id = NodeId;
        let table = [
            (vec![Promote { id: id(4) }], "{n1 n2 n3 -> n1 n2 n3 n4}", "{n1 n2 n3 n4}"),
            (vec![Demote { id: id(1) }], "{n1 n2 n3 -> n2 n3; learners n4}", "{n2 n3; learners n1 n4}"),
            (vec![Remove { id: id(1) }], "{n1 n2 n3 -> n2 n3; learners n4}", "{n2 n3; learners n4}"),
            (vec![Promote { id: id(4) }, Remove { id: id(2) }], "{n1 n2 n3 -> n1 n3 n4}", "{n1 n3 n4}"),
            (vec![Remove { id: id(4) }], "{n1 n2 n3}", "{n1 n2 n3}"),
            (
                vec![SetContext { id: id(4), context: Bytes::new() }],
                "{n1 n2 n3; learners n4}",
                "{n1 n2 n3; learners n4}",
            ),
            (vec![add(5)], "{n1 n2 n3; learners n4 n5}", "{n1 n2 n3; learners n4 n5}"),
        ];
        for (steps, begins, ends) in table {
            let next = base.begin(&change(steps.clone())).expect("a legal change");
            assert!(next.is_valid(), "{steps:?}");
            assert_eq!((format!("{next}"), format!("{}", next.end())), (begins.into(), ends.into()), "{steps:?}");
        }
    }

    #[test]
    fn a_member_that_leaves_is_reached_until_it_has_left() {
        let mut base = Configuration::of_voters([NodeId(1), NodeId(2)]);
        base.members.insert(NodeId(2), Bytes::from_static(b"address"));
        let joint = base.begin(&change(vec![Remove { id: NodeId(2) }])).expect("legal");
        assert_eq!(joint.members[&NodeId(2)], Bytes::from_static(b"address"));
        assert!(!joint.end().members.contains_key(&NodeId(2)));
    }

    #[test]
    fn invalid_changes_are_refused() {
        let base = Configuration::of_voters([NodeId(1)]).begin(&change(vec![add(2)])).expect("a learner");
        let (one, two, nine) = (NodeId(1), NodeId(2), NodeId(9));
        let table = [
            (vec![], InvalidChange::Nothing),
            (vec![Promote { id: two }, Demote { id: two }], InvalidChange::Nothing),
            (vec![add(2)], InvalidChange::IsMember { id: two }),
            (vec![Remove { id: nine }], InvalidChange::NoMember { id: nine }),
            (vec![Promote { id: nine }], InvalidChange::NoMember { id: nine }),
            (vec![Promote { id: one }], InvalidChange::IsVoter { id: one }),
            (vec![Demote { id: two }], InvalidChange::NoVoter { id: two }),
            (vec![Remove { id: one }], InvalidChange::NoVotersLeft),
        ];
        for (steps, reason) in table {
            assert!(format!("{reason}").len() > 10, "in words");
            assert_eq!(base.begin(&change(steps.clone())), Err(reason), "{steps:?}");
        }
    }

    fn any_step() -> impl Strategy<Value = MembershipStep> {
        let context = Bytes::from_static(b"c");
        (0..5_u8, (1..6_u64).prop_map(NodeId)).prop_map(move |(kind, id)| match kind {
            0 => AddLearner { id, context: context.clone() },
            1 => Promote { id },
            2 => Demote { id },
            3 => Remove { id },
            _ => SetContext { id, context: context.clone() },
        })
    }

    proptest! {
        /// All results are valid, and quorums of a configuration and its successor share a node.
        #[test]
        fn quorums_of_successive_configurations_intersect(
            changes in proptest::collection::vec(proptest::collection::vec(any_step(), 1..4), 1..12),
        ) {
            let mut present = Configuration::of_voters((1..=3).map(NodeId));
            for steps in changes {
                let Ok(begun) = present.begin(&change(steps)) else { continue };
                let ended = if begun.is_joint() { begun.end() } else { begun.clone() };
                for (before, after) in [(&present, &begun), (&begun, &ended)] {
                    prop_assert!(after.is_valid(), "{before} to {after}");
                    for agreed in 0..64_u64 {
                        let agrees = |id: NodeId| agreed & 1 << id.0 != 0;
                        let both = before.has_quorum(agrees) && after.has_quorum(|id| !agrees(id));
                        prop_assert!(!both, "{before} and {after} can decide without each other");
                    }
                }
                present = ended;
            }
        }
    }
}
