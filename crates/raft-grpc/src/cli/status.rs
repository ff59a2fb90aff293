//! `status`: the status of each member, and the leader's facts about members that do not answer.

use super::endpoints::{Endpoints, block_on};
use super::output::{self, dash};
use raft_client::{Client, MemberView};
use raft_grpc::Failure;
use raft_proto::wire::raft::Role;
use serde::Serialize;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let mut client = Client::new(options.endpoints.options()?)?;
    let views = block_on(async { client.members().await })?;
    let rows = rows(&views);
    output::print(&match options.format {
        Format::Table => table(&rows),
        Format::Json => output::json(&rows)?,
    })?;
    no_answer(&rows).map_or(Ok(()), Err)
}

/// A member in the table. An unknown value is `null`, and `-` in the table.
#[derive(Debug, Serialize)]
struct Row {
    id: Option<u64>,
    reachable: bool,
    role: Option<&'static str>,
    voter: Option<bool>,
    term: Option<u64>,
    commit: Option<u64>,
    applied: Option<u64>,
    /// The highest commit index in any answer, minus `applied`.
    lag: Option<u64>,
    /// The time since its last message to the leader; `None` for the leader itself.
    contact_ms: Option<u64>,
    snapshot: Option<u64>,
    ready: bool,
    state_hash: Option<String>,
    lease_reads: Option<u64>,
    no_space: Option<bool>,
    leader: Option<u64>,
    url: String,
    error: Option<String>,
}

fn rows(views: &[MemberView]) -> Vec<Row> {
    let commit = views.iter().filter_map(|view| Some(view.answer.as_ref().ok()?.commit)).max().unwrap_or(0);
    views.iter().map(|view| row(view, commit)).collect()
}

fn row(view: &MemberView, highest_commit: u64) -> Row {
    let answer = view.answer.as_ref().ok();
    let known = view.known.as_ref();
    Row {
        id: view.id,
        reachable: answer.is_some(),
        role: answer.and_then(|status| role(status.role())),
        voter: known.map(|member| member.voter),
        term: answer.map(|status| status.term),
        commit: answer.map(|status| status.commit),
        applied: answer.map(|status| status.applied),
        lag: answer.map(|status| highest_commit.saturating_sub(status.applied)),
        contact_ms: known.and_then(|member| member.contact_ms),
        snapshot: None,
        ready: answer.is_some_and(|status| status.ready),
        state_hash: answer.map(|status| format!("{:x}", status.state_hash)),
        lease_reads: answer.map(|status| status.lease_reads),
        no_space: answer.map(|status| status.no_space),
        leader: answer.and_then(|status| status.leader),
        url: view.url.clone(),
        error: view.answer.as_ref().err().cloned(),
    }
}

/// A pre-candidate is shown as a candidate.
fn role(role: Role) -> Option<&'static str> {
    match role {
        Role::Follower => Some("follower"),
        Role::PreCandidate | Role::Candidate => Some("candidate"),
        Role::Leader => Some("leader"),
        Role::Stopped => Some("stopped"),
        Role::Unspecified => None,
    }
}

const HEADER: [&str; 12] =
    ["id", "role", "term", "commit", "applied", "lag", "contact", "snapshot", "ready", "disk", "state", "client"];

fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADER.map(str::to_string).to_vec()];
    for row in rows {
        let client = match (row.url.as_str(), &row.error) {
            ("", Some(error)) => error.clone(),
            (url, Some(error)) => format!("{url}: {error}"),
            (url, None) => url.to_string(),
        };
        let role = match (row.reachable, row.voter, row.role) {
            (false, _, _) => Some("unreachable"),
            (true, Some(false), Some("follower")) => Some("learner"),
            (true, _, role) => role,
        };
        lines.push(vec![
            dash(row.id),
            dash(role),
            dash(row.term),
            dash(row.commit),
            dash(row.applied),
            dash(row.lag),
            dash(row.contact_ms.map(|millis| format!("{millis}ms"))),
            dash(row.snapshot),
            if row.ready { "yes" } else { "no" }.into(),
            dash(row.no_space.map(|no_space| if no_space { "full" } else { "ok" })),
            dash(row.state_hash.as_deref()),
            client,
        ]);
    }
    output::table(&lines)
}

fn no_answer(rows: &[Row]) -> Option<Failure> {
    if rows.iter().any(|row| row.reachable) {
        return None;
    }
    let errors = rows.iter().map(|row| format!("{}: {}", row.url, row.error.as_deref().unwrap_or("no answer")));
    let errors: Vec<String> = errors.collect();
    Some(Failure::runtime(format!("no node answered: {}; does the cluster run at these endpoints?", errors.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_client::members_of;
    use raft_proto::wire::raft::{MemberStatus, StatusResponse};
    use std::collections::BTreeMap;

    fn status(id: u64, role: Role, commit: u64, applied: u64) -> StatusResponse {
        let state_hash = vec![0xab; 2].into();
        StatusResponse {
            id,
            role: role.into(),
            term: 2,
            commit,
            applied,
            state_hash,
            ready: true,
            no_space: id == 2,
            ..Default::default()
        }
    }

    fn views() -> Vec<MemberView> {
        let member = |id, contact_ms, voter| MemberStatus {
            id,
            voter,
            client_url: format!("http://n:{id}"),
            contact_ms,
            ..Default::default()
        };
        let mut leader = status(1, Role::Leader, 9, 9);
        leader.members = vec![
            member(1, None, true),
            member(2, Some(12), true),
            member(3, Some(4000), true),
            member(4, Some(7), false),
        ];
        let answers = BTreeMap::from([
            ("http://n:1".to_string(), Ok(leader)),
            ("http://n:2".to_string(), Ok(status(2, Role::PreCandidate, 7, 5))),
            ("http://n:3".to_string(), Err("Connection refused".to_string())),
            ("http://n:4".to_string(), Ok(status(4, Role::Follower, 9, 9))),
            ("http://x:1".to_string(), Err("no answer".to_string())),
        ]);
        members_of(answers)
    }

    #[test]
    fn the_table_lists_all_members() {
        let table = table(&rows(&views()));
        let expected = "\
id  role         term  commit  applied  lag  contact  snapshot  ready  disk  state  client
1   leader       2     9       9        0    -        -         yes    ok    abab   http://n:1
2   candidate    2     7       5        4    12ms     -         yes    full  abab   http://n:2
3   unreachable  -     -       -        -    4000ms   -         no     -     -      http://n:3: Connection refused
4   learner      2     9       9        0    7ms      -         yes    ok    abab   http://n:4
-   unreachable  -     -       -        -    -        -         no     -     -      http://x:1: no answer
";
        assert_eq!(table, expected);
    }

    #[test]
    fn json_is_a_list_with_numbers_and_roles() {
        let text = output::json(&rows(&views())).expect("JSON");
        let list: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list");
        let keys: Vec<_> =
            ["id", "role", "term", "commit", "applied", "state_hash"].map(|key| list[1][key].clone()).into();
        assert_eq!(serde_json::Value::from(keys).to_string(), r#"[2,"candidate",2,7,5,"abab"]"#);
        assert_eq!(list[2]["role"], serde_json::Value::Null);
        assert_eq!(list[2]["error"], "Connection refused");
        assert_eq!(list[3]["role"], "follower", "a learner is a follower without a vote");
    }

    #[test]
    fn it_fails_only_if_no_node_answers() {
        assert_eq!(no_answer(&rows(&views())), None);
        let silent = members_of(BTreeMap::from([("http://x:1".to_string(), Err("no answer".to_string()))]));
        let failure = no_answer(&rows(&silent)).expect("no node answers");
        assert!(failure.message.starts_with("no node answered: http://x:1: no answer"), "{failure}");
    }
}
