//! One node as the records show it: its writes, the durable content of its simulated disk, and its view of itself.
//!
//! This file folds records; the properties check them.

use super::Committed;
use super::log::{Chain, Log, Slot};
use crate::faults::Fault;
use crate::record::{CrashKind, InFlight, NodeView, Quotas, Record, SimTime};
use crate::scenario::model::{Limits, RaftSettings};
use raft_core::{
    Configuration, Entries, EntryId, HardState, InstallMode, LogIndex, NodeId, Payload, RoleKind, SnapshotMeta, Term,
    Write, WriteId,
};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A node's view of itself, without its configuration, and the first record with that view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) role: RoleKind,
    pub(crate) leader: Option<NodeId>,
    pub(crate) commit: LogIndex,
    pub(crate) first: LogIndex,
    pub(crate) last: EntryId,
    pub(crate) snapshot: Option<EntryId>,
    pub(crate) applied: LogIndex,
    /// The first record that showed this view.
    pub(crate) record: u64,
}

impl Seen {
    fn of(view: &NodeView, record: u64) -> Self {
        let NodeView { term, voted_for, role, leader, commit, first, last, snapshot, applied, .. } = view;
        Self {
            term: *term,
            voted_for: *voted_for,
            role: *role,
            leader: *leader,
            commit: *commit,
            first: *first,
            last: *last,
            snapshot: *snapshot,
            applied: *applied,
            record,
        }
    }
}

/// The durable part of a node's simulated disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMeta>,
    pub(crate) log: Log,
    /// The entries before this index may be gone: the node has compacted them, or begun a new log.
    let_go: LogIndex,
    /// The record of the newest report about the disk.
    pub(crate) record: u64,
}

/// A write that the node emitted and that is not known to be durable.
#[derive(Clone, Debug)]
struct Pending {
    id: WriteId,
    hard_state: Option<HardState>,
    truncate_from: Option<LogIndex>,
    snapshot: Option<SnapshotMeta>,
    /// The log that begins with that snapshot, if it replaces the old log.
    begins: Option<Log>,
    slots: Vec<Slot>,
    /// The disk operation that completed the write; `None` until it was written.
    mark: Option<u64>,
}

/// The state that a restart recovered, and the state that it should have recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Whether this is the node's first start, without earlier writes.
    pub(crate) first: bool,
    /// The previous incarnation; 0 if there was none.
    pub(crate) earlier: u64,
    /// How many of the writes in doubt the recovered state contains; `None` if it is not the fold of any prefix of
    /// them.
    pub(crate) contains: Option<usize>,
    /// How many writes were in doubt: emitted and not known to be durable.
    pub(crate) in_doubt: usize,
    /// How many of them the store had written.
    pub(crate) written: usize,
    /// Whether only kills happened since the last start: then the restart must recover everything that was written.
    pub(crate) only_killed: bool,
    /// The hard state that was durable before.
    pub(crate) hard_state_before: HardState,
    /// The last entry of the snapshot that was durable before; `0@0` without one.
    pub(crate) snapshot_before: EntryId,
    /// The length of the log that was durable before.
    pub(crate) log_before: u64,
    /// The record of the newest report about it.
    pub(crate) record_before: u64,
}

/// The change to the log in memory by an `Asked` record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edit {
    /// The first and the last removed entry.
    pub(crate) removed: Option<(Slot, Slot)>,
    pub(crate) pushed: u64,
    /// The first entry that does not follow the log.
    pub(crate) gap: Option<EntryId>,
    /// How many configurations were among the removed entries.
    pub(crate) rolled_back: usize,
    /// The snapshot before this one, if this write carries a snapshot; `0@0` if there was none.
    pub(crate) replaced: Option<EntryId>,
    /// Whether the write replaced the log with a snapshot whose last entry the log held.
    pub(crate) replaced_in_vain: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    pub(crate) incarnation: u64,
    /// The log in memory: the recovered log and all writes since.
    pub(crate) log: Log,
    /// The configurations in that log, oldest first.
    pub(crate) configurations: Vec<(EntryId, Configuration)>,
    pub(crate) durable: Durable,
    /// The newest snapshot whose record the node has written or recovered.
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// The snapshots whose files are durable on its disk.
    pub(crate) files: BTreeSet<EntryId>,
    /// The messages that the node says are in flight.
    pub(crate) in_flight: InFlight,
    pub(crate) quotas: Quotas,
    pub(crate) limits: Limits,
    pub(crate) priority: u32,
    /// The node's view of itself; `None` before its first start, kept while it is down.
    pub(crate) view: Option<Seen>,
    /// The previous view in the same incarnation.
    pub(crate) previous: Option<Seen>,
    /// Whether the log in memory ends where `view` says. It does not between a step's input and its `Asked` record.
    pub(crate) settled: bool,
    /// The last record in which the node emitted a write, or started.
    pub(crate) asked: u64,
    /// The time of its last record, if that was an input of a step: the next input may belong to the same step.
    input_at: Option<SimTime>,
    /// The index up to which it has reported entries as applied in this incarnation.
    pub(crate) applied: LogIndex,
    /// The chain of the applied entries.
    pub(crate) applied_chain: Chain,
    /// The times at which its applied index moved, in true time, over all incarnations.
    pub(crate) applied_at: Vec<(SimTime, LogIndex)>,
    /// How long its timers have stood still because its clock jumped back (rule R1), over all incarnations.
    pub(crate) stood_still: Duration,
    pending: VecDeque<Pending>,
    only_killed: bool,
    ailing: Ailing,
}

/// The faults of a node's disk, as far as the checkers must know them.
#[derive(Clone, Debug, Default)]
struct Ailing {
    /// The content may be damaged: the node has to notice that when it starts.
    damaged: bool,
    /// A call has failed, and the process will report it.
    failed: bool,
    /// The content before the disk was lost or rolled back. Until the machine starts again it counts as down, and its
    /// earlier promises are true of this content.
    before: Option<Durable>,
    /// The next start uses an older state, and that is not the store's fault.
    rolled_back: bool,
}

impl Node {
    pub(crate) fn new(id: NodeId, raft: &RaftSettings) -> Self {
        Self {
            id,
            up: false,
            incarnation: 0,
            log: Log::default(),
            configurations: Vec::new(),
            durable: Durable::default(),
            snapshot: None,
            files: BTreeSet::new(),
            in_flight: InFlight::default(),
            quotas: Quotas::default(),
            limits: raft.limits(),
            priority: *raft.priority_of.get(&id).unwrap_or(&raft.priority),
            view: None,
            previous: None,
            settled: true,
            asked: 0,
            input_at: None,
            applied: LogIndex(0),
            applied_chain: Chain::ROOT,
            applied_at: Vec::new(),
            stood_still: Duration::ZERO,
            pending: VecDeque::new(),
            only_killed: true,
            ailing: Ailing::default(),
        }
    }

    /// The configuration in force: the newest in the log, committed or not (Raft §6).
    pub(crate) fn configuration(&self) -> Option<&Configuration> {
        self.configurations.last().map(|(_, configuration)| configuration)
    }

    /// The configuration in force at the end of a log of this length, and then the configurations after it.
    pub(crate) fn configurations_since(&self, length: u64) -> &[(EntryId, Configuration)] {
        let later = self.configurations.partition_point(|(at, _)| at.index.0 <= length);
        self.configurations.get(later.saturating_sub(1)..).unwrap_or_default()
    }

    /// Notes the node's view of itself. Returns whether the view is new, and whether it agrees with the log for the
    /// first time.
    pub(crate) fn observe_view(&mut self, view: &NodeView, record: u64) -> (bool, bool) {
        let new = match &self.view {
            Some(seen) if self.up => *seen != Seen::of(view, seen.record),
            _ => true,
        };
        if new {
            self.previous = if self.up { self.view.take() } else { None };
            self.view = Some(Seen::of(view, record));
        }
        (self.in_flight, self.quotas) = (view.in_flight, view.quotas);
        let settled = self.log.last_id() == view.last;
        let newly = settled && (new || !self.settled);
        (self.settled, self.up) = (settled, true);
        (new, newly)
    }

    /// The node's last view, if this record begins another step although that view never agreed with the log. A step
    /// may have several inputs: they follow one another, at one time, with one view.
    pub(crate) fn unsettled(&mut self, record: &Record, is_input: bool) -> Option<Seen> {
        let same_step = self.input_at == Some(record.at)
            && record.view.as_ref().zip(self.view).is_some_and(|(view, seen)| seen == Seen::of(view, seen.record));
        self.input_at = is_input.then_some(record.at);
        self.view.filter(|_| is_input && !same_step && self.up && !self.settled)
    }

    /// Folds a write into the log in memory.
    pub(crate) fn ask(&mut self, write: &Write, known: Known<'_>, record: u64) -> Edit {
        let mut edit = Edit::default();
        if let Some(index) = write.truncate_from {
            edit.removed = self.log.truncate_from(index);
            while self.configurations.last().is_some_and(|(at, _)| at.index >= index) {
                self.configurations.pop();
                edit.rolled_back += 1;
            }
        }
        let mut begins = None;
        if let Some(taken) = &write.snapshot {
            edit.replaced = Some(self.snapshot.as_ref().map(|snapshot| snapshot.last).unwrap_or_default());
            self.snapshot = Some(taken.meta.clone());
            if taken.log == InstallMode::Discard {
                begins = Some(self.replace_log(taken.meta.last, known, &mut edit, record));
            }
        }
        for entry in write.entries.iter() {
            if !self.log.push(entry, record) {
                edit.gap = Some(entry.id);
                break;
            }
            edit.pushed += 1;
            if let Payload::Configuration(configuration) = &entry.payload {
                self.configurations.push((entry.id, configuration.clone()));
            }
        }
        self.asked = record;
        self.pending.push_back(Pending {
            id: write.id,
            hard_state: write.hard_state,
            truncate_from: write.truncate_from,
            snapshot: write.snapshot.as_ref().map(|taken| taken.meta.clone()),
            begins,
            slots: self.log.after(LogIndex(self.log.len() - edit.pushed)).to_vec(),
            mark: None,
        });
        edit
    }

    /// Replaces the log with the log that a snapshot represents.
    fn replace_log(&mut self, last: EntryId, known: Known<'_>, edit: &mut Edit, record: u64) -> Log {
        edit.replaced_in_vain = self.log.slot(last.index).is_some_and(|slot| slot.id == last);
        let begins = Log::covered(known.committed, last, record);
        edit.removed = self.log.not_in(&begins);
        self.configurations = known.decided_up_to(last.index);
        self.log = begins.clone();
        begins
    }

    /// Notes that the store has written these, up to this disk operation.
    pub(crate) fn wrote(&mut self, writes: &[Write], disk_mark: u64) {
        let Some(last) = writes.last() else { return };
        for pending in self.pending.iter_mut().filter(|pending| pending.mark.is_none() && pending.id <= last.id) {
            pending.mark = Some(disk_mark);
        }
    }

    /// Notes that the disk holds everything up to this operation durably.
    pub(crate) fn became_durable(&mut self, disk_durable: u64, record: u64) {
        self.durable.record = record;
        while self.pending.front().is_some_and(|write| write.mark.is_some_and(|mark| mark <= disk_durable)) {
            let Some(write) = self.pending.pop_front() else { return };
            self.durable.fold(&write);
        }
    }

    pub(crate) fn crashed(&mut self, crash: CrashKind) {
        (self.up, self.settled) = (false, true);
        self.only_killed &= crash == CrashKind::Kill;
        if matches!(crash, CrashKind::DiskLoss | CrashKind::DiskRollback) {
            // All of its promises are gone; other properties show which state relied on them.
            let (let_go, record) = (LogIndex(1), self.durable.record);
            let before = std::mem::replace(&mut self.durable, Durable { let_go, record, ..Durable::default() });
            self.pending.clear();
            let rolled_back = crash == CrashKind::DiskRollback;
            self.ailing =
                Ailing { before: Some(self.ailing.before.take().unwrap_or(before)), rolled_back, ..Ailing::default() };
        }
    }

    /// Notes that the disk was damaged, or has made a call fail.
    pub(crate) fn disk_fault(&mut self, fault: Fault) {
        // A process that ends by itself is not killed: its last writes may be gone.
        self.only_killed = false;
        match fault {
            Fault::BitRot | Fault::MisdirectedWrite => self.ailing.damaged = true,
            _ => self.ailing.failed = true,
        }
    }

    /// Notes that the node reports that it does not run. Returns whether its disk caused this: by damage, or by the
    /// call that failed just now.
    pub(crate) fn refused(&mut self) -> bool {
        (self.up, self.settled) = (false, true);
        std::mem::take(&mut self.ailing.failed) || self.ailing.damaged
    }

    /// Whether its disk is unreliable from now on.
    pub(crate) fn is_damaged(&self) -> bool {
        self.ailing.damaged || self.ailing.before.is_some()
    }

    /// The durable content of its disk. For a lost disk it is the earlier content. That machine counts as down.
    pub(crate) fn held(&self) -> &Durable {
        self.ailing.before.as_ref().unwrap_or(&self.durable)
    }

    /// Notes a start from the recovered state. If that state is durable, it is the new durable state. Also returns how
    /// many recovered entries do not come from a snapshot.
    pub(crate) fn started(
        &mut self,
        incarnation: u64,
        found: Found<'_>,
        (disk_mark, disk_durable): (u64, u64),
        known: Known<'_>,
        record: u64,
    ) -> (Recovery, u64) {
        let Found { hard_state, snapshot, entries } = found;
        let (log, base) = found.log(known, record);
        let first = self.incarnation == 0;
        let rolled_back = std::mem::take(&mut self.ailing).rolled_back;
        let earlier = self.incarnation;
        // The comparison uses the durable state from *before*: the current mark also covers parts of the disk whose
        // content a power loss took away.
        let recovery = Recovery {
            first,
            earlier,
            contains: if first || rolled_back { Some(0) } else { self.prefix_equal_to(found, &log) },
            in_doubt: self.pending.len(),
            written: self.pending.iter().filter(|write| write.mark.is_some()).count(),
            only_killed: self.only_killed,
            hard_state_before: self.durable.hard_state,
            snapshot_before: self.durable.snapshot_id(),
            log_before: self.durable.log.len(),
            record_before: self.durable.record,
        };
        if disk_durable >= disk_mark {
            let let_go = entries.first_index().unwrap_or(log.last_id().index.next());
            self.durable = Durable { hard_state, snapshot: snapshot.cloned(), log: log.clone(), let_go, record };
            self.pending.clear();
        } else {
            self.pending.truncate(recovery.contains.unwrap_or(0));
            self.became_durable(disk_durable, record);
        }
        let configuration = |entry: &raft_core::Entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.id, configuration.clone())),
            _ => None,
        };
        self.configurations = known.decided_up_to(base);
        self.configurations.extend(
            entries.iter().filter(|entry| entry.id.index > base && log.len() > base.0).filter_map(configuration),
        );
        self.log = log;
        self.snapshot = snapshot.cloned();
        self.files = snapshot.iter().map(|snapshot| snapshot.last).collect();
        (self.incarnation, self.asked, self.settled) = (incarnation, record, true);
        (self.view, self.previous) = (None, None);
        (self.applied, self.applied_chain) = (LogIndex(0), Chain::ROOT);
        self.only_killed = true;
        (recovery, self.log.len().saturating_sub(base.0))
    }

    /// Notes that the node has compacted the entries before this index.
    pub(crate) fn compacted(&mut self, before: LogIndex) {
        self.durable.let_go = self.durable.let_go.max(before);
    }

    /// Notes that its state machine restored a snapshot, the state after `last` of the committed log.
    pub(crate) fn restored(&mut self, last: EntryId, known: Known<'_>) {
        self.applied = last.index;
        self.applied_chain = Log::covered(known.committed, last, 0).chain();
    }

    /// The longest prefix of the writes in doubt after which the durable state would be this one.
    fn prefix_equal_to(&self, found: Found<'_>, log: &Log) -> Option<usize> {
        let begins = found.entries.first_index().unwrap_or(log.last_id().index.next());
        let equals = |folded: &Durable| {
            folded.hard_state == found.hard_state
                && folded.snapshot.as_ref() == found.snapshot
                && folded.log.chain() == log.chain()
                && (begins <= folded.let_go || folded.log.len() < folded.let_go.0)
        };
        let mut folded = self.durable.clone();
        let mut longest = equals(&folded).then_some(0);
        for (place, write) in self.pending.iter().enumerate() {
            folded.fold(write);
            if equals(&folded) {
                longest = Some(place + 1);
            }
        }
        longest
    }

    /// The time at which this node first applied `index`, not before `from`.
    pub(crate) fn applied_since(&self, index: LogIndex, from: SimTime) -> Option<SimTime> {
        let held = self.applied_at.partition_point(|(at, _)| *at < from);
        let before = self.applied_at.get(..held).and_then(<[_]>::last).filter(|(_, applied)| *applied >= index);
        let later = self.applied_at.get(held..).and_then(|rest| rest.iter().find(|(_, applied)| *applied >= index));
        before.map(|_| from).or_else(|| later.map(|(at, _)| *at))
    }
}

impl Durable {
    /// The last entry that its snapshot covers; `0@0` without one.
    pub(crate) fn snapshot_id(&self) -> EntryId {
        self.snapshot.as_ref().map(|snapshot| snapshot.last).unwrap_or_default()
    }

    /// Folds as recovery does: truncation, snapshot, entries.
    fn fold(&mut self, write: &Pending) {
        if let Some(changed) = write.hard_state {
            self.hard_state = changed;
        }
        if let Some(index) = write.truncate_from {
            self.log.truncate_from(index);
        }
        if write.snapshot.is_some() {
            self.snapshot.clone_from(&write.snapshot);
        }
        if let Some(begins) = &write.begins {
            self.let_go = begins.last_id().index.next();
            self.log.clone_from(begins);
        }
        self.log.extend(&write.slots);
    }
}

/// The decisions of the whole cluster, as far as the records show them.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) committed: &'a [Committed],
    pub(crate) decided: &'a [(EntryId, Configuration)],
}

impl Known<'_> {
    fn decided_up_to(&self, index: LogIndex) -> Vec<(EntryId, Configuration)> {
        self.decided.iter().filter(|(at, _)| at.index <= index).cloned().collect()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<&'a SnapshotMeta>,
    pub(crate) entries: &'a Entries,
}

impl Found<'_> {
    /// The log of this state, and the index up to which it comes from the snapshot. Entries that end before the
    /// snapshot do not count, and entries that begin too late for it are not added.
    fn log(&self, known: Known<'_>, record: u64) -> (Log, LogIndex) {
        let covered = self.snapshot.map(|snapshot| snapshot.last).unwrap_or_default();
        let reaches = self.entries.last_id().is_some_and(|last| last.index >= covered.index);
        let before = self.entries.first_index().unwrap_or_default().previous();
        if !reaches || before >= covered.index {
            let mut log = Log::covered(known.committed, covered, record);
            let _ = reaches && self.entries.iter().all(|entry| log.push(entry, record));
            return (log, covered.index);
        }
        let place = usize::try_from(before.0).unwrap_or(usize::MAX);
        let before = known.committed.get(..place).unwrap_or_default().last().map(|entry| entry.id).unwrap_or_default();
        let mut log = Log::covered(known.committed, before, record);
        let _ = self.entries.iter().all(|entry| log.push(entry, record));
        (log, before.index)
    }
}
