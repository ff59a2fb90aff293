//! Each possible effect of a power loss, and each barrier that prevents it.

use super::{Choice, ChoiceKind, PowerLoss, PowerLossReport, SimDisk, Stop};
use proptest::collection::vec;
use proptest::prelude::*;
use raft_store::Disk;

fn content(disk: &mut SimDisk, file: &str) -> Vec<u8> {
    let mut bytes = vec![0; disk.len(file).expect("there") as usize];
    disk.read(file, 0, &mut bytes).expect("there");
    bytes
}

/// A disk with the durable file `a` of this content.
fn durable(bytes: &[u8]) -> SimDisk {
    let mut disk = SimDisk::new();
    disk.create("a").and_then(|()| disk.write("a", 0, bytes)).expect("new");
    disk.sync("a").and_then(|()| disk.sync_folder()).expect("there");
    disk
}

/// Answers for a kind and an operation; 1 (kept) for all others.
fn choose(answers: &[(ChoiceKind, u64, u64)]) -> impl FnMut(Choice) -> u64 {
    move |choice| {
        let answer = answers.iter().find(|(kind, operation, _)| (*kind, *operation) == (choice.kind, choice.operation));
        answer.map_or(1, |(_, _, answer)| *answer)
    }
}

#[test]
fn a_machine_that_stops_does_no_further_call_until_its_crash_is_carried_out() {
    let mut disk = durable(b"old");
    let before = disk.operations();
    disk.stop_at(Stop { after: 2, from_creation: true });
    disk.write("a", 0, b"not counted").expect("nothing was created yet");
    disk.create("log").expect("the first call");
    disk.write("log", 0, b"new").expect("the second");
    assert!(disk.has_stopped());
    let refused = [disk.sync("log"), disk.write("log", 3, b"!"), disk.sync_folder(), disk.remove("log")];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert_eq!(content(&mut disk, "log"), b"new", "reading goes on");
    assert_eq!(disk.operations(), before + 3, "a refused call does not count as an operation");
    disk.crash_power(PowerLoss::KeepNothing);
    assert_eq!(disk.list().map(|names| names.len()), Ok(1), "the file's name was not synced");
    disk.create("log").expect("it runs again");
}

#[test]
fn a_kill_takes_nothing_and_settles_nothing() {
    let mut disk = durable(b"old");
    disk.write("a", 0, b"new").expect("there");
    disk.crash_kill();
    assert_eq!(content(&mut disk, "a"), b"new");
    assert_eq!((disk.operations(), disk.durable_through()), (3, 2));
    let report = disk.crash_power(PowerLoss::KeepNothing);
    assert_eq!(content(&mut disk, "a"), b"old", "a later power loss takes it");
    assert_eq!(report, PowerLossReport { operations_lost: 1, bytes_lost: 3, ..Default::default() });
    assert_eq!(disk.durable_through(), 3, "settled");
}

#[test]
fn a_sync_is_a_barrier_for_its_file_alone() {
    let mut disk = durable(b"aa");
    disk.create("b").and_then(|()| disk.sync_folder()).expect("new");
    disk.write("a", 0, b"AA").and_then(|()| disk.write("b", 0, b"BB")).expect("there");
    disk.sync("b").expect("there");
    assert_eq!((disk.operations(), disk.durable_through()), (5, 3), "operation 4, in a, is not durable");
    disk.crash_power(PowerLoss::KeepNothing);
    assert_eq!((content(&mut disk, "a"), content(&mut disk, "b")), (b"aa".to_vec(), b"BB".to_vec()));
}

#[test]
fn a_later_write_may_survive_an_earlier_one() {
    let mut disk = durable(b"------");
    disk.write("a", 0, b"11").and_then(|()| disk.write("a", 2, b"22")).expect("there");
    let report = disk.crash_power(PowerLoss::Choose(&mut choose(&[(ChoiceKind::Write, 3, 0)])));
    assert_eq!(content(&mut disk, "a"), b"--22--");
    assert_eq!((report.operations_lost, report.bytes_lost), (1, 2));
}

#[test]
fn a_write_is_torn_at_sectors_in_front_behind_or_in_the_middle() {
    // 1000 bytes at 300: sectors 0 (300..512), 1 (512..1024), 2 (1024..1300).
    for (from, count, lost) in
        [(0, 0, 300..512), (0, 1, 300..1024), (1, 0, 512..1024), (1, 1, 512..1300), (2, 0, 1024..1300)]
    {
        let mut disk = durable(&[0; 1500]);
        disk.write("a", 300, &[1; 1000]).expect("there");
        let answers = [(ChoiceKind::Write, 3, 2), (ChoiceKind::TearFrom, 3, from), (ChoiceKind::TearCount, 3, count)];
        let report = disk.crash_power(PowerLoss::Choose(&mut choose(&answers)));
        let expected: Vec<u8> = (0..1500).map(|i| u8::from((300..1300).contains(&i) && !lost.contains(&i))).collect();
        assert_eq!(content(&mut disk, "a"), expected, "from {from} count {count}");
        let bytes_lost = lost.len() as u64;
        assert_eq!(report, PowerLossReport { torn_writes: 1, bytes_lost, ..Default::default() });
    }
}

#[test]
fn lengths_are_lost_and_kept() {
    let mut disk = durable(b"abcdef");
    disk.set_len("a", 2).and_then(|()| disk.set_len("a", 4)).expect("there");
    assert_eq!(content(&mut disk, "a"), b"ab\0\0");
    let mut other = disk.clone();
    disk.crash_power(PowerLoss::KeepNothing);
    assert_eq!(content(&mut disk, "a"), b"abcdef");
    other.crash_power(PowerLoss::KeepAll);
    assert_eq!(content(&mut other, "a"), b"ab\0\0");
}

#[test]
fn names_are_apart_from_content() {
    let mut disk = SimDisk::new();
    disk.create("new").and_then(|()| disk.write("new", 0, b"x")).and_then(|()| disk.sync("new")).expect("new");
    assert_eq!(disk.durable_through(), 0, "its content is durable, its name is not");
    let report = disk.crash_power(PowerLoss::KeepNothing);
    assert_eq!(disk.list(), Ok(vec![]), "content without a name is gone");
    assert_eq!((report.names_lost, report.operations_lost, report.bytes_lost), (1, 1, 0));
}

#[test]
fn a_rename_without_a_sync_of_the_folder_is_kept_or_lost_whole() {
    let mut disk = durable(b"old");
    disk.create("t").and_then(|()| disk.write("t", 0, b"new")).expect("new");
    disk.sync("t").and_then(|()| disk.sync_folder()).and_then(|()| disk.rename("t", "a")).expect("there");
    assert_eq!(content(&mut disk, "a"), b"new");
    let (mut lost, mut kept) = (disk.clone(), disk.clone());
    lost.crash_power(PowerLoss::KeepNothing);
    assert_eq!(lost.list(), Ok(vec!["a".to_owned(), "t".to_owned()]));
    assert_eq!((content(&mut lost, "a"), content(&mut lost, "t")), (b"old".to_vec(), b"new".to_vec()));
    kept.crash_power(PowerLoss::KeepAll);
    disk.sync_folder().expect("works");
    disk.crash_power(PowerLoss::KeepNothing);
    for mut disk in [kept, disk] {
        assert_eq!((disk.list(), content(&mut disk, "a")), (Ok(vec!["a".to_owned()]), b"new".to_vec()));
    }
}

#[test]
fn a_removal_comes_back_and_a_file_without_a_name_is_settled() {
    let mut disk = durable(b"old");
    disk.remove("a").expect("there");
    disk.clone().crash_power(PowerLoss::KeepAll);
    let mut lost = disk.clone();
    lost.crash_power(PowerLoss::KeepNothing);
    assert_eq!(content(&mut lost, "a"), b"old");
    disk.create("a").and_then(|()| disk.write("a", 0, b"x")).and_then(|()| disk.remove("a")).expect("new");
    disk.sync_folder().expect("works");
    assert_eq!(disk.durable_through(), disk.operations());
    assert!(disk.files.is_empty(), "files without a name take no memory");
}

proptest! {
    /// Two plain byte vectors, one readable and one durable, behave like the shared and copied pages.
    #[test]
    fn pages_are_a_vector(
        steps in vec((0..4_u8, 0..5000_usize, 0..2500_usize, any::<u8>()), 1..30),
    ) {
        let mut disk = durable(b"");
        let (mut seen, mut synced) = (Vec::new(), Vec::new());
        for (kind, offset, length, byte) in steps {
            match kind {
                0 => {
                    disk.write("a", offset as u64, &vec![byte; length]).expect("there");
                    if length > 0 {
                        seen.resize(seen.len().max(offset + length), 0);
                        seen[offset..offset + length].fill(byte);
                    }
                }
                1 => {
                    disk.set_len("a", offset as u64).expect("there");
                    seen.resize(offset, 0);
                }
                2 => {
                    disk.sync("a").expect("there");
                    synced.clone_from(&seen);
                    prop_assert_eq!(disk.durable_through(), disk.operations());
                }
                _ => {
                    let mut all = disk.clone();
                    all.crash_power(PowerLoss::KeepAll);
                    prop_assert_eq!(&content(&mut all, "a"), &seen);
                    disk.crash_power(PowerLoss::KeepNothing);
                    seen.clone_from(&synced);
                }
            }
            prop_assert_eq!(&content(&mut disk, "a"), &seen);
        }
    }
}

#[test]
fn a_snapshot_that_is_not_finished_keeps_nothing_from_being_durable() {
    let mut disk = SimDisk::new();
    disk.create("log").unwrap();
    disk.sync_folder().unwrap();
    for name in ["snapshot-1-1.new", "snapshot-1-1.part"] {
        disk.create(name).unwrap();
        disk.write(name, 0, b"chunk").unwrap();
        assert_eq!(disk.durable_through(), disk.operations());
        disk.write("log", 0, b"entry").unwrap();
        assert!(disk.durable_through() < disk.operations());
        disk.sync("log").unwrap();
        assert_eq!(disk.durable_through(), disk.operations());
    }
    disk.remove("snapshot-1-1.part").unwrap();
    assert_eq!(disk.durable_through(), disk.operations());
    disk.rename("snapshot-1-1.new", "snapshot-1-1").unwrap();
    assert!(disk.durable_through() < disk.operations(), "finished, and its name is not durable");
}
