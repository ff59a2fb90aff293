//! Tests of the disk itself, and of a log without snapshots: written, torn and damaged.

use super::{RESERVING, content, entries, file, files, flip, fold, is_missing, open, put, refusal, state, used, vote};
use crate::wal::scan::{ExpectedLog, scan};
use crate::{Disk, DiskError, DiskErrorKind, MIN_SEGMENT_BYTES, Recovery, Store, StoreError};
use raft_core::{LogIndex, Write};

pub(super) fn the_disk_does_what_its_trait_says<D: Disk>(mut disk: D) {
    let kind = |result: Result<(), DiskError>| result.expect_err("must fail").kind;
    assert_eq!(disk.list(), Ok(vec![]));
    disk.create("b").expect("a new name");
    disk.create("a").expect("a new name");
    assert_eq!(disk.list(), Ok(vec!["a".to_owned(), "b".to_owned()]), "sorted");
    assert_eq!(kind(disk.create("a")), DiskErrorKind::Exists);
    disk.write("a", 3, b"xyz").expect("beyond the end");
    assert_eq!(content(&mut disk, "a"), b"\0\0\0xyz", "the gap is zeros");
    disk.write("a", 2, b"WX").expect("over what is there");
    assert_eq!(content(&mut disk, "a"), b"\0\0WXyz");
    let mut buffer = [9; 4];
    assert_eq!(disk.read("a", 4, &mut buffer), Ok(2), "the file ends");
    assert_eq!(&buffer[..2], b"yz");
    assert_eq!(disk.read("a", 60, &mut buffer), Ok(0));
    disk.set_len("a", 4).expect("cut");
    disk.set_len("a", 6).expect("grown");
    assert_eq!(content(&mut disk, "a"), b"\0\0WX\0\0", "the cut records do not return");
    disk.write("b", 0, b"old").expect("there");
    disk.rename("a", "b").expect("replaces");
    assert_eq!((disk.list(), disk.len("b")), (Ok(vec!["b".to_owned()]), Ok(6)));
    disk.sync("b").expect("there");
    disk.sync_folder().expect("always");
    disk.remove("b").expect("there");
    assert_eq!(disk.list(), Ok(vec![]));
    assert_eq!(kind(disk.remove("b")), DiskErrorKind::NotFound);
    assert_eq!(kind(disk.sync("b")), DiskErrorKind::NotFound);
    assert_eq!(kind(disk.write("b", 0, b"x")), DiskErrorKind::NotFound);
    assert_eq!(kind(disk.set_len("b", 1)), DiskErrorKind::NotFound);
    assert_eq!(kind(disk.rename("b", "c")), DiskErrorKind::NotFound);
    assert_eq!(kind(disk.len("b").map(drop)), DiskErrorKind::NotFound);
    assert_eq!(kind(disk.read("b", 0, &mut buffer).map(drop)), DiskErrorKind::NotFound);
}

pub(super) fn a_new_store_is_empty<D: Disk>(disk: D) {
    let (store, recovery) = open(disk);
    assert_eq!(recovery, Recovery::default());
    let (_, again) = open(store.into_disk());
    assert_eq!(again, Recovery::default());
}

/// Writes many groups in several segments, one larger than a segment, with truncations.
pub(super) fn all_groups_are_recovered<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    let mut writes = vec![vote(1, 1), entries(1, 3, 1, 10)];
    store.write(&writes).expect("a group of two");
    let mut next = 4;
    for number in 0..40_u64 {
        let truncate_from = (number % 7 == 6).then(|| LogIndex(next - 3));
        next = truncate_from.map_or(next, |from| from.0);
        let write = match number {
            20 => entries(next, 3, 2, 5000),
            _ => entries(next, 1, 2 + number / 7, 300 + number as usize),
        };
        next += write.entries.len() as u64;
        let write = Write { truncate_from, ..write };
        store.write(&[write.clone(), vote(3, number)]).expect("fits");
        writes.extend([write, vote(3, number)]);
        if number % 3 == 0 {
            store.sync().expect("a disk that works");
        }
        if number == 30 {
            let (reopened, recovery) = open(store.into_disk());
            assert_eq!(state(&recovery), fold(&writes));
            store = reopened;
        }
    }
    let (mut store, recovery) = open(store.into_disk());
    assert_eq!(state(&recovery), fold(&writes));
    assert_eq!((recovery.records, recovery.torn_tail), (writes.len() as u64, None));
    assert!(store.disk_mut().list().expect("a disk that works").len() > 3, "expected several segments");
    assert_eq!(store.disk_mut().len(&file(1)), Ok(MIN_SEGMENT_BYTES), "preallocated");
}

/// Makes three synced writes. Returns the disk, and the offsets of the records and of their end.
fn three_records<D: Disk>(disk: D) -> (D, Vec<Write>, Vec<u64>) {
    let writes = vec![vote(1, 2), entries(1, 2, 1, 700), entries(3, 1, 1, 40)];
    let (mut store, _) = open(disk);
    let mut starts = vec![64];
    for write in &writes {
        store.write(std::slice::from_ref(write)).expect("fits");
        store.sync().expect("a disk that works");
        let used = used(&content(store.disk_mut(), &file(1)));
        starts.push(used.next_multiple_of(8));
    }
    (store.into_disk(), writes, starts)
}

/// A bad record at the end is a torn write: it is cut and reported once, and the log continues.
pub(super) fn a_damaged_last_record_is_cut<D: Disk>(disk: D) {
    let (mut disk, mut writes, starts) = three_records(disk);
    flip(&mut disk, &file(1), starts[2] + 40);
    let (mut store, recovery) = open(disk);
    writes.pop();
    assert_eq!(state(&recovery), fold(&writes));
    let tail = recovery.torn_tail.expect("reported");
    assert_eq!((tail.file, tail.offset), (file(1), starts[2]));
    assert!(tail.bytes > 32 && tail.bytes <= starts[3] - starts[2]);
    assert_eq!(used(&content(store.disk_mut(), &file(1))).next_multiple_of(8), starts[2], "zeros from there on");
    writes.push(entries(3, 1, 1, 9));
    store.write(&writes[2..]).expect("fits");
    let (_, recovery) = open(store.into_disk());
    assert_eq!((state(&recovery), recovery.torn_tail), (fold(&writes), None));
}

/// Two full segments and a third one in use.
fn three_segments<D: Disk>(disk: D) -> (D, Vec<Write>) {
    let writes: Vec<Write> = (1..=5).map(|index| entries(index, 1, 1, 1500)).collect();
    let (mut store, _) = open(disk);
    for write in &writes {
        store.write(std::slice::from_ref(write)).expect("fits");
    }
    store.sync().expect("a disk that works");
    let mut disk = store.into_disk();
    assert_eq!(disk.list().map(|files| files.len()), Ok(3));
    (disk, writes)
}

/// An old segment was durable before its successor: any damage to it is corruption, even at its end.
pub(super) fn a_damaged_old_segment_is_refused<D: Disk>(fresh: &mut impl FnMut() -> D) {
    type Damage<D> = (&'static str, fn(&mut D));
    let damages: [Damage<D>; 5] = [
        ("the last record of segment 2", |disk| flip(disk, &file(2), 64 + 1600)),
        ("the last record of segment 2 is zeros", |disk| disk.write(&file(2), 1600, &[0; 2496]).expect("there")),
        ("segment 2 is shorter", |disk| disk.set_len(&file(2), 1700).expect("there")),
        ("segment 2 has no header", |disk| disk.write(&file(2), 0, &[0; 64]).expect("there")),
        ("segment 3 has records and no header", |disk| disk.write(&file(3), 0, &[0; 64]).expect("there")),
    ];
    for (label, damage) in damages {
        let (mut disk, _) = three_segments(fresh());
        damage(&mut disk);
        let before = disk.list();
        let (error, mut disk) = refusal(disk);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{label}: {error}");
        assert_eq!(disk.list(), before, "{label}: a refusal changes nothing");
    }
}

/// A removed segment is named, in the middle, as the first and as the newest, also where only the preallocated file of the
/// next one is left. The removal of the newest is noticed by that file, or by META's count.
pub(super) fn a_missing_segment_is_named<D: Disk>(fresh: &mut impl FnMut() -> D) {
    for removed in 1..=3 {
        let (mut disk, _) = three_segments(fresh());
        disk.create(&file(4)).and_then(|()| disk.set_len(&file(4), MIN_SEGMENT_BYTES)).expect("a spare file");
        disk.remove(&file(removed)).expect("there");
        let before = disk.list().expect("a disk that works");
        let (error, mut disk) = refusal(disk);
        assert!(is_missing(&error, &file(removed)), "{removed}: {error}");
        let text = error.to_string();
        assert!(before.iter().all(|file| text.contains(file)) && text.contains("put it back"), "{text}");
        assert_eq!(disk.list(), Ok(before), "a refusal changes nothing");
    }
    let (mut store, _) = Store::open(fresh(), RESERVING).unwrap_or_else(|error| panic!("{error}"));
    put(&mut store, &mut Vec::new(), vote(1, 1));
    while store.preallocate().expect("there is space") {}
    let mut disk = store.into_disk();
    assert_eq!(files(&mut disk, "wal-"), [file(1), file(2)]);
    disk.remove(&file(1)).expect("there");
    assert!(is_missing(&refusal(disk).0, &file(1)), "its spare file is not named as damaged");
    // Without the spare file only META knows.
    let (mut disk, writes) = three_segments(fresh());
    disk.remove(&file(3)).expect("there");
    let expected = ExpectedLog { exists: true, records: writes.len() as u64 };
    let error = scan(&mut disk, expected, &mut |_| {}).expect_err("META counts more");
    let text = error.to_string();
    assert!(text.contains("META counts") && text.contains(&format!("{} is missing", file(3))), "{text}");
}

/// A newest segment without a header and records is unfinished.
pub(super) fn an_unfinished_segment_is_removed<D: Disk>(disk: D) {
    let (mut disk, writes) = three_segments(disk);
    disk.create(&file(4)).expect("a new name");
    for torn in [&b""[..], b"raft w", &[0; 4096]] {
        disk.set_len(&file(4), 0).expect("there");
        disk.write(&file(4), 0, torn).expect("there");
        let (mut store, recovery) = open(disk);
        assert_eq!(state(&recovery), fold(&writes));
        let tail = recovery.torn_tail.expect("reported");
        assert_eq!((tail.file, tail.offset, tail.bytes), (file(4), 0, torn.len() as u64));
        assert_eq!(store.disk_mut().list().map(|files| files.len()), Ok(3));
        disk = store.into_disk();
        disk.create(&file(4)).expect("the name is free again");
    }
    // This holds for segment 1 too: the store is like new.
    for segment in 1..=4 {
        disk.remove(&file(segment)).expect("there");
    }
    disk.create(&file(1)).expect("a new name");
    let (store, recovery) = open(disk);
    assert_eq!((recovery.records, recovery.torn_tail.map(|tail| tail.file)), (0, Some(file(1))));
    assert_eq!(open(store.into_disk()).1, Recovery::default());
}

/// A later format is not reported as damage.
pub(super) fn a_newer_format_is_refused<D: Disk>(disk: D) {
    let (mut disk, _, _) = three_records(disk);
    let mut header = content(&mut disk, &file(1));
    header[8] = 7;
    let checksum = crc32c::crc32c(&header[..40]);
    header[40..44].copy_from_slice(&checksum.to_le_bytes());
    disk.write(&file(1), 0, &header[..64]).expect("there");
    let (error, _) = refusal(disk);
    assert_eq!(error, StoreError::NewerFormat { file: file(1), found: 7, supported: 1 });
}

/// A write that does not fit is not written, and poisons the store.
pub(super) fn invalid_writes_poison<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    store.write(&[entries(1, 1, 1, 8)]).expect("fits");
    let error = store.write(&[entries(2, 1, 1, 8), entries(4, 1, 1, 8)]).expect_err("a gap");
    assert!(matches!(error, StoreError::InvalidWrite { last: LogIndex(2), .. }), "{error}");
    let poisoned = StoreError::Poisoned(Box::new(error));
    assert_eq!(store.write(&[entries(2, 1, 1, 8)]), Err(poisoned.clone()));
    assert_eq!(store.sync(), Err(poisoned));
    let (mut store, recovery) = open(store.into_disk());
    assert_eq!(recovery.records, 1, "no write of the group was written");
    let mut beyond = vote(1, 1);
    beyond.truncate_from = Some(LogIndex(3));
    assert!(matches!(store.write(&[beyond]), Err(StoreError::InvalidWrite { .. })));
}
