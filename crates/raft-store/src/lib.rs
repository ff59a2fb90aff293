//! What survives: a segmented write-ahead log over one small [`Disk`] trait.
//!
//! Hard state, truncations and entries share the log, so one `Write` of the core is one atomic record. In reading
//! order: `disk` is what is asked of a disk, `format` what is on it and why recovery can tell a torn tail from
//! corruption, `store` writes it, `recovery` reads it back. This crate must not know about time, threads or networks:
//! it blocks, and its caller decides when.

mod disk;
mod error;
mod format;
mod recovery;
mod store;
mod window;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use disk::{Disk, DiskError, DiskErrorKind};
pub use error::{OpenError, StoreError};
pub use recovery::{Recovery, TornTail};
pub use store::{MIN_SEGMENT_BYTES, Store, StoreOptions};

#[cfg(test)]
mod tests;
