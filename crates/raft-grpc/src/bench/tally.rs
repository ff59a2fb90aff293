//! Counts and latencies of an interval, and their line of text.

use hdrhistogram::Histogram;
use raft_check::history::Status;
use raft_client::ClientError;
use std::fmt;
use std::time::Duration;

/// Longer latencies count as an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Counts and latencies of operations. `ok` operations took effect, `failed` ones have no effect, `unknown` ones may have one.
#[derive(Clone, Debug)]
pub struct Tally {
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Latencies of the ok operations in microseconds.
    latency: Histogram<u64>,
    /// The error of the last operation that failed.
    pub last_error: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency =
            Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("1 to an hour in three digits is possible");
        Self { ok: 0, failed: 0, unknown: 0, latency, last_error: None }
    }
}

impl Tally {
    pub(super) fn count(&mut self, status: Status, latency: Duration, error: Option<&ClientError>) {
        match status {
            Status::Ok => {
                self.ok += 1;
                self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            Status::Fail => self.failed += 1,
            Status::Unknown => self.unknown += 1,
        }
        if let Some(error) = error {
            self.last_error = Some(error.to_string());
        }
    }

    pub(super) fn add(&mut self, later: Self) {
        self.ok += later.ok;
        self.failed += later.failed;
        self.unknown += later.unknown;
        self.latency += &later.latency;
        self.last_error = later.last_error.or(self.last_error.take());
    }

    pub fn operations(&self) -> u64 {
        self.ok + self.failed + self.unknown
    }
}

/// Formats the counts as `ok=912 failed=0 unknown=1 p50=1.2ms p90=2.0ms p99=3.1ms max=301ms`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ok={} failed={} unknown={}", self.ok, self.failed, self.unknown)?;
        let quantile = |part| Millis(self.latency.value_at_quantile(part));
        write!(f, " p50={} p90={} p99={}", quantile(0.5), quantile(0.9), quantile(0.99))?;
        write!(f, " max={}", Millis(self.latency.max()))
    }
}

struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros @ 0..100_000 => write!(f, "{}.{}ms", micros / 1000, micros % 1000 / 100),
            micros => write!(f, "{}ms", micros / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_add_up() {
        let mut total = Tally::default();
        for micros in 1..=100 {
            let mut second = Tally::default();
            second.count(Status::Ok, Duration::from_micros(micros * 1000), None);
            total.add(second);
        }
        let error = ClientError::Endpoint { problem: "gone".into() };
        let mut last = Tally::default();
        last.count(Status::Fail, Duration::from_secs(9), Some(&error));
        last.count(Status::Unknown, Duration::MAX, Some(&error));
        total.add(last);
        total.add(Tally::default());
        assert_eq!(total.to_string(), "ok=100 failed=1 unknown=1 p50=50.0ms p90=90.0ms p99=99.0ms max=100ms");
        assert_eq!((total.operations(), total.last_error.as_deref()), (102, Some("gone")));
    }
}
