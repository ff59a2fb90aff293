//! Each mark is counted when it is reached, and not a step earlier.

use super::super::script::*;
use super::*;
use crate::record::Unhashed;
use raft_core::{
    AppendEntriesResponse, PreVoteResponse, RequestVoteResponse, Round, Seq, TargetProblem, TransferFailure,
    VoteRefusal,
};
use raft_node::SnapshotProgress;
use std::time::Duration;

fn counts(script: &Script) -> BTreeMap<&'static str, u64> {
    let (mut ghost, mut sometimes) = (Ghost::new(&scenario()), Sometimes::new(&scenario()));
    for record in &script.records {
        let change = ghost.update(record);
        sometimes.observe(&ghost, &Fact { record, node: record.node.and_then(|id| ghost.node(id)), change });
    }
    let reached = sometimes.counts();
    assert!(reached.keys().eq(MARKS.iter()), "every mark is counted and none is unknown: {reached:?}");
    reached.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Checks that each of these marks is reached once.
fn assert_once(script: &Script, marks: &[&str]) -> BTreeMap<&'static str, u64> {
    let reached = counts(script);
    assert!(marks.iter().all(|mark| reached.get(mark) == Some(&1)), "{reached:?}");
    reached
}

#[test]
fn a_legal_run_reaches_its_marks() {
    let marks =
        ["campaign_without_pre_vote", "commit", "election", "leader_behind_commit", "leader_elected", "restart"];
    let expected = marks.into_iter().zip([2, 2, 2, 1, 2, 1]).collect::<BTreeMap<_, _>>();
    assert_eq!(counts(&Script::legal()), expected);
}

#[test]
fn elections_that_fail_and_leaders_that_stop() {
    let mut script = Script::led();
    script.step(1, |view| view.role = RoleKind::Follower);
    script.step(1, |view| (view.term, view.voted_for) = (Term(4), None));
    script.campaign(2, 3);
    script.campaign(3, 3);
    script.campaign(2, 4);
    script.campaign(3, 4);
    let reached = counts(&script);
    assert_eq!((reached.get("step_down"), reached.get("check_quorum_step_down")), (Some(&1), Some(&1)));
    assert_eq!((reached.get("split_vote"), reached.get("election")), (Some(&1), Some(&5)));
    assert_eq!(reached.get("term_jump"), Some(&2));
}

#[test]
fn refusals() {
    let mut script = Script::led();
    let (term, vote) = (Term(2), Vote::Refused(VoteRefusal::LogBehind { last: EntryId::new(2, 2) }));
    script.send(1, 3, Rpc::RequestVoteResponse(RequestVoteResponse { term, vote }));
    script.send(1, 3, Rpc::PreVoteResponse(PreVoteResponse { term, round: Round(1), vote }));
    for outcome in [AppendOutcome::StaleTerm, AppendOutcome::Mismatch { prev: EntryId::ZERO, hint: EntryId::ZERO }] {
        script.send(
            2,
            1,
            Rpc::AppendEntriesResponse(AppendEntriesResponse {
                term,
                seq: Seq(1),
                outcome,
                stickiness: Duration::ZERO,
                no_space: false,
            }),
        );
    }
    let marks = ["vote_refused", "vote_refused_log_behind", "pre_vote_refused", "stale_append_refused", "log_conflict"];
    assert_once(&script, &marks);
}

#[test]
fn disks_that_lose_and_logs_that_are_cut() {
    let mut script = Script::led();
    script.ask(2, None, None, vec![noop(3, 2)]);
    script.write(2);
    script.push(Some(2), RecordKind::Crashed { crash: CrashKind::PowerLoss, lost: 40 });
    script.start(2, 2, Some(1), vec![founding(), noop(2, 2)]);
    script.ask(2, None, Some(2), vec![]);
    let marks = ["power_loss_lost_bytes", "recovery_cut_tail", "restart", "truncation"];
    assert_once(&script, &marks);
}

#[test]
fn clients() {
    let mut script = Script::led();
    let id = RequestId(1);
    for _ in 0..2 {
        script.push(Some(1), RecordKind::Requested { id, command: Unhashed(None) });
        script.newest().cause = Some(1);
        let reply = Reply::Applied { entry: EntryId::new(4, 2), response: Bytes::new() };
        script.push(Some(1), RecordKind::Replied { id, reply });
    }
    let reply = Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
    script.push(Some(1), RecordKind::Replied { id, reply });
    script.push(Some(1), RecordKind::Replied { id, reply: Reply::Unknown });
    let marks = ["client_retry", "duplicate_command_answered", "read_served", "lost_leadership_unknown"];
    assert_once(&script, &marks);
}

/// A command of session 3 that a node receives and answers.
fn commands(script: &mut Script, id: u64, command: (u64, u64), invoked: u64, reply: Reply) {
    script.push(Some(1), RecordKind::Requested { id: RequestId(id), command: Unhashed(Some(command)) });
    script.newest().cause = Some(invoked);
    script.push(Some(1), RecordKind::Replied { id: RequestId(id), reply });
}

#[test]
fn sessions_that_end_and_commands_out_of_order() {
    use super::super::effect::tests::{open, opens};
    let mut script = Script::led();
    script.apply(1, vec![founding(), noop(2, 2), opens(3, 2), open(4, (3, 2)), open(5, (3, 1))], 1);
    commands(&mut script, 1, (3, 1), 1, Reply::SessionExpired);
    commands(&mut script, 2, (9, 1), 1, Reply::AlreadyAnswered);
    let marks = [
        "client_retry",
        "command_abandoned",
        "commands_out_of_order",
        "duplicate_command_answered",
        "expired_command_retried",
        "session_expired",
    ];
    assert_once(&script, &marks);
}

#[test]
fn watches_that_continue_and_reads_of_old_states() {
    let answer = |kind| kv::KvAnswer { kind: Some(kind) }.encode_to_vec().into();
    let gone = || answer(kv::kv_answer::Kind::Compacted(kv::Compacted { oldest: 3, revision: 4 }));
    let mut script = Script::led();
    for node in [1, 1, 2] {
        let response = if node == 2 { Bytes::new() } else { gone() };
        let reply = Reply::Watched { applied: LogIndex(2), response, next: None };
        let answer = script.push(Some(node), RecordKind::Replied { id: RequestId(1), reply });
        script.push(None, RecordKind::Watched { watcher: 1, label: String::new() });
        script.newest().cause = Some(answer);
    }
    assert_eq!(
        counts(&script),
        BTreeMap::from([
            ("campaign_without_pre_vote", 1),
            ("commit", 1),
            ("election", 1),
            ("leader_elected", 1),
            ("watch_compacted", 2),
            ("watch_resumed", 1),
        ])
    );
    let mut script = Script::led();
    let asked = script.push(None, RecordKind::StaleQueried { client: 1, label: "get k".into(), query: Bytes::new() });
    script.push(Some(2), RecordKind::Requested { id: RequestId(1), command: Unhashed(None) });
    script.newest().cause = Some(asked);
    let reply = Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
    script.push(Some(2), RecordKind::Replied { id: RequestId(1), reply });
    assert_once(&script, &["stale_read_served"]);
}

#[test]
fn a_disk_that_is_lost_is_reported() {
    let mut script = Script::led();
    let (acknowledged, denied) = (LogIndex(2), EntryId::new(2, 2));
    script.push(Some(1), RecordKind::Observed(Event::PeerLostData { peer: NodeId(3), acknowledged, denied }));
    assert_eq!(counts(&script).get("lost_data_reported"), Some(&1));
}

/// A get that a node receives, caused by its invocation.
fn get(script: &mut Script, node: u64, id: u64) {
    let invoked = script.push(None, RecordKind::Invoked { client: 1, label: "get k".into() });
    script.push(Some(node), RecordKind::Requested { id: RequestId(id), command: Unhashed(None) });
    script.newest().cause = Some(invoked);
}

#[test]
fn reads_that_wait_and_reads_that_fail() {
    let answer = || Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
    let refused = || Reply::Rejected { reason: RejectReason::NotLeader { leader: None } };
    let mut script = Script::led();
    get(&mut script, 1, 1);
    script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply: answer() });
    get(&mut script, 2, 2);
    script.push(Some(2), RecordKind::Replied { id: RequestId(2), reply: refused() });
    let reached = counts(&script);
    let none = (reached.get("read_failed"), reached.get("read_waited_for_first_commit"));
    assert_eq!((none, reached.get("read_served")), ((None, None), Some(&1)), "one served, one refused by a follower");
    get(&mut script, 1, 3);
    script.push(Some(1), RecordKind::Replied { id: RequestId(3), reply: refused() });
    assert_eq!(counts(&script).get("read_failed"), Some(&1));
    // n2 leads with its no-op on its own disk only, and knows of no commit: it does not know n1's commit.
    script.campaign(2, 3);
    script.vote(3, 2, 3);
    script.lead(2, 3, noop(3, 3));
    get(&mut script, 2, 4);
    script.push(Some(2), RecordKind::Replied { id: RequestId(4), reply: answer() });
    let reached = counts(&script);
    assert_eq!(reached.get("read_waited_for_first_commit"), Some(&1));
    assert_eq!(reached.get("leader_behind_commit"), Some(&1));
}

#[test]
fn a_read_that_is_answered_in_its_call_asked_no_peer() {
    let mut script = Script::led();
    let answer = || Reply::Answer { applied: LogIndex(2), response: Bytes::new() };
    get(&mut script, 1, 1);
    let taken = script.records.last().map(|record| record.number);
    script.push(Some(1), RecordKind::TimerFired);
    script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply: answer() });
    assert_eq!(counts(&script).get("lease_read_served"), None, "after another call");
    get(&mut script, 1, 2);
    let asked = script.records.last().map(|record| record.number);
    assert_ne!(taken, asked);
    script.push(Some(1), RecordKind::Replied { id: RequestId(2), reply: answer() });
    script.newest().cause = asked;
    assert_eq!(counts(&script).get("lease_read_served"), Some(&1));
}

fn of(voters: &[u64], outgoing: &[u64], members: u64) -> Configuration {
    let mut configuration = Configuration::of_voters(voters.iter().map(|&id| NodeId(id)));
    configuration.outgoing = outgoing.iter().map(|&id| NodeId(id)).collect();
    configuration.members = (1..=members).map(|id| (NodeId(id), Bytes::new())).collect();
    configuration
}

#[test]
fn configurations_that_are_decided_and_a_leader_that_goes() {
    let mut script = Script::led();
    let configurations = [of(&[1, 2, 3], &[], 4), of(&[2, 3, 4], &[1, 2, 3], 4), of(&[2, 3, 4], &[], 4)];
    for (index, configuration) in (3..).zip(configurations) {
        let entry = Entry { id: EntryId::new(index, 2), payload: Payload::Configuration(configuration) };
        script.ask(1, None, None, vec![entry]);
        script.commit(1, index);
    }
    script.step(1, |view| view.role = RoleKind::Follower);
    let marks = ["learner_added", "learner_promoted", "joint_entered", "joint_left", "leader_removed_itself"];
    assert_once(&script, &marks);
    script.ask(1, None, Some(5), vec![]);
    assert_eq!(counts(&script).get("configuration_rolled_back"), Some(&1));
}

#[test]
fn snapshots_that_are_taken_sent_installed_and_restored() {
    let mut script = Script::legal();
    script.save(2, &meta(2, 2));
    script.ask_snapshot(2, meta(2, 2), InstallMode::Keep);
    script.sync(2);
    script.push(Some(2), RecordKind::Compacted { before: LogIndex(3) });
    let verdict = Verdict::Delivered { copies: 1 };
    let chunk = |bytes| chunk(3, meta(3, 3), bytes);
    let question = RecordKind::SnapshotSaid { to: NodeId(1), message: chunk(b""), verdict };
    script.push(Some(2), question);
    let state = SnapshotState::Wants(4);
    let progress = SnapshotProgress { term: Term(3), last: EntryId::new(3, 3), checksum: 7, state };
    for _ in 0..2 {
        let message = SnapshotMessage::Progress(progress);
        script.push(Some(2), RecordKind::SnapshotHeard { from: NodeId(1), message });
    }
    script.push(Some(2), RecordKind::SnapshotSaid { to: NodeId(1), message: chunk(b"chunk"), verdict });
    script.step(1, |view| {
        (view.term, view.last, view.commit, view.snapshot) =
            (Term(3), EntryId::new(3, 3), LogIndex(3), Some(EntryId::new(3, 3)));
    });
    script.ask_snapshot(1, meta(3, 3), InstallMode::Discard);
    script.push(Some(1), RecordKind::Restored { meta: meta(3, 3), state_hash: 7 });
    script.push(Some(1), RecordKind::Restored { meta: meta(3, 3), state_hash: 7 });
    for entries in [vec![], vec![noop(3, 3)]] {
        script.push(Some(2), RecordKind::LogRead { read: raft_core::ReadId(1), entries: entries.into() });
    }
    let marks = [
        "snapshot_taken",
        "log_compacted",
        "snapshot_sent",
        "snapshot_resumed",
        "snapshot_installed",
        "restored_at_start",
        "log_read_gone",
        "log_read_back",
    ];
    let reached = assert_once(&script, &marks);
    assert_eq!((reached.get("snapshot_stale"), reached.get("snapshot_suffix_kept")), (None, None));
}

fn received() -> RecordKind {
    RecordKind::SnapshotReceived { meta: meta(2, 2), durable: true }
}

#[test]
fn snapshots_that_come_late_or_to_a_log_that_has_them() {
    let mut script = Script::led();
    let heard = |term| RecordKind::SnapshotHeard { from: NodeId(2), message: chunk(term, meta(2, 2), b"chunk") };
    for term in [1, 2] {
        script.push(Some(1), heard(term));
        script.push(Some(1), received());
    }
    // n2 holds 2@2 and another entry, and does not know yet that the first is committed.
    script.ask(2, None, None, vec![noop(3, 2)]);
    script.step(2, |view| view.last = EntryId::new(3, 2));
    if let Some(record) = script.records.last_mut() {
        record.kind = received();
        record.view.as_mut().expect("n2 is up").commit = LogIndex(2);
    }
    let reached = counts(&script);
    assert_eq!((reached.get("snapshot_stale"), reached.get("snapshot_suffix_kept")), (Some(&2), Some(&1)));
    assert_eq!(reached.get("snapshot_not_needed"), Some(&2), "the same nodes, before they are complete");
    assert_eq!(reached.get("snapshot_of_older_term"), Some(&1));
}

#[test]
fn answers_to_the_operator() {
    let mut script = Script::led();
    for reply in [
        Reply::LeadershipTransferred { to: NodeId(2) },
        Reply::TransferFailed { reason: TransferFailure::TimedOut },
        Reply::Rejected { reason: RejectReason::NotReady },
        Reply::Rejected { reason: RejectReason::UnfitTarget { id: NodeId(2), why: TargetProblem::Silent } },
        Reply::Rejected { reason: RejectReason::NoQuorumToCome { silent: [NodeId(2)].into() } },
        Reply::Rejected { reason: RejectReason::Busy },
    ] {
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
    }
    let silent = [NodeId(2)].into();
    script.push(Some(1), RecordKind::Observed(Event::ChangeForced { silent }));
    let marks = [
        "transfer_done",
        "transfer_failed",
        "change_too_early",
        "transfer_refused",
        "change_refused_without_quorum",
        "change_forced",
    ];
    assert_once(&script, &marks);
}

#[test]
fn a_leader_cut_off_from_all_is_isolated_once() {
    let mut script = Script::led();
    for (to, verdict) in [(2, Verdict::Cut), (2, Verdict::Cut), (3, Verdict::Cut), (3, Verdict::Cut)] {
        let rpc = append(2, EntryId::new(2, 2), 2, vec![]);
        script.push(Some(1), RecordKind::Sent { to: NodeId(to), rpc, verdict });
    }
    assert_eq!(counts(&script).get("leader_isolated"), Some(&1));
}

#[test]
fn what_is_rejected_because_of_a_limit() {
    let mut script = Script::limited(1, |limits| limits.max_uncommitted_bytes = 50);
    let busy = || Reply::Rejected { reason: RejectReason::Busy };
    for uncommitted_bytes in [49, 50] {
        script.step(1, |view| view.quotas.uncommitted_bytes = uncommitted_bytes);
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply: busy() });
    }
    get(&mut script, 1, 2);
    script.push(Some(1), RecordKind::Replied { id: RequestId(2), reply: busy() });
    let reached = counts(&script);
    assert_eq!((reached.get("proposal_busy"), reached.get("read_busy")), (Some(&1), Some(&1)), "{reached:?}");
    assert_eq!(reached.get("read_failed"), None);
}

#[test]
fn what_waits_because_of_a_limit() {
    let mut script = Script::limited(1, |limits| limits.max_apply_bytes = 47);
    script.apply(1, vec![noop(1, 1)], 0);
    script.apply(1, vec![noop(2, 2)], 0);
    if let [.., first, second] = script.records.as_mut_slice() {
        (first.cause, second.cause) = (Some(7), Some(7));
    }
    assert_eq!(counts(&script).get("apply_limited"), Some(&1));
    script.push(Some(1), RecordKind::LimitsDrawn { priority: 100, limits: scenario().raft.limits() });
    assert_eq!(counts(&script).get("apply_limited"), Some(&1));
    for blocked_peers in [1, 2, 0, 1] {
        script.step(1, |view| view.quotas.blocked_peers = blocked_peers);
    }
    assert_eq!(counts(&script).get("window_full_of_bytes"), Some(&2));
}

#[test]
fn what_nodes_say_of_their_limits_and_of_messages_that_do_not_count() {
    let mut script = Script::led();
    let (from, peer, last) = (NodeId(1), NodeId(3), EntryId::new(2, 2));
    for event in [
        Event::WriteStalled { write: raft_core::WriteId(3) },
        Event::Ignored { from, reason: raft_core::IgnoreReason::Overloaded },
        Event::Ignored { from, reason: raft_core::IgnoreReason::NotAsked },
        Event::Ignored { from, reason: raft_core::IgnoreReason::NotCurrent },
        Event::SnapshotAbandoned { peer, last, reason: raft_core::AbandonReason::Compacted },
        Event::SnapshotAbandoned { peer, last, reason: raft_core::AbandonReason::Failed },
    ] {
        script.push(Some(1), RecordKind::Observed(event));
    }
    let marks = ["leader_write_stalled", "append_ignored_overloaded", "refusal_not_current", "snapshot_log_released"];
    assert_once(&script, &marks);
}

/// n3 receives an append of its leader, has this priority, and campaigns after this many milliseconds.
fn campaigns(priority: u32, after: u64) -> Script {
    let mut script = Script::led();
    let limits = scenario().raft.limits();
    script.push(Some(3), RecordKind::LimitsDrawn { priority, limits });
    let heard = RecordKind::Received { from: NodeId(1), rpc: append(2, EntryId::new(2, 2), 2, vec![]) };
    script.push(Some(3), heard);
    let at = script.records.last().expect("a record").at;
    script.step(3, |view| view.role = RoleKind::PreCandidate);
    script.newest().at = at.after(Duration::from_millis(after));
    script
}

#[test]
fn a_node_of_low_priority_that_waits_longer_than_others_would() {
    // The longest election timeout is 300 ms.
    assert_eq!(counts(&campaigns(99, 301)).get("low_priority_waited"), Some(&1));
    for script in [campaigns(99, 300), campaigns(100, 301)] {
        assert_eq!(counts(&script).get("low_priority_waited"), None);
    }
}
