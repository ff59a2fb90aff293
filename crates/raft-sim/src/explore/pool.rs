//! The parts that states share: nodes, messages and histories, each stored once and named by a number, and the steps of
//! nodes, each taken once by the production core and remembered.
//!
//! A node meets the same input in the same state millions of times, in other surroundings. The core is a function, so the
//! step is the same.

use super::Limits;
use super::ghost::Ghost;
use super::letter::Letter;
use super::packed::Packed;
use super::replica::{Event, Image, Replica, Timing, broken};
use super::table::Table;
use crate::checkers::Violation;
use crate::run::words;
use raft_core::{Config, Configuration, Digest, LogIndex, NodeId, Renaming, RoleKind, Seq, Write};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What the properties need of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) up: bool,
    pub(super) leads: bool,
    pub(super) term: u64,
    pub(super) durable_term: u64,
    pub(super) log: Packed,
    pub(super) durable: Packed,
    pub(super) commit: u64,
    /// How many writes are not done.
    pub(super) unsynced: usize,
    /// Whether a timer runs, and may fire within the limits.
    pub(super) may_time_out: bool,
    /// Whether a request for a vote that comes late meets another node than one that comes at once.
    pub(super) is_sticky: bool,
}

/// The forms under each renaming, and numbers of appends.
type Forms = Box<[u128]>;
type Numbers = Box<[(u8, u64)]>;

/// A node with its forms.
#[derive(Debug)]
pub(super) struct NodeRow {
    pub(super) replica: Replica,
    pub(super) summary: Summary,
    /// The form under each renaming, without the numbers of appends.
    pub(super) outlines: Forms,
    /// The least of these forms. It does not depend on the names.
    pub(super) colour: u128,
    /// The numbers of appends, as receiver (from 0), term and number: the positions of a leader, or the newest append that
    /// another node has seen.
    pub(super) numbers: Numbers,
}

#[derive(Debug)]
pub(super) struct LetterRow {
    pub(super) letter: Letter,
    pub(super) to: usize,
    pub(super) outlines: Forms,
    /// The receiver of its append, and the number, if it has one.
    pub(super) number: Option<(u8, u64)>,
}

/// A remembered step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The next node, and where its messages are.
    Next { node: u32, first: u32, count: u32 },
    /// The step breaks a property; the number of the violation.
    Broken(u32),
}

/// The shared parts.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) configs: Vec<Config>,
    pub(super) timing: Timing,
    limits: Limits,
    renamings: Vec<Renaming>,
    pub(super) permutations: Vec<Vec<usize>>,
    nodes: (Table, Vec<NodeRow>),
    letters: (Table, Vec<LetterRow>),
    ghosts: (Table, Vec<(Ghost, Forms)>),
    memory: Table,
    outcomes: Vec<Outcome>,
    sent: Vec<u32>,
    pub(super) violations: Vec<Violation>,
}

/// An election timeout, in the time of the explorer.
const TIMEOUT: u64 = 1_000;

impl Pool {
    pub(super) fn new(limits: &Limits) -> Self {
        let permutations = if limits.symmetry { permutations(limits.nodes) } else { vec![(0..limits.nodes).collect()] };
        let timeless = !limits.keeps_time();
        let renamings = permutations.iter().map(|order| renaming(order, timeless)).collect();
        Self {
            configs: (1..=limits.nodes as u64).map(|id| config(NodeId(id), limits)).collect(),
            // Without time, each timeout makes all that was before it long past.
            timing: Timing { beyond: if timeless { 2 * TIMEOUT } else { 0 }, counts_rounds: limits.pre_vote },
            limits: limits.clone(),
            renamings,
            permutations,
            nodes: (Table::new(), Vec::new()),
            letters: (Table::new(), Vec::new()),
            ghosts: (Table::new(), Vec::new()),
            memory: Table::new(),
            outcomes: Vec::new(),
            sent: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// The founders, all started.
    pub(super) fn founders(&mut self) -> Result<Vec<u32>, Violation> {
        let voters = self.configs.iter().map(|config| config.id);
        let first = Write::bootstrap(Configuration::of_voters(voters));
        let founders: Result<Vec<Replica>, _> =
            self.configs.iter().map(|config| Replica::founder(config, &first)).collect();
        Ok(founders?.into_iter().map(|founder| self.node(founder)).collect())
    }

    pub(super) fn row(&self, node: u32) -> &NodeRow {
        &self.nodes.1[node as usize]
    }

    pub(super) fn letter(&self, letter: u32) -> &LetterRow {
        &self.letters.1[letter as usize]
    }

    pub(super) fn ghost(&self, ghost: u32) -> &(Ghost, Forms) {
        &self.ghosts.1[ghost as usize]
    }

    pub(super) fn outcomes(&self) -> usize {
        self.outcomes.len()
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.1.len()
    }

    pub(super) fn letters(&self) -> usize {
        self.letters.1.len()
    }

    pub(super) fn sent(&self, first: u32, count: u32) -> &[u32] {
        &self.sent[first as usize..(first + count) as usize]
    }

    /// An estimate of the bytes of all tables, on the high side.
    pub(super) fn bytes(&self) -> usize {
        let forms = self.permutations.len() * size_of::<u128>();
        let node = size_of::<NodeRow>() + size_of::<raft_core::Raft>() + forms + NODE_HEAP;
        let letter = size_of::<LetterRow>() + forms + LETTER_HEAP;
        self.nodes.1.len() * node
            + self.letters.1.len() * letter
            + self.ghosts.1.len() * (size_of::<Ghost>() + forms)
            + self.outcomes.capacity() * size_of::<Outcome>()
            + self.sent.capacity() * size_of::<u32>()
            + [&self.nodes.0, &self.letters.0, &self.ghosts.0, &self.memory].map(Table::bytes).iter().sum::<usize>()
    }

    /// The number of a node.
    pub(super) fn node(&mut self, replica: Replica) -> u32 {
        let (number, is_new) = self.nodes.0.insert(self.identity(&replica));
        if is_new {
            let (outlines, numbers) = self.forms(&replica);
            let summary = self.summary(&replica);
            let colour = outlines.iter().copied().min().unwrap_or_default();
            self.nodes.1.push(NodeRow { replica, summary, outlines, colour, numbers });
        }
        number
    }

    /// What decides the steps of a node, with the numbers of appends as they are.
    fn identity(&self, replica: &Replica) -> u128 {
        let mut digest = Digest::new();
        hash_node(replica, |id| id, &mut digest);
        if let Some(core) = &replica.core {
            core.outline(&Renaming { timeless: self.renamings[0].timeless, ..Renaming::default() }).hash(&mut digest);
        }
        digest.value()
    }

    fn forms(&self, replica: &Replica) -> (Forms, Numbers) {
        let mut numbers = Vec::new();
        let outlines = self.renamings.iter().map(|renaming| {
            let mut digest = Digest::new();
            hash_node(replica, |id| renaming.nodes.get(&id).copied().unwrap_or(id), &mut digest);
            if let Some(core) = &replica.core {
                let (outline, list) = core.outline(renaming);
                outline.hash(&mut digest);
                let number = |(id, seq): &(NodeId, Seq)| (place(*id), core.term().0 << NUMBER_BITS | seq.0);
                numbers = list.iter().filter(|(id, _)| *id != replica.id || !leads(replica)).map(number).collect();
            }
            digest.value()
        });
        let outlines = outlines.collect();
        (outlines, numbers.into())
    }

    fn summary(&self, replica: &Replica) -> Summary {
        let (durable, term) = (Packed::of(&replica.durable.entries), replica.written.hard_state.term.0);
        let core = replica.core.as_ref();
        let leads = leads(replica);
        let runs = core.is_some_and(|core| core.deadline().is_some());
        let has_rounds = !self.limits.pre_vote || replica.rounds < self.limits.rounds;
        let may_campaign = term < 1 + self.limits.terms && has_rounds;
        Summary {
            up: core.is_some(),
            leads,
            term,
            durable_term: replica.durable.hard_state.term.0,
            log: Packed::of(&replica.written.entries),
            durable,
            commit: core.map_or(0, |core| core.commit().0),
            unsynced: replica.unsynced.len(),
            may_time_out: runs && (leads || may_campaign),
            is_sticky: runs && !leads && has_rounds && self.limits.stickiness,
        }
    }

    /// The number of a message.
    pub(super) fn letter_number(&mut self, letter: Letter) -> u32 {
        let outlines: Forms = self
            .renamings
            .iter()
            .map(|renaming| letter.outline(|id| renaming.nodes.get(&id).copied().unwrap_or(id)))
            .collect();
        let (term, receiver, seq) = letter.number();
        let number = (seq.0 > 0).then(|| (place(receiver), term.0 << NUMBER_BITS | seq.0));
        let (id, is_new) = self.letters.0.insert(Digest::of(&(outlines[0], number)));
        if is_new {
            let to = usize::from(place(letter.to));
            self.letters.1.push(LetterRow { letter, to, outlines, number });
        }
        id
    }

    /// The number of a history.
    pub(super) fn ghost_number(&mut self, ghost: Ghost) -> u32 {
        let forms: Forms = self.permutations.iter().map(|order| Digest::of(&ghost.renamed(order))).collect();
        let (number, is_new) = self.ghosts.0.insert(forms[0]);
        if is_new {
            self.ghosts.1.push((ghost, forms));
        }
        number
    }

    /// The outcome of an event; `code` names the event among those of this node.
    pub(super) fn step(&mut self, node: u32, code: u32, event: impl FnOnce(&Self) -> Event) -> Outcome {
        let (number, is_new) = self.memory.insert(u128::from(node) << 32 | u128::from(code));
        if !is_new {
            return self.outcomes[number as usize];
        }
        let event = event(self);
        let outcome = match self.take(node, &event) {
            Ok((replica, sent)) => {
                let from = replica.id;
                let first = if sent.is_empty() { 0 } else { self.sent.len() as u32 };
                let count = sent.len() as u32;
                for (to, rpc) in sent {
                    let letter = self.letter_number(Letter { from, to, rpc });
                    self.sent.push(letter);
                }
                Outcome::Next { node: self.node(replica), first, count }
            }
            Err(violation) => {
                self.violations.push(violation);
                Outcome::Broken(self.violations.len() as u32 - 1)
            }
        };
        self.outcomes.push(outcome);
        outcome
    }

    /// One step of the production code, which may panic.
    fn take(&self, node: u32, event: &Event) -> Result<(Replica, Vec<(NodeId, raft_core::Rpc)>), Violation> {
        let replica = &self.row(node).replica;
        let config = &self.configs[usize::from(place(replica.id))];
        let step = || replica.step(event, config, self.timing);
        let panic =
            |panic: Box<dyn std::any::Any + Send>| broken("no-panic", format!("{}: {}", replica.id, words(&*panic)));
        catch_unwind(AssertUnwindSafe(step)).map_err(panic)?
    }
}

/// The bits of the number of an append, below its term.
pub(super) const NUMBER_BITS: u32 = 40;
/// The heap of a node beside its core, and of its log, writes, peers and messages, measured.
const NODE_HEAP: usize = 1_400;
const LETTER_HEAP: usize = 64;

/// The place of a node, from 0.
pub(super) fn place(id: NodeId) -> u8 {
    u8::try_from(id.0.saturating_sub(1)).unwrap_or(u8::MAX)
}

fn leads(replica: &Replica) -> bool {
    replica.role() == Some(RoleKind::Leader)
}

fn config(id: NodeId, limits: &Limits) -> Config {
    let timeout = Duration::from_nanos(TIMEOUT);
    Config {
        // Without an own range nothing is drawn.
        election_timeout: timeout..timeout,
        heartbeat_interval: timeout / 2,
        pre_vote: limits.pre_vote,
        check_quorum: limits.check_quorum,
        stickiness: limits.stickiness,
        max_write_stall: Duration::MAX,
        snapshot_timeout: timeout,
        // One entry in each append: more appends to reorder and to lose.
        max_append_bytes: 1,
        ..Config::new(id)
    }
}

/// All orders of `count` nodes, the usual one first: the new place of each old one.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = |order: &Vec<usize>| {
            let free: Vec<usize> = (0..count).filter(|place| !order.contains(place)).collect();
            let order = order.clone();
            free.into_iter().map(move |place| order.iter().copied().chain([place]).collect())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

fn renaming(order: &[usize], timeless: bool) -> Renaming {
    let id = |place: usize| NodeId(place as u64 + 1);
    let nodes = order.iter().enumerate().map(|(old, &new)| (id(old), id(new))).collect();
    Renaming { nodes, timeless, plain: true, ..Renaming::default() }
}

/// The parts of a node beside its core.
fn hash_node(replica: &Replica, name: impl Fn(NodeId) -> NodeId + Copy, digest: &mut Digest) {
    (name(replica.id), replica.rounds, replica.unsynced.len()).hash(digest);
    hash_image(&replica.durable, name, digest);
    replica.unsynced.iter().for_each(|write| hash_write(write, name, digest));
}

fn hash_image(image: &Image, name: impl Fn(NodeId) -> NodeId, digest: &mut Digest) {
    let Image { hard_state, entries } = image;
    (hard_state.term, hard_state.voted_for.map(name), entries.len()).hash(digest);
    entries.iter().for_each(|entry| entry.id.hash(digest));
}

/// The number of a write counts for nothing: all writes are reported in order.
fn hash_write(write: &Write, name: impl Fn(NodeId) -> NodeId, digest: &mut Digest) {
    let hard_state = write.hard_state.map(|state| (state.term, state.voted_for.map(name)));
    (hard_state, write.truncate_from.unwrap_or(LogIndex(0)), write.entries.len()).hash(digest);
    write.entries.iter().for_each(|entry| entry.id.hash(digest));
}
