//! `recover`: makes a new cluster of one node from the data folder of a node whose cluster has lost its quorum.

use super::output;
use raft_core::{EntryId, LogIndex};
use raft_grpc::rebuild::{self, Recovered};
use raft_grpc::{Failure, config};
use raft_store::{Files, Identity, Inspection, inspect};
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;

/// Choose the node whose last entry is the newest: `wal verify` shows it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The data folder of a node that does not run
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Confirm that the old cluster is given up: none of its nodes may be started again
    #[arg(long, required = true)]
    force_new_cluster: bool,
    /// The name of the new cluster [default: one that is drawn]
    #[arg(long, value_name = "NAME", value_parser = config::cluster_name)]
    cluster: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let Options { data_dir, cluster, yes, .. } = options;
    let place = data_dir.display().to_string();
    let mut old = Files::open(&data_dir, false).map_err(|error| Failure::store(&place, &error))?;
    let found = inspect(&mut old, &mut |_| {}).map_err(|error| Failure::store(&place, &error))?;
    let Some((owner, _)) = found.owner else {
        return Err(Failure::runtime(format!("{place}: no node has started here: name a node's data folder")));
    };
    eprint!("{}", consequences(&found, owner));
    if !yes {
        confirm()?;
    }
    let name = cluster.map_or_else(|| rebuild::drawn_name("recovered"), Ok)?;
    let Recovered { identity, saved, kept } = rebuild::recover(&mut old, &name)?;
    let id = identity.node.0;
    output::print(&format!(
        "recovered {place} up to {}: node {id} of cluster {}, its only member\nthe old folder is kept in {}\n\
         start it with: raft-grpc node --id {id} --cluster {name} --data-dir {place}\n\
         then add each other machine, with a new id and an empty folder: raft-grpc node --id ID --cluster {name} --join URL\n",
        saved,
        identity.cluster,
        kept.display()
    ))
}

/// What is known, and what the operator has to know before.
fn consequences(found: &Inspection, owner: Identity) -> String {
    let committed = found.snapshot.as_ref().map_or(LogIndex(0), |meta| meta.last.index);
    let last = found.snapshot.as_ref().map(|meta| meta.last).max(Some(found.last)).unwrap_or(EntryId::ZERO);
    let in_doubt = last.index.0.saturating_sub(committed.0);
    format!(
        "{owner} holds entries up to {last}. It is known that those up to {committed} were committed (its newest snapshot).\n\
         The {in_doubt} entries after that become committed, also those that no client got an answer for.\n\
         Acknowledged writes are missing for good if this node lagged: choose the node with the newest last entry.\n\
         The other nodes of the old cluster must not be started again; they join the new one with empty folders.\n"
    )
}

fn confirm() -> Result<(), Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::usage("nothing was changed: confirm with --yes"));
    }
    eprint!("Type `yes` to go on: ");
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(|error| Failure::runtime(format!("cannot read the answer: {error}")))?;
    if line.trim() == "yes" { Ok(()) } else { Err(Failure::runtime("nothing was changed: the answer was not `yes`")) }
}
