//! The settings of a node.

use crate::canonical::{Canon, Canonical};
use crate::id::NodeId;
use crate::time::nanos;
use core::ops::Range;
use core::time::Duration;

/// The highest [`Config::priority`].
pub const MAX_PRIORITY: u32 = 100;

/// The settings of one node. The defaults are safe; [`Config::check`] finds values that are out of range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    #[allow(missing_docs)]
    pub id: NodeId,
    /// The seed of the election jitter, together with the node's id and restored state. If the seeds of nodes and
    /// starts differ, two nodes with equal logs draw unrelated timeouts. Any value is valid.
    pub seed: u64,
    /// Election timeouts are drawn uniformly from this range (Raft §5.2). The start of the range is also the length of
    /// stickiness, its end the length of check-quorum. An empty range (start = end) draws nothing. Default 150 ms to
    /// 300 ms.
    pub election_timeout: Range<Duration>,
    /// A leader sends every peer an empty append this often. Above 0, below `election_timeout.start`. Default 50 ms.
    pub heartbeat_interval: Duration,
    /// Whether a node asks for pre-votes before it starts a new term (Thesis §9.6). Default on.
    pub pre_vote: bool,
    /// A leader without answers of a quorum for `election_timeout.end` steps down (Thesis §6.2). Default on.
    pub check_quorum: bool,
    /// Whether a node ignores vote requests for `election_timeout.start` after contact with a leader (Thesis §4.2.3).
    /// Default on.
    pub stickiness: bool,
    /// Whether this node serves reads of [`ReadMode::Lease`](crate::ReadMode::Lease) without a round while it holds a
    /// lease, and promises other leaders the stickiness that their leases need. Needs `stickiness`. A sole voter then
    /// waits for an election timeout after its start, as any other node does. Such reads rely on `max_clock_drift_ppm`.
    /// Before you shorten `election_timeout.start`, or switch off this or `stickiness`, keep the node down for the old
    /// `election_timeout.start`: others may rely on its promise. Default off.
    pub lease_reads: bool,
    /// The largest error of any node's clock rate, in parts per million. Below 1 000 000. A machine that is paused together
    /// with its clock drifts without bound. Default 10 000, which is 1 %.
    pub max_clock_drift_ppm: u32,
    /// How much this node is preferred as leader: at most [`MAX_PRIORITY`], which is the default. A node with a lower
    /// priority waits longer before its first election: up to `election_timeout.end` longer at priority 0,
    /// proportionally less in between. Its further rounds have no delay. Two nodes campaign in a certain order if their
    /// delays differ by more than the width of `election_timeout`. With the default timeouts this holds for 100, 50
    /// and 0.
    pub priority: u32,
    /// A leader with a write in flight for longer transfers leadership or steps down, and does not ask for votes until that
    /// write is reported. Above 0; `Duration::MAX` means never. Default 10 s.
    pub max_write_stall: Duration,
    /// The most bytes of entries in one append; one entry always fits. Above 0. Default 1 MiB.
    pub max_append_bytes: u64,
    /// The most bytes of entries sent to one peer and not acknowledged; one append always fits. Above 0. Default 16 MiB.
    pub max_inflight_bytes: u64,
    /// The most appends with entries sent to one peer and not acknowledged. Above 0. Default 256.
    pub max_inflight_messages: usize,
    /// From this many bytes of uncommitted entries on, a leader answers proposals `Busy`. Above 0. Default 64 MiB.
    pub max_uncommitted_bytes: u64,
    /// From this many bytes waiting for the disk on, a leader answers proposals `Busy` and a follower ignores appends
    /// with new entries. Above 0. Default 64 MiB.
    pub max_unpersisted_bytes: u64,
    /// The most bytes in `Apply` actions that are not reported `Applied`; one entry always fits. Above 0. Default 16 MiB.
    pub max_apply_bytes: u64,
    /// The most bytes of payloads in memory, besides those that wait for the disk and up to `max_apply_bytes` that wait
    /// to be applied. The core reads older payloads back when it needs them. 0 keeps none. Default 32 MiB.
    pub max_cached_bytes: u64,
    /// How many entries stay in the log although a snapshot covers them, for peers that are slightly behind. Default
    /// 10 000.
    pub trailing_entries: u64,
    /// While the leader sends a snapshot, it keeps the log after it until it has appended this many more bytes; then
    /// the peer will need a newer snapshot. Default 256 MiB.
    pub max_retained_bytes: u64,
    /// A snapshot in flight without progress for this long counts as lost. Above 0. Default 60 s.
    pub snapshot_timeout: Duration,
    /// From this many waiting reads on, a leader answers reads `Busy`. Above 0. Default 65 536.
    pub max_pending_reads: usize,
    /// Whether to emit [`Action::Observe`](crate::Action::Observe). Default off.
    pub observe: bool,
}

impl Config {
    /// The default settings.
    pub fn new(id: NodeId) -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            id,
            seed: 0,
            election_timeout: Duration::from_millis(150)..Duration::from_millis(300),
            heartbeat_interval: Duration::from_millis(50),
            pre_vote: true,
            check_quorum: true,
            stickiness: true,
            lease_reads: false,
            max_clock_drift_ppm: 10_000,
            priority: MAX_PRIORITY,
            max_write_stall: Duration::from_secs(10),
            max_append_bytes: MIB,
            max_inflight_bytes: 16 * MIB,
            max_inflight_messages: 256,
            max_uncommitted_bytes: 64 * MIB,
            max_unpersisted_bytes: 64 * MIB,
            max_apply_bytes: 16 * MIB,
            max_cached_bytes: 32 * MIB,
            trailing_entries: 10_000,
            max_retained_bytes: 256 * MIB,
            snapshot_timeout: Duration::from_secs(60),
            max_pending_reads: 65_536,
            observe: false,
        }
    }

    /// Checks the ranges of all settings.
    ///
    /// # Errors
    /// The name of the first setting that is out of range, with its range.
    pub fn check(&self) -> Result<(), &'static str> {
        let (start, end) = (nanos(self.election_timeout.start), nanos(self.election_timeout.end));
        let limits = [
            (nanos(self.max_write_stall), "max_write_stall must be above 0"),
            (nanos(self.snapshot_timeout), "snapshot_timeout must be above 0"),
            (self.max_append_bytes, "max_append_bytes must be above 0"),
            (self.max_inflight_bytes, "max_inflight_bytes must be above 0"),
            (self.max_inflight_messages as u64, "max_inflight_messages must be above 0"),
            (self.max_uncommitted_bytes, "max_uncommitted_bytes must be above 0"),
            (self.max_unpersisted_bytes, "max_unpersisted_bytes must be above 0"),
            (self.max_apply_bytes, "max_apply_bytes must be above 0"),
            (self.max_pending_reads as u64, "max_pending_reads must be above 0"),
        ];
        if self.heartbeat_interval.is_zero() {
            return Err("heartbeat_interval must be above 0");
        }
        if nanos(self.heartbeat_interval) >= start {
            return Err("heartbeat_interval must be below election_timeout.start");
        }
        if start > end {
            return Err("election_timeout must not end before it starts");
        }
        if self.lease_reads && !self.stickiness {
            return Err("lease_reads needs stickiness");
        }
        if self.priority > MAX_PRIORITY {
            return Err("priority must be at most 100");
        }
        if self.max_clock_drift_ppm >= 1_000_000 {
            return Err("max_clock_drift_ppm must be below 1000000");
        }
        limits.iter().find(|(value, _)| *value == 0).map_or(Ok(()), |(_, problem)| Err(problem))
    }

    /// How much longer than its election timeout this node waits for a lost leader (rule R33).
    pub(crate) fn priority_delay(&self) -> Duration {
        let missing = u128::from(MAX_PRIORITY.saturating_sub(self.priority));
        let priority_delay = u128::from(nanos(self.election_timeout.end)) * missing / u128::from(MAX_PRIORITY);
        Duration::from_nanos(u64::try_from(priority_delay).unwrap_or(u64::MAX))
    }
}

impl Canonical for Config {
    fn feed(&self, canon: &mut Canon<'_>) {
        self.id.feed(canon);
        let seed = if canon.draws { self.seed } else { 0 };
        canon.raw(&Self { id: NodeId(0), seed, ..self.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_each_limit_is_checked() {
        let good = Config::new(NodeId(1));
        assert_eq!(good.check(), Ok(()));
        let breakages: [fn(&mut Config); 15] = [
            |config| config.heartbeat_interval = Duration::ZERO,
            |config| config.heartbeat_interval = config.election_timeout.start,
            |config| config.election_timeout.end = Duration::from_millis(149),
            |config| (config.lease_reads, config.stickiness) = (true, false),
            |config| config.max_clock_drift_ppm = 1_000_000,
            |config| config.priority = MAX_PRIORITY + 1,
            |config| config.max_write_stall = Duration::ZERO,
            |config| config.snapshot_timeout = Duration::ZERO,
            |config| config.max_append_bytes = 0,
            |config| config.max_inflight_bytes = 0,
            |config| config.max_inflight_messages = 0,
            |config| config.max_uncommitted_bytes = 0,
            |config| config.max_unpersisted_bytes = 0,
            |config| config.max_apply_bytes = 0,
            |config| config.max_pending_reads = 0,
        ];
        for (place, breakage) in breakages.iter().enumerate() {
            let mut config = good.clone();
            breakage(&mut config);
            assert!(config.check().is_err(), "breakage {place} was accepted: {config:?}");
        }
        let mut fixed = good;
        fixed.election_timeout.end = fixed.election_timeout.start;
        assert_eq!(fixed.check(), Ok(()), "an empty jitter range is legal");
    }
}
