//! Time: each call carries it; the core never reads a clock (rule R1).

use core::fmt;
use core::ops::Range;
use core::time::Duration;

/// Nanoseconds on a clock of the host that is monotonic and runs through suspend (Linux: `CLOCK_BOOTTIME`). Only
/// differences mean anything. Arithmetic saturates: the last instant means "never".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(pub u64);

impl Instant {
    /// The last instant: a timer set to it never fires.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// Whether a timer set to this instant fires at `now`.
    pub(crate) fn is_due(self, now: Self) -> bool {
        self <= now && self != Self::NEVER
    }

    /// The instant `nanos` nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the clock's zero.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// This instant plus `duration`, at most the last instant.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this instant is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The length of `duration` in nanoseconds, at most `u64::MAX` (584 years).
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The width of a range of durations, in nanoseconds; 0 if it is empty.
pub(crate) fn width(range: &Range<Duration>) -> u64 {
    nanos(range.end).saturating_sub(nanos(range.start))
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant(u64::MAX - 1).after(Duration::from_secs(1)), Instant(u64::MAX));
        assert_eq!(Instant(1).since(Instant(2)), Duration::ZERO);
        assert_eq!(Instant(5).after(Duration::MAX), Instant(u64::MAX));
        assert_eq!(width(&(Duration::from_nanos(3)..Duration::from_nanos(1))), 0);
        assert_eq!(format!("{}", Instant::from_millis(12)), "12.000000ms");
    }
}
