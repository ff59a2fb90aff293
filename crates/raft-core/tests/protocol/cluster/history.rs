//! The properties that hold in every run: Raft Figure 3, one vote in a term, promises only for durable state,
//! linearizable reads, one answer to a request, progress. The checkers see what a host sees, never the internals of a
//! replica.

use super::Image;
use raft_core::*;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// At most one leader in a term.
    ElectionSafety,
    /// A leader never overwrites or removes entries of its log.
    LeaderAppendOnly,
    /// Two logs with a common entry agree in all entries before it.
    LogMatching,
    /// An entry that is committed in a term is in the logs of the leaders of all higher terms.
    LeaderCompleteness,
    /// No two state machines apply different entries at the same index.
    StateMachineSafety,
    /// A node votes for one candidate in a term, even after a crash.
    OneVoteATerm,
    /// Votes, matches and applied entries never depend on state that a crash could lose.
    PromisesAfterTheDisk,
    /// A read sees everything that was committed before the request.
    LinearizableReads,
    /// Every request gets at most one answer of its kind.
    OneAnswerARequest,
    /// A snapshot is newer than the last one and matches its log, and it replaces a log only if the log cannot lead to
    /// it.
    Snapshots,
    /// Once all faults are repaired, a leader is elected, a command and a read succeed, and all nodes become equal.
    Progress,
}

/// A request: the node that must answer it, and for a read the newest commit index anywhere at that time.
struct Asked {
    node: NodeId,
    read: Option<LogIndex>,
}

/// All observations, over all nodes and starts.
#[derive(Default)]
pub(crate) struct History {
    leaders: BTreeMap<Term, NodeId>,
    /// Each entry ever written, with the one before it.
    entries: BTreeMap<EntryId, (EntryId, Payload)>,
    /// The committed entries, each with the first term in which a leader committed it.
    committed: BTreeMap<LogIndex, (EntryId, Term)>,
    applied: BTreeMap<LogIndex, Entry>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    asked: BTreeMap<RequestId, Asked>,
    violations: BTreeMap<Property, String>,
    marks: BTreeMap<&'static str, u64>,
}

impl History {
    /// The first violation of each property.
    pub(crate) fn violations(&self) -> &BTreeMap<Property, String> {
        &self.violations
    }

    /// How often each mark happened.
    pub(crate) fn marks(&self) -> &BTreeMap<&'static str, u64> {
        &self.marks
    }

    pub(crate) fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    pub(crate) fn violated(&mut self, property: Property, how: String) {
        self.violations.entry(property).or_insert(how);
    }

    fn promised_early(&mut self, how: String) {
        self.violated(Property::PromisesAfterTheDisk, how);
    }

    /// The newest commit index anywhere.
    pub(crate) fn newest_commit(&self) -> LogIndex {
        self.committed.keys().next_back().copied().unwrap_or_default()
    }

    /// Records that a node emitted a write in a call that began and ended with these roles and terms.
    pub(crate) fn asked_to_write(
        &mut self,
        id: NodeId,
        before: (RoleKind, Term),
        after: (RoleKind, Term),
        write: &Write,
    ) {
        if write.truncate_from.is_some() {
            self.mark("truncation");
            if before == after && after.0 == RoleKind::Leader {
                self.violated(Property::LeaderAppendOnly, format!("{id} leads and writes {write}"));
            }
        }
    }

    /// Records that a log changed after its first `kept` entries.
    pub(crate) fn wrote(&mut self, log: &[Entry], kept: usize) {
        for place in kept..log.len() {
            let entry = &log[place];
            let before = place.checked_sub(1).map_or(EntryId::ZERO, |before| log[before].id);
            let known = self.entries.entry(entry.id).or_insert_with(|| (before, entry.payload.clone()));
            if (before, &entry.payload) != (known.0, &known.1) {
                let how = format!("{entry} after {before}, elsewhere after {}", known.0);
                self.violated(Property::LogMatching, how);
            }
        }
    }

    /// The log that ends in this entry, which some node has written.
    pub(crate) fn log_up_to(&self, last: EntryId) -> Vec<Entry> {
        let mut log = Vec::new();
        let mut next = last;
        while next != EntryId::ZERO {
            let (before, payload) = self.entries.get(&next).unwrap_or_else(|| panic!("{next} was never written"));
            log.push(Entry { id: next, payload: payload.clone() });
            next = *before;
        }
        log.reverse();
        log
    }

    /// Records that a node emitted a write with a snapshot, and then had `memory`.
    pub(crate) fn snapshot_recorded(&mut self, id: NodeId, write: &Write, memory: &Image) {
        let Some(SnapshotRecord { meta, log }) = &write.snapshot else { return };
        self.mark(if *log == InstallMode::Keep { "snapshot taken" } else { "snapshot installed" });
        let newest = memory.snapshot.as_ref().map_or(LogIndex(0), |before| before.last.index);
        let is_kept = memory.log.get(meta.last.index.0 as usize - 1).is_some_and(|entry| entry.id == meta.last);
        if meta.last.index <= newest || (*log == InstallMode::Keep) != is_kept {
            self.violated(Property::Snapshots, format!("{id} goes from {newest} to {write}"));
        }
        self.snapshot_described(id, meta, memory);
    }

    /// Checks the metadata of a snapshot.
    pub(crate) fn snapshot_described(&mut self, id: NodeId, meta: &SnapshotMeta, memory: &Image) {
        let ours = memory.log.get(meta.last.index.0 as usize - 1).filter(|entry| entry.id == meta.last);
        let log =
            if ours.is_some() { memory.log[..meta.last.index.0 as usize].to_vec() } else { self.log_up_to(meta.last) };
        let configured = log.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.id, configuration)),
            _ => None,
        });
        if configured != Some((meta.configured_at, &meta.configuration)) {
            self.violated(Property::Snapshots, format!("{id} says {meta}, but the log has {configured:?}"));
        }
    }

    /// Records that a node restores or sends a snapshot while its disk surely had `disk`.
    pub(crate) fn snapshot_used(&mut self, id: NodeId, verb: &'static str, meta: &SnapshotMeta, disk: &Image) {
        self.mark(if verb == "sends" { "snapshot sent" } else { "restore" });
        if disk.snapshot.as_ref() != Some(meta) {
            self.promised_early(format!("{id} {verb} {meta}, its disk has {:?}", disk.snapshot));
        }
    }

    /// Records that a node compacts its log while its disk surely had `disk`.
    pub(crate) fn compacted(&mut self, id: NodeId, before: LogIndex, disk: &Image) {
        self.mark("compaction");
        let covered = disk.snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.last.index);
        if before > covered.next() {
            self.promised_early(format!("{id} compacts ..{before}, a snapshot covers {covered}"));
        }
    }

    /// Records that a node reads entries up to `last` while its disk surely had `disk`.
    pub(crate) fn read_asked(&mut self, id: NodeId, last: LogIndex, disk: &Image) {
        if last.0 > disk.log.len() as u64 {
            self.promised_early(format!("{id} reads {last}, its disk has {}", disk.log.len()));
        }
    }

    /// Records a call of a node: its role and term before and after, its commit index and log after.
    pub(crate) fn stepped(
        &mut self,
        id: NodeId,
        before: (RoleKind, Term),
        after: (RoleKind, Term),
        commit: LogIndex,
        log: &[Entry],
    ) {
        if after.0 == RoleKind::Leader && before != after {
            self.mark("election");
            self.elected(id, after.1, log);
        }
        let led = [after, before].into_iter().find(|(role, _)| *role == RoleKind::Leader);
        if let Some((_, term)) = led {
            self.commit(term, commit, log);
        }
    }

    fn elected(&mut self, id: NodeId, term: Term, log: &[Entry]) {
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            self.violated(Property::ElectionSafety, format!("{first} and {id} both lead term {term}"));
        }
        let missing = self.committed.values().find(|(entry, committed_in)| {
            *committed_in < term && log.get(entry.index.0 as usize - 1).is_none_or(|ours| ours.id != *entry)
        });
        if let Some((entry, committed_in)) = missing {
            let how = format!("{id} leads term {term} without {entry}, committed in term {committed_in}");
            self.violated(Property::LeaderCompleteness, how);
        }
    }

    fn commit(&mut self, term: Term, commit: LogIndex, log: &[Entry]) {
        for entry in log.iter().take(commit.0 as usize).skip(self.committed.len()) {
            self.committed.insert(entry.id.index, (entry.id, term));
            self.mark("commit");
        }
    }

    /// Records a sent message, while the sender's disk surely had `disk`.
    pub(crate) fn sent(&mut self, id: NodeId, to: NodeId, rpc: &Rpc, disk: &Image) {
        let term = rpc.term();
        match rpc {
            Rpc::RequestVote(_) => self.voted(id, id, term, disk),
            Rpc::RequestVoteResponse(response) if response.vote == Vote::Granted => self.voted(id, to, term, disk),
            Rpc::AppendEntriesResponse(response) => match response.outcome {
                AppendOutcome::Matched { index }
                    if disk.hard_state.term != term || (disk.log.len() as u64) < index.0 =>
                {
                    let how = format!("{id} says {rpc} with {} and {} entries", disk.hard_state, disk.log.len());
                    self.promised_early(how);
                }
                AppendOutcome::Mismatch { .. } => self.mark("conflict"),
                _ => {}
            },
            _ => {}
        }
    }

    fn voted(&mut self, id: NodeId, candidate: NodeId, term: Term, disk: &Image) {
        let first = *self.votes.entry((id, term)).or_insert(candidate);
        if first != candidate {
            self.violated(Property::OneVoteATerm, format!("{id} votes for {first} and {candidate} in term {term}"));
        }
        if disk.hard_state.term != term || disk.hard_state.voted_for != Some(candidate) {
            let how = format!("{id} votes for {candidate} in term {term} with {} on its disk", disk.hard_state);
            self.promised_early(how);
        }
    }

    /// Records that a node applies an entry after `before` others.
    pub(crate) fn applied(&mut self, id: NodeId, before: u64, entry: &Entry, disk: &Image) {
        if disk.log.get(before as usize) != Some(entry) {
            self.promised_early(format!("{id} applies {entry} which its disk may lose"));
        }
        let first = self.applied.entry(LogIndex(before + 1)).or_insert_with(|| entry.clone());
        if first != entry {
            let how = format!("{id} applies {entry} as number {}, elsewhere {first}", before + 1);
            self.violated(Property::StateMachineSafety, how);
        }
    }

    /// Records a request; for a read with the newest commit index anywhere.
    pub(crate) fn asked(&mut self, node: NodeId, id: RequestId, read: Option<LogIndex>) {
        self.asked.insert(id, Asked { node, read });
    }

    /// Records an answer or an announcement of a node.
    pub(crate) fn answered(&mut self, id: NodeId, news: &Action) {
        if let Action::ConfigurationChanged { configuration, committed: true, at } = news
            && at.index > LogIndex(1)
        {
            self.mark(if configuration.is_joint() { "joint configuration" } else { "configuration" });
        }
        let (request, is_for_reads) = match news {
            Action::Appended { id, .. } => (*id, Some(false)),
            Action::Rejected { id, .. } | Action::TransferDone { id, .. } | Action::TransferFailed { id, .. } => {
                (*id, None)
            }
            Action::ReadReady { id, .. } | Action::ReadFailed { id, .. } => (*id, Some(true)),
            _ => return,
        };
        let Some(asked) = self.asked.remove(&request).filter(|asked| asked.node == id) else {
            return self.violated(Property::OneAnswerARequest, format!("{id} says {news} without a request"));
        };
        if is_for_reads.is_some_and(|is_for_reads| is_for_reads != asked.read.is_some()) {
            self.violated(Property::OneAnswerARequest, format!("{id} says {news} to another kind of request"));
        }
        match news {
            Action::TransferDone { .. } => self.mark("transfer"),
            Action::TransferFailed { .. } => self.mark("failed transfer"),
            _ => {}
        }
        if let (Action::ReadReady { index, .. }, Some(newest)) = (news, asked.read) {
            self.mark("read");
            if *index < newest {
                let how = format!("{id} says {news}, but {newest} was committed before it was asked");
                self.violated(Property::LinearizableReads, how);
            }
        }
    }

    /// Records that a node went down: its requests get no answer.
    pub(crate) fn crashed(&mut self, id: NodeId) {
        self.mark("crash");
        self.asked.retain(|_, asked| asked.node != id);
    }

    /// The number of requests that wait for an answer from this node.
    pub(crate) fn waiting(&self, id: NodeId) -> usize {
        self.asked.values().filter(|asked| asked.node == id).count()
    }
}
