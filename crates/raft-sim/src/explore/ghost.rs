//! What the properties remember of the past of a state: the leader of each term, and what was committed, in which term.

use super::packed::Packed;
use super::pool::Summary;
use super::replica::broken;
use crate::checkers::Violation;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ghost {
    /// The leader of each term, counted from 1; 0 is none.
    leaders: [u8; 16],
    /// The longest committed log.
    committed: Packed,
    /// The term of the leader that committed each entry.
    by: Packed,
}

impl Ghost {
    /// The same past under other names.
    pub(super) fn renamed(&self, order: &[usize]) -> Self {
        let name = |leader: u8| match leader {
            0 => 0,
            leader => order[usize::from(leader) - 1] as u8 + 1,
        };
        Self { leaders: self.leaders.map(name), ..self.clone() }
    }

    /// The past after a step of node `place`. All nodes are in their state after it.
    pub(super) fn after(&self, place: usize, before: Summary, nodes: &[Summary]) -> Result<Self, Violation> {
        let (mut next, node) = (self.clone(), nodes[place]);
        let was_leader = before.leads && before.term == node.term;
        if node.leads && !was_leader {
            next.elect(place, node)?;
        }
        if node.up && node.commit > 0 && (!before.up || node.commit > before.commit) {
            next.commit(place, node, nodes)?;
        }
        // No node can win a term below the term of every disk.
        let lowest = nodes.iter().map(|node| node.durable_term).min().unwrap_or(0).min(16) as usize;
        next.leaders[..lowest].fill(0);
        Ok(next)
    }

    fn elect(&mut self, place: usize, node: Summary) -> Result<(), Violation> {
        let (id, term) = (place as u8 + 1, node.term);
        let leader = &mut self.leaders[term.min(15) as usize];
        if *leader != 0 && *leader != id {
            return Err(broken("election_safety", format!("n{leader} and n{id} lead term {term}")));
        }
        *leader = id;
        self.check_leader(place, node)
    }

    /// A leader has what was committed in the terms before its own (Raft §5.4.3).
    fn check_leader(&self, place: usize, node: Summary) -> Result<(), Violation> {
        let settled = (1..=self.committed.len()).take_while(|&index| self.by.term(index) < node.term);
        let common = node.log.common(self.committed);
        match settled.last() {
            Some(index) if index > common => {
                let at = common + 1;
                let (entry, by) = (format!("{at}@{}", self.committed.term(at)), self.by.term(at));
                let what = format!(
                    "n{} leads term {} with the log {}, without {entry}, which was committed in term {by}",
                    place + 1,
                    node.term,
                    node.log.show(),
                );
                Err(broken("leader_completeness", what))
            }
            _ => Ok(()),
        }
    }

    fn commit(&mut self, place: usize, node: Summary, nodes: &[Summary]) -> Result<(), Violation> {
        let log = node.log.up_to(node.commit);
        let common = log.common(self.committed);
        if common < log.len().min(self.committed.len()) {
            let (ours, theirs) = (self.committed.show(), log.show());
            let what = format!("n{} commits {theirs}; committed before: {ours}", place + 1);
            return Err(broken("state_machine_safety", what));
        }
        if log.len() <= self.committed.len() {
            return Ok(());
        }
        self.by = (self.committed.len()..log.len()).fold(self.by, |by, _| by.with(node.term));
        self.committed = log;
        // Another node may lead a higher term already.
        nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.leads)
            .try_for_each(|(place, node)| self.check_leader(place, *node))
    }
}

/// The properties of a state in which only node `place` is new.
pub(super) fn check(place: usize, nodes: &[Summary]) -> Result<(), Violation> {
    let node = nodes[place];
    for (other, theirs) in nodes.iter().enumerate().filter(|(other, _)| *other != place) {
        if let Some(index) = node.log.mismatch(theirs.log) {
            let (term, ours, theirs) = (node.log.term(index), node.log.show(), theirs.log.show());
            let (place, other) = (place + 1, other + 1);
            let what = format!("n{place} and n{other} both have {index}@{term}: {ours} and {theirs}");
            return Err(broken("log_matching", what));
        }
    }
    for (place, node) in nodes.iter().enumerate() {
        let (index, term) = (node.commit, node.log.term(node.commit));
        let holders = nodes.iter().filter(|holder| holder.durable.term(index) == term).count();
        if index > 0 && holders <= nodes.len() / 2 {
            let what =
                format!("n{} has committed {index}@{term}, durable on {holders} of {} nodes", place + 1, nodes.len());
            return Err(broken("commit_quorum", what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[u64]) -> Packed {
        terms.iter().fold(Packed::default(), |log, &term| log.with(term))
    }

    /// A node whose whole log is durable.
    fn node(term: u64, terms: &[u64], commit: u64, leads: bool) -> Summary {
        let log = log(terms);
        let (durable, durable_term, unsynced) = (log, term, 0);
        let (up, may_time_out, is_sticky) = (true, true, false);
        Summary { up, leads, term, durable_term, log, durable, commit, unsynced, may_time_out, is_sticky }
    }

    fn property(result: Result<impl Sized, Violation>) -> &'static str {
        result.err().map_or("holds", |violation| violation.property)
    }

    #[test]
    fn a_term_has_one_leader_even_if_the_first_is_gone() {
        let (follower, leader) = (node(2, &[1], 0, false), node(2, &[1, 2], 0, true));
        let past = Ghost::default().after(0, follower, &[leader, follower, follower]).expect("the first leader");
        assert_eq!(property(past.after(1, follower, &[follower, leader, follower])), "election_safety");
        assert_eq!(property(past.after(0, follower, &[leader, follower, follower])), "holds");
    }

    #[test]
    fn a_leader_has_what_was_committed_in_earlier_terms() {
        let (leader, done) = (node(2, &[1, 2], 0, true), node(2, &[1, 2], 2, true));
        let (with, without) = (node(3, &[1, 2, 3], 0, true), node(3, &[1, 3], 0, true));
        let past = Ghost::default().after(0, leader, &[done, leader, leader]).expect("a commit");
        let follower = node(3, &[1], 0, false);
        assert_eq!(property(past.after(1, follower, &[done, with, follower])), "holds");
        assert_eq!(property(past.after(1, follower, &[done, without, follower])), "leader_completeness");
        // The votes of an earlier term arrive late.
        let late = node(1, &[1], 0, true);
        assert_eq!(property(past.after(1, follower, &[done, late, follower])), "holds");
        // The commit comes after the election.
        assert_eq!(property(Ghost::default().after(0, leader, &[done, without, leader])), "leader_completeness");
    }

    #[test]
    fn nodes_commit_the_same() {
        let (leader, done) = (node(2, &[1, 2], 0, true), node(2, &[1, 2], 2, true));
        let past = Ghost::default().after(0, leader, &[done, leader, leader]).expect("a commit");
        let (follower, other) = (node(3, &[1, 3], 0, false), node(3, &[1, 3], 2, false));
        assert_eq!(property(past.after(1, follower, &[done, other, follower])), "state_machine_safety");
        let same = node(3, &[1, 2], 2, false);
        assert_eq!(property(past.after(1, follower, &[done, same, follower])), "holds");
    }

    #[test]
    fn equal_entries_follow_equal_logs_and_a_commit_is_durable_on_a_quorum() {
        let (one, other) = (node(3, &[1, 2, 3], 0, false), node(3, &[1, 1, 3], 0, false));
        assert_eq!(property(check(0, &[one, other, one])), "log_matching");
        assert_eq!(property(check(0, &[one, one, one])), "holds");
        let done = node(2, &[1, 2], 2, true);
        let behind = node(2, &[1], 0, false);
        assert_eq!(property(check(0, &[done, behind, behind])), "commit_quorum");
        assert_eq!(property(check(0, &[done, done, behind])), "holds");
    }
}
