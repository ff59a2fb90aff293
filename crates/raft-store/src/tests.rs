//! The suite on a disk that is a map, failing disks, and folders full of anything.

use crate::conformance::{self, DISK_ID, Damage, Memory, OPTIONS, RESERVING, Step, entries, fold, open, vote};
use crate::{ClusterId, Identity, Store, StoreError, inspect, open_node};
use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::NodeId;

#[test]
fn the_conformance_suite_passes_in_memory() {
    conformance::check_all(Memory::default);
}

#[test]
fn a_kill_at_any_call_loses_nothing_that_was_written() {
    for options in [OPTIONS, RESERVING] {
        let crashes = conformance::every_crash_with(options, &mut Memory::default, &|disk, check| check(disk));
        assert!(crashes > 300, "{crashes} crashes are too few to mean something");
    }
}

#[test]
fn a_kill_in_a_meeting_leaves_the_peers_of_before_or_one_more() {
    let crashes = conformance::every_crash_of_a_meeting(Memory::default(), &|disk, check| check(disk));
    assert!(crashes >= 6, "{crashes} crashes are too few to mean something");
}

#[test]
fn what_a_start_hands_over_is_durable_even_if_an_earlier_sync_failed() {
    let failures = [OPTIONS, RESERVING].map(conformance::every_failed_sync);
    assert!(failures[0] >= 18 && failures[1] > failures[0], "{failures:?} failed syncs are too few to mean something");
}

#[test]
fn a_group_is_one_write_and_one_sync() {
    let (mut store, _) = open(Memory::default());
    let (writes, syncs) = (store.disk().writes, store.disk().syncs);
    store.write(&[vote(1, 1), entries(1, 5, 1, 50), vote(2, 1)]).expect("fits");
    store.sync().expect("works");
    store.sync().expect("nothing to do");
    store.write(&[]).expect("nothing to do");
    assert_eq!((store.disk().writes - writes, store.disk().syncs - syncs), (1, 1));
}

#[test]
fn no_sync_has_a_whole_snapshot_to_write() {
    let (mut store, _) = open(Memory::default());
    let (last, mib) = (raft_core::EntryId::new(1, 1), vec![7; 1 << 20]);
    let (before, meta) = (store.disk().syncs, conformance::meta(last));
    store.begin_snapshot(&meta).expect("works");
    (0..11).for_each(|_| store.extend_snapshot(&mib).expect("works"));
    assert_eq!(store.disk().syncs - before, 2, "after 4 MiB, and after 8");
    store.finish_snapshot().expect("works");
    assert_eq!(store.disk().syncs - before, 3);
    let file = store.read_snapshot(last, 0, u64::MAX).expect("it is there").bytes;
    store.remove_snapshot(last).expect("works");
    let before = store.disk().syncs;
    for (piece, number) in file.chunks(1 << 20).zip(0_u64..) {
        store.receive_snapshot(last, number << 20, piece).expect("works");
    }
    assert_eq!(store.disk().syncs - before, 2);
    store.finish_received(&meta).expect("it is whole");
    store.verify_snapshot(last).expect("it is whole");
}

#[test]
fn whichever_call_fails_the_store_is_poisoned_and_recovers_a_prefix() {
    let writes: Vec<_> = (1..=8).map(|index| entries(index, 1, 1, 1200)).collect();
    let mut failures = 0;
    for calls in 0..40 {
        let disk = Memory { calls_left: Some(calls), ..Memory::default() };
        let mut synced = 0;
        let mut disk = match Store::open(disk, OPTIONS) {
            Err(error) => error.disk,
            Ok((mut store, _)) => {
                for (number, write) in writes.iter().enumerate() {
                    let result = store.write(std::slice::from_ref(write)).and_then(|()| store.sync());
                    let Err(error) = result else {
                        synced = number + 1;
                        continue;
                    };
                    assert!(matches!(error, StoreError::Disk(_)), "{error}");
                    store.disk_mut().calls_left = None;
                    assert_eq!(store.sync(), Err(StoreError::Poisoned(Box::new(error))), "never retried");
                    failures += 1;
                    break;
                }
                store.into_disk()
            }
        };
        disk.calls_left = None;
        let (_, recovery) = open(disk);
        let records = recovery.records as usize;
        assert!(records >= synced && records <= synced + 1, "{records} records after {synced} syncs");
        assert_eq!(conformance::state(&recovery), fold(&writes[..records]));
    }
    assert!(failures > 10, "{failures} failures are too few to mean something");
}

#[test]
fn options_are_checked_and_the_disk_comes_back() {
    let disk = Memory { syncs: 77, ..Memory::default() };
    let (error, disk) =
        Store::open(disk, crate::StoreOptions { segment_bytes: 4095, ..OPTIONS }).expect_err("small").into_parts();
    assert_eq!(error, StoreError::SegmentTooSmall { segment_bytes: 4095, minimum: 4096 });
    assert_eq!(disk.syncs, 77);
}

#[test]
fn texts_say_what_where_and_what_to_do() {
    let (mut store, _) = open(Memory::default());
    store.write(&[vote(1, 1)]).and_then(|()| store.sync()).expect("works");
    store.write(&[vote(2, 1)]).and_then(|()| store.sync()).expect("works");
    let mut disk = store.into_disk();
    disk.files.get_mut("wal-0000000000000001").expect("there")[100] ^= 1;
    let text = conformance::refusal(disk).0.to_string();
    for part in ["wal-0000000000000001", "at byte 64", "new id"] {
        assert!(text.contains(part), "{part} in: {text}");
    }
}

/// A disk with a few segments in it, to be damaged.
fn filled() -> Memory {
    let (mut store, _) = open(Memory::default());
    for index in 1..=9 {
        store.write(&[entries(index, 1, 1, 700), vote(1, index)]).expect("fits");
    }
    store.into_disk()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_life_is_that_of_the_model(steps in vec((any::<u8>(), any::<u16>(), any::<u16>()), 1..120)) {
        let steps: Vec<_> = steps.into_iter().map(|(kind, a, b)| Step(kind, a, b)).collect();
        // A kill loses nothing but a torn write, which is cut.
        let (_, taken) = conformance::live(Memory::default(), &steps, |disk, _, _| disk);
        prop_assert_eq!(taken, 0);
    }
}

proptest! {
    #[test]
    fn any_folder_opens_or_is_refused(
        files in proptest::collection::btree_map(
            prop_oneof!["wal-000000000000000[0-4]", "[a-z-]{0,8}"], vec(any::<u8>(), 0..300), 0..5),
    ) {
        let disk = Memory { files, ..Memory::default() };
        if let Ok((store, recovery)) = Store::open(disk, OPTIONS) {
            let (_, again) = open(store.into_disk());
            prop_assert_eq!(again.restored, recovery.restored);
            prop_assert_eq!(again.torn_tail, None, "a tail is cut once");
        }
    }

    #[test]
    fn any_folder_starts_a_node_or_is_refused(
        files in proptest::collection::btree_map(
            prop_oneof!["wal-000000000000000[0-3]", "(FORMAT|META|PEERS)(.new)?", "[a-z]{1,3}"], vec(any::<u8>(), 0..99), 0..4),
        whole_format: bool,
    ) {
        let identity = Identity { cluster: ClusterId([7; 16]), node: NodeId(1) };
        let mut disk = Memory { files, ..Memory::default() };
        if whole_format {
            disk.files.insert("FORMAT".to_owned(), crate::folder::meta_file::present_format());
        }
        let before = disk.files.clone();
        match open_node(disk, identity, DISK_ID, Some(&vote(1, 1)), OPTIONS) {
            Err(error) => prop_assert_eq!(error.disk.files, before, "a refusal changes nothing"),
            Ok(opened) => {
                prop_assert_eq!((opened.incarnation, opened.recovery.records), (1, 1));
                let mut disk = opened.store.into_disk();
                let seen = inspect(&mut disk, &mut |_| {});
                prop_assert_eq!(seen.map(|seen| seen.owner), Ok(Some((identity, 1))));
            }
        }
    }

    #[test]
    fn any_damage_leaves_a_prefix_or_is_refused(
        changes in vec((1..4_u64, 0..4096_usize, any::<u8>(), 1..80_usize), 1..4), cut in proptest::option::of(0..4096_usize),
    ) {
        let mut disk = filled();
        let all = open(disk.clone()).1;
        for (segment, offset, byte, count) in changes {
            if let Some(content) = disk.files.get_mut(&format!("wal-{segment:016}")) {
                content.iter_mut().skip(offset).take(count).for_each(|place| *place = byte);
            }
        }
        if let (Some(cut), Some(mut last)) = (cut, disk.files.last_entry()) {
            last.get_mut().truncate(cut);
        }
        if let Ok((_, found)) = Store::open(disk, OPTIONS) {
            prop_assert!(found.records <= all.records);
            let (found, all) = (found.restored.tail, all.restored.tail);
            prop_assert_eq!(&found, &all.slice(0, found.len()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn whatever_a_folder_holds_nothing_is_invented(bytes in vec(any::<u8>(), 0..600)) {
        conformance::judge_bytes(&bytes);
    }
}

/// A small log of several segments with all that there is in one: votes, truncations, a snapshot, a compaction, a restart
/// of which META knows, and after it three synced groups of which it does not.
fn small_log() -> conformance::Lived {
    let steps = [
        (0, 2, 1),
        (5, 700, 1),
        (9, 0, 0),
        (6, 1400, 1),
        (9, 0, 0),
        (1, 60, 2),
        (9, 0, 0),
        (6, 1300, 2),
        (9, 0, 0),
        (2, 3, 1),
        (9, 0, 0),
        (11, 4, 0),
        (6, 1200, 0),
        (15, 0, 0),
        (0, 3, 1),
        (9, 0, 0),
        (5, 90, 1),
        (9, 0, 0),
        (5, 40, 1),
        (9, 0, 0),
    ];
    conformance::Lived::of(&steps.map(|(kind, a, b)| Step(kind, a, b)))
}

#[test]
fn a_flipped_byte_is_found_or_harmless_unless_nothing_written_later_vouches_for_it() {
    let lived = small_log();
    let (newest, known_durable) = &lived.known_durable;
    assert!(lived.disk.files.len() >= 5 && *known_durable > 64, "{lived:?}");
    let (mut refused, mut lost, mut harmless) = (0, 0, 0);
    for (file, content) in &lived.disk.files {
        for place in 0..content.len() as u64 {
            for bits in [0x01, 0xff] {
                match lived.judge(&[(file.clone(), Damage::Flip(place, bits))]) {
                    Err(_) => refused += 1,
                    Ok(recovery) if recovery.records < lived.writes.len() as u64 => {
                        // Both of these are checked by the judge as well.
                        assert!(file == newest && place >= *known_durable, "{file}, byte {place}");
                        assert_eq!(recovery.records + 1, lived.writes.len() as u64, "the very last group");
                        lost += 1;
                    }
                    Ok(_) => harmless += 1,
                }
            }
        }
    }
    // The last group is one record of about 90 bytes; what is harmless is padding and what follows the log's end.
    assert!(refused > 8_000 && (100..300).contains(&lost) && harmless > 2_000, "{refused} {lost} {harmless}");
}

#[test]
fn damage_to_the_tail_is_cut_and_the_judge_sees_every_kind_of_end() {
    let lived = small_log();
    let (newest, known_durable) = lived.known_durable.clone();
    let ends = |damage| lived.judge(&[(newest.clone(), damage)]).map(|recovery| recovery.records);
    let all = lived.writes.len() as u64;
    assert_eq!(ends(Damage::Append(50, 7)), Ok(all), "a file that has grown");
    assert_eq!(ends(Damage::Cut(known_durable + 20)), Ok(all - 1));
    assert_eq!(ends(Damage::Fill(known_durable, 4096, 0)), Ok(all - 1));
    // More than the frames vouch for is gone, and with it whoever could tell; META can, as far as it knows.
    assert_eq!(ends(Damage::Fill(known_durable - 8, 4096, 0)), Ok(all - 2));
    ends(Damage::Cut(80)).expect_err("the snapshot was named here, and segments went on its strength");
    let known = vec![(newest.clone(), Damage::Remove)];
    lived.judge(&known).expect_err("and META knows more");
    ends(Damage::Swap(2)).expect_err("another file");
}
