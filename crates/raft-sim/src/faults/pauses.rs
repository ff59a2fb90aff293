//! Processes that stand still and go on: a stopped virtual machine, a long garbage collection, a laptop's lid.
//!
//! A paused node is not called, and its clock runs on. Its events wait as they would in a socket's buffer, and happen in order
//! when the node goes on; they are lost if its process ends. To all others a paused node looks as if it were cut off, until its
//! answers come late.

use crate::faults::Fault;
use crate::faults::swarm::SwarmEvent;
use crate::world::host::Host;
use crate::world::{Event, NodeEvent, World};
use raft_core::NodeId;
use std::time::Duration;

impl World {
    /// Has a process stand still. Without effect if it is down or stands still already.
    pub(crate) fn pause(&mut self, host: &mut Host) {
        if host.process.is_some() {
            host.paused = true;
            self.fault_counts.inject(Fault::Pause);
        }
    }

    /// Has a process go on: first with its waiting events, then with its timers.
    pub(crate) fn resume(&mut self, host: &mut Host) {
        if !host.paused {
            return;
        }
        host.paused = false;
        // Its timer event may have come and gone meanwhile.
        host.process.iter_mut().for_each(|process| process.timer = None);
        for event in std::mem::take(&mut host.paused_queue) {
            self.plan(self.now, Event::Node(host.id, event));
        }
        self.arrange_timer(host);
    }

    /// Keeps an event of a paused node for later.
    pub(crate) fn hold(&mut self, host: &mut Host, event: NodeEvent) {
        // A timer is arranged anew.
        if !matches!(event, NodeEvent::Timer { .. }) {
            self.fault_counts.note_effect(Fault::Pause);
            host.paused_queue.push(event);
        }
    }

    /// A leader that stands still and goes on is the case that matters most: it still believes that it leads.
    pub(crate) fn swarm_pause(&mut self, n: u64, length: Duration) {
        let leader = if self.detail(n, 1).chance_ppm(500_000) { self.leader() } else { None };
        let node = leader.unwrap_or(self.drawn_node(n));
        self.emit_fault(format!("pause {node}"));
        self.on(node, Self::pause);
        self.plan_after(length, Event::Swarm(SwarmEvent::Resume(node)));
    }

    pub(crate) fn swarm_resume(&mut self, node: NodeId) {
        self.emit_fault(format!("resume {node}"));
        self.on(node, Self::resume);
    }
}
