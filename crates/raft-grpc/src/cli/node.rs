//! `node`: runs one node until a signal.

use super::flags::Flags;
use super::log::LogOptions;
use raft_grpc::Failure;
use raft_grpc::config::Loaded;
use raft_grpc::host::{self, Control};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    log: LogOptions,
    /// Read `cut` and `heal` from stdin, and end when stdin ends: for a parent process
    #[arg(long, hide = true)]
    control_stdin: bool,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    options.log.start()?;
    let control = if options.control_stdin { Control::Lines } else { Control::None };
    start(options.flags.load()?, control)
}

pub(crate) fn start(loaded: Loaded, control: Control) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    host::run(loaded.settings, control)
}
