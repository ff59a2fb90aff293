//! The number of nodes, drawn for a run: one node needs no messages, two lose everything with one, and an even number
//! has halves that are no majority.

use crate::faults::swarm::draws;
use crate::rng::{Choices, Site};
use crate::scenario::feature::Feature;
use crate::scenario::model::Scenario;
use crate::scenario::parse::MAX_NODES;
use std::borrow::Cow;

const NODES: Site = Site::new("swarm nodes");

/// The scenario of a run with this seed: with the number of nodes that the seed draws, if the run draws one.
pub(crate) fn with_drawn_nodes(scenario: &Scenario, seed: u64) -> Cow<'_, Scenario> {
    let mut choices = Choices::new(seed);
    if !draws(scenario, &mut choices, Feature::NodeCount) {
        return Cow::Borrowed(scenario);
    }
    let nodes = 1 + choices.draw(NODES, 0, 0).below(MAX_NODES);
    let mut clients = scenario.clients.clone();
    // If one node of nine leads, clients that try one after the other find it in time, too.
    clients.retry_after = clients.retry_after * 3 / u32::try_from(nodes.max(3)).unwrap_or(3);
    Cow::Owned(Scenario { nodes, clients, ..scenario.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::collections::BTreeSet;

    #[test]
    fn half_of_the_runs_draw_any_number_of_nodes() {
        let scenario = testing::swarm(3);
        let drawn = |seed| with_drawn_nodes(&scenario, seed).nodes;
        let (usual, all) = ((0..200).map(drawn).filter(|nodes| *nodes == 3), (0..200).map(drawn));
        let (usual, all): (usize, BTreeSet<u64>) = (usual.count(), all.collect());
        assert!((90..130).contains(&usual), "{usual}");
        assert_eq!(all, (1..=9).collect());
        let mut without = testing::swarm(3);
        without.swarm.iter_mut().for_each(|swarm| assert!(swarm.features.remove(&Feature::NodeCount)));
        assert!((0..50).all(|seed| with_drawn_nodes(&without, seed).nodes == 3));
    }
}
