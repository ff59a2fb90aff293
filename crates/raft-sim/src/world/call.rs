//! Calling a node: what goes in, what comes out, and how each output is carried out.
//!
//! What arrives waits in the node's inbox ([`raft_node::Inbox`]) until its thread looks: at once, after what comes at the same
//! moment, or when it has done what keeps it busy. Where one call ends and the next begins is free, and legal runs differ in it.

// A new kind of input, output or job is decided about here, not lost.
#![warn(clippy::wildcard_enum_match_arm)]

use super::peers::Sender;
use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::record::{CrashKind, RecordKind, SimTime, Verdict};
use crate::rng::Site;
use crate::world::host::{Host, Process, RecordedInput};
use crate::world::network::{Copy, Link};
use bytes::Bytes;
use raft_core::{NodeId, RejectReason, RequestId, Rpc};
use raft_node::{NodeInput, NodeOutput, Reply, Report, Request};
use std::time::Duration;

const BATCH: Site = Site::new("batch");
const DISK_LATER: Site = Site::new("disk looks later");
const BUSY: Site = Site::new("busy process");
const NOTICED: Site = Site::new("loss noticed");
const NOTICED_LATER: Site = Site::new("loss noticed later");
const BUSY_FOR: Site = Site::new("busy process for");

impl World {
    /// A copy of a message arrives.
    pub(super) fn deliver(&mut self, copy: Copy, bytes: Bytes, cause: u64, sender: Sender) {
        let (from, node) = copy.link;
        if !self.is_up_or_missed(node) {
            return;
        }
        self.network.arrived(&mut self.fault_counts, &copy);
        match raft_proto::decode_rpc(bytes.clone()) {
            Ok(rpc) => {
                let kind = RecordKind::Received { from, rpc: rpc.clone() };
                self.give_from(
                    from,
                    sender,
                    node,
                    RecordedInput::new(Some(cause), kind, NodeInput::Receive { from, rpc }),
                );
            }
            Err(_) => {
                self.emissions.push(Emission::View(None));
                self.emit(Some(cause), Some(node), RecordKind::Garbage { from, bytes });
            }
        }
    }

    /// A client's request arrives.
    pub(super) fn request(&mut self, node: NodeId, id: RequestId, request: Request, cause: Option<u64>) {
        if !self.is_withdrawn(id) && self.is_up_or_missed(node) {
            let input = NodeInput::Request { id, request };
            self.give(node, RecordedInput::new(cause, RecordKind::Requested { id }, input));
        }
    }

    /// The node is told to campaign. One that is paused does not hear it.
    pub(crate) fn campaign(&mut self, node: NodeId) {
        if self.hosts.get(&node).is_some_and(|host| !host.paused) {
            self.give(node, RecordedInput::new(None, RecordKind::CampaignAsked, NodeInput::Campaign));
            self.wake(node);
        }
    }

    /// Puts something into a node's inbox, if it is up. A message for which there is no room is lost, a request is refused.
    pub(super) fn give(&mut self, node: NodeId, given: RecordedInput) {
        let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) else { return };
        let RecordedInput { cause, kind, input } = given;
        let Err(refused) = process.inbox.push(input, (cause, kind)) else { return };
        let view = self.hosts.get(&node).and_then(Host::view);
        self.emissions.push(Emission::View(view));
        match refused.0 {
            NodeInput::Request { id, .. } => {
                let refused = self.emit(cause, Some(node), RecordKind::RequestRefused { id });
                self.answer(id, Reply::Rejected { reason: RejectReason::Busy }, refused);
            }
            NodeInput::Receive { from, .. } | NodeInput::SnapshotMessage { from, .. } => {
                self.emit(cause, Some(node), RecordKind::MessageDropped { from });
            }
            NodeInput::Tick
            | NodeInput::CancelWatch { .. }
            | NodeInput::Campaign
            | NodeInput::Unreachable { .. }
            | NodeInput::Persisted { .. }
            | NodeInput::Space { .. }
            | NodeInput::LogRead { .. }
            | NodeInput::TakeSnapshot
            | NodeInput::SnapshotWritten { .. }
            | NodeInput::SnapshotRead { .. }
            | NodeInput::SnapshotLoaded { .. } => {}
        }
    }

    /// Something may have arrived for a node: its thread looks now, after what comes at this very moment, or when it is free.
    pub(super) fn wake(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        if process.busy || (process.inbox.is_empty() && !process.timer_due) {
            return;
        }
        host.calls += 1;
        let (n, incarnation) = (host.calls, host.incarnation);
        let model = &self.scenario.process;
        // Who is healed has good links, a fast disk and a thread of its own: how long a catch-up takes is then bounded.
        let is_healed = self.swarm.as_ref().and_then(|swarm| swarm.healed.as_ref());
        let busy_ppm = if is_healed.is_some_and(|healed| healed.nodes.contains(&node)) { 0 } else { model.busy_ppm };
        let mut busy_for = (busy_ppm > 0 && self.choices.draw(BUSY, node.0, n).chance_ppm(busy_ppm))
            .then(|| self.choices.draw(BUSY_FOR, node.0, n).in_range(&model.busy));
        if let Some(longer) = self.moments.next(node) {
            busy_for = Some(longer);
        }
        if let Some(busy_for) = busy_for {
            if let Some(process) = self.process_of(node, incarnation) {
                process.busy = true;
            }
            return self.plan_after(busy_for, Event::Wake { node, incarnation });
        }
        if !self.waits_for_what_comes_now(node) {
            self.call(node);
        }
    }

    /// A node's thread has done what kept it busy.
    pub(super) fn looks(&mut self, node: NodeId, incarnation: u64) {
        if let Some(process) = self.process_of(node, incarnation) {
            process.busy = false;
            self.call(node);
        }
    }

    /// Whether the next event brings the same node something at the same time, and the draw says that both are in one call.
    fn waits_for_what_comes_now(&mut self, node: NodeId) -> bool {
        let Some((place, event)) = self.queue.peek() else { return false };
        let brings = match event {
            Event::Deliver { copy, .. } | Event::DeliverSnapshot { copy, .. } => copy.link.1 == node,
            Event::Request { node: to, .. } | Event::DiskDone { node: to, .. } => *to == node,
            Event::Unreachable { node: to, .. } => *to == node,
            Event::Step(_)
            | Event::Swarm(_)
            | Event::Operator(_)
            | Event::Restart { .. }
            | Event::Wake { .. }
            | Event::Timer { .. }
            | Event::ClientWake { .. }
            | Event::Reply { .. } => false,
        };
        let sequence = place.sequence;
        brings && place.at == self.now && self.choices.draw(BATCH, node.0, sequence).chance_ppm(250_000)
    }

    /// A message is lost: the sender's transport may find out, some time later.
    pub(super) fn notice_loss(&mut self, (from, to): Link, verdict: Verdict, cause: u64) {
        let is_lost = !matches!(verdict, Verdict::Delivered { .. });
        let ppm = self.network.unreachable_ppm((from, to));
        if is_lost && ppm > 0 && self.choices.draw(NOTICED, from.0, cause).chance_ppm(ppm) {
            let late = Duration::ZERO..self.scenario.raft.election_timeout.end;
            let delay = self.choices.draw(NOTICED_LATER, from.0, cause).in_range(&late);
            self.plan_after(delay, Event::Unreachable { node: from, peer: to, cause });
        }
    }

    /// A peer cannot be reached, as far as the node's transport can tell.
    pub(super) fn unreachable(&mut self, node: NodeId, peer: NodeId, cause: u64) {
        self.give(
            node,
            RecordedInput::new(Some(cause), RecordKind::UnreachableTold { peer }, NodeInput::Unreachable { peer }),
        );
    }

    /// A timer event has come. Deadlines move with every message; instead of planning an event for each, the one that
    /// is planned plans the next when it comes too early.
    pub(super) fn timer(&mut self, node: NodeId, incarnation: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if host.incarnation != incarnation {
            return;
        }
        let clock = host.clock;
        let Some(process) = &mut host.process else {
            self.missed(node);
            return;
        };
        if process.timer != Some(self.now) {
            return;
        }
        process.timer = None;
        if process.node.deadline().is_some_and(|deadline| clock.when(deadline) <= self.now) {
            if !clock.is_true() {
                self.fault_counts.matter(Fault::ClockDrift);
            }
            process.timer_due = true;
        } else {
            self.arrange_timer(node);
        }
    }

    /// One call: all that waits, then all outputs in order, unless a crash strikes among them.
    fn call(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let waits = |process: &&mut Process| !process.inbox.is_empty() || process.timer_due;
        let Some(process) = host.process.as_mut().filter(waits) else { return };
        let mut batch = std::mem::take(&mut self.batch);
        let (clock, now) = (host.clock, self.now);
        let time = process.inbox.take(&mut batch, || clock.read(now));
        if std::mem::take(&mut process.timer_due) {
            batch.push((NodeInput::Tick, (None, RecordKind::TimerFired)));
        }
        let mut whats = Vec::with_capacity(batch.len());
        let mut outputs = std::mem::take(&mut self.outputs);
        let inputs = batch.drain(..).map(|(input, given)| {
            whats.push(given);
            input
        });
        process.node.step(time, inputs, &mut outputs);
        self.batch = batch;
        self.calls += 1;
        self.call = self.calls;
        let armed = host.armed.take_if(|_| !outputs.is_empty());
        host.outputs += outputs.len() as u64;
        self.emissions.push(Emission::View(host.view()));
        let mut input = 0;
        for (cause, kind) in whats {
            input = self.emit(cause, Some(node), kind);
        }
        // An idle disk begins with the first thing that the call asks for, or looks when all of it is there.
        if let Some(host) = self.hosts.get_mut(&node) {
            let looks_later = self.choices.draw(DISK_LATER, node.0, host.calls).chance_ppm(500_000);
            host.process.iter_mut().for_each(|process| process.disk_looks_later = looks_later);
        }
        let count = outputs.len();
        let strike = armed.as_ref().map_or(count, |armed| count.min(armed.after as usize));
        for output in outputs.drain(..).take(strike) {
            self.carry_out(node, input, output);
        }
        self.outputs = outputs;
        self.call = 0;
        match armed {
            Some(armed) => {
                self.fault_counts.inject(Fault::CrashAtBoundary);
                if strike < count {
                    self.fault_counts.matter(Fault::CrashAtBoundary);
                }
                self.crash(node, armed.crash, armed.keep);
                if let Some(delay) = armed.restart_after {
                    self.plan_restart(node, delay);
                }
            }
            None => {
                if let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) {
                    process.disk_looks_later = false;
                    self.serve_disk(node);
                }
                self.arrange_timer(node);
            }
        }
    }

    fn carry_out(&mut self, node: NodeId, input: u64, output: NodeOutput) {
        match output {
            NodeOutput::Send { to, rpc } => self.send(node, input, to, rpc),
            NodeOutput::SendSnapshot { to, message } => self.send_snapshot(node, input, to, message),
            NodeOutput::Persist(write) => self.persist(node, input, write),
            NodeOutput::Disk(job) => self.push_job(node, input, job),
            NodeOutput::Reply { id, reply } => {
                let replied = self.emit(Some(input), Some(node), RecordKind::Replied { id, reply: reply.clone() });
                self.answer(id, reply, replied);
            }
            NodeOutput::Report(report) => self.report(node, input, report),
        }
    }

    fn report(&mut self, node: NodeId, input: u64, report: Report) {
        let kind = match report {
            Report::Applied { entries, state_hash } => RecordKind::Applied { entries, state_hash },
            Report::ConfigurationChanged { configuration, at, committed } => {
                if committed {
                    self.configurations.committed(at, &configuration);
                }
                RecordKind::ConfigurationChanged { configuration, at, committed }
            }
            Report::Stopped { reason } => RecordKind::Stopped { reason },
            Report::Observed(event) => RecordKind::Observed(event),
            // Every node of a world is observed.
            Report::Restored { meta, state_hash } => {
                RecordKind::Restored { meta, state_hash: state_hash.unwrap_or_default() }
            }
            Report::SnapshotRefused { from, meta, error } => RecordKind::SnapshotRefused { from, meta, error },
            Report::SnapshotUnreadable { meta, error } => {
                return self.store_failed(node, &format!("the snapshot of {} cannot be read: {error}", meta.last));
            }
            // Both are in every view.
            Report::LeadershipLost { .. } | Report::LeaderChanged { .. } => return,
        };
        self.emit(Some(input), Some(node), kind);
    }

    /// Over the wire as bytes, so that the encoding is part of every run.
    fn send(&mut self, node: NodeId, input: u64, to: NodeId, rpc: Rpc) {
        let up = self.hosts.get(&to).is_some_and(|host| host.process.is_some());
        let sending = self.network.send(&mut self.choices, &mut self.fault_counts, (node, to), rpc.kind(), up);
        let bytes = sending.copies[0].map(|_| Bytes::from(raft_proto::encode_rpc(&rpc)));
        let cause = self.emit(Some(input), Some(node), RecordKind::Sent { to, rpc, verdict: sending.verdict });
        self.notice_loss((node, to), sending.verdict, cause);
        let Some(sender) = self.sender(node) else { return };
        for copy in sending.copies.into_iter().flatten() {
            if let Some(bytes) = bytes.clone() {
                self.plan_after(copy.delay, Event::Deliver { copy, bytes, cause, sender });
            }
        }
    }

    /// Has a node's clock run too fast by `ppm` parts per million from now on; 0 sets it right.
    pub(crate) fn set_drift(&mut self, node: NodeId, ppm: i32) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if ppm == 0 && host.clock.is_true() {
            return;
        }
        host.clock = host.clock.drifting(self.now, ppm);
        if ppm != 0 {
            self.fault_counts.inject(Fault::ClockDrift);
        }
        // A faster clock reaches its deadlines earlier; a planned event that comes too early plans the next.
        self.arrange_timer(node);
    }

    /// Plans the timer event of the node's deadline, unless one is planned that comes no later.
    pub(super) fn arrange_timer(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        let Some(deadline) = process.node.deadline() else { return };
        let at = host.clock.when(deadline).max(self.now);
        if at == SimTime(u64::MAX) || process.timer.is_some_and(|planned| planned <= at) {
            return;
        }
        process.timer = Some(at);
        let incarnation = host.incarnation;
        self.plan(at, Event::Timer { node, incarnation });
    }

    pub(super) fn process_of(&mut self, node: NodeId, incarnation: u64) -> Option<&mut Process> {
        let host = self.hosts.get_mut(&node).filter(|host| host.incarnation == incarnation)?;
        host.process.as_mut()
    }

    /// Whether the node is up; if not, something that was meant for it found nobody.
    pub(super) fn is_up_or_missed(&mut self, node: NodeId) -> bool {
        let up = self.hosts.get(&node).is_some_and(|host| host.process.is_some());
        if !up {
            self.missed(node);
        }
        up
    }

    fn missed(&mut self, node: NodeId) {
        match self.hosts.get(&node).and_then(|host| host.downed_by) {
            Some(CrashKind::Kill) => self.fault_counts.matter(Fault::Kill),
            Some(CrashKind::PowerLoss) => self.fault_counts.matter(Fault::PowerLoss),
            Some(CrashKind::DiskLoss) => self.fault_counts.matter(Fault::DiskWiped),
            Some(CrashKind::DiskRollback) => self.fault_counts.matter(Fault::DiskRolledBack),
            None => {}
        }
    }
}
