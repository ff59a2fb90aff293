//! A peer's snapshot on its way here: its file grows piece by piece, on the disk and not in memory. Whoever goes on with the
//! same file, be it another leader, goes on where it ends; the last piece is followed by a look at the whole.
//!
//! This file must not know what is in a snapshot, nor what becomes of it once it is there.

use crate::message::{NodeOutput, SnapshotFile, SnapshotOutcome};
use raft_core::{EntryId, LogIndex, NodeId, SnapshotMeta, Term};
use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};

/// The most bytes that a piece may have: those of one are in memory.
pub(crate) const MAX_CHUNK_BYTES: u64 = 4 << 20;

/// The snapshot that is being taken in, if one is.
#[derive(Clone, Debug)]
pub(crate) struct Receiving {
    current: Option<Incoming>,
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

/// A snapshot whose file is whole and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Who sent the end of it.
    pub(crate) from: NodeId,
    /// In which term.
    pub(crate) term: Term,
    /// What it stands for.
    pub(crate) meta: SnapshotMeta,
}

impl Receiving {
    /// Nothing is there, and what comes may have so many bytes.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { current: None, max_bytes }
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
        if self.current.as_ref().is_some_and(|current| !current.is_of(&chunk)) {
            let is_newer = |current: &Incoming| (chunk.term, chunk.meta.last) > (current.term, current.meta.last);
            let Some(before) = self.current.take_if(|current| is_newer(current)) else { return };
            outputs.push(NodeOutput::DropSnapshot { last: before.meta.last });
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
            outputs.push(NodeOutput::WriteSnapshot { file, meta, offset, bytes, is_last });
        } else {
            outputs.push(answer(from, &chunk, SnapshotState::Wants(current.end)));
        }
    }

    /// A piece is written, or is not. Gives the snapshot if it is whole.
    pub(crate) fn written(
        &mut self,
        last: EntryId,
        end: u64,
        outcome: SnapshotOutcome,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Received> {
        let is_for = |current: &&mut Incoming| current.meta.last == last && current.writing == Some(end);
        let Some(current) = self.current.as_mut().filter(is_for) else {
            // Given up meanwhile: if that was the last piece, its file is there.
            outputs.push(NodeOutput::RemoveSnapshot { last });
            return None;
        };
        let state = match outcome {
            SnapshotOutcome::Done if end < current.size => {
                (current.end, current.writing) = (end, None);
                outputs.push(current.says(SnapshotState::Wants(end)));
                return None;
            }
            SnapshotOutcome::Done => SnapshotState::Delivered,
            SnapshotOutcome::Damaged => SnapshotState::Damaged,
            SnapshotOutcome::NoSpace => SnapshotState::Unwanted,
            SnapshotOutcome::Unusable(error) => {
                let (from, meta) = (current.from, current.meta.clone());
                outputs.push(NodeOutput::SnapshotRefused { from, meta, error });
                SnapshotState::Unwanted
            }
        };
        outputs.push(current.says(state));
        let Incoming { from, term, meta, .. } = self.current.take()?;
        (state == SnapshotState::Delivered).then_some(Received { from, term, meta })
    }

    /// The log is committed up to here: a snapshot that ends no later is of no use.
    pub(crate) fn committed(&mut self, commit: LogIndex, outputs: &mut Vec<NodeOutput>) {
        if let Some(over) = self.current.take_if(|current| current.meta.last.index <= commit) {
            outputs.push(NodeOutput::DropSnapshot { last: over.meta.last });
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
