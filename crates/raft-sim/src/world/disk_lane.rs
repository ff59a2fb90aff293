//! Carrying out what a process wants from its disk, in simulated time, and telling the node when it is done.
//!
//! A job does its work when it begins, or in the case of reading perhaps when it ends; a group of writes is synced when it
//! ends. A crash meanwhile finds the disk as the work has left it.

use super::call::Given;
use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::host::{Host, Process, newest_segment};
use crate::lane::{Job, Waiting, Working};
use crate::record::What;
use crate::rng::Site;
use bytes::Bytes;
use raft_core::{Entries, EntryId, LogIndex, NodeId, ReadId, SnapshotMeta, Write};
use raft_node::NodeInput;
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
        let named = writes.iter().rev().find_map(|write| write.snapshot.as_ref());
        let snapshot = named.map(|taken| taken.meta.last);
        let wrote = self.emit(Some(asked), Some(node), What::Wrote { writes, disk_mark });
        self.work(node, Working::Group { newest, snapshot, wrote }, DISK, n);
    }

    fn begin(&mut self, node: NodeId, job: Job, cause: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        host.jobs += 1;
        let n = host.jobs;
        // Reading sees what is there when it begins, or when it ends: both are legal, and differ.
        let early = self.choices.draw(JOB_EARLY, node.0, n).chance_ppm(500_000);
        let not_saved = not_saved(&job, cause);
        let working = match job {
            Job::Write(write) => return self.begin_group(node, vec![write], cause),
            Job::Save { meta, data } => {
                save(process, &meta, &data).map(|durable| Working::Save { meta, durable, cause })
            }
            Job::Keep(arrived) => {
                save(process, &arrived.meta, &arrived.data).map(|durable| Working::Keep { arrived, durable, cause })
            }
            Job::Load { meta } => {
                let data = if early { load(process, meta.last) } else { Ok(None) };
                data.map(|data| Working::Load { meta, data, cause })
            }
            Job::Send(sending) => load(process, sending.meta.last).map(|data| Working::Send { sending, data, cause }),
            Job::Compact { before } => process.store.compact(before).map(|()| Working::Compact),
            Job::Space => process.lookout.ask(&mut process.store).map(|word| Working::Space { word, cause }),
        };
        let working = match (working, not_saved) {
            (Err(error), Some(not_saved)) if error.nothing_is_lost() => Ok(not_saved),
            (working, _) => working,
        };
        match working {
            Ok(working) => self.work(node, working, JOB, n),
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
        let calls = matches!(working, Working::Group { .. } | Working::Save { .. } | Working::Keep { .. });
        if !calls {
            // No call need follow, and what is recorded next is of this node.
            let view = self.hosts.get(&node).and_then(Host::view);
            self.emissions.push(Emission::View(view));
        }
        let Some(process) = self.process_of(node, incarnation) else { return };
        let is_tending = matches!(working, Working::Tend { .. });
        match working {
            Working::Group { newest, snapshot, wrote } => {
                let vouched = newest_segment(process.store.disk());
                let word = match process.lookout.sync(&mut process.store) {
                    Ok(word) => word,
                    Err(error) => return self.store_failed(node, &error.to_string()),
                };
                snapshot.into_iter().for_each(|snapshot| process.forget_older_snapshots(snapshot));
                let disk_durable = process.store.disk().durable_through();
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.vouched = vouched;
                }
                let what = What::Persisted { write: newest, disk_durable };
                let persisted = Given::new(Some(wrote), what, NodeInput::Persisted { write: newest });
                self.durable(node, word, persisted, wrote);
            }
            Working::Save { meta, durable, cause } => {
                let (last, input) = (meta.last, NodeInput::SnapshotSaved { index: meta.last.index });
                let what = What::SnapshotSaved { meta, durable };
                let named = self.call(node, vec![Given::new(Some(cause), what, input)]);
                self.delete_unless_named(node, incarnation, last, named == Some(last));
            }
            Working::Keep { arrived, durable, cause } => self.kept(node, incarnation, arrived, durable, cause),
            Working::Load { meta, data, cause } => {
                let data = data.map_or_else(|| load(process, meta.last), |data| Ok(Some(data)));
                match data {
                    Ok(Some(data)) => {
                        let what = What::SnapshotLoaded { meta: meta.clone() };
                        let input = NodeInput::SnapshotLoaded { meta, data };
                        self.call(node, vec![Given::new(Some(cause), what, input)]);
                    }
                    // A newer one has taken its place, and was asked for meanwhile.
                    Ok(None) if process.wanted != Some(meta.last) => {}
                    Ok(None) => return self.store_failed(node, "the snapshot that is to be loaded is gone"),
                    Err(error) => return self.store_failed(node, &error.to_string()),
                }
            }
            Working::Send { sending, data, cause } => self.depart(node, sending, data, cause),
            Working::Compact => {}
            Working::NotSaved { meta, arrived, cause } => self.not_saved(node, meta, arrived, cause),
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

    /// Deletes the file of a snapshot that no record has come to name. Another of that name may be in force.
    pub(super) fn delete_unless_named(&mut self, node: NodeId, incarnation: u64, last: EntryId, named: bool) {
        let Some(process) = self.process_of(node, incarnation).filter(|_| !named) else { return };
        let status = process.node.status();
        if status.snapshot == Some(last) || process.named.contains(&last) {
            return;
        }
        if let Err(error) = process.store.remove_snapshot(last) {
            return self.store_failed(node, &error.to_string());
        }
        self.emit(None, Some(node), What::SnapshotRemoved { last });
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

/// What becomes of a job if it is to keep a snapshot for which there is no space.
fn not_saved(job: &Job, cause: u64) -> Option<Working> {
    match job {
        Job::Save { meta, .. } => Some(Working::NotSaved { meta: meta.clone(), arrived: None, cause }),
        Job::Keep(arrived) => {
            Some(Working::NotSaved { meta: arrived.meta.clone(), arrived: Some(arrived.clone()), cause })
        }
        _ => None,
    }
}

/// Saves a snapshot; true if its file is durable, by the disk's word.
fn save(process: &mut Process, meta: &SnapshotMeta, data: &Bytes) -> Result<bool, StoreError> {
    let before = process.store.disk().operations();
    process.store.save_snapshot(meta, data)?;
    Ok(process.store.disk().is_durable_after(before))
}

/// The content of a snapshot; none if it is gone.
fn load(process: &mut Process, last: EntryId) -> Result<Option<Bytes>, StoreError> {
    match process.store.load_snapshot(last) {
        Ok(data) => Ok(Some(data)),
        Err(StoreError::NoSnapshot { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
