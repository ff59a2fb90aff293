//! What a node does about snapshots: takes, saves and loads its own, sends them to peers, takes in those of peers, and says
//! which files are of no use any more.

use super::Node;
use crate::node::NodeOptions;
use crate::node::outputs::{NodeOutput, Report, SnapshotFile, SnapshotJob, WriteOutcome};
use crate::snapshots::content::{Pieces, Snapshot, SnapshotError};
use crate::snapshots::incoming::{MAX_CHUNK_BYTES, Receiving, Written};
use crate::snapshots::loading::Loading;
use crate::snapshots::obsolete_files::Files;
use crate::snapshots::outgoing::SnapshotTransfers;
use crate::snapshots::policy::Policy;
use crate::snapshots::saving::{Saved, Saving};
use crate::state_machine::StateMachine;
use bytes::Bytes;
use raft_core::{EntryId, Input, NodeId, RoleKind, SnapshotMeta};
use raft_proto::SnapshotMessage;
use raft_store::FileChunk;

/// What a node knows about its snapshots.
#[derive(Clone, Debug)]
pub(super) struct Snapshots<C> {
    pub(super) policy: Policy,
    pub(super) loading: Loading,
    /// Its own, on the way to the disk.
    saving: Option<Saving<C>>,
    pub(super) transfers: SnapshotTransfers,
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
            transfers: SnapshotTransfers::new(options),
            receiving: Receiving::new(options.max_snapshot_bytes),
            files: Files::new(in_force.map(|meta| meta.last)),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(1),
        }
    }
}

impl<S: StateMachine> Node<S> {
    /// A chunk of a snapshot's file is written, or is not.
    pub(super) fn snapshot_written(
        &mut self,
        (file, last, end): (SnapshotFile, EntryId, u64),
        outcome: WriteOutcome,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Input> {
        match file {
            SnapshotFile::Own => self.own_written(last, end, &outcome, outputs),
            SnapshotFile::Received => {
                match self.snapshots.receiving.written(last, end, outcome, outputs) {
                    Written::Part | Written::Failed => None,
                    Written::Whole { from, term, meta } => {
                        self.snapshots.files.reported(last);
                        Some(Input::SnapshotReceived { from, term, meta })
                    }
                    // A record may name this file, from an earlier time that it came: whether it goes is not decided here.
                    Written::GivenUp => {
                        self.snapshots.files.reported(last);
                        None
                    }
                }
            }
        }
    }

    /// A chunk has been read for a peer.
    pub(super) fn snapshot_read(
        &mut self,
        (to, last, offset): (NodeId, EntryId, u64),
        chunk: Option<FileChunk>,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Input> {
        self.forget_unwanted_transfers();
        let outcome = self.snapshots.transfers.read(self.now, (to, last, offset), chunk, outputs)?;
        Some(Input::SnapshotSent { to, outcome })
    }

    /// A peer says something about a snapshot.
    pub(super) fn snapshot_message(
        &mut self,
        from: NodeId,
        message: SnapshotMessage,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Input> {
        match message {
            SnapshotMessage::Progress(progress) => {
                self.forget_unwanted_transfers();
                let outcome = self.snapshots.transfers.progress(from, progress, outputs)?;
                Some(Input::SnapshotSent { to: from, outcome })
            }
            SnapshotMessage::Chunk(chunk) => {
                if self.raft.role() != RoleKind::Stopped {
                    self.snapshots.receiving.chunk(from, chunk, self.raft.commit(), outputs);
                }
                None
            }
        }
    }

    /// A piece of this node's own snapshot is written, or is not.
    fn own_written(
        &mut self,
        last: EntryId,
        end: u64,
        outcome: &WriteOutcome,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Input> {
        let snapshots = &mut self.snapshots;
        let saving = snapshots.saving.as_mut().filter(|saving| saving.last() == last)?;
        let is_done = *outcome == WriteOutcome::Done;
        if is_done {
            match saving.written(last, end, snapshots.chunk_bytes) {
                Saved::Unexpected => return None,
                Saved::Next(piece) => {
                    outputs.push((*piece).into());
                    return None;
                }
                Saved::Whole => snapshots.files.reported(last),
            }
        }
        snapshots.saving = None;
        snapshots.policy.saved(last.index);
        is_done.then_some(Input::SnapshotTaken { index: last.index })
    }

    /// The core gives a transfer up without a word, when it has another way or the peer is gone.
    fn forget_unwanted_transfers(&mut self) {
        if !self.snapshots.transfers.is_empty() {
            let raft = &self.raft;
            self.snapshots.transfers.retain(|to, last| raft.snapshot_to(to) == Some(last));
        }
    }

    /// The host has read a snapshot: that is the state now, and what waited behind it is applied.
    pub(super) fn snapshot_loaded(
        &mut self,
        meta: SnapshotMeta,
        data: &Bytes,
        outputs: &mut Vec<NodeOutput>,
    ) -> Option<Input> {
        if !self.snapshots.loading.is_for(&meta) {
            return None;
        }
        if let Err(error) = self.restore(&meta, data) {
            // It stays pending, so nothing is ever applied to a state that is not what it should be.
            outputs.push(NodeOutput::Report(Report::SnapshotUnreadable { meta, error }));
            return None;
        }
        outputs
            .push(NodeOutput::Report(Report::Restored { meta, state_hash: self.observes.then(|| self.state_hash()) }));
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
        let Snapshots { files, transfers, saving, receiving, .. } = &mut self.snapshots;
        let is_made = |last| saving.as_ref().is_some_and(|saving| saving.last() == last) || receiving.is_of(last);
        let useless = files.settle(|last| transfers.is_sent(last), is_made);
        outputs.extend(useless.into_iter().map(|last| SnapshotJob::Remove { last }.into()));
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
            outputs.push(first.into());
        }
    }
}
