//! Tests of compaction, and of reading a compacted log.

use super::{OPTIONS, content, entries, file, files, flip, is_missing, open, put, refusal, vote};
use crate::conformance::log_model::{Model, save, snapshot};
use crate::{Disk, MIN_SEGMENT_BYTES, Store, StoreError, StoreOptions};
use raft_core::{EntryId, InstallMode, LogIndex, Write};

fn segments<D: Disk>(disk: &mut D) -> Vec<String> {
    files(disk, "wal-")
}

/// Writes and syncs entries up to `last`, two in each segment, with some hard states.
fn grow<D: Disk>(store: &mut Store<D>, writes: &mut Vec<Write>, last: u64) {
    for index in Model::of(&*writes).last().0 + 1..=last {
        let group = [vote(index / 4 + 1, index), entries(index, 1, index / 4 + 1, 1500)];
        store.write(&group).and_then(|()| store.sync()).expect("fits");
        writes.extend(group);
    }
}

fn take_snapshot<D: Disk>(store: &mut Store<D>, writes: &mut Vec<Write>, index: u64) {
    let last = Model::of(&*writes).entry(index).expect("in the log").id;
    save(store, last);
    put(store, writes, snapshot(last, InstallMode::Keep));
}

/// A log of ten entries in five segments, compacted below `before`, with a snapshot at 7.
fn compacted<D: Disk>(disk: D, before: u64) -> (Store<D>, Vec<Write>) {
    let (mut store, _) = open(disk);
    let mut writes = Vec::new();
    grow(&mut store, &mut writes, 10);
    take_snapshot(&mut store, &mut writes, 7);
    store.compact(LogIndex(before)).expect("a disk that works");
    (store, writes)
}

/// A segment is deleted as soon as none of its entries is needed, and a start recovers the rest.
pub(super) fn a_compacted_log_is_recovered<D: Disk>(disk: D) {
    let (mut store, mut writes) = compacted(disk, 1);
    let mut before = LogIndex(0);
    for (asked, oldest) in [(0, 1), (2, 1), (3, 2), (2, 2), (6, 3), (6, 3), (7, 4), (9, 4), (u64::MAX, 4)] {
        store.compact(LogIndex(asked)).expect("a disk that works");
        before = before.max(LogIndex(asked));
        assert_eq!(segments(store.disk_mut()).first(), Some(&file(oldest)), "below {asked}");
        let model = Model::of(&writes);
        model.check_reads(&mut store, before);
        let (reopened, recovery) = open(store.into_disk());
        model.check(&recovery.restored, before, OPTIONS.tail_bytes);
        assert_eq!(recovery.records, writes.len() as u64, "record numbers continue");
        store = reopened;
        model.check_reads(&mut store, before);
        model.check_snapshot(&mut store);
    }
    // The log continues: it grows, is truncated, and compacted again, sometimes without a compaction.
    for index in [14, 19, 31] {
        let from = Model::of(&writes).last().0;
        writes.push(Write { truncate_from: Some(LogIndex(from)), ..entries(from, 3, index, 600) });
        store.write(&writes[writes.len() - 1..]).expect("fits");
        grow(&mut store, &mut writes, index);
        take_snapshot(&mut store, &mut writes, index - 1);
        if index != 19 {
            store.compact(LogIndex(index - 2)).expect("a disk that works");
            before = LogIndex(index - 2);
        }
        let (reopened, recovery) = open(store.into_disk());
        store = reopened;
        let model = Model::of(&writes);
        model.check(&recovery.restored, before, OPTIONS.tail_bytes);
        model.check_reads(&mut store, before);
    }
    assert!(segments(store.disk_mut()).len() <= 3, "{:?}", segments(store.disk_mut()));
}

/// Unsynced writes may be lost, so a compaction syncs first.
pub(super) fn a_compaction_uses_only_durable_state<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    let mut writes = Vec::new();
    grow(&mut store, &mut writes, 6);
    store.compact(LogIndex(5)).expect("a disk that works");
    assert_eq!(segments(store.disk_mut()).len(), 3, "no snapshot, no compaction");
    let last = EntryId::new(5, 2);
    save(&mut store, last);
    // The log ends with the snapshot: no entry of the older segments remains.
    writes.push(Write { truncate_from: Some(LogIndex(6)), ..snapshot(last, InstallMode::Keep) });
    store.write(&writes[writes.len() - 1..]).expect("fits");
    store.compact(LogIndex(6)).expect("a disk that works");
    assert_eq!(segments(store.disk_mut()), [file(3)]);
    let (_, recovery) = open(store.into_disk());
    Model::of(&writes).check(&recovery.restored, LogIndex(6), OPTIONS.tail_bytes);
}

/// A start returns the newest entries that fit into `tail_bytes`.
pub(super) fn the_tail_is_bounded<D: Disk>(disk: D) {
    let (store, writes) = compacted(disk, 4);
    let mut disk = store.into_disk();
    for tail_bytes in [0, 1523, 1524, 4000, 100_000] {
        let options = StoreOptions { tail_bytes, ..OPTIONS };
        let opened = Store::open(disk, options).unwrap_or_else(|error| panic!("it must open: {error}"));
        Model::of(&writes).check(&opened.1.restored, LogIndex(4), tail_bytes);
        disk = opened.0.into_disk();
    }
}

/// A start refuses a log with a missing segment, unless the snapshot covers its entries.
pub(super) fn a_wrongly_missing_segment_is_refused<D: Disk>(fresh: &mut impl FnMut() -> D) {
    for (removed, expected) in [(1, false), (2, true), (3, true), (5, true)] {
        // With a compaction below 4, segment 1 is gone and 2 to 6 exist; the snapshot covers entry 7, which is in
        // segment 4.
        let (store, _) = compacted(fresh(), 4);
        let mut disk = store.into_disk();
        assert_eq!(disk.remove(&file(removed)).is_ok(), expected);
        let is_oldest = removed == 2;
        match Store::open(disk, OPTIONS) {
            Ok((_, recovery)) => {
                assert!(is_oldest || !expected, "segment {removed}: {:?}", recovery.restored);
            }
            Err(error) => {
                assert!(is_missing(&error.error, &file(removed)) && !is_oldest, "{error}");
            }
        }
    }
    // Removes all segments that the snapshot covers, and one more.
    let (store, _) = compacted(fresh(), 100);
    let mut disk = store.into_disk();
    assert_eq!(segments(&mut disk).first(), Some(&file(4)));
    disk.remove(&file(4)).expect("there");
    let (error, mut disk) = refusal(disk);
    assert!(is_missing(&error, &file(4)) && error.to_string().contains("entries 8 to 8"), "{error}");
    // Only the newest segment exists and is unreadable: this is not a new store.
    while segments(&mut disk).len() > 1 {
        let oldest = segments(&mut disk).swap_remove(0);
        disk.remove(&oldest).expect("there");
    }
    let newest = segments(&mut disk).swap_remove(0);
    disk.write(&newest, 0, &[0; MIN_SEGMENT_BYTES as usize]).expect("there");
    let (error, mut disk) = refusal(disk);
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    // There is no segment, but a snapshot exists.
    disk.remove(&newest).expect("there");
    let (error, _) = refusal(disk);
    assert!(error.to_string().contains("or a later one is missing: snapshot-"), "{error}");
}

/// Compaction works without entries: the next checkpoint holds the vote. An unreadable newest segment is then not a new
/// store.
pub(super) fn a_vote_survives_its_segment<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    for number in 1..=200 {
        store.write(&[vote(number, number)]).and_then(|()| store.sync()).expect("fits");
    }
    store.compact(LogIndex(1)).expect("a disk that works");
    let newest = segments(store.disk_mut());
    assert_eq!(newest.len(), 1);
    let (store, recovery) = open(store.into_disk());
    assert_eq!((Some(recovery.restored.hard_state), recovery.records), (vote(200, 200).hard_state, 200));
    let mut disk = store.into_disk();
    disk.write(&newest[0], 0, &[0; MIN_SEGMENT_BYTES as usize]).expect("there");
    let (error, mut disk) = refusal(disk);
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert_eq!(segments(&mut disk), newest, "a refusal changes nothing");
}

/// A segment of another log is refused, although its numbers fit.
pub(super) fn a_foreign_segment_is_refused<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let mut of_votes_for = |candidate| {
        let (mut store, _) = open(fresh());
        for index in 1..=4 {
            store.write(&[vote(1, candidate), entries(index, 1, 1, 1500)]).expect("fits");
        }
        store.into_disk()
    };
    let (mut ours, mut theirs) = (of_votes_for(1), of_votes_for(2));
    ours.write(&file(2), 0, &content(&mut theirs, &file(2))).expect("there");
    let (error, _) = refusal(ours);
    assert!(error.to_string().contains("its checkpoint differs from the state"), "{error}");
}

/// A newest segment with a torn checkpoint is unfinished without a record, and damaged with one.
pub(super) fn a_torn_checkpoint_is_that_of_an_unfinished_segment<D: Disk>(fresh: &mut impl FnMut() -> D) {
    for with_records in [true, false] {
        let (store, writes) = compacted(fresh(), 1);
        let mut disk = store.into_disk();
        let newest = segments(&mut disk).pop().expect("there are some");
        let bytes = content(&mut disk, &newest);
        if !with_records {
            let end = 64 + usize::from(bytes[12]);
            disk.write(&newest, end as u64, &vec![0; bytes.len() - end]).expect("there");
        }
        flip(&mut disk, &newest, 70);
        match Store::open(disk, OPTIONS) {
            Err(error) => assert!(with_records && matches!(error.error, StoreError::Corrupt { .. }), "{error}"),
            Ok((mut store, recovery)) => {
                assert!(!with_records, "{recovery:?}");
                assert_eq!(recovery.torn_tail.map(|tail| (tail.file, tail.offset)), Some((newest.clone(), 0)));
                assert!(!segments(store.disk_mut()).contains(&newest));
                assert!(recovery.records < writes.len() as u64);
            }
        }
    }
}

/// A record that has changed since recovery is not returned.
pub(super) fn a_read_detects_damage<D: Disk>(disk: D) {
    let (mut store, writes) = compacted(disk, 4);
    flip(store.disk_mut(), &file(4), 900);
    let model = Model::of(&writes);
    model.check_read(&mut store, 5, 6, u64::MAX, LogIndex(4));
    let error = store.read(LogIndex(5), LogIndex(8), u64::MAX).expect_err("damaged");
    let StoreError::Corrupt { file: named, offset, .. } = &error else { panic!("{error}") };
    assert_eq!(*named, file(4));
    assert!(*offset > 64 && *offset < 900, "{offset}");
    model.check_read(&mut store, 9, 10, u64::MAX, LogIndex(4));
}
