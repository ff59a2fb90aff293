//! `kv`: one operation on the map, and its result. `kv/lines` formats the results, `kv/txn_text` parses transactions.

mod lines;
mod txn_text;

use super::endpoints::{Endpoints, above_zero, block_on};
use super::output::{self, millis};
use bytes::Bytes;
use raft_client::{Changes, Client, Consistency, Got, Swapped, Watch, Written};
use raft_grpc::Failure;
use raft_kv::command::KeyRange;
use std::time::{Duration, Instant};

/// One operation on the map.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    endpoints: Endpoints,
}

const CAS_USAGE: &str = "\
raft-grpc kv cas [OPTIONS] <KEY> <EXPECTED> <VALUE>
       raft-grpc kv cas [OPTIONS] --absent <KEY> <VALUE>";

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Set a key to a value
    Put {
        key: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// Remove the key after this time. The leader counts it; a new leader, and setting the key again, restart it
        #[arg(long, value_name = "TIME", value_parser = above_zero)]
        ttl: Option<Duration>,
    },
    /// Print the value of a key; exit 1 if the key is absent
    Get {
        key: String,
        /// Print revisions and the elapsed time to stderr
        #[arg(short, long)]
        verbose: bool,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Print the keys that begin with PREFIX: key, tab, value, a line each; bytes that are not text as \xff
    Range {
        #[arg(default_value = "")]
        prefix: String,
        /// The most keys; 0: as many as one answer holds
        #[arg(long, default_value_t = 0)]
        limit: u64,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Execute a transaction from stdin; exit 1 if a compare failed
    #[command(after_help = txn_text::FORM)]
    Txn,
    /// Print each change of the keys that begin with PREFIX: revision, put, delete or expire, key, value
    Watch {
        #[arg(default_value = "")]
        prefix: String,
        /// Begin with this revision; 0: with the next change
        #[arg(long, value_name = "REVISION", default_value_t = 0)]
        from: u64,
        /// End after this many changes; 0: never
        #[arg(long, default_value_t = 0)]
        count: u64,
    },
    /// Remove a key
    Delete { key: String },
    /// Set a key if it has the expected value; exit 1 if it has not
    #[command(override_usage = CAS_USAGE)]
    Cas {
        key: String,
        /// The expected value and the new one; with --absent only the new one
        #[arg(value_name = "VALUE", num_args = 1..=2, required = true, allow_negative_numbers = true)]
        values: Vec<String>,
        /// Set the key only if it is absent
        #[arg(long)]
        absent: bool,
    },
}

/// The consistency of a read; linearizable without a flag.
#[derive(clap::Args, Debug)]
struct Freshness {
    /// Read what one node has applied, which may be old: needs no leader
    #[arg(long)]
    stale: bool,
    /// Let a leader with lease_reads on answer by its lease, without a round of messages: linearizable while no clock drifts more
    /// than max_clock_drift_ppm
    #[arg(long, conflicts_with = "stale")]
    lease: bool,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let client = Client::new(options.endpoints.options()?)?;
    block_on(carry_out(client, options.verb))?
}

async fn carry_out(mut client: Client, verb: Verb) -> Result<(), Failure> {
    let began = Instant::now();
    match verb {
        Verb::Put { key, value, ttl } => {
            let written = client.put_for(key, value, ttl).await?;
            output::print(&format!("OK {}\n", written_line(&written, began.elapsed())))
        }
        Verb::Get { key, verbose, freshness } => {
            let got = client.get(key.clone(), freshness.consistency()).await?;
            if verbose {
                eprintln!("{}", got_line(&got, began.elapsed()));
            }
            match got.value {
                Some(value) => output::write(&[&value, &b"\n"[..]].concat()),
                None => Err(Failure::runtime(format!("key {key:?} is absent (revision {})", got.revision))),
            }
        }
        Verb::Range { prefix, limit, freshness } => {
            let range = KeyRange::prefix(prefix.as_bytes());
            let ranged = client.range(range, limit, freshness.consistency()).await?;
            let text: String = ranged.entries.iter().map(lines::entry).collect();
            if ranged.more {
                eprintln!("there are more keys after these (revision {})", ranged.revision);
            }
            output::print(&text)
        }
        Verb::Txn => {
            let text = std::io::read_to_string(std::io::stdin().lock());
            let text = text.map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
            let txn = txn_text::parse(&text).map_err(|problem| Failure::usage(format!("stdin: {problem}")))?;
            let done = client.txn(txn).await?;
            let line = written_line(&done.written, began.elapsed());
            output::print(&format!("OK succeeded={} {line}\n{}", done.succeeded, lines::results(&done.results)))?;
            if done.succeeded {
                return Ok(());
            }
            Err(Failure::runtime("a compare failed: `else` was executed"))
        }
        Verb::Watch { prefix, from, count } => {
            let watch = client.watch(KeyRange::prefix(prefix.as_bytes()), from);
            follow(watch, count).await
        }
        Verb::Delete { key } => {
            let deleted = client.delete(key).await?;
            let line = written_line(&deleted.written, began.elapsed());
            output::print(&format!("OK existed={} {line}\n", deleted.existed))
        }
        Verb::Cas { key, values, absent } => {
            let (expected, value) = cas_values(values, absent)?;
            let swapped = client.cas(key.clone(), expected, value).await?;
            if !swapped.swapped {
                return Err(not_swapped(&key, &swapped));
            }
            output::print(&format!("OK {}\n", written_line(&swapped.written, began.elapsed())))
        }
    }
}

impl Freshness {
    fn consistency(&self) -> Consistency {
        match self {
            Self { stale: true, .. } => Consistency::Stale,
            Self { lease: true, .. } => Consistency::Lease,
            _ => Consistency::Linearizable,
        }
    }
}

/// Prints the changes of a watch: `count`, or all for 0.
async fn follow(mut watch: Watch, count: u64) -> Result<(), Failure> {
    let mut left = if count == 0 { u64::MAX } else { count };
    let mut begun = false;
    while left > 0 {
        let Changes { events, through } = watch.next().await?;
        if !std::mem::replace(&mut begun, true) {
            let first = events.first().map_or(through.saturating_add(1), |event| event.revision);
            eprintln!("watching from revision {first}");
        }
        for event in events.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            output::print(&lines::event(event))?;
            left -= 1;
        }
    }
    Ok(())
}

fn cas_values(values: Vec<String>, absent: bool) -> Result<(Option<Bytes>, Bytes), Failure> {
    let mut values = values.into_iter().map(Bytes::from);
    match (values.next(), values.next(), absent) {
        (Some(value), None, true) => Ok((None, value)),
        (Some(expected), Some(value), false) => Ok((Some(expected), value)),
        _ => Err(Failure::usage("kv cas takes KEY EXPECTED VALUE, or KEY VALUE --absent")),
    }
}

/// `revision=7 term=2 leader=2 2.1ms`.
fn written_line(written: &Written, took: Duration) -> String {
    let leader = written.leader.map_or("?".into(), |leader| leader.to_string());
    format!("revision={} term={} leader={leader} {}", written.revision, written.entry.term.0, millis(took))
}

/// `modified_revision=7 revision=9 applied=12 attempts=1 0.8ms`.
fn got_line(got: &Got, took: Duration) -> String {
    let Got { modified_revision, revision, applied, attempts, .. } = got;
    let took = millis(took);
    format!("modified_revision={modified_revision} revision={revision} applied={applied} attempts={attempts} {took}")
}

fn not_swapped(key: &str, swapped: &Swapped) -> Failure {
    Failure::runtime(match &swapped.actual {
        Some(actual) => format!("not swapped: key {key:?} has the value {:?}", String::from_utf8_lossy(actual)),
        None => format!("not swapped: key {key:?} is absent"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::EntryId;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        crate::cli::testing::options("kv", line)
    }

    #[test]
    fn lines_are_as_documented() {
        let written = Written { revision: 7, entry: EntryId::new(9, 2), leader: Some(2), attempts: 1 };
        assert_eq!(written_line(&written, Duration::from_micros(2_120)), "revision=7 term=2 leader=2 2.1ms");
        let unsaid = Written { leader: None, ..written };
        assert_eq!(written_line(&unsaid, Duration::ZERO), "revision=7 term=2 leader=? 0.0ms");
        let got = Got { value: None, modified_revision: 7, revision: 9, applied: 12, attempts: 1 };
        let line = got_line(&got, Duration::from_micros(820));
        assert_eq!(line, "modified_revision=7 revision=9 applied=12 attempts=1 0.8ms");
        let mut swapped = Swapped { swapped: false, actual: Some("b\n".into()), written };
        assert_eq!(not_swapped("k", &swapped).message, r#"not swapped: key "k" has the value "b\n""#);
        swapped.actual = None;
        assert_eq!(not_swapped("k", &swapped).message, r#"not swapped: key "k" is absent"#);
    }

    #[test]
    fn a_cas_expects_a_value_or_none() {
        let cas = |line: &str| match parse(line).expect("it can be read").verb {
            Verb::Cas { values, absent, .. } => cas_values(values, absent),
            verb => panic!("{verb:?}"),
        };
        assert_eq!(cas("cas k a b"), Ok((Some("a".into()), "b".into())));
        assert_eq!(cas("cas k -1 -2"), Ok((Some("-1".into()), "-2".into())));
        assert_eq!(cas("cas k b --absent"), Ok((None, "b".into())));
        assert_eq!(cas("cas --absent k b"), Ok((None, "b".into())));
        for wrong in ["cas k b", "cas k a b --absent"] {
            assert_eq!(cas(wrong).expect_err(wrong).exit, raft_grpc::Exit::Usage);
        }
        assert!(parse("cas k").is_err());
        assert!(parse("cas k a b c").is_err());
    }

    #[test]
    fn a_read_is_linearizable_unless_it_says_otherwise() {
        let consistency = |line: &str| match parse(line).expect("it can be read").verb {
            Verb::Get { freshness, .. } | Verb::Range { freshness, .. } => freshness.consistency(),
            verb => panic!("{verb:?}"),
        };
        assert_eq!(consistency("get k"), Consistency::Linearizable);
        assert_eq!(consistency("get k --lease"), Consistency::Lease);
        assert_eq!(consistency("range k --lease"), Consistency::Lease);
        assert_eq!(consistency("range k --stale"), Consistency::Stale);
        assert!(parse("get k --lease --stale").is_err());
    }

    #[test]
    fn endpoints_and_timeout_may_stand_anywhere() {
        for line in ["--timeout 2s --endpoints http://a:1 put k v", "put k v --endpoints http://a:1 --timeout 2s"] {
            let options = parse(line).expect("it can be read").endpoints.options().expect("they are usable");
            assert_eq!((options.endpoints, options.deadline), (vec!["http://a:1".into()], Duration::from_secs(2)));
        }
        let attempt = |line: &str| parse(line).map(|kv| kv.endpoints.options().expect("usable").attempt_timeout);
        assert_eq!(attempt("put k v --attempt-timeout 300ms").ok(), Some(Some(Duration::from_millis(300))));
        assert_eq!(attempt("put k v").ok(), Some(None), "from the nodes");
        assert!(parse("put k v --timeout 0s").is_err());
    }
}
