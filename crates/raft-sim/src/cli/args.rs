//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use raft_sim::branch::{Branches, branches};
use raft_sim::faults::Fault;
use raft_sim::scenario::parse::MAX_NODES;
use raft_sim::scenario::units;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// Simulates Raft clusters from a seed and checks Raft's safety and liveness.
///
/// Exit codes: 0 all checks passed; 1 safety violated; 2 liveness or another expectation failed, or wrong usage; 3 not
/// deterministic; 4 bad scenario; 5 inconclusive; 101 panic.
#[derive(Parser)]
#[command(name = "raft-sim", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run scenarios, each with all its seeds (the default command)
    Run(RunArgs),
    /// Run a cluster under random faults
    Swarm(SwarmArgs),
    /// Search for violations: keep the states that are new, and continue from the rare ones with other choices
    Search(SearchArgs),
    /// Join the JSON reports of the parts of a campaign into the report of the whole
    Merge(MergeArgs),
    /// Run one seed of a scenario, or a recorded run
    Replay(ReplayArgs),
    /// Print every event of one run, one line each
    Explain(ReplayArgs),
    /// Make a failing run small: the fewest faults, messages and operations with which the same check fails
    Shrink(ShrinkArgs),
    /// Explore every interleaving of a small cluster, within limits (docs/explorer.md)
    Check(CheckArgs),
    /// Measure how fast one core makes and checks the runs of a swarm
    Bench(BenchArgs),
}

/// How to print the results.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line for each scenario, then the trace hash
    Text,
    /// One JSON object
    Json,
}

/// Options of all commands that run many seeds.
#[derive(clap::Args)]
pub(crate) struct CampaignArgs {
    /// Fail if a mark that a scenario expects happens in only one half of its runs
    #[arg(long)]
    pub(crate) margin: bool,
    /// Parallel runs; default: one per core. The trace hash does not depend on this number
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// How to print the results
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Run each seed twice and compare event by event
    #[arg(long)]
    pub(crate) twice: bool,
    /// Run one of N shares of all runs: 0/4 to 3/4; 4/4 is the same as 0/4. `merge` joins their JSON reports
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(crate) shard: Option<Shard>,
    /// Print how many abstract states the runs had, how many more there may be, and in which phases each kind of fault
    /// struck (docs/campaigns.md)
    #[arg(long)]
    pub(crate) coverage: bool,
    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
}

/// The files to write.
#[derive(clap::Args)]
pub(crate) struct OutputArgs {
    /// Write every event to FILE as a JSON line (docs/trace.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Write the clients' operations to FILE as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Record failed runs in this folder
    #[arg(long, value_name = "DIR", default_value = "raft-sim-failures")]
    pub(crate) out: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Scenario files or folders; default: sim-scenarios
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Use these seeds instead of the scenario's own; B is excluded
    #[arg(long, value_name = "A..B", value_parser = units::seeds)]
    pub(crate) seeds: Option<Range<u64>>,
    /// Run every crash point of an enumerated scenario instead of a sample
    #[arg(long)]
    pub(crate) full: bool,
    /// Run one crash point of an enumerated scenario with one outcome: 0 is a kill, the others are power losses
    #[arg(long, value_name = "POINT.OUTCOME", value_parser = case, conflicts_with_all = ["seeds", "full"])]
    pub(crate) case: Option<(u64, u64)>,
    #[command(flatten)]
    pub(crate) campaign: CampaignArgs,
}

/// The faults that a swarm draws from.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Lost, duplicated and reordered messages, partitions, one-way cuts, an isolated leader
    Net,
    /// Crashes, power losses, torn writes, slow disks
    Disk,
    /// Nodes that join and leave, leadership transfers, backups, with crashes and the faults of net
    Member,
    /// Drifting clocks and paused processes, with the faults of net
    Timing,
    /// All faults
    All,
}

#[derive(clap::Args)]
pub(crate) struct SwarmArgs {
    /// The faults to draw from
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) profile: Profile,
    /// The number of nodes
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=MAX_NODES))]
    pub(crate) nodes: u64,
    /// The seeds; B is excluded. Default: 0..100, unless --for or --until-unseen is given
    #[arg(long, value_name = "A..B", value_parser = units::seeds, conflicts_with = "time")]
    pub(crate) seeds: Option<Range<u64>>,
    /// Run new seeds for this long, such as "10m"
    #[arg(long = "for", value_name = "TIME", id = "time", value_parser = units::duration)]
    pub(crate) time: Option<Duration>,
    /// Leave out a kind of fault, such as torn_write; may be repeated
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    pub(crate) without: Vec<Fault>,
    /// Run new seeds until the unseen mass is below this share, such as 1e-3; measures coverage. With --seeds: at most these
    #[arg(long, value_name = "SHARE", value_parser = mass, conflicts_with = "trace")]
    pub(crate) until_unseen: Option<u64>,
    #[command(flatten)]
    pub(crate) campaign: CampaignArgs,
}

#[derive(clap::Args)]
pub(crate) struct SearchArgs {
    /// How many events to check: a number, or one with k, M or G
    #[arg(long, value_name = "EVENTS", default_value = "100M", value_parser = events)]
    pub(crate) budget: u64,
    /// Begin with these swarms and stories; default: sim-scenarios, and the swarm of all faults
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
    /// Another number searches elsewhere
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
    /// Ignore failed expectations, such as that a majority heals in time
    #[arg(long)]
    pub(crate) safety: bool,
    /// How to choose the runs
    #[arg(long, value_enum, default_value = "guided")]
    pub(crate) strategy: SearchStrategy,
    /// Parallel runs; default: one per core. The result does not depend on this number
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Record the failed run in this folder
    #[arg(long, value_name = "DIR", default_value = "raft-sim-failures")]
    pub(crate) out: PathBuf,
}

/// How a search chooses its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SearchStrategy {
    /// Seed after seed
    Random,
    /// Seeds whose features belong to rare marks
    Directed,
    /// Directed seeds, and branches of kept states
    Guided,
}

/// Reads a number of events.
fn events(text: &str) -> Result<u64, String> {
    let scales = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let scaled = scales.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
    let (digits, scale) = scaled.unwrap_or((text, 1));
    let events = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)).filter(|events| *events > 0);
    events.ok_or_else(|| format!("expected a number of events such as 100M, found `{text}`"))
}

#[derive(clap::Args)]
pub(crate) struct MergeArgs {
    /// Reports of `--format json`, of one build: of the same scenarios, or all of searches
    #[arg(value_name = "REPORT.json", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// How to print the whole
    #[arg(long, value_enum, default_value = "json")]
    pub(crate) format: Format,
}

/// The most shares of a campaign.
pub(crate) const MAX_SHARES: u64 = 1_000_000;

/// Every `of`-th run, beginning with the `index`-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) index: u64,
    pub(crate) of: u64,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

fn case(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('.').map(|(point, outcome)| (point.parse(), outcome.parse()));
    match parts {
        Some((Ok(point), Ok(outcome))) => Ok((point, outcome)),
        _ => Err(format!("expected a case such as 120.3, found `{text}`")),
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    let found = Fault::ALL.iter().find(|fault| fault.name() == text);
    let names = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    found.copied().ok_or_else(|| format!("expected a kind of fault, found `{text}`; there are: {}", names()))
}

/// Reads a share of 1, as parts per trillion.
fn mass(text: &str) -> Result<u64, String> {
    let share: Option<f64> = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    let parts = share.map(|share| (share * 1e12).round() as u64).filter(|parts| *parts > 0);
    parts.ok_or_else(|| format!("expected a share between 0 and 1, such as 1e-5, found `{text}`"))
}

/// Reads a share.
pub(crate) fn shard(text: &str) -> Result<Shard, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let parts = text.split_once('/').and_then(|(index, of)| number(index).zip(number(of)));
    match parts {
        Some((index, of)) if (1..=MAX_SHARES).contains(&of) && index <= of => Ok(Shard { index: index % of, of }),
        _ => Err(format!("expected a share such as 1/4, of at most {MAX_SHARES}, found `{text}`")),
    }
}

#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// A scenario or a recorded run
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The seed; default: the recorded one, or 0
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// From these events on, make other choices than the seed: "12034:3, 15001:9@delay"
    #[arg(long, value_name = "EVENT:SALT", value_parser = branches)]
    pub(crate) branches: Option<Branches>,
    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
}

/// Options of `shrink`.
#[derive(clap::Args)]
pub(crate) struct ShrinkArgs {
    /// A scenario or a recorded run that fails
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The seed; default: the recorded one, or 0
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// The file of the small run; default: FILE with the ending `.min.toml`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The most events of all tries, such as 20M
    #[arg(long, value_name = "EVENTS", value_parser = events, default_value_t = raft_sim::shrink::BUDGET)]
    pub(crate) budget: u64,
}

/// The limits of an exhaustive search.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// The number of nodes
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) nodes: usize,
    /// The number of elections: no term is above 1 plus this
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) terms: u64,
    /// The number of client requests
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) entries: u32,
    /// The number of power losses
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) crashes: u32,
    /// The number of messages in flight at a time
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) in_flight: usize,
    /// The number of lost messages, or `any`
    #[arg(long, value_name = "N", default_value = "any", value_parser = limit)]
    pub(crate) drops: Limit,
    /// The number of messages that arrive twice
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) duplicates: u32,
    /// The number of heartbeats, or `any`. One repeats an append that may be lost
    #[arg(long, value_name = "N", default_value = "0", value_parser = limit)]
    pub(crate) heartbeats: Limit,
    /// With --pre-vote: the election timeouts of a node between two starts
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) rounds: u32,
    /// Ask for pre-votes
    #[arg(long)]
    pub(crate) pre_vote: bool,
    /// Refuse votes after contact with a leader
    #[arg(long)]
    pub(crate) stickiness: bool,
    /// A leader without answers of a quorum steps down
    #[arg(long)]
    pub(crate) check_quorum: bool,
    /// Count states that differ in the names of nodes as one
    #[arg(long)]
    pub(crate) symmetry: bool,
    /// Begin after these steps: a file with the lines of a printed path, or `figure-8`
    #[arg(long, value_name = "FILE")]
    pub(crate) steps: Option<PathBuf>,
    /// Stop at this much memory
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = bytes)]
    pub(crate) memory: u64,
    /// Stop after this long, such as "30m"
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    pub(crate) time: Option<Duration>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// The seeds of the swarm of all faults; B is excluded
    #[arg(long, value_name = "A..B", default_value = "0..20", value_parser = units::seeds)]
    pub(crate) seeds: Range<u64>,
    /// How often to make all runs; each figure is the median
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeat: u16,
    /// How to print the figures
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

/// A number, or none for `any`. (clap gives an `Option` another meaning.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u32>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "any" => Ok(Limit(None)),
        _ => text
            .parse()
            .map(|number| Limit(Some(number)))
            .map_err(|_| format!("expected a number or `any`, found `{text}`")),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let size = found.and_then(|(number, bits)| number.trim_end().parse::<u64>().ok()?.checked_mul(1 << bits));
    size.ok_or_else(|| format!("expected a size such as 512MiB or 8GiB, found `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn shares_count_from_zero_or_from_one() {
        assert_eq!(shard("1/4"), Ok(Shard { index: 1, of: 4 }));
        assert_eq!(shard("4/4"), shard("0/4"));
        for text in ["5/4", "1/0", "1", "a/4", "-1/4", "1/1000001"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }

    #[test]
    fn events_may_have_a_unit() {
        assert_eq!(["7", "20k", "3M", "1G"].map(events), [Ok(7), Ok(20_000), Ok(3_000_000), Ok(1_000_000_000)]);
        for text in ["", "0", "M", "-1", "1.5M", "99999999999G"] {
            assert!(events(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mass_is_a_share_of_one() {
        assert_eq!((mass("1e-5"), mass("0.25")), (Ok(10_000_000), Ok(250_000_000_000)));
        for text in ["0", "1", "-1", "nan", "1e-13", "x"] {
            assert!(mass(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_a_unit_and_a_limit_may_be_any() {
        assert_eq!((limit("any"), limit("3")), (Ok(Limit(None)), Ok(Limit(Some(3)))));
        assert!(limit("-1").is_err() && limit("all").is_err());
        assert_eq!((bytes("8GiB"), bytes("512 MiB")), (Ok(8 << 30), Ok(512 << 20)));
        assert!(["8", "8GB", "GiB", "-1KiB", "99999999999GiB"].into_iter().all(|text| bytes(text).is_err()));
    }

    #[test]
    fn a_path_without_a_command_is_a_run() {
        let args = Args::try_parse_from(["raft-sim", "some/file.toml", "--seeds", "0..3"]).expect("a run");
        assert!(args.command.is_none());
        assert_eq!((args.run.paths.len(), args.run.seeds), (1, Some(0..3)));
        assert!(Args::try_parse_from(["raft-sim", "--sedes", "0..3"]).is_err());
    }
}
