//! Snapshots on their way to peers: one piece at a time is under way to each, the next follows when the peer says that it has
//! it. A peer that already has a part is sent the rest; a piece of which nothing is heard is followed by a question how far
//! the peer is. All transfers together keep to a rate.
//!
//! This file must not know what is in a snapshot, nor when a peer needs one.

use crate::node::NodeOptions;
use crate::node::outputs::{NodeOutput, SnapshotJob};
use raft_core::{EntryId, Instant, NodeId, SnapshotMeta, SnapshotOutcome, Term};
use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};
use raft_store::FileChunk;
use std::collections::BTreeMap;
use std::time::Duration;

/// The snapshots on their way, one to a peer.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotTransfers {
    transfers: BTreeMap<NodeId, Transfer>,
    chunk_bytes: u64,
    /// 0: any.
    bytes_per_second: u64,
    patience: Duration,
    /// When the rate allows the next piece.
    free_at: Instant,
}

/// A snapshot on its way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Transfer {
    term: Term,
    meta: SnapshotMeta,
    /// The peer has said that it has so much.
    acknowledged: u64,
    state: State,
}

/// Where a transfer is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The disk is asked for the bytes from here on.
    Reading(u64),
    /// They are to leave when the rate allows it.
    Ready(SnapshotChunk, Instant),
    /// A piece that ends here, or a question, has left; until then an answer is waited for.
    Sent { end: u64, is_question: bool, until: Instant },
}

impl SnapshotTransfers {
    /// Nothing is on its way.
    pub(crate) fn new(options: &NodeOptions) -> Self {
        Self {
            transfers: BTreeMap::new(),
            chunk_bytes: options.snapshot_chunk_bytes.max(1),
            bytes_per_second: options.snapshot_bytes_per_second,
            patience: options.snapshot_patience.max(Duration::from_nanos(1)),
            free_at: Instant(0),
        }
    }

    /// Begins with a question how much of it the peer has. Takes the place of what was on its way to that peer.
    pub(crate) fn begin(&mut self, to: NodeId, term: Term, meta: SnapshotMeta) -> SnapshotJob {
        let last = meta.last;
        self.transfers.insert(to, Transfer { term, meta, acknowledged: 0, state: State::Reading(0) });
        SnapshotJob::Read { to, last, offset: 0, max_bytes: 0 }
    }

    /// Nothing is to be sent any more.
    pub(crate) fn end(&mut self) {
        self.transfers.clear();
    }

    /// Ends the transfers that this does not hold for.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(NodeId, EntryId) -> bool) {
        self.transfers.retain(|to, transfer| is_wanted(*to, transfer.meta.last));
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    /// Whether the file of this snapshot is being sent to anybody.
    pub(crate) fn is_sent(&self, last: EntryId) -> bool {
        self.transfers.values().any(|transfer| transfer.meta.last == last)
    }

    /// When a piece may leave, or an answer has been waited for long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadline = |transfer: &Transfer| match transfer.state {
            State::Reading(_) => None,
            State::Ready(_, at) | State::Sent { until: at, .. } => Some(at),
        };
        self.transfers.values().filter_map(deadline).min()
    }

    /// Does what is due.
    pub(crate) fn due(&mut self, now: Instant, outputs: &mut Vec<NodeOutput>) {
        let patience = self.patience;
        for (&to, transfer) in &mut self.transfers {
            match &transfer.state {
                State::Ready(chunk, at) if *at <= now => {
                    let chunk = chunk.clone();
                    outputs.push(transfer.send(to, chunk, now.after(patience)));
                }
                // The piece or its answer is lost, or late: the question is small, and its answer says where to go on.
                State::Sent { until, .. } if *until <= now => {
                    transfer.state = State::Reading(0);
                    outputs.push(SnapshotJob::Read { to, last: transfer.meta.last, offset: 0, max_bytes: 0 }.into());
                }
                _ => {}
            }
        }
    }

    /// The disk has read a piece; none: the file is gone.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        (to, last, offset): (NodeId, EntryId, u64),
        chunk: Option<FileChunk>,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<SnapshotOutcome> {
        let is_for = |transfer: &Transfer| transfer.meta.last == last && transfer.state == State::Reading(offset);
        let transfer = self.transfers.get_mut(&to).filter(|transfer| is_for(transfer))?;
        let Some(FileChunk { size, checksum, bytes }) = chunk else {
            self.transfers.remove(&to);
            return Some(SnapshotOutcome::Failed);
        };
        let nanos = u128::from(bytes.len() as u64) * 1_000_000_000;
        let cost = nanos.checked_div(u128::from(self.bytes_per_second)).unwrap_or(0);
        let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
        let at = self.free_at.max(now);
        let (term, meta) = (transfer.term, transfer.meta.clone());
        let chunk = SnapshotChunk { term, meta, size, checksum, offset, bytes };
        if chunk.bytes.is_empty() {
            let until = now.after(self.patience);
            outputs.push(transfer.send(to, chunk, until));
            return None;
        }
        self.free_at = at.after(cost);
        transfer.state = State::Ready(chunk, at);
        self.due(now, outputs);
        None
    }

    /// A peer says how far it is.
    pub(crate) fn progress(
        &mut self,
        from: NodeId,
        progress: SnapshotProgress,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<SnapshotOutcome> {
        let SnapshotProgress { term, last, state, .. } = progress;
        let is_for = |transfer: &Transfer| (transfer.term, transfer.meta.last) == (term, last);
        let transfer = self.transfers.get_mut(&from).filter(|transfer| is_for(transfer))?;
        let outcome = match state {
            SnapshotState::Wants(offset) => {
                let State::Sent { end, is_question, .. } = transfer.state else { return None };
                // Behind a piece, what else is said was said before: it was sent twice, or has been overtaken.
                if !is_question && offset != end {
                    return None;
                }
                transfer.state = State::Reading(offset);
                outputs.push(SnapshotJob::Read { to: from, last, offset, max_bytes: self.chunk_bytes }.into());
                let is_news = offset > transfer.acknowledged;
                transfer.acknowledged = offset;
                return is_news.then_some(SnapshotOutcome::Progress);
            }
            SnapshotState::Delivered => SnapshotOutcome::Delivered,
            SnapshotState::Damaged => {
                outputs.push(SnapshotJob::Verify { last }.into());
                SnapshotOutcome::Failed
            }
            SnapshotState::Unwanted => SnapshotOutcome::Failed,
        };
        self.transfers.remove(&from);
        Some(outcome)
    }
}

impl Transfer {
    fn send(&mut self, to: NodeId, chunk: SnapshotChunk, until: Instant) -> NodeOutput {
        let end = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        self.state = State::Sent { end, is_question: chunk.bytes.is_empty(), until };
        NodeOutput::SendSnapshot { to, message: SnapshotMessage::Chunk(chunk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::outputs::DiskJob;
    use bytes::Bytes;
    use raft_core::Configuration;

    const LAST: EntryId = EntryId { index: raft_core::LogIndex(9), term: Term(2) };
    const PEER: NodeId = NodeId(2);
    const SECOND: u64 = 1_000_000_000;

    fn meta() -> SnapshotMeta {
        let configuration = Configuration::of_voters([NodeId(1), PEER]);
        SnapshotMeta { last: LAST, configuration, configured_at: EntryId::new(1, 1) }
    }

    /// Offsets and lengths of what the disk is asked for, and of what is sent.
    type Done = (Vec<(u64, u64)>, Vec<(u64, usize)>);

    /// A transfer of 25 bytes in pieces of 10, at 10 bytes a second, with 3 seconds of patience.
    struct Bench {
        transfers: SnapshotTransfers,
        outputs: Vec<NodeOutput>,
    }

    impl Bench {
        fn new() -> Self {
            let options = NodeOptions {
                snapshot_chunk_bytes: 10,
                snapshot_bytes_per_second: 10,
                snapshot_patience: Duration::from_secs(3),
                ..NodeOptions::default()
            };
            let mut transfers = SnapshotTransfers::new(&options);
            let outputs = vec![transfers.begin(PEER, Term(2), meta()).into()];
            Self { transfers, outputs }
        }

        fn done(&mut self) -> Done {
            let (mut reads, mut sends) = (Vec::new(), Vec::new());
            for output in self.outputs.drain(..) {
                match output {
                    NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Read {
                        to: PEER,
                        last: LAST,
                        offset,
                        max_bytes,
                    })) => {
                        reads.push((offset, max_bytes));
                    }
                    NodeOutput::SendSnapshot { to: PEER, message: SnapshotMessage::Chunk(chunk) } => {
                        assert_eq!((chunk.size, chunk.checksum, chunk.meta), (25, 7, meta()));
                        sends.push((chunk.offset, chunk.bytes.len()));
                    }
                    other => panic!("{other:?}"),
                }
            }
            (reads, sends)
        }

        fn read(&mut self, at: u64, offset: u64, length: usize) -> Option<SnapshotOutcome> {
            let chunk = Some(FileChunk { size: 25, checksum: 7, bytes: Bytes::from(vec![0; length]) });
            self.transfers.read(Instant(at), (PEER, LAST, offset), chunk, &mut self.outputs)
        }

        fn says(&mut self, state: SnapshotState) -> Option<SnapshotOutcome> {
            let progress = SnapshotProgress { term: Term(2), last: LAST, checksum: 7, state };
            self.transfers.progress(PEER, progress, &mut self.outputs)
        }

        fn due(&mut self, at: u64) {
            self.transfers.due(Instant(at), &mut self.outputs);
        }
    }

    #[test]
    fn a_peer_is_asked_how_far_it_is_and_sent_the_rest_at_the_rate() {
        let mut bench = Bench::new();
        assert_eq!(bench.done(), (vec![(0, 0)], vec![]));
        assert_eq!(bench.read(0, 0, 0), None);
        assert_eq!(bench.done(), (vec![], vec![(0, 0)]));
        assert_eq!(bench.says(SnapshotState::Wants(4)), Some(SnapshotOutcome::Progress), "it had a part");
        assert_eq!(bench.done(), (vec![(4, 10)], vec![]));
        assert_eq!(bench.read(5, 4, 10), None);
        assert_eq!(bench.done(), (vec![], vec![(4, 10)]), "the first is free");
        assert_eq!(bench.says(SnapshotState::Wants(14)), Some(SnapshotOutcome::Progress));
        assert_eq!(bench.done(), (vec![(14, 10)], vec![]));
        bench.read(6, 14, 10);
        assert_eq!((bench.done(), bench.transfers.deadline()), ((vec![], vec![]), Some(Instant(SECOND + 5))));
        bench.due(SECOND + 4);
        assert_eq!(bench.done(), (vec![], vec![]));
        bench.due(SECOND + 5);
        assert_eq!(bench.done(), (vec![], vec![(14, 10)]));
        assert!(bench.transfers.is_sent(LAST) && !bench.transfers.is_sent(EntryId::new(9, 1)));
        assert_eq!(bench.says(SnapshotState::Delivered), Some(SnapshotOutcome::Delivered));
        assert!(bench.transfers.is_empty() && !bench.transfers.is_sent(LAST));
        assert_eq!(bench.says(SnapshotState::Delivered), None, "it is over");
    }

    #[test]
    fn what_is_lost_is_asked_for_again_from_where_the_peer_is() {
        let mut bench = Bench::new();
        bench.read(0, 0, 0);
        bench.says(SnapshotState::Wants(10));
        bench.read(0, 10, 10);
        bench.done();
        assert_eq!(bench.says(SnapshotState::Wants(10)), None, "said before the piece came");
        assert_eq!((bench.done(), bench.transfers.deadline()), ((vec![], vec![]), Some(Instant(3 * SECOND))));
        bench.due(3 * SECOND);
        assert_eq!(bench.done(), (vec![(0, 0)], vec![]));
        bench.read(3 * SECOND, 0, 0);
        bench.done();
        assert_eq!(bench.says(SnapshotState::Wants(0)), None, "it has been started again: nothing new is there");
        assert_eq!(bench.done(), (vec![(0, 10)], vec![]));
    }

    #[test]
    fn an_end_is_told_and_answers_to_other_questions_are_not_heard() {
        for (state, outcome) in [
            (SnapshotState::Delivered, SnapshotOutcome::Delivered),
            (SnapshotState::Unwanted, SnapshotOutcome::Failed),
            (SnapshotState::Damaged, SnapshotOutcome::Failed),
        ] {
            let mut bench = Bench::new();
            bench.read(0, 0, 0);
            let other = SnapshotProgress { term: Term(1), last: LAST, checksum: 7, state };
            assert_eq!(bench.transfers.progress(PEER, other, &mut bench.outputs), None, "of an earlier term");
            assert_eq!(bench.transfers.progress(NodeId(3), other, &mut bench.outputs), None, "nothing is sent there");
            assert_eq!(bench.says(state), Some(outcome));
            let verify = bench.outputs.contains(&SnapshotJob::Verify { last: LAST }.into());
            assert_eq!(verify, state == SnapshotState::Damaged, "its own file is checked");
            assert!(bench.transfers.is_empty());
        }
        let mut gone = Bench::new();
        assert_eq!(gone.read(0, 3, 0), None, "it was not asked for");
        let none = gone.transfers.read(Instant(0), (PEER, LAST, 0), None, &mut gone.outputs);
        assert_eq!((none, gone.transfers.is_empty()), (Some(SnapshotOutcome::Failed), true));
        let mut unwanted = Bench::new();
        unwanted.transfers.retain(|to, last| (to, last) != (PEER, LAST));
        assert!(unwanted.transfers.is_empty());
    }
}
