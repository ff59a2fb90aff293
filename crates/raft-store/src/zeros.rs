//! Zeros over a part of a file. Must not know what was there.

use crate::disk::{Disk, DiskError};
use std::ops::Range;

/// How much is written at once.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Writes zeros over these bytes of a file. They are durable once it is synced.
pub(crate) fn write_zeros<D: Disk>(disk: &mut D, file: &str, place: Range<u64>) -> Result<(), DiskError> {
    let mut offset = place.start;
    while offset < place.end {
        let count = (place.end - offset).min(ZEROS.len() as u64);
        disk.write(file, offset, &ZEROS[..count as usize])?;
        offset += count;
    }
    Ok(())
}
