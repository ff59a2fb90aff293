//! `node`: runs one node until a signal.

use super::flags::Flags;
use super::log::LogOptions;
use raft_grpc::Failure;
use raft_grpc::config::Loaded;
use raft_grpc::host::{self, Control};
use raft_grpc::join::Join;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    log: LogOptions,
    /// Where nodes of a cluster serve clients, comma separated: this node, whose folder has no log, becomes a learner there, and a
    /// voter once it has caught up
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    join: Vec<String>,
    /// Stay a learner after --join
    #[arg(long, requires = "join")]
    no_promote: bool,
    /// Read `cut` and `heal` from stdin, and end when stdin ends: for a parent process
    #[arg(long, hide = true)]
    control_stdin: bool,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    options.log.start()?;
    let control = if options.control_stdin { Control::Lines } else { Control::None };
    let urls: Vec<String> = options.join.into_iter().filter(|url| !url.trim().is_empty()).collect();
    let join = (!urls.is_empty()).then_some(Join { urls, promote: !options.no_promote });
    start(options.flags.load()?, control, join)
}

pub(crate) fn start(loaded: Loaded, control: Control, join: Option<Join>) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    host::run(loaded.settings, control, join)
}
