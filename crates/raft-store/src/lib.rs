//! What survives: a segmented write-ahead log, and snapshot files, over one small [`Disk`] trait.
//!
//! Hard state, truncations, entries and the names of snapshots share the log, so one `Write` of the core is one atomic
//! record. In reading order: `disk` is what is asked of a disk, `files` is that on a real folder, `format` what is on it,
//! why a torn tail can be told from corruption and compaction from loss, `summary` what records add up to, `store` writes
//! them (and in the files below it saves snapshots and deletes old segments), `scan` reads them, `recovery` brings the log
//! back, `readback` single entries, `snapshot_file` is a snapshot on the disk, `folder` knows whose it all is (in the bytes
//! of `identity`) and starts a node from it, `known_peers` knows which disks its peers have, `space_monitor` says what is told of
//! the room left, and when, `written` reads records for a watcher outside. This crate must not know about time, threads or
//! networks: it blocks, and its caller decides when.

mod disk;
mod folder;
mod snapshots;
mod space;
mod store;
mod store_error;
mod wal;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use disk::{Disk, DiskError, DiskErrorKind};
pub use folder::known_peers::{KnownPeers, MAX_KNOWN_PEERS, PeerCheck};
pub use folder::meta_file::{ClusterId, DiskId, Identity};
pub use folder::real_files::Files;
pub use folder::start::{Inspection, Opened, inspect, open_node};
pub use snapshots::snapshot_file::FileChunk;
pub use space::reserve::Space;
pub use space::space_monitor::SpaceMonitor;
pub use store::{MIN_SEGMENT_BYTES, Store, StoreOptions};
pub use store_error::{OpenError, StoreError};
pub use wal::records_written::records_written;
pub use wal::recover::Recovery;
pub use wal::scan::{Record, TornTail};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
