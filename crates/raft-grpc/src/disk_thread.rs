//! The thread that owns the store: all writes that wait are one group, made durable by one sync. Whatever else is asked of
//! the store comes after the writes that wait, in the order in which it was asked.
//!
//! When nothing waits the store makes room ahead. Whether there is enough is told before what is durable.
//!
//! While the disk works the next group gathers. How many bytes can wait is the core's business, so the queue itself needs
//! no limit. This file must not know what the writes say.

use crate::failure::Failure;
use crate::inbox::Inbox;
use bytes::Bytes;
use raft_core::{EntryId, LogIndex, ReadId, SnapshotMeta, Write, WriteId};
use raft_node::NodeInput;
use raft_store::{Disk, Lookout, Space, Store, StoreError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What can be asked of the store apart from writes. Any of it may come after a write that was asked for later: the node
/// waits for an answer before it names a file, and what it reads back is durable.
#[derive(Debug)]
pub(crate) enum Job {
    /// Read entries back for the node.
    Read { read: ReadId, first: LogIndex, last: LogIndex, max_bytes: u64 },
    /// Entries before this index are needed no more.
    Compact { before: LogIndex },
    /// Save this node's own snapshot.
    Save { meta: SnapshotMeta, data: Bytes },
    /// Load a snapshot for the node.
    Load { meta: SnapshotMeta },
    /// Save a snapshot of a peer, and say what came of it.
    Keep { meta: SnapshotMeta, data: Bytes, kept: oneshot::Sender<Result<(), StoreError>> },
    /// Load a snapshot for a peer, if it is still there.
    Fetch { last: EntryId, fetched: oneshot::Sender<Option<Bytes>> },
    /// No write will name this snapshot.
    Remove { last: EntryId },
    /// Try to get room, and say whether there is enough.
    Space,
}

/// Writes and jobs that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    jobs: Vec<Job>,
    closed: bool,
}

impl DiskQueue {
    /// One more write, after all before it.
    pub(crate) fn push(&self, write: Write) {
        self.lock().writes.push(write);
        self.arrived.notify_one();
    }

    /// One more job, after all before it.
    pub(crate) fn ask(&self, job: Job) {
        self.lock().jobs.push(job);
        self.arrived.notify_one();
    }

    /// The disk's thread ends once nothing waits any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// All that waits; if `patient`, waits for something. False: nothing waits, and the queue is closed.
    fn take(&self, writes: &mut Vec<Write>, jobs: &mut Vec<Job>, patient: bool) -> bool {
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
            match job {
                Job::Space => {
                    let word = alarm.lookout.ask(store).map_err(failed)?;
                    inbox.report(NodeInput::Space { is_low: word == Space::Low });
                    alarm.log(word);
                }
                job => carry_out(store, job, inbox).map_err(failed)?,
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

fn carry_out<D: Disk>(store: &mut Store<D>, job: Job, inbox: &Inbox) -> Result<(), StoreError> {
    match job {
        Job::Read { read, first, last, max_bytes } => {
            let entries = store.read(first, last, max_bytes)?;
            inbox.report(NodeInput::LogRead { read, entries });
        }
        Job::Compact { before } => store.compact(before)?,
        Job::Save { meta, data } => {
            let index = meta.last.index;
            match store.save_snapshot(&meta, &data) {
                Ok(()) => inbox.report(NodeInput::SnapshotSaved { index }),
                Err(error) if error.nothing_is_lost() => {
                    tracing::error!("the snapshot of {} is not saved: {error}", meta.last);
                    inbox.report(NodeInput::SnapshotNotSaved { index });
                }
                Err(error) => return Err(error),
            }
        }
        Job::Load { meta } => match store.load_snapshot(meta.last) {
            Ok(data) => inbox.report(NodeInput::SnapshotLoaded { meta, data }),
            // A newer one is in force already, and the node is about to ask for that.
            Err(StoreError::NoSnapshot { .. }) => {}
            Err(error) => return Err(error),
        },
        Job::Keep { meta, data, kept } => {
            let result = store.save_snapshot(&meta, &data);
            // Whoever asked may have gone; the failure of a disk is told by the end of the process.
            match result {
                Err(error) if !error.nothing_is_lost() => {
                    let _ = kept.send(Err(error.clone()));
                    return Err(error);
                }
                result => drop(kept.send(result)),
            }
        }
        Job::Fetch { last, fetched } => match store.load_snapshot(last) {
            Ok(data) => drop(fetched.send(Some(data))),
            Err(StoreError::NoSnapshot { .. }) => drop(fetched.send(None)),
            Err(error) => return Err(error),
        },
        Job::Remove { last } => store.remove_snapshot(last)?,
        // The alarm has answered it.
        Job::Space => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Configuration, NodeId};
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
        let (fetched, [mut kept_data, mut removed_data]) = {
            let (first, kept_data) = oneshot::channel();
            let (second, removed_data) = oneshot::channel();
            ([first, second], [kept_data, removed_data])
        };
        let [first, second] = fetched;
        let (kept, mut saved) = oneshot::channel();
        let data = Bytes::from_static(b"data");
        queue.ask(Job::Read { read: ReadId(1), first: LogIndex(1), last: LogIndex(1), max_bytes: 0 });
        queue.ask(Job::Keep { meta: meta(1), data: data.clone(), kept });
        queue.ask(Job::Fetch { last: meta(1).last, fetched: first });
        queue.ask(Job::Remove { last: meta(1).last });
        queue.ask(Job::Fetch { last: meta(1).last, fetched: second });
        queue.ask(Job::Load { meta: meta(1) });
        queue.ask(Job::Save { meta: meta(2), data: data.clone() });
        queue.ask(Job::Load { meta: meta(2) });
        let write = Write::bootstrap(meta(1).configuration);
        queue.push(write.clone());
        queue.close();
        let alarm = Alarm::new(&store, "here", &inbox);
        run(&mut store, &queue, alarm, &inbox).unwrap();
        let batch = inbox.take(None);
        assert_eq!(batch.persisted, Some(write.id));
        let expected = [
            NodeInput::LogRead { read: ReadId(1), entries: write.entries },
            NodeInput::SnapshotSaved { index: LogIndex(2) },
            NodeInput::SnapshotLoaded { meta: meta(2), data: data.clone() },
        ];
        assert_eq!(
            batch.reports.iter().map(|report| &report.input).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        assert_eq!(saved.try_recv(), Ok(Ok(())));
        assert_eq!((kept_data.try_recv(), removed_data.try_recv()), (Ok(Some(data)), Ok(None)));
    }
}
