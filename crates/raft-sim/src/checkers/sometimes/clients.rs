//! The marks of sessions that end, of several commands in one session, of watches, and of reads that nothing confirms.

use super::super::effect::{CommandId, Effect};
use super::super::ghost::Ghost;
use super::super::property::Fact;
use crate::record::RecordKind;
use bytes::Bytes;
use prost::Message;
use raft_core::{NodeId, RequestId};
use raft_node::Reply;
use raft_proto::wire::kv;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Default)]
pub(super) struct Clients {
    /// The session in which each operation was sent first, by the record of its invocation.
    sessions: BTreeMap<u64, u64>,
    /// The highest number that was executed in each session.
    executed: BTreeMap<u64, u64>,
    /// Queries that a node may answer from an old state, by the record of their invocation, and their requests.
    stale: BTreeSet<u64>,
    stale_requests: BTreeSet<RequestId>,
    /// The node of each answer to a watch, by the answer's record, and the node of the newest one that each client has.
    watch_answers: BTreeMap<u64, NodeId>,
    watched_at: BTreeMap<u64, NodeId>,
}

impl Clients {
    pub(super) fn observe(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<&'static str> {
        let cause = fact.record.cause;
        match &fact.record.kind {
            RecordKind::StaleQueried { .. } => drop(self.stale.insert(fact.record.number)),
            RecordKind::Requested { id, command } => {
                self.stale_requests.extend(cause.filter(|cause| self.stale.contains(cause)).map(|_| *id));
                return self.requested(cause?, command.0?);
            }
            RecordKind::Replied { id, reply } => return self.replied(fact, *id, reply),
            RecordKind::Watched { watcher, .. } => {
                let node = self.watch_answers.remove(&cause?)?;
                let before = self.watched_at.insert(*watcher, node);
                return before.is_some_and(|before| before != node).then_some("watch_resumed");
            }
            RecordKind::Applied { .. } => {
                let applied = ghost.applied.get(fact.change.applied_before..).unwrap_or_default();
                let is_late = |command: CommandId| {
                    let highest = self.executed.entry(command.0).or_default();
                    *highest = command.1.max(*highest);
                    command.1 < *highest
                };
                let commands = applied.iter().filter_map(|applied| match applied.effect {
                    Effect::Carries(command, _) => Some(command),
                    _ => None,
                });
                return (commands.map(is_late).filter(|late| *late).count() > 0).then_some("commands_out_of_order");
            }
            _ => {}
        }
        None
    }

    pub(super) fn is_stale_read(&self, id: RequestId) -> bool {
        self.stale_requests.contains(&id)
    }

    fn requested(&mut self, invocation: u64, command: CommandId) -> Option<&'static str> {
        let first = *self.sessions.entry(invocation).or_insert(command.0);
        (first != command.0).then_some("expired_command_retried")
    }

    fn replied(&mut self, fact: &Fact<'_>, id: RequestId, reply: &Reply) -> Option<&'static str> {
        match reply {
            Reply::SessionExpired => Some("session_expired"),
            Reply::AlreadyAnswered => Some("command_abandoned"),
            Reply::OtherCluster => Some("watch_of_another_cluster"),
            Reply::Answer { .. } => self.is_stale_read(id).then_some("stale_read_served"),
            Reply::Watched { response, .. } => {
                self.watch_answers.insert(fact.record.number, fact.record.node?);
                is_gone(response).then_some("watch_compacted")
            }
            _ => None,
        }
    }
}

/// Whether the changes of a watch are gone.
fn is_gone(response: &Bytes) -> bool {
    let answer = kv::KvAnswer::decode(response.clone()).ok().and_then(|answer| answer.kind);
    matches!(answer, Some(kv::kv_answer::Kind::Compacted(_)))
}
