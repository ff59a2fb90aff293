//! The folders of new clusters: from a backup, and from the folder of a node whose cluster lost its quorum. raft-node decides what
//! they contain; here are the names, the ids, and the real folders.

use crate::config::Settings;
use crate::failure::Failure;
use crate::host::store_options;
use crate::identity::cluster_id_from;
use crate::random;
use raft_core::{Configuration, EntryId, NodeId};
use raft_kv::KvMap;
use raft_node::{NewFolder, NodeOptions, index_gap, recover_folder, restore_backup};
use raft_proto::member_context_to_bytes;
use raft_proto::wire::raft::MemberContext;
use raft_store::{BackupReader, ClusterId, DiskId, Files, Identity, OldFolder, StoreOptions};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File, rename};
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
/// The folder is not empty, the backup is damaged, or the disk failed.
pub fn restore<R: Read>(
    settings: &Settings,
    backup: BackupReader<R>,
    place: &str,
) -> Result<(ClusterId, EntryId), Failure> {
    let founders = founders(&settings.cluster, settings.peers.keys().copied().chain([settings.id]));
    let header = backup.header();
    let cluster = cluster_id_from(&settings.cluster, &founders, (header.cluster, header.meta.last));
    let folder = settings.data_dir.display().to_string();
    let mut files = Files::open(&settings.data_dir, true).map_err(|error| Failure::store(&folder, &error))?;
    let identity = Identity { cluster, node: settings.id };
    let new = new_folder(&mut files, identity, store_options(settings))?;
    let last = restore_backup(backup, founders, new);
    Ok((cluster, last.map_err(|error| Failure::new_cluster(&format!("{place} to {folder}"), &error))?))
}

/// The founders of a cluster from old data. No log has its first entry, so they carry its name.
fn founders(name: &str, ids: impl IntoIterator<Item = NodeId>) -> Configuration {
    let mut founders = Configuration::of_voters(ids);
    let named = member_context_to_bytes(&MemberContext { cluster: name.to_owned(), ..MemberContext::default() });
    founders.members.values_mut().for_each(|context| context.clone_from(&named));
    founders
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
        if taken.symlink_metadata().is_ok() {
            let message = format!(
                "{0} exists: an earlier recovery left it. If `wal verify {0}` says that it is unfinished, remove it; else it holds \
                 data: move it away. Then repeat",
                taken.display()
            );
            return Err(Failure::runtime(message));
        }
    }
    let mut old = OldFolder::open(old).map_err(|error| Failure::new_cluster(&place, &error.into()))?;
    let removed = || {
        // What stays hides nothing: the next recovery names it.
        let _ = fs::remove_dir_all(&new);
    };
    let identity = make_recovered(&mut old, &new, name).inspect_err(|_| removed())?;
    swap(&path, &new, &kept).map_err(|(error, old_at)| {
        let why = format!("{place}: cannot be replaced by {}: {error}.", new.display());
        if old_at != path {
            return Failure::runtime(format!("{why} The old folder is {}: move it back", old_at.display()));
        }
        removed();
        Failure::runtime(format!("{why} Nothing was changed; if the folder is a mount point, recover a copy of it"))
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|error| {
        let kept = kept.display();
        Failure::runtime(format!(
            "{place} is recovered and {kept} is the old folder, but a power loss may undo it: {error}"
        ))
    })?;
    Ok(Recovered { identity, saved: old.last(), kept })
}

/// Makes the folder at `new`.
fn make_recovered(old: &mut OldFolder<&mut Files>, new: &Path, name: &str) -> Result<Identity, Failure> {
    let place = new.display().to_string();
    let mut files = Files::open(new, true).map_err(|error| Failure::store(&place, &error))?;
    let from = old.identity();
    let founder = founders(name, [from.node]);
    let cluster = cluster_id_from(name, &founder, (from.cluster, old.last()));
    let identity = Identity { cluster, node: from.node };
    let folder = new_folder(&mut files, identity, StoreOptions::default())?;
    recover_folder(old, KvMap::new(), &NodeOptions::default(), founder, folder)
        .map_err(|error| Failure::new_cluster(&place, &error))?;
    Ok(identity)
}

/// A folder of this name beside another one, so that it can be renamed.
fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    name.into()
}

/// Puts `new` in the place of `path`, which becomes `kept`. At once where the file system can do that: no node may find the place empty
/// and begin there as a new one. An error comes with the place where the old folder is.
fn swap<'a>(path: &'a Path, new: &'a Path, kept: &'a Path) -> Result<(), (io::Error, &'a Path)> {
    let exchange = || renameat_with(CWD, path, CWD, new, RenameFlags::EXCHANGE);
    if exchange().is_ok() {
        return rename(new, kept).map_err(|error| (error, if exchange().is_ok() { path } else { new }));
    }
    rename(path, kept).map_err(|error| (error, path))?;
    rename(new, path).map_err(|error| (error, if rename(kept, path).is_ok() { path } else { kept }))
}
