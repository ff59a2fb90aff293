//! The settings that a swarm draws for all nodes and clients of a run: leases, busy threads, several keys at once,
//! forwarding, sessions, watches. And reads at drawn times.

use crate::faults::swarm::{SwarmEvent, only};
use crate::record::RecordKind;
use crate::rng::{Choices, Site};
use crate::scenario::feature::Feature;
use crate::scenario::model::{ClientReads, GetMode, Scenario, StepAction};
use crate::world::{Event, World};
use raft_core::NodeId;
use std::time::Duration;

const DRIFT_BOUND: Site = Site::new("swarm drift bound");
const BUSY: Site = Site::new("swarm busy");
const RESUMED: Site = Site::new("swarm resumed processes");
const FORWARDING: Site = Site::new("swarm forwarding");
const SESSIONS: Site = Site::new("swarm sessions");
const OPEN: Site = Site::new("swarm open commands");
const WATCHES: Site = Site::new("swarm watches");
const READ: Site = Site::new("swarm read");
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

/// Draws how often a resumed process takes everything that waits for it in one call.
pub(crate) fn draw_resumed_processes(scenario: &mut Scenario, choices: &mut Choices) {
    let magnitude = choices.draw(RESUMED, 0, 0).below(3) as usize;
    scenario.process.resume_batch_ppm = [0, 500_000, 1_000_000][magnitude];
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

/// Where keys may expire, draws so many of them that few are set again before they go.
pub(crate) fn draw_expiring_keys(scenario: &mut Scenario, choices: &mut Choices) {
    let clients = &mut scenario.clients;
    if !clients.has_history() {
        clients.keys = 1_000;
        clients.ttl_ppm = [100_000, 500_000][choices.draw(SEVERAL, 2, 0).below(2) as usize];
    }
}

/// Followers that forward as much as there is, or so little that the limits are met.
pub(crate) fn draw_forwarding(scenario: &mut Scenario, choices: &mut Choices) {
    let mut draw = |n, of: [u64; 3]| of[choices.draw(FORWARDING, n, 0).below(3) as usize];
    scenario.raft.max_forwarded_requests = draw(0, [1, 2, 1_024]) as usize;
    scenario.raft.max_forwarded_bytes = draw(1, [1, 50, 16 << 20]);
}

/// Sessions that push each other out, or last; answers that are forgotten at once, or kept.
pub(crate) fn draw_sessions(scenario: &mut Scenario, choices: &mut Choices) {
    let clients = scenario.clients.count.max(1);
    let mut draw = |n, of: [u64; 4]| of[choices.draw(SESSIONS, n, 0).below(4) as usize] as usize;
    scenario.raft.max_sessions = draw(0, [1, clients, clients + 1, 1_024]).max(1);
    scenario.raft.max_answers = draw(1, [1, 2, 3, 1_024]);
    scenario.clients.retry_expired = true;
}

pub(crate) fn draw_open_commands(scenario: &mut Scenario, choices: &mut Choices) {
    scenario.clients.open = [2, 3, 5][choices.draw(OPEN, 0, 0).below(3) as usize];
}

/// Watch clients that leave a silent node soon or late, and are as fast as the changes or so slow that the maps forget some first.
pub(crate) fn draw_watches(scenario: &mut Scenario, choices: &mut Choices) {
    let timeout = scenario.raft.election_timeout.end;
    let mut draw = |n, of: [u64; 3]| of[choices.draw(WATCHES, n, 0).below(3) as usize];
    let clients = &mut scenario.clients;
    clients.watchers = draw(0, [1, 2, 3]);
    clients.watch_patience = timeout / 4..timeout * u32::try_from(draw(1, [1, 4, 10])).unwrap_or(1);
    clients.watch_pause = Duration::ZERO..timeout * u32::try_from(draw(2, [0, 1, 8])).unwrap_or(1);
    scenario.raft.window_events = draw(3, [1, 8, 64]);
}

impl World {
    /// Records the settings that the swarm has drawn for the replicated state, because the checkers compute it too.
    pub(crate) fn emit_cluster_limits(&mut self) {
        if self.draws_feature(Feature::Sessions) || self.draws_feature(Feature::Watches) {
            let raft = &self.scenario.raft;
            let (max_sessions, max_answers) = (raft.max_sessions as u64, raft.max_answers as u64);
            let window_events = raft.window_events;
            self.emit_outside(None, RecordKind::ClusterLimitsDrawn { max_sessions, max_answers, window_events });
        }
    }

    pub(crate) fn plan_swarm_read(&mut self, n: u64) {
        let Some(model) = &self.scenario.swarm else { return };
        let pause = Duration::ZERO..model.mean_interval.max(Duration::from_micros(1));
        let delay = self.choices.draw(READ, n, 0).in_range(&pause);
        self.plan_after(delay, Event::Swarm(SwarmEvent::Read(n)));
    }

    /// A client made for it reads one key at one node.
    pub(crate) fn swarm_read(&mut self, n: u64) {
        let node = NodeId(1 + self.choices.draw(READ, n, 1).below(self.scenario.nodes));
        let key = format!("k{}", 1 + self.choices.draw(READ, n, 2).below(self.scenario.clients.keys));
        let mode = [GetMode::Safe, GetMode::Lease, GetMode::Stale][self.choices.draw(READ, n, 3).below(3) as usize];
        self.strike(StepAction::Get { node: only(node), key, mode: Some(mode) }, None);
        self.plan_swarm_read(n + 1);
    }
}
