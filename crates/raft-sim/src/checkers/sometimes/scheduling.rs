//! The marks of threads that interact: inputs of several kinds in one call, writes in one group, jobs that run after a
//! later write, full inboxes.

use crate::record::{Record, RecordKind};
use raft_core::NodeId;
use raft_store::PeerCheck;
use std::collections::{BTreeMap, BTreeSet};

/// The source of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Disk,
    Peer,
    Client,
}

/// The state that these marks need.
#[derive(Clone, Debug, Default)]
pub(super) struct Scheduling {
    /// The latest call, and the sources of its inputs.
    call: u64,
    sources: BTreeSet<Source>,
    /// For each node, the jobs that its disk has not done, by the record that requested them.
    jobs: BTreeMap<NodeId, BTreeSet<u64>>,
}

impl Scheduling {
    /// The mark that a record reaches, if there is one.
    pub(super) fn observe(&mut self, record: &Record) -> Option<&'static str> {
        let node = record.node?;
        match &record.kind {
            RecordKind::Wrote { writes, .. } => {
                let jobs = self.jobs.get(&node);
                if jobs.and_then(BTreeSet::first).is_some_and(|asked| record.cause.is_some_and(|cause| cause > *asked))
                {
                    return Some("write_overtook_job");
                }
                return (writes.len() > 1).then_some("writes_grouped");
            }
            RecordKind::MessageDropped { .. } => return Some("message_dropped"),
            RecordKind::RequestRefused { .. } => return Some("request_refused"),
            RecordKind::UnreachableTold { .. } => return Some("unreachable_told"),
            RecordKind::PeerRegistered { found: Some(PeerCheck::Mismatch { .. }), .. } => return Some("peer_refused"),
            RecordKind::ReadAsked { .. } | RecordKind::SnapshotWanted { .. } | RecordKind::SnapshotTaken { .. } => {
                self.jobs.entry(node).or_default().insert(record.number);
            }
            RecordKind::LogRead { .. }
            | RecordKind::SnapshotLoaded { .. }
            | RecordKind::SnapshotGrown { .. }
            | RecordKind::SnapshotSaved { .. }
            | RecordKind::SnapshotNotWritten { .. } => {
                if let (Some(jobs), Some(asked)) = (self.jobs.get_mut(&node), record.cause) {
                    jobs.remove(&asked);
                }
            }
            RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. } => {
                self.jobs.remove(&node);
            }
            _ => {}
        }
        self.sources(record)
    }

    /// Whether a record makes its call one with inputs of both a disk and others, or of both peers and clients.
    fn sources(&mut self, record: &Record) -> Option<&'static str> {
        let source = match &record.kind {
            RecordKind::Persisted { .. }
            | RecordKind::LogRead { .. }
            | RecordKind::SnapshotRead { .. }
            | RecordKind::SnapshotSaved { .. } => Source::Disk,
            RecordKind::Received { .. }
            | RecordKind::SnapshotHeard { .. }
            | RecordKind::ForwardedRequestReceived { .. }
            | RecordKind::ForwardedReplyReceived { .. } => Source::Peer,
            RecordKind::Requested { .. } => Source::Client,
            _ => return None,
        };
        if record.call != self.call {
            self.call = record.call;
            self.sources.clear();
        }
        let is_new = self.sources.insert(source);
        match self.sources.len() {
            2 if is_new => Some("inputs_mixed"),
            3 if is_new => Some("inputs_of_all_kinds"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SimTime, Unhashed};
    use raft_core::{Configuration, LogIndex, ReadId, RequestId, Write, WriteId};

    fn marks(records: Vec<(u64, Option<u64>, RecordKind)>) -> Vec<&'static str> {
        let mut scheduling = Scheduling::default();
        let record = |(place, (call, cause, kind)): (usize, (u64, Option<u64>, RecordKind))| Record {
            number: place as u64 + 1,
            at: SimTime(0),
            cause,
            node: Some(NodeId(1)),
            call,
            kind,
            view: None,
        };
        records.into_iter().enumerate().map(record).filter_map(|record| scheduling.observe(&record)).collect()
    }

    fn persisted() -> RecordKind {
        RecordKind::Persisted { write: WriteId(1), disk_durable: 1, space: Unhashed::default() }
    }

    fn requested() -> RecordKind {
        RecordKind::Requested { id: RequestId(1), command: Unhashed(None) }
    }

    fn wrote(count: usize) -> RecordKind {
        let write = Write::bootstrap(Configuration::of_voters([NodeId(1)]));
        RecordKind::Wrote { writes: vec![write; count], disk_mark: 1 }
    }

    #[test]
    fn inputs_are_mixed_only_within_one_call() {
        let rpc = raft_core::Rpc::PreVote(raft_core::PreVote {
            term: raft_core::Term(1),
            round: raft_core::Round(1),
            last: raft_core::EntryId::ZERO,
        });
        let received = RecordKind::Received { from: NodeId(2), rpc };
        assert_eq!(marks(vec![(1, None, persisted()), (2, None, requested())]), [""; 0]);
        assert_eq!(marks(vec![(1, None, persisted()), (1, None, requested())]), ["inputs_mixed"]);
        let all = vec![(3, None, persisted()), (3, None, received), (3, None, requested()), (3, None, requested())];
        assert_eq!(marks(all), ["inputs_mixed", "inputs_of_all_kinds"]);
    }

    #[test]
    fn a_write_is_done_before_a_job_that_was_asked_for_earlier() {
        let asked = || RecordKind::ReadAsked { read: ReadId(1), first: LogIndex(1), last: LogIndex(1), max_bytes: 1 };
        let read = || RecordKind::LogRead { read: ReadId(1), entries: Vec::new().into() };
        assert_eq!(marks(vec![(1, None, asked()), (2, Some(5), wrote(1))]), ["write_overtook_job"]);
        assert_eq!(
            marks(vec![(1, None, asked()), (2, Some(1), read()), (2, Some(5), wrote(1))]),
            [""; 0],
            "it is done"
        );
        assert_eq!(marks(vec![(1, None, requested()), (1, Some(1), asked()), (2, Some(1), wrote(1))]), [""; 0]);
    }

    #[test]
    fn groups_and_what_has_no_room() {
        assert_eq!(marks(vec![(1, None, wrote(1)), (2, None, wrote(2))]), ["writes_grouped"]);
        let full = vec![
            (0, None, RecordKind::MessageDropped { from: NodeId(2) }),
            (0, None, RecordKind::RequestRefused { id: RequestId(1) }),
            (0, None, RecordKind::UnreachableTold { peer: NodeId(2) }),
        ];
        assert_eq!(marks(full), ["message_dropped", "request_refused", "unreachable_told"]);
        let (peer, disk) = (NodeId(2), raft_store::DiskId([1; 16]));
        let registered = |found| (0, None, RecordKind::PeerRegistered { peer, disk, found });
        let found = [PeerCheck::New, PeerCheck::Known, PeerCheck::Mismatch { known: disk }];
        assert_eq!(marks(found.map(|found| registered(Some(found))).into()), ["peer_refused"]);
    }
}
