//! The client state of a node: sessions, the requests, forwarded requests, reads and watches that have no reply yet, and
//! backups in progress.

pub(crate) mod backups;
pub(crate) mod envelope;
pub(crate) mod forwarding;
mod forwarding_wire;
pub(crate) mod reads;
pub(crate) mod sessions;
pub(crate) mod waiters;
pub(crate) mod watch_index;
pub(crate) mod watches;
