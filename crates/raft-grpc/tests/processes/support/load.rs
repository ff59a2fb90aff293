//! The requests of clients during faults, and the report over all of their answers.

use super::cluster::Cluster;
use super::wait::wait_until;
use raft_check::history::{Op, Status};
use raft_check::load::check;
use raft_client::{Client, ClientOptions, Consistency};
use raft_grpc::bench::{self, BenchOptions, Outcome, WatchOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The number of clients that share a key: enough for their operations to overlap, and few enough for the search.
const CLIENTS: u64 = 6;
const KEYS: u64 = 3;

/// Additional clients that only read, if reads are lease reads. A client that writes soon leaves an isolated leader,
/// and would never see its answers.
const READERS: u64 = 3;

/// The most steps of the search for an order, for each key.
const BUDGET: u64 = 50_000_000;

/// Load in rounds of a few seconds until it ends. Each round is checked separately, so the load can last for hours.
pub(crate) struct Load {
    options: ClientOptions,
    ok: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
    rounds: JoinHandle<Vec<Round>>,
}

/// The facts that remain of a round without findings.
struct Round {
    operations: usize,
    failed: usize,
    /// Every key with the revision of its last change, and whether a later revision is possible.
    last: Vec<(String, u64, bool)>,
}

impl Load {
    /// Starts several clients, which know all nodes, and write values of this many bytes.
    pub(crate) fn start(cluster: &Cluster, round: Duration, value_bytes: usize) -> Self {
        Self::start_reading(cluster, round, value_bytes, Consistency::Linearizable)
    }

    /// Starts them with this consistency for gets.
    pub(crate) fn start_reading(cluster: &Cluster, round: Duration, value_bytes: usize, reads: Consistency) -> Self {
        let options = cluster.client_options();
        let bench = BenchOptions {
            client: options.clone(),
            clients: CLIENTS,
            readers: if reads == Consistency::Lease { READERS } else { 0 },
            watches: WatchOptions { watches: 0, prefix: None },
            fill: false,
            duration: round,
            keys: KEYS,
            value_bytes,
            mix: "put=45,get=40,cas=10,delete=5".parse().expect("a mix"),
            reads,
            record: true,
            read_all: true,
        };
        let (ok, ending) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let rounds = tokio::spawn(run_rounds(bench, ok.clone(), ending.clone()));
        Self { options, ok, ending, rounds }
    }

    /// Waits until this many more operations were acknowledged.
    pub(crate) async fn progress(&self, more: u64) {
        let before = self.ok.load(Ordering::Relaxed);
        wait_until("clients get answers", async || {
            assert!(!self.rounds.is_finished(), "the load has ended");
            let now = self.ok.load(Ordering::Relaxed);
            if now >= before + more { Ok(()) } else { Err(format!("{now} operations, {before} before")) }
        })
        .await;
    }

    /// Ends the load, and asserts that no acknowledged write of any round is missing now. Returns the number of
    /// operations.
    pub(crate) async fn end(self) -> usize {
        self.end_counting().await.0
    }

    /// The same, and how many of them failed after all retries.
    pub(crate) async fn end_counting(self) -> (usize, usize) {
        self.ending.store(true, Ordering::Relaxed);
        let rounds = self.rounds.await.expect("the load does not panic");
        let mut reader = Client::new(self.options).expect("the endpoints are URLs");
        for (key, revision, may_change) in rounds.iter().flat_map(|round| &round.last) {
            let got = reader.get(key.clone(), Consistency::Linearizable).await.expect("there is a leader at the end");
            let now = got.modified_revision;
            assert!(
                now == *revision || *may_change,
                "{key} was last changed at {revision}, but its revision is now {now}"
            );
        }
        (rounds.iter().map(|round| round.operations).sum(), rounds.iter().map(|round| round.failed).sum())
    }
}

async fn run_rounds(options: BenchOptions, ok: Arc<AtomicU64>, ending: Arc<AtomicBool>) -> Vec<Round> {
    let mut rounds = Vec::new();
    while !ending.load(Ordering::Relaxed) {
        let outcome = bench::run(&options, |_, second| {
            ok.fetch_add(second.ok, Ordering::Relaxed);
        });
        let outcome = outcome.await.expect("there is a leader within the deadline");
        rounds.push(judged(&outcome));
    }
    rounds
}

fn judged(outcome: &Outcome) -> Round {
    let report = check(&outcome.records, &outcome.last_reads, BUDGET);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{report}\n{}", findings.join("\n"));
    let may_change = |key: &str| {
        let open = |status| status == Status::Unknown;
        outcome.records.iter().any(|record| {
            let operation = &record.operation;
            operation.key == key && operation.op != Op::Get && open(operation.status)
        })
    };
    let last = outcome.last_reads.iter().map(|read| {
        let key = read.operation.key.clone();
        let open = may_change(&key);
        (key, read.revision, open)
    });
    let failed = outcome.records.iter().filter(|record| record.operation.status != Status::Ok).count();
    Round { operations: outcome.records.len(), failed, last: last.collect() }
}
