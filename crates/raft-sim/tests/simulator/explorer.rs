//! The explorer: the sizes of small boxes, and its budgets.

use raft_sim::explore::{End, FIGURE_8, Figures, Limits, explore};

fn all(limits: &Limits) -> Figures {
    let (end, figures) = explore(limits, "", &mut |_| None).expect("the limits are in range");
    assert_eq!(end, End::Exhausted);
    figures
}

/// The states, the transitions and the depth. They change only if the core, or what the explorer knows of it, changes.
fn counts(limits: &Limits) -> (u64, u64, u64) {
    let Figures { states, transitions, depth, .. } = all(limits);
    (states, transitions, depth)
}

#[test]
fn the_sizes_of_small_boxes_are_fixed() {
    let election = Limits { terms: 1, entries: 0, crashes: 0, in_flight: 2, ..Limits::default() };
    assert_eq!(counts(&election), (3_543, 8_925, 17));
    let heartbeat = Limits { heartbeats: Some(1), symmetry: true, ..election.clone() };
    assert_eq!(counts(&heartbeat), (9_039, 28_928, 20));
    let copies = Limits { duplicates: 1, drops: Some(1), symmetry: true, ..election };
    assert_eq!(counts(&copies), (4_741, 12_471, 22));
    // crates/raft-sim/second-opinion counts the same states with stateright.
    let lossy = Limits { terms: 1, crashes: 0, in_flight: 2, drops: Some(1), ..Limits::default() };
    assert_eq!(counts(&lossy), (44_476, 111_666, 28));
    let crash = Limits { terms: 1, symmetry: true, ..Limits::default() };
    assert_eq!(counts(&crash), (138_303, 456_136, 28));
}

#[test]
fn the_guards_have_boxes_too() {
    let one = Limits { terms: 1, entries: 0, crashes: 0, in_flight: 2, symmetry: true, rounds: 1, ..Limits::default() };
    let pre_vote = Limits { pre_vote: true, ..one.clone() };
    assert_eq!(counts(&pre_vote), (9_515, 27_575, 22));
    let sticky = Limits { stickiness: true, check_quorum: true, heartbeats: Some(1), ..one };
    assert_eq!(counts(&sticky), (11_803, 35_135, 20));
}

/// The sound core from the middle of figure 8: nothing is found before the budget ends, and what was done is known.
#[test]
fn a_budget_ends_a_search() {
    let limits = Limits { terms: 4, entries: 2, crashes: 0, symmetry: true, ..Limits::default() };
    let keep_on = &mut |figures: &Figures| (figures.states > 20_000).then_some("states");
    let (end, figures) = explore(&limits, FIGURE_8, keep_on).expect("figure 8 is a path");
    assert_eq!(end, End::Stopped("states"));
    assert!(figures.states > 20_000 && figures.frontier > 0 && figures.bytes > 0, "{figures:?}");
}

#[test]
fn limits_out_of_range_are_refused() {
    let refused = |limits: Limits| explore(&limits, "", &mut |_| None).expect_err("out of range");
    assert_eq!(refused(Limits { nodes: 6, ..Limits::default() }), "expected 1 to 5 nodes, found 6");
    assert_eq!(refused(Limits { in_flight: 9, ..Limits::default() }), "expected 1 to 8 messages in flight, found 9");
    assert!(refused(Limits { terms: 9, entries: 6, ..Limits::default() }).contains("at most 14 together, found 15"));
    assert!(refused(Limits { crashes: 201, ..Limits::default() }).contains("found 201"));
}
