//! The Raft protocol as a pure state machine: `step(Message) -> Vec<Action>`.
//!
//! No I/O, no clock, no entropy, no threads: time is an input, and randomness depends on a seed. A host may carry out
//! an action at once: the core emits nothing that still has to wait for the disk. So the same core runs on real sockets
//! and disks and in a simulated world, and a run can be replayed bit for bit.
//!
//! # A host
//!
//! A host waits for an input until [`Raft::deadline`], samples its clock, calls [`Raft::step`], and carries out the actions.
//! A host that takes all inputs that have arrived calls [`Raft::step_batch`].
//!
//! | action | what the host does |
//! |---|---|
//! | `Send` | queue it or drop it; never block |
//! | `Persist` | make it durable as one record, in order; then the input `Persisted` |
//! | `Apply` | apply the entries; answer the client whose `Appended` had the same (index, **term**); then `Applied` |
//! | `Appended` | remember (index, term) and the client; do not answer yet |
//! | `Rejected`, `ReadFailed` | answer the client: no effect here |
//! | `ReadReady` | once everything up to its index is applied, answer from the state machine |
//! | `TransferDone`, `TransferFailed` | answer the operator |
//! | `LeadershipLost` | all remembered requests have an unknown outcome |
//! | `LeaderChanged`, `ConfigurationChanged` | redirect clients, connect to peers |
//! | `Stopped` | end the process and report the reason |
//!
//! A complete host, for a disk that blocks and a state machine that adds up numbers. Here the network is a queue; a
//! real host has sockets, and [`Message::now`] from a monotonic clock.
//!
//! ```
//! use raft_core::*;
//! use std::collections::{BTreeMap, VecDeque};
//!
//! struct Host {
//!     raft: Raft,
//!     inbox: VecDeque<Input>,
//!     outbox: Vec<(NodeId, Rpc)>,
//!     disk: Vec<Write>,
//!     sum: u64,
//!     waiting: BTreeMap<(LogIndex, Term), RequestId>,
//!     answers: Vec<(RequestId, String)>,
//! }
//!
//! impl Host {
//!     fn call(&mut self, now: Instant) {
//!         let input = self.inbox.pop_front().unwrap_or(Input::Tick);
//!         for action in self.raft.step(Message { now, input }) {
//!             match action {
//!                 Action::Send { to, rpc } => self.outbox.push((to, rpc)),
//!                 Action::Persist(write) => {
//!                     let id = write.id;
//!                     self.disk.push(write); // one record, then fdatasync
//!                     self.inbox.push_back(Input::Persisted { write: id });
//!                 }
//!                 Action::Apply { entries } => {
//!                     for entry in entries.iter() {
//!                         if let Payload::Command(number) = &entry.payload {
//!                             self.sum += u64::from(number[0]);
//!                         }
//!                         // The same index and term: that request is done. Another term: it is lost for good.
//!                         if let Some(id) = self.waiting.remove(&(entry.id.index, entry.id.term)) {
//!                             self.answers.push((id, format!("the sum is {}", self.sum)));
//!                         }
//!                     }
//!                     let last = entries.last_id().unwrap_or_default();
//!                     self.inbox.push_back(Input::Applied { index: last.index });
//!                 }
//!                 Action::Appended { id, entry } => drop(self.waiting.insert((entry.index, entry.term), id)),
//!                 Action::Rejected { id, reason } => self.answers.push((id, format!("no effect: {reason}"))),
//!                 Action::LeadershipLost { .. } => {
//!                     let unknown = std::mem::take(&mut self.waiting);
//!                     self.answers.extend(unknown.into_values().map(|id| (id, "unknown".to_owned())));
//!                 }
//!                 Action::Stopped { reason } => panic!("{reason}"),
//!                 _ => {} // reads, transfers, announcements
//!             }
//!         }
//!     }
//! }
//!
//! let restored = RecoveredState::bootstrap(Configuration::of_voters([NodeId(1)]));
//! let raft = Raft::new(Config::new(NodeId(1)), restored)?;
//! let (disk, waiting, answers) = (Vec::new(), BTreeMap::new(), Vec::new());
//! let mut host = Host { raft, inbox: VecDeque::new(), outbox: Vec::new(), disk, sum: 0, waiting, answers };
//! for millis in 0..15 {
//!     if millis == 5 {
//!         host.inbox.push_back(Input::Propose { id: RequestId(1), command: vec![42].into() });
//!     }
//!     host.call(Instant::from_millis(millis));
//! }
//! assert_eq!(host.answers, [(RequestId(1), "the sum is 42".to_owned())]);
//! # Ok::<(), RestoreError>(())
//! ```
//!
//! # The files, in reading order
//!
//! - Inputs and outputs: [`message`](Message), [`action`](Action), [`event`](Event), [`config`](Config),
//!   [`recovered_state`](RecoveredState), [`status`](Status).
//! - Pure parts: [`id`](EntryId), [`time`](Instant), [`entry`](Entry), [`snapshot_meta`](SnapshotMeta), `log`, `readback`
//!   (entries that are no longer in memory), `progress` (one peer), `pending_reads`, `jitter`.
//! - `membership/`: [`configuration`](Configuration) (quorums), [`change`](MembershipChange) (steps and their result),
//!   `in_force` (which configuration of the log counts), `catch_up` (when a learner can vote), `leader_changes`.
//! - State of every role: `shared`, with `pending_write` (the changes of this call), `writes_in_flight`,
//!   `local_snapshots`, `apply_pipeline`, `election_clock`. State of one role: `role`, `leader`.
//! - The replica: `raft` (order of inputs, timers and outputs), `transition` (the only file that changes roles).
//! - The protocol: `election` (campaigns), `vote` (who gets one, and when it is sent), `leader` (proposals, answers,
//!   commit), `send_appends`, `receive_appends`, `read`, `lease`, `stall`, `disk_space`, `snapshot`, `send_snapshot`,
//!   `transfer`.
//! - For tests and exploration: [`digest`](Digest), `canonical`, [`fingerprint`](Renaming).
//!
//! "Rule R5" is the fifth of ARCHITECTURE.md's rules of the core.
#![no_std]
extern crate alloc;

mod action;
mod apply_pipeline;
mod canonical;
mod config;
mod debug;
mod digest;
mod disk_space;
mod election;
mod election_clock;
mod entry;
mod event;
mod fingerprint;
mod id;
mod jitter;
mod leader;
mod lease;
mod local_snapshots;
mod log;
mod membership;
mod message;
mod pending_reads;
mod pending_write;
mod progress;
mod raft;
mod read;
mod readback;
mod receive_appends;
mod recovered_state;
mod role;
mod send_appends;
mod send_snapshot;
mod shared;
mod snapshot;
mod snapshot_meta;
mod stall;
mod status;
#[cfg(test)]
mod testing;
mod time;
mod transfer;
mod transition;
mod vote;
mod writes_in_flight;

pub use action::{Action, HardState, RejectReason, TargetProblem, TransferFailure, Write};
pub use config::{Config, MAX_PRIORITY};
pub use digest::Digest;
pub use entry::{Entries, Entry, Payload};
pub use event::{AbandonReason, CampaignRefusal, Cause, Event, IgnoreReason};
pub use fingerprint::Renaming;
pub use id::{EntryId, LogIndex, MAX_NUMBER, NodeId, ReadId, RequestId, Round, Seq, Term, WriteId};
pub use membership::{Configuration, InvalidChange, MembershipChange, MembershipStep};
pub use message::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Input, Message, PreVote, PreVoteResponse, ReadMode,
    RequestVote, RequestVoteResponse, Rpc, SnapshotOutcome, TimeoutNow, Vote, VoteRefusal,
};
pub use raft::Raft;
pub use recovered_state::{RecoveredState, RestoreError};
pub use snapshot_meta::{InstallMode, SnapshotMeta, SnapshotRecord};
pub use status::{PeerState, PeerStatus, RoleKind, Status, StopReason};
pub use time::{Instant, nanos};

/// The example of README.md, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
