//! One request to one node, and the conclusion of its answer about this attempt alone.

use crate::find_leader::Stub;
use bytes::Bytes;
use raft_proto::wire::raft::{
    Answer, Applied, BackupRequest, BackupResponse, ChangeMembersRequest, ChangeRefused, EntryId, NotLeader,
    OpenSessionRequest, QueryRequest, Refused, Role, ServedBy, StatusRequest, StatusResponse,
    TransferLeadershipRequest, backup_response, change_members_response, command_response, open_session_response,
    query_response, refused, transfer_leadership_response,
};
use raft_proto::wire::session::Command;
use std::error::Error;
use tonic::{Code, ConnectError, Status, Streaming};

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attempt<A> {
    /// The answer to the request.
    Answer(A),
    /// The node refused permanently, and so would every other node; no effect.
    Refused(String),
    /// The node is not the leader; no effect.
    NotLeader(NotLeader),
    /// The reason to retry, and whether this attempt may take effect.
    Retry { why: String, may_have_effect: bool },
}

/// An attempt, and which node served it, if the called one says so.
pub(crate) type Served<A> = (Attempt<A>, Option<ServedBy>);

/// A request that can be repeated unchanged.
pub(crate) trait Ask: Clone + Send {
    type Answer: Send;
    /// Whether the outcome of an unanswered attempt matters to the caller. An extra session does not matter.
    const HAS_EFFECT: bool;
    /// The longest time for one attempt, in attempts of others.
    const ATTEMPTS: u32 = 1;

    fn needs_leader(&self) -> bool;

    fn send(self, stub: Stub) -> impl Future<Output = Result<Served<Self::Answer>, Status>> + Send;
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answered {
    Applied(Applied),
    /// The session has ended or no longer remembers the command.
    SessionGone,
}

impl Ask for OpenSessionRequest {
    type Answer = u64;
    const HAS_EFFECT: bool = false;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Served<u64>, Status> {
        use open_session_response::Outcome;
        let response = stub.open_session(self).await?.into_inner();
        let attempt = match response.outcome {
            Some(Outcome::Session(session)) => Attempt::Answer(session),
            Some(Outcome::Refused(refused)) => refusal(refused),
            Some(Outcome::Unknown(_)) => unclear("lost its lead"),
            None => unclear("sent an answer that cannot be read"),
        };
        Ok((attempt, response.served_by))
    }
}

impl Ask for Command {
    type Answer = Answered;
    const HAS_EFFECT: bool = true;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Served<Answered>, Status> {
        use command_response::Outcome;
        let response = stub.command(self).await?.into_inner();
        let attempt = match response.outcome {
            Some(Outcome::Applied(applied)) => Attempt::Answer(Answered::Applied(applied)),
            Some(Outcome::Refused(refused)) => refusal(refused),
            // The session has discarded the answer of this sequence number.
            Some(Outcome::SessionExpired(_) | Outcome::AlreadyAnswered(_)) => Attempt::Answer(Answered::SessionGone),
            Some(Outcome::Unknown(_)) => unclear("lost its lead"),
            None => unclear("sent an answer that cannot be read"),
        };
        Ok((attempt, response.served_by))
    }
}

impl Ask for QueryRequest {
    type Answer = Answer;
    const HAS_EFFECT: bool = false;

    fn needs_leader(&self) -> bool {
        !self.stale
    }

    async fn send(self, mut stub: Stub) -> Result<Served<Answer>, Status> {
        use query_response::Outcome;
        let response = stub.query(self).await?.into_inner();
        let attempt = match response.outcome {
            Some(Outcome::Answer(answer)) => Attempt::Answer(answer),
            Some(Outcome::Refused(refused)) => refusal(refused),
            None => unclear("sent an answer that cannot be read"),
        };
        Ok((attempt, response.served_by))
    }
}

impl Ask for ChangeMembersRequest {
    type Answer = Result<EntryId, ChangeRefused>;
    const HAS_EFFECT: bool = true;
    // An entry is to be committed, perhaps by nodes that were just added.
    const ATTEMPTS: u32 = 3;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Served<Self::Answer>, Status> {
        use change_members_response::Outcome;
        let attempt = match stub.change_members(self).await?.into_inner().outcome {
            Some(Outcome::Changed(entry)) => Attempt::Answer(Ok(entry)),
            Some(Outcome::ChangeRefused(refused)) => Attempt::Answer(Err(refused)),
            Some(Outcome::Refused(refused)) => refusal(refused),
            Some(Outcome::Unknown(_)) => unclear("lost its lead"),
            None => unclear("sent an answer that cannot be read"),
        };
        Ok((attempt, None))
    }
}

impl Ask for TransferLeadershipRequest {
    type Answer = u64;
    const HAS_EFFECT: bool = true;
    // A leader gives a transfer up after the longest election timeout.
    const ATTEMPTS: u32 = 5;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Served<u64>, Status> {
        use transfer_leadership_response::Outcome;
        let attempt = match stub.transfer_leadership(self).await?.into_inner().outcome {
            Some(Outcome::TransferredTo(to)) => Attempt::Answer(to),
            Some(Outcome::Failed(why)) => Attempt::Refused(why),
            Some(Outcome::Refused(refused)) => refusal(refused),
            Some(Outcome::Unknown(_)) => unclear("lost its lead"),
            None => unclear("sent an answer that cannot be read"),
        };
        Ok((attempt, None))
    }
}

/// The status of the leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaderStatus;

impl Ask for LeaderStatus {
    type Answer = StatusResponse;
    const HAS_EFFECT: bool = false;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Served<StatusResponse>, Status> {
        let status = stub.status(StatusRequest {}).await?.into_inner();
        if status.role() == Role::Leader {
            return Ok((Attempt::Answer(status), None));
        }
        let leader = status.members.iter().find(|member| status.leader == Some(member.id));
        let client_url = leader.map(|member| member.client_url.clone()).unwrap_or_default();
        Ok((Attempt::NotLeader(NotLeader { leader: status.leader, client_url }), None))
    }
}

/// The first bytes of a backup, and the stream of the others.
impl Ask for BackupRequest {
    type Answer = (Bytes, Streaming<BackupResponse>);
    const HAS_EFFECT: bool = false;

    fn needs_leader(&self) -> bool {
        !self.stale
    }

    async fn send(self, mut stub: Stub) -> Result<Served<Self::Answer>, Status> {
        use backup_response::Outcome;
        let mut stream = stub.backup(self).await?.into_inner();
        let attempt = match stream.message().await?.and_then(|first| first.outcome) {
            Some(Outcome::Data(data)) => Attempt::Answer((data, stream)),
            Some(Outcome::Refused(refused)) => refusal(refused),
            None => unclear("sent an answer that cannot be read"),
        };
        Ok((attempt, None))
    }
}

fn unclear<A>(why: &str) -> Attempt<A> {
    Attempt::Retry { why: why.into(), may_have_effect: true }
}

fn refusal<A>(refused: Refused) -> Attempt<A> {
    match refused.reason {
        Some(refused::Reason::NotLeader(hint)) => Attempt::NotLeader(hint),
        _ => Attempt::Retry { why: reason(&refused), may_have_effect: false },
    }
}

/// The reason of a refusal, as text.
pub(crate) fn reason(refused: &Refused) -> String {
    match &refused.reason {
        Some(refused::Reason::NotLeader(hint)) => return not_leader(hint),
        Some(refused::Reason::Busy(_)) => "is busy",
        Some(refused::Reason::NoSpace(_)) => "has no space left on its disk",
        Some(refused::Reason::Stopped(_)) => "has stopped for good",
        Some(refused::Reason::Lost(_)) => "lost its lead",
        None => "refused without a reason",
    }
    .into()
}

/// The result of an attempt that ended with a status instead of an answer.
pub(crate) fn attempt_of_status<A>(status: &Status) -> Attempt<A> {
    // A status without a source comes from the node; one with a source comes from a broken connection.
    let from_node = status.source().is_none();
    match status.code() {
        Code::ResourceExhausted | Code::OutOfRange | Code::InvalidArgument if from_node => {
            Attempt::Refused(status.message().to_string())
        }
        Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied if from_node => {
            Attempt::Retry { why: cause(status), may_have_effect: false }
        }
        _ => Attempt::Retry { why: cause(status), may_have_effect: !was_not_connected(status) },
    }
}

/// Whether there was no connection for the request.
fn was_not_connected(status: &Status) -> bool {
    sources(status).any(|source| source.is::<ConnectError>())
}

/// The innermost cause, which is the most specific: `Connection refused (os error 111)`.
pub(crate) fn cause(status: &Status) -> String {
    match sources(status).last() {
        Some(cause) => cause.to_string(),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}

/// The answer of a node that is not the leader, as text.
pub(crate) fn not_leader(hint: &NotLeader) -> String {
    match hint.leader {
        Some(leader) if hint.client_url.is_empty() => format!("does not lead, says node {leader} does"),
        Some(leader) => format!("does not lead, says node {leader} at {} does", hint.client_url),
        None => "does not lead and knows no leader".into(),
    }
}
