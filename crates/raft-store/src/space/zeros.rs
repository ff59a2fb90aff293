//! Writes zeros over a part of a file, and finds the end of the other bytes.

use crate::disk::{Disk, DiskError};
use std::ops::Range;

/// Bytes of one write.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

pub(crate) fn write_zeros<D: Disk>(disk: &mut D, file: &str, range: Range<u64>) -> Result<(), DiskError> {
    let mut offset = range.start;
    while offset < range.end {
        let count = (range.end - offset).min(ZEROS.len() as u64);
        disk.write(file, offset, &ZEROS[..count as usize])?;
        offset += count;
    }
    Ok(())
}

/// The offset after the last byte that is not zero; 0 if all bytes are zero. It compares block by block: most of a
/// preallocated segment is zeros, and each start searches all of them.
pub(crate) fn nonzero_end(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    let mut end = bytes.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let block = &bytes[start..end];
        if block != &ZEROS[..block.len()] {
            return start + block.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        }
        end = start;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_follows_the_last_byte_that_is_not_zero() {
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
