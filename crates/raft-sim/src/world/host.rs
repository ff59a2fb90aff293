//! One whole node: the production node and store over a simulated disk, and a few facts about its process.
//!
//! The disk's queue and the node's inbox are the production types. The world decides when to call it, and the meaning
//! of its outputs for other nodes.

use crate::faults::Fault;
use crate::record::{Caps, CrashKind, InFlight, Internals, NodeView, Quotas, RecordKind, SimTime, Unhashed};
use crate::scenario::model::{DiskModel, InitialState, Keep, RaftSettings};
use crate::world::clock::NodeClock;
use crate::world::disk::{PowerLoss, SimDisk, Stop};
use crate::world::disk_tasks::Working;
use crate::world::event::NodeEvent;
use crate::world::settings;
use raft_core::{
    Config, Configuration, Entries, Entry, EntryId, HardState, InstallMode, Instant, LogIndex, NodeId, Payload,
    PeerState, PeerStatus, RecoveredState, RoleKind, Status, Term, Write,
};
use raft_kv::{KvMap, WindowLimits};
use raft_node::{DiskExecutor, DiskQueue, Inbox, InboxLimits, Node, NodeInput, NodeOptions, read_backup};
use raft_store::{ClusterId, DiskId, Identity, Opened, Store, StoreError, StoreOptions, open_node};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The first cluster of a world.
pub(crate) const CLUSTER: ClusterId = ClusterId(*b"raft-sim cluster");

/// A node's state machine before its first entry.
pub(crate) fn state_machine(settings: &RaftSettings) -> KvMap {
    // The checkers count events, not bytes.
    KvMap::with_limits(WindowLimits { events: settings.window_events, bytes: u64::MAX })
}

/// The prefix of the names of log segments.
pub(crate) const SEGMENTS: &str = "wal-";

/// An input for a node, with the record that shows it.
#[derive(Clone, Debug)]
pub struct RecordedInput {
    pub cause: Option<u64>,
    pub kind: RecordKind,
    pub input: NodeInput,
}

impl RecordedInput {
    pub const fn new(cause: Option<u64>, kind: RecordKind, input: NodeInput) -> Self {
        Self { cause, kind, input }
    }
}

/// A connection that a peer has opened.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The start of the peer that opened it.
    pub incarnation: u64,
    pub disk: DiskId,
    pub caller: Caller,
}

/// The state of a peer that has connected.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The disk looks up the peer's disk; these messages wait for the result.
    Unknown(Vec<RecordedInput>),
    /// The peer's disk is the one that it always had.
    Known,
    /// The peer has another disk than before: all of its messages are dropped.
    Refused,
}

/// A machine: its disk, its clock, and a process while one runs.
#[derive(Clone, Debug)]
pub struct Host {
    pub id: NodeId,
    pub clock: NodeClock,
    pub cluster: ClusterId,
    /// The number of its current or last start; the disk counts the starts. 0 is before the first.
    pub incarnation: u64,
    incarnations_lost: u64,
    disks_lost: u64,
    pub process: Option<Process>,
    /// The crash that waits for the next call.
    pub armed: Option<Armed>,
    /// The crash that waits for some calls of the disk.
    armed_disk: Option<Armed>,
    pub downed_by: Option<CrashKind>,
    pub paused: bool,
    /// The reading of the clock, while the machine is suspended.
    pub suspended: Option<Instant>,
    /// The events that wait for a paused process, in order.
    pub(crate) paused_queue: Vec<NodeEvent>,
    /// The latency of a slow disk.
    pub slow: Option<Range<Duration>>,
    /// Counts the groups written, over all starts.
    pub groups: u64,
    /// Counts the other tasks of its disk, over all starts.
    pub jobs: u64,
    /// Counts the steps in which its disk preallocated, over all starts.
    pub preallocations: u64,
    /// Counts the looks into its inbox, over all starts.
    pub calls: u64,
    pub power_losses: u64,
    /// Counts the errors injected into its disk.
    pub injected: u64,
    /// Counts the outputs of all its processes.
    pub outputs: u64,
    pub damages: u64,
    /// The fault that has damaged its disk, unless a later start has found it sound.
    pub damaged: Option<Fault>,
    /// The newest segment of its log at the last sync, and its length that was known to be durable then: because of a
    /// later durable group, or because of the start that counted it.
    pub known_durable: Option<(String, u64)>,
    config: Config,
    options: NodeOptions,
    /// The state machine before its first entry.
    machine: KvMap,
    inbox_limits: InboxLimits,
    /// The first record of a founder's disk.
    founding: Option<Write>,
    segment_bytes: u64,
    reserve_bytes: u64,
    /// The disk, while no process uses it.
    disk: Option<SimDisk>,
    /// The content of the disk at the newest start.
    image: Option<SimDisk>,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub node: Node<KvMap>,
    pub store: Store<SimDisk>,
    pub executor: DiskExecutor,
    /// The tasks that wait for the disk, each with the record that requested it.
    pub queue: DiskQueue<u64>,
    /// The inputs that wait for the node, each with its cause and the record that shows it.
    pub inbox: Inbox<(Option<u64>, RecordKind)>,
    /// Its thread is busy, and takes the inbox later.
    pub busy: bool,
    /// The node's deadline has come, and its thread has not taken it since.
    pub timer_due: bool,
    pub working: Option<Working>,
    /// A call is adding tasks to the queue, and the disk begins when all are queued.
    pub disk_looks_later: bool,
    /// The peers that have connected since its start.
    pub callers: BTreeMap<NodeId, Connection>,
    /// The snapshot that the node wants to load, if it waits for one.
    pub wanted: Option<EntryId>,
    /// The time of its timer event.
    pub timer: Option<SimTime>,
    /// The last entry before those whose terms are known.
    base: EntryId,
    /// The terms of its log from there on, as written.
    log: Vec<Term>,
    /// The last term in which the node, as the leader, wrote an entry of that term.
    pub led_and_appended: Term,
}

/// A crash that fires after some outputs of the next call with outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    pub after: u32,
    pub crash: CrashKind,
    pub keep: Keep,
    /// The time after which the node starts again, if it does.
    pub restart_after: Option<Duration>,
}

impl Host {
    /// A machine with an empty disk; for a founder, also its first record.
    pub fn new(
        id: NodeId,
        clock: NodeClock,
        settings: &RaftSettings,
        (disk, inbox_limits): (&DiskModel, &InboxLimits),
        founding: Option<Write>,
    ) -> Self {
        let (config, options) = (settings::config(id, settings), settings::node_options(settings));
        Self {
            id,
            clock,
            cluster: CLUSTER,
            incarnation: 0,
            incarnations_lost: 0,
            disks_lost: 0,
            process: None,
            armed: None,
            armed_disk: None,
            downed_by: None,
            paused: false,
            suspended: None,
            paused_queue: Vec::new(),
            slow: None,
            groups: 0,
            jobs: 0,
            preallocations: 0,
            calls: 0,
            power_losses: 0,
            injected: 0,
            outputs: 0,
            damages: 0,
            damaged: None,
            known_durable: None,
            config,
            options,
            machine: state_machine(settings),
            inbox_limits: inbox_limits.clone(),
            founding,
            segment_bytes: disk.segment_bytes,
            reserve_bytes: disk.reserve_bytes,
            disk: Some(SimDisk::new()),
            image: None,
        }
    }

    /// Starts a process with the content of the disk; an empty disk becomes this node's.
    ///
    /// # Errors
    /// The error of the store or the core that refused the start.
    pub fn start(&mut self, seed: u64) -> Result<RecordKind, String> {
        let disk = self.disk.take().ok_or("the machine runs already")?;
        let identity = Identity { cluster: self.cluster, node: self.id };
        self.options.cluster = self.cluster;
        let (options, reserve_bytes) = (self.store_options(), self.reserve_bytes);
        let Opened { mut store, recovery, incarnation, .. } =
            match open_node(disk, identity, self.disk_id(), self.founding.as_ref(), options) {
                Ok(opened) => opened,
                Err(error) => {
                    let words = error.to_string();
                    self.disk = Some(error.into_parts().1);
                    return Err(words);
                }
            };
        let restored = recovery.restored;
        let (hard_state, snapshot) = (restored.hard_state, restored.snapshot.clone());
        // The node keeps part of the log in memory; the checkers see the whole log.
        let entries = match read_log(&mut store, &restored) {
            Ok(entries) => entries,
            Err(error) => {
                self.disk = Some(store.into_disk());
                return Err(error.to_string());
            }
        };
        let config = Config { seed, ..self.config.clone() };
        let options = NodeOptions { reserve_bytes, ..self.options.clone() };
        let node = match Node::new(config, options, restored, self.machine.clone()) {
            Ok(node) => node,
            Err(error) => {
                self.disk = Some(store.into_disk());
                return Err(error.to_string());
            }
        };
        self.incarnation = self.incarnations_lost + incarnation;
        self.image = Some(store.disk().clone());
        self.known_durable = newest_segment(store.disk());
        self.damaged = None;
        let kind = RecordKind::Started {
            incarnation: self.incarnation,
            hard_state,
            snapshot: snapshot.clone(),
            disk_mark: store.disk().operations(),
            disk_durable: store.disk().durable_through(),
            entries: entries.clone(),
        };
        let covered = snapshot.map(|snapshot| snapshot.last);
        let reaches = entries.last_id().map(|last| last.index) >= covered.map(|covered| covered.index);
        let before = entries.first_index().filter(|_| reaches);
        let before = before.map(|first| EntryId { index: first.previous(), term: Term(0) });
        self.process = Some(Process {
            node,
            store,
            executor: DiskExecutor::default(),
            queue: DiskQueue::default(),
            inbox: Inbox::new(&self.inbox_limits),
            busy: false,
            timer_due: false,
            working: None,
            disk_looks_later: false,
            callers: BTreeMap::new(),
            wanted: None,
            timer: None,
            base: before.or(covered).unwrap_or_default(),
            log: entries.iter().filter(|_| reaches).map(|entry| entry.id.term).collect(),
            led_and_appended: Term(0),
        });
        Ok(kind)
    }

    /// The id that its disk gets if it has none; no other disk in the world has this id.
    pub fn disk_id(&self) -> DiskId {
        DiskId((u128::from(self.id.0) << 64 | u128::from(self.disks_lost)).to_be_bytes())
    }

    /// How long a leader's write may take.
    pub const fn max_write_stall(&self) -> Duration {
        self.config.max_write_stall
    }

    /// The bytes that its store preallocates; 0 means none.
    pub const fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes
    }

    /// Ends the process, if one runs, and keeps the disk in its state. Returns true if disk tasks or events waited for
    /// it.
    pub fn stop(&mut self) -> bool {
        let waited = !std::mem::take(&mut self.paused_queue).is_empty();
        let Some(Process { store, queue, working, .. }) = self.process.take() else { return waited };
        self.disk = Some(store.into_disk());
        (self.paused, self.suspended) = (false, None);
        waited || working.is_some() || !queue.is_empty()
    }

    /// Replaces its disk with an empty one, while no process runs. It then starts like a joiner: no node founds a
    /// cluster twice. Returns how many operations were on the old one.
    pub fn lose_disk(&mut self) -> u64 {
        self.founding = None;
        self.incarnations_lost = self.incarnation;
        self.disks_lost += 1;
        (self.image, self.known_durable, self.damaged) = (None, None, None);
        self.disk.replace(SimDisk::new()).map_or(0, |disk| disk.operations())
    }

    /// Makes it a machine of another cluster, with this disk or an empty one, while no process runs.
    pub fn join_cluster(&mut self, cluster: ClusterId, disk: Option<SimDisk>) {
        (self.cluster, self.disk) = (cluster, Some(disk.unwrap_or_default()));
    }

    pub const fn store_options(&self) -> StoreOptions {
        settings::store_options(&self.config, self.segment_bytes, self.reserve_bytes)
    }

    /// The hash of the state in the snapshot of `last` on the disk, while no process runs, and what it would be after `saved`.
    ///
    /// # Errors
    /// The error of the store, or of the snapshot's decoder.
    pub fn state_hashes_on_disk(&self, last: EntryId, saved: EntryId) -> Result<(u128, u128), String> {
        let disk = self.disk.clone().ok_or("the machine runs")?;
        let opened = Store::open(disk, self.store_options());
        let (mut store, _) = opened.map_err(|refused| refused.error.to_string())?;
        let data = store.load_snapshot(last).map_err(|error| error.to_string())?;
        let content = read_backup(&data, last).map_err(|error| error.to_string())?;
        let after = |applied: EntryId| content.state_hash(self.machine.clone(), applied.index);
        after(last).and_then(|hash| Ok((hash, after(saved)?))).map_err(|error| error.to_string())
    }

    /// Sets the disk back to its content at the newest start, while no process runs. Returns how many operations that
    /// undoes. The next start gets a new incarnation, whatever the disk says.
    pub fn roll_back_disk(&mut self) -> u64 {
        let Some(mut image) = self.image.clone() else { return 0 };
        image.crash_power(PowerLoss::KeepNothing);
        image.clear_errors();
        self.incarnations_lost = self.incarnation;
        (self.known_durable, self.damaged) = (None, None);
        let undone = image.operations();
        self.disk.replace(image).map_or(0, |disk| disk.operations() - undone)
    }

    /// Arms a crash that fires after `armed.after` more calls to the disk, of a write, a sync or a recovery. The count
    /// starts now, or at the next creation of a file.
    pub fn arm_disk(&mut self, armed: Armed, from_creation: bool) {
        let stop = Stop { after: u64::from(armed.after), from_creation };
        self.any_disk().into_iter().for_each(|disk| disk.stop_at(stop));
        self.armed_disk = Some(armed);
    }

    /// The crash that the disk has reached, if there is one.
    pub fn take_disk_crash(&mut self) -> Option<Armed> {
        let stopped = self.any_disk().is_some_and(|disk| disk.has_stopped());
        self.armed_disk.take_if(|_| stopped)
    }

    pub fn disarm(&mut self) {
        self.armed = None;
        self.armed_disk = None;
        self.any_disk().into_iter().for_each(SimDisk::go_on);
    }

    pub const fn is_armed(&self) -> bool {
        self.armed.is_some() || self.armed_disk.is_some()
    }

    /// The disk, with or without a process.
    pub fn disk_to_see(&self) -> Option<&SimDisk> {
        self.process.as_ref().map_or(self.disk.as_ref(), |process| Some(process.store.disk()))
    }

    /// The disk, for changes from outside.
    pub fn any_disk(&mut self) -> Option<&mut SimDisk> {
        match &mut self.process {
            Some(process) => Some(process.store.disk_mut()),
            None => self.disk.as_mut(),
        }
    }

    /// The disk, while no process uses it.
    pub const fn disk(&mut self) -> Option<&mut SimDisk> {
        self.disk.as_mut()
    }

    /// The view of the node; `None` while it is down.
    pub fn view(&self) -> Option<Box<NodeView>> {
        let process = self.process.as_ref()?;
        let status = process.node.status();
        Some(Box::new(NodeView {
            term: status.term,
            voted_for: status.voted_for,
            role: status.role,
            leader: status.leader,
            commit: status.commit,
            first: status.first,
            last: status.last,
            snapshot: status.snapshot,
            applied: status.applied,
            in_flight: InFlight {
                messages: status.peers.values().map(|peer| peer.inflight_messages as u64).sum(),
                bytes: status.peers.values().map(|peer| peer.inflight_bytes).sum(),
                snapshots: status.peers.values().filter(|peer| peer.snapshot.is_some()).count() as u64,
            },
            quotas: self.quotas(&status),
            configuration: process.node.configuration().cloned(),
            internals: Unhashed(Internals {
                has_timer: process.node.raft().deadline().is_some(),
                transfer_to: status.transfer_to,
                peers: status.peers,
                cached_bytes: status.cached_bytes,
                load: process.node.load(),
                inbox: process.inbox.load(),
                caps: Caps {
                    cached_bytes: self.config.max_cached_bytes,
                    forwarded_requests: self.options.max_forwarded_requests,
                    forwarded_bytes: self.options.max_forwarded_bytes,
                    sessions: self.options.max_sessions,
                },
            }),
        }))
    }
}

impl Host {
    /// How many tasks its disk has begun.
    pub(crate) const fn disk_tasks(&self) -> u64 {
        self.groups + self.jobs + self.preallocations
    }

    fn quotas(&self, status: &Status) -> Quotas {
        let peers = || status.peers.values();
        let is_blocked = |peer: &&PeerStatus| {
            peer.state == PeerState::Replicate
                && peer.next_index <= status.last.index
                && peer.inflight_bytes >= self.config.max_inflight_bytes
        };
        Quotas {
            uncommitted_bytes: status.uncommitted_bytes,
            unpersisted_bytes: status.unpersisted_bytes,
            applying_bytes: status.applying_bytes,
            pending_reads: status.pending_reads,
            inflight_messages: peers().map(|peer| peer.inflight_messages).max().unwrap_or(0),
            inflight_bytes: peers().map(|peer| peer.inflight_bytes).max().unwrap_or(0),
            blocked_peers: peers().filter(is_blocked).count() as u64,
        }
    }
}

/// All entries of a recovered log.
fn read_log(store: &mut Store<SimDisk>, restored: &RecoveredState) -> Result<Entries, StoreError> {
    match restored.runs.first() {
        Some(&(first, _)) => store.read(first, restored.last.index, u64::MAX),
        None => Ok(Entries::new()),
    }
}

/// The newest segment of the log, and the end of its durable part. Once another group after that is durable, all of it
/// is known to be durable.
pub(crate) fn newest_segment(disk: &SimDisk) -> Option<(String, u64)> {
    let file = disk.last_used(SEGMENTS)?;
    Some((file.to_owned(), disk.durable_end(file)))
}

impl Process {
    /// Updates the terms of the log with a write of the node.
    pub fn mirror(&mut self, write: &Write, role: RoleKind, term: Term) {
        if let Some(index) = write.truncate_from {
            self.log.truncate(self.place(index).unwrap_or(0));
        }
        if let Some(taken) = write.snapshot.as_ref().filter(|taken| taken.log == InstallMode::Discard) {
            self.base = taken.meta.last;
            self.log.clear();
        }
        if let Some(first) = write.entries.first_index() {
            self.log.truncate(self.place(first).unwrap_or(0));
            self.log.extend(write.entries.iter().map(|entry| entry.id.term));
        }
        if role == RoleKind::Leader && write.entries.last_id().is_some_and(|last| last.term == term) {
            self.led_and_appended = term;
        }
    }

    /// Whether it holds an entry with this index and, if given, this term. A snapshot holds all entries that it covers;
    /// their terms are no longer known.
    pub fn holds(&self, index: LogIndex, term: Option<Term>) -> bool {
        let held = match self.place(index) {
            Some(place) => self.log.get(place).copied(),
            None if index == self.base.index => Some(self.base.term),
            None => return term.is_none(),
        };
        held.is_some_and(|held| term.is_none_or(|term| term == held))
    }

    fn place(&self, index: LogIndex) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.base.index.0 + 1)?).ok()
    }
}

/// The first record of a founder, or of a node with an initial state.
pub fn first_write(configuration: Configuration, initial: Option<&InitialState>) -> Write {
    let founder = Write::bootstrap(configuration.clone());
    let Some(initial) = initial else { return founder };
    let payload = |place| {
        if place == 0 { Payload::Configuration(configuration.clone()) } else { Payload::Noop }
    };
    let entry = |(place, term): (usize, &Term)| Entry {
        id: EntryId { index: LogIndex(place as u64 + 1), term: *term },
        payload: payload(place),
    };
    Write {
        hard_state: Some(HardState { term: initial.term, voted_for: initial.voted_for }),
        entries: initial.log.iter().enumerate().map(entry).collect(),
        ..founder
    }
}
