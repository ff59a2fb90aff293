//! The tasks of a node's disk, in simulated time: one at a time. The node receives each result.
//!
//! [`raft_node::DiskQueue`] decides which task is next, [`raft_node::DiskExecutor`] when to preallocate space. A job
//! does its work when it begins; a read may also do it when it ends. A group of writes is synced when it ends. A crash
//! meanwhile finds the disk in that state.

// A new kind of input, output or job needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use super::{Emission, Event, NodeEvent, World};
use crate::faults::Fault;
use crate::record::{RecordKind, SpaceAfter, Unhashed};
use crate::rng::Site;
use crate::world::host::{Host, Process, RecordedInput, newest_segment};
use raft_core::{NodeId, SnapshotMeta, Write, WriteId};
use raft_node::{DiskJob, DiskTask, NodeInput, SnapshotFile, SnapshotJob, WriteOutcome};
use raft_store::{DiskId, PeerCheck, Space, StoreError};

const DISK: Site = Site::new("disk");
const JOB: Site = Site::new("disk job");
const JOB_EARLY: Site = Site::new("disk job reads early");
const PREALLOCATION: Site = Site::new("disk tends");

/// The current task of a disk. Each except the last has the record that requested it.
#[derive(Clone, Debug)]
pub enum Working {
    /// A group of writes, up to the newest, and the record of their writing.
    Group { newest: WriteId, wrote: u64 },
    /// A registration of a peer's disk. `found` is the result; `None` if there is no space for it.
    Peer { peer: NodeId, disk: DiskId, found: Option<PeerCheck>, cause: u64 },
    /// A job and its result; `None` if the job does its work only at its end.
    Job { job: Box<DiskJob>, done: Option<Box<Done>>, cause: u64 },
    /// Preallocation of space, because no task waited.
    Preallocation { input: Option<NodeInput> },
}

#[derive(Clone, Debug)]
pub struct Done {
    /// The node's input, if there is one.
    pub input: Option<NodeInput>,
    /// Whether all operations of the job are durable, according to the disk.
    pub durable: bool,
}

impl World {
    /// Begins the disk's next task, if the disk is idle.
    pub(super) fn serve_disk(&mut self, host: &mut Host) {
        let idle = |process: &&mut Process| process.working.is_none() && !process.disk_looks_later;
        let Some(process) = host.process.as_mut().filter(idle) else { return };
        let begun = match process.queue.take() {
            None if !process.executor.can_preallocate(&process.store) => return,
            None => process.executor.preallocate(&mut process.store).map(|input| Working::Preallocation { input }),
            Some(DiskTask::Write { writes, tag }) => self.begin_group(host.id, process, writes, tag),
            Some(DiskTask::Execute { job, tag }) => self.begin_job(host.id, host.jobs + 1, process, job, tag),
            Some(DiskTask::RegisterPeer { peer, disk, tag: cause }) => process
                .executor
                .register_peer(&mut process.store, peer, disk)
                .map(|found| Working::Peer { peer, disk, found, cause }),
        };
        match begun {
            Ok(working) => self.work(host, working),
            Err(error) => self.store_failed(host, &error.to_string()),
        }
    }

    /// Gives a group of writes to the disk: it is readable at once, and durable at the end of the task.
    fn begin_group(
        &mut self,
        node: NodeId,
        process: &mut Process,
        writes: Vec<Write>,
        asked: u64,
    ) -> Result<Working, StoreError> {
        let newest = writes.last().map_or(WriteId(0), |write| write.id);
        process.executor.write(&mut process.store, &writes)?;
        let disk_mark = process.store.disk().operations();
        let wrote = self.emit(Some(asked), Some(node), RecordKind::Wrote { writes, disk_mark });
        Ok(Working::Group { newest, wrote })
    }

    fn begin_job(
        &mut self,
        node: NodeId,
        n: u64,
        process: &mut Process,
        job: DiskJob,
        cause: u64,
    ) -> Result<Working, StoreError> {
        // A read sees the disk at its beginning, or at its end: the two differ if the disk fails or is damaged
        // meanwhile.
        let is_early = self.choices.draw(JOB_EARLY, node.0, n).chance_ppm(500_000);
        let reads = match &job {
            DiskJob::ReadLog { .. } | DiskJob::Snapshot(SnapshotJob::Load { .. } | SnapshotJob::Read { .. }) => true,
            DiskJob::ReserveSpace | DiskJob::Compact { .. } => false,
            DiskJob::Snapshot(
                SnapshotJob::Write { .. }
                | SnapshotJob::Verify { .. }
                | SnapshotJob::Drop { .. }
                | SnapshotJob::Remove { .. },
            ) => false,
        };
        let done = if reads && !is_early { None } else { Some(Box::new(execute(process, &job)?)) };
        Ok(Working::Job { job: Box::new(job), done, cause })
    }

    fn work(&mut self, host: &mut Host, working: Working) {
        let (n, site) = match &working {
            Working::Group { .. } => (&mut host.groups, DISK),
            Working::Peer { .. } | Working::Job { .. } => (&mut host.jobs, JOB),
            Working::Preallocation { .. } => (&mut host.preallocations, PREALLOCATION),
        };
        *n += 1;
        let (node, n, incarnation) = (host.id, *n, host.incarnation);
        if let Some(process) = &mut host.process {
            process.working = Some(working);
        }
        let base = &self.scenario.disk.latency;
        let latency = self.choices.draw(site, node.0, n).in_range(host.slow.as_ref().unwrap_or(base));
        if host.slow.is_some() && latency > base.end {
            self.fault_counts.note_effect(Fault::SlowDisk);
            if latency > host.max_write_stall() {
                self.fault_counts.note_effect(Fault::StalledDisk);
            }
        }
        let latency = latency.saturating_add(self.scheduling.next(node).unwrap_or_default());
        self.plan_after(latency, Event::Node(node, NodeEvent::DiskDone { incarnation }));
    }

    /// Ends a disk task: the node receives the result, and the next task begins.
    pub(super) fn disk_done(&mut self, host: &mut Host) {
        let Some(working) = host.process.as_ref().and_then(|process| process.working.clone()) else { return };
        // A call need not follow, and the next record belongs to this node.
        self.emissions.push(Emission::View(host.view()));
        if let Err(error) = self.end_task(host, working) {
            return self.store_failed(host, &error);
        }
        // The node's thread is faster than the disk's, if it is not busy, so the call's tasks join those that wait.
        self.wake(host);
        if let Some(process) = &mut host.process {
            process.working = None;
            self.note_survived_errors(host);
            self.serve_disk(host);
        }
    }

    /// Gives the node the result of a task.
    fn end_task(&mut self, host: &mut Host, working: Working) -> Result<(), String> {
        let task = host.disk_tasks();
        let Some(process) = &mut host.process else { return Ok(()) };
        match working {
            Working::Group { newest, wrote } => {
                let known_durable = newest_segment(process.store.disk());
                let inputs = process.executor.sync(&mut process.store, newest).map_err(|error| error.to_string())?;
                let disk_durable = process.store.disk().durable_through();
                let space = SpaceAfter { task, is_low: process.store.space() == Space::Low };
                host.known_durable = known_durable;
                for input in inputs.into_iter().flatten() {
                    let kind = if let NodeInput::Space { is_low } = input {
                        RecordKind::SpaceTold { is_low, task: Unhashed(task) }
                    } else {
                        RecordKind::Persisted { write: newest, disk_durable, space: Unhashed(space) }
                    };
                    self.enqueue(host, RecordedInput::new(Some(wrote), kind, input));
                }
            }
            Working::Peer { peer, disk, found, cause } => {
                self.emit(Some(cause), Some(host.id), RecordKind::PeerRegistered { peer, disk, found });
                self.peer_registered(host, peer, disk, found);
            }
            Working::Job { job, done, cause } => {
                let done = done.map_or_else(|| execute(process, &job), |done| Ok(*done));
                let done = done.map_err(|error| error.to_string())?;
                // A newer snapshot may have replaced it; then the node has requested that one meanwhile.
                let wants = |meta: &SnapshotMeta| process.wanted == Some(meta.last);
                let is_gone = done.input.is_none();
                if is_gone && matches!(&*job, DiskJob::Snapshot(SnapshotJob::Load { meta }) if wants(meta)) {
                    return Err("the snapshot to load is gone".to_owned());
                }
                self.give_result(host, *job, done, cause);
            }
            Working::Preallocation { input } => self.give_space(host, input, None),
        }
        Ok(())
    }

    /// Gives the node the result of a job.
    fn give_result(&mut self, host: &mut Host, job: DiskJob, done: Done, cause: u64) {
        let recorded = |kind, input| RecordedInput::new(Some(cause), kind, input);
        match (job, done.input) {
            (DiskJob::ReadLog { read, .. }, Some(NodeInput::LogRead { entries, .. })) => {
                let input = NodeInput::LogRead { read, entries: entries.clone() };
                self.enqueue(host, recorded(RecordKind::LogRead { read, entries }, input));
            }
            (DiskJob::ReserveSpace, input) => self.give_space(host, input, Some(cause)),
            (DiskJob::Snapshot(job), input) => match (about_snapshot(&job, input.as_ref(), done.durable), input) {
                (Some(kind), Some(input)) => self.enqueue(host, recorded(kind, input)),
                (Some(kind), None) => {
                    self.emit(Some(cause), Some(host.id), kind);
                }
                (None, _) => {}
            },
            (DiskJob::Compact { .. } | DiskJob::ReadLog { .. }, _) => {}
        }
    }

    /// Notifies the node about space, if that has changed.
    fn give_space(&mut self, host: &mut Host, input: Option<NodeInput>, cause: Option<u64>) {
        if let Some(NodeInput::Space { is_low }) = input {
            let kind = RecordKind::SpaceTold { is_low, task: Unhashed(host.disk_tasks()) };
            self.enqueue(host, RecordedInput::new(cause, kind, NodeInput::Space { is_low }));
        }
    }

    /// Begins the use of a reserve, if the node keeps one: the node's first input says whether space is low, and its
    /// disk preallocates.
    pub(crate) fn announce_reserve(&mut self, host: &mut Host) {
        let bytes = host.reserve_bytes();
        let Some(process) = host.process.as_mut().filter(|_| bytes > 0) else { return };
        let input = process.executor.start(&process.store);
        let kept = self.emit(None, Some(host.id), RecordKind::ReserveKept { bytes });
        self.give_space(host, input, Some(kept));
        self.wake(host);
        self.serve_disk(host);
    }

    /// Handles a write of a call: it joins the group of waiting writes.
    pub(super) fn persist(&mut self, host: &mut Host, input: u64, write: Write) {
        let asked = self.emit(Some(input), Some(host.id), RecordKind::Asked { write: write.clone() });
        self.configurations.asked(&write);
        let Some(process) = &mut host.process else { return };
        let (role, term) = (process.node.raft().role(), process.node.raft().term());
        process.mirror(&write, role, term);
        process.queue.push_write(write, asked);
        self.serve_disk(host);
    }

    pub(super) fn push_job(&mut self, host: &mut Host, input: u64, job: DiskJob) {
        let Some(process) = &mut host.process else { return };
        let kind = match &job {
            DiskJob::ReadLog { read, first, last, max_bytes } => {
                Some(RecordKind::ReadAsked { read: *read, first: *first, last: *last, max_bytes: *max_bytes })
            }
            DiskJob::ReserveSpace => Some(RecordKind::SpaceAsked),
            DiskJob::Compact { before } => Some(RecordKind::Compacted { before: *before }),
            DiskJob::Snapshot(SnapshotJob::Load { meta }) => {
                process.wanted = Some(meta.last);
                Some(RecordKind::SnapshotWanted { meta: meta.clone() })
            }
            DiskJob::Snapshot(SnapshotJob::Write { file: SnapshotFile::Own, meta, offset: 0, .. }) => {
                Some(RecordKind::SnapshotTaken { meta: meta.clone() })
            }
            DiskJob::Snapshot(
                SnapshotJob::Write { .. }
                | SnapshotJob::Read { .. }
                | SnapshotJob::Verify { .. }
                | SnapshotJob::Drop { .. }
                | SnapshotJob::Remove { .. },
            ) => None,
        };
        let asked = kind.map_or(input, |kind| self.emit(Some(input), Some(host.id), kind));
        process.queue.push_job(job, asked);
        self.serve_disk(host);
    }
}

/// The record of a finished job about snapshots.
fn about_snapshot(job: &SnapshotJob, input: Option<&NodeInput>, durable: bool) -> Option<RecordKind> {
    match (job, input) {
        (SnapshotJob::Drop { last }, _) => Some(RecordKind::SnapshotDropped { last: *last }),
        (SnapshotJob::Remove { last }, _) => Some(RecordKind::SnapshotRemoved { last: *last }),
        (SnapshotJob::Verify { last }, _) => Some(RecordKind::SnapshotChecked { last: *last }),
        (SnapshotJob::Write { file, meta, is_last, .. }, Some(NodeInput::SnapshotWritten { end, outcome, .. })) => {
            let (file, end, last) = (*file, *end, meta.last);
            Some(match (outcome, file) {
                (WriteOutcome::Done, _) if !is_last => RecordKind::SnapshotGrown { file, last, end },
                (WriteOutcome::Done, SnapshotFile::Own) => RecordKind::SnapshotSaved { meta: meta.clone(), durable },
                (WriteOutcome::Done, SnapshotFile::Received) => {
                    RecordKind::SnapshotReceived { meta: meta.clone(), durable }
                }
                (outcome, _) => RecordKind::SnapshotNotWritten { file, last, outcome: outcome.clone() },
            })
        }
        (SnapshotJob::Read { .. }, Some(NodeInput::SnapshotRead { to, last, offset, chunk })) => {
            let bytes = chunk.as_ref().map(|chunk| chunk.bytes.len() as u64);
            Some(RecordKind::SnapshotRead { to: *to, last: *last, offset: *offset, bytes })
        }
        (SnapshotJob::Load { meta }, Some(_)) => Some(RecordKind::SnapshotLoaded { meta: meta.clone() }),
        (SnapshotJob::Write { .. } | SnapshotJob::Read { .. } | SnapshotJob::Load { .. }, _) => None,
    }
}

fn execute(process: &mut Process, job: &DiskJob) -> Result<Done, StoreError> {
    let before = process.store.disk().operations();
    let input = process.executor.execute(&mut process.store, job)?;
    Ok(Done { input, durable: process.store.disk().is_durable_after(before) })
}
