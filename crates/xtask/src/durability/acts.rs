//! What a node does that only a durable disk allows: it promises something to others, or it lets go of something on its
//! own disk. Must not know whether it was allowed.

use super::claims::Claim;
use super::wal::Place;
use std::fmt;

/// An act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A promise to somebody else.
    Promise(Claim),
    /// A file is shown under another name: it must be whole.
    Rename { from: String, to: String },
    /// A record names a snapshot: the log rests on its file from now on.
    Name { snapshot: String },
    /// A file of the log goes, or what was in it.
    RemoveSegment { file: String },
    /// A snapshot's file goes.
    RemoveSnapshot { file: String },
}

/// The kinds of acts, in the order of [`Act::kind`].
pub(crate) const KINDS: [&str; 10] = [
    "matches acknowledged",
    "votes granted",
    "own votes",
    "commands answered",
    "sessions opened",
    "queries answered",
    "files renamed",
    "snapshots named",
    "segments removed",
    "snapshots removed",
];

/// The place in [`KINDS`] of commands answered.
pub(crate) const ANSWERED: usize = 3;
/// Of snapshots named.
pub(crate) const NAMED: usize = 7;
/// Of segments removed.
pub(crate) const SEGMENTS: usize = 8;
/// Of snapshots removed.
pub(crate) const SNAPSHOTS: usize = 9;

impl Act {
    /// Which of [`KINDS`] it is.
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Promise(Claim::Matched { .. }) => 0,
            Self::Promise(Claim::Granted { .. }) => 1,
            Self::Promise(Claim::OwnVote { .. }) => 2,
            Self::Promise(Claim::Applied { .. }) => ANSWERED,
            Self::Promise(Claim::Opened { .. }) => 4,
            Self::Promise(Claim::Answered { .. }) => 5,
            Self::Rename { .. } => 6,
            Self::Name { .. } => NAMED,
            Self::RemoveSegment { .. } => SEGMENTS,
            Self::RemoveSnapshot { .. } => SNAPSHOTS,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promise(Claim::Matched { index, term }) => {
                write!(f, "the match of all entries up to {index} in term {term} left")
            }
            Self::Promise(Claim::Granted { candidate, term }) => {
                write!(f, "the grant of the vote of term {term} to node {candidate} left")
            }
            Self::Promise(Claim::OwnVote { term, .. }) => write!(f, "the request for votes of term {term} left"),
            Self::Promise(Claim::Applied { index, term }) => {
                write!(f, "the answer to a command, applied as entry {index}@{term}, left")
            }
            Self::Promise(Claim::Opened { index }) => {
                write!(f, "the answer that entry {index} has opened a session left")
            }
            Self::Promise(Claim::Answered { index }) => {
                write!(f, "the answer to a query from what is applied up to {index} left")
            }
            Self::Rename { from, to } => write!(f, "{from} became {to}"),
            Self::Name { snapshot } => write!(f, "the log was made to rest on {snapshot}"),
            Self::RemoveSegment { file } | Self::RemoveSnapshot { file } => write!(f, "{file} was removed"),
        }
    }
}

/// An act that was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Whose.
    pub(crate) node: u64,
    /// Where it began.
    pub(crate) place: Place,
    pub(crate) act: Act,
    /// What was missing.
    pub(crate) lacks: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, place, act, lacks } = self;
        write!(f, "node {node}: {act} in {place}, but {lacks}")
    }
}
