//! Disk space: the store preallocates the next segment's file, so that it notices a full disk before a write fails.

pub(crate) mod recycle;
pub(crate) mod reserve;
pub(crate) mod space_monitor;
pub(crate) mod zeros;
