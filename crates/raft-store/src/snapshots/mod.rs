//! Snapshots: the formats of their files and of backups, the writing and the receiving of a file, and the use of complete ones by the
//! log.

pub(crate) mod backup_file;
pub(crate) mod partial_file;
pub(crate) mod receiving;
pub(crate) mod saved;
pub(crate) mod snapshot_file;
pub(crate) mod writing;
