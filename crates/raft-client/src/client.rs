//! The operations of a client: each is retried at one node after another until one answers or the deadline passes.

#[cfg(test)]
mod tests;

use crate::ask::{Answered, Ask, Attempt, LeaderStatus, attempt_of_status, not_leader};
use crate::backup::Backup;
use crate::error::ClientError;
use crate::find_leader::{ATTEMPT_TIMEOUT, Nodes, normal};
use crate::member_change::{ChangeOptions, MemberChange, Membership};
use crate::members::{self, MemberView};
use crate::outcome::{Consistency, Deleted, Done, Got, Ranged, Swapped, Transacted, Written};
use crate::retry::RetryState;
use crate::watch::Watch;
use bytes::Bytes;
use raft_kv::command::{Answer, Command, KeyRange, Query, Response, Txn};
use raft_proto::wire::raft::{
    BackupRequest, ChangeMembersRequest, ChangeRefusal, ChangeRefused, OpenSessionRequest, QueryRequest,
    StatusResponse, TransferLeadershipRequest,
};
use raft_proto::wire::session;
use std::time::Duration;

/// The longest pause between attempts to promote a learner that has not caught up.
const PROMOTE_PAUSE: Duration = Duration::from_millis(100);

/// The endpoints of a client, and the duration of its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// The addresses at which nodes serve clients: `http://HOST:PORT`, at least one. The client learns the other nodes.
    pub endpoints: Vec<String>,
    /// The longest time for an operation, over all its attempts. Default 10 s.
    pub deadline: Duration,
    /// The longest time for one attempt; then the client asks the next node. None, the default: the shortest election timeout of the
    /// nodes, between 250 ms and 5 s; 1 s until a node has said it.
    pub attempt_timeout: Option<Duration>,
    /// A pause between attempts is random, between 0 and a bound that starts at `min_pause` and doubles. Default 10 ms.
    pub min_pause: Duration,
    /// The largest bound of a pause. Default 500 ms.
    pub max_pause: Duration,
}

impl ClientOptions {
    /// The defaults for a cluster with these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            deadline: Duration::from_secs(10),
            attempt_timeout: None,
            min_pause: Duration::from_millis(10),
            max_pause: Duration::from_millis(500),
        }
    }
}

/// A client of a cluster. It does one operation at a time; create one for each task.
///
/// A dropped future abandons its operation, which may still take effect.
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
    /// The sequence number of its next command.
    next: u64,
}

impl Client {
    /// A client that connects with its first operation.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] without an endpoint, or if one is not a URL.
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

    /// Sets a key with a time to live, in whole milliseconds and at least 1 ms; `None` means until it is removed. The
    /// leader counts the time from the application of the command. A new leader restarts it, and so does another put of
    /// the key: a key can expire late but never early.
    ///
    /// # Errors
    /// The errors of [`put`](Self::put).
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
    /// The errors of [`put`](Self::put).
    pub async fn delete(&mut self, key: impl Into<Bytes>) -> Result<Deleted, ClientError> {
        let done = self.command(Command::Delete { key: key.into() }).await?;
        match done.response {
            Response::Delete { revision, existed } => Ok(Deleted { existed, written: done.written(revision) }),
            _ => Err(self.nodes.misread(true)),
        }
    }

    /// Sets a key if it has the expected value; `None` expects it to be absent.
    ///
    /// # Errors
    /// The errors of [`put`](Self::put).
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
    /// The errors of [`put`](Self::put); [`ClientError::Refused`] also for too many operations, a key that is changed
    /// twice, or an answer that is too large.
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

    /// Reads the first keys of a range and their values: at most `limit`, fewer if they are large. 0 is the largest limit,
    /// [`raft_kv::command::MAX_RANGE_KEYS`].
    ///
    /// # Errors
    /// The errors of [`get`](Self::get).
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

    /// Prepares the connection to the first endpoint, so that watches share it. It is opened on first use.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] if the endpoint is not a URL.
    pub fn connect(&mut self) -> Result<(), ClientError> {
        let url = self.nodes.without_leader().target();
        self.nodes.stub(&url).map(drop)
    }

    /// A watch of the keys of a range from a revision on; 0: from now on. It uses the connections that this client has, and makes
    /// others by itself.
    pub fn watch(&self, range: KeyRange, from: u64) -> Watch {
        Watch::new(self.options.clone(), self.nodes.without_leader(), range, from)
    }

    /// Begins a backup of the whole state, which contains everything that was acknowledged before; with `stale` of the state
    /// that one node has applied, which needs no leader.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`] or [`ClientError::Refused`]: a backup changes nothing.
    pub async fn backup(&mut self, stale: bool) -> Result<Backup, ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        let (begin, stream) = self.ask(BackupRequest { stale }, &mut retry).await?;
        Ok(Backup::new(self.nodes.target(), begin, stream))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`] or [`ClientError::Refused`], because a read changes nothing.
    pub async fn get(&mut self, key: impl Into<Bytes>, consistency: Consistency) -> Result<Got, ClientError> {
        let (answer, applied, attempts) = self.query(Query::Get { key: key.into() }, consistency).await?;
        match answer {
            Answer::Got { value, modified_revision, revision } => {
                Ok(Got { value, modified_revision, revision, applied, attempts })
            }
            _ => Err(self.nodes.misread(false)),
        }
    }

    /// The status of one node and its facts about its cluster. It asks once.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] or [`ClientError::NoEffect`].
    pub async fn status(&mut self, endpoint: &str) -> Result<StatusResponse, ClientError> {
        self.nodes.clear_failures();
        let url = normal(endpoint);
        let stub = self.nodes.stub(&url)?;
        members::status_of(stub, self.options.status_timeout()).await.map_err(|failure| {
            self.nodes.add_failure(&url, failure);
            self.nodes.no_effect(self.options.status_timeout())
        })
    }

    /// Asks all known nodes and all nodes that they name, and returns the members with their statuses.
    pub async fn members(&mut self) -> Vec<MemberView> {
        members::ask_all(&mut self.nodes, self.options.status_timeout()).await
    }

    /// The members, as the leader sees them.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`].
    pub async fn membership(&mut self) -> Result<Membership, ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        self.ask(LeaderStatus, &mut retry).await.map(Membership::from)
    }

    /// Changes the members (Raft §6), and returns them once the change has ended: its last entry is committed.
    ///
    /// # Errors
    /// [`ClientError::NotCaughtUp`] for a promotion that is too early; [`ClientError::NoEffect`], [`ClientError::OutcomeUnknown`],
    /// [`ClientError::Refused`].
    pub async fn change_members(
        &mut self,
        change: MemberChange,
        options: &ChangeOptions,
    ) -> Result<Membership, ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        let ChangeOptions { cluster, force } = options.clone();
        let request = ChangeMembersRequest { steps: vec![change.to_step()], cluster, force };
        loop {
            let refused = match self.ask(request.clone(), &mut retry).await? {
                Ok(_) => break,
                Err(refused) => refused,
            };
            let reason = refused.reason();
            if reason == ChangeRefusal::NotReady {
                let url = self.nodes.target();
                self.nodes.add_failure(&url, refused.text);
                retry.pause().await;
            } else if reason == ChangeRefusal::NotCaughtUp {
                let ChangeRefused { match_index, last, .. } = refused;
                return Err(ClientError::NotCaughtUp { id: change.id(), match_index, last });
            } else if retry.uncertain && change.is_done_if(reason) {
                // An attempt that was not answered has done it.
                break;
            } else {
                return Err(ClientError::Refused { url: self.nodes.target(), reason: refused.text });
            }
        }
        // Every leader ends a change that another one began.
        loop {
            let membership = Membership::from(self.ask(LeaderStatus, &mut retry).await?);
            if membership.settled {
                return Ok(membership);
            }
            retry.pause().await;
        }
    }

    /// Promotes a learner as soon as it has caught up, at the latest after `wait`. `progress` gets the last entry that the learner
    /// has and the leader's, at each attempt that is too early.
    ///
    /// # Errors
    /// Those of [`change_members`](Self::change_members).
    pub async fn promote(
        &mut self,
        id: u64,
        wait: Duration,
        options: &ChangeOptions,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Membership, ClientError> {
        let began = tokio::time::Instant::now();
        loop {
            match self.change_members(MemberChange::Promote { id }, options).await {
                Err(ClientError::NotCaughtUp { match_index, last, .. }) if began.elapsed() < wait => {
                    progress(match_index, last);
                    tokio::time::sleep(self.options.max_pause.min(PROMOTE_PAUSE)).await;
                }
                ended => return ended,
            }
        }
    }

    /// Transfers leadership (Thesis §3.10) to a voter; none: to the one with the longest log that answers. Returns the new leader's id.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if nobody can take over, or the target did not; [`ClientError::NoEffect`],
    /// [`ClientError::OutcomeUnknown`].
    pub async fn transfer_leadership(&mut self, to: Option<u64>) -> Result<u64, ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        self.ask(TransferLeadershipRequest { to: to.unwrap_or(0) }, &mut retry).await
    }

    /// The answer to a query, the index up to which the node had applied, and the number of attempts.
    async fn query(&mut self, query: Query, consistency: Consistency) -> Result<(Answer, u64, u32), ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        let (stale, lease) = (consistency == Consistency::Stale, consistency == Consistency::Lease);
        let answer = self.ask(QueryRequest { query: query.encode(), stale, lease }, &mut retry).await?;
        let read = Answer::decode(&answer.response).ok_or_else(|| self.nodes.misread(false))?;
        Ok((read, answer.applied, retry.attempts))
    }

    /// Executes a command exactly once, in the session; opens one if there is none.
    async fn command(&mut self, command: Command) -> Result<Done, ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        let command = command.encode();
        loop {
            let request = self.next_request(command.clone(), &mut retry).await?;
            match self.ask(request, &mut retry).await? {
                Answered::Applied(applied) => {
                    return Done::read(&applied, retry.attempts).ok_or_else(|| self.nodes.misread(true));
                }
                // Earlier attempts may have been applied in the session, and only the session remembers them.
                Answered::SessionGone if retry.uncertain => {
                    self.session = None;
                    return Err(self.nodes.unknown("the session ended while an attempt was not answered"));
                }
                Answered::SessionGone => {
                    self.session = None;
                    retry.pause().await;
                }
            }
        }
    }

    /// The command with its own sequence number. The client takes the number before the first attempt: a later command
    /// with the same number would get this command's answer.
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

    /// Asks one node after another until one answers, one refuses permanently, or the deadline passes.
    async fn ask<A: Ask>(&mut self, ask: A, retry: &mut RetryState) -> Result<A::Answer, ClientError> {
        loop {
            let Some(left) = retry.left() else { return Err(self.nodes.gave_up(retry)) };
            let url = self.nodes.target();
            let stub = self.nodes.stub(&url)?;
            retry.attempts += 1;
            let limit = left.min(self.nodes.attempt_timeout().saturating_mul(A::ATTEMPTS));
            let answer = tokio::time::timeout(limit, ask.clone().send(stub)).await;
            match &answer {
                Ok(Ok((_, served_by))) => self.nodes.responded(&url, served_by.as_ref()),
                Ok(Err(_)) | Err(_) => self.nodes.did_not_respond(&url),
            }
            let (attempt, served_by) = match answer {
                Ok(Ok(served)) => served,
                Ok(Err(status)) => (attempt_of_status(&status), None),
                Err(_) => (Attempt::Retry { why: "no answer in time".into(), may_have_effect: true }, None),
            };
            match attempt {
                Attempt::Answer(answer) => {
                    if ask.needs_leader() {
                        self.nodes.answered(url, served_by);
                    }
                    return Ok(answer);
                }
                Attempt::Refused(reason) => return Err(self.nodes.refused(&url, reason, retry)),
                Attempt::NotLeader(hint) => {
                    self.nodes.add_failure(&url, not_leader(&hint));
                    if self.nodes.follow(&url, &hint.client_url) && retry.may_hop() {
                        continue;
                    }
                }
                Attempt::Retry { why, may_have_effect } => {
                    self.nodes.add_failure(&url, why);
                    if may_have_effect && A::HAS_EFFECT {
                        retry.uncertain = true;
                    }
                }
            }
            self.nodes.skip(&url);
            retry.pause().await;
        }
    }
}

impl ClientOptions {
    /// Only a node itself has its status, so it gets more time for the answer.
    pub(crate) fn status_timeout(&self) -> Duration {
        self.deadline.min(self.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT).saturating_mul(3))
    }
}
