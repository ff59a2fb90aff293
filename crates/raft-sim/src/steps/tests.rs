//! Scripted steps in small worlds: crashes, cuts, drops and conditions do what a story asks of them.

use super::*;
use crate::record::{Record, What};
use crate::run::{RunResult, run};
use crate::scenario::model::{Expectations, InitialState, Scenario};
use crate::testing::{at, ms, quiet};
use raft_core::{LogIndex, Term};
use std::time::Duration;

fn nodes(ids: &[u64]) -> Targets {
    Targets::Nodes(ids.iter().map(|&id| NodeId(id)).collect())
}

fn watched(scenario: &Scenario) -> (RunResult, Vec<Record>) {
    let mut records = Vec::new();
    let result = run(scenario, 3, &mut records);
    assert_eq!(result.violation, None);
    (result, records)
}

fn when(condition: Condition, after: Duration, action: StepAction) -> Step {
    Step { trigger: Trigger::When { condition, after }, action }
}

const ANY_LEADER: Condition = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(0) };

#[test]
fn a_cut_off_leader_is_replaced_and_the_healed_cluster_converges() {
    let mut scenario = quiet(3, ms(6_000));
    let cut = StepAction::Cut { from: Targets::Leader, to: Targets::Followers, one_way: false };
    scenario.steps = vec![
        when(ANY_LEADER, ms(500), cut),
        when(Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(3) }, ms(0), StepAction::Heal),
        at(6_000, StepAction::Expect(Expectations { leader: Some(BTreeSet::new()), ..Expectations::default() })),
    ];
    scenario.expect.heals_within = Some(20);
    let (result, records) = watched(&scenario);
    assert_eq!(result.failures, [""; 0]);
    assert!(result.faults["isolate_leader"].mattered && result.heal.is_some(), "{:?}", result.heal);
    let faults: Vec<&String> = records
        .iter()
        .filter_map(|record| if let What::Fault { label } = &record.what { Some(label) } else { None })
        .collect();
    assert!(faults[0].starts_with("cut n") && faults[1] == "heal", "{faults:?}");
}

#[test]
fn an_expectation_that_does_not_hold_is_a_failure() {
    let mut scenario = quiet(3, ms(100));
    let nobody = Expectations { leader: Some(BTreeSet::new()), ..Expectations::default() };
    scenario.steps = vec![at(10, StepAction::Expect(nobody))];
    assert!(!watched(&scenario).0.failures.is_empty(), "nobody leads after 10 ms");
}

#[test]
fn a_step_whose_moment_never_comes_is_a_failure() {
    let mut scenario = quiet(1, ms(1_000));
    let late = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(9) };
    let heal = || StepAction::Heal;
    scenario.steps = vec![when(ANY_LEADER, ms(0), heal()), when(late, ms(0), heal()), when(ANY_LEADER, ms(0), heal())];
    let failure = "step 2 of 3 waited in vain for its moment: 2 steps of the story were not told";
    assert_eq!(watched(&scenario).0.failures, [failure]);
    scenario.steps.truncate(1);
    assert_eq!(watched(&scenario).0.failures, [""; 0]);
}

#[test]
fn an_armed_crash_strikes_after_as_many_outputs() {
    for after in [0, 1, 3] {
        let mut scenario = quiet(1, ms(2_000));
        scenario.clients.count = 0;
        let crash = StepAction::Crash {
            nodes: nodes(&[1]),
            crash: CrashKind::PowerLoss,
            after_actions: Some(after),
            keep: Keep::Nothing,
        };
        scenario.steps = vec![at(0, crash), at(1_000, StepAction::Restart { nodes: nodes(&[1]) })];
        let (result, records) = watched(&scenario);
        let place = records.iter().position(|record| matches!(record.what, What::Crashed { .. })).expect("a crash");
        let start =
            records[..place].iter().rposition(|record| matches!(record.what, What::TimerFired)).expect("a call");
        // What the node reports about itself in that call and what it asks for: each is one output and one record,
        // except that a write that finds the disk idle also makes the record of its writing.
        let written = records[start..place].iter().filter(|record| matches!(record.what, What::Wrote { .. })).count();
        assert!(place - start - 1 - written <= after as usize, "after {after}: {:?}", &records[start..=place]);
        assert!(result.faults["crash_at_boundary"].injected);
        let starts = records.iter().filter(|record| matches!(record.what, What::Started { .. })).count();
        assert_eq!(starts, 2);
    }
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
    scenario.steps = vec![
        at(0, StepAction::Partition { groups: vec![[NodeId(1), NodeId(2)].into()] }),
        when(held, ms(0), StepAction::Heal),
        when(
            Condition::Committed { node: Some(NodeId(3)), index: LogIndex(4) },
            ms(100),
            StepAction::Expect(Expectations { converged: true, ..Expectations::default() }),
        ),
    ];
    scenario.clients.count = 0;
    let (result, records) = watched(&scenario);
    assert_eq!(result.failures, [""; 0]);
    assert!(result.faults["partition"].mattered);
    let labels = records.iter().filter(|record| matches!(record.what, What::Fault { .. })).count();
    assert_eq!(labels, 3, "each step was carried out once");
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
        at(
            1_600,
            StepAction::Crash {
                nodes: everyone(),
                crash: CrashKind::PowerLoss,
                after_actions: None,
                keep: Keep::Random,
            },
        ),
        at(1_700, StepAction::Restart { nodes: everyone() }),
        at(1_701, StepAction::Campaign { nodes: nodes(&[2]) }),
    ];
    scenario.expect.heals_within = Some(20);
    let (result, records) = watched(&scenario);
    assert_eq!(result.failures, [""; 0]);
    for fault in ["loss", "slow_disk", "power_loss"] {
        assert!(result.faults[fault].mattered, "{fault}: {:?}", result.faults);
    }
    assert!(records.iter().any(|record| matches!(record.what, What::CampaignAsked)));
    assert!(result.history.iter().any(|operation| operation.key == "k"));
}
