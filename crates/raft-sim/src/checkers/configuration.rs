//! The configuration in force is the newest in the log, committed or not, and disappears with its entry (Raft §6). Any
//! quorum of one configuration shares a node with any quorum of the next (Raft §6, Figure 10; Thesis §4.1). Changes
//! happen one at a time. A joint configuration is followed by its end, once, and by nothing else, and voters change in
//! no other way. A leader begins no change before the last change and an entry of its own term are committed.
//!
//! It is the first to catch: a configuration that takes effect at its commit instead of its append, one that survives
//! the truncation of its entry, a report that names another configuration, a change that begins too early (the bug of
//! July 2015), a joint configuration that is skipped or left twice.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{Configuration, EntryId, NodeId, RoleKind};
use std::collections::BTreeSet;

const NAME: &str = "configuration";

#[derive(Clone)]
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
            let message =
                format!("{} acts on configuration {claimed}; expected {held}, the newest in its log", node.id);
            return Some(fact.contradicts(NAME, node.asked, message));
        }
        match &fact.record.kind {
            RecordKind::ConfigurationChanged { configuration, at, committed } => {
                reported(ghost, fact, node, configuration, *at, *committed)
            }
            RecordKind::Asked { .. } if fact.change.edit.pushed > 0 => {
                let message = appended(fact, node)?;
                Some(fact.contradicts(NAME, fact.record.number, message))
            }
            _ => None,
        }
    }
}

fn reported(
    ghost: &Ghost,
    fact: &Fact<'_>,
    node: &Node,
    configuration: &Configuration,
    at: EntryId,
    committed: bool,
) -> Option<Violation> {
    let unknown_commit = committed && ghost.committed_at(at.index).is_none_or(|entry| entry.id != at);
    let held = node.configurations.iter().find(|(id, _)| *id == at);
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

/// The problem of the configurations that this step added to the log, if there is one.
fn appended(fact: &Fact<'_>, node: &Node) -> Option<String> {
    let added = node.configurations_since(node.log.len() - fact.change.edit.pushed);
    added.windows(2).find_map(|pair| {
        let [(before, old), (at, new)] = pair else { return None };
        if !quorums_intersect(old, new) {
            return Some(format!("{new} of {at} follows {old} of {before}: a quorum of each may share no node"));
        }
        if !follows(old, new) {
            return Some(format!("{new} of {at} follows {old} of {before}: not by one change of one kind, Raft §6"));
        }
        too_early(fact, node, *before, *at)
    })
}

/// Whether a configuration may follow another: it ends a joint one, is a joint one with the other as its old half, or
/// has the same voters and other members.
fn follows(old: &Configuration, new: &Configuration) -> bool {
    if old.is_joint() {
        *new == old.end()
    } else if new.is_joint() {
        new.outgoing == old.voters
    } else {
        new.voters == old.voters && new != old
    }
}

/// Whether a leader began a change before the last one and an entry of its own term were committed (Thesis §4.1, and
/// Ongaro's correction of July 2015).
fn too_early(fact: &Fact<'_>, node: &Node, before: EntryId, at: EntryId) -> Option<String> {
    let view = fact.record.view.as_ref().filter(|view| view.role == RoleKind::Leader && view.term == at.term)?;
    let own_term = node.log.slot(view.commit).is_some_and(|slot| slot.id.term == view.term);
    let last_change = before.index <= view.commit;
    let lacks = match (last_change, own_term) {
        (true, true) => return None,
        (false, _) => format!("{before}, the last change, is committed"),
        (true, false) => format!("an entry of term {} is", view.term),
    };
    Some(format!("{} appends the configuration of {at} before {lacks}; its commit index is {}", node.id, view.commit))
}

/// Whether any quorum of `old` shares a node with any quorum of `new`: some half of each must be so similar that their
/// majorities intersect.
fn quorums_intersect(old: &Configuration, new: &Configuration) -> bool {
    old.halves().any(|left| new.halves().any(|right| majorities_intersect(left, right)))
}

/// Two majorities can be disjoint if and only if the voters of both sets together suffice for both.
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
        assert_fires(ConfigurationInForce, NAME, &script, "n2 acts on configuration {n1 n2}; expected");
    }

    #[test]
    fn a_report_of_another_configuration_or_commit_fires() {
        let mut script = Script::started();
        let (configuration, at) = (of(&[1, 2]), EntryId::new(1, 1));
        script.push(Some(1), RecordKind::ConfigurationChanged { configuration, at, committed: false });
        assert_fires(ConfigurationInForce, NAME, &script, "which is not in its log");
        let mut script = Script::started();
        let configuration = of(&[1, 2, 3]);
        script.push(Some(1), RecordKind::ConfigurationChanged { configuration, at, committed: true });
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

    fn joint(old: &[u64], new: &[u64]) -> Configuration {
        let mut joint = of(new);
        joint.outgoing = of(old).voters;
        joint.members = old.iter().chain(new).map(|&id| (NodeId(id), bytes::Bytes::new())).collect();
        joint.leaving = joint.outgoing.difference(&joint.voters).copied().collect();
        joint
    }

    fn entry(index: u64, term: u64, configuration: Configuration) -> Entry {
        Entry { id: EntryId::new(index, term), payload: Payload::Configuration(configuration) }
    }

    /// n1 appends a configuration in a separate step.
    fn append(script: &mut Script, index: u64, configuration: Configuration) {
        script.step(1, |view| {
            (view.last, view.configuration) = (EntryId::new(index, 2), Some(configuration.clone()));
        });
        script.ask(1, None, None, vec![entry(index, 2, configuration)]);
    }

    #[test]
    fn a_change_of_voters_that_is_not_joint_fires() {
        let mut script = Script::led();
        append(&mut script, 3, of(&[1, 2, 3, 4]));
        assert_fires(ConfigurationInForce, NAME, &script, "not by one change of one kind");
        let mut script = Script::led();
        append(&mut script, 3, joint(&[1, 2], &[1, 2, 3, 4]));
        assert_fires(ConfigurationInForce, NAME, &script, "not by one change of one kind");
    }

    #[test]
    fn a_joint_configuration_left_twice_or_elsewhere_or_too_early_fires() {
        let begun = || {
            let mut script = Script::led();
            append(&mut script, 3, joint(&[1, 2, 3], &[1, 2]));
            script.sync(1);
            script
        };
        let mut script = begun();
        append(&mut script, 4, of(&[1, 2]));
        assert_fires(ConfigurationInForce, NAME, &script, "before 3@2, the last change, is committed");
        let mut script = begun();
        script.commit(1, 3);
        append(&mut script, 4, of(&[1, 2, 3]));
        assert_fires(ConfigurationInForce, NAME, &script, "not by one change of one kind");
        let mut script = begun();
        script.commit(1, 3);
        append(&mut script, 4, of(&[1, 2]));
        script.sync(1);
        script.commit(1, 4);
        append(&mut script, 5, of(&[1, 2]));
        assert_fires(ConfigurationInForce, NAME, &script, "not by one change of one kind");
    }

    #[test]
    fn a_change_before_an_entry_of_the_own_term_is_committed_fires() {
        let mut script = Script::elected();
        script.commit(1, 1);
        append(&mut script, 3, joint(&[1, 2, 3], &[1, 2]));
        assert_fires(ConfigurationInForce, NAME, &script, "before an entry of term 2 is; its commit index is 1");
    }

    #[test]
    fn a_configuration_that_survives_its_truncation_fires() {
        let mut script = Script::led();
        append(&mut script, 3, joint(&[1, 2, 3], &[1, 2]));
        script.step(1, |view| {
            (view.term, view.role, view.last) = (raft_core::Term(3), RoleKind::Follower, EntryId::new(3, 3));
        });
        script.ask(1, Some((3, None)), Some(3), vec![noop(3, 3)]);
        assert_fires(ConfigurationInForce, NAME, &script, "expected {n1 n2 n3}, the newest in its log");
    }

    #[test]
    fn a_change_by_the_book_is_silent() {
        let mut script = Script::legal();
        let (configuration, at) = (of(&[1, 2, 3]), EntryId::new(1, 1));
        script.push(Some(2), RecordKind::ConfigurationChanged { configuration, at, committed: true });
        assert_silent(ConfigurationInForce, &script);
        let mut script = Script::led();
        let mut learner = of(&[1, 2, 3]);
        learner.members.insert(NodeId(4), bytes::Bytes::new());
        for (index, configuration) in [(3, learner), (4, joint(&[1, 2, 3], &[3, 4])), (5, of(&[3, 4]))] {
            append(&mut script, index, configuration);
            script.commit(1, index);
        }
        assert_silent(ConfigurationInForce, &script);
    }
}
