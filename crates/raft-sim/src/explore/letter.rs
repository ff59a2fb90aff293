//! A message in flight, and its form under other names of the nodes.

use raft_core::{AppendOutcome, Digest, NodeId, RequestVoteResponse, Rpc, Seq, Term, Vote, VoteRefusal};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Letter {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) rpc: Rpc,
}

impl Letter {
    /// The number of its append, with the receiver of the append; 0 if it counts for nothing.
    pub(super) fn number(&self) -> (Term, NodeId, Seq) {
        match &self.rpc {
            Rpc::AppendEntries(rpc) => (rpc.term, self.to, rpc.seq),
            Rpc::AppendEntriesResponse(rpc) => match rpc.outcome {
                AppendOutcome::Matched { .. } | AppendOutcome::Mismatch { .. } => (rpc.term, self.from, rpc.seq),
                // The leader of that term is no more.
                AppendOutcome::StaleTerm | AppendOutcome::AnotherLeader => (rpc.term, self.from, Seq(0)),
            },
            rpc => (rpc.term(), self.to, Seq(0)),
        }
    }

    /// The digest under other names, without the number of an append.
    pub(super) fn outline(&self, name: impl Fn(NodeId) -> NodeId) -> u128 {
        let mut renamed = Self { from: name(self.from), to: name(self.to), rpc: self.rpc.clone() };
        match &mut renamed.rpc {
            Rpc::AppendEntries(rpc) => rpc.seq = Seq(0),
            Rpc::AppendEntriesResponse(rpc) => rpc.seq = Seq(0),
            Rpc::RequestVoteResponse(RequestVoteResponse {
                vote: Vote::Refused(VoteRefusal::AlreadyVoted { candidate }),
                ..
            }) => *candidate = name(*candidate),
            _ => {}
        }
        Digest::of(&renamed)
    }
}
