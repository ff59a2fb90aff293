//! Leases: when a leader may serve a read without a round (rule R30, Thesis §6.4.1).
//!
//! A node that answers an append promises to vote for no other candidate for a while: this is stickiness. As long as a
//! quorum of every half is sticky, no other leader can be elected, so none can commit. The promise runs from the
//! arrival of the append on the follower's clock. The leader knows only the send time, on its own clock: it counts from
//! there, and shortens the lease by the largest difference between the rates of two clocks:
//!
//! ```text
//! leader    | sent at t ------ lease: start x (1 - e) / (1 + e) ------|        at most start / (1 + e) of true time
//! follower         | arrived ------ stickiness: start ---------------------|   at least start / (1 + e) of true time
//! ```
//!
//! A lease does not need check-quorum: it expires, also if the leader does not notice that it is isolated.
//!
//! This file must not know read rounds.

use crate::config::Config;
use crate::id::{NodeId, Seq};
use crate::leader::Leader;
use crate::progress::Progress;
use crate::shared::Shared;
use crate::status::PeerState;
use crate::time::{Instant, nanos};
use core::time::Duration;

impl Leader {
    /// Whether no other node can lead now. False after this leader has sent `TimeoutNow`: that candidate's requests
    /// pass stickiness (rule R31).
    pub(crate) fn holds_lease(&self, shared: &Shared) -> bool {
        if !shared.config.lease_reads || self.timeout_now_sent {
            return false;
        }
        let Some(configuration) = shared.configuration() else { return false };
        let promised = |voter: NodeId| match self.peers.get(&voter) {
            // If it had voted for another candidate, it would no longer lead.
            _ if voter == shared.id() => Some(Instant::NEVER),
            Some(peer) if peer.state != PeerState::LostData => peer.promised,
            _ => None,
        };
        let since = configuration.quorum_value(promised);
        since.is_some_and(|since| shared.now < since.after(length(&shared.config)))
    }
}

impl Progress {
    /// Notes an answer that echoes `seq`, and the stickiness of its sender. The answer counts if that is not shorter
    /// than the leader's own stickiness. Returns true if it has just become shorter.
    pub(crate) fn promises(&mut self, seq: Seq, stickiness: Duration, needed: Duration) -> bool {
        let before = self.stickiness.replace(stickiness);
        if nanos(stickiness) >= nanos(needed) {
            self.promised = self.promised.max(self.mark_of(seq).map(|mark| mark.at));
            return false;
        }
        // The peer has restarted with other settings, so an earlier promise is void.
        self.promised = None;
        before != Some(stickiness)
    }
}

/// How long a lease lasts after the send time, rounded down.
fn length(config: &Config) -> Duration {
    const MILLION: u128 = 1_000_000;
    let drift = u128::from(config.max_clock_drift_ppm).min(MILLION);
    let length = u128::from(nanos(config.election_timeout.start)) * (MILLION - drift) / (MILLION + drift);
    Duration::from_nanos(u64::try_from(length).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_rounded_down_and_does_not_overflow() {
        let length = |start, ppm| {
            let mut config = Config::new(NodeId(1));
            config.election_timeout.start = start;
            config.max_clock_drift_ppm = ppm;
            length(&config)
        };
        assert_eq!(length(Duration::from_millis(150), 0), Duration::from_millis(150));
        assert_eq!(length(Duration::from_millis(110), 100_000), Duration::from_millis(90));
        assert_eq!(length(Duration::from_nanos(7), 1), Duration::from_nanos(6));
        assert_eq!(length(Duration::from_secs(1), 1_000_000), Duration::ZERO);
        assert!(length(Duration::MAX, 999_999) < Duration::from_secs(9_300));
    }
}
