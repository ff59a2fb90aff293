//! How a node applies committed entries and restores a snapshot.

use super::Node;
use crate::clients::envelope::Envelope;
use crate::interface::outputs::{Outputs, Report};
use crate::interface::requests::Reply;
use crate::interface::state_machine::{SnapshotError, StateMachine};
use crate::snapshots::content::SnapshotContent;
use bytes::Bytes;
use raft_core::{Entries, Entry, Input, Payload, SnapshotMeta};

impl<S: StateMachine> Node<S> {
    /// Applies entries: emits the report first, then the replies.
    pub(super) fn apply(&mut self, entries: Entries, outputs: &mut Outputs) {
        let start = outputs.len();
        self.snapshots.policy.on_applied(entries.size());
        for entry in entries.iter() {
            let reply = self.apply_entry(entry);
            self.waiters.on_applied(entry.id, &reply, outputs);
            self.applied = entry.id.index;
        }
        if self.observes {
            let state_hash = self.state_hash();
            outputs.insert(start, Report::Applied { entries, state_hash }.into());
        }
    }

    /// Applies one entry and returns the reply to its request. An entry without an envelope has no effect on any node, so its
    /// request is lost.
    fn apply_entry(&mut self, entry: &Entry) -> Reply {
        let bytes = match &entry.payload {
            Payload::Command(bytes) => bytes,
            Payload::Configuration(configuration) => {
                return Reply::ConfigurationDecided { entry: entry.id, configuration: configuration.clone() };
            }
            Payload::Noop => return Reply::Lost,
        };
        let machine = &mut self.machine;
        match Envelope::decode(bytes) {
            Some(Envelope::OpenSession) => Reply::SessionOpened { session: self.sessions.open(entry.id) },
            Some(Envelope::Command(command)) => {
                self.sessions.apply_once(entry.id, &command, |command| machine.apply(entry.id, command))
            }
            // No client waits for it.
            Some(Envelope::Internal(command)) => {
                Reply::Applied { entry: entry.id, response: machine.apply(entry.id, &command) }
            }
            None => Reply::Lost,
        }
    }

    /// Handles a loaded snapshot: it becomes the state, and the node applies the entries that waited for it.
    pub(super) fn snapshot_loaded(&mut self, meta: SnapshotMeta, data: &Bytes, outputs: &mut Outputs) -> Option<Input> {
        if !self.snapshots.loading.is_for(&meta) {
            return None;
        }
        if let Err(error) = self.restore(&meta, data) {
            // Loading stays pending, so the node applies nothing more to the old state.
            outputs.push(Report::SnapshotUnreadable { meta, error }.into());
            return None;
        }
        let state_hash = self.observes.then(|| self.state_hash());
        outputs.push(Report::Restored { meta, state_hash }.into());
        for entries in self.snapshots.loading.end() {
            self.apply(entries, outputs);
        }
        Some(Input::Applied { index: self.applied })
    }

    /// Restores sessions and state machine, or leaves both unchanged.
    fn restore(&mut self, meta: &SnapshotMeta, data: &Bytes) -> Result<(), SnapshotError> {
        let SnapshotContent { last, sessions, machine } = SnapshotContent::decode(data, meta.last, self.max_sessions)?;
        self.machine.restore(&machine)?;
        self.sessions = sessions;
        self.applied = last.index;
        self.snapshots.policy.on_restored(last.index, data.len() as u64);
        Ok(())
    }
}
