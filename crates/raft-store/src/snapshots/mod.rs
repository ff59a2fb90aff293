//! Snapshots: the format of their files, writing and receiving one, and what the log does with complete ones.

pub(crate) mod partial_file;
pub(crate) mod receiving;
pub(crate) mod saved;
pub(crate) mod snapshot_file;
pub(crate) mod writing;
