//! The binary `raft-grpc`; its commands are in `cli/mod.rs`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
