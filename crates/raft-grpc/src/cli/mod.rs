//! The commands of `raft-grpc`, one in each file: `Options` are its arguments, `run` executes it. Commands print
//! results and end with an exit code; the library does the work.

mod bench;
mod config;
mod dev;
mod endpoints;
mod flags;
mod kv;
mod leader;
mod log;
mod member;
mod node;
mod output;
mod recover;
mod restore;
mod run;
mod snapshot;
mod status;
mod wal;

use clap::{Parser, Subcommand};
use raft_grpc::Failure;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes: 0 success; 1 runtime failure; 2 wrong usage or configuration; 3 data of another cluster or node, a newer format, or \
another disk than the peers know; 4 corrupt or missing data; 5 the disk failed or is full at the start; 6 address in use; 7 removed \
from the cluster; 8 the data folder is in use; 101 panic.";

/// Runs the nodes of a Raft cluster, and the clients of one.
#[derive(Parser)]
#[command(name = "raft-grpc", version, after_help = EXIT_CODES, infer_subcommands = false)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cluster on this machine to try it: one process for each node, with keys that kill the leader or cut it off
    Dev(dev::Options),
    /// Run one node
    Node(node::Options),
    /// Run one node, with the arguments of the two earlier projects
    Run(run::Options),
    /// Read and write keys
    Kv(kv::Options),
    /// Show the status of all members
    Status(status::Options),
    /// Show and change the members of a cluster
    Member(member::Options),
    /// Choose the leader of a cluster
    Leader(leader::Options),
    /// Put load on a cluster, and check its answers
    Bench(bench::Options),
    /// Write a configuration file, or check the configuration
    Config(config::Options),
    /// Read the log of a node
    Wal(wal::Options),
    /// Save the state of a running cluster in a file, or check such a file
    Snapshot(snapshot::Options),
    /// Make the data folder of a node of a new cluster from a saved file
    Restore(restore::Options),
    /// Make a new cluster of one node from the data folder of a node whose cluster has lost its quorum
    Recover(recover::Options),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Dev(options) => dev::run(options),
            Self::Node(options) => node::run(options),
            Self::Run(options) => run::run(options),
            Self::Kv(options) => kv::run(options),
            Self::Status(options) => status::run(options),
            Self::Member(options) => member::run(options),
            Self::Leader(options) => leader::run(options),
            Self::Bench(options) => bench::run(options),
            Self::Config(options) => config::run(options),
            Self::Wal(options) => wal::run(options),
            Self::Snapshot(options) => snapshot::run(options),
            Self::Restore(options) => restore::run(options),
            Self::Recover(options) => recover::run(options),
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // If stderr is closed, only the exit code remains.
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

    /// The options of a command, parsed from the rest of its line.
    pub(crate) fn options<A: Args>(name: &str, line: &str) -> Result<A, clap::Error> {
        Line::try_parse_from(std::iter::once(name).chain(line.split_whitespace())).map(|line| line.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_accepts_the_definition() {
        Args::command().debug_assert();
    }
}
