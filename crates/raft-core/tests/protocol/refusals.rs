//! The core refuses malformed and impossible messages (R10, R44), and a replica stops on what Raft proves impossible
//! (R14).

use crate::cluster::replica::*;
use raft_core::*;

/// Whether the replica changes nothing and reports the reason.
fn is_ignored(n1: &mut Replica, from: NodeId, rpc: Rpc, reason: &str) {
    n1.tick();
    let before = n1.raft.digest();
    let actions = n1.receive(from, rpc.clone());
    assert_eq!(events(&actions), [format!("ignores {from}: {reason}")], "{rpc}");
    assert_eq!(actions.len(), 1, "{rpc}: {actions:?}");
    assert_eq!(n1.raft.digest(), before, "{rpc}");
}

#[test]
fn messages_from_itself_are_ignored() {
    for rpc in [heartbeat(9, 1, (2, 1), 0), request_vote(9, (2, 1)), granted(9), pre_vote(9, 1, (2, 1))] {
        is_ignored(&mut Replica::new(&[1, 1]), N1, rpc, "it claims to come from this node");
    }
}

#[test]
fn terms_above_the_limit_are_ignored() {
    for term in [MAX_NUMBER + 1, u64::MAX] {
        for rpc in [
            heartbeat(term, 1, (2, 1), 0),
            matched(term, 1, 1),
            request_vote(term, (2, 1)),
            granted(term),
            pre_vote(term, 1, (2, 1)),
            pre_vote_granted(term, 1),
        ] {
            is_ignored(&mut Replica::new(&[1, 1]).pre_candidate(), N2, rpc, "it is malformed");
        }
    }
}

#[test]
fn the_highest_term_is_accepted_and_never_left() {
    let reached = Replica::new(&[1, 1]).following(MAX_NUMBER - 1).candidate();
    assert_eq!((reached.term(), reached.role()), (MAX_NUMBER, RoleKind::Candidate));
    let mut n1 = Replica::new(&[1, 1]).following(MAX_NUMBER);
    for _ in 0..5 {
        n1.wait();
        n1.receive(N2, pre_vote_granted(MAX_NUMBER, 1));
    }
    assert_eq!(n1.term(), MAX_NUMBER);
    n1.receive(N2, heartbeat(MAX_NUMBER, 2, (2, 1), 0));
    assert_eq!((n1.role(), n1.raft.leader()), (RoleKind::Follower, Some(N2)), "it still obeys its leader");
}

#[test]
fn malformed_appends_are_ignored() {
    let bad = |change: fn(&mut AppendEntries)| {
        let Rpc::AppendEntries(mut rpc) = append(2, 2, (2, 1), 0, &[(3, 2), (4, 2)]) else { unreachable!() };
        change(&mut rpc);
        Rpc::AppendEntries(rpc)
    };
    let breakages: [fn(&mut AppendEntries); 12] = [
        |rpc| rpc.term = Term(0),
        |rpc| rpc.seq = Seq(0),
        |rpc| rpc.seq = Seq(MAX_NUMBER + 1),
        |rpc| rpc.prev = EntryId::new(0, 1),
        |rpc| rpc.prev = EntryId::new(2, 0),
        |rpc| rpc.prev = EntryId::new(2, 3),
        |rpc| rpc.prev = EntryId::new(3, 1),
        |rpc| rpc.prev = EntryId::new(MAX_NUMBER + 1, 1),
        |rpc| rpc.leader_commit = LogIndex(u64::MAX),
        |rpc| rpc.entries = vec![crate::cluster::entry(3, 2, 3), crate::cluster::entry(5, 2, 3)].into(),
        |rpc| rpc.entries = vec![crate::cluster::entry(3, 3, 3)].into(),
        |rpc| {
            let mut entry = crate::cluster::entry(3, 2, 3);
            entry.payload = Payload::Configuration(Configuration::default());
            rpc.entries = vec![entry].into();
        },
    ];
    for breakage in breakages {
        is_ignored(&mut Replica::new(&[1, 1]).following(2), N2, bad(breakage), "it is malformed");
    }
    is_ignored(&mut Replica::with(&[], 3, |_, _| ()), N2, heartbeat(0, 1, (0, 0), 0), "it is malformed");
}

#[test]
fn malformed_vote_requests_are_ignored() {
    for rpc in [
        request_vote(0, (2, 1)),
        request_vote(5, (2, 6)),
        request_vote(5, (0, 1)),
        request_vote(5, (2, 0)),
        request_vote(5, (MAX_NUMBER + 1, 1)),
        pre_vote(5, 1, (2, 6)),
        pre_vote(0, 1, (0, 0)),
    ] {
        let mut n1 = Replica::new(&[1, 1]);
        n1.pass(150);
        is_ignored(&mut n1, N2, rpc, "it is malformed");
    }
}

#[test]
fn malformed_append_answers_are_ignored() {
    for rpc in [
        matched(2, 1, 4),
        matched(2, 0, 3),
        // s2 was sent to n3.
        matched(2, 2, 3),
        matched(2, u64::MAX, 3),
        mismatch(2, 1, (2, 1), (3, 1)),
        mismatch(2, 1, (2, 1), (2, 2)),
        mismatch(2, 1, (2, 1), (2, 1)),
        mismatch(2, 1, (2, 7), (2, 6)),
        mismatch(2, 1, (9, 2), (8, 2)),
        stale_term(2, 1),
    ] {
        is_ignored(&mut Replica::new(&[1, 1]).leader(), N2, rpc, "it is malformed");
    }
    is_ignored(&mut Replica::new(&[1, 1]).leader(), N9, matched(2, 1, 3), "the sender is not in the configuration");
}

#[test]
fn answers_nobody_waits_for_are_ignored() {
    let roles: [fn(Replica) -> Replica; 2] = [|n1| n1, Replica::pre_candidate];
    for role in roles {
        for rpc in [matched(1, 1, 1), granted(1), refused(1), pre_vote_granted(1, 9)] {
            is_ignored(&mut role(Replica::new(&[1, 1])), N2, rpc, "it answers no current request");
        }
    }
    is_ignored(&mut Replica::new(&[1, 1]).leader(), N3, granted(2), "it answers no current request");
    is_ignored(&mut Replica::new(&[1, 1]).leader(), N3, matched(1, 1, 1), "it answers no current request");
}

#[test]
fn a_second_leader_in_a_term_is_refused_and_reported() {
    let mut n1 = Replica::new(&[1, 1]).following(2);
    let actions = n1.receive(N3, append(2, 1, (2, 1), 2, &[(3, 2)]));
    assert_eq!(sends(&actions), ["n3 append term 2 s1 refused: this term has another leader, Raft §5.2"]);
    assert_eq!(events(&actions).len(), 1);
    assert_eq!((n1.raft.leader(), n1.last(), n1.commit()), (Some(N2), 2, 0), "the first stays");
}

#[test]
fn the_leader_of_a_term_refuses_every_other_also_after_it_stepped_down() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    let mut lonely = n1.clone();
    assert_eq!(sends(&n1.receive(N3, heartbeat(2, 1, (2, 1), 0))).len(), 1);
    assert_eq!(n1.role(), RoleKind::Leader);
    lonely.pass(300);
    lonely.tick();
    assert_eq!((lonely.role(), lonely.term()), (RoleKind::Follower, 2));
    let refusal = sends(&lonely.receive(N3, heartbeat(2, 1, (2, 1), 0)));
    assert_eq!(refusal, ["n3 append term 2 s1 refused: this term has another leader, Raft §5.2"]);
}

#[test]
fn a_conflict_at_or_below_commit_stops_the_replica_once() {
    for rpc in [append(4, 2, (2, 1), 3, &[(3, 4)]), append(4, 2, (3, 4), 3, &[])] {
        let mut n1 = Replica::with(&[1, 1, 1], 3, |_, restored| restored.applied = LogIndex(3)).following(4);
        let actions = n1.receive(N2, rpc);
        let stopped = "stopped: 3@1 is committed and the leader sent 3@4 for it";
        assert_eq!(news(&actions), ["leader of term 4 is unknown", stopped]);
        assert_eq!((write(&actions), sends(&actions).len(), n1.raft.deadline()), (None, 0, None));
        assert!(n1.raft.status().stopped.is_some());
        assert_eq!(news(&n1.propose(1)), ["r1 rejected: stopped"]);
        assert_eq!(news(&n1.read(2)), ["r2 rejected: stopped"]);
        n1.pass(10_000);
        for input in [
            Input::Tick,
            Input::Campaign,
            Input::Receive { from: N2, rpc: append(9, 1, (2, 1), 0, &[]) },
            Input::Receive { from: N3, rpc: request_vote(9, (9, 4)) },
        ] {
            assert!(n1.step(input).is_empty());
        }
        assert_eq!((n1.role(), n1.last()), (RoleKind::Stopped, 3), "it never repairs");
    }
}

#[test]
fn a_former_leader_that_stops_has_said_that_it_leads_no_more() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.read(5);
    let actions = n1.receive(N3, append(9, 1, (2, 1), 3, &[(3, 9)]));
    assert_eq!(
        news(&actions),
        [
            "r5 failed: not the leader; none is known",
            "leadership of term 2 lost",
            "leader of term 9 is unknown",
            "leader of term 9 is n3",
            "leader of term 9 is unknown",
            "stopped: 3@2 is committed and the leader sent 3@9 for it",
        ]
    );
}

#[test]
fn an_append_is_never_rejected_for_a_prev_at_or_below_commit() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, |_, restored| restored.applied = LogIndex(3)).following(1);
    for (seq, prev) in [(2, (0, 0)), (3, (1, 1)), (4, (3, 1))] {
        let answer = sends(&n1.receive(N2, heartbeat(1, seq, prev, 0)));
        assert_eq!(answer, [format!("n2 append term 1 s{seq} match 3")]);
    }
}

#[test]
fn a_leader_that_contradicts_itself_is_ignored() {
    let mut n1 = Replica::new(&[1, 1, 1]).following(4);
    n1.receive(N2, heartbeat(4, 2, (3, 1), 0));
    for rpc in [append(4, 3, (2, 1), 0, &[(3, 4)]), heartbeat(4, 3, (3, 4), 0)] {
        let actions = n1.receive(N2, rpc);
        assert_eq!(events(&actions), ["ignores n2: it contradicts an earlier message of the same leader"]);
        assert_eq!((actions.len(), n1.last()), (1, 3), "acknowledged entries stay");
    }
}
