//! Files that are seen whole or not at all: written under another name, synced, renamed. Must not know what is in them.

use crate::disk::{Disk, DiskErrorKind};
use crate::error::StoreError;

/// Gives `file` new content, the parts in a row, durably and whole. It is written as `new`, of which something may be there
/// that an earlier attempt has left.
pub(crate) fn replace<D: Disk>(disk: &mut D, file: &str, new: &str, parts: &[&[u8]]) -> Result<(), StoreError> {
    match disk.create(new) {
        Err(error) if error.kind == DiskErrorKind::Exists => disk.set_len(new, 0)?,
        created => created?,
    }
    let mut offset = 0;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        disk.write(new, offset, part)?;
        offset += part.len() as u64;
    }
    disk.sync(new)?;
    disk.rename(new, file)?;
    Ok(disk.sync_folder()?)
}
