//! The file operations that the store needs. The real folder and the simulator's disk implement them, so the same
//! recovery code meets simulated torn writes.

use std::fmt;

/// One folder of files without subfolders. Calls block, and the store is the only user of the folder.
///
/// A kill of the process loses nothing that was written. A power loss may lose, in whole or in part, each write after the
/// last [`sync`](Self::sync) of its file, and each creation, renaming and removal after the last
/// [`sync_folder`](Self::sync_folder).
pub trait Disk {
    /// The names of all files, sorted.
    ///
    /// # Errors
    /// [`DiskError`], as for every call of this trait.
    fn list(&mut self) -> Result<Vec<String>, DiskError>;

    /// Creates an empty file. Fails with [`DiskErrorKind::Exists`] if a file with that name exists.
    fn create(&mut self, file: &str) -> Result<(), DiskError>;

    /// The file's length in bytes.
    fn len(&mut self, file: &str) -> Result<u64, DiskError>;

    /// Reads from `offset` until `buffer` is full or the file ends; returns how many bytes were read.
    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Writes all of `data` at `offset` and extends the file if needed; a gap reads as zeros.
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Sets the length of a file to `length` bytes. Bytes beyond the old length get disk space and read as zeros.
    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError>;

    /// Makes the file's content and length durable. After an error the state of all writes since the last successful sync
    /// is unknown, and a second sync proves nothing: the process must end.
    fn sync(&mut self, file: &str) -> Result<(), DiskError>;

    /// Renames a file and replaces an existing one with the new name.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    fn remove(&mut self, file: &str) -> Result<(), DiskError>;

    /// Makes creations, renamings and removals durable.
    fn sync_folder(&mut self) -> Result<(), DiskError>;
}

/// A borrowed disk.
impl<D: Disk> Disk for &mut D {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        (**self).list()
    }

    fn create(&mut self, file: &str) -> Result<(), DiskError> {
        (**self).create(file)
    }

    fn len(&mut self, file: &str) -> Result<u64, DiskError> {
        (**self).len(file)
    }

    fn read(&mut self, file: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        (**self).read(file, offset, buffer)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        (**self).write(file, offset, data)
    }

    fn set_len(&mut self, file: &str, length: u64) -> Result<(), DiskError> {
        (**self).set_len(file, length)
    }

    fn sync(&mut self, file: &str) -> Result<(), DiskError> {
        (**self).sync(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        (**self).rename(from, to)
    }

    fn remove(&mut self, file: &str) -> Result<(), DiskError> {
        (**self).remove(file)
    }

    fn sync_folder(&mut self) -> Result<(), DiskError> {
        (**self).sync_folder()
    }
}

/// A failed file operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// The class of the error, for decisions.
    pub kind: DiskErrorKind,
    /// The file, or `.` for the folder.
    pub file: String,
    /// The operation and the system's reason, for people.
    pub message: String,
}

/// Classes of disk errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// The file does not exist.
    NotFound,
    /// A file with this name exists.
    Exists,
    /// No space is left.
    Full,
    /// Any other failure of the device.
    Failed,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

impl std::error::Error for DiskError {}
