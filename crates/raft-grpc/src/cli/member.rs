//! `member`: who is in the cluster, and where; changes of it. A change is done when its last entry is committed.

use super::endpoints::{Endpoints, above_zero, block_on};
use super::output::{self, dash, millis};
use super::status::Format;
use raft_client::{ChangeOptions, Client, ClientError, MemberChange, MemberStatus, Membership};
use raft_grpc::{Failure, config};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Show and change the members of a cluster.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Show the members, as the leader sees them
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Add a node as a learner, which gets the log and does not vote; `node --join` does this by itself
    Add {
        #[arg(value_parser = id)]
        id: u64,
        /// Where peers reach it: http://HOST:PORT
        #[arg(long, value_name = "URL", value_parser = config::url)]
        peer: String,
        /// Where clients reach it: http://HOST:PORT
        #[arg(long, value_name = "URL", value_parser = config::url)]
        client: Option<String>,
        #[command(flatten)]
        force: Force,
    },
    /// Make a voter of a learner, once it has caught up
    Promote {
        #[arg(value_parser = id)]
        id: u64,
        /// The longest time for the learner to catch up
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = above_zero)]
        wait: Duration,
        #[command(flatten)]
        force: Force,
    },
    /// Make a learner of a voter
    Demote {
        #[arg(value_parser = id)]
        id: u64,
        #[command(flatten)]
        force: Force,
    },
    /// Remove a member
    Remove {
        #[arg(value_parser = id)]
        id: u64,
        #[command(flatten)]
        force: Force,
    },
    /// Change the addresses of a member that moved
    #[command(group = clap::ArgGroup::new("address").required(true).multiple(true))]
    Update {
        #[arg(value_parser = id)]
        id: u64,
        /// Where peers reach it now: http://HOST:PORT
        #[arg(long, value_name = "URL", value_parser = config::url, group = "address")]
        peer: Option<String>,
        /// Where clients reach it now: http://HOST:PORT
        #[arg(long, value_name = "URL", value_parser = config::url, group = "address")]
        client: Option<String>,
    },
}

#[derive(clap::Args, Clone, Copy, Debug)]
struct Force {
    /// Begin the change although no quorum of the voters to come answers: the cluster takes no writes until one does
    ///
    /// It overrides this check (rule R49) and no other: a change that could lose data is refused all the same.
    #[arg(long)]
    force: bool,
}

impl Force {
    fn options(self) -> ChangeOptions {
        ChangeOptions { force: self.force, ..ChangeOptions::default() }
    }
}

fn id(text: &str) -> Result<u64, String> {
    let id = text.parse().ok().filter(|id| (1..=raft_core::MAX_NUMBER).contains(id));
    id.ok_or_else(|| "an id is a number from 1 to 2^62".to_owned())
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let client = Client::new(options.endpoints.options()?)?;
    block_on(carry_out(client, options.verb))?
}

async fn carry_out(mut client: Client, verb: Verb) -> Result<(), Failure> {
    let began = Instant::now();
    let (change, force) = match verb {
        Verb::List { format } => {
            let membership = client.membership().await?;
            return output::print(&match format {
                Format::Table => table(&membership),
                Format::Json => output::json(&rows(&membership))?,
            });
        }
        Verb::Promote { id, wait, force } => {
            let promoted = client.promote(id, wait, &force.options(), progress(id)).await;
            return done(&promoted.map_err(|error| too_late(error, wait))?, began.elapsed());
        }
        Verb::Add { id, peer, client, force } => {
            (MemberChange::Add { id, peer_url: peer, client_url: client.unwrap_or_default() }, force)
        }
        Verb::Update { id, peer, client } => {
            let (peer_url, client_url) = (peer.unwrap_or_default(), client.unwrap_or_default());
            (MemberChange::Update { id, peer_url, client_url }, Force { force: false })
        }
        Verb::Demote { id, force } => (MemberChange::Demote { id }, force),
        Verb::Remove { id, force } => (MemberChange::Remove { id }, force),
    };
    let changed = client.change_members(change, &force.options()).await?;
    done(&changed, began.elapsed())
}

/// Prints the learner's progress on stderr, about once a second.
fn progress(id: u64) -> impl FnMut(u64, u64) {
    let mut last_printed: Option<Instant> = None;
    move |has, last| {
        if last_printed.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            eprintln!("node {id} catches up: entry {has} of {last}");
            last_printed = Some(Instant::now());
        }
    }
}

fn too_late(error: ClientError, wait: Duration) -> Failure {
    match error {
        ClientError::NotCaughtUp { id, match_index, last } => Failure::runtime(format!(
            "node {id} has not caught up within {}: it has entry {match_index} of {last}, and stays a learner. Does it run? \
             `raft-grpc status` shows it; a longer --wait gives it more time",
            humantime::format_duration(wait)
        )),
        error => error.into(),
    }
}

/// `OK voters=1,2,3 learners=4 entry=12@2 3.1ms`.
fn done(membership: &Membership, took: Duration) -> Result<(), Failure> {
    let ids = |voters: bool| {
        let members = membership.members.iter().filter(|member| member.voter == voters);
        let ids: Vec<String> = members.map(|member| member.id.to_string()).collect();
        if ids.is_empty() { "-".to_owned() } else { ids.join(",") }
    };
    let (voters, learners, entry) = (ids(true), ids(false), membership.entry);
    output::print(&format!("OK voters={voters} learners={learners} entry={entry} {}\n", millis(took)))
}

/// A member. An unknown value is `null`, and `-` in the table.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: u64,
    role: &'static str,
    peer_url: Option<&'a str>,
    client_url: Option<&'a str>,
    /// The last entry that it is known to have.
    match_index: Option<u64>,
    /// The entries that it lacks.
    lag: Option<u64>,
    /// Since its last message to the leader; none for the leader itself.
    contact_ms: Option<u64>,
}

fn rows(membership: &Membership) -> Vec<Row<'_>> {
    membership.members.iter().map(|member| row(membership, member)).collect()
}

fn row<'a>(membership: &Membership, member: &'a MemberStatus) -> Row<'a> {
    Row {
        id: member.id,
        role: match member.voter {
            _ if member.id == membership.leader => "leader",
            true => "voter",
            false => "learner",
        },
        peer_url: known(&member.peer_url),
        client_url: known(&member.client_url),
        match_index: member.match_index,
        lag: member.match_index.map(|index| membership.last.saturating_sub(index)),
        contact_ms: member.contact_ms,
    }
}

fn known(url: &str) -> Option<&str> {
    (!url.is_empty()).then_some(url)
}

const HEADER: [&str; 7] = ["id", "role", "peer", "client", "match", "lag", "contact"];

fn table(membership: &Membership) -> String {
    let mut lines = vec![HEADER.map(str::to_string).to_vec()];
    lines.extend(rows(membership).iter().map(|row| {
        vec![
            row.id.to_string(),
            row.role.to_owned(),
            dash(row.peer_url),
            dash(row.client_url),
            dash(row.match_index),
            dash(row.lag),
            dash(row.contact_ms.map(|millis| format!("{millis}ms"))),
        ]
    }));
    output::table(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::EntryId;

    fn membership() -> Membership {
        let member = |id, voter, match_index| MemberStatus {
            id,
            voter,
            peer_url: if id == 2 { String::new() } else { format!("http://n{id}:1") },
            client_url: format!("http://n{id}:2"),
            contact_ms: (id > 1).then_some(7),
            match_index: Some(match_index),
            ..MemberStatus::default()
        };
        Membership {
            leader: 1,
            cluster_id: Vec::new(),
            entry: EntryId::new(5, 2),
            settled: true,
            last: 25,
            members: vec![member(1, true, 25), member(2, true, 24), member(4, false, 5)],
        }
    }

    #[test]
    fn the_table_lists_all_members() {
        let expected = "\
id  role     peer         client       match  lag  contact
1   leader   http://n1:1  http://n1:2  25     0    -
2   voter    -            http://n2:2  24     1    7ms
4   learner  http://n4:1  http://n4:2  5      20   7ms
";
        assert_eq!(table(&membership()), expected);
        let json = serde_json::to_value(rows(&membership())).expect("JSON");
        assert_eq!((&json[2]["role"], &json[2]["lag"]), (&"learner".into(), &20.into()));
        assert_eq!(json[1]["peer_url"], serde_json::Value::Null);
    }

    #[test]
    fn wrong_lines_are_refused_with_the_form() {
        let parse = |line: &str| crate::cli::testing::options::<Options>("member", line);
        for (line, words) in [
            ("add 4", "--peer"),
            ("add 4 --peer host:1", "http://HOST:PORT"),
            ("add 0 --peer http://a:1", "1 to 2^62"),
            ("update 4", "--peer"),
            ("promote 4 --wait soon", "write 10s"),
        ] {
            let refused = parse(line).expect_err(line).to_string();
            assert!(refused.contains(words), "{line}: {refused}");
        }
        for line in [
            "remove 2 --force",
            "demote 2 --force",
            "promote 2 --force",
            "list",
            "add 4 --peer http://[::1]:1 --client http://localhost:2 --force",
            "update 4 --client http://a:2",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        let late = too_late(ClientError::NotCaughtUp { id: 4, match_index: 5, last: 25 }, Duration::from_secs(60));
        assert!(late.message.contains("not caught up within 1m: it has entry 5 of 25"), "{late}");
    }
}
