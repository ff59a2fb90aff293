//! The limits of a swarm, so small that the requests of one simulated second reach them.
//!
//! None of them prevents progress once a majority is healed. Each lets one entry, one append or one read through when
//! its queue is empty. No disk without a fault is slow enough to count as stalled. Snapshots arrive before the log
//! after them is dropped.

use crate::faults::snapshots::biggest_snapshot;
use crate::record::RecordKind;
use crate::rng::{Draw, Site};
use crate::scenario::model::RaftSettings;
use crate::world::{Emission, World};
use raft_core::{MAX_PRIORITY, NodeId};
use std::time::Duration;

const LIMITS: Site = Site::new("swarm limits");

/// The latency from which on a disk is slow, and about forty commands.
const SLOW_DISK: Duration = Duration::from_millis(4);
const BATCH_BYTES: u64 = 3_000;

impl World {
    /// The settings of a node in a run with small limits. Each setting is drawn separately, and most keep their default
    /// half of the time.
    pub(crate) fn draw_limits(&mut self, node: NodeId, settings: &mut RaftSettings) {
        let mut place = 0;
        // Each needs two choices: whether to change it, and by how much.
        let mut draw_at = |ppm| {
            place += 2;
            let whether = self.choices.draw(LIMITS, node.0, place - 2);
            whether.chance_ppm(ppm).then(|| self.choices.draw(LIMITS, node.0, place - 1))
        };
        let mut draw = || draw_at(500_000);
        let slow_disk = self.scenario.disk.latency.end > SLOW_DISK;
        // One entry at a time, about two commands, about six.
        let bytes = |limit: &mut u64, draw: Option<Draw>| {
            *limit = draw.map_or(*limit, |draw| [1, 150, 500][draw.below(3) as usize]);
        };
        bytes(&mut settings.max_inflight_bytes, draw());
        bytes(&mut settings.max_uncommitted_bytes, draw());
        bytes(&mut settings.max_unpersisted_bytes, draw());
        bytes(&mut settings.max_apply_bytes, draw());
        // Where little is in memory, each batch is read back from the disk. A slow disk reads so few batches in a second that the node
        // would fall behind for good.
        if settings.max_cached_bytes < BATCH_BYTES && slow_disk {
            settings.max_apply_bytes = settings.max_apply_bytes.max(BATCH_BYTES);
        }
        if let Some(draw) = draw() {
            // The log after a snapshot has to last until the snapshot arrives, or the node needs the next snapshot at
            // once, again and again. A chunk takes some 40 ms on the slowest link, all peers share the bytes of a second, and
            // the log grows by some 8 bytes a millisecond.
            let (bytes, rate) = (biggest_snapshot(self.scenario.clients.keys), settings.snapshot_bytes_per_second);
            let chunks = bytes / settings.snapshot_chunk_bytes.max(1);
            let millis = 40 * chunks + (bytes * 1_000 * (self.scenario.nodes - 1)).checked_div(rate).unwrap_or(0);
            settings.max_retained_bytes = (1_000 + 8 * millis) * [1, 3][draw.below(2) as usize];
        }
        if let Some(draw) = draw() {
            settings.max_pending_reads = 1 + draw.below(2) as usize;
        }
        let timeout = settings.election_timeout.end;
        // Slow disks are not in every run, so most leaders have this limit.
        if let Some(draw) = draw_at(800_000) {
            settings.max_write_stall = draw.in_range(&(timeout / 4..timeout));
        }
        if let Some(draw) = draw_at(500_000) {
            settings.priority = u32::try_from(draw.below(u64::from(MAX_PRIORITY) + 1)).unwrap_or(MAX_PRIORITY);
        }
        self.emit_limits(node, settings);
    }

    /// Records the limits that this run has drawn for a node.
    pub(crate) fn emit_limits(&mut self, node: NodeId, settings: &RaftSettings) {
        self.emissions.push(Emission::View(None));
        self.emit(None, Some(node), RecordKind::LimitsDrawn { priority: settings.priority, limits: settings.limits() });
    }
}
