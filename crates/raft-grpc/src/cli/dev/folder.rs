//! The folder of a development cluster: the same folder starts the same cluster again.

use super::ports::{self, Ports};
use raft_grpc::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const KEPT: &str = "dev.toml";
const NODES: u8 = 3;

/// The folder, locked for this process.
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
    /// Releases the lock when it is dropped.
    _lock: File,
}

/// The facts that a cluster keeps between starts: its name and the ports of each node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) cluster: String,
    pub(super) nodes: Vec<Ports>,
}

impl Folder {
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, Failure> {
        let temporary = path.is_none();
        let path = match path {
            Some(path) => path,
            None => std::env::temp_dir().join(format!("raft-dev-{}", random_hex()?)),
        };
        // The parent folder is shared, so no other user may read this folder or create it first.
        let made = if temporary { DirBuilder::new().mode(0o700).create(&path) } else { fs::create_dir_all(&path) };
        made.map_err(|error| failed(&path, "cannot be made", &error))?;
        let lock = path.join("dev.lock");
        let file = File::create(&lock).map_err(|error| failed(&lock, "cannot be made", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, temporary, _lock: file }),
            Err(TryLockError::WouldBlock) => {
                let problem = "another `raft-grpc dev` runs here: end it, or name another folder with --data-dir";
                Err(Failure::runtime(format!("{}: {problem}", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed(&lock, "cannot be locked", &error)),
        }
    }

    /// The cluster of this folder, or a new one of `nodes`. It writes no file yet.
    pub(super) fn cluster(&self, nodes: Option<u8>) -> Result<Kept, Failure> {
        let file = self.path.join(KEPT);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let nodes = ports::usual(nodes.unwrap_or(NODES));
                return Ok(Kept { cluster: format!("dev-{}", random_hex()?), nodes });
            }
            Err(error) => return Err(failed(&file, "cannot be read", &error)),
        };
        let kept = parse(&text).map_err(|problem| {
            let advice = "name another folder with --data-dir";
            Failure::usage(format!("{}: not as `raft-grpc dev` wrote it: {problem}: {advice}", file.display()))
        })?;
        match nodes {
            Some(nodes) if usize::from(nodes) != kept.nodes.len() => Err(Failure::usage(format!(
                "{}: holds a cluster of {}, not of {nodes}: leave --nodes out, or name another folder with --data-dir",
                self.path.display(),
                kept.nodes.len(),
            ))),
            _ => Ok(kept),
        }
    }

    /// Writes these facts, and a configuration for each node.
    pub(super) fn write(&self, kept: &Kept) -> Result<(), Failure> {
        let text = toml::to_string(kept).map_err(|error| Failure::runtime(format!("{KEPT}: {error}")))?;
        // The write is atomic: without its name the cluster would refuse its own data.
        let (file, new) = (self.path.join(KEPT), self.path.join("dev.toml.new"));
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &file));
        written.map_err(|error| failed(&file, "cannot be written", &error))?;
        for (id, ports) in (1..).zip(&kept.nodes) {
            let file = self.configuration(id);
            let text = self.text(id, *ports, kept)?;
            fs::write(&file, text).map_err(|error| failed(&file, "cannot be written", &error))?;
        }
        Ok(())
    }

    pub(super) fn configuration(&self, id: u64) -> PathBuf {
        self.path.join(format!("node{id}.toml"))
    }

    fn text(&self, id: u64, ports: Ports, kept: &Kept) -> Result<String, Failure> {
        let data = self.path.join(format!("node{id}"));
        let data = data.to_str().ok_or_else(|| {
            Failure::usage(format!("{}: the path is not UTF-8: name another with --data-dir", self.path.display()))
        })?;
        let peers = (1..).zip(&kept.nodes).filter(|(peer, _)| *peer != id);
        let peers = peers.map(|(peer, ports): (u64, _)| (peer.to_string(), url(ports.peer).into()));
        let mut table = toml::Table::new();
        table.insert("id".into(), toml::Value::Integer(i64::try_from(id).unwrap_or(i64::MAX)));
        table.insert("cluster".into(), kept.cluster.clone().into());
        table.insert("listen_peer".into(), format!("127.0.0.1:{}", ports.peer).into());
        table.insert("listen_client".into(), format!("127.0.0.1:{}", ports.client).into());
        table.insert("listen_admin".into(), format!("127.0.0.1:{}", ports.admin).into());
        table.insert("data_dir".into(), data.into());
        table.insert("peers".into(), toml::Value::Table(peers.collect()));
        Ok(format!("# Written by `raft-grpc dev` at each start.\n{table}"))
    }

    pub(super) fn remove_if_temporary(self) -> Result<(), Failure> {
        if !self.temporary {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).map_err(|error| failed(&self.path, "cannot be removed", &error))
    }
}

pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn parse(text: &str) -> Result<Kept, String> {
    let kept: Kept = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    if (1..=9).contains(&kept.nodes.len()) { Ok(kept) } else { Err(format!("{} nodes", kept.nodes.len())) }
}

fn random_hex() -> Result<String, Failure> {
    let number = getrandom::u32().map_err(|error| Failure::runtime(format!("no random numbers: {error}")))?;
    Ok(format!("{number:08x}"))
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    let advice = "name another folder with --data-dir";
    Failure::new(Exit::Runtime, format!("{}: {what}: {error}: {advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_grpc::config::{self, Layer};

    fn opened(path: &Path) -> Result<Folder, Failure> {
        Folder::open(Some(path.to_owned()))
    }

    #[test]
    fn the_same_folder_is_the_same_cluster_again() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("a b\"c");
        let folder = opened(&path).expect("made");
        let kept = folder.cluster(Some(5)).expect("new");
        assert_eq!(kept.nodes, ports::usual(5));
        folder.write(&kept).expect("written");
        drop(folder);
        let folder = opened(&path).expect("opened again");
        assert_eq!(folder.cluster(None), Ok(kept.clone()));
        assert_eq!(folder.cluster(Some(5)), Ok(kept));
        let other = folder.cluster(Some(3)).expect_err("another number of nodes");
        assert_eq!(other.exit, Exit::Usage);
        assert!(other.message.contains("holds a cluster of 5, not of 3"), "{other}");
    }

    #[test]
    fn two_new_clusters_have_two_names() {
        let [one, two] = [(); 2].map(|()| Folder::open(None).expect("temporary"));
        let names = [&one, &two].map(|folder| folder.cluster(None).expect("new").cluster);
        assert_ne!(names[0], names[1]);
        assert!(names[0].starts_with("dev-"));
        for folder in [one, two] {
            let path = folder.path.clone();
            folder.remove_if_temporary().expect("removed");
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_is_written_for_a_node_is_a_valid_configuration() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = opened(parent.path()).expect("opened");
        let kept = folder.cluster(Some(3)).expect("new");
        folder.write(&kept).expect("written");
        let loaded = config::load(Some(&folder.configuration(2)), [], Layer::default()).expect("valid");
        assert_eq!(loaded.settings.id.0, 2);
        assert_eq!(loaded.settings.cluster, kept.cluster);
        assert_eq!(loaded.settings.advertise_client, "http://127.0.0.1:7081");
        assert_eq!(loaded.settings.data_dir, parent.path().join("node2"));
        let peers: Vec<_> = loaded.settings.peers.values().map(String::as_str).collect();
        assert_eq!(peers, ["http://127.0.0.1:7070", "http://127.0.0.1:7090"]);
    }

    #[test]
    fn a_folder_has_one_cluster_at_a_time_and_a_damaged_one_is_refused() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = opened(parent.path()).expect("opened");
        let second = opened(parent.path()).err().expect("held");
        assert!(second.message.contains("another `raft-grpc dev` runs here"), "{second}");
        for text in ["", "cluster = 1", "cluster = \"x\"\nnodes = []", "cluster = \"x\"\nnodes = [{ peer = 99999 }]"] {
            fs::write(parent.path().join(KEPT), text).expect("written");
            let failure = folder.cluster(None).expect_err(text);
            assert!(failure.message.contains("not as `raft-grpc dev` wrote it"), "{failure}");
        }
    }
}
