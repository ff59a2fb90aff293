//! `bench`: load on a cluster, and with --verify a check of its answers.

use super::endpoints::Endpoints;
use super::output;
use raft_check::history::write_history;
use raft_check::load::{self, Record};
use raft_client::Consistency;
use raft_grpc::Failure;
use raft_grpc::bench::{self, BenchOptions, Mix, Outcome, WatchOptions};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Load on a cluster.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How many clients; each has one operation at a time
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    clients: u64,
    /// How long the clients begin operations, in seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Check the answers: exit 1 if an operation was lost or applied twice, or no order of the operations explains the answers
    #[arg(long)]
    verify: bool,
    /// Write every operation to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// How many keys [default: one for four clients]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    keys: Option<u64>,
    /// The size of a value in bytes
    #[arg(long, value_name = "B", default_value = "256", value_parser = clap::value_parser!(u32).range(..=64 << 20))]
    value_bytes: u32,
    /// Put every key before the load begins; the recorded history would lack these puts, so not with --verify or --history
    #[arg(long, conflicts_with_all = ["verify", "history"])]
    fill: bool,
    /// Watch the keys of the load so many times; exit 1 if a watch does not receive every change once and in order
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..=100_000))]
    watchers: u64,
    /// Instead, let each watch watch keys of its own: this prefix and a number
    #[arg(long, value_name = "PREFIX")]
    watch_prefix: Option<String>,
    /// The relative frequency of each operation
    #[arg(long, value_name = "MIX", default_value = "put=45,get=45,cas=5,delete=5")]
    mix: Mix,
    /// Let leaders answer gets by their lease; the nodes need lease_reads
    #[arg(long)]
    lease: bool,
    #[command(flatten)]
    endpoints: Endpoints,
}

/// The most steps of the search for an order, for each key.
const BUDGET: u64 = 20_000_000;

/// The number of clients that share a key. With fewer clients, operations rarely overlap; with many more, there are too
/// many orders.
const CLIENTS_A_KEY: u64 = 4;

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let bench = BenchOptions {
        client: options.endpoints.options()?,
        clients: options.clients,
        readers: 0,
        watches: WatchOptions { watches: options.watchers, prefix: options.watch_prefix },
        fill: options.fill,
        duration: Duration::from_secs(options.seconds),
        keys: options.keys.unwrap_or(options.clients.div_ceil(CLIENTS_A_KEY)),
        value_bytes: usize::try_from(options.value_bytes).unwrap_or(usize::MAX),
        mix: options.mix,
        reads: if options.lease { Consistency::Lease } else { Consistency::Linearizable },
        record: options.verify || options.history.is_some(),
        read_all: options.verify,
    };
    // Create the file before the load, so that an error comes early.
    let history = options.history.as_deref().map(|path| create(path).map(|file| (path, file))).transpose()?;
    let mut outcome = put_load(&bench)?;
    outcome.records.sort_by_key(|record| record.operation.invoke_ns);
    summary(&outcome)?;
    if outcome.watches.watches > 0 {
        output::print(&format!("{}\n", outcome.watches))?;
    }
    if options.lease {
        output::print(&lease_line(outcome.lease_reads))?;
    }
    if let Some((path, file)) = history {
        save(file, &outcome).map_err(|error| cannot_write(path, &error))?;
        let count = outcome.records.len() + outcome.last_reads.len();
        output::print(&format!("history: {count} operations in {}\n", path.display()))?;
    }
    if options.verify {
        verify(&outcome.records, &outcome.last_reads)?
    }
    if !outcome.watches.is_clean() {
        let error = outcome.watches.last_error.as_deref().unwrap_or("no watch reported an error");
        return Err(Failure::runtime(format!("{}: {error}", outcome.watches)));
    }
    if outcome.total.ok == 0 {
        let error = outcome.total.last_error.as_deref().unwrap_or("no operation ended");
        return Err(Failure::runtime(format!("no operation succeeded: {error}")));
    }
    Ok(())
}

fn put_load(bench: &BenchOptions) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::runtime(format!("cannot start: {error}")))?;
    let line = |second, tally: &bench::Tally| output::announce(&format!("{second:>4} s  {tally}"));
    Ok(runtime.block_on(bench::run(bench, line))?)
}

fn summary(outcome: &Outcome) -> Result<(), Failure> {
    let seconds = outcome.took.as_secs_f64();
    let rate = outcome.total.ok as f64 / seconds.max(f64::MIN_POSITIVE);
    output::print(&format!("total   {rate:.0} ops/s in {seconds:.1} s  {}\n", outcome.total))?;
    match &outcome.total.last_error {
        Some(error) => output::print(&format!("last error: {error}\n")),
        None => Ok(()),
    }
}

/// Says how many gets a lease answered, so that figures of confirmed reads are not mistaken for those of lease reads.
fn lease_line(lease_reads: u64) -> String {
    match lease_reads {
        0 => "lease reads: none, every get was confirmed by a round: is lease_reads on at the nodes?\n".to_owned(),
        reads => format!("lease reads: {reads}\n"),
    }
}

/// Prints the report, and fails if there is a finding.
fn verify(records: &[Record], last_reads: &[Record]) -> Result<(), Failure> {
    let report = load::check(records, last_reads, BUDGET);
    if report.findings.is_empty() {
        return output::print(&format!("verify: {report}\n"));
    }
    for finding in &report.findings {
        output::print(&format!("{finding}\n"))?;
    }
    Err(Failure::runtime(format!("verify: {report}")))
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn save(file: File, outcome: &Outcome) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    write_history(&mut out, outcome.records.iter().chain(&outcome.last_reads).map(|record| &record.operation))?;
    out.flush()
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::runtime(format!("{}: cannot be written: {error}; choose another file for --history", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_check::history::{Op, OpResult, OpValue, Operation, Status, read_history};

    fn parse(line: &str) -> Result<Options, clap::Error> {
        crate::cli::testing::options("bench", line)
    }

    fn read(value: &str, revision: u64, at: u64) -> Record {
        let operation = Operation {
            client: 1,
            op: Op::Get,
            key: "k".into(),
            value: OpValue::Null,
            status: Status::Ok,
            result: OpResult::Value(value.into()),
            invoke_ns: at,
            return_ns: Some(at + 1),
        };
        Record { operation, revision, map_revision: revision }
    }

    #[test]
    fn arguments_are_checked() {
        let options = parse("").expect("all have defaults");
        assert_eq!((options.clients, options.seconds, options.verify), (16, 10, false));
        assert_eq!(options.mix, Mix::default());
        for bad in ["--clients 0", "--seconds 0", "--keys 0", "--mix put", "--value-bytes 100000000"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_finding_is_a_failure() {
        assert_eq!(verify(&[], &[]), Ok(()));
        let failure = verify(&[read("a", 1, 1)], &[read("a", 2, 9)]).expect_err("a value from nowhere, twice");
        assert_eq!(failure.message, "verify: 1 operations, 0 lost, 1 applied twice, not linearizable");
    }

    #[test]
    fn the_history_is_written_as_documented() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        let records = vec![read("a", 1, 1)];
        let outcome = Outcome {
            total: bench::Tally::default(),
            watches: bench::WatchTally::default(),
            took: Duration::ZERO,
            records: records.clone(),
            last_reads: vec![read("a", 1, 9)],
            lease_reads: 0,
        };
        save(create(&path).expect("a file"), &outcome).expect("written");
        let history = read_history(std::fs::read(&path).expect("it is there").as_slice()).expect("readable");
        assert_eq!((history.len(), &history[0]), (2, &records[0].operation));
        let error = create(&folder.path().join("no/such")).expect_err("there is no such folder");
        assert!(error.message.contains("cannot be written"), "{error}");
    }
}
