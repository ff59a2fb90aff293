//! Clocks that run fast or slow.

use crate::faults::ends::FaultEnd;
use crate::faults::swarm::only;
use crate::faults::{Fault, list};
use crate::scenario::model::StepAction;
use crate::world::World;
use crate::world::host::Host;
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    /// Makes a node's clock run too fast by `ppm` parts per million from now on; 0 makes it true again.
    pub(crate) fn set_drift(&mut self, host: &mut Host, ppm: i32) {
        if ppm == 0 && host.clock.is_true() {
            return;
        }
        host.clock = host.clock.drifting(self.now, ppm);
        if ppm != 0 {
            self.fault_counts.inject(Fault::ClockDrift);
        }
        // A faster clock reaches its deadlines earlier. A timer event that comes too early plans the next one.
        self.arrange_timer(host);
    }

    pub(crate) fn drift_step(&mut self, nodes: &BTreeSet<NodeId>, ppm: i32, lasts: Option<Duration>) {
        self.emit_fault(format!("clock of {} drifts by {ppm} ppm", list(nodes)));
        self.on_each(nodes, |world, host| world.set_drift(host, ppm));
        self.each_ends_after(lasts, nodes, FaultEnd::ClockRight);
    }

    /// The drifts range from that of any quartz to that of a broken clock. Of Raft's guarantees only progress depends
    /// on clocks, and progress is required only after the healing. If reads use leases, no clock drifts further than
    /// the leases allow.
    pub(crate) fn swarm_drift(&mut self, n: u64, length: Duration) {
        let node = self.drawn_node(n);
        let most = [100, 10_000, 400_000][self.detail(n, 1).below(3) as usize];
        let raft = &self.scenario.raft;
        let most = if raft.lease_reads { u64::from(raft.max_clock_drift_ppm) } else { most };
        let ppm = i32::try_from(1 + self.detail(n, 2).below(most)).unwrap_or(1);
        let ppm = if self.detail(n, 3).chance_ppm(500_000) { ppm } else { -ppm };
        self.strike(StepAction::Drift { nodes: only(node), ppm }, Some(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordKind;
    use crate::scenario::feature::Feature;
    use crate::scenario::model::SwarmModel;
    use crate::testing;
    use crate::world::Emission;
    use std::sync::Arc;

    /// The largest drift of the clocks in this world.
    fn most_drift(world: &mut World) -> u32 {
        while world.advance() {}
        let mut emissions = Vec::new();
        world.take_emissions(&mut emissions);
        let drifts = emissions.iter().filter_map(|emission| {
            let Emission::Record(record) = emission else { return None };
            let RecordKind::Fault { label } = &record.kind else { return None };
            let ppm = label.split_once(" drifts by ")?.1.strip_suffix(" ppm")?;
            Some(ppm.parse::<i32>().expect("a number").unsigned_abs())
        });
        drifts.max().unwrap_or(0)
    }

    #[test]
    fn half_of_the_runs_have_leases_and_then_no_clock_drifts_further_than_they_allow_for() {
        let mut scenario = testing::swarm(3);
        scenario.clients.count = 0;
        let features = [Feature::ClockDrift, Feature::LeaseReads].into();
        scenario.swarm = scenario.swarm.map(|model| SwarmModel { features, ..model });
        let scenario = Arc::new(scenario);
        let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..30 {
            let mut world = World::new(&scenario, seed);
            let most = most_drift(&mut world);
            let raft = &world.scenario.raft;
            let bound = raft.max_clock_drift_ppm;
            assert!(!raft.lease_reads || most <= bound, "seed {seed}: {most} ppm where {bound} are allowed for");
            if raft.lease_reads { &mut with } else { &mut without }.insert((bound, most > 10_000));
        }
        assert!(with.len() > 3 && with.contains(&(300_000, true)), "{with:?}");
        assert!(without.contains(&(10_000, true)), "where nothing rests on clocks they may be as wrong as can be");
    }
}
