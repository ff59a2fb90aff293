//! What a node keeps for its clients: sessions, and requests, reads and watches without an answer yet.

pub(crate) mod envelope;
pub(crate) mod reads;
pub(crate) mod sessions;
pub(crate) mod waiters;
pub(crate) mod watches;
