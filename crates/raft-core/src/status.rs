//! What a node can be asked about itself.

use crate::action::StopReason;
use crate::id::{EntryId, LogIndex, NodeId, Term};
use alloc::collections::BTreeMap;
use core::fmt;

/// The roles of Raft §5.1, with the pre-candidate of Thesis §9.6. A learner is a follower that is no voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RoleKind {
    /// Answers leaders and candidates.
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Replicates its log.
    Leader,
    /// Found a contradiction and does nothing any more.
    Stopped,
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Stopped => "stopped",
        })
    }
}

/// A copy of what matters about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node.
    pub id: NodeId,
    /// Its term.
    pub term: Term,
    /// Its role.
    pub role: RoleKind,
    /// Its vote in this term.
    pub voted_for: Option<NodeId>,
    /// The leader it knows of.
    pub leader: Option<NodeId>,
    /// The first index in its log.
    pub first: LogIndex,
    /// Its last entry.
    pub last: EntryId,
    /// The last entry that its newest snapshot covers.
    pub snapshot: Option<EntryId>,
    /// The highest index that is durable here.
    pub durable: LogIndex,
    /// The commit index.
    pub commit: LogIndex,
    /// The highest index reported `Applied`.
    pub applied: LogIndex,
    /// What stopped it, if it has stopped.
    pub stopped: Option<StopReason>,
    /// Bytes of entries appended and not yet committed; 0 unless it leads.
    pub uncommitted_bytes: u64,
    /// Bytes handed to the disk and not yet reported `Persisted`.
    pub unpersisted_bytes: u64,
    /// Bytes of entries handed to the state machine and not yet reported `Applied`.
    pub applying_bytes: u64,
    /// Bytes of entries in memory.
    pub cached_bytes: u64,
    /// Reads waiting for their round; 0 unless it leads.
    pub pending_reads: usize,
    /// Reads served by lease since the start, without a round.
    pub lease_reads: u64,
    /// To whom leadership is being handed over; none if it is not, or this node does not lead.
    pub transfer_to: Option<NodeId>,
    /// What a leader knows of each peer; empty otherwise.
    pub peers: BTreeMap<NodeId, PeerStatus>,
}

/// What a leader knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The highest index known to be durable there.
    pub match_index: LogIndex,
    /// The next index to send.
    pub next_index: LogIndex,
    /// How it is being sent to.
    pub state: PeerState,
    /// Appends with entries on their way and not acknowledged.
    pub inflight_messages: usize,
    /// Bytes of entries on their way and not acknowledged.
    pub inflight_bytes: u64,
    /// The last entry of the snapshot that is on its way.
    pub snapshot: Option<EntryId>,
}

/// How a leader sends to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PeerState {
    /// One append at a time, to find the place where the logs part.
    Probe,
    /// Appends pipelined up to the window (Thesis §10.2.1).
    Replicate,
    /// A snapshot is on its way, because the log no longer holds what comes next; meanwhile empty appends only (Raft §7).
    Snapshot,
    /// Not at all: the peer denied what it had acknowledged.
    LostData,
}
