//! The clock of a node: what it reads at a true time, and when it will read a given time.
//!
//! Nodes see their clock, checkers see true time. A clock is a function of true time, so whatever else clocks do
//! belongs here and nowhere else. This file must not know who asks.

use crate::record::SimTime;
use raft_core::Instant;

/// A clock that is ahead of true time by a fixed offset. Only differences of its readings mean anything to a node, so
/// the offset only proves that no node compares its clock with another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeClock {
    offset: u64,
}

impl NodeClock {
    /// A clock that shows `offset` nanoseconds when the world begins.
    pub const fn new(offset: u64) -> Self {
        Self { offset }
    }

    /// What the clock shows at this true time.
    pub const fn read(self, at: SimTime) -> Instant {
        Instant(at.0.saturating_add(self.offset))
    }

    /// The earliest true time at which the clock shows `instant` or more.
    pub const fn when(self, instant: Instant) -> SimTime {
        // The end of time is "never" on every clock.
        if instant.0 == u64::MAX { SimTime(u64::MAX) } else { SimTime(instant.0.saturating_sub(self.offset)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let clock = NodeClock::new(1_000);
        assert_eq!(clock.read(SimTime(5)), Instant(1_005));
        assert_eq!(clock.when(Instant(1_005)), SimTime(5));
        assert_eq!(clock.when(Instant(0)), SimTime(0), "a time before the world began has come");
        assert_eq!(clock.when(Instant(u64::MAX)), SimTime(u64::MAX), "never stays never");
    }
}
