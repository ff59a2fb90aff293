//! raft-store
mod disk;
pub use disk::{Disk, DiskError, DiskErrorKind};
