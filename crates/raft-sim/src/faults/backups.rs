//! Random backups: from the leader in most cases, now and then more at a time than a node allows. And random new clusters, while
//! faults strike: the voters become the founders of one with the newest backup, or one voter becomes one alone.

use crate::faults::swarm::{SwarmEvent, only};
use crate::rng::Site;
use crate::scenario::model::{StepAction, Targets};
use crate::world::{Event, World};
use raft_core::NodeId;
use std::time::Duration;

const BACKUP: Site = Site::new("swarm backup");
const RESTORE: Site = Site::new("swarm restore");

/// The mean number of faults between two backups, and between two restores.
const MEAN_FAULTS: u32 = 4;
const MANY: u32 = 6;

/// Probabilities in parts per million.
const FROM_LEADER: u32 = 750_000;
const MANY_AT_ONCE: u32 = 250_000;
const RECOVER: u32 = 250_000;

impl World {
    pub(crate) fn plan_swarm_backup(&mut self, n: u64) {
        self.plan_some_time(BACKUP, n, SwarmEvent::Backup(n));
    }

    pub(crate) fn plan_swarm_restore(&mut self, n: u64) {
        self.plan_some_time(RESTORE, n, SwarmEvent::Restore(n));
    }

    fn plan_some_time(&mut self, site: Site, n: u64, event: SwarmEvent) {
        let Some(model) = &self.scenario.swarm else { return };
        let pause = Duration::ZERO..model.mean_interval.saturating_mul(2 * MEAN_FAULTS).max(Duration::from_micros(1));
        let delay = self.choices.draw(site, n, 0).in_range(&pause);
        self.plan_after(delay, Event::Swarm(event));
    }

    pub(crate) fn swarm_backup(&mut self, n: u64) {
        let from_leader = self.choices.draw(BACKUP, n, 1).chance_ppm(FROM_LEADER);
        let drawn = NodeId(1 + self.choices.draw(BACKUP, n, 2).below(self.scenario.nodes));
        let node = self.leader().filter(|_| from_leader).unwrap_or(drawn);
        let many = self.choices.draw(BACKUP, n, 3).chance_ppm(MANY_AT_ONCE);
        for _ in 0..if many { MANY } else { 1 } {
            self.strike(StepAction::Backup { nodes: only(node) }, None);
        }
        self.plan_swarm_backup(n + 1);
    }

    /// A broken disk keeps its node out for good, so there is no new cluster after that.
    pub(crate) fn swarm_restore(&mut self, n: u64) {
        let is_sound = self.disks_are_sound();
        let voters = self.configurations.decided().end().voters;
        if is_sound && self.choices.draw(RESTORE, n, 1).chance_ppm(RECOVER) {
            let left = self.choices.draw(RESTORE, n, 2).below(voters.len() as u64);
            if let Some(&node) = voters.iter().nth(usize::try_from(left).unwrap_or(0)) {
                self.strike(StepAction::Recover { node }, None);
            }
        } else if is_sound && self.backups.newest().is_some() {
            self.strike(StepAction::Restore { nodes: Targets::Nodes(voters) }, None);
        }
        self.plan_swarm_restore(n + 1);
    }

    /// Whether no disk of a swarm has broken a promise.
    pub(crate) fn disks_are_sound(&self) -> bool {
        self.swarm.as_ref().is_none_or(|swarm| swarm.broken.is_empty())
    }
}
