//! Processes that pause and resume: a stopped virtual machine, a long garbage collection, a laptop's lid.
//!
//! A paused node is not called, but its clock continues. Its events wait as in a socket's buffer, and happen in order
//! when the node resumes. They are lost if its process ends. To all others a paused node seems isolated, until its late
//! answers arrive.

use crate::faults::Fault;
use crate::faults::swarm::only;
use crate::rng::Site;
use crate::scenario::model::StepAction;
use crate::world::host::Host;
use crate::world::{Event, NodeEvent, World};
use std::time::Duration;

const AT_ONCE: Site = Site::new("resumed process");

impl World {
    /// Pauses a process. It has no effect if the process is down or paused already.
    pub(crate) fn pause(&mut self, host: &mut Host) {
        if host.process.is_some() {
            host.paused = true;
            self.fault_counts.inject(Fault::Pause);
        }
    }

    /// Resumes a process: first with its waiting events, then with its timers.
    pub(crate) fn resume(&mut self, host: &mut Host) {
        if !host.paused {
            return;
        }
        host.paused = false;
        self.end_suspension(host);
        // Its timer event may have passed meanwhile.
        host.process.iter_mut().for_each(|process| process.timer = None);
        for event in std::mem::take(&mut host.paused_queue) {
            self.plan(self.now, Event::Node(host.id, event));
        }
        self.take_all_at_once(host);
        self.arrange_timer(host);
    }

    /// Decides whether a resumed process takes everything that waits for it in one call, timers too.
    fn take_all_at_once(&mut self, host: &mut Host) {
        let ppm = self.scenario.process.resume_batch_ppm;
        let Some(process) = &mut host.process else { return };
        if ppm > 0 && self.choices.draw(AT_ONCE, host.id.0, host.calls).chance_ppm(ppm) {
            process.busy = true;
            let wake = NodeEvent::Wake { incarnation: host.incarnation };
            self.plan(self.now, Event::Node(host.id, wake));
        }
    }

    /// Keeps an event of a paused node for later.
    pub(crate) fn hold(&mut self, host: &mut Host, event: NodeEvent) {
        // `resume` plans a timer again. A stranger does not wait.
        if matches!(event, NodeEvent::Timer { .. } | NodeEvent::Forged(_)) || self.is_lost_in_suspension(host, &event) {
            return;
        }
        if host.suspended.is_none() {
            self.fault_counts.note_effect(Fault::Pause);
        }
        host.paused_queue.push(event);
    }

    /// A leader that pauses and resumes is the most important case: it still believes that it leads.
    pub(crate) fn swarm_pause(&mut self, n: u64, length: Duration) {
        let leader = if self.detail(n, 1).chance_ppm(500_000) { self.leader() } else { None };
        let node = leader.unwrap_or(self.drawn_node(n));
        self.strike(StepAction::Pause { nodes: only(node) }, Some(length));
    }
}
