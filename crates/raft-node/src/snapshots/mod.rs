//! A node's snapshots: it takes, saves and loads its own, sends them to peers, receives those of peers, and deletes old files.

pub(crate) mod content;
mod incoming;
mod loading;
mod obsolete_files;
mod outgoing;
mod policy;
mod saving;

use self::content::SnapshotEncoder;
use self::incoming::{ChunkResult, IncomingTransfers, MAX_CHUNK_BYTES};
use self::loading::LoadingSnapshot;
use self::obsolete_files::SnapshotFiles;
use self::outgoing::OutgoingTransfers;
use self::policy::SnapshotPolicy;
use self::saving::SavingSnapshot;
use crate::interface::disk_jobs::{SnapshotFile, SnapshotJob, WriteOutcome};
use crate::interface::options::NodeOptions;
use crate::interface::outputs::{NodeOutput, Outputs};
use crate::interface::state_machine::SnapshotSource;
use raft_core::{EntryId, Input, Instant, LogIndex, NodeId, Raft, RoleKind, SnapshotMeta};
use raft_proto::SnapshotMessage;
use raft_store::FileChunk;

/// A node's snapshots. Its methods return the inputs for the core.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots<C> {
    pub(crate) policy: SnapshotPolicy,
    pub(crate) loading: LoadingSnapshot,
    saving: Option<SavingSnapshot<C>>,
    pub(crate) outgoing: OutgoingTransfers,
    incoming: IncomingTransfers,
    pub(crate) files: SnapshotFiles,
    pub(crate) chunk_bytes: usize,
}

impl<C: SnapshotSource> Snapshots<C> {
    /// The state after a start with this newest snapshot.
    pub(crate) fn new(options: &NodeOptions, newest: Option<&SnapshotMeta>) -> Self {
        let chunk_bytes = options.snapshot_chunk_bytes.clamp(1, MAX_CHUNK_BYTES);
        Self {
            policy: SnapshotPolicy::new(options),
            loading: LoadingSnapshot::default(),
            saving: None,
            outgoing: OutgoingTransfers::new(options),
            incoming: IncomingTransfers::new(options.max_snapshot_bytes),
            files: SnapshotFiles::new(newest.map(|meta| meta.last)),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(1),
        }
    }

    /// Handles a written chunk, up to `end` of a file.
    pub(crate) fn on_written(
        &mut self,
        (file, last, end): (SnapshotFile, EntryId, u64),
        outcome: WriteOutcome,
        outputs: &mut Outputs,
    ) -> Option<Input> {
        match file {
            SnapshotFile::Own => self.on_own_written(last, end, &outcome, outputs),
            SnapshotFile::Received => match self.incoming.on_written(last, end, outcome, outputs) {
                ChunkResult::Partial | ChunkResult::Failed => None,
                ChunkResult::Complete { from, term, meta } => {
                    self.files.on_complete(last);
                    Some(Input::SnapshotReceived { from, term, meta })
                }
                // A record may name this file since an earlier transfer: only `SnapshotFiles` knows whether it is obsolete.
                ChunkResult::Abandoned => {
                    self.files.on_complete(last);
                    None
                }
            },
        }
    }

    fn on_own_written(
        &mut self,
        last: EntryId,
        end: u64,
        outcome: &WriteOutcome,
        outputs: &mut Outputs,
    ) -> Option<Input> {
        let saving = self.saving.as_mut().filter(|saving| saving.last() == last)?;
        let is_done = *outcome == WriteOutcome::Done;
        if is_done {
            if !saving.expects(end) {
                return None;
            }
            if let Some(chunk) = saving.next_chunk() {
                outputs.push(chunk.into());
                return None;
            }
            self.files.on_complete(last);
        }
        self.saving = None;
        is_done.then_some(Input::SnapshotTaken { index: last.index })
    }

    /// Handles a chunk that the disk has read for a peer.
    pub(crate) fn on_read(
        &mut self,
        raft: &Raft,
        now: Instant,
        (to, last, offset): (NodeId, EntryId, u64),
        chunk: Option<FileChunk>,
        outputs: &mut Outputs,
    ) -> Option<Input> {
        self.end_unwanted_transfers(raft);
        let outcome = self.outgoing.on_read(now, (to, last, offset), chunk, outputs)?;
        Some(Input::SnapshotSent { to, outcome })
    }

    /// Handles a peer's message about a transfer.
    pub(crate) fn on_message(
        &mut self,
        raft: &Raft,
        from: NodeId,
        message: SnapshotMessage,
        outputs: &mut Outputs,
    ) -> Option<Input> {
        match message {
            SnapshotMessage::Progress(progress) => {
                self.end_unwanted_transfers(raft);
                let outcome = self.outgoing.on_progress(from, progress, outputs)?;
                Some(Input::SnapshotSent { to: from, outcome })
            }
            SnapshotMessage::Chunk(chunk) => {
                if raft.role() != RoleKind::Stopped {
                    self.incoming.on_chunk(from, chunk, raft.commit(), outputs);
                }
                None
            }
        }
    }

    /// Ends transfers that the core no longer wants. The core emits no action when the peer no longer needs the
    /// snapshot or is removed.
    fn end_unwanted_transfers(&mut self, raft: &Raft) {
        self.outgoing.retain(|to, last| raft.snapshot_to(to) == Some(last));
    }

    /// Ends a call: takes a snapshot of the state after `applied` if one is due, and deletes obsolete files. `encode`
    /// returns the state after the given entry.
    pub(crate) fn end_call(
        &mut self,
        raft: &Raft,
        applied: LogIndex,
        encode: impl FnOnce(EntryId) -> SnapshotEncoder<C>,
        outputs: &mut Outputs,
    ) {
        self.incoming.on_committed(raft.commit(), outputs);
        let is_due = self.policy.is_due(applied);
        let can_save = self.saving.is_none() && !self.loading.is_pending() && raft.role() != RoleKind::Stopped;
        if is_due
            && can_save
            && let Some(meta) = raft.snapshot_meta(applied)
        {
            self.policy.begin(applied);
            let encoder = encode(meta.last);
            let saving = self.saving.insert(SavingSnapshot::new(meta, encoder, self.chunk_bytes));
            outputs.extend(saving.next_chunk().map(NodeOutput::from));
        }
        let Self { files, outgoing, saving, incoming, .. } = self;
        let is_saved = |last| saving.as_ref().is_some_and(|saving| saving.last() == last);
        let obsolete =
            files.take_obsolete(|last| outgoing.is_sending(last), |last| is_saved(last) || incoming.is_receiving(last));
        outputs.extend(obsolete.into_iter().map(|last| SnapshotJob::Remove { last }.into()));
    }
}
