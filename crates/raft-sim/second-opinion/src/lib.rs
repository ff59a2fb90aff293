//! A second opinion on the explorer: the same small box, written as a model for stateright, which has its own search and
//! its own set of visited states.
//!
//! It shares the production core with the explorer, and what `Raft::outline` says about equal states. Its steps are
//! written again, in the plainest form: no numbers for parts, no remembered steps, no symmetry.

use raft_core::{
    Action as Output, Config, Configuration, Digest, EntryId, HardState, Input, Instant, Message, NodeId, Raft,
    RecoveredState, Renaming, RequestId, RoleKind, Rpc, Seq, Term, Write,
};
use stateright::{Model, Property};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// The limits, as in `raft-sim check`.
#[derive(Clone, Debug)]
pub struct Limits {
    pub nodes: u64,
    pub terms: u64,
    pub entries: u64,
    pub heartbeats: u64,
    pub in_flight: usize,
    /// Only a limited number of losses: then the explorer leaves no step out.
    pub drops: usize,
}

#[derive(Clone, Debug)]
pub struct Node {
    core: Raft,
    /// The writes in flight.
    writes: VecDeque<Write>,
    /// What the disk holds.
    disk: (HardState, Vec<EntryId>),
}

#[derive(Clone, Debug)]
pub struct State {
    nodes: Vec<Node>,
    flight: Vec<(NodeId, NodeId, Rpc)>,
    entries: u64,
    heartbeats: u64,
    drops: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The message at this place arrives; these places of all messages are lost then.
    Receive(usize, Vec<usize>),
    Timeout(usize, Vec<usize>),
    Written(usize, Vec<usize>),
    Request(usize, Vec<usize>),
}

const TIMEOUT: Duration = Duration::from_nanos(1_000);

fn config(id: u64) -> Config {
    Config {
        election_timeout: TIMEOUT..TIMEOUT,
        heartbeat_interval: TIMEOUT / 2,
        pre_vote: false,
        check_quorum: false,
        stickiness: false,
        max_write_stall: Duration::MAX,
        snapshot_timeout: TIMEOUT,
        max_append_bytes: 1,
        ..Config::new(NodeId(id))
    }
}

impl Node {
    fn call(&mut self, now: Instant, input: Input) -> Vec<(NodeId, NodeId, Rpc)> {
        let (mut inputs, mut sent) = (VecDeque::from([input]), Vec::new());
        while let Some(input) = inputs.pop_front() {
            for output in self.core.step(Message { now, input }) {
                match output {
                    Output::Send { to, rpc } => sent.push((self.core.id(), to, rpc)),
                    Output::Persist(write) => self.writes.push_back(write),
                    Output::Apply { entries } => {
                        inputs.push_back(Input::Applied { index: entries.last_id().unwrap_or_default().index });
                    }
                    _ => {}
                }
            }
        }
        sent
    }

    fn written(&mut self) -> Vec<(NodeId, NodeId, Rpc)> {
        let Some(write) = self.writes.pop_front() else { return Vec::new() };
        let (hard_state, log) = &mut self.disk;
        *hard_state = write.hard_state.unwrap_or(*hard_state);
        log.retain(|id| write.truncate_from.is_none_or(|from| id.index < from));
        log.extend(write.entries.iter().map(|entry| entry.id));
        self.call(Instant::default(), Input::Persisted { write: write.id })
    }

    fn leads(&self) -> bool {
        self.core.role() == RoleKind::Leader
    }
}

impl State {
    /// What tells states apart: the outlines, which appends are current, the disks and the messages.
    fn form(&self) -> u128 {
        let plain = Renaming { timeless: true, plain: true, ..Renaming::default() };
        let outlines: Vec<_> = self.nodes.iter().map(|node| node.core.outline(&plain)).collect();
        let is_current = |term: Term, receiver: NodeId, seq: Seq| {
            let leader = self.nodes.iter().position(|node| node.leads() && node.core.term() == term);
            let positions = leader.map(|place| &outlines[place].1);
            let position = positions.and_then(|list| list.iter().find(|(id, _)| *id == receiver));
            position.is_some_and(|(_, position)| seq > *position)
        };
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .zip(&outlines)
            .map(|(node, (outline, numbers))| {
                let seen = numbers.first().filter(|_| !node.leads());
                let current = seen.is_some_and(|&(id, seq)| is_current(node.core.term(), id, seq));
                let writes: Vec<_> = node.writes.iter().map(|write| (write.hard_state, write.truncate_from)).collect();
                let entries: Vec<EntryId> =
                    node.writes.iter().flat_map(|write| write.entries.iter().map(|entry| entry.id)).collect();
                Digest::of(&(outline, current, &node.disk, writes, entries))
            })
            .collect();
        let mut flight: Vec<u128> = self
            .flight
            .iter()
            .map(|(from, to, rpc)| {
                let (mut rpc, mut current) = (rpc.clone(), false);
                let term = rpc.term();
                match &mut rpc {
                    Rpc::AppendEntries(append) => {
                        current = is_current(term, *to, append.seq);
                        append.seq = Seq(0);
                    }
                    Rpc::AppendEntriesResponse(answer) => {
                        current = is_current(term, *from, answer.seq);
                        answer.seq = Seq(0);
                    }
                    _ => {}
                }
                Digest::of(&(from, to, rpc, current))
            })
            .collect();
        flight.sort_unstable();
        Digest::of(&(nodes, flight, self.entries, self.heartbeats, self.drops))
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.form().hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.form() == other.form()
    }
}

impl Eq for State {}

impl Limits {
    /// The state after a step that loses nothing yet.
    fn take(&self, state: &State, step: &Step) -> State {
        let mut next = state.clone();
        let sent = match *step {
            Step::Receive(place, _) => {
                let (from, to, rpc) = next.flight.remove(place);
                next.nodes[to.0 as usize - 1].call(Instant::default(), Input::Receive { from, rpc })
            }
            Step::Timeout(place, _) => {
                let node = &mut next.nodes[place];
                next.heartbeats += u64::from(node.leads());
                let late = node.core.deadline().unwrap_or_default().after(TIMEOUT * 2);
                node.call(late, Input::Tick)
            }
            Step::Written(place, _) => next.nodes[place].written(),
            Step::Request(place, _) => {
                next.entries += 1;
                let input = Input::Propose { id: RequestId(0), command: Vec::new().into() };
                next.nodes[place].call(Instant::default(), input)
            }
        };
        next.flight.extend(sent);
        next
    }

    fn kinds(&self, state: &State) -> Vec<Step> {
        let none = Vec::new;
        let mut steps: Vec<Step> = (0..state.flight.len()).map(|place| Step::Receive(place, none())).collect();
        for (place, node) in state.nodes.iter().enumerate() {
            let (leads, term) = (node.leads(), node.core.term().0);
            let may_fire = if leads { state.heartbeats < self.heartbeats } else { term < 1 + self.terms };
            if node.core.deadline().is_some() && may_fire {
                steps.push(Step::Timeout(place, none()));
            }
            if !node.writes.is_empty() {
                steps.push(Step::Written(place, none()));
            }
            if leads && state.entries < self.entries {
                steps.push(Step::Request(place, none()));
            }
        }
        steps
    }
}

impl Model for Limits {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let founders = Configuration::of_voters((1..=self.nodes).map(NodeId));
        let node = |id| {
            let restored = RecoveredState::bootstrap(founders.clone());
            let disk = (restored.hard_state, vec![restored.last]);
            let core = Raft::new(config(id), restored).expect("a founder starts");
            let mut node = Node { core, writes: VecDeque::new(), disk };
            node.call(Instant::default(), Input::Tick);
            node
        };
        let nodes = (1..=self.nodes).map(node).collect();
        vec![State { nodes, flight: Vec::new(), entries: 0, heartbeats: 0, drops: 0 }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for step in self.kinds(state) {
            let count = self.take(state, &step).flight.len();
            let lost = count.saturating_sub(self.in_flight);
            if state.drops + lost > self.drops {
                continue;
            }
            for chosen in (0_u32..1 << count).filter(|chosen| chosen.count_ones() as usize == lost) {
                let places = (0..count).filter(|place| chosen >> place & 1 == 1).collect();
                steps.push(match step {
                    Step::Receive(place, _) => Step::Receive(place, places),
                    Step::Timeout(place, _) => Step::Timeout(place, places),
                    Step::Written(place, _) => Step::Written(place, places),
                    Step::Request(place, _) => Step::Request(place, places),
                });
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = self.take(state, &step);
        let (Step::Receive(_, lost) | Step::Timeout(_, lost) | Step::Written(_, lost) | Step::Request(_, lost)) = step;
        next.drops += lost.len();
        for place in lost.into_iter().rev() {
            next.flight.remove(place);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("one leader a term", |_, state: &State| {
            let leads = |node: &&Node| node.leads();
            let mut terms: Vec<Term> = state.nodes.iter().filter(leads).map(|node| node.core.term()).collect();
            terms.sort_unstable();
            terms.windows(2).all(|pair| pair[0] != pair[1])
        })]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateright::Checker;

    /// crates/raft-sim/tests/simulator/explorer.rs has the same box with the same number.
    #[test]
    fn stateright_counts_the_states_of_the_explorer() {
        let limits = Limits { nodes: 3, terms: 1, entries: 1, heartbeats: 0, in_flight: 2, drops: 1 };
        let checker = limits.checker().spawn_bfs().join();
        checker.assert_properties();
        assert_eq!(checker.unique_state_count(), 44_476);
    }
}
