//! The clock of a node: its reading at a true time, and the true time of a reading.
//!
//! Nodes see their clock, checkers see true time. A clock is a function of true time, so all behaviour of clocks
//! belongs to this file. This file must not know its users.

use crate::record::SimTime;
use raft_core::Instant;

const MILLION: i64 = 1_000_000;

/// A clock that is ahead of true time by an offset and may run fast or slow. A node uses only differences of readings,
/// so the offset only proves that no node compares its clock with another's.
///
/// The clock is a line through (`since`, `shown`): it never goes back, whatever its rate. It jumps only if it is
/// [set](Self::set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeClock {
    /// When the current rate began.
    since: SimTime,
    /// The reading at that time.
    shown: u64,
    /// How much too fast it runs, in parts per million; above -1 000 000.
    ppm: i32,
}

impl NodeClock {
    /// A clock that shows `offset` nanoseconds at the beginning of the world, and runs true.
    pub const fn new(offset: u64) -> Self {
        Self { since: SimTime(0), shown: offset, ppm: 0 }
    }

    /// The same clock with another rate from `at` on: too fast by `ppm` parts per million, or too slow below 0. A clock
    /// that would stop or run back gets the lowest rate: a millionth of the true one.
    pub fn drifting(self, at: SimTime, ppm: i32) -> Self {
        Self { since: at, shown: self.read(at).0, ppm: ppm.max(1 - MILLION as i32) }
    }

    /// The same clock with another reading from `at` on: it jumps.
    pub const fn set(self, at: SimTime, reading: Instant) -> Self {
        Self { since: at, shown: reading.0, ppm: self.ppm }
    }

    /// Whether it runs at the rate of true time.
    pub const fn is_true(self) -> bool {
        self.ppm == 0
    }

    /// The reading at this true time, which is not before its rate began.
    pub fn read(self, at: SimTime) -> Instant {
        let passed = u128::from(at.0.saturating_sub(self.since.0)) * u128::from(self.rate()) / MILLION as u128;
        Instant(self.shown.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    /// The earliest true time since its rate began at which the clock shows `instant` or more.
    pub fn when(self, instant: Instant) -> SimTime {
        // The last instant means "never" on every clock.
        if instant.0 == u64::MAX {
            return SimTime(u64::MAX);
        }
        let left = u128::from(instant.0.saturating_sub(self.shown));
        let passed = (left * MILLION as u128).div_ceil(u128::from(self.rate()));
        SimTime(self.since.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    /// The nanoseconds that it advances in a million true ones.
    fn rate(self) -> u64 {
        u64::try_from(MILLION + i64::from(self.ppm)).unwrap_or(1)
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
        assert_eq!(clock.when(Instant(0)), SimTime(0), "a time before the beginning of the world has passed");
        assert_eq!(clock.when(Instant(u64::MAX)), SimTime(u64::MAX), "never stays never");
    }

    #[test]
    fn a_fast_clock_shows_more_and_a_slow_one_less() {
        let clock = NodeClock::new(1_000);
        let (fast, slow) = (clock.drifting(SimTime(100), 500_000), clock.drifting(SimTime(100), -500_000));
        assert_eq!((fast.read(SimTime(100)), slow.read(SimTime(100))), (Instant(1_100), Instant(1_100)), "no jump");
        assert_eq!((fast.read(SimTime(200)), slow.read(SimTime(200))), (Instant(1_250), Instant(1_150)));
        assert_eq!((fast.when(Instant(1_250)), slow.when(Instant(1_150))), (SimTime(200), SimTime(200)));
        assert!(clock.is_true() && !fast.is_true() && !slow.is_true());
        let right = fast.drifting(SimTime(200), 0);
        assert_eq!((right.read(SimTime(300)), right.is_true()), (Instant(1_350), true), "it does not jump back");
        assert_eq!(slow.when(Instant(u64::MAX)), SimTime(u64::MAX), "never stays never");
    }

    #[test]
    fn a_clock_that_is_set_keeps_its_rate() {
        let clock = NodeClock::new(1_000).drifting(SimTime(0), 500_000).set(SimTime(100), Instant(7));
        assert_eq!((clock.read(SimTime(100)), clock.read(SimTime(200))), (Instant(7), Instant(157)));
        assert_eq!(clock.when(Instant(157)), SimTime(200));
    }

    #[test]
    fn when_is_the_first_time_of_a_reading_at_any_rate() {
        for ppm in [-999_999, -900_000, -333_333, -1, 0, 1, 7, 333_333, 9_000_000, i32::MIN] {
            let clock = NodeClock::new(17).drifting(SimTime(1_000), ppm);
            for ahead in [1, 2, 3, 999_999, 1_000_000, 150_000_000] {
                let instant = Instant(clock.read(SimTime(1_000)).0 + ahead);
                let at = clock.when(instant);
                assert!(clock.read(at) >= instant, "{ppm}: {at:?} is too early for {ahead}");
                assert!(clock.read(SimTime(at.0 - 1)) < instant, "{ppm}: {at:?} is too late for {ahead}");
            }
        }
    }
}
