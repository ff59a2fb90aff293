//! The thread that owns the store: it takes the next task, executes it, and gives the result to the node.
//! [`raft_node::DiskQueue`] chooses the next task, and [`DiskExecutor`] executes it; this file has only a lock, a
//! wake-up and log lines.

// A new kind of job must be handled in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::failure::Failure;
use crate::inbox::SharedInbox;
use raft_core::{NodeId, Write};
use raft_node::{DiskExecutor, DiskJob, DiskQueue, DiskTask, NodeInput, SnapshotFile, SnapshotJob, WriteOutcome};
use raft_store::{Disk, DiskId, PeerCheck, Store, StoreError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The receiver of a task's result: a caller for the check of a peer's disk, otherwise only the node.
type Waits = Option<oneshot::Sender<PeerCheck>>;

#[derive(Debug, Default)]
pub(crate) struct SharedDiskQueue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: DiskQueue<Waits>,
    closed: bool,
}

impl SharedDiskQueue {
    pub(crate) fn push_write(&self, write: Write) {
        self.put(|state| state.queue.push_write(write, None));
    }

    pub(crate) fn push_job(&self, job: DiskJob) {
        self.put(|state| state.queue.push_job(job, None));
    }

    /// Checks the disk of a peer; the node records a new peer durably before the answer. `None` means that this is not
    /// possible now.
    pub(crate) async fn register_peer(&self, peer: NodeId, disk: DiskId) -> Option<PeerCheck> {
        let (answer, found) = oneshot::channel();
        self.put(|state| state.queue.push_peer(peer, disk, Some(answer)));
        found.await.ok()
    }

    pub(crate) fn close(&self) {
        self.put(|state| state.closed = true);
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that takes tasks")]
    /// The next task. If `is_idle`, it waits for a task; otherwise the result can be `None`. An error means that the
    /// queue is closed and empty.
    fn next(&self, is_idle: bool) -> Result<Option<DiskTask<Waits>>, Closed> {
        let nothing = |state: &mut State| is_idle && state.queue.is_empty() && !state.closed;
        let mut state = self.arrived.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        match state.queue.take() {
            None if state.closed => Err(Closed),
            task => Ok(task),
        }
    }

    fn put(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue is closed and empty.
struct Closed;

#[derive(Debug)]
pub(crate) struct Worker {
    executor: DiskExecutor,
    place: String,
    /// Whether the log has reported that the disk is full.
    is_low: bool,
}

impl Worker {
    /// Adds the disk's space to the node's first call.
    pub(crate) fn new<D: Disk>(store: &Store<D>, place: &str, inbox: &SharedInbox) -> Self {
        let mut worker = Self { executor: DiskExecutor::default(), place: place.to_owned(), is_low: false };
        let found = worker.executor.start(store);
        worker.give(found, inbox);
        worker
    }

    /// Serves the queue until it is closed and empty. After an error of the store the state of its last write is unknown, and the
    /// process must end.
    pub(crate) fn run<D: Disk>(
        mut self,
        store: &mut Store<D>,
        queue: &SharedDiskQueue,
        inbox: &SharedInbox,
    ) -> Result<(), Failure> {
        while let Ok(task) = queue.next(!self.executor.can_preallocate(store)) {
            self.execute(store, task, inbox).map_err(|error| Failure::store(&self.place, &error))?;
        }
        Ok(())
    }

    fn execute<D: Disk>(
        &mut self,
        store: &mut Store<D>,
        task: Option<DiskTask<Waits>>,
        inbox: &SharedInbox,
    ) -> Result<(), StoreError> {
        match task {
            None => {
                let found = self.executor.preallocate(store)?;
                self.give(found, inbox);
            }
            Some(DiskTask::Write { writes, .. }) => {
                let Some(newest) = writes.last().map(|write| write.id) else { return Ok(()) };
                self.executor.write(store, &writes)?;
                let given = self.executor.sync(store, newest)?;
                self.give(given.into_iter().flatten(), inbox);
            }
            Some(DiskTask::RegisterPeer { peer, disk, tag }) => match self.executor.register_peer(store, peer, disk)? {
                Some(found) => {
                    // The caller may be gone.
                    let _: Option<Result<(), _>> = tag.map(|answer| answer.send(found));
                }
                None => {
                    let place = &self.place;
                    tracing::error!("{place}: cannot remember the disk of peer {}: no space left", peer.0);
                }
            },
            Some(DiskTask::Execute { job, .. }) => {
                let done = self.executor.execute(store, &job)?;
                if let (DiskJob::Snapshot(job), Some(done)) = (&job, &done) {
                    log(job, done);
                }
                self.give(done, inbox);
            }
        }
        Ok(())
    }

    /// Gives the results of a task to the node, in one call.
    fn give(&mut self, inputs: impl IntoIterator<Item = NodeInput>, inbox: &SharedInbox) {
        let mut inputs = inputs.into_iter().peekable();
        if let Some(NodeInput::Space { is_low }) = inputs.peek() {
            self.log_space(*is_low);
        }
        if inputs.peek().is_some() {
            inbox.give(inputs);
        }
    }

    fn log_space(&mut self, is_low: bool) {
        let was_low = std::mem::replace(&mut self.is_low, is_low);
        let place = &self.place;
        match (was_low, is_low) {
            (false, true) => {
                tracing::error!(
                    "{place}: the disk is full: this node accepts no entries until there is space, and leads only if no other node can"
                );
            }
            (true, false) => tracing::info!("{place}: the disk has space again"),
            (true, true) | (false, false) => {}
        }
    }
}

fn log(job: &SnapshotJob, done: &NodeInput) {
    let NodeInput::SnapshotWritten { file, last, outcome, .. } = done else { return };
    let whose = match file {
        SnapshotFile::Own => "this node's",
        SnapshotFile::Received => "a peer's",
    };
    match outcome {
        WriteOutcome::Done if matches!(job, SnapshotJob::Write { is_last: true, .. }) => {
            tracing::info!("{whose} snapshot of {last} is saved");
        }
        WriteOutcome::Done => {}
        WriteOutcome::NoSpace => tracing::error!("{whose} snapshot of {last} is not saved: the disk is full"),
        WriteOutcome::Damaged => tracing::error!("{whose} snapshot of {last} does not match its checksum"),
        WriteOutcome::Unusable(error) => tracing::error!("{whose} snapshot of {last} cannot be used: {error}"),
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

    fn chunk(index: u64, offset: u64, bytes: &'static str, is_last: bool) -> DiskJob {
        let (file, bytes) = (SnapshotFile::Own, Bytes::from_static(bytes.as_bytes()));
        DiskJob::Snapshot(SnapshotJob::Write { file, meta: meta(index), offset, bytes, is_last })
    }

    fn written(index: u64, end: u64) -> NodeInput {
        let (file, last, outcome) = (SnapshotFile::Own, meta(index).last, WriteOutcome::Done);
        NodeInput::SnapshotWritten { file, last, end, outcome }
    }

    #[test]
    fn all_tasks_are_executed_and_their_results_given_to_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), true).unwrap();
        let (mut store, _) =
            Store::open(files, StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 0 }).unwrap();
        let (queue, inbox) = (SharedDiskQueue::default(), SharedInbox::default());
        let last = meta(2).last;
        let about_snapshots = |job| queue.push_job(DiskJob::Snapshot(job));
        queue.push_job(chunk(2, 0, "da", false));
        queue.push_job(chunk(2, 2, "ta", true));
        about_snapshots(SnapshotJob::Load { meta: meta(2) });
        about_snapshots(SnapshotJob::Read { to: NodeId(2), last, offset: 0, max_bytes: 0 });
        about_snapshots(SnapshotJob::Remove { last });
        about_snapshots(SnapshotJob::Load { meta: meta(2) });
        about_snapshots(SnapshotJob::Verify { last });
        about_snapshots(SnapshotJob::Drop { last });
        about_snapshots(SnapshotJob::Read { to: NodeId(3), last, offset: 0, max_bytes: 0 });
        // This job is pushed last, and executed before the second chunk.
        queue.push_job(DiskJob::ReadLog { read: ReadId(1), first: LogIndex(1), last: LogIndex(1), max_bytes: 0 });
        queue.push_job(DiskJob::ReserveSpace);
        let write = Write::bootstrap(meta(1).configuration);
        queue.push_write(write.clone());
        queue.close();
        Worker::new(&store, "here", &inbox).run(&mut store, &queue, &inbox).unwrap();
        let mut inputs = Vec::new();
        inbox.take(None, &mut inputs);
        let inputs: Vec<NodeInput> = inputs.into_iter().map(|(input, _)| input).collect();
        let [space, persisted, log, first, second, loaded, read, gone] = &inputs[..] else { panic!("{inputs:?}") };
        assert_eq!(*persisted, NodeInput::Persisted { write: write.id });
        assert_eq!(*log, NodeInput::LogRead { read: ReadId(1), entries: write.entries });
        assert_eq!(*space, NodeInput::Space { is_low: false });
        assert_eq!((first, second), (&written(2, 2), &written(2, 4)));
        assert_eq!(*loaded, NodeInput::SnapshotLoaded { meta: meta(2), data: Bytes::from_static(b"data") });
        let NodeInput::SnapshotRead { chunk: Some(chunk), .. } = read else { panic!("{read:?}") };
        assert!(chunk.size > 4 && chunk.bytes.is_empty());
        assert_eq!(*gone, NodeInput::SnapshotRead { to: NodeId(3), last, offset: 0, chunk: None });
    }

    #[tokio::test]
    async fn a_peer_is_remembered_before_its_check_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 0 };
        let open = || Store::open(Files::open(folder.path(), true).unwrap(), options).unwrap().0;
        let (mut store, inbox) = (open(), Arc::new(SharedInbox::default()));
        let queue = Arc::new(SharedDiskQueue::default());
        let worker = Worker::new(&store, "here", &inbox);
        let thread = std::thread::spawn({
            let (queue, inbox) = (queue.clone(), inbox.clone());
            move || worker.run(&mut store, &queue, &inbox)
        });
        let (one, other) = (DiskId([1; 16]), DiskId([2; 16]));
        assert_eq!(queue.register_peer(NodeId(2), one).await, Some(PeerCheck::New));
        assert!(std::fs::read(folder.path().join("PEERS")).unwrap().windows(16).any(|bytes| bytes == one.0));
        assert_eq!(queue.register_peer(NodeId(2), one).await, Some(PeerCheck::Known));
        assert_eq!(queue.register_peer(NodeId(2), other).await, Some(PeerCheck::Mismatch { known: one }));
        // A folder has the name of the temporary file: the disk fails, and there is no answer.
        std::fs::create_dir(folder.path().join("PEERS.new")).unwrap();
        assert_eq!(queue.register_peer(NodeId(3), one).await, None);
        let failure = thread.join().unwrap().unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Disk, "{failure}");
    }
}
