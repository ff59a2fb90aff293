//! Processes that stand still and go on: a stopped virtual machine, a long collection of garbage, a laptop's lid.
//!
//! A paused node is called for nothing, and its clock runs on. What is meant for it waits as it would in a socket's
//! buffer, and is handed over in its order when the node goes on; with the process, what waits is gone. To all others
//! a paused node looks as if it were cut off, until its answers come late.

use super::{Event, World};
use crate::faults::Fault;
use raft_core::NodeId;

impl World {
    /// Has a process stand still. One that is down, or stands still already, stays as it is.
    pub(crate) fn pause(&mut self, node: NodeId) {
        if let Some(host) = self.hosts.get_mut(&node).filter(|host| host.process.is_some()) {
            host.paused = true;
            self.fault_counts.inject(Fault::Pause);
        }
    }

    /// Lets a process go on: first with what has been waiting, then with its timers.
    pub(crate) fn resume(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node).filter(|host| host.paused) else { return };
        host.paused = false;
        // Its timer event may have come and gone meanwhile.
        if let Some(process) = &mut host.process {
            process.timer = None;
        }
        for event in self.paused_queue.remove(&node).unwrap_or_default() {
            self.plan(self.now, event);
        }
        self.arrange_timer(node);
    }

    /// Keeps an event of a paused node for later.
    pub(super) fn hold_if_paused(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::DiskDone { node, .. }
            | Event::Wake { node, .. }
            | Event::Unreachable { node, .. }
            | Event::Request { node, .. }
            | Event::Timer { node, .. } => *node,
            Event::Deliver { copy, .. } | Event::DeliverSnapshot { copy, .. } => copy.link.1,
            Event::Step(_)
            | Event::Swarm(_)
            | Event::Operator(_)
            | Event::Restart { .. }
            | Event::ClientWake { .. }
            | Event::Reply { .. } => return Some(event),
        };
        if self.hosts.get(&node).is_none_or(|host| !host.paused) {
            return Some(event);
        }
        // A timer is arranged anew.
        if !matches!(event, Event::Timer { .. }) {
            self.fault_counts.matter(Fault::Pause);
            self.paused_queue.entry(node).or_default().push(event);
        }
        None
    }
}
