//! All steps from a state within the limits.

use super::Limits;
use super::ghost;
use super::pool::{Outcome, Pool, Summary};
use super::replica::Event;
use super::state::{MAX_NODES, State};
use crate::checkers::Violation;
use raft_core::{Rpc, Vote};

/// One step, and the messages that were lost because too many were in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    /// The node that takes it.
    pub(super) node: usize,
    pub(super) lost: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    /// A message arrives; `again`: it stays in flight too.
    Receive {
        letter: u32,
        again: bool,
        late: bool,
    },
    Timeout,
    WriteDone,
    Request,
    PowerLoss {
        kept: usize,
    },
    Restart,
    /// A message is lost at a node that is down.
    Lost {
        letter: u32,
    },
}

impl StepKind {
    /// The event of the node, and its number among those of this node.
    fn code(self) -> u32 {
        const KINDS: u32 = 2;
        match self {
            Self::Receive { letter, late, .. } => letter << 2 | u32::from(late),
            Self::Timeout => KINDS,
            Self::WriteDone => 1 << 2 | KINDS,
            Self::Request => 2 << 2 | KINDS,
            Self::Restart | Self::Lost { .. } => 3 << 2 | KINDS,
            Self::PowerLoss { kept } => (4 + kept as u32) << 2 | KINDS,
        }
    }

    fn event(self, pool: &Pool) -> Event {
        match self {
            Self::Receive { letter, late, .. } => {
                let letter = &pool.letter(letter).letter;
                Event::Receive { from: letter.from, rpc: letter.rpc.clone(), late }
            }
            Self::Timeout => Event::Timeout,
            Self::WriteDone => Event::WriteDone,
            Self::Request => Event::Request,
            Self::Restart | Self::Lost { .. } => Event::Restart,
            Self::PowerLoss { kept } => Event::PowerLoss { kept },
        }
    }
}

/// What follows a step: a state, or a violation.
pub(super) type Next = Result<State, Violation>;

impl Pool {
    /// Calls `visit` for every step from `state`, until it returns false.
    ///
    /// A step without an effect on a node leads to a state with fewer messages, and any message may be lost at any time
    /// anyway. So it is left out, unless losses are limited.
    pub(super) fn successors(
        &mut self,
        limits: &Limits,
        state: &State,
        visit: &mut dyn FnMut(&mut Self, Step, Next) -> bool,
    ) {
        for (node, kind) in self.kinds(limits, state) {
            if !self.take_step(limits, state, node, kind, visit) {
                return;
            }
        }
    }

    /// The steps that are possible, whatever they do.
    fn kinds(&self, limits: &Limits, state: &State) -> Vec<(usize, StepKind)> {
        let mut kinds = Vec::with_capacity(16);
        for (node, &number) in state.nodes.iter().enumerate() {
            let summary = self.row(number).summary;
            if !summary.up {
                kinds.push((node, StepKind::Restart));
                continue;
            }
            if summary.unsynced > 0 {
                kinds.push((node, StepKind::WriteDone));
            }
            let beats = limits.heartbeats.is_none_or(|limit| u32::from(state.used.heartbeats) < limit);
            if summary.may_time_out && (!summary.leads || beats) {
                kinds.push((node, StepKind::Timeout));
            }
            if summary.leads && u32::from(state.used.entries) < limits.entries {
                kinds.push((node, StepKind::Request));
            }
            if u32::from(state.used.crashes) < limits.crashes {
                kinds.extend((0..=summary.unsynced).map(|kept| (node, StepKind::PowerLoss { kept })));
            }
        }
        let mut previous = None;
        for &letter in state.letters.iter().filter(|&&letter| previous.replace(letter) != Some(letter)) {
            let row = self.letter(letter);
            let summary = self.row(state.nodes[row.to]).summary;
            if !summary.up {
                if limits.drops.is_some() {
                    kinds.push((row.to, StepKind::Lost { letter }));
                }
                continue;
            }
            let is_request = matches!(row.letter.rpc, Rpc::PreVote(_) | Rpc::RequestVote(_));
            let lates = if is_request && summary.is_sticky { &[false, true][..] } else { &[false] };
            for &late in lates {
                kinds.push((row.to, StepKind::Receive { letter, again: false, late }));
                if u32::from(state.used.duplicates) < limits.duplicates {
                    kinds.push((row.to, StepKind::Receive { letter, again: true, late }));
                }
            }
        }
        kinds
    }

    fn take_step(
        &mut self,
        limits: &Limits,
        state: &State,
        node: usize,
        kind: StepKind,
        visit: &mut dyn FnMut(&mut Self, Step, Next) -> bool,
    ) -> bool {
        let step = |lost| Step { kind, node, lost };
        let (mut next, before) = (state.clone(), state.nodes[node]);
        match kind {
            StepKind::Receive { letter, again, .. } if !again => remove(&mut next.letters, letter),
            StepKind::Receive { .. } => next.used.duplicates += 1,
            StepKind::Request => next.used.entries += 1,
            StepKind::PowerLoss { .. } => next.used.crashes += 1,
            StepKind::Timeout if limits.heartbeats.is_some() && self.row(before).summary.leads => {
                next.used.heartbeats += 1;
            }
            StepKind::Lost { letter } => {
                remove(&mut next.letters, letter);
                return visit(self, step(Vec::new()), Ok(next));
            }
            _ => {}
        }
        let (after, first, count) = match self.step(before, kind.code(), |pool| kind.event(pool)) {
            Outcome::Next { node, first, count } => (node, first, count),
            Outcome::Broken(number) => {
                let violation = self.violations[number as usize].clone();
                return visit(self, step(Vec::new()), Err(violation));
            }
        };
        if count == 0 && limits.drops.is_none() && self.changes_nothing(state, node, after) {
            return true;
        }
        if self.row(after).summary.term > 1 + limits.terms {
            // A late message let a timer fire too.
            return true;
        }
        next.nodes[node] = after;
        match self.past(node, before, &next) {
            Ok(ghost) => next.ghost = ghost,
            Err(violation) => return visit(self, step(Vec::new()), Err(violation)),
        }
        next.letters.extend(self.sent(first, count));
        if limits.drops.is_none() {
            self.remove_dead(&mut next);
        }
        next.letters.sort_unstable();
        self.lose(limits, next, &mut |pool, lost, next| visit(pool, step(lost), Ok(next)))
    }

    /// Removes the answers that can have no effect any more: those of a term below that of the receiver's disk, and
    /// refusals that tell no newer term. The receiver takes each of them, to be sure that it has no effect.
    fn remove_dead(&mut self, state: &mut State) {
        let mut place = 0;
        while let Some(&letter) = state.letters.get(place) {
            let row = self.letter(letter);
            let to = row.to;
            let Summary { up, durable_term, .. } = self.row(state.nodes[to]).summary;
            let term = row.letter.rpc.term().0;
            let is_dead = match &row.letter.rpc {
                Rpc::RequestVoteResponse(answer) if answer.vote != Vote::Granted => term <= durable_term,
                Rpc::RequestVoteResponse(_) | Rpc::AppendEntriesResponse(_) => term < durable_term,
                _ => false,
            };
            if is_dead && (!up || self.is_ignored(state, to, letter)) {
                state.letters.swap_remove(place);
            } else {
                place += 1;
            }
        }
    }

    fn is_ignored(&mut self, state: &State, node: usize, letter: u32) -> bool {
        let kind = StepKind::Receive { letter, again: false, late: false };
        match self.step(state.nodes[node], kind.code(), |pool| kind.event(pool)) {
            Outcome::Next { node: after, count: 0, .. } => self.changes_nothing(state, node, after),
            _ => false,
        }
    }

    /// Whether the state is the same with `after` in the place of a node, apart from the numbers of appends.
    fn changes_nothing(&self, state: &State, node: usize, after: u32) -> bool {
        let before = state.nodes[node];
        if after == before || self.row(after).outlines[0] != self.row(before).outlines[0] {
            return after == before;
        }
        let mut next = state.clone();
        next.nodes[node] = after;
        self.current(&next) == self.current(state)
    }

    /// The past after the step of a node.
    fn past(&mut self, place: usize, before: u32, next: &State) -> Result<u32, Violation> {
        let (was, is) = (self.row(before).summary, self.row(next.nodes[place]).summary);
        let same = (was.up, was.leads, was.term, was.commit, was.durable_term)
            == (is.up, is.leads, is.term, is.commit, is.durable_term);
        if same {
            return Ok(next.ghost);
        }
        let mut summaries = [was; MAX_NODES];
        let summaries = self.summaries(next, &mut summaries);
        let past = &self.ghost(next.ghost).0;
        let after = past.after(place, was, summaries)?;
        if after == *past { Ok(next.ghost) } else { Ok(self.ghost_number(after)) }
    }

    fn summaries<'a>(&self, state: &State, room: &'a mut [Summary; MAX_NODES]) -> &'a [Summary] {
        for (place, &node) in room.iter_mut().zip(&state.nodes) {
            *place = self.row(node).summary;
        }
        &room[..state.nodes.len()]
    }

    /// Checks the properties of a new state after a step of node `place`.
    pub(super) fn check(&self, place: usize, state: &State) -> Result<(), Violation> {
        let mut room = [self.row(state.nodes[place]).summary; MAX_NODES];
        ghost::check(place, self.summaries(state, &mut room))
    }

    /// Too many messages: some are lost, any of the old and the new ones. A message that is lost earlier than it has to be
    /// changes nothing else, so losses wait until the room is needed.
    fn lose(
        &mut self,
        limits: &Limits,
        state: State,
        visit: &mut dyn FnMut(&mut Self, Vec<u32>, State) -> bool,
    ) -> bool {
        let (all, most) = (state.letters.len(), limits.in_flight);
        if all <= most {
            return visit(self, Vec::new(), state);
        }
        let drops = u32::from(state.used.drops) + (all - most) as u32;
        if limits.drops.is_some_and(|limit| drops > limit) {
            return true;
        }
        let mut seen: Vec<Vec<u32>> = Vec::new();
        for chosen in (0_u32..1 << all).filter(|chosen| chosen.count_ones() as usize == most) {
            let (kept, lost): (Vec<usize>, Vec<usize>) = (0..all).partition(|place| chosen >> place & 1 == 1);
            let letters = |places: Vec<usize>| places.into_iter().map(|place| state.letters[place]).collect::<Vec<_>>();
            let (kept, lost) = (letters(kept), letters(lost));
            if seen.contains(&kept) {
                continue;
            }
            let mut next = State { letters: kept.clone(), ..state.clone() };
            next.used.drops = if limits.drops.is_some() { drops as u8 } else { 0 };
            seen.push(kept);
            if !visit(self, lost, next) {
                return false;
            }
        }
        true
    }
}

fn remove(letters: &mut Vec<u32>, letter: u32) {
    if let Some(place) = letters.iter().position(|&other| other == letter) {
        letters.remove(place);
    }
}
