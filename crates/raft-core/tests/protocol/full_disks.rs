//! A node whose disk is full does not lead if another node can (R51).

use crate::cluster::replica::*;
use raft_core::{Action, Input, LogIndex, NodeId, RequestId, RoleKind, Rpc};
use std::time::Duration;

/// n1 leads three; n2 and n3 hold everything, and answer.
fn leading() -> Replica {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.step(Input::Applied { index: LogIndex(3) });
    n1.receive(N3, matched(2, 2, 3));
    n1
}

fn space(n1: &mut Replica, is_low: bool) -> Vec<Action> {
    n1.step(Input::Space { is_low })
}

#[test]
fn a_leader_transfers_leadership_at_once_and_refuses_nothing_for_lack_of_space() {
    let mut n1 = leading();
    // Requests of the same call are refused for the transfer: a client asks the next leader.
    let requests = [1, 2].map(|id| Input::Propose { id: RequestId(id), command: "x".into() });
    let [before, after] = requests;
    let actions = n1.batch([before, Input::Space { is_low: true }, after]);
    assert!(news(&actions).contains(&"r1 appended as 4@2".to_string()), "{:?}", news(&actions));
    assert!(news(&actions).contains(&"r2 rejected: leadership is being transferred".to_string()));
    n1.persist();
    assert_eq!(timeouts(&n1.receive(N3, matched(2, 3, 4))), Vec::<String>::new(), "n2 is the target");
    assert_eq!(n1.raft.status().transfer_to, Some(N2));
    assert_eq!(timeouts(&n1.receive(N2, matched(2, 3, 4))), ["n2 timeout now term 2 last 4@2"]);
}

#[test]
fn a_peer_without_space_is_no_target_until_its_answers_say_otherwise() {
    let mut n1 = leading();
    n1.receive(N2, matched_without_space(2, 1, 3));
    assert_eq!(timeouts(&space(&mut n1, true)), ["n3 timeout now term 2 last 3@2"]);
    // n3 reports that it has no space either: the transfer fails, and the leader stays.
    n1.receive(N3, matched_without_space(2, 2, 3));
    assert!(timeouts(&space(&mut n1, true)).is_empty());
    assert_eq!((n1.role(), n1.raft.status().transfer_to), (RoleKind::Leader, None));
    assert!(n1.raft.status().no_space);
    assert_eq!(news(&n1.propose(1)), ["r1 rejected: no space left on the leader's disk"]);
    let named = n1.step(Input::TransferLeadership { id: RequestId(2), to: Some(N2) });
    assert_eq!(news(&named), ["r2 rejected: n2 cannot take over: its disk is full"]);
    assert!(news(&n1.lease_read(3)).is_empty(), "reads continue");
    n1.receive(N2, matched(2, 1, 3));
    assert_eq!(timeouts(&space(&mut n1, true)), ["n2 timeout now term 2 last 3@2"]);
}

#[test]
fn one_report_is_one_attempt_and_with_space_all_is_as_before() {
    let mut n1 = leading();
    assert_eq!(timeouts(&space(&mut n1, true)).len(), 1);
    n1.pass(1);
    assert!(timeouts(&space(&mut n1, true)).is_empty(), "the transfer is under way");
    n1.receive(N2, matched_without_space(2, 1, 3));
    n1.receive(N3, matched_without_space(2, 2, 3));
    assert!(news(&n1.propose(1)).contains(&"r1 rejected: no space left on the leader's disk".to_string()));
    space(&mut n1, false);
    assert!(news(&n1.propose(2)).contains(&"r2 appended as 4@2".to_string()));
}

#[test]
fn a_node_without_space_takes_no_leadership_and_says_so_in_its_answers() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    space(&mut n1, true);
    let answers = n1.receive(N2, heartbeat(2, 2, (2, 1), 0));
    let says =
        |action: &Action| matches!(action, Action::Send { rpc: Rpc::AppendEntriesResponse(rpc), .. } if rpc.no_space);
    assert!(answers.iter().any(says), "{answers:?}");
    let refused = n1.receive(N2, timeout_now(2, (2, 1)));
    assert_eq!((events(&refused).len(), n1.role(), n1.term()), (1, RoleKind::Follower, 2));
    let since = n1.now;
    n1.pass(1_000);
    assert_eq!(events(&n1.step(Input::Campaign)), ["does not campaign: its disk is full"]);
    let deadline = n1.raft.deadline().expect("the last resort");
    assert!(deadline.since(since) >= 5 * Duration::from_millis(150) && deadline.since(since) <= Duration::from_secs(2));
    let mut freed = n1.clone();
    space(&mut freed, false);
    assert_eq!(freed.role(), RoleKind::PreCandidate, "its timer has long run out");
    n1.wait();
    assert_eq!(n1.role(), RoleKind::PreCandidate, "no node with space has won");
}

#[test]
fn a_sole_voter_without_space_leads() {
    let mut n1 = Replica::unstarted(&[1, 1], 1, |_, _| ());
    n1.batch([Input::Space { is_low: true }]);
    n1.persist();
    assert_eq!((n1.role(), n1.raft.leader()), (RoleKind::Leader, Some(NodeId(1))));
    assert_eq!(news(&n1.propose(1)), ["r1 rejected: no space left on the leader's disk"]);
}
