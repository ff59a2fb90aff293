//! The state of one operation over all its attempts: deadline, pauses, and whether an attempt without an answer may
//! take effect.

use crate::client::ClientOptions;
use std::time::Duration;
use tokio::time::Instant;

/// The number of hints that the client follows without a pause: nodes that name each other must not make it loop.
const MAX_HOPS: u32 = 3;

#[derive(Debug)]
pub(crate) struct RetryState {
    began: Instant,
    pub(crate) deadline: Duration,
    /// With less time left the client makes no further attempt: an answer would be unlikely, and the outcome would
    /// become unknown.
    shortest_attempt: Duration,
    /// The bound of the next pause.
    pause: Duration,
    max_pause: Duration,
    /// How many requests were sent, including those that open a session.
    pub(crate) attempts: u32,
    hops: u32,
    /// Whether an attempt without an answer may take effect.
    pub(crate) uncertain: bool,
}

impl RetryState {
    pub(crate) fn new(options: &ClientOptions, attempt_timeout: Duration) -> Self {
        Self {
            began: Instant::now(),
            deadline: options.deadline,
            shortest_attempt: attempt_timeout / 10,
            pause: options.min_pause,
            max_pause: options.max_pause,
            attempts: 0,
            hops: 0,
            uncertain: false,
        }
    }

    /// The time left for an attempt; `None` if it is too short.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.deadline.checked_sub(self.began.elapsed())?;
        (self.attempts == 0 || left > self.shortest_attempt).then_some(left)
    }

    /// Whether a hint may be followed without a pause.
    pub(crate) fn may_hop(&mut self) -> bool {
        self.hops += 1;
        self.hops <= MAX_HOPS
    }

    /// Waits with full jitter, so that clients that failed together do not retry together.
    pub(crate) async fn pause(&mut self) {
        self.hops = 0;
        let left = self.left().unwrap_or_default();
        let pause = self.pause.min(left).mul_f64(fastrand::f64());
        self.pause = self.pause.saturating_mul(2).min(self.max_pause);
        tokio::time::sleep(pause).await;
    }
}
