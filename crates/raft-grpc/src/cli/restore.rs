//! `restore`: makes the data folder of a founder of a new cluster from a saved file.

use super::flags::Flags;
use super::{output, snapshot};
use raft_grpc::config::{Key, Settings, Source};
use raft_grpc::{Failure, rebuild};
use std::path::PathBuf;

/// Every founder restores the same file, with the same cluster name and the same founders.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A file of `snapshot save`
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let Options { file, flags } = options;
    let loaded = flags.load()?;
    let mut settings = loaded.settings;
    if loaded.rows.iter().any(|row| row.key == Key::Cluster && row.source == Source::Default) {
        if !settings.peers.is_empty() {
            let message = "the new cluster needs a name that all its founders are given: add --cluster NAME";
            return Err(Failure::usage(message));
        }
        settings.cluster = rebuild::drawn_name("restored")?;
    }
    // Before the folder is touched.
    let backup = snapshot::check(&file)?;
    let (cluster, last) = rebuild::restore(&settings, snapshot::open(&file)?, &file.display().to_string())?;
    let Settings { id, data_dir, .. } = &settings;
    output::print(&format!(
        "restored {} at {} to {}: node {} of cluster {cluster}, whose log begins after {last}\nstart it with: raft-grpc node {}\n",
        file.display(),
        backup.header.meta.last,
        data_dir.display(),
        id.0,
        node_flags(&settings)
    ))
}

/// The flags of a start from the folder, without addresses of its own.
fn node_flags(settings: &Settings) -> String {
    let peers = settings.peers.iter().map(|(id, url)| format!(" --peer {}={url}", id.0)).collect::<String>();
    let Settings { id, cluster, data_dir, .. } = settings;
    format!("--id {} --cluster {cluster} --data-dir {}{peers}", id.0, data_dir.display())
}
