//! The status of a node.

#![allow(missing_docs)]

use crate::canonical::canonical;
use crate::id::{EntryId, LogIndex, NodeId, Term};
use alloc::collections::BTreeMap;
use core::fmt;

/// The roles of Raft §5.1, with the pre-candidate of Thesis §9.6. A learner is a follower that is not a voter.
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
    /// Has found a contradiction, or is no member any more, and does nothing more.
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

/// The state of a node in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub id: NodeId,
    pub term: Term,
    pub role: RoleKind,
    pub voted_for: Option<NodeId>,
    pub leader: Option<NodeId>,
    pub first: LogIndex,
    pub last: EntryId,
    /// The last entry that its newest snapshot covers.
    pub snapshot: Option<EntryId>,
    /// The highest index that is durable here.
    pub durable: LogIndex,
    pub commit: LogIndex,
    /// The highest index reported `Applied`.
    pub applied: LogIndex,
    pub stopped: Option<StopReason>,
    /// Bytes of entries appended and not yet committed; 0 unless it leads.
    pub uncommitted_bytes: u64,
    /// Bytes in writes that are not yet reported `Persisted`.
    pub unpersisted_bytes: u64,
    /// Bytes of entries in `Apply` actions that are not yet reported `Applied`.
    pub applying_bytes: u64,
    /// Bytes of entries in memory.
    pub cached_bytes: u64,
    /// Reads waiting for their round; 0 unless it leads.
    pub pending_reads: usize,
    /// Reads served by lease since the start, without a round.
    pub lease_reads: u64,
    /// Whether its disk has no space for more entries, as the host has reported.
    pub no_space: bool,
    /// The target of the leadership transfer in progress, if this node leads.
    pub transfer_to: Option<NodeId>,
    /// A leader's peers; empty otherwise.
    pub peers: BTreeMap<NodeId, PeerStatus>,
}

/// A leader's view of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The highest index known to be durable there.
    pub match_index: LogIndex,
    pub next_index: LogIndex,
    pub state: PeerState,
    /// Appends with entries that are not acknowledged.
    pub inflight_messages: usize,
    /// Bytes of entries that are not acknowledged.
    pub inflight_bytes: u64,
    /// The last entry of the snapshot in flight.
    pub snapshot: Option<EntryId>,
}

/// How a leader sends to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PeerState {
    /// One append at a time, to find the last entry that both logs hold.
    Probe,
    /// Many appends at a time, up to the window (Thesis §10.2.1).
    Replicate,
    /// A snapshot is in flight, because the log no longer holds the next entry. Meanwhile the leader sends empty
    /// appends only (Raft §7).
    Snapshot,
    /// The leader sends no appends, because the peer denied entries that it had acknowledged.
    LostData,
}

/// Why a replica has stopped: a contradiction, or its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum StopReason {
    /// The leader of the current term sent another entry for an index that is committed here (impossible by Raft
    /// §5.4.3).
    CommittedConflict { ours: EntryId, theirs: EntryId },
    /// The host no longer has the entries from `first` on, which are neither applied nor covered by a snapshot.
    EntriesMissing { first: LogIndex },
    /// The node is no member: the configuration that ended its membership is committed (rules R47 and R50).
    Removed { at: EntryId },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommittedConflict { ours, theirs } => {
                write!(f, "{ours} is committed and the leader sent {theirs} for it")
            }
            Self::EntriesMissing { first } => write!(f, "the entries from {first} on are missing and not applied"),
            Self::Removed { at } => write!(f, "removed: not a member since {at}"),
        }
    }
}

canonical!(hash of RoleKind, PeerState, StopReason);
