//! A cluster of processes on this machine.

use super::command::{Ended, binary, run};
use super::folder::Folder;
use super::node::{Line, Node};
use super::ports::Port;
use super::wait::{DEADLINE, wait_until};
use raft_client::{Client, ClientOptions, Membership};
use raft_proto::wire::raft::{Hello, Role, StatusResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

const FLAGS: [&str; 3] = ["--segment-bytes", "256KiB", "--control-stdin"];

/// A cluster of processes. When dropped, it kills all processes; its folder stays if the test fails.
pub(crate) struct Cluster {
    nodes: BTreeMap<u64, Node>,
    asker: Client,
    // It comes after the nodes: they are killed before it is removed.
    pub(crate) folder: Folder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: u64,
    pub(crate) term: u64,
}

impl Cluster {
    pub(crate) async fn start(count: u64) -> Self {
        Self::start_with(count, &FLAGS).await
    }

    /// Starts the cluster with these flags.
    pub(crate) async fn start_with(count: u64, flags: &[&str]) -> Self {
        let mut cluster = Self::start_unlogged(count, flags).await;
        cluster.addresses_are_logged().await;
        cluster
    }

    /// The same, for nodes that do not reach the client address of the leader and so cannot log their own addresses.
    pub(crate) async fn start_unlogged(count: u64, flags: &[&str]) -> Self {
        let mut cluster = Self::prepare(count);
        for node in cluster.nodes.values_mut() {
            node.line.more = flags.iter().map(ToString::to_string).collect();
        }
        for id in 1..=count {
            cluster.start_node(id);
        }
        cluster.leader().await;
        cluster
    }

    /// Waits until the log has the addresses of all nodes: each node asks for that by itself.
    async fn addresses_are_logged(&mut self) {
        wait_until("the log has all addresses", async || {
            let lacks = |node: &&Node| !node.stderr().contains("the addresses of this node are in the log");
            let lacking: Vec<u64> = self.nodes.values().filter(lacks).map(|node| node.line.id).collect();
            if lacking.is_empty() { Ok(()) } else { Err(format!("those of {lacking:?} are missing")) }
        })
        .await;
    }

    /// Starts a new node on this host, which asks the others for its membership.
    pub(crate) fn join(&mut self, id: u64, host: IpAddr, more: &[&str]) {
        let ports = Port::row(host);
        let line = Line {
            id,
            listen: ports.each_ref().map(|port| port.address.to_string()),
            peers: BTreeMap::new(),
            data_dir: self.folder.path().join(format!("node{id}")),
            more: FLAGS
                .iter()
                .chain(more)
                .map(ToString::to_string)
                .chain(["--join".to_owned(), self.endpoints().join(",")])
                .collect(),
        };
        let mut node = Node::new(line, ports, self.folder.path());
        node.start();
        self.nodes.insert(id, node);
    }

    /// Kills a node that is no member any more, and forgets it.
    pub(crate) fn forget(&mut self, id: u64) {
        drop(self.nodes.remove(&id));
    }

    /// Waits until the leader says that these are the voters and the learners, and that no change is under way.
    pub(crate) async fn members(&mut self, voters: &[u64], learners: &[u64]) -> Membership {
        let mut client = self.client();
        wait_until("the members are as expected", async || {
            for node in self.nodes.values_mut().filter(|node| node.runs()) {
                node.must_run();
            }
            let found = client.membership().await.map_err(|error| error.to_string())?;
            let ids = |voter: bool| {
                found.members.iter().filter(|member| member.voter == voter).map(|member| member.id).collect::<Vec<_>>()
            };
            let is_expected = found.settled && ids(true) == voters && ids(false) == learners;
            if is_expected { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    pub(crate) fn prepare(count: u64) -> Self {
        let folder = Folder::new();
        let ports: BTreeMap<u64, [Port; 3]> =
            (1..=count).map(|id| (id, [Port::any(), Port::any(), Port::any()])).collect();
        let urls: BTreeMap<u64, String> = ports.iter().map(|(id, [peer, ..])| (*id, peer.url())).collect();
        let node = |(id, ports): (u64, [Port; 3])| {
            let line = Line {
                id,
                listen: ports.each_ref().map(|port| port.address.to_string()),
                peers: urls.iter().filter(|(peer, _)| **peer != id).map(|(id, url)| (*id, url.clone())).collect(),
                data_dir: folder.path().join(format!("node{id}")),
                more: FLAGS.map(str::to_owned).to_vec(),
            };
            (id, Node::new(line, ports, folder.path()))
        };
        let nodes: BTreeMap<u64, Node> = ports.into_iter().map(node).collect();
        let asker = Client::new(ClientOptions {
            deadline: Duration::from_secs(3),
            attempt_timeout: Some(Duration::from_secs(1)),
            ..ClientOptions::new(endpoints(&nodes))
        });
        Self { nodes, asker: asker.expect("the endpoints are URLs"), folder }
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of this cluster")
    }

    pub(crate) fn start_node(&mut self, id: u64) {
        self.node(id).start();
    }

    pub(crate) fn kill(&mut self, id: u64) {
        self.node(id).kill();
    }

    pub(crate) async fn stop(&mut self, id: u64) -> ExitStatus {
        self.node(id).stop().await
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        endpoints(&self.nodes)
    }

    /// The options of a client with long timeouts.
    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions { deadline: DEADLINE, ..ClientOptions::new(self.endpoints()) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.client_options()).expect("the endpoints are URLs")
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Ended {
        run(self.command(words))
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = binary(words);
        command.env("RAFT_ENDPOINTS", self.endpoints().join(","));
        command
    }

    /// Waits until every node has called every other, so that each knows the other's start. Otherwise it could not
    /// recognize an old start.
    pub(crate) async fn met(&mut self) {
        wait_until("all nodes have met", async || {
            let statuses = self.statuses().await;
            let nodes = self.nodes.len();
            let members = || statuses.values().flat_map(|status| &status.members);
            let met = members().all(|member| member.connected && !member.client_url.is_empty());
            if met && members().count() == nodes * nodes { Ok(()) } else { Err(format!("{statuses:?}")) }
        })
        .await;
    }

    /// The hello of `from` to `to`, which are nodes that have met.
    pub(crate) async fn hello(&mut self, from: u64, to: u64) -> Hello {
        Hello {
            protocol_version: 1,
            cluster_id: self.statuses().await[&to].cluster_id.clone(),
            from,
            to,
            asks: false,
            incarnation: 1,
            client_url: "http://127.0.0.1:1".to_owned(),
            admin_url: "http://127.0.0.1:2".to_owned(),
            disk: self.node(from).disk_id().into(),
            cluster: "raft".to_owned(),
            members: self.nodes.keys().copied().collect(),
        }
    }

    /// The statuses of the running nodes, without those that do not answer. A node that has ended by itself fails the
    /// test.
    pub(crate) async fn statuses(&mut self) -> BTreeMap<u64, StatusResponse> {
        let mut statuses = BTreeMap::new();
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.runs()) {
            node.must_run();
            if let Ok(status) = self.asker.status(&node.ports[1].url()).await {
                assert_eq!(status.id, *id, "another node answers at this port");
                statuses.insert(*id, status);
            }
        }
        statuses
    }

    /// The current leader, according to any node.
    pub(crate) async fn leader_now(&mut self) -> Option<Leader> {
        leader_of(&self.statuses().await)
    }

    /// Waits for a leader that is ready.
    pub(crate) async fn leader(&mut self) -> Leader {
        wait_until("a leader is elected", async || {
            let statuses = self.statuses().await;
            leader_of(&statuses).ok_or_else(|| words(&statuses))
        })
        .await
    }

    /// The state hash of all nodes, once all have applied the same entries. All nodes must run, and no client may
    /// write.
    pub(crate) async fn agreement(&mut self) -> Vec<u8> {
        wait_until("all nodes have applied the same entries", async || {
            let statuses = self.statuses().await;
            let places: BTreeSet<[u64; 3]> =
                statuses.values().map(|status| [status.last, status.commit, status.applied]).collect();
            let settled = places.iter().all(|[last, commit, applied]| last == commit && commit == applied);
            if statuses.len() < self.nodes.len() || places.len() > 1 || !settled {
                return Err(words(&statuses));
            }
            let hashes: BTreeSet<_> = statuses.values().map(|status| status.state_hash.to_vec()).collect();
            assert_eq!(hashes.len(), 1, "the same entries, another state: {}", words(&statuses));
            hashes.into_iter().next().ok_or_else(|| "no nodes".to_owned())
        })
        .await
    }
}

fn endpoints(nodes: &BTreeMap<u64, Node>) -> Vec<String> {
    nodes.values().map(|node| node.ports[1].url()).collect()
}

/// The node that claims to lead, if no node knows a later term.
fn leader_of(statuses: &BTreeMap<u64, StatusResponse>) -> Option<Leader> {
    let highest = statuses.values().map(|status| status.term).max()?;
    let leads = |status: &&StatusResponse| status.role() == Role::Leader && status.ready && status.term == highest;
    statuses.values().find(leads).map(|status| Leader { id: status.id, term: status.term })
}

fn words(statuses: &BTreeMap<u64, StatusResponse>) -> String {
    let words = statuses.values().map(|status| {
        let StatusResponse { id, term, last, commit, applied, ready, .. } = status;
        let role = status.role().as_str_name();
        let hash = &status.state_hash[..4.min(status.state_hash.len())];
        format!("{id}: {role} term {term} last {last} commit {commit} applied {applied} ready {ready} {hash:02x?}")
    });
    words.collect::<Vec<_>>().join("; ")
}
