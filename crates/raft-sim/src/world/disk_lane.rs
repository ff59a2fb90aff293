//! Carrying out what a process wants from its disk, in simulated time, and telling the node when it is done.
//!
//! A job does its work when it begins, or in the case of reading perhaps when it ends; a group of writes is synced when it
//! ends. A crash meanwhile finds the disk as the work has left it.

use super::call::Given;
use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::host::{Host, Process, newest_segment};
use crate::lane::{Done, Job, Waiting, Working};
use crate::record::What;
use crate::rng::Site;
use raft_core::{Entries, LogIndex, NodeId, ReadId, SnapshotMeta, Write};
use raft_node::{NodeInput, NodeOutput, SnapshotFile, SnapshotOutcome, carry_out_on_disk};
use raft_store::StoreError;
use std::time::Duration;

const DISK: Site = Site::new("disk");
const JOB: Site = Site::new("disk job");
const JOB_EARLY: Site = Site::new("disk job reads early");
const READ: Site = Site::new("log read");
const READ_EARLY: Site = Site::new("log read early");

/// A question for entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(super) read: ReadId,
    pub(super) first: LogIndex,
    pub(super) last: LogIndex,
    pub(super) max_bytes: u64,
}

impl World {
    /// The disk is asked for something; it begins with it when it is free.
    pub(super) fn ask_disk(&mut self, node: NodeId, job: Job, cause: u64) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        process.waiting.push_back(Waiting { job, cause });
        if process.working.is_none() {
            self.begin_job(node);
        }
    }

    /// The disk begins with what waits longest, all writes that wait together as one group.
    pub(super) fn begin_job(&mut self, node: NodeId) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let Some(Waiting { job, mut cause }) = process.waiting.pop_front() else { return self.tend(node) };
        let Job::Write(first) = job else { return self.begin(node, job, cause) };
        let mut writes = vec![first];
        while let Some(Waiting { job: Job::Write(_), .. }) = process.waiting.front() {
            if let Some(Waiting { job: Job::Write(write), cause: newer }) = process.waiting.pop_front() {
                writes.push(write);
                cause = newer;
            }
        }
        self.begin_group(node, writes, cause);
    }

    /// Hands a group of writes to the disk: readable at once, durable when the disk is done.
    fn begin_group(&mut self, node: NodeId, writes: Vec<Write>, asked: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        let Some(newest) = writes.last().map(|write| write.id) else { return };
        if let Err(error) = process.store.write(&writes) {
            return self.store_failed(node, &error.to_string());
        }
        let disk_mark = process.store.disk().operations();
        host.groups += 1;
        let n = host.groups;
        let wrote = self.emit(Some(asked), Some(node), What::Wrote { writes, disk_mark });
        self.work(node, Working::Group { newest, wrote }, DISK, n);
    }

    fn begin(&mut self, node: NodeId, job: Job, cause: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        host.jobs += 1;
        let n = host.jobs;
        // Reading sees what is there when it begins, or when it ends: both are legal, and differ.
        let early = self.choices.draw(JOB_EARLY, node.0, n).chance_ppm(500_000);
        let output = match job {
            Job::Write(write) => return self.begin_group(node, vec![write], cause),
            Job::Ask(output) => output,
            Job::Space => {
                return match process.lookout.ask(&mut process.store) {
                    Ok(word) => self.work(node, Working::Space { word, cause }, JOB, n),
                    Err(error) => self.store_failed(node, &error.to_string()),
                };
            }
        };
        let is_late = matches!(output, NodeOutput::LoadSnapshot { .. } | NodeOutput::ReadSnapshot { .. }) && !early;
        let done = if is_late { Ok(None) } else { carry_out(process, &output).map(Some) };
        match done {
            Ok(done) => {
                let (output, done) = (Box::new(output), done.map(Box::new));
                self.work(node, Working::Ask { output, done, cause }, JOB, n);
            }
            Err(error) => self.store_failed(node, &error.to_string()),
        }
    }

    /// Plans the end of a job.
    pub(super) fn work(&mut self, node: NodeId, working: Working, site: Site, n: u64) {
        let latency = self.disk_latency(node, site, n);
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let incarnation = host.incarnation;
        if let Some(process) = &mut host.process {
            process.working = Some(working);
        }
        self.plan_after(latency, Event::DiskDone { node, incarnation });
    }

    fn disk_latency(&mut self, node: NodeId, site: Site, n: u64) -> Duration {
        let base = self.scenario.disk.latency.clone();
        let slow = self.hosts.get(&node).and_then(|host| host.slow.clone());
        let latency = self.choices.draw(site, node.0, n).in_range(slow.as_ref().unwrap_or(&base));
        if slow.is_some() && latency > base.end {
            self.ledger.matter(Fault::SlowDisk);
        }
        latency
    }

    /// The disk has finished a job: tell the node, begin the next.
    pub(super) fn disk_done(&mut self, node: NodeId, incarnation: u64) {
        let Some(process) = self.process_of(node, incarnation) else { return };
        let Some(working) = process.working.clone() else { return };
        if !matches!(working, Working::Group { .. }) {
            // No call need follow, and what is recorded next is of this node.
            let view = self.hosts.get(&node).and_then(Host::view);
            self.emissions.push(Emission::View(view));
        }
        let Some(process) = self.process_of(node, incarnation) else { return };
        let is_tending = matches!(working, Working::Tend { .. });
        match working {
            Working::Group { newest, wrote } => {
                let vouched = newest_segment(process.store.disk());
                let word = match process.lookout.sync(&mut process.store) {
                    Ok(word) => word,
                    Err(error) => return self.store_failed(node, &error.to_string()),
                };
                let disk_durable = process.store.disk().durable_through();
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.vouched = vouched;
                }
                let what = What::Persisted { write: newest, disk_durable };
                let persisted = Given::new(Some(wrote), what, NodeInput::Persisted { write: newest });
                self.durable(node, word, persisted, wrote);
            }
            Working::Ask { output, done, cause } => {
                let done = done.map(|done| *done);
                let Some(done) = self.finish_job(node, incarnation, &output, done) else { return };
                self.tell(node, *output, done, cause);
            }
            Working::Space { word, cause } => self.tell_of_space(node, Some(word), Some(cause)),
            Working::Tend { word } => self.tell_of_space(node, word, None),
        }
        // Only now is the disk free: what the call asked for joins what has been waiting.
        if let Some(process) = self.process_of(node, incarnation) {
            process.working = None;
            if !is_tending {
                process.lookout.stir();
            }
            self.got_over(node);
            self.begin_job(node);
        }
    }

    /// What a job came to, if the process goes on.
    fn finish_job(&mut self, node: NodeId, incarnation: u64, output: &NodeOutput, done: Option<Done>) -> Option<Done> {
        let process = self.process_of(node, incarnation)?;
        let done = match done.map_or_else(|| carry_out(process, output), Ok) {
            Ok(done) => done,
            Err(error) => {
                self.store_failed(node, &error.to_string());
                return None;
            }
        };
        // A newer one may have taken its place, and then that was asked for meanwhile.
        let wants = |meta: &SnapshotMeta| process.wanted == Some(meta.last);
        if done.input.is_none() && matches!(output, NodeOutput::LoadSnapshot { meta } if wants(meta)) {
            self.store_failed(node, "the snapshot that is to be loaded is gone");
            return None;
        }
        Some(done)
    }

    /// Tells the node what a job has come to.
    fn tell(&mut self, node: NodeId, output: NodeOutput, done: Done, cause: u64) {
        if let Some(what) = tidied(&output) {
            self.emit(Some(cause), Some(node), what);
            return;
        }
        let what = match (output, &done.input) {
            (
                NodeOutput::WriteSnapshot { file, meta, is_last, .. },
                Some(NodeInput::SnapshotWritten { end, outcome, .. }),
            ) => {
                let (last, end, durable) = (meta.last, *end, done.durable);
                match (outcome, file) {
                    (SnapshotOutcome::Done, _) if !is_last => What::SnapshotGrown { file, last, end },
                    (SnapshotOutcome::Done, SnapshotFile::Own) => What::SnapshotSaved { meta, durable },
                    (SnapshotOutcome::Done, SnapshotFile::Received) => What::SnapshotReceived { meta, durable },
                    (outcome, _) => What::SnapshotNotWritten { file, last, outcome: outcome.clone() },
                }
            }
            (_, Some(NodeInput::SnapshotRead { to, last, offset, piece })) => {
                let bytes = piece.as_ref().map(|piece| piece.bytes.len() as u64);
                What::SnapshotRead { to: *to, last: *last, offset: *offset, bytes }
            }
            (NodeOutput::LoadSnapshot { meta }, Some(_)) => What::SnapshotLoaded { meta },
            _ => return,
        };
        if let Some(input) = done.input {
            self.call(node, vec![Given::new(Some(cause), what, input)]);
        }
    }

    /// The node asks for entries to be read back. That goes beside the lane and may overtake what waits there.
    pub(super) fn read_log(&mut self, node: NodeId, question: Question, cause: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.reads += 1;
        let (n, incarnation) = (host.reads, host.incarnation);
        let early = self.choices.draw(READ_EARLY, node.0, n).chance_ppm(500_000);
        let entries = if early {
            match self.entries_of(node, incarnation, question) {
                Some(Ok(entries)) => Some(entries),
                Some(Err(error)) => return self.store_failed(node, &error.to_string()),
                None => return,
            }
        } else {
            None
        };
        let latency = self.disk_latency(node, READ, n);
        self.plan_after(latency, Event::ReadDone { node, incarnation, question, entries, cause });
    }

    fn entries_of(
        &mut self,
        node: NodeId,
        incarnation: u64,
        question: Question,
    ) -> Option<Result<Entries, StoreError>> {
        let Question { first, last, max_bytes, .. } = question;
        Some(self.process_of(node, incarnation)?.store.read(first, last, max_bytes))
    }

    /// Entries have been read back.
    pub(super) fn read_done(
        &mut self,
        node: NodeId,
        incarnation: u64,
        question: Question,
        entries: Option<Entries>,
        cause: u64,
    ) {
        let entries = match entries.map(Ok).or_else(|| self.entries_of(node, incarnation, question)) {
            Some(Ok(entries)) if self.process_of(node, incarnation).is_some() => entries,
            Some(Err(error)) => return self.store_failed(node, &error.to_string()),
            _ => return,
        };
        let read = question.read;
        let what = What::LogRead { read, entries: entries.clone() };
        self.call(node, vec![Given::new(Some(cause), what, NodeInput::LogRead { read, entries })]);
    }

    /// What was asked for in a call, and is written at once or later, as one job each.
    pub(super) fn persist(&mut self, node: NodeId, input: u64, write: Write) {
        let asked = self.emit(Some(input), Some(node), What::Asked { write: write.clone() });
        self.configurations.asked(&write);
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let status = process.node.status();
        process.mirror(&write, status.role, status.term);
        self.ask_disk(node, Job::Write(write), asked);
    }
}

/// What has been done that the node is not told of.
fn tidied(output: &NodeOutput) -> Option<What> {
    Some(match *output {
        NodeOutput::DropSnapshot { last } => What::SnapshotDropped { last },
        NodeOutput::RemoveSnapshot { last } => What::SnapshotRemoved { last },
        NodeOutput::VerifySnapshot { last } => What::SnapshotChecked { last },
        _ => return None,
    })
}

/// Carries out a job.
fn carry_out(process: &mut Process, output: &NodeOutput) -> Result<Done, StoreError> {
    let before = process.store.disk().operations();
    let input = carry_out_on_disk(&mut process.store, output)?;
    Ok(Done { input, durable: process.store.disk().is_durable_after(before) })
}
