//! The messages of a snapshot transfer: chunks of the file, and the receiver's progress. A chunk that differs from its
//! checksum does not decode.

use crate::decode::{entry_id, snapshot_meta_from_wire};
use crate::encode::{self, snapshot_meta_to_wire};
use crate::error::DecodeError;
use crate::wire::raft as w;
use crate::wire::raft::{snapshot_message, snapshot_progress};
use bytes::Bytes;
use prost::Message;
use raft_core::{EntryId, SnapshotMeta, Term};
use xxhash_rust::xxh3::xxh3_64;

/// A message of a snapshot transfer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotMessage {
    /// A message from the leader.
    Chunk(SnapshotChunk),
    /// A message from the receiver.
    Progress(SnapshotProgress),
}

/// A chunk of a snapshot's file; without bytes it is a question for the receiver's progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotChunk {
    /// The term in which the sender leads.
    pub term: Term,
    /// The snapshot's metadata.
    pub meta: SnapshotMeta,
    /// The size of the file in bytes.
    pub size: u64,
    /// The file's own checksum. Files of one snapshot with the same size and checksum are equal.
    pub checksum: u32,
    /// The offset of the chunk in the file.
    pub offset: u64,
    /// The bytes of the chunk.
    pub bytes: Bytes,
}

/// The progress of a snapshot transfer at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotProgress {
    /// The term of the answered chunk.
    pub term: Term,
    /// The last entry that the snapshot covers.
    pub last: EntryId,
    /// The file's checksum.
    pub checksum: u32,
    /// The state of the transfer.
    pub state: SnapshotState,
}

/// The state of a snapshot transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotState {
    /// The receiver has the file up to this offset and wants the rest.
    Wants(u64),
    /// The file is complete and durable and the core has it, or the snapshot is obsolete.
    Delivered,
    /// The complete file differs from its checksum: the receiver deleted it.
    Damaged,
    /// The receiver has no space, or cannot use the file: it deleted it.
    Unwanted,
}

/// The bytes of a transfer message: a `raft.v1.SnapshotMessage`.
pub fn encode_snapshot_message(message: &SnapshotMessage) -> Vec<u8> {
    use snapshot_message::Kind;
    let kind = match message {
        SnapshotMessage::Chunk(chunk) => Kind::Chunk(chunk_to_wire(chunk)),
        SnapshotMessage::Progress(progress) => Kind::Progress(progress_to_wire(*progress)),
    };
    w::SnapshotMessage { kind: Some(kind) }.encode_to_vec()
}

/// The transfer message in these bytes.
///
/// # Errors
/// The bytes are not a `raft.v1.SnapshotMessage` that this version knows, or a chunk does not match its checksum.
pub fn decode_snapshot_message(bytes: Bytes) -> Result<SnapshotMessage, DecodeError> {
    use snapshot_message::Kind;
    let message = w::SnapshotMessage::decode(bytes)?;
    Ok(match message.kind.ok_or(DecodeError::Missing("SnapshotMessage.kind"))? {
        Kind::Chunk(chunk) => SnapshotMessage::Chunk(chunk_from_wire(chunk)?),
        Kind::Progress(progress) => SnapshotMessage::Progress(progress_from_wire(progress)?),
    })
}

/// A chunk as a wire message. It shares the memory.
pub fn chunk_to_wire(chunk: &SnapshotChunk) -> w::SnapshotChunk {
    w::SnapshotChunk {
        term: chunk.term.0,
        meta: Some(snapshot_meta_to_wire(&chunk.meta)),
        size: chunk.size,
        checksum: chunk.checksum,
        offset: chunk.offset,
        bytes: chunk.bytes.clone(),
        bytes_checksum: xxh3_64(&chunk.bytes),
    }
}

/// The chunk in a wire message. It shares the memory.
///
/// # Errors
/// A required field is missing, or the bytes do not match their checksum.
pub fn chunk_from_wire(chunk: w::SnapshotChunk) -> Result<SnapshotChunk, DecodeError> {
    if xxh3_64(&chunk.bytes) != chunk.bytes_checksum {
        return Err(DecodeError::Checksum("SnapshotChunk.bytes"));
    }
    let meta = snapshot_meta_from_wire(chunk.meta.ok_or(DecodeError::Missing("SnapshotChunk.meta"))?)?;
    let w::SnapshotChunk { size, checksum, offset, bytes, .. } = chunk;
    Ok(SnapshotChunk { term: Term(chunk.term), meta, size, checksum, offset, bytes })
}

/// The progress as a wire message.
pub fn progress_to_wire(progress: SnapshotProgress) -> w::SnapshotProgress {
    use snapshot_progress::State;
    let state = match progress.state {
        SnapshotState::Wants(offset) => State::Wants(offset),
        SnapshotState::Delivered => State::Delivered(w::Delivered {}),
        SnapshotState::Damaged => State::Damaged(w::Damaged {}),
        SnapshotState::Unwanted => State::Unwanted(w::Unwanted {}),
    };
    let last = Some(encode::entry_id(progress.last));
    w::SnapshotProgress { term: progress.term.0, last, checksum: progress.checksum, state: Some(state) }
}

/// The progress in a wire message.
///
/// # Errors
/// A required field is missing or has a kind that this version does not know.
pub fn progress_from_wire(progress: w::SnapshotProgress) -> Result<SnapshotProgress, DecodeError> {
    use snapshot_progress::State;
    let state = match progress.state.ok_or(DecodeError::Missing("SnapshotProgress.state"))? {
        State::Wants(offset) => SnapshotState::Wants(offset),
        State::Delivered(_) => SnapshotState::Delivered,
        State::Damaged(_) => SnapshotState::Damaged,
        State::Unwanted(_) => SnapshotState::Unwanted,
    };
    let last = entry_id(progress.last, "SnapshotProgress.last")?;
    Ok(SnapshotProgress { term: Term(progress.term), last, checksum: progress.checksum, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use raft_core::{Configuration, NodeId};

    fn chunk(offset: u64, bytes: Vec<u8>) -> SnapshotChunk {
        let configuration = Configuration::of_voters([NodeId(1), NodeId(2)]);
        let meta = SnapshotMeta { last: EntryId::new(5, 2), configuration, configured_at: EntryId::new(1, 1) };
        SnapshotChunk { term: Term(3), meta, size: 1 << 40, checksum: 7, offset, bytes: bytes.into() }
    }

    fn progress(state: SnapshotState) -> SnapshotProgress {
        SnapshotProgress { term: Term(3), last: EntryId::new(5, 2), checksum: 7, state }
    }

    #[test]
    fn incomplete_and_damaged_messages_are_refused() {
        let whole = chunk_to_wire(&chunk(4, vec![1, 2, 3]));
        let refused = |chunk| chunk_from_wire(chunk).map_err(|error| error.to_string());
        let changed = w::SnapshotChunk { bytes: vec![1, 2, 4].into(), ..whole.clone() };
        assert_eq!(
            refused(changed),
            Err("SnapshotChunk.bytes does not match its checksum: damaged in transit".to_owned())
        );
        assert!(refused(w::SnapshotChunk { meta: None, ..whole }).is_err());
        let whole = progress_to_wire(progress(SnapshotState::Delivered));
        assert!(progress_from_wire(w::SnapshotProgress { last: None, ..whole }).is_err());
        assert!(progress_from_wire(w::SnapshotProgress { state: None, ..whole }).is_err());
        assert!(decode_snapshot_message(Bytes::new()).is_err());
    }

    proptest! {
        #[test]
        fn messages_round_trip(offset: u64, bytes: Vec<u8>, kind in 0..5) {
            let message = match kind {
                0 => SnapshotMessage::Chunk(chunk(offset, bytes)),
                1 => SnapshotMessage::Progress(progress(SnapshotState::Wants(offset))),
                2 => SnapshotMessage::Progress(progress(SnapshotState::Delivered)),
                3 => SnapshotMessage::Progress(progress(SnapshotState::Damaged)),
                _ => SnapshotMessage::Progress(progress(SnapshotState::Unwanted)),
            };
            let encoded = encode_snapshot_message(&message);
            prop_assert_eq!(decode_snapshot_message(encoded.into()), Ok(message));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(garbage: Vec<u8>, place in any::<prop::sample::Index>(), byte: u8) {
            let mut mutated = encode_snapshot_message(&SnapshotMessage::Chunk(chunk(4, vec![9; 30])));
            let place = place.index(mutated.len());
            mutated[place] = byte;
            for bytes in [garbage, mutated] {
                if let Ok(message) = decode_snapshot_message(bytes.into()) {
                    let again = encode_snapshot_message(&message);
                    prop_assert_eq!(decode_snapshot_message(again.into()), Ok(message));
                }
            }
        }
    }
}
