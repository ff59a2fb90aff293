//! The store on the simulated disk. Whatever a kill or a power loss leaves, recovery returns the fold of a prefix of
//! the writes that contains every synced one, makes it durable, and never takes a torn tail for corruption.

use crate::dying::{every_loss, without_unsynced};
use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::{LogIndex, Write};
use raft_sim::world::disk::{Choice, ChoiceKind, InjectedError, PowerLoss, SimDisk};
use raft_store::conformance::{self, Dying, OPTIONS, RESERVING, entries, fold, open, refusal, vote};
use raft_store::{Recovery, Store};

#[test]
fn the_conformance_suite_passes() {
    conformance::check_all(SimDisk::new);
}

/// Checks a recovery against the model; returns the number of writes that survived.
fn kept(recovery: &Recovery, writes: &[Write], synced: usize) -> usize {
    let records = recovery.records as usize;
    assert!((synced..=writes.len()).contains(&records), "{records} of {}, {synced} synced", writes.len());
    let restored = &recovery.restored;
    assert_eq!((restored.hard_state, restored.tail.clone()), fold(&writes[..records]));
    records
}

/// Opens the disk after a crash and checks it: the state is durable, a cut leaves nothing, and the log continues.
/// Returns the recovered state.
fn check(disk: SimDisk, writes: &[Write], synced: usize) -> Recovery {
    let (mut store, recovery) = open(disk);
    let records = kept(&recovery, writes, synced);
    assert_eq!(store.disk().durable_through(), store.disk().operations(), "recovery syncs the returned state");
    let (_, again) = open(without_unsynced(store.disk().clone()));
    assert_eq!((again.records, again.torn_tail), (recovery.records, None), "a second power loss loses nothing");
    let more = [vote(9, 9)];
    store.write(&more).and_then(|()| store.sync()).expect("a disk that works");
    let (_, later) = open(without_unsynced(store.into_disk()));
    kept(&later, &[&writes[..records], &more].concat(), records + 1);
    assert_eq!(later.torn_tail, None, "the tail has not returned");
    recovery
}

#[test]
fn every_power_loss_over_unsynced_groups_leaves_a_prefix() {
    let groups: [&[Write]; 4] = [
        &[vote(1, 1), entries(1, 1, 1, 30)],
        &[entries(2, 2, 1, 300), vote(2, 1)],
        &[entries(4, 1, 2, 500)],
        &[vote(2, 2), entries(5, 1, 2, 10), entries(6, 1, 2, 10)],
    ];
    let writes = groups.concat();
    for synced_groups in 0..=groups.len() {
        let (mut store, _) = open(SimDisk::new());
        let mut synced = 0;
        for (number, group) in groups.iter().enumerate() {
            store.write(group).expect("fits");
            if number < synced_groups {
                store.sync().expect("a disk that works");
                synced += group.len();
            }
        }
        let disk = store.into_disk();
        let (mut torn, mut holes) = (0, 0);
        let outcomes = every_loss(&disk, |disk, report| {
            let recovery = check(disk, &writes, synced);
            torn += u64::from(recovery.torn_tail.is_some());
            // Not everything was lost, but nothing was recovered: a later group was after a hole.
            holes += u64::from(report.operations_lost == 1 && recovery.records as usize == synced);
        });
        let unsynced = groups.len() - synced_groups;
        assert!(unsynced == 0 || torn > 0, "{torn} torn tails in {outcomes} outcomes");
        assert!(unsynced < 2 || holes > 0, "{holes} holes in {outcomes} outcomes");
        assert!(outcomes >= 1 << unsynced);
    }
}

/// Runs a store through three segments, with one sync after every second group, and crashes it after `calls` calls.
/// Returns the disk, and the number of synced writes.
fn run_and_die(writes: &[Write], calls: u32) -> (SimDisk, usize) {
    let mut synced = 0;
    match Store::open(Dying { disk: SimDisk::new(), calls_left: calls }, OPTIONS) {
        Err(error) => (error.disk.disk, synced),
        Ok((mut store, _)) => {
            for (number, write) in writes.iter().enumerate() {
                if store.write(std::slice::from_ref(write)).is_err() {
                    break;
                }
                if number % 2 == 1 {
                    if store.sync().is_err() {
                        break;
                    }
                    synced = number + 1;
                }
            }
            (store.into_disk().disk, synced)
        }
    }
}

fn three_segments() -> Vec<Write> {
    let mut writes: Vec<Write> = (1..=7).map(|index| entries(index, 1, 1, 1300)).collect();
    writes[5] = Write { truncate_from: Some(LogIndex(3)), ..entries(3, 1, 2, 800) };
    writes[6] = vote(3, 1);
    writes
}

#[test]
fn every_power_loss_between_any_two_disk_calls_leaves_a_prefix() {
    let writes = three_segments();
    let mut unfinished = 0;
    for calls in 0..32 {
        let (disk, synced) = run_and_die(&writes, calls);
        check(disk.clone(), &writes, synced);
        every_loss(&disk, |disk, _| {
            let recovery = check(disk, &writes, synced);
            unfinished += u64::from(recovery.torn_tail.is_some_and(|tail| tail.offset == 0));
        });
    }
    assert!(unfinished > 5, "{unfinished} unfinished segments are too few for a test");
}

#[test]
fn every_power_loss_during_recovery_leaves_the_same() {
    let writes = three_segments();
    let mut crashes = 0;
    for calls in 0..32 {
        let (disk, synced) = run_and_die(&writes, calls);
        // One representative crash for each position, holes included: every other choice is a loss or a tear.
        for pattern in 0..4_u64 {
            let mut crashed = disk.clone();
            let mut number = pattern;
            crashed.crash_power(PowerLoss::Choose(&mut |choice| {
                number += 1;
                if pattern & 2 == 0 { number } else { number / 2 + choice.operation }
            }));
            let expected = open(crashed.clone()).1.records;
            for recovery_calls in 0..8 {
                let dying = Dying { disk: crashed.clone(), calls_left: recovery_calls };
                let Err(error) = Store::open(dying, OPTIONS) else { break };
                every_loss(&error.disk.disk, |disk, _| {
                    assert_eq!(check(disk, &writes, synced).records, expected);
                    crashes += 1;
                });
            }
        }
    }
    assert!(crashes > 500, "{crashes} crashes during recovery are too few for a test");
}

#[test]
fn kill_then_restart_then_power_loss_takes_nothing_the_restarted_node_knew() {
    let (mut store, _) = open(SimDisk::new());
    store.write(&[vote(1, 3), entries(1, 2, 1, 900)]).expect("fits");
    let mut disk = store.into_disk();
    disk.crash_kill();
    let (restarted, recovery) = open(disk);
    assert_eq!(recovery.records, 2, "a kill takes nothing");
    assert_eq!(open(without_unsynced(restarted.into_disk())).1, recovery);
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, usize)>),
    Sync,
    Kill,
    PowerLoss(Vec<u64>),
}

/// The tail is torn: its first record is gone, its second is complete. In the start that cuts it, a sync fails. The
/// next start reads the cut from the cache, where it is clean, while the tail is still on the disk. After a record as
/// long as the lost one, the second record would be read as the next.
#[test]
fn a_cut_whose_sync_failed_is_made_again() {
    let (kept, torn, next) = ([vote(1, 1)], [vote(2, 1), vote(3, 2)], [vote(2, 2)]);
    let (mut store, _) = open(SimDisk::new());
    store.write(&kept).and_then(|()| store.sync()).expect("a disk that works");
    torn.iter().for_each(|write| store.write(std::slice::from_ref(write)).expect("a disk that works"));
    let mut disk = store.into_disk();
    let mut written = 0;
    disk.crash_power(PowerLoss::Choose(&mut |Choice { kind, .. }| {
        written += u64::from(kind == ChoiceKind::Write);
        u64::from(written != 1)
    }));
    assert_eq!(written, 2);
    disk.inject_error(InjectedError::FailedSync, 0, 0);
    let (error, disk) = refusal(disk);
    assert!(error.to_string().contains("the device failed"), "{error}");

    let (mut store, recovery) = open(disk);
    assert_eq!((recovery.records, recovery.torn_tail), (1, None), "the cut is seen");
    assert_eq!(store.disk().durable_through(), store.disk().operations(), "and durable");
    store.write(&next).and_then(|()| store.sync()).expect("a disk that works");
    let (_, recovery) = open(without_unsynced(store.into_disk()));
    assert_eq!(recovery.records, 2, "the tail has not returned");
    assert_eq!(recovery.restored.hard_state, fold(&[kept, next].concat()).0);
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec((any::<u8>(), 0..1500_usize), 1..4).prop_map(Step::Write),
        3 => Just(Step::Sync),
        1 => Just(Step::Kill),
        2 => vec(0..12_u64, 1..12).prop_map(Step::PowerLoss),
    ]
}

/// The next write of a random run: mostly entries, sometimes a truncation with them, sometimes a hard state.
fn next_write(last: u64, (kind, bytes): (u8, usize)) -> Write {
    match kind % 8 {
        0 => vote(u64::from(kind), 1),
        1 if last > 0 => {
            let from = 1 + u64::from(kind) * 7 % last;
            Write { truncate_from: Some(LogIndex(from)), ..entries(from, 1, 2, bytes) }
        }
        count => entries(last + 1, u64::from(count), 1, bytes / 2),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_random_life_never_loses_what_was_synced(steps in vec(step(), 1..40)) {
        let (mut store, _) = open(SimDisk::new());
        let (mut writes, mut synced) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Write(kinds) => {
                    let before = writes.len();
                    for kind in kinds {
                        let last = fold(&writes).1.len() as u64;
                        writes.push(next_write(last, kind));
                    }
                    store.write(&writes[before..]).expect("fits");
                }
                Step::Sync => {
                    store.sync().expect("a disk that works");
                    synced = writes.len();
                    prop_assert_eq!(store.disk().durable_through(), store.disk().operations());
                }
                Step::Kill | Step::PowerLoss(_) => {
                    let mut disk = store.into_disk();
                    match step {
                        Step::PowerLoss(answers) => {
                            let mut answers = answers.into_iter().cycle();
                            let mut choose = |_: Choice| answers.next().unwrap_or(0);
                            disk.crash_power(PowerLoss::Choose(&mut choose));
                        }
                        _ => {
                            disk.crash_kill();
                            synced = writes.len();
                        }
                    }
                    let (reopened, recovery) = open(disk);
                    writes.truncate(kept(&recovery, &writes, synced));
                    synced = writes.len();
                    store = reopened;
                }
            }
        }
    }
}

/// Every outcome of a crash: the process was killed, or the power failed with one of its outcomes.
fn every_end(disk: SimDisk, check: &mut dyn FnMut(SimDisk)) {
    let mut killed = disk.clone();
    killed.crash_kill();
    check(killed);
    every_loss(&disk, |disk, _| check(disk));
}

#[test]
fn a_registration_survives_every_crash_and_every_power_loss() {
    let crashes = conformance::every_crash_of_a_registration(SimDisk::new(), &every_end);
    assert!(crashes > 10, "{crashes} ends are too few for a test");
}

#[test]
fn snapshots_and_compaction_survive_every_crash_and_every_power_loss() {
    let crashes = conformance::every_crash(OPTIONS, &mut SimDisk::new, &every_end);
    assert!(crashes > 5_000, "{crashes} crashes");
}

#[test]
fn segments_made_ahead_and_old_ones_that_become_them_survive_every_crash_and_every_power_loss() {
    let crashes = conformance::every_crash(RESERVING, &mut SimDisk::new, &every_end);
    assert!(crashes > 5_000, "{crashes} crashes");
}

#[test]
fn what_a_start_recovers_is_durable_even_if_an_earlier_sync_failed() {
    let failing = |after| {
        let mut disk = SimDisk::new();
        disk.inject_error(InjectedError::FailedSync, after, 0);
        disk
    };
    let failures =
        [OPTIONS, RESERVING].map(|options| conformance::every_failed_sync(options, failing, without_unsynced));
    assert!(failures[0] >= 18 && failures[1] > failures[0], "{failures:?} failed syncs are too few");
}

/// Kills and power losses, drawn from two numbers, among writes, snapshots, compactions and reads.
fn die(mut disk: SimDisk, a: u16, b: u16) -> SimDisk {
    if a.is_multiple_of(5) {
        disk.crash_kill();
        return disk;
    }
    let mut state = u64::from(a) << 16 | u64::from(b);
    disk.crash_power(PowerLoss::Choose(&mut |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }));
    disk
}

#[test]
fn random_lives_with_snapshots_end_as_the_model_says() {
    let sums = std::cell::Cell::new((0, 0));
    let step = (any::<u8>(), any::<u16>(), any::<u16>()).prop_map(|(kind, a, b)| conformance::Step(kind, a, b));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&vec(step, 1..200), |steps| {
            let (deleted, taken) = conformance::random_run(SimDisk::new(), &steps, die);
            sums.set((sums.get().0 + deleted, sums.get().1 + taken));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    let (deleted, taken) = sums.get();
    assert!(deleted > 100 && taken > 100, "{deleted} segments deleted, {taken} snapshots taken");
}
