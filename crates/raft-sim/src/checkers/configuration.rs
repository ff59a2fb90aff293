//! The configuration in force is the newest in the log, committed or not (Raft §6), and any quorum of one shares a node
//! with any quorum of the next (Raft §6, Figure 10; Thesis §4.1).
//!
//! First to catch: a configuration that takes effect at its commit instead of its append, one that survives the
//! truncation of its entry, a report that names another. Until membership changes exist there is one configuration, and
//! this backs up `recovery` (a restart that does not find it).

use super::ghost::Ghost;
use super::{Fact, Property, Violation};
use crate::record::What;
use raft_core::{Configuration, EntryId, NodeId};
use std::collections::BTreeSet;

const NAME: &str = "configuration";

pub(super) struct ConfigurationInForce;

impl Property for ConfigurationInForce {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.node?;
        if let Some(view) = fact.record.view.as_ref().filter(|_| fact.change.settled_view)
            && view.configuration.as_ref() != node.configuration()
        {
            let print =
                |configuration: Option<&Configuration>| configuration.map_or("none".to_string(), ToString::to_string);
            let (claimed, held) = (print(view.configuration.as_ref()), print(node.configuration()));
            let message = format!("{} acts on configuration {claimed}; the newest in its log is {held}", node.id);
            return Some(fact.contradicts(NAME, node.asked, message));
        }
        match &fact.record.what {
            What::ConfigurationChanged { configuration, at, committed } => {
                let unknown_commit = *committed && ghost.committed_at(at.index).is_none_or(|entry| entry.id != *at);
                let held = node.configurations.iter().find(|(id, _)| id == at);
                let other = node.settled && held.is_none_or(|(_, held)| held != configuration);
                let message = if unknown_commit {
                    format!("{} reports the configuration of {at} as committed; no leader committed it", node.id)
                } else if other {
                    format!("{} reports configuration {configuration} of {at}, which is not in its log", node.id)
                } else {
                    return None;
                };
                Some(fact.contradicts(NAME, node.asked, message))
            }
            What::Asked { .. } if fact.change.edit.pushed > 0 => {
                let [.., (before, old), (at, new)] = node.configurations.as_slice() else { return None };
                let pushed_from = node.log.len() - fact.change.edit.pushed;
                let is_new = at.index.0 > pushed_from;
                if !is_new || quorums_intersect(old, new) { None } else { Some(apart(fact, before, at, old, new)) }
            }
            _ => None,
        }
    }
}

fn apart(fact: &Fact<'_>, before: &EntryId, at: &EntryId, old: &Configuration, new: &Configuration) -> Violation {
    let message = format!("{new} of {at} follows {old} of {before}: a quorum of each may share no node");
    fact.contradicts(NAME, fact.record.number, message)
}

/// Whether any quorum of `old` shares a node with any quorum of `new`: some half of each must be so close that its
/// majorities cannot miss each other.
fn quorums_intersect(old: &Configuration, new: &Configuration) -> bool {
    old.halves().any(|left| new.halves().any(|right| majorities_intersect(left, right)))
}

/// Two majorities can be disjoint iff the voters of both sets suffice to fill both.
fn majorities_intersect(left: &BTreeSet<NodeId>, right: &BTreeSet<NodeId>) -> bool {
    let all = left.union(right).count();
    left.len() / 2 + 1 + right.len() / 2 + 1 > all
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Entry, Payload};

    fn of(ids: &[u64]) -> Configuration {
        Configuration::of_voters(ids.iter().map(|&id| NodeId(id)))
    }

    #[test]
    fn a_view_with_another_configuration_fires() {
        let mut script = Script::led();
        script.step(2, |view| (view.configuration, view.term) = (Some(of(&[1, 2])), raft_core::Term(3)));
        assert_fires(ConfigurationInForce, NAME, &script, "n2 acts on configuration {n1 n2}; the newest in its log is");
    }

    #[test]
    fn a_report_of_another_configuration_or_commit_fires() {
        let mut script = Script::started();
        let (configuration, at) = (of(&[1, 2]), EntryId::new(1, 1));
        script.push(Some(1), What::ConfigurationChanged { configuration, at, committed: false });
        assert_fires(ConfigurationInForce, NAME, &script, "which is not in its log");
        let mut script = Script::started();
        let configuration = of(&[1, 2, 3]);
        script.push(Some(1), What::ConfigurationChanged { configuration, at, committed: true });
        assert_fires(ConfigurationInForce, NAME, &script, "no leader committed it");
    }

    #[test]
    fn a_change_without_common_quorums_fires() {
        let mut script = Script::led();
        let entry = Entry { id: EntryId::new(3, 2), payload: Payload::Configuration(of(&[3, 4, 5])) };
        script.ask(1, None, None, vec![entry]);
        assert_fires(ConfigurationInForce, NAME, &script, "may share no node");
        assert!(majorities_intersect(&of(&[1, 2, 3]).voters, &of(&[1, 2, 3, 4]).voters));
        assert!(!majorities_intersect(&of(&[1, 2, 3]).voters, &of(&[1, 2, 3, 4, 5]).voters));
    }

    #[test]
    fn one_configuration_and_a_joint_one_after_it_are_silent() {
        let mut script = Script::legal();
        let (configuration, at) = (of(&[1, 2, 3]), EntryId::new(1, 1));
        script.push(Some(2), What::ConfigurationChanged { configuration, at, committed: true });
        let mut joint = of(&[3, 4, 5]);
        joint.outgoing = of(&[1, 2, 3]).voters;
        let entry = Entry { id: EntryId::new(4, 3), payload: Payload::Configuration(joint) };
        script.ask(2, None, None, vec![entry]);
        assert_silent(ConfigurationInForce, &script);
    }
}
