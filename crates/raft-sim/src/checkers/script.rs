//! Hand-made runs for the tests of the properties: a legal run that all of them accept, and the steps to break it.

use super::ghost::Ghost;
use super::ghost::is_input;
use super::property::{Fact, Property, Violation};
use crate::record::{CrashKind, InFlight, Internals, NodeView, Quotas, Record, RecordKind, SimTime, Unhashed, Verdict};
use crate::scenario::defaults;
use crate::scenario::model::{Limits, Scenario};
use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Configuration, Entries, Entry, EntryId, HardState,
    InstallMode, LogIndex, NodeId, Payload, RequestVote, RequestVoteResponse, RoleKind, Rpc, Seq, SnapshotMeta,
    SnapshotRecord, Term, Vote, Write, WriteId,
};
use raft_node::{SnapshotChunk, SnapshotMessage};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) fn scenario() -> Scenario {
    let mut scenario = defaults::scenario("hand-made", "");
    let raft = &mut scenario.raft;
    (raft.pre_vote, raft.trailing_entries, raft.snapshot_timeout) = (false, 0, Duration::from_secs(1));
    (raft.max_append_bytes, raft.max_inflight_messages, raft.max_cached_bytes) = (1000, 4, 1000);
    (scenario.seeds, scenario.duration, scenario.clients.count) = (0..1, Duration::from_secs(1), 0);
    scenario
}

pub(crate) fn noop(index: u64, term: u64) -> Entry {
    Entry { id: EntryId::new(index, term), payload: Payload::Noop }
}

pub(crate) fn command(index: u64, term: u64, command: Bytes) -> Entry {
    Entry { id: EntryId::new(index, term), payload: Payload::Command(command) }
}

pub(crate) fn founding() -> Entry {
    let configuration = Configuration::of_voters((1..=3).map(NodeId));
    Entry { id: EntryId::new(1, 1), payload: Payload::Configuration(configuration) }
}

/// A chunk of a snapshot in flight, of a file of 20 bytes.
pub(crate) fn chunk(term: u64, meta: SnapshotMeta, bytes: &'static [u8]) -> SnapshotMessage {
    let bytes = Bytes::from_static(bytes);
    SnapshotMessage::Chunk(SnapshotChunk { term: Term(term), meta, size: 20, checksum: 7, offset: 0, bytes })
}

pub(crate) fn meta(index: u64, term: u64) -> SnapshotMeta {
    let configuration = Configuration::of_voters((1..=3).map(NodeId));
    SnapshotMeta { last: EntryId::new(index, term), configuration, configured_at: EntryId::new(1, 1) }
}

pub(crate) fn granted(term: u64) -> Rpc {
    Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote: Vote::Granted })
}

pub(crate) fn request_vote(term: u64, last: EntryId) -> Rpc {
    Rpc::RequestVote(RequestVote { term: Term(term), last, transfer: false })
}

pub(crate) fn matched(term: u64, index: u64) -> Rpc {
    let outcome = AppendOutcome::Matched { index: LogIndex(index) };
    Rpc::AppendEntriesResponse(AppendEntriesResponse {
        term: Term(term),
        seq: Seq(1),
        outcome,
        stickiness: Duration::ZERO,
        no_space: false,
    })
}

pub(crate) fn append(term: u64, prev: EntryId, commit: u64, entries: Vec<Entry>) -> Rpc {
    let leader_commit = LogIndex(commit);
    Rpc::AppendEntries(AppendEntries { term: Term(term), seq: Seq(1), prev, leader_commit, entries: entries.into() })
}

#[derive(Default)]
struct Hand {
    view: Option<NodeView>,
    asked: Vec<Write>,
    written: u64,
    mark: u64,
    incarnation: u64,
    call: u64,
}

/// A run that a test builds.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) records: Vec<Record>,
    calls: u64,
    hands: BTreeMap<u64, Hand>,
}

impl Script {
    /// Three founders, just started.
    pub(crate) fn started() -> Self {
        let mut script = Self::default();
        for node in 1..=3 {
            script.start(node, 1, None, vec![founding()]);
        }
        script
    }

    /// n1 wins term 2 with the vote of n2 and writes its no-op.
    pub(crate) fn elected() -> Self {
        let mut script = Self::started();
        script.campaign(1, 2);
        script.vote(2, 1, 2);
        script.lead(1, 2, noop(2, 2));
        script
    }

    /// The same run, and n1 replicates its no-op to n2, and commits and applies it.
    pub(crate) fn led() -> Self {
        let mut script = Self::elected();
        script.follow(2, 1, 2, EntryId::new(1, 1), vec![noop(2, 2)]);
        script.commit(1, 2);
        script
    }

    /// The same run as `led`, with individual limits for one node.
    pub(crate) fn limited(node: u64, change: impl FnOnce(&mut Limits)) -> Self {
        let mut script = Self::led();
        let mut limits = scenario().raft.limits();
        change(&mut limits);
        script.push(Some(node), RecordKind::LimitsDrawn { priority: 100, limits });
        script
    }

    /// The same run as `led`, then a crash and a restart of n3, its catch-up, and a second term under n2.
    pub(crate) fn legal() -> Self {
        let mut script = Self::led();
        script.crash(3, CrashKind::PowerLoss);
        script.start(3, 1, None, vec![founding()]);
        script.follow(3, 1, 2, EntryId::new(1, 1), vec![noop(2, 2)]);
        script.commit(3, 2);
        script.campaign(2, 3);
        script.vote(3, 2, 3);
        script.lead(2, 3, noop(3, 3));
        script.follow(3, 2, 3, EntryId::new(2, 2), vec![noop(3, 3)]);
        script.commit(2, 3);
        script
    }

    /// Adds a record: each input of a node begins a call.
    pub(crate) fn push(&mut self, node: Option<u64>, kind: RecordKind) -> u64 {
        let number = self.records.len() as u64 + 1;
        let (mut view, mut call) = (None, 0);
        if let Some(node) = node {
            let hand = self.hands.entry(node).or_default();
            if is_input(&kind) {
                self.calls += 1;
                hand.call = self.calls;
            }
            (view, call) = (hand.view.clone().map(Box::new), hand.call);
        }
        let at = SimTime(number * 1_000_000);
        self.records.push(Record { number, at, cause: None, node: node.map(NodeId), call, kind, view });
        number
    }

    /// The newest record, so that a test can change it.
    pub(crate) fn newest(&mut self) -> &mut Record {
        self.records.last_mut().expect("a script with a record")
    }

    pub(crate) fn start(&mut self, node: u64, term: u64, vote: Option<u64>, entries: Vec<Entry>) {
        self.start_from(node, term, vote, None, entries);
    }

    /// Adds a start with a snapshot and the rest of the log.
    pub(crate) fn start_from(
        &mut self,
        node: u64,
        term: u64,
        vote: Option<u64>,
        snapshot: Option<SnapshotMeta>,
        entries: Vec<Entry>,
    ) {
        let hand = self.hands.entry(node).or_default();
        hand.incarnation += 1;
        hand.written = 0;
        hand.asked.clear();
        let configuration = entries.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some(configuration.clone()),
            _ => None,
        });
        let configuration = configuration.or(snapshot.as_ref().map(|snapshot| snapshot.configuration.clone()));
        let covered = snapshot.as_ref().map(|snapshot| snapshot.last);
        let voted_for = vote.map(NodeId);
        hand.view = Some(NodeView {
            term: Term(term),
            voted_for,
            role: RoleKind::Follower,
            leader: None,
            commit: covered.unwrap_or_default().index,
            first: LogIndex(1),
            last: entries.last().map(|entry| entry.id).or(covered).unwrap_or_default(),
            snapshot: covered,
            applied: LogIndex(0),
            in_flight: InFlight::default(),
            quotas: Quotas::default(),
            configuration,
            internals: Unhashed(Internals { has_timer: true, ..Internals::default() }),
        });
        let kind = RecordKind::Started {
            incarnation: hand.incarnation,
            hard_state: HardState { term: Term(term), voted_for },
            snapshot,
            entries: entries.into(),
            disk_mark: hand.mark,
            disk_durable: hand.mark,
        };
        self.push(Some(node), kind);
    }

    pub(crate) fn crash(&mut self, node: u64, crash: CrashKind) {
        self.hands.entry(node).or_default().view = None;
        self.push(Some(node), RecordKind::Crashed { crash, lost: 0 });
    }

    /// Adds a step with this view after it.
    pub(crate) fn step(&mut self, node: u64, change: impl FnOnce(&mut NodeView)) -> u64 {
        if let Some(view) = self.hands.get_mut(&node).and_then(|hand| hand.view.as_mut()) {
            change(view);
        }
        self.push(Some(node), RecordKind::TimerFired)
    }

    pub(crate) fn ask(
        &mut self,
        node: u64,
        hard: Option<(u64, Option<u64>)>,
        truncate: Option<u64>,
        entries: Vec<Entry>,
    ) -> u64 {
        let hard_state = hard.map(|(term, vote)| HardState { term: Term(term), voted_for: vote.map(NodeId) });
        let (truncate_from, entries) = (truncate.map(LogIndex), entries.into());
        self.ask_for(node, Write { id: WriteId(0), hard_state, truncate_from, snapshot: None, entries })
    }

    pub(crate) fn ask_snapshot(&mut self, node: u64, meta: SnapshotMeta, log: InstallMode) -> u64 {
        let snapshot = Some(SnapshotRecord { meta, log });
        let entries = Entries::new();
        self.ask_for(node, Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot, entries })
    }

    fn ask_for(&mut self, node: u64, write: Write) -> u64 {
        let hand = self.hands.entry(node).or_default();
        let write = Write { id: WriteId(hand.written + hand.asked.len() as u64 + 1), ..write };
        hand.asked.push(write.clone());
        self.push(Some(node), RecordKind::Asked { write })
    }

    /// Records that the node's own snapshot is in a durable file.
    pub(crate) fn save(&mut self, node: u64, meta: &SnapshotMeta) {
        self.push(Some(node), RecordKind::SnapshotTaken { meta: meta.clone() });
        self.push(Some(node), RecordKind::SnapshotSaved { meta: meta.clone(), durable: true });
    }

    /// The store writes all pending writes: they are readable, not durable.
    pub(crate) fn write(&mut self, node: u64) {
        let hand = self.hands.entry(node).or_default();
        let writes = std::mem::take(&mut hand.asked);
        (hand.written, hand.mark) = (hand.written + writes.len() as u64, hand.mark + 1);
        let disk_mark = hand.mark;
        self.push(Some(node), RecordKind::Wrote { writes, disk_mark });
    }

    /// The store writes and syncs all pending writes.
    pub(crate) fn sync(&mut self, node: u64) {
        self.write(node);
        let hand = self.hands.entry(node).or_default();
        let kind =
            RecordKind::Persisted { write: WriteId(hand.written), disk_durable: hand.mark, space: Unhashed::default() };
        self.push(Some(node), kind);
    }

    pub(crate) fn send(&mut self, node: u64, to: u64, rpc: Rpc) -> u64 {
        let verdict = Verdict::Delivered { copies: 1 };
        self.push(Some(node), RecordKind::Sent { to: NodeId(to), rpc, verdict })
    }

    pub(crate) fn apply(&mut self, node: u64, entries: Vec<Entry>, state_hash: u128) -> u64 {
        let entries: Entries = entries.into();
        self.push(Some(node), RecordKind::Applied { entries, state_hash })
    }

    pub(crate) fn campaign(&mut self, node: u64, term: u64) {
        self.step(node, |view| {
            (view.term, view.voted_for, view.role, view.leader) =
                (Term(term), Some(NodeId(node)), RoleKind::Candidate, None);
        });
        self.ask(node, Some((term, Some(node))), None, vec![]);
        self.sync(node);
        let last = self.last(node);
        for peer in (1..=3).filter(|peer| *peer != node) {
            self.send(node, peer, request_vote(term, last));
        }
    }

    pub(crate) fn vote(&mut self, node: u64, candidate: u64, term: u64) {
        self.step(node, |view| {
            (view.term, view.voted_for, view.role, view.leader) =
                (Term(term), Some(NodeId(candidate)), RoleKind::Follower, None);
        });
        self.ask(node, Some((term, Some(candidate))), None, vec![]);
        self.sync(node);
        self.send(node, candidate, granted(term));
    }

    /// The node wins the election; the term begins with this entry.
    pub(crate) fn lead(&mut self, node: u64, term: u64, first: Entry) {
        let prev = self.last(node);
        self.step(node, |view| {
            (view.term, view.role, view.leader, view.last) =
                (Term(term), RoleKind::Leader, Some(NodeId(node)), first.id);
        });
        for peer in (1..=3).filter(|peer| *peer != node) {
            self.send(node, peer, append(term, prev, 0, vec![first.clone()]));
        }
        self.ask(node, None, None, vec![first]);
        self.sync(node);
    }

    /// The node accepts entries from a leader, makes them durable and acknowledges them.
    pub(crate) fn follow(&mut self, node: u64, leader: u64, term: u64, prev: EntryId, entries: Vec<Entry>) {
        let (ours, last) = (self.last(node), entries.last().map_or(prev, |entry| entry.id));
        let newer = self.view(node).term < Term(term);
        self.step(node, |view| {
            if newer {
                view.voted_for = None;
            }
            (view.term, view.role, view.leader, view.last) =
                (Term(term), RoleKind::Follower, Some(NodeId(leader)), last);
        });
        let truncate = (ours.index > prev.index).then_some(prev.index.0 + 1);
        self.ask(node, newer.then_some((term, None)), truncate, entries);
        self.sync(node);
        self.send(node, leader, matched(term, last.index.0));
    }

    pub(crate) fn commit(&mut self, node: u64, index: u64) -> u64 {
        self.step(node, |view| view.commit = LogIndex(index))
    }

    pub(crate) fn view(&self, node: u64) -> NodeView {
        self.hands.get(&node).and_then(|hand| hand.view.clone()).expect("the node is up in this script")
    }

    fn last(&self, node: u64) -> EntryId {
        self.view(node).last
    }
}

fn run(property: &mut dyn Property, script: &Script) -> (Option<Violation>, Ghost) {
    let mut ghost = Ghost::new(&scenario());
    for record in &script.records {
        let change = ghost.update(record);
        let fact = Fact { record, node: record.node.and_then(|id| ghost.node(id)), change };
        if let Some(violation) = property.check(&ghost, &fact) {
            assert_eq!(violation.facts.last(), Some(&record.number), "{violation:?}");
            return (Some(violation), ghost);
        }
    }
    (property.finish(&ghost), ghost)
}

/// Checks that the property fires at the script's last record, not before, with this message.
pub(super) fn assert_fires(mut property: impl Property, name: &str, script: &Script, words: &str) -> Violation {
    let violation = run(&mut property, script).0.expect("the property fires");
    assert_eq!(violation.property, name, "{violation:?}");
    assert!(violation.message.contains(words), "{violation:?} does not say {words:?}");
    assert_eq!(violation.facts.last(), Some(&(script.records.len() as u64)), "{violation:?}");
    violation
}

/// Checks that the property fires with this message, or stays silent if the message is empty.
pub(super) fn assert_says(property: impl Property, name: &str, script: &Script, words: &str) {
    if words.is_empty() {
        assert_silent(property, script);
    } else {
        assert_fires(property, name, script, words);
    }
}

/// Checks that the property stays silent on this run.
pub(super) fn assert_silent(mut property: impl Property, script: &Script) {
    assert_eq!(run(&mut property, script).0, None);
}

pub(crate) fn ghost_after(script: &Script) -> Ghost {
    let mut ghost = Ghost::new(&scenario());
    for record in &script.records {
        ghost.update(record);
    }
    ghost
}
