//! A command takes effect exactly once, however often a client sends it and however many leaders receive it (Thesis
//! §6.3). Every answer to a command names the entry that carried it first, and gives the same response. A session that is not
//! open executes nothing, and an open one refuses nothing.
//!
//! It is the first to catch: a retry that is applied again, also one in a session that has ended; an answer that belongs to
//! another command; a session table that differs from the log. It does not compare values (a scenario may put the same value twice). `stale_read` and
//! `linearizability` see effects that answers do not show; this property backs them up.

use super::effect::{CommandId, Effect};
use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use bytes::Bytes;
use raft_core::{EntryId, LogIndex, NodeId, RequestId};
use raft_node::Reply;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "exactly_once";

#[derive(Clone, Default)]
pub(super) struct ExactlyOnce {
    /// The command in each request.
    asked: BTreeMap<RequestId, CommandId>,
    /// The commands that some entry carried and that were not applied: their session was not open, or had no place for them any more.
    expired: BTreeSet<CommandId>,
    abandoned: BTreeSet<CommandId>,
    /// The first response to each command, by the entry that carried it, and the record of the response.
    responses: BTreeMap<LogIndex, (Bytes, u64)>,
}

impl Property for ExactlyOnce {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            match applied.effect {
                Effect::Expired(command) => drop(self.expired.insert(command)),
                Effect::Abandoned(command) => drop(self.abandoned.insert(command)),
                _ => {}
            }
        }
        let (id, reply) = match &fact.record.kind {
            RecordKind::Requested { id, command } => {
                self.asked.extend(command.0.map(|command| (*id, command)));
                return None;
            }
            RecordKind::Replied { id, reply } => (id, reply),
            _ => return None,
        };
        let node = fact.record.node?;
        match reply {
            Reply::Applied { entry, response } => self.answered(ghost, fact, (node, *id), *entry, response),
            Reply::SessionOpened { session } => {
                let opened = ghost.applied_at(LogIndex(session.0)).is_some_and(|entry| entry.effect == Effect::Opens);
                let message = format!("{node} says session {} is open; entry {} opens none", session.0, session.0);
                (!opened).then(|| fact.contradicts(NAME, fact.record.number, message))
            }
            Reply::SessionExpired => self.refused(fact, (node, *id), &self.expired, "its session was open"),
            Reply::AlreadyAnswered => {
                self.refused(fact, (node, *id), &self.abandoned, "its session still waits for it")
            }
            _ => None,
        }
    }

    fn carried_over(&self, kept: LogIndex) -> Option<Box<dyn Property>> {
        let responses = self.responses.iter().filter(|(entry, _)| **entry <= kept);
        let responses = responses.map(|(entry, response)| (*entry, response.clone())).collect();
        Some(Box::new(Self { responses, ..Self::default() }))
    }
}

impl ExactlyOnce {
    /// Checks that a command without effect was one.
    fn refused(
        &self,
        fact: &Fact<'_>,
        (node, id): (NodeId, RequestId),
        without_effect: &BTreeSet<CommandId>,
        why: &str,
    ) -> Option<Violation> {
        let command = self.asked.get(&id).filter(|command| !without_effect.contains(command))?;
        let message = format!("{node} refuses command {} of session {}, but {why}", command.1, command.0);
        Some(fact.contradicts(NAME, fact.record.number, message))
    }

    fn answered(
        &mut self,
        ghost: &Ghost,
        fact: &Fact<'_>,
        (node, id): (NodeId, RequestId),
        entry: EntryId,
        response: &Bytes,
    ) -> Option<Violation> {
        let shown = ghost.applied_at(entry.index).map_or(fact.record.number, |applied| applied.record);
        let by = |(session, sequence): CommandId, why: String| {
            Some(format!("{node} applied command {sequence} of session {session} by {entry}; {why}"))
        };
        let problem = match ghost.applied_at(entry.index).map(|applied| &applied.effect) {
            Some(Effect::Carries(command, _)) => {
                let asked = self.asked.get(&id).filter(|asked| *asked != command);
                asked.map(|(session, sequence)| {
                    let what = format!("{node} answers {id}, command {sequence} of session {session}");
                    format!("{what}, by {entry}, which carries command {} of session {}", command.1, command.0)
                })
            }
            Some(Effect::Repeats(command, first)) => by(*command, format!("it had taken effect by {first}")),
            Some(Effect::Expired(command)) => by(*command, "that session was not open".into()),
            Some(Effect::Abandoned(command)) => by(*command, "its client had abandoned it".into()),
            Some(Effect::Opens | Effect::Own(_) | Effect::Nothing) => {
                Some(format!("{node} reports a command applied at {entry}, but that entry applies none"))
            }
            None => Some(format!("{node} says a command was applied by {entry}, which no node has applied")),
        };
        if let Some(message) = problem {
            return Some(fact.contradicts(NAME, shown, message));
        }
        let record = fact.record.number;
        let (first, answered) = self.responses.entry(entry.index).or_insert_with(|| (response.clone(), record));
        if first == response {
            return None;
        }
        let answered = *answered;
        let message = format!("{node} gives another response for the command of {entry} than was given before");
        Some(fact.contradicts(NAME, answered, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::{opens, puts};
    use super::super::script::*;
    use super::*;
    use crate::record::Unhashed;
    use raft_node::SessionId;

    /// A session opened by 3@2, a put by 4@2 and its retry in 5@2.
    fn retried() -> Script {
        let mut script = Script::led();
        script.apply(1, vec![founding(), noop(2, 2), opens(3, 2)], 1);
        script.apply(1, vec![puts(4, 2, (3, 1), "a"), puts(5, 2, (3, 1), "a")], 2);
        script
    }

    fn answer(script: &mut Script, index: u64, response: &'static str) {
        let reply = Reply::Applied { entry: EntryId::new(index, 2), response: Bytes::from_static(response.as_bytes()) };
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
    }

    #[test]
    fn a_retry_applied_again_fires() {
        let mut script = retried();
        answer(&mut script, 4, "1");
        answer(&mut script, 5, "2");
        let words = "n1 applied command 1 of session 3 by 5@2; it had taken effect by 4@2";
        assert_fires(ExactlyOnce::default(), NAME, &script, words);
    }

    #[test]
    fn another_response_to_the_same_command_fires() {
        let mut script = retried();
        answer(&mut script, 4, "1");
        answer(&mut script, 4, "2");
        assert_fires(ExactlyOnce::default(), NAME, &script, "another response for the command of 4@2");
    }

    #[test]
    fn answers_without_a_command_fire() {
        for (index, words) in [(2, "but that entry applies none"), (6, "which no node has applied")] {
            let mut script = retried();
            answer(&mut script, index, "1");
            assert_fires(ExactlyOnce::default(), NAME, &script, words);
        }
        let mut script = retried();
        let reply = Reply::SessionOpened { session: SessionId(4) };
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
        assert_fires(ExactlyOnce::default(), NAME, &script, "entry 4 opens none");
    }

    fn asks(script: &mut Script, session: u64, sequence: u64) {
        let (id, command) = (RequestId(1), Unhashed(Some((session, sequence))));
        script.push(Some(1), RecordKind::Requested { id, command });
    }

    #[test]
    fn an_answer_of_another_command_fires() {
        let mut script = retried();
        asks(&mut script, 3, 2);
        answer(&mut script, 4, "1");
        let words = "command 2 of session 3, by 4@2, which carries command 1 of session 3";
        assert_fires(ExactlyOnce::default(), NAME, &script, words);
    }

    #[test]
    fn a_command_of_a_session_that_is_not_open_is_refused_and_no_other() {
        for (reply, words) in [
            (Reply::SessionExpired, "n1 refuses command 1 of session 3, but its session was open"),
            (Reply::AlreadyAnswered, "n1 refuses command 1 of session 3, but its session still waits for it"),
        ] {
            let mut script = retried();
            asks(&mut script, 3, 1);
            script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
            assert_fires(ExactlyOnce::default(), NAME, &script, words);
        }
        let ended = |reply| {
            let mut script = Script::led();
            script.apply(1, vec![founding(), noop(2, 2), puts(3, 2, (9, 1), "a")], 1);
            asks(&mut script, 9, 1);
            script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
            script
        };
        assert_silent(ExactlyOnce::default(), &ended(Reply::SessionExpired));
        let applied = Reply::Applied { entry: EntryId::new(3, 2), response: Bytes::new() };
        let words = "n1 applied command 1 of session 9 by 3@2; that session was not open";
        assert_fires(ExactlyOnce::default(), NAME, &ended(applied), words);
    }

    #[test]
    fn the_same_answer_twice_is_silent() {
        let mut script = retried();
        let reply = Reply::SessionOpened { session: SessionId(3) };
        script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
        answer(&mut script, 4, "1");
        answer(&mut script, 4, "1");
        assert_silent(ExactlyOnce::default(), &script);
    }
}
