//! Load on a cluster: closed-loop clients, each with its own session, and a record of every operation for `raft_check::load`.
//!
//! In reading order: `workload` chooses the operations, `tally` counts and measures them, `watchers` watch what they change; this
//! file executes them.

mod tally;
mod watchers;
mod workload;

pub use tally::Tally;
pub use watchers::{WatchOptions, WatchTally};
pub use workload::Mix;

use raft_check::history::{Op, OpResult, OpValue, Operation, Status};
use raft_check::load::Record;
use raft_client::{Client, ClientError, ClientOptions, Consistency, Txn, TxnOp};
use raft_kv::command::MAX_TXN_OPS;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use watchers::Watchers;
use workload::{LoadOp, Shape, Workload};

#[derive(Clone, Debug)]
pub struct BenchOptions {
    pub client: ClientOptions,
    /// The number of clients, at least 1.
    pub clients: u64,
    /// Additional clients that only read: each stays with a node that answers reads, even if the node accepts no write.
    pub readers: u64,
    /// Watches beside the load, on a thread of their own.
    pub watches: WatchOptions,
    pub duration: Duration,
    /// Whether to put every key first, many in a transaction. The records lack these puts: a check of them fails.
    pub fill: bool,
    /// The number of keys, at least 1. The more clients share a key, the harder the check of the history is.
    pub keys: u64,
    /// The size of a value; a value is never shorter than its name.
    pub value_bytes: usize,
    pub mix: Mix,
    /// The consistency of gets; the last reads are linearizable.
    pub reads: Consistency,
    /// Whether to keep every operation in memory.
    pub record: bool,
    /// Whether to read every key at the end.
    pub read_all: bool,
}

#[derive(Debug)]
pub struct Outcome {
    pub total: Tally,
    pub watches: WatchTally,
    /// The time from the first operation to the last.
    pub took: Duration,
    /// Every operation, if they are recorded.
    pub records: Vec<Record>,
    /// A linearizable read of every key, after all operations have ended.
    pub last_reads: Vec<Record>,
    /// How many reads the nodes answered by lease. The count of a killed node is missing.
    pub lease_reads: u64,
}

/// This is longer than an election, a restart and a deadline together, so there is time for a new leader.
const LAST_READ_DEADLINE: Duration = Duration::from_secs(30);

const AFTER_REFUSAL: Duration = Duration::from_millis(100);

struct Run {
    began: Instant,
    until: Instant,
    second: Mutex<Tally>,
    /// The number of the next client: a client with an unknown outcome is replaced, because its operation is still open.
    next_client: AtomicU64,
    record: bool,
    reads: Consistency,
}

impl Run {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The counts are always consistent, so a panic with the lock held does no harm.
    fn second(&self) -> MutexGuard<'_, Tally> {
        self.second.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a load. Calls `each_second` with the number of the second, from 1, and its counts.
///
/// # Errors
/// No leader answers at the start, or an endpoint is unusable. Later failures are counted.
pub async fn run(options: &BenchOptions, mut each_second: impl FnMut(u64, &Tally)) -> Result<Outcome, ClientError> {
    let shape = Shape::new(options);
    let mut reader = Client::new(options.client.clone())?;
    reader.get(shape.key(0), Consistency::Linearizable).await?;
    let lease_reads = lease_reads(&mut reader).await;
    if options.fill {
        fill(&mut reader, &shape, options.keys).await?;
    }
    let watchers = Watchers::start(&options.client, &options.watches, shape.keys_prefix()).await?;
    let began = Instant::now();
    let run = Arc::new(Run {
        began,
        until: began + options.duration,
        second: Mutex::default(),
        next_client: AtomicU64::new(options.clients + options.readers + 1),
        record: options.record,
        reads: options.reads,
    });
    let mut clients = JoinSet::new();
    for number in 1..=options.clients + options.readers {
        let client = Client::new(options.client.clone())?;
        let shape = if number > options.clients { shape.of_readers() } else { shape.clone() };
        clients.spawn(work(client, Workload::new(&shape, number), run.clone()));
    }
    let mut total = Tally::default();
    let mut records = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut seconds = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                seconds += 1;
                let second = std::mem::take(&mut *run.second());
                each_second(seconds, &second);
                total.add(second);
            }
            ended = clients.join_next() => match ended {
                Some(Ok(mut more)) => records.append(&mut more),
                Some(Err(error)) => if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                },
                None => break,
            },
        }
    }
    total.add(std::mem::take(&mut *run.second()));
    let took = run.began.elapsed();
    let lease_reads = more_lease_reads(&lease_reads, &self::lease_reads(&mut reader).await);
    let last = reader.get(shape.key(0), Consistency::Linearizable).await?.revision;
    let last = if options.watches.prefix.is_none() { Some(last) } else { None };
    let watches = watchers.end(last).await;
    let last_reads = if options.read_all { read_all(options, &shape, &run).await? } else { Vec::new() };
    Ok(Outcome { total, watches, took, records, last_reads, lease_reads })
}

/// How many reads each node has answered by lease since its start. Nodes that do not answer are missing.
async fn lease_reads(client: &mut Client) -> BTreeMap<u64, u64> {
    let answers = client.members().await.into_iter().filter_map(|member| member.answer.ok());
    answers.map(|status| (status.id, status.lease_reads)).collect()
}

/// The difference of two counts. A restarted node counts from 0.
fn more_lease_reads(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>) -> u64 {
    let more = |(id, &after): (&u64, &u64)| after.checked_sub(before.get(id).copied().unwrap_or(0)).unwrap_or(after);
    after.iter().map(more).sum()
}

/// Puts every key, in transactions that are as large as possible.
async fn fill(client: &mut Client, shape: &Shape, keys: u64) -> Result<(), ClientError> {
    let numbers: Vec<u64> = (0..keys).collect();
    for numbers in numbers.chunks(MAX_TXN_OPS) {
        let put = |&number| TxnOp::Put { key: shape.key(number).into(), value: shape.value("fill"), ttl_ms: 0 };
        client.txn(Txn { success: numbers.iter().map(put).collect(), ..Txn::default() }).await?;
    }
    Ok(())
}

/// Runs one client, until the time is over and its last operation has ended.
async fn work(mut client: Client, mut workload: Workload, run: Arc<Run>) -> Vec<Record> {
    let mut records = Vec::new();
    while Instant::now() < run.until {
        let (record, error) = execute(&mut client, workload.next(), run.reads, &workload, &run).await;
        workload.learn(&record.operation);
        let latency = record.operation.return_ns.unwrap_or_default() - record.operation.invoke_ns;
        run.second().count(record.operation.status, Duration::from_nanos(latency), error.as_ref());
        if record.operation.status == Status::Unknown {
            workload.client = run.next_client.fetch_add(1, Ordering::Relaxed);
        }
        if run.record {
            records.push(record);
        }
        if let Some(ClientError::Refused { .. }) = error {
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
    }
    records
}

async fn execute(
    client: &mut Client,
    load_op: LoadOp,
    reads: Consistency,
    workload: &Workload,
    run: &Run,
) -> (Record, Option<ClientError>) {
    let invoke_ns = run.now();
    let answer = ask(client, &load_op, reads, workload.shape()).await;
    let return_ns = Some(run.now());
    let nothing = (OpResult::Null, 0, 0);
    let (status, (result, revision, map_revision), error) = match answer {
        Ok(result) => (Status::Ok, result, None),
        Err(error) if error.may_have_effect() => (Status::Unknown, nothing, Some(error)),
        Err(error) => (Status::Fail, nothing, Some(error)),
    };
    let LoadOp { op, key, value } = load_op;
    let operation = Operation { client: workload.client, op, key, value, status, result, invoke_ns, return_ns };
    (Record { operation, revision, map_revision }, error)
}

/// Sends one operation; returns its result, its revision and the map's revision.
async fn ask(
    client: &mut Client,
    load_op: &LoadOp,
    reads: Consistency,
    shape: &Shape,
) -> Result<(OpResult, u64, u64), ClientError> {
    let key = load_op.key.clone();
    let (result, written) = match &load_op.value {
        OpValue::Null if load_op.op == Op::Get => {
            let got = client.get(key, reads).await?;
            let result = got.value.map_or(OpResult::Null, |value| OpResult::Value(shape.name_of(&value)));
            return Ok((result, got.modified_revision, got.revision));
        }
        OpValue::Null => {
            let deleted = client.delete(key).await?;
            (OpResult::Flag(deleted.existed), deleted.written)
        }
        OpValue::Value(value) => (OpResult::Null, client.put(key, shape.value(value)).await?),
        OpValue::Cas(old, new) => {
            let old = old.as_ref().map(|old| shape.value(old));
            let swapped = client.cas(key, old, shape.value(new)).await?;
            (OpResult::Flag(swapped.swapped), swapped.written)
        }
    };
    Ok((result, written.revision, written.revision))
}

async fn read_all(options: &BenchOptions, shape: &Shape, run: &Run) -> Result<Vec<Record>, ClientError> {
    let deadline = options.client.deadline.max(LAST_READ_DEADLINE);
    let mut reader = Client::new(ClientOptions { deadline, ..options.client.clone() })?;
    let mut workload = Workload::new(shape, run.next_client.fetch_add(1, Ordering::Relaxed));
    let mut reads = Vec::new();
    for key in 0..options.keys {
        let load_op = LoadOp { op: Op::Get, key: shape.key(key), value: OpValue::Null };
        let (record, error) = execute(&mut reader, load_op, Consistency::Linearizable, &workload, run).await;
        reads.push(record);
        // If one read found no leader within the long deadline, the others use the short one.
        if error.is_some() {
            reader = Client::new(options.client.clone())?;
            workload.client = run.next_client.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_check::load::check;
    use raft_client::fake::{Trick, cluster};

    fn options(endpoints: Vec<String>) -> BenchOptions {
        let mut client = ClientOptions::new(endpoints);
        client.deadline = Duration::from_secs(5);
        client.attempt_timeout = Some(Duration::from_millis(500));
        BenchOptions {
            client,
            clients: 4,
            readers: 1,
            watches: WatchOptions { watches: 3, prefix: None },
            fill: false,
            duration: Duration::from_secs(3),
            keys: 3,
            value_bytes: 64,
            mix: "put=4,get=4,cas=2,delete=1".parse().expect("a mix"),
            reads: Consistency::Lease,
            record: true,
            read_all: true,
        }
    }

    #[tokio::test]
    async fn a_run_in_spite_of_troubles_is_clean() {
        let (nodes, world) = cluster(&[1, 2]).await;
        let options = options(nodes.iter().map(|node| node.url.clone()).collect());
        nodes[0].script(&[Trick::Busy]);
        let mut seconds = 0;
        let troubles = nodes[0].clone();
        let outcome = run(&options, |_, _| {
            seconds += 1;
            troubles.script(&[Trick::Deaf, Trick::Unknown, Trick::Break, Trick::Never]);
        });
        let outcome = outcome.await.expect("a leader answers");
        assert!(seconds >= 1);
        assert_eq!(outcome.total.operations(), outcome.records.len() as u64);
        assert_eq!(outcome.last_reads.len(), 3);
        for op in [Op::Put, Op::Get, Op::Cas, Op::Delete] {
            let ok = |record: &&Record| record.operation.op == op && record.operation.status == Status::Ok;
            assert!(outcome.records.iter().any(|record| ok(&record)), "no {op:?} among them");
        }
        let swapped =
            |record: &Record| record.operation.op == Op::Cas && record.operation.result == OpResult::Flag(true);
        assert!(outcome.records.iter().any(swapped), "every cas guessed wrong");
        let report = check(&outcome.records, &outcome.last_reads, 10_000_000);
        assert_eq!(
            report.to_string(),
            format!("{} operations, 0 lost, 0 applied twice, linearizable", outcome.records.len())
        );
        assert!(outcome.watches.is_clean() && outcome.watches.changes > 0, "{:?}", outcome.watches);
        assert!(world.lock().expect("nobody panicked").map.len() <= 3);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_counted_and_nobody_stops() {
        let (nodes, _) = cluster(&[1]).await;
        let mut options = options(vec![nodes[0].url.clone()]);
        options.client.deadline = Duration::from_millis(800);
        options.client.attempt_timeout = Some(Duration::from_millis(400));
        options.mix = "put=1".parse().expect("a mix");
        let troubles = nodes[0].clone();
        options.duration = Duration::from_millis(4500);
        let outcome = run(&options, |second, _| match second {
            1 => troubles.always(Trick::Deaf),
            2 => {}
            _ => troubles.behave(),
        });
        let outcome = outcome.await.expect("a leader answers at the beginning");
        assert!(outcome.total.unknown > 0, "{:?}", outcome.total);
        assert!(outcome.total.last_error.is_some());
        let mut unknown: Vec<u64> = outcome
            .records
            .iter()
            .filter(|record| record.operation.status == Status::Unknown)
            .map(|record| record.operation.client)
            .collect();
        let count = unknown.len();
        unknown.dedup();
        assert_eq!(unknown.len(), count, "a client has one open operation at a time");
        assert!(
            outcome.records.iter().any(|record| record.operation.client > 4 && record.operation.status == Status::Ok)
        );
        assert_eq!(check(&outcome.records, &outcome.last_reads, 10_000_000).findings, []);
    }

    #[tokio::test]
    async fn every_key_is_there_before_the_load_begins() {
        let (nodes, world) = cluster(&[1]).await;
        let mut options = options(vec![nodes[0].url.clone()]);
        (options.fill, options.mix) = (true, "get=1".parse().expect("a mix"));
        options.duration = Duration::from_millis(100);
        let outcome = run(&options, |_, _| {}).await.expect("a leader answers");
        assert_eq!(world.lock().expect("nobody panicked").map.len(), 3);
        let found = |record: &Record| record.operation.result != OpResult::Null;
        assert!(outcome.total.ok > 0 && outcome.records.iter().all(found), "{:?}", outcome.total);
    }

    #[tokio::test]
    async fn without_a_leader_it_does_not_begin() {
        let (nodes, _) = cluster(&[1]).await;
        nodes[0].always(Trick::Busy);
        let mut options = options(vec![nodes[0].url.clone()]);
        options.client.deadline = Duration::from_millis(300);
        let error = run(&options, |_, _| panic!("it began")).await.expect_err("nobody leads");
        assert!(error.to_string().contains("is busy"), "{error}");
    }
}
