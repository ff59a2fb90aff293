//! Speeds of links: messages and copies that arrive many election timeouts late, links that are slow in one direction,
//! and links that wait for others.

use crate::faults::Fault;
use crate::rng::Site;
use crate::scenario::feature::Feature;
use crate::scenario::model::NetworkModel;
use crate::world::World;
use raft_core::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

const LATE: Site = Site::new("swarm late messages");
const SPEED: Site = Site::new("swarm link speed");
const ORDER: Site = Site::new("swarm link order");

impl World {
    /// Draws the speeds of this run's links.
    pub(crate) fn swarm_speeds(&mut self, chosen: &BTreeSet<Feature>, timeout: Duration, model: &mut NetworkModel) {
        if chosen.contains(&Feature::SlowNetwork) {
            let mut draw = |n, of: [u32; 3]| of[self.choices.draw(LATE, n, 0).below(3) as usize];
            model.late_ppm = draw(0, [10_000, 50_000, 250_000]);
            model.late_delay = model.delay.end..timeout.saturating_mul(draw(1, [1, 4, 16]));
            // Answers need about one election timeout in a third of these runs, so elections rarely succeed.
            model.delay.end = model.delay.end.max(timeout / draw(2, [4_000, 8, 2]));
            // A copy is only late if there is one.
            let copies = draw(3, [0, 20_000, 200_000]);
            if !self.scenario.is_without(Fault::Duplicate) {
                model.duplicate_ppm = model.duplicate_ppm.max(copies);
            }
        }
        if chosen.contains(&Feature::UnevenLinks) {
            let nodes = self.nodes();
            let links = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
            for (from, to) in links.filter(|(from, to)| from != to) {
                let most = self.drawn_speed(from, to, timeout, model.delay.end);
                model.delay_of.insert((from, to), most / 4..most);
            }
        }
        if chosen.contains(&Feature::MessagePriority) {
            let mut draw = |n, of: [u32; 3]| of[self.choices.draw(ORDER, n, 0).below(3) as usize];
            model.priority_wait = timeout / draw(0, [30, 6, 1]);
            model.priority_change = timeout.saturating_mul(draw(1, [1, 8, 40]));
        }
    }

    /// The longest delay of a link: the usual one in half of the cases.
    fn drawn_speed(&mut self, from: NodeId, to: NodeId, timeout: Duration, usual: Duration) -> Duration {
        let magnitude = self.choices.draw(SPEED, crate::rng::link_key(from, to), 0).below(6) as usize;
        [usual, usual, usual / 10, timeout / 30, timeout / 8, timeout / 2][magnitude]
    }
}
