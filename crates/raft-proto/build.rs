//! Compiles `proto/` with protox, a protobuf compiler in Rust, so that building needs no protoc.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    // `bytes` fields share the buffer they were decoded from: an entry's command is never copied on its way in.
    // store.proto and snapshot.proto on their own and first, because they borrow raft.proto's types from where the second
    // run puts them.
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
