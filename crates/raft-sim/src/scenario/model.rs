//! A scenario as the world runs it: checked, with defaults filled in. Reading it from TOML is `parse.rs`.

use super::changes::{SeatChange, Seats};
use super::feature::Feature;
use crate::faults::Fault;
use crate::record::CrashKind;
use crate::world::disk::InjectedError;
use raft_core::{LogIndex, NodeId, RoleKind, Term};
use raft_node::InboxLimits;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

/// One documented story.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name: the file's name without `.toml`.
    pub name: String,
    /// The path it was read from, for messages.
    pub path: String,
    /// One line.
    pub title: String,
    /// A paragraph for a reader who learns Raft.
    pub story: String,
    /// Where the story comes from.
    pub source: String,
    /// The seeds it runs when none are asked for; the end is excluded.
    pub seeds: Range<u64>,
    /// How many nodes (n1, n2, ..).
    pub nodes: u64,
    /// How many of them, the first ones, are founders and voters; the others start with an empty disk and join by being
    /// added. None: all are, unless a swarm run with changes of the configuration draws how many.
    pub founders: Option<u64>,
    /// How long the run lasts in true time.
    pub duration: Duration,
    /// The protocol settings of every node.
    pub raft: RaftSettings,
    /// Nodes that do not start as founders of a new cluster but with this on their disks.
    pub initial: BTreeMap<NodeId, InitialState>,
    /// Every link's behaviour outside faults.
    pub network: NetworkModel,
    /// Every disk's behaviour outside faults.
    pub disk: DiskModel,
    /// How every node's process shares its time.
    pub process: ProcessModel,
    /// The clients.
    pub clients: ClientModel,
    /// Scripted steps.
    pub steps: Vec<Step>,
    /// Random faults, if any.
    pub swarm: Option<SwarmModel>,
    /// Every crash of the scripted run, if it is to be enumerated.
    pub enumerate: Option<Enumeration>,
    /// What must hold at the end, beyond the checkers.
    pub expect: Expectations,
}

/// Protocol settings; see [`raft_core::Config`].
#[derive(Clone, Debug, PartialEq)]
pub struct RaftSettings {
    /// The election timeout range.
    pub election_timeout: Range<Duration>,
    /// Overrides of it for some nodes: the tool to script who campaigns first.
    pub election_timeout_of: BTreeMap<NodeId, Range<Duration>>,
    /// The heartbeat interval.
    pub heartbeat_interval: Duration,
    /// Pre-vote (Thesis §9.6).
    pub pre_vote: bool,
    /// Check-quorum (Thesis §6.2).
    pub check_quorum: bool,
    /// Stickiness (Thesis §4.2.3).
    pub stickiness: bool,
    /// Reads without a round while a lease holds (Thesis §6.4.1).
    pub lease_reads: bool,
    /// How far the rate of any clock is from true time at most, as nodes with leases assume.
    pub max_clock_drift_ppm: u32,
    /// Who is to lead when nobody does.
    pub priority: u32,
    /// Overrides of it for some nodes.
    pub priority_of: BTreeMap<NodeId, u32>,
    /// The most bytes in one append.
    pub max_append_bytes: u64,
    /// The most appends on their way to a peer.
    pub max_inflight_messages: usize,
    /// After how many applied entries a node takes a snapshot; 0: never by itself.
    pub snapshot_after_entries: u64,
    /// How many entries that a snapshot covers stay in the log.
    pub trailing_entries: u64,
    /// The most bytes of entries kept in memory.
    pub max_cached_bytes: u64,
    /// When a snapshot of which nothing is heard counts as lost.
    pub snapshot_timeout: Duration,
    /// Bytes of a piece in which snapshots are made and sent.
    pub snapshot_chunk_bytes: u64,
    /// The most bytes of snapshots that a node sends in a second; 0: any.
    pub snapshot_bytes_per_second: u64,
    /// When a piece of which nothing is heard is taken to be lost.
    pub snapshot_patience: Duration,
    /// How much may wait.
    pub limits: Limits,
}

/// How much may wait in a node, and for how long; see [`raft_core::Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How long a leader's write may take before it hands leadership over.
    pub max_write_stall: Duration,
    /// The most bytes of entries on their way to a peer; one append always fits.
    pub max_inflight_bytes: u64,
    /// From so many bytes of uncommitted entries on, a leader rejects commands.
    pub max_uncommitted_bytes: u64,
    /// From so many bytes waiting for the disk on, a leader rejects commands and a follower ignores entries.
    pub max_unpersisted_bytes: u64,
    /// The most bytes of entries that the state machine has not applied yet; one entry always fits.
    pub max_apply_bytes: u64,
    /// The most bytes appended while the log behind a snapshot on its way is kept.
    pub max_retained_bytes: u64,
    /// From so many waiting reads on, a leader rejects reads.
    pub max_pending_reads: usize,
}

/// What a node finds on its disk at its first start, instead of a founder's first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialState {
    /// Its term; at least the log's last term.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The terms of its log from index 1. Entry 1 is the configuration (term 1), all others are no-ops.
    pub log: Vec<Term>,
}

/// How a link behaves. Probabilities are in parts per million, integers, because no decision uses floats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkModel {
    /// One-way delay, drawn uniformly. Unequal delays reorder messages.
    pub delay: Range<Duration>,
    /// Probability that a message is lost.
    pub loss_ppm: u32,
    /// Probability that a message is delivered twice; the copy is delayed by up to `duplicate_delay` more.
    pub duplicate_ppm: u32,
    /// How much later a copy may arrive.
    pub duplicate_delay: Range<Duration>,
    /// Probability that a message is delayed by `reorder_delay` more, so that later ones overtake it.
    pub reorder_ppm: u32,
    /// How much.
    pub reorder_delay: Range<Duration>,
    /// Probability that a node's transport finds out when a message is lost, and says that the peer cannot be reached.
    pub unreachable_ppm: u32,
    /// How much longer than a message a piece of a snapshot takes, drawn uniformly.
    pub snapshot_transfer: Range<Duration>,
    /// Probability that a piece of a snapshot is lost, beside that of every message.
    pub snapshot_loss_ppm: u32,
}

/// How a disk behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskModel {
    /// How long a write and its sync take, drawn uniformly.
    pub latency: Range<Duration>,
    /// The size of a log segment in bytes.
    pub segment_bytes: u64,
    /// For how many bytes of records a node keeps room ahead; 0: for none, and it ends when a write finds the disk full.
    pub reserve_bytes: u64,
}

/// How a node's process takes what arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessModel {
    /// Probability that its thread is at something when an input arrives: it takes that one later, with all that has
    /// arrived by then.
    pub busy_ppm: u32,
    /// How long, drawn uniformly.
    pub busy: Range<Duration>,
    /// How much waits at most meanwhile.
    pub inbox: InboxLimits,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientModel {
    /// How many; each has one operation open at a time, a session, and retries with the same sequence number.
    pub count: u64,
    /// The pause between two operations of a client, drawn uniformly.
    pub think: Range<Duration>,
    /// After this long without an answer a client tries another node (the same operation, the same number).
    pub retry_after: Duration,
    /// After this long it gives the operation up as unknown and goes on under a new client number.
    pub give_up_after: Duration,
    /// How many different keys.
    pub keys: u64,
    /// The weights of get, put, cas, delete.
    pub mix: [u32; 4],
    /// What they want of several keys at once, and of keys that go by themselves.
    pub several: SeveralModel,
    /// How gets are asked for.
    pub reads: ClientReads,
    /// When clients begin.
    pub start: Duration,
}

/// What clients want beyond one key at a time that stays until it is removed. Nothing, unless asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeveralModel {
    /// The weight of ranges, beside those of `mix`.
    pub range: u32,
    /// The weight of transactions.
    pub txn: u32,
    /// Probability that a put brings a time to live along.
    pub ttl_ppm: u32,
    /// How long that is, drawn uniformly.
    pub ttl: Range<Duration>,
}

impl ClientModel {
    /// Whether a history of operations on single keys, which nothing but they change, tells all that clients do.
    pub const fn has_history(&self) -> bool {
        self.several.range == 0 && self.several.txn == 0 && self.several.ttl_ppm == 0
    }
}

/// How clients ask for their reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientReads {
    /// Confirmed by a round ([`raft_core::ReadMode::Safe`]).
    #[default]
    Safe,
    /// By lease where there is one ([`raft_core::ReadMode::Lease`]).
    Lease,
    /// Drawn for each get.
    Mixed,
}

/// A scripted step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: StepAction,
}

/// When a step is carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// At this true time.
    At(Duration),
    /// As soon as this holds, after all earlier `When` steps have been carried out, plus a delay. Once.
    When {
        /// The state waited for.
        condition: Condition,
        /// How much later.
        after: Duration,
    },
}

/// A state a `[[when]]` step waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The node (any, if none) has this role, in a term of at least `min_term`.
    Role {
        /// Which node.
        node: Option<NodeId>,
        /// The role.
        role: RoleKind,
        /// The lowest term.
        min_term: Term,
    },
    /// The node (any, if none) holds an entry of this index and this term (any, if none).
    Holds {
        /// Which node.
        node: Option<NodeId>,
        /// The index.
        index: LogIndex,
        /// The term.
        term: Option<Term>,
    },
    /// The node (any, if none) has committed up to this index.
    Committed {
        /// Which node.
        node: Option<NodeId>,
        /// The index.
        index: LogIndex,
    },
    /// A leader has asked its disk for an entry of its own term, no earlier than term `min_term`.
    LeaderAppended {
        /// Which node.
        node: Option<NodeId>,
        /// The lowest term.
        min_term: Term,
    },
    /// This node has voted for this candidate (the vote may not be durable yet).
    VotedFor {
        /// Which node (any, if none).
        node: Option<NodeId>,
        /// The candidate.
        candidate: NodeId,
    },
    /// This configuration is decided, and nothing newer.
    Decided {
        /// The configuration.
        seats: Seats,
    },
    /// The node (any, if none) acts on a joint configuration, decided or not.
    Joint {
        /// Which node.
        node: Option<NodeId>,
    },
    /// The newest snapshot of the node (any, if none) covers this index.
    Snapshot {
        /// Which node.
        node: Option<NodeId>,
        /// The index.
        index: LogIndex,
    },
    /// A leader has a snapshot on its way to this node (any, if none).
    SendingSnapshot {
        /// To which node.
        to: Option<NodeId>,
    },
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepAction {
    /// Ends processes.
    Crash {
        /// Whose.
        nodes: Targets,
        /// How.
        crash: CrashKind,
        /// Not now, but after this many outputs of the node's next call that has any (0 = before the first).
        after_actions: Option<u32>,
        /// What a power loss leaves of the unsynced operations.
        keep: Keep,
    },
    /// Starts processes that are down.
    Restart {
        /// Whose.
        nodes: Targets,
    },
    /// Cuts these links, all at once.
    Cut {
        /// The links.
        links: Vec<Links>,
    },
    /// Lets only nodes of the same group talk. A node in no group is alone.
    Partition {
        /// The groups.
        groups: Vec<BTreeSet<NodeId>>,
    },
    /// Ends all cuts, partitions, drop rules, pauses and drifts, and what makes disks slow or their calls fail.
    Heal,
    /// Drops messages of one kind ([`raft_core::Rpc::kind`]) on some links until healed.
    Drop {
        /// The kind.
        kind: String,
        /// Senders.
        from: Targets,
        /// Receivers.
        to: Targets,
    },
    /// Replaces a link model until healed.
    Network(NetworkModel),
    /// Replaces the disk latency of some nodes until healed.
    DiskLatency {
        /// Whose.
        nodes: Targets,
        /// The latency.
        latency: Range<Duration>,
    },
    /// Damages what is durable on disks; nobody is told.
    Damage {
        /// Whose.
        nodes: Targets,
        /// [`Fault::BitRot`] or [`Fault::MisdirectedWrite`].
        fault: Fault,
    },
    /// Has calls to disks fail: once, or, without space, until healed.
    InjectedError {
        /// Whose.
        nodes: Targets,
        /// How.
        error: InjectedError,
        /// After how many more calls that can fail so.
        after_calls: u64,
    },
    /// Has clocks run fast or slow until healed. What they show stays; how fast it grows changes.
    Drift {
        /// Whose.
        nodes: Targets,
        /// How much too fast in parts per million; below 0 too slow.
        ppm: i32,
    },
    /// Stands processes still: they are called for nothing until resumed, and what arrives waits.
    Pause {
        /// Whose.
        nodes: Targets,
    },
    /// Lets paused processes go on.
    Resume {
        /// Whose.
        nodes: Targets,
    },
    /// Tells nodes to campaign.
    Campaign {
        /// Which.
        nodes: Targets,
    },
    /// Tells nodes to take a snapshot.
    TakeSnapshot {
        /// Which.
        nodes: Targets,
    },
    /// A put by a client made for this step, sent to this node only, without retries.
    Put {
        /// To whom.
        node: Targets,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A get, likewise.
    Get {
        /// From whom.
        node: Targets,
        /// The key.
        key: String,
    },
    /// Has the operator change the configuration (Raft §6).
    Change {
        /// The steps of one change.
        steps: Vec<SeatChange>,
    },
    /// Has the operator hand leadership over (Thesis §3.10).
    Transfer {
        /// To whom; none: to whom the leader thinks best.
        to: Option<NodeId>,
    },
    /// Checks something now; if it does not hold the run fails (exit 2).
    Expect(Expectations),
}

/// All links from one set of nodes to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// Senders.
    pub from: Targets,
    /// Receivers.
    pub to: Targets,
    /// Whether the links back are not meant.
    pub one_way: bool,
}

/// Which nodes a step means, decided when it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// These.
    Nodes(BTreeSet<NodeId>),
    /// All.
    All,
    /// The leader of the highest term, if any node leads.
    Leader,
    /// All but that leader.
    Followers,
    /// One node, drawn.
    Random,
}

/// What a power loss leaves of the operations that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Drawn: any prefix or subset the fsync barriers allow, the last write perhaps torn.
    Random,
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// The outcome of this number, of all there are ([`PowerCase`](crate::world::disk::PowerCase)); no step can say this.
    Case(u64),
}

/// How the crashes of a scripted run are enumerated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// How much later a node that has crashed is started again.
    pub restart_after: Duration,
    /// Crashes strike up to here, so that the last branch has time to heal.
    pub until: Duration,
    /// How much longer than in the run a thread takes, one at a time; zero: none does.
    pub slow_for: Duration,
    /// How many crash points are run unless all are asked for: evenly over the run.
    pub sample: u64,
}

/// Random faults of a swarm run: each *feature* is left out of a run with probability one half, its intensity drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmModel {
    /// Which features may be drawn.
    pub features: BTreeSet<Feature>,
    /// The mean time between two faults.
    pub mean_interval: Duration,
    /// From when on no new fault begins and a majority is healed for good, for the liveness check.
    pub heal_at: Duration,
}

/// What must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// This node leads (any node, for an empty set).
    pub leader: Option<BTreeSet<NodeId>>,
    /// No node leads.
    pub no_leader: bool,
    /// All members of the decided configuration that are up have the same log and have applied all of it.
    pub converged: bool,
    /// At least this index is committed on every member of the decided configuration that is up.
    pub committed: Option<LogIndex>,
    /// Some leader has committed something during the last so long.
    pub committed_within: Option<Duration>,
    /// Nobody has committed anything during the last so long: what a story expects where liveness is lost.
    pub stalled_for: Option<Duration>,
    /// This configuration is decided, and nothing newer.
    pub configuration: Option<Seats>,
    /// The terms of these nodes' logs from index 1 start like this.
    pub logs: BTreeMap<NodeId, Vec<Term>>,
    /// The logs of these nodes end at this index, with an entry of this term (any, if none).
    pub last: BTreeMap<NodeId, (LogIndex, Option<Term>)>,
    /// The newest snapshots of these nodes cover at least this.
    pub snapshot: BTreeMap<NodeId, LogIndex>,
    /// Whoever leads has nothing on its way to anybody: every window is open, and no snapshot is being sent. And nothing
    /// that a limit bounds waits in a member that is up.
    pub idle: bool,
    /// The highest term is at least this.
    pub min_term: Option<Term>,
    /// The highest term is at most this.
    pub max_term: Option<Term>,
    /// These `sometimes` marks were reached in the run, over all its seeds.
    pub sometimes: BTreeSet<String>,
    /// After the last fault a leader, a fresh commit and convergence come within this many election timeouts
    /// (multiples of `election_timeout.end`).
    pub heals_within: Option<u32>,
}
