//! What the store says when it cannot go on: what, where, and what to do about it.

use crate::disk::{DiskError, DiskErrorKind};
use raft_core::LogIndex;
use std::fmt;

/// Why the store refuses. Where a text does not say that all else goes on, the same store takes nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What was acknowledged cannot be read back.
    #[error(
        "{file} is damaged at byte {offset}: {reason}. What was written from there on was promised to others, so this \
         node must not start without it. If the disk can still be read elsewhere, restore the folder from a copy of \
         this very moment; else remove the node from the cluster and add the machine again under a new id with an \
         empty folder"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A later version wrote this folder.
    #[error("{file} has format {found}, and this version reads up to {supported}: use the version that wrote it")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// The folder is another node's, or something else's. Nothing in it was touched.
    #[error("the folder holds {found}, and this is to be {expected}: use another folder, an empty one for a new node")]
    Foreign {
        /// What it holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Another process has the folder open.
    #[error("another process uses this folder: stop it first, or use another folder")]
    InUse,
    /// There is no such folder, or none that can be used.
    #[error("the folder cannot be used: {}: name one that this user may write to", .0.message)]
    Folder(DiskError),
    /// The disk failed. What is on it is unknown: end the process, and let recovery look at what there is.
    #[error("the disk failed: {0}")]
    Disk(#[from] DiskError),
    /// A write whose entries, truncation or snapshot do not fit the log that is on the disk. Nothing of its group was
    /// written.
    #[error("the write does not fit the log, which ends at {last}: {reason}")]
    InvalidWrite {
        /// The last index of the log.
        last: LogIndex,
        /// What does not fit.
        reason: &'static str,
    },
    /// There is no file of such a snapshot: it was never saved, or a newer one has taken its place.
    #[error("there is no {file}: use the snapshot that is in force now")]
    NoSnapshot {
        /// The file that would hold it.
        file: String,
    },
    /// What a peer sent as a snapshot is none, or another one, or was changed on its way. It is removed, and all else goes on.
    #[error("{file} is not what it should be: {reason}. It was not taken")]
    Damaged {
        /// The file it would have become.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A piece of a snapshot's file that does not follow what is there of it. Nothing was written, and all else goes on.
    #[error("{file} goes on at byte {end}, not {offset}: send it from there, or from its beginning")]
    OutOfPlace {
        /// The file it would have become.
        file: String,
        /// Where the piece was to go.
        offset: u64,
        /// Where the next piece goes; 0 if nothing is there.
        end: u64,
    },
    /// No snapshot was begun that this could go on or finish, or it was given up. All else goes on.
    #[error("no such snapshot is being written: begin it first")]
    NotBegun,
    /// One record above the format's limit. Nothing of its group was written.
    #[error("a record of {bytes} bytes is above the limit of {limit}: propose smaller commands")]
    RecordTooLarge {
        /// Its size.
        bytes: u64,
        /// The largest size.
        limit: u64,
    },
    /// An option is out of range.
    #[error("segment_bytes is {segment_bytes}: at least {minimum} is needed")]
    SegmentTooSmall {
        /// What was asked for.
        segment_bytes: u64,
        /// The least that works.
        minimum: u64,
    },
    /// An earlier call failed. A failed sync is never retried: the system may have dropped what it could not write and
    /// report success the next time.
    #[error("the store takes no more since an earlier failure ({0}): end the process and start it again")]
    Poisoned(Box<StoreError>),
}

impl StoreError {
    /// Whether a snapshot that could not be saved is all there is to it: the disk is full, or the snapshot too large. If not,
    /// the store says so of its own accord at the next call.
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Disk(disk) => disk.kind == DiskErrorKind::Full,
            Self::RecordTooLarge { .. } => true,
            _ => false,
        }
    }
}

/// Why a store could not be opened, with the disk it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenError<D> {
    /// Why.
    pub error: StoreError,
    /// The disk, changed only where a torn tail was cut before the failure.
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

impl<D> fmt::Display for OpenError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<D> std::error::Error for OpenError<D> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}
