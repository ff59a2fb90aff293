//! A node's snapshots: it takes, saves and loads its own, sends them to peers, receives those of peers, and deletes old files.

pub(crate) mod content;
mod incoming;
mod loading;
mod obsolete_files;
mod outgoing;
mod policy;
mod saving;
mod turns;

use self::content::SnapshotEncoder;
use self::incoming::{ChunkResult, IncomingTransfers, MAX_CHUNK_BYTES};
use self::loading::LoadingSnapshot;
use self::obsolete_files::SnapshotFiles;
use self::outgoing::OutgoingTransfers;
use self::policy::SnapshotPolicy;
use self::saving::SavingSnapshot;
use self::turns::{Place, SavingTurns};
use crate::interface::disk_jobs::{SnapshotFile, SnapshotJob, WriteOutcome};
use crate::interface::options::NodeOptions;
use crate::interface::outputs::Outputs;
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
    turns: SavingTurns,
    /// When to begin a snapshot or write the next chunk; none: there is nothing to do.
    next_at: Option<Instant>,
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
            turns: SavingTurns::new(options),
            next_at: None,
            outgoing: OutgoingTransfers::new(options),
            incoming: IncomingTransfers::new(options.max_snapshot_bytes),
            files: SnapshotFiles::new(newest.map(|meta| meta.last)),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(1),
        }
    }

    /// When the node next has work for a snapshot.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.next_at, self.outgoing.deadline()].into_iter().flatten().min()
    }

    /// The disk reports a written chunk, up to `end` of a file.
    pub(crate) fn on_written(
        &mut self,
        now: Instant,
        (file, last, end): (SnapshotFile, EntryId, u64),
        outcome: WriteOutcome,
        outputs: &mut Outputs,
    ) -> Option<Input> {
        match file {
            SnapshotFile::Own => self.on_own_written(now, last, end, &outcome),
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

    fn on_own_written(&mut self, now: Instant, last: EntryId, end: u64, outcome: &WriteOutcome) -> Option<Input> {
        let saving = self.saving.as_mut().filter(|saving| saving.last() == last)?;
        if *outcome != WriteOutcome::Done {
            self.saving = None;
            return None;
        }
        let (sent, is_last) = saving.on_written(end)?;
        self.turns.on_written(sent, now);
        if !is_last {
            return None;
        }
        self.policy.on_saved(saving.bytes());
        self.saving = None;
        self.files.on_complete(last);
        Some(Input::SnapshotTaken { index: last.index })
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

    /// A call ends: takes a snapshot of the state after `applied` if one is due, writes the next chunk of it if that is due, and
    /// deletes obsolete files. `encode` takes the state after the given entry.
    pub(crate) fn end_call(
        &mut self,
        raft: &Raft,
        now: Instant,
        applied: LogIndex,
        encode: impl FnOnce(EntryId) -> SnapshotEncoder<C>,
        outputs: &mut Outputs,
    ) {
        self.incoming.on_committed(raft.commit(), outputs);
        self.turns.on_applied(applied, now);
        let is_requested = self.policy.take_request(applied);
        let can_begin = self.saving.is_none() && !self.loading.is_pending() && raft.role() != RoleKind::Stopped;
        let is_due = can_begin && self.policy.has_grown(applied, 100);
        // Twice what a snapshot needs: the log grows faster than snapshots are written.
        let enough = if self.saving.is_some() { 100 } else { 200 };
        let place = Place::of(raft.id(), raft.configuration());
        let hurries = self.policy.has_grown(applied, enough + place.part_of(100));
        let next_at = self.turns.next(place, hurries);
        if can_begin
            && (is_requested || (is_due && next_at <= now))
            && let Some(meta) = raft.snapshot_meta(applied)
        {
            self.policy.begin(applied);
            let encoder = encode(meta.last);
            self.saving = Some(SavingSnapshot::new(meta, encoder, self.chunk_bytes));
        }
        self.next_at = None;
        match &mut self.saving {
            Some(saving) if !saving.is_waiting() => {}
            Some(saving) if next_at <= now => outputs.push(saving.next_chunk(now, hurries).into()),
            Some(_) => self.next_at = Some(next_at),
            None => self.next_at = Some(next_at).filter(|next_at| is_due && *next_at > now),
        }
        let Self { files, outgoing, saving, incoming, .. } = self;
        let is_saved = |last| saving.as_ref().is_some_and(|saving| saving.last() == last);
        let obsolete =
            files.take_obsolete(|last| outgoing.is_sending(last), |last| is_saved(last) || incoming.is_receiving(last));
        outputs.extend(obsolete.into_iter().map(|last| SnapshotJob::Remove { last }.into()));
    }
}
