//! The thread that owns the store: all writes that wait are one group, made durable by one sync. Whatever else is asked of
//! the store comes after the writes that wait, in the order in which it was asked.
//!
//! When nothing waits the store makes room ahead. Whether there is enough is told before what is durable.
//!
//! While the disk works the next group gathers. How many bytes can wait is the core's business, so the queue itself needs
//! no limit. This file must not know what the writes say.

use crate::failure::Failure;
use crate::inbox::Inbox;
use raft_core::{Write, WriteId};
use raft_node::{NodeInput, NodeOutput, SnapshotOutcome, carry_out_on_disk};
use raft_store::{Disk, Lookout, Space, Store, StoreError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Writes and jobs that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    /// What else the node asks of its disk. Any of it may come after a write that was asked for later: the node waits for an
    /// answer before it names a file, and what it reads back is durable.
    jobs: Vec<NodeOutput>,
    closed: bool,
}

impl DiskQueue {
    /// One more write, after all before it.
    pub(crate) fn push(&self, write: Write) {
        self.lock().writes.push(write);
        self.arrived.notify_one();
    }

    /// One more job, after all before it.
    pub(crate) fn ask(&self, job: NodeOutput) {
        self.lock().jobs.push(job);
        self.arrived.notify_one();
    }

    /// The disk's thread ends once nothing waits any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// All that waits; if `patient`, waits for something. False: nothing waits, and the queue is closed.
    fn take(&self, writes: &mut Vec<Write>, jobs: &mut Vec<NodeOutput>, patient: bool) -> bool {
        let nothing = |waiting: &Waiting| waiting.writes.is_empty() && waiting.jobs.is_empty();
        let waits = |waiting: &mut Waiting| patient && nothing(waiting) && !waiting.closed;
        let mut waiting = self.arrived.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let goes_on = !nothing(&waiting) || !waiting.closed;
        writes.clear();
        jobs.clear();
        std::mem::swap(writes, &mut waiting.writes);
        std::mem::swap(jobs, &mut waiting.jobs);
        goes_on
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the queue until it is closed and empty, and reports each group of writes once it is durable, each job once it is
/// done. The alarm has told what room there was at the start.
///
/// # Errors
/// The store failed: nothing is known of what was being written, and the process must end.
pub(crate) fn run<D: Disk>(
    store: &mut Store<D>,
    queue: &DiskQueue,
    mut alarm: Alarm,
    inbox: &Inbox,
) -> Result<(), Failure> {
    let place = alarm.place.clone();
    let failed = |error: StoreError| Failure::store(&place, &error);
    let (mut group, mut jobs) = (Vec::new(), Vec::new());
    while queue.take(&mut group, &mut jobs, !alarm.lookout.tends(store)) {
        let newest: Option<WriteId> = group.last().map(|write: &Write| write.id);
        if newest.is_none() && jobs.is_empty() {
            let word = alarm.lookout.tend(store).map_err(failed)?;
            alarm.tell(word, inbox);
            continue;
        }
        if let Some(newest) = newest {
            let word = store.write(&group).and_then(|()| alarm.lookout.sync(store)).map_err(failed)?;
            alarm.tell(word, inbox);
            inbox.persisted(newest);
        }
        for job in jobs.drain(..) {
            if job == NodeOutput::AskForSpace {
                let word = alarm.lookout.ask(store).map_err(failed)?;
                inbox.report(NodeInput::Space { is_low: word == Space::Low });
                alarm.log(word);
            } else {
                carry_out(store, &job, inbox).map_err(failed)?;
            }
        }
        alarm.lookout.stir();
    }
    Ok(())
}

/// Tells the node, and whoever reads the log, of the disk's space. When, is the lookout's business.
#[derive(Debug)]
pub(crate) struct Alarm {
    place: String,
    lookout: Lookout,
    /// What the log says.
    is_low: bool,
}

impl Alarm {
    /// Tells of the room there is before the node's first call: it counts on enough until it hears otherwise.
    pub(crate) fn new<D: Disk>(store: &Store<D>, place: &str, inbox: &Inbox) -> Self {
        let mut alarm = Self { place: place.to_owned(), lookout: Lookout::default(), is_low: false };
        let word = alarm.lookout.news(store);
        alarm.tell(word, inbox);
        alarm
    }

    fn tell(&mut self, word: Option<Space>, inbox: &Inbox) {
        let Some(word) = word else { return };
        inbox.report(NodeInput::Space { is_low: word == Space::Low });
        self.log(word);
    }

    fn log(&mut self, word: Space) {
        let was_low = std::mem::replace(&mut self.is_low, word == Space::Low);
        let place = &self.place;
        match (was_low, self.is_low) {
            (false, true) => {
                tracing::error!(
                    "{place}: the disk is full: this node takes no commands until there is space. Free some"
                );
            }
            (true, false) => tracing::info!("{place}: there is space again"),
            _ => {}
        }
    }
}

fn carry_out<D: Disk>(store: &mut Store<D>, job: &NodeOutput, inbox: &Inbox) -> Result<(), StoreError> {
    let answer = carry_out_on_disk(store, job)?;
    if let Some(NodeInput::SnapshotWritten { last, outcome: SnapshotOutcome::NoSpace, .. }) = &answer {
        tracing::error!("the snapshot of {last} is not saved: the disk has no space for it");
    }
    answer.into_iter().for_each(|answer| inbox.report(answer));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use raft_core::{Configuration, EntryId, LogIndex, NodeId, ReadId, SnapshotMeta};
    use raft_node::SnapshotFile;
    use raft_store::{Files, StoreOptions};

    fn meta(index: u64) -> SnapshotMeta {
        let configuration = Configuration::of_voters([NodeId(1)]);
        SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) }
    }

    #[test]
    fn jobs_are_done_in_order_after_the_writes_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), true).unwrap();
        let (mut store, _) =
            Store::open(files, StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 0 }).unwrap();
        let (queue, inbox) = (DiskQueue::default(), Inbox::default());
        let data = Bytes::from_static(b"data");
        let write_snapshot = |index, offset, bytes: &Bytes, is_last| {
            let (file, meta) = (SnapshotFile::Own, meta(index));
            NodeOutput::WriteSnapshot { file, meta, offset, bytes: bytes.clone(), is_last }
        };
        let read = |index| NodeOutput::ReadSnapshot { to: NodeId(2), last: meta(index).last, offset: 0, max_bytes: 0 };
        let (first, last) = (LogIndex(1), LogIndex(1));
        queue.ask(NodeOutput::ReadLog { read: ReadId(1), first, last, max_bytes: 0 });
        queue.ask(write_snapshot(1, 0, &data, true));
        queue.ask(NodeOutput::RemoveSnapshot { last: meta(1).last });
        queue.ask(read(1));
        queue.ask(NodeOutput::LoadSnapshot { meta: meta(1) });
        queue.ask(write_snapshot(2, 0, &data, false));
        queue.ask(write_snapshot(2, 4, &Bytes::new(), true));
        queue.ask(NodeOutput::LoadSnapshot { meta: meta(2) });
        let write = Write::bootstrap(meta(1).configuration);
        queue.push(write.clone());
        queue.close();
        let alarm = Alarm::new(&store, "here", &inbox);
        run(&mut store, &queue, alarm, &inbox).unwrap();
        let batch = inbox.take(None);
        assert_eq!(batch.persisted, Some(write.id));
        let written = |index, end| {
            let (file, outcome) = (SnapshotFile::Own, SnapshotOutcome::Done);
            NodeInput::SnapshotWritten { file, last: meta(index).last, end, outcome }
        };
        let expected = [
            NodeInput::LogRead { read: ReadId(1), entries: write.entries },
            written(1, 4),
            NodeInput::SnapshotRead { to: NodeId(2), last: meta(1).last, offset: 0, piece: None },
            written(2, 4),
            written(2, 4),
            NodeInput::SnapshotLoaded { meta: meta(2), data },
        ];
        assert_eq!(
            batch.reports.iter().map(|report| &report.input).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
    }
}
