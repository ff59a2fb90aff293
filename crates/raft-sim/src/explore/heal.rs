//! The fair continuation of a state: all faults end, nothing is lost, every write ends, and time passes. Then one node must
//! lead, an entry that is new must be committed, and all logs must be equal.

use super::pool::{Pool, place};
use super::replica::{Event, Replica, broken};
use super::state::State;
use crate::checkers::Violation;
use raft_core::{Input, Instant, NodeId, RequestId, RoleKind, Rpc};
use std::collections::VecDeque;

/// The property that breaks if the continuation does not settle.
pub(super) const PROPERTY: &str = "liveness";

/// The timers that fire until the cluster has settled, at most: about five elections.
const TURNS: usize = 60;

struct Cluster<'a> {
    pool: &'a Pool,
    nodes: Vec<Replica>,
    flight: VecDeque<(NodeId, NodeId, Rpc)>,
    /// Whether a leader has taken the new entry.
    asked: bool,
}

/// Continues from a state until the cluster has settled.
pub(super) fn converges(pool: &Pool, state: &State) -> Result<(), Violation> {
    settle(pool, state, TURNS).map_err(|violation| Violation {
        message: format!("after the last step all faults end, and then {}", violation.message),
        ..violation
    })
}

fn settle(pool: &Pool, state: &State, turns: usize) -> Result<(), Violation> {
    let flight = state.letters.iter().map(|&letter| {
        let letter = &pool.letter(letter).letter;
        (letter.from, letter.to, letter.rpc.clone())
    });
    let nodes = state.nodes.iter().map(|&node| pool.row(node).replica.clone()).collect();
    let mut cluster = Cluster { pool, nodes, flight: flight.collect(), asked: false };
    for place in 0..cluster.nodes.len() {
        if cluster.nodes[place].core.is_none() {
            cluster.step(place, &Event::Restart)?;
        }
    }
    for _ in 0..turns {
        cluster.drain()?;
        if cluster.is_settled() {
            return Ok(());
        }
        cluster.turn()?;
    }
    let states: Vec<String> = cluster.nodes.iter().map(Cluster::show).collect();
    Err(broken(PROPERTY, format!("the cluster does not settle: {}", states.join("; "))))
}

impl Cluster<'_> {
    fn step(&mut self, place: usize, event: &Event) -> Result<(), Violation> {
        let (node, sent) = self.nodes[place].step(event, &self.pool.configs[place], self.pool.timing)?;
        self.nodes[place] = node;
        self.send(place, sent);
        Ok(())
    }

    fn call(&mut self, place: usize, now: Instant, input: Input) -> Result<(), Violation> {
        let mut sent = Vec::new();
        self.nodes[place].call(now, input, &mut sent)?;
        self.send(place, sent);
        Ok(())
    }

    fn send(&mut self, place: usize, sent: Vec<(NodeId, Rpc)>) {
        let from = self.nodes[place].id;
        self.flight.extend(sent.into_iter().map(|(to, rpc)| (from, to, rpc)));
    }

    /// Ends all writes and delivers all messages, until there are none.
    fn drain(&mut self) -> Result<(), Violation> {
        loop {
            if let Some(place) = self.nodes.iter().position(|node| !node.unsynced.is_empty()) {
                self.step(place, &Event::WriteDone)?;
            } else if let Some((from, to, rpc)) = self.flight.pop_front() {
                self.step(usize::from(place(to)), &Event::Receive { from, rpc, late: false })?;
            } else {
                return Ok(());
            }
        }
    }

    /// Time passes until the next timer of any node, and the timers that are due fire one after another.
    fn turn(&mut self) -> Result<(), Violation> {
        let wait = |node: &Replica| Some(node.core.as_ref()?.deadline()?.since(node.now));
        let Some(wait) = self.nodes.iter().filter_map(wait).min() else { return Ok(()) };
        for node in &mut self.nodes {
            node.now = node.now.after(wait);
        }
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let now = node.now;
            if node.core.as_ref().and_then(|core| core.deadline()).is_some_and(|deadline| deadline <= now) {
                self.call(place, now, Input::Tick)?;
                self.drain()?;
            }
        }
        if let Some(leader) = self.leader().filter(|_| !self.asked) {
            self.asked = true;
            let now = self.nodes[leader].now;
            self.call(leader, now, Input::Propose { id: RequestId(1), command: Vec::new().into() })?;
        }
        Ok(())
    }

    /// The only leader, which all others are in the term of.
    fn leader(&self) -> Option<usize> {
        let leads = |node: &Replica| node.role() == Some(RoleKind::Leader);
        let leader = self.nodes.iter().position(leads)?;
        let term = self.nodes[leader].written.hard_state.term;
        let follow = |node: &Replica| node.id == self.nodes[leader].id || !leads(node);
        let all = self.nodes.iter().all(|node| node.written.hard_state.term == term && follow(node));
        all.then_some(leader)
    }

    fn is_settled(&self) -> bool {
        let Some(leader) = self.leader().filter(|_| self.asked) else { return false };
        let log = &self.nodes[leader].durable.entries;
        let last = log.last().map(|entry| entry.id.index);
        let has_all =
            |node: &Replica| node.durable.entries == *log && node.core.as_ref().map(|core| core.commit()) == last;
        self.nodes.iter().all(has_all)
    }

    fn show(node: &Replica) -> String {
        let role = node.role().map_or_else(|| "down".to_owned(), |role| role.to_string());
        let commit = node.core.as_ref().map_or(0, |core| core.commit().0);
        format!("{} {role}, {}, last {}, commit {commit}", node.id, node.written.hard_state, node.written.last())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::ghost::Ghost;
    use super::super::state::Used;
    use super::*;

    #[test]
    fn a_cluster_settles_within_some_turns_and_not_within_none() {
        for guards in [false, true] {
            let limits = Limits { pre_vote: guards, stickiness: guards, check_quorum: guards, ..Limits::default() };
            let mut pool = Pool::new(&limits);
            let nodes = pool.founders().expect("the founders start");
            let ghost = pool.ghost_number(Ghost::default());
            let state = State { nodes, letters: Vec::new(), ghost, used: Used::default() };
            assert_eq!(settle(&pool, &state, TURNS), Ok(()));
            let violation = settle(&pool, &state, 0).expect_err("no timer fires");
            assert_eq!(violation.property, PROPERTY);
            assert!(violation.message.contains("n3 follower, term 1, last 1, commit 0"), "{}", violation.message);
        }
    }
}
