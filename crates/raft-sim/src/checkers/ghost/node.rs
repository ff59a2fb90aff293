//! One node as the records tell it: what it asked for, what its simulated disk holds for good, what it says of itself.
//!
//! This file must not judge anything: it folds, and the properties judge.

use super::log::{Chain, Log, Slot};
use crate::record::{CrashKind, NodeView, Record, SimTime};
use raft_core::{Configuration, Entries, EntryId, HardState, LogIndex, NodeId, RoleKind, Term, Write, WriteId};
use std::collections::VecDeque;

/// What a node said of itself, without its configuration, and since which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) role: RoleKind,
    pub(crate) leader: Option<NodeId>,
    pub(crate) commit: LogIndex,
    pub(crate) last: EntryId,
    pub(crate) applied: LogIndex,
    /// The first record that showed this.
    pub(crate) record: u64,
}

impl Seen {
    fn of(view: &NodeView, record: u64) -> Self {
        let NodeView { term, voted_for, role, leader, commit, last, applied, configuration: _ } = view;
        Self {
            term: *term,
            voted_for: *voted_for,
            role: *role,
            leader: *leader,
            commit: *commit,
            last: *last,
            applied: *applied,
            record,
        }
    }
}

/// What is durable on a node's simulated disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    /// The record that last reported what the disk holds.
    pub(crate) record: u64,
}

/// A write that was asked for and is not known to be durable.
#[derive(Clone, Debug)]
struct Pending {
    id: WriteId,
    hard_state: Option<HardState>,
    truncate_from: Option<LogIndex>,
    slots: Vec<Slot>,
    /// The disk operation that completed it; none until it was written.
    mark: Option<u64>,
}

/// What a restart brought back, beside what it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Whether this is the node's first start, with nothing asked before.
    pub(crate) first: bool,
    /// How many of the writes in doubt the recovered state contains; none if it is not the fold of any prefix of them.
    pub(crate) contains: Option<usize>,
    /// How many writes were in doubt: asked for and not known to be durable.
    pub(crate) in_doubt: usize,
    /// How many of them the store had written.
    pub(crate) written: usize,
    /// Whether only kills happened since the last start: then everything written must be back.
    pub(crate) only_killed: bool,
    /// What was durable before.
    pub(crate) hard_state_before: HardState,
    /// The length of the log that was durable before.
    pub(crate) log_before: u64,
    /// The record that last reported it.
    pub(crate) record_before: u64,
}

/// What an `Asked` did to the log in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edit {
    /// The first and the last removed entry.
    pub(crate) removed: Option<(Slot, Slot)>,
    /// How many entries were added.
    pub(crate) pushed: u64,
    /// The first entry that does not follow the log.
    pub(crate) gap: Option<EntryId>,
    /// How many configurations were among the removed entries.
    pub(crate) rolled_back: usize,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    pub(crate) incarnation: u64,
    /// The log in memory: what it started with and everything it asked for since.
    pub(crate) log: Log,
    /// The configurations in that log, oldest first.
    pub(crate) configurations: Vec<(EntryId, Configuration)>,
    pub(crate) durable: Durable,
    /// What it says of itself; none before its first start, kept while it is down.
    pub(crate) view: Option<Seen>,
    /// What it said before that, in the same incarnation.
    pub(crate) previous: Option<Seen>,
    /// Whether the log in memory ends where `view` says. Not so between a step's input and its `Asked`.
    pub(crate) settled: bool,
    /// The last record in which it asked for a write, or started.
    pub(crate) asked: u64,
    /// When its last record was, if that was an input of a step: the next input may belong to the same step.
    input_at: Option<SimTime>,
    /// The index up to which it has reported entries as applied in this incarnation.
    pub(crate) applied: LogIndex,
    /// The chain of what it applied.
    pub(crate) applied_chain: Chain,
    /// When its applied index moved: true time, index; over all incarnations.
    pub(crate) applied_at: Vec<(SimTime, LogIndex)>,
    pending: VecDeque<Pending>,
    only_killed: bool,
}

impl Node {
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            id,
            up: false,
            incarnation: 0,
            log: Log::default(),
            configurations: Vec::new(),
            durable: Durable::default(),
            view: None,
            previous: None,
            settled: true,
            asked: 0,
            input_at: None,
            applied: LogIndex(0),
            applied_chain: Chain::ROOT,
            applied_at: Vec::new(),
            pending: VecDeque::new(),
            only_killed: true,
        }
    }

    /// The configuration in force: the newest in the log, committed or not (Raft §6).
    pub(crate) fn configuration(&self) -> Option<&Configuration> {
        self.configurations.last().map(|(_, configuration)| configuration)
    }

    /// Those in force at the end of a log of this length, and then those appended after it.
    pub(crate) fn configurations_since(&self, length: u64) -> &[(EntryId, Configuration)] {
        let later = self.configurations.partition_point(|(at, _)| at.index.0 <= length);
        self.configurations.get(later.saturating_sub(1)..).unwrap_or_default()
    }

    /// Takes in what the node says of itself. Returns whether it is new, and whether it now agrees with the log for
    /// the first time.
    pub(crate) fn observe_view(&mut self, view: &NodeView, record: u64) -> (bool, bool) {
        let new = match &self.view {
            Some(seen) if self.up => *seen != Seen::of(view, seen.record),
            _ => true,
        };
        if new {
            self.previous = if self.up { self.view.take() } else { None };
            self.view = Some(Seen::of(view, record));
        }
        let settled = self.log.last_id() == view.last;
        let newly = settled && (new || !self.settled);
        (self.settled, self.up) = (settled, true);
        (new, newly)
    }

    /// The node's last view, if with this record another step begins although that view never agreed with the log. A
    /// step may have several inputs: they come one after another, at one time, with one view.
    pub(crate) fn unsettled(&mut self, record: &Record, is_input: bool) -> Option<Seen> {
        let same_step = self.input_at == Some(record.at)
            && record.view.as_ref().zip(self.view).is_some_and(|(view, seen)| seen == Seen::of(view, seen.record));
        self.input_at = is_input.then_some(record.at);
        self.view.filter(|_| is_input && !same_step && self.up && !self.settled)
    }

    /// Folds a write into the log in memory.
    pub(crate) fn ask(&mut self, write: &Write, record: u64) -> Edit {
        let mut edit = Edit::default();
        if let Some(index) = write.truncate_from {
            edit.removed = self.log.truncate_from(index);
            while self.configurations.last().is_some_and(|(at, _)| at.index >= index) {
                self.configurations.pop();
                edit.rolled_back += 1;
            }
        }
        for entry in write.entries.iter() {
            if !self.log.push(entry, record) {
                edit.gap = Some(entry.id);
                break;
            }
            edit.pushed += 1;
            if let raft_core::Payload::Configuration(configuration) = &entry.payload {
                self.configurations.push((entry.id, configuration.clone()));
            }
        }
        self.asked = record;
        self.pending.push_back(Pending {
            id: write.id,
            hard_state: write.hard_state,
            truncate_from: write.truncate_from,
            slots: self.log.after(LogIndex(self.log.len() - edit.pushed)).to_vec(),
            mark: None,
        });
        edit
    }

    /// The store has written these, completed by this disk operation.
    pub(crate) fn wrote(&mut self, writes: &[Write], disk_mark: u64) {
        let Some(last) = writes.last() else { return };
        for pending in self.pending.iter_mut().filter(|pending| pending.mark.is_none() && pending.id <= last.id) {
            pending.mark = Some(disk_mark);
        }
    }

    /// The disk holds everything up to this operation for good.
    pub(crate) fn became_durable(&mut self, disk_durable: u64, record: u64) {
        self.durable.record = record;
        while self.pending.front().is_some_and(|write| write.mark.is_some_and(|mark| mark <= disk_durable)) {
            let Some(write) = self.pending.pop_front() else { return };
            fold(&mut self.durable.hard_state, &mut self.durable.log, &write);
        }
    }

    pub(crate) fn crashed(&mut self, crash: CrashKind) {
        (self.up, self.settled) = (false, true);
        self.only_killed &= crash == CrashKind::Kill;
        if crash == CrashKind::DiskLoss {
            // All that it had promised is gone with it; whoever relies on that shows elsewhere.
            self.durable = Durable { record: self.durable.record, ..Durable::default() };
            self.pending.clear();
        }
    }

    /// Starts over from what the store recovered. If the disk holds that for good it is the new durable state.
    pub(crate) fn started(
        &mut self,
        incarnation: u64,
        hard_state: HardState,
        entries: &Entries,
        (disk_mark, disk_durable): (u64, u64),
        record: u64,
    ) -> Recovery {
        let log = Log::of(entries, record);
        let first = self.incarnation == 0;
        // Judged by what was known to be durable *before*: the present mark also covers places of the disk whose
        // content a power loss took away.
        let recovery = Recovery {
            first,
            contains: if first { Some(0) } else { self.prefix_equal_to(hard_state, &log) },
            in_doubt: self.pending.len(),
            written: self.pending.iter().filter(|write| write.mark.is_some()).count(),
            only_killed: self.only_killed,
            hard_state_before: self.durable.hard_state,
            log_before: self.durable.log.len(),
            record_before: self.durable.record,
        };
        if disk_durable >= disk_mark {
            self.durable = Durable { hard_state, log: log.clone(), record };
            self.pending.clear();
        } else {
            self.pending.truncate(recovery.contains.unwrap_or(0));
            self.became_durable(disk_durable, record);
        }
        let configuration = |entry: &raft_core::Entry| match &entry.payload {
            raft_core::Payload::Configuration(configuration) => Some((entry.id, configuration.clone())),
            _ => None,
        };
        self.configurations = entries.iter().filter_map(configuration).collect();
        self.log = log;
        (self.incarnation, self.asked, self.settled) = (incarnation, record, true);
        (self.view, self.previous) = (None, None);
        (self.applied, self.applied_chain) = (LogIndex(0), Chain::ROOT);
        self.only_killed = true;
        recovery
    }

    /// The longest prefix of the writes in doubt after which the durable state would be this one.
    fn prefix_equal_to(&self, hard_state: HardState, log: &Log) -> Option<usize> {
        let (mut folded_state, mut folded) = (self.durable.hard_state, self.durable.log.clone());
        let mut found = (folded_state == hard_state && folded.chain() == log.chain()).then_some(0);
        for (place, write) in self.pending.iter().enumerate() {
            fold(&mut folded_state, &mut folded, write);
            if folded_state == hard_state && folded.chain() == log.chain() {
                found = Some(place + 1);
            }
        }
        found
    }

    /// When this node had first applied `index` at or after `from`.
    pub(crate) fn applied_since(&self, index: LogIndex, from: SimTime) -> Option<SimTime> {
        let held = self.applied_at.partition_point(|(at, _)| *at < from);
        let before = self.applied_at.get(..held).and_then(<[_]>::last).filter(|(_, applied)| *applied >= index);
        let later = self.applied_at.get(held..).and_then(|rest| rest.iter().find(|(_, applied)| *applied >= index));
        before.map(|_| from).or_else(|| later.map(|(at, _)| *at))
    }
}

fn fold(hard_state: &mut HardState, log: &mut Log, write: &Pending) {
    if let Some(changed) = write.hard_state {
        *hard_state = changed;
    }
    if let Some(index) = write.truncate_from {
        log.truncate_from(index);
    }
    log.extend(&write.slots);
}
