//! Why a command ends early: a line that says what, where and what to do, and the exit code that goes with it.

use raft_store::{DiskErrorKind, StoreError};
use std::fmt;

/// The exit codes of `raft-grpc`, apart from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Something went wrong while running: no answer, a failed check, a key that is not there.
    Runtime = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The data folder is another cluster's, another node's, or of a newer format.
    Foreign = 3,
    /// What was promised to others cannot be read back.
    Corrupt = 4,
    /// The disk failed, or is full at the start.
    Disk = 5,
    /// An address to listen on is in use.
    AddressInUse = 6,
}

/// Why a command ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line: what, where, what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// [`Exit::Runtime`] with its line.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(Exit::Runtime, message)
    }

    /// [`Exit::Usage`] with its line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// What a store in the folder `place` said.
    pub fn store(place: &str, error: &StoreError) -> Self {
        Self::new(exit_of(error), format!("{place}: {error}"))
    }
}

/// The exit code that goes with what a store says.
fn exit_of(error: &StoreError) -> Exit {
    match error {
        StoreError::Corrupt { .. } => Exit::Corrupt,
        StoreError::NewerFormat { .. } => Exit::Foreign,
        StoreError::Disk(disk) if disk.kind == DiskErrorKind::NotFound => Exit::Runtime,
        StoreError::Disk(_) => Exit::Disk,
        StoreError::SegmentTooSmall { .. } => Exit::Usage,
        StoreError::Misfit { .. } | StoreError::RecordTooLarge { .. } => Exit::Runtime,
        StoreError::Poisoned(first) => exit_of(first),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
