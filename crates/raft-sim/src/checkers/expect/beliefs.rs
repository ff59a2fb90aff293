//! The expectations about single nodes: whether their processes run, and what they believe.

use super::Ghost;
use crate::scenario::model::{Belief, NodeSet};
use crate::scenario::targets::show_nodes;
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::fmt::Display;

/// Exactly these nodes are down.
pub(super) fn down(ghost: &Ghost, NodeSet(expected): &NodeSet) -> Option<String> {
    let down: BTreeSet<NodeId> = ghost.nodes().iter().filter(|node| !node.up).map(|node| node.id).collect();
    (down != *expected).then(|| format!("expected [{}] down; [{}] is down", show_nodes(expected), show_nodes(&down)))
}

/// A sentence for each value that differs.
pub(super) fn wrong(ghost: &Ghost, id: NodeId, belief: &Belief) -> Vec<String> {
    let Some((node, view)) = ghost.node(id).filter(|node| node.up).and_then(|node| Some((node, node.view.as_ref()?)))
    else {
        return vec![format!("expected what {id} believes; it is down")];
    };
    let says = |what: &str, expected: &dyn Display, found: &dyn Display| {
        format!("expected {id} to have {what} {expected}; it has {found}")
    };
    let Belief { term, role, leader, voted_for, commit, applied, configuration } = belief;
    let numbers = [
        ("term", term.map(|term| term.0), view.term.0),
        ("commit", *commit, view.commit.0),
        ("applied", *applied, view.applied.0),
    ];
    let numbers = numbers
        .into_iter()
        .filter_map(|(what, expected, found)| Some((what, expected.filter(|expected| *expected != found)?, found)))
        .map(|(what, expected, found)| says(what, &expected, &found));
    let nodes = [("leader", leader, view.leader), ("voted_for", voted_for, view.voted_for)];
    let nodes = nodes
        .into_iter()
        .filter_map(|(what, expected, found)| Some((what, expected.as_ref()?, found)))
        .filter(|(_, NodeSet(expected), found)| found.map_or(!expected.is_empty(), |found| !expected.contains(&found)))
        .map(|(what, NodeSet(expected), found)| {
            says(what, &format!("[{}]", show_nodes(expected)), &found.map_or("none".to_owned(), |id| id.to_string()))
        });
    let mut wrong: Vec<String> = numbers.chain(nodes).collect();
    wrong.extend(role.filter(|role| *role != view.role).map(|role| says("role", &role, &view.role)));
    if let Some(seats) = configuration.as_ref() {
        let newest = node.configurations.last();
        if newest.is_none_or(|(_, newest)| !seats.are_of(newest)) {
            let found = newest.map_or("none".to_owned(), |(at, newest)| format!("{newest} of {at}"));
            wrong.push(says("configuration", &format!("{{{seats}}}"), &found));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::super::script::*;
    use super::*;
    use crate::record::CrashKind;
    use crate::scenario::changes::seats;
    use raft_core::{RoleKind, Term};

    fn set(ids: &[u64]) -> NodeSet {
        NodeSet(ids.iter().map(|&id| NodeId(id)).collect())
    }

    #[test]
    fn exactly_the_named_nodes_are_down() {
        let mut script = Script::led();
        assert_eq!(down(&ghost_after(&script), &set(&[])), None);
        script.crash(3, CrashKind::Kill);
        assert_eq!(down(&ghost_after(&script), &set(&[3])), None);
        let failure = down(&ghost_after(&script), &set(&[2, 3])).expect("n2 is up");
        assert_eq!(failure, "expected [n2 n3] down; [n3] is down");
    }

    #[test]
    fn every_value_is_compared() {
        let mut script = Script::led();
        let right = Belief {
            term: Some(Term(2)),
            role: Some(RoleKind::Leader),
            leader: Some(set(&[1])),
            voted_for: Some(set(&[1, 3])),
            commit: Some(2),
            applied: Some(0),
            configuration: seats("n1 n2 n3", 3).ok(),
        };
        assert_eq!(wrong(&ghost_after(&script), NodeId(1), &right), Vec::<String>::new());
        assert_eq!(
            wrong(&ghost_after(&script), NodeId(3), &right),
            [
                "expected n3 to have term 2; it has 1",
                "expected n3 to have commit 2; it has 0",
                "expected n3 to have leader [n1]; it has none",
                "expected n3 to have voted_for [n1 n3]; it has none",
                "expected n3 to have role leader; it has follower",
            ]
        );
        let other = Belief { configuration: seats("n1 n2", 3).ok(), leader: Some(set(&[])), ..Belief::default() };
        let failures = wrong(&ghost_after(&script), NodeId(1), &other);
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert_eq!(failures[0], "expected n1 to have leader []; it has n1");
        assert!(failures[1].starts_with("expected n1 to have configuration {n1 n2}; it has "), "{failures:?}");
        script.crash(1, CrashKind::Kill);
        assert_eq!(wrong(&ghost_after(&script), NodeId(1), &right), ["expected what n1 believes; it is down"]);
    }
}
