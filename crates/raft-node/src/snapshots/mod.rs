//! The parts of a snapshot's life: content, policy, saving, loading, the two ends of a transfer, obsolete files.

pub(crate) mod content;
pub(crate) mod incoming;
pub(crate) mod loading;
pub(crate) mod obsolete_files;
pub(crate) mod outgoing;
pub(crate) mod policy;
pub(crate) mod saving;
