//! Files that are seen whole or not at all: written under another name, synced, renamed. Must not know what is in them.

use crate::disk::{Disk, DiskError, DiskErrorKind};

/// Gives `file` new content, the parts in a row, durably and whole. It is written as `new`, of which something may be there
/// that an earlier attempt has left.
pub(crate) fn replace<D: Disk>(disk: &mut D, file: &str, new: &str, parts: &[&[u8]]) -> Result<(), DiskError> {
    create_empty(disk, new)?;
    let mut offset = 0;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        disk.write(new, offset, part)?;
        offset += part.len() as u64;
    }
    put_in_place(disk, new, file)
}

/// Creates `new`, empty also if an earlier attempt has left something there.
pub(crate) fn create_empty<D: Disk>(disk: &mut D, new: &str) -> Result<(), DiskError> {
    match disk.create(new) {
        Err(error) if error.kind == DiskErrorKind::Exists => disk.set_len(new, 0),
        created => created,
    }
}

/// Makes what was written as `new` durable, and then the content of `file`.
pub(crate) fn put_in_place<D: Disk>(disk: &mut D, new: &str, file: &str) -> Result<(), DiskError> {
    disk.sync(new)?;
    disk.rename(new, file)?;
    disk.sync_folder()
}
