//! The marks of backups.

use crate::record::{Record, RecordKind};
use raft_core::{EntryId, NodeId, RejectReason, RequestId, RoleKind};
use raft_node::Reply;
use std::collections::{BTreeMap, BTreeSet};

/// The most backups that a node makes at a time.
const LIMIT: usize = 4;

#[derive(Clone, Default)]
pub(super) struct Backups {
    asked: BTreeSet<RequestId>,
    /// The requests that a leader has accepted.
    accepted: BTreeSet<RequestId>,
    /// The backups in progress, with their nodes.
    open: BTreeMap<RequestId, NodeId>,
    /// The last entry of the data from which the cluster was made.
    saved: Option<EntryId>,
}

impl Backups {
    pub(super) fn observe(&mut self, record: &Record) -> Option<&'static str> {
        match &record.kind {
            RecordKind::BackupAsked { id, .. } => {
                self.asked.insert(*id);
            }
            RecordKind::Requested { id, .. } if self.asked.contains(id) => {
                let leads = record.view.as_ref().is_some_and(|view| view.role == RoleKind::Leader);
                self.accepted.extend(leads.then_some(*id));
            }
            RecordKind::NewCluster { saved, recovered, .. } => {
                self.saved = Some(*saved);
                return Some(if recovered.is_none() { "cluster_restored" } else { "cluster_recovered" });
            }
            RecordKind::ForeignClusterRefused { .. } => return Some("foreign_cluster_refused"),
            RecordKind::Replied { id, reply } => return self.replied(*id, record.node?, reply),
            RecordKind::BackupCancelled { id } => {
                self.open.remove(id);
            }
            RecordKind::BackupFinished { id, .. } => {
                self.open.remove(id);
                return Some("backup_finished");
            }
            RecordKind::Started { .. } => self.open.retain(|_, node| Some(*node) != record.node),
            _ => {}
        }
        None
    }

    fn replied(&mut self, id: RequestId, node: NodeId, reply: &Reply) -> Option<&'static str> {
        match reply {
            Reply::BackupBegun { .. } => {
                self.open.insert(id, node);
                self.accepted.remove(&id);
                None
            }
            Reply::Applied { entry, .. } => {
                self.saved.is_some_and(|saved| entry.index <= saved.index).then_some("answered_from_backup")
            }
            Reply::SessionExpired => self.saved.is_some().then_some("session_not_in_backup"),
            Reply::NoBackup => Some("backup_lost"),
            Reply::Rejected { reason: RejectReason::Busy } if self.asked.contains(&id) => {
                (self.open.values().filter(|of| **of == node).count() >= LIMIT).then_some("backup_refused")
            }
            _ => self.accepted.remove(&id).then_some("backup_read_failed"),
        }
    }
}
