//! A client of a cluster: finds the leader, retries until a deadline, and has each command applied exactly once.
//!
//! In reading order: `ask` is one request to one node and what its answer proves, `nodes` whom to ask next, `retry`
//! how long and how often, `error` what is left to say; `members` asks every node about itself, `watch` follows what happens.
//! A client knows only what it was told: nothing here may take a silence for a failure.

mod ask;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod members;
mod nodes;
mod outcome;
mod retry;
#[cfg(test)]
mod tests;
mod watch;

pub use error::ClientError;
pub use members::{MemberView, members_of};
pub use outcome::{Changes, Consistency, Deleted, Got, Ranged, Swapped, Transacted, Written};
pub use watch::Watch;

use crate::services::client_client::ClientClient;
use ask::{Answered, Ask, Attempt, heard_from};
use bytes::Bytes;
use nodes::Nodes;
use outcome::{Done, read_answer};
use raft_kv::command::{Answer, Command, KeyRange, Query, Response, Txn};
use raft_proto::wire::raft::{NotLeader, OpenSessionRequest, QueryRequest, StatusRequest, StatusResponse};
use raft_proto::wire::session;
use retry::RetryState;
use std::time::Duration;
use tonic::transport::Channel;

/// One node's client service.
type Stub = ClientClient<Channel>;

/// What a client is told when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Where nodes of the cluster serve clients: `http://HOST:PORT`. At least one; the others are learnt from it.
    pub endpoints: Vec<String>,
    /// How long an operation may take, over all its attempts. Default 10 s.
    pub deadline: Duration,
    /// How long one node may take to answer before another is asked. Default 1 s.
    pub attempt_timeout: Duration,
    /// The pauses between attempts are drawn between 0 and a bound that doubles from `min_pause` ... Default 10 ms.
    pub min_pause: Duration,
    /// ... to `max_pause`. Default 500 ms.
    pub max_pause: Duration,
}

impl ClientOptions {
    /// The defaults, for a cluster that can be reached here.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            deadline: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(1),
            min_pause: Duration::from_millis(10),
            max_pause: Duration::from_millis(500),
        }
    }
}

/// A client of a cluster. Does one operation at a time; make one for each task, they share nothing.
///
/// An operation whose future is dropped before it ends is given up: it may have an effect.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    nodes: Nodes,
    session: Option<Session>,
}

/// An open session (Thesis §6.3).
#[derive(Clone, Copy, Debug)]
struct Session {
    id: u64,
    /// The number of its next command.
    next: u64,
}

impl Client {
    /// A client; connects when it has something to ask.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] if there is no endpoint, or one is no URL.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let nodes = Nodes::new(&options)?;
        Ok(Self { options, nodes, session: None })
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`], [`ClientError::OutcomeUnknown`], [`ClientError::Refused`].
    pub async fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Written, ClientError> {
        self.put_for(key, value, None).await
    }

    /// Sets a key that lives so long: at least 1 ms, and in whole milliseconds; none: until it is removed. The leader counts
    /// the time, from when it applies this; a change of the leader gives it the whole time again, and so does setting it again.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`], [`ClientError::OutcomeUnknown`], [`ClientError::Refused`].
    pub async fn put_for(
        &mut self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<Written, ClientError> {
        let ttl_ms = ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        let done = self.command(Command::Put { key: key.into(), value: value.into(), ttl_ms }).await?;
        match done.response {
            Response::Put { revision } => Ok(done.written(revision)),
            _ => Err(self.nodes.misread(true)),
        }
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`], [`ClientError::OutcomeUnknown`], [`ClientError::Refused`].
    pub async fn delete(&mut self, key: impl Into<Bytes>) -> Result<Deleted, ClientError> {
        let done = self.command(Command::Delete { key: key.into() }).await?;
        match done.response {
            Response::Delete { revision, existed } => Ok(Deleted { existed, written: done.written(revision) }),
            _ => Err(self.nodes.misread(true)),
        }
    }

    /// Sets a key if it has the expected value; none: if it is not there.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`], [`ClientError::OutcomeUnknown`], [`ClientError::Refused`].
    pub async fn cas(
        &mut self,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Swapped, ClientError> {
        let done = self.command(Command::Cas { key: key.into(), expected, value: value.into() }).await?;
        match done.response {
            Response::Cas { swapped, revision, ref actual } => {
                Ok(Swapped { swapped, actual: actual.clone(), written: done.written(revision) })
            }
            _ => Err(self.nodes.misread(true)),
        }
    }

    /// Compares several keys, then reads and changes several, all at one revision or not at all.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`], [`ClientError::OutcomeUnknown`], [`ClientError::Refused`]: also, if there are too many
    /// operations, a key is changed twice, or more is read than an answer may hold.
    pub async fn txn(&mut self, txn: Txn) -> Result<Transacted, ClientError> {
        let done = self.command(Command::Txn(txn)).await?;
        match done.response {
            Response::Txn { succeeded, revision, ref results } => {
                Ok(Transacted { succeeded, results: results.clone(), written: done.written(revision) })
            }
            Response::Refused(refusal) => {
                Err(ClientError::Refused { url: self.nodes.target(), reason: refusal.to_string() })
            }
            _ => Err(self.nodes.misread(true)),
        }
    }

    /// Reads the first keys of a range and their values: at most `limit` (0: as many as one answer holds, see
    /// [`raft_kv::command::MAX_RANGE_KEYS`]), fewer if they are large.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`] or [`ClientError::Refused`]: a read changes nothing.
    pub async fn range(
        &mut self,
        range: KeyRange,
        limit: u64,
        consistency: Consistency,
    ) -> Result<Ranged, ClientError> {
        let (answer, applied, attempts) = self.query(Query::Range { range, limit, max_bytes: 0 }, consistency).await?;
        match answer {
            Answer::Ranged { entries, more, revision } => Ok(Ranged { entries, more, revision, applied, attempts }),
            _ => Err(self.nodes.misread(false)),
        }
    }

    /// Follows what happens to the keys of a range, from a revision on; 0: from now on. Connects when it is asked for the
    /// first changes; independent of this client from then on.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] if an endpoint is no URL.
    pub fn watch(&self, range: KeyRange, from: u64) -> Result<Watch, ClientError> {
        Watch::new(self.options.clone(), range, from)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`] or [`ClientError::Refused`]: a read changes nothing.
    pub async fn get(&mut self, key: impl Into<Bytes>, consistency: Consistency) -> Result<Got, ClientError> {
        let (answer, applied, attempts) = self.query(Query::Get { key: key.into() }, consistency).await?;
        match answer {
            Answer::Got { value, modified_revision, revision } => {
                Ok(Got { value, modified_revision, revision, applied, attempts })
            }
            _ => Err(self.nodes.misread(false)),
        }
    }

    /// What one node knows about itself and its cluster. Asks once.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] or [`ClientError::NoEffect`].
    pub async fn status(&mut self, endpoint: &str) -> Result<StatusResponse, ClientError> {
        self.nodes.forget_what_was_heard();
        let url = nodes::normal(endpoint);
        let stub = self.nodes.stub(&url)?;
        members::status_of(stub, self.options.status_timeout()).await.map_err(|heard| {
            self.nodes.hear(&url, heard);
            self.nodes.no_effect(self.options.status_timeout())
        })
    }

    /// Every member that is known here or to a node that answers, and what each says about itself.
    pub async fn members(&mut self) -> Vec<MemberView> {
        members::ask_all(&mut self.nodes, self.options.status_timeout()).await
    }

    /// The answer to a query, the index up to which its node had applied, and how many requests it took.
    async fn query(&mut self, query: Query, consistency: Consistency) -> Result<(Answer, u64, u32), ClientError> {
        self.nodes.forget_what_was_heard();
        let mut retry = RetryState::new(&self.options);
        let (stale, lease) = (consistency == Consistency::Stale, consistency == Consistency::Lease);
        let answer = self.ask(QueryRequest { query: query.encode(), stale, lease }, &mut retry).await?;
        let read = read_answer(&answer).ok_or_else(|| self.nodes.misread(false))?;
        Ok((read, answer.applied, retry.attempts()))
    }

    /// Has a command applied exactly once, in the session; opens one if there is none.
    async fn command(&mut self, command: Command) -> Result<Done, ClientError> {
        self.nodes.forget_what_was_heard();
        let mut retry = RetryState::new(&self.options);
        let command = command.encode();
        loop {
            let request = self.next_request(command.clone(), &mut retry).await?;
            match self.ask(request, &mut retry).await? {
                Answered::Applied(applied) => {
                    return Done::read(&applied, retry.attempts()).ok_or_else(|| self.nodes.misread(true));
                }
                // Earlier attempts may have been applied while the session lived, and nobody remembers.
                Answered::SessionGone if retry.is_uncertain() => {
                    self.session = None;
                    return Err(self.nodes.session_gone());
                }
                Answered::SessionGone => {
                    self.session = None;
                    retry.pause().await;
                }
            }
        }
    }

    /// The command under a number of its own. The number is taken before anything is sent: were it used again for
    /// another command, that one would get this one's answer.
    async fn next_request(&mut self, command: Bytes, retry: &mut RetryState) -> Result<session::Command, ClientError> {
        let session = match &mut self.session {
            Some(session) => session,
            None => {
                let id = self.ask(OpenSessionRequest {}, retry).await?;
                self.session.insert(Session { id, next: 1 })
            }
        };
        let sequence = session.next;
        session.next += 1;
        Ok(session::Command { session: session.id, sequence, lowest_pending: sequence, command })
    }

    /// Asks one node after the other until one answers, refuses for good, or the time is up.
    async fn ask<A: Ask>(&mut self, ask: A, retry: &mut RetryState) -> Result<A::Answer, ClientError> {
        loop {
            let Some(left) = retry.left() else { return Err(self.nodes.gave_up(retry)) };
            let url = self.nodes.target();
            let stub = self.nodes.stub(&url)?;
            retry.count_attempt();
            let answer = tokio::time::timeout(left.min(self.options.attempt_timeout), ask.clone().send(stub)).await;
            let attempt = match answer {
                Ok(Ok(attempt)) => attempt,
                Ok(Err(status)) => heard_from(&status),
                Err(_) => Attempt::Again { heard: "no answer in time".into(), may_have_effect: true },
            };
            match attempt {
                Attempt::Answer(answer) => {
                    self.nodes.answered(url, ask.needs_leader());
                    return Ok(answer);
                }
                Attempt::Refused(reason) => return Err(self.nodes.refused(&url, reason, retry)),
                Attempt::NotLeader(hint) => {
                    self.nodes.hear(&url, not_leader(&hint));
                    if self.nodes.follow(&url, &hint.client_url) && retry.may_hop() {
                        continue;
                    }
                }
                Attempt::Again { heard, may_have_effect } => {
                    self.nodes.hear(&url, heard);
                    if may_have_effect && A::HAS_EFFECT {
                        retry.set_uncertain();
                    }
                }
            }
            self.nodes.pass_on(&url);
            retry.pause().await;
        }
    }
}

impl ClientOptions {
    /// A node that is asked about itself has no other to be asked instead: it gets more time.
    fn status_timeout(&self) -> Duration {
        self.deadline.min(self.attempt_timeout.saturating_mul(3))
    }
}

/// What a node says that does not lead, for people.
fn not_leader(hint: &NotLeader) -> String {
    match hint.leader {
        Some(leader) if hint.client_url.is_empty() => format!("does not lead, says node {leader} does"),
        Some(leader) => format!("does not lead, says node {leader} at {} does", hint.client_url),
        None => "does not lead and knows no leader".into(),
    }
}
