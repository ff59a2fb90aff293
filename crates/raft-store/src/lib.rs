//! What survives: a segmented write-ahead log, and snapshot files, over one small [`Disk`] trait.
//!
//! Hard state, truncations, entries and the names of snapshots share the log, so one `Write` of the core is one atomic
//! record. In reading order: `disk` is what is asked of a disk, `files` is that on a real folder, `format` what is on it,
//! why a torn tail can be told from corruption and compaction from loss, `outline` what records add up to, `store` writes
//! them (and in the files below it saves snapshots and deletes old segments), `walk` reads them, `recovery` brings the log
//! back, `readback` single entries, `snapshot_file` is a snapshot on the disk, `folder` knows whose it all is (in the bytes
//! of `identity`) and starts a node from it, `acquaintances` knows which disks its peers have, `lookout` says what is told of
//! the room left, and when, `written` reads records for a watcher outside. This crate must not know about time, threads or
//! networks: it blocks, and its caller decides when.

mod acquaintances;
mod disk;
mod error;
mod files;
mod folder;
mod format;
mod identity;
mod lookout;
mod outline;
mod readback;
mod recovery;
mod replace;
mod snapshot_file;
mod store;
mod walk;
mod window;
mod written;
mod zeros;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use acquaintances::{Acquaintance, Acquaintances, MAX_ACQUAINTANCES};
pub use disk::{Disk, DiskError, DiskErrorKind};
pub use error::{OpenError, StoreError};
pub use files::Files;
pub use folder::{Inspection, Opened, inspect, open_node};
pub use identity::{ClusterId, DiskId, Identity};
pub use lookout::Lookout;
pub use recovery::Recovery;
pub use snapshot_file::FileChunk;
pub use store::{MIN_SEGMENT_BYTES, Space, Store, StoreOptions};
pub use walk::{Record, TornTail};
pub use written::records_written;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
