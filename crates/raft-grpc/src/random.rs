//! Entropy from the system.

use std::time::Duration;

/// A random number; without entropy the time, since nothing here is a secret.
pub(crate) fn number() -> u64 {
    getrandom::u64().unwrap_or_else(|_| crate::clock::now().0)
}

/// A unique id.
///
/// # Errors
/// The system has no entropy. The time is no substitute: two equal ids do harm.
pub(crate) fn unique() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A random duration below the limit (full jitter).
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
