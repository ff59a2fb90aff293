//! `leader`: transfers leadership.

use super::endpoints::{Endpoints, block_on};
use super::output;
use raft_client::Client;
use raft_grpc::Failure;
use std::time::Instant;

/// Choose the leader of a cluster.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Transfer leadership to this voter, or to the one with the longest log
    Transfer {
        #[arg(value_name = "TO", value_parser = clap::value_parser!(u64).range(1..))]
        to: Option<u64>,
    },
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let mut client = Client::new(options.endpoints.options()?)?;
    let Verb::Transfer { to } = options.verb;
    let began = Instant::now();
    let leader = block_on(client.transfer_leadership(to))??;
    output::print(&format!("OK leader={leader} {}\n", output::millis(began.elapsed())))
}
