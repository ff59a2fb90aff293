//! The thread that owns the node: it takes what has arrived, steps the node once, and carries out what it asks for.
//!
//! All order is the node's; here nothing is decided but where an output goes.

use crate::clock;
use crate::disk_thread::DiskQueue;
use crate::inbox::{Asked, Inbox};
use crate::peers::Outlets;
use crate::peers::send_snapshot::SnapshotSender;
use raft_core::{Configuration, NodeId, RequestId, SnapshotMeta, Status, StopReason};
use raft_node::{Node, NodeInput, NodeOutput, Reply, Request, SnapshotError, SnapshotMessage, StateMachine};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a node can be asked about itself.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    /// What the core says.
    pub(crate) status: Status,
    /// The configuration in force.
    pub(crate) configuration: Option<Configuration>,
    /// The hash of the replicated state after `status.applied`.
    pub(crate) state_hash: u128,
}

/// Where a node's outputs go and its inputs come from.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) disk: Arc<DiskQueue>,
    pub(crate) outlets: Arc<Outlets>,
    pub(crate) snapshots: SnapshotSender,
}

/// Why a node ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The replica has found a contradiction.
    Stopped(StopReason),
    /// Its snapshot cannot be read.
    Unreadable(SnapshotMeta, SnapshotError),
}

/// Runs the node until its inbox is closed, or it ends by itself: then it says why.
pub(crate) fn run<S: StateMachine>(node: &mut Node<S>, lanes: &Lanes) -> Option<End> {
    let mut host = Host { lanes, waiting: BTreeMap::new(), watching: BTreeSet::new(), next: RequestId(1) };
    let mut outputs = Vec::new();
    let mut inputs = vec![NodeInput::Tick];
    let mut told = Vec::new();
    loop {
        node.step(clock::now(), inputs.drain(..), &mut outputs);
        let mut end = None;
        for output in outputs.drain(..) {
            end = end.or(host.carry_out(output));
        }
        if end.is_some() {
            return end;
        }
        for told in told.drain(..) {
            // Whoever waited may have gone.
            let _: Result<(), ()> = oneshot::Sender::send(told, ());
        }
        let patience = node.deadline().map(|deadline| deadline.since(clock::now()));
        let batch = lanes.inbox.take(patience);
        if batch.closed {
            return None;
        }
        if !batch.questions.is_empty() {
            let facts = facts(node);
            for question in batch.questions {
                let _ = question.send(facts.clone());
            }
        }
        // The disk first: what it has made durable may already answer what peers and clients are about to ask.
        inputs.extend(batch.persisted.map(|write| NodeInput::Persisted { write }));
        for report in batch.reports {
            inputs.push(report.input);
            told.extend(report.told);
        }
        // Then what is lost: whatever a peer says here is news after that.
        inputs.extend(batch.unreachable.into_iter().map(|peer| NodeInput::Unreachable { peer }));
        inputs.extend(batch.messages);
        inputs.extend(batch.requests.into_iter().map(|asked| host.request(asked)));
        if batch.given_up {
            inputs.extend(host.given_up());
        }
        if inputs.is_empty() {
            inputs.push(NodeInput::Tick);
        }
    }
}

fn facts<S: StateMachine>(node: &Node<S>) -> NodeFacts {
    let configuration = node.configuration().cloned();
    NodeFacts { status: node.status(), configuration, state_hash: node.state_hash() }
}

/// What the thread knows besides the node.
struct Host<'a> {
    lanes: &'a Lanes,
    waiting: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    /// Those of them that may wait for ever.
    watching: BTreeSet<RequestId>,
    next: RequestId,
}

impl Host<'_> {
    fn request(&mut self, Asked { request, reply }: Asked) -> NodeInput {
        let id = self.next;
        if matches!(request, Request::Watch { .. }) {
            self.watching.insert(id);
        }
        self.waiting.insert(id, reply);
        self.next = id.next();
        NodeInput::Request { id, request }
    }

    /// The watches that nobody waits for any more.
    fn given_up(&mut self) -> Vec<NodeInput> {
        let waiting = &self.waiting;
        let gone = |id: &RequestId| waiting.get(id).is_none_or(oneshot::Sender::is_closed);
        let gone: Vec<RequestId> = self.watching.iter().copied().filter(gone).collect();
        for id in &gone {
            self.watching.remove(id);
            self.waiting.remove(id);
        }
        gone.into_iter().map(|id| NodeInput::GiveUp { id }).collect()
    }

    fn carry_out(&mut self, output: NodeOutput) -> Option<End> {
        let Lanes { disk, outlets, snapshots, .. } = self.lanes;
        match output {
            NodeOutput::Send { to, rpc } => outlets.send(to, &rpc),
            NodeOutput::Persist(write) => disk.push(write),
            NodeOutput::Reply { id, reply } => {
                self.watching.remove(&id);
                if let Some(client) = self.waiting.remove(&id) {
                    // A client that has given up learns nothing: it has to take it that the request had an effect.
                    let _ = client.send(reply);
                }
            }
            NodeOutput::SendSnapshot { to, message } => match message {
                SnapshotMessage::Chunk(chunk) => snapshots.send(to, chunk),
                SnapshotMessage::Progress(progress) => outlets.send_progress(to, progress),
            },
            NodeOutput::SnapshotRefused { from, meta, error } => {
                tracing::error!("the snapshot of {} that peer {} sent cannot be used here: {error}", meta.last, from.0);
            }
            NodeOutput::Restored { meta, .. } => tracing::info!("the state is now that of the {meta}"),
            NodeOutput::SnapshotUnreadable { meta, error } => return Some(End::Unreadable(meta, error)),
            NodeOutput::LeaderChanged { term, leader } => {
                let leader = leader.map_or_else(|| "unknown".to_owned(), |leader: NodeId| leader.0.to_string());
                tracing::info!("the leader of term {term} is {leader}");
            }
            NodeOutput::LeadershipLost { term } => tracing::info!("this node leads no longer (term {term})"),
            NodeOutput::ConfigurationChanged { configuration, at, committed } => {
                let committed = if committed { "committed" } else { "in force" };
                tracing::info!("configuration {configuration} of entry {at} is {committed}");
            }
            NodeOutput::Stopped { reason } => return Some(End::Stopped(reason)),
            NodeOutput::Applied { .. } | NodeOutput::Observe(_) => {}
            output => disk.ask(output),
        }
        None
    }
}
