//! The commands of `raft-grpc`, a file each: `Options`, what can be written, and `run`, which does it.
//!
//! Commands read arguments, print results and end with an exit code; what a node or a client is, the library knows.

mod bench;
mod config;
mod dev;
mod endpoints;
mod flags;
mod kv;
mod log;
mod node;
mod output;
mod run;
mod status;
mod wal;

use clap::{Parser, Subcommand};
use raft_grpc::Failure;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes: 0 ok; 1 runtime; 2 usage or configuration; 3 another cluster's data, a newer format, or a disk \
in place of one that peers know; 4 corrupt data; 5 the disk failed or is full at the start; 6 address in use; 101 panic.";

/// Real nodes of a Raft cluster, and what there is to do with them.
#[derive(Parser)]
#[command(name = "raft-grpc", version, after_help = EXIT_CODES, infer_subcommands = false)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cluster on this machine, to play with: real processes, real kills
    Dev(dev::Options),
    /// Run one node
    Node(node::Options),
    /// Run one node, by the command lines of the two projects that this one grew from
    Run(run::Options),
    /// Read and write keys
    Kv(kv::Options),
    /// Ask all members about themselves
    Status(status::Options),
    /// Put load on a cluster, and judge what it answered
    Bench(bench::Options),
    /// Write a configuration, or check one
    Config(config::Options),
    /// Look at a node's log on its disk, while the node does not run
    Wal(wal::Options),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Dev(options) => dev::run(options),
            Self::Node(options) => node::run(options),
            Self::Run(options) => run::run(options),
            Self::Kv(options) => kv::run(options),
            Self::Status(options) => status::run(options),
            Self::Bench(options) => bench::run(options),
            Self::Config(options) => config::run(options),
            Self::Wal(options) => wal::run(options),
        }
    }
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // Nobody reads the text: the code still says what happened.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match args.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure.message);
            ExitCode::from(failure.exit as u8)
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use clap::{Args, Parser};

    #[derive(Parser)]
    struct Line<A: Args> {
        #[command(flatten)]
        options: A,
    }

    /// The options of a command, from the words of a line after its name.
    pub(crate) fn options<A: Args>(name: &str, line: &str) -> Result<A, clap::Error> {
        Line::try_parse_from(std::iter::once(name).chain(line.split_whitespace())).map(|line| line.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Args::command().debug_assert();
    }
}
