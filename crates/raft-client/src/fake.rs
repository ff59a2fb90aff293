//! A cluster in one map, for tests: nodes that serve clients on real sockets and fail on request.

#![allow(missing_docs, clippy::missing_panics_doc)]

use crate::service::client_server::{Client as Service, ClientServer};
use bytes::Bytes;
use raft_core::EntryId;
use raft_kv::KvMap;
use raft_node::{StateMachine, Watched};
use raft_proto::wire::raft::*;
use raft_proto::wire::session::Command;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// How a node fails a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Trick {
    /// Refuse, and name this leader and its URL.
    NotLeader(Option<u64>, String),
    Busy,
    Lost,
    TooLarge,
    /// Execute the request, and never answer.
    Deaf,
    /// Execute it, and break the connection; for a watch, after its first answer.
    Break,
    /// Execute it, and answer that the outcome is unknown.
    Unknown,
    /// Neither execute it nor answer.
    Never,
    /// End all sessions first.
    Expire,
    /// Execute it, and send an answer that cannot be decoded.
    Garbage,
    /// Refuse a change of members for this reason.
    Change(ChangeRefusal),
}

/// The state that all nodes share.
#[derive(Default)]
pub struct World {
    pub map: KvMap,
    /// The answers by session and number.
    sessions: BTreeMap<u64, BTreeMap<u64, Applied>>,
    index: u64,
    /// The voters, for changes of members.
    pub voters: BTreeSet<u64>,
    /// The number of commands that reached the map.
    pub applied: usize,
    /// Notifies watches of changes.
    changed: Arc<Notify>,
    pub cluster_id: Bytes,
}

impl World {
    fn open_session(&mut self) -> u64 {
        self.index += 1;
        self.sessions.insert(self.index, BTreeMap::new());
        self.index
    }

    /// Promotes and demotes; other steps change nothing.
    fn change(&mut self, steps: &[MemberStep], trick: Option<&Trick>) -> change_members_response::Outcome {
        use change_members_response::Outcome;
        let refused = |reason: ChangeRefusal| {
            let (text, match_index, last) = ("refused".to_owned(), 5, 25);
            Outcome::ChangeRefused(ChangeRefused { reason: reason.into(), text, match_index, last })
        };
        if let Some(Trick::Change(reason)) = trick {
            return refused(*reason);
        }
        for step in steps {
            match step.kind {
                Some(member_step::Kind::Promote(id)) if !self.voters.insert(id) => {
                    return refused(ChangeRefusal::IsVoter);
                }
                Some(member_step::Kind::Demote(id)) if !self.voters.remove(&id) => {
                    return refused(ChangeRefusal::NoVoter);
                }
                _ => {}
            }
        }
        self.index += 1;
        Outcome::Changed(raft_proto::wire::raft::EntryId { index: self.index, term: 2 })
    }

    fn command(&mut self, request: &Command, node: u64) -> command_response::Outcome {
        self.index += 1;
        let index = self.index;
        let Some(answers) = self.sessions.get_mut(&request.session) else {
            return command_response::Outcome::SessionExpired(SessionExpired {});
        };
        let known = answers.entry(request.sequence).or_insert_with(|| {
            self.applied += 1;
            let response = self.map.apply(EntryId::new(index, 2), &request.command);
            self.changed.notify_waiters();
            Applied { entry: Some(raft_proto::wire::raft::EntryId { index, term: 2 }), response, node }
        });
        command_response::Outcome::Applied(known.clone())
    }
}

#[derive(Clone)]
pub struct FakeNode {
    id: u64,
    world: Arc<Mutex<World>>,
    /// The failures of the next requests.
    script: Arc<Mutex<VecDeque<Trick>>>,
    /// The failure of every request after the script.
    always: Arc<Mutex<Option<Trick>>>,
    asked: Arc<Mutex<usize>>,
    status: Arc<Mutex<StatusResponse>>,
    served_by: Arc<Mutex<Option<ServedBy>>>,
    pub url: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds the lock")
}

/// A node for each of these ids. Every node is a leader, unless its script says otherwise.
pub async fn cluster(ids: &[u64]) -> (Vec<FakeNode>, Arc<Mutex<World>>) {
    let world = Arc::new(Mutex::new(World::default()));
    let mut nodes = Vec::new();
    for &id in ids {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let status = StatusResponse { id, role: Role::Leader.into(), term: 2, ..StatusResponse::default() };
        let node = FakeNode {
            id,
            world: world.clone(),
            script: Arc::default(),
            always: Arc::default(),
            asked: Arc::default(),
            status: Arc::new(Mutex::new(status)),
            served_by: Arc::default(),
            url,
        };
        let server = tonic::transport::Server::builder().add_service(ClientServer::new(node.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        nodes.push(node);
    }
    (nodes, world)
}

/// A URL without a node.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

impl FakeNode {
    pub fn script(&self, tricks: &[Trick]) {
        lock(&self.script).extend(tricks.iter().cloned());
    }

    pub fn always(&self, trick: Trick) {
        *lock(&self.always) = Some(trick);
    }

    pub fn behave(&self) {
        *lock(&self.always) = None;
    }

    /// Makes this node a follower of `leader`.
    pub fn follows(&self, leader: &FakeNode) {
        self.always(Trick::NotLeader(Some(leader.id), leader.url.clone()));
    }

    /// What its responses say about who served the request.
    pub fn served_by(&self, served_by: ServedBy) {
        *lock(&self.served_by) = Some(served_by);
    }

    pub fn asked(&self) -> usize {
        *lock(&self.asked)
    }

    pub fn set_status(&self, change: impl FnOnce(&mut StatusResponse)) {
        change(&mut lock(&self.status));
    }

    /// The failure for this request; an error ends the request at once.
    async fn trick(&self) -> Result<Option<Trick>, Status> {
        *lock(&self.asked) += 1;
        let trick = lock(&self.script).pop_front().or_else(|| lock(&self.always).clone());
        match trick {
            Some(Trick::Never) => std::future::pending().await,
            Some(Trick::TooLarge) => Err(Status::resource_exhausted("9 bytes, the limit is 8")),
            Some(Trick::Expire) => {
                lock(&self.world).sessions.clear();
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

/// Changes the answer to an executed request as the failure requires.
async fn spoil<O>(trick: Option<Trick>, outcome: O, unknown: O) -> Result<Option<O>, Status> {
    match trick {
        Some(Trick::Deaf) => std::future::pending().await,
        Some(Trick::Break) => Err(Status::unavailable("broken")),
        Some(Trick::Unknown) => Ok(Some(unknown)),
        Some(Trick::Garbage) => Ok(None),
        _ => Ok(Some(outcome)),
    }
}

fn refused(trick: &Trick) -> Option<Refused> {
    let reason = match trick {
        Trick::NotLeader(leader, url) => {
            refused::Reason::NotLeader(NotLeader { leader: *leader, client_url: url.clone() })
        }
        Trick::Busy => refused::Reason::Busy(Busy {}),
        Trick::Lost => refused::Reason::Lost(Lost {}),
        _ => return None,
    };
    Some(Refused { reason: Some(reason) })
}

#[tonic::async_trait]
impl Service for FakeNode {
    async fn open_session(&self, _: Request<OpenSessionRequest>) -> Result<Response<OpenSessionResponse>, Status> {
        use open_session_response::Outcome;
        let trick = self.trick().await?;
        if let Some(refused) = trick.as_ref().and_then(refused) {
            return Ok(Response::new(OpenSessionResponse {
                outcome: Some(Outcome::Refused(refused)),
                served_by: lock(&self.served_by).clone(),
            }));
        }
        let session = lock(&self.world).open_session();
        let outcome = spoil(trick, Outcome::Session(session), Outcome::Unknown(Unknown {})).await?;
        Ok(Response::new(OpenSessionResponse { outcome, served_by: lock(&self.served_by).clone() }))
    }

    async fn command(&self, request: Request<Command>) -> Result<Response<CommandResponse>, Status> {
        use command_response::Outcome;
        let trick = self.trick().await?;
        if let Some(refused) = trick.as_ref().and_then(refused) {
            return Ok(Response::new(CommandResponse {
                outcome: Some(Outcome::Refused(refused)),
                served_by: lock(&self.served_by).clone(),
            }));
        }
        let outcome = lock(&self.world).command(request.get_ref(), self.id);
        let outcome = spoil(trick, outcome, Outcome::Unknown(Unknown {})).await?;
        Ok(Response::new(CommandResponse { outcome, served_by: lock(&self.served_by).clone() }))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        use query_response::Outcome;
        let trick = self.trick().await?;
        let request = request.into_inner();
        if let Some(refused) = trick.as_ref().and_then(refused).filter(|_| !request.stale) {
            return Ok(Response::new(QueryResponse {
                outcome: Some(Outcome::Refused(refused)),
                served_by: lock(&self.served_by).clone(),
            }));
        }
        let answer = {
            let world = lock(&self.world);
            Answer { applied: world.index, response: world.map.query(&request.query) }
        };
        let outcome = match trick {
            Some(Trick::Deaf) => std::future::pending().await,
            Some(Trick::Garbage) => Answer { response: "\u{1}".into(), ..answer },
            _ => answer,
        };
        Ok(Response::new(QueryResponse {
            outcome: Some(Outcome::Answer(outcome)),
            served_by: lock(&self.served_by).clone(),
        }))
    }

    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let (sender, stream) = mpsc::channel(3);
        let answer = match self.trick().await?.as_ref().and_then(refused) {
            Some(refused) => vec![backup_response::Outcome::Refused(refused)],
            None => [&b"a "[..], b"backup"].map(|data| backup_response::Outcome::Data(data.into())).into(),
        };
        for outcome in answer {
            sender.try_send(Ok(BackupResponse { outcome: Some(outcome) })).expect("there is room");
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        use watch_response::Outcome;
        let trick = self.trick().await?;
        let (sender, stream) = mpsc::channel(1);
        let WatchRequest { mut query, cluster_id: asked } = request.into_inner();
        let (world, changed) = (self.world.clone(), lock(&self.world).changed.clone());
        tokio::spawn(async move {
            if let Some(refused) = trick.as_ref().and_then(refused) {
                let refused = WatchResponse { outcome: Some(Outcome::Refused(refused)), ..WatchResponse::default() };
                return drop(sender.send(Ok(refused)).await);
            }
            let cluster_id = lock(&world).cluster_id.clone();
            if !asked.is_empty() && asked != cluster_id {
                let outcome = Some(Outcome::OtherCluster(OtherCluster {}));
                return drop(sender.send(Ok(WatchResponse { outcome, cluster_id })).await);
            }
            loop {
                let notified = changed.notified();
                let watched = lock(&world).map.watch(&query, 0);
                let (response, next) = match watched {
                    Watched::Now { response, next } => (response, next),
                    Watched::Later { .. } => {
                        notified.await;
                        continue;
                    }
                };
                let outcome = Some(Outcome::Answer(Answer { applied: 0, response }));
                let answer = WatchResponse { outcome, cluster_id: cluster_id.clone() };
                if sender.send(Ok(answer)).await.is_err() {
                    return;
                }
                if trick == Some(Trick::Break) {
                    return drop(sender.send(Err(Status::unavailable("broken"))).await);
                }
                let Some(next) = next else { return };
                query = next;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn change_members(
        &self,
        request: Request<ChangeMembersRequest>,
    ) -> Result<Response<ChangeMembersResponse>, Status> {
        use change_members_response::Outcome;
        let trick = self.trick().await?;
        if let Some(refused) = trick.as_ref().and_then(refused) {
            return Ok(Response::new(ChangeMembersResponse { outcome: Some(Outcome::Refused(refused)) }));
        }
        let outcome = lock(&self.world).change(&request.get_ref().steps, trick.as_ref());
        let outcome = spoil(trick, outcome, Outcome::Unknown(Unknown {})).await?;
        Ok(Response::new(ChangeMembersResponse { outcome }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        use transfer_leadership_response::Outcome;
        let trick = self.trick().await?;
        if let Some(refused) = trick.as_ref().and_then(refused) {
            return Ok(Response::new(TransferLeadershipResponse { outcome: Some(Outcome::Refused(refused)) }));
        }
        let outcome = match request.get_ref().to {
            0 => Outcome::Failed("no voter that answers can take over".to_owned()),
            to => Outcome::TransferredTo(to),
        };
        let outcome = spoil(trick, outcome, Outcome::Unknown(Unknown {})).await?;
        Ok(Response::new(TransferLeadershipResponse { outcome }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let mut status = lock(&self.status).clone();
        status.settled = true;
        if let Some(Trick::NotLeader(leader, url)) = lock(&self.always).clone() {
            status.role = Role::Follower.into();
            status.leader = leader;
            let named = leader.map(|id| MemberStatus { id, client_url: url, ..MemberStatus::default() });
            status.members.extend(named);
        }
        Ok(Response::new(status))
    }
}
