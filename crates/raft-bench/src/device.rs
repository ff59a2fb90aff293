//! The bytes written to the device under a folder. A process's own `write_bytes` does not measure them: when one page
//! of a folio changes, the kernel counts the whole folio, up to hundreds of pages.

use std::fs::{metadata, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The bytes since the start of the machine, written by all processes. `None` if the folder is on no device with
/// counters.
pub(crate) fn written(folder: &Path) -> Option<u64> {
    let device = metadata(folder).ok()?.dev();
    // This is how Linux combines the two numbers.
    let major = (device >> 8) & 0xfff | (device >> 32) & !0xfff;
    let minor = device & 0xff | (device >> 12) & 0xff_ff00;
    sectors(&read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?).map(|sectors| sectors * 512)
}

/// The seventh number of a device's statistics.
fn sectors(statistics: &str) -> Option<u64> {
    statistics.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seventh_number_is_what_was_written() {
        assert_eq!(sectors("  1 2 3 4  5 6 7777 8 9\n"), Some(7777));
        assert_eq!((sectors(""), sectors("1 2 3 4 5 6 x")), (None, None));
        assert_eq!(written(Path::new("/proc")), None, "no device");
    }
}
