//! What every [`Disk`] must do, and what the store on top of it must then do. Generic over the disk, so that the
//! simulator's disk and real files pass the same suite. Panics with the reason if something does not hold.

mod compacted_log;
mod crash_points;
mod damaged_folder;
mod describe_folder;
mod dropping_disk;
mod full_disk;
mod log_model;
mod memory_disk;
mod peer_disks;
mod random_life;
mod saved_snapshots;
mod snapshot_chunks;

pub use crash_points::{Dying, Ends, every_crash, every_crash_with, every_failed_sync};
pub use damaged_folder::{Damage, Lived, judge_bytes, judge_folder};
pub use describe_folder::describe;
pub use dropping_disk::Dropping;
pub use full_disk::Quota;
pub use log_model::{Model, data_of, file_of, meta, save, snapshot};
pub use memory_disk::Memory;
pub use peer_disks::{as_format_1, every_crash_of_a_meeting};
pub use random_life::{Step, live};

use crate::{
    ClusterId, Disk, DiskError, DiskErrorKind, DiskId, Identity, MIN_SEGMENT_BYTES, Recovery, Store, StoreError,
    StoreOptions,
};
use bytes::Bytes;
use raft_core::{Entries, Entry, EntryId, HardState, InstallMode, LogIndex, NodeId, Payload, Term, Write, WriteId};

/// The smallest segments, so that a few records fill one; and all entries come back from a start.
pub const OPTIONS: StoreOptions =
    StoreOptions { segment_bytes: MIN_SEGMENT_BYTES, tail_bytes: u64::MAX, reserve_bytes: 0 };

/// The same with room made ahead.
pub const RESERVING: StoreOptions = StoreOptions { reserve_bytes: 2500, ..OPTIONS };

/// Whose the folders are, where it matters.
pub const IDENTITY: Identity = Identity { cluster: ClusterId(*b"a tested cluster"), node: NodeId(1) };

/// The disk id that such a folder gets if it has none.
pub const DISK_ID: DiskId = DiskId(*b"a disk like none");

/// The whole suite, but for crashes: [`every_crash`] and [`live`] need to know how the disk comes out of one. `fresh` makes
/// an empty disk each time.
pub fn check_all<D: Disk>(mut fresh: impl FnMut() -> D) {
    files_do_what_the_trait_says(fresh());
    a_new_store_is_empty(fresh());
    everything_comes_back(fresh());
    a_damaged_last_record_is_cut(fresh());
    damage_before_good_records_is_never_silent(&mut fresh);
    a_damaged_or_missing_old_segment_is_refused(&mut fresh);
    an_unfinished_segment_is_removed(fresh());
    a_newer_format_is_refused(fresh());
    misfits_poison(fresh());
    saved_snapshots::a_snapshot_keeps_the_log(fresh());
    saved_snapshots::a_snapshot_discards_the_log(fresh());
    saved_snapshots::an_unnamed_snapshot_is_nothing(fresh());
    saved_snapshots::a_damaged_snapshot_is_refused(&mut fresh);
    saved_snapshots::snapshots_that_do_not_fit_are_refused(&mut fresh);
    snapshot_chunks::pieces_of_any_size_make_the_same_file(&mut fresh);
    snapshot_chunks::a_file_from_a_peer_is_the_same_file(&mut fresh);
    snapshot_chunks::a_file_that_was_changed_on_its_way_is_refused(fresh());
    snapshot_chunks::what_does_not_follow_changes_nothing(fresh());
    snapshot_chunks::what_is_in_force_is_left_alone(fresh());
    snapshot_chunks::what_is_unfinished_is_nothing(fresh());
    snapshot_chunks::a_file_is_read_in_any_pieces(fresh());
    compacted_log::a_compacted_log_comes_back(fresh());
    compacted_log::a_compaction_rests_on_what_is_durable(fresh());
    compacted_log::the_tail_is_bounded(fresh());
    compacted_log::a_wrongly_missing_segment_is_refused(&mut fresh);
    compacted_log::a_damaged_checkpoint_is_refused(&mut fresh);
    compacted_log::votes_outlive_their_segments(fresh());
    compacted_log::a_foreign_segment_is_refused(&mut fresh);
    compacted_log::a_torn_checkpoint_is_that_of_an_unfinished_segment(&mut fresh);
    compacted_log::damage_is_noticed_when_it_is_read(fresh());
    full_disk::room_that_is_promised_is_there(&mut fresh);
    full_disk::an_old_segment_becomes_the_next_ones_file(&mut fresh);
    full_disk::a_call_that_finds_the_disk_full_loses_nothing(&mut fresh);
    peer_disks::who_was_met_is_known_at_every_later_start(fresh());
    peer_disks::a_full_disk_meets_nobody_and_goes_on(&mut fresh);
    peer_disks::a_file_of_peers_that_is_gone_or_damaged_is_refused(fresh());
    peer_disks::a_folder_of_format_1_gets_a_disk_id_and_keeps_it(fresh());
}

/// A write of entries `first..first + count` of a term, each with `bytes` bytes.
pub fn entries(first: u64, count: u64, term: u64, bytes: usize) -> Write {
    let payload = |index: u64| Payload::Command(Bytes::from(vec![index as u8 | 1; bytes]));
    let entries = (first..first + count).map(|i| Entry { id: EntryId::new(i, term), payload: payload(i) }).collect();
    Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot: None, entries }
}

/// A write of a hard state.
pub fn vote(term: u64, candidate: u64) -> Write {
    let hard_state = HardState { term: Term(term), voted_for: Some(NodeId(candidate)) };
    Write { id: WriteId(0), hard_state: Some(hard_state), truncate_from: None, snapshot: None, entries: Entries::new() }
}

/// The naive model of a log: what these writes add up to.
pub fn fold<'a>(writes: impl IntoIterator<Item = &'a Write>) -> (HardState, Entries) {
    let (mut hard_state, mut log) = (HardState::default(), Vec::new());
    for write in writes {
        hard_state = write.hard_state.unwrap_or(hard_state);
        log.retain(|entry: &Entry| write.truncate_from.is_none_or(|from| entry.id.index < from));
        if write.snapshot.as_ref().is_some_and(|record| record.log == InstallMode::Discard) {
            log.clear();
        }
        log.extend(write.entries.iter().cloned());
    }
    (hard_state, log.into())
}

/// Opens a store that must open.
pub fn open<D: Disk>(disk: D) -> (Store<D>, Recovery) {
    Store::open(disk, OPTIONS).unwrap_or_else(|error| panic!("the store must open: {error}"))
}

/// Opens a store that must not.
pub fn refusal<D: Disk>(disk: D) -> (StoreError, D) {
    match Store::open(disk, OPTIONS) {
        Ok((_, recovery)) => panic!("the store must refuse, and recovered {recovery:?}"),
        Err(error) => error.into_parts(),
    }
}

/// Hard state and entries as a start brought them back: what [`fold`] says if nothing was compacted.
pub fn state(recovery: &Recovery) -> (HardState, Entries) {
    (recovery.restored.hard_state, recovery.restored.tail.clone())
}

fn file(segment: u64) -> String {
    format!("wal-{segment:016}")
}

fn content<D: Disk>(disk: &mut D, file: &str) -> Vec<u8> {
    let length = disk.len(file).expect("the file is there");
    let mut bytes = vec![0; length as usize];
    let read = disk.read(file, 0, &mut bytes).expect("and can be read");
    assert_eq!(read as u64, length, "read fills the buffer if there is enough");
    bytes
}

fn flip<D: Disk>(disk: &mut D, file: &str, offset: u64) {
    let mut byte = [0];
    disk.read(file, offset, &mut byte).expect("the file is there");
    disk.write(file, offset, &[byte[0] ^ 0x10]).expect("and can be written");
    disk.sync(file).expect("and synced");
}

fn used(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |place| place as u64 + 1)
}

/// The trait itself.
pub fn files_do_what_the_trait_says<D: Disk>(mut disk: D) {
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
    assert_eq!(content(&mut disk, "a"), b"\0\0WX\0\0", "what was cut does not come back");
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

/// An empty folder is a new store, and stays one.
pub fn a_new_store_is_empty<D: Disk>(disk: D) {
    let (store, recovery) = open(disk);
    assert_eq!(recovery, Recovery::default());
    let (_, again) = open(store.into_disk());
    assert_eq!(again, Recovery::default());
}

/// Many groups, over several segments, one larger than a segment, with truncations.
pub fn everything_comes_back<D: Disk>(disk: D) {
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
    assert!(store.disk_mut().list().expect("a disk that works").len() > 3, "several segments were meant");
    assert_eq!(store.disk_mut().len(&file(1)), Ok(MIN_SEGMENT_BYTES), "preallocated");
}

/// Three synced writes; returns the disk and where each record starts and the last ends.
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

/// A bad record with nothing behind it is a torn write: cut, reported once, and the log goes on.
pub fn a_damaged_last_record_is_cut<D: Disk>(disk: D) {
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

/// Whatever byte before the last record is damaged: refused, or without effect (padding); never less data.
pub fn damage_before_good_records_is_never_silent<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let (mut disk, writes, starts) = three_records(fresh());
    let mut refused = 0;
    for offset in (0..starts[2]).filter(|offset| offset % 3 == 0 || *offset < 256) {
        flip(&mut disk, &file(1), offset);
        disk = match Store::open(disk, OPTIONS) {
            Ok((store, recovery)) => {
                assert_eq!(state(&recovery), fold(&writes), "byte {offset}");
                store.into_disk()
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error.error, StoreError::Corrupt { .. }), "byte {offset}: {error}");
                error.disk
            }
        };
        flip(&mut disk, &file(1), offset);
    }
    assert!(refused > 200, "most bytes matter, and {refused} did");
    assert_eq!(state(&open(disk).1), fold(&writes), "looking changed nothing");
}

/// Two full segments and a third in use.
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

/// An old segment was durable before its successor was made: any damage to it is corruption, even at its end.
pub fn a_damaged_or_missing_old_segment_is_refused<D: Disk>(fresh: &mut impl FnMut() -> D) {
    type Damage<D> = (&'static str, fn(&mut D));
    let damages: [Damage<D>; 7] = [
        ("the last record of segment 2", |disk| flip(disk, &file(2), 64 + 1600)),
        ("the last record of segment 2 is zeros", |disk| disk.write(&file(2), 1600, &[0; 2496]).expect("there")),
        ("segment 2 is shorter", |disk| disk.set_len(&file(2), 1700).expect("there")),
        ("segment 2 has no header", |disk| disk.write(&file(2), 0, &[0; 64]).expect("there")),
        ("segment 2 is missing", |disk| disk.remove(&file(2)).expect("there")),
        ("segment 1 is missing", |disk| disk.remove(&file(1)).expect("there")),
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

/// A newest segment without a header and without records was being created.
pub fn an_unfinished_segment_is_removed<D: Disk>(disk: D) {
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
        disk.create(&file(4)).expect("a name that is free again");
    }
    // The same for the very first segment: the store is as new.
    for segment in 1..=4 {
        disk.remove(&file(segment)).expect("there");
    }
    disk.create(&file(1)).expect("a new name");
    let (store, recovery) = open(disk);
    assert_eq!((recovery.records, recovery.torn_tail.map(|tail| tail.file)), (0, Some(file(1))));
    assert_eq!(open(store.into_disk()).1, Recovery::default());
}

/// A later format is refused as such, not as damage.
pub fn a_newer_format_is_refused<D: Disk>(disk: D) {
    let (mut disk, _, _) = three_records(disk);
    let mut header = content(&mut disk, &file(1));
    header[8] = 7;
    let checksum = crc32c::crc32c(&header[..40]);
    header[40..44].copy_from_slice(&checksum.to_le_bytes());
    disk.write(&file(1), 0, &header[..64]).expect("there");
    let (error, _) = refusal(disk);
    assert_eq!(error, StoreError::NewerFormat { file: file(1), found: 7, supported: 1 });
}

/// What could not be recovered is not written, and after any failure nothing is.
pub fn misfits_poison<D: Disk>(disk: D) {
    let (mut store, _) = open(disk);
    store.write(&[entries(1, 1, 1, 8)]).expect("fits");
    let error = store.write(&[entries(2, 1, 1, 8), entries(4, 1, 1, 8)]).expect_err("a gap");
    assert!(matches!(error, StoreError::InvalidWrite { last: LogIndex(2), .. }), "{error}");
    let poisoned = StoreError::Poisoned(Box::new(error));
    assert_eq!(store.write(&[entries(2, 1, 1, 8)]), Err(poisoned.clone()));
    assert_eq!(store.sync(), Err(poisoned));
    let (mut store, recovery) = open(store.into_disk());
    assert_eq!(recovery.records, 1, "nothing of the group was written");
    let mut beyond = vote(1, 1);
    beyond.truncate_from = Some(LogIndex(3));
    assert!(matches!(store.write(&[beyond]), Err(StoreError::InvalidWrite { .. })));
}
