//! The conformance suite in memory, failing disks, and random and damaged folders.

use crate::conformance::{self, DISK_ID, Damage, KnownFolder, Memory, OPTIONS, RESERVING, Step, entries, open, vote};
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
        let crashes = conformance::every_crash(options, &mut Memory::default, &|disk, check| check(disk));
        assert!(crashes > 300, "{crashes} crashes are too few");
    }
}

#[test]
fn a_kill_in_a_registration_leaves_the_old_peers_or_one_more() {
    let crashes = conformance::every_crash_of_a_registration(Memory::default(), &|disk, check| check(disk));
    assert!(crashes >= 6, "{crashes} crashes are too few");
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
fn a_snapshot_is_synced_every_mib() {
    let (mut store, _) = open(Memory::default());
    let (last, mib) = (raft_core::EntryId::new(1, 1), vec![7; 1 << 20]);
    let (before, meta) = (store.disk().syncs, conformance::meta(last));
    store.begin_snapshot(&meta).expect("works");
    (0..11).for_each(|_| store.extend_snapshot(&mib).expect("works"));
    assert_eq!(store.disk().syncs - before, 11, "after each MiB");
    store.finish_snapshot().expect("works");
    assert_eq!(store.disk().syncs - before, 12);
    let file = store.read_snapshot(last, 0, u64::MAX).expect("it is there").bytes;
    store.remove_snapshot(last).expect("works");
    let before = store.disk().syncs;
    for (chunk, number) in file.chunks(1 << 20).zip(0_u64..) {
        store.receive_snapshot(last, number << 20, chunk).expect("works");
    }
    assert_eq!(store.disk().syncs - before, 11);
    store.finish_received(&meta).expect("it is whole");
    store.verify_snapshot(last).expect("it is whole");
}

#[test]
fn options_are_checked_and_the_disk_comes_back() {
    let disk = Memory { syncs: 77, ..Memory::default() };
    let (error, disk) =
        Store::open(disk, crate::StoreOptions { segment_bytes: 4095, ..OPTIONS }).expect_err("small").into_parts();
    assert_eq!(error, StoreError::SegmentTooSmall { segment_bytes: 4095, minimum: 4096 });
    assert_eq!(disk.syncs, 77);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_run_agrees_with_the_model(steps in vec((any::<u8>(), any::<u16>(), any::<u16>()), 1..120)) {
        let steps: Vec<_> = steps.into_iter().map(|(kind, a, b)| Step(kind, a, b)).collect();
        let (_, lost) = conformance::random_run(Memory::default(), &steps, |disk, _, _| disk);
        prop_assert_eq!(lost, 0, "a kill loses nothing");
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
            disk.files.insert("FORMAT".to_owned(), crate::folder::meta_file::current_format());
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

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_bytes_make_a_folder_that_opens_or_is_refused(bytes in vec(any::<u8>(), 0..600)) {
        conformance::check_bytes(&bytes);
    }
}

/// A small log of several segments with votes, truncations, a snapshot, a compaction and a restart. Three synced groups
/// follow that META does not count.
fn small_log() -> KnownFolder {
    // Kind and two numbers of each step.
    let steps = [
        0, 2, 1, 5, 700, 1, 9, 0, 0, 6, 1400, 1, 9, 0, 0, 1, 60, 2, 9, 0, 0, 6, 1300, 2, 9, 0, 0, 2, 3, 1, 9, 0, 0, 11,
        4, 0, 6, 1200, 0, 15, 0, 0, 0, 3, 1, 9, 0, 0, 5, 90, 1, 9, 0, 0, 5, 40, 1, 9, 0, 0,
    ];
    let steps: Vec<Step> = steps.chunks(3).map(|step| Step(step[0] as u8, step[1], step[2])).collect();
    KnownFolder::of(&steps)
}

#[test]
fn a_flipped_byte_is_refused_or_harmless_except_in_the_last_group() {
    let folder = small_log();
    let (newest, known_durable) = &folder.known_durable;
    assert!(folder.disk.files.len() >= 5 && *known_durable > 64, "{folder:?}");
    let (mut refused, mut lost, mut harmless) = (0, 0, 0);
    for (file, content) in &folder.disk.files {
        let records = 64 + u64::from(u32::from_le_bytes(content[12..16].try_into().expect("four bytes")));
        for place in 0..content.len() as u64 {
            // The damage hits a segment's header or checkpoint, or another file.
            let always_matters = !file.starts_with("wal-") || place < 48 || (64..records).contains(&place);
            for bits in [0x01, 0xff] {
                match folder.check(&[(file.clone(), Damage::Flip(place, bits))]) {
                    Err(error) => {
                        let is_named = matches!(&error, StoreError::Corrupt { file: named, .. } if named == file);
                        assert!(is_named || !always_matters, "{file}, byte {place}: {error}");
                        refused += 1;
                    }
                    Ok(_) if always_matters => panic!("{file}, byte {place}: a start must refuse"),
                    Ok(recovery) if recovery.records < folder.writes.len() as u64 => {
                        assert!(file == newest && place >= *known_durable, "{file}, byte {place}");
                        assert_eq!(recovery.records + 1, folder.writes.len() as u64, "the last group");
                        lost += 1;
                    }
                    Ok(_) => harmless += 1,
                }
            }
        }
    }
    // The last group is one record of about 90 bytes. Padding and the bytes after the log's end may be damaged without
    // harm.
    assert!(refused > 8_000 && (100..300).contains(&lost) && harmless > 2_000, "{refused} {lost} {harmless}");
}

#[test]
fn damage_to_the_last_group_is_cut() {
    let folder = small_log();
    let (newest, known_durable) = folder.known_durable.clone();
    let ends = |damage| folder.check(&[(newest.clone(), damage)]).map(|recovery| recovery.records);
    let all = folder.writes.len() as u64;
    assert_eq!(ends(Damage::Append(50, 7)), Ok(all), "a longer file");
    assert_eq!(ends(Damage::Cut(known_durable + 20)), Ok(all - 1));
    assert_eq!(ends(Damage::Fill(known_durable, 4096, 0)), Ok(all - 1));
    // The frames that could show it are gone too, and META does not count these records.
    assert_eq!(ends(Damage::Fill(known_durable - 8, 4096, 0)), Ok(all - 2));
    ends(Damage::Cut(80)).expect_err("the snapshot was named here, and segments were deleted for it");
    let known = vec![(newest.clone(), Damage::Remove)];
    folder.check(&known).expect_err("META counts more");
    ends(Damage::Swap(2)).expect_err("another file");
}
