//! The replicated state of a node: its sessions and its state machine, after one entry. Only entries and snapshots change it,
//! so it is equal on all nodes that have applied the same entries.

use crate::clients::envelope::Envelope;
use crate::clients::sessions::{SessionLimits, Sessions};
use crate::interface::requests::Reply;
use crate::interface::state_machine::{SnapshotError, StateMachine};
use crate::snapshots::content::{SnapshotContent, SnapshotEncoder, state_hash};
use bytes::Bytes;
use raft_core::{Entry, EntryId, LogIndex, Payload};

#[derive(Clone, Debug)]
pub(crate) struct ReplicatedState<S> {
    pub(crate) machine: S,
    pub(crate) sessions: Sessions,
    /// The last applied index.
    pub(crate) applied: LogIndex,
    limits: SessionLimits,
}

impl<S: StateMachine> ReplicatedState<S> {
    /// The state before the first entry. `machine` has applied nothing.
    pub(crate) fn new(machine: S, limits: SessionLimits) -> Self {
        Self { machine, sessions: Sessions::new(limits), applied: LogIndex(0), limits }
    }

    /// Applies the next entry and returns the reply to its request. An entry without an envelope has no effect on any node, so
    /// its request is lost.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Reply {
        let Self { machine, sessions, .. } = self;
        self.applied = entry.id.index;
        let bytes = match &entry.payload {
            Payload::Command(bytes) => bytes,
            Payload::Configuration(configuration) => {
                return Reply::ConfigurationDecided { entry: entry.id, configuration: configuration.clone() };
            }
            Payload::Noop => return Reply::Lost,
        };
        match Envelope::decode(bytes) {
            Some(Envelope::OpenSession) => Reply::SessionOpened { session: sessions.open(entry.id) },
            Some(Envelope::Command(command)) => {
                sessions.apply_once(entry.id, &command, |command| machine.apply(entry.id, command))
            }
            // No client waits for it.
            Some(Envelope::Internal(command)) => {
                Reply::Applied { entry: entry.id, response: machine.apply(entry.id, &command) }
            }
            None => Reply::Lost,
        }
    }

    /// Becomes the state after `last` that a snapshot contains, or stays unchanged.
    pub(crate) fn restore(&mut self, last: EntryId, data: &Bytes) -> Result<(), SnapshotError> {
        let SnapshotContent { last, sessions, machine } = SnapshotContent::decode(data, last, self.limits)?;
        self.machine.restore(&machine)?;
        self.sessions = sessions;
        self.applied = last.index;
        Ok(())
    }

    /// The content of a snapshot of this state, as the one after `last`.
    pub(crate) fn encode(&self, last: EntryId) -> SnapshotEncoder<S::Snapshot> {
        SnapshotEncoder::new(last, &self.sessions, self.machine.snapshot())
    }

    /// Answers a query.
    pub(crate) fn answer(&self, query: &Bytes) -> Reply {
        Reply::Answer { applied: self.applied, response: self.machine.query(query) }
    }

    pub(crate) fn hash(&self) -> u128 {
        state_hash(self.machine.state_hash(), self.sessions.hash(), self.applied)
    }
}
