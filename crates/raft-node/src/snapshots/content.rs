//! The content of a snapshot (`proto/snapshot.proto`): sessions and state machine after one entry, encoded chunk by chunk.
//!
//! This file must not know when a snapshot is taken or sent, nor where it is stored.

use crate::clients::sessions::{SessionLimits, Sessions, entry_id};
use crate::interface::state_machine::{SnapshotError, SnapshotSource, StateMachine};
use bytes::Bytes;
use prost::Message;
use raft_core::{EntryId, LogIndex};
use raft_proto::wire::{raft, snapshot as wire};
use xxhash_rust::xxh3::Xxh3;

/// The version that this node writes, and the only one it reads.
const FORMAT: u32 = 2;

/// The decoded content of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotContent {
    /// The last entry that the snapshot covers.
    pub(crate) last: EntryId,
    pub(crate) sessions: Sessions,
    /// The state machine's part.
    pub(crate) machine: Bytes,
}

/// The most bytes that [`head_bytes`] reads.
pub(crate) const HEAD_LENGTH_BYTES: u64 = 10;

/// The size of a snapshot's head, sessions included, from its first bytes.
pub(crate) fn head_bytes(mut beginning: &[u8]) -> u64 {
    let length = prost::decode_length_delimiter(&mut beginning).unwrap_or(0);
    HEAD_LENGTH_BYTES.saturating_add(length as u64)
}

/// Checks the head of a received snapshot before the node reports it complete. The first [`head_bytes`] suffice. Only
/// the state machine can check the rest. *Without it* the node would install a snapshot that it cannot read, and then
/// end.
pub(crate) fn check_snapshot(beginning: &Bytes, last: EntryId) -> Result<(), SnapshotError> {
    SnapshotContent::decode(beginning, last, SessionLimits::NONE).map(drop)
}

/// What a backup contains, for tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupContent {
    /// How many client sessions are open.
    pub sessions: usize,
    /// The state machine's part: [`StateMachine::restore`](crate::StateMachine::restore) takes it.
    pub machine: Bytes,
    sessions_hash: u128,
}

impl BackupContent {
    /// The [`state_hash`](crate::Node::state_hash) of a node that has applied everything up to `applied` and has this state.
    ///
    /// # Errors
    /// `machine` cannot restore its part.
    pub fn state_hash<S: StateMachine>(&self, mut machine: S, applied: LogIndex) -> Result<u128, SnapshotError> {
        machine.restore(&self.machine)?;
        Ok(state_hash(machine.state_hash(), self.sessions_hash, applied))
    }
}

/// A hash of the whole replicated state.
pub(crate) fn state_hash(machine: u128, sessions: u128, applied: LogIndex) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&machine.to_le_bytes());
    hasher.update(&sessions.to_le_bytes());
    hasher.update(&applied.0.to_le_bytes());
    hasher.digest128()
}

/// Reads the data of a backup of the state after `last`.
///
/// # Errors
/// The data is none that a node has written, or another version's.
pub fn read_backup(data: &Bytes, last: EntryId) -> Result<BackupContent, SnapshotError> {
    let SnapshotContent { sessions, machine, .. } = SnapshotContent::decode(data, last, SessionLimits::NONE)?;
    Ok(BackupContent { sessions: sessions.len(), machine, sessions_hash: sessions.hash() })
}

/// The same state as the one after `last`, instead of after `saved`.
pub(crate) fn with_last(data: &Bytes, saved: EntryId, last: EntryId) -> Result<Bytes, SnapshotError> {
    let SnapshotContent { sessions, machine, .. } = SnapshotContent::decode(data, saved, SessionLimits::NONE)?;
    Ok(SnapshotEncoder::new(last, &sessions, machine).collect())
}

/// Encodes a snapshot chunk by chunk: its head, then the state machine's part. Equal states give equal bytes.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotEncoder<C> {
    /// The rest of the head.
    head: Bytes,
    machine: C,
}

impl<C: SnapshotSource> SnapshotEncoder<C> {
    /// An encoder of the state after `last`.
    pub(crate) fn new(last: EntryId, sessions: &Sessions, machine: C) -> Self {
        let last = Some(raft::EntryId { index: last.index.0, term: last.term.0 });
        let head = wire::SnapshotHead { format: FORMAT, last, sessions: sessions.to_wire() };
        Self { head: head.encode_length_delimited_to_vec().into(), machine }
    }

    /// All bytes.
    pub(crate) fn collect(mut self) -> Bytes {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next_chunk(usize::MAX) {
            bytes.extend_from_slice(&chunk);
        }
        bytes.into()
    }

    /// The next bytes, at most `max_bytes`; `None` at the end.
    pub(crate) fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        self.head.next_chunk(max_bytes).or_else(|| self.machine.next_chunk(max_bytes))
    }
}

impl SnapshotContent {
    /// Decodes a snapshot of the state after `expected`. The state machine's part shares the memory of `data`.
    pub(crate) fn decode(data: &Bytes, expected: EntryId, limits: SessionLimits) -> Result<Self, SnapshotError> {
        // Format 1 had no length in front: it starts with its first field, the format.
        if data.starts_with(&[8, 1]) {
            return Err(SnapshotError::UnknownFormat { found: 1 });
        }
        let mut machine = data.clone();
        let head = wire::SnapshotHead::decode_length_delimited(&mut machine);
        let head = head.map_err(|error| SnapshotError::Malformed(error.to_string()))?;
        // The format is checked first: in another format the other fields may have another meaning.
        if head.format != FORMAT {
            return Err(SnapshotError::UnknownFormat { found: head.format });
        }
        let last = entry_id(head.last, "SnapshotHead.last")?;
        if last != expected {
            return Err(SnapshotError::OtherEntry { expected, found: last });
        }
        let sessions = Sessions::from_wire(head.sessions, last.index, limits)?;
        Ok(Self { last, sessions, machine })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::requests::{SessionCommand, SessionId};
    use proptest::prelude::*;
    use raft_core::LogIndex;

    const LAST: EntryId = EntryId { index: LogIndex(9), term: raft_core::Term(2) };

    /// Two sessions. The first has an answer to command 3, and its client no longer waits for numbers below 2.
    fn sessions() -> Sessions {
        let mut sessions = Sessions::new(SessionLimits::NONE);
        sessions.open(EntryId::new(1, 1));
        sessions.open(EntryId::new(4, 1));
        let command =
            SessionCommand { session: SessionId(1), sequence: 3, lowest_pending: 2, command: Bytes::from_static(b"c") };
        sessions.apply_once(EntryId::new(6, 2), &command, |_| Bytes::from_static(b"r"));
        sessions
    }

    fn encode(last: EntryId, sessions: &Sessions, machine: Bytes, max_bytes: usize) -> Bytes {
        let mut encoder = SnapshotEncoder::new(last, sessions, machine);
        std::iter::from_fn(|| encoder.next_chunk(max_bytes)).flatten().collect()
    }

    fn encoded() -> Bytes {
        encode(LAST, &sessions(), Bytes::from_static(b"m"), 1 << 20)
    }

    #[test]
    fn the_encoding_is_fixed_whatever_the_chunk_size() {
        let golden = b"\x23\x08\x02\x12\x04\x08\x09\x10\x02\
            \x1a\x13\x08\x01\x10\x06\x18\x02\x22\x0b\x08\x03\x12\x04\x08\x06\x10\x02\x1a\x01r\
            \x1a\x04\x08\x04\x10\x04\
            m";
        for max_bytes in [0, 1, 7, 1 << 20] {
            assert_eq!(encode(LAST, &sessions(), Bytes::from_static(b"m"), max_bytes), Bytes::from_static(golden));
        }
        let decoded = SnapshotContent::decode(&encoded(), LAST, SessionLimits::NONE).expect("just encoded");
        assert_eq!(decoded, SnapshotContent { last: LAST, sessions: sessions(), machine: Bytes::from_static(b"m") });
        assert_eq!(check_snapshot(&encoded(), LAST), Ok(()));
        // The check needs the whole head and no byte after it.
        let whole = encode(LAST, &sessions(), vec![7; 100].into(), 1 << 20);
        let head = head_bytes(&whole[..HEAD_LENGTH_BYTES as usize]) as usize;
        assert!(head < whole.len() - 80, "{head} of {}", whole.len());
        assert_eq!(check_snapshot(&whole.slice(..head), LAST), Ok(()));
        assert!(check_snapshot(&whole.slice(..whole.len() - 101), LAST).is_err(), "its last byte is missing");
    }

    #[test]
    fn content_that_no_node_writes_is_refused() {
        let id = |index| Some(raft::EntryId { index, term: 1 });
        let answer = |sequence| wire::Answer { sequence, entry: id(2), response: Bytes::new() };
        let session = |id, last_used| wire::Session { id, last_used, lowest_pending: 2, answers: vec![] };
        let with = |answers: Vec<wire::Answer>| vec![wire::Session { answers, ..session(1, 2) }];
        let table = [
            (vec![session(2, 3), session(1, 4)], "ascend strictly by id"),
            (vec![session(1, 3), session(1, 4)], "ascend strictly by id"),
            (vec![session(1, 3), session(2, 3)], "the same in two"),
            (vec![session(4, 3)], "before the session"),
            (vec![session(1, 10)], "after the snapshot"),
            (with(vec![answer(3), answer(2)]), "ascend strictly by sequence"),
            (with(vec![answer(2), answer(2)]), "ascend strictly by sequence"),
            (with(vec![answer(1)]), "from lowest_pending on"),
            (with(vec![wire::Answer { entry: None, ..answer(2) }]), "Answer.entry is missing"),
            (
                with((2..).take(crate::clients::sessions::MAX_ANSWERS + 1).map(answer).collect()),
                "more than a session remembers",
            ),
        ];
        for (sessions, words) in table {
            let head = wire::SnapshotHead { format: 2, last: id(9), sessions };
            let bytes = head.encode_length_delimited_to_vec().into();
            let error = check_snapshot(&bytes, EntryId::new(9, 1)).expect_err(words);
            assert!(error.to_string().contains(words), "{error}");
        }
        let of_format = |format| wire::SnapshotHead { format, ..Default::default() }.encode_length_delimited_to_vec();
        let error = check_snapshot(&of_format(2).into(), LAST).expect_err("it is empty");
        assert_eq!(error.to_string(), "snapshot is malformed: SnapshotHead.last is missing");
        assert_eq!(check_snapshot(&of_format(3).into(), LAST), Err(SnapshotError::UnknownFormat { found: 3 }));
        let old = Bytes::from_static(b"\x08\x01\x12\x04\x08\x09\x10\x02");
        assert_eq!(check_snapshot(&old, LAST), Err(SnapshotError::UnknownFormat { found: 1 }));
        let other = EntryId::new(9, 1);
        assert_eq!(
            check_snapshot(&encoded(), other).map_err(|error| error.to_string()),
            Err("expected a snapshot at 9@1, found one at 9@2".to_owned())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(garbage: Vec<u8>, place in any::<prop::sample::Index>(), byte: u8) {
            let mut mutated = encoded().to_vec();
            let place = place.index(mutated.len());
            mutated[place] = byte;
            let cut = mutated[..place].to_vec();
            for bytes in [garbage, mutated, cut] {
                // Accepted bytes have an equivalent encoding: the decoder ignores nothing.
                if let Ok(snapshot) = SnapshotContent::decode(&bytes.into(), LAST, SessionLimits::NONE) {
                    let again = encode(LAST, &snapshot.sessions, snapshot.machine.clone(), 9);
                    prop_assert_eq!(SnapshotContent::decode(&again, LAST, SessionLimits::NONE), Ok(snapshot));
                }
            }
        }
    }
}
