//! The settings that a swarm draws for all nodes and clients of a run: leases, busy threads, several keys at once,
//! forwarding.

use crate::rng::{Choices, Site};
use crate::scenario::model::{ClientReads, Scenario};
use std::time::Duration;

const DRIFT_BOUND: Site = Site::new("swarm drift bound");
const BUSY: Site = Site::new("swarm busy");
const FORWARDING: Site = Site::new("swarm forwarding");
const SEVERAL: Site = Site::new("swarm several keys");

/// Lets reads use leases. The bound of the clock drift is drawn too: a bound that is never reached, or too small to
/// matter, would test nothing.
pub(crate) fn draw_leases(scenario: &mut Scenario, choices: &mut Choices) {
    scenario.raft.lease_reads = true;
    scenario.raft.max_clock_drift_ppm = [100, 10_000, 300_000][choices.draw(DRIFT_BOUND, 0, 0).below(3) as usize];
    scenario.clients.reads = ClientReads::Mixed;
}

/// Draws threads that are busy for an instant, or for long enough to seem dead, and inboxes that are full soon, or
/// hardly ever.
pub(crate) fn draw_busy_threads(scenario: &mut Scenario, choices: &mut Choices) {
    let timeout = scenario.raft.election_timeout.start;
    let mut draw = |n, of: [u64; 3]| of[choices.draw(BUSY, n, 0).below(3) as usize];
    let process = &mut scenario.process;
    process.busy_ppm = draw(0, [10_000, 100_000, 400_000]) as u32;
    process.busy = Duration::ZERO..timeout / [100, 20, 4][draw(1, [0, 1, 2]) as usize];
    process.max_messages = draw(2, [2, 8, 8_192]) as usize;
    process.max_requests = draw(3, [1, 4, 16_384]) as usize;
    process.max_message_bytes = draw(4, [200, 2_000, 64 << 20]);
    process.max_request_bytes = draw(5, [20, 200, 64 << 20]);
}

/// Draws ranges and transactions beside the other operations. In most runs some keys live for less than an election, or
/// for a few.
pub(crate) fn draw_several_keys(scenario: &mut Scenario, choices: &mut Choices) {
    let timeout = scenario.raft.election_timeout.end;
    let clients = &mut scenario.clients;
    (clients.mix.range, clients.mix.txn) = (3, 4);
    clients.ttl_ppm = [0, 100_000, 400_000][choices.draw(SEVERAL, 0, 0).below(3) as usize];
    clients.ttl = timeout / 8..timeout * [1, 4][choices.draw(SEVERAL, 1, 0).below(2) as usize];
}

/// Followers that forward as much as there is, or so little that the limits are met.
pub(crate) fn draw_forwarding(scenario: &mut Scenario, choices: &mut Choices) {
    let mut draw = |n, of: [u64; 3]| of[choices.draw(FORWARDING, n, 0).below(3) as usize];
    scenario.raft.max_forwarded_requests = draw(0, [1, 2, 1_024]) as usize;
    scenario.raft.max_forwarded_bytes = draw(1, [1, 50, 16 << 20]);
}
