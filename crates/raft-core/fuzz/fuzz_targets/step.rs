//! Any bytes, read as inputs of one replica: no panic, a deadline ahead of the time, memory within the limits.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use raft_core::*;
use std::time::Duration;

/// Small numbers, which meet each other, and now and then any.
fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    let byte: u8 = u.arbitrary()?;
    if byte < 250 { Ok(u64::from(byte % 8)) } else { u.arbitrary() }
}

fn node(u: &mut Unstructured<'_>) -> Result<NodeId> {
    Ok(NodeId(u.int_in_range(0..=4)?))
}

fn entry_id(u: &mut Unstructured<'_>) -> Result<EntryId> {
    Ok(EntryId::new(number(u)?, number(u)?))
}

fn configuration(u: &mut Unstructured<'_>) -> Result<Configuration> {
    let mut configuration = Configuration::of_voters((0..u.int_in_range(0..=3)?).map(NodeId));
    if u.ratio(1, 4)? {
        configuration.outgoing.insert(node(u)?);
    }
    Ok(configuration)
}

fn entries(u: &mut Unstructured<'_>, prev: EntryId) -> Result<Entries> {
    let mut last = prev;
    let mut entries = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let rise = u64::from(u.ratio(1, 4)?);
        last = EntryId { index: last.index.next(), term: Term(last.term.0.saturating_add(rise).max(1)) };
        let id = if u.ratio(1, 16)? { entry_id(u)? } else { last };
        let payload = match u.int_in_range(0..=3)? {
            0 => Payload::Noop,
            1 => Payload::Configuration(configuration(u)?),
            _ => Payload::Command(vec![7; u.int_in_range(0..=40)?].into()),
        };
        entries.push(Entry { id, payload });
    }
    Ok(entries.into())
}

fn vote(u: &mut Unstructured<'_>) -> Result<Vote> {
    Ok(if u.arbitrary()? { Vote::Granted } else { Vote::Refused(VoteRefusal::StaleTerm) })
}

fn outcome(u: &mut Unstructured<'_>) -> Result<AppendOutcome> {
    Ok(match u.int_in_range(0..=5)? {
        0 => AppendOutcome::StaleTerm,
        1 => AppendOutcome::AnotherLeader,
        2 | 3 => AppendOutcome::Mismatch { prev: entry_id(u)?, hint: entry_id(u)? },
        _ => AppendOutcome::Matched { index: LogIndex(number(u)?) },
    })
}

fn rpc(u: &mut Unstructured<'_>) -> Result<Rpc> {
    let term = Term(number(u)?);
    Ok(match u.int_in_range(0..=9)? {
        0 => Rpc::PreVote(PreVote { term, round: Round(number(u)?), last: entry_id(u)? }),
        1 => Rpc::PreVoteResponse(PreVoteResponse { term, round: Round(number(u)?), vote: vote(u)? }),
        2 => Rpc::RequestVote(RequestVote { term, last: entry_id(u)?, transfer: u.arbitrary()? }),
        3 => Rpc::RequestVoteResponse(RequestVoteResponse { term, vote: vote(u)? }),
        4 => Rpc::TimeoutNow(TimeoutNow { term, last: entry_id(u)? }),
        5..=7 => {
            let (seq, prev, leader_commit) = (Seq(number(u)?), entry_id(u)?, LogIndex(number(u)?));
            Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, entries: entries(u, prev)? })
        }
        _ => {
            let stickiness = Duration::from_nanos(number(u)?);
            Rpc::AppendEntriesResponse(AppendEntriesResponse {
                term,
                seq: Seq(number(u)?),
                outcome: outcome(u)?,
                stickiness,
            })
        }
    })
}

fn change(u: &mut Unstructured<'_>) -> Result<MembershipChange> {
    let id = node(u)?;
    let step = match u.int_in_range(0..=4)? {
        0 => MembershipStep::AddLearner { id, context: Default::default() },
        1 => MembershipStep::Promote { id },
        2 => MembershipStep::Demote { id },
        3 => MembershipStep::Remove { id },
        _ => MembershipStep::SetContext { id, context: Default::default() },
    };
    let expected = if u.ratio(1, 8)? { Some(LogIndex(number(u)?)) } else { None };
    Ok(MembershipChange { expected, steps: vec![step] })
}

fn input(u: &mut Unstructured<'_>) -> Result<Input> {
    let request = RequestId(1);
    Ok(match u.int_in_range(0..=24)? {
        0 => Input::Tick,
        1 => Input::Propose { id: request, command: vec![1; u.int_in_range(0..=60)?].into() },
        2 => Input::Read { id: request, mode: if u.arbitrary()? { ReadMode::Lease } else { ReadMode::Safe } },
        3 => Input::ChangeMembership { id: request, change: change(u)? },
        4 => Input::TransferLeadership { id: request, to: if u.arbitrary()? { Some(node(u)?) } else { None } },
        5 => Input::Campaign,
        6 => Input::Unreachable { peer: node(u)? },
        7 => Input::Applied { index: LogIndex(number(u)?) },
        8 => Input::SnapshotTaken { index: LogIndex(number(u)?) },
        9 => {
            let (last, configured_at) = (entry_id(u)?, entry_id(u)?);
            let meta = SnapshotMeta { last, configuration: configuration(u)?, configured_at };
            Input::SnapshotReceived { from: node(u)?, term: Term(number(u)?), meta }
        }
        10 => {
            let outcomes = [SnapshotOutcome::Progress, SnapshotOutcome::Delivered, SnapshotOutcome::Failed];
            Input::SnapshotSent { to: node(u)?, outcome: *u.choose(&outcomes)? }
        }
        11 => {
            let prev = entry_id(u)?;
            Input::LogRead { read: ReadId(number(u)?), entries: entries(u, prev)? }
        }
        12..=15 => Input::Persisted { write: WriteId(number(u)?) },
        _ => Input::Receive { from: node(u)?, rpc: rpc(u)? },
    })
}

fn replica(u: &mut Unstructured<'_>) -> Result<Raft> {
    let mut config = Config::new(NodeId(1));
    config.observe = true;
    config.lease_reads = u.arbitrary()?;
    config.pre_vote = u.arbitrary()?;
    config.max_cached_bytes = 200;
    config.max_apply_bytes = 200;
    config.max_unpersisted_bytes = 2_000;
    config.max_uncommitted_bytes = 2_000;
    config.max_append_bytes = 200;
    config.trailing_entries = 1;
    let restored = RecoveredState::bootstrap(Configuration::of_voters((1..=u.int_in_range(1..=3)?).map(NodeId)));
    Ok(Raft::new(config, restored).expect("a founder can start"))
}

fn run(bytes: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(bytes);
    let mut raft = replica(&mut u)?;
    let (mut now, mut last_write) = (Instant(0), WriteId(0));
    while !u.is_empty() {
        now = Instant(now.0.saturating_add(u64::from(u.arbitrary::<u8>()?) * 2_000_000));
        let input = if u.ratio(1, 5)? { Input::Persisted { write: last_write } } else { input(&mut u)? };
        for action in raft.step(Message { now, input }) {
            if let Action::Persist(write) = action {
                assert!(write.id > last_write);
                last_write = write.id;
            }
        }
        assert!(raft.deadline().is_none_or(|deadline| deadline > now));
        let status = raft.status();
        assert!(status.commit <= status.last.index && status.peers.len() <= 5);
        // One append may bring four entries of 64 bytes, and configurations.
        assert!(status.cached_bytes <= 400 + status.unpersisted_bytes + 1_000);
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // Bytes that end early are a shorter run.
    let _ = run(bytes);
});
