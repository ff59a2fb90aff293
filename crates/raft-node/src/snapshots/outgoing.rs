//! The sending end of snapshot transfers. One chunk is in flight to each peer; the next follows once the peer has confirmed it.
//! At its start, and after a chunk without an answer, a transfer asks the peer for its progress and continues there.
//! All transfers share one rate limit: of the chunks that wait for it, the one that waits longest is next.
//!
//! This file must not know the content of a snapshot, nor when a peer needs one.

use crate::interface::disk_jobs::SnapshotJob;
use crate::interface::options::NodeOptions;
use crate::interface::outputs::{NodeOutput, Outputs};
use raft_core::{EntryId, Instant, NodeId, SnapshotMeta, SnapshotOutcome, Term};
use raft_proto::{SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState};
use raft_store::FileChunk;
use std::collections::BTreeMap;
use std::time::Duration;

/// The transfers in progress, one for each peer.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingTransfers {
    transfers: BTreeMap<NodeId, OutgoingTransfer>,
    chunk_bytes: u64,
    /// 0 means no limit.
    bytes_per_second: u64,
    answer_timeout: Duration,
    /// When the rate allows the next chunk. A chunk counts when it leaves: one that an ended transfer never sent delays no other.
    free_at: Instant,
}

/// A chunk takes at most this share of a second of the rate, so that a slow rate delays no chunk for as long as a transfer may take
/// without progress.
const CHUNKS_PER_SECOND: u64 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
struct OutgoingTransfer {
    term: Term,
    meta: SnapshotMeta,
    /// The peer has the file up to this offset.
    acknowledged: u64,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The disk reads the chunk at this offset.
    Reading(u64),
    /// The chunk waits for the rate since this time.
    Ready(SnapshotChunk, Instant),
    /// A chunk that ends at `end`, or a question without bytes, waits for an answer.
    Sent { end: u64, is_question: bool, until: Instant },
}

impl OutgoingTransfers {
    pub(crate) fn len(&self) -> usize {
        self.transfers.len()
    }

    /// No transfers.
    pub(crate) fn new(options: &NodeOptions) -> Self {
        let bytes_per_second = options.snapshot_bytes_per_second;
        let most = if bytes_per_second == 0 { u64::MAX } else { bytes_per_second / CHUNKS_PER_SECOND };
        Self {
            transfers: BTreeMap::new(),
            chunk_bytes: options.snapshot_chunk_bytes.min(most).max(1),
            bytes_per_second,
            answer_timeout: options.snapshot_patience.max(Duration::from_nanos(1)),
            free_at: Instant(0),
        }
    }

    /// Starts a transfer with a question for the peer's progress. It replaces an earlier transfer to that peer.
    pub(crate) fn begin(&mut self, to: NodeId, term: Term, meta: SnapshotMeta) -> SnapshotJob {
        let last = meta.last;
        self.transfers.insert(to, OutgoingTransfer { term, meta, acknowledged: 0, state: State::Reading(0) });
        SnapshotJob::Read { to, last, offset: 0, max_bytes: 0 }
    }

    /// Ends all transfers.
    pub(crate) fn clear(&mut self) {
        self.transfers.clear();
    }

    /// Ends the transfers for which `is_wanted` is false.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(NodeId, EntryId) -> bool) {
        self.transfers.retain(|to, transfer| is_wanted(*to, transfer.meta.last));
    }

    /// Whether a transfer needs the file of this snapshot.
    pub(crate) fn is_sending(&self, last: EntryId) -> bool {
        self.transfers.values().any(|transfer| transfer.meta.last == last)
    }

    /// When the next chunk may leave, or the next answer is overdue.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadline = |transfer: &OutgoingTransfer| match transfer.state {
            State::Reading(_) => None,
            State::Ready(..) => Some(self.free_at),
            State::Sent { until, .. } => Some(until),
        };
        self.transfers.values().filter_map(deadline).min()
    }

    /// Sends the chunks that are due, and asks for progress where an answer is overdue.
    pub(crate) fn on_time(&mut self, now: Instant, outputs: &mut Outputs) {
        let until = now.after(self.answer_timeout);
        for (&to, transfer) in &mut self.transfers {
            match &transfer.state {
                // The chunk or its answer is lost or late. The question is small, and its answer says where to
                // continue.
                State::Sent { until, .. } if *until <= now => {
                    transfer.state = State::Reading(0);
                    outputs.push(SnapshotJob::Read { to, last: transfer.meta.last, offset: 0, max_bytes: 0 }.into());
                }
                State::Reading(_) | State::Ready(..) | State::Sent { .. } => {}
            }
        }
        while self.free_at <= now
            && let Some((to, chunk, since)) = self.longest_waiting()
        {
            self.free_at = self.free_at.max(since).after(self.cost(&chunk));
            outputs.extend(self.transfers.get_mut(&to).map(|transfer| transfer.send(to, chunk, until)));
        }
    }

    /// The chunk that has waited longest for the rate.
    fn longest_waiting(&self) -> Option<(NodeId, SnapshotChunk, Instant)> {
        let waiting = self.transfers.iter().filter_map(|(&to, transfer)| match &transfer.state {
            State::Ready(chunk, since) => Some((to, chunk, *since)),
            State::Reading(_) | State::Sent { .. } => None,
        });
        waiting.min_by_key(|&(to, _, since)| (since, to)).map(|(to, chunk, since)| (to, chunk.clone(), since))
    }

    /// How long the rate needs for a chunk.
    fn cost(&self, chunk: &SnapshotChunk) -> Duration {
        let nanos = u128::from(chunk.bytes.len() as u64) * 1_000_000_000;
        let cost = nanos.checked_div(u128::from(self.bytes_per_second)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX))
    }

    /// Handles a chunk that the disk has read; `None` if the file does not exist.
    pub(crate) fn on_read(
        &mut self,
        now: Instant,
        (to, last, offset): (NodeId, EntryId, u64),
        chunk: Option<FileChunk>,
        outputs: &mut Outputs,
    ) -> Option<SnapshotOutcome> {
        let is_for =
            |transfer: &OutgoingTransfer| transfer.meta.last == last && transfer.state == State::Reading(offset);
        let transfer = self.transfers.get_mut(&to).filter(|transfer| is_for(transfer))?;
        let Some(FileChunk { size, checksum, bytes }) = chunk else {
            self.transfers.remove(&to);
            return Some(SnapshotOutcome::Failed);
        };
        let (term, meta) = (transfer.term, transfer.meta.clone());
        let chunk = SnapshotChunk { term, meta, size, checksum, offset, bytes };
        if chunk.bytes.is_empty() {
            outputs.push(transfer.send(to, chunk, now.after(self.answer_timeout)));
            return None;
        }
        transfer.state = State::Ready(chunk, now);
        self.on_time(now, outputs);
        None
    }

    /// Handles the progress that a peer reports. Returns the input for the core.
    pub(crate) fn on_progress(
        &mut self,
        from: NodeId,
        progress: SnapshotProgress,
        outputs: &mut Outputs,
    ) -> Option<SnapshotOutcome> {
        let SnapshotProgress { term, last, state, .. } = progress;
        let is_for = |transfer: &OutgoingTransfer| (transfer.term, transfer.meta.last) == (term, last);
        let transfer = self.transfers.get_mut(&from).filter(|transfer| is_for(transfer))?;
        let outcome = match state {
            SnapshotState::Wants(offset) => {
                let State::Sent { end, is_question, .. } = transfer.state else { return None };
                // After a chunk, any other offset comes from an earlier answer, duplicated or reordered.
                if !is_question && offset != end {
                    return None;
                }
                transfer.state = State::Reading(offset);
                outputs.push(SnapshotJob::Read { to: from, last, offset, max_bytes: self.chunk_bytes }.into());
                let has_grown = offset > transfer.acknowledged;
                transfer.acknowledged = offset;
                return has_grown.then_some(SnapshotOutcome::Progress);
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

impl OutgoingTransfer {
    fn send(&mut self, to: NodeId, chunk: SnapshotChunk, until: Instant) -> NodeOutput {
        let end = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        self.state = State::Sent { end, is_question: chunk.bytes.is_empty(), until };
        NodeOutput::SendSnapshot { to, message: SnapshotMessage::Chunk(chunk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::disk_jobs::DiskJob;
    use bytes::Bytes;
    use raft_core::Configuration;

    const LAST: EntryId = EntryId { index: raft_core::LogIndex(9), term: Term(2) };
    const PEER: NodeId = NodeId(2);
    const SECOND: u64 = 1_000_000_000;

    fn meta() -> SnapshotMeta {
        let configuration = Configuration::of_voters([NodeId(1), PEER]);
        SnapshotMeta { last: LAST, configuration, configured_at: EntryId::new(1, 1) }
    }

    /// A transfer of 25 bytes in chunks of 10, at 100 bytes per second, with 3 seconds for an answer.
    struct Sender {
        transfers: OutgoingTransfers,
        outputs: Vec<NodeOutput>,
    }

    impl Sender {
        fn new() -> Self {
            let options = NodeOptions {
                snapshot_chunk_bytes: 10,
                snapshot_bytes_per_second: 100,
                snapshot_patience: Duration::from_secs(3),
                ..NodeOptions::default()
            };
            let mut transfers = OutgoingTransfers::new(&options);
            let outputs = vec![transfers.begin(PEER, Term(2), meta()).into()];
            Self { transfers, outputs }
        }

        /// The outputs in short: "read OFFSET+MAX", "send OFFSET+LENGTH", "verify".
        fn done(&mut self) -> String {
            let short = |output| match output {
                NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Read { to: PEER, last: LAST, offset, max_bytes })) => {
                    format!("read {offset}+{max_bytes}")
                }
                NodeOutput::Disk(DiskJob::Snapshot(SnapshotJob::Verify { last: LAST })) => "verify".to_owned(),
                NodeOutput::SendSnapshot { to: PEER, message: SnapshotMessage::Chunk(chunk) } => {
                    assert_eq!((chunk.size, chunk.checksum, chunk.meta), (25, 7, meta()));
                    format!("send {}+{}", chunk.offset, chunk.bytes.len())
                }
                other => panic!("{other:?}"),
            };
            self.outputs.drain(..).map(short).collect::<Vec<_>>().join(", ")
        }

        fn read(&mut self, at: u64, offset: u64, length: usize) -> String {
            let chunk = Some(FileChunk { size: 25, checksum: 7, bytes: Bytes::from(vec![0; length]) });
            let outcome = self.transfers.on_read(Instant(at), (PEER, LAST, offset), chunk, &mut self.outputs);
            assert_eq!(outcome, None);
            self.done()
        }

        fn progress(&mut self, state: SnapshotState) -> (Option<SnapshotOutcome>, String) {
            let progress = SnapshotProgress { term: Term(2), last: LAST, checksum: 7, state };
            (self.transfers.on_progress(PEER, progress, &mut self.outputs), self.done())
        }

        fn time(&mut self, at: u64) -> String {
            self.transfers.on_time(Instant(at), &mut self.outputs);
            self.done()
        }
    }

    /// The progress for the core, and the next output of the node.
    fn grown(next: &str) -> (Option<SnapshotOutcome>, String) {
        (Some(SnapshotOutcome::Progress), next.to_owned())
    }

    #[test]
    fn a_peer_is_asked_for_its_progress_and_sent_the_rest_at_the_rate() {
        let mut sender = Sender::new();
        assert_eq!((sender.done(), sender.read(0, 0, 0)), ("read 0+0".to_owned(), "send 0+0".to_owned()));
        assert_eq!(sender.progress(SnapshotState::Wants(4)), grown("read 4+10"), "it had a part");
        assert_eq!(sender.read(5, 4, 10), "send 4+10", "the first chunk leaves at once");
        assert_eq!(sender.progress(SnapshotState::Wants(14)), grown("read 14+10"));
        assert_eq!(
            (sender.read(6, 14, 10).as_str(), sender.transfers.deadline()),
            ("", Some(Instant(SECOND / 10 + 5)))
        );
        assert_eq!([sender.time(SECOND / 10 + 4), sender.time(SECOND / 10 + 5)], ["", "send 14+10"]);
        assert!(sender.transfers.is_sending(LAST) && !sender.transfers.is_sending(EntryId::new(9, 1)));
        assert_eq!(sender.progress(SnapshotState::Delivered), (Some(SnapshotOutcome::Delivered), String::new()));
        assert!(!sender.transfers.is_sending(LAST));
        assert_eq!(sender.progress(SnapshotState::Delivered), (None, String::new()), "it is over");
    }

    #[test]
    fn a_lost_chunk_is_followed_by_a_question_and_sent_again() {
        let mut sender = Sender::new();
        sender.done();
        sender.read(0, 0, 0);
        sender.progress(SnapshotState::Wants(10));
        assert_eq!(sender.read(0, 10, 10), "send 10+10");
        assert_eq!(sender.progress(SnapshotState::Wants(10)), (None, String::new()), "from before the chunk");
        assert_eq!(sender.transfers.deadline(), Some(Instant(3 * SECOND)));
        assert_eq!(sender.time(3 * SECOND), "read 0+0");
        assert_eq!(sender.read(3 * SECOND, 0, 0), "send 0+0");
        let restarted = (None, "read 0+10".to_owned());
        assert_eq!(sender.progress(SnapshotState::Wants(0)), restarted, "the peer has restarted: no progress");
    }

    #[test]
    fn the_chunk_that_waits_longest_is_next_and_one_of_an_ended_transfer_delays_no_other() {
        let mut sender = Sender::new();
        let mut outputs = Vec::new();
        let mut ready = |transfers: &mut OutgoingTransfers, to: u64, at: u64| {
            let to = NodeId(to);
            let _ = transfers.begin(to, Term(2), meta());
            transfers.transfers.entry(to).and_modify(|transfer| transfer.state = State::Reading(0));
            let chunk = Some(FileChunk { size: 25, checksum: 7, bytes: Bytes::from(vec![0; 10]) });
            assert_eq!(transfers.on_read(Instant(at), (to, LAST, 0), chunk, &mut outputs), None);
        };
        let tenth = SECOND / 10;
        let transfers = &mut sender.transfers;
        // The chunk for n9 leaves at once. Those for n5, n3, n4 and n2 wait, in this order, and n3's transfer ends.
        for (at, to) in [(0, 9), (1, 5), (2, 3), (3, 4), (4, 2)] {
            ready(transfers, to, at);
        }
        transfers.retain(|to, _| to != NodeId(3));
        let mut left = |at| -> Vec<u64> {
            let mut outputs = Vec::new();
            transfers.on_time(Instant(at), &mut outputs);
            let to = |output| match output {
                NodeOutput::SendSnapshot { to, .. } => to.0,
                other => panic!("{other:?}"),
            };
            outputs.into_iter().map(to).collect()
        };
        assert_eq!([left(tenth - 1), left(tenth), left(2 * tenth)], [vec![], vec![5], vec![4]]);
        assert_eq!(left(3 * tenth), [2]);
    }

    #[test]
    fn a_slow_rate_has_small_chunks() {
        let options = |bytes_per_second| NodeOptions {
            snapshot_chunk_bytes: 1_000,
            snapshot_bytes_per_second: bytes_per_second,
            ..NodeOptions::default()
        };
        for (rate, chunk) in [(0, 1_000), (10_000, 1_000), (5_000, 500), (20, 2), (1, 1)] {
            assert_eq!(OutgoingTransfers::new(&options(rate)).chunk_bytes, chunk, "at {rate} bytes a second");
        }
    }

    #[test]
    fn a_transfer_ends_by_its_own_answers_only() {
        for (state, outcome, job) in [
            (SnapshotState::Delivered, SnapshotOutcome::Delivered, ""),
            (SnapshotState::Unwanted, SnapshotOutcome::Failed, ""),
            (SnapshotState::Damaged, SnapshotOutcome::Failed, "verify"),
        ] {
            let mut sender = Sender::new();
            sender.done();
            sender.read(0, 0, 0);
            let other = SnapshotProgress { term: Term(1), last: LAST, checksum: 7, state };
            assert_eq!(sender.transfers.on_progress(PEER, other, &mut sender.outputs), None, "of an earlier term");
            assert_eq!(sender.transfers.on_progress(NodeId(3), other, &mut sender.outputs), None, "of another peer");
            assert_eq!(sender.progress(state), (Some(outcome), job.to_owned()));
            assert!(!sender.transfers.is_sending(LAST));
        }
        let mut gone = Sender::new();
        gone.done();
        assert_eq!(gone.read(0, 3, 0), "", "an unexpected chunk");
        let outcome = gone.transfers.on_read(Instant(0), (PEER, LAST, 0), None, &mut gone.outputs);
        assert_eq!((outcome, gone.transfers.is_sending(LAST)), (Some(SnapshotOutcome::Failed), false));
        let mut unwanted = Sender::new();
        unwanted.transfers.retain(|to, last| (to, last) != (PEER, LAST));
        assert!(!unwanted.transfers.is_sending(LAST));
    }
}
