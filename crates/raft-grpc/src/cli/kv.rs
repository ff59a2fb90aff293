//! `kv`: one operation on the map, and what came of it.

use super::output;
use super::reach::{Reach, block_on, failure};
use bytes::Bytes;
use raft_grpc::Failure;
use raft_grpc::client::{Client, Consistency, Got, Swapped, Written};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

/// One operation on the map.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    reach: Reach,
}

const CAS_USAGE: &str = "\
raft-grpc kv cas [OPTIONS] <KEY> <EXPECTED> <VALUE>
       raft-grpc kv cas [OPTIONS] --absent <KEY> <VALUE>";

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Set a key
    Put {
        key: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Print the value of a key; exit 1 if it is not there
    Get {
        key: String,
        /// Print revisions and the time it took to stderr
        #[arg(short, long)]
        verbose: bool,
        /// Take what the node asked has applied, which may be old: needs no leader
        #[arg(long)]
        stale: bool,
    },
    /// Remove a key
    Delete { key: String },
    /// Set a key if it has the expected value; exit 1 if not
    #[command(override_usage = CAS_USAGE)]
    Cas {
        key: String,
        /// The value that is expected, then the one to set; with --absent only the one to set
        #[arg(value_name = "VALUE", num_args = 1..=2, required = true, allow_negative_numbers = true)]
        values: Vec<String>,
        /// Set it only if it is not there
        #[arg(long)]
        absent: bool,
    },
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let client = Client::new(options.reach.options()?).map_err(|error| failure(&error))?;
    block_on(carry_out(client, options.verb))?
}

async fn carry_out(mut client: Client, verb: Verb) -> Result<(), Failure> {
    let began = Instant::now();
    match verb {
        Verb::Put { key, value } => {
            let written = client.put(key, value).await.map_err(|error| failure(&error))?;
            output::print(&format!("OK {}\n", written_line(&written, began.elapsed())))
        }
        Verb::Get { key, verbose, stale } => {
            let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
            let got = client.get(key.clone(), consistency).await.map_err(|error| failure(&error))?;
            if verbose {
                eprintln!("{}", got_line(&got, began.elapsed()));
            }
            match got.value {
                Some(value) => print_value(&value),
                None => Err(Failure::runtime(format!("key {key:?} is not there (revision {})", got.revision))),
            }
        }
        Verb::Delete { key } => {
            let deleted = client.delete(key).await.map_err(|error| failure(&error))?;
            let line = written_line(&deleted.written, began.elapsed());
            output::print(&format!("OK existed={} {line}\n", deleted.existed))
        }
        Verb::Cas { key, values, absent } => {
            let (expected, value) = cas_values(values, absent)?;
            let swapped = client.cas(key.clone(), expected, value).await.map_err(|error| failure(&error))?;
            if !swapped.swapped {
                return Err(not_swapped(&key, &swapped));
            }
            output::print(&format!("OK {}\n", written_line(&swapped.written, began.elapsed())))
        }
    }
}

/// What a cas expects and sets.
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
        None => format!("not swapped: key {key:?} is not there"),
    })
}

fn millis(took: Duration) -> String {
    format!("{:.1}ms", took.as_secs_f64() * 1000.0)
}

/// The value as it is, and the end of the line.
fn print_value(value: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(value).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::runtime(format!("cannot write to stdout: {error}"))),
    }
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
        assert_eq!(not_swapped("k", &swapped).message, r#"not swapped: key "k" is not there"#);
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
    fn endpoints_and_timeout_may_stand_anywhere() {
        for line in ["--timeout 2s --endpoints http://a:1 put k v", "put k v --endpoints http://a:1 --timeout 2s"] {
            let options = parse(line).expect("it can be read").reach.options().expect("they are usable");
            assert_eq!((options.endpoints, options.deadline), (vec!["http://a:1".into()], Duration::from_secs(2)));
        }
        assert!(parse("put k v --timeout 0s").is_err());
    }
}
