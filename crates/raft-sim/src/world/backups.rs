//! Backups: the operator takes them from a node, chunk by chunk, several at a time, and keeps each as a file.
//!
//! A refusal, or no reply in time, ends a backup: the operator closes the connection, and the node drops the state that it
//! kept. The checkers decide whether a backup is right.

use crate::record::RecordKind;
use crate::rng::Site;
use crate::scenario::refusals::of_reply;
use crate::world::host::state_machine;
use crate::world::operator::FIRST_OF_BACKUPS;
use crate::world::refusals::Act;
use crate::world::{Event, NodeEvent, World};
use bytes::Bytes;
use raft_core::{LogIndex, NodeId, RequestId, SnapshotMeta};
use raft_node::{Reply, Request, read_backup};
use raft_store::{BackupHeader, BackupWriter};
use std::collections::BTreeMap;
use std::time::Duration;

const DELAY: Site = Site::new("backup delay");
const PAUSE: Site = Site::new("backup pause");

/// The number of election timeouts within which a request for a backup must have a reply.
const PATIENCE: u32 = 4;

#[derive(Clone, Debug, Default)]
pub(crate) struct Backups {
    requests: u64,
    /// The backups in progress, by the request that began each.
    open: BTreeMap<RequestId, Backup>,
    /// The finished backup that covers most, and its last entry.
    newest: Option<(LogIndex, Bytes)>,
    finished: u64,
}

#[derive(Clone, Debug)]
struct Backup {
    node: NodeId,
    waits_for: Option<RequestId>,
    meta: Option<SnapshotMeta>,
    data: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum BackupEvent {
    Reply {
        id: RequestId,
        reply: Reply,
    },
    /// The operator has stored the last chunk and asks for the next one.
    Next {
        backup: RequestId,
    },
    TimedOut {
        id: RequestId,
    },
}

impl Backups {
    /// The file of the finished backup that covers most.
    pub(crate) fn newest(&self) -> Option<Bytes> {
        self.newest.as_ref().map(|(_, file)| file.clone())
    }

    /// How many backups of the present cluster are finished.
    pub(crate) const fn finished(&self) -> u64 {
        self.finished
    }

    /// Forgets all backups: another cluster begins.
    pub(crate) fn clear(&mut self) {
        *self = Self { requests: self.requests, ..Self::default() };
    }

    /// Whether a request of a backup still waits for its reply.
    pub(crate) fn waits_for(&self, id: RequestId) -> bool {
        self.waiting(id).is_some()
    }

    /// The backup that waits for the reply to this request.
    fn waiting(&self, id: RequestId) -> Option<RequestId> {
        self.open.iter().find(|(_, backup)| backup.waits_for == Some(id)).map(|(backup, _)| *backup)
    }
}

impl World {
    /// Begins a backup of the state of this node, after a linearizable read; returns the request.
    pub(crate) fn begin_backup(&mut self, node: NodeId) -> RequestId {
        let id = self.new_backup_request();
        let backup = Backup { node, waits_for: None, meta: None, data: Vec::new() };
        self.backups.open.insert(id, backup);
        let cause = self.emit_outside(None, RecordKind::BackupAsked { id, node });
        self.ask_for_backup(id, id, Request::BeginBackup { is_stale: false }, Some(cause));
        id
    }

    pub(crate) fn backup_event(&mut self, event: BackupEvent) {
        match event {
            BackupEvent::Reply { id, reply } => {
                if let Some(backup) = self.backups.waiting(id) {
                    self.backup_receives(backup, reply);
                }
            }
            BackupEvent::Next { backup } => {
                let id = self.new_backup_request();
                self.ask_for_backup(backup, id, Request::ContinueBackup { backup }, None);
            }
            BackupEvent::TimedOut { id } => {
                if let Some(backup) = self.backups.waiting(id) {
                    self.refusals.answered(Act::Backup(backup), &[], &"no reply in time", self.now);
                    self.close_backup(backup, "no reply in time");
                }
            }
        }
    }

    fn new_backup_request(&mut self) -> RequestId {
        self.backups.requests += 1;
        RequestId(FIRST_OF_BACKUPS + self.backups.requests)
    }

    fn ask_for_backup(&mut self, backup: RequestId, id: RequestId, request: Request, cause: Option<u64>) {
        let Some(open) = self.backups.open.get_mut(&backup) else { return };
        open.waits_for = Some(id);
        let node = open.node;
        let delay = self.choices.draw(DELAY, id.0, 0).in_range(&self.scenario.network.delay);
        self.plan_after(delay, Event::Node(node, NodeEvent::Request { id, request, cause }));
        let patience = self.scenario.raft.election_timeout.end.saturating_mul(PATIENCE);
        self.plan_after(patience, Event::Backup(BackupEvent::TimedOut { id }));
    }

    pub(crate) fn answer_backup(&mut self, id: RequestId, reply: Reply) {
        let delay = self.choices.draw(DELAY, id.0, 1).in_range(&self.scenario.network.delay);
        self.plan_after(delay, Event::Backup(BackupEvent::Reply { id, reply }));
    }

    fn backup_receives(&mut self, backup: RequestId, reply: Reply) {
        let Some(open) = self.backups.open.get_mut(&backup) else { return };
        let asked = open.waits_for.take();
        match reply {
            Reply::BackupBegun { meta } => {
                let begun = format!("a backup at {} has begun", meta.last);
                open.meta = Some(*meta);
                self.refusals.answered(Act::Backup(backup), &[], &begun, self.now);
            }
            Reply::BackupChunk { bytes } if bytes.is_empty() => return self.finish_backup(backup),
            Reply::BackupChunk { bytes } => open.data.extend_from_slice(&bytes),
            other => {
                let why = crate::record::explain::Answer(&other).to_string();
                self.refusals.answered(Act::Backup(backup), of_reply(&other), &why, self.now);
                return self.close_backup(backup, &why);
            }
        }
        let pause = Duration::ZERO..self.scenario.raft.election_timeout.start / 2;
        let pause = self.choices.draw(PAUSE, asked.map_or(0, |id| id.0), 0).in_range(&pause);
        self.plan_after(pause, Event::Backup(BackupEvent::Next { backup }));
    }

    /// Ends a backup that is not complete.
    fn close_backup(&mut self, id: RequestId, why: &str) {
        let Some(Backup { node, .. }) = self.backups.open.remove(&id) else { return };
        self.emit_fault(format!("backup {id} of {node} ends: {why}"));
        let delay = self.choices.draw(DELAY, id.0, 2).in_range(&self.scenario.network.delay);
        self.plan_after(delay, Event::Node(node, NodeEvent::CancelBackup { id }));
    }

    fn finish_backup(&mut self, id: RequestId) {
        let Some(Backup { node, meta: Some(meta), data, .. }) = self.backups.open.remove(&id) else { return };
        let data = Bytes::from(data);
        let content = read_backup(&data, meta.last);
        let state_hash =
            content.and_then(|content| content.state_hash(state_machine(&self.scenario.raft), meta.last.index));
        let state_hash = state_hash.map_err(|error| error.to_string());
        let header = BackupHeader { cluster: self.cluster(), time_ms: self.now.0 / 1_000_000, meta: meta.clone() };
        let (mut writer, begin) = BackupWriter::begin(&header);
        let file = [begin, writer.data(&data), writer.end()].concat();
        self.backups.finished += 1;
        if self.backups.newest.as_ref().is_none_or(|(last, _)| *last <= meta.last.index) {
            self.backups.newest = Some((meta.last.index, file.into()));
        }
        self.emit_outside(None, RecordKind::BackupFinished { id, node, meta, state_hash });
    }
}
