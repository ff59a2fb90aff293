//! raft-core
#![no_std]
extern crate alloc;

mod action;
mod config;
mod configuration;
mod entry;
mod event;
mod id;
mod message;
mod restore;
mod status;
mod time;

pub use action::{Action, HardState, RejectReason, StopReason, Write};
pub use config::Config;
pub use configuration::Configuration;
pub use entry::{Entries, Entry, Payload};
pub use event::{CampaignRefusal, Cause, Event, IgnoreReason};
pub use id::{EntryId, LogIndex, MAX_NUMBER, NodeId, RequestId, Round, Seq, Term, WriteId};
pub use message::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Input, Message, PreVote, PreVoteResponse, RequestVote,
    RequestVoteResponse, Rpc, Vote, VoteRefusal,
};
pub use restore::{RestoreError, Restored};
pub use status::{PeerState, PeerStatus, RoleKind, Status};
pub use time::{Instant, nanos};
