//! The course of one operation: its deadline, its attempts, its pauses, and whether an attempt's fate is open.
//!
//! Must not know whom it asks.

use super::ClientOptions;
use std::time::Duration;
use tokio::time::Instant;

/// Hints are followed at once this often, then there is a pause: nodes that name each other must not make it spin.
const MAX_HOPS: u32 = 3;

/// The course of one operation.
#[derive(Debug)]
pub(super) struct RetryState {
    began: Instant,
    deadline: Duration,
    /// An attempt with less time than this would hardly be answered, and only leave the outcome open.
    shortest_attempt: Duration,
    /// The bound of the next pause.
    pause: Duration,
    max_pause: Duration,
    attempts: u32,
    hops: u32,
    uncertain: bool,
}

impl RetryState {
    /// Begins now.
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            began: Instant::now(),
            deadline: options.deadline,
            shortest_attempt: options.attempt_timeout / 10,
            pause: options.min_pause,
            max_pause: options.max_pause,
            attempts: 0,
            hops: 0,
            uncertain: false,
        }
    }

    /// How much time is left for an attempt; none: too little.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.deadline.checked_sub(self.began.elapsed())?;
        (self.attempts == 0 || left > self.shortest_attempt).then_some(left)
    }

    /// How long it may take in all.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How often a node was asked, sessions included.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn count_attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Whether an attempt may have an effect that nobody has told of.
    pub(super) fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    pub(super) fn set_uncertain(&mut self) {
        self.uncertain = true;
    }

    /// Whether a hint may be followed without a pause.
    pub(super) fn may_hop(&mut self) -> bool {
        self.hops += 1;
        self.hops <= MAX_HOPS
    }

    /// Waits: full jitter, so that clients that failed together do not come back together.
    pub(super) async fn pause(&mut self) {
        self.hops = 0;
        let left = self.left().unwrap_or_default();
        let pause = crate::random::below(self.pause.min(left));
        self.pause = self.pause.saturating_mul(2).min(self.max_pause);
        tokio::time::sleep(pause).await;
    }
}
