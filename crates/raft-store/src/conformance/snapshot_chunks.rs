//! Tests of snapshots that are written or received in chunks.

use super::{OPTIONS, content, entries, files, flip, open};
use crate::conformance::log_model::{data_of, file_of, meta, save, snapshot};
use crate::snapshots::snapshot_file::snapshot_name as name;
use crate::{Disk, Store, StoreError};
use raft_core::{EntryId, InstallMode, SnapshotMeta};

const LAST: EntryId = EntryId::new(2, 1);
const OTHER: EntryId = EntryId::new(3, 1);

fn snapshots<D: Disk>(store: &mut Store<D>) -> Vec<String> {
    files(store.disk_mut(), "snapshot-")
}

fn make<D: Disk>(store: &mut Store<D>, last: EntryId, size: usize) {
    store.begin_snapshot(&meta(last)).expect("a disk that works");
    data_of(last).chunks(size).for_each(|chunk| store.extend_snapshot(chunk).expect("a disk that works"));
}

fn send<D: Disk>(store: &mut Store<D>, last: EntryId, file: &[u8], size: usize) {
    let mut offset = 0;
    for chunk in file.chunks(size) {
        store.receive_snapshot(last, offset, chunk).expect("a disk that works");
        offset += chunk.len() as u64;
    }
}

/// The chunks' size does not change the file.
pub(super) fn chunks_of_any_size_make_the_same_file<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let whole = file_of(LAST);
    let (mut store, _) = open(fresh());
    let bytes = data_of(LAST).len();
    for size in (1..20).chain((20..bytes).step_by(53)).chain(bytes - 1..bytes + 2) {
        make(&mut store, LAST, size);
        store.extend_snapshot(b"").expect("nothing to do");
        store.finish_snapshot().expect("a disk that works");
        assert!(content(store.disk_mut(), &name(LAST)) == whole, "{size} bytes at a time");
    }
    store.begin_snapshot(&meta(OTHER)).and_then(|()| store.finish_snapshot()).expect("a disk that works");
    assert_eq!(store.load_snapshot(OTHER), Ok(bytes::Bytes::new()), "no data at all");
    assert_eq!(snapshots(&mut store), [name(LAST), name(OTHER)]);
}

/// The chunks' size does not change a received file, which is a snapshot like any other.
pub(super) fn a_received_file_is_the_same_file<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let whole = file_of(LAST);
    let (mut store, _) = open(fresh());
    for size in (1..12).chain([whole.len() / 2, whole.len() - 1, whole.len()]) {
        send(&mut store, LAST, &whole, size);
        store.finish_received(&meta(LAST)).expect("it is whole");
        assert!(content(store.disk_mut(), &name(LAST)) == whole, "{size} bytes at a time");
        assert_eq!(store.load_snapshot(LAST), Ok(data_of(LAST)));
    }
    store.write(&[entries(1, 2, 1, 9), snapshot(LAST, InstallMode::Keep)]).and_then(|()| store.sync()).expect("fits");
    let (mut store, recovery) = open(store.into_disk());
    assert_eq!(recovery.restored.snapshot, Some(meta(LAST)));
    assert_eq!(store.load_snapshot(LAST), Ok(data_of(LAST)));
}

/// The store refuses and removes a file with a changed byte or another length, and
/// accepts the next one.
pub(super) fn a_changed_file_is_refused<D: Disk>(disk: D) {
    let whole = file_of(LAST).to_vec();
    let (mut store, _) = open(disk);
    let mut refuse = |file: &[u8], meta: &SnapshotMeta, what: &str| {
        send(&mut store, LAST, file, 200);
        let error = store.finish_received(meta).expect_err(what);
        assert!(matches!(&error, StoreError::Damaged { file, .. } if *file == name(LAST)), "{what}: {error}");
        assert_eq!(snapshots(&mut store), [""; 0], "{what}");
        assert_eq!(store.finish_received(meta), Err(StoreError::NotBegun), "{what}");
        error.to_string()
    };
    for place in 0..whole.len() {
        let mut file = whole.clone();
        file[place] ^= 1 << (place % 8);
        refuse(&file, &meta(LAST), &format!("byte {place}"));
    }
    for length in 1..whole.len() {
        refuse(&whole[..length], &meta(LAST), &format!("{length} bytes"));
    }
    refuse(&[&whole[..], b"x"].concat(), &meta(LAST), "a byte more");
    let others = SnapshotMeta { configuration: meta(OTHER).configuration, ..meta(LAST) };
    let text = refuse(&whole, &others, "another configuration");
    assert!(text.contains("expected"), "{text}");
    refuse(&file_of(OTHER), &meta(LAST), "the snapshot of another entry");
    let mut newer = whole.clone();
    newer[8] += 1;
    let sum = crc32c::crc32c(&newer[..24]);
    newer[24..28].copy_from_slice(&sum.to_le_bytes());
    let text = refuse(&newer, &meta(LAST), "a newer format");
    assert!(text.contains("format 2"), "{text}");
    send(&mut store, LAST, &whole, 300);
    store.finish_received(&meta(LAST)).expect("it is whole");
}

/// The store refuses a chunk that does not begin at the end of the file, and a step without a beginning.
pub(super) fn a_chunk_out_of_place_changes_nothing<D: Disk>(disk: D) {
    let (whole, other) = (file_of(LAST), file_of(OTHER));
    let (mut store, _) = open(disk);
    let elsewhere = |last, offset, end| Err(StoreError::OutOfPlace { file: name(last), offset, end });
    assert_eq!(store.receive_snapshot(LAST, 7, &whole[7..]), elsewhere(LAST, 7, 0));
    assert_eq!(store.finish_received(&meta(LAST)), Err(StoreError::NotBegun));
    assert_eq!(store.extend_snapshot(b"data"), Err(StoreError::NotBegun));
    assert_eq!(store.finish_snapshot(), Err(StoreError::NotBegun));
    store.drop_received().expect("there is none");
    store.receive_snapshot(LAST, 0, &whole[..100]).expect("a disk that works");
    for offset in [1, 99, 101, u64::MAX] {
        assert_eq!(store.receive_snapshot(LAST, offset, &whole[..9]), elsewhere(LAST, offset, 100));
    }
    assert_eq!(store.receive_snapshot(OTHER, 100, &other[100..]), elsewhere(OTHER, 100, 0));
    assert_eq!(store.finish_received(&meta(OTHER)), Err(StoreError::NotBegun));
    // Meanwhile this node writes a snapshot with the same last entry.
    make(&mut store, LAST, 77);
    store.receive_snapshot(LAST, 100, &whole[100..]).expect("it continues");
    store.finish_received(&meta(LAST)).expect("it is whole");
    store.finish_snapshot().expect("a disk that works");
    assert!(content(store.disk_mut(), &name(LAST)) == whole);
    // The transfer starts again, and then another snapshot begins.
    store.receive_snapshot(OTHER, 0, &other[..300]).expect("a disk that works");
    store.receive_snapshot(OTHER, 0, &other[..20]).expect("a disk that works");
    store.receive_snapshot(OTHER, 20, &other[20..]).expect("a disk that works");
    store.receive_snapshot(LAST, 0, &whole[..20]).expect("a disk that works");
    assert_eq!(snapshots(&mut store), [name(LAST), name(LAST) + ".part"]);
    store.drop_received().expect("there is one");
    assert_eq!(store.finish_received(&meta(LAST)), Err(StoreError::NotBegun));
    store.begin_snapshot(&meta(LAST)).expect("a disk that works");
    store.begin_snapshot(&meta(OTHER)).expect("a disk that works");
    assert_eq!(snapshots(&mut store), [name(LAST), name(OTHER) + ".new"]);
}

/// The store does not write a named snapshot again, whether a record names it before or meanwhile.
pub(super) fn a_named_snapshot_is_not_replaced<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    let others = SnapshotMeta { configuration: meta(OTHER).configuration, ..meta(LAST) };
    save(&mut store, LAST);
    for named_before in [false, true] {
        if named_before {
            store.begin_snapshot(&others).and_then(|()| store.extend_snapshot(b"another's")).expect("nothing to do");
            store.receive_snapshot(LAST, 0, b"anothe").expect("nothing to do");
            store.receive_snapshot(LAST, 6, b"r's").expect("nothing to do");
            assert_eq!(snapshots(&mut store), [name(LAST)]);
        } else {
            store.begin_snapshot(&others).and_then(|()| store.extend_snapshot(b"another's")).expect("not named");
            store.receive_snapshot(LAST, 0, b"another's").expect("not named");
            assert_eq!(snapshots(&mut store), [name(LAST), name(LAST) + ".new", name(LAST) + ".part"]);
            store.write(&[entries(1, 2, 1, 9), snapshot(LAST, InstallMode::Keep)]).expect("fits");
        }
        store.finish_snapshot().expect("nothing to do");
        store.finish_received(&others).expect("nothing to do");
        assert_eq!(snapshots(&mut store), [name(LAST)]);
        assert_eq!(store.load_snapshot(LAST), Ok(data_of(LAST)));
    }
}

/// The next start deletes an unfinished snapshot.
pub(super) fn an_unfinished_snapshot_is_no_snapshot<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    make(&mut store, LAST, 100);
    store.receive_snapshot(OTHER, 0, &file_of(OTHER)).expect("a disk that works");
    for last in [LAST, OTHER] {
        assert_eq!(store.load_snapshot(last), Err(StoreError::NoSnapshot { file: name(last) }));
        assert_eq!(store.verify_snapshot(last), Err(StoreError::NoSnapshot { file: name(last) }));
        assert_eq!(store.read_snapshot(last, 0, 9), Err(StoreError::NoSnapshot { file: name(last) }));
    }
    let (mut store, _) = open(store.into_disk());
    assert_eq!(snapshots(&mut store), [""; 0]);
    assert_eq!(store.finish_snapshot(), Err(StoreError::NotBegun));
    assert_eq!(store.finish_received(&meta(OTHER)), Err(StoreError::NotBegun));
    // A file from an earlier attempt is overwritten.
    store.disk_mut().create(&(name(LAST) + ".new")).expect("a new name");
    store.disk_mut().write(&(name(LAST) + ".new"), 0, &[7; 5000]).expect("there");
    make(&mut store, LAST, 100);
    store.finish_snapshot().expect("a disk that works");
    assert!(content(store.disk_mut(), &name(LAST)) == file_of(LAST));
}

/// A read returns the file's bytes, and an error if the header is damaged.
pub(super) fn a_file_is_read_in_chunks_of_any_size<D: Disk>(disk: D) {
    let whole = file_of(LAST);
    let (mut store, _) = open(disk);
    save(&mut store, LAST);
    let checksum = u32::from_le_bytes([whole[28], whole[29], whole[30], whole[31]]);
    for max_bytes in [0, 1, 33, 500, whole.len() as u64, OPTIONS.tail_bytes] {
        for offset in (0..whole.len() as u64 + 40).step_by(13).chain([u64::MAX]) {
            let chunk = store.read_snapshot(LAST, offset, max_bytes).expect("it is there");
            let rest = whole.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
            let expected = &rest[..usize::try_from(max_bytes).unwrap_or(usize::MAX).min(rest.len())];
            assert_eq!((chunk.size, chunk.checksum), (whole.len() as u64, checksum));
            assert!(chunk.bytes == expected, "{max_bytes} bytes at {offset}");
        }
    }
    store.verify_snapshot(LAST).expect("it is whole");
    let is_corrupt = |error: &StoreError| matches!(error, StoreError::Corrupt { file, .. } if *file == name(LAST));
    for place in (0..whole.len() as u64).filter(|place| *place < 64 || place.is_multiple_of(17)) {
        flip(store.disk_mut(), &name(LAST), place);
        let error = store.verify_snapshot(LAST).expect_err("damaged");
        assert!(is_corrupt(&error), "byte {place}: {error}");
        let header_says = place < 28;
        assert_eq!(
            store.read_snapshot(LAST, 40, 9).is_err_and(|error| is_corrupt(&error)),
            header_says,
            "byte {place}"
        );
        flip(store.disk_mut(), &name(LAST), place);
    }
    store.disk_mut().set_len(&name(LAST), whole.len() as u64 - 1).expect("there");
    assert!(store.read_snapshot(LAST, 0, 9).is_err_and(|error| is_corrupt(&error)), "shorter");
    save(&mut store, LAST);
    store.verify_snapshot(LAST).expect("saved again; the store is not poisoned");
}
