//! The reason why a command fails: one line (what, where, what to do) and an exit code.

use raft_client::ClientError;
use raft_node::{NewClusterError, SnapshotError};
use raft_store::{BackupError, DiskErrorKind, RebuildError, StoreError};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// A failure while running: no answer, a failed check, an absent key.
    Runtime = 1,
    Usage = 2,
    /// The data folder belongs to another cluster or node, has a newer format, or is on another disk than the peers
    /// expect.
    Foreign = 3,
    /// Acknowledged data cannot be read, or a file of it is missing.
    Corrupt = 4,
    /// The disk failed, or is full at the start.
    Disk = 5,
    AddressInUse = 6,
    /// The cluster has removed this node.
    Removed = 7,
    /// Another process uses the data folder.
    FolderInUse = 8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// One line that says what failed, where, and what to do.
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(Exit::Runtime, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An error of the store in the folder `place`.
    pub fn store(place: &str, error: &StoreError) -> Self {
        Self::new(exit_of(error), format!("{place}: {error}"))
    }

    /// An error of the backup file `place`.
    pub fn backup(place: &str, error: &BackupError) -> Self {
        let exit = match error {
            BackupError::Damaged { .. } => Exit::Corrupt,
            BackupError::NewerFormat { .. } => Exit::Foreign,
            BackupError::Read { .. } => Exit::Runtime,
        };
        Self::new(exit, format!("{place}: {error}"))
    }

    /// The content of the file `place` cannot be used.
    pub fn content(place: &str, error: &SnapshotError) -> Self {
        let exit = match error {
            SnapshotError::UnknownFormat { .. } => Exit::Foreign,
            SnapshotError::Malformed(_) | SnapshotError::OtherEntry { .. } => Exit::Corrupt,
        };
        Self::new(exit, format!("{place}: {error}"))
    }

    /// The folder of a new cluster was not made in `place`.
    pub fn new_cluster(place: &str, error: &NewClusterError) -> Self {
        match error {
            NewClusterError::Rebuild(RebuildError::Store(error)) => Self::store(place, error),
            NewClusterError::Rebuild(RebuildError::Backup(error)) => Self::backup(place, error),
            NewClusterError::Rebuild(RebuildError::SameCluster(_)) => {
                Self::usage(format!("{place}: {error}, with --cluster NAME"))
            }
            NewClusterError::Content(error) => Self::content(place, error),
            NewClusterError::Rebuild(RebuildError::NothingThere) | NewClusterError::TooLong(_) => {
                Self::runtime(format!("{place}: {error}"))
            }
        }
    }
}

fn exit_of(error: &StoreError) -> Exit {
    match error {
        StoreError::Corrupt { .. } | StoreError::Missing { .. } => Exit::Corrupt,
        StoreError::InUse { .. } => Exit::FolderInUse,
        StoreError::NewerFormat { .. } | StoreError::Foreign { .. } | StoreError::Unfinished => Exit::Foreign,
        StoreError::Folder(disk) if disk.kind != DiskErrorKind::Full => Exit::Usage,
        StoreError::Disk(disk) if disk.kind == DiskErrorKind::NotFound => Exit::Runtime,
        StoreError::Folder(_) | StoreError::Disk(_) => Exit::Disk,
        StoreError::SegmentTooSmall { .. } => Exit::Usage,
        StoreError::InvalidWrite { .. } | StoreError::RecordTooLarge { .. } => Exit::Runtime,
        StoreError::NoSnapshot { .. } | StoreError::OutOfPlace { .. } | StoreError::NotBegun => Exit::Runtime,
        StoreError::Damaged { .. } => Exit::Corrupt,
        StoreError::Poisoned(first) => exit_of(first),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Endpoint { problem } => Self::usage(problem),
            error => Self::runtime(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_store::DiskError;

    #[test]
    fn each_refusal_of_a_store_has_its_exit_code_and_one_line() {
        let disk = |kind| DiskError { kind, file: "META".to_owned(), message: "no".to_owned() };
        let text = String::new;
        let cases = [
            (StoreError::Foreign { found: text(), expected: text() }, Exit::Foreign),
            (StoreError::NewerFormat { file: text(), found: 2, supported: 1 }, Exit::Foreign),
            (StoreError::Corrupt { file: text(), offset: 0, reason: text() }, Exit::Corrupt),
            (StoreError::Missing { file: text(), evidence: text(), found: Vec::new() }, Exit::Corrupt),
            (StoreError::InUse { pid: Some(7) }, Exit::FolderInUse),
            (StoreError::Folder(disk(DiskErrorKind::NotFound)), Exit::Usage),
            (StoreError::Folder(disk(DiskErrorKind::Full)), Exit::Disk),
            (StoreError::Disk(disk(DiskErrorKind::Full)), Exit::Disk),
            (StoreError::Disk(disk(DiskErrorKind::Failed)), Exit::Disk),
        ];
        for (error, exit) in cases {
            let failure = Failure::store("raft-data", &StoreError::Poisoned(Box::new(error.clone())));
            assert_eq!((failure.exit, Failure::store("raft-data", &error).exit), (exit, exit), "{error}");
            assert!(failure.message.starts_with("raft-data: ") && !failure.message.contains('\n'), "{failure}");
        }
    }
}
