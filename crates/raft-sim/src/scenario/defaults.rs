//! The defaults of a scenario: three nodes of a small data centre, two clients, no faults.

use super::model::{
    ClientModel, ClientReads, DiskModel, Expectations, Mix, NetworkModel, ProcessModel, RaftSettings, Scenario,
};
use crate::branch::Branches;
use std::collections::BTreeMap;
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The scenario that an otherwise empty file describes.
pub fn scenario(name: &str, path: &str) -> Scenario {
    Scenario { name: name.to_owned(), path: path.to_owned(), ..Scenario::default() }
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: String::new(),
            title: String::new(),
            story: String::new(),
            source: String::new(),
            seeds: 0..10,
            nodes: 3,
            founders: None,
            duration: Duration::from_secs(10),
            raft: RaftSettings::default(),
            initial: BTreeMap::new(),
            messages: None,
            network: NetworkModel::default(),
            disk: DiskModel::default(),
            process: ProcessModel::default(),
            clients: ClientModel::default(),
            branches: Branches::default(),
            steps: Vec::new(),
            swarm: None,
            enumerate: None,
            expect: Expectations::default(),
        }
    }
}

/// The safe settings of [`raft_core::Config`], and its limits: so high that a scenario reaches them only on purpose.
impl Default for RaftSettings {
    fn default() -> Self {
        let config = raft_core::Config::new(raft_core::NodeId(1));
        Self {
            election_timeout: config.election_timeout,
            election_timeout_of: BTreeMap::new(),
            heartbeat_interval: config.heartbeat_interval,
            pre_vote: config.pre_vote,
            check_quorum: config.check_quorum,
            stickiness: config.stickiness,
            lease_reads: config.lease_reads,
            max_clock_drift_ppm: config.max_clock_drift_ppm,
            priority: config.priority,
            priority_of: BTreeMap::new(),
            max_append_bytes: config.max_append_bytes,
            max_inflight_messages: config.max_inflight_messages,
            max_write_stall: config.max_write_stall,
            max_inflight_bytes: config.max_inflight_bytes,
            max_uncommitted_bytes: config.max_uncommitted_bytes,
            max_unpersisted_bytes: config.max_unpersisted_bytes,
            max_apply_bytes: config.max_apply_bytes,
            max_retained_bytes: config.max_retained_bytes,
            max_pending_reads: config.max_pending_reads,
            max_forwarded_requests: 0,
            max_forwarded_bytes: raft_node::NodeOptions::default().max_forwarded_bytes,
            snapshot_after_entries: 0,
            trailing_entries: config.trailing_entries,
            max_cached_bytes: config.max_cached_bytes,
            snapshot_timeout: config.snapshot_timeout,
            snapshot_chunk_bytes: 512,
            snapshot_bytes_per_second: 0,
            snapshot_turn_entries: 0,
            snapshot_pauses: 0,
            snapshot_patience: ms(100),
            snapshot_after_bytes: 0,
            max_snapshot_bytes: raft_node::NodeOptions::default().max_snapshot_bytes,
            of: BTreeMap::new(),
            max_sessions: 1_024,
            max_answers: raft_node::NodeOptions::default().max_answers,
            // So few that a map often has to drop some.
            window_events: 64,
        }
    }
}

impl Default for NetworkModel {
    fn default() -> Self {
        Self {
            delay: ms(1)..ms(5),
            loss_ppm: 0,
            duplicate_ppm: 0,
            duplicate_delay: ms(0)..ms(50),
            reorder_ppm: 0,
            reorder_delay: ms(5)..ms(50),
            snapshot_transfer: ms(5)..ms(20),
            unreachable_ppm: 0,
            snapshot_loss_ppm: 0,
            delay_of: BTreeMap::new(),
            late_ppm: 0,
            late_delay: ms(0)..ms(0),
            priority_wait: ms(0),
            priority_change: ms(0),
        }
    }
}

impl Default for DiskModel {
    fn default() -> Self {
        Self { latency: ms(1)..ms(3), segment_bytes: 64 << 10, reserve_bytes: 0 }
    }
}

impl Default for ProcessModel {
    fn default() -> Self {
        let raft_node::InboxLimits { max_messages, max_message_bytes, max_requests, max_request_bytes } =
            raft_node::InboxLimits::default();
        let (busy_ppm, busy, resume_batch_ppm) = (0, ms(0)..ms(0), 0);
        Self { busy_ppm, busy, resume_batch_ppm, max_messages, max_message_bytes, max_requests, max_request_bytes }
    }
}

impl Default for ClientModel {
    fn default() -> Self {
        Self {
            count: 2,
            think: ms(5)..ms(50),
            retry_after: ms(400),
            give_up_after: Duration::from_secs(5),
            keys: 4,
            mix: Mix { get: 3, put: 4, cas: 2, delete: 1, range: 0, txn: 0 },
            ttl_ppm: 0,
            ttl: ms(50)..ms(500),
            reads: ClientReads::Safe,
            start: ms(0),
            open: 1,
            retry_expired: false,
            watchers: 0,
            watch_patience: ms(300)..ms(1_000),
            watch_pause: ms(0)..ms(0),
            operations: None,
        }
    }
}
