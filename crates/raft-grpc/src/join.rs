//! What a node asks its cluster for by itself: to be added, to be promoted once it has caught up, and to have its addresses in the log.
//!
//! It decides nothing about the cluster: which step is left to do is `raft_node::member_steps`, whether a learner has caught up is
//! the leader's core. It repeats a client's request until the answer is final, so it stays beside the client.

use crate::config::{Settings, is_unspecified};
use crate::failure::{Exit, Failure};
use raft_client::{ChangeOptions, Client, ClientError, ClientOptions, MemberChange, Membership};
use raft_core::{Configuration, NodeId};
use raft_node::AddressBook;
use raft_proto::member_context_from_bytes;
use raft_proto::wire::raft::MemberContext;
use raft_store::ClusterId;
use std::time::Duration;
use tokio::time::sleep;

/// The longest time for one request.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// The learner's progress is logged after so many attempts to promote it.
const LOGGED: u32 = 50;

/// How a node without a log enters a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Where nodes of the cluster serve clients.
    pub urls: Vec<String>,
    /// Whether it becomes a voter once it has caught up.
    pub promote: bool,
}

/// A node and where it is reached; empty: where no other machine would reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) id: NodeId,
    pub(crate) peer_url: String,
    pub(crate) client_url: String,
}

impl Own {
    pub(crate) fn new(id: NodeId, peer_url: &str, client_url: &str) -> Self {
        let reachable = |url: &str| if is_unspecified(url) { String::new() } else { url.to_owned() };
        Self { id, peer_url: reachable(peer_url), client_url: reachable(client_url) }
    }

    /// Whether the configuration has this node, and not all of its addresses.
    pub(crate) fn is_incomplete(&self, configuration: &Configuration) -> bool {
        configuration.members.get(&self.id).map(member_context_from_bytes).is_some_and(|known| {
            let lacks = |known: &String, own: &String| known.is_empty() && !own.is_empty();
            lacks(&known.peer_url, &self.peer_url) || lacks(&known.client_url, &self.client_url)
        })
    }
}

fn client(urls: &[String]) -> Result<Client, Failure> {
    let options = ClientOptions { deadline: DEADLINE, ..ClientOptions::new(urls) };
    Client::new(options).map_err(|error| Failure::usage(format!("--join: {error}")))
}

/// Asks the cluster at `join` to add this node as a learner, and returns the cluster and its members. `folder` is the cluster of the
/// folder, if it has one. Repeated, it changes nothing.
pub(crate) async fn enter(
    join: &Join,
    settings: &Settings,
    own: &Own,
    folder: Option<ClusterId>,
) -> Result<(ClusterId, AddressBook), Failure> {
    let mut client = client(&join.urls)?;
    let failed = |error: ClientError| match error {
        ClientError::Refused { .. } => Failure::usage(format!("--join: {error}")),
        error => Failure::runtime(format!("--join: {error}: does the cluster run there?")),
    };
    let membership = client.membership().await.map_err(failed)?;
    let cluster = cluster_of(&membership)?;
    let (place, id) = (settings.data_dir.display(), own.id.0);
    if let Some(folder) = folder.filter(|folder| *folder != cluster) {
        return Err(of_another_cluster(&place.to_string(), folder, cluster));
    }
    if membership.member(id).is_some_and(|member| member.voter) {
        return Err(Failure::new(
            Exit::Foreign,
            format!(
                "{place}: node {id} is a voter of this cluster, and the folder has no log: use the folder with its log, or, if that \
                 is lost, remove node {id} and join under a new id"
            ),
        ));
    }
    let Own { peer_url, client_url, .. } = own.clone();
    if peer_url.is_empty() {
        return Err(Failure::usage("--join: no other machine reaches this node at listen_peer: set advertise_peer"));
    }
    let add = MemberChange::Add { id, peer_url, client_url };
    let options = ChangeOptions { cluster: settings.cluster.clone(), ..ChangeOptions::default() };
    let membership = client.change_members(add, &options).await.map_err(failed)?;
    let others = membership.members.iter().filter(|member| member.id != id).map(|member| {
        let (peer_url, client_url) = (member.peer_url.clone(), member.client_url.clone());
        (NodeId(member.id), MemberContext { peer_url, client_url, cluster: String::new() })
    });
    tracing::info!("node {id} is a member of the cluster by entry {}", membership.entry);
    Ok((cluster, AddressBook(others.collect())))
}

fn cluster_of(membership: &Membership) -> Result<ClusterId, Failure> {
    let id = membership.cluster_id[..].try_into().map(ClusterId);
    id.map_err(|_| Failure::runtime("--join: the node that answers sends no cluster id: does it run another version?"))
}

fn of_another_cluster(place: &str, folder: ClusterId, cluster: ClusterId) -> Failure {
    Failure::new(
        Exit::Foreign,
        format!(
            "{place}: the folder belongs to cluster {folder}, and --join leads to cluster {cluster}: keep the folder as it is, and \
             correct --join or data_dir"
        ),
    )
}

/// Promotes this node once it has caught up, unless it is a voter. Ends with an error only if `--join` leads to another cluster.
pub(crate) async fn promote(join: Join, place: String, id: NodeId, folder: ClusterId) -> Result<(), Failure> {
    let mut client = client(&join.urls)?;
    let mut last_error = String::new();
    loop {
        let outcome = async {
            let membership = client.membership().await?;
            if let Ok(cluster) = cluster_of(&membership)
                && cluster != folder
            {
                return Ok(Some(Err(of_another_cluster(&place, folder, cluster))));
            }
            match membership.member(id.0) {
                None => {
                    tracing::warn!("node {} is no member: it is not promoted", id.0);
                    Ok(Some(Ok(())))
                }
                Some(member) if member.voter || !join.promote => Ok(Some(Ok(()))),
                Some(_) => promote_now(&mut client, id).await.map(|()| None),
            }
        };
        match outcome.await {
            Ok(Some(end)) => return end,
            Ok(None) => continue,
            Err(error) if last_error == error.to_string() => {}
            Err(error) => {
                last_error = error.to_string();
                tracing::warn!("not promoted yet: {last_error}");
            }
        }
        sleep(PAUSE).await;
    }
}

async fn promote_now(client: &mut Client, id: NodeId) -> Result<(), ClientError> {
    let mut attempts = 0;
    let progress = |has, last| {
        if attempts % LOGGED == 0 {
            tracing::info!("catching up: entry {has} of {last}");
        }
        attempts += 1;
    };
    let membership = client.promote(id.0, Duration::MAX, &ChangeOptions::default(), progress).await?;
    tracing::info!("node {} is a voter by entry {}", id.0, membership.entry);
    Ok(())
}

/// Puts this node's addresses into the log where it has none: each founder starts with a list of its own, so the first entry, which
/// is the same on all of them, has no addresses.
pub(crate) async fn complete(own: Own, client_port: String) {
    let Ok(mut client) = client(&[client_port]) else { return };
    let Own { id, peer_url, client_url } = own;
    let complete = MemberChange::Complete { id: id.0, peer_url, client_url };
    loop {
        match client.change_members(complete.clone(), &ChangeOptions::default()).await {
            Ok(membership) => {
                tracing::info!("the addresses of this node are in the log, of entry {} or before", membership.entry);
                return;
            }
            Err(error @ ClientError::Refused { .. }) => {
                tracing::warn!("the addresses of this node are not in the log: {error}");
                return;
            }
            Err(error) => tracing::debug!("the addresses of this node are not in the log yet: {error}"),
        }
        sleep(PAUSE).await;
    }
}
