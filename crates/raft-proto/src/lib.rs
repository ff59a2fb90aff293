//! How the core's types look as bytes: between peers, and on a disk.
//!
//! `wire` holds what is generated from `proto/` (read the comments there: they are the documentation of the formats);
//! the other files convert by hand; `snapshot` also has the two messages about snapshots, of which the core
//! knows nothing. Decoding is total: any bytes give a value or a [`DecodeError`]. What decodes may
//! still be nonsense (a gap between indices, a term of 2^63): refusing that is the core's job, which must survive it
//! anyway. This crate must not know who sends, stores or asks.

mod decode;
mod encode;
mod error;
mod snapshot;
pub mod wire;

pub use decode::{decode_rpc, decode_write, rpc_from_wire, snapshot_meta_from_wire};
pub use encode::{encode_rpc, encode_write, rpc_to_wire, snapshot_meta_to_wire};
pub use error::DecodeError;
pub use snapshot::{
    SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState, chunk_from_wire, chunk_to_wire,
    decode_snapshot_message, encode_snapshot_message, progress_from_wire, progress_to_wire,
};

#[cfg(test)]
mod tests;
