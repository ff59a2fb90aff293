//! Priority delays the first vote request after the loss of a leader, and nothing else (R33).

use crate::cluster::replica::*;
use crate::cluster::{Cluster, image};
use raft_core::{Input, MAX_PRIORITY, NodeId, RoleKind};
use std::collections::BTreeMap;
use std::time::Duration;

fn of_priority(priority: u32) -> Replica {
    Replica::with(&[1, 1], 3, |config, _| config.priority = priority)
}

fn wait_of(n1: &Replica) -> Duration {
    n1.raft.deadline().expect("a timer runs").since(n1.now)
}

#[test]
fn the_wait_for_a_lost_leader_is_longer_and_never_below_its_start() {
    let normal = wait_of(&of_priority(MAX_PRIORITY));
    assert!((Duration::from_millis(150)..Duration::from_millis(300)).contains(&normal));
    for (priority, longer) in [(100, 0), (99, 3), (50, 150), (1, 297), (0, 300)] {
        let longer = Duration::from_millis(longer);
        assert_eq!(wait_of(&of_priority(priority)), normal + longer, "after the start, priority {priority}");
        let mut n1 = of_priority(priority).following(3);
        n1.pass(40);
        n1.receive(N2, heartbeat(3, 2, (2, 1), 0));
        assert_eq!(wait_of(&n1), normal + longer, "after a heartbeat, priority {priority}");
    }
}

#[test]
fn rounds_and_waits_after_a_vote_have_no_delay() {
    let range = Duration::from_millis(150)..Duration::from_millis(300);
    let mut asks = of_priority(0).pre_candidate();
    assert!(range.contains(&wait_of(&asks)));
    asks.wait();
    assert!(range.contains(&wait_of(&asks)), "its next round");
    let mut votes = of_priority(0);
    votes.pass(200);
    votes.receive(N2, request_vote(2, (2, 1)));
    assert!(range.contains(&wait_of(&votes)), "otherwise a candidate that cannot win could delay it forever");
}

#[test]
fn asking_and_voting_do_not_look_at_priority() {
    let mut n1 = of_priority(0);
    n1.pass(150);
    assert!(sends(&n1.receive(N2, pre_vote(2, 1, (2, 1))))[0].contains("granted"));
    n1.step(Input::Campaign);
    assert_eq!(n1.role(), RoleKind::PreCandidate);
}

#[test]
fn the_highest_leads_if_it_can_and_another_if_it_cannot() {
    for seed in 0..20 {
        let mut cluster = Cluster::with(5, |config| {
            config.seed = seed;
            config.priority = [0, 0, 100, 50, 0][config.id.0 as usize - 1];
        });
        assert_eq!(cluster.elect(), N3);
        cluster.isolate(N3, true);
        let is_led_by = |id| move |cluster: &Cluster| cluster.raft(id).role() == RoleKind::Leader;
        assert!(cluster.run_until(200, is_led_by(4)), "seed {seed}: the next in line");
        cluster.isolate(NodeId(4), true);
        let third = |cluster: &Cluster| [1, 2, 5].into_iter().any(|id| cluster.raft(id).role() == RoleKind::Leader);
        assert!(cluster.run_until(400, third), "seed {seed}: all remaining nodes have the lowest priority");
    }
}

#[test]
fn a_node_of_the_lowest_priority_that_alone_can_win_does() {
    for (seed, pre_vote) in (0..10).flat_map(|seed| [(seed, false), (seed, true)]) {
        // Only n1 holds 2@1 and reaches both others, which cannot win and vote only for n1.
        let disks = [(N1, image(1, &[1, 1], 3)), (N2, image(1, &[1], 3)), (N3, image(1, &[1], 3))];
        let mut cluster = Cluster::of_disks(BTreeMap::from(disks), |config| {
            (config.seed, config.pre_vote) = (seed, pre_vote);
            config.priority = if config.id == N1 { 0 } else { 100 };
        });
        cluster.cut.extend([(N2, N3), (N3, N2)]);
        assert!(cluster.run_until(400, |cluster| cluster.raft(1).role() == RoleKind::Leader), "seed {seed}");
    }
}
