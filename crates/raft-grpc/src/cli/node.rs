//! `node`: one node, until it is told to end.

use super::flags::Flags;
use super::log::LogOptions;
use raft_grpc::Failure;
use raft_grpc::config::Loaded;
use raft_grpc::host::{self, Control};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    log: LogOptions,
    /// Take `cut` and `heal` from stdin, and end when it ends: for whoever started this process
    #[arg(long, hide = true)]
    control_stdin: bool,
}

/// Runs a node until SIGTERM, SIGINT or a failure.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    options.log.start()?;
    let control = if options.control_stdin { Control::Lines } else { Control::None };
    start(options.flags.load()?, control)
}

/// Runs the node with these settings, after the warnings.
pub(crate) fn start(loaded: Loaded, control: Control) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    host::run(loaded.settings, control)
}
