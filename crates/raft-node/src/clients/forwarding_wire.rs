//! Forwarded requests and their replies as messages of `proto/peer.proto`.
//!
//! Decoding is total: any message gives a value or an error.

use crate::interface::forwards::{ForwardId, ForwardedReply, ForwardedRequest, LeaderRequest};
use crate::interface::requests::{Reply, SessionCommand, SessionId};
use raft_core::{EntryId, LogIndex, NodeId, ReadMode, RejectReason};
use raft_proto::DecodeError;
use raft_proto::wire::raft::{self as w, forwarded_reply, forwarded_request, refused};
use raft_proto::wire::session;

impl From<ForwardedRequest> for w::ForwardedRequest {
    fn from(request: ForwardedRequest) -> Self {
        use forwarded_request::Request as Wire;
        let ForwardedRequest { id: ForwardId { origin, number }, request } = request;
        let request = match request {
            LeaderRequest::OpenSession => Wire::OpenSession(w::OpenSessionRequest {}),
            LeaderRequest::Command(SessionCommand { session, sequence, lowest_pending, command }) => {
                Wire::Command(session::Command { session: session.0, sequence, lowest_pending, command })
            }
            LeaderRequest::Query { query, mode } => {
                Wire::Query(w::QueryRequest { query, stale: false, lease: mode == ReadMode::Lease })
            }
        };
        Self { origin, number, request: Some(request) }
    }
}

impl TryFrom<w::ForwardedRequest> for ForwardedRequest {
    type Error = DecodeError;

    fn try_from(message: w::ForwardedRequest) -> Result<Self, DecodeError> {
        use forwarded_request::Request as Wire;
        let w::ForwardedRequest { origin, number, request } = message;
        let request = match request.ok_or(DecodeError::Missing("ForwardedRequest.request"))? {
            Wire::OpenSession(w::OpenSessionRequest {}) => LeaderRequest::OpenSession,
            Wire::Command(session::Command { session, sequence, lowest_pending, command }) => {
                LeaderRequest::Command(SessionCommand {
                    session: SessionId(session),
                    sequence,
                    lowest_pending,
                    command,
                })
            }
            Wire::Query(w::QueryRequest { query, lease, .. }) => {
                LeaderRequest::Query { query, mode: if lease { ReadMode::Lease } else { ReadMode::Safe } }
            }
        };
        Ok(Self { id: ForwardId { origin, number }, request })
    }
}

impl From<ForwardedReply> for w::ForwardedReply {
    fn from(reply: ForwardedReply) -> Self {
        let ForwardedReply { id: ForwardId { origin, number }, reply } = reply;
        Self { origin, number, reply: Some(reply_to_wire(reply)) }
    }
}

fn reply_to_wire(reply: Reply) -> forwarded_reply::Reply {
    use forwarded_reply::Reply as Wire;
    let refused = |reason| Wire::Refused(w::Refused { reason: Some(reason) });
    match reply {
        Reply::SessionOpened { session } => Wire::Session(session.0),
        Reply::Applied { entry, response } => {
            let entry = Some(w::EntryId { index: entry.index.0, term: entry.term.0 });
            Wire::Applied(w::Applied { entry, response, node: 0 })
        }
        Reply::Answer { applied, response } => Wire::Answer(w::Answer { applied: applied.0, response }),
        Reply::SessionExpired => Wire::SessionExpired(w::SessionExpired {}),
        Reply::AlreadyAnswered => Wire::AlreadyAnswered(w::AlreadyAnswered {}),
        Reply::Rejected { reason: RejectReason::NotLeader { leader } } => {
            let leader = leader.map(|leader| leader.0);
            refused(refused::Reason::NotLeader(w::NotLeader { leader, client_url: String::new() }))
        }
        Reply::Rejected { reason: RejectReason::NoSpace } => refused(refused::Reason::NoSpace(w::NoSpace {})),
        Reply::Rejected { reason: RejectReason::Stopped } => refused(refused::Reason::Stopped(w::Stopped {})),
        Reply::Rejected { .. } => refused(refused::Reason::Busy(w::Busy {})),
        Reply::Lost => refused(refused::Reason::Lost(w::Lost {})),
        // The reply to another kind of request proves nothing.
        Reply::Unknown
        | Reply::Watched { .. }
        | Reply::BackupBegun { .. }
        | Reply::BackupChunk { .. }
        | Reply::NoBackup
        | Reply::OtherCluster
        | Reply::ConfigurationDecided { .. }
        | Reply::LeadershipTransferred { .. }
        | Reply::TransferFailed { .. } => Wire::Unknown(w::Unknown {}),
    }
}

impl TryFrom<w::ForwardedReply> for ForwardedReply {
    type Error = DecodeError;

    fn try_from(message: w::ForwardedReply) -> Result<Self, DecodeError> {
        let w::ForwardedReply { origin, number, reply } = message;
        let reply = reply_from_wire(reply.ok_or(DecodeError::Missing("ForwardedReply.reply"))?)?;
        Ok(Self { id: ForwardId { origin, number }, reply })
    }
}

fn reply_from_wire(reply: forwarded_reply::Reply) -> Result<Reply, DecodeError> {
    use forwarded_reply::Reply as Wire;
    Ok(match reply {
        Wire::Session(session) => Reply::SessionOpened { session: SessionId(session) },
        Wire::Applied(w::Applied { entry, response, .. }) => {
            let entry = entry.ok_or(DecodeError::Missing("Applied.entry"))?;
            Reply::Applied { entry: EntryId::new(entry.index, entry.term), response }
        }
        Wire::Answer(w::Answer { applied, response }) => Reply::Answer { applied: LogIndex(applied), response },
        Wire::SessionExpired(w::SessionExpired {}) => Reply::SessionExpired,
        Wire::AlreadyAnswered(w::AlreadyAnswered {}) => Reply::AlreadyAnswered,
        Wire::Refused(w::Refused { reason }) => refusal(reason.ok_or(DecodeError::Missing("Refused.reason"))?),
        Wire::Unknown(w::Unknown {}) => Reply::Unknown,
    })
}

fn refusal(reason: refused::Reason) -> Reply {
    use refused::Reason as Wire;
    let reason = match reason {
        Wire::Lost(w::Lost {}) => return Reply::Lost,
        Wire::NotLeader(w::NotLeader { leader, .. }) => RejectReason::NotLeader { leader: leader.map(NodeId) },
        Wire::Busy(w::Busy {}) => RejectReason::Busy,
        Wire::NoSpace(w::NoSpace {}) => RejectReason::NoSpace,
        Wire::Stopped(w::Stopped {}) => RejectReason::Stopped,
    };
    Reply::Rejected { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const ID: ForwardId = ForwardId { origin: u64::MAX, number: 7 };

    #[test]
    fn requests_and_replies_round_trip() {
        let bytes = || Bytes::from_static(b"x");
        let command = SessionCommand { session: SessionId(1), sequence: 2, lowest_pending: 3, command: bytes() };
        for request in [
            LeaderRequest::OpenSession,
            LeaderRequest::Command(command),
            LeaderRequest::Query { query: bytes(), mode: ReadMode::Safe },
            LeaderRequest::Query { query: bytes(), mode: ReadMode::Lease },
        ] {
            let request = ForwardedRequest { id: ID, request };
            assert_eq!(ForwardedRequest::try_from(w::ForwardedRequest::from(request.clone())), Ok(request));
        }
        let rejected = |reason| Reply::Rejected { reason };
        for reply in [
            Reply::SessionOpened { session: SessionId(4) },
            Reply::Applied { entry: EntryId::new(5, 2), response: bytes() },
            Reply::Answer { applied: LogIndex(6), response: bytes() },
            Reply::SessionExpired,
            Reply::AlreadyAnswered,
            rejected(RejectReason::NotLeader { leader: Some(NodeId(3)) }),
            rejected(RejectReason::NotLeader { leader: None }),
            rejected(RejectReason::Busy),
            rejected(RejectReason::Stopped),
            rejected(RejectReason::NoSpace),
            Reply::Lost,
            Reply::Unknown,
        ] {
            let reply = ForwardedReply { id: ID, reply };
            assert_eq!(ForwardedReply::try_from(w::ForwardedReply::from(reply.clone())), Ok(reply));
        }
        let leaving = w::ForwardedReply::from(ForwardedReply { id: ID, reply: rejected(RejectReason::Leaving) });
        assert_eq!(ForwardedReply::try_from(leaving).unwrap().reply, rejected(RejectReason::Busy));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |place| Err(DecodeError::Missing(place));
        let request = w::ForwardedRequest::default();
        assert_eq!(ForwardedRequest::try_from(request).map(drop), missing("ForwardedRequest.request"));
        for (reply, place) in [
            (None, "ForwardedReply.reply"),
            (Some(forwarded_reply::Reply::Applied(w::Applied::default())), "Applied.entry"),
            (Some(forwarded_reply::Reply::Refused(w::Refused::default())), "Refused.reason"),
        ] {
            let message = w::ForwardedReply { reply, ..w::ForwardedReply::default() };
            assert_eq!(ForwardedReply::try_from(message).map(drop), missing(place));
        }
    }
}
