//! Tasks in small worlds: they are executed in order, repeated, and reported if they are never done.

use super::*;
use crate::record::RecordKind;
use crate::scenario::changes::{change, seats};
use crate::scenario::model::{Condition, Scenario, Step, StepAction, Targets};
use crate::scenario::refusals::Refusal;
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
        when(led(None), ms(50), StepAction::Transfer { to: Some(NodeId(4)), asked: None }),
        when(led(Some(4)), ms(50), StepAction::Transfer { to: Some(NodeId(5)), asked: None }),
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
    scenario.steps = vec![at(100, alter("promote n4")), at(200, StepAction::Transfer { to: None, asked: None })];
    let (result, _) = watched(&scenario);
    let [failure] = result.failures.as_slice() else { panic!("{:?}", result.failures) };
    assert!(failure.starts_with("\"promote n4\" was never done: asked "), "{failure}");
    assert!(failure.ends_with("last: rejected: n4 is no member"), "{failure}");
    scenario.steps = vec![
        at(0, StepAction::Partition { groups: Vec::new() }),
        at(100, StepAction::Put { node: Targets::Leader, key: "k".into(), value: "v".into() }),
        at(100, StepAction::Transfer { to: None, asked: None }),
    ];
    let (result, _) = watched(&scenario);
    assert_eq!(result.failures, ["\"hand over\" was never done: asked 0 times, last: no node led"]);
}

#[test]
fn an_act_that_is_refused_as_expected_is_asked_once() {
    let mut scenario = five(3);
    let led = || Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(0) };
    let refused = |step: Step, name: &'static str| Step { refused: Some(Refusal(name)), ..step };
    let asked = |records: &[crate::record::Record], act: &str| {
        let asks = |label: &String| label.starts_with("ask ") && label.ends_with(act);
        records.iter().filter(|it| matches!(&it.kind, RecordKind::Fault { label } if asks(label))).count()
    };
    let transfer = StepAction::Transfer { to: Some(NodeId(4)), asked: None };
    scenario.steps = vec![
        refused(when(led(), ms(500), alter("promote n4")), "no_member"),
        refused(when(led(), ms(600), transfer.clone()), "unfit_target"),
        refused(when(led(), ms(700), StepAction::Backup { nodes: Targets::Followers }), "not_leader"),
        refused(when(led(), ms(800), StepAction::Campaign { nodes: Targets::Leader }), "is_leader"),
    ];
    let (_, records) = passed(&scenario);
    assert_eq!((asked(&records, "promote n4"), asked(&records, "hand over to n4")), (1, 1));
    scenario.steps = vec![
        refused(when(led(), ms(500), alter("add n4")), "no_member"),
        refused(when(led(), ms(600), transfer), "silent"),
        refused(when(led(), ms(700), StepAction::Backup { nodes: Targets::Leader }), "not_leader"),
        refused(when(led(), ms(800), StepAction::Campaign { nodes: Targets::Leader }), "leader_alive"),
        refused(at(3_000, StepAction::Pause { nodes: Targets::Leader }), "busy"),
        refused(at(3_001, StepAction::Campaign { nodes: Targets::Leader }), "is_leader"),
    ];
    let failures = watched(&scenario).0.failures;
    let expected = [
        "expected \"add n4\" refused as `no_member`, found: configuration {n1 n2 n3; learners n4}",
        "expected \"hand over to n4\" refused as `silent`, found: rejected: n4 cannot take over: it is not a voter",
        "refused as `not_leader`, found: a backup at ",
        "refused as `leader_alive`, found: does not campaign: ",
        "refused as `is_leader`, found no answer",
    ];
    assert_eq!(failures.len(), expected.len(), "{failures:?}");
    for words in expected {
        assert!(failures.iter().any(|failure| failure.contains(words)), "{failures:?} do not say {words:?}");
    }
}
