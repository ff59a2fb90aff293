//! Snapshots: the format of a snapshot's file, writing and receiving one, and reading and removing those that are complete.

pub(crate) mod saved;
pub(crate) mod snapshot_file;
pub(crate) mod unfinished;
