//! Everything that can grow is bounded, and every quota returns to zero (R43).

use crate::cluster::Cluster;
use crate::cluster::replica::*;
use raft_core::{Input, LogIndex, PeerState};

// A proposal of one byte counts 25: the payload and 24 for the rest. A no-op counts 24.

#[test]
fn too_many_uncommitted_bytes_make_proposals_busy_until_a_commit() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_uncommitted_bytes = 50).established();
    assert_eq!(n1.raft.status().uncommitted_bytes, 0, "all committed with the no-op");
    assert_eq!(news(&n1.propose(1)), ["r1 appended as 4@2"]);
    assert_eq!(news(&n1.propose(2)), ["r2 appended as 5@2"]);
    assert_eq!(news(&n1.propose(3)), ["r3 rejected: busy"]);
    assert_eq!(n1.last(), 5, "surely not appended");
    n1.persist();
    n1.receive(N2, matched(2, 4, 5));
    assert_eq!(n1.raft.status().uncommitted_bytes, 0);
    assert_eq!(news(&n1.propose(4)), ["r4 appended as 6@2"]);
}

#[test]
fn a_new_leader_counts_what_it_took_over() {
    let n1 = Replica::new(&[1, 1]).leader();
    let uncommitted = n1.raft.status().uncommitted_bytes;
    // The configuration of three (24 + 6 names of 8), a command `2@1` (24 + 3), a no-op (24).
    assert_eq!(uncommitted, 72 + 27 + 24);
}

#[test]
fn too_many_unpersisted_bytes_make_proposals_busy_until_the_disk_reports() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_unpersisted_bytes = 50).established();
    let inputs = (1..=9).map(|id| Input::Propose { id: raft_core::RequestId(id), command: "x".into() });
    let answers = news(&n1.clone().batch(inputs));
    assert_eq!(answers.iter().filter(|answer| answer.ends_with("busy")).count(), 7, "in one call as well");
    n1.propose(1);
    n1.propose(2);
    assert_eq!(news(&n1.propose(3)), ["r3 rejected: busy"]);
    n1.persist();
    assert_eq!(n1.raft.status().unpersisted_bytes, 0);
    assert_eq!(news(&n1.propose(4)), ["r4 appended as 6@2"]);
}

#[test]
fn too_many_reads_are_busy_until_some_are_confirmed() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_pending_reads = 2).established();
    let seq = appends_to(&n1.read(1), N2)[0].seq.0;
    n1.read(2);
    assert_eq!(news(&n1.read(3)), ["r3 rejected: busy"]);
    n1.receive(N2, matched(2, seq, 3));
    assert_eq!(n1.raft.status().pending_reads, 1);
    assert!(news(&n1.read(4)).is_empty());
}

#[test]
fn an_overloaded_follower_ignores_new_entries_and_keeps_contact_with_its_leader() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.max_unpersisted_bytes = 20).following(2);
    n1.receive(N2, append(2, 2, (2, 1), 0, &[(3, 2)]));
    n1.pass(100);
    let ignored = n1.receive(N2, append(2, 3, (3, 2), 3, &[(4, 2)]));
    assert_eq!(events(&ignored), ["ignores n2: too many bytes wait for the disk"]);
    assert_eq!((ignored.len(), n1.last(), n1.commit()), (1, 3, 0), "no answer, no entry, no commit");
    let window = n1.raft.deadline().map(|deadline| deadline.since(n1.now).as_millis());
    assert!(window.is_some_and(|millis| millis >= 150), "contact");
    let beat = n1.receive(N2, heartbeat(2, 4, (2, 1), 2));
    assert_eq!((sends(&beat), n1.commit()), (vec!["n2 append term 2 s4 match 2".to_string()], 2));
    let known = n1.receive(N2, append(2, 5, (2, 1), 2, &[(3, 2)]));
    assert_eq!(sends(&known).len(), 1, "it has no new entries: the node handles it as usual");
    n1.receive(N3, append(7, 1, (2, 1), 0, &[(3, 7)]));
    assert_eq!((n1.term(), n1.raft.leader(), n1.last()), (7, Some(N3), 3), "its term counts");
}

#[test]
fn what_an_overloaded_follower_ignored_is_repaired() {
    let mut cluster = Cluster::with(3, |config| config.max_unpersisted_bytes = 60);
    let leader = cluster.elect();
    let slow = cluster.ids().into_iter().find(|&id| id != leader).expect("another");
    for _ in 0..6 {
        cluster.propose(leader);
        cluster.persist(leader, usize::MAX);
        for (from, to) in cluster.busy_links() {
            cluster.deliver(from, to, 0);
            if to != slow {
                cluster.persist(to, usize::MAX);
            }
        }
    }
    let behind = cluster.raft(slow.0).status();
    assert!(behind.last.index < cluster.raft(leader.0).status().last.index, "{behind:?}");
    assert!(behind.unpersisted_bytes >= 60);
    assert!(cluster.run_until(60, Cluster::has_converged), "{}", cluster.trace.join("\n"));
    assert_eq!(cluster.raft(slow.0).status().unpersisted_bytes, 0);
}

#[test]
fn what_is_applied_and_not_reported_is_limited() {
    let mut n1 = Replica::with(&[1, 1, 1, 1, 1], 3, |config, _| config.max_apply_bytes = 100).following(1);
    let first = n1.receive(N2, heartbeat(1, 2, (5, 1), 5));
    assert_eq!(applies(&first), ["apply [1@1..2@1]"], "72 + 27 bytes");
    assert!(applies(&n1.tick()).is_empty());
    let half = n1.step(Input::Applied { index: LogIndex(1) });
    assert!(applies(&half).is_empty(), "only whole batches free space");
    assert_eq!(applies(&n1.step(Input::Applied { index: LogIndex(9) })), ["apply [3@1..5@1]"]);
    assert_eq!(n1.raft.applied(), LogIndex(2), "the host cannot apply more than was submitted");
    n1.step(Input::Applied { index: LogIndex(u64::MAX) });
    assert_eq!(n1.raft.applied(), LogIndex(5));
}

#[test]
fn an_entry_above_the_limit_is_applied_alone() {
    let mut n1 = Replica::with(&[1, 1, 1], 3, |config, _| config.max_apply_bytes = 1).following(1);
    for index in 1..=3 {
        let actions = if index == 1 {
            n1.receive(N2, heartbeat(1, 2, (3, 1), 3))
        } else {
            n1.step(Input::Applied { index: LogIndex(index - 1) })
        };
        assert_eq!(applies(&actions), [format!("apply [{index}@1]")]);
    }
}

#[test]
fn the_window_of_a_peer_is_limited_in_messages_and_bytes() {
    let limits: [(usize, u64, usize); 2] = [(2, 1_000, 2), (100, 60, 3)];
    for (messages, bytes, expected) in limits {
        let mut n1 = Replica::with(&[1, 1], 3, |config, _| {
            config.max_append_bytes = 1;
            (config.max_inflight_messages, config.max_inflight_bytes) = (messages, bytes);
        })
        .established();
        let mut sent = 0;
        for id in 1..=9 {
            sent += appends_to(&n1.propose(id), N2).len();
        }
        assert_eq!(sent, expected, "an append of one entry counts 25 bytes");
        let more = n1.receive(N2, matched(2, 3 + sent as u64 - 1, 3 + sent as u64));
        assert_eq!(appends_to(&more, N2).len(), expected, "the window opens again");
        assert_eq!(n1.raft.status().peers[&N2].state, PeerState::Replicate);
    }
}

#[test]
fn an_append_is_limited_in_bytes_but_holds_one_entry() {
    let mut n1 = Replica::with(&[1, 1, 1, 1], 3, |config, _| config.max_append_bytes = 60).leader();
    let actions = n1.receive(N2, mismatch(2, 1, (4, 1), (1, 1)));
    let entries: Vec<_> = appends_to(&actions, N2).iter().map(|rpc| rpc.entries.to_string()).collect();
    assert_eq!(entries, ["[2@1..3@1]"], "27 bytes each");
}

#[test]
fn all_quotas_return_to_zero() {
    let mut cluster = Cluster::for_schedules(3);
    let leader = cluster.elect();
    for round in 0..20 {
        cluster.propose(leader);
        cluster.read(leader);
        if round % 5 == 4 {
            cluster.pass(10);
        }
    }
    cluster.crash(cluster.ids().into_iter().find(|&id| id != leader).expect("another"), 0);
    assert!(cluster.heals(), "{}", cluster.trace.join("\n"));
}
