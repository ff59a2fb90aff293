//! What a client says when an operation did not end well: above all, whether it may have an effect.

use std::fmt;
use std::time::Duration;

/// Why an operation did not end well. Each is one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// An endpoint is unusable, or there is none.
    Endpoint {
        /// What is wrong with which.
        problem: String,
    },
    /// The operation surely has no effect, now or later: no attempt got through.
    NoEffect {
        /// How long it was tried.
        after: Duration,
        /// The last thing heard from each node asked: its URL, and what.
        heard: Vec<(String, String)>,
    },
    /// The operation may have an effect now, later or never.
    OutcomeUnknown {
        /// Why that cannot be said.
        why: String,
        /// The last thing heard from each node asked: its URL, and what.
        heard: Vec<(String, String)>,
    },
    /// What was to be watched is not remembered any more.
    Compacted {
        /// The revision from which it was to be watched.
        from: u64,
        /// The first revision that is remembered.
        oldest: u64,
        /// The map's revision.
        revision: u64,
    },
    /// A node refused the operation for good (a value that is too large); it surely has no effect.
    Refused {
        /// The node's URL.
        url: String,
        /// What it said.
        reason: String,
    },
}

impl ClientError {
    /// Whether the operation may have an effect. If not, it may be repeated without a thought.
    pub fn may_have_effect(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { problem } => f.write_str(problem),
            Self::NoEffect { after, heard } => {
                let after = humantime::format_duration(*after);
                write!(f, "no leader answered within {after}, nothing was changed: {}", Heard(heard))
            }
            Self::OutcomeUnknown { why, heard } => {
                write!(f, "outcome unknown, read before you repeat it: {why}: {}", Heard(heard))
            }
            Self::Compacted { from, oldest, revision } => write!(
                f,
                "the changes from revision {from} on are not remembered any more, the oldest is {oldest}: read what is there \
                 now, and watch from behind its revision ({revision} or later)"
            ),
            Self::Refused { url, reason } => write!(f, "{url} refused it: {reason}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// `http://a:1: is busy; http://b:2: connection refused`.
struct Heard<'a>(&'a [(String, String)]);

impl fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody said anything");
        }
        for (place, (url, heard)) in self.0.iter().enumerate() {
            write!(f, "{}{url}: {heard}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
