//! The encodings of the core's types: between peers, and on disk.
//!
//! `wire` is generated from `proto/`, whose comments document the formats. The other files convert: `encode` and `decode` the
//! core's types, `snapshot` the messages of snapshot transfers, which the core does not use, `member_context` what the hosts store
//! with a member. Decoding is total: any bytes give a value or a [`DecodeError`]. A decoded value may still be invalid (a gap
//! between indices, a term of 2^63); the core refuses it, because it must survive any input. This crate must not know senders,
//! storage or receivers.

mod decode;
mod encode;
mod error;
mod member_context;
mod snapshot;
pub mod wire;

pub use decode::{decode_rpc, decode_write, rpc_from_wire, snapshot_meta_from_wire};
pub use encode::{encode_rpc, encode_write, rpc_to_wire, snapshot_meta_to_wire};
pub use error::DecodeError;
pub use member_context::{member_context_from_bytes, member_context_to_bytes};
pub use snapshot::{
    SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState, chunk_from_wire, chunk_to_wire,
    decode_snapshot_message, encode_snapshot_message, progress_from_wire, progress_to_wire,
};

#[cfg(test)]
mod tests;
