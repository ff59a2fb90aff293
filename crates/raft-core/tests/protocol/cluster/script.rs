//! The language of the traces: commands, separated by line ends or `;`, that run on a cluster. The answer lists all
//! events, as `Display` prints them.
//!
//! ```text
//! start                  every node gets its first call
//! wait n1                the clock goes to n1's deadline, and n1 is called
//! pass 40                as many milliseconds pass; nodes are called at their deadlines
//! deliver n1 n2 [count]  the oldest messages from n1 to n2 arrive
//! drop n1 n2 [count]     they are lost
//! persist n1 [count]     the oldest writes of n1 are reported, cumulatively
//! settle                 everything is delivered and reported until nothing moves
//! propose n1, read n1, campaign n1
//! crash n1 [kept]        the process dies; so many unreported writes survive
//! restart n1             it starts from its disk, and gets its first call
//! cut n1, mend n1        its links lose everything; no longer
//! quiet COMMAND          the command, without its trace
//! ```

use super::Cluster;
use raft_core::{Input, NodeId, ReadMode};

/// An input in the language of traces.
pub(crate) fn describe(input: &Input) -> String {
    match input {
        Input::Tick => "tick".into(),
        Input::Receive { from, rpc } => format!("<- {from} {rpc}"),
        Input::Propose { id, command } => format!("propose {id} {} B", command.len()),
        Input::Read { id, mode: ReadMode::Safe } => format!("read {id}"),
        Input::Read { id, mode: ReadMode::Lease } => format!("lease read {id}"),
        Input::ChangeMembership { id, change } => format!("{id} change {:?}", change.steps),
        Input::TransferLeadership { id, to: Some(to) } => format!("{id} transfer to {to}"),
        Input::TransferLeadership { id, to: None } => format!("{id} transfer"),
        Input::Campaign => "campaign".into(),
        Input::Space { is_low } => if *is_low { "no space" } else { "space" }.into(),
        Input::Unreachable { peer } => format!("{peer} unreachable"),
        Input::Persisted { write } => format!("persisted {write}"),
        Input::Applied { index } => format!("applied {index}"),
        Input::LogRead { read, entries } => format!("{read} read {entries}"),
        Input::SnapshotTaken { index } => format!("snapshot taken at {index}"),
        Input::SnapshotReceived { from, term, meta } => format!("<- {from} term {term} {meta}"),
        Input::SnapshotSent { to, outcome } => format!("snapshot for {to}: {outcome:?}"),
    }
}

/// Runs a script and returns its trace.
pub(crate) fn run(cluster: &mut Cluster, script: &str) -> String {
    let mut trace = String::new();
    for line in script.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty()) {
        cluster.trace.clear();
        let (is_quiet, command) = line.strip_prefix("quiet ").map_or((false, line), |command| (true, command));
        obey(cluster, command);
        trace.push_str(&format!("{line}  # {}\n", cluster.now));
        if !is_quiet {
            trace.extend(cluster.trace.iter().map(|line| format!("{line}\n")));
        }
    }
    trace
}

fn obey(cluster: &mut Cluster, command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok());
    let node = |place: usize| {
        let word = words.get(place).unwrap_or_else(|| panic!("`{command}` names no node"));
        NodeId(word.trim_start_matches('n').parse().unwrap_or_else(|_| panic!("`{word}` is no node")))
    };
    match words[0] {
        "start" => {
            for id in cluster.ids() {
                cluster.tick(id);
            }
        }
        "wait" => _ = cluster.wait_for(node(1)),
        "pass" => cluster.pass(number(1).expect("milliseconds")),
        "deliver" => {
            for _ in 0..number(3).unwrap_or(1) {
                cluster.deliver(node(1), node(2), 0);
            }
        }
        "drop" => {
            for _ in 0..number(3).unwrap_or(1) {
                let rpc = cluster.links.get_mut(&(node(1), node(2))).and_then(std::collections::VecDeque::pop_front);
                cluster.trace.extend(rpc.map(|rpc| format!("  lost: {} -> {} {rpc}", node(1), node(2))));
            }
        }
        "persist" => _ = cluster.persist(node(1), number(2).map_or(usize::MAX, |count| count as usize)),
        "settle" => cluster.settle(),
        "propose" => _ = cluster.propose(node(1)),
        "read" => _ = cluster.read(node(1)),
        "campaign" => _ = cluster.step(node(1), Input::Campaign),
        "crash" => cluster.crash(node(1), number(2).unwrap_or(0) as usize),
        "restart" => {
            cluster.restart(node(1), false);
            cluster.tick(node(1));
        }
        "cut" => cluster.isolate(node(1), true),
        "mend" => cluster.isolate(node(1), false),
        other => panic!("`{other}` is no command"),
    }
}
