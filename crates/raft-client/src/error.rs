//! The reasons why an operation failed, and in particular whether it may take effect.

use std::fmt;
use std::time::Duration;

/// The reason why an operation failed, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClientError {
    /// An endpoint is unusable, or there is none.
    Endpoint { problem: String },
    /// The operation has no effect, now or later: no attempt reached a leader. It has the duration of the attempts, and
    /// the last failure of each node: its URL and the reason.
    NoEffect { after: Duration, failures: Vec<(String, String)> },
    /// The operation may take effect now, later or never. It has the reason, and the last failure of each node: its URL
    /// and the reason.
    OutcomeUnknown { why: String, failures: Vec<(String, String)> },
    /// The nodes no longer remember the changes from the requested revision on. It has the first revision that they
    /// remember, and the map's revision.
    Compacted { from: u64, oldest: u64, revision: u64 },
    /// The nodes belong to another cluster than that of the changes which the watch has received, for example one that was restored from
    /// a backup. They number their changes alike, so the watch cannot continue before `from`: read the keys, and begin a new watch.
    OtherCluster { from: u64 },
    /// The learner to promote is too far behind; no effect. The last entry that it is known to have, and the leader's.
    NotCaughtUp { id: u64, match_index: u64, last: u64 },
    /// A node refused the operation permanently (for example a value that is too large); it has no effect.
    Refused { url: String, reason: String },
}

impl ClientError {
    /// Whether the operation may take effect. If not, you can safely repeat it.
    pub fn may_have_effect(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { problem } => f.write_str(problem),
            Self::NoEffect { after, failures } => {
                let after = humantime::format_duration(*after);
                write!(f, "no leader answered within {after}, nothing was changed: {}", Failures(failures))
            }
            Self::OutcomeUnknown { why, failures } => {
                write!(f, "outcome unknown, read before you repeat it: {why}: {}", Failures(failures))
            }
            Self::Compacted { from, oldest, revision } => write!(
                f,
                "the nodes no longer remember revision {from}, the oldest is {oldest}: read the keys, then watch from the revision after \
                 the read ({revision} or later)"
            ),
            Self::OtherCluster { from } => write!(
                f,
                "the nodes belong to another cluster than before revision {from}, perhaps a restored one: read the keys, then watch from the \
                 revision after the read"
            ),
            Self::NotCaughtUp { id, match_index, last } => write!(
                f,
                "node {id} has not caught up: it has entry {match_index}, and the leader's last entry is {last}. Wait and promote it later"
            ),
            Self::Refused { url, reason } => write!(f, "{url} refused it: {reason}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// Formats failures as `http://a:1: is busy; http://b:2: connection refused`.
struct Failures<'a>(&'a [(String, String)]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no node was asked");
        }
        for (place, (url, failure)) in self.0.iter().enumerate() {
            write!(f, "{}{url}: {failure}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
