//! A new cluster from old data, on the same machines: from the newest backup, or from the folder of one node. The folders
//! come from the code that `raft-grpc restore` and `recover` use.
//!
//! All processes of the old cluster end, and with them all connections. Messages between nodes that are still on their way
//! arrive, and carry the old cluster's id.

use crate::record::{CrashKind, RecordKind};
use crate::scenario::model::Keep;
use crate::world::configurations::Configurations;
use crate::world::disk::SimDisk;
use crate::world::host::{CLUSTER, state_machine};
use crate::world::operator::OperatorEvent;
use crate::world::{Event, NodeEvent, World};
use bytes::Bytes;
use raft_core::{Configuration, EntryId, NodeId};
use raft_node::{read_backup, restore_backup};
use raft_store::{BackupReader, ClusterId, Identity, recover_folder};
use std::collections::{BTreeMap, BTreeSet};

/// How far a restored log begins after its backup: less than [`raft_node::RESTORE_GAP`], because the checkers keep the log of
/// every node from index 1.
const GAP: u64 = 8_000;

/// The folders of a new cluster, and what they have in common.
struct Folders {
    disks: BTreeMap<NodeId, SimDisk>,
    founders: Configuration,
    /// The last entry of the old data.
    saved: EntryId,
    /// The entry that makes these nodes the founders.
    founded_at: EntryId,
    /// That of a node that has restored the backup, if it is one.
    state_hash: Option<u128>,
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

    /// Makes this node the only one of a new cluster, with all that is in its folder. All other disks are emptied, and clients
    /// start anew: their sessions may be newer than the folder.
    pub(crate) fn recover_step(&mut self, node: NodeId) {
        self.emit_fault(format!("recover from {node} alone"));
        let old = self.hosts.get(&node).and_then(|host| host.disk_to_see()).cloned();
        self.end_cluster();
        let folders = self.recovered(node, old);
        self.begin_cluster(folders);
        let mut out = Vec::new();
        self.clients.restart(self.now, &mut self.choices, &mut out);
        self.for_clients(out, None);
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
                    | Event::Node(_, NodeEvent::Request { .. } | NodeEvent::CancelBackup { .. })
            )
        });
        self.backups.clear();
        self.ended.clear();
        self.clusters += 1;
    }

    fn restored(&self, file: &Bytes, founders: &BTreeSet<NodeId>) -> Result<Folders, String> {
        let mut reader = BackupReader::open(&file[..]).map_err(|error| error.to_string())?;
        let (saved, data) = (reader.header().meta.last, reader.read_all().map_err(|error| error.to_string())?);
        let configuration = Configuration::of_voters(founders.iter().copied());
        let (mut disks, mut founded_at) = (BTreeMap::new(), saved);
        for host in founders.iter().filter_map(|node| self.hosts.get(node)) {
            let mut disk = SimDisk::new();
            let owner = (Identity { cluster: self.cluster(), node: host.id }, host.disk_id());
            let backup = BackupReader::open(&file[..]).map_err(|error| error.to_string())?;
            let last = restore_backup(&mut disk, owner, backup, configuration.clone(), host.store_options(), GAP);
            founded_at = last.map_err(|error| error.to_string())?;
            disks.insert(host.id, disk);
        }
        let content = read_backup(&data, saved);
        let state_hash = content.and_then(|content| content.state_hash(state_machine(), founded_at.index));
        let state_hash = Some(state_hash.map_err(|error| error.to_string())?);
        Ok(Folders { disks, founders: configuration, saved, founded_at, state_hash })
    }

    fn recovered(&self, node: NodeId, old: Option<SimDisk>) -> Result<Folders, String> {
        let (host, mut old) = self.hosts.get(&node).zip(old).ok_or("there is no such node")?;
        old.crash_kill();
        let (mut disk, cluster) = (SimDisk::new(), self.cluster());
        let folder = recover_folder(&mut old, &mut disk, |_| cluster, host.disk_id(), host.store_options());
        let saved = folder.map_err(|error| error.to_string())?.last;
        let founders = Configuration::of_voters([node]);
        // The entry's term is in the folder; only the index counts.
        let founded_at = EntryId { index: saved.index.next(), term: saved.term };
        Ok(Folders { disks: BTreeMap::from([(node, disk)]), founders, saved, founded_at, state_hash: None })
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
        let Folders { mut disks, founders, saved, founded_at, state_hash } = folders;
        let cluster = self.cluster();
        for node in self.nodes() {
            let disk = disks.remove(&node);
            self.on(node, |_, host| host.join_cluster(cluster, disk));
        }
        self.configurations = Configurations::new(founded_at, founders.clone());
        let first = founders.members.keys().next().and_then(|node| self.hosts.get(node));
        match first.ok_or_else(|| "there are no founders".to_owned()).and_then(|host| host.state_on_disk()) {
            Ok((term, snapshot, entries)) => {
                self.emit_outside(None, RecordKind::NewCluster { saved, term, snapshot, entries, state_hash });
            }
            Err(error) => self.rebuild_failure = Some(error),
        }
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
