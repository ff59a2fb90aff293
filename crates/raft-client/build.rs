//! Generates the service for clients of `proto/client.proto`, without protoc. Its messages are in raft-proto.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", folder.display());
    let files = protox::compile(["client.proto"], [&folder])?;
    tonic_prost_build::configure()
        .build_server(cfg!(feature = "server"))
        .extern_path(".raft.v1", "::raft_proto::wire::raft")
        .extern_path(".raft.session.v1", "::raft_proto::wire::session")
        .compile_fds(files)?;
    Ok(())
}
