//! A command takes effect exactly once, however often a client sends it and however many leaders receive it (Thesis
//! §6.3). Every answer to a command names the entry that carried it first, and gives the same response.
//!
//! It is the first to catch: a retry that is applied again, an answer that belongs to another command, a session table
//! that differs from the log. It does not compare values (a scenario may put the same value twice). `stale_read` and
//! `linearizability` see effects that answers do not show; this property backs them up.

use super::effect::{CommandId, Effect, Effects};
use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use bytes::Bytes;
use raft_core::{EntryId, LogIndex, NodeId};
use raft_node::Reply;
use std::collections::BTreeMap;

const NAME: &str = "exactly_once";

#[derive(Clone, Default)]
pub(super) struct ExactlyOnce {
    effects: Effects,
    /// The effect of each applied entry, from index 1.
    entries: Vec<Did>,
    /// The first response to each command, by the entry that carried it, and the record of the response.
    responses: BTreeMap<LogIndex, (Bytes, u64)>,
}

#[derive(Clone)]
enum Did {
    Nothing,
    Opened,
    Carried,
    Repeated(CommandId, EntryId),
}

impl Property for ExactlyOnce {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            self.entries.push(match self.effects.of(applied) {
                Effect::Opens => Did::Opened,
                Effect::Carries(..) => Did::Carried,
                Effect::Repeats(command, first) => Did::Repeated(command, first),
                Effect::Own(_) | Effect::Nothing => Did::Nothing,
            });
        }
        let RecordKind::Replied { reply, .. } = &fact.record.kind else { return None };
        let node = fact.record.node?;
        match reply {
            Reply::Applied { entry, response } => self.answered(ghost, fact, node, *entry, response),
            Reply::SessionOpened { session } => {
                let opened = matches!(self.did(LogIndex(session.0)), Some(Did::Opened));
                let message = format!("{node} says session {} is open; entry {} opens none", session.0, session.0);
                (!opened).then(|| fact.contradicts(NAME, fact.record.number, message))
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
    fn did(&self, index: LogIndex) -> Option<&Did> {
        self.entries.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    fn answered(
        &mut self,
        ghost: &Ghost,
        fact: &Fact<'_>,
        node: NodeId,
        entry: EntryId,
        response: &Bytes,
    ) -> Option<Violation> {
        let shown = ghost.applied_at(entry.index).map_or(fact.record.number, |applied| applied.record);
        let problem = match self.did(entry.index) {
            Some(Did::Carried) => None,
            Some(Did::Repeated((session, sequence), first)) => Some(format!(
                "{node} applied command {sequence} of session {session} by {entry}; it had taken effect by {first}"
            )),
            Some(Did::Nothing | Did::Opened) => {
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
    use raft_core::RequestId;
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
