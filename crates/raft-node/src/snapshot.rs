//! What is in a snapshot (`proto/snapshot.proto`): sessions and state machine after one entry, as bytes.
//!
//! This file must not know when a snapshot is taken or sent, nor where it is kept.

use crate::sessions::Sessions;
use bytes::Bytes;
use prost::Message;
use raft_core::EntryId;
use raft_proto::wire::{raft, snapshot as wire};

/// The version that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// Why bytes are no snapshot that this node can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// They say nothing, or nothing sensible, at this place.
    #[error("the snapshot is malformed: {0}")]
    Malformed(String),
    /// Another version of this software wrote them, and in another format.
    #[error("the snapshot has format {found}, and this version knows format {FORMAT} alone")]
    UnknownFormat {
        /// The format they say they have.
        found: u32,
    },
    /// They are a snapshot of another place in the log.
    #[error("the snapshot is of {found}, and that of {expected} is meant")]
    OtherEntry {
        /// The last entry it should cover.
        expected: EntryId,
        /// The last entry it says it covers.
        found: EntryId,
    },
}

/// The content of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The last entry whose effect is in it.
    pub(crate) last: EntryId,
    pub(crate) sessions: Sessions,
    /// The state machine's part.
    pub(crate) machine: Bytes,
}

/// Whether these bytes can be a snapshot of the state after `last`. The state machine's part is not looked at: only the
/// state machine can. For a host that has received one, before it reports `SnapshotReceived`: what is installed and then
/// cannot be read ends the node.
///
/// # Errors
/// Whatever is wrong with them.
pub fn check_snapshot(data: &Bytes, last: EntryId) -> Result<(), SnapshotError> {
    Snapshot::decode(data, last, 1).map(drop)
}

impl Snapshot {
    /// As bytes: equal states give equal bytes.
    pub(crate) fn encode(last: EntryId, sessions: &Sessions, machine: Bytes) -> Bytes {
        let last = Some(raft::EntryId { index: last.index.0, term: last.term.0 });
        let snapshot = wire::Snapshot { format: FORMAT, last, sessions: sessions.to_wire(), machine };
        snapshot.encode_to_vec().into()
    }

    /// From bytes, which must be those of the state after `expected`. The state machine's part shares their memory.
    pub(crate) fn decode(data: &Bytes, expected: EntryId, max_sessions: usize) -> Result<Self, SnapshotError> {
        let decoded = wire::Snapshot::decode(data.clone());
        let snapshot = decoded.map_err(|error| SnapshotError::Malformed(error.to_string()))?;
        // Before anything else: in another format all the rest may mean something else.
        if snapshot.format != FORMAT {
            return Err(SnapshotError::UnknownFormat { found: snapshot.format });
        }
        let last = entry_id(snapshot.last, "Snapshot.last")?;
        if last != expected {
            return Err(SnapshotError::OtherEntry { expected, found: last });
        }
        let sessions = Sessions::from_wire(snapshot.sessions, last.index, max_sessions)?;
        Ok(Self { last, sessions, machine: snapshot.machine })
    }
}

pub(crate) fn entry_id(id: Option<raft::EntryId>, place: &str) -> Result<EntryId, SnapshotError> {
    let id = id.ok_or_else(|| malformed(&format!("{place} is missing")))?;
    Ok(EntryId::new(id.index, id.term))
}

pub(crate) fn malformed(problem: &str) -> SnapshotError {
    SnapshotError::Malformed(problem.to_owned())
}
