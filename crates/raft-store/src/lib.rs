//! The storage of a node: a segmented write-ahead log and snapshot files, over one small [`Disk`] trait.
//!
//! Hard state, truncations, entries and the names of snapshots share the log, so each `Write` of the core is one atomic
//! record. [`Store`] writes them. `wal` has the log's format, which distinguishes a torn tail from corruption and a
//! compacted log from a damaged one, and recovers it; `snapshots` has the snapshot files and backups, `folder` the node's identity, its
//! peers' disk ids, and the folders of new clusters, `space` the preallocation that notices a full disk in time. Calls block, and the
//! caller chooses their times: this
//! crate has no time, threads or network.

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
pub use folder::inspect::{Inspection, folder_owner, inspect, inspect_running};
pub use folder::known_peers::{KnownPeers, MAX_KNOWN_PEERS, PeerCheck};
pub use folder::meta_file::{ClusterId, DiskId, Identity};
pub use folder::old_folder::OldFolder;
pub use folder::real_files::Files;
pub use folder::rebuild::{RebuildError, restore_folder};
pub use folder::start::{Opened, open_node};
pub use snapshots::backup_file::{BackupError, BackupHeader, BackupReader, BackupWriter};
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
