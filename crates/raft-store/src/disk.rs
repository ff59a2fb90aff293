//! The few things the store asks of a disk. Two implementations: real files, and the simulator's disk, where the same
//! recovery code meets torn writes thousands of times a second.
//!
//! One folder, no sub-folders, files by name. Blocking; exclusive access.

use std::fmt;

/// One folder of files.
///
/// What a crash may take back: a kill of the process loses nothing that was written; a power loss may lose any write
/// that no later [`sync`](Self::sync) of the same file covered, whole or in part, and any creation, renaming and
/// removal that no later [`sync_folder`](Self::sync_folder) covered.
pub trait Disk {
    /// The names of all files, sorted.
    ///
    /// # Errors
    /// [`DiskError`], as from every call here.
    fn list(&mut self) -> Result<Vec<String>, DiskError>;

    /// Creates an empty file. Fails with [`DiskErrorKind::Exists`] if there is one of that name.
    fn create(&mut self, file: &str) -> Result<(), DiskError>;

    /// The file's length in bytes.
    fn len(&mut self, file: &str) -> Result<u64, DiskError>;

    /// Reads from `offset` until `buffer` is full or the file ends; returns how many bytes were read.
    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Writes all of `data` at `offset`, growing the file if need be (the gap reads as zeros).
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Makes the file `length` bytes long with space reserved on the disk; new bytes read as zeros. Shorter cuts it.
    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError>;

    /// Makes the file's content and length durable. After an error nothing is known of what was written since the last
    /// success, and trying again proves nothing: the process must end.
    fn sync(&mut self, file: &str) -> Result<(), DiskError>;

    /// Renames a file, replacing one of the new name.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    fn remove(&mut self, file: &str) -> Result<(), DiskError>;

    /// Makes creations, renamings and removals durable.
    fn sync_folder(&mut self) -> Result<(), DiskError>;
}

/// What went wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// The class of error, for decisions.
    pub kind: DiskErrorKind,
    /// The file (or `.` for the folder).
    pub file: String,
    /// What was tried and what the system said, for people.
    pub message: String,
}

/// Classes of disk errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// There is no such file.
    NotFound,
    /// There is such a file already.
    Exists,
    /// No space left.
    Full,
    /// Anything else: the device failed.
    Failed,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

impl std::error::Error for DiskError {}
