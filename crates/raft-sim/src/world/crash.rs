//! Processes end without warning and start again.

use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::record::{CrashKind, What};
use crate::rng::Site;
use crate::scenario::model::Keep;
use raft_core::NodeId;
use std::time::Duration;

const NODE_SEED: Site = Site::new("node seed");
const POWER: Site = Site::new("power loss");

impl World {
    /// Ends a process and, by power loss, what its disk had not synced. A power loss strikes the disk of a machine
    /// that is down, too. Returns whether it made a difference.
    pub(crate) fn crash(&mut self, node: NodeId, crash: CrashKind, keep: Keep) -> bool {
        self.disturbed = self.now;
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let was_up = host.process.is_some();
        if !was_up && crash == CrashKind::Kill {
            return false;
        }
        host.armed = None;
        let interrupted = host.stop();
        let (incarnation, draw) = (host.incarnation, self.choices.draw(POWER, node.0, host.groups));
        let Some(disk) = host.disk() else { return false };
        let mut lost = 0;
        let fault = match crash {
            CrashKind::Kill => {
                disk.crash_kill();
                Fault::Kill
            }
            CrashKind::PowerLoss => {
                let loss = disk.crash_power(keep, draw.bits() ^ incarnation);
                lost = loss.lost();
                for (fault, happened) in
                    [(Fault::UnsyncedLost, loss.unsynced), (Fault::TornWrite, loss.torn), (Fault::RenameLost, loss.rename)]
                {
                    if happened {
                        self.ledger.matter(fault);
                    }
                }
                Fault::PowerLoss
            }
        };
        host.downed_by = Some(crash);
        let mattered = interrupted || lost > 0;
        self.ledger.inject(fault);
        if mattered {
            self.ledger.matter(fault);
        }
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), What::Crashed { crash, lost });
        mattered
    }

    /// Starts a node that is down.
    pub(crate) fn start(&mut self, node: NodeId) {
        self.disturbed = self.now;
        let Some(host) = self.hosts.get_mut(&node).filter(|host| host.process.is_none()) else { return };
        let seed = self.choices.draw(NODE_SEED, node.0, host.incarnation).bits();
        match host.start(seed) {
            Ok(started) => {
                self.emissions.push(Emission::View(host.view()));
                self.emit(None, Some(node), started);
                self.arrange_timer(node);
            }
            Err(error) => {
                self.emissions.push(Emission::View(None));
                self.emit(None, Some(node), What::RefusedToStart { error });
            }
        }
    }

    /// Plans a start.
    pub(crate) fn plan_restart(&mut self, node: NodeId, delay: Duration) {
        self.plan_after(delay, Event::Restart { node });
    }

    /// A disk that cannot do what was asked ends the process: what is on it is unknown until recovery reads it.
    pub(super) fn store_failed(&mut self, node: NodeId, error: &str) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.stop();
        }
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), What::RefusedToStart { error: format!("the store failed: {error}") });
    }
}
