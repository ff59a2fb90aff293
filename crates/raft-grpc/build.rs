//! Generates the service between peers of `proto/peer.proto`, without protoc. Its messages are in raft-proto.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = protox::compile(["peer.proto"], [&folder])?;
    // It imports messages of the service for clients, which is in raft-client.
    files.file.retain(|file| file.name() == "peer.proto");
    tonic_prost_build::configure()
        .extern_path(".raft.v1", "::raft_proto::wire::raft")
        .extern_path(".raft.session.v1", "::raft_proto::wire::session")
        .compile_fds(files)?;
    Ok(())
}
