//! The election clock: when this node last had contact with a leader, and how long it waits for the next contact.
//!
//! A running timer belongs to the role that started it. This file must not know the roles.

use crate::canonical::canonical;
use crate::config::Config;
use crate::id::Round;
use crate::jitter::Jitter;
use crate::time::{Instant, nanos, width};
use core::time::Duration;

/// Contact, election timeout and rounds of a node, which stay when its role changes (rules R16, R32 and R33).
///
/// Contact, election timeout and rounds of a node, which stay when its role changes (rules R16 and R33). Invariants:
/// contact <= now; the timeout lies in the range of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ElectionClock {
    /// The last contact with the leader of the term at that time (Thesis §4.2.3); `None` in a node that never waits for
    /// a leader.
    pub(crate) contact: Option<Instant>,
    /// The election timeout drawn last.
    timeout: Duration,
    jitter: Jitter,
    pub(crate) round: Round,
}

impl ElectionClock {
    pub(crate) fn new(jitter: Jitter, config: &Config) -> Self {
        Self { contact: None, timeout: config.election_timeout.end, jitter, round: Round(0) }
    }

    /// The first call: returns when the election timer of a follower fires.
    ///
    /// A restarted voter may have answered a leader just before it went down, and that leader may rely on its
    /// stickiness. A sole voter follows no leader. Lease reads are the exception: a leader that leaves the cluster to
    /// this voter may hold a lease that depends on its answer (rule R32).
    pub(crate) fn start(&mut self, config: &Config, now: Instant, is_sole_voter: bool) -> Instant {
        let is_free = is_sole_voter && !config.lease_reads;
        self.contact = (!is_free).then_some(now);
        if is_free {
            return now;
        }
        self.draw_deadline(config, now);
        self.deadline_after_contact(config, now)
    }

    /// Draws a new election timeout and returns when it runs out.
    pub(crate) fn draw_deadline(&mut self, config: &Config, now: Instant) -> Instant {
        let jitter = self.jitter.below(width(&config.election_timeout));
        self.timeout = config.election_timeout.start.saturating_add(Duration::from_nanos(jitter));
        now.after(self.timeout)
    }

    /// When a follower with contact at this time stops waiting for its leader. Contact draws no new timeout: followers
    /// of the same leader stay apart because of the draws of their last rounds. Only this first wait is longer for a
    /// node of low priority. If its rounds or its wait after a vote were longer too, nodes that cannot win could keep
    /// the only possible winner from asking.
    pub(crate) fn deadline_after_contact(&self, config: &Config, now: Instant) -> Instant {
        now.after(self.timeout).after(config.priority_delay())
    }

    pub(crate) fn next_round(&mut self) -> Round {
        self.round = self.round.next();
        self.round
    }

    pub(crate) fn check(&self, config: &Config, now: Instant) {
        let Self { contact, timeout, .. } = *self;
        let range = &config.election_timeout;
        assert!(contact <= Some(now), "contact {contact:?} is after now {now}");
        let is_inside = (nanos(range.start)..=nanos(range.end)).contains(&nanos(timeout));
        assert!(is_inside, "election timeout {timeout:?} is not in {range:?}");
    }
}

canonical!(ElectionClock { contact, timeout, jitter, round });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_fails, follower};

    #[test]
    fn a_contact_to_come_and_a_timeout_out_of_range_fail() {
        let shared = follower().shared;
        each_fails(
            &shared.clock,
            |clock| clock.check(&shared.config, shared.now),
            &[
                ("is after now", |clock| clock.contact = Some(Instant::NEVER)),
                ("election timeout 0ns is not in 150ms..300ms", |clock| clock.timeout = Duration::ZERO),
            ],
        );
    }
}
