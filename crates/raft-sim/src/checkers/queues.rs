//! The messages of a node and its queues stay within their limits, and each quota is zero when its queue is empty.
//!
//! A call appears as several records with one number, its inputs first, all with the view after it. The state before a
//! call and its inputs are known when the next call begins: then the whole call is checked.
//!
//! A quota that is not empty and never returns to zero shows only when the cluster is idle: `world/idle.rs` lets a healed
//! cluster become idle after the end of the run, and reports under the same name.
//!
//! It is the first to catch: a size limit that is ignored or applied to the wrong side of the first entry; a quota that
//! leaks, so that a node answers `Busy` from then on. No other checker depends on it.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{Caps, InFlight, Internals, NodeView, Quotas, Record, RecordKind};
use crate::scenario::model::{Limits, Scenario};
use raft_core::{LogIndex, NodeId, Payload, RoleKind, Rpc, Write, WriteId};
use raft_node::{ForwardEnd, InboxLoad, NodeLoad};
use std::collections::BTreeMap;

pub(crate) const NAME: &str = "queues";

#[derive(Clone)]
pub(super) struct Queues {
    max_append_bytes: u64,
    max_inflight_messages: usize,
    processes: BTreeMap<NodeId, Process>,
}

/// The known facts about a process.
#[derive(Clone, Default)]
struct Process {
    /// The newest call of the process.
    call: Option<Call>,
    /// The newest write that it has emitted, and the newest that was reported durable.
    asked: WriteId,
    persisted: WriteId,
    /// The size of the biggest append that it has sent, and of the biggest entry that it has written.
    biggest_append: u64,
    biggest_entry: u64,
}

/// A call of a node, and the node's state after it.
#[derive(Clone, Copy)]
struct Call {
    number: u64,
    /// The first record of the call, and the newest one.
    first: u64,
    newest: u64,
    leads: bool,
    commit: LogIndex,
    last: LogIndex,
    applied: LogIndex,
    in_flight: InFlight,
    quotas: Quotas,
    /// The bytes of the entries that the node accepted in this call, from the last command on; 0 without a command.
    command_bytes: u64,
    /// Whether it accepted any.
    took_entries: bool,
    /// The size of the biggest append that it received.
    received: u64,
    internal: Internal,
    /// The requests that waited for a leader's reply before the call.
    forwarded_before: usize,
    /// Whether it forwarded a request, and whether it refused to, because of its limits.
    forwards: bool,
    over_limit: bool,
}

/// The use of the limits that the node and its cache have.
#[derive(Clone, Copy)]
struct Internal {
    cached_bytes: u64,
    load: NodeLoad,
    caps: Caps,
}

impl Internal {
    const fn of(view: &NodeView) -> Self {
        let Internals { cached_bytes, load, caps, .. } = view.internals.0;
        Self { cached_bytes, load, caps }
    }

    /// `in_flight`: the bytes of entries that wait for the disk or the state machine, at most.
    fn beyond_limits(&self, in_flight: u64) -> Option<String> {
        let Self { cached_bytes, load, caps } = self;
        let limit = caps.cached_bytes.saturating_add(in_flight);
        if *cached_bytes > limit {
            return Some(format!("has {cached_bytes} B of entries in memory; the limit is {limit} B"));
        }
        if load.forwarded_requests > caps.forwarded_requests {
            let (number, limit) = (load.forwarded_requests, caps.forwarded_requests);
            return Some(format!("has forwarded {number} requests; the limit is {limit}"));
        }
        if load.forwarded_requests > 1 && load.forwarded_bytes > caps.forwarded_bytes {
            let (bytes, limit) = (load.forwarded_bytes, caps.forwarded_bytes);
            return Some(format!("has forwarded requests of {bytes} B; the limit is {limit} B"));
        }
        let (sessions, limit) = (load.sessions, caps.sessions);
        (sessions > limit).then(|| format!("has {sessions} sessions; the limit is {limit}"))
    }
}

impl Call {
    fn new(record: &Record, view: &NodeView, forwarded_before: usize) -> Self {
        Self {
            number: record.call,
            first: record.number,
            newest: record.number,
            leads: view.role == RoleKind::Leader,
            commit: view.commit,
            last: view.last.index,
            applied: view.applied,
            in_flight: view.in_flight,
            quotas: view.quotas,
            command_bytes: 0,
            took_entries: false,
            received: 0,
            internal: Internal::of(view),
            forwarded_before,
            forwards: false,
            over_limit: false,
        }
    }
}

impl Queues {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            max_append_bytes: scenario.raft.max_append_bytes,
            max_inflight_messages: scenario.raft.max_inflight_messages,
            processes: BTreeMap::new(),
        }
    }

    /// The limit that a whole call violates, with its records.
    fn check_call(node: NodeId, process: &Process, limits: &Limits, max_inflight: usize) -> Option<Violation> {
        let call = process.call?;
        let message = call
            .beyond_limits(process, limits, max_inflight)
            .or_else(|| call.leaks(process.asked == process.persisted))?;
        let mut facts = vec![call.first, call.newest];
        facts.dedup();
        Some(Violation { property: NAME, message: format!("{node} {message}"), facts })
    }
}

impl Call {
    fn beyond_limits(&self, process: &Process, limits: &Limits, max_inflight_messages: usize) -> Option<String> {
        let Self { quotas, command_bytes, received, .. } = *self;
        // An append leaves while fewer bytes than the limit are in flight.
        let inflight = limits.max_inflight_bytes.saturating_add(process.biggest_append);
        let applying = limits.max_apply_bytes.max(process.biggest_entry);
        // The same holds for entries. A new leader always appends its no-op and the end of a joint configuration.
        let full = |bytes: u64, limit: u64, taken: u64| taken > 0 && bytes >= limit.saturating_add(taken);
        let commands = if self.leads { command_bytes } else { 0 };
        let appends = if self.took_entries && !self.leads { received } else { 0 };
        let said = |what: &str, bytes: u64, limit: u64| Some(format!("{what} {bytes} B; the limit is {limit} B"));
        if quotas.inflight_messages > max_inflight_messages {
            let number = quotas.inflight_messages;
            return Some(format!("has {number} appends in flight to a peer; the limit is {max_inflight_messages}"));
        }
        if quotas.pending_reads > limits.max_pending_reads {
            let (number, limit) = (quotas.pending_reads, limits.max_pending_reads);
            return Some(format!("has {number} reads waiting; the limit is {limit}"));
        }
        if quotas.inflight_messages > 1 && quotas.inflight_bytes >= inflight {
            return said("has in flight to a peer", quotas.inflight_bytes, limits.max_inflight_bytes);
        }
        if quotas.applying_bytes > applying {
            return said("has its state machine apply", quotas.applying_bytes, limits.max_apply_bytes);
        }
        if full(quotas.uncommitted_bytes, limits.max_uncommitted_bytes, commands) {
            return said("takes a command with uncommitted", quotas.uncommitted_bytes, limits.max_uncommitted_bytes);
        }
        if full(quotas.unpersisted_bytes, limits.max_unpersisted_bytes, commands) {
            let (bytes, limit) = (quotas.unpersisted_bytes, limits.max_unpersisted_bytes);
            return said("takes a command with a disk queue of", bytes, limit);
        }
        if full(quotas.unpersisted_bytes, limits.max_unpersisted_bytes, appends) {
            let (bytes, limit) = (quotas.unpersisted_bytes, limits.max_unpersisted_bytes);
            return said("takes entries of its leader with a disk queue of", bytes, limit);
        }
        if self.over_limit && self.forwarded_before == 0 && !self.forwards {
            return Some("has forwarded no request, and forwards no more because of its limits".to_string());
        }
        let waits = quotas.unpersisted_bytes.saturating_add(applying).saturating_add(process.biggest_entry);
        self.internal.beyond_limits(waits)
    }

    /// A quota that is not zero although its queue is empty.
    fn leaks(&self, all_persisted: bool) -> Option<String> {
        let Self { quotas, in_flight, internal: Internal { load, .. }, .. } = self;
        let rules = [
            (in_flight.messages == 0, in_flight.bytes, "has no append in flight", "in flight"),
            (self.commit == self.last, quotas.uncommitted_bytes, "has committed all of its log", "uncommitted"),
            (self.commit == self.applied, quotas.applying_bytes, "has applied all that is committed", "not applied"),
            (all_persisted, quotas.unpersisted_bytes, "has no write in flight", "waiting for the disk"),
            (all_persisted, load.reserved_bytes, "has no write in flight", "taken from the reserve"),
            (load.forwarded_requests == 0, load.forwarded_bytes, "has forwarded no request", "forwarded"),
        ];
        let (_, bytes, why, what) = rules.iter().find(|(nothing, bytes, ..)| *nothing && *bytes > 0)?;
        Some(format!("{why} and counts {bytes} B as {what}"))
    }
}

impl Process {
    fn observe(&mut self, record: u64, what: &RecordKind) {
        let Some(call) = &mut self.call else { return };
        call.newest = record;
        match what {
            RecordKind::Received { rpc: Rpc::AppendEntries(append), .. } => {
                call.received = call.received.max(append.entries.size());
            }
            RecordKind::Sent { rpc: Rpc::AppendEntries(append), .. } => {
                self.biggest_append = self.biggest_append.max(append.entries.size());
            }
            RecordKind::RequestForwarded { .. } => call.forwards = true,
            RecordKind::ForwardEnded { why: ForwardEnd::OverLimit, .. } => call.over_limit = true,
            RecordKind::Persisted { write, .. } => self.persisted = self.persisted.max(*write),
            RecordKind::Asked { write } => {
                self.asked = write.id;
                let biggest = write.entries.iter().map(raft_core::Entry::size).max().unwrap_or(0);
                self.biggest_entry = self.biggest_entry.max(biggest);
                call.took_entries |= !write.entries.is_empty();
                call.command_bytes += from_last_command(write);
            }
            _ => {}
        }
    }
}

/// The bytes of a write's entries from the last command on; 0 if there is none.
fn from_last_command(write: &Write) -> u64 {
    let is_command = |entry: &raft_core::Entry| matches!(entry.payload, Payload::Command(_));
    let place = write.entries.iter().rposition(is_command);
    place.map_or(0, |place| write.entries.iter().skip(place).map(raft_core::Entry::size).sum())
}

impl Property for Queues {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        let limits = ghost.node(node)?.limits;
        if let RecordKind::Started { .. } | RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. } = record.kind
        {
            self.processes.remove(&node);
            return None;
        }
        let view = record.view.as_ref()?;
        if record.call == 0 {
            let InboxLoad { messages, requests, .. } = view.internals.0.inbox;
            let what = match record.kind {
                RecordKind::MessageDropped { .. } if messages + requests == 0 => "drops a message",
                RecordKind::RequestRefused { .. } if requests == 0 => "refuses a request",
                _ => return None,
            };
            return Some(fact.contradicts(NAME, record.number, format!("{node} {what} although its inbox is empty")));
        }
        let process = self.processes.entry(node).or_default();
        if process.call.is_none_or(|call| call.number != record.call) {
            if let Some(violation) = Self::check_call(node, process, &limits, self.max_inflight_messages) {
                return Some(violation);
            }
            let before = process.call.map_or(0, |call| call.internal.load.forwarded_requests);
            process.call = Some(Call::new(record, view, before));
        }
        process.observe(record.number, &record.kind);
        match &record.kind {
            RecordKind::Sent { to, rpc: Rpc::AppendEntries(append), .. } => {
                let (entries, size, limit) = (&append.entries, append.entries.size(), self.max_append_bytes);
                (entries.len() > 1 && size > limit).then(|| {
                    let message =
                        format!("{node} sends {to} {entries} of {size} B in one append; the limit is {limit} B");
                    fact.contradicts(NAME, record.number, message)
                })
            }
            RecordKind::Applied { entries, .. } => {
                let (size, limit) = (entries.size(), limits.max_apply_bytes);
                (entries.len() > 1 && size > limit).then(|| {
                    let message = format!("{node} applies {entries} of {size} B at once; the limit is {limit} B");
                    fact.contradicts(NAME, record.number, message)
                })
            }
            _ => None,
        }
    }

    fn finish(&mut self, ghost: &Ghost) -> Option<Violation> {
        let max_inflight = self.max_inflight_messages;
        let mut processes = self.processes.iter();
        processes.find_map(|(id, process)| Self::check_call(*id, process, &ghost.node(*id)?.limits, max_inflight))
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;
    use raft_core::EntryId;

    fn queues() -> Queues {
        Queues::new(&scenario())
    }

    fn big(index: u64) -> raft_core::Entry {
        command(index, 2, Bytes::from(vec![0; 1000]))
    }

    /// A call after which n1 has these quotas.
    fn call(script: &mut Script, change: impl FnOnce(&mut Quotas)) {
        script.step(1, |view| change(&mut view.quotas));
    }

    #[test]
    fn two_entries_beyond_the_limit_fire() {
        let mut script = Script::led();
        script.send(1, 2, append(2, EntryId::new(2, 2), 2, vec![big(3), noop(4, 2)]));
        assert_fires(queues(), NAME, &script, "n1 sends n2 [3@2..4@2] of 1048 B");
        let mut script = Script::limited(1, |limits| limits.max_apply_bytes = 40);
        script.apply(1, vec![noop(1, 1), noop(2, 2)], 0);
        assert_fires(queues(), NAME, &script, "n1 applies [1@1..2@2] of 48 B at once");
    }

    #[test]
    fn one_big_entry_is_silent() {
        let mut script = Script::legal();
        script.send(2, 1, append(3, EntryId::new(3, 3), 3, vec![big(4)]));
        assert_silent(queues(), &script);
        let mut script = Script::limited(1, |limits| limits.max_apply_bytes = 1);
        script.apply(1, vec![noop(2, 2)], 0);
        call(&mut script, |quotas| quotas.applying_bytes = 0);
        assert_silent(queues(), &script);
    }

    #[test]
    fn windows_and_reads_beyond_their_limits_fire() {
        let mut script = Script::limited(1, |limits| limits.max_pending_reads = 2);
        call(&mut script, |quotas| quotas.pending_reads = 2);
        assert_silent(queues(), &script);
        call(&mut script, |quotas| quotas.pending_reads = 3);
        assert_fires(queues(), NAME, &script, "n1 has 3 reads waiting; the limit is 2");
        // The biggest append so far had a no-op of 24 bytes.
        let mut script = Script::limited(1, |limits| limits.max_inflight_bytes = 30);
        let on_way = |script: &mut Script, messages: usize, bytes| {
            script.step(1, |view| {
                (view.in_flight.messages, view.in_flight.bytes) = (messages as u64, bytes);
                (view.quotas.inflight_messages, view.quotas.inflight_bytes) = (messages, bytes);
            });
        };
        on_way(&mut script, 2, 53);
        assert_silent(queues(), &script);
        on_way(&mut script, 3, 54);
        assert_fires(queues(), NAME, &script, "n1 has in flight to a peer 54 B");
        let mut script = Script::led();
        on_way(&mut script, 5, 5);
        assert_fires(queues(), NAME, &script, "n1 has 5 appends in flight to a peer; the limit is 4");
    }

    /// n1 accepts a command of 26 bytes, with these bytes uncommitted and waiting for the disk afterwards.
    fn takes(script: &mut Script, uncommitted: u64, unpersisted: u64) {
        script.step(1, |view| {
            view.last = EntryId::new(3, 2);
            (view.quotas.uncommitted_bytes, view.quotas.unpersisted_bytes) = (uncommitted, unpersisted);
        });
        script.ask(1, None, None, vec![command(3, 2, Bytes::from_static(b"ab"))]);
    }

    #[test]
    fn a_leader_that_takes_more_than_may_wait_fires() {
        let limited =
            || Script::limited(1, |limits| (limits.max_uncommitted_bytes, limits.max_unpersisted_bytes) = (10, 20));
        for (uncommitted, unpersisted, words) in [
            (35, 45, ""),
            (36, 45, "n1 takes a command with uncommitted 36 B; the limit is 10 B"),
            (35, 46, "n1 takes a command with a disk queue of 46 B; the limit is 20 B"),
        ] {
            let mut script = limited();
            takes(&mut script, uncommitted, unpersisted);
            assert_says(queues(), NAME, &script, words);
        }
    }

    #[test]
    fn a_follower_that_takes_more_than_may_wait_fires() {
        let mut script = Script::limited(3, |limits| limits.max_unpersisted_bytes = 1);
        let takes = |script: &mut Script, index, unpersisted| {
            script.step(3, |view| view.quotas.unpersisted_bytes = unpersisted);
            let rpc = append(2, EntryId::new(index - 1, 2), 1, vec![noop(index, 2)]);
            script.newest().kind = RecordKind::Received { from: NodeId(1), rpc };
            script.ask(3, None, None, vec![noop(index, 2)]);
        };
        takes(&mut script, 2, 24);
        assert_silent(queues(), &script);
        takes(&mut script, 3, 48);
        assert_fires(queues(), NAME, &script, "n3 takes entries of its leader with a disk queue of");
    }

    #[test]
    fn the_limits_of_the_node_fire() {
        type Beyond = (fn(&mut Internals), &'static str);
        let beyond: [Beyond; 5] = [
            (|it| it.load.forwarded_requests = 4, "n1 has forwarded 4 requests; the limit is 3"),
            (|it| (it.load.forwarded_requests, it.load.forwarded_bytes) = (2, 9), "n1 has forwarded requests of 9 B"),
            (|it| it.load.sessions = 3, "n1 has 3 sessions; the limit is 2"),
            (|it| it.cached_bytes = 1 << 40, "n1 has 1099511627776 B of entries in memory"),
            (|it| it.load.forwarded_requests = 3, ""),
        ];
        for (change, words) in beyond {
            let mut script = Script::led();
            script.step(1, |view| {
                let it = &mut view.internals.0;
                it.caps = Caps { cached_bytes: 100, forwarded_requests: 3, forwarded_bytes: 8, sessions: 2 };
                change(it);
            });
            assert_says(queues(), NAME, &script, words);
        }
    }

    #[test]
    fn a_refusal_with_nothing_in_the_way_fires() {
        let over_limit = RecordKind::ForwardEnded { id: raft_core::RequestId(7), why: ForwardEnd::OverLimit };
        for (forwarded, words) in [(0, "n1 has forwarded no request, and forwards no more"), (1, "")] {
            let mut script = Script::led();
            script.step(1, |view| {
                view.internals.0.caps.forwarded_requests = 1;
                view.internals.0.load.forwarded_requests = forwarded;
            });
            script.step(1, |_| {});
            script.push(Some(1), over_limit.clone());
            assert_says(queues(), NAME, &script, words);
        }
        for (requests, words) in [(0, "n1 refuses a request although its inbox is empty"), (1, "")] {
            let mut script = Script::led();
            script.step(1, |view| view.internals.0.inbox.requests = requests);
            script.push(Some(1), RecordKind::RequestRefused { id: raft_core::RequestId(7) });
            script.newest().call = 0;
            assert_says(queues(), NAME, &script, words);
        }
    }

    #[test]
    fn a_quota_that_leaks_fires() {
        type Leak = (fn(&mut NodeView), &'static str);
        let leaks: [Leak; 6] = [
            (|view| view.internals.0.load.reserved_bytes = 8, "n1 has no write in flight and counts 8 B as taken from"),
            (|view| view.internals.0.load.forwarded_bytes = 8, "n1 has forwarded no request and counts 8 B as"),
            (|view| view.quotas.uncommitted_bytes = 8, "n1 has committed all of its log and counts 8 B as uncommitted"),
            (|view| view.quotas.unpersisted_bytes = 8, "n1 has no write in flight and counts 8 B as waiting"),
            (|view| view.in_flight.bytes = 8, "n1 has no append in flight and counts 8 B"),
            (
                |view| (view.applied, view.quotas.applying_bytes) = (LogIndex(2), 8),
                "n1 has applied all that is committed and counts 8 B as not applied",
            ),
        ];
        for (leak, words) in leaks {
            let mut script = Script::led();
            script.step(1, leak);
            assert_fires(queues(), NAME, &script, words);
        }
    }
}
