//! The effects of applied entries on sessions and keys, computed a second time and as simply as possible. The first
//! entry of a command in an open session takes effect, no other entry does (Thesis §6.3). A session ends when another one
//! opens and there are too many: the one that was least recently used, by log index.
//!
//! This file must not use the node's sessions or the state machine, because it has to be independent of them.

use prost::Message;
use raft_core::{Entry, EntryId, LogIndex, Payload};
use raft_proto::wire::{kv, session};
use std::collections::BTreeMap;

/// A command, as its client numbered it.
pub(crate) type CommandId = (u64, u64);

/// The request in an entry, and whether it takes effect.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// It opens a session, whose name is its index.
    Opens,
    /// It is the first entry of its command, so this change is executed (`None`: the state machine cannot read it).
    Carries(CommandId, Option<kv::kv_command::Kind>),
    /// It repeats a command that this entry already executed.
    Repeats(CommandId, EntryId),
    /// It is a command of the leader's state machine (`None`: the state machine cannot read it).
    Own(Option<kv::kv_command::Kind>),
    /// Its session is not open.
    Expired(CommandId),
    /// Its client had abandoned the command, or the session has forgotten the answer.
    Abandoned(CommandId),
    /// It concerns no session.
    Nothing,
}

/// The sessions after the applied entries.
#[derive(Clone, Debug)]
pub(crate) struct Effects {
    max_sessions: usize,
    max_answers: usize,
    sessions: BTreeMap<u64, Session>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    last_used: LogIndex,
    lowest_pending: u64,
    done: BTreeMap<u64, EntryId>,
}

impl Effects {
    pub(crate) const fn new(max_sessions: usize, max_answers: usize) -> Self {
        Self { max_sessions, max_answers, sessions: BTreeMap::new() }
    }

    pub(crate) fn of(&mut self, entry: &Entry) -> Effect {
        use session::session_command::Kind;
        let Payload::Command(bytes) = &entry.payload else { return Effect::Nothing };
        let id = entry.id;
        match session::SessionCommand::decode(bytes.clone()).ok().and_then(|command| command.kind) {
            Some(Kind::OpenSession(_)) => {
                while self.sessions.len() >= self.max_sessions
                    && let Some(oldest) = self.sessions.iter().min_by_key(|(_, session)| session.last_used)
                {
                    let oldest = *oldest.0;
                    self.sessions.remove(&oldest);
                }
                self.sessions.insert(id.index.0, Session { last_used: id.index, ..Session::default() });
                Effect::Opens
            }
            Some(Kind::Command(command)) => self.command(id, command),
            Some(Kind::Internal(own)) => {
                Effect::Own(kv::KvCommand::decode(own.command).ok().and_then(|change| change.kind))
            }
            None => Effect::Nothing,
        }
    }

    fn command(&mut self, id: EntryId, command: session::Command) -> Effect {
        let name = (command.session, command.sequence);
        let Some(session) = self.sessions.get_mut(&command.session) else { return Effect::Expired(name) };
        session.last_used = id.index;
        session.lowest_pending = session.lowest_pending.max(command.lowest_pending.min(command.sequence));
        let lowest_pending = session.lowest_pending;
        session.done.retain(|sequence, _| *sequence >= lowest_pending);
        if let Some(first) = session.done.get(&command.sequence) {
            return Effect::Repeats(name, *first);
        }
        if command.sequence < session.lowest_pending {
            return Effect::Abandoned(name);
        }
        session.done.insert(command.sequence, id);
        if session.done.len() > self.max_answers
            && let Some((forgotten, _)) = session.done.pop_first()
        {
            session.lowest_pending = forgotten + 1;
        }
        Effect::Carries(name, kv::KvCommand::decode(command.command).ok().and_then(|change| change.kind))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::script::command;
    use super::*;
    use bytes::Bytes;

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
        let mut effects = Effects::new(2, 2);
        let mut of = |entry: Entry| effects.of(&entry);
        assert_eq!(of(puts(1, 1, (2, 1), "early")), Effect::Expired((2, 1)), "no such session yet");
        assert_eq!(of(opens(2, 1)), Effect::Opens);
        assert!(matches!(of(puts(3, 1, (2, 1), "a")), Effect::Carries((2, 1), Some(_))));
        assert_eq!(of(puts(4, 1, (2, 1), "a")), Effect::Repeats((2, 1), EntryId::new(3, 1)));
        assert!(matches!(of(puts(5, 1, (2, 3), "c")), Effect::Carries((2, 3), Some(_))));
        assert_eq!(of(puts(6, 1, (2, 2), "b")), Effect::Abandoned((2, 2)), "given up");
        assert_eq!(of(command(7, 1, Bytes::from_static(b"\xff"))), Effect::Nothing, "garbage");
    }

    /// A command whose client still waits for all of its commands.
    pub(crate) fn open(index: u64, (session, sequence): CommandId) -> Entry {
        let outer = session::Command { session, sequence, lowest_pending: 1, command: Bytes::new() };
        let kind = Some(session::session_command::Kind::Command(outer));
        command(index, 1, session::SessionCommand { kind }.encode_to_vec().into())
    }

    #[test]
    fn sessions_end_and_answers_go_when_there_are_too_many() {
        let mut effects = Effects::new(2, 2);
        let mut of = |entry: Entry| effects.of(&entry);
        assert_eq!((of(opens(1, 1)), of(opens(2, 1))), (Effect::Opens, Effect::Opens));
        for sequence in [3, 2] {
            assert!(matches!(of(open(sequence, (1, sequence))), Effect::Carries(..)), "in any order");
        }
        assert_eq!(of(open(5, (1, 2))), Effect::Repeats((1, 2), EntryId::new(2, 1)));
        assert!(matches!(of(open(6, (1, 4))), Effect::Carries(..)));
        assert_eq!(of(open(7, (1, 2))), Effect::Abandoned((1, 2)), "the third answer is one too many");
        assert_eq!(of(open(8, (1, 1))), Effect::Abandoned((1, 1)), "and no lower number is executed any more");
        assert_eq!(of(opens(9, 1)), Effect::Opens);
        assert_eq!(of(puts(10, 1, (2, 1), "a")), Effect::Expired((2, 1)), "it was used before the other");
        assert!(matches!(of(open(11, (1, 5))), Effect::Carries(..)));
    }
}
