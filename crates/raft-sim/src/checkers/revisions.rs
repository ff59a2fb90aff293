//! Clients see one map with one history, however many keys they read at once: an answer shows the map at the revision
//! that it names, and revisions follow true time.
//!
//! This is linearizability. Order the operations by their revisions, and at equal revisions put the change first. The
//! replay of the log gives every change its revision, whole. So in this order each operation sees exactly the changes
//! before it: that is the first half. The order must not contradict true time: that is the second half. An operation
//! that begins after another has returned has no smaller revision, and a greater one if it changed something. The check
//! costs one look at each answer. A search over several keys at once would take too long. A time to live is in the log,
//! so a key expires when the log says so, and no answer may show it earlier. While all clocks run true, the log may not
//! say so too early.
//!
//! It is the first to catch: a partial transaction, a range from two revisions, a read of several keys at a leader that
//! has been replaced, a key that expires early. It backs up `stale_read` for single keys; `linearizability` cannot
//! check several keys.

use super::effect::Effect;
use super::ghost::{AppliedEntry, Ghost};
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use bytes::Bytes;
use prost::Message;
use raft_core::{LogIndex, RequestId};
use raft_node::Reply;
use raft_proto::wire::kv::{self, kv_answer, kv_command, kv_query, kv_response};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "revisions";

#[derive(Clone, Default)]
pub(super) struct Revisions {
    /// The time at which the first node applied keys with a time to live, by the revision that set them.
    set_at: BTreeMap<u64, SimTime>,
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
    /// A node may answer it from an old state.
    is_stale: bool,
}

/// The least revision for operations that begin after this time.
#[derive(Clone, Copy, Default)]
struct Floor {
    after: SimTime,
    revision: u64,
    /// The record that returned this revision to a client.
    record: u64,
}

impl Property for Revisions {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            // The times of a log that comes from an old cluster are over: a new leader restarts every count.
            if let Some(message) = self.apply(ghost, applied, fact.record.at).filter(|_| !fact.change.is_anew) {
                return Some(fact.contradicts(NAME, applied.record, message));
            }
        }
        let number = fact.record.number;
        match &fact.record.kind {
            RecordKind::Invoked { .. } => {
                self.begun.insert(number, Begun { at: fact.record.at, query: None, is_stale: false });
            }
            RecordKind::Queried { query, .. } | RecordKind::StaleQueried { query, .. } => {
                let is_stale = matches!(fact.record.kind, RecordKind::StaleQueried { .. });
                let query = kv::KvQuery::decode(query.clone()).ok().and_then(|query| query.kind);
                self.begun.insert(number, Begun { at: fact.record.at, query, is_stale });
            }
            RecordKind::Requested { id, .. } => {
                self.requests.extend(fact.record.cause.map(|begun| (*id, begun)));
            }
            RecordKind::Replied { id, reply } => {
                let checked = self.replied(ghost, *id, reply)?;
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
    /// Notes the next applied entry; returns its problem, if there is one.
    fn apply(&mut self, ghost: &Ghost, applied: &AppliedEntry, at: SimTime) -> Option<String> {
        let (Effect::Carries(_, Some(command)) | Effect::Own(Some(command))) = &applied.effect else { return None };
        let before = ghost.revision_at(applied.entry.id.index.previous()).unwrap_or(0);
        if applied.revision > before {
            self.set_at.insert(applied.revision, at);
        }
        self.early(ghost, command, before, at)
    }

    /// Whether a key of the map at revision `before` expires before its time is up.
    fn early(&self, ghost: &Ghost, command: &kv_command::Kind, before: u64, at: SimTime) -> Option<String> {
        let kv_command::Kind::Expire(expire) = command else { return None };
        expire.keys.iter().filter(|_| ghost.clocks_are_true).find_map(|kv::Expiry { key, modified_revision }| {
            let entry = ghost.map().at(key, before)?;
            let set_at = *self.set_at.get(modified_revision)?;
            let lived = at.since(set_at);
            let is_early = entry.modified_revision == *modified_revision && lived < Duration::from_millis(entry.ttl_ms);
            let key = String::from_utf8_lossy(key);
            is_early.then(|| format!("key {key} lives for {} ms and is removed after {lived:?}", entry.ttl_ms))
        })
    }

    /// The revision of an answer; or its problem and the record of the other fact, which is 0 if there is none. `None`
    /// means that the answer does not concern the map.
    fn replied(&self, ghost: &Ghost, id: RequestId, reply: &Reply) -> Option<Result<u64, (u64, String)>> {
        let begun = self.begun.get(self.requests.get(&id)?)?;
        let floor = self.floor_at(begun.at);
        let (revision, changed) = match reply {
            Reply::Applied { entry, response } => match command_answered(ghost, entry.index, response)? {
                Ok(revision_and_change) => revision_and_change,
                Err(message) => return Some(Err((0, message))),
            },
            Reply::Answer { applied, response } => match query_answered(ghost, begun, *applied, response)? {
                Ok(revision) => (revision, false),
                Err(message) => return Some(Err((0, message))),
            },
            _ => return None,
        };
        if begun.is_stale {
            // It may be old, and tells later operations nothing.
            return None;
        }
        if revision < floor.revision || changed && revision == floor.revision {
            let what = if changed { "changes the map at" } else { "is answered from" };
            let message =
                format!("{id} {what} revision {revision}; revision {} was known before it was asked", floor.revision);
            return Some(Err((floor.record, message)));
        }
        Some(Ok(revision))
    }

    /// The least revision for an operation that begins at this time. A return at the same nanosecond is concurrent.
    fn floor_at(&self, begun: SimTime) -> Floor {
        let known = self.floors.partition_point(|floor| floor.after < begun);
        known.checked_sub(1).and_then(|place| self.floors.get(place)).copied().unwrap_or_default()
    }
}

/// The revision of an answer to a command, and whether it changed something.
fn command_answered(ghost: &Ghost, index: LogIndex, response: &Bytes) -> Option<Result<(u64, bool), String>> {
    let applied = ghost.applied_at(index).filter(|applied| matches!(applied.effect, Effect::Carries(..)))?;
    let expected = applied.response.as_ref()?;
    let given = kv::KvResponse::decode(response.clone()).ok().and_then(|response| response.kind);
    if given.as_ref() != Some(expected) {
        return Some(Err(format!(
            "the command of entry {index} is answered {given:?}; expected {expected:?}, by the log"
        )));
    }
    let changed = ghost.revision_at(index.previous()).is_some_and(|before| applied.revision > before);
    Some(Ok((revision_of(expected), changed)))
}

/// The revision of an answer to a query, given in the state after the entry at `applied`.
fn query_answered(ghost: &Ghost, begun: &Begun, applied: LogIndex, response: &Bytes) -> Option<Result<u64, String>> {
    let answer = kv::KvAnswer::decode(response.clone()).ok()?.kind?;
    let revision = match &answer {
        kv_answer::Kind::Got(got) => got.revision,
        kv_answer::Kind::Ranged(ranged) => ranged.revision,
        _ => return None,
    };
    let newest = ghost.map().revision();
    if revision > newest {
        return Some(Err(format!("an answer is from revision {revision}, and no node has applied more than {newest}")));
    }
    if ghost.revision_at(applied).is_some_and(|expected| expected != revision) {
        return Some(Err(format!("an answer is from revision {revision}, which is not that of entry {applied}")));
    }
    let expected = match begun.query.as_ref() {
        Some(kv_query::Kind::Get(get)) => {
            let entry = ghost.map().at(&get.key, revision);
            let value = entry.map(|entry| entry.value.clone());
            let modified_revision = entry.map_or(0, |entry| entry.modified_revision);
            kv_answer::Kind::Got(kv::Got { value, modified_revision, revision })
        }
        Some(kv_query::Kind::Range(range)) => {
            let (entries, more) = ghost.map().range_at(range, revision);
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
