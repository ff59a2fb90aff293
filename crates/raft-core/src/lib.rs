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
//! - Pure parts: ids, [`time`](Instant), [`entry`](Entry), [`configuration`](Configuration) (quorums), `log`, `writes`
//!   (what is durable), `progress` (one peer), `jitter`, [`digest`](Digest).
//! - The replica: `raft` (inputs in, emission out), `shared` (what every role has), `role` (what only one has),
//!   `transition` (the only file that changes roles).
//! - The rules: `election`, `follower` (receiving appends), `leader` (proposals, answers, commit), `replicate`
//!   (sending), `read`, `lease`, `stall`.
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
//! | `LeadershipLost` | all remembered requests are of unknown outcome |
//! | `LeaderChanged`, `ConfigurationChanged` | hints and connections |
//! | `Stopped` | end the process; look at what it says |
//!
//! A cluster of one, which needs no network:
//!
//! ```
//! use raft_core::{Action, Config, Configuration, Input, Instant, Message, NodeId, Raft, RequestId, Restored};
//! # fn main() -> Result<(), raft_core::RestoreError> {
//! let configuration = Configuration::of_voters([NodeId(1)]);
//! let mut raft = Raft::new(Config::new(NodeId(1)), Restored::bootstrap(configuration))?;
//! let mut inputs = std::collections::VecDeque::from([Input::Tick]);
//! let mut applied = Vec::new();
//! let mut proposed = false;
//! while let Some(input) = inputs.pop_front() {
//!     for action in raft.step(Message { now: Instant::from_millis(1), input }) {
//!         match action {
//!             // A real host writes and syncs here.
//!             Action::Persist(write) => inputs.push_back(Input::Persisted { write: write.id }),
//!             Action::Apply { entries } => {
//!                 applied.extend(entries.iter().map(|entry| entry.id.to_string()));
//!                 inputs.extend(entries.last_id().map(|last| Input::Applied { index: last.index }));
//!             }
//!             Action::LeaderChanged { leader: Some(NodeId(1)), .. } if !proposed => {
//!                 proposed = true;
//!                 inputs.push_back(Input::Propose { id: RequestId(1), command: "hello".into() });
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(applied, ["1@1", "2@2", "3@2"]); // the configuration, the no-op of term 2, the command
//! # Ok(())
//! # }
//! ```
//!
//! # Where the next parts go
//!
//! Membership changes extend `configuration` (the algebra of joint quorums is there) and get a file of their own beside
//! `leader`; snapshots become a third state in `progress` and a field of `Restored`.
#![no_std]
extern crate alloc;

mod action;
mod config;
mod configuration;
mod digest;
mod election;
mod entry;
mod event;
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
mod reconfigure;
mod replicate;
mod restore;
mod role;
mod shared;
mod stall;
mod status;
mod time;
mod transfer;
mod transition;
mod writes;

pub use action::{Action, HardState, RejectReason, StopReason, TransferFailure, Write};
pub use config::{Config, MAX_PRIORITY};
pub use configuration::Configuration;
pub use digest::Digest;
pub use entry::{Entries, Entry, Payload};
pub use event::{CampaignRefusal, Cause, Event, IgnoreReason};
pub use id::{EntryId, LogIndex, MAX_NUMBER, NodeId, RequestId, Round, Seq, Term, WriteId};
pub use membership::{InvalidChange, MembershipChange, MembershipStep};
pub use message::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Input, Message, PreVote, PreVoteResponse, ReadMode,
    RequestVote, RequestVoteResponse, Rpc, TimeoutNow, Vote, VoteRefusal,
};
pub use raft::Raft;
pub use restore::{RestoreError, Restored};
pub use status::{PeerState, PeerStatus, RoleKind, Status};
pub use time::{Instant, nanos};
