//! The thread that owns the node: takes the waiting inputs, steps the node once, and routes its outputs. The node
//! decides every order.

// A new kind of input or output must be handled in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::clock;
use crate::disk_thread::SharedDiskQueue;
use crate::inbox::{Replied, SharedInbox, Waits};
use crate::peers::Outbox;
use crate::peers::links::Links;
use crate::peers::send_snapshot::SnapshotSender;
use raft_core::{Configuration, EntryId, NodeId, RequestId, SnapshotMeta, Status, StopReason};
use raft_node::{Node, NodeInput, NodeOutput, Report, SnapshotError, SnapshotMessage, StateMachine};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) status: Status,
    pub(crate) configuration: Option<Configuration>,
    /// The entry that carries it.
    pub(crate) configured_at: Option<EntryId>,
    /// The hash of the replicated state at `status.applied`.
    pub(crate) state_hash: u128,
}

impl NodeFacts {
    /// Whether the configuration in force is committed and no half of a change.
    pub(crate) fn is_settled(&self) -> bool {
        let committed = self.configured_at.is_some_and(|at| at.index <= self.status.commit);
        committed && self.configuration.as_ref().is_some_and(|configuration| !configuration.is_joint())
    }
}

/// The sources of the node's inputs, and the targets of its outputs.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) inbox: Arc<SharedInbox>,
    pub(crate) disk: Arc<SharedDiskQueue>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) links: Arc<Links>,
    pub(crate) snapshots: SnapshotSender,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The replica has found a contradiction.
    Stopped(StopReason),
    Unreadable(SnapshotMeta, SnapshotError),
}

/// Runs the node until its inbox is closed, or until the node ends itself; returns the reason.
#[expect(clippy::disallowed_methods, reason = "the one place that calls the node")]
pub(crate) fn run<S: StateMachine>(node: &mut Node<S>, lanes: &Lanes) -> Option<End> {
    let mut host = Host { lanes, waiting: BTreeMap::new(), given: Vec::new(), reconfigured: false };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    // The first call takes only inputs that already wait.
    let mut limit = Some(Duration::ZERO);
    loop {
        let batch = lanes.inbox.take(limit, &mut inputs);
        if batch.closed {
            return None;
        }
        node.step(batch.now, inputs.drain(..).map(|(input, waits)| host.admit(input, waits)), &mut outputs);
        let mut end = None;
        for output in outputs.drain(..) {
            end = end.or(host.route(output));
        }
        if std::mem::take(&mut host.reconfigured) {
            lanes.links.follow(node.configuration(), is_committed(node));
        }
        if end.is_some() {
            return end;
        }
        for waits in host.given.drain(..) {
            // The caller may be gone.
            let _: Result<(), ()> = oneshot::Sender::send(waits, ());
        }
        // The answer shows the state after the call that took the request.
        if !batch.questions.is_empty() {
            let facts = facts(node);
            for question in batch.questions {
                let _ = question.send(facts.clone());
            }
        }
        limit = node.deadline().map(|deadline| deadline.since(clock::now()));
    }
}

fn facts<S: StateMachine>(node: &Node<S>) -> NodeFacts {
    let (configuration, configured_at) = (node.configuration().cloned(), node.raft().configured_at());
    NodeFacts { status: node.status(), configuration, configured_at, state_hash: node.state_hash() }
}

/// Whether the configuration in force is committed.
fn is_committed<S: StateMachine>(node: &Node<S>) -> bool {
    node.raft().configured_at().is_some_and(|at| at.index <= node.raft().commit())
}

struct Host<'a> {
    lanes: &'a Lanes,
    waiting: BTreeMap<RequestId, oneshot::Sender<Replied>>,
    /// The senders that wait for the end of this call.
    given: Vec<oneshot::Sender<()>>,
    /// Whether this call reported a configuration, perhaps an older one than that in force.
    reconfigured: bool,
}

impl Host<'_> {
    fn admit(&mut self, input: NodeInput, waits: Waits) -> NodeInput {
        match (&input, waits) {
            (NodeInput::Request { id, .. }, Waits::Reply(reply)) => {
                self.waiting.insert(*id, reply);
            }
            (NodeInput::CancelWatch { id }, Waits::Nobody) => {
                self.waiting.remove(id);
            }
            (_, Waits::Given(given)) => self.given.push(given),
            (_, Waits::Nobody | Waits::Reply(_)) => {}
        }
        input
    }

    fn route(&mut self, output: NodeOutput) -> Option<End> {
        let Lanes { disk, outbox, snapshots, .. } = self.lanes;
        match output {
            NodeOutput::Send { to, rpc } => outbox.send(to, &rpc),
            NodeOutput::SendSnapshot { to, message: SnapshotMessage::Chunk(chunk) } => snapshots.send(to, chunk),
            NodeOutput::SendSnapshot { to, message: SnapshotMessage::Progress(progress) } => {
                outbox.send_progress(to, progress);
            }
            NodeOutput::Persist(write) => disk.push_write(write),
            NodeOutput::Disk(job) => disk.push_job(job),
            NodeOutput::ForwardRequest { to, request, .. } => {
                let id = request.id;
                if !outbox.forward(to, request) {
                    self.lanes.inbox.give([NodeInput::NotForwarded { id }]);
                }
            }
            NodeOutput::ForwardReply { to, reply } => outbox.send_forwarded_reply(to, reply),
            NodeOutput::Reply { id, reply } => self.reply(id, reply.into()),
            NodeOutput::LeaderReply { id, leader, reply } => self.reply(id, Replied { reply, leader: Some(leader) }),
            NodeOutput::Report(report) => {
                self.reconfigured |= matches!(report, Report::ConfigurationChanged { .. });
                return log(report);
            }
        }
        None
    }
}

impl Host<'_> {
    fn reply(&mut self, id: RequestId, replied: Replied) {
        if let Some(client) = self.waiting.remove(&id) {
            // A client that has given up receives no reply: it must assume that the request had an effect.
            let _ = client.send(replied);
        }
    }
}

fn log(report: Report) -> Option<End> {
    match report {
        Report::SnapshotRefused { from, meta, error } => {
            tracing::error!("the snapshot of {} that peer {} sent cannot be used here: {error}", meta.last, from.0);
        }
        Report::Restored { meta, .. } => tracing::info!("the state is now that of the {meta}"),
        Report::SnapshotUnreadable { meta, error } => return Some(End::Unreadable(meta, error)),
        Report::LeaderChanged { term, leader } => {
            let leader = leader.map_or_else(|| "unknown".to_owned(), |leader: NodeId| leader.0.to_string());
            tracing::info!("the leader of term {term} is {leader}");
        }
        Report::LeadershipLost { term } => tracing::info!("this node leads no longer (term {term})"),
        Report::ConfigurationChanged { configuration, at, committed } => {
            let committed = if committed { "committed" } else { "in force" };
            tracing::info!("configuration {configuration} of entry {at} is {committed}");
        }
        Report::Stopped { reason } => return Some(End::Stopped(reason)),
        Report::ForwardEnded { id, why } => tracing::debug!("request {} has no reply of the leader: {why:?}", id.0),
        Report::Applied { .. } | Report::Observed(_) => {}
    }
    None
}
