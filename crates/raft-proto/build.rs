//! Compiles `proto/` with protox, a protobuf compiler in Rust, so that building needs no protoc.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    // `bytes` fields share the buffer that they were decoded from, so a decoder never copies an entry's command.
    // store.proto and snapshot.proto are compiled first and separately, because they use raft.proto's types from the
    // output of the second run.
    let mut borrowers = prost_build::Config::new();
    borrowers.bytes(["."]).extern_path(".raft.v1", "crate::wire::raft");
    borrowers.extern_path(".raft.session.v1", "crate::wire::session");
    borrowers.compile_fds(protox::compile(["store.proto", "snapshot.proto"], [&folder])?)?;
    prost_build::Config::new().bytes(["."]).compile_fds(protox::compile(
        ["raft.proto", "peer.proto", "client.proto", "session.proto", "kv.proto"],
        [&folder],
    )?)?;
    Ok(())
}
