//! How a leader uses numbered answers, and how it repairs a log (R19 to R21; Raft §5.3).

use crate::cluster::Cluster;
use crate::cluster::replica::*;
use raft_core::{Action, AppendOutcome, Input, LogIndex, NodeId, PeerState, RoleKind, Rpc, Term};

fn peer(n1: &Replica, id: NodeId) -> (u64, u64, PeerState) {
    let status = n1.raft.status().peers[&id];
    (status.match_index.0, status.next_index.0, status.state)
}

// ---- unreachable ----

#[test]
fn an_unreachable_peer_is_probed_by_the_next_heartbeat_and_nothing_else_happens() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.propose(1);
    n1.propose(2);
    n1.persist();
    assert_eq!(peer(&n1, N2), (3, 6, PeerState::Replicate));
    assert!(n1.step(Input::Unreachable { peer: N2 }).is_empty(), "no message: it would be lost too");
    assert_eq!(peer(&n1, N2), (3, 4, PeerState::Probe));
    assert!(appends_to(&n1.propose(3), N2).is_empty());
    n1.receive(N2, matched(2, 4, 4));
    assert_eq!(peer(&n1, N2), (4, 5, PeerState::Probe), "an answer from before counts, but ends no probe");
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N2);
    assert_eq!((beat.len(), beat[0].prev.index.0, beat[0].entries.len()), (1, 4, 0));
    let again = appends_to(&n1.receive(N2, matched(2, beat[0].seq.0, 4)), N2);
    assert_eq!(
        again.iter().map(|append| append.entries.len()).sum::<usize>(),
        2,
        "the leader sends the lost entries again"
    );
    assert_eq!(peer(&n1, N2).2, PeerState::Replicate);
}

#[test]
fn what_is_not_a_replicating_peer_of_a_leader_is_not_made_unreachable() {
    for (mut n1, id) in [
        (Replica::new(&[1, 1]).established(), N3),
        (Replica::new(&[1, 1]).established(), N9),
        (Replica::new(&[1, 1]).established(), N1),
        (Replica::new(&[1, 1]).following(3), N2),
        (Replica::new(&[1, 1]).candidate(), N2),
    ] {
        n1.persist();
        let before = n1.raft.digest();
        assert!(n1.step(Input::Unreachable { peer: id }).is_empty());
        assert_eq!(n1.raft.digest(), before, "{id}");
    }
}

// ---- data loss ----

#[test]
fn a_peer_that_denies_what_it_acknowledged_counts_for_nothing() {
    let mut n1 = Replica::new(&[1, 1]).established();
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N2)[0].seq.0;
    let actions = n1.receive(N2, mismatch(2, beat, (3, 2), (0, 0)));
    assert_eq!(events(&actions), ["n2 lost data: it acknowledged up to 3 and denies 3@2"]);
    assert_eq!(peer(&n1, N2).2, PeerState::LostData);

    let proposed = n1.propose(1);
    assert!(appends_to(&proposed, N2).is_empty());
    n1.persist();
    n1.receive(N2, matched(2, beat, 4));
    assert_eq!(n1.commit(), 3, "not for a commit");
    n1.read(2);
    let confirmed = n1.receive(N2, matched(2, beat, 4));
    assert!(news(&confirmed).is_empty(), "not for a read");
    n1.pass(50);
    assert!(appends_to(&n1.tick(), N2).is_empty(), "no heartbeats either");
    n1.pass(200);
    n1.receive(N2, matched(2, beat, 3));
    n1.pass(100);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Follower, "not for check-quorum");
}

#[test]
fn what_a_peer_acknowledged_before_it_lost_data_counts_no_more() {
    let mut n1 = Replica::new(&[1, 1]).established();
    let seq = appends_to(&n1.propose(1), N2)[0].seq.0;
    n1.receive(N2, matched(2, seq, 4));
    assert_eq!(n1.commit(), 3, "not durable here yet");
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N2)[0].seq.0;
    n1.receive(N2, mismatch(2, beat, (4, 2), (1, 1)));
    assert_eq!(peer(&n1, N2).2, PeerState::LostData);
    n1.persist();
    assert_eq!(n1.commit(), 3, "one copy is not a quorum");
}

#[test]
fn the_contact_of_a_peer_that_lost_data_counts_no_more() {
    let mut n1 = Replica::new(&[1, 1]).established();
    for _ in 0..4 {
        n1.pass(60);
        let beat = appends_to(&n1.tick(), N2)[0].seq.0;
        n1.receive(N2, matched(2, beat, 3));
    }
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N2)[0].seq.0;
    n1.receive(N2, mismatch(2, beat, (3, 2), (0, 0)));
    n1.pass(20);
    n1.tick();
    assert_eq!(n1.role(), RoleKind::Follower, "no other peer has answered since its election");
}

#[test]
fn a_late_answer_from_before_the_match_is_no_data_loss_and_lowers_nothing() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    n1.receive(N2, matched(2, 1, 3));
    for late in [mismatch(2, 1, (2, 1), (1, 1)), matched(2, 1, 1)] {
        n1.receive(N2, late);
        assert_eq!(peer(&n1, N2), (3, 4, PeerState::Replicate), "nothing was known when s1 left");
    }
}

#[test]
fn a_wiped_peer_is_detected_by_the_next_heartbeats() {
    let mut cluster = Cluster::with(3, |_| ());
    let leader = cluster.elect();
    let victim = cluster.ids().into_iter().find(|&id| id != leader).expect("another");
    cluster.pass(60);
    cluster.settle();
    cluster.crash(victim, 0);
    let disk = &mut cluster.servers.get_mut(&victim).expect("known").disk;
    disk.log.truncate(1);
    cluster.restart(victim, false);
    for _ in 0..4 {
        cluster.pass(50);
        cluster.settle();
    }
    let status = cluster.raft(leader.0).status();
    assert_eq!(status.peers[&victim].state, PeerState::LostData);
    assert_eq!(cluster.raft(victim.0).status().last.index, LogIndex(1), "the leader continues no log from it");
}

// ---- numbers ----

#[test]
fn every_append_has_a_number_of_its_own_over_all_peers() {
    let mut n1 = Replica::new(&[1, 1]).candidate();
    let mut seqs = Vec::new();
    let mut take = |actions: &[Action]| {
        for action in actions {
            if let Action::Send { rpc: Rpc::AppendEntries(rpc), .. } = action {
                seqs.push(rpc.seq.0);
            }
        }
    };
    take(&n1.receive(N2, granted(2)));
    take(&n1.persist());
    take(&n1.receive(N2, matched(2, 1, 3)));
    take(&n1.propose(1));
    n1.pass(50);
    take(&n1.tick());
    take(&n1.read(1));
    assert!(seqs.len() >= 6);
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[test]
fn stale_rejections_do_not_rewind() {
    let mut n1 = Replica::new(&[1, 1, 1, 1]).leader();
    let probe = n1.receive(N3, mismatch(2, 2, (4, 1), (1, 1)));
    let seq = appends_to(&probe, N3)[0].seq.0;
    let again = n1.receive(N3, mismatch(2, 2, (4, 1), (1, 1)));
    assert!(sends(&again).is_empty(), "the same rejection twice: one probe");
    n1.receive(N3, matched(2, seq, 5));
    n1.receive(N3, mismatch(2, 2, (4, 1), (1, 1)));
    assert_eq!(peer(&n1, N3), (5, 6, PeerState::Replicate));
}

#[test]
fn a_lost_window_is_reopened_by_the_heartbeat() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_inflight_messages = 2).established();
    for id in 1..=5 {
        n1.propose(id);
    }
    assert_eq!(n1.raft.status().peers[&N2].inflight_messages, 2);
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N2);
    assert_eq!((beat.len(), beat[0].prev.to_string()), (1, "5@2".to_string()), "prev is the last entry sent");
    let repaired = n1.receive(N2, mismatch(2, beat[0].seq.0, (5, 2), (3, 2)));
    let resent = appends_to(&repaired, N2);
    assert_eq!((resent[0].prev.to_string(), resent[0].entries.to_string()), ("3@2".into(), "[4@2..8@2]".into()));
    let done = n1.receive(N2, matched(2, resent[0].seq.0, 8));
    assert_eq!(n1.raft.status().peers[&N2].inflight_messages, 0, "{done:?}");
}

#[test]
fn a_rejected_probe_is_repeated_only_by_heartbeats() {
    let mut n1 = Replica::new(&[1, 1]).leader();
    for id in 1..=5 {
        assert!(appends_to(&n1.propose(id), N3).is_empty(), "one probe at a time");
    }
    n1.pass(50);
    let beat = appends_to(&n1.tick(), N3);
    assert_eq!(beat.iter().map(|rpc| rpc.entries.len()).collect::<Vec<_>>(), [0]);
}

// ---- log repair ----

/// The number of refused probes until a follower's log equals the leader's.
fn refused_probes(leader: &[u64], follower: &[u64]) -> usize {
    let term = leader.iter().chain(follower).copied().max().unwrap_or(1);
    let mut n1 = Replica::with(leader, 3, |_, restored| restored.hard_state.term = Term(term)).leader();
    let mut n2 = Replica::with(follower, 3, |config, restored| {
        (config.id, restored.hard_state.term) = (N2, Term(term));
    });
    n1.persist();
    // The first probe is lost.
    n1.pass(50);
    let mut appends = appends_to(&n1.tick(), N2);
    let mut refused = 0;
    while n2.raft.status().last != n1.raft.status().last {
        let mut answers = Vec::new();
        for append in appends.drain(..) {
            answers.extend(n2.receive(N1, Rpc::AppendEntries(append)));
            answers.extend(n2.persist());
        }
        for action in answers {
            let Action::Send { rpc: Rpc::AppendEntriesResponse(rpc), .. } = action else { continue };
            refused += usize::from(matches!(rpc.outcome, AppendOutcome::Mismatch { .. }));
            appends.extend(appends_to(&n1.receive(N2, Rpc::AppendEntriesResponse(rpc)), N2));
        }
        assert!(!appends.is_empty() || n2.raft.status().last == n1.raft.status().last, "nothing moves");
    }
    refused
}

/// The number of terms at the end of `follower` that conflict with the leader's log.
fn conflicting_terms(leader: &[u64], follower: &[u64]) -> usize {
    let common = leader.iter().zip(follower).take_while(|(ours, theirs)| ours == theirs).count();
    let mut terms: Vec<u64> = follower[common..].to_vec();
    terms.dedup();
    terms.len()
}

#[test]
fn raft_figure_7_is_repaired_with_at_most_one_refused_probe_a_conflicting_term() {
    let leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [(&str, &[u64]); 6] = [
        ("a", &[1, 1, 1, 4, 4, 5, 5, 6, 6]),
        ("b", &[1, 1, 1, 4]),
        ("c", &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]),
        ("d", &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]),
        ("e", &[1, 1, 1, 4, 4, 4, 4]),
        ("f", &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]),
    ];
    for (name, follower) in followers {
        let refused = refused_probes(&leader, follower);
        // One probe finds a log that is only too short.
        let allowed = conflicting_terms(&leader, follower).max(1);
        assert!(refused <= allowed, "({name}): {refused} refused probes, {allowed} allowed");
    }
}

#[test]
fn a_thousand_entries_in_twenty_alternating_terms_take_at_most_twenty_probes() {
    // The leader's log has the terms 2, 4, 6 .., the follower's 3, 5, 7 .., after a common first entry.
    let log =
        |first: u64| -> Vec<u64> { std::iter::once(1).chain((0..999).map(|place| first + 2 * (place / 50))).collect() };
    let (leader, follower) = (log(3), log(2));
    let refused = refused_probes(&leader, &follower);
    assert!((2..=20).contains(&refused), "{refused} refused probes");
    let (leader, follower) = (log(2), log(3)[..951].to_vec());
    let refused = refused_probes(&leader, &follower);
    assert!((2..=20).contains(&refused), "{refused} refused probes");
}
