//! Generates the service between peers of `proto/peer.proto`, without protoc. Its messages are in raft-proto.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    let files = protox::compile(["peer.proto"], [&folder])?;
    tonic_prost_build::configure().extern_path(".raft.v1", "::raft_proto::wire::raft").compile_fds(files)?;
    Ok(())
}
