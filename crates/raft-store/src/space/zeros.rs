//! Zeros: over a part of a file, and where they begin. Must not know what was there.

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

/// Just after the last byte that is not zero; 0 if all are. Compares piece by piece: most of a segment that was made ahead
/// is zeros, and each start looks through all of them.
pub(crate) fn nonzero_end(bytes: &[u8]) -> usize {
    const PIECE: usize = 4096;
    let mut end = bytes.len();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        let piece = &bytes[start..end];
        if piece != &ZEROS[..piece.len()] {
            return start + piece.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        }
        end = start;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_just_after_the_last_byte_that_is_not_zero() {
        for length in [0, 1, 4095, 4096, 4097, 9000] {
            let mut bytes = vec![0; length];
            assert_eq!(nonzero_end(&bytes), 0, "all zeros");
            for place in 0..length {
                bytes[place] = 1;
                bytes[0] = u8::from(place % 2 == 0);
                assert_eq!(nonzero_end(&bytes), if place == 0 { bytes[0] as usize } else { place + 1 }, "of {length}");
                bytes[place] = 0;
            }
        }
    }
}
