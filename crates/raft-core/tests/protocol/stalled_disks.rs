//! A leader with a stalled disk gives up leadership (R34), and a state machine that does not answer is reported.

use crate::cluster::Cluster;
use crate::cluster::replica::*;
use raft_core::{Action, Input, LogIndex, NodeId, RequestId, RoleKind, WriteId};
use std::time::Duration;

const STALL: u64 = 400;

/// n1 leads three and has a write in flight since now: 4@2. Without check-quorum, so n2 and n3 may be silent.
fn writing() -> Replica {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| {
        config.max_write_stall = Duration::from_millis(STALL);
        config.check_quorum = false;
    });
    n1 = n1.established();
    n1.step(Input::Applied { index: LogIndex(3) });
    n1.propose(1);
    n1
}

/// Advances time, with a call at each deadline; returns all actions.
fn pass(n1: &mut Replica, millis: u64) -> Vec<Action> {
    let end = n1.now.after(Duration::from_millis(millis));
    let mut all = Vec::new();
    while n1.raft.deadline().is_some_and(|deadline| deadline <= end) {
        all.extend(n1.wait());
    }
    n1.now = end;
    all
}

#[test]
fn it_transfers_leadership_to_a_node_that_holds_everything() {
    let mut n1 = writing();
    assert!(timeouts(&pass(&mut n1, STALL - 10)).is_empty());
    n1.receive(N2, matched(2, 3, 4));
    let actions = pass(&mut n1, 10);
    assert_eq!(timeouts(&actions), ["n2 timeout now term 2 last 4@2"]);
    assert!(events(&actions).contains(&"w3 has been in flight too long to lead".to_string()), "{:?}", events(&actions));
    assert!(news(&n1.propose(2)).contains(&"r2 rejected: leadership is being transferred".to_string()));
    let lost = n1.receive(N2, stale_term(3, 3));
    assert_eq!(news(&lost), ["leadership of term 2 lost", "leader of term 3 is unknown"], "no request waits for it");
}

#[test]
fn it_brings_a_successor_up_to_date_first() {
    let mut n1 = writing();
    pass(&mut n1, STALL - 10);
    n1.receive(N2, matched(2, 3, 3));
    assert!(timeouts(&pass(&mut n1, 10)).is_empty(), "n2 lacks 4@2");
    assert_eq!(n1.raft.status().transfer_to, Some(N2));
    assert_eq!(timeouts(&n1.receive(N2, matched(2, 3, 4))), ["n2 timeout now term 2 last 4@2"]);
}

#[test]
fn it_steps_down_if_there_is_no_target() {
    let mut n1 = writing();
    pass(&mut n1, STALL - 1);
    assert_eq!(n1.role(), RoleKind::Leader);
    let actions = pass(&mut n1, 1);
    assert_eq!(n1.role(), RoleKind::Follower);
    assert!(news(&actions).contains(&"leadership of term 2 lost".to_string()), "{actions:?}");
}

#[test]
fn it_steps_down_if_the_successor_does_not_take_over() {
    let mut n1 = writing();
    pass(&mut n1, STALL - 10);
    n1.receive(N2, matched(2, 3, 4));
    pass(&mut n1, 10 + 299);
    assert_eq!((n1.role(), n1.raft.status().transfer_to), (RoleKind::Leader, Some(N2)));
    pass(&mut n1, 1);
    assert_eq!(n1.role(), RoleKind::Follower);
}

#[test]
fn it_asks_for_no_votes_until_the_write_is_reported() {
    let mut n1 = writing();
    pass(&mut n1, STALL);
    assert_eq!(n1.raft.deadline(), None, "an input other than the disk's changes nothing");
    n1.pass(60_000);
    let refused = n1.step(Input::Campaign);
    assert_eq!(events(&refused), ["does not campaign: its disk is still stalled"]);
    n1.receive(N2, timeout_now(2, (4, 2)));
    assert_eq!((n1.role(), n1.term()), (RoleKind::Follower, 2));
    n1.persist();
    assert_eq!(n1.role(), RoleKind::PreCandidate, "its timer has long run out");
}

#[test]
fn a_report_in_the_same_call_is_in_time() {
    let mut n1 = writing();
    pass(&mut n1, STALL - 1);
    n1.pass(1);
    let write = n1.last_write;
    n1.batch([Input::Tick, Input::Persisted { write: WriteId(write.0 - 1) }, Input::Persisted { write }]);
    assert_eq!((n1.role(), n1.raft.status().transfer_to), (RoleKind::Leader, None));
}

#[test]
fn the_oldest_write_counts() {
    let mut n1 = writing();
    pass(&mut n1, STALL - 1);
    n1.propose(2);
    n1.report(n1.last_write.0 - 1);
    pass(&mut n1, STALL - 1);
    assert_eq!((n1.role(), n1.raft.status().transfer_to), (RoleKind::Leader, None), "its first write was in time");
    n1.receive(N2, matched(2, 3, 4));
    pass(&mut n1, 1);
    assert_ne!(n1.raft.status().transfer_to, None);
}

#[test]
fn a_transfer_that_somebody_asked_for_goes_on_first() {
    let mut n1 = writing();
    pass(&mut n1, STALL - 10);
    n1.receive(N2, matched(2, 3, 4));
    n1.receive(N3, matched(2, 2, 4));
    n1.step(Input::TransferLeadership { id: RequestId(7), to: Some(N3) });
    pass(&mut n1, 299);
    assert_eq!(n1.raft.status().transfer_to, Some(N3));
    let actions = pass(&mut n1, 1);
    assert!(news(&actions).contains(&"r7 failed: the target did not take over in time".to_string()), "{actions:?}");
    assert_eq!(
        (timeouts(&actions).len(), n1.raft.status().transfer_to),
        (1, Some(N2)),
        "then it finds a target itself"
    );
}

#[test]
fn never_means_never() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| {
        config.max_write_stall = Duration::MAX;
        config.check_quorum = false;
    });
    n1 = n1.established();
    n1.propose(1);
    n1.pass(1 << 40);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Leader);
}

#[test]
fn a_cluster_goes_on_without_the_stalled_disk_and_takes_it_back() {
    let mut cluster = Cluster::with(3, |config| config.max_write_stall = Duration::from_millis(STALL));
    let stalled = cluster.elect();
    cluster.propose(stalled);
    let proposed = cluster.raft(stalled.0).status().last;
    let others: Vec<NodeId> = cluster.ids().into_iter().filter(|&id| id != stalled).collect();
    let is_replaced = |cluster: &Cluster| cluster.leader().is_some_and(|leader| leader != stalled);
    for _ in 0..200 {
        for (from, to) in cluster.busy_links() {
            cluster.deliver(from, to, 0);
        }
        for &id in &others {
            cluster.persist(id, usize::MAX);
        }
        if is_replaced(&cluster) && cluster.busy_links().is_empty() {
            break;
        }
        if cluster.busy_links().is_empty() {
            let (_, id) = cluster.next_deadline().expect("a timer runs");
            cluster.wait_for(id);
        }
    }
    assert!(is_replaced(&cluster), "{}", cluster.trace.join("\n"));
    assert!(cluster.servers[&others[0]].applied.iter().any(|entry| entry.id == proposed), "{proposed} is not lost");
    assert!(!cluster.servers[&stalled].pending.is_empty());
    cluster.elect();
    assert!(cluster.history.violations().is_empty());
}

// ---- a state machine that does not answer ----

#[test]
fn what_is_not_applied_within_a_timeout_is_reported_once_for_each_part() {
    let overdue = |actions: &[Action]| {
        events(actions).into_iter().filter(|event| event.contains("state machine")).collect::<Vec<_>>()
    };
    let mut n1 = Replica::new(&[1, 1]).following(3);
    let beat = |n1: &mut Replica, seq, commit| n1.receive(N2, heartbeat(3, seq, (2, 1), commit));
    beat(&mut n1, 2, 1);
    n1.pass(100);
    beat(&mut n1, 3, 2);
    n1.pass(199);
    assert!(overdue(&beat(&mut n1, 4, 2)).is_empty());
    assert_eq!(n1.raft.deadline().map(|deadline| deadline.since(n1.now)), Some(Duration::from_millis(1)));
    n1.pass(1);
    assert_eq!(overdue(&n1.tick()), ["waits for the state machine to report 1 applied"]);
    n1.pass(99);
    assert!(overdue(&beat(&mut n1, 5, 2)).is_empty());
    n1.pass(1);
    assert_eq!(overdue(&n1.tick()), ["waits for the state machine to report 2 applied"]);
    n1.pass(10_000);
    assert!(overdue(&beat(&mut n1, 6, 2)).is_empty(), "once");
}

#[test]
fn what_is_applied_in_time_is_not_reported() {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    n1.receive(N2, heartbeat(3, 2, (2, 1), 2));
    n1.step(Input::Applied { index: LogIndex(2) });
    n1.pass(10_000);
    let actions = n1.receive(N2, heartbeat(3, 3, (2, 1), 2));
    assert!(events(&actions).is_empty(), "{actions:?}");
}
