//! Requests that a node forwards to the leader, and the leader's replies.

use super::requests::{Reply, Request, SessionCommand};
use bytes::Bytes;
use raft_core::{ReadMode, RejectReason};

/// Names a forwarded request at the node that forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardId {
    /// A random number of that node's start: the reply to a request of an earlier start matches nothing.
    pub origin: u64,
    /// Counts the requests of that start, from 1.
    pub number: u64,
}

/// A request that only the leader can execute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum LeaderRequest {
    OpenSession,
    Command(SessionCommand),
    Query { query: Bytes, mode: ReadMode },
}

/// A request on its way from the node that a client reached to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ForwardedRequest {
    pub id: ForwardId,
    pub request: LeaderRequest,
}

/// The reply to a forwarded request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ForwardedReply {
    pub id: ForwardId,
    pub reply: Reply,
}

/// Why a forwarded request ends without the leader's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardEnd {
    /// The node forwards as many requests or bytes as it may: this one is not sent.
    OverLimit,
    /// The host could not send it.
    NotSent,
    /// No reply came in time.
    TimedOut,
    /// Another node leads, no leader is known, or the connection to the leader broke.
    LeaderLost,
}

impl LeaderRequest {
    /// From a request that a node can forward; any other is returned.
    pub(crate) fn of(request: Request) -> Result<Self, Request> {
        match request {
            Request::OpenSession => Ok(Self::OpenSession),
            Request::Command(command) => Ok(Self::Command(command)),
            Request::Query { query, mode } => Ok(Self::Query { query, mode }),
            Request::StaleQuery { .. }
            | Request::Watch { .. }
            | Request::ChangeMembership { .. }
            | Request::TransferLeadership { .. }
            | Request::BeginBackup { .. }
            | Request::ContinueBackup { .. } => Err(request),
        }
    }
}

impl ForwardedRequest {
    /// The reply of a node whose inbox refuses the request.
    pub fn busy(&self) -> ForwardedReply {
        ForwardedReply { id: self.id, reply: Reply::Rejected { reason: RejectReason::Busy } }
    }

    /// Bytes of the command or query.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = match &self.request {
            LeaderRequest::OpenSession => 0,
            LeaderRequest::Command(command) => command.command.len(),
            LeaderRequest::Query { query, .. } => query.len(),
        };
        bytes as u64
    }
}

impl ForwardedReply {
    /// Bytes of the response.
    pub(crate) fn bytes(&self) -> u64 {
        if let Reply::Applied { response, .. } | Reply::Answer { response, .. } = &self.reply {
            return response.len() as u64;
        }
        0
    }
}

impl From<LeaderRequest> for Request {
    fn from(request: LeaderRequest) -> Self {
        match request {
            LeaderRequest::OpenSession => Self::OpenSession,
            LeaderRequest::Command(command) => Self::Command(command),
            LeaderRequest::Query { query, mode } => Self::Query { query, mode },
        }
    }
}
