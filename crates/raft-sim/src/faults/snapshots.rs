//! Settings of a swarm that takes snapshots often, so that rare situations become common.

use crate::rng::{Choices, Site};
use crate::scenario::model::RaftSettings;
use raft_core::NodeId;
use std::time::Duration;

const SETTINGS: Site = Site::new("swarm snapshot settings");

/// The approximate maximum size of a snapshot with so many keys.
pub(crate) fn biggest_snapshot(keys: u64) -> u64 {
    (16 * keys).max(4_096)
}

/// The settings of a node in a run with snapshots of a state with so many keys.
pub(crate) fn draw_snapshots(choices: &mut Choices, node: NodeId, keys: u64, settings: &mut RaftSettings) {
    let mut draw = |n| choices.draw(SETTINGS, node.0, n);
    // Small numbers matter as much as great ones, so it draws the magnitude first. Each node draws its own.
    let most = [3, 12, 60][draw(0).below(3) as usize];
    settings.snapshot_after_entries = 1 + draw(1).below(most);
    let most = [1, 4, 30][draw(2).below(3) as usize];
    settings.trailing_entries = draw(3).below(most);
    settings.max_cached_bytes = [0, 300, 3_000, settings.max_cached_bytes][draw(4).below(4) as usize];
    let timeout = settings.election_timeout.end;
    settings.snapshot_timeout = draw(5).in_range(&(timeout / 2..timeout.saturating_mul(4)));
    // A healed node has to get all chunks in time, at some 40 ms a chunk on the slowest link: about a hundred at most.
    let least = (biggest_snapshot(keys) / 102).min(300);
    settings.snapshot_chunk_bytes = [least, 300, 4_096][draw(6).below(3) as usize];
    settings.snapshot_bytes_per_second = [0, 0, 20_000][draw(7).below(3) as usize];
    if settings.snapshot_bytes_per_second > 0 {
        // All peers may wait for the rate, each for a tenth of a second.
        settings.snapshot_timeout += Duration::from_secs(1);
    }
    settings.snapshot_patience = draw(8).in_range(&(timeout / 8..timeout));
    settings.snapshot_pauses = [0, 1, 4][draw(9).below(3) as usize];
    // Turns are the same on all nodes.
    settings.snapshot_turn_entries = [0, 1, 5][choices.draw(SETTINGS, 0, 10).below(3) as usize];
}
