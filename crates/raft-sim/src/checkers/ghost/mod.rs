//! The shared model that all properties read: the history of the run, folded once for each record before any property
//! looks at it.
//!
//! A step of a node appears as several records, its input first, all with the view after the step. So the view of the
//! log may be ahead of the log until the step's `Asked` record. Checks that need both wait until the view is *settled*.
//! A crash between two outputs leaves a view that never settles: no peer has seen that state.
//!
//! This file checks nothing: it leaves each contradiction to the property that names it.

pub(crate) mod log;
mod new_cluster;
pub(crate) mod node;
pub(crate) mod terms;

use super::effect::{Effect, Effects};
use super::replay::Replay;
use crate::record::{Record, RecordKind, SimTime};
use crate::scenario::model::Scenario;
use log::{Chain, Slot};
use node::{Edit, Found, Known, Node, Recovery, Seen};
use raft_core::{Configuration, Entries, Entry, EntryId, LogIndex, NodeId, RoleKind, Rpc, Term, Vote};
use raft_proto::wire::kv::kv_response;
use std::collections::BTreeMap;
use std::time::Duration;
use terms::{TermGhost, TermLog, committed_chain};

/// An entry that a leader has reported as committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub(crate) id: EntryId,
    pub(crate) chain: Chain,
    /// The term of the leader that first reported it.
    pub(crate) in_term: Term,
    /// The leader that reported it.
    pub(crate) by: NodeId,
    pub(crate) record: u64,
    pub(crate) at: SimTime,
}

/// An entry that some node has applied; the first node that reached the index decides.
#[derive(Clone, Debug)]
pub(crate) struct AppliedEntry {
    pub(crate) entry: Entry,
    pub(crate) chain: Chain,
    pub(crate) by: NodeId,
    pub(crate) record: u64,
    pub(crate) effect: Effect,
    /// The expected answer to its command, if it changes or reads the map.
    pub(crate) response: Option<kv_response::Kind>,
    /// The revision of the map after it.
    pub(crate) revision: u64,
}

/// The replicated state after the applied entries, computed from them alone.
#[derive(Clone, Debug)]
struct ReplicatedState {
    sessions: Effects,
    map: Replay,
}

impl ReplicatedState {
    fn new(scenario: &Scenario) -> Self {
        let raft = &scenario.raft;
        Self { sessions: Effects::new(raft.max_sessions, raft.max_answers), map: Replay::new(raft.window_events) }
    }

    fn apply(&mut self, entry: Entry, chain: Chain, by: NodeId, record: u64) -> AppliedEntry {
        let effect = self.sessions.of(&entry);
        let response = match &effect {
            Effect::Carries(_, Some(command)) | Effect::Own(Some(command)) => Some(self.map.apply(command)),
            _ => None,
        };
        AppliedEntry { entry, chain, by, record, effect, response, revision: self.map.revision() }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// The node's view differs from the previous one.
    pub(crate) new_view: bool,
    /// The node's view differs from the previous one and agrees with its log for the first time.
    pub(crate) settled_view: bool,
    /// The previous step ended with this view, although the log that its node wrote ends elsewhere.
    pub(crate) unsettled: Option<Seen>,
    /// The change to the log in memory.
    pub(crate) edit: Edit,
    /// A leader wrote this entry where its log of that term had another one.
    pub(crate) leader_overwrote: Option<Slot>,
    pub(crate) recovery: Option<Recovery>,
    /// How many entries were known to be committed before this record.
    pub(crate) committed_before: usize,
    /// How many of them were configurations.
    pub(crate) decided_before: usize,
    /// How many entries were known to be applied before this record.
    pub(crate) applied_before: usize,
    /// The first entry that was applied out of order, and the index that was due.
    pub(crate) applied_gap: Option<(EntryId, LogIndex)>,
    /// The first applied entry that differs from the one that another node applied there.
    pub(crate) applied_other: Option<EntryId>,
    /// The node does not run because of its disk.
    pub(crate) excused: bool,
    /// The applied index of the node before its state machine restored a snapshot.
    pub(crate) restored_from: LogIndex,
    /// A new cluster begins: the committed log comes from an old one.
    pub(crate) is_anew: bool,
    /// The highest index that any node of the old cluster has used.
    pub(crate) used_before: LogIndex,
}

#[derive(Clone, Debug)]
pub(crate) struct Ghost {
    nodes: Vec<Node>,
    /// Every term in which a node campaigned or led.
    pub(crate) terms: BTreeMap<Term, TermGhost>,
    /// The highest term of any node so far.
    pub(crate) highest_term: Term,
    pub(crate) committed: Vec<Committed>,
    /// The configurations in it, oldest first.
    decided: Vec<(EntryId, Configuration)>,
    /// The applied entries, from index 1. A snapshot covers only entries that some node has applied.
    pub(crate) applied: Vec<AppliedEntry>,
    state: ReplicatedState,
    /// No clock has ever run fast or slow.
    pub(crate) clocks_are_true: bool,
}

impl Ghost {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            nodes: (1..=scenario.nodes).map(|id| Node::new(NodeId(id), &scenario.raft)).collect(),
            terms: BTreeMap::new(),
            highest_term: Term(0),
            committed: Vec::new(),
            decided: Vec::new(),
            applied: Vec::new(),
            state: ReplicatedState::new(scenario),
            clocks_are_true: true,
        }
    }

    /// The map after all applied entries, with its history.
    pub(crate) const fn map(&self) -> &Replay {
        &self.state.map
    }

    /// The revision of the map after the entry at `index`, if some node has applied it.
    pub(crate) fn revision_at(&self, index: LogIndex) -> Option<u64> {
        if index == LogIndex(0) { Some(0) } else { self.applied_at(index).map(|applied| applied.revision) }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(place_of(id))
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(place_of(id))
    }

    pub(crate) fn committed_at(&self, index: LogIndex) -> Option<&Committed> {
        self.committed.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The chain of the committed log up to `index`.
    pub(crate) fn committed_chain(&self, index: LogIndex) -> Option<Chain> {
        committed_chain(&self.committed, index)
    }

    /// The entry that was first applied at `index`.
    pub(crate) fn applied_at(&self, index: LogIndex) -> Option<&AppliedEntry> {
        self.applied.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The configurations that are committed, oldest first.
    pub(crate) fn decided(&self) -> &[(EntryId, Configuration)] {
        &self.decided
    }

    /// Whether a node is a member of the newest decided configuration and is about to stay one. Before the first
    /// decision all nodes are.
    pub(crate) fn is_member(&self, id: NodeId) -> bool {
        self.decided.last().is_none_or(|(_, configuration)| configuration.end().members.contains_key(&id))
    }

    /// The nodes whose disks durably hold the log up to `index` with this chain.
    pub(crate) fn holds_durably(&self, id: NodeId, index: LogIndex, chain: Chain) -> bool {
        self.node(id).is_some_and(|node| node.held().log.chain_at(index) == Some(chain))
    }

    /// Folds the next record.
    pub(crate) fn update(&mut self, record: &Record) -> Change {
        let mut change = Change {
            committed_before: self.committed.len(),
            decided_before: self.decided.len(),
            applied_before: self.applied.len(),
            ..Change::default()
        };
        if let RecordKind::Fault { label } = &record.kind {
            self.clocks_are_true &= !label.starts_with("clock of ");
        }
        let Some(id) = record.node else { return change };
        let number = record.number;
        let known = Known { committed: &self.committed, decided: &self.decided };
        let Some(node) = self.nodes.get_mut(place_of(id)) else { return change };
        change.unsettled = node.unsettled(record, is_input(&record.kind));
        match &record.kind {
            RecordKind::Persisted { disk_durable, .. } => node.became_durable(*disk_durable, number),
            RecordKind::Started { incarnation, hard_state, snapshot, entries, disk_mark, disk_durable } => {
                let found = Found { hard_state: *hard_state, snapshot: snapshot.as_ref(), entries };
                let (recovery, pushed) = node.started(*incarnation, found, (*disk_mark, *disk_durable), known, number);
                (change.recovery, change.edit.pushed) = (Some(recovery), pushed);
                self.highest_term = self.highest_term.max(hard_state.term);
            }
            RecordKind::LimitsDrawn { priority, limits } => (node.priority, node.limits) = (*priority, *limits),
            RecordKind::ClockJumped { by_ns } => {
                let back = Duration::from_nanos(by_ns.min(&0).unsigned_abs());
                node.stood_still = node.stood_still.saturating_add(back);
                self.clocks_are_true = false;
            }
            RecordKind::Crashed { crash, .. } => node.crashed(*crash),
            RecordKind::DiskFault { fault, .. } => node.disk_fault(*fault),
            RecordKind::RefusedToStart { .. } => change.excused = node.refused(),
            RecordKind::Wrote { writes, disk_mark } => node.wrote(writes, *disk_mark),
            RecordKind::Asked { write } => change.edit = node.ask(write, known, number),
            RecordKind::SnapshotSaved { meta, durable } | RecordKind::SnapshotReceived { meta, durable }
                if *durable =>
            {
                node.files.insert(meta.last);
            }
            RecordKind::SnapshotRemoved { last } => {
                node.files.remove(last);
            }
            RecordKind::Compacted { before } => node.compacted(*before),
            RecordKind::Restored { meta, .. } => {
                change.restored_from = node.applied;
                node.restored(meta.last, known);
            }
            RecordKind::Applied { entries, .. } => self.apply(id, entries, record, &mut change),
            _ => {}
        }
        // The view is that after the whole call, and the next input of the call may be the durable writes that it follows from.
        if !matches!(record.kind, RecordKind::SpaceTold { .. }) {
            self.observe_view(id, record, &mut change);
        }
        match &record.kind {
            RecordKind::Sent { rpc, .. } => self.sent(id, rpc, record),
            RecordKind::Asked { .. } => self.asked_as_leader(id, &mut change),
            _ => {}
        }
        change
    }

    fn observe_view(&mut self, id: NodeId, record: &Record, change: &mut Change) {
        let Some(view) = &record.view else { return };
        let Some(node) = self.node_mut(id) else { return };
        (change.new_view, change.settled_view) = node.observe_view(view, record.number);
        if change.new_view {
            let moved = node.applied_at.last().is_none_or(|(_, applied)| *applied != view.applied);
            if moved {
                node.applied_at.push((record.at, view.applied));
            }
            self.highest_term = self.highest_term.max(view.term);
            self.observe_role(id, view.role, view.term, record.number);
        }
        if view.commit.0 <= self.committed.len() as u64 {
            return;
        }
        if view.role == RoleKind::Leader {
            self.commit(id, view.commit, view.term, record);
        } else if change.new_view {
            self.commit_of_stepped_down(id, view.commit, record);
        }
    }

    /// A step with several inputs can both move a leader's commit index and depose the leader; the view shows only the
    /// end. Commits the entries that the leader had the right to commit.
    fn commit_of_stepped_down(&mut self, id: NodeId, commit: LogIndex, record: &Record) {
        let Some(node) = self.node(id) else { return };
        let Some(before) = node.previous.filter(|before| before.role == RoleKind::Leader) else { return };
        let known = LogIndex(self.committed.len() as u64);
        let own_term = |slot: &&Slot| slot.id.index <= commit && slot.id.term == before.term;
        let on_quorum = |slot: &&Slot| {
            let holds = |voter| self.holds_durably(voter, slot.id.index, slot.chain);
            node.configuration().is_some_and(|configuration| configuration.has_quorum(holds))
        };
        let last = node.log.after(known).iter().rev().filter(own_term).find(on_quorum).copied();
        if let Some(last) = last {
            self.commit(id, last.id.index, before.term, record);
        }
    }

    fn observe_role(&mut self, id: NodeId, role: RoleKind, term: Term, record: u64) {
        if role == RoleKind::Candidate {
            let candidates = &mut self.terms.entry(term).or_default().candidates;
            if !candidates.contains(&id) {
                candidates.push(id);
            }
        }
        let ghost = self.terms.get(&term);
        if role == RoleKind::Leader && ghost.is_none_or(|ghost| ghost.leader.is_none()) {
            let log = self.node(id).map(|node| TermLog::of(&node.log, &self.committed)).unwrap_or_default();
            let ghost = self.terms.entry(term).or_default();
            (ghost.leader, ghost.log) = (Some((id, record)), log);
        }
    }

    /// A leader's commit index moved, so the entries up to it are committed, as its log has them.
    fn commit(&mut self, id: NodeId, commit: LogIndex, term: Term, record: &Record) {
        let known = LogIndex(self.committed.len() as u64);
        let Some(node) = self.nodes.get(place_of(id)) else { return };
        let new = |(at, _): &&(EntryId, Configuration)| at.index > known && at.index <= commit;
        self.decided.extend(node.configurations.iter().filter(new).cloned());
        for slot in node.log.after(known).iter().take_while(|slot| slot.id.index <= commit) {
            let Slot { id: entry, chain, .. } = *slot;
            let (in_term, by, at) = (term, id, record.at);
            self.committed.push(Committed { id: entry, chain, in_term, by, record: record.number, at });
        }
    }

    fn sent(&mut self, id: NodeId, rpc: &Rpc, record: &Record) {
        match rpc {
            Rpc::RequestVoteResponse(response) if response.vote == Vote::Granted => {
                let RecordKind::Sent { to, .. } = record.kind else { return };
                self.terms.entry(response.term).or_default().grants.push((id, to, record.number));
            }
            Rpc::AppendEntries(append) if !append.entries.is_empty() => {
                let Some(ghost) = self.terms.get_mut(&append.term) else { return };
                if ghost.leader.is_some_and(|(leader, _)| leader == id) {
                    ghost.log.sent(&append.entries, &self.committed);
                }
            }
            _ => {}
        }
    }

    fn asked_as_leader(&mut self, id: NodeId, change: &mut Change) {
        let Some(node) = self.nodes.get(place_of(id)) else { return };
        let Some(view) = node.view.filter(|view| view.role == RoleKind::Leader) else { return };
        let Some(ghost) = self.terms.get_mut(&view.term) else { return };
        if ghost.leader.is_some_and(|(leader, _)| leader == id) {
            let pushed = node.log.after(LogIndex(node.log.len() - change.edit.pushed));
            change.leader_overwrote = ghost.log.asked(pushed, &self.committed);
        }
    }

    fn apply(&mut self, id: NodeId, entries: &Entries, record: &Record, change: &mut Change) {
        let Some(node) = self.nodes.get_mut(place_of(id)) else { return };
        for entry in entries.iter() {
            if entry.id.index != node.applied.next() {
                change.applied_gap = change.applied_gap.or(Some((entry.id, node.applied.next())));
                return;
            }
            let chain = node.applied_chain.then(entry);
            (node.applied, node.applied_chain) = (entry.id.index, chain);
            let place = usize::try_from(entry.id.index.previous().0).unwrap_or(usize::MAX);
            match self.applied.get(place) {
                Some(known) if known.chain != chain => {
                    change.applied_other = change.applied_other.or(Some(entry.id));
                }
                Some(_) => {}
                None => {
                    self.applied.push(self.state.apply(entry.clone(), chain, id, record.number));
                }
            }
        }
    }
}

/// A node's position in the list: n1 is first.
fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0).ok().and_then(|number| number.checked_sub(1)).unwrap_or(usize::MAX)
}

/// Whether this record is an input of a node. The outputs of a node follow its inputs.
pub(crate) fn is_input(what: &RecordKind) -> bool {
    matches!(
        what,
        RecordKind::Received { .. }
            | RecordKind::TimerFired
            | RecordKind::Requested { .. }
            | RecordKind::CampaignAsked
            | RecordKind::Persisted { .. }
            | RecordKind::SpaceTold { .. }
            | RecordKind::MessageDropped { .. }
            | RecordKind::RequestRefused { .. }
            | RecordKind::UnreachableTold { .. }
            | RecordKind::PeerRegistered { .. }
            | RecordKind::SnapshotWished
            | RecordKind::SnapshotSaved { .. }
            | RecordKind::SnapshotReceived { .. }
            | RecordKind::SnapshotGrown { .. }
            | RecordKind::SnapshotNotWritten { .. }
            | RecordKind::SnapshotRead { .. }
            | RecordKind::SnapshotHeard { .. }
            | RecordKind::SnapshotLoaded { .. }
            | RecordKind::LogRead { .. }
            | RecordKind::ForwardedRequestReceived { .. }
            | RecordKind::ForwardedReplyReceived { .. }
            | RecordKind::NotForwarded { .. }
            | RecordKind::BackupCancelled { .. }
            | RecordKind::WatchCancelled { .. }
            | RecordKind::Forged { .. }
    )
}
