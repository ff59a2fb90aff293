//! Carrying out what a process wants from its disk, in simulated time, and giving its node what comes of it.
//!
//! Which task is next is decided where every host asks ([`raft_node::DiskQueue`]). A job does its work when it begins, or in
//! the case of reading perhaps when it ends; a group of writes is synced when it ends. A crash meanwhile finds the disk as the
//! work has left it.

// A new kind of input, output or job is decided about here, not lost.
#![warn(clippy::wildcard_enum_match_arm)]

use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::record::RecordKind;
use crate::rng::Site;
use crate::world::host::{Host, Process, RecordedInput, newest_segment};
use crate::world::working::{Done, Working};
use raft_core::{NodeId, SnapshotMeta, Write};
use raft_node::{DiskJob, DiskTask, NodeInput, SnapshotFile, SnapshotJob, WriteOutcome};
use raft_store::StoreError;

const DISK: Site = Site::new("disk");
const JOB: Site = Site::new("disk job");
const JOB_EARLY: Site = Site::new("disk job reads early");

impl World {
    /// The disk begins with what is next, if it is free.
    pub(super) fn serve_disk(&mut self, node: NodeId) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        if process.working.is_some() || process.disk_looks_later {
            return;
        }
        match process.queue.take() {
            None => self.preallocate(node),
            Some(DiskTask::Write { writes, tag }) => self.begin_group(node, writes, tag),
            Some(DiskTask::Execute { job, tag }) => self.begin_job(node, job, tag),
            Some(DiskTask::RegisterPeer { peer, disk, tag }) => {
                match process.executor.register_peer(&mut process.store, peer, disk) {
                    Ok(found) => self.work(node, Working::Peer { peer, disk, found, cause: tag }, JOB),
                    Err(error) => self.store_failed(node, &error.to_string()),
                }
            }
        }
    }

    /// Hands a group of writes to the disk: readable at once, durable when the disk is done.
    fn begin_group(&mut self, node: NodeId, writes: Vec<Write>, asked: u64) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let Some(newest) = writes.last().map(|write| write.id) else { return };
        if let Err(error) = process.executor.write(&mut process.store, &writes) {
            return self.store_failed(node, &error.to_string());
        }
        let disk_mark = process.store.disk().operations();
        let wrote = self.emit(Some(asked), Some(node), RecordKind::Wrote { writes, disk_mark });
        self.work(node, Working::Group { newest, wrote }, DISK);
    }

    fn begin_job(&mut self, node: NodeId, job: DiskJob, cause: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        // Reading sees what is there when it begins, or when it ends: they differ if the disk fails or is damaged meanwhile.
        let is_early = self.choices.draw(JOB_EARLY, node.0, host.jobs + 1).chance_ppm(500_000);
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
        let done = if reads && !is_early { Ok(None) } else { execute(process, &job).map(Some) };
        match done {
            Ok(done) => {
                let (job, done) = (Box::new(job), done.map(Box::new));
                self.work(node, Working::Job { job, done, cause }, JOB);
            }
            Err(error) => self.store_failed(node, &error.to_string()),
        }
    }

    /// Plans the end of a task.
    pub(super) fn work(&mut self, node: NodeId, working: Working, site: Site) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let n = match &working {
            Working::Group { .. } => &mut host.groups,
            Working::Peer { .. } | Working::Job { .. } => &mut host.jobs,
            Working::Preallocation { .. } => &mut host.preallocations,
        };
        *n += 1;
        let (n, incarnation) = (*n, host.incarnation);
        let slow = host.slow.clone();
        if let Some(process) = &mut host.process {
            process.working = Some(working);
        }
        let base = &self.scenario.disk.latency;
        let latency = self.choices.draw(site, node.0, n).in_range(slow.as_ref().unwrap_or(base));
        if slow.is_some() && latency > base.end {
            self.fault_counts.matter(Fault::SlowDisk);
        }
        let latency = latency.saturating_add(self.moments.next(node).unwrap_or_default());
        self.plan_after(latency, Event::DiskDone { node, incarnation });
    }

    /// The disk has finished a task: the node is given what came of it, and the next begins.
    pub(super) fn disk_done(&mut self, node: NodeId, incarnation: u64) {
        let Some(process) = self.process_of(node, incarnation) else { return };
        let Some(working) = process.working.clone() else { return };
        // No call need follow, and what is recorded next is of this node.
        let view = self.hosts.get(&node).and_then(Host::view);
        self.emissions.push(Emission::View(view));
        match working {
            Working::Group { newest, wrote } => {
                let Some(process) = self.process_of(node, incarnation) else { return };
                let known_durable = newest_segment(process.store.disk());
                let given = match process.executor.sync(&mut process.store, newest) {
                    Ok(given) => given,
                    Err(error) => return self.store_failed(node, &error.to_string()),
                };
                let disk_durable = process.store.disk().durable_through();
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.vouched = known_durable;
                }
                for input in given.into_iter().flatten() {
                    let kind = if let NodeInput::Space { is_low } = input {
                        RecordKind::SpaceTold { is_low }
                    } else {
                        RecordKind::Persisted { write: newest, disk_durable }
                    };
                    self.give(node, RecordedInput::new(Some(wrote), kind, input));
                }
            }
            Working::Peer { peer, disk, found, cause } => {
                self.emit(Some(cause), Some(node), RecordKind::PeerRegistered { peer, disk, found });
                self.registered(node, peer, disk, found);
            }
            Working::Job { job, done, cause } => {
                let done = done.map(|done| *done);
                let Some(done) = self.finish_job(node, incarnation, &job, done) else { return };
                self.give_answer(node, *job, done, cause);
            }
            Working::Preallocation { input } => self.give_space(node, input, None),
        }
        // The node's thread is faster than the disk's, if it is not at something: what the call asks for joins what waits.
        self.wake(node);
        if let Some(process) = self.process_of(node, incarnation) {
            process.working = None;
            self.got_over(node);
            self.serve_disk(node);
        }
    }

    /// What a job came to, if the process goes on.
    fn finish_job(&mut self, node: NodeId, incarnation: u64, job: &DiskJob, done: Option<Done>) -> Option<Done> {
        let process = self.process_of(node, incarnation)?;
        let done = match done.map_or_else(|| execute(process, job), Ok) {
            Ok(done) => done,
            Err(error) => {
                self.store_failed(node, &error.to_string());
                return None;
            }
        };
        // A newer one may have taken its place, and then that was asked for meanwhile.
        let wants = |meta: &SnapshotMeta| process.wanted == Some(meta.last);
        let gone = done.input.is_none();
        if gone && matches!(job, DiskJob::Snapshot(SnapshotJob::Load { meta }) if wants(meta)) {
            self.store_failed(node, "the snapshot that is to be loaded is gone");
            return None;
        }
        Some(done)
    }

    /// Gives the node what a job has come to.
    fn give_answer(&mut self, node: NodeId, job: DiskJob, done: Done, cause: u64) {
        let given = |kind, input| RecordedInput::new(Some(cause), kind, input);
        match (job, done.input) {
            (DiskJob::ReadLog { read, .. }, Some(NodeInput::LogRead { entries, .. })) => {
                let input = NodeInput::LogRead { read, entries: entries.clone() };
                self.give(node, given(RecordKind::LogRead { read, entries }, input));
            }
            (DiskJob::ReserveSpace, input) => self.give_space(node, input, Some(cause)),
            (DiskJob::Snapshot(job), input) => {
                let kind = about_snapshot(&job, input.as_ref(), done.durable);
                match (kind, input) {
                    (Some(kind), Some(input)) => self.give(node, given(kind, input)),
                    (Some(kind), None) => {
                        self.emit(Some(cause), Some(node), kind);
                    }
                    (None, _) => {}
                }
            }
            (DiskJob::Compact { .. } | DiskJob::ReadLog { .. }, _) => {}
        }
    }

    /// A write that was asked for in a call: it joins the group of those that wait.
    pub(super) fn persist(&mut self, node: NodeId, input: u64, write: Write) {
        let asked = self.emit(Some(input), Some(node), RecordKind::Asked { write: write.clone() });
        self.configurations.asked(&write);
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let (role, term) = (process.node.raft().role(), process.node.raft().term());
        process.mirror(&write, role, term);
        process.queue.push_write(write, asked);
        self.serve_disk(node);
    }

    /// A job that was asked for in a call.
    pub(super) fn push_job(&mut self, node: NodeId, input: u64, job: DiskJob) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
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
        let asked = kind.map_or(input, |kind| self.emit(Some(input), Some(node), kind));
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        process.queue.push_job(job, asked);
        self.serve_disk(node);
    }
}

/// What a finished job about snapshots is recorded as.
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

/// Carries out a job.
fn execute(process: &mut Process, job: &DiskJob) -> Result<Done, StoreError> {
    let before = process.store.disk().operations();
    let input = process.executor.execute(&mut process.store, job)?;
    Ok(Done { input, durable: process.store.disk().is_durable_after(before) })
}
