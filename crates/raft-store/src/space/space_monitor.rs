//! Decides when a host reports the store's space and when it preallocates. The real host and the simulated one share
//! this code.
//!
//! A node that learns that writes are durable relies on space for as many more. So the host must report a change of
//! space before them.

use crate::disk::Disk;
use crate::space::reserve::Space;
use crate::store::Store;
use crate::store_error::StoreError;

/// Stores the last reported [`Space`], and whether an idle host can preallocate. For a new store
/// [`Enough`](Space::Enough) counts as reported: call [`take_change`](Self::take_change) before the first write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceMonitor {
    reported: Space,
    /// The last step made no progress, and no call came after it.
    no_progress: bool,
}

impl Default for SpaceMonitor {
    fn default() -> Self {
        Self { reported: Space::Enough, no_progress: false }
    }
}

impl SpaceMonitor {
    /// The store's space, if it has changed since the last report.
    pub fn take_change<D: Disk>(&mut self, store: &Store<D>) -> Option<Space> {
        let before = std::mem::replace(&mut self.reported, store.space());
        (self.reported != before).then_some(self.reported)
    }

    /// Calls [`Store::sync`]. Returns a change of the space, which the host must report **before** the durable writes.
    pub fn sync<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Option<Space>, StoreError> {
        store.sync()?;
        self.wake();
        Ok(self.take_change(store))
    }

    /// Notes that another call on the store may have freed space.
    pub fn wake(&mut self) {
        self.no_progress = false;
    }

    /// Whether an idle host should call [`preallocate`](Self::preallocate).
    pub fn can_preallocate<D: Disk>(&self, store: &Store<D>) -> bool {
        !self.no_progress && store.needs_preallocation()
    }

    /// Makes one step of [`Store::preallocate`]. Returns a change of the space.
    pub fn preallocate<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Option<Space>, StoreError> {
        self.no_progress = !store.preallocate()?;
        Ok(self.take_change(store))
    }

    /// Makes all steps of [`Store::preallocate`]. Returns the space, changed or not, as a report.
    pub fn preallocate_all<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Space, StoreError> {
        while store.preallocate()? {}
        self.reported = store.space();
        Ok(self.reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;
    use crate::conformance::{Memory, Quota, entries};

    const OPTIONS: StoreOptions = StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 4096 };

    /// A store on a disk whose quota is too small for the next segment's file.
    fn limited() -> (Store<Quota<Memory>>, SpaceMonitor) {
        let disk = Quota { disk: Memory::default(), limit: 6_000, full_after: None, refused: 0 };
        (Store::open(disk, OPTIONS).expect("a segment fits").0, SpaceMonitor::default())
    }

    #[test]
    fn a_change_is_reported_once_and_a_request_is_always_answered() {
        let (mut store, mut monitor) = limited();
        assert_eq!((monitor.take_change(&store), monitor.take_change(&store)), (Some(Space::Low), None));
        assert!(monitor.can_preallocate(&store));
        let step = monitor.preallocate(&mut store);
        assert_eq!((step, monitor.can_preallocate(&store)), (Ok(None), false), "the disk is full");
        assert_eq!(monitor.preallocate_all(&mut store), Ok(Space::Low));
        monitor.wake();
        assert!(monitor.can_preallocate(&store), "space may have been freed");
        store.disk_mut().limit = 60_000;
        assert_eq!((monitor.preallocate_all(&mut store), monitor.take_change(&store)), (Ok(Space::Enough), None));
        assert!(!monitor.can_preallocate(&store), "the next segment's file has its full length");
        // The quota equals the used space now.
        store.disk_mut().limit = 8_800;
        store.write(&[entries(1, 1, 1, 3_900)]).expect("space was promised");
        assert_eq!(monitor.sync(&mut store), Ok(None), "the next segment's file exists");
        store.write(&[entries(2, 1, 1, 3_900)]).expect("space was promised");
        assert_eq!(monitor.sync(&mut store), Ok(Some(Space::Low)), "it reported Enough last");
        assert_eq!(monitor.sync(&mut store), Ok(None));
    }

    #[test]
    fn without_a_reserve_there_is_nothing_to_do_or_to_report() {
        let (mut store, _) =
            Store::open(Memory::default(), StoreOptions { reserve_bytes: 0, ..OPTIONS }).expect("it opens");
        let mut monitor = SpaceMonitor::default();
        assert!(!monitor.can_preallocate(&store));
        assert_eq!((monitor.sync(&mut store), monitor.preallocate_all(&mut store)), (Ok(None), Ok(Space::Enough)));
    }
}
