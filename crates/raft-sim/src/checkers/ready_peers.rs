//! A leader does not stall the cluster by a request of the operator: it transfers leadership only to a node that answers, and
//! it begins a change only if a quorum of each half of the configuration to come answers, unless the change is forced. It
//! promotes no node to which a snapshot is on its way.
//!
//! "Answers" means: the leader has received an answer of this term within the longest election timeout. The time is the
//! leader's, and its clock may run at half the speed of true time.
//!
//! First to catch: a transfer or a change after which nothing is committed until a node comes back. It backs up no other
//! checker: nothing that Raft promises is broken.

use super::ghost::Ghost;
use super::ghost::node::Node;
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{AppendOutcome, Configuration, Event, NodeId, Rpc, Term};
use raft_node::SnapshotMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "ready_peers";

/// True time for a time of the slowest clock.
const SLOWEST_CLOCK: u32 = 2;

#[derive(Clone)]
pub(super) struct ReadyPeers {
    /// The longest election timeout of any node, in true time.
    timeout: Duration,
    /// The latest answer that each node received from each peer, and its term.
    answers: BTreeMap<(NodeId, NodeId), (Term, SimTime)>,
    /// The newest chunk that each leader has sent to each peer whose log does not continue yet: the record.
    snapshots: BTreeMap<(NodeId, NodeId), u64>,
    /// The latest call in which each node was forced.
    forced: BTreeMap<NodeId, u64>,
}

impl ReadyPeers {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let of_nodes = scenario.raft.election_timeout_of.values().map(|range| range.end);
        let longest = of_nodes.max().unwrap_or_default().max(scenario.raft.election_timeout.end);
        let timeout = longest.saturating_mul(SLOWEST_CLOCK);
        Self { timeout, answers: BTreeMap::new(), snapshots: BTreeMap::new(), forced: BTreeMap::new() }
    }

    fn has_answered(&self, leader: &Node, peer: NodeId, term: Term, now: SimTime) -> bool {
        let answer = self.answers.get(&(leader.id, peer));
        let timeout = self.timeout.saturating_add(leader.stood_still);
        peer == leader.id || answer.is_some_and(|&(of, at)| of == term && now.since(at) <= timeout)
    }

    fn received(&mut self, node: &Node, from: NodeId, rpc: &Rpc, now: SimTime) {
        let Rpc::AppendEntriesResponse(response) = rpc else { return };
        // An answer of an earlier term may arrive late: it does not replace the one of this term.
        let answer = self.answers.entry((node.id, from)).or_insert((response.term, now));
        if response.term >= answer.0 {
            *answer = (response.term, now);
        }
        let first = node.view.as_ref().map(|view| view.first);
        if let AppendOutcome::Matched { index } = response.outcome
            && first.is_some_and(|first| index.next() >= first)
        {
            self.snapshots.remove(&(node.id, from));
        }
    }

    /// What is wrong with the changes that this node has just appended as the leader of its term, and a record that shows it. The
    /// step may have ended its leadership: with the configuration to come in force, no quorum may have answered for long.
    fn wrong_change(&self, ghost: &Ghost, fact: &Fact<'_>, node: &Node) -> Option<(String, u64)> {
        let term = node.view.as_ref()?.term;
        ghost.terms.get(&term)?.leader.filter(|(leader, _)| *leader == node.id)?;
        let added = node.configurations_since(node.log.len() - fact.change.edit.pushed);
        added.windows(2).find_map(|pair| {
            let [(_, old), (at, new)] = pair else { return None };
            if old.is_joint() || at.term != term {
                return None;
            }
            let promoted = new.voters.iter().find_map(|voter| {
                let record = self.snapshots.get(&(node.id, *voter)).filter(|_| !old.voters.contains(voter))?;
                Some((format!("{} promotes {voter} while a snapshot is on its way to it", node.id), *record))
            });
            promoted.or_else(|| Some((self.no_quorum(fact, node, term, new)?, fact.record.number)))
        })
    }

    fn no_quorum(&self, fact: &Fact<'_>, node: &Node, term: Term, new: &Configuration) -> Option<String> {
        let (leader, answers) = (node.id, |voter| self.has_answered(node, voter, term, fact.record.at));
        if new.has_quorum(answers) || self.forced.get(&leader) == Some(&fact.record.call) {
            return None;
        }
        let silent: BTreeSet<String> =
            new.halves().flatten().filter(|id| !answers(**id)).map(NodeId::to_string).collect();
        let silent = silent.into_iter().collect::<Vec<_>>().join(" ");
        Some(format!("{leader} begins a change to {new}, and these have not answered for {:?}: {silent}", self.timeout))
    }
}

impl Property for ReadyPeers {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.node?);
        match &record.kind {
            RecordKind::Received { from, rpc } => self.received(node, *from, rpc, record.at),
            RecordKind::SnapshotSaid { to, message: SnapshotMessage::Chunk(_), .. } => {
                self.snapshots.insert((node.id, *to), record.number);
            }
            RecordKind::Observed(Event::ChangeForced { .. }) => {
                self.forced.insert(node.id, record.call);
            }
            RecordKind::Observed(Event::TransferBegun { target }) => {
                let term = node.view.as_ref()?.term;
                if !self.has_answered(node, *target, term, record.at) {
                    let words = format!(
                        "{} transfers leadership to {target}, which has not answered for {:?}",
                        node.id, self.timeout
                    );
                    return Some(fact.contradicts(NAME, record.number, words));
                }
            }
            RecordKind::Asked { .. } if fact.change.edit.pushed > 0 => {
                let (words, earlier) = self.wrong_change(ghost, fact, node)?;
                return Some(fact.contradicts(NAME, earlier, words));
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Entry, EntryId, LogIndex, MembershipChange, MembershipStep, Payload, RoleKind};

    /// n1 leads term 2; the nodes that answer it answer now.
    fn led(answering: &[u64]) -> Script {
        let mut script = Script::led();
        for peer in answering {
            let rpc = matched(2, 2);
            script.push(Some(1), RecordKind::Received { from: NodeId(*peer), rpc });
        }
        script
    }

    fn later(script: &mut Script, millis: u64) {
        script.step(1, |_| {});
        let record = script.newest();
        record.at = record.at.after(Duration::from_millis(millis));
    }

    fn last_at(script: &mut Script, kind: RecordKind) {
        let at = script.newest().at;
        script.push(Some(1), kind);
        script.newest().at = at;
    }

    fn changes(script: &mut Script, step: MembershipStep) {
        let at = script.newest().at;
        let old = Configuration::of_voters((1..=3).map(NodeId));
        let change = MembershipChange { steps: vec![step], ..Default::default() };
        let next = old.begin(&change).expect("a legal change");
        let entry = Entry { id: EntryId::new(3, 2), payload: Payload::Configuration(next) };
        script.step(1, |view| view.last = entry.id);
        script.ask(1, None, None, vec![entry]);
        script.newest().at = at;
    }

    fn checker() -> ReadyPeers {
        ReadyPeers::new(&scenario())
    }

    #[test]
    fn a_transfer_to_a_silent_node_fires() {
        let begun = || RecordKind::Observed(Event::TransferBegun { target: NodeId(3) });
        let mut script = led(&[2]);
        last_at(&mut script, begun());
        assert_fires(checker(), NAME, &script, "n1 transfers leadership to n3, which has not answered");
        for (millis, words) in [(500, ""), (700, "n1 transfers leadership to n3")] {
            let mut script = led(&[3]);
            later(&mut script, millis);
            last_at(&mut script, begun());
            assert_says(checker(), NAME, &script, words);
        }
    }

    #[test]
    fn a_late_answer_of_an_earlier_term_takes_nothing_back() {
        let mut script = led(&[3]);
        script.push(Some(1), RecordKind::Received { from: NodeId(3), rpc: matched(1, 1) });
        last_at(&mut script, RecordKind::Observed(Event::TransferBegun { target: NodeId(3) }));
        assert_silent(checker(), &script);
    }

    #[test]
    fn a_change_without_a_quorum_to_come_fires_unless_it_is_forced() {
        let mut script = led(&[2]);
        changes(&mut script, MembershipStep::Remove { id: NodeId(3) });
        assert_silent(checker(), &script);
        let mut script = led(&[2]);
        changes(&mut script, MembershipStep::Remove { id: NodeId(2) });
        assert_fires(checker(), NAME, &script, "n1 begins a change to {n1 n2 n3 -> n1 n3}");
        // The same step may end the leadership.
        let mut script = led(&[2]);
        script.step(1, |view| view.role = RoleKind::Follower);
        changes(&mut script, MembershipStep::Remove { id: NodeId(2) });
        assert_fires(checker(), NAME, &script, "n1 begins a change to {n1 n2 n3 -> n1 n3}");
        let mut forced = led(&[2]);
        let silent = BTreeSet::from([NodeId(3)]);
        forced.step(1, |view| view.last = EntryId::new(3, 2));
        let call = forced.newest().call;
        forced.push(Some(1), RecordKind::Observed(Event::ChangeForced { silent }));
        changes(&mut forced, MembershipStep::Remove { id: NodeId(2) });
        forced.newest().call = call;
        assert_silent(checker(), &forced);
    }

    #[test]
    fn a_promotion_during_a_snapshot_fires_until_the_log_continues() {
        let start = |ends: bool| {
            let mut script = led(&[2, 3]);
            let learner = MembershipStep::AddLearner { id: NodeId(4), context: Default::default() };
            changes(&mut script, learner);
            let message = chunk(2, meta(2, 2), b"12345");
            let verdict = crate::record::Verdict::Delivered { copies: 1 };
            script.push(Some(1), RecordKind::SnapshotSaid { to: NodeId(4), message, verdict });
            if ends {
                script.step(1, |view| view.first = LogIndex(3));
                script.push(Some(1), RecordKind::Received { from: NodeId(4), rpc: matched(2, 2) });
            }
            let mut next = Configuration::of_voters((1..=4).map(NodeId));
            next.outgoing = (1..=3).map(NodeId).collect();
            let entry = Entry { id: EntryId::new(4, 2), payload: Payload::Configuration(next) };
            script.step(1, |view| view.last = entry.id);
            script.ask(1, None, None, vec![entry]);
            script
        };
        assert_fires(checker(), NAME, &start(false), "n1 promotes n4 while a snapshot is on its way to it");
        assert_silent(checker(), &start(true));
    }
}
