//! The lookout for space: when a store makes room ahead, and what whoever writes is told of it, and when.
//!
//! Every host asks here, the one with threads and the simulated one: whoever hears that writes are durable counts on room
//! for as many more, so a word that comes later than that, or not at all, is a write that fails. This file must not know
//! how a host tells, nor what is made of it.

use crate::disk::Disk;
use crate::space::reserve::Space;
use crate::store::Store;
use crate::store_error::StoreError;

/// What was told of a store's room, and whether the store has something to do when nobody else has. Of a store that was
/// just opened [`Enough`](Space::Enough) counts as told: ask for [`news`](Self::news) before anybody writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceMonitor {
    told: Space,
    /// The last step brought nothing, and nothing was done since.
    rests: bool,
}

impl Default for SpaceMonitor {
    fn default() -> Self {
        Self { told: Space::Enough, rests: false }
    }
}

impl SpaceMonitor {
    /// The word, if it is another than the one before; then it counts as told.
    pub fn news<D: Disk>(&mut self, store: &Store<D>) -> Option<Space> {
        let word = store.space();
        let is_news = word != self.told;
        self.told = word;
        is_news.then_some(word)
    }

    /// [`Store::sync`], and the word that is to be told **before** that the writes are durable.
    ///
    /// # Errors
    /// Those of the sync.
    pub fn sync<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Option<Space>, StoreError> {
        store.sync()?;
        self.wake();
        Ok(self.news(store))
    }

    /// Something else was done with the store, which may have freed space.
    pub fn wake(&mut self) {
        self.rests = false;
    }

    /// Whether there is something to do when nothing waits: [`preallocate`](Self::tend).
    pub fn can_preallocate<D: Disk>(&self, store: &Store<D>) -> bool {
        !self.rests && store.is_short()
    }

    /// [`Store::preallocate`], a step of it, and the word that is to be told.
    ///
    /// # Errors
    /// Those of the step.
    pub fn preallocate<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Option<Space>, StoreError> {
        self.rests = !store.preallocate()?;
        Ok(self.news(store))
    }

    /// All steps at once, and the word: whoever asks for space is told in any case.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn ask<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Space, StoreError> {
        while store.preallocate()? {}
        self.told = store.space();
        Ok(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;
    use crate::conformance::{Memory, Quota, entries};

    const OPTIONS: StoreOptions = StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 4096 };

    /// A store on a disk with a limit, and who looks out for it.
    fn limited(limit: u64) -> (Store<Quota<Memory>>, SpaceMonitor) {
        let disk = Quota { disk: Memory::default(), limit, full_after: None, refused: 0 };
        (Store::open(disk, OPTIONS).expect("a segment fits").0, SpaceMonitor::default())
    }

    #[test]
    fn a_word_is_told_once_and_an_answer_always() {
        let (mut store, mut space_monitor) = limited(6_000);
        assert_eq!((space_monitor.news(&store), space_monitor.news(&store)), (Some(Space::Low), None));
        assert!(space_monitor.can_preallocate(&store));
        assert_eq!(
            (space_monitor.preallocate(&mut store), space_monitor.can_preallocate(&store)),
            (Ok(None), false),
            "the disk is full"
        );
        assert_eq!(space_monitor.ask(&mut store), Ok(Space::Low));
        space_monitor.wake();
        assert!(space_monitor.can_preallocate(&store), "something may have been freed");
        store.disk_mut().limit = 60_000;
        assert_eq!((space_monitor.ask(&mut store), space_monitor.news(&store)), (Ok(Space::Enough), None));
        assert!(!space_monitor.can_preallocate(&store), "there is all that is wanted");
    }

    #[test]
    fn an_answer_counts_as_told() {
        let (mut store, mut space_monitor) = limited(6_000);
        assert_eq!(space_monitor.news(&store), Some(Space::Low));
        store.disk_mut().limit = 60_000;
        assert_eq!(space_monitor.ask(&mut store), Ok(Space::Enough));
        // No more than what there is.
        store.disk_mut().limit = 8_800;
        store.write(&[entries(1, 1, 1, 3_900)]).expect("there was room");
        assert_eq!(space_monitor.sync(&mut store), Ok(None), "the next segment's file is there");
        store.write(&[entries(2, 1, 1, 3_900)]).expect("there was room");
        assert_eq!(space_monitor.sync(&mut store), Ok(Some(Space::Low)), "it had last heard that there is enough");
        assert_eq!(space_monitor.sync(&mut store), Ok(None));
    }

    #[test]
    fn without_a_reserve_there_is_nothing_to_do_or_to_tell() {
        let (mut store, _) =
            Store::open(Memory::default(), StoreOptions { reserve_bytes: 0, ..OPTIONS }).expect("it opens");
        let mut space_monitor = SpaceMonitor::default();
        assert!(!space_monitor.can_preallocate(&store));
        assert_eq!((space_monitor.sync(&mut store), space_monitor.ask(&mut store)), (Ok(None), Ok(Space::Enough)));
    }
}
