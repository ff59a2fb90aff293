//! Arbitrary inputs, decoded from bytes that `total.rs` draws or a fuzzer chooses.

use raft_core::*;
use std::time::Duration;

/// The remaining bytes. After the end they are 0.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(crate) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Typical numbers, numbers at every limit, and arbitrary ones.
    fn number(&mut self) -> u64 {
        const M: u64 = MAX_NUMBER;
        const EDGES: [u64; 11] = [6, 7, M - 2, M - 1, M, M + 1, M + 2, u64::MAX, u64::MAX - 1, 1 << 32, 1 << 63];
        match self.byte() {
            byte @ 0..205 => u64::from(byte % 6),
            byte @ 205..250 => EDGES[usize::from(byte) % EDGES.len()],
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    pub(crate) fn node(&mut self) -> NodeId {
        NodeId(u64::from(self.below(5)))
    }

    fn nodes(&mut self) -> Vec<NodeId> {
        (0..self.below(4)).map(|_| self.node()).collect()
    }

    fn entry_id(&mut self) -> EntryId {
        EntryId::new(self.number(), self.number())
    }

    fn configuration(&mut self) -> Configuration {
        let mut configuration = Configuration::of_voters(self.nodes());
        if self.flag() {
            configuration.outgoing = self.nodes().into_iter().collect();
            configuration.leaving = self.nodes().into_iter().collect();
        }
        configuration
    }

    /// Entries that follow `prev`, most of the time.
    fn entries(&mut self, prev: EntryId) -> Entries {
        let (mut last, count) = (prev, self.below(5));
        let entry = |_| {
            let term = last.term.0.saturating_add(u64::from(self.flag())).max(1);
            last = EntryId::new(last.index.next().0, term);
            let id = if self.below(10) == 0 { self.entry_id() } else { last };
            let payload = match self.below(4) {
                0 => Payload::Noop,
                1 => Payload::Configuration(self.configuration()),
                _ => Payload::Command(vec![7; usize::from(self.below(41))].into()),
            };
            Entry { id, payload }
        };
        (0..count).map(entry).collect()
    }

    fn vote(&mut self) -> Vote {
        match self.below(4) {
            0 | 1 => Vote::Granted,
            2 => Vote::Refused(VoteRefusal::LeaderAlive),
            _ => Vote::Refused(VoteRefusal::LogBehind { last: self.entry_id() }),
        }
    }

    fn outcome(&mut self) -> AppendOutcome {
        match self.below(10) {
            0 => AppendOutcome::StaleTerm,
            1 => AppendOutcome::AnotherLeader,
            2..6 => AppendOutcome::Mismatch { prev: self.entry_id(), hint: self.entry_id() },
            _ => AppendOutcome::Matched { index: LogIndex(self.number()) },
        }
    }

    pub(crate) fn rpc(&mut self) -> Rpc {
        let term = Term(self.number());
        match self.below(9) {
            0 => Rpc::PreVote(PreVote { term, round: Round(self.number()), last: self.entry_id() }),
            1 => Rpc::PreVoteResponse(PreVoteResponse { term, round: Round(self.number()), vote: self.vote() }),
            2 => Rpc::RequestVote(RequestVote { term, last: self.entry_id(), transfer: self.flag() }),
            3 => Rpc::RequestVoteResponse(RequestVoteResponse { term, vote: self.vote() }),
            4 => Rpc::TimeoutNow(TimeoutNow { term, last: self.entry_id() }),
            5 | 6 => {
                let (seq, prev, leader_commit) = (Seq(self.number()), self.entry_id(), LogIndex(self.number()));
                Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, entries: self.entries(prev) })
            }
            _ => {
                let (seq, outcome) = (Seq(self.number()), self.outcome());
                let stickiness = Duration::from_nanos(self.number());
                Rpc::AppendEntriesResponse(AppendEntriesResponse {
                    term,
                    seq,
                    outcome,
                    stickiness,
                    no_space: self.below(8) == 0,
                })
            }
        }
    }

    pub(crate) fn input(&mut self) -> Input {
        let id = RequestId(1);
        match self.below(23) {
            0 => Input::Tick,
            1 => Input::Propose { id, command: vec![1; usize::from(self.below(61))].into() },
            2 => Input::Read { id, mode: if self.flag() { ReadMode::Lease } else { ReadMode::Safe } },
            3 => {
                let expected = (self.below(8) == 0).then(|| LogIndex(self.number()));
                let steps = (0..self.below(4)).map(|_| membership_step(self.byte(), self.node())).collect();
                Input::ChangeMembership { id, change: MembershipChange { expected, steps, force: self.flag() } }
            }
            4 => Input::TransferLeadership { id, to: self.flag().then(|| self.node()) },
            5 => Input::Campaign,
            6 => Input::Unreachable { peer: self.node() },
            7 => Input::Applied { index: LogIndex(self.number()) },
            8 => Input::SnapshotTaken { index: LogIndex(self.number()) },
            9 => {
                let (last, configuration, configured_at) = (self.entry_id(), self.configuration(), self.entry_id());
                let meta = SnapshotMeta { last, configuration, configured_at };
                Input::SnapshotReceived { from: self.node(), term: Term(self.number()), meta }
            }
            10 => {
                let outcomes = [SnapshotOutcome::Progress, SnapshotOutcome::Delivered, SnapshotOutcome::Failed];
                Input::SnapshotSent { to: self.node(), outcome: outcomes[usize::from(self.below(3))] }
            }
            11 => {
                let prev = self.entry_id();
                Input::LogRead { read: ReadId(self.number()), entries: self.entries(prev) }
            }
            22 => Input::Space { is_low: self.flag() },
            12 | 13 => Input::Persisted { write: WriteId(self.number()) },
            _ => Input::Receive { from: self.node(), rpc: self.rpc() },
        }
    }
}

/// A step of a change of the configuration.
pub(crate) fn membership_step(kind: u8, id: NodeId) -> MembershipStep {
    match kind % 5 {
        0 => MembershipStep::AddLearner { id, context: "c".into() },
        1 => MembershipStep::Promote { id },
        2 => MembershipStep::Demote { id },
        3 => MembershipStep::Remove { id },
        _ => MembershipStep::SetContext { id, context: "d".into() },
    }
}
