//! The node's clock: monotonic, and it runs through suspend, as the core requires.

use raft_core::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Linux has a clock that counts suspended time; other systems use the monotonic one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

pub(crate) fn now() -> Instant {
    let time = clock_gettime(CLOCK);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn it_does_not_go_back() {
        let moments: Vec<_> = (0..1_000).map(|_| now()).collect();
        assert!(moments.is_sorted());
        assert!(moments[0].0 > 0);
    }
}
