//! Replaces a file atomically: writes it under another name, syncs it, renames it.

use crate::disk::{Disk, DiskError, DiskErrorKind};

/// Gives `file` new content, durably and atomically. It first writes the content as `new`, a file that may exist from
/// an earlier attempt.
pub(crate) fn replace<D: Disk>(disk: &mut D, file: &str, new: &str, content: &[u8]) -> Result<(), DiskError> {
    create_empty(disk, new)?;
    disk.write(new, 0, content)?;
    sync_and_rename(disk, new, file)
}

/// Creates `file`, or empties it.
pub(crate) fn create_empty<D: Disk>(disk: &mut D, file: &str) -> Result<(), DiskError> {
    match disk.create(file) {
        Err(error) if error.kind == DiskErrorKind::Exists => disk.set_len(file, 0),
        created => created,
    }
}

/// Makes `new` durable and then the content of `file`.
pub(crate) fn sync_and_rename<D: Disk>(disk: &mut D, new: &str, file: &str) -> Result<(), DiskError> {
    disk.sync(new)?;
    disk.rename(new, file)?;
    disk.sync_folder()
}
