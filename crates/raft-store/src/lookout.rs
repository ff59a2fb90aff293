//! The lookout for space: when a store makes room ahead, and what whoever writes is told of it, and when.
//!
//! Every host asks here, the one with threads and the simulated one: whoever hears that writes are durable counts on room
//! for as many more, so a word that comes later than that, or not at all, is a write that fails. This file must not know
//! how a host tells, nor what is made of it.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::store::{Space, Store};

/// What was told of a store's room, and whether the store has something to do when nobody else has. Of a store that was
/// just opened [`Enough`](Space::Enough) counts as told: ask for [`news`](Self::news) before anybody writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookout {
    told: Space,
    /// The last step brought nothing, and nothing was done since.
    rests: bool,
}

impl Default for Lookout {
    fn default() -> Self {
        Self { told: Space::Enough, rests: false }
    }
}

impl Lookout {
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
        self.stir();
        Ok(self.news(store))
    }

    /// Something else was done with the store, which may have freed space.
    pub fn stir(&mut self) {
        self.rests = false;
    }

    /// Whether there is something to do when nothing waits: [`tend`](Self::tend).
    pub fn tends<D: Disk>(&self, store: &Store<D>) -> bool {
        !self.rests && store.is_short()
    }

    /// [`Store::tend`], a step of it, and the word that is to be told.
    ///
    /// # Errors
    /// Those of the step.
    pub fn tend<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Option<Space>, StoreError> {
        self.rests = !store.tend()?;
        Ok(self.news(store))
    }

    /// All steps at once, and the word: whoever asks for space is told in any case.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn ask<D: Disk>(&mut self, store: &mut Store<D>) -> Result<Space, StoreError> {
        while store.tend()? {}
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
    fn limited(limit: u64) -> (Store<Quota<Memory>>, Lookout) {
        let disk = Quota { disk: Memory::default(), limit, full_after: None, refused: 0 };
        (Store::open(disk, OPTIONS).expect("a segment fits").0, Lookout::default())
    }

    #[test]
    fn a_word_is_told_once_and_an_answer_always() {
        let (mut store, mut lookout) = limited(6_000);
        assert_eq!((lookout.news(&store), lookout.news(&store)), (Some(Space::Low), None));
        assert!(lookout.tends(&store));
        assert_eq!((lookout.tend(&mut store), lookout.tends(&store)), (Ok(None), false), "the disk is full");
        assert_eq!(lookout.ask(&mut store), Ok(Space::Low));
        lookout.stir();
        assert!(lookout.tends(&store), "something may have been freed");
        store.disk_mut().limit = 60_000;
        assert_eq!((lookout.ask(&mut store), lookout.news(&store)), (Ok(Space::Enough), None));
        assert!(!lookout.tends(&store), "there is all that is wanted");
    }

    #[test]
    fn an_answer_counts_as_told() {
        let (mut store, mut lookout) = limited(6_000);
        assert_eq!(lookout.news(&store), Some(Space::Low));
        store.disk_mut().limit = 60_000;
        assert_eq!(lookout.ask(&mut store), Ok(Space::Enough));
        // No more than what there is.
        store.disk_mut().limit = 8_800;
        store.write(&[entries(1, 1, 1, 3_900)]).expect("there was room");
        assert_eq!(lookout.sync(&mut store), Ok(None), "the next segment's file is there");
        store.write(&[entries(2, 1, 1, 3_900)]).expect("there was room");
        assert_eq!(lookout.sync(&mut store), Ok(Some(Space::Low)), "it had last heard that there is enough");
        assert_eq!(lookout.sync(&mut store), Ok(None));
    }

    #[test]
    fn without_a_reserve_there_is_nothing_to_do_or_to_tell() {
        let (mut store, _) =
            Store::open(Memory::default(), StoreOptions { reserve_bytes: 0, ..OPTIONS }).expect("it opens");
        let mut lookout = Lookout::default();
        assert!(!lookout.tends(&store));
        assert_eq!((lookout.sync(&mut store), lookout.ask(&mut store)), (Ok(None), Ok(Space::Enough)));
    }
}
