//! When a learner has caught up, so that it can become a voter (rule R26, Thesis §4.2.1).

use crate::canonical::{Canon, Canonical};
use crate::id::LogIndex;
use crate::time::Instant;
use core::time::Duration;

/// The rounds in which a peer catches up (rule R26, Thesis §4.2.1). In each round it gets what the log held when the
/// round began. After a round shorter than an election timeout the peer can vote without delaying the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct CatchUp {
    target: LogIndex,
    since: Instant,
    last_was_short: bool,
}

impl CatchUp {
    /// The first round.
    pub(crate) fn new(target: LogIndex, now: Instant) -> Self {
        Self { target, since: now, last_was_short: false }
    }

    /// Notes the peer's match index. Returns true if a round has ended and is the first short one.
    pub(crate) fn advance(&mut self, matched: LogIndex, last: LogIndex, now: Instant, timeout: Duration) -> bool {
        if matched < self.target {
            return false;
        }
        let was_short = self.last_was_short;
        self.last_was_short = now.since(self.since) <= timeout;
        *self = Self { target: last, since: now, ..*self };
        self.last_was_short && !was_short
    }

    /// Whether the peer has caught up: it holds everything, or its last round was short and the current one is not too
    /// long yet.
    pub(crate) fn is_done(&self, matched: LogIndex, last: LogIndex, now: Instant, timeout: Duration) -> bool {
        matched >= last || (self.last_was_short && now.since(self.since) <= timeout)
    }
}

/// A round measures time, so nothing of it counts where times do not count.
impl Canonical for CatchUp {
    fn feed(&self, canon: &mut Canon<'_>) {
        let Self { target, since, last_was_short } = self;
        if !canon.timeless {
            target.feed(canon);
            since.feed(canon);
            last_was_short.feed(canon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_caught_up_after_a_short_round_and_until_a_long_one() {
        let timeout = Duration::from_millis(100);
        let at = Instant::from_millis;
        let mut rounds = CatchUp::new(LogIndex(50), at(0));
        assert!(!rounds.advance(LogIndex(49), LogIndex(60), at(10), timeout));
        assert!(!rounds.advance(LogIndex(50), LogIndex(90), at(500), timeout), "the first round was long");
        assert!(!rounds.is_done(LogIndex(50), LogIndex(90), at(500), timeout));
        assert!(!rounds.advance(LogIndex(60), LogIndex(95), at(550), timeout), "the round has ended");
        assert!(rounds.advance(LogIndex(90), LogIndex(95), at(600), timeout), "the second was short");
        assert!(rounds.is_done(LogIndex(90), LogIndex(95), at(700), timeout));
        assert!(!rounds.is_done(LogIndex(90), LogIndex(95), at(701), timeout), "the third round is already too long");
        assert!(rounds.is_done(LogIndex(95), LogIndex(95), at(900), timeout), "it holds everything");
    }
}
