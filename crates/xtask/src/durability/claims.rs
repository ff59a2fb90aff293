//! What a message promises about the disk of the node that sends it. Must not know whether it is true.

use anyhow::{Context, Result};
use prost::Message;
use raft_proto::wire::raft::{
    CommandResponse, OpenSessionResponse, PeerRequest, QueryResponse, append_entries_response, command_response,
    open_session_response, peer_message, peer_request, query_response, vote,
};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// To a leader: in this term the log is durable up to this index.
    Matched { index: u64, term: u64 },
    /// To a candidate: it has the vote of this term.
    Granted { candidate: u64, term: u64 },
    /// To a peer: the sender's own vote of this term is its own.
    OwnVote { candidate: u64, term: u64 },
    /// To a client: this entry is applied, and what is applied is durable here.
    Applied { index: u64, term: u64 },
    /// To a client: the session that the entry at this index opens is applied.
    Opened { index: u64 },
    /// To a client: a query was answered from what is applied up to this index.
    Answered { index: u64 },
}

/// Whether the first message on a connection to a peer is that of a stream of messages. Others carry snapshots.
pub(crate) fn begins_messages(bytes: &[u8]) -> bool {
    exactly(bytes).is_some_and(|request: PeerRequest| matches!(request.kind, Some(peer_request::Kind::Hello(_))))
}

/// What node `from` promises to its peer `to` by a frame of the stream it has opened to it.
///
/// # Errors
/// It is no such frame.
pub(crate) fn to_peer(from: u64, to: u64, bytes: &[u8]) -> Result<Option<Claim>> {
    let request = PeerRequest::decode(bytes).context("no frame of a stream to a peer")?;
    let Some(peer_request::Kind::Message(message)) = request.kind else { return Ok(None) };
    Ok(match message.rpc.context("a message to a peer that says nothing")? {
        peer_message::Rpc::RequestVote(request) => Some(Claim::OwnVote { candidate: from, term: request.term }),
        peer_message::Rpc::RequestVoteResponse(response) => match response.vote.and_then(|vote| vote.verdict) {
            Some(vote::Verdict::Granted(_)) => Some(Claim::Granted { candidate: to, term: response.term }),
            _ => None,
        },
        peer_message::Rpc::AppendEntriesResponse(response) => match response.outcome {
            Some(append_entries_response::Outcome::Matched(matched)) => {
                Some(Claim::Matched { index: matched.index, term: response.term })
            }
            _ => None,
        },
        // A pre-vote promises nothing, and an append nothing about the leader's own disk.
        _ => None,
    })
}

/// What a node promises to a client by an answer. Which request it answers is in headers; but the answers that promise
/// something differ in their shape.
pub(crate) fn to_client(bytes: &[u8]) -> Option<Claim> {
    if let Some(CommandResponse { outcome: Some(command_response::Outcome::Applied(applied)) }) = exactly(bytes) {
        let entry = applied.entry?;
        return Some(Claim::Applied { index: entry.index, term: entry.term });
    }
    if let Some(OpenSessionResponse { outcome: Some(open_session_response::Outcome::Session(index)) }) = exactly(bytes)
    {
        return Some(Claim::Opened { index });
    }
    if let Some(QueryResponse { outcome: Some(query_response::Outcome::Answer(answer)) }) = exactly(bytes) {
        return Some(Claim::Answered { index: answer.applied });
    }
    None
}

/// The message, if these are the very bytes it is encoded to: decoding alone skips what it does not know.
fn exactly<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).ok().filter(|message| message.encode_to_vec() == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_proto::wire::raft::{Answer, Applied, EntryId, Refused, StatusResponse, Unknown};

    #[test]
    fn answers_are_told_apart_by_their_shape() {
        let applied = Applied { entry: Some(EntryId { index: 7, term: 2 }), response: b"r".to_vec().into(), node: 1 };
        let applied = CommandResponse { outcome: Some(command_response::Outcome::Applied(applied)) };
        assert_eq!(to_client(&applied.encode_to_vec()), Some(Claim::Applied { index: 7, term: 2 }));
        let opened = OpenSessionResponse { outcome: Some(open_session_response::Outcome::Session(9)) };
        assert_eq!(to_client(&opened.encode_to_vec()), Some(Claim::Opened { index: 9 }));
        for response in [&b""[..], b"\x0a\x02\x08\x01"] {
            let answer = Answer { applied: 5, response: response.to_vec().into() };
            let answer = QueryResponse { outcome: Some(query_response::Outcome::Answer(answer)) };
            assert_eq!(to_client(&answer.encode_to_vec()), Some(Claim::Answered { index: 5 }));
        }
    }

    #[test]
    fn a_stream_of_messages_begins_with_a_hello_and_nothing_else_does() {
        use raft_proto::wire::raft::{Hello, SnapshotChunk, SnapshotRequest};
        let hello = Hello { protocol_version: 1, from: 2, to: 3, ..Hello::default() };
        let greeting = PeerRequest { kind: Some(peer_request::Kind::Hello(hello.clone())) };
        assert!(begins_messages(&greeting.encode_to_vec()));
        let chunk = Some(SnapshotChunk { term: 4, ..SnapshotChunk::default() });
        let piece = SnapshotRequest { hello: Some(hello), chunk };
        assert!(!begins_messages(&piece.encode_to_vec()) && !begins_messages(b""));
    }

    #[test]
    fn other_answers_promise_nothing() {
        let refused = CommandResponse { outcome: Some(command_response::Outcome::Refused(Refused::default())) };
        let unknown = OpenSessionResponse { outcome: Some(open_session_response::Outcome::Unknown(Unknown {})) };
        let status = StatusResponse { id: 3, term: 2, cluster_id: vec![7; 16].into(), ..StatusResponse::default() };
        for bytes in [refused.encode_to_vec(), unknown.encode_to_vec(), status.encode_to_vec(), vec![], vec![0xff]] {
            assert_eq!(to_client(&bytes), None, "{bytes:?}");
        }
    }
}
