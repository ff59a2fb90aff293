//! Every request gets one answer (R42), and only appends sent after a read arrived confirm it (R22).

use crate::cluster::replica::*;
use raft_core::{Input, LogIndex, ReadMode, RequestId, RoleKind};

#[test]
fn proposals_and_reads_are_rejected_by_nodes_that_do_not_lead() {
    let roles: [fn(Replica) -> Replica; 4] =
        [|n1| n1, Replica::pre_candidate, Replica::voting_for_itself, Replica::candidate];
    for role in roles {
        let mut n1 = role(Replica::new(&[1, 1]));
        assert_eq!(news(&n1.propose(1)), ["r1 rejected: not the leader; none is known"]);
        assert_eq!(news(&n1.read(2)), ["r2 rejected: not the leader; none is known"]);
    }
    let mut n1 = Replica::new(&[1, 1]).following(3);
    assert_eq!(news(&n1.propose(1)), ["r1 rejected: not the leader; n2 is"]);
}

#[test]
fn a_proposal_is_answered_in_its_call_and_never_again() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let both = n1.batch([
        Input::Propose { id: RequestId(1), command: "a".into() },
        Input::Propose { id: RequestId(1), command: "b".into() },
    ]);
    assert_eq!(news(&both), ["r1 appended as 4@2", "r1 appended as 5@2"], "ids are opaque");
    n1.step(Input::Applied { index: LogIndex(3) });
    n1.persist();
    let committed = n1.receive(N2, matched(2, 3, 5));
    assert_eq!((news(&committed).len(), applies(&committed)), (0, vec!["apply [4@2..5@2]".to_string()]));
    let lost = n1.receive(N3, stale_term(9, 2));
    assert_eq!(news(&lost), ["leadership of term 2 lost", "leader of term 9 is unknown"]);
}

#[test]
fn pending_reads_fail_once_when_leadership_is_lost() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.read(1);
    n1.read(2);
    let lost = n1.receive(N3, heartbeat(9, 1, (2, 1), 0));
    let failures = ["r1 failed: not the leader; none is known", "r2 failed: not the leader; none is known"];
    assert_eq!(news(&lost)[..2], failures);
    assert_eq!(n1.raft.status().pending_reads, 0);
}

#[test]
fn a_read_is_confirmed_only_by_answers_to_what_was_sent_after_it() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let asking = n1.read(1);
    let round = appends_to(&asking, N2);
    assert_eq!(round.len(), 1, "{asking:?}");
    let seq = round[0].seq.0;
    assert!(news(&n1.receive(N2, matched(2, seq - 1, 3))).is_empty(), "an older append proves nothing");
    let (mut rejected, to_n3) = (n1.clone(), &appends_to(&asking, N3)[0]);
    let prev = (to_n3.prev.index.0, to_n3.prev.term.0);
    let answer = rejected.receive(N3, mismatch(2, to_n3.seq.0, prev, (1, 1)));
    assert_eq!(news(&answer), ["r1 ready at 3"], "a rejection confirms too: n3 was still in this term");
    assert!(news(&n1.receive(N3, matched(2, 2, 3))).is_empty());
    assert_eq!(news(&n1.receive(N2, matched(2, seq, 3))), ["r1 ready at 3"]);
    assert_eq!(n1.raft.status().pending_reads, 0);
}

#[test]
fn a_batch_does_not_confirm_a_read_by_what_it_brings_along() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let seq = appends_to(&n1.propose(1), N2)[0].seq.0;
    let actions = n1.batch([
        Input::Read { id: RequestId(2), mode: ReadMode::Safe },
        Input::Receive { from: N2, rpc: matched(2, seq, 3) },
    ]);
    assert!(news(&actions).is_empty(), "{actions:?}");
}

#[test]
fn reads_wait_for_the_first_commit_of_the_term() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    n1.persist();
    let asking = n1.read(1);
    let seq = appends_to(&asking, N2)[0].seq.0;
    assert!(
        news(&n1.receive(N2, matched(2, seq, 2))).is_empty(),
        "confirmed, but the commit index of earlier terms is not known"
    );
    let committed = news(&n1.receive(N2, matched(2, seq, 3)));
    assert_eq!(committed.last().map(String::as_str), Some("r1 ready at 3"), "the no-op's index");
}

#[test]
fn a_sole_voter_waits_for_the_first_commit_too() {
    let mut alone = Replica::with(&[1], 1, |_, _| ());
    alone.persist();
    assert_eq!(alone.role(), RoleKind::Leader);
    assert!(news(&alone.read(1)).is_empty());
    assert_eq!(news(&alone.persist()), ["configuration {n1} of 1@1 committed", "r1 ready at 2"]);
    assert_eq!(news(&alone.read(2)), ["r2 ready at 2"]);
}

#[test]
fn reads_that_arrive_during_a_round_share_the_next() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let first = appends_to(&n1.read(1), N2)[0].seq.0;
    for id in 2..10 {
        assert!(sends(&n1.read(id)).is_empty(), "no message for r{id}");
    }
    let answer = n1.receive(N2, matched(2, first, 3));
    assert_eq!(news(&answer), ["r1 ready at 3"]);
    let second = appends_to(&answer, N2);
    assert_eq!(second.len(), 1, "eight reads share one round");
    assert_eq!(news(&n1.receive(N2, matched(2, second[0].seq.0, 3))).len(), 8);
}

#[test]
fn a_lost_round_is_repeated_by_the_heartbeat() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.read(1);
    n1.pass(50);
    let beat = n1.tick();
    let seq = appends_to(&beat, N3)[0].seq.0;
    assert_eq!(news(&n1.receive(N3, matched(2, seq, 3))), ["r1 ready at 3"]);
}

#[test]
fn a_read_sees_its_index_of_arrival_not_of_confirmation() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let seq = appends_to(&n1.read(1), N2)[0].seq.0;
    n1.propose(2);
    n1.persist();
    let answer = n1.receive(N2, matched(2, seq + 1, 4));
    assert_eq!(news(&answer), ["r1 ready at 3"]);
    assert_eq!(n1.commit(), 4);
}
