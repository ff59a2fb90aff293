//! `step` is total (R44): arbitrary inputs, real messages with one field changed, and lies among real messages, against
//! every role. No panic, a deadline ahead, a digest that shows any change, and nothing that grows without bound.

use crate::cluster::replica::*;
use crate::cluster::schedule::{for_random_cases, happening, membership_step};
use crate::cluster::{Cluster, entry};
use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::{
    Action, AppendEntries, AppendEntriesResponse, AppendOutcome, Configuration, Entry, EntryId, Event, Input, Instant,
    LogIndex, MAX_NUMBER, MembershipChange, Message, NodeId, Payload, PeerState, PreVote, PreVoteResponse, Raft,
    ReadId, ReadMode, RequestId, RequestVote, RequestVoteResponse, Round, Rpc, Seq, SnapshotMeta, SnapshotOutcome,
    Term, TimeoutNow, Vote, VoteRefusal, WriteId,
};
use std::cell::Cell;
use std::time::Duration;

/// Numbers as a run has them, and those at every edge.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..6_u64,
        1 => MAX_NUMBER - 2..MAX_NUMBER + 3,
        1 => prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 32), Just(1 << 63)],
    ]
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (number(), number()).prop_map(|(index, term)| EntryId::new(index, term))
}

/// An entry with any content, without a place.
fn carried() -> impl Strategy<Value = Entry> {
    let entry = |payload| Entry { id: EntryId::ZERO, payload };
    let nodes = || vec(0..5_u64, 0..4).prop_map(|ids| ids.into_iter().map(NodeId).collect::<Vec<_>>());
    prop_oneof![
        Just(entry(Payload::Noop)),
        vec(any::<u8>(), 0..20).prop_map(move |bytes| entry(Payload::Command(bytes.into()))),
        nodes().prop_map(move |ids| entry(Payload::Configuration(Configuration::of_voters(ids)))),
        (nodes(), nodes(), nodes()).prop_map(move |(ids, outgoing, leaving)| {
            let mut configuration = Configuration::of_voters(ids);
            configuration.outgoing = outgoing.into_iter().collect();
            configuration.leaving = leaving.into_iter().collect();
            entry(Payload::Configuration(configuration))
        }),
    ]
}

/// Entries that follow `prev`, most of the time.
fn entries(prev: EntryId) -> impl Strategy<Value = Vec<Entry>> {
    let any_entry = (entry_id(), carried()).prop_map(|(id, entry)| Entry { id, ..entry });
    let following = vec((0..2_u64, carried()), 0..5).prop_map(move |steps| {
        let mut last = prev;
        let next = |(rise, entry): (u64, Entry)| {
            last = EntryId { index: last.index.next(), term: Term(last.term.0.saturating_add(rise).max(1)) };
            Entry { id: last, ..entry }
        };
        steps.into_iter().map(next).collect()
    });
    prop_oneof![4 => following, 1 => vec(any_entry, 0..4)]
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        Just(Vote::Granted),
        Just(Vote::Refused(VoteRefusal::LeaderAlive)),
        entry_id().prop_map(|last| Vote::Refused(VoteRefusal::LogBehind { last })),
    ]
}

fn outcome() -> impl Strategy<Value = AppendOutcome> {
    prop_oneof![
        4 => number().prop_map(|index| AppendOutcome::Matched { index: LogIndex(index) }),
        1 => Just(AppendOutcome::StaleTerm),
        1 => Just(AppendOutcome::AnotherLeader),
        4 => (entry_id(), entry_id()).prop_map(|(prev, hint)| AppendOutcome::Mismatch { prev, hint }),
    ]
}

fn rpc() -> impl Strategy<Value = Rpc> {
    prop_oneof![
        (number(), number(), entry_id())
            .prop_map(|(term, round, last)| { Rpc::PreVote(PreVote { term: Term(term), round: Round(round), last }) }),
        (number(), number(), vote()).prop_map(|(term, round, vote)| {
            Rpc::PreVoteResponse(PreVoteResponse { term: Term(term), round: Round(round), vote })
        }),
        (number(), entry_id(), any::<bool>())
            .prop_map(|(term, last, transfer)| { Rpc::RequestVote(RequestVote { term: Term(term), last, transfer }) }),
        (number(), entry_id()).prop_map(|(term, last)| Rpc::TimeoutNow(TimeoutNow { term: Term(term), last })),
        (number(), vote())
            .prop_map(|(term, vote)| Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote })),
        entry_id().prop_flat_map(|prev| (number(), number(), Just(prev), number(), entries(prev))).prop_map(
            |(term, seq, prev, commit, entries)| {
                let (term, seq, leader_commit) = (Term(term), Seq(seq), LogIndex(commit));
                Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, entries: entries.into() })
            }
        ),
        (number(), number(), outcome(), number()).prop_map(|(term, seq, outcome, nanos)| {
            let stickiness = Duration::from_nanos(nanos);
            Rpc::AppendEntriesResponse(AppendEntriesResponse { term: Term(term), seq: Seq(seq), outcome, stickiness })
        }),
    ]
}

fn any_change() -> impl Strategy<Value = MembershipChange> {
    let step = (0..5_u8, 0..5_u64).prop_map(|(kind, id)| membership_step(kind, NodeId(id)));
    (proptest::option::of(number().prop_map(LogIndex)), vec(step, 0..4))
        .prop_map(|(expected, steps)| MembershipChange { expected, steps })
}

fn configuration() -> impl Strategy<Value = Configuration> {
    vec(0..5_u64, 0..4).prop_map(|ids| Configuration::of_voters(ids.into_iter().map(NodeId)))
}

fn snapshot() -> impl Strategy<Value = SnapshotMeta> {
    (entry_id(), configuration(), entry_id()).prop_map(|(last, configuration, configured_at)| SnapshotMeta {
        last,
        configuration,
        configured_at,
    })
}

/// A host's reports about snapshots and log reads.
fn host_input() -> impl Strategy<Value = Input> {
    let outcomes = [SnapshotOutcome::Progress, SnapshotOutcome::Delivered, SnapshotOutcome::Failed];
    prop_oneof![
        2 => number().prop_map(|index| Input::SnapshotTaken { index: LogIndex(index) }),
        3 => (0..5_u64, number(), snapshot())
            .prop_map(|(from, term, meta)| Input::SnapshotReceived { from: NodeId(from), term: Term(term), meta }),
        2 => (0..5_u64, proptest::sample::select(outcomes.to_vec()))
            .prop_map(|(to, outcome)| Input::SnapshotSent { to: NodeId(to), outcome }),
        3 => (number(), entry_id().prop_flat_map(entries))
            .prop_map(|(read, entries)| Input::LogRead { read: ReadId(read), entries: entries.into() }),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        1 => Just(Input::Tick),
        8 => (0..5_u64, rpc()).prop_map(|(from, rpc)| Input::Receive { from: NodeId(from), rpc }),
        1 => number().prop_map(|id| Input::Propose { id: RequestId(id), command: "x".into() }),
        1 => (number(), any::<bool>()).prop_map(|(id, lease)| {
            Input::Read { id: RequestId(id), mode: if lease { ReadMode::Lease } else { ReadMode::Safe } }
        }),
        1 => Just(Input::Campaign),
        1 => (0..5_u64).prop_map(|peer| Input::Unreachable { peer: NodeId(peer) }),
        1 => (number(), any_change()).prop_map(|(id, change)| Input::ChangeMembership { id: RequestId(id), change }),
        1 => (number(), proptest::option::of(0..5_u64))
            .prop_map(|(id, to)| Input::TransferLeadership { id: RequestId(id), to: to.map(NodeId) }),
        3 => host_input(),
        2 => number().prop_map(|write| Input::Persisted { write: WriteId(write) }),
        1 => number().prop_map(|index| Input::Applied { index: LogIndex(index) }),
    ]
}

/// n1 in every role.
fn roles() -> Vec<Replica> {
    let fresh = || Replica::new(&[1, 1, 2]);
    let mut stopped = Replica::with(&[1, 1], 3, |_, restored| restored.applied = LogIndex(2)).following(3);
    stopped.receive(N2, append(3, 2, (1, 1), 0, &[(2, 3)]));
    let mut alone = Replica::with(&[1], 1, |_, _| ());
    alone.persist();
    let (mut joint, mut transferring) = (fresh().established(), fresh().established());
    let steps = vec![membership_step(2, N3)];
    let change = MembershipChange { expected: None, steps };
    joint.step(Input::ChangeMembership { id: RequestId(1), change });
    transferring.step(Input::TransferLeadership { id: RequestId(1), to: Some(N2) });
    let configuration = Configuration::of_voters((1..=3).map(NodeId));
    let meta = SnapshotMeta { last: EntryId::new(5, 2), configuration, configured_at: EntryId::new(1, 1) };
    let scarce = |restored_applied: u64| {
        Replica::with(&[1, 1, 2], 3, |config, restored| {
            (config.max_cached_bytes, config.max_apply_bytes, config.trailing_entries) = (60, 60, 0);
            restored.tail = raft_core::Entries::new();
            restored.applied = LogIndex(restored_applied);
        })
    };
    let mut installing = fresh().following(3);
    installing.step(Input::SnapshotReceived { from: N2, term: Term(3), meta });
    let mut reading = scarce(0).following(3);
    reading.receive(N2, append(3, 2, (3, 2), 3, &[]));
    let mut sending = scarce(3).established();
    sending.step(Input::SnapshotTaken { index: LogIndex(3) });
    sending.persist();
    sending.receive(N3, mismatch(3, 2, (3, 2), (1, 1)));
    let installed = Replica::with(&[], 3, |_, restored| {
        restored.hard_state.term = Term(2);
        restored.snapshot = Some(SnapshotMeta {
            last: EntryId::new(4, 2),
            configuration: Configuration::of_voters((1..=3).map(NodeId)),
            configured_at: EntryId::new(1, 1),
        });
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

/// Memory is within the limits, up to one run of entries that came together.
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

/// The timers due, then one input, with the checks after every call. Returns all actions.
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
    let run = vec((input(), prop_oneof![4 => Just(0_u64), 2 => 0..400_000_000_u64, 1 => Just(u64::MAX / 8)]), 1..40);
    let messages = Cell::new(0_u64);
    for_random_cases(20, 64, &run, |run| {
        for role in &roles {
            let (mut raft, mut now) = (role.raft.clone(), role.now);
            let mut entries = raft.status().last.index.0;
            for (input, wait) in &run {
                now = Instant(now.0.saturating_add(*wait));
                entries += match input {
                    Input::Receive { rpc: Rpc::AppendEntries(rpc), .. } => rpc.entries.len() as u64,
                    _ => 1,
                };
                call(&mut raft, now, input.clone());
                let status = raft.status();
                if let Input::SnapshotReceived { meta, .. } = input {
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
    for_random_cases(21, 256, &(0..5_u64, rpc()), |(from, rpc)| {
        for role in &roles {
            let mut raft = role.raft.clone();
            raft.step(Message { now: role.now, input: Input::Tick });
            let before = raft.digest();
            let input = Input::Receive { from: NodeId(from), rpc: rpc.clone() };
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

/// One field of a message, changed a little or beyond all bounds.
fn mutate(rpc: &Rpc, field: u8, value: u64) -> Rpc {
    let shift = |number: u64| match value % 6 {
        0 => number.saturating_add(1),
        1 => number.saturating_sub(1),
        2 => number.saturating_add(value % 7),
        3 => value % 9,
        4 => MAX_NUMBER + value % 2,
        _ => u64::MAX,
    };
    let id = |id: EntryId| match value % 2 {
        0 => EntryId { index: LogIndex(shift(id.index.0)), ..id },
        _ => EntryId { term: Term(shift(id.term.0)), ..id },
    };
    let mut rpc = rpc.clone();
    match &mut rpc {
        Rpc::PreVote(rpc) => match field % 3 {
            0 => rpc.term.0 = shift(rpc.term.0),
            1 => rpc.round.0 = shift(rpc.round.0),
            _ => rpc.last = id(rpc.last),
        },
        Rpc::PreVoteResponse(rpc) => match field % 3 {
            0 => rpc.term.0 = shift(rpc.term.0),
            1 => rpc.round.0 = shift(rpc.round.0),
            _ => {
                rpc.vote = if rpc.vote == Vote::Granted { Vote::Refused(VoteRefusal::StaleTerm) } else { Vote::Granted }
            }
        },
        Rpc::RequestVote(rpc) => match field % 3 {
            0 => rpc.term.0 = shift(rpc.term.0),
            1 => rpc.transfer = !rpc.transfer,
            _ => rpc.last = id(rpc.last),
        },
        Rpc::TimeoutNow(rpc) => match field % 2 {
            0 => rpc.term.0 = shift(rpc.term.0),
            _ => rpc.last = id(rpc.last),
        },
        Rpc::RequestVoteResponse(rpc) => match field % 2 {
            0 => rpc.term.0 = shift(rpc.term.0),
            _ => {
                rpc.vote = if rpc.vote == Vote::Granted { Vote::Refused(VoteRefusal::StaleTerm) } else { Vote::Granted }
            }
        },
        Rpc::AppendEntries(rpc) => match field % 5 {
            0 => rpc.term.0 = shift(rpc.term.0),
            1 => rpc.seq.0 = shift(rpc.seq.0),
            2 => rpc.prev = id(rpc.prev),
            3 => rpc.leader_commit.0 = shift(rpc.leader_commit.0),
            _ => {
                let mut entries = rpc.entries.to_vec();
                let place = value as usize % entries.len().max(1);
                match entries.get_mut(place) {
                    Some(entry) if value.is_multiple_of(3) => entry.id = id(entry.id),
                    Some(entry) => entry.payload = Payload::Noop,
                    None => entries.push(entry(rpc.prev.index.0.saturating_add(1).max(2), rpc.term.0, 3)),
                }
                rpc.entries = entries.into();
            }
        },
        Rpc::AppendEntriesResponse(rpc) => match field % 5 {
            4 => rpc.stickiness = Duration::from_nanos(shift(rpc.stickiness.as_nanos() as u64)),
            0 => rpc.term.0 = shift(rpc.term.0),
            1 => rpc.seq.0 = shift(rpc.seq.0),
            _ => match &mut rpc.outcome {
                AppendOutcome::Matched { index } => index.0 = shift(index.0),
                AppendOutcome::Mismatch { prev, .. } if field % 5 == 2 => *prev = id(*prev),
                AppendOutcome::Mismatch { hint, .. } => *hint = id(*hint),
                outcome => *outcome = AppendOutcome::Matched { index: LogIndex(shift(0)) },
            },
        },
    }
    rpc
}

/// Real runs in which each message, before it arrives, is tried with one field changed on a copy of its receiver.
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

/// Three replicas exchange messages of which every third is changed: whatever happens to their logs, none panics and none
/// grows beyond what it was sent.
#[test]
fn lies_among_real_messages() {
    let (sent, accepted) = (Cell::new(0_u64), Cell::new(0_u64));
    let run = vec((0..9_usize, any::<u8>(), any::<u64>(), 0..40_u64), 200..400);
    for_random_cases(23, 24, &run, |run| {
        let mut talk = Talk::new();
        for (choice, field, value, millis) in &run {
            let lie = (field % 3 == 0).then_some((*field, *value));
            let outcome = talk.go_on(*choice, lie, *millis);
            if let Some(is_accepted) = outcome {
                sent.set(sent.get() + 1);
                accepted.set(accepted.get() + u64::from(is_accepted));
            }
        }
    });
    println!("{} lies among real messages, {} accepted", sent.get(), accepted.get());
    assert!(sent.get() >= 500, "{} sent", sent.get());
    assert!(accepted.get() * 5 >= sent.get(), "{} accepted of {}", accepted.get(), sent.get());
}

/// Replicas and their messages, which need not make sense.
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

    /// One more call. Whether the lie was accepted, if there is one.
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

    /// A call, then all its writes reported.
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
        // A network of bounded queues.
        let excess = self.messages.len().saturating_sub(60);
        self.messages.drain(..excess);
        all
    }
}

fn writes(actions: &[Action]) -> Vec<WriteId> {
    let write = |action: &Action| if let Action::Persist(write) = action { Some(write.id) } else { None };
    actions.iter().filter_map(write).collect()
}
