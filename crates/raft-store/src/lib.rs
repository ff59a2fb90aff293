//! What survives: a segmented write-ahead log over one small [`Disk`] trait.
//!
//! Hard state, truncations and entries share the log, so one `Write` of the core is one atomic record. In reading
//! order: `disk` is what is asked of a disk, `files` is that on a real folder, `format` what is on it and why a torn tail
//! can be told from corruption, `store` writes it, `walk` reads it, `recovery` brings it back, `folder` knows whose it is
//! (in the bytes of `identity`) and starts a node from it, `written` reads records for a watcher outside. This crate must not know about time, threads or networks:
//! it blocks, and its caller decides when.

mod disk;
mod error;
mod files;
mod folder;
mod format;
mod identity;
mod recovery;
mod store;
mod walk;
mod window;
mod written;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use disk::{Disk, DiskError, DiskErrorKind};
pub use error::{OpenError, StoreError};
pub use files::Files;
pub use folder::{Inspection, Opened, inspect, open_node};
pub use identity::{ClusterId, Identity};
pub use recovery::Recovery;
pub use store::{MIN_SEGMENT_BYTES, Store, StoreOptions};
pub use walk::{Record, TornTail};
pub use written::records_written;

#[cfg(test)]
mod tests;
