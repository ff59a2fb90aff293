//! The members of the cluster in a scenario: it reads and writes changes such as `add n4, remove n2`, and
//! configurations such as `n1 n2 n3; learners n4`.
//!
//! This file must not know when a change is legal: the core decides that.

use super::targets::{nodes, show_nodes};
use super::{names, units};
use bytes::Bytes;
use raft_core::{Configuration, MembershipChange, MembershipStep, NodeId};
use std::collections::BTreeSet;
use std::fmt;

/// The effect of a step on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeatStep {
    /// A node that is not a member becomes a learner.
    Add,
    /// A learner becomes a voter.
    Promote,
    /// A voter becomes a learner.
    Demote,
    /// A member leaves.
    Remove,
}

const SEATS: [(SeatStep, &str); 4] = [
    (SeatStep::Add, "add"),
    (SeatStep::Promote, "promote"),
    (SeatStep::Demote, "demote"),
    (SeatStep::Remove, "remove"),
];

/// One step of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeatChange {
    pub seat: SeatStep,
    pub node: NodeId,
}

impl SeatChange {
    /// Whether a configuration has this step's result.
    fn is_in(self, configuration: &Configuration) -> bool {
        let (member, voter) =
            (configuration.members.contains_key(&self.node), configuration.voters.contains(&self.node));
        match self.seat {
            SeatStep::Add => member,
            SeatStep::Promote => voter,
            SeatStep::Demote => member && !voter,
            SeatStep::Remove => !member,
        }
    }
}

impl fmt::Display for SeatChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", names::name_of(&SEATS, self.seat), self.node)
    }
}

/// Reads `add n4, demote n1`. Each node occurs once, because a new learner has to catch up before its promotion.
pub(crate) fn change(text: &str, count: u64) -> Result<Vec<SeatChange>, String> {
    let mut steps: Vec<SeatChange> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (verb, node) =
            part.split_once(' ').ok_or_else(|| format!("expected a change such as \"add n4\", found `{part}`"))?;
        let seat = names::named(&SEATS, "change", verb)?;
        let node = units::node(node.trim(), count)?;
        if steps.iter().any(|step| step.node == node) {
            return Err(format!("{node} is named twice: what is added has to catch up before it is promoted"));
        }
        steps.push(SeatChange { seat, node });
    }
    Ok(steps)
}

/// Writes a change so that [`change`] reads the same.
pub(crate) fn show_change(steps: &[SeatChange]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A change in the form that the core takes.
pub(crate) fn membership_change(steps: &[SeatChange], force: bool) -> MembershipChange {
    let step = |&SeatChange { seat, node: id }: &SeatChange| match seat {
        SeatStep::Add => MembershipStep::AddLearner { id, context: Bytes::new() },
        SeatStep::Promote => MembershipStep::Promote { id },
        SeatStep::Demote => MembershipStep::Demote { id },
        SeatStep::Remove => MembershipStep::Remove { id },
    };
    MembershipChange { expected: None, steps: steps.iter().map(step).collect(), force }
}

/// Whether a decided configuration is the result of a change, or is about to end in it.
pub(crate) fn is_in_force(steps: &[SeatChange], decided: &Configuration) -> bool {
    let ended = decided.end();
    steps.iter().all(|step| step.is_in(&ended))
}

/// A configuration that is not joint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seats {
    pub voters: BTreeSet<NodeId>,
    pub learners: BTreeSet<NodeId>,
}

impl Seats {
    /// Whether a configuration is this one.
    pub fn are_of(&self, configuration: &Configuration) -> bool {
        let members = configuration.members.keys();
        !configuration.is_joint()
            && configuration.voters == self.voters
            && members.copied().collect::<BTreeSet<_>>() == &self.voters | &self.learners
    }
}

impl fmt::Display for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", show_nodes(&self.voters))?;
        if self.learners.is_empty() { Ok(()) } else { write!(f, "; learners {}", show_nodes(&self.learners)) }
    }
}

/// Reads `n1 n2 n3` or `n1 n2 n3; learners n4`.
pub(crate) fn seats(text: &str, count: u64) -> Result<Seats, String> {
    let (voters, learners) = match text.split_once(';') {
        None => (text, None),
        Some((voters, rest)) => {
            let learners = rest.trim().strip_prefix("learners ");
            let wrong = || format!("expected learners such as \"learners n4\", found `{}`", rest.trim());
            (voters, Some(learners.ok_or_else(wrong)?))
        }
    };
    let voters = nodes(voters, count)?;
    let learners = learners.map_or(Ok(BTreeSet::new()), |learners| nodes(learners, count))?;
    match voters.intersection(&learners).next() {
        Some(id) => Err(format!("{id} is both a voter and a learner")),
        None => Ok(Seats { voters, learners }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_configurations_are_read_and_written() {
        for text in ["add n4", "promote n4, remove n1", "demote n2"] {
            assert_eq!(change(text, 4).map(|steps| show_change(&steps)), Ok(text.to_owned()));
        }
        for text in ["n1 n2 n3", "n1; learners n2 n3"] {
            assert_eq!(seats(text, 3).map(|seats| seats.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(change("add n5", 4), Err("unknown node `n5`: this scenario has n1 to n4".into()));
        assert_eq!(change("ad n4", 4), Err("unknown change `ad`, did you mean `add`?".into()));
        assert_eq!(change("n4", 4), Err("expected a change such as \"add n4\", found `n4`".into()));
        assert!(change("add n4, promote n4", 4).is_err_and(|error| error.starts_with("n4 is named twice")));
        assert!(seats("n1; n2", 3).is_err() && seats("; learners n1", 3).is_err());
        assert_eq!(seats("n1; learners n1", 3), Err("n1 is both a voter and a learner".into()));
    }

    #[test]
    fn a_decided_joint_configuration_is_as_good_as_its_end() {
        let base = Configuration::of_voters([1, 2, 3].map(NodeId));
        let steps = change("remove n3", 3).expect("a change");
        let joint = base.begin(&membership_change(&steps, false)).expect("legal");
        assert!(joint.is_joint() && is_in_force(&steps, &joint) && is_in_force(&steps, &joint.end()));
        assert!(!is_in_force(&steps, &base));
        let two = seats("n1 n2", 3).expect("a configuration");
        assert!(two.are_of(&joint.end()) && !two.are_of(&joint) && !two.are_of(&base));
        let demotion = change("demote n3", 3).expect("a change");
        let with_learner = base.begin(&membership_change(&demotion, false)).expect("legal");
        assert!(seats("n1 n2; learners n3", 3).expect("a configuration").are_of(&with_learner.end()));
    }
}
