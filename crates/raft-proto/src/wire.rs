//! The types generated from `proto/`, one module per package. The comments there document them.

#![allow(missing_docs)]

/// `raft.proto`, `peer.proto` and `client.proto`: the messages of peers and clients.
pub mod raft {
    include!(concat!(env!("OUT_DIR"), "/raft.v1.rs"));
}

/// `store.proto`: the records of the write-ahead log.
pub mod store {
    include!(concat!(env!("OUT_DIR"), "/raft.store.v1.rs"));
}

/// `session.proto`: the content of a command entry.
pub mod session {
    include!(concat!(env!("OUT_DIR"), "/raft.session.v1.rs"));

    /// The path that generated code of other packages uses.
    pub(super) mod v1 {
        pub(crate) use super::Command;
    }
}

/// `snapshot.proto`: the content of a snapshot.
pub mod snapshot {
    include!(concat!(env!("OUT_DIR"), "/raft.snapshot.v1.rs"));
}

/// `kv.proto`: the default state machine's commands, answers and state.
pub mod kv {
    include!(concat!(env!("OUT_DIR"), "/raft.kv.v1.rs"));
}
