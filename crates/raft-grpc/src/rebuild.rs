//! The folders of new clusters: from a backup, and from the folder of a node whose cluster lost its quorum. raft-node decides what
//! they contain; here are the names, the ids, and the real folders.

use crate::config::Settings;
use crate::failure::Failure;
use crate::host::store_options;
use crate::identity::cluster_id;
use crate::random;
use raft_core::{Configuration, EntryId};
use raft_kv::KvMap;
use raft_node::{NewFolder, NodeOptions, index_gap, recover_folder, restore_backup};
use raft_store::{BackupReader, ClusterId, DiskId, Files, Identity, OldFolder, StoreOptions};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{File, rename};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A name that no other cluster has: `because` and a random number.
///
/// # Errors
/// The system has no entropy.
pub fn drawn_name(because: &str) -> Result<String, Failure> {
    let [a, b, c, d, ..] = unique()?;
    Ok(format!("{because}-{:08x}", u32::from_be_bytes([a, b, c, d])))
}

fn unique() -> Result<[u8; 16], Failure> {
    random::unique().map_err(|error| Failure::runtime(format!("cannot draw an id: {error}")))
}

/// Makes the data folder that of a founder of the cluster in `settings`, with the state of a backup; `place` is for messages. Returns the
/// cluster's id, and the entry after which its log begins.
///
/// # Errors
/// The folder is not empty, the cluster is the one that was saved, the backup is damaged, or the disk failed.
pub fn restore<R: Read>(
    settings: &Settings,
    backup: BackupReader<R>,
    place: &str,
) -> Result<(ClusterId, EntryId), Failure> {
    let founders = Configuration::of_voters(settings.peers.keys().copied().chain([settings.id]));
    let cluster = cluster_id(&settings.cluster, &founders);
    let folder = settings.data_dir.display().to_string();
    let mut files = Files::open(&settings.data_dir, true).map_err(|error| Failure::store(&folder, &error))?;
    let identity = Identity { cluster, node: settings.id };
    let new = new_folder(&mut files, identity, store_options(settings))?;
    let last = restore_backup(backup, founders, new);
    Ok((cluster, last.map_err(|error| Failure::new_cluster(&format!("{place} to {folder}"), &error))?))
}

fn new_folder(disk: &mut Files, identity: Identity, options: StoreOptions) -> Result<NewFolder<'_, Files>, Failure> {
    let (disk_id, gap) = (DiskId(unique()?), index_gap(identity.cluster));
    Ok(NewFolder { disk, identity, disk_id, options, gap })
}

/// What a recovery has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The node, of the new cluster.
    pub identity: Identity,
    /// The last entry of the old folder.
    pub saved: EntryId,
    /// Where the old folder is now.
    pub kept: PathBuf,
}

/// Replaces a data folder by that of the only node of a new cluster of this name. `old` is the folder at `path`, locked.
///
/// # Errors
/// The folder is damaged, there is nothing in it, or one of the names that are needed beside it is taken.
pub fn recover(old: &mut Files, name: &str) -> Result<Recovered, Failure> {
    let path = old.path().to_owned();
    let place = path.display().to_string();
    let (new, kept) = (beside(&path, "recovering"), beside(&path, "before-recovery"));
    for taken in [&new, &kept] {
        if taken.try_exists().unwrap_or(true) {
            let message = format!("{} exists: an earlier recovery left it: move it away, then repeat", taken.display());
            return Err(Failure::runtime(message));
        }
    }
    let failed = |error: io::Error| {
        Failure::runtime(format!(
            "{place}: cannot be replaced by {}: {error}. Nothing was changed; if the folder is a mount point, recover a copy of it",
            new.display()
        ))
    };
    let mut files = Files::open(&new, true).map_err(|error| Failure::store(&new.display().to_string(), &error))?;
    let mut old = OldFolder::open(old).map_err(|error| Failure::new_cluster(&place, &error.into()))?;
    let (node, saved) = (old.identity().node, old.last());
    let identity = Identity { cluster: cluster_id(name, &Configuration::of_voters([node])), node };
    let folder = new_folder(&mut files, identity, StoreOptions::default())?;
    recover_folder(&mut old, KvMap::new(), NodeOptions::default().max_sessions, folder)
        .map_err(|error| Failure::new_cluster(&place, &error))?;
    swap(&path, &new, &kept).map_err(failed)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    Ok(Recovered { identity, saved, kept })
}

/// A folder of this name beside another one, so that it can be renamed.
fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    name.into()
}

/// Puts `new` in the place of `path`, which becomes `kept`. At once where the file system can do that: no node may find the place
/// empty and begin there as a new one.
fn swap(path: &Path, new: &Path, kept: &Path) -> io::Result<()> {
    if renameat_with(CWD, path, CWD, new, RenameFlags::EXCHANGE).is_ok() {
        return rename(new, kept);
    }
    rename(path, kept)?;
    rename(new, path)
}
