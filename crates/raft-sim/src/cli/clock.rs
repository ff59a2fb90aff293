//! The wall clock, for speeds and time limits only. It never enters a run or a hash.

pub(crate) use std::time::Instant;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the command line measures its own speed; no run sees this clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
