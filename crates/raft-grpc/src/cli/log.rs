//! The log of a node: one line for each event on stderr.

use raft_grpc::Failure;
use raft_grpc::config::LOG_VARIABLE;
use std::io::{self, IsTerminal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(clap::Args)]
pub(crate) struct LogOptions {
    /// The log level: error, warn, info, debug or trace; or by module, as info,raft_grpc::host=debug [default: RAFT_LOG, or info]
    #[arg(long = "log", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}

impl LogOptions {
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let filter = self.targets(std::env::var(LOG_VARIABLE).ok())?;
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        started.map_err(|error| Failure::runtime(format!("cannot start logging: {error}")))
    }

    fn targets(&self, variable: Option<String>) -> Result<Targets, Failure> {
        let (source, text) = match (&self.filter, variable) {
            (Some(text), _) => ("--log", text.clone()),
            (None, Some(text)) => (LOG_VARIABLE, text),
            (None, None) => ("default", "info".to_owned()),
        };
        // An empty filter would silence a node by accident.
        let parsed = if text.trim().is_empty() { None } else { text.parse().ok() };
        parsed.ok_or_else(|| {
            let advice = "must be error, warn, info, debug, trace, or MODULE=LEVEL, with commas between";
            Failure::usage(format!("{source}: log = {text}: {advice}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn targets(flag: Option<&str>, variable: Option<&str>) -> Result<Targets, Failure> {
        LogOptions { filter: flag.map(str::to_owned) }.targets(variable.map(str::to_owned))
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_nonsense_is_refused() {
        assert!(targets(None, None).expect("default").would_enable("x", &Level::INFO));
        assert!(!targets(None, None).expect("default").would_enable("x", &Level::DEBUG));
        assert!(targets(None, Some("debug")).expect("variable").would_enable("x", &Level::DEBUG));
        assert!(!targets(Some("warn"), Some("debug")).expect("flag").would_enable("x", &Level::INFO));
        let mixed = targets(Some("warn,x=trace"), None).expect("by module");
        assert!(mixed.would_enable("x", &Level::TRACE) && !mixed.would_enable("y", &Level::INFO));
        assert!(targets(Some("x=loud"), None).expect_err("no level").message.starts_with("--log: log = x=loud: must"));
        assert!(targets(None, Some("")).expect_err("empty").message.starts_with("RAFT_LOG: "));
    }
}
