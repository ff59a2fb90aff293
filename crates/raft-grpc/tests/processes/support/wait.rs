//! Waiting for a condition. This file must not know the condition.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Far longer than any condition takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const PERIOD: Duration = Duration::from_millis(20);

/// Waits until `look` finds a value, at most until the deadline. Until then `look` returns the reason why there is none
/// yet.
pub(crate) async fn wait_until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}: {seen}"),
        }
        sleep(PERIOD).await;
    }
}
