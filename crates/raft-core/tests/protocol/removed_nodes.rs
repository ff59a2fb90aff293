//! What a removed node learns, from whom, and what it can do (R47 and R50; Raft §6, Thesis §4.2.3).

use crate::cluster::Cluster;
use crate::cluster::replica::*;
use raft_core::*;

/// The entry that leaves these voters.
fn leaves(index: u64, term: u64, voters: &[u64]) -> Entry {
    let configuration = Configuration::of_voters(voters.iter().copied().map(NodeId));
    Entry { id: EntryId::new(index, term), payload: Payload::Configuration(configuration) }
}

fn append_of(term: u64, seq: u64, prev: (u64, u64), commit: u64, entry: Entry) -> Rpc {
    let (prev, leader_commit) = (EntryId::new(prev.0, prev.1), LogIndex(commit));
    Rpc::AppendEntries(AppendEntries {
        term: Term(term),
        seq: Seq(seq),
        prev,
        leader_commit,
        entries: vec![entry].into(),
    })
}

fn denial(term: u64, round: u64, since: (u64, u64)) -> Rpc {
    denial_by(true, term, round, since)
}

fn denial_by(current: bool, term: u64, round: u64, since: (u64, u64)) -> Rpc {
    let vote = Vote::Refused(VoteRefusal::NotAMember { since: EntryId::new(since.0, since.1), current });
    Rpc::PreVoteResponse(PreVoteResponse { term: Term(term), round: Round(round), vote })
}

fn stopped(replica: &Replica) -> Option<EntryId> {
    match replica.raft.status().stopped {
        Some(StopReason::Removed { at }) => Some(at),
        _ => None,
    }
}

/// A follower of n2 in term 3 that has 3@3, a configuration without it, and knows it to be committed up to `commit`.
fn removed(commit: u64) -> Replica {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.trailing_entries = 0).following(3);
    n1.receive(N2, append_of(3, 2, (2, 1), commit, leaves(3, 3, &[2, 3])));
    n1.persist();
    n1
}

#[test]
fn a_node_stops_once_its_removal_is_committed_and_no_leader_sends_to_it_any_more() {
    let mut n1 = removed(3);
    for seq in 3..9 {
        n1.pass(140);
        n1.receive(N2, heartbeat(3, seq, (3, 3), 3));
        assert_eq!(stopped(&n1), None, "a leader still sends: it may be a member again");
    }
    let actions = n1.wait();
    assert_eq!(stopped(&n1), Some(EntryId::new(3, 3)));
    assert!(news(&actions).contains(&"stopped: removed: not a member since 3@3".into()), "{actions:?}");
    assert!(sends(&actions).is_empty(), "it asks for no vote");
}

#[test]
fn a_removal_that_a_leader_shows_while_it_has_committed_more_stops_no_node() {
    let mut n1 = removed(2);
    // The leader adds the node again by an entry of its snapshot, and begins with the entry that the node has.
    n1.receive(N2, heartbeat(3, 3, (3, 3), 9));
    n1.wait();
    assert_eq!((n1.commit(), stopped(&n1), n1.role()), (3, None, RoleKind::PreCandidate));
    n1.receive(N2, denial(3, 1, (3, 3)));
    assert_eq!(stopped(&n1), Some(EntryId::new(3, 3)), "a refusal of a current voter counts");
    let mut compacted = removed(2);
    compacted.receive(N2, heartbeat(3, 3, (3, 3), 9));
    compacted.step(Input::Applied { index: LogIndex(3) });
    compacted.step(Input::SnapshotTaken { index: LogIndex(3) });
    compacted.persist();
    assert_eq!(compacted.raft.status().first, LogIndex(4));
    compacted.wait();
    assert_eq!((stopped(&compacted), compacted.role()), (None, RoleKind::PreCandidate), "its log names it no more");
}

#[test]
fn an_uncommitted_removal_and_one_that_a_later_entry_takes_back_stop_no_node() {
    let mut n1 = removed(2);
    n1.wait();
    assert_eq!((stopped(&n1), n1.role()), (None, RoleKind::PreCandidate), "it may have to lead (Thesis §4.2.2)");
    let mut again = removed(3);
    again.receive(N2, append_of(3, 3, (3, 3), 3, leaves(4, 3, &[1, 2, 3])));
    again.persist();
    again.wait();
    assert_eq!((stopped(&again), again.role()), (None, RoleKind::PreCandidate));
}

#[test]
fn a_node_that_was_never_a_member_does_not_stop() {
    let mut n9 = Replica::with(&[1, 1], 3, |config, _| config.id = N9).following(3);
    n9.receive(N2, heartbeat(3, 2, (2, 1), 2));
    n9.pass(10_000);
    n9.tick();
    assert_eq!((stopped(&n9), n9.commit(), n9.raft.deadline()), (None, 2, None));
}

#[test]
fn refusals_stop_a_node_when_the_others_that_gave_none_are_no_quorum() {
    let mut of_five = Replica::with(&[1, 1], 5, |_, _| ()).pre_candidate();
    let first = of_five.receive(N2, denial(1, 1, (9, 4)));
    assert_eq!(stopped(&of_five), None, "n3, n4 and n5 may have added it again");
    assert!(events(&first).contains(&"is no member since 9@4, says n2".into()), "{first:?}");
    of_five.receive(N2, denial(1, 1, (9, 4)));
    assert_eq!(stopped(&of_five), None, "the same voter twice");
    of_five.receive(N3, denial(1, 1, (9, 4)));
    assert_eq!(stopped(&of_five), Some(EntryId::new(9, 4)), "two of four others are no quorum without the other two");
    let mut of_three = Replica::new(&[1, 1]).pre_candidate();
    of_three.receive(N3, denial(1, 1, (9, 4)));
    assert_eq!(stopped(&of_three), Some(EntryId::new(9, 4)), "without n3 the others decide nothing");
}

#[test]
fn a_forged_an_old_and_a_late_refusal_stop_no_node() {
    let fresh = || Replica::new(&[1, 1]).pre_candidate();
    for (from, rpc, why) in [
        (N9, denial(1, 1, (9, 4)), "not a voter"),
        (N3, denial(1, 2, (9, 4)), "another round"),
        (N3, denial(1, 1, (1, 1)), "the configuration that this node acts on names it"),
        (N3, denial(1, 1, (0, 0)), "an older one"),
    ] {
        let mut n1 = fresh();
        n1.receive(from, rpc);
        assert_eq!(stopped(&n1), None, "{why}");
    }
    let mut late = fresh();
    late.now = late.raft.deadline().expect("a round");
    late.receive(N3, denial(1, 1, (9, 4)));
    assert_eq!(stopped(&late), None, "its round is over");
    let mut follows = Replica::new(&[1, 1]).following(3);
    follows.receive(N3, denial(3, 0, (9, 4)));
    assert_eq!(stopped(&follows), None, "it has a leader");
    let mut replaced = fresh();
    let actions = replaced.receive(N3, denial_by(false, 1, 1, (9, 4)));
    assert_eq!(stopped(&replaced), None, "n3 may have been replaced before this node was added again");
    assert!(
        events(&actions).contains(&"ignores n3: the sender may not know the newest configuration".into()),
        "{actions:?}"
    );
    let mut newer = fresh();
    newer.receive(N3, denial(7, 1, (9, 4)));
    assert_eq!((stopped(&newer), newer.term()), (None, 7), "it asks again in the newer term");
}

#[test]
fn without_pre_votes_the_refusal_names_the_term_of_the_request() {
    let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.pre_vote = false);
    n1.wait();
    n1.persist();
    assert_eq!((n1.role(), n1.term()), (RoleKind::Candidate, 2));
    let vote = Vote::Refused(VoteRefusal::NotAMember { since: EntryId::new(9, 1), current: true });
    let refusal = |term| Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote });
    n1.receive(N3, refusal(1));
    assert_eq!(stopped(&n1), None, "of an earlier round");
    n1.receive(N3, refusal(2));
    assert_eq!(stopped(&n1), Some(EntryId::new(9, 1)));
}

/// n9 follows n2 in term 3 as a learner, by the committed entry 3@3.
fn learner() -> Replica {
    let mut configuration = Configuration::of_voters([N1, N2, N3]);
    configuration.members.insert(N9, Default::default());
    let entry = Entry { id: EntryId::new(3, 3), payload: Payload::Configuration(configuration) };
    let mut n9 = Replica::with(&[1, 1], 3, |config, _| config.id = N9).following(3);
    n9.receive(N2, append_of(3, 2, (2, 1), 3, entry));
    n9.persist();
    n9
}

#[test]
fn a_learner_without_a_leader_asks_and_never_campaigns() {
    for pre_vote in [true, false] {
        let mut n9 = learner();
        let actions = n9.wait();
        assert_eq!((n9.role(), n9.term()), (RoleKind::PreCandidate, 3), "{pre_vote}");
        let asked = sends(&actions);
        assert_eq!(asked.len(), 3, "it asks all voters: {asked:?}");
        for voter in [N1, N2, N3] {
            let granted = PreVoteResponse { term: Term(3), round: Round(1), vote: Vote::Granted };
            n9.receive(voter, Rpc::PreVoteResponse(granted));
        }
        assert_eq!((n9.role(), n9.term()), (RoleKind::PreCandidate, 3), "it has no vote");
        n9.wait();
        n9.receive(N1, heartbeat(4, 1, (3, 3), 3));
        assert_eq!((n9.role(), stopped(&n9)), (RoleKind::Follower, None), "a leader sends to a member");
    }
}

#[test]
fn a_removed_learner_stops_when_the_voters_refuse_it() {
    let mut n9 = learner();
    n9.wait();
    n9.receive(N1, denial(3, 1, (3, 3)));
    n9.receive(N2, denial(3, 1, (5, 3)));
    assert_eq!(stopped(&n9), None, "the first does not know more than it does");
    n9.receive(N3, denial(3, 1, (5, 3)));
    assert_eq!(stopped(&n9), Some(EntryId::new(5, 3)));
}

#[test]
fn a_learner_whose_removal_is_not_known_to_be_committed_asks() {
    let mut n9 = learner();
    n9.receive(N2, append_of(3, 3, (3, 3), 3, leaves(4, 3, &[1, 2, 3])));
    n9.persist();
    n9.wait();
    assert_eq!((n9.role(), n9.commit(), stopped(&n9)), (RoleKind::PreCandidate, 3, None));
    n9.receive(N1, denial(3, 1, (4, 3)));
    n9.receive(N2, denial(3, 1, (4, 3)));
    assert_eq!(stopped(&n9), Some(EntryId::new(4, 3)));
}

#[test]
fn a_node_whose_snapshot_covers_its_removal_asks_and_stops() {
    let without = |restored: &mut RecoveredState| {
        restored.snapshot = Some(SnapshotMeta {
            last: EntryId::new(4, 2),
            configuration: Configuration::of_voters([N2, N3]),
            configured_at: EntryId::new(3, 1),
        });
        restored.hard_state.term = Term(2);
    };
    let mut whole = Replica::with(&[1, 1, 1, 2, 2], 3, |_, restored| {
        without(restored);
        restored.configurations.push((LogIndex(3), Configuration::of_voters([N2, N3])));
        restored.tail = Entries::new();
    });
    whole.wait();
    assert_eq!((whole.role(), stopped(&whole)), (RoleKind::PreCandidate, None), "it may have been added again");
    whole.receive(N2, denial(2, 1, (3, 1)));
    assert_eq!(stopped(&whole), Some(EntryId::new(3, 1)));
    let mut n1 = Replica::with(&[], 3, |_, restored| without(restored));
    n1.wait();
    assert_eq!((n1.role(), stopped(&n1)), (RoleKind::PreCandidate, None), "it may have been added again");
    // The voters still have the entry, or a later configuration without it.
    n1.receive(N2, denial(2, 1, (3, 1)));
    assert_eq!(stopped(&n1), Some(EntryId::new(3, 1)), "n3 alone is no quorum");
}

/// A voter that knows the removal of n3 by 3@3 to be committed.
fn voter() -> Replica {
    let mut n1 = Replica::new(&[1, 1]).following(3);
    n1.receive(N2, append_of(3, 2, (2, 1), 3, leaves(3, 3, &[1, 2])));
    n1.persist();
    n1
}

#[test]
fn a_removed_candidate_is_refused_at_once_and_moves_no_term() {
    let mut n1 = voter();
    let refusal = "not a member since 3@3, Raft §6";
    for (rpc, term) in
        [(request_vote(9, (3, 3)), 9), (request_vote(2, (2, 1)), 3), (request_vote_for_transfer(4, (3, 3)), 4)]
    {
        let actions = n1.receive(N3, rpc);
        assert_eq!(sends(&actions), [format!("n3 vote term {term} refused: {refusal}")]);
        assert!(write(&actions).is_none(), "it costs no write: {actions:?}");
    }
    let actions = n1.receive(N3, pre_vote(4, 7, (3, 3)));
    assert_eq!(sends(&actions), [format!("n3 pre-vote p7 term 3 refused: {refusal}")], "although a leader is alive");
    assert_eq!((n1.term(), n1.raft.leader()), (3, Some(N2)));
    n1.pass(150);
    let longer = sends(&n1.receive(N3, pre_vote(4, 8, (4, 3))));
    assert_eq!(longer, ["n3 pre-vote p8 term 3 granted"], "what is not here yet may have added it again");
}

#[test]
fn a_voter_without_a_leader_or_without_what_is_committed_refuses_but_is_not_current() {
    let doubt = ["n3 pre-vote p7 term 3 refused: not a member since 3@3, but a later entry may name it, Raft §6"];
    let mut alone = voter();
    alone.pass(150);
    assert_eq!(sends(&alone.receive(N3, pre_vote(4, 7, (3, 3)))), doubt, "no leader sends to it");
    let mut behind = voter();
    behind.receive(N2, heartbeat(3, 3, (6, 3), 5));
    assert_eq!(sends(&behind.receive(N3, pre_vote(4, 7, (3, 3)))), doubt, "4@3 or 5@3 may add it again");
}

#[test]
fn a_node_that_was_removed_itself_refuses_too_and_is_not_current_without_a_leader() {
    for members in [[N1, N2], [N2, N9]] {
        let mut n1 = Replica::with(&[], 3, |_, restored| {
            restored.snapshot = Some(SnapshotMeta {
                last: EntryId::new(4, 2),
                configuration: Configuration::of_voters(members),
                configured_at: EntryId::new(3, 1),
            });
            restored.hard_state.term = Term(2);
        });
        let doubt = "n3 pre-vote p7 term 2 refused: not a member since 3@1, but a later entry may name it, Raft §6";
        assert_eq!(sends(&n1.receive(N3, pre_vote(3, 7, (4, 2)))), [doubt], "no leader has sent to it");
    }
}

#[test]
fn a_connected_node_learns_of_its_removal_and_the_leader_then_forgets_it() {
    let mut cluster = Cluster::with_joiners(4, 0, |_| ());
    let leader = cluster.elect();
    let gone = cluster.ids().into_iter().find(|&id| id != leader).expect("four nodes");
    cluster.change(leader, vec![MembershipStep::Remove { id: gone }]);
    assert!(cluster.run_until(40, |cluster| !cluster.raft(leader.0).status().peers.contains_key(&gone)));
    let decided = cluster.raft(leader.0).commit();
    assert_eq!(cluster.raft(gone.0).commit(), decided, "it has the commit index of its removal");
    assert!(cluster.run_until(40, |cluster| cluster.raft(gone.0).role() == RoleKind::Stopped));
    let asked = cluster.trace.iter().any(|line| line.contains("pre-vote") && line.contains(&format!("{gone} ")));
    assert!(!asked || cluster.leader() == Some(leader));
    assert!(cluster.history.violations().is_empty());
}

#[test]
fn a_leader_does_not_send_for_ever_to_a_removed_node_that_does_not_answer() {
    let mut cluster = Cluster::with_joiners(4, 0, |_| ());
    let leader = cluster.elect();
    let gone = cluster.ids().into_iter().find(|&id| id != leader).expect("four nodes");
    cluster.isolate(gone, true);
    cluster.change(leader, vec![MembershipStep::Remove { id: gone }]);
    assert!(cluster.run_until(60, |cluster| !cluster.raft(leader.0).status().peers.contains_key(&gone)));
    cluster.isolate(gone, false);
    assert!(
        cluster.run_until(200, |cluster| cluster.raft(gone.0).role() == RoleKind::Stopped),
        "its requests are refused"
    );
    assert_eq!(cluster.leader(), Some(leader), "nobody else noticed");
}
