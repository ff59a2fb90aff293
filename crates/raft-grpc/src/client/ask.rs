//! One request to one node, and what its answer proves about this attempt.
//!
//! Must not know about other attempts: what they left open is the course's business.

use super::Stub;
use raft_proto::wire::raft::{
    Answer, Applied, NotLeader, OpenSessionRequest, QueryRequest, Refused, command_response, open_session_response,
    query_response, refused,
};
use raft_proto::wire::session::Command;
use std::error::Error;
use tonic::{Code, ConnectError, Status};

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attempt<A> {
    /// The answer.
    Answer(A),
    /// The node refused for good, so the next would too; no effect.
    Refused(String),
    /// The node does not lead; no effect.
    NotLeader(NotLeader),
    /// Ask again.
    Again {
        /// Why.
        heard: String,
        /// Whether this attempt may have an effect.
        may_have_effect: bool,
    },
}

/// Something a node can be asked again and again, unchanged.
pub(super) trait Ask: Clone + Send {
    /// What is to be known.
    type Answer: Send;
    /// Whether an attempt of unknown outcome leaves something behind that matters. An extra session does not.
    const HAS_EFFECT: bool;

    /// Whether only a leader answers.
    fn needs_leader(&self) -> bool;

    /// Asks once.
    fn send(self, stub: Stub) -> impl Future<Output = Result<Attempt<Self::Answer>, Status>> + Send;
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answered {
    /// It was applied.
    Applied(Applied),
    /// The session does not know it any more.
    SessionGone,
}

impl Ask for OpenSessionRequest {
    type Answer = u64;
    const HAS_EFFECT: bool = false;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Attempt<u64>, Status> {
        use open_session_response::Outcome;
        Ok(match stub.open_session(self).await?.into_inner().outcome {
            Some(Outcome::Session(session)) => Attempt::Answer(session),
            Some(Outcome::Refused(refused)) => refusal(refused),
            Some(Outcome::Unknown(_)) => unclear("lost its lead"),
            None => unclear("sent an answer that cannot be read"),
        })
    }
}

impl Ask for Command {
    type Answer = Answered;
    const HAS_EFFECT: bool = true;

    fn needs_leader(&self) -> bool {
        true
    }

    async fn send(self, mut stub: Stub) -> Result<Attempt<Answered>, Status> {
        use command_response::Outcome;
        Ok(match stub.command(self).await?.into_inner().outcome {
            Some(Outcome::Applied(applied)) => Attempt::Answer(Answered::Applied(applied)),
            Some(Outcome::Refused(refused)) => refusal(refused),
            // A number that counts as answered and was not is as gone as its session.
            Some(Outcome::SessionExpired(_) | Outcome::AlreadyAnswered(_)) => Attempt::Answer(Answered::SessionGone),
            Some(Outcome::Unknown(_)) => unclear("lost its lead"),
            None => unclear("sent an answer that cannot be read"),
        })
    }
}

impl Ask for QueryRequest {
    type Answer = Answer;
    const HAS_EFFECT: bool = false;

    fn needs_leader(&self) -> bool {
        !self.stale
    }

    async fn send(self, mut stub: Stub) -> Result<Attempt<Answer>, Status> {
        use query_response::Outcome;
        Ok(match stub.query(self).await?.into_inner().outcome {
            Some(Outcome::Answer(answer)) => Attempt::Answer(answer),
            Some(Outcome::Refused(refused)) => refusal(refused),
            None => unclear("sent an answer that cannot be read"),
        })
    }
}

fn unclear<A>(heard: &str) -> Attempt<A> {
    Attempt::Again { heard: heard.into(), may_have_effect: true }
}

fn refusal<A>(refused: Refused) -> Attempt<A> {
    let heard = match refused.reason {
        Some(refused::Reason::NotLeader(hint)) => return Attempt::NotLeader(hint),
        Some(refused::Reason::Busy(_)) => "is busy",
        Some(refused::Reason::NoSpace(_)) => "has no space left on its disk",
        Some(refused::Reason::Stopped(_)) => "has stopped for good",
        Some(refused::Reason::Lost(_)) => "lost its lead",
        None => "refused without a reason",
    };
    Attempt::Again { heard: heard.into(), may_have_effect: false }
}

/// What an attempt came to that ended with a status instead of an answer.
pub(super) fn heard_from<A>(status: &Status) -> Attempt<A> {
    // A status without a source was sent by the node itself; with one, it was made here from a broken connection.
    let said = status.source().is_none();
    match status.code() {
        Code::ResourceExhausted | Code::OutOfRange | Code::InvalidArgument if said => {
            Attempt::Refused(status.message().to_string())
        }
        Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied if said => {
            Attempt::Again { heard: words(status), may_have_effect: false }
        }
        _ => Attempt::Again { heard: words(status), may_have_effect: !was_not_connected(status) },
    }
}

/// Whether the request never left: there was no connection to send it on.
fn was_not_connected(status: &Status) -> bool {
    sources(status).any(|source| source.is::<ConnectError>())
}

/// The innermost cause, which is the one that tells: `Connection refused (os error 111)`.
pub(super) fn words(status: &Status) -> String {
    match sources(status).last() {
        Some(cause) => cause.to_string(),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}
