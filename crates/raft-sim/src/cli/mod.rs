//! The commands of `raft-sim`, one in each file. Only this folder may read a clock, start threads or touch files: a run
//! is a function of scenario and seed, and this folder does not affect it.

mod args;
mod bench;
mod campaign;
mod check;
mod clock;
mod coverage;
mod exit;
mod explain;
mod failure;
mod files;
mod finding;
mod merge;
mod outputs;
mod pool;
mod replay;
mod report;
mod run;
mod scenario_report;
mod search;
mod search_report;
mod show;
mod shrink;
mod summary;
mod swarm;
mod twice;

use args::{Args, Command};
use clap::Parser;
use exit::Exit;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// Runs the command of this process.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Held };
            let _ = error.print();
            return exit.code();
        }
    };
    let outcome = match args.command {
        None => run::run(&args.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Swarm(args)) => swarm::swarm(&args),
        Some(Command::Search(args)) => search::search(&args),
        Some(Command::Merge(args)) => merge::merge(&args),
        Some(Command::Replay(args)) => replay::replay(&args),
        Some(Command::Explain(args)) => explain::explain(&args),
        Some(Command::Shrink(args)) => shrink::shrink(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Bench(args)) => bench::bench(&args),
    };
    outcome.unwrap_or_else(|error| refuse(&error)).code()
}

fn refuse(error: &anyhow::Error) -> Exit {
    let broken_pipe = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
    if broken_pipe {
        // The reader has closed the pipe (`raft-sim explain .. | head`), which is not an error.
        return Exit::Held;
    }
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        let _ = error.print();
        return Exit::Usage;
    }
    eprintln!("{error:#}");
    Exit::Scenario
}
