//! The machine of the measurements.

use serde::Serialize;
use std::fs::read_to_string;
use std::path::Path;

/// A machine, and its load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// The type of the file system.
    pub(crate) file_system: String,
    /// The number of processes that ran or waited over the last minute before the first round.
    pub(crate) load: String,
}

impl Machine {
    /// This machine, with the file system of `folder`.
    pub(crate) fn here(folder: &Path) -> Self {
        let file = |path: &str| read_to_string(path).unwrap_or_default();
        let processor = file("/proc/cpuinfo").lines().find_map(|line| {
            line.strip_prefix("model name")
                .and_then(|rest| rest.split_once(':'))
                .map(|(_, name)| name.trim().to_owned())
        });
        Self {
            processor: processor.unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&file("/proc/self/mounts"), folder).unwrap_or_else(unknown),
            load: file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The type of the file system mounted nearest above `folder`; of several, the last one mounted there.
fn file_system(mounts: &str, folder: &Path) -> Option<String> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounted.filter(|(place, _)| folder.starts_with(place));
    above.max_by_key(|(place, _)| place.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_above_counts() {
        let mounts = "overlay / overlay rw 0 0\n/dev/a /data ext4 rw 0 0\n/dev/b /data/deep xfs rw 0 0\n";
        let of = |folder: &str| file_system(mounts, Path::new(folder)).unwrap();
        assert_eq!([of("/data/deep/er"), of("/data/deeper"), of("/home")], ["xfs", "ext4", "overlay"]);
    }
}
