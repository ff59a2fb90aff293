//! The thread that owns the store: all writes that wait are one group, made durable by one sync. Whatever else is asked of
//! the store comes after the writes that wait, in the order in which it was asked; but what has to do with snapshots only
//! one piece at a time, and then whatever has come meanwhile goes first. So no snapshot stops writes.
//!
//! A peer's disk is remembered between two groups, and whoever accepts the peer waits for that.
//!
//! When nothing waits the store makes room ahead. Whether there is enough is told before what is durable.
//!
//! While the disk works the next group gathers. How many bytes can wait is the core's business, so the queue itself needs
//! no limit. This file must not know what the writes say.

use crate::failure::Failure;
use crate::inbox::Inbox;
use raft_core::{NodeId, Write, WriteId};
use raft_node::{NodeInput, NodeOutput, SnapshotFile, SnapshotOutcome, carry_out_on_disk};
use raft_store::{Acquaintance, Disk, DiskId, Lookout, Space, Store, StoreError};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Writes and jobs that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    jobs: Vec<NodeOutput>,
    /// Those that have to do with the files of snapshots, which no other job has.
    snapshots: VecDeque<NodeOutput>,
    meetings: Vec<Meeting>,
    closed: bool,
}

/// A peer that says on which disk it is; and who waits for what to make of that.
#[derive(Debug)]
struct Meeting {
    peer: NodeId,
    disk: DiskId,
    answer: oneshot::Sender<Acquaintance>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.jobs.is_empty() && self.snapshots.is_empty() && self.meetings.is_empty()
    }
}

impl DiskQueue {
    /// One more write, after all before it.
    pub(crate) fn push(&self, write: Write) {
        self.lock().writes.push(write);
        self.arrived.notify_one();
    }

    /// One more job of those that a node has for its disk. Any of it may come after a write that was asked for later: the
    /// node waits for an answer before it names a file, and what it reads back is durable.
    pub(crate) fn ask(&self, job: NodeOutput) {
        let mut waiting = self.lock();
        match job {
            NodeOutput::ReadLog { .. } | NodeOutput::Compact { .. } | NodeOutput::AskForSpace => waiting.jobs.push(job),
            _ => waiting.snapshots.push_back(job),
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Asks what to make of a peer that says on which disk it is; whom this node meets so is remembered when the answer comes.
    /// None: that cannot be done now.
    pub(crate) async fn meet(&self, peer: NodeId, disk: DiskId) -> Option<Acquaintance> {
        let (answer, acquaintance) = oneshot::channel();
        self.lock().meetings.push(Meeting { peer, disk, answer });
        self.arrived.notify_one();
        acquaintance.await.ok()
    }

    /// The disk's thread ends once nothing waits any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// All that waits, of the jobs for snapshots the first; if `patient`, waits for something. False: nothing waits, and the
    /// queue is closed.
    fn take(&self, taken: &mut Taken, patient: bool) -> bool {
        let waits = |waiting: &mut Waiting| patient && waiting.is_empty() && !waiting.closed;
        let mut waiting = self.arrived.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let goes_on = !waiting.is_empty() || !waiting.closed;
        taken.group.clear();
        taken.jobs.clear();
        std::mem::swap(&mut taken.group, &mut waiting.writes);
        std::mem::swap(&mut taken.jobs, &mut waiting.jobs);
        taken.jobs.extend(waiting.snapshots.pop_front());
        taken.meetings = std::mem::take(&mut waiting.meetings);
        goes_on
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the disk's thread has to do next.
#[derive(Debug, Default)]
struct Taken {
    group: Vec<Write>,
    jobs: Vec<NodeOutput>,
    meetings: Vec<Meeting>,
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
    let mut taken = Taken::default();
    while queue.take(&mut taken, !alarm.lookout.tends(store)) {
        let Taken { group, jobs, meetings } = &mut taken;
        let newest: Option<WriteId> = group.last().map(|write: &Write| write.id);
        if newest.is_none() && jobs.is_empty() && meetings.is_empty() {
            let word = alarm.lookout.tend(store).map_err(failed)?;
            alarm.tell(word, inbox);
            continue;
        }
        if let Some(newest) = newest {
            let word = store.write(group).and_then(|()| alarm.lookout.sync(store)).map_err(failed)?;
            alarm.tell(word, inbox);
            inbox.persisted(newest);
        }
        for meeting in meetings.drain(..) {
            meet(store, meeting, &place).map_err(failed)?;
        }
        for job in jobs.drain(..) {
            if job == NodeOutput::AskForSpace {
                let word = alarm.lookout.ask(store).map_err(failed)?;
                inbox.report(NodeInput::Space { is_low: word == Space::Low });
                alarm.log(word);
            } else if let Some(done) = carry_out_on_disk(store, &job).map_err(failed)? {
                log(&job, &done);
                inbox.report(done);
            }
        }
        alarm.lookout.stir();
    }
    Ok(())
}

/// Remembers a peer's disk, or sees that it is another one. On a full disk whoever waits gets no answer, and may ask again.
fn meet<D: Disk>(store: &mut Store<D>, meeting: Meeting, place: &str) -> Result<(), StoreError> {
    let Meeting { peer, disk, answer } = meeting;
    match store.meet(peer, disk) {
        Ok(acquaintance) => {
            // Whoever waited may have gone.
            let _ = answer.send(acquaintance);
        }
        Err(error) if error.nothing_is_lost() => {
            tracing::error!("{place}: the disk of peer {} cannot be remembered: {error}", peer.0);
        }
        Err(error) => return Err(error),
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

/// Says what has become of a snapshot, if it is done with or will never be.
fn log(job: &NodeOutput, done: &NodeInput) {
    let NodeInput::SnapshotWritten { file, last, outcome, .. } = done else { return };
    let whose = match file {
        SnapshotFile::Own => "this node's",
        SnapshotFile::Received => "a peer's",
    };
    match outcome {
        SnapshotOutcome::Done if matches!(job, NodeOutput::WriteSnapshot { is_last: true, .. }) => {
            tracing::info!("{whose} snapshot of {last} is saved");
        }
        SnapshotOutcome::Done => {}
        SnapshotOutcome::NoSpace => tracing::error!("{whose} snapshot of {last} is not saved: the disk is full"),
        SnapshotOutcome::Damaged => tracing::error!("{whose} snapshot of {last} is not what it says it is"),
        SnapshotOutcome::Unusable(error) => tracing::error!("{whose} snapshot of {last} cannot be used: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use raft_core::{Configuration, EntryId, LogIndex, NodeId, ReadId, SnapshotMeta};
    use raft_store::{Files, StoreOptions};
    use std::sync::Arc;

    fn meta(index: u64) -> SnapshotMeta {
        let configuration = Configuration::of_voters([NodeId(1)]);
        SnapshotMeta { last: EntryId::new(index, 1), configuration, configured_at: EntryId::new(1, 1) }
    }

    fn piece(index: u64, offset: u64, bytes: &'static str, is_last: bool) -> NodeOutput {
        let (file, bytes) = (SnapshotFile::Own, Bytes::from_static(bytes.as_bytes()));
        NodeOutput::WriteSnapshot { file, meta: meta(index), offset, bytes, is_last }
    }

    fn written(index: u64, end: u64) -> NodeInput {
        let (file, last, outcome) = (SnapshotFile::Own, meta(index).last, SnapshotOutcome::Done);
        NodeInput::SnapshotWritten { file, last, end, outcome }
    }

    #[test]
    fn jobs_are_done_in_order_after_the_writes_that_wait_and_pieces_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), true).unwrap();
        let (mut store, _) =
            Store::open(files, StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 0 }).unwrap();
        let (queue, inbox) = (DiskQueue::default(), Inbox::default());
        let last = meta(2).last;
        queue.ask(piece(2, 0, "da", false));
        queue.ask(piece(2, 2, "ta", true));
        queue.ask(NodeOutput::LoadSnapshot { meta: meta(2) });
        queue.ask(NodeOutput::ReadSnapshot { to: NodeId(2), last, offset: 0, max_bytes: 0 });
        queue.ask(NodeOutput::RemoveSnapshot { last });
        queue.ask(NodeOutput::LoadSnapshot { meta: meta(2) });
        queue.ask(NodeOutput::VerifySnapshot { last });
        queue.ask(NodeOutput::DropSnapshot { last });
        queue.ask(NodeOutput::ReadSnapshot { to: NodeId(3), last, offset: 0, max_bytes: 0 });
        // Asked last, and done before the second piece.
        queue.ask(NodeOutput::ReadLog { read: ReadId(1), first: LogIndex(1), last: LogIndex(1), max_bytes: 0 });
        queue.ask(NodeOutput::AskForSpace);
        let write = Write::bootstrap(meta(1).configuration);
        queue.push(write.clone());
        queue.close();
        let alarm = Alarm::new(&store, "here", &inbox);
        run(&mut store, &queue, alarm, &inbox).unwrap();
        let batch = inbox.take(None);
        assert_eq!(batch.persisted, Some(write.id));
        let reports: Vec<NodeInput> = batch.reports.into_iter().map(|report| report.input).collect();
        let [log, space, first, second, loaded, read, gone] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(*log, NodeInput::LogRead { read: ReadId(1), entries: write.entries });
        assert_eq!(*space, NodeInput::Space { is_low: false });
        assert_eq!((first, second), (&written(2, 2), &written(2, 4)));
        assert_eq!(*loaded, NodeInput::SnapshotLoaded { meta: meta(2), data: Bytes::from_static(b"data") });
        let NodeInput::SnapshotRead { piece: Some(piece), .. } = read else { panic!("{read:?}") };
        assert!(piece.size > 4 && piece.bytes.is_empty());
        assert_eq!(*gone, NodeInput::SnapshotRead { to: NodeId(3), last, offset: 0, piece: None });
    }

    #[tokio::test]
    async fn a_peer_is_remembered_before_whoever_asks_is_told_what_to_make_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 0 };
        let open = || Store::open(Files::open(folder.path(), true).unwrap(), options).unwrap().0;
        let (mut store, inbox) = (open(), Arc::new(Inbox::default()));
        let queue = Arc::new(DiskQueue::default());
        let alarm = Alarm::new(&store, "here", &inbox);
        let thread = std::thread::spawn({
            let (queue, inbox) = (queue.clone(), inbox.clone());
            move || run(&mut store, &queue, alarm, &inbox)
        });
        let (one, other) = (DiskId([1; 16]), DiskId([2; 16]));
        assert_eq!(queue.meet(NodeId(2), one).await, Some(Acquaintance::Met));
        assert!(std::fs::read(folder.path().join("PEERS")).unwrap().windows(16).any(|bytes| bytes == one.0));
        assert_eq!(queue.meet(NodeId(2), one).await, Some(Acquaintance::Known));
        assert_eq!(queue.meet(NodeId(2), other).await, Some(Acquaintance::Stranger { known: one }));
        // No name is free for what it would write: the disk fails, and nobody is told anything.
        std::fs::create_dir(folder.path().join("PEERS.new")).unwrap();
        assert_eq!(queue.meet(NodeId(3), one).await, None);
        let failure = thread.join().unwrap().unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Disk, "{failure}");
    }
}
