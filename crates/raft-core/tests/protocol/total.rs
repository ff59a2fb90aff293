//! `step` is total (R44). Every role handles arbitrary inputs, real messages with one changed field, and forged
//! messages among real ones. It does not panic, its deadline is in the future, its digest shows any change, and its
//! memory is bounded.

use crate::cluster::replica::*;
use crate::cluster::schedule::{for_random_cases, happening};
use crate::cluster::{Cluster, entry, meta};
use crate::inputs::{Bytes, membership_step};
use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::*;
use std::cell::Cell;
use std::time::Duration;

/// n1 in every role.
fn roles() -> Vec<Replica> {
    let fresh = || Replica::new(&[1, 1, 2]);
    let mut stopped = Replica::with(&[1, 1], 3, |_, restored| restored.applied = LogIndex(2)).following(3);
    stopped.receive(N2, append(3, 2, (1, 1), 0, &[(2, 3)]));
    let mut alone = Replica::with(&[1], 1, |_, _| ());
    alone.persist();
    let (mut joint, mut transferring) = (fresh().established(), fresh().established());
    let steps = vec![membership_step(2, N3)];
    let change = MembershipChange { steps, ..Default::default() };
    joint.step(Input::ChangeMembership { id: RequestId(1), change });
    transferring.step(Input::TransferLeadership { id: RequestId(1), to: Some(N2) });
    let scarce = |restored_applied: u64| {
        Replica::with(&[1, 1, 2], 3, |config, restored| {
            (config.max_cached_bytes, config.max_apply_bytes, config.trailing_entries) = (60, 60, 0);
            restored.tail = raft_core::Entries::new();
            restored.applied = LogIndex(restored_applied);
        })
    };
    let mut installing = fresh().following(3);
    installing.step(Input::SnapshotReceived { from: N2, term: Term(3), meta: meta(5, 2) });
    let mut reading = scarce(0).following(3);
    reading.receive(N2, append(3, 2, (3, 2), 3, &[]));
    let mut sending = scarce(3).established();
    sending.step(Input::SnapshotTaken { index: LogIndex(3) });
    sending.persist();
    sending.receive(N3, mismatch(3, 2, (3, 2), (1, 1)));
    let installed = Replica::with(&[], 3, |_, restored| {
        restored.hard_state.term = Term(2);
        restored.snapshot = Some(meta(4, 2));
    });
    assert!(sending.raft.status().peers.values().any(|peer| peer.state == PeerState::Snapshot));
    assert!(joint.raft.configuration().is_some_and(Configuration::is_joint));
    assert_eq!(transferring.raft.status().transfer_to, Some(N2));
    vec![
        joint,
        transferring,
        installing,
        reading,
        sending,
        installed,
        Replica::unstarted(&[1, 1], 3, |_, _| ()),
        fresh(),
        fresh().following(3),
        Replica::with(&[1, 1], 3, |config, _| config.id = N9).following(3),
        Replica::with(&[], 3, |_, _| ()),
        Replica::with(&[1, 1], 3, |config, _| {
            (config.pre_vote, config.check_quorum, config.stickiness) = (false, false, false);
        }),
        fresh().pre_candidate(),
        fresh().voting_for_itself(),
        fresh().candidate(),
        fresh().leader(),
        fresh().established(),
        Replica::with(&[1, 1, 2], 3, |config, _| config.lease_reads = true).established(),
        alone,
        stopped,
    ]
}

/// Whether the input was ignored.
fn is_ignored(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Observe(Event::Ignored { .. })))
}

/// Checks that memory is within the limits, up to one run of entries that arrived together.
fn is_bounded(raft: &Raft) {
    const ONE_RUN: u64 = 2_000;
    let (status, config) = (raft.status(), raft.config());
    let cached =
        config.max_cached_bytes.saturating_add(config.max_apply_bytes).saturating_add(status.unpersisted_bytes);
    assert!(status.cached_bytes <= cached.saturating_add(ONE_RUN), "{} cached", status.cached_bytes);
    assert!(
        status.unpersisted_bytes <= config.max_unpersisted_bytes + ONE_RUN,
        "{} in flight",
        status.unpersisted_bytes
    );
    assert!(status.pending_reads <= config.max_pending_reads);
    for peer in status.peers.values() {
        assert!(peer.inflight_messages <= config.max_inflight_messages);
        assert!(peer.inflight_bytes <= config.max_inflight_bytes + config.max_append_bytes + ONE_RUN);
    }
}

/// Fires the due timers, then handles one input, with the checks after every call. Returns all actions.
fn call(raft: &mut Raft, now: Instant, input: Input) -> Vec<Action> {
    let mut actions = raft.step(Message { now, input: Input::Tick });
    let (before, status, deadline) = (raft.digest(), raft.status(), raft.deadline());
    actions.extend(raft.step(Message { now, input: input.clone() }));
    assert!(raft.deadline().is_none_or(|deadline| deadline > now), "{:?} at {now} after {input:?}", raft.deadline());
    if (raft.status(), raft.deadline()) != (status, deadline) {
        assert_ne!(raft.digest(), before, "{input:?}");
    }
    is_bounded(raft);
    let after = raft.digest();
    let left = raft.step(Message { now, input: Input::Tick });
    assert!(left.is_empty(), "left undone after {input:?}: {left:?}");
    assert_eq!(raft.digest(), after, "an empty call at the same time changes nothing");
    actions
}

#[test]
fn arbitrary_inputs_against_every_role() {
    let roles = roles();
    let messages = Cell::new(0_u64);
    for_random_cases(20, 64, &vec(any::<u8>(), 1..400), |bytes| {
        for role in &roles {
            let (mut raft, mut now) = (role.raft.clone(), role.now);
            let mut entries = raft.status().last.index.0;
            let mut bytes = Bytes(&bytes);
            while !bytes.0.is_empty() {
                let (wait, input) =
                    ([0, 0, 0, 0, 1, 150, 400, u64::MAX >> 23][usize::from(bytes.below(8))], bytes.input());
                now = Instant(now.0.saturating_add(wait * 1_000_000));
                entries += match &input {
                    Input::Receive { rpc: Rpc::AppendEntries(rpc), .. } => rpc.entries.len() as u64,
                    _ => 1,
                };
                call(&mut raft, now, input.clone());
                let status = raft.status();
                if let Input::SnapshotReceived { meta, .. } = &input {
                    entries = entries.max(meta.last.index.0.min(MAX_NUMBER));
                }
                assert!(status.last.index.0 <= entries, "{} entries from {entries}", status.last.index);
                assert!(status.peers.len() <= 5 && status.commit <= status.last.index);
                assert!(status.term.0 <= MAX_NUMBER);
                messages.set(messages.get() + 1);
            }
        }
    });
    println!("{} arbitrary inputs", messages.get());
}

#[test]
fn what_is_refused_for_its_shape_or_sender_changes_nothing() {
    let roles = roles();
    let ignored = Cell::new(0_u64);
    for_random_cases(21, 256, &vec(any::<u8>(), 1..60), |bytes| {
        let mut bytes = Bytes(&bytes);
        let (from, rpc) = (bytes.node(), bytes.rpc());
        for role in &roles {
            let mut raft = role.raft.clone();
            raft.step(Message { now: role.now, input: Input::Tick });
            let before = raft.digest();
            let input = Input::Receive { from, rpc: rpc.clone() };
            let actions = raft.step(Message { now: role.now, input });
            use raft_core::IgnoreReason::{FromSelf, Malformed, NotAsked, UnknownPeer};
            let is_nothing = actions.iter().any(|action| {
                matches!(
                    action,
                    Action::Observe(Event::Ignored { reason: FromSelf | Malformed | NotAsked | UnknownPeer, .. })
                )
            });
            if is_nothing {
                ignored.set(ignored.get() + 1);
                assert_eq!((raft.digest(), actions.len()), (before, 1), "{rpc}: {actions:?}");
            }
        }
    });
    assert!(ignored.get() > 500, "hardly anything was ignored: {}", ignored.get());
}

/// The numbers of a message.
fn numbers(rpc: &mut Rpc) -> Vec<&mut u64> {
    match rpc {
        Rpc::PreVote(rpc) => vec![&mut rpc.term.0, &mut rpc.round.0, &mut rpc.last.index.0, &mut rpc.last.term.0],
        Rpc::PreVoteResponse(rpc) => vec![&mut rpc.term.0, &mut rpc.round.0],
        Rpc::RequestVote(rpc) => vec![&mut rpc.term.0, &mut rpc.last.index.0, &mut rpc.last.term.0],
        Rpc::TimeoutNow(rpc) => vec![&mut rpc.term.0, &mut rpc.last.index.0, &mut rpc.last.term.0],
        Rpc::RequestVoteResponse(rpc) => vec![&mut rpc.term.0],
        Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, .. }) => {
            vec![&mut term.0, &mut seq.0, &mut prev.index.0, &mut prev.term.0, &mut leader_commit.0]
        }
        Rpc::AppendEntriesResponse(AppendEntriesResponse { term, seq, outcome, .. }) => {
            let mut numbers = vec![&mut term.0, &mut seq.0];
            match outcome {
                AppendOutcome::Matched { index } => numbers.push(&mut index.0),
                AppendOutcome::Mismatch { prev, hint } => {
                    numbers.extend([&mut prev.index.0, &mut prev.term.0, &mut hint.index.0, &mut hint.term.0]);
                }
                AppendOutcome::StaleTerm | AppendOutcome::AnotherLeader => {}
            }
            numbers
        }
    }
}

/// Changes one field of a message, a little or beyond all bounds.
fn mutate(rpc: &Rpc, field: u8, value: u64) -> Rpc {
    let shift = |number: u64| match value % 6 {
        0 => number.saturating_add(1),
        1 => number.saturating_sub(1),
        2 => number.saturating_add(value % 7),
        3 => value % 9,
        4 => MAX_NUMBER + value % 2,
        _ => u64::MAX,
    };
    let mut rpc = rpc.clone();
    let mut numbers = numbers(&mut rpc);
    let place = usize::from(field) % (numbers.len() + 1);
    if let Some(number) = numbers.get_mut(place) {
        **number = shift(**number);
        return rpc;
    }
    match &mut rpc {
        Rpc::PreVoteResponse(PreVoteResponse { vote, .. })
        | Rpc::RequestVoteResponse(RequestVoteResponse { vote, .. }) => {
            *vote = if *vote == Vote::Granted { Vote::Refused(VoteRefusal::StaleTerm) } else { Vote::Granted };
        }
        Rpc::RequestVote(rpc) => rpc.transfer = !rpc.transfer,
        Rpc::AppendEntries(rpc) => {
            let mut entries = rpc.entries.to_vec();
            let place = value as usize % entries.len().max(1);
            match entries.get_mut(place) {
                Some(entry) if value.is_multiple_of(3) => entry.id.index.0 = shift(entry.id.index.0),
                Some(entry) if value % 3 == 1 => entry.id.term.0 = shift(entry.id.term.0),
                Some(entry) => entry.payload = Payload::Noop,
                None => entries.push(entry(rpc.prev.index.0.saturating_add(1).max(2), rpc.term.0, 3)),
            }
            rpc.entries = entries.into();
        }
        Rpc::AppendEntriesResponse(rpc) => match rpc.outcome {
            AppendOutcome::StaleTerm | AppendOutcome::AnotherLeader if value.is_multiple_of(2) => {
                rpc.outcome = AppendOutcome::Matched { index: LogIndex(shift(0)) };
            }
            _ => rpc.stickiness = Duration::from_nanos(shift(rpc.stickiness.as_nanos() as u64)),
        },
        Rpc::PreVote(PreVote { last, .. }) | Rpc::TimeoutNow(TimeoutNow { last, .. }) => {
            *last = EntryId::new(shift(last.index.0), shift(last.term.0));
        }
    }
    rpc
}

/// In real runs, each message is first tried with one changed field on a copy of its receiver.
#[test]
fn real_messages_with_one_field_changed() {
    let (tried, accepted) = (Cell::new(0_u64), Cell::new(0_u64));
    let run = vec((happening(), any::<u8>(), any::<u64>()), 100..250);
    for_random_cases(22, 24, &run, |run| {
        let mut cluster = Cluster::for_schedules(3);
        for (happening, field, value) in &run {
            cluster.happen(happening);
            for (from, to) in cluster.busy_links() {
                let Some(raft) = &cluster.servers[&to].raft else { continue };
                let mut copy = raft.clone();
                let rpc = mutate(&cluster.links[&(from, to)][0], *field, *value);
                let actions = call(&mut copy, cluster.now, Input::Receive { from, rpc });
                tried.set(tried.get() + 1);
                accepted.set(accepted.get() + u64::from(!is_ignored(&actions)));
            }
        }
    });
    println!("{} changed messages, {} accepted", tried.get(), accepted.get());
    assert!(tried.get() >= 1_000, "{} tried", tried.get());
    assert!(accepted.get() * 5 >= tried.get(), "{} accepted of {}", accepted.get(), tried.get());
}

/// Three replicas exchange messages, and every third one is forged. No replica panics, and none grows beyond the
/// messages that it received.
#[test]
fn lies_among_real_messages() {
    let (sent, accepted) = (Cell::new(0_u64), Cell::new(0_u64));
    let run = vec((0..9_usize, any::<u8>(), any::<u64>(), 0..40_u64), 200..400);
    for_random_cases(23, 24, &run, |run| {
        let mut talk = Talk::new();
        for (choice, field, value, millis) in &run {
            let lie = (field % 3 == 0).then_some((*field / 3, *value));
            let outcome = talk.go_on(*choice, lie, *millis);
            if let Some(is_accepted) = outcome {
                sent.set(sent.get() + 1);
                accepted.set(accepted.get() + u64::from(is_accepted));
            }
        }
    });
    println!("{} forged messages among real ones, {} accepted", sent.get(), accepted.get());
    assert!(sent.get() >= 500, "{} sent", sent.get());
    assert!(accepted.get() * 5 >= sent.get(), "{} accepted of {}", accepted.get(), sent.get());
}

/// Replicas, and messages that may be invalid.
struct Talk {
    now: Instant,
    rafts: Vec<Raft>,
    /// Sender, receiver, message.
    messages: Vec<(NodeId, NodeId, Rpc)>,
    entries: u64,
}

impl Talk {
    fn new() -> Self {
        let cluster = Cluster::for_schedules(3);
        let rafts = cluster.servers.into_values().filter_map(|server| server.raft).collect();
        Self { now: Instant(0), rafts, messages: Vec::new(), entries: 3 }
    }

    /// Makes one more call. Returns whether the forged message was accepted, if there is one.
    fn go_on(&mut self, choice: usize, lie: Option<(u8, u64)>, millis: u64) -> Option<bool> {
        self.now = Instant(self.now.0 + millis * 1_000_000);
        for place in 0..self.rafts.len() {
            self.call(place, Input::Tick);
        }
        let place = choice % self.messages.len().max(1);
        if self.messages.is_empty() {
            self.call(choice % 3, Input::Propose { id: RequestId(1), command: "x".into() });
            return None;
        }
        let (from, to, rpc) = self.messages.swap_remove(place);
        let rpc = lie.map_or_else(|| rpc.clone(), |(field, value)| mutate(&rpc, field, value));
        if let Rpc::AppendEntries(rpc) = &rpc {
            self.entries += rpc.entries.len() as u64;
        }
        let actions = self.call(to.0 as usize - 1, Input::Receive { from, rpc });
        lie.map(|_| !is_ignored(&actions))
    }

    /// Makes a call, then reports all its writes.
    fn call(&mut self, place: usize, input: Input) -> Vec<Action> {
        let Some(raft) = self.rafts.get_mut(place) else { return Vec::new() };
        let from = raft.id();
        let mut all = call(raft, self.now, input);
        let mut reports: Vec<WriteId> = writes(&all);
        while let Some(write) = reports.pop() {
            let more = call(raft, self.now, Input::Persisted { write });
            reports.extend(writes(&more));
            all.extend(more);
        }
        let status = raft.status();
        self.entries += u64::from(status.role == raft_core::RoleKind::Leader);
        assert!(status.peers.len() <= 5, "{} peers", status.peers.len());
        assert!(status.last.index.0 <= self.entries, "{} entries of {}", status.last.index, self.entries);
        self.messages.extend(all.iter().filter_map(|action| match action {
            Action::Send { to, rpc } if (1..=3).contains(&to.0) => Some((from, *to, rpc.clone())),
            _ => None,
        }));
        // The network is a set of bounded queues.
        let excess = self.messages.len().saturating_sub(60);
        self.messages.drain(..excess);
        all
    }
}

fn writes(actions: &[Action]) -> Vec<WriteId> {
    let write = |action: &Action| if let Action::Persist(write) = action { Some(write.id) } else { None };
    actions.iter().filter_map(write).collect()
}
