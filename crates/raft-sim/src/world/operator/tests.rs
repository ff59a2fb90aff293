//! Tasks in small worlds: they are executed in order, repeated, and reported if they are never done.

use super::*;
use crate::record::RecordKind;
use crate::scenario::changes::{change, seats};
use crate::scenario::model::{Condition, Scenario, StepAction, Targets};
use crate::testing::{at, ms, passed, quiet, watched, when};
use raft_core::{RoleKind, Term};

fn five(founders: u64) -> Scenario {
    let mut scenario = quiet(5, ms(8_000));
    scenario.founders = Some(founders);
    scenario
}

fn alter(text: &str) -> StepAction {
    StepAction::Change { steps: change(text, 5).expect("a change"), force: false }
}

#[test]
fn three_grow_to_five_by_tasks_that_are_all_given_at_once() {
    let mut scenario = five(3);
    scenario.steps = ["add n4, add n5", "promote n4", "promote n5", "promote n5"].map(|text| at(0, alter(text))).into();
    scenario.expect.configuration = seats("n1 n2 n3 n4 n5", 5).ok();
    let (result, records) = passed(&scenario);
    let reached = ["learner_added", "learner_promoted", "joint_entered", "joint_left"];
    assert!(reached.iter().all(|mark| result.sometimes[mark] > 0), "{:?}", result.sometimes);
    assert!(result.faults["membership"].had_effect && !result.faults["transfer"].injected);
    let labels: Vec<&String> = records
        .iter()
        .filter_map(|it| if let RecordKind::Fault { label } = &it.kind { Some(label) } else { None })
        .collect();
    assert!(labels.iter().any(|label| *label == "promote n5: is so already"), "{labels:?}");
    let first = records.iter().find(|record| record.node == Some(NodeId(5))).expect("n5 starts");
    assert!(matches!(&first.kind, RecordKind::Started { entries, .. } if entries.is_empty()), "{first:?}");
}

#[test]
fn a_leader_that_removes_itself_and_a_transfer() {
    let mut scenario = five(5);
    let led = |node: Option<u64>| Condition::Role { node: node.map(NodeId), role: RoleKind::Leader, min_term: Term(0) };
    scenario.steps = vec![
        when(led(None), ms(50), StepAction::Transfer { to: Some(NodeId(4)) }),
        when(led(Some(4)), ms(50), StepAction::Transfer { to: Some(NodeId(5)) }),
        when(led(Some(5)), ms(50), alter("remove n5")),
    ];
    scenario.expect.configuration = seats("n1 n2 n3 n4", 5).ok();
    let (result, _) = passed(&scenario);
    assert!(result.sometimes["transfer_done"] >= 1 && result.sometimes["leader_removed_itself"] == 1);
    assert!(result.faults["transfer"].had_effect);
}

#[test]
fn a_task_that_is_never_done_is_a_failure() {
    let mut scenario = five(3);
    scenario.steps = vec![at(100, alter("promote n4")), at(200, StepAction::Transfer { to: None })];
    let (result, _) = watched(&scenario);
    let [failure] = result.failures.as_slice() else { panic!("{:?}", result.failures) };
    assert!(failure.starts_with("\"promote n4\" was never done: asked "), "{failure}");
    assert!(failure.ends_with("last: rejected: n4 is no member"), "{failure}");
    scenario.steps = vec![
        at(0, StepAction::Partition { groups: Vec::new() }),
        at(100, StepAction::Put { node: Targets::Leader, key: "k".into(), value: "v".into() }),
        at(100, StepAction::Transfer { to: None }),
    ];
    let (result, _) = watched(&scenario);
    assert_eq!(result.failures, ["\"hand over\" was never done: asked 0 times, last: no node led"]);
}
