//! Decodes bytes to core types. It is total: any bytes give a value or a [`DecodeError`]. Commands share the memory of
//! the buffer.

use crate::error::DecodeError;
use crate::wire::raft as w;
use crate::wire::raft::{append_entries_response, entry, peer_message, vote};
use crate::wire::store;
use bytes::Bytes;
use prost::Message;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Configuration, Entries, Entry, EntryId, HardState,
    InstallMode, LogIndex, NodeId, Payload, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, Round, Rpc,
    Seq, SnapshotMeta, SnapshotRecord, Term, TimeoutNow, Vote, VoteRefusal, Write, WriteId,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// The rpc in these bytes.
///
/// # Errors
/// The bytes are not a `raft.v1.PeerMessage` that this version knows.
pub fn decode_rpc(bytes: Bytes) -> Result<Rpc, DecodeError> {
    rpc_from_wire(w::PeerMessage::decode(bytes)?)
}

/// The rpc in a wire message. Commands share their memory.
///
/// # Errors
/// A required field is missing or has a kind that this version does not know.
pub fn rpc_from_wire(message: w::PeerMessage) -> Result<Rpc, DecodeError> {
    use peer_message::Rpc as Wire;
    Ok(match message.rpc.ok_or(DecodeError::Missing("PeerMessage.rpc"))? {
        Wire::PreVote(rpc) => Rpc::PreVote(PreVote {
            term: Term(rpc.term),
            round: Round(rpc.round),
            last: entry_id(rpc.last, "PreVote.last")?,
        }),
        Wire::PreVoteResponse(rpc) => Rpc::PreVoteResponse(PreVoteResponse {
            term: Term(rpc.term),
            round: Round(rpc.round),
            vote: decode_vote(rpc.vote, "PreVoteResponse.vote")?,
        }),
        Wire::RequestVote(rpc) => {
            let last = entry_id(rpc.last, "RequestVote.last")?;
            Rpc::RequestVote(RequestVote { term: Term(rpc.term), last, transfer: rpc.transfer })
        }
        Wire::TimeoutNow(rpc) => {
            Rpc::TimeoutNow(TimeoutNow { term: Term(rpc.term), last: entry_id(rpc.last, "TimeoutNow.last")? })
        }
        Wire::RequestVoteResponse(rpc) => Rpc::RequestVoteResponse(RequestVoteResponse {
            term: Term(rpc.term),
            vote: decode_vote(rpc.vote, "RequestVoteResponse.vote")?,
        }),
        Wire::AppendEntries(rpc) => Rpc::AppendEntries(AppendEntries {
            term: Term(rpc.term),
            seq: Seq(rpc.seq),
            prev: entry_id(rpc.prev, "AppendEntries.prev")?,
            leader_commit: LogIndex(rpc.leader_commit),
            entries: decode_entries(rpc.entries)?,
        }),
        Wire::AppendEntriesResponse(rpc) => Rpc::AppendEntriesResponse(AppendEntriesResponse {
            term: Term(rpc.term),
            seq: Seq(rpc.seq),
            outcome: decode_outcome(rpc.outcome)?,
            stickiness: Duration::from_nanos(rpc.stickiness_ns),
            no_space: rpc.no_space,
        }),
    })
}

/// The write in these bytes, with id 0: ids are not stored.
///
/// # Errors
/// The bytes are not a `raft.store.v1.Record` that this version knows.
pub fn decode_write(bytes: Bytes) -> Result<Write, DecodeError> {
    let record = store::Record::decode(bytes)?;
    Ok(Write {
        id: WriteId(0),
        hard_state: record
            .hard_state
            .map(|hard| HardState { term: Term(hard.term), voted_for: hard.voted_for.map(NodeId) }),
        truncate_from: record.truncate_from.map(LogIndex),
        snapshot: record.snapshot.map(decode_snapshot_record).transpose()?,
        entries: decode_entries(record.entries)?,
    })
}

fn decode_snapshot_record(record: store::SnapshotRecord) -> Result<SnapshotRecord, DecodeError> {
    let meta = snapshot_meta_from_wire(record.meta.ok_or(DecodeError::Missing("SnapshotRecord.meta"))?)?;
    let log = if record.discards_log { InstallMode::Discard } else { InstallMode::Keep };
    Ok(SnapshotRecord { meta, log })
}

/// The metadata of a snapshot in a wire message.
///
/// # Errors
/// A required field is missing, or a list does not ascend.
pub fn snapshot_meta_from_wire(meta: w::SnapshotMeta) -> Result<SnapshotMeta, DecodeError> {
    let configuration = meta.configuration.ok_or(DecodeError::Missing("SnapshotMeta.configuration"))?;
    Ok(SnapshotMeta {
        last: entry_id(meta.last, "SnapshotMeta.last")?,
        configuration: decode_configuration(configuration)?,
        configured_at: entry_id(meta.configured_at, "SnapshotMeta.configured_at")?,
    })
}

pub(crate) fn entry_id(id: Option<w::EntryId>, place: &'static str) -> Result<EntryId, DecodeError> {
    let id = id.ok_or(DecodeError::Missing(place))?;
    Ok(EntryId::new(id.index, id.term))
}

fn decode_entries(entries: Vec<w::Entry>) -> Result<Entries, DecodeError> {
    entries.into_iter().map(decode_entry).collect()
}

fn decode_entry(entry: w::Entry) -> Result<Entry, DecodeError> {
    let payload = match entry.payload.ok_or(DecodeError::Missing("Entry.payload"))? {
        entry::Payload::Noop(w::Noop {}) => Payload::Noop,
        entry::Payload::Command(command) => Payload::Command(command),
        entry::Payload::Configuration(configuration) => Payload::Configuration(decode_configuration(configuration)?),
    };
    Ok(Entry { id: EntryId::new(entry.index, entry.term), payload })
}

fn decode_configuration(configuration: w::Configuration) -> Result<Configuration, DecodeError> {
    let members = configuration.members;
    if !members.is_sorted_by(|a, b| a.id < b.id) {
        return Err(DecodeError::NotAscending("Configuration.members"));
    }
    Ok(Configuration {
        voters: node_ids(&configuration.voters, "Configuration.voters")?,
        outgoing: node_ids(&configuration.outgoing, "Configuration.outgoing")?,
        leaving: node_ids(&configuration.leaving, "Configuration.leaving")?,
        members: members.into_iter().map(|member| (NodeId(member.id), member.context)).collect(),
    })
}

fn node_ids(ids: &[u64], place: &'static str) -> Result<BTreeSet<NodeId>, DecodeError> {
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::NotAscending(place));
    }
    Ok(ids.iter().copied().map(NodeId).collect())
}

fn decode_vote(vote: Option<w::Vote>, place: &'static str) -> Result<Vote, DecodeError> {
    use vote::Verdict as Wire;
    let verdict = vote.ok_or(DecodeError::Missing(place))?.verdict.ok_or(DecodeError::Missing("Vote.verdict"))?;
    Ok(match verdict {
        Wire::Granted(w::Granted {}) => Vote::Granted,
        Wire::StaleTerm(w::StaleTerm {}) => Vote::Refused(VoteRefusal::StaleTerm),
        Wire::LeaderAlive(w::LeaderAlive {}) => Vote::Refused(VoteRefusal::LeaderAlive),
        Wire::AlreadyVoted(w::AlreadyVoted { candidate }) => {
            Vote::Refused(VoteRefusal::AlreadyVoted { candidate: NodeId(candidate) })
        }
        Wire::LogBehind(w::LogBehind { last }) => {
            Vote::Refused(VoteRefusal::LogBehind { last: entry_id(last, "LogBehind.last")? })
        }
        Wire::NotAMember(w::NotAMember { since, current }) => {
            Vote::Refused(VoteRefusal::NotAMember { since: entry_id(since, "NotAMember.since")?, current })
        }
    })
}

fn decode_outcome(outcome: Option<append_entries_response::Outcome>) -> Result<AppendOutcome, DecodeError> {
    use append_entries_response::Outcome as Wire;
    Ok(match outcome.ok_or(DecodeError::Missing("AppendEntriesResponse.outcome"))? {
        Wire::Matched(w::Matched { index }) => AppendOutcome::Matched { index: LogIndex(index) },
        Wire::StaleTerm(w::StaleTerm {}) => AppendOutcome::StaleTerm,
        Wire::AnotherLeader(w::AnotherLeader {}) => AppendOutcome::AnotherLeader,
        Wire::Mismatch(w::Mismatch { prev, hint }) => {
            AppendOutcome::Mismatch { prev: entry_id(prev, "Mismatch.prev")?, hint: entry_id(hint, "Mismatch.hint")? }
        }
    })
}
