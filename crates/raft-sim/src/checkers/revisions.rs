//! Clients see one map with one history, however many keys they read at once: an answer shows the map at the revision
//! that it names, and revisions follow true time.
//!
//! This is linearizability. Order the operations by their revisions, and at equal revisions put the change first. The
//! replay of the log gives every change its revision, whole. So in this order each operation sees exactly the changes
//! before it: that is the first half. The order must not contradict true time: that is the second half. An operation
//! that begins after another has returned has no smaller revision, and a greater one if it changed something. The check
//! costs one look at each answer. A search over several keys at once would take too long. A time to live is in the log,
//! so a key expires when the log says so, and no answer may show it earlier. If all clocks run true, the log may not
//! say so too early.
//!
//! It is the first to catch: a partial transaction, a range from two revisions, a read of several keys at a leader that
//! has been replaced, a key that expires early. It backs up `stale_read` for single keys; `linearizability` cannot
//! check several keys.

mod replay;

use super::effect::{Effect, Effects};
use super::ghost::{AppliedEntry, Ghost};
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use crate::scenario::feature::Feature;
use crate::scenario::model::{Scenario, StepAction};
use bytes::Bytes;
use prost::Message;
use raft_core::{LogIndex, RequestId};
use raft_node::Reply;
use raft_proto::wire::kv::{self, kv_answer, kv_command, kv_query, kv_response};
use replay::Replay;
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "revisions";

#[derive(Clone, Default)]
pub(super) struct Revisions {
    effects: Effects,
    replay: Replay,
    /// The expected answer to each command, and whether it changed something, by the command's entry.
    expected: BTreeMap<LogIndex, (kv_response::Kind, bool)>,
    /// The time at which the first node applied keys with a time to live, by the revision that set them.
    set_at: BTreeMap<u64, SimTime>,
    /// Whether every clock runs true, so that the check can include times to live.
    clocks_are_true: bool,
    /// The beginning of each operation, by its record.
    begun: BTreeMap<u64, Begun>,
    /// The beginning of the operation of each request.
    requests: BTreeMap<RequestId, u64>,
    /// The revisions of answers, by their record.
    answers: BTreeMap<u64, u64>,
    /// Times and revisions both ascend.
    floors: Vec<Floor>,
}

#[derive(Clone)]
struct Begun {
    at: SimTime,
    /// The query, if the operation is one and the record names it.
    query: Option<kv_query::Kind>,
}

/// The least revision for operations that begin after this time.
#[derive(Clone, Copy, Default)]
struct Floor {
    after: SimTime,
    revision: u64,
    /// The record that returned this revision to a client.
    record: u64,
}

impl Revisions {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let drifts = |model: &crate::scenario::model::SwarmModel| model.features.contains(&Feature::ClockDrift);
        let is_drift = |step: &crate::scenario::model::Step| matches!(step.action, StepAction::Drift { .. });
        let clocks_are_true = !scenario.swarm.as_ref().is_some_and(drifts) && !scenario.steps.iter().any(is_drift);
        Self { clocks_are_true, ..Self::default() }
    }
}

impl Property for Revisions {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            // The times of a log that comes from an old cluster are over: a new leader restarts every count.
            if let Some(message) = self.apply(applied, fact.record.at).filter(|_| !fact.change.is_anew) {
                return Some(fact.contradicts(NAME, applied.record, message));
            }
        }
        let number = fact.record.number;
        match &fact.record.kind {
            RecordKind::Invoked { .. } => {
                self.begun.insert(number, Begun { at: fact.record.at, query: None });
            }
            RecordKind::Queried { query, .. } => {
                let query = kv::KvQuery::decode(query.clone()).ok().and_then(|query| query.kind);
                self.begun.insert(number, Begun { at: fact.record.at, query });
            }
            RecordKind::Requested { id } => {
                self.requests.extend(fact.record.cause.map(|begun| (*id, begun)));
            }
            RecordKind::Replied { id, reply } => {
                let checked = self.replied(*id, reply)?;
                match checked {
                    Ok(revision) => {
                        self.answers.insert(number, revision);
                    }
                    Err((earlier, message)) => {
                        let earlier = if earlier == 0 { number } else { earlier };
                        return Some(fact.contradicts(NAME, earlier, message));
                    }
                }
            }
            RecordKind::Returned { .. } | RecordKind::Ended { .. } => {
                let revision = fact.record.cause.and_then(|answer| self.answers.get(&answer)).copied();
                let newest = self.floors.last().copied().unwrap_or_default();
                if let Some(revision) = revision.filter(|revision| *revision > newest.revision) {
                    self.floors.push(Floor { after: fact.record.at, revision, record: number });
                }
            }
            _ => {}
        }
        None
    }
}

impl Revisions {
    /// Replays the next applied entry; returns its problem, if there is one.
    fn apply(&mut self, applied: &AppliedEntry, at: SimTime) -> Option<String> {
        let (command, is_clients) = match self.effects.of(applied) {
            Effect::Carries(_, Some(command)) => (command, true),
            Effect::Own(Some(command)) => (command, false),
            _ => return None,
        };
        let before = self.replay.revision();
        let early = self.early(&command, at);
        let response = self.replay.apply(&command);
        let revision = self.replay.revision();
        if revision > before {
            self.set_at.insert(revision, at);
        }
        if is_clients {
            self.expected.insert(applied.entry.id.index, (response, revision > before));
        }
        early
    }

    /// Whether a key expires before its time is up.
    fn early(&self, command: &kv_command::Kind, at: SimTime) -> Option<String> {
        let kv_command::Kind::Expire(expire) = command else { return None };
        expire.keys.iter().filter(|_| self.clocks_are_true).find_map(|kv::Expiry { key, modified_revision }| {
            let entry = self.replay.at(key, self.replay.revision())?;
            let set_at = *self.set_at.get(modified_revision)?;
            let lived = at.since(set_at);
            let is_early = entry.modified_revision == *modified_revision && lived < Duration::from_millis(entry.ttl_ms);
            let key = String::from_utf8_lossy(key);
            is_early.then(|| format!("key {key} lives for {} ms and is removed after {lived:?}", entry.ttl_ms))
        })
    }

    /// The revision of an answer; or its problem and the record of the other fact, which is 0 if there is none. `None`
    /// means that the answer does not concern the map.
    fn replied(&self, id: RequestId, reply: &Reply) -> Option<Result<u64, (u64, String)>> {
        let begun = self.begun.get(self.requests.get(&id)?)?;
        let floor = self.floor_at(begun.at);
        let (revision, changed) = match reply {
            Reply::Applied { entry, response } => match self.command_answered(entry.index, response)? {
                Ok(revision_and_change) => revision_and_change,
                Err(message) => return Some(Err((0, message))),
            },
            Reply::Answer { response, .. } => match self.query_answered(begun, response)? {
                Ok(revision) => (revision, false),
                Err(message) => return Some(Err((0, message))),
            },
            _ => return None,
        };
        if revision < floor.revision || changed && revision == floor.revision {
            let what = if changed { "changes the map at" } else { "is answered from" };
            let message =
                format!("{id} {what} revision {revision}; revision {} was known before it was asked", floor.revision);
            return Some(Err((floor.record, message)));
        }
        Some(Ok(revision))
    }

    /// The revision of an answer to a command, and whether it changed something.
    fn command_answered(&self, index: LogIndex, response: &Bytes) -> Option<Result<(u64, bool), String>> {
        let (expected, changed) = self.expected.get(&index)?;
        let given = kv::KvResponse::decode(response.clone()).ok().and_then(|response| response.kind);
        if given.as_ref() != Some(expected) {
            return Some(Err(format!(
                "the command of entry {index} is answered {given:?}; expected {expected:?}, by the log"
            )));
        }
        Some(Ok((revision_of(expected), *changed)))
    }

    /// The revision of an answer to a query.
    fn query_answered(&self, begun: &Begun, response: &Bytes) -> Option<Result<u64, String>> {
        let answer = kv::KvAnswer::decode(response.clone()).ok()?.kind?;
        let revision = match &answer {
            kv_answer::Kind::Got(got) => got.revision,
            kv_answer::Kind::Ranged(ranged) => ranged.revision,
            _ => return None,
        };
        if revision > self.replay.revision() {
            let newest = self.replay.revision();
            return Some(Err(format!(
                "an answer is from revision {revision}, and no node has applied more than {newest}"
            )));
        }
        let expected = match begun.query.as_ref() {
            Some(kv_query::Kind::Get(get)) => {
                let entry = self.replay.at(&get.key, revision);
                let value = entry.map(|entry| entry.value.clone());
                let modified_revision = entry.map_or(0, |entry| entry.modified_revision);
                kv_answer::Kind::Got(kv::Got { value, modified_revision, revision })
            }
            Some(kv_query::Kind::Range(range)) => {
                let (entries, more) = self.replay.range_at(range, revision);
                kv_answer::Kind::Ranged(kv::Ranged { entries, more, revision })
            }
            _ => return Some(Ok(revision)),
        };
        if answer != expected {
            return Some(Err(format!(
                "a query is answered {answer:?}; expected {expected:?}, of the map at that revision"
            )));
        }
        Some(Ok(revision))
    }

    /// The least revision for an operation that begins at this time. A return at the same nanosecond is concurrent.
    fn floor_at(&self, begun: SimTime) -> Floor {
        let known = self.floors.partition_point(|floor| floor.after < begun);
        known.checked_sub(1).and_then(|place| self.floors.get(place)).copied().unwrap_or_default()
    }
}

const fn revision_of(response: &kv_response::Kind) -> u64 {
    match response {
        kv_response::Kind::Put(response) => response.revision,
        kv_response::Kind::Delete(response) => response.revision,
        kv_response::Kind::Cas(response) => response.revision,
        kv_response::Kind::Txn(response) => response.revision,
        kv_response::Kind::Expire(response) => response.revision,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
