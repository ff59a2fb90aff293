//! The thread that owns the store: all writes that wait are one group, made durable by one sync.
//!
//! While the disk works the next group gathers. How many bytes can wait is the core's business, so the queue itself needs
//! no limit. This file must not know what the writes say.

use crate::failure::Failure;
use raft_core::{Write, WriteId};
use raft_store::{Disk, Store};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Writes that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    closed: bool,
}

impl DiskQueue {
    /// One more write, after all before it.
    pub(crate) fn push(&self, write: Write) {
        self.lock().writes.push(write);
        self.arrived.notify_one();
    }

    /// The disk's thread ends once nothing waits any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// All writes that wait; waits for one. Empty: the queue is closed.
    fn take(&self, group: &mut Vec<Write>) {
        let nothing = |waiting: &mut Waiting| waiting.writes.is_empty() && !waiting.closed;
        let mut waiting = self.arrived.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        group.clear();
        std::mem::swap(group, &mut waiting.writes);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes groups until the queue is closed and empty, and reports each once it is durable.
///
/// # Errors
/// The store failed: nothing is known of what was being written, and the process must end.
pub(crate) fn run<D: Disk>(
    store: &mut Store<D>,
    queue: &DiskQueue,
    place: &str,
    persisted: impl Fn(WriteId),
) -> Result<(), Failure> {
    let mut group = Vec::new();
    loop {
        queue.take(&mut group);
        let Some(newest) = group.last().map(|write| write.id) else { return Ok(()) };
        store.write(&group).and_then(|()| store.sync()).map_err(|error| Failure::store(place, &error))?;
        persisted(newest);
    }
}
