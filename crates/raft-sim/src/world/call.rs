//! The call of a node: its inputs, its outputs, and the execution of each output.
//!
//! Inputs wait in the node's inbox ([`raft_node::Inbox`]) until its thread takes them: at once, after further events of
//! the same time, or when the thread is free again. The border between two calls is not fixed, and legal runs differ in
//! it.

// A new kind of input, output or report needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use super::{Emission, Event, NodeEvent, World};
use crate::faults::Fault;
use crate::record::{RecordKind, SimTime};
use crate::rng::Site;
use crate::scenario::refusals::of_campaign;
use crate::world::host::{Armed, Host, RecordedInput};
use crate::world::refusals::Act;
use raft_core::{Cause, Event as CoreEvent, RejectReason, StopReason};
use raft_node::{NodeInput, NodeOutput, Reply, Report};
use std::time::Duration;

/// How long a removed node's host takes to end its process.
const REMOVED_ENDS: Duration = Duration::from_millis(1);

const BATCH: Site = Site::new("batch");
const DISK_LATER: Site = Site::new("disk looks later");
const BUSY: Site = Site::new("busy process");
const BUSY_FOR: Site = Site::new("busy process for");

impl World {
    /// Puts an input into a node's inbox. If the inbox is full, it drops a message and refuses a request.
    pub(crate) fn enqueue(&mut self, host: &mut Host, recorded: RecordedInput) {
        let Some(process) = &mut host.process else { return };
        let RecordedInput { cause, kind, input } = recorded;
        let Err(refused) = process.inbox.push(input, (cause, kind)) else { return };
        self.emissions.push(Emission::View(host.view()));
        match refused.0 {
            NodeInput::Request { id, .. } => {
                let refused = self.emit(cause, Some(host.id), RecordKind::RequestRefused { id });
                self.answer(host.id, (id, Reply::Rejected { reason: RejectReason::Busy }), refused);
            }
            NodeInput::ForwardedRequest { from, request } => {
                let dropped = self.emit(cause, Some(host.id), RecordKind::MessageDropped { from });
                self.send_forwarded_reply(host, dropped, from, request.busy());
            }
            NodeInput::Receive { from, .. }
            | NodeInput::SnapshotMessage { from, .. }
            | NodeInput::ForwardedReply { from, .. } => {
                self.emit(cause, Some(host.id), RecordKind::MessageDropped { from });
            }
            NodeInput::Tick
            | NodeInput::CancelWatch { .. }
            | NodeInput::NotForwarded { .. }
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

    /// Makes a node campaign or take a snapshot, as a scenario requests. A paused node gets no such order.
    pub(crate) fn order(&mut self, host: &mut Host, kind: RecordKind, input: NodeInput) {
        if !host.paused {
            self.enqueue(host, RecordedInput::new(None, kind, input));
            self.wake(host);
        }
    }

    /// Handles a possible new input: the node's thread takes it now, after further events of this time, or when it is
    /// free.
    pub(super) fn wake(&mut self, host: &mut Host) {
        let Some(process) = &mut host.process else { return };
        if process.busy || (process.inbox.is_empty() && !process.timer_due) {
            return;
        }
        host.calls += 1;
        let (id, n) = (host.id, host.calls);
        let model = &self.scenario.process;
        // A healed node has good links, a fast disk and a free thread, so that the time of a catch-up is bounded.
        let is_healed = self.swarm.as_ref().and_then(|swarm| swarm.healed.as_ref());
        let busy_ppm = if is_healed.is_some_and(|healed| healed.nodes.contains(&id)) { 0 } else { model.busy_ppm };
        let busy_for = (busy_ppm > 0 && self.choices.draw(BUSY, id.0, n).chance_ppm(busy_ppm))
            .then(|| self.choices.draw(BUSY_FOR, id.0, n).in_range(&model.busy));
        if let Some(busy_for) = self.scheduling.next(id).or(busy_for) {
            process.busy = true;
            let incarnation = host.incarnation;
            self.plan_after(busy_for, Event::Node(id, NodeEvent::Wake { incarnation }));
        } else if !self.waits_for_next_event(host) {
            self.call(host);
        }
    }

    /// A node's thread is no longer busy.
    pub(super) fn thread_free(&mut self, host: &mut Host) {
        host.process.iter_mut().for_each(|process| process.busy = false);
        self.call(host);
    }

    /// Whether the next event brings the same node an input at the same time, and a random choice puts both into one
    /// call.
    fn waits_for_next_event(&mut self, host: &Host) -> bool {
        let Some((place, Event::Node(node, event))) = self.queue.peek() else { return false };
        let brings = *node == host.id && event.brings_input() && place.at == self.now;
        brings && self.choices.draw(BATCH, host.id.0, host.calls).chance_ppm(250_000)
    }

    /// Handles a timer event of the running process. Deadlines move with every message. Instead of one event for each
    /// move, a timer event that comes too early plans the next one.
    pub(super) fn timer(&mut self, host: &mut Host) {
        let clock = host.clock;
        let Some(process) = host.process.as_mut().filter(|process| process.timer == Some(self.now)) else { return };
        process.timer = None;
        if process.node.deadline().is_some_and(|deadline| clock.when(deadline) <= self.now) {
            process.timer_due = true;
            if !clock.is_true() {
                self.fault_counts.note_effect(Fault::ClockDrift);
            }
        } else {
            self.arrange_timer(host);
        }
    }

    /// Plans the timer event of the node's deadline, unless an earlier one is planned.
    pub(crate) fn arrange_timer(&mut self, host: &mut Host) {
        let Some(process) = &mut host.process else { return };
        let Some(deadline) = process.node.deadline() else { return };
        let at = host.clock.when(deadline).max(self.now);
        if at == SimTime(u64::MAX) || process.timer.is_some_and(|planned| planned <= at) {
            return;
        }
        process.timer = Some(at);
        let incarnation = host.incarnation;
        self.plan(at, Event::Node(host.id, NodeEvent::Timer { incarnation }));
    }

    /// Makes one call: all inputs that wait, then all outputs in order, unless a crash fires among them.
    fn call(&mut self, host: &mut Host) {
        let Some(process) = &mut host.process else { return };
        if process.inbox.is_empty() && !process.timer_due {
            return;
        }
        let (mut batch, mut outputs) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.outputs));
        let (clock, now) = (host.clock, self.now);
        let time = process.inbox.take(&mut batch, || clock.read(now));
        if std::mem::take(&mut process.timer_due) {
            batch.push((NodeInput::Tick, (None, RecordKind::TimerFired)));
        }
        let mut kinds = Vec::with_capacity(batch.len());
        let inputs = batch.drain(..).map(|(input, recorded)| {
            kinds.push(recorded);
            input
        });
        process.node.step(time, inputs, &mut outputs);
        self.batch = batch;
        self.calls += 1;
        self.call = self.calls;
        // An idle disk begins with the first task of the call, or waits until all tasks are queued.
        process.disk_looks_later = self.choices.draw(DISK_LATER, host.id.0, host.calls).chance_ppm(500_000);
        let armed = host.armed.take_if(|_| !outputs.is_empty());
        host.outputs += outputs.len() as u64;
        self.emissions.push(Emission::View(host.view()));
        let mut input = 0;
        for (cause, kind) in kinds {
            input = self.emit(cause, Some(host.id), kind);
        }
        let count = outputs.len();
        let fires = armed.as_ref().map_or(count, |armed| count.min(armed.after as usize));
        for output in outputs.drain(..).take(fires) {
            self.carry_out(host, input, output);
        }
        self.outputs = outputs;
        self.call = 0;
        match armed {
            Some(armed) => self.fire(host, armed, fires < count),
            None => {
                host.process.iter_mut().for_each(|process| process.disk_looks_later = false);
                self.serve_disk(host);
                self.arrange_timer(host);
            }
        }
    }

    /// Fires the crash among the outputs of a call.
    fn fire(&mut self, host: &mut Host, armed: Armed, had_effect: bool) {
        self.fault_counts.inject(Fault::CrashAtBoundary);
        if had_effect {
            self.fault_counts.note_effect(Fault::CrashAtBoundary);
        }
        self.crash_armed(host, armed);
    }

    fn carry_out(&mut self, host: &mut Host, input: u64, output: NodeOutput) {
        match output {
            NodeOutput::Send { to, rpc } => self.send(host, input, to, rpc),
            NodeOutput::SendSnapshot { to, message } => self.send_snapshot(host, input, to, message),
            NodeOutput::Persist(write) => self.persist(host, input, write),
            NodeOutput::Disk(job) => self.push_job(host, input, job),
            NodeOutput::ForwardRequest { id, to, request } => self.forward(host, input, (id, to), request),
            NodeOutput::ForwardReply { to, reply } => self.send_forwarded_reply(host, input, to, reply),
            NodeOutput::Reply { id, reply } | NodeOutput::LeaderReply { id, reply, .. } => {
                let replied = self.emit(Some(input), Some(host.id), RecordKind::Replied { id, reply: reply.clone() });
                self.answer(host.id, (id, reply), replied);
            }
            NodeOutput::Report(report) => self.report(host, input, report),
        }
    }

    fn report(&mut self, host: &mut Host, input: u64, report: Report) {
        let kind = match report {
            Report::Applied { entries, state_hash } => RecordKind::Applied { entries, state_hash },
            Report::ConfigurationChanged { configuration, at, committed } => {
                if committed {
                    self.configurations.committed(at, &configuration);
                    self.start_added_again();
                }
                RecordKind::ConfigurationChanged { configuration, at, committed }
            }
            Report::Stopped { reason } => {
                if let StopReason::Removed { .. } = reason {
                    let (node, incarnation) = (host.id, host.incarnation);
                    self.plan_after(REMOVED_ENDS, Event::RemovedEnds { node, incarnation });
                }
                RecordKind::Stopped { reason }
            }
            Report::ForwardEnded { id, why } => RecordKind::ForwardEnded { id, why },
            Report::Observed(event) => {
                if let Some(names) = campaign_answer(&event) {
                    self.refusals.answered(Act::Campaign(host.id), names, &event, self.now);
                }
                RecordKind::Observed(event)
            }
            // Every node of a world is observed.
            Report::Restored { meta, state_hash } => {
                RecordKind::Restored { meta, state_hash: state_hash.unwrap_or_default() }
            }
            Report::SnapshotRefused { from, meta, error } => RecordKind::SnapshotRefused { from, meta, error },
            Report::SnapshotUnreadable { meta, error } => {
                return self.store_failed(host, &format!("the snapshot of {} cannot be read: {error}", meta.last));
            }
            // Both are in every view.
            Report::LeadershipLost { .. } | Report::LeaderChanged { .. } => return,
        };
        self.emit(Some(input), Some(host.id), kind);
    }

    /// Handles an event without a process: if a process was to receive it, the crash that ended the last process had an
    /// effect.
    pub(super) fn missed(&mut self, host: &Host, event: &NodeEvent) {
        let was_expected = match event {
            NodeEvent::Deliver(_) | NodeEvent::Timer { .. } => true,
            NodeEvent::Request { id, .. } => !self.is_withdrawn(*id),
            NodeEvent::DiskDone { .. }
            | NodeEvent::CancelBackup { .. }
            | NodeEvent::CancelWatch { .. }
            | NodeEvent::Forged(_)
            | NodeEvent::Unreachable { .. }
            | NodeEvent::NotForwarded { .. }
            | NodeEvent::Wake { .. } => false,
        };
        if let Some(crash) = host.downed_by.filter(|_| was_expected) {
            self.fault_counts.note_effect(crash.fault());
        }
    }
}

/// The names of the refusal of an order to campaign, none if the node campaigns; `None` for other events.
#[allow(clippy::wildcard_enum_match_arm)] // Other events answer no order.
const fn campaign_answer(event: &CoreEvent) -> Option<&'static [&'static str]> {
    match event {
        CoreEvent::CampaignRefused { reason } => Some(of_campaign(*reason)),
        CoreEvent::BecameRole { cause: Cause::CampaignRequested, .. } => Some(&[]),
        _ => None,
    }
}
