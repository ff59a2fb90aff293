//! A state of the cluster: numbers of its nodes, of the messages in flight and of its past, and what was used of the limits.

use super::pool::{NUMBER_BITS, NodeRow, Pool};
use raft_core::Digest;
use std::hash::Hasher;

/// The most nodes and messages that a state holds.
pub(super) const MAX_NODES: usize = 5;
pub(super) const MAX_IN_FLIGHT: usize = 8;

/// A state. Two states are equal for the search if their fingerprints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) nodes: Vec<u32>,
    /// Sorted.
    pub(super) letters: Vec<u32>,
    pub(super) ghost: u32,
    pub(super) used: Used,
}

/// What was used of the limits that count events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) entries: u8,
    pub(super) crashes: u8,
    pub(super) drops: u8,
    pub(super) duplicates: u8,
    pub(super) heartbeats: u8,
}

impl Used {
    fn word(self) -> u64 {
        u64::from_le_bytes([self.entries, self.crashes, self.drops, self.duplicates, self.heartbeats, 0, 0, 0])
    }

    fn of_word(word: u64) -> Self {
        let [entries, crashes, drops, duplicates, heartbeats, ..] = word.to_le_bytes();
        Self { entries, crashes, drops, duplicates, heartbeats }
    }
}

impl State {
    /// Appends the words of the state: 4 bytes for each node and message, and 12.
    pub(super) fn encode(&self, words: &mut Vec<u32>) {
        let used = self.used.word() | (self.letters.len() as u64) << 56;
        words.extend([self.ghost, used as u32, (used >> 32) as u32]);
        words.extend(&self.nodes);
        words.extend(&self.letters);
    }

    /// The state at the beginning of `words`, and its length.
    pub(super) fn decode(words: &[u32], nodes: usize) -> (Self, usize) {
        let (head, rest) = words.split_at(3);
        let (ids, rest) = rest.split_at(nodes);
        let used = u64::from(head[2]) << 32 | u64::from(head[1]);
        let letters = (used >> 56) as usize;
        let state =
            Self { nodes: ids.to_vec(), letters: rest[..letters].to_vec(), ghost: head[0], used: Used::of_word(used) };
        (state, 3 + nodes + letters)
    }
}

impl Pool {
    /// The least digest over the renamings that sort the nodes by their colours. So most states need one digest.
    pub(super) fn fingerprint(&self, state: &State) -> u128 {
        let current = self.current(state);
        if self.permutations.len() == 1 {
            return self.digest(state, current, 0);
        }
        let mut colours = [0; MAX_NODES];
        for (colour, &node) in colours.iter_mut().zip(&state.nodes) {
            *colour = self.row(node).colour;
        }
        let count = state.nodes.len();
        let mut least = u128::MAX;
        for (renaming, order) in self.permutations.iter().enumerate() {
            let mut sorted = [0; MAX_NODES];
            (0..count).for_each(|old| sorted[order[old]] = colours[old]);
            if sorted[..count].is_sorted() {
                least = least.min(self.digest(state, current, renaming));
            }
        }
        least
    }

    /// The digest under one renaming.
    #[cfg(test)]
    pub(super) fn fingerprint_under(&self, state: &State, renaming: usize) -> u128 {
        self.digest(state, self.current(state), renaming)
    }

    /// The numbers of appends that are above the position of their leader, as bits: of the nodes, then of the messages.
    /// Nothing else about a number matters, and nothing at all once its leader is gone.
    pub(super) fn current(&self, state: &State) -> u32 {
        let is_current = |(receiver, number): (u8, u64)| {
            let mut leaders = state.nodes.iter().map(|&node| self.row(node)).filter(|row| row.summary.leads);
            let leader = leaders.find(|row| row.summary.term == number >> NUMBER_BITS);
            let position = leader.and_then(|row| row.numbers.iter().find(|(to, _)| *to == receiver));
            position.is_some_and(|&(_, position)| number > position)
        };
        let seen = |row: &NodeRow| row.numbers.first().copied().filter(|_| !row.summary.leads);
        let nodes = state.nodes.iter().map(|&node| seen(self.row(node)));
        let letters = state.letters.iter().map(|&letter| self.letter(letter).number);
        let bits = nodes.chain(letters).map(|number| number.is_some_and(is_current));
        bits.enumerate().fold(0, |word, (place, bit)| word | u32::from(bit) << place)
    }

    fn digest(&self, state: &State, current: u32, renaming: usize) -> u128 {
        let order = &self.permutations[renaming];
        let mut digest = Digest::new();
        let count = state.nodes.len();
        let mut nodes = [0; MAX_NODES];
        let bit = |place: usize| u128::from(current >> place & 1);
        for (old, &node) in state.nodes.iter().enumerate() {
            nodes[order[old]] = self.row(node).outlines[renaming] ^ bit(old);
        }
        for outline in &nodes[..count] {
            digest.write_u128(*outline);
        }
        let mut letters = [0; MAX_IN_FLIGHT];
        for (place, &letter) in state.letters.iter().enumerate() {
            letters[place] = self.letter(letter).outlines[renaming] ^ bit(count + place);
        }
        letters[..state.letters.len()].sort_unstable();
        for letter in &letters[..state.letters.len()] {
            digest.write_u128(*letter);
        }
        digest.write_u128(self.ghost(state.ghost).1[renaming]);
        digest.write_u64(state.used.word());
        digest.value()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::ghost::Ghost;
    use super::*;
    use std::collections::BTreeSet;

    fn start(pool: &mut Pool) -> State {
        let nodes = pool.founders().expect("the founders start");
        let ghost = pool.ghost_number(Ghost::default());
        State { nodes, letters: Vec::new(), ghost, used: Used::default() }
    }

    fn all(pool: &mut Pool, limits: &Limits, state: &State) -> Vec<State> {
        let mut all = Vec::new();
        pool.successors(limits, state, &mut |_, _, next| {
            all.push(next.expect("the core is sound"));
            true
        });
        all
    }

    #[test]
    fn a_state_comes_back_from_its_words() {
        let used = Used { entries: 1, crashes: 2, drops: 3, duplicates: 4, heartbeats: 5 };
        let state = State { nodes: vec![7, 8, 9], letters: vec![1, 1, 6], ghost: 3, used };
        let mut words = vec![0];
        state.encode(&mut words);
        assert_eq!(State::decode(&words[1..], 3), (state, words.len() - 1));
    }

    /// Walks at random, and the same way under other names: each step leads to the same state under these names.
    #[test]
    fn other_names_of_the_nodes_give_the_same_steps_under_these_names() {
        let plain =
            Limits { symmetry: true, terms: 3, entries: 2, heartbeats: Some(3), duplicates: 1, ..Limits::default() };
        let guarded = Limits { pre_vote: true, stickiness: true, check_quorum: true, rounds: 4, ..plain.clone() };
        walk(&plain);
        walk(&guarded);
    }

    fn walk(limits: &Limits) {
        let mut pool = Pool::new(limits);
        let first = start(&mut pool);
        let mut random = 7_u64;
        for walk in 0..60 {
            let renaming = walk % pool.permutations.len();
            let (mut state, mut renamed) = (first.clone(), first.clone());
            for depth in 0..50 {
                let (nexts, others) = (all(&mut pool, limits, &state), all(&mut pool, limits, &renamed));
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let Some(next) = nexts.get((random >> 33) as usize % nexts.len().max(1)) else { break };
                let wanted = pool.fingerprint_under(next, renaming);
                let twin = others.iter().find(|other| pool.fingerprint_under(other, 0) == wanted);
                let Some(twin) = twin else { panic!("walk {walk}, step {depth}: no such step under other names") };
                assert_eq!(pool.fingerprint(next), pool.fingerprint(twin));
                let forms = |states: &[State], renaming| -> BTreeSet<u128> {
                    states.iter().map(|state| pool.fingerprint_under(state, renaming)).collect()
                };
                assert_eq!(forms(&nexts, renaming), forms(&others, 0), "walk {walk}, step {depth}");
                (state, renamed) = (next.clone(), twin.clone());
            }
        }
    }
}
