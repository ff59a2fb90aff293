//! The receiving end of a snapshot transfer: the file grows on disk, chunk by chunk. Any sender with the same file,
//! even another leader, continues at its end. After the last chunk the disk verifies the whole file.
//!
//! This file must not know the content of a snapshot, nor the use of a complete one.

use crate::interface::disk_jobs::{SnapshotFile, SnapshotJob, WriteOutcome};
use crate::interface::outputs::{NodeOutput, Outputs, Report};
use raft_core::{EntryId, LogIndex, NodeId, SnapshotMeta, Term};
use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};

/// The most bytes of a chunk, because the node holds one in memory.
pub(crate) const MAX_CHUNK_BYTES: u64 = 4 << 20;

/// The transfer in progress: at most one.
#[derive(Clone, Debug)]
pub(crate) struct IncomingTransfers {
    current: Option<IncomingTransfer>,
    /// The number of chunks of abandoned transfers that are still being written. Results come in order: the next ones
    /// belong to these chunks.
    abandoned: u64,
    max_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct IncomingTransfer {
    /// The latest sender.
    from: NodeId,
    /// The fields that all chunks of the file share, with the sender's term and without bytes.
    head: SnapshotChunk,
    /// The current end of the file on disk.
    end: u64,
    /// The end of the chunk that is being written.
    writing: Option<u64>,
}

/// The meaning of a written chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunkResult {
    /// The transfer continues.
    Partial,
    /// The file is complete and durable.
    Complete { from: NodeId, term: Term, meta: SnapshotMeta },
    /// The disk refused the chunk or the file: nothing of it remains.
    Failed,
    /// The transfer was abandoned earlier. If this was its last chunk, the file is complete.
    Abandoned,
}

impl IncomingTransfers {
    /// No transfer; later it refuses files of more than `max_bytes`.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { current: None, abandoned: 0, max_bytes }
    }

    /// Handles a chunk, or a question without bytes. The log is committed up to `commit`.
    ///
    /// A chunk with numbers that no leader can send is ignored: taken for the newest transfer, it would keep all others out
    /// (rule R44).
    pub(crate) fn on_chunk(&mut self, from: NodeId, chunk: SnapshotChunk, commit: LogIndex, outputs: &mut Outputs) {
        if !chunk.meta.is_well_formed(chunk.term) {
            return;
        }
        if chunk.meta.last.index <= commit {
            return outputs.push(answer(from, &chunk, SnapshotState::Delivered));
        }
        if chunk.size > self.max_bytes {
            return outputs.push(answer(from, &chunk, SnapshotState::Unwanted));
        }
        let length = chunk.bytes.len() as u64;
        let end = chunk.offset.checked_add(length).filter(|&end| end <= chunk.size && length <= MAX_CHUNK_BYTES);
        let Some(end) = end.filter(|_| chunk.size > 0) else { return };
        if length == 0 && !self.current.as_ref().is_some_and(|current| current.has(&chunk)) {
            // It is only a question: another transfer may be complete before the first chunk of this one.
            return outputs.push(answer(from, &chunk, SnapshotState::Wants(0)));
        }
        if self.current.as_ref().is_some_and(|current| !current.has(&chunk)) {
            let newest = |chunk: &SnapshotChunk| (chunk.term, chunk.meta.last);
            self.abandon_if(|current| newest(&current.head) < newest(&chunk), outputs);
            if self.current.is_some() {
                return;
            }
        }
        let current = self.current.get_or_insert_with(|| IncomingTransfer::new(from, &chunk));
        if chunk.term >= current.head.term {
            (current.from, current.head.term) = (from, chunk.term);
        }
        if current.writing.is_some() {
            // The answer is sent after the write.
        } else if chunk.offset == current.end && length > 0 {
            current.writing = Some(end);
            let SnapshotChunk { meta, offset, bytes, size, .. } = chunk;
            let (file, is_last) = (SnapshotFile::Received, end == size);
            outputs.push(SnapshotJob::Write { file, meta, offset, bytes, is_last }.into());
        } else {
            outputs.push(answer(from, &chunk, SnapshotState::Wants(current.end)));
        }
    }

    /// Handles a written chunk.
    pub(crate) fn on_written(
        &mut self,
        last: EntryId,
        end: u64,
        outcome: WriteOutcome,
        outputs: &mut Outputs,
    ) -> ChunkResult {
        if let Some(left) = self.abandoned.checked_sub(1) {
            self.abandoned = left;
            return ChunkResult::Abandoned;
        }
        let is_for = |current: &&mut IncomingTransfer| current.head.meta.last == last && current.writing == Some(end);
        let Some(current) = self.current.as_mut().filter(is_for) else { return ChunkResult::Abandoned };
        let state = match outcome {
            WriteOutcome::Done if end < current.head.size => {
                (current.end, current.writing) = (end, None);
                outputs.push(answer(current.from, &current.head, SnapshotState::Wants(end)));
                return ChunkResult::Partial;
            }
            WriteOutcome::Done => SnapshotState::Delivered,
            WriteOutcome::Damaged => SnapshotState::Damaged,
            WriteOutcome::NoSpace => SnapshotState::Unwanted,
            WriteOutcome::Unusable(error) => {
                let (from, meta) = (current.from, current.head.meta.clone());
                outputs.push(Report::SnapshotRefused { from, meta, error }.into());
                SnapshotState::Unwanted
            }
        };
        outputs.push(answer(current.from, &current.head, state));
        match self.current.take() {
            Some(IncomingTransfer { from, head: SnapshotChunk { term, meta, .. }, .. })
                if state == SnapshotState::Delivered =>
            {
                ChunkResult::Complete { from, term, meta }
            }
            _ => ChunkResult::Failed,
        }
    }

    /// Whether the snapshot at `last` is being received.
    pub(crate) fn is_receiving(&self, last: EntryId) -> bool {
        self.current.as_ref().is_some_and(|current| current.head.meta.last == last)
    }

    /// Notes that the log is committed up to `commit`: a snapshot up to there is obsolete. If its last chunk is being
    /// written, the transfer still completes: the core ignores an obsolete snapshot.
    pub(crate) fn on_committed(&mut self, commit: LogIndex, outputs: &mut Outputs) {
        let is_obsolete = |current: &IncomingTransfer| {
            current.head.meta.last.index <= commit && current.writing != Some(current.head.size)
        };
        self.abandon_if(is_obsolete, outputs);
    }

    fn abandon_if(&mut self, is_obsolete: impl Fn(&IncomingTransfer) -> bool, outputs: &mut Outputs) {
        if let Some(old) = self.current.take_if(|current| is_obsolete(current)) {
            self.abandoned += u64::from(old.writing.is_some());
            outputs.push(SnapshotJob::Drop { last: old.head.meta.last }.into());
        }
    }
}

impl IncomingTransfer {
    fn new(from: NodeId, chunk: &SnapshotChunk) -> Self {
        let head = SnapshotChunk { offset: 0, bytes: bytes::Bytes::new(), ..chunk.clone() };
        Self { from, head, end: 0, writing: None }
    }

    /// Whether the chunk belongs to this file.
    fn has(&self, chunk: &SnapshotChunk) -> bool {
        (&self.head.meta, self.head.size, self.head.checksum) == (&chunk.meta, chunk.size, chunk.checksum)
    }
}

fn answer(to: NodeId, chunk: &SnapshotChunk, state: SnapshotState) -> NodeOutput {
    let progress = SnapshotProgress { term: chunk.term, last: chunk.meta.last, checksum: chunk.checksum, state };
    NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::disk_jobs::DiskJob;
    use crate::interface::state_machine::SnapshotError;
    use bytes::Bytes;
    use raft_core::Configuration;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    /// A chunk of a file of 25 bytes, for the snapshot at this index.
    fn chunk(term: u64, index: u64, offset: u64, length: usize) -> SnapshotChunk {
        let configuration = Configuration::of_voters([ONE, TWO]);
        let meta = SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) };
        let bytes = Bytes::from(vec![0; length]);
        SnapshotChunk { term: Term(term), meta, size: 25, checksum: 7, offset, bytes }
    }

    /// The outputs in short: "write INDEX START..END", "drop INDEX", "PEER INDEX STATE", "refused INDEX".
    fn short(outputs: &[NodeOutput]) -> String {
        let short = |output: &NodeOutput| match output {
            NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Write {
                file: SnapshotFile::Received,
                meta,
                offset,
                bytes,
                is_last,
            })) => {
                let (end, last) = (offset + bytes.len() as u64, if *is_last { " last" } else { "" });
                format!("write {} {offset}..{end}{last}", meta.last.index)
            }
            NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Drop { last })) => format!("drop {}", last.index),
            NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) } => {
                format!("{to} {} {:?}", progress.last.index, progress.state)
            }
            NodeOutput::Report(Report::SnapshotRefused { meta, .. }) => format!("refused {}", meta.last.index),
            other => format!("{other:?}"),
        };
        outputs.iter().map(short).collect::<Vec<_>>().join(", ")
    }

    impl IncomingTransfers {
        fn chunk(&mut self, from: NodeId, chunk: SnapshotChunk) -> String {
            let mut outputs = Vec::new();
            self.on_chunk(from, chunk, LogIndex(4), &mut outputs);
            short(&outputs)
        }

        fn written(&mut self, index: u64, end: u64, outcome: WriteOutcome) -> (String, ChunkResult) {
            let mut outputs = Vec::new();
            let result = self.on_written(EntryId::new(index, 1), end, outcome, &mut outputs);
            (short(&outputs), result)
        }

        fn done(&mut self, index: u64, end: u64) -> (String, ChunkResult) {
            self.written(index, end, WriteOutcome::Done)
        }

        fn committed(&mut self, commit: u64) -> String {
            let mut outputs = Vec::new();
            self.on_committed(LogIndex(commit), &mut outputs);
            short(&outputs)
        }
    }

    fn abandoned() -> (String, ChunkResult) {
        (String::new(), ChunkResult::Abandoned)
    }

    #[test]
    fn a_file_grows_by_chunks_and_another_sender_continues_it() {
        let mut incoming = IncomingTransfers::new(100);
        assert_eq!(incoming.chunk(ONE, chunk(2, 9, 0, 0)), "n1 9 Wants(0)");
        assert_eq!(incoming.chunk(ONE, chunk(2, 9, 0, 10)), "write 9 0..10");
        assert_eq!(incoming.chunk(ONE, chunk(2, 9, 0, 10)), "", "it is being written");
        assert_eq!(incoming.done(9, 10), ("n1 9 Wants(10)".to_owned(), ChunkResult::Partial));
        assert_eq!(incoming.chunk(TWO, chunk(3, 9, 0, 0)), "n2 9 Wants(10)");
        assert_eq!(incoming.chunk(TWO, chunk(3, 9, 0, 10)), "n2 9 Wants(10)", "that is on disk");
        assert_eq!(incoming.chunk(TWO, chunk(3, 9, 10, 15)), "write 9 10..25 last");
        let complete = ChunkResult::Complete { from: TWO, term: Term(3), meta: chunk(3, 9, 0, 0).meta };
        assert_eq!(incoming.done(9, 25), ("n2 9 Delivered".to_owned(), complete));
        assert_eq!(incoming.done(9, 25), abandoned(), "nothing is being written");
    }

    #[test]
    fn a_newer_transfer_replaces_one_with_its_first_chunk() {
        let mut incoming = IncomingTransfers::new(100);
        incoming.chunk(ONE, chunk(2, 9, 0, 10));
        assert_eq!(incoming.chunk(TWO, chunk(3, 12, 0, 0)), "n2 12 Wants(0)");
        assert_eq!(incoming.chunk(TWO, chunk(1, 12, 0, 5)), "", "of an earlier term");
        assert_eq!(incoming.chunk(TWO, chunk(3, 12, 0, 5)), "drop 9, write 12 0..5");
        assert_eq!(incoming.done(9, 10), abandoned());
        assert_eq!(incoming.done(12, 5).0, "n2 12 Wants(5)");
        assert_eq!([incoming.committed(11), incoming.committed(12)], ["", "drop 12"]);
        incoming.chunk(TWO, chunk(3, 12, 0, 25));
        assert_eq!(incoming.committed(12), "", "the last chunk is being written");
        assert!(matches!(incoming.done(12, 25).1, ChunkResult::Complete { .. }));
    }

    #[test]
    fn a_result_of_an_abandoned_chunk_does_not_count_for_its_replacement() {
        let mut incoming = IncomingTransfers::new(100);
        incoming.chunk(ONE, chunk(2, 9, 0, 10));
        incoming.chunk(TWO, chunk(3, 12, 0, 5));
        assert_eq!(incoming.chunk(ONE, chunk(4, 9, 0, 10)), "drop 12, write 9 0..10", "the first one again");
        assert!(incoming.is_receiving(EntryId::new(9, 1)) && !incoming.is_receiving(EntryId::new(12, 1)));
        assert_eq!(incoming.done(9, 10), abandoned(), "of the first attempt");
        assert_eq!(incoming.done(12, 5), abandoned());
        assert_eq!(incoming.done(9, 10), ("n1 9 Wants(10)".to_owned(), ChunkResult::Partial));
    }

    #[test]
    fn obsolete_large_and_malformed_chunks_are_not_written() {
        let large = SnapshotChunk { size: 101, ..chunk(2, 9, 0, 10) };
        let empty_file = SnapshotChunk { size: 0, ..chunk(2, 9, 0, 0) };
        let beyond_its_end = SnapshotChunk { size: 90, ..chunk(2, 9, 0, 91) };
        let longest = usize::try_from(MAX_CHUNK_BYTES).expect("it fits");
        let of_length = |length| SnapshotChunk { size: 1 << 40, ..chunk(2, 9, 0, length) };
        for (max_bytes, chunk, expected) in [
            (100, chunk(2, 4, 0, 10), "n1 4 Delivered"),
            (100, large, "n1 9 Unwanted"),
            (100, chunk(2, 9, 20, 10), ""),
            (100, chunk(2, 9, u64::MAX, 10), ""),
            (100, empty_file, ""),
            (100, beyond_its_end, ""),
            (u64::MAX, of_length(longest + 1), ""),
            (u64::MAX, of_length(longest), "write 9 0..4194304"),
        ] {
            assert_eq!(IncomingTransfers::new(max_bytes).chunk(ONE, chunk), expected);
        }
    }

    #[test]
    fn a_chunk_with_impossible_numbers_keeps_no_other_out() {
        let mut transfers = IncomingTransfers::new(1_000);
        let whole = chunk(3, 9, 0, 10);
        let late = SnapshotMeta { configured_at: EntryId::new(10, 1), ..whole.meta.clone() };
        assert_eq!(transfers.chunk(TWO, SnapshotChunk { term: Term(u64::MAX), ..whole.clone() }), "");
        assert_eq!(transfers.chunk(TWO, SnapshotChunk { meta: late, ..whole.clone() }), "");
        assert_eq!(transfers.chunk(TWO, whole), "write 9 0..10");
    }

    #[test]
    fn a_failed_write_ends_the_transfer_and_the_next_one_starts_at_0() {
        for (outcome, expected) in [
            (WriteOutcome::NoSpace, "n1 9 Unwanted"),
            (WriteOutcome::Damaged, "n1 9 Damaged"),
            (WriteOutcome::Unusable(SnapshotError::UnknownFormat { found: 9 }), "refused 9, n1 9 Unwanted"),
        ] {
            let mut incoming = IncomingTransfers::new(100);
            incoming.chunk(ONE, chunk(2, 9, 0, 25));
            assert_eq!(incoming.written(9, 25, outcome), (expected.to_owned(), ChunkResult::Failed));
            assert_eq!(incoming.chunk(ONE, chunk(2, 9, 0, 0)), "n1 9 Wants(0)");
        }
    }
}
