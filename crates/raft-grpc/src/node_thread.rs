//! The thread that owns the node: it takes what has arrived, steps the node once, and carries out what it asks for.
//!
//! All order is the node's; here nothing is decided but where an output goes.

use crate::clock;
use crate::disk_thread::{DiskQueue, Job};
use crate::inbox::{Asked, Inbox};
use crate::peers::Outlets;
use crate::peers::send_snapshot::SnapshotSender;
use raft_core::{Configuration, EntryId, NodeId, RequestId, SnapshotMeta, Status, StopReason, Write};
use raft_node::{Node, NodeInput, NodeOutput, Reply, Request, SnapshotError, StateMachine};
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
    let mut host = Host {
        lanes,
        waiting: BTreeMap::new(),
        watching: BTreeSet::new(),
        next: RequestId(1),
        files: Files::default(),
    };
    let mut outputs = Vec::new();
    let mut inputs = vec![NodeInput::Tick];
    let mut told = Vec::new();
    loop {
        node.step(clock::now(), inputs.drain(..), &mut outputs);
        let mut end = None;
        for output in outputs.drain(..) {
            end = end.or(host.carry_out(output));
        }
        for last in host.files.settle() {
            lanes.disk.ask(Job::Remove { last });
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
            host.files.reported(&report.input);
            inputs.push(report.input);
            told.extend(report.told);
        }
        // Then what is lost: whatever a peer says here is news after that.
        inputs.extend(batch.unreachable.into_iter().map(|peer| NodeInput::Unreachable { peer }));
        inputs.extend(batch.messages.into_iter().map(|(from, rpc)| NodeInput::Receive { from, rpc }));
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
    files: Files,
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
            NodeOutput::Persist(write) => {
                self.files.named(&write);
                disk.push(write);
            }
            NodeOutput::Reply { id, reply } => {
                self.watching.remove(&id);
                if let Some(client) = self.waiting.remove(&id) {
                    // A client that has given up learns nothing: it has to take it that the request had an effect.
                    let _ = client.send(reply);
                }
            }
            NodeOutput::ReadLog { read, first, last, max_bytes } => {
                disk.ask(Job::Read { read, first, last, max_bytes });
            }
            NodeOutput::Compact { before } => disk.ask(Job::Compact { before }),
            NodeOutput::AskForSpace => disk.ask(Job::Space),
            NodeOutput::SaveSnapshot { meta, data } => {
                tracing::info!("taking a snapshot of {}, {} bytes", meta.last, data.len());
                self.files.saving = Some(meta.last);
                disk.ask(Job::Save { meta, data });
            }
            NodeOutput::LoadSnapshot { meta } => disk.ask(Job::Load { meta }),
            NodeOutput::Restored { meta, .. } => tracing::info!("the state is now that of the {meta}"),
            NodeOutput::SnapshotUnreadable { meta, error } => return Some(End::Unreadable(meta, error)),
            NodeOutput::SendSnapshot { to, term, meta } => snapshots.send(to, term, meta),
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
        }
        None
    }
}

/// The files of snapshots that a call decides about: those it was told of and no write of it names are of no use.
#[derive(Debug, Default)]
struct Files {
    /// The one that the store was asked to save for this node.
    saving: Option<EntryId>,
    told: BTreeSet<EntryId>,
    named: BTreeSet<EntryId>,
}

impl Files {
    /// The node is about to be told this.
    fn reported(&mut self, input: &NodeInput) {
        match input {
            NodeInput::SnapshotSaved { .. } => self.told.extend(self.saving.take()),
            NodeInput::SnapshotNotSaved { .. } => self.saving = None,
            // What a peer calls the same snapshot has the same name: it is this node's own, about which it has yet to hear.
            NodeInput::SnapshotReceived { meta, .. } if self.saving == Some(meta.last) => {}
            NodeInput::SnapshotReceived { meta, .. } => drop(self.told.insert(meta.last)),
            _ => {}
        }
    }

    fn named(&mut self, write: &Write) {
        self.named.extend(write.snapshot.as_ref().map(|record| record.meta.last));
    }

    /// The call is over: what is to be removed.
    fn settle(&mut self) -> BTreeSet<EntryId> {
        let mut told = std::mem::take(&mut self.told);
        for last in std::mem::take(&mut self.named) {
            told.remove(&last);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{LogFate, LogIndex, SnapshotRecord, Term};

    fn meta(index: u64) -> SnapshotMeta {
        let configuration = Configuration::of_voters([NodeId(1)]);
        SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) }
    }

    fn naming(index: u64) -> Write {
        let snapshot = Some(SnapshotRecord { meta: meta(index), log: LogFate::Keep });
        Write { snapshot, ..Write::bootstrap(meta(1).configuration) }
    }

    #[test]
    fn a_file_that_no_write_of_its_call_names_is_removed() {
        let received = |index| NodeInput::SnapshotReceived { from: NodeId(2), term: Term(1), meta: meta(index) };
        let saved = NodeInput::SnapshotSaved { index: LogIndex(5) };
        let mut files = Files { saving: Some(EntryId::new(5, 1)), ..Files::default() };
        files.reported(&received(5));
        assert!(files.settle().is_empty(), "its own, which it has yet to hear of");
        files.reported(&received(7));
        files.reported(&saved);
        files.named(&naming(7));
        assert_eq!(files.settle(), BTreeSet::from([EntryId::new(5, 1)]));
        files.reported(&received(5));
        files.named(&Write::bootstrap(meta(1).configuration));
        assert_eq!(files.settle(), BTreeSet::from([EntryId::new(5, 1)]));
        files.reported(&saved);
        assert!(files.settle().is_empty(), "nothing was being saved");
    }
}
