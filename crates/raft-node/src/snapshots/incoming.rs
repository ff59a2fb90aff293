//! A peer's snapshot on its way here: its file grows piece by piece, on the disk and not in memory. Whoever goes on with the
//! same file, be it another leader, goes on where it ends; the last piece is followed by a look at the whole.
//!
//! This file must not know what is in a snapshot, nor what becomes of it once it is there.

use crate::node::outputs::{NodeOutput, Report, SnapshotFile, SnapshotJob, WriteOutcome};
use raft_core::{EntryId, LogIndex, NodeId, SnapshotMeta, Term};
use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};

/// The most bytes that a piece may have: those of one are in memory.
pub(crate) const MAX_CHUNK_BYTES: u64 = 4 << 20;

/// The snapshot that is being taken in, if one is.
#[derive(Clone, Debug)]
pub(crate) struct Receiving {
    current: Option<Incoming>,
    /// So many chunks are being written whose snapshot was given up. Answers come in order, so the next ones are theirs.
    abandoned: u64,
    max_bytes: u64,
}

/// A snapshot that is being taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Incoming {
    /// Who sends it, and in which term: the latest of them.
    from: NodeId,
    term: Term,
    meta: SnapshotMeta,
    size: u64,
    checksum: u32,
    /// The file is there up to here.
    end: u64,
    /// The end of the piece that is being written.
    writing: Option<u64>,
}

/// What a chunk that the disk has done with means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// More is to come.
    Part,
    /// The file is whole and durable.
    Whole {
        /// Who sent the end of it.
        from: NodeId,
        /// In which term.
        term: Term,
        /// What it stands for.
        meta: SnapshotMeta,
    },
    /// Nothing is left of it.
    Failed,
    /// It was given up meanwhile. If it was the last chunk, its file is there all the same.
    GivenUp,
}

impl Receiving {
    /// Nothing is there, and what comes may have so many bytes.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { current: None, abandoned: 0, max_bytes }
    }

    /// A piece has come, or a question. The log is committed up to `commit`.
    pub(crate) fn chunk(
        &mut self,
        from: NodeId,
        chunk: SnapshotChunk,
        commit: LogIndex,
        outputs: &mut Vec<NodeOutput>,
    ) {
        if chunk.meta.last.index <= commit {
            return outputs.push(answer(from, &chunk, SnapshotState::Delivered));
        }
        if chunk.size > self.max_bytes {
            return outputs.push(answer(from, &chunk, SnapshotState::Unwanted));
        }
        let length = chunk.bytes.len() as u64;
        let end = chunk.offset.checked_add(length).filter(|&end| end <= chunk.size && length <= MAX_CHUNK_BYTES);
        let Some(end) = end.filter(|_| chunk.size > 0) else { return };
        if length == 0 && !self.current.as_ref().is_some_and(|current| current.is_of(&chunk)) {
            // Only a question: what is coming from elsewhere may still be whole before anything of this one.
            return outputs.push(answer(from, &chunk, SnapshotState::Wants(0)));
        }
        if self.current.as_ref().is_some_and(|current| !current.is_of(&chunk)) {
            let is_newer = |current: &Incoming| (chunk.term, chunk.meta.last) > (current.term, current.meta.last);
            let Some(before) = self.current.take_if(|current| is_newer(current)) else { return };
            self.abandoned += u64::from(before.writing.is_some());
            outputs.push(SnapshotJob::Drop { last: before.meta.last }.into());
        }
        let current = self.current.get_or_insert_with(|| Incoming::new(from, &chunk));
        if chunk.term >= current.term {
            (current.from, current.term) = (from, chunk.term);
        }
        if current.writing.is_some() {
            // The answer comes when that is done.
        } else if chunk.offset == current.end && length > 0 {
            current.writing = Some(end);
            let SnapshotChunk { meta, offset, bytes, size, .. } = chunk;
            let (file, is_last) = (SnapshotFile::Received, end == size);
            outputs.push(SnapshotJob::Write { file, meta, offset, bytes, is_last }.into());
        } else {
            outputs.push(answer(from, &chunk, SnapshotState::Wants(current.end)));
        }
    }

    /// A chunk is written, or is not.
    pub(crate) fn written(
        &mut self,
        last: EntryId,
        end: u64,
        outcome: WriteOutcome,
        outputs: &mut Vec<NodeOutput>,
    ) -> Written {
        if let Some(left) = self.abandoned.checked_sub(1) {
            self.abandoned = left;
            return Written::GivenUp;
        }
        let is_for = |current: &&mut Incoming| current.meta.last == last && current.writing == Some(end);
        let Some(current) = self.current.as_mut().filter(is_for) else {
            return Written::GivenUp;
        };
        let state = match outcome {
            WriteOutcome::Done if end < current.size => {
                (current.end, current.writing) = (end, None);
                outputs.push(current.says(SnapshotState::Wants(end)));
                return Written::Part;
            }
            WriteOutcome::Done => SnapshotState::Delivered,
            WriteOutcome::Damaged => SnapshotState::Damaged,
            WriteOutcome::NoSpace => SnapshotState::Unwanted,
            WriteOutcome::Unusable(error) => {
                let (from, meta) = (current.from, current.meta.clone());
                outputs.push(NodeOutput::Report(Report::SnapshotRefused { from, meta, error }));
                SnapshotState::Unwanted
            }
        };
        outputs.push(current.says(state));
        match self.current.take() {
            Some(Incoming { from, term, meta, .. }) if state == SnapshotState::Delivered => {
                Written::Whole { from, term, meta }
            }
            _ => Written::Failed,
        }
    }

    /// Whether the snapshot that ends with `last` is being taken in.
    pub(crate) fn is_of(&self, last: EntryId) -> bool {
        self.current.as_ref().is_some_and(|current| current.meta.last == last)
    }

    /// The log is committed up to here: a snapshot that ends no later is of no use. One whose end is being written is handed
    /// over all the same: the core knows what to do with it.
    pub(crate) fn committed(&mut self, commit: LogIndex, outputs: &mut Vec<NodeOutput>) {
        let is_over =
            |current: &mut Incoming| current.meta.last.index <= commit && current.writing != Some(current.size);
        if let Some(over) = self.current.take_if(is_over) {
            self.abandoned += u64::from(over.writing.is_some());
            outputs.push(SnapshotJob::Drop { last: over.meta.last }.into());
        }
    }
}

impl Incoming {
    fn new(from: NodeId, chunk: &SnapshotChunk) -> Self {
        let SnapshotChunk { term, ref meta, size, checksum, .. } = *chunk;
        Self { from, term, meta: meta.clone(), size, checksum, end: 0, writing: None }
    }

    /// Whether the piece is one of this file.
    fn is_of(&self, chunk: &SnapshotChunk) -> bool {
        (&self.meta, self.size, self.checksum) == (&chunk.meta, chunk.size, chunk.checksum)
    }

    fn says(&self, state: SnapshotState) -> NodeOutput {
        let progress = SnapshotProgress { term: self.term, last: self.meta.last, checksum: self.checksum, state };
        NodeOutput::SendSnapshot { to: self.from, message: SnapshotMessage::Progress(progress) }
    }
}

fn answer(to: NodeId, chunk: &SnapshotChunk, state: SnapshotState) -> NodeOutput {
    let progress = SnapshotProgress { term: chunk.term, last: chunk.meta.last, checksum: chunk.checksum, state };
    NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::outputs::DiskJob;
    use crate::snapshots::content::SnapshotError;
    use bytes::Bytes;
    use raft_core::Configuration;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    /// A piece of a file of 25 bytes of the snapshot after this entry.
    fn piece(term: u64, index: u64, offset: u64, length: usize) -> SnapshotChunk {
        let configuration = Configuration::of_voters([ONE, TWO]);
        let meta = SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) };
        let bytes = Bytes::from(vec![0; length]);
        SnapshotChunk { term: Term(term), meta, size: 25, checksum: 7, offset, bytes }
    }

    /// What comes of it, in short: a write with its end, an answer, a file given up.
    fn outputs(act: impl FnOnce(&mut Vec<NodeOutput>)) -> Vec<String> {
        let mut outputs = Vec::new();
        act(&mut outputs);
        let short = |output: &NodeOutput| match output {
            NodeOutput::Disk(DiskJob::Snapshot(job)) => job_in_short(job),
            NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) } => {
                format!("{to} {} {:?}", progress.last.index, progress.state)
            }
            NodeOutput::Report(Report::SnapshotRefused { meta, .. }) => format!("refused {}", meta.last.index),
            other => format!("{other:?}"),
        };
        outputs.iter().map(short).collect()
    }

    fn job_in_short(job: &SnapshotJob) -> String {
        match job {
            SnapshotJob::Write { file: SnapshotFile::Received, meta, offset, bytes, is_last } => {
                let (end, last) = (offset + bytes.len() as u64, if *is_last { " last" } else { "" });
                format!("write {} {offset}..{end}{last}", meta.last.index)
            }
            SnapshotJob::Drop { last } => format!("drop {}", last.index),
            other => format!("{other:?}"),
        }
    }

    fn chunk(receiving: &mut Receiving, from: NodeId, chunk: SnapshotChunk) -> Vec<String> {
        outputs(|outputs| receiving.chunk(from, chunk, LogIndex(4), outputs))
    }

    fn written(receiving: &mut Receiving, index: u64, end: u64) -> (Vec<String>, Written) {
        let mut received = Written::Part;
        let words = outputs(|outputs| {
            received = receiving.written(EntryId::new(index, 1), end, WriteOutcome::Done, outputs);
        });
        (words, received)
    }

    #[test]
    fn a_file_grows_piece_by_piece_and_another_sender_goes_on_with_it() {
        let mut receiving = Receiving::new(100);
        assert_eq!(chunk(&mut receiving, ONE, piece(2, 9, 0, 0)), ["n1 9 Wants(0)"]);
        assert_eq!(chunk(&mut receiving, ONE, piece(2, 9, 0, 10)), ["write 9 0..10"]);
        assert_eq!(chunk(&mut receiving, ONE, piece(2, 9, 0, 10)), [""; 0], "it is being written");
        assert_eq!(written(&mut receiving, 9, 10), (vec!["n1 9 Wants(10)".to_owned()], Written::Part));
        assert_eq!(chunk(&mut receiving, TWO, piece(3, 9, 0, 0)), ["n2 9 Wants(10)"]);
        assert_eq!(chunk(&mut receiving, TWO, piece(3, 9, 0, 10)), ["n2 9 Wants(10)"], "that is there");
        assert_eq!(chunk(&mut receiving, TWO, piece(3, 9, 10, 15)), ["write 9 10..25 last"]);
        let (words, received) = written(&mut receiving, 9, 25);
        assert_eq!(words, ["n2 9 Delivered"]);
        let Written::Whole { from, term, meta } = received else { panic!("it is whole: {received:?}") };
        assert_eq!((from, term, meta.last), (TWO, Term(3), EntryId::new(9, 1)));
        assert_eq!(written(&mut receiving, 9, 25), (vec![], Written::GivenUp), "nothing is being written");
    }

    #[test]
    fn a_newer_one_takes_its_place_once_a_piece_of_it_is_here() {
        let mut receiving = Receiving::new(100);
        chunk(&mut receiving, ONE, piece(2, 9, 0, 10));
        assert_eq!(chunk(&mut receiving, TWO, piece(3, 12, 0, 0)), ["n2 12 Wants(0)"]);
        assert_eq!(chunk(&mut receiving, TWO, piece(1, 12, 0, 5)), [""; 0], "of an earlier term");
        assert_eq!(chunk(&mut receiving, TWO, piece(3, 12, 0, 5)), ["drop 9", "write 12 0..5"]);
        assert_eq!(written(&mut receiving, 9, 10), (vec![], Written::GivenUp));
        assert_eq!(written(&mut receiving, 12, 5).0, ["n2 12 Wants(5)"]);
        assert_eq!(outputs(|outputs| receiving.committed(LogIndex(11), outputs)), [""; 0]);
        assert_eq!(outputs(|outputs| receiving.committed(LogIndex(12), outputs)), ["drop 12"]);
        chunk(&mut receiving, TWO, piece(3, 12, 0, 25));
        assert_eq!(outputs(|outputs| receiving.committed(LogIndex(12), outputs)), [""; 0], "it is as good as here");
        assert!(matches!(written(&mut receiving, 12, 25).1, Written::Whole { .. }));
    }

    #[test]
    fn the_answer_of_a_chunk_that_was_given_up_is_not_that_of_the_one_which_replaced_it() {
        let mut receiving = Receiving::new(100);
        chunk(&mut receiving, ONE, piece(2, 9, 0, 10));
        chunk(&mut receiving, TWO, piece(3, 12, 0, 5));
        assert_eq!(chunk(&mut receiving, ONE, piece(4, 9, 0, 10)), ["drop 12", "write 9 0..10"], "the first one again");
        assert!(receiving.is_of(EntryId::new(9, 1)) && !receiving.is_of(EntryId::new(12, 1)));
        assert_eq!(written(&mut receiving, 9, 10), (vec![], Written::GivenUp), "of the first try");
        assert_eq!(written(&mut receiving, 12, 5), (vec![], Written::GivenUp));
        assert_eq!(written(&mut receiving, 9, 10), (vec!["n1 9 Wants(10)".to_owned()], Written::Part));
    }

    #[test]
    fn what_is_of_no_use_too_large_or_senseless_is_not_taken() {
        let mut receiving = Receiving::new(100);
        assert_eq!(chunk(&mut receiving, ONE, piece(2, 4, 0, 10)), ["n1 4 Delivered"], "it is committed here");
        let large = SnapshotChunk { size: 101, ..piece(2, 9, 0, 10) };
        assert_eq!(chunk(&mut receiving, ONE, large), ["n1 9 Unwanted"]);
        for senseless in [
            piece(2, 9, 20, 10),
            piece(2, 9, u64::MAX, 10),
            SnapshotChunk { size: 0, ..piece(2, 9, 0, 0) },
            SnapshotChunk { size: 90, ..piece(2, 9, 0, 91) },
        ] {
            assert_eq!(chunk(&mut receiving, ONE, senseless.clone()), [""; 0], "{senseless:?}");
        }
        let mut any = Receiving::new(u64::MAX);
        let longest = usize::try_from(MAX_CHUNK_BYTES).expect("it fits");
        let of = |length| SnapshotChunk { size: 1 << 40, ..piece(2, 9, 0, length) };
        assert_eq!(chunk(&mut any, ONE, of(longest + 1)), [""; 0]);
        assert_eq!(chunk(&mut any, ONE, of(longest)), [format!("write 9 0..{longest}")]);
    }

    #[test]
    fn what_cannot_be_kept_is_said_and_forgotten() {
        let unusable = WriteOutcome::Unusable(SnapshotError::UnknownFormat { found: 9 });
        for (outcome, words) in [
            (WriteOutcome::NoSpace, vec!["n1 9 Unwanted"]),
            (WriteOutcome::Damaged, vec!["n1 9 Damaged"]),
            (unusable, vec!["refused 9", "n1 9 Unwanted"]),
        ] {
            let mut receiving = Receiving::new(100);
            chunk(&mut receiving, ONE, piece(2, 9, 0, 25));
            let said = outputs(|outputs| {
                assert_eq!(receiving.written(EntryId::new(9, 1), 25, outcome, outputs), Written::Failed);
            });
            assert_eq!(said, words);
            assert_eq!(chunk(&mut receiving, ONE, piece(2, 9, 0, 0)), ["n1 9 Wants(0)"], "from the beginning");
        }
    }
}
