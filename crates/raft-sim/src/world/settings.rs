//! The settings of a node's core, node and store, from those of a scenario. Every field is named, so a new one needs a
//! decision here.

use crate::scenario::model::RaftSettings;
use crate::world::host::CLUSTER;
use raft_core::{Config, NodeId};
use raft_node::NodeOptions;
use raft_store::StoreOptions;

pub(crate) fn config(id: NodeId, settings: &RaftSettings) -> Config {
    Config {
        id,
        // The world draws a seed for each start.
        seed: 0,
        election_timeout: settings.election_timeout_of.get(&id).unwrap_or(&settings.election_timeout).clone(),
        heartbeat_interval: settings.heartbeat_interval,
        pre_vote: settings.pre_vote,
        check_quorum: settings.check_quorum,
        stickiness: settings.stickiness,
        lease_reads: settings.lease_reads,
        max_clock_drift_ppm: settings.max_clock_drift_ppm,
        priority: *settings.priority_of.get(&id).unwrap_or(&settings.priority),
        max_write_stall: settings.max_write_stall,
        max_append_bytes: settings.max_append_bytes,
        max_inflight_bytes: settings.max_inflight_bytes,
        max_inflight_messages: settings.max_inflight_messages,
        max_uncommitted_bytes: settings.max_uncommitted_bytes,
        max_unpersisted_bytes: settings.max_unpersisted_bytes,
        max_apply_bytes: settings.max_apply_bytes,
        max_cached_bytes: settings.max_cached_bytes,
        trailing_entries: settings.trailing_entries,
        max_retained_bytes: settings.max_retained_bytes,
        snapshot_timeout: settings.snapshot_timeout,
        max_pending_reads: settings.max_pending_reads,
        // The records need the events.
        observe: true,
    }
}

pub(crate) const fn node_options(settings: &RaftSettings) -> NodeOptions {
    NodeOptions {
        // Each start takes it from the folder.
        cluster: CLUSTER,
        max_sessions: settings.max_sessions,
        max_answers: settings.max_answers,
        snapshot_after_entries: settings.snapshot_after_entries,
        snapshot_after_bytes: settings.snapshot_after_bytes,
        snapshot_turn_entries: settings.snapshot_turn_entries,
        snapshot_pauses: settings.snapshot_pauses,
        // Each start takes it from the disk's model.
        reserve_bytes: 0,
        snapshot_chunk_bytes: settings.snapshot_chunk_bytes,
        snapshot_bytes_per_second: settings.snapshot_bytes_per_second,
        snapshot_patience: settings.snapshot_patience,
        max_snapshot_bytes: settings.max_snapshot_bytes,
        max_forwarded_requests: settings.max_forwarded_requests,
        max_forwarded_bytes: settings.max_forwarded_bytes,
    }
}

/// A recovery returns as many bytes of entries as the core keeps in memory.
pub(crate) const fn store_options(config: &Config, segment_bytes: u64, reserve_bytes: u64) -> StoreOptions {
    StoreOptions { segment_bytes, tail_bytes: config.max_cached_bytes, reserve_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ms;
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    /// The fields of a value, each with its value.
    fn fields(value: &impl Debug) -> BTreeMap<String, String> {
        let text = format!("{value:#?}");
        let field = |line: &str| {
            let (name, value) = line.strip_prefix("    ")?.split_once(": ")?;
            (!name.starts_with(' ')).then(|| (name.to_owned(), value.to_owned()))
        };
        text.lines().filter_map(field).collect()
    }

    /// The fields that are equal in both.
    fn equal(one: &impl Debug, two: &impl Debug) -> Vec<String> {
        let (one, two) = (fields(one), fields(two));
        assert!(one.len() > 2 && one.keys().eq(two.keys()), "{one:?} and {two:?}");
        one.into_iter().filter(|(name, value)| two.get(name) == Some(value)).map(|(name, _)| name).collect()
    }

    /// Settings of which none has its default.
    fn others() -> RaftSettings {
        let usual = RaftSettings::default();
        RaftSettings {
            election_timeout: ms(400)..ms(500),
            election_timeout_of: [(NodeId(9), ms(400)..ms(500))].into(),
            heartbeat_interval: ms(20),
            pre_vote: !usual.pre_vote,
            check_quorum: !usual.check_quorum,
            stickiness: !usual.stickiness,
            lease_reads: !usual.lease_reads,
            max_clock_drift_ppm: 1,
            priority: 1,
            priority_of: [(NodeId(9), 2)].into(),
            max_write_stall: ms(1),
            of: BTreeMap::new(),
            max_append_bytes: 1,
            max_inflight_bytes: 1,
            max_inflight_messages: 1,
            max_uncommitted_bytes: 1,
            max_unpersisted_bytes: 1,
            max_apply_bytes: 1,
            max_cached_bytes: 1,
            trailing_entries: 1,
            max_retained_bytes: 1,
            snapshot_timeout: ms(1),
            max_pending_reads: 1,
            max_forwarded_requests: 1,
            max_forwarded_bytes: 1,
            snapshot_after_entries: 1,
            snapshot_after_bytes: 1,
            snapshot_turn_entries: 1,
            snapshot_pauses: 1,
            snapshot_chunk_bytes: 1,
            snapshot_bytes_per_second: 1,
            snapshot_patience: ms(1),
            max_snapshot_bytes: 1,
            max_sessions: 1,
            max_answers: 1,
            window_events: 1,
        }
    }

    /// Every setting of the core, the node and the store differs if a scenario says so, except for these.
    #[test]
    fn a_scenario_reaches_every_setting() {
        let (usual, others) = (RaftSettings::default(), others());
        let (core, other_core) = (config(NodeId(1), &usual), config(NodeId(1), &others));
        assert_eq!(equal(&core, &other_core), ["id", "observe", "seed"]);
        let (node, other_node) = (node_options(&usual), node_options(&others));
        assert_eq!(equal(&node, &other_node), ["cluster", "reserve_bytes"]);
        let (store, other_store) = (store_options(&core, 1, 2), store_options(&other_core, 3, 4));
        assert_eq!(equal(&store, &other_store), [""; 0]);
    }

    #[test]
    fn single_nodes_differ() {
        let of_nine = config(NodeId(9), &others());
        assert_eq!((of_nine.priority, of_nine.election_timeout), (2, ms(400)..ms(500)));
    }
}
