//! Encodes core types to bytes. It cannot fail: every value of a core type has an encoding.

use crate::wire::raft as w;
use crate::wire::raft::{append_entries_response, entry, peer_message, vote};
use crate::wire::store;
use prost::Message;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Configuration, Entry, EntryId, InstallMode, Payload, PreVote,
    PreVoteResponse, RequestVote, RequestVoteResponse, Rpc, SnapshotMeta, TimeoutNow, Vote, VoteRefusal, Write, nanos,
};

/// The bytes of an rpc: a `raft.v1.PeerMessage`.
pub fn encode_rpc(rpc: &Rpc) -> Vec<u8> {
    rpc_to_wire(rpc).encode_to_vec()
}

/// An rpc as a wire message. Commands share their memory.
pub fn rpc_to_wire(rpc: &Rpc) -> w::PeerMessage {
    use peer_message::Rpc as Wire;
    let rpc = match rpc {
        Rpc::PreVote(PreVote { term, round, last }) => {
            Wire::PreVote(w::PreVote { term: term.0, round: round.0, last: Some(entry_id(*last)) })
        }
        Rpc::PreVoteResponse(PreVoteResponse { term, round, vote }) => {
            Wire::PreVoteResponse(w::PreVoteResponse { term: term.0, round: round.0, vote: Some(encode_vote(*vote)) })
        }
        Rpc::RequestVote(RequestVote { term, last, transfer }) => {
            Wire::RequestVote(w::RequestVote { term: term.0, last: Some(entry_id(*last)), transfer: *transfer })
        }
        Rpc::TimeoutNow(TimeoutNow { term, last }) => {
            Wire::TimeoutNow(w::TimeoutNow { term: term.0, last: Some(entry_id(*last)) })
        }
        Rpc::RequestVoteResponse(RequestVoteResponse { term, vote }) => {
            Wire::RequestVoteResponse(w::RequestVoteResponse { term: term.0, vote: Some(encode_vote(*vote)) })
        }
        Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, entries }) => {
            Wire::AppendEntries(w::AppendEntries {
                term: term.0,
                seq: seq.0,
                prev: Some(entry_id(*prev)),
                leader_commit: leader_commit.0,
                entries: entries.iter().map(encode_entry).collect(),
            })
        }
        Rpc::AppendEntriesResponse(AppendEntriesResponse { term, seq, outcome, stickiness, no_space }) => {
            Wire::AppendEntriesResponse(w::AppendEntriesResponse {
                term: term.0,
                seq: seq.0,
                outcome: Some(encode_outcome(*outcome)),
                stickiness_ns: nanos(*stickiness),
                no_space: *no_space,
            })
        }
    };
    w::PeerMessage { rpc: Some(rpc) }
}

/// The bytes of a write: a `raft.store.v1.Record`, without its id: ids restart with the node.
pub fn encode_write(write: &Write) -> Vec<u8> {
    let record = store::Record {
        hard_state: write
            .hard_state
            .map(|hard| store::HardState { term: hard.term.0, voted_for: hard.voted_for.map(|id| id.0) }),
        truncate_from: write.truncate_from.map(|index| index.0),
        snapshot: write.snapshot.as_ref().map(|record| store::SnapshotRecord {
            meta: Some(snapshot_meta_to_wire(&record.meta)),
            discards_log: record.log == InstallMode::Discard,
        }),
        entries: write.entries.iter().map(encode_entry).collect(),
    };
    record.encode_to_vec()
}

/// The metadata of a snapshot as a wire message.
pub fn snapshot_meta_to_wire(meta: &SnapshotMeta) -> w::SnapshotMeta {
    w::SnapshotMeta {
        last: Some(entry_id(meta.last)),
        configuration: Some(encode_configuration(&meta.configuration)),
        configured_at: Some(entry_id(meta.configured_at)),
    }
}

pub(crate) fn entry_id(id: EntryId) -> w::EntryId {
    w::EntryId { index: id.index.0, term: id.term.0 }
}

fn encode_entry(entry: &Entry) -> w::Entry {
    let payload = match &entry.payload {
        Payload::Noop => entry::Payload::Noop(w::Noop {}),
        Payload::Command(command) => entry::Payload::Command(command.clone()),
        Payload::Configuration(configuration) => entry::Payload::Configuration(encode_configuration(configuration)),
    };
    w::Entry { index: entry.id.index.0, term: entry.id.term.0, payload: Some(payload) }
}

fn encode_configuration(configuration: &Configuration) -> w::Configuration {
    let members = configuration.members.iter();
    w::Configuration {
        voters: configuration.voters.iter().map(|id| id.0).collect(),
        outgoing: configuration.outgoing.iter().map(|id| id.0).collect(),
        leaving: configuration.leaving.iter().map(|id| id.0).collect(),
        members: members.map(|(id, context)| w::Member { id: id.0, context: context.clone() }).collect(),
    }
}

fn encode_vote(vote: Vote) -> w::Vote {
    use vote::Verdict as Wire;
    let verdict = match vote {
        Vote::Granted => Wire::Granted(w::Granted {}),
        Vote::Refused(VoteRefusal::StaleTerm) => Wire::StaleTerm(w::StaleTerm {}),
        Vote::Refused(VoteRefusal::LeaderAlive) => Wire::LeaderAlive(w::LeaderAlive {}),
        Vote::Refused(VoteRefusal::AlreadyVoted { candidate }) => {
            Wire::AlreadyVoted(w::AlreadyVoted { candidate: candidate.0 })
        }
        Vote::Refused(VoteRefusal::LogBehind { last }) => Wire::LogBehind(w::LogBehind { last: Some(entry_id(last)) }),
        Vote::Refused(VoteRefusal::NotAMember { since, current }) => {
            Wire::NotAMember(w::NotAMember { since: Some(entry_id(since)), current })
        }
    };
    w::Vote { verdict: Some(verdict) }
}

fn encode_outcome(outcome: AppendOutcome) -> append_entries_response::Outcome {
    use append_entries_response::Outcome as Wire;
    match outcome {
        AppendOutcome::Matched { index } => Wire::Matched(w::Matched { index: index.0 }),
        AppendOutcome::StaleTerm => Wire::StaleTerm(w::StaleTerm {}),
        AppendOutcome::AnotherLeader => Wire::AnotherLeader(w::AnotherLeader {}),
        AppendOutcome::Mismatch { prev, hint } => {
            Wire::Mismatch(w::Mismatch { prev: Some(entry_id(prev)), hint: Some(entry_id(hint)) })
        }
    }
}
