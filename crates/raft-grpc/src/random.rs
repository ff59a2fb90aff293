//! Entropy: what differs from start to start and from node to node. The one place that asks the system for it.

use std::time::Duration;

/// Any number. If the system has no entropy to give, the clock will do: nothing here is a secret.
pub(crate) fn number() -> u64 {
    getrandom::u64().unwrap_or_else(|_| crate::clock::now().0)
}

/// Bytes that nobody else has drawn, or will.
///
/// # Errors
/// The system has no entropy to give: a clock would not do, where two that are equal do harm.
pub(crate) fn unique() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Any duration below this one (full jitter), to the nanosecond; zero below a nanosecond.
pub(crate) fn below(limit: Duration) -> Duration {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(number().checked_rem(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_below_its_limit() {
        let limit = Duration::from_micros(3);
        assert!((0..1_000).all(|_| below(limit) < limit));
        assert_eq!(below(Duration::ZERO), Duration::ZERO);
        assert_ne!(number(), number());
        assert_ne!(unique(), unique());
    }
}
