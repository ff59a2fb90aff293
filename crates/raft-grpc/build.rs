//! Generates the gRPC services of `proto/raft.proto`, without protoc. Their messages are raft-proto's.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    let files = protox::compile(["raft.proto"], [&folder])?;
    tonic_prost_build::configure()
        .extern_path(".raft.v1", "::raft_proto::wire::raft")
        .extern_path(".raft.session.v1", "::raft_proto::wire::session")
        .compile_fds(files)?;
    Ok(())
}
