//! The service for clients: passes requests to the node's inbox, and its replies back.

mod backup;
mod members;
mod watch;

use crate::clock;
use crate::directory::Directory;
use crate::identity::Identity;
use crate::inbox::{Replied, SharedInbox};
use crate::node_thread::NodeFacts;
use bytes::Bytes;
use raft_client::service::client_server::Client;
use raft_core::{EntryId, NodeId, ReadMode, RejectReason, RoleKind};
use raft_node::{AddressBook, Reply, Request as NodeRequest, SessionCommand, SessionId};
use raft_proto::member_context_from_bytes;
use raft_proto::wire::raft as w;
use raft_proto::wire::session::Command;
use raft_store::ClusterId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use watch::{Asked, WatchAnswers};

pub(crate) use watch::SharedWatches;

#[derive(Clone, Debug)]
pub(crate) struct ClientService {
    pub(crate) identity: Arc<Identity>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) inbox: Arc<SharedInbox>,
    /// The addresses of the settings.
    pub(crate) book: Arc<AddressBook>,
    pub(crate) watches: SharedWatches,
    pub(crate) max_request_bytes: u64,
    /// The shortest: clients derive the time of an attempt from it.
    pub(crate) election_timeout: Duration,
    /// It is cancelled when the node ends, and then ends the watches.
    pub(crate) closing: CancellationToken,
}

#[tonic::async_trait]
impl Client for ClientService {
    async fn open_session(
        &self,
        _: Request<w::OpenSessionRequest>,
    ) -> Result<Response<w::OpenSessionResponse>, Status> {
        use w::open_session_response::Outcome;
        let Replied { reply, leader } = self.ask(NodeRequest::OpenSession).await;
        let outcome = match reply {
            Reply::SessionOpened { session } => Outcome::Session(session.0),
            reply => self.refusal(&reply).map_or(Outcome::Unknown(w::Unknown {}), Outcome::Refused),
        };
        Ok(Response::new(w::OpenSessionResponse { outcome: Some(outcome), served_by: self.served_by(leader) }))
    }

    async fn command(&self, request: Request<Command>) -> Result<Response<w::CommandResponse>, Status> {
        use w::command_response::Outcome;
        let Command { session, sequence, lowest_pending, command } = request.into_inner();
        self.check_size(command.len())?;
        let session = SessionId(session);
        let command = NodeRequest::Command(SessionCommand { session, sequence, lowest_pending, command });
        let Replied { reply, leader } = self.ask(command).await;
        let outcome = match reply {
            Reply::Applied { entry, response } => {
                let entry = Some(entry_id(entry));
                Outcome::Applied(w::Applied { entry, response, node: leader.unwrap_or(self.identity.node).0 })
            }
            Reply::SessionExpired => Outcome::SessionExpired(w::SessionExpired {}),
            Reply::AlreadyAnswered => Outcome::AlreadyAnswered(w::AlreadyAnswered {}),
            reply => self.refusal(&reply).map_or(Outcome::Unknown(w::Unknown {}), Outcome::Refused),
        };
        Ok(Response::new(w::CommandResponse { outcome: Some(outcome), served_by: self.served_by(leader) }))
    }

    async fn query(&self, request: Request<w::QueryRequest>) -> Result<Response<w::QueryResponse>, Status> {
        use w::query_response::Outcome;
        let w::QueryRequest { query, stale, lease } = request.into_inner();
        self.check_size(query.len())?;
        let mode = if lease { ReadMode::Lease } else { ReadMode::Safe };
        let query = if stale { NodeRequest::StaleQuery { query } } else { NodeRequest::Query { query, mode } };
        let Replied { reply, leader } = self.ask(query).await;
        let outcome = match reply {
            Reply::Answer { applied, response } => Outcome::Answer(w::Answer { applied: applied.0, response }),
            // A query has no effect, so a client can safely send it again.
            reply => Outcome::Refused(self.refusal(&reply).unwrap_or(LOST)),
        };
        Ok(Response::new(w::QueryResponse { outcome: Some(outcome), served_by: self.served_by(leader) }))
    }

    type WatchStream = WatchAnswers;

    async fn watch(&self, request: Request<w::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let w::WatchRequest { query, cluster_id } = request.into_inner();
        self.check_size(query.len())?;
        // An id of another length is that of no cluster.
        let cluster = Some(ClusterId(cluster_id[..].try_into().unwrap_or_default()));
        let cluster = cluster.filter(|_| !cluster_id.is_empty());
        let service = Arc::new(self.clone());
        let ask = move |asked| {
            let service = service.clone();
            async move { service.ask_watch(asked).await }
        };
        let (own, closing) = (self.identity.cluster, self.closing.clone());
        Ok(Response::new(WatchAnswers::new((query, cluster), own, ask, closing)))
    }

    type BackupStream = ReceiverStream<Result<w::BackupResponse, Status>>;

    async fn backup(&self, request: Request<w::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let w::BackupRequest { stale } = request.into_inner();
        Ok(Response::new(backup::start(self.clone(), stale)))
    }

    async fn status(&self, _: Request<w::StatusRequest>) -> Result<Response<w::StatusResponse>, Status> {
        let status = self.status_now().await;
        Ok(Response::new(status.ok_or_else(|| Status::unavailable("the node is ending"))?))
    }

    async fn change_members(
        &self,
        request: Request<w::ChangeMembersRequest>,
    ) -> Result<Response<w::ChangeMembersResponse>, Status> {
        let outcome = self.change(request.into_inner()).await?;
        Ok(Response::new(w::ChangeMembersResponse { outcome: Some(outcome) }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<w::TransferLeadershipRequest>,
    ) -> Result<Response<w::TransferLeadershipResponse>, Status> {
        let w::TransferLeadershipRequest { to } = request.into_inner();
        let outcome = self.transfer((to > 0).then_some(NodeId(to))).await?;
        Ok(Response::new(w::TransferLeadershipResponse { outcome: Some(outcome) }))
    }
}

const LOST: w::Refused = w::Refused { reason: Some(w::refused::Reason::Lost(w::Lost {})) };

/// The most committed entries that a node which is ready has not applied.
const MAX_LAG: u64 = 1_000;

impl ClientService {
    /// The node's reply; `Unknown` if the node ends first.
    async fn ask(&self, request: NodeRequest) -> Replied {
        match self.inbox.request(request) {
            Some((_, answer)) => answer.await.unwrap_or_else(|_| Reply::Unknown.into()),
            None => Reply::Rejected { reason: RejectReason::Busy }.into(),
        }
    }

    /// The answer to a watch and its next query; `None` ends the watch.
    async fn ask_watch(&self, asked: Asked) -> (w::watch_response::Outcome, Option<Bytes>) {
        use w::watch_response::Outcome;
        match self.watches.ask(asked).await {
            Reply::OtherCluster => (Outcome::OtherCluster(w::OtherCluster {}), None),
            Reply::Watched { applied, response, next } => {
                (Outcome::Answer(w::Answer { applied: applied.0, response }), next)
            }
            reply => (Outcome::Refused(self.refusal(&reply).unwrap_or(LOST)), None),
        }
    }

    /// The node's status; `None` if the node is ending.
    pub(crate) async fn status_now(&self) -> Option<w::StatusResponse> {
        Some(self.describe(self.facts().await?))
    }

    /// The state of the node; none if it is ending.
    async fn facts(&self) -> Option<NodeFacts> {
        let (answer, facts) = oneshot::channel();
        self.inbox.ask_facts(answer);
        facts.await.ok()
    }

    fn check_size(&self, bytes: usize) -> Result<(), Status> {
        let limit = self.max_request_bytes;
        if bytes as u64 <= limit {
            return Ok(());
        }
        let message = format!("the request has {bytes} bytes, and the limit is {limit}: max_request_bytes");
        Err(Status::resource_exhausted(message))
    }

    /// Who served a request: this node, or the leader to which it has forwarded the request.
    fn served_by(&self, leader: Option<NodeId>) -> Option<w::ServedBy> {
        Some(w::ServedBy {
            node: leader.unwrap_or(self.identity.node).0,
            client_url: leader.map(|leader| self.client_url(leader)).unwrap_or_default(),
            election_timeout_ms: u64::try_from(self.election_timeout.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The reason why a request was not executed; `None` if its outcome is unknown.
    fn refusal(&self, reply: &Reply) -> Option<w::Refused> {
        use w::refused::Reason;
        let reason = match reply {
            Reply::Rejected { reason: RejectReason::NotLeader { leader } } => {
                let client_url = leader.map(|leader| self.client_url(leader)).unwrap_or_default();
                Reason::NotLeader(w::NotLeader { leader: leader.map(|leader| leader.0), client_url })
            }
            // During a transfer a new leader is likely soon.
            Reply::Rejected { reason: RejectReason::Busy | RejectReason::Transferring | RejectReason::Leaving } => {
                Reason::Busy(w::Busy {})
            }
            Reply::Rejected { reason: RejectReason::NoSpace } => Reason::NoSpace(w::NoSpace {}),
            Reply::Rejected { reason: RejectReason::Stopped } => Reason::Stopped(w::Stopped {}),
            Reply::Lost => Reason::Lost(w::Lost {}),
            // A reply to another kind of request would be a bug, and it proves nothing.
            _ => return None,
        };
        Some(w::Refused { reason: Some(reason) })
    }

    fn client_url(&self, node: NodeId) -> String {
        if node == self.identity.node {
            self.identity.contact.client_url.clone()
        } else {
            self.directory.client_url(node)
        }
    }

    fn describe(&self, facts: NodeFacts) -> w::StatusResponse {
        let settled = facts.is_settled();
        let NodeFacts { status, configuration, configured_at, state_hash } = facts;
        let configuration = configuration.unwrap_or_default();
        let now = clock::now();
        let member = |id: NodeId| {
            let peer = self.directory.get(id).unwrap_or_default();
            let logged = configuration.members.get(&id).map(member_context_from_bytes).unwrap_or_default();
            let own = id == self.identity.node;
            let client_url = self.client_url(id);
            let admin_url = if own { &self.identity.contact.admin_url } else { &peer.contact.admin_url }.clone();
            let contact_ms = peer.last_message.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX));
            let progress = status.peers.get(&id).map(|peer| peer.match_index);
            let leads = status.role == RoleKind::Leader;
            w::MemberStatus {
                id: id.0,
                voter: configuration.is_voter(id),
                peer_url: if own { logged.peer_url } else { peer.address.peer_url },
                client_url,
                admin_url,
                connected: own || peer.connected,
                contact_ms,
                match_index: progress.or((own && leads).then_some(status.durable)).map(|index| index.0),
            }
        };
        w::StatusResponse {
            id: status.id.0,
            cluster_id: self.identity.cluster.0.to_vec().into(),
            incarnation: self.identity.contact.incarnation,
            role: role(status.role).into(),
            term: status.term.0,
            leader: status.leader.map(|leader| leader.0),
            last: status.last.index.0,
            durable: status.durable.0,
            commit: status.commit.0,
            applied: status.applied.0,
            state_hash: state_hash.to_be_bytes().to_vec().into(),
            ready: is_ready(&status),
            lease_reads: status.lease_reads,
            configuration: configured_at.map(entry_id),
            settled,
            no_space: status.no_space,
            members: configuration.members.keys().map(|id| member(*id)).collect(),
        }
    }
}

fn entry_id(entry: EntryId) -> w::EntryId {
    w::EntryId { index: entry.index.0, term: entry.term.0 }
}

/// What `/readyz` asks, in one.
fn is_ready(status: &raft_core::Status) -> bool {
    let is_applied = has_applied(status.applied.0, status.commit.0);
    status.leader.is_some() && status.stopped.is_none() && is_applied && !status.no_space
}

/// Whether a node has applied what it knows to be committed, but for a few entries: under load there are always some on their way.
pub(crate) const fn has_applied(applied: u64, commit: u64) -> bool {
    commit <= applied.saturating_add(MAX_LAG)
}

fn role(role: RoleKind) -> w::Role {
    match role {
        RoleKind::Follower => w::Role::Follower,
        RoleKind::PreCandidate => w::Role::PreCandidate,
        RoleKind::Candidate => w::Role::Candidate,
        RoleKind::Leader => w::Role::Leader,
        RoleKind::Stopped => w::Role::Stopped,
    }
}
