//! Disk space: the next segment's file is preallocated, so that a full disk is noticed before a write fails.

pub(crate) mod recycle;
pub(crate) mod reserve;
pub(crate) mod space_monitor;
pub(crate) mod zeros;
