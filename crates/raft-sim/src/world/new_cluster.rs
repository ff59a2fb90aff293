//! A new cluster from old data, on the same machines: from the newest backup, or from the folder of one node. The folders
//! come from the code that `raft-grpc restore` and `recover` use.
//!
//! All processes of the old cluster end, and with them all connections. Messages between nodes that are still on their way
//! arrive, and carry the old cluster's id.

use crate::record::{CrashKind, RecordKind, RecoveredLog};
use crate::scenario::model::Keep;
use crate::world::configurations::Configurations;
use crate::world::disk::SimDisk;
use crate::world::host::{CLUSTER, state_machine};
use crate::world::operator::OperatorEvent;
use crate::world::settings::node_options;
use crate::world::watchers::WatchEvent;
use crate::world::{Event, NodeEvent, World};
use bytes::Bytes;
use raft_core::{Configuration, Entry, EntryId, NodeId, SnapshotMeta};
use raft_node::{NewFolder, recover_folder, restore_backup};
use raft_store::{BackupReader, ClusterId, Identity, OldFolder, RebuildError};
use std::collections::{BTreeMap, BTreeSet};

/// How far the log of a new cluster begins after the old data: less than [`raft_node::index_gap`], because the checkers keep the log
/// of every node from index 1.
const GAP: u64 = 8_000;

/// The folders of a new cluster, and what they have in common.
struct Folders {
    disks: BTreeMap<NodeId, SimDisk>,
    founders: Configuration,
    /// The last entry of the old data.
    saved: EntryId,
    recovered: Option<Box<RecoveredLog>>,
    /// The entry after which the log begins.
    last: EntryId,
}

impl World {
    /// Makes these nodes the founders of a new cluster with the state of the newest backup. All other disks are emptied.
    pub(crate) fn restore_step(&mut self, founders: &BTreeSet<NodeId>) {
        self.emit_fault(format!("restore the newest backup to {}", crate::faults::list(founders)));
        let Some(file) = self.backups.newest() else {
            self.rebuild_failure = Some("there is no backup to restore".to_owned());
            return;
        };
        self.end_cluster();
        let folders = self.restored(&file, founders);
        self.begin_cluster(folders);
    }

    /// Makes this node the only one of a new cluster, with all that is in its folder. All other disks are emptied.
    pub(crate) fn recover_step(&mut self, node: NodeId) {
        self.emit_fault(format!("recover from {node} alone"));
        let old = self.hosts.get(&node).and_then(|host| host.disk_to_see()).cloned();
        self.end_cluster();
        let folders = self.recovered(node, old);
        self.begin_cluster(folders);
    }

    /// Ends every process and every connection of a client, and loses all disks.
    fn end_cluster(&mut self) {
        for node in self.nodes() {
            self.crash_node(node, CrashKind::Kill, Keep::Everything);
            self.on(node, |_, host| host.lose_disk());
        }
        self.queue.retain(|event| {
            !matches!(
                event,
                Event::Reply { .. }
                    | Event::Operator(OperatorEvent::Reply { .. })
                    | Event::Backup(_)
                    | Event::Watch(WatchEvent::Reply { .. })
                    | Event::Node(
                        _,
                        NodeEvent::Request { .. } | NodeEvent::CancelBackup { .. } | NodeEvent::CancelWatch { .. }
                    )
            )
        });
        self.backups.clear();
        self.ended.clear();
        self.clusters += 1;
    }

    fn restored(&self, file: &Bytes, founders: &BTreeSet<NodeId>) -> Result<Folders, String> {
        let founders = Configuration::of_voters(founders.iter().copied());
        let (mut disks, mut saved, mut last) = (BTreeMap::new(), EntryId::ZERO, EntryId::ZERO);
        for node in founders.members.keys() {
            let mut disk = SimDisk::new();
            let backup = BackupReader::open(&file[..]).map_err(|error| error.to_string())?;
            saved = backup.header().meta.last;
            let folder = self.new_folder(*node, &mut disk)?;
            last = restore_backup(backup, founders.clone(), folder).map_err(|error| error.to_string())?;
            disks.insert(*node, disk);
        }
        Ok(Folders { disks, founders, saved, recovered: None, last })
    }

    fn recovered(&self, node: NodeId, old: Option<SimDisk>) -> Result<Folders, String> {
        let (mut old, mut disk) = (old.ok_or("there is no such node")?, SimDisk::new());
        old.crash_kill();
        // The operator reads a copy of the folder that can be read.
        old.clear_errors();
        let mut old = OldFolder::open(&mut old).map_err(|error| error.to_string())?;
        let founders = Configuration::of_voters([node]);
        let folder = self.new_folder(node, &mut disk)?;
        let (machine, options) = (state_machine(&self.scenario.raft), node_options(&self.scenario.raft));
        let last = recover_folder(&mut old, machine, &options, founders.clone(), folder);
        let last = last.map_err(|error| error.to_string())?;
        let recovered = Some(Box::new(log_of(&mut old).map_err(|error| error.to_string())?));
        Ok(Folders { disks: BTreeMap::from([(node, disk)]), founders, saved: old.last(), recovered, last })
    }

    fn new_folder<'a>(&self, node: NodeId, disk: &'a mut SimDisk) -> Result<NewFolder<'a, SimDisk>, String> {
        let host = self.hosts.get(&node).ok_or("there is no such node")?;
        let identity = Identity { cluster: self.cluster(), node };
        Ok(NewFolder { disk, identity, disk_id: host.disk_id(), options: host.store_options(), gap: GAP })
    }

    /// Starts all nodes: those with a folder of the new cluster, and the others with empty disks.
    fn begin_cluster(&mut self, folders: Result<Folders, String>) {
        let folders = match folders {
            Ok(folders) => folders,
            Err(error) => {
                self.rebuild_failure = Some(error);
                return;
            }
        };
        let Folders { mut disks, founders, saved, recovered, last } = folders;
        let cluster = self.cluster();
        for node in self.nodes() {
            let disk = disks.remove(&node);
            self.on(node, |_, host| host.join_cluster(cluster, disk));
        }
        let first = founders.members.keys().next().and_then(|node| self.hosts.get(node));
        let hashes = first.ok_or_else(|| "there are no founders".to_owned());
        match hashes.and_then(|host| host.state_hashes_on_disk(last, saved)) {
            Ok((state_hash, saved_hash)) => {
                let snapshot = SnapshotMeta { last, configuration: founders.clone(), configured_at: last };
                self.emit_outside(None, RecordKind::NewCluster { saved, recovered, snapshot, state_hash, saved_hash });
            }
            Err(error) => self.rebuild_failure = Some(error),
        }
        self.configurations = Configurations::new(last, founders);
        self.on_each(&self.nodes(), Self::start);
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        let ClusterId(mut id) = CLUSTER;
        id[15] = id[15].wrapping_add(u8::try_from(self.clusters % 256).unwrap_or(0));
        ClusterId(id)
    }

    /// The problem if a step could not make a new cluster.
    pub(crate) fn rebuild_failure(&self) -> Option<String> {
        self.rebuild_failure.as_ref().map(|error| format!("no new cluster was made: {error}"))
    }
}

/// The log of a folder, as the checkers take it.
fn log_of(old: &mut OldFolder<&mut SimDisk>) -> Result<RecoveredLog, RebuildError> {
    let covered = old.load_snapshot()?.map_or(EntryId::ZERO, |(meta, _)| meta.last);
    let mut entries = Vec::new();
    loop {
        let from = entries.last().map_or(covered.index, |entry: &Entry| entry.id.index);
        let more = old.entries(from.next())?;
        if more.is_empty() {
            return Ok(RecoveredLog { covered, entries: entries.into() });
        }
        entries.extend(more.iter().cloned());
    }
}
