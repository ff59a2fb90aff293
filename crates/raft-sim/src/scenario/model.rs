//! A scenario as the world runs it: checked, with defaults. serde's derive reads and writes everything that has the
//! same shape in a file; steps have another shape there (`steps.rs`). `check.rs` has the checks that serde cannot make.
//!
//! Probabilities are integers, in parts per million, because no decision uses floats.

use super::changes::{SeatChange, Seats};
use super::feature::{FEATURES, Feature};
use super::forms::{form, is_default, ppm, some_within, trimmed, within};
use super::names::name_of;
use super::parse::MAX_NODES;
use super::refusals::Refusal;
use super::steps::StepForm;
use crate::branch::Branches;
use crate::faults::Fault;
use crate::record::CrashKind;
use crate::world::disk::InjectedError;
use raft_core::{LogIndex, MAX_NUMBER, NodeId, RoleKind, Term};
use raft_node::InboxLimits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
const TIB: i64 = 1 << 40;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Scenario {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// The path it was read from, for messages.
    #[serde(skip)]
    pub path: String,
    /// One line.
    #[serde(deserialize_with = "trimmed")]
    pub title: String,
    /// A paragraph for a reader who learns Raft.
    #[serde(deserialize_with = "trimmed")]
    pub story: String,
    /// Where the scenario comes from: a section of a paper, a known bug.
    #[serde(deserialize_with = "trimmed")]
    pub source: String,
    /// The default seeds; the end is excluded.
    #[serde(with = "form")]
    pub seeds: Range<u64>,
    /// The number of nodes (n1, n2, ..).
    #[serde(deserialize_with = "within::<1, { MAX_NODES as i64 }, _, _>")]
    pub nodes: u64,
    /// How many of them, the first ones, are founders and voters. The others start with an empty disk and join when the
    /// operator adds them. `None` means all, unless a swarm run with changes of the configuration draws the number.
    pub founders: Option<u64>,
    /// How long the run lasts in true time.
    #[serde(with = "form")]
    pub duration: Duration,
    pub raft: RaftSettings,
    /// The nodes that start with this state on their disks instead of as founders of a new cluster.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub initial: BTreeMap<NodeId, InitialState>,
    /// The behaviour of every link without faults.
    pub network: NetworkModel,
    /// What happens to these messages. All others arrive once, without an additional delay.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub messages: Option<BTreeMap<MessagePlace, Fate>>,
    /// The behaviour of every disk without faults.
    pub disk: DiskModel,
    /// How every node's process shares its time.
    #[serde(skip_serializing_if = "is_default")]
    pub process: ProcessModel,
    pub clients: ClientModel,
    /// The events from which on a run makes other choices than its seed.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub branches: Branches,
    /// First the steps with a time, then those with a condition, each kind in the file's order.
    #[serde(skip)]
    pub steps: Vec<Step>,
    pub swarm: Option<SwarmModel>,
    /// The enumeration of every crash, if the scenario has one.
    pub enumerate: Option<Enumeration>,
    /// The conditions at the end, beyond the checkers.
    #[serde(skip_serializing_if = "is_default")]
    pub expect: Expectations,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct RaftSettings {
    #[serde(with = "form")]
    pub election_timeout: Range<Duration>,
    #[serde(with = "form")]
    pub heartbeat_interval: Duration,
    /// Whether nodes ask for pre-votes (Thesis §9.6).
    pub pre_vote: bool,
    /// Whether leaders need answers of a quorum (Thesis §6.2).
    pub check_quorum: bool,
    /// Whether nodes ignore vote requests after contact with a leader (Thesis §4.2.3).
    pub stickiness: bool,
    /// Whether a leader with a lease serves reads without a round (Thesis §6.4.1).
    pub lease_reads: bool,
    /// The largest drift of any clock that nodes with leases assume.
    #[serde(deserialize_with = "within::<0, 999_999, _, _>")]
    pub max_clock_drift_ppm: u32,
    #[serde(deserialize_with = "within::<1, GIB, _, _>")]
    pub max_append_bytes: u64,
    #[serde(deserialize_with = "within::<1, MIB, _, _>")]
    pub max_inflight_messages: usize,
    #[serde(with = "form")]
    pub max_write_stall: Duration,
    #[serde(deserialize_with = "within::<1, TIB, _, _>")]
    pub max_inflight_bytes: u64,
    #[serde(deserialize_with = "within::<1, TIB, _, _>")]
    pub max_uncommitted_bytes: u64,
    #[serde(deserialize_with = "within::<1, TIB, _, _>")]
    pub max_unpersisted_bytes: u64,
    #[serde(deserialize_with = "within::<1, TIB, _, _>")]
    pub max_apply_bytes: u64,
    #[serde(deserialize_with = "within::<0, TIB, _, _>")]
    pub max_retained_bytes: u64,
    #[serde(deserialize_with = "within::<1, MIB, _, _>")]
    pub max_pending_reads: usize,
    /// How many requests a follower may have forwarded to the leader; 0: it names the leader instead.
    #[serde(deserialize_with = "within::<0, MIB, _, _>", skip_serializing_if = "is_default")]
    pub max_forwarded_requests: usize,
    /// The most bytes of commands and queries in them.
    #[serde(deserialize_with = "within::<1, TIB, _, _>")]
    pub max_forwarded_bytes: u64,
    /// The number of applied entries after which a node takes a snapshot; 0 means only on request.
    #[serde(deserialize_with = "within::<1, GIB, _, _>", skip_serializing_if = "is_default")]
    pub snapshot_after_entries: u64,
    /// How many entries stay in the log although a snapshot covers them.
    #[serde(deserialize_with = "within::<0, GIB, _, _>")]
    pub trailing_entries: u64,
    #[serde(deserialize_with = "within::<0, TIB, _, _>")]
    pub max_cached_bytes: u64,
    #[serde(deserialize_with = "within::<1, { 4 * MIB }, _, _>")]
    pub snapshot_chunk_bytes: u64,
    /// The most bytes of snapshots that a node sends in a second; 0 means no limit.
    #[serde(deserialize_with = "within::<1, TIB, _, _>", skip_serializing_if = "is_default")]
    pub snapshot_bytes_per_second: u64,
    /// How many applied entries a turn has in which one member writes its snapshot; 0: there are no turns.
    #[serde(deserialize_with = "within::<1, GIB, _, _>", skip_serializing_if = "is_default")]
    pub snapshot_turn_entries: u64,
    /// How many times as long as a chunk of the own snapshot took the pause after it is; 0: no pause.
    #[serde(deserialize_with = "within::<1, 1_000, _, _>", skip_serializing_if = "is_default")]
    pub snapshot_pauses: u32,
    /// When a snapshot transfer without an answer counts as lost.
    #[serde(with = "form")]
    pub snapshot_timeout: Duration,
    /// When a chunk without an answer counts as lost.
    #[serde(with = "form")]
    pub snapshot_patience: Duration,
    /// The preference of a node as leader.
    #[serde(deserialize_with = "within::<0, { raft_core::MAX_PRIORITY as i64 }, _, _>")]
    pub priority: u32,
    /// How many client sessions a node keeps.
    #[serde(deserialize_with = "within::<1, MIB, _, _>")]
    pub max_sessions: usize,
    /// How many answers a session keeps.
    #[serde(deserialize_with = "within::<1, 1_024, _, _>")]
    pub max_answers: usize,
    /// How many changes a node's map remembers for watches.
    #[serde(deserialize_with = "within::<1, MIB, _, _>")]
    pub window_events: u64,
    /// Overrides of the election timeout for some nodes: they script who campaigns first.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub election_timeout_of: BTreeMap<NodeId, Range<Duration>>,
    /// Overrides of the priority for some nodes.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub priority_of: BTreeMap<NodeId, u32>,
    /// The bytes of applied entries after which a node takes a snapshot; 0 means never for that reason.
    #[serde(deserialize_with = "within::<1, TIB, _, _>", skip_serializing_if = "is_default")]
    pub snapshot_after_bytes: u64,
    /// The largest snapshot file that a node receives.
    #[serde(deserialize_with = "within::<1, TIB, _, _>")]
    pub max_snapshot_bytes: u64,
    /// Other values for some nodes.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub of: BTreeMap<NodeId, NodeSettings>,
}

/// Defines the settings that a node can have for itself.
macro_rules! node_settings {
    ($($form:meta, $name:ident: $type:ty;)+) => {
        /// The settings of one node that differ from those of the others.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields, expecting = "a table")]
        pub struct NodeSettings {
            $(
                #[$form]
                #[serde(skip_serializing_if = "is_default")]
                pub $name: Option<$type>,
            )+
        }

        impl NodeSettings {
            /// The names of all of them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// Gives a node these settings.
            pub fn apply(&self, settings: &mut RaftSettings) {
                $(self.$name.iter().for_each(|value| settings.$name = *value);)+
            }

            /// What has to change to make `others` into `node`.
            pub fn difference(others: &RaftSettings, node: &RaftSettings) -> Self {
                Self { $($name: (node.$name != others.$name).then_some(node.$name),)+ }
            }

            /// Drops the setting of this name; returns whether it was there.
            pub fn drop(&mut self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name.take().is_some(),)+
                    _ => false,
                }
            }
        }
    };
}

node_settings! {
    serde(deserialize_with = "some_within::<0, { raft_core::MAX_PRIORITY as i64 }, _, _>"), priority: u32;
    serde(with = "form"), max_write_stall: Duration;
    serde(deserialize_with = "some_within::<1, TIB, _, _>"), max_inflight_bytes: u64;
    serde(deserialize_with = "some_within::<1, TIB, _, _>"), max_uncommitted_bytes: u64;
    serde(deserialize_with = "some_within::<1, TIB, _, _>"), max_unpersisted_bytes: u64;
    serde(deserialize_with = "some_within::<1, TIB, _, _>"), max_apply_bytes: u64;
    serde(deserialize_with = "some_within::<0, TIB, _, _>"), max_retained_bytes: u64;
    serde(deserialize_with = "some_within::<1, MIB, _, _>"), max_pending_reads: usize;
    serde(deserialize_with = "some_within::<0, TIB, _, _>"), max_cached_bytes: u64;
    serde(deserialize_with = "some_within::<0, GIB, _, _>"), trailing_entries: u64;
    serde(deserialize_with = "some_within::<0, GIB, _, _>"), snapshot_after_entries: u64;
    serde(with = "form"), snapshot_timeout: Duration;
    serde(deserialize_with = "some_within::<1, { 4 * MIB }, _, _>"), snapshot_chunk_bytes: u64;
    serde(deserialize_with = "some_within::<0, TIB, _, _>"), snapshot_bytes_per_second: u64;
    serde(with = "form"), snapshot_patience: Duration;
    serde(deserialize_with = "some_within::<0, 1_000, _, _>"), snapshot_pauses: u32;
    serde(deserialize_with = "some_within::<0, GIB, _, _>"), snapshot_turn_entries: u64;
}

/// The limits of a node's queues; see [`raft_core::Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Limits {
    /// How long a leader's write may take before it transfers leadership.
    #[serde(with = "form")]
    pub max_write_stall: Duration,
    /// The most bytes of entries in flight to a peer; one append always fits.
    pub max_inflight_bytes: u64,
    /// From this many bytes of uncommitted entries on, a leader rejects commands.
    pub max_uncommitted_bytes: u64,
    /// From this many bytes waiting for the disk on, a leader rejects commands and a follower ignores entries.
    pub max_unpersisted_bytes: u64,
    /// The most bytes of entries that the state machine has not applied yet; one entry always fits.
    pub max_apply_bytes: u64,
    /// The most bytes that a leader appends while it keeps the log after a snapshot in flight.
    pub max_retained_bytes: u64,
    /// From this many waiting reads on, a leader rejects reads.
    pub max_pending_reads: usize,
}

impl RaftSettings {
    pub const fn limits(&self) -> Limits {
        Limits {
            max_write_stall: self.max_write_stall,
            max_inflight_bytes: self.max_inflight_bytes,
            max_uncommitted_bytes: self.max_uncommitted_bytes,
            max_unpersisted_bytes: self.max_unpersisted_bytes,
            max_apply_bytes: self.max_apply_bytes,
            max_retained_bytes: self.max_retained_bytes,
            max_pending_reads: self.max_pending_reads,
        }
    }
}

/// The state on a node's disk at its first start, instead of a founder's first record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct InitialState {
    /// At least the last term of the log, which is the default.
    #[serde(default, with = "form")]
    pub term: Term,
    #[serde(default, with = "form")]
    pub voted_for: Option<NodeId>,
    /// The terms of its log from index 1. Entry 1 is the configuration (term 1), all others are no-ops.
    #[serde(with = "form")]
    pub log: Vec<Term>,
}

/// The behaviour of a link. Delays are drawn uniformly.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct NetworkModel {
    /// One-way delay. Unequal delays reorder messages.
    #[serde(with = "form")]
    pub delay: Range<Duration>,
    #[serde(rename = "loss", with = "ppm")]
    pub loss_ppm: u32,
    #[serde(rename = "duplicate", with = "ppm")]
    pub duplicate_ppm: u32,
    /// How much later than the message its copy may arrive.
    #[serde(with = "form")]
    pub duplicate_delay: Range<Duration>,
    /// Probability that a message is delayed by `reorder_delay` more, so that later ones arrive first.
    #[serde(rename = "reorder", with = "ppm")]
    pub reorder_ppm: u32,
    #[serde(with = "form")]
    pub reorder_delay: Range<Duration>,
    /// Probability that a node's transport notices the loss of a message, and reports that the peer cannot be reached.
    #[serde(rename = "unreachable", with = "ppm")]
    pub unreachable_ppm: u32,
    /// How much longer than a message a chunk of a snapshot takes.
    #[serde(with = "form")]
    pub snapshot_transfer: Range<Duration>,
    /// The one-way delay of these links, instead of `delay`.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub delay_of: BTreeMap<(NodeId, NodeId), Range<Duration>>,
    /// Probability that a message or a copy arrives later by `late_delay`, of any magnitude.
    #[serde(rename = "late", with = "ppm", skip_serializing_if = "is_default")]
    pub late_ppm: u32,
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub late_delay: Range<Duration>,
    /// How long a message waits at most while a link of higher priority has messages in flight; zero: links have no
    /// priorities.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub priority_wait: Duration,
    /// How often some links get other priorities; zero: never.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub priority_change: Duration,
    /// Probability that a chunk of a snapshot is lost, in addition to that of every message.
    #[serde(rename = "snapshot_loss", with = "ppm")]
    pub snapshot_loss_ppm: u32,
}

/// A message: the n-th on its link, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessagePlace {
    pub link: (NodeId, NodeId),
    pub number: u64,
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    /// It arrives after this time, and a copy of it after the second, if there is one.
    Arrives(Duration, Option<Duration>),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct DiskModel {
    /// How long a write and its sync take, drawn uniformly.
    #[serde(with = "form")]
    pub latency: Range<Duration>,
    #[serde(deserialize_with = "within::<4096, GIB, _, _>")]
    pub segment_bytes: u64,
    /// How many bytes of records a node preallocates; 0 means none, and the node stops when a write finds the disk
    /// full.
    #[serde(deserialize_with = "within::<4096, GIB, _, _>", skip_serializing_if = "is_default")]
    pub reserve_bytes: u64,
}

/// How a node's process receives its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ProcessModel {
    /// Probability that its thread is busy when an input arrives. The node then takes this input later, with all others
    /// that have arrived by then.
    #[serde(rename = "busy", with = "ppm")]
    pub busy_ppm: u32,
    #[serde(rename = "busy_for", with = "form")]
    pub busy: Range<Duration>,
    /// Probability that a resumed process takes everything that waits for it in one call.
    #[serde(rename = "resume_batch", with = "ppm", skip_serializing_if = "is_default")]
    pub resume_batch_ppm: u32,
    #[serde(deserialize_with = "within::<1, MIB, _, _>")]
    pub max_messages: usize,
    #[serde(deserialize_with = "within::<1, GIB, _, _>")]
    pub max_message_bytes: u64,
    #[serde(deserialize_with = "within::<1, MIB, _, _>")]
    pub max_requests: usize,
    #[serde(deserialize_with = "within::<1, GIB, _, _>")]
    pub max_request_bytes: u64,
}

impl ProcessModel {
    /// The limits of the inbox while the thread is busy.
    pub const fn inbox(&self) -> InboxLimits {
        let Self { max_messages, max_message_bytes, max_requests, max_request_bytes, .. } = *self;
        InboxLimits { max_messages, max_message_bytes, max_requests, max_request_bytes }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ClientModel {
    /// The number of clients. Each has a session, and retries with the same sequence
    /// number.
    #[serde(deserialize_with = "within::<0, 64, _, _>")]
    pub count: u64,
    /// The pause between two operations of a client, drawn uniformly.
    #[serde(with = "form")]
    pub think: Range<Duration>,
    /// After this long without an answer a client tries another node (the same operation, the same number).
    #[serde(with = "form")]
    pub retry_after: Duration,
    /// After this long it gives up the operation as unknown and continues under a new client number.
    #[serde(with = "form")]
    pub give_up_after: Duration,
    #[serde(deserialize_with = "within::<1, 1000, _, _>")]
    pub keys: u64,
    pub mix: Mix,
    /// Probability that a put has a time to live.
    #[serde(rename = "ttl_share", with = "ppm")]
    pub ttl_ppm: u32,
    /// The time to live, drawn uniformly.
    #[serde(with = "form")]
    pub ttl: Range<Duration>,
    pub reads: ClientReads,
    #[serde(with = "form")]
    pub start: Duration,
    /// How many operations a client has open at a time, in one session.
    #[serde(deserialize_with = "within::<1, 16, _, _>")]
    pub open: u64,
    /// Whether a client sends a command again in another session if its session has ended and the command surely had no effect.
    pub retry_expired: bool,
    /// The number of watch clients.
    #[serde(deserialize_with = "within::<0, 16, _, _>")]
    pub watchers: u64,
    /// After this long without an answer a watch client continues at another node.
    #[serde(with = "form")]
    pub watch_patience: Range<Duration>,
    /// The pause of a watch client after an answer.
    #[serde(with = "form")]
    pub watch_pause: Range<Duration>,
    /// The operations of the clients, instead of one after the other with pauses.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub operations: Option<Vec<Invocation>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Mix {
    pub get: u32,
    pub put: u32,
    pub cas: u32,
    pub delete: u32,
    pub range: u32,
    pub txn: u32,
}

impl Mix {
    pub const fn weights(self) -> [u32; 6] {
        [self.get, self.put, self.cas, self.delete, self.range, self.txn]
    }
}

impl ClientModel {
    /// Whether a history of operations on single keys shows all changes: the clients use no ranges, no transactions and
    /// no keys that expire.
    pub const fn has_history(&self) -> bool {
        self.mix.range == 0 && self.mix.txn == 0 && self.ttl_ppm == 0
    }
}

/// How clients read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientReads {
    /// A round confirms them ([`raft_core::ReadMode::Safe`]).
    #[default]
    Safe,
    /// A lease confirms them if there is one ([`raft_core::ReadMode::Lease`]).
    Lease,
    /// The mode is drawn for each get.
    Mixed,
}

/// The operation that a client draws as its n-th, from 1, and the time from which on it begins. A client with several open
/// operations has as many lanes, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invocation {
    pub at: Duration,
    pub client: u64,
    pub lane: u64,
    pub number: u64,
}

/// How one get reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GetMode {
    /// A round confirms it.
    Safe,
    /// A lease confirms it if there is one.
    Lease,
    /// Nothing confirms it: it sees what its node has applied.
    Stale,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub trigger: Trigger,
    pub action: StepAction,
    /// When the fault of the action ends by itself, or when the operator gives up its task; `None`: it never does.
    pub lasts: Option<Duration>,
    /// The action asks once, and this refusal is expected.
    pub refused: Option<Refusal>,
    pub origin: Origin,
    /// The form of the step in its file, to write it again; `None` if it was not read from a file.
    pub(crate) form: Option<Box<StepForm>>,
}

/// Where a step comes from, for messages.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Its line in the file, from 1; 0 if it was not read from a file.
    pub line: usize,
    /// Its condition, as in the file.
    pub condition: String,
}

/// The origin is no part of a step's meaning: a scenario that is written and read again is equal.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// At this true time.
    At(Duration),
    /// The step runs as soon as the condition holds, after all earlier `When` steps have run, plus a delay. It runs
    /// once.
    When { condition: Condition, after: Duration },
}

/// The condition of a `[[when]]` step. If a node is optional, `None` means any node.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The node has this role, in a term of at least `min_term`.
    Role { node: Option<NodeId>, role: RoleKind, min_term: Term },
    /// The node has an entry of this index and this term (any, if none) in its log.
    Holds { node: Option<NodeId>, index: LogIndex, term: Option<Term> },
    /// The node has committed up to this index.
    Committed { node: Option<NodeId>, index: LogIndex },
    /// A leader has written an entry of its own term, no earlier than term `min_term`.
    LeaderAppended { node: Option<NodeId>, min_term: Term },
    /// The node has voted for this candidate (the vote may not be durable yet).
    VotedFor { node: Option<NodeId>, candidate: NodeId },
    /// This configuration is committed, and nothing newer.
    Decided { seats: Seats },
    /// The node uses a joint configuration, committed or not.
    Joint { node: Option<NodeId> },
    /// The newest snapshot of the node covers this index.
    Snapshot { node: Option<NodeId>, index: LogIndex },
    /// A leader is sending a snapshot to this node (any, if none).
    SendingSnapshot { to: Option<NodeId> },
    /// So many backups of the present cluster are finished.
    Backups { finished: u64 },
}

/// What a crash waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashAfter {
    /// As many outputs of the node's next call with outputs; 0: before the first.
    Actions(u32),
    /// As many calls to the node's disk that change or sync data.
    Calls(u32),
    /// As many such calls after the disk's next new file.
    NewFile(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub enum StepAction {
    /// Ends processes.
    Crash {
        nodes: Targets,
        crash: CrashKind,
        /// What the crash waits for; `None`: it happens now.
        after: Option<CrashAfter>,
        /// The unsynced operations that survive a power loss.
        keep: Keep,
    },
    /// Starts processes that are down.
    Restart { nodes: Targets },
    /// Cuts these links, all at once.
    Cut { links: Vec<Links> },
    /// No request of a client reaches these nodes, and none of their replies a client, until healed, or only one of the
    /// two. Operators reach all.
    CutClients { nodes: Targets, only: Option<OneWay> },
    /// Only nodes of the same group reach each other. A node in no group is isolated.
    Partition { groups: Vec<BTreeSet<NodeId>> },
    /// Ends all cuts, partitions, drop rules, pauses and drifts, and makes disks fast and their calls succeed.
    Heal,
    /// Drops messages of one kind ([`raft_core::Rpc::kind`]) on some links until healed.
    Drop { kind: String, from: Targets, to: Targets },
    /// Replaces the model of every link until healed.
    Network(NetworkModel),
    /// Replaces the disk latency of some nodes until healed.
    DiskLatency { nodes: Targets, latency: Range<Duration> },
    /// Damages durable data on disks, without a notification: [`Fault::BitRot`] or [`Fault::MisdirectedWrite`].
    Damage { nodes: Targets, fault: Fault },
    /// Makes calls to disks fail: once, or, for lack of space, until healed.
    InjectedError {
        nodes: Targets,
        error: InjectedError,
        /// The number of such calls before the first that fails.
        after_calls: u64,
    },
    /// Makes clocks run fast or slow until healed. Their time does not jump; only their rate changes.
    Drift {
        nodes: Targets,
        /// The drift in parts per million; below 0 the clock is too slow.
        ppm: i32,
    },
    /// Makes clocks jump by this many nanoseconds, forward or back.
    Jump { nodes: Targets, by: i64 },
    /// Pauses processes: they are not called until resumed, and their inputs wait.
    Pause { nodes: Targets },
    /// A stranger sends garbage and forged messages to these nodes.
    Stranger { nodes: Targets, messages: Option<Forgery> },
    /// Suspends machines until resumed: process, disk and clock stand still, and messages for them are lost.
    Suspend { nodes: Targets },
    /// Resumes paused processes.
    Resume { nodes: Targets },
    /// Starts elections.
    Campaign { nodes: Targets },
    /// Makes nodes take a snapshot.
    TakeSnapshot { nodes: Targets },
    /// A client made for this step sends one put to this node only, without retries.
    Put { node: Targets, key: String, value: String },
    /// A client made for this step sends one get to this node only, without retries.
    /// Without a mode it reads as clients do.
    Get { node: Targets, key: String, mode: Option<GetMode> },
    /// The operator changes the configuration, all steps at once (Raft §6).
    /// `force`: also if no quorum of the configuration to come answers.
    Change { steps: Vec<SeatChange>, force: bool },
    /// The operator transfers leadership (Thesis §3.10); without a target, to the node the leader picks. It asks the leader
    /// until it is done, or these nodes once, whichever node leads.
    Transfer { to: Option<NodeId>, asked: Option<Targets> },
    /// The operator takes a backup from these nodes, if they lead.
    Backup { nodes: Targets },
    /// The operator makes a new cluster with these founders from the newest backup.
    Restore { nodes: Targets },
    /// The operator makes a new cluster from the folder of this node, its only member.
    Recover { node: NodeId },
    /// Checks expectations now; if one does not hold the run fails (exit 2).
    Expect(Box<Expectations>),
}

/// One direction between clients and a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OneWay {
    Requests,
    Replies,
}

/// The forged messages of a stranger: their number, and the key of their choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgery {
    pub count: u64,
    pub key: u64,
}

/// All links from one set of nodes to another, and unless they are one-way the links back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    pub from: Targets,
    pub to: Targets,
    pub one_way: bool,
}

/// The nodes of a step, determined when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    Nodes(BTreeSet<NodeId>),
    All,
    /// The leader of the highest term, if there is a leader.
    Leader,
    /// All nodes except that leader.
    Followers,
    /// One drawn node.
    Random,
}

/// The unsynced operations that survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// They are drawn: any prefix or subset that the fsync barriers allow, the last write perhaps torn.
    Random,
    Nothing,
    Everything,
    /// The outcome with this number ([`PowerCase`](crate::world::disk::PowerCase)); no step can request it.
    #[serde(skip)]
    Case(u64),
}

/// How the crashes of a scripted run are enumerated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Enumeration {
    /// The time after which a crashed node starts again.
    #[serde(default = "Enumeration::restart_after", with = "form")]
    pub restart_after: Duration,
    /// Crashes are injected until this time, so that the last branch has time to heal.
    #[serde(with = "form")]
    pub until: Duration,
    /// How much longer one thread at a time takes than in the run; zero means that no thread is slow.
    #[serde(default, with = "form")]
    pub slow_for: Duration,
    /// The number of crash points in an even sample, unless all are requested.
    #[serde(default = "Enumeration::sample", deserialize_with = "within::<1, 1_000_000, _, _>")]
    pub sample: u64,
}

impl Enumeration {
    const fn restart_after() -> Duration {
        Duration::from_millis(50)
    }

    const fn sample() -> u64 {
        100
    }
}

/// The random faults of a swarm run: a run omits each *feature* with probability one half, and draws the intensity of
/// the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct SwarmModel {
    /// The features that may be drawn.
    #[serde(with = "form")]
    pub features: BTreeSet<Feature>,
    /// The mean time between two faults.
    #[serde(with = "form")]
    pub mean_interval: Duration,
    /// The time at which the last faults end and a majority is healed for good, for the liveness check.
    #[serde(with = "form")]
    pub heal_at: Duration,
    /// Kinds of faults that no run has, features and further effects of crashes and links.
    #[serde(with = "form", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without: BTreeSet<Fault>,
    /// Whether the faults are drawn, and begin, only at the run's first branch. Its steps end there, and only the checkers
    /// judge it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after_branch: bool,
}

impl Scenario {
    /// Whether no run of the swarm has this kind of fault.
    pub fn is_without(&self, fault: Fault) -> bool {
        self.swarm.as_ref().is_some_and(|swarm| swarm.without.contains(&fault))
    }
}

impl SwarmModel {
    /// Whether a run may have this feature from its beginning on.
    pub fn may_have(&self, feature: Feature) -> bool {
        let name = name_of(FEATURES, feature);
        self.features.contains(&feature) && !self.after_branch && !self.without.iter().any(|fault| fault.name() == name)
    }
}

/// The conditions that must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Expectations {
    /// This node leads (any node, for an empty set).
    #[serde(with = "form")]
    pub leader: Option<BTreeSet<NodeId>>,
    #[serde(skip_serializing_if = "is_default")]
    pub no_leader: bool,
    /// All members of the committed configuration that are up have the same log and have applied all of it.
    #[serde(skip_serializing_if = "is_default")]
    pub converged: bool,
    /// A leader has nothing in flight: every window is open, and no snapshot is in flight. No queue with a limit has
    /// content in a member that is up.
    #[serde(skip_serializing_if = "is_default")]
    pub idle: bool,
    /// At least this index is committed on every member of the committed configuration that is up.
    #[serde(with = "form")]
    pub committed: Option<LogIndex>,
    /// This configuration is committed, and nothing newer.
    #[serde(with = "form")]
    pub configuration: Option<Seats>,
    /// The highest term is at least this.
    #[serde(with = "form")]
    pub min_term: Option<Term>,
    /// The highest term is at most this.
    #[serde(with = "form")]
    pub max_term: Option<Term>,
    /// Some leader has committed an entry within this time.
    #[serde(with = "form")]
    pub committed_within: Option<Duration>,
    /// No node has committed an entry within this time: a scenario expects this where liveness is lost.
    #[serde(with = "form")]
    pub stalled_for: Option<Duration>,
    /// After the last fault a leader, a fresh commit and convergence come within this many election timeouts
    /// (multiples of `election_timeout.end`).
    pub heals_within: Option<u32>,
    /// Some run of the scenario reached these `sometimes` marks.
    #[serde(skip_serializing_if = "is_default")]
    pub sometimes: BTreeSet<String>,
    /// The terms of these nodes' logs from index 1 start like this.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub logs: BTreeMap<NodeId, Vec<Term>>,
    /// The logs of these nodes end at this index, with an entry of this term (any, if none).
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub last: BTreeMap<NodeId, (LogIndex, Option<Term>)>,
    /// The newest snapshots of these nodes cover at least this.
    #[serde(with = "form", skip_serializing_if = "is_default")]
    pub snapshot: BTreeMap<NodeId, LogIndex>,
    /// No run of the scenario reached these `sometimes` marks.
    #[serde(skip_serializing_if = "is_default")]
    pub never: BTreeSet<String>,
    /// No process of these nodes runs, and one of each other node does.
    #[serde(with = "form")]
    pub down: Option<NodeSet>,
    // What each node believes: serde gives a file one field for each node.
    pub n1: Option<Box<Belief>>,
    pub n2: Option<Box<Belief>>,
    pub n3: Option<Box<Belief>>,
    pub n4: Option<Box<Belief>>,
    pub n5: Option<Box<Belief>>,
    pub n6: Option<Box<Belief>>,
    pub n7: Option<Box<Belief>>,
    pub n8: Option<Box<Belief>>,
    pub n9: Option<Box<Belief>>,
}

impl Expectations {
    /// The nodes whose beliefs are expected.
    pub fn beliefs(&self) -> impl Iterator<Item = (NodeId, &Belief)> {
        let Self { n1, n2, n3, n4, n5, n6, n7, n8, n9, .. } = self;
        let beliefs: [_; MAX_NODES as usize] = [n1, n2, n3, n4, n5, n6, n7, n8, n9];
        (1..).map(NodeId).zip(beliefs).filter_map(|(id, belief)| Some((id, belief.as_deref()?)))
    }
}

/// The state of a running node according to itself. An absent field may have any value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Belief {
    #[serde(with = "form")]
    pub term: Option<Term>,
    #[serde(with = "form")]
    pub role: Option<RoleKind>,
    /// The leader of its term; the empty set: it knows none.
    #[serde(with = "form")]
    pub leader: Option<NodeSet>,
    #[serde(with = "form")]
    pub voted_for: Option<NodeSet>,
    #[serde(deserialize_with = "some_within::<0, { MAX_NUMBER as i64 }, _, _>")]
    pub commit: Option<u64>,
    #[serde(deserialize_with = "some_within::<0, { MAX_NUMBER as i64 }, _, _>")]
    pub applied: Option<u64>,
    /// The newest configuration in its log, committed or not.
    #[serde(with = "form")]
    pub configuration: Option<Seats>,
}

/// Nodes, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(pub BTreeSet<NodeId>);
