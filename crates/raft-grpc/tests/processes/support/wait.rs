//! Waiting for a condition. Must not know what it is.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Far beyond what anything takes on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const PERIOD: Duration = Duration::from_millis(20);

/// What `look` finds, at the latest at the deadline. Until then it says why it has found nothing yet.
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
