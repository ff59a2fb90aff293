//! At most one leader is elected in a term, over the whole history, and it has the votes of a quorum (Raft Figure 3,
//! Election Safety; §5.2).
//!
//! It is the first to catch: miscounted votes (duplicates, answers of another term, nodes that do not count), and a
//! node that leads or appends without an election. Two leaders because of a second vote show earlier in
//! `one_vote_per_term`, which this property backs up.

use super::ghost::Ghost;
use super::ghost::node::{Node, Seen};
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{NodeId, RoleKind, Rpc};

const NAME: &str = "election_safety";

#[derive(Clone)]
pub(super) struct ElectionSafety;

impl Property for ElectionSafety {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        if let Some((node, view)) = fact.new_view().filter(|(_, view)| view.role == RoleKind::Leader) {
            return leads(ghost, fact, node, view);
        }
        let (RecordKind::Sent { rpc: Rpc::AppendEntries(append), .. }, Some(node)) = (&fact.record.kind, fact.node)
        else {
            return None;
        };
        match ghost.terms.get(&append.term).and_then(|term| term.leader) {
            Some((leader, _)) if leader == node.id => None,
            Some((leader, record)) => {
                let message = format!("{} sends an append of term {}, which {leader} leads", node.id, append.term);
                Some(fact.contradicts(NAME, record, message))
            }
            None => {
                let message = format!("{} sends an append of term {}, which no node leads", node.id, append.term);
                Some(fact.contradicts(NAME, fact.record.number, message))
            }
        }
    }
}

fn leads(ghost: &Ghost, fact: &Fact<'_>, node: &Node, view: &Seen) -> Option<Violation> {
    let term = ghost.terms.get(&view.term)?;
    let (leader, since) = term.leader?;
    if leader != node.id {
        let message = format!("{leader} and {} both lead term {}", node.id, view.term);
        return Some(fact.contradicts(NAME, since, message));
    }
    if since != fact.record.number {
        return None;
    }
    let own = node.durable.hard_state;
    let votes = |voter: NodeId| {
        let granted = term.grants.iter().any(|(from, to, _)| (*from, *to) == (voter, node.id));
        granted || voter == node.id && own.term == view.term && own.voted_for == Some(node.id)
    };
    if node.configuration().is_some_and(|configuration| configuration.has_quorum(votes)) {
        return None;
    }
    let voters: Vec<String> =
        ghost.nodes().iter().map(|node| node.id).filter(|id| votes(*id)).map(|id| id.to_string()).collect();
    let message = format!("{} leads term {} with the votes of [{}] only", node.id, view.term, voters.join(" "));
    Some(fact.contradicts(NAME, node.asked, message))
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::EntryId;

    #[test]
    fn a_second_leader_of_a_term_fires() {
        let mut script = Script::led();
        script.campaign(3, 2);
        script.step(3, |view| view.role = RoleKind::Leader);
        let violation = assert_fires(ElectionSafety, NAME, &script, "n1 and n3 both lead term 2");
        assert_eq!(violation.facts.len(), 2);
    }

    #[test]
    fn a_leader_without_a_quorum_fires() {
        let mut script = Script::started();
        script.campaign(1, 2);
        script.step(1, |view| view.role = RoleKind::Leader);
        assert_fires(ElectionSafety, NAME, &script, "votes of [n1] only");
    }

    #[test]
    fn an_append_of_a_node_that_does_not_lead_fires() {
        let mut script = Script::led();
        script.send(2, 3, append(2, EntryId::new(2, 2), 0, vec![]));
        assert_fires(ElectionSafety, NAME, &script, "which n1 leads");
        let mut script = Script::started();
        script.send(2, 3, append(1, EntryId::new(1, 1), 0, vec![]));
        assert_fires(ElectionSafety, NAME, &script, "which no node leads");
    }

    #[test]
    fn elections_by_the_book_are_silent() {
        assert_silent(ElectionSafety, &Script::legal());
    }
}
