//! Tests of saved, named, replaced and damaged snapshots.

use super::{OPTIONS, content, entries, file, files, flip, open, put, refusal, vote};
use crate::conformance::log_model::{Model, data_of, meta, save, snapshot};
use crate::snapshots::snapshot_file::snapshot_name as name;
use crate::{Disk, DiskErrorKind, Store, StoreError};
use raft_core::{EntryId, InstallMode, LogIndex, SnapshotMeta, Write};

const FIRST: EntryId = EntryId::new(3, 1);
const SECOND: EntryId = EntryId::new(5, 1);

fn snapshots<D: Disk>(disk: &mut D) -> Vec<String> {
    files(disk, "snapshot-")
}

/// A store with six entries and a snapshot at 3.
fn kept<D: Disk>(disk: D) -> (Store<D>, Vec<Write>) {
    let writes = vec![vote(1, 1), entries(1, 6, 1, 90), snapshot(FIRST, InstallMode::Keep)];
    let (mut store, _) = open(disk);
    save(&mut store, FIRST);
    store.write(&writes).and_then(|()| store.sync()).expect("fits");
    (store, writes)
}

/// A snapshot with Keep takes effect with its record, and the log stays.
pub(super) fn a_snapshot_keeps_the_log<D: Disk>(disk: D) {
    let (mut store, mut writes) = kept(disk);
    assert_eq!(store.load_snapshot(FIRST), Ok(data_of(FIRST)));
    assert_eq!(store.load_snapshot(SECOND), Err(StoreError::NoSnapshot { file: name(SECOND) }));
    assert_eq!(store.load_snapshot_prefix(FIRST, 3), Ok(data_of(FIRST).slice(..3)));
    assert_eq!(store.load_snapshot_prefix(FIRST, u64::MAX), Ok(data_of(FIRST)), "there is no more");
    assert_eq!(store.load_snapshot_prefix(SECOND, 3), Err(StoreError::NoSnapshot { file: name(SECOND) }));
    let (mut store, recovery) = open(store.into_disk());
    Model::of(&writes).check(&recovery.restored, LogIndex(0), OPTIONS.tail_bytes);
    Model::of(&writes).check_snapshot(&mut store);
    // Until the next snapshot's record is synced, a start may need either snapshot; then the older one can be removed.
    save(&mut store, SECOND);
    writes.push(Write {
        truncate_from: Some(LogIndex(6)),
        entries: entries(6, 2, 1, 9).entries,
        ..snapshot(SECOND, InstallMode::Keep)
    });
    store.write(&writes[3..]).expect("fits");
    store.remove_snapshot(FIRST).expect("a disk that works");
    assert_eq!(snapshots(store.disk_mut()), [name(FIRST), name(SECOND)]);
    store.sync().expect("a disk that works");
    assert_eq!(snapshots(store.disk_mut()), [name(FIRST), name(SECOND)], "it may still be sent to a peer");
    store.remove_snapshot(FIRST).expect("a disk that works");
    assert_eq!(snapshots(store.disk_mut()), [name(SECOND)]);
    let (mut store, recovery) = open(store.into_disk());
    let model = Model::of(&writes);
    model.check(&recovery.restored, LogIndex(0), OPTIONS.tail_bytes);
    model.check_snapshot(&mut store);
    model.check_reads(&mut store, LogIndex(0));
}

/// A snapshot with Discard empties the log, which then continues after the snapshot, over several segments.
pub(super) fn a_snapshot_discards_the_log<D: Disk>(disk: D) {
    let (mut store, mut writes) = kept(disk);
    for last in [EntryId::new(5, 2), EntryId::new(90, 4)] {
        save(&mut store, last);
        let next = last.index.0 + 1;
        writes.push(Write { entries: entries(next, 2, 7, 50).entries, ..snapshot(last, InstallMode::Discard) });
        store.write(&writes[writes.len() - 1..]).expect("fits");
        Model::of(&writes).check_reads(&mut store, LogIndex(0));
        for index in next + 2..next + 7 {
            put(&mut store, &mut writes, entries(index, 1, 7, 1500));
        }
        let (reopened, recovery) = open(store.into_disk());
        store = reopened;
        let model = Model::of(&writes);
        model.check(&recovery.restored, LogIndex(0), OPTIONS.tail_bytes);
        assert_eq!(recovery.records, writes.len() as u64, "record numbers continue");
        model.check_reads(&mut store, LogIndex(0));
        model.check_snapshot(&mut store);
        assert_eq!(snapshots(store.disk_mut()), [name(last)]);
    }
    let segments = store.disk_mut().list().expect("a disk that works");
    assert!(!segments.contains(&file(1)), "a discarded log takes no space: {segments:?}");
}

/// A snapshot takes effect only when a record names it; a start deletes the others.
pub(super) fn an_unnamed_snapshot_is_deleted<D: Disk>(disk: D) {
    let (mut store, writes) = kept(disk);
    store.save_snapshot(&meta(SECOND), b"a later attempt replaces this one").expect("a disk that works");
    save(&mut store, SECOND);
    assert_eq!(store.load_snapshot(SECOND), Ok(data_of(SECOND)));
    store.remove_snapshot(SECOND).expect("it is there");
    store.remove_snapshot(SECOND).expect("removed already");
    assert_eq!(snapshots(store.disk_mut()), [name(FIRST)]);
    store.remove_snapshot(FIRST).expect("it is named");
    store.save_snapshot(&meta(FIRST), b"another's").expect("it is named");
    assert_eq!(store.load_snapshot(FIRST), Ok(data_of(FIRST)), "and stays so");
    save(&mut store, SECOND);
    let mut disk = store.into_disk();
    let unfinished = name(EntryId::new(6, 1)) + ".new";
    disk.create(&unfinished).expect("a new name");
    let (mut store, recovery) = open(disk);
    Model::of(&writes).check(&recovery.restored, LogIndex(0), OPTIONS.tail_bytes);
    assert_eq!(snapshots(store.disk_mut()), [name(FIRST)]);
    assert!(matches!(store.load_snapshot(SECOND), Err(StoreError::NoSnapshot { .. })));
    let unsaved = store.write(&[snapshot(SECOND, InstallMode::Keep)]).expect_err("its file is gone");
    assert!(matches!(unsaved, StoreError::InvalidWrite { .. }), "{unsaved}");
}

/// The named snapshot must exist, have its length, and match its record in the log.
pub(super) fn a_damaged_snapshot_is_refused<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let (store, writes) = kept(fresh());
    let mut disk = store.into_disk();
    let bytes = content(&mut disk, &name(FIRST));
    for length in [0, 31, 32, bytes.len() as u64 - 1, bytes.len() as u64 + 1] {
        disk.set_len(&name(FIRST), length).expect("there");
        let (error, back) = refusal(disk);
        disk = back;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{length} bytes: {error}");
        disk.set_len(&name(FIRST), 0).expect("there");
        disk.write(&name(FIRST), 0, &bytes).expect("there");
    }
    // Another snapshot has the same last entry and another configuration.
    let (mut other, _) = open(fresh());
    let configuration = meta(SECOND).configuration;
    other.save_snapshot(&SnapshotMeta { configuration, ..meta(FIRST) }, b"").expect("a disk that works");
    let others = content(other.disk_mut(), &name(FIRST));
    disk.set_len(&name(FIRST), 0).expect("there");
    disk.write(&name(FIRST), 0, &others).expect("there");
    let (error, back) = refusal(disk);
    disk = back;
    assert!(error.to_string().contains("the log names"), "{error}");
    disk.write(&name(FIRST), 0, &bytes).expect("there");
    // The file belongs to another snapshot.
    disk.rename(&name(FIRST), &name(SECOND)).expect("there");
    let (error, mut disk) = refusal(disk);
    let text = error.to_string();
    assert!(text.contains(&name(FIRST)) && text.contains("missing") && text.contains("new id"), "{text}");
    assert_eq!(snapshots(&mut disk), [name(SECOND)], "a refusal changes nothing");
    disk.rename(&name(SECOND), &name(FIRST)).expect("there");
    // The file is damaged after the start.
    let (mut store, _) = open(disk);
    flip(store.disk_mut(), &name(FIRST), 200);
    let error = store.load_snapshot(FIRST).expect_err("damaged");
    assert!(matches!(&error, StoreError::Corrupt { file, .. } if *file == name(FIRST)), "{error}");
    store.disk_mut().remove(&name(FIRST)).expect("there");
    let error = store.load_snapshot(FIRST).expect_err("gone");
    assert!(matches!(&error, StoreError::Disk(disk) if disk.kind == DiskErrorKind::NotFound), "{error}");
    // A newer snapshot replaces it.
    save(&mut store, SECOND);
    store.write(&[snapshot(SECOND, InstallMode::Keep)]).expect("fits");
    let writes: Vec<Write> = writes.into_iter().chain([snapshot(SECOND, InstallMode::Keep)]).collect();
    let (_, recovery) = open(store.into_disk());
    Model::of(&writes).check(&recovery.restored, LogIndex(0), OPTIONS.tail_bytes);
}
