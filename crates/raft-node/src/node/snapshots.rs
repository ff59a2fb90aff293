//! What a node does about snapshots: takes, saves and loads its own, sends them to peers, takes in those of peers, and says
//! which files are of no use any more.

use super::Node;
use crate::files::Files;
use crate::loading::Loading;
use crate::machine::StateMachine;
use crate::message::{NodeInput, NodeOutput, SnapshotFile, SnapshotOutcome};
use crate::node::NodeOptions;
use crate::policy::Policy;
use crate::receiving::{MAX_CHUNK_BYTES, Received, Receiving};
use crate::saving::{Saved, Saving};
use crate::sending::{News, Sending};
use crate::snapshot::{Pieces, Snapshot, SnapshotError};
use bytes::Bytes;
use raft_core::{EntryId, Input, NodeId, RoleKind, SnapshotMeta, SnapshotOutcome as Outcome};
use raft_proto::SnapshotMessage;

/// What a node knows about its snapshots.
#[derive(Clone, Debug)]
pub(super) struct Snapshots<C> {
    pub(super) policy: Policy,
    pub(super) loading: Loading,
    /// Its own, on the way to the disk.
    saving: Option<Saving<C>>,
    pub(super) sending: Sending,
    receiving: Receiving,
    pub(super) files: Files,
    /// Bytes of a piece of its own.
    chunk_bytes: usize,
}

impl<C> Snapshots<C> {
    pub(super) fn new(options: &NodeOptions, in_force: Option<&SnapshotMeta>) -> Self {
        let chunk_bytes = options.snapshot_chunk_bytes.clamp(1, MAX_CHUNK_BYTES);
        Self {
            policy: Policy::new(options),
            loading: Loading::default(),
            saving: None,
            sending: Sending::new(options),
            receiving: Receiving::new(options.max_snapshot_bytes),
            files: Files::new(in_force.map(|meta| meta.last)),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(1),
        }
    }
}

impl<S: StateMachine> Node<S> {
    /// What the core is to be told of an input about snapshots.
    pub(super) fn translate_for_snapshots(&mut self, input: NodeInput, outputs: &mut Vec<NodeOutput>) -> Option<Input> {
        match input {
            NodeInput::TakeSnapshot => {
                self.snapshots.policy.wished = true;
                None
            }
            NodeInput::SnapshotLoaded { meta, data } => self.snapshot_loaded(meta, &data, outputs),
            NodeInput::SnapshotWritten { file: SnapshotFile::Own, last, end, outcome } => {
                self.own_written(last, end, &outcome, outputs)
            }
            NodeInput::SnapshotWritten { file: SnapshotFile::Received, last, end, outcome } => {
                let received = self.snapshots.receiving.written(last, end, outcome, outputs);
                let Received { from, term, meta } = received?;
                self.snapshots.files.told(last);
                Some(Input::SnapshotReceived { from, term, meta })
            }
            NodeInput::SnapshotRead { to, last, offset, piece } => {
                self.forget_unwanted_transfers();
                let news = self.snapshots.sending.read(self.now, (to, last, offset), piece, outputs);
                news.map(|news| sent(to, news, outputs))
            }
            NodeInput::SnapshotMessage { from, message: SnapshotMessage::Progress(progress) } => {
                self.forget_unwanted_transfers();
                let news = self.snapshots.sending.progress(from, progress, outputs);
                news.map(|news| sent(from, news, outputs))
            }
            NodeInput::SnapshotMessage { from, message: SnapshotMessage::Chunk(chunk) } => {
                if self.raft.role() != RoleKind::Stopped {
                    self.snapshots.receiving.chunk(from, chunk, self.raft.commit(), outputs);
                }
                None
            }
            _ => None,
        }
    }

    /// A piece of this node's own snapshot is written, or is not.
    fn own_written(
        &mut self,
        last: EntryId,
        end: u64,
        outcome: &SnapshotOutcome,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Input> {
        let snapshots = &mut self.snapshots;
        let saving = snapshots.saving.as_mut().filter(|saving| saving.last() == last)?;
        let is_done = *outcome == SnapshotOutcome::Done;
        if is_done {
            match saving.written(last, end, snapshots.chunk_bytes) {
                Saved::Stray => return None,
                Saved::Next(piece) => {
                    outputs.push(*piece);
                    return None;
                }
                Saved::Whole => snapshots.files.told(last),
            }
        }
        snapshots.saving = None;
        snapshots.policy.saved(last.index);
        is_done.then_some(Input::SnapshotTaken { index: last.index })
    }

    /// The core gives a transfer up without a word, when it has another way or the peer is gone.
    fn forget_unwanted_transfers(&mut self) {
        if !self.snapshots.sending.is_empty() {
            let peers = self.raft.status().peers;
            let is_wanted = |to, last| peers.get(&to).is_some_and(|peer| peer.snapshot == Some(last));
            self.snapshots.sending.retain(is_wanted);
        }
    }

    /// The host has read a snapshot: that is the state now, and what waited behind it is applied.
    fn snapshot_loaded(&mut self, meta: SnapshotMeta, data: &Bytes, outputs: &mut Vec<NodeOutput>) -> Option<Input> {
        if !self.snapshots.loading.is_for(&meta) {
            return None;
        }
        if let Err(error) = self.restore(&meta, data) {
            // It stays pending, so nothing is ever applied to a state that is not what it should be.
            outputs.push(NodeOutput::SnapshotUnreadable { meta, error });
            return None;
        }
        outputs.push(NodeOutput::Restored { meta, state_hash: self.state_hash() });
        for entries in self.snapshots.loading.end() {
            self.apply(entries, outputs);
        }
        Some(Input::Applied { index: self.applied })
    }

    /// Sets sessions and state machine to what was saved, or changes nothing.
    fn restore(&mut self, meta: &SnapshotMeta, data: &Bytes) -> Result<(), SnapshotError> {
        let Snapshot { last, sessions, machine } = Snapshot::decode(data, meta.last, self.max_sessions)?;
        self.machine.restore(&machine)?;
        self.sessions = sessions;
        self.applied = last.index;
        self.snapshots.policy.restored(last.index);
        Ok(())
    }

    /// The end of a call: takes a snapshot, if one is due and can be taken, and lets go of what is of no use any more.
    pub(super) fn settle_snapshots(&mut self, outputs: &mut Vec<NodeOutput>) {
        self.snapshots.receiving.committed(self.raft.commit(), outputs);
        self.take_snapshot(outputs);
        let Snapshots { files, sending, .. } = &mut self.snapshots;
        let useless = files.settle(|last| sending.is_sent(last));
        outputs.extend(useless.into_iter().map(|last| NodeOutput::RemoveSnapshot { last }));
    }

    fn take_snapshot(&mut self, outputs: &mut Vec<NodeOutput>) {
        let is_due = self.snapshots.policy.is_due(self.applied);
        if !is_due || self.snapshots.loading.is_pending() || self.raft.role() == RoleKind::Stopped {
            return;
        }
        if let Some(meta) = self.raft.snapshot_meta(self.applied) {
            self.snapshots.policy.begin(self.applied);
            let pieces = Pieces::new(meta.last, &self.sessions, self.machine.snapshot());
            let (saving, first) = Saving::begin(meta, pieces, self.snapshots.chunk_bytes);
            self.snapshots.saving = Some(saving);
            outputs.push(first);
        }
    }
}

/// What the core is told of a snapshot that goes to a peer.
fn sent(to: NodeId, news: News, outputs: &mut Vec<NodeOutput>) -> Input {
    let outcome = match news {
        News::Progress => Outcome::Progress,
        News::Delivered => Outcome::Delivered,
        News::Failed => Outcome::Failed,
        News::Damaged(last) => {
            outputs.push(NodeOutput::VerifySnapshot { last });
            Outcome::Failed
        }
    };
    Input::SnapshotSent { to, outcome }
}
