//! Scripted steps in small worlds: crashes, cuts, drops and conditions have the effects that a scenario requests.

use super::*;
use crate::record::{CrashKind, Record, Verdict};
use crate::scenario::model::{CrashAfter, Expectations, InitialState, Keep, Scenario};
use crate::testing::{at, ms, passed, quiet, watched, when};
use raft_check::history::{Op, OpResult, Status};
use raft_core::{LogIndex, Term};
use raft_node::{SnapshotFile, SnapshotMessage, SnapshotState};

fn nodes(ids: &[u64]) -> Targets {
    Targets::Nodes(ids.iter().map(|&id| NodeId(id)).collect())
}

fn cut(from: Targets, to: Targets) -> StepAction {
    StepAction::Cut { links: vec![Links { from, to, one_way: false }] }
}

/// A crash now.
fn crash(nodes: Targets, crash: CrashKind) -> StepAction {
    StepAction::Crash { nodes, crash, after: None, keep: Keep::Random }
}

fn started(record: &Record) -> bool {
    matches!(record.kind, RecordKind::Started { .. })
}

const ANY_LEADER: Condition = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(0) };

#[test]
fn a_cut_off_leader_is_replaced_and_the_healed_cluster_converges() {
    let mut scenario = quiet(3, ms(6_000));
    let cut = cut(Targets::Leader, Targets::Followers);
    scenario.steps = vec![
        when(ANY_LEADER, ms(500), cut),
        when(Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(3) }, ms(0), StepAction::Heal),
        at(
            6_000,
            StepAction::Expect(Box::new(Expectations { leader: Some(BTreeSet::new()), ..Expectations::default() })),
        ),
    ];
    scenario.expect.heals_within = Some(20);
    let (result, records) = passed(&scenario);
    assert!(result.faults["isolate_leader"].had_effect && result.heal.is_some(), "{:?}", result.heal);
    let faults: Vec<&String> = records
        .iter()
        .filter_map(|record| if let RecordKind::Fault { label } = &record.kind { Some(label) } else { None })
        .collect();
    assert!(faults[0].starts_with("cut n") && faults[1] == "heal", "{faults:?}");
}

#[test]
fn an_expectation_that_does_not_hold_is_a_failure() {
    let mut scenario = quiet(3, ms(100));
    let nobody = Expectations { leader: Some(BTreeSet::new()), ..Expectations::default() };
    scenario.steps = vec![at(10, StepAction::Expect(Box::new(nobody)))];
    assert!(!watched(&scenario).0.failures.is_empty(), "no node leads after 10 ms");
}

#[test]
fn a_step_that_never_triggers_is_a_failure() {
    let mut scenario = quiet(1, ms(1_000));
    let late = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(9) };
    let heal = || StepAction::Heal;
    scenario.steps = vec![when(ANY_LEADER, ms(0), heal()), when(late, ms(0), heal()), when(ANY_LEADER, ms(0), heal())];
    let failure = "step 2 of 3 never triggered; 2 steps did not run";
    assert_eq!(watched(&scenario).0.failures, [failure]);
    scenario.steps.truncate(1);
    passed(&scenario);
}

#[test]
fn an_armed_crash_fires_after_as_many_outputs() {
    for after in [0, 1, 3] {
        let mut scenario = quiet(1, ms(2_000));
        scenario.clients.count = 0;
        let crash = StepAction::Crash {
            nodes: nodes(&[1]),
            crash: CrashKind::PowerLoss,
            after: Some(CrashAfter::Actions(after)),
            keep: Keep::Nothing,
        };
        scenario.steps = vec![at(0, crash), at(1_000, StepAction::Restart { nodes: nodes(&[1]) })];
        let (result, records) = watched(&scenario);
        let crashed = |record: &Record| matches!(record.kind, RecordKind::Crashed { .. });
        let fired = |record: &Record| matches!(record.kind, RecordKind::TimerFired);
        let place = records.iter().position(crashed).expect("a crash");
        let start = records[..place].iter().rposition(fired).expect("a call");
        // Each report and each request of the node in that call is one output and one record. A write that finds the
        // disk idle also causes the record of its writing.
        let written = whats(&records[start..place], |kind| matches!(kind, RecordKind::Wrote { .. })).len();
        assert!(place - start - 1 - written <= after as usize, "after {after}: {:?}", &records[start..=place]);
        assert!(result.faults["crash_at_boundary"].injected);
        assert_eq!(records.iter().filter(|record| started(record)).count(), 2);
    }
}

#[test]
fn links_of_one_step_are_cut_together() {
    let mut scenario = quiet(3, ms(2_000));
    let one = |from: u64, to: u64| Links { from: nodes(&[from]), to: nodes(&[to]), one_way: true };
    scenario.steps = vec![at(500, StepAction::Cut { links: vec![one(1, 2), one(2, 3)] })];
    let (result, records) = watched(&scenario);
    assert!(result.faults["one_way_cut"].had_effect);
    let cut: BTreeSet<(NodeId, NodeId)> = records
        .iter()
        .filter_map(|record| match &record.kind {
            RecordKind::Sent { to, verdict: Verdict::Cut, .. } => Some((record.node?, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(cut, [(NodeId(1), NodeId(2)), (NodeId(2), NodeId(3))].into());
}

#[test]
fn a_paused_leader_is_replaced_and_learns_of_it_when_it_goes_on() {
    let mut scenario = quiet(3, ms(6_000));
    let second = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(3) };
    scenario.raft.election_timeout_of = [(NodeId(1), ms(60)..ms(70))].into();
    scenario.steps = vec![
        when(ANY_LEADER, ms(500), StepAction::Pause { nodes: nodes(&[1]) }),
        when(second, ms(500), StepAction::Resume { nodes: nodes(&[1]) }),
    ];
    scenario.expect.heals_within = Some(10);
    let (result, records) = passed(&scenario);
    assert!(result.faults["pause"].had_effect && !result.faults["clock_drift"].injected, "{:?}", result.faults);
    let place = |label: &str| {
        let fault = |record: &&Record| matches!(&record.kind, RecordKind::Fault { label: found } if found == label);
        records.iter().find(fault).map(|record| record.number).expect(label)
    };
    let (paused, resumed) = (place("pause n1"), place("resume n1"));
    let of_n1 = |record: &&Record| record.node == Some(NodeId(1));
    let still = records.iter().filter(of_n1).filter(|record| (paused..resumed).contains(&record.number)).count();
    assert_eq!(still, 0, "a paused node does nothing");
    let first = records.iter().filter(of_n1).find(|record| record.number > resumed).expect("n1 goes on");
    let waited = first.cause.expect("waiting inputs have a cause");
    assert!((paused..resumed).contains(&waited) || waited < paused, "first comes what arrived meanwhile: {first:?}");
    let view = records.iter().filter(of_n1).rev().find_map(|record| record.view.clone()).expect("n1 is up");
    assert!(view.role == RoleKind::Follower && view.term >= Term(3), "{view:?}");
}

#[test]
fn a_paused_node_is_not_healed_and_heal_ends_all_pauses_and_drifts() {
    let mut scenario = quiet(3, ms(3_000));
    scenario.expect.heals_within = Some(10);
    scenario.steps = vec![at(500, StepAction::Pause { nodes: Targets::Followers })];
    let failures = watched(&scenario).0.failures;
    assert!(failures.iter().any(|failure| failure.contains("never healed")), "{failures:?}");
    scenario.steps.push(at(700, StepAction::Drift { nodes: Targets::All, ppm: 500_000 }));
    scenario.steps.push(at(1_000, StepAction::Heal));
    let (result, _) = passed(&scenario);
    assert!(result.faults["pause"].had_effect && result.faults["clock_drift"].injected);
}

#[test]
fn what_waits_for_a_process_dies_with_it() {
    let mut scenario = quiet(3, ms(4_000));
    scenario.steps = vec![
        at(1_000, StepAction::Pause { nodes: nodes(&[2]) }),
        at(1_400, crash(nodes(&[2]), CrashKind::Kill)),
        at(1_400, StepAction::Resume { nodes: nodes(&[2]) }),
        at(1_400, StepAction::Restart { nodes: nodes(&[2]) }),
    ];
    scenario.expect.heals_within = Some(10);
    let (result, records) = passed(&scenario);
    assert!(result.faults["kill"].had_effect && result.faults["pause"].injected);
    let started = records.iter().rposition(started).expect("a restart");
    let next = records[started..].iter().find(|record| record.node == Some(NodeId(2)) && record.cause.is_some());
    let cause = next.and_then(|record| record.cause).expect("n2 receives something");
    let sent = records.iter().find(|record| record.number == cause).expect("the cause");
    assert!(sent.at >= SimTime(1_390_000_000), "sent long before the restart, to the dead process: {sent:?}");
}

/// How often n1 campaigns in four seconds in which it is isolated and its clock is too fast by `ppm`.
fn timers_of_a_lonely_node(ppm: i32) -> usize {
    let mut scenario = quiet(2, ms(4_000));
    scenario.clients.count = 0;
    scenario.steps = vec![at(0, cut(Targets::All, Targets::All))];
    if ppm != 0 {
        scenario.steps.push(at(0, StepAction::Drift { nodes: nodes(&[1]), ppm }));
    }
    let (result, records) = watched(&scenario);
    assert_eq!((result.faults["clock_drift"].injected, result.faults["clock_drift"].had_effect), (ppm != 0, ppm != 0));
    let fired = |record: &&Record| record.node == Some(NodeId(1)) && matches!(record.kind, RecordKind::TimerFired);
    records.iter().filter(fired).count()
}

#[test]
fn timers_follow_the_clock_of_their_node() {
    let [slow, right, fast] = [-750_000, 0, 3_000_000].map(timers_of_a_lonely_node);
    assert!(2 * slow < right && 2 * right < fast && slow > 0, "{slow} {right} {fast}");
}

#[test]
fn a_scripted_get_is_answered_by_a_leader_and_refused_by_a_follower() {
    let mut scenario = quiet(3, ms(2_000));
    scenario.clients.count = 0;
    let get = |node: Targets, key: &str| StepAction::Get { node, key: key.into(), mode: None };
    scenario.steps = vec![
        when(ANY_LEADER, ms(0), StepAction::Put { node: Targets::Leader, key: "k".into(), value: "v".into() }),
        when(ANY_LEADER, ms(300), get(Targets::Leader, "k")),
        when(ANY_LEADER, ms(0), get(Targets::Followers, "k")),
    ];
    let (result, _) = passed(&scenario);
    let gets = result.history.iter().filter(|operation| operation.op == Op::Get);
    let ended: Vec<_> = gets.map(|operation| (operation.status, operation.result.clone())).collect();
    assert!(ended.contains(&(Status::Ok, OpResult::Value("v".into()))), "{ended:?}");
    assert_eq!(ended.iter().filter(|(status, _)| *status == Status::Fail).count(), 2, "{ended:?}");
}

#[test]
fn initial_logs_campaign_and_conditions_on_logs() {
    let mut scenario = quiet(3, ms(3_000));
    let initial = |log: &[u64]| InitialState {
        term: Term(*log.last().unwrap_or(&1)),
        voted_for: None,
        log: log.iter().map(|&term| Term(term)).collect(),
    };
    scenario.initial =
        [(NodeId(1), initial(&[1, 1, 2])), (NodeId(2), initial(&[1, 1])), (NodeId(3), initial(&[1, 3]))].into();
    let held = Condition::Holds { node: Some(NodeId(2)), index: LogIndex(3), term: Some(Term(2)) };
    let committed = Condition::Committed { node: Some(NodeId(3)), index: LogIndex(4) };
    scenario.steps = vec![
        at(0, StepAction::Partition { groups: vec![[NodeId(1), NodeId(2)].into()] }),
        when(held, ms(0), StepAction::Heal),
        when(
            committed,
            ms(100),
            StepAction::Expect(Box::new(Expectations { converged: true, ..Expectations::default() })),
        ),
    ];
    scenario.clients.count = 0;
    let (result, records) = passed(&scenario);
    assert!(result.faults["partition"].had_effect);
    assert_eq!(
        whats(&records, |kind| matches!(kind, RecordKind::Fault { .. })).len(),
        3,
        "each step was carried out once"
    );
}

#[test]
fn drops_slow_disks_and_power_losses_are_counted() {
    let mut scenario = quiet(3, ms(3_000));
    let everyone = || Targets::All;
    scenario.steps = vec![
        at(500, StepAction::Drop { kind: "append_entries".into(), from: everyone(), to: everyone() }),
        at(700, StepAction::DiskLatency { nodes: everyone(), latency: ms(20)..ms(30) }),
        at(1_500, StepAction::Heal),
        at(1_505, StepAction::Put { node: Targets::Leader, key: "k".into(), value: "v".into() }),
        at(1_600, crash(everyone(), CrashKind::PowerLoss)),
        at(1_700, StepAction::Restart { nodes: everyone() }),
        at(1_701, StepAction::Campaign { nodes: nodes(&[2]) }),
    ];
    scenario.expect.heals_within = Some(20);
    let (result, records) = passed(&scenario);
    for fault in ["drop_kind", "slow_disk", "power_loss"] {
        assert!(result.faults[fault].had_effect, "{fault}: {:?}", result.faults);
    }
    assert!(records.iter().any(|record| matches!(record.kind, RecordKind::CampaignAsked)));
    assert!(result.history.iter().any(|operation| operation.key == "k"));
}

fn whats(records: &[Record], fits: impl Fn(&RecordKind) -> bool) -> Vec<u64> {
    records.iter().filter(|record| fits(&record.kind)).map(|record| record.number).collect()
}

/// n3 is isolated until the others have compacted the entries that it needs.
fn left_behind() -> Scenario {
    let mut scenario = quiet(3, ms(6_000));
    (scenario.raft.snapshot_after_entries, scenario.raft.trailing_entries) = (20, 2);
    let behind = cut(nodes(&[3]), nodes(&[1, 2]));
    let taken = Condition::Snapshot { node: None, index: LogIndex(40) };
    scenario.steps = vec![when(ANY_LEADER, ms(0), behind), when(taken, ms(50), StepAction::Heal)];
    scenario.raft.election_timeout_of.insert(NodeId(3), ms(3_000)..ms(4_000));
    scenario.expect.heals_within = Some(20);
    scenario
}

#[test]
fn a_snapshot_takes_its_way_over_disk_and_link() {
    let (_, records) = passed(&left_behind());
    let n3 = |record: &&Record| record.node == Some(NodeId(3));
    let of_n3: Vec<Record> = records.iter().filter(n3).cloned().collect();
    let received = whats(&of_n3, |kind| matches!(kind, RecordKind::SnapshotReceived { durable: true, .. }));
    let wanted = whats(&of_n3, |kind| matches!(kind, RecordKind::SnapshotWanted { .. }));
    let loaded = whats(&of_n3, |kind| matches!(kind, RecordKind::SnapshotLoaded { .. }));
    let restored = whats(&of_n3, |kind| matches!(kind, RecordKind::Restored { .. }));
    let places = [received[0], wanted[0], loaded[0], restored[0]];
    assert!(places.is_sorted(), "{places:?}");
    let chunk = |kind: &RecordKind| matches!(kind, RecordKind::SnapshotSaid { to: NodeId(3), message: SnapshotMessage::Chunk(chunk), .. } if !chunk.bytes.is_empty());
    let sent = whats(&records, chunk);
    let delivered = |kind: &RecordKind| {
        matches!(kind, RecordKind::SnapshotHeard { from: NodeId(3), message: SnapshotMessage::Progress(progress) }
            if progress.state == SnapshotState::Delivered)
    };
    let delivered = whats(&records, delivered);
    let grown = whats(&of_n3, |kind| matches!(kind, RecordKind::SnapshotGrown { file: SnapshotFile::Received, .. }));
    assert!(sent.len() > 1 && sent[0] < grown[0] && grown[0] < received[0], "{sent:?} {grown:?}");
    assert!(delivered.iter().any(|number| *number > received[0]), "{delivered:?}");
    let lines: Vec<String> = records.iter().map(crate::record::explain::line).collect();
    assert!(lines.iter().any(|line| line.contains("takes a snapshot ")), "a line for each");
    assert!(lines.iter().any(|line| line.ends_with(", its file is durable")));
}

#[test]
fn a_transfer_is_begun_again_when_either_end_crashes() {
    for victims in [Targets::Leader, nodes(&[3])] {
        let mut scenario = left_behind();
        scenario.network.snapshot_transfer = ms(100)..ms(100);
        (scenario.raft.snapshot_chunk_bytes, scenario.raft.snapshot_patience) = (200, ms(300));
        let sending = Condition::SendingSnapshot { to: Some(NodeId(3)) };
        scenario.steps.push(when(sending, ms(200), crash(victims, CrashKind::Kill)));
        let committed = Condition::Committed { node: None, index: LogIndex(1) };
        scenario.steps.push(when(committed, ms(50), StepAction::Restart { nodes: Targets::All }));
        let (_, records) = passed(&scenario);
        let crashed = whats(&records, |kind| matches!(kind, RecordKind::Crashed { .. }))[0];
        let begins = |kind: &RecordKind| matches!(kind, RecordKind::SnapshotHeard { message: SnapshotMessage::Chunk(chunk), .. } if chunk.bytes.is_empty());
        let begun = whats(&records, begins);
        let received = whats(&records, |kind| matches!(kind, RecordKind::SnapshotReceived { .. }));
        assert!(begun[0] < crashed && begun.iter().any(|number| *number > crashed), "{begun:?} {crashed}");
        assert!(received.first().is_some_and(|first| *first > crashed), "{received:?} {crashed}");
    }
}

#[test]
fn a_snapshot_is_taken_when_a_step_says_so() {
    let mut scenario = quiet(3, ms(2_000));
    scenario.steps = vec![
        when(ANY_LEADER, ms(500), StepAction::TakeSnapshot { nodes: nodes(&[2]) }),
        when(Condition::Snapshot { node: Some(NodeId(2)), index: LogIndex(3) }, ms(0), StepAction::Heal),
    ];
    let (_, records) = passed(&scenario);
    let taken = records.iter().filter(|record| matches!(record.kind, RecordKind::SnapshotSaved { .. }));
    assert_eq!(taken.map(|record| record.node).collect::<Vec<_>>(), [Some(NodeId(2))]);
}

#[test]
fn a_machine_that_lost_its_disk_comes_back_with_nothing_under_its_old_name() {
    let mut scenario = quiet(3, ms(3_000));
    scenario.raft.election_timeout_of = [(NodeId(3), ms(1_000)..ms(1_000))].into();
    // It goes down first: an answer in flight that the disk takes back is beyond Raft's guarantees.
    scenario.steps = vec![
        when(ANY_LEADER, ms(300), crash(nodes(&[3]), CrashKind::Kill)),
        when(ANY_LEADER, ms(100), crash(nodes(&[3]), CrashKind::DiskLoss)),
        when(ANY_LEADER, ms(0), StepAction::Restart { nodes: nodes(&[3]) }),
    ];
    let (result, records) = passed(&scenario);
    assert!(result.faults["disk_wiped"].had_effect && result.sometimes["peer_refused"] > 0);
    let starts: Vec<_> = records
        .iter()
        .filter(|record| record.node == Some(NodeId(3)))
        .filter_map(|record| match &record.kind {
            RecordKind::Started { incarnation, hard_state, entries, .. } => {
                Some((*incarnation, hard_state.term, entries.len()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(starts, [(1, Term(1), 1), (2, Term(0), 0)], "no second founder, and no repeated start number");
    let crashed =
        |record: &&Record| matches!(record.kind, RecordKind::Crashed { crash: CrashKind::DiskLoss, lost } if lost > 0);
    assert_eq!(records.iter().filter(crashed).count(), 1);
}
