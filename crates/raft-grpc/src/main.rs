//! The command line of real nodes; see `cli/mod.rs`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
