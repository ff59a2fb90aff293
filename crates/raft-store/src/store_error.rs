//! The store's errors: what was expected, what was found, where, and what to do.

use crate::disk::{Disk, DiskError, DiskErrorKind};
use raft_core::LogIndex;
use std::fmt;

/// Why a call failed. Unless the text of a kind says otherwise, the store is poisoned: it accepts no further call.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Durable data cannot be read back. `offset` is the byte in the file.
    #[error(
        "{file} is damaged at byte {offset}: {reason}. Other nodes may count on what was written there, so this node \
         must not start without it. If the disk can still be read elsewhere, use an exact copy of the folder as it is \
         now; else remove the node from the cluster and add the machine again under a new id with an empty folder"
    )]
    Corrupt { file: String, offset: u64, reason: String },
    /// A file of the node is not there; `evidence` says why it must have been, `found` is what the folder holds.
    #[error(
        "{file} is missing: {evidence}. The folder holds {}. Other nodes may count on what was in the file, so this node must \
         not start without it. If the file was moved, put it back unchanged; else remove the node from the cluster and add \
         the machine again under a new id with an empty folder",
        listed(.found)
    )]
    Missing { file: String, evidence: String, found: Vec<String> },
    /// No node has started here. It was not changed.
    #[error(
        "an interrupted restore or recovery has left this folder unfinished: remove it, then repeat the restore or the recovery"
    )]
    Unfinished,
    /// A later version wrote this folder.
    #[error("{file} has format {found}, and this version reads up to {supported}: use the version that wrote it")]
    NewerFormat { file: String, found: u32, supported: u32 },
    /// The folder belongs to another node, or to no node. It was not changed.
    #[error(
        "the folder holds {found}, expected {expected}: keep the folder as it is, and correct the settings of this start"
    )]
    Foreign { found: String, expected: String },
    /// Another process has the folder open; `pid` is its id, if the system says so.
    #[error("another process{} uses this folder: stop it first, or use another folder", shown(*.pid))]
    InUse { pid: Option<u32> },
    /// The folder does not exist or cannot be used.
    #[error("the folder cannot be used: {}: choose a folder that this user may write to", .0.message)]
    Folder(DiskError),
    /// The disk failed, and its state is unknown. End the process; the next start recovers.
    #[error("the disk failed: {0}")]
    Disk(#[from] DiskError),
    /// Entries, truncation or snapshot of a write do not fit the log. No write of its group was written.
    #[error("the write does not fit the log, which ends at {last}: {reason}")]
    InvalidWrite { last: LogIndex, reason: &'static str },
    /// The snapshot was never saved, or a newer one replaced it. The store stays usable.
    #[error("{file} does not exist: use the current snapshot")]
    NoSnapshot { file: String },
    /// A received snapshot is invalid, or is another snapshot. Its file was removed, and the store stays usable.
    #[error("the received {file} is invalid: {reason}. It was removed: send it again")]
    Damaged { file: String, reason: String },
    /// A chunk does not continue the received file. No byte was written, and the store stays usable.
    #[error("expected a chunk of {file} at byte {end}, found one at {offset}: continue there, or start again at 0")]
    OutOfPlace { file: String, offset: u64, end: u64 },
    /// The snapshot was not begun, or was dropped. The store stays usable.
    #[error("no such snapshot is being written: begin it first")]
    NotBegun,
    /// A record exceeds the format's limit. No write of its group was written.
    #[error("a record of {bytes} bytes is above the limit of {limit}: propose smaller commands")]
    RecordTooLarge { bytes: u64, limit: u64 },
    /// An option is out of range.
    #[error("segment_bytes is {segment_bytes}, expected at least {minimum}")]
    SegmentTooSmall { segment_bytes: u64, minimum: u64 },
    /// An earlier call failed. A failed sync is never retried: the system may have dropped what it could not write, and
    /// the next sync would succeed without it.
    #[error("the store stopped after an earlier failure ({0}): end the process and start it again")]
    Poisoned(Box<StoreError>),
}

impl StoreError {
    pub(crate) fn corrupt(file: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, reason: reason.into() }
    }

    /// The file is not in the folder of `disk`, which must hold it according to `evidence`.
    pub(crate) fn missing<D: Disk>(disk: &mut D, file: impl Into<String>, evidence: impl Into<String>) -> Self {
        match disk.list() {
            Ok(found) => Self::Missing { file: file.into(), evidence: evidence.into(), found },
            Err(error) => Self::Disk(error),
        }
    }

    /// Whether a failed call can be repeated later: the disk is full, or the snapshot is too large. If the store is
    /// poisoned anyway, its next call reports that.
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Disk(disk) => disk.kind == DiskErrorKind::Full,
            Self::RecordTooLarge { .. } => true,
            _ => false,
        }
    }
}

/// The reason why a store could not be opened, with its disk. Recovery may have removed a torn tail from it before the
/// failure.
#[allow(missing_docs)]
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct OpenError<D> {
    pub error: StoreError,
    pub disk: D,
}

impl<D> OpenError<D> {
    /// The reason and the disk.
    pub fn into_parts(self) -> (StoreError, D) {
        (self.error, self.disk)
    }
}

impl<D> fmt::Debug for OpenError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

/// The most names of an error's list.
const LISTED: usize = 12;

/// The first and the last of these names.
fn listed(names: &[String]) -> String {
    let half = LISTED / 2;
    match names.len() {
        0 => "no file".to_owned(),
        count if count <= LISTED => names.join(", "),
        count => {
            let (first, last) = (names[..half].join(", "), names[count - half..].join(", "));
            format!("{first}, {} more, {last}", count - LISTED)
        }
    }
}

fn shown(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_files_shows_its_ends() {
        let names = |count: usize| (1..=count).map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(listed(&[]), "no file");
        assert_eq!(listed(&names(2)), "1, 2");
        assert!(listed(&names(12)).ends_with(", 11, 12"));
        assert_eq!(listed(&names(20)), "1, 2, 3, 4, 5, 6, 8 more, 15, 16, 17, 18, 19, 20");
    }
}
