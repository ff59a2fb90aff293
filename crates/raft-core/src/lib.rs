//! The Raft protocol as a pure state machine: `step(Message) -> Vec<Action>`.
//!
//! No I/O, no clock, no entropy, no threads: time is an input, randomness is keyed by the host, and an action that
//! exists may be carried out at once, because whatever must wait for the disk is not emitted until the disk has
//! reported. So the same core runs on real sockets and disks and in a simulated world, and a run can be replayed bit for
//! bit.
//!
//! # The map, in reading order
//!
//! - What goes in and out: [`message`](Message), [`action`](Action), [`event`](Event), [`config`](Config),
//!   [`restore`](Restored), [`status`](Status).
//! - Pure parts: ids, [`time`](Instant), [`entry`](Entry), [`configuration`](Configuration) (quorums),
//!   [`membership`](MembershipChange) (what a change makes of a configuration), `log`, `writes` (what is durable),
//!   `progress` (one peer), `readback` (entries that are no longer in memory), `jitter`, [`digest`](Digest),
//!   [`fingerprint`](Renaming).
//! - The replica: `raft` (inputs in, emission out), `shared` (what every role has), `role` (what only one has),
//!   `transition` (the only file that changes roles).
//! - The rules: `election`, `follower` (receiving appends), `leader` (proposals, answers, commit), `replicate`
//!   (sending), `snapshot`, `send_snapshot`, `read`, `lease`, `stall`, `reconfigure` (the leader's side of a change), `transfer` (handing leadership
//!   over).
//!
//! # A host
//!
//! Wait for an input until [`Raft::deadline`], take whatever else has arrived, sample the clock, call
//! [`Raft::step_batch`], carry out the actions:
//!
//! | action | what the host does |
//! |---|---|
//! | `Send` | queue it; it may be dropped, never block |
//! | `Persist` | make it durable as one record, in order; then the input `Persisted` |
//! | `Apply` | apply the entries; answer the client whose `Appended` had the same (index, **term**); then `Applied` |
//! | `Appended` | remember (index, term) and the client; answer nobody yet |
//! | `Rejected`, `ReadFailed` | tell the client: surely no effect here |
//! | `ReadReady` | once its index is applied, answer from the state machine |
//! | `TransferDone`, `TransferFailed` | tell who asked |
//! | `LeadershipLost` | all remembered requests are of unknown outcome |
//! | `LeaderChanged`, `ConfigurationChanged` | hints and connections |
//! | `Stopped` | end the process; look at what it says |
//!
//! All of it, for a disk that blocks and a state machine that adds numbers up. The network is a pair of queues; a real
//! host has sockets there, and [`Message::now`] from a monotonic clock.
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
//!         let mut actions = Vec::new();
//!         self.raft.step_batch(now, self.inbox.drain(..), &mut actions);
//!         for action in actions {
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
//!                 _ => {} // reads, transfers, news
//!             }
//!         }
//!     }
//! }
//!
//! let restored = Restored::bootstrap(Configuration::of_voters([NodeId(1)]));
//! let raft = Raft::new(Config::new(NodeId(1)), restored)?;
//! let (disk, waiting, answers) = (Vec::new(), BTreeMap::new(), Vec::new());
//! let mut host = Host { raft, inbox: VecDeque::new(), outbox: Vec::new(), disk, sum: 0, waiting, answers };
//! for moment in 0..10 {
//!     if moment == 5 {
//!         host.inbox.push_back(Input::Propose { id: RequestId(1), command: vec![42].into() });
//!     }
//!     host.call(Instant::from_millis(moment));
//! }
//! assert_eq!(host.answers, [(RequestId(1), "the sum is 42".to_owned())]);
//! # Ok::<(), RestoreError>(())
//! ```
//!
#![no_std]
extern crate alloc;

mod action;
#[cfg(test)]
mod broken;
mod config;
mod configuration;
mod digest;
mod election;
mod entry;
mod event;
mod fingerprint;
mod follower;
mod id;
mod jitter;
mod leader;
mod lease;
mod log;
mod membership;
mod message;
mod progress;
mod raft;
mod read;
mod readback;
mod reconfigure;
mod replicate;
mod restore;
mod role;
mod send_snapshot;
mod shared;
mod snapshot;
mod stall;
mod status;
mod time;
mod transfer;
mod transition;
mod writes;

pub use action::{Action, HardState, RejectReason, SnapshotRecord, StopReason, TransferFailure, Write};
pub use config::{Config, MAX_PRIORITY};
pub use configuration::Configuration;
pub use digest::Digest;
pub use entry::{Entries, Entry, Payload};
pub use event::{AbandonReason, CampaignRefusal, Cause, Event, IgnoreReason};
pub use fingerprint::Renaming;
pub use id::{EntryId, LogIndex, MAX_NUMBER, NodeId, ReadId, RequestId, Round, Seq, Term, WriteId};
pub use membership::{InvalidChange, MembershipChange, MembershipStep};
pub use message::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Input, Message, PreVote, PreVoteResponse, ReadMode,
    RequestVote, RequestVoteResponse, Rpc, SnapshotOutcome, TimeoutNow, Vote, VoteRefusal,
};
pub use raft::Raft;
pub use restore::{RecoveredState, RestoreError};
pub use snapshot::{InstallMode, SnapshotMeta};
pub use status::{PeerState, PeerStatus, RoleKind, Status};
pub use time::{Instant, nanos};
