//! Guards that are off: pre-votes, stickiness and check-quorum, which Raft can do without.
//!
//! Safety holds in every run: none of the three is part of its proof (Raft §5.4). A run also demands that the healed
//! majority recovers, because nothing disturbs that majority: its nodes reach each other in time, and no node outside
//! of it sends to them (a node that only receives nothing stays outside of such runs). What a run without a guard does
//! not demand is progress before the healing. A lease is a promise of stickiness, so a run with leases keeps that. A run
//! with old copies of disks keeps pre-votes: without them the copy of a removed node would vote for itself at once, in
//! a term in which it has voted.

use crate::faults::swarm::draws;
use crate::rng::{Choices, Site};
use crate::scenario::feature::Feature;
use crate::scenario::model::Scenario;

const GUARDS: Site = Site::new("swarm guards");

/// Turns each guard off with probability one half.
pub(crate) fn draw_guards(scenario: &mut Scenario, choices: &mut Choices) {
    let has_old_disks = draws(scenario, choices, Feature::DiskRolledBack);
    let raft = &mut scenario.raft;
    let mut stays = |n| choices.draw(GUARDS, n, 0).chance_ppm(500_000);
    let [pre_vote, stickiness, check_quorum] = [stays(0), stays(1), stays(2)];
    raft.pre_vote &= pre_vote || has_old_disks;
    raft.stickiness &= stickiness || raft.lease_reads;
    raft.check_quorum &= check_quorum;
}
