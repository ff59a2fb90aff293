//! The thread that owns the node: it takes what has arrived, steps the node once, and carries out what it asks for.
//!
//! All order is the node's; here nothing is decided but where an output goes.

use crate::clock;
use crate::disk_thread::DiskQueue;
use crate::inbox::{Asked, Inbox};
use crate::peers::Outlets;
use raft_core::{Configuration, NodeId, RequestId, Status, StopReason};
use raft_node::{Node, NodeInput, NodeOutput, Reply, StateMachine};
use std::collections::BTreeMap;
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
}

/// Runs the node until its inbox is closed, or it stops by itself: then it says why.
pub(crate) fn run<S: StateMachine>(node: &mut Node<S>, lanes: &Lanes) -> Option<StopReason> {
    let mut waiting: BTreeMap<RequestId, oneshot::Sender<Reply>> = BTreeMap::new();
    let mut next = RequestId(1);
    let mut outputs = Vec::new();
    let mut inputs = vec![NodeInput::Tick];
    loop {
        node.step(clock::now(), inputs.drain(..), &mut outputs);
        let stopped = carry_out(outputs.drain(..), lanes, &mut waiting);
        if stopped.is_some() {
            return stopped;
        }
        let patience = node.deadline().map(|deadline| deadline.since(clock::now()));
        let batch = lanes.inbox.take(patience);
        if batch.closed {
            return None;
        }
        // The disk first: what it has made durable may already answer what peers and clients are about to ask.
        inputs.extend(batch.persisted.map(|write| NodeInput::Persisted { write }));
        // Then what is lost: whatever a peer says here is news after that.
        inputs.extend(batch.unreachable.into_iter().map(|peer| NodeInput::Unreachable { peer }));
        inputs.extend(batch.messages.into_iter().map(|(from, rpc)| NodeInput::Receive { from, rpc }));
        for Asked { request, reply } in batch.requests {
            waiting.insert(next, reply);
            inputs.push(NodeInput::Request { id: next, request });
            next = next.next();
        }
        if inputs.is_empty() {
            inputs.push(NodeInput::Tick);
        }
        if !batch.questions.is_empty() {
            let facts = facts(node);
            for question in batch.questions {
                // Whoever asked may have gone.
                let _ = question.send(facts.clone());
            }
        }
    }
}

fn facts<S: StateMachine>(node: &Node<S>) -> NodeFacts {
    let configuration = node.configuration().cloned();
    NodeFacts { status: node.status(), configuration, state_hash: node.state_hash() }
}

fn carry_out(
    outputs: impl Iterator<Item = NodeOutput>,
    lanes: &Lanes,
    waiting: &mut BTreeMap<RequestId, oneshot::Sender<Reply>>,
) -> Option<StopReason> {
    let mut stopped = None;
    for output in outputs {
        match output {
            NodeOutput::Send { to, rpc } => lanes.outlets.send(to, &rpc),
            NodeOutput::Persist(write) => lanes.disk.push(write),
            NodeOutput::Reply { id, reply } => {
                if let Some(client) = waiting.remove(&id) {
                    // A client that has given up learns nothing: it has to take it that the request had an effect.
                    let _ = client.send(reply);
                }
            }
            NodeOutput::LeaderChanged { term, leader } => {
                let leader = leader.map_or_else(|| "unknown".to_owned(), |leader: NodeId| leader.0.to_string());
                tracing::info!("the leader of term {term} is {leader}");
            }
            NodeOutput::LeadershipLost { term } => tracing::info!("this node leads no longer (term {term})"),
            NodeOutput::ConfigurationChanged { configuration, at, committed } => {
                let committed = if committed { "committed" } else { "in force" };
                tracing::info!("configuration {configuration} of entry {at} is {committed}");
            }
            NodeOutput::Stopped { reason } => stopped = Some(reason),
            NodeOutput::Applied { .. } | NodeOutput::Observe(_) => {}
        }
    }
    stopped
}
