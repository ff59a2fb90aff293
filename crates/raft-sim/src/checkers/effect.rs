//! The effects of applied entries on sessions and keys, computed a second time and as simply as possible. The first
//! entry of a command in an open session takes effect, no other entry does (Thesis §6.3).
//!
//! This file must not use the node's sessions or the state machine, because it has to be independent of them.

use super::ghost::AppliedEntry;
use prost::Message;
use raft_core::{EntryId, Payload};
use raft_proto::wire::{kv, session};
use std::collections::BTreeMap;

/// A command, as its client numbered it.
pub(super) type CommandId = (u64, u64);

/// The request in an entry, and whether it takes effect.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// It opens a session, whose name is its index.
    Opens,
    /// It is the first entry of its command, so this change is executed (`None`: the state machine cannot read it).
    Carries(CommandId, Option<kv::kv_command::Kind>),
    /// It repeats a command that this entry already executed.
    Repeats(CommandId, EntryId),
    /// It is a command of the leader's state machine (`None`: the state machine cannot read it).
    Own(Option<kv::kv_command::Kind>),
    /// Its session is not open, or its client had abandoned the command.
    Nothing,
}

/// The sessions after the applied entries.
#[derive(Clone, Default)]
pub(super) struct Effects {
    sessions: BTreeMap<u64, Session>,
}

#[derive(Clone, Default)]
struct Session {
    lowest_pending: u64,
    done: BTreeMap<u64, EntryId>,
}

impl Effects {
    pub(super) fn of(&mut self, applied: &AppliedEntry) -> Effect {
        use session::session_command::Kind;
        let Payload::Command(bytes) = &applied.entry.payload else { return Effect::Nothing };
        let id = applied.entry.id;
        match session::SessionCommand::decode(bytes.clone()).ok().and_then(|command| command.kind) {
            Some(Kind::OpenSession(_)) => {
                self.sessions.insert(id.index.0, Session::default());
                Effect::Opens
            }
            Some(Kind::Command(command)) => {
                let Some(session) = self.sessions.get_mut(&command.session) else { return Effect::Nothing };
                let name = (command.session, command.sequence);
                session.lowest_pending = session.lowest_pending.max(command.lowest_pending.min(command.sequence));
                if let Some(first) = session.done.get(&command.sequence) {
                    return Effect::Repeats(name, *first);
                }
                if command.sequence < session.lowest_pending {
                    return Effect::Nothing;
                }
                session.done.insert(command.sequence, id);
                Effect::Carries(name, kv::KvCommand::decode(command.command).ok().and_then(|change| change.kind))
            }
            Some(Kind::Internal(own)) => {
                Effect::Own(kv::KvCommand::decode(own.command).ok().and_then(|change| change.kind))
            }
            None => Effect::Nothing,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::script::command;
    use super::*;
    use bytes::Bytes;
    use raft_core::{Entry, NodeId};

    pub(crate) fn opens(index: u64, term: u64) -> Entry {
        let kind = Some(session::session_command::Kind::OpenSession(session::OpenSession {}));
        command(index, term, session::SessionCommand { kind }.encode_to_vec().into())
    }

    /// The entry that puts `v` into `k`.
    pub(crate) fn puts(index: u64, term: u64, (session, sequence): CommandId, value: &str) -> Entry {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::copy_from_slice(value.as_bytes()));
        changes(index, term, (session, sequence), kv::kv_command::Kind::Put(kv::Put { key, value, ttl_ms: 0 }))
    }

    pub(crate) fn changes(
        index: u64,
        term: u64,
        (session, sequence): CommandId,
        change: kv::kv_command::Kind,
    ) -> Entry {
        let inner = kv::KvCommand { kind: Some(change) }.encode_to_vec().into();
        let outer = session::Command { session, sequence, lowest_pending: sequence, command: inner };
        let kind = Some(session::session_command::Kind::Command(outer));
        command(index, term, session::SessionCommand { kind }.encode_to_vec().into())
    }

    #[test]
    fn the_first_of_a_command_counts_and_only_in_an_open_session() {
        let mut effects = Effects::default();
        let mut of =
            |entry: Entry| effects.of(&AppliedEntry { entry, chain: Default::default(), by: NodeId(1), record: 1 });
        assert_eq!(of(puts(1, 1, (2, 1), "early")), Effect::Nothing, "no such session yet");
        assert_eq!(of(opens(2, 1)), Effect::Opens);
        assert!(matches!(of(puts(3, 1, (2, 1), "a")), Effect::Carries((2, 1), Some(_))));
        assert_eq!(of(puts(4, 1, (2, 1), "a")), Effect::Repeats((2, 1), EntryId::new(3, 1)));
        assert!(matches!(of(puts(5, 1, (2, 3), "c")), Effect::Carries((2, 3), Some(_))));
        assert_eq!(of(puts(6, 1, (2, 2), "b")), Effect::Nothing, "given up");
        assert_eq!(of(command(7, 1, Bytes::from_static(b"\xff"))), Effect::Nothing, "garbage");
    }
}
