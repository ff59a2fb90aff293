//! A node's folder on the simulated disk. Whatever call interrupts a start, and whatever a kill or a power loss leaves,
//! the next start continues. It never sees damage, and never starts without state that an earlier start reported.

use crate::dying::{every_loss, without_unsynced};
use raft_core::{NodeId, Write};
use raft_sim::world::disk::{PowerLoss, SimDisk};
use raft_store::conformance::{Dying, OPTIONS, as_format_1, entries, fold, vote};
use raft_store::{ClusterId, Disk, DiskId, Identity, OpenError, Opened, StoreError, inspect, open_node};

const NODE: Identity = Identity { cluster: ClusterId(*b"the same cluster"), node: NodeId(3) };

/// The id for a folder without a disk id; a folder with one never gets it.
const DISK: DiskId = DiskId([1; 16]);
const NEWER: DiskId = DiskId([2; 16]);

fn start<D: Disk>(disk: D, founding: Option<&Write>) -> Result<Opened<D>, OpenError<D>> {
    open_node(disk, NODE, DISK, founding, OPTIONS)
}

/// The facts that starts before the crashes have reported.
#[derive(Clone, Copy)]
struct Told {
    /// The number of synced writes.
    synced: usize,
    /// The number of completed starts.
    starts: u64,
    /// The id of the disk.
    id: Option<DiskId>,
}

const NOTHING: Told = Told { synced: 0, starts: 0, id: None };

/// Starts a folder that must start. Checks that a power loss right after loses nothing, that no incarnation number
/// repeats, and that the disk keeps its id.
fn check(disk: SimDisk, writes: &[Write], Told { synced, starts, id }: Told) {
    let founding = Some(&writes[0]);
    let opened = open_node(disk, NODE, NEWER, founding, OPTIONS);
    let opened = opened.unwrap_or_else(|error| panic!("after nothing but crashes: {error}"));
    let Opened { mut store, recovery, incarnation, disk_id } = opened;
    assert!(incarnation > starts, "incarnation {incarnation} after {starts}");
    assert_eq!(disk_id, id.unwrap_or(disk_id));
    let records = recovery.records as usize;
    assert!((synced.max(1)..=writes.len()).contains(&records), "{records} records, {synced} synced");
    let restored = &recovery.restored;
    assert_eq!((restored.hard_state, restored.tail.clone()), fold(&writes[..records]));
    let again = open_node(without_unsynced(store.disk().clone()), NODE, DiskId([3; 16]), founding, OPTIONS);
    let again = again.expect("a power loss loses nothing that was reported");
    assert_eq!((again.recovery.records, again.incarnation), (recovery.records, incarnation + 1));
    assert_eq!(again.disk_id, disk_id);
    store.write(&[vote(9, 9)]).and_then(|()| store.sync()).expect("the log goes on");
}

/// Interrupts a start of `disk` after each call in turn. Returns the disk after each, as a kill leaves it.
fn cut_short(disk: &SimDisk, founding: Option<&Write>) -> Vec<SimDisk> {
    let mut left = Vec::new();
    while let Err(error) = start(Dying { disk: disk.clone(), calls_left: left.len() as u32 }, founding) {
        assert!(matches!(error.error, StoreError::Disk(_)), "{error}");
        left.push(error.disk.disk);
    }
    left
}

/// Checks every outcome of a kill and of a power loss now; returns how many there were.
fn every_end(disk: &SimDisk, writes: &[Write], told: Told) -> u64 {
    check(disk.clone(), writes, told);
    1 + every_loss(disk, |disk, _| check(disk, writes, told))
}

#[test]
fn a_folder_in_the_making_survives_every_crash_and_every_second_crash() {
    let writes = [Write { hard_state: vote(1, 3).hard_state, ..entries(1, 1, 1, 100) }];
    let mut ends = 0;
    let first = cut_short(&SimDisk::new(), Some(&writes[0]));
    assert!(first.len() > 20, "{} calls are too few to create a folder", first.len());
    for disk in &first {
        ends += every_end(disk, &writes, NOTHING);
        for disk in cut_short(disk, Some(&writes[0])) {
            ends += every_end(&disk, &writes, NOTHING);
        }
    }
    assert!(ends > 1_000, "{ends} ends are too few for a test");
}

/// A node that ran once: two synced writes and two unsynced ones, in two segments.
fn lived() -> (SimDisk, Vec<Write>) {
    let writes = vec![entries(1, 1, 1, 100), entries(2, 2, 1, 1500), entries(4, 1, 1, 1500), vote(2, 2)];
    let mut store = start(SimDisk::new(), Some(&writes[0])).expect("a new folder").store;
    store.write(&writes[1..2]).and_then(|()| store.sync()).expect("fits");
    store.write(&writes[2..3]).and_then(|()| store.write(&writes[3..])).expect("fits");
    (store.into_disk(), writes)
}

#[test]
fn a_later_start_survives_every_crash_and_every_second_crash() {
    let (disk, writes) = lived();
    let ends = every_later_start(&disk, &writes, Told { synced: 2, starts: 1, id: Some(DISK) });
    assert!(ends > 500, "{ends} ends are too few for a test");
}

#[test]
fn the_start_that_gives_a_folder_of_format_1_its_disk_id_survives_every_crash_and_every_second_crash() {
    let (mut disk, writes) = lived();
    as_format_1(&mut disk);
    let ends = every_later_start(&disk, &writes, Told { synced: 2, starts: 1, id: None });
    assert!(ends > 500, "{ends} ends are too few for a test");
    // An unfinished folder too, before the end of its first start.
    let mut ends = 0;
    for mut disk in cut_short(&SimDisk::new(), Some(&writes[0])) {
        if disk.len("META").is_err() {
            continue;
        }
        as_format_1(&mut disk);
        for disk in cut_short(&disk, Some(&writes[0])) {
            ends += every_end(&disk, &writes[..1], NOTHING);
        }
    }
    assert!(ends > 500, "{ends} ends are too few for a test");
}

/// Crashes now with a kill or a power loss, then makes every crash of a start, and every crash of a second start. Returns the number of
/// ends.
fn every_later_start(disk: &SimDisk, writes: &[Write], told: Told) -> u64 {
    let mut powerless = disk.clone();
    let mut number = 0;
    powerless.crash_power(PowerLoss::Choose(&mut |_| {
        number += 1;
        number
    }));
    let mut ends = 0;
    for disk in [disk, &powerless] {
        for disk in cut_short(disk, None) {
            ends += every_end(&disk, writes, told);
            for disk in cut_short(&disk, None) {
                ends += every_end(&disk, writes, told);
            }
        }
    }
    ends
}

#[test]
fn who_joins_starts_with_nothing_and_a_crash_makes_no_founder_of_it() {
    for disk in cut_short(&SimDisk::new(), None) {
        let opened = start(disk, None).expect("after a kill only");
        assert!(opened.recovery.records == 0 && opened.incarnation <= 2, "{}", opened.incarnation);
        let incarnation = opened.incarnation + 1;
        let again = start(opened.store.into_disk(), Some(&vote(1, 1))).expect("its folder");
        assert_eq!((again.recovery.records, again.incarnation), (0, incarnation), "it has run and is not new");
    }
}

/// The errors of a start and of an inspection for a folder that must be refused. Neither may change the folder.
fn refused(disk: SimDisk, identity: Identity) -> StoreError {
    let operations = disk.operations();
    let error = open_node(disk, identity, DISK, Some(&vote(1, 1)), OPTIONS).expect_err("it must be refused");
    assert_eq!(error.disk.operations(), operations, "{error}: touched");
    error.error
}

#[test]
fn what_is_missing_or_damaged_is_refused_and_left_alone() {
    let wal = "wal-0000000000000001";
    for file in ["FORMAT", "META", wal] {
        let mut disk = lived().0;
        disk.remove(file).expect("there");
        let looked = inspect(&mut disk, &mut |_| {}).expect_err("damage");
        let error = refused(disk, NODE);
        assert!(matches!(&error, StoreError::Missing { file: of, .. } if of == file), "{file}: {error}");
        assert_eq!(looked, error);
        for offset in 0..20 {
            let (mut disk, mut byte) = (lived().0, [0]);
            disk.read(file, offset, &mut byte).expect("there");
            disk.write(file, offset, &[byte[0] ^ 1]).expect("there");
            let error = refused(disk, NODE);
            assert!(matches!(&error, StoreError::Corrupt { file: of, .. } if of == file), "{file}: {error}");
        }
    }
    // If the whole log is gone, it differs from a log that never existed.
    let mut disk = lived().0;
    let logs: Vec<String> = disk.list().expect("works").into_iter().filter(|file| file.starts_with("wal")).collect();
    assert_eq!(logs.len(), 2);
    logs.iter().for_each(|file| disk.remove(file).expect("there"));
    let error = refused(disk, NODE);
    assert!(matches!(&error, StoreError::Missing { file, .. } if file.starts_with(wal)), "{error}");
}

#[test]
fn a_vanished_newest_segment_is_noticed_once_a_start_has_seen_it() {
    let mut disk = start(lived().0, None).expect("its folder").store.into_disk();
    disk.remove("wal-0000000000000002").expect("there");
    let error = refused(disk, NODE).to_string();
    assert!(error.contains("ends with record 2, but META counts 4"), "{error}");
}

#[test]
fn other_folders_are_refused_as_such() {
    let other_cluster = Identity { cluster: ClusterId(*b"another cluster!"), ..NODE };
    for identity in [other_cluster, Identity { node: NodeId(4), ..NODE }] {
        let error = refused(lived().0, identity);
        let expected = StoreError::Foreign { found: format!("the data of {NODE}"), expected: identity.to_string() };
        assert_eq!(error, expected);
    }
    let mut disk = SimDisk::new();
    disk.create("thesis.tex").expect("new");
    assert!(matches!(refused(disk, NODE), StoreError::Foreign { found, .. } if found.starts_with("thesis.tex, ")));
    let mut disk = lived().0;
    disk.create("notes").expect("new");
    start(disk, None).expect("it ignores other files");
    let mut disk = lived().0;
    let line = b"raft-store format 3\n";
    let text = format!("raft-store format 3\ncrc32c {:08x}\n", crc32c(line));
    disk.write("FORMAT", 0, text.as_bytes()).expect("there");
    assert_eq!(refused(disk, NODE), StoreError::NewerFormat { file: "FORMAT".to_owned(), found: 3, supported: 2 });
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}
