//! A session belongs to the client that opened it: only that client gets the answers of its commands.
//!
//! It is the first to catch: two sessions with one name, as after a restore whose log begins at an index that the old cluster
//! had used (R54). It backs up `backup`, which sees such an index in the log. `linearizability` backs it up.

use super::effect::{CommandId, Effect};
use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{LogIndex, RequestId};
use raft_node::Reply;
use std::collections::BTreeMap;

const NAME: &str = "session_owner";

/// The requests of a client have numbers from a multiple of this on.
const REQUESTS: u64 = 1_000_000;

#[derive(Clone, Default)]
pub(super) struct SessionOwner {
    /// The command of each entry.
    commands: BTreeMap<LogIndex, CommandId>,
    /// The client that opened each session, and the record of the answer.
    owners: BTreeMap<u64, (u64, u64)>,
}

const fn client_of(id: RequestId) -> u64 {
    id.0 / REQUESTS
}

impl Property for SessionOwner {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            if let Effect::Carries(command, _) = applied.effect {
                self.commands.insert(applied.entry.id.index, command);
            }
        }
        let RecordKind::Replied { id, reply } = &fact.record.kind else { return None };
        let (session, what) = match reply {
            Reply::SessionOpened { session } => (session.0, "opens"),
            Reply::Applied { entry, .. } => (self.commands.get(&entry.index)?.0, "answers a command of"),
            _ => return None,
        };
        let client = client_of(*id);
        let (owner, opened) = *self.owners.entry(session).or_insert((client, fact.record.number));
        let node = fact.record.node?;
        let message = format!("{node} {what} session {session} for client {client}; client {owner} has opened it");
        (owner != client).then(|| fact.contradicts(NAME, opened, message))
    }

    fn carried_over(&self, kept: LogIndex) -> Option<Box<dyn Property>> {
        let owners = self.owners.iter().filter(|(session, _)| **session <= kept.0);
        Some(Box::new(Self { owners: owners.map(|(session, owner)| (*session, *owner)).collect(), ..Self::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::{opens, puts};
    use super::super::script::*;
    use super::*;
    use bytes::Bytes;
    use raft_core::EntryId;
    use raft_node::SessionId;

    #[test]
    fn an_answer_to_another_client_fires() {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2), opens(3, 2)], 1);
        script.apply(1, vec![puts(4, 2, (3, 1), "a")], 2);
        let opened = Reply::SessionOpened { session: SessionId(3) };
        let answer = |script: &mut Script, client: u64| {
            let reply = Reply::Applied { entry: EntryId::new(4, 2), response: Bytes::new() };
            script.push(Some(1), RecordKind::Replied { id: RequestId(client * REQUESTS + 2), reply });
        };
        script.push(Some(1), RecordKind::Replied { id: RequestId(REQUESTS + 1), reply: opened });
        answer(&mut script, 1);
        assert_silent(SessionOwner::default(), &script);
        answer(&mut script, 2);
        let words = "n1 answers a command of session 3 for client 2; client 1 has opened it";
        assert_fires(SessionOwner::default(), NAME, &script, words);
    }
}
