//! The default state machine, computed a second time from the applied commands alone and as simply as possible, with
//! its whole history: the value of each key at each revision.
//!
//! This file must not use the state machine, because it has to be independent of it.

use bytes::Bytes;
use raft_proto::wire::kv::kv_command::Kind;
use raft_proto::wire::kv::{self, compare::Target, kv_event, kv_response, txn_op, txn_result};
use std::cmp::Ordering;
use std::collections::BTreeMap;

const DELETED: kv_event::Kind = kv_event::Kind::Deleted(kv::Deleted {});
const EXPIRED: kv_event::Kind = kv_event::Kind::Expired(kv::Expired {});

/// The map and its history.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// The most changes that the map remembers.
    window: u64,
    revision: u64,
    /// The changes of each revision, from 1.
    changes: Vec<Changes>,
    /// How many changes the map remembers.
    remembered: u64,
    /// The values of each key, in ascending order of the revisions from which they hold.
    keys: BTreeMap<Bytes, Vec<(u64, Option<kv::KvEntry>)>>,
}

/// The changes of a revision.
#[derive(Clone, Debug, Default)]
struct Changes {
    events: Vec<kv::KvEvent>,
    /// The oldest revision that the map remembers after this one.
    oldest: u64,
}

impl Replay {
    pub(crate) const fn new(window: u64) -> Self {
        Self { window, revision: 0, changes: Vec::new(), remembered: 0, keys: BTreeMap::new() }
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// The value of a key at a revision.
    pub(crate) fn at(&self, key: &[u8], revision: u64) -> Option<&kv::KvEntry> {
        let past = self.keys.get(key)?;
        let known = past.partition_point(|(changed, _)| *changed <= revision);
        past.get(known.checked_sub(1)?)?.1.as_ref()
    }

    /// The content of a range at a revision: the first keys, and whether there are more.
    pub(crate) fn range_at(&self, range: &kv::Range, revision: u64) -> (Vec<kv::KvEntry>, bool) {
        let limit = if range.limit == 0 { usize::MAX } else { usize::try_from(range.limit).unwrap_or(usize::MAX) };
        let ends = |key: &Bytes| range.end.as_ref().is_some_and(|end| key >= end);
        let inside = self.keys.range(range.start.clone()..).map(|(key, _)| key).take_while(|key| !ends(key));
        let mut entries: Vec<kv::KvEntry> = inside.filter_map(|key| self.at(key, revision).cloned()).collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        (entries, more)
    }

    /// The changes of a range in the revisions from one up to another, in order.
    pub(crate) fn events<'a>(
        &'a self,
        watch: &'a kv::Watch,
        from: u64,
        through: u64,
    ) -> impl Iterator<Item = &'a kv::KvEvent> {
        let place = |revision: u64| usize::try_from(revision).unwrap_or(usize::MAX).min(self.changes.len());
        let changes = self.changes.get(place(from.saturating_sub(1))..place(through)).unwrap_or_default();
        let is_inside = |key: &Bytes| *key >= watch.start && watch.end.as_ref().is_none_or(|end| key < end);
        changes.iter().flat_map(|changes| &changes.events).filter(move |event| is_inside(&event.key))
    }

    /// The oldest revision whose changes the map remembers at this revision. At revision 0 it is the next one.
    pub(crate) fn oldest_at(&self, revision: u64) -> u64 {
        let place = usize::try_from(revision).ok().and_then(|revision| revision.checked_sub(1));
        place.and_then(|place| self.changes.get(place)).map_or(1, |changes| changes.oldest)
    }

    /// Executes a command; returns the expected answer.
    pub(crate) fn apply(&mut self, command: &Kind) -> kv_response::Kind {
        let next = self.revision + 1;
        let response = self.execute(next, command);
        if self.revision == next {
            self.forget();
        }
        response
    }

    fn execute(&mut self, next: u64, command: &Kind) -> kv_response::Kind {
        match command {
            Kind::Put(put) => {
                self.set(next, put);
                kv_response::Kind::Put(kv::PutResponse { revision: self.revision })
            }
            Kind::Delete(delete) => {
                let existed = self.remove(next, &delete.key, DELETED);
                kv_response::Kind::Delete(kv::DeleteResponse { revision: self.revision, existed })
            }
            Kind::Cas(cas) => {
                let actual = self.now(&cas.key).map(|entry| entry.value.clone());
                let swapped = actual == cas.expected;
                if swapped {
                    self.set(next, &kv::Put { key: cas.key.clone(), value: cas.value.clone(), ttl_ms: 0 });
                }
                kv_response::Kind::Cas(kv::CasResponse { swapped, revision: self.revision, actual })
            }
            Kind::Txn(txn) => {
                let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
                let list = if succeeded { &txn.success } else { &txn.failure };
                let results = list.iter().map(|op| self.part(next, op)).collect();
                kv_response::Kind::Txn(kv::TxnResponse { succeeded, revision: self.revision, results })
            }
            Kind::Expire(expire) => {
                let mut removed = 0;
                for kv::Expiry { key, modified_revision } in &expire.keys {
                    let is_due =
                        |entry: &kv::KvEntry| entry.ttl_ms > 0 && entry.modified_revision == *modified_revision;
                    if self.now(key).is_some_and(is_due) && self.remove(next, key, EXPIRED) {
                        removed += 1;
                    }
                }
                kv_response::Kind::Expire(kv::ExpireResponse { revision: self.revision, removed })
            }
        }
    }

    fn now(&self, key: &[u8]) -> Option<&kv::KvEntry> {
        self.keys.get(key)?.last()?.1.as_ref()
    }

    fn set(&mut self, revision: u64, put: &kv::Put) {
        let (created_revision, version) =
            self.now(&put.key).map_or((revision, 1), |entry| (entry.created_revision, entry.version + 1));
        let entry = kv::KvEntry {
            key: put.key.clone(),
            value: put.value.clone(),
            created_revision,
            modified_revision: revision,
            version,
            ttl_ms: put.ttl_ms,
        };
        // The event names the key once.
        let event = kv_event::Kind::Put(kv::KvEntry { key: Bytes::new(), ..entry.clone() });
        self.change(revision, put.key.clone(), Some(entry), event);
    }

    /// Returns whether the key existed.
    fn remove(&mut self, revision: u64, key: &Bytes, how: kv_event::Kind) -> bool {
        let existed = self.now(key).is_some();
        if existed {
            self.change(revision, key.clone(), None, how);
        }
        existed
    }

    fn change(&mut self, revision: u64, key: Bytes, entry: Option<kv::KvEntry>, how: kv_event::Kind) {
        self.revision = revision;
        let previous_revision = self.now(&key).map_or(0, |entry| entry.modified_revision);
        let event = kv::KvEvent { key: key.clone(), revision, previous_revision, kind: Some(how) };
        if (self.changes.len() as u64) < revision {
            let oldest = self.oldest_at(revision - 1);
            self.changes.push(Changes { events: Vec::new(), oldest });
        }
        if let Some(changes) = self.changes.last_mut() {
            changes.events.push(event);
        }
        self.remembered += 1;
        self.keys.entry(key).or_default().push((revision, entry));
    }

    /// The map forgets whole revisions, the oldest first, while it remembers too many changes; never the newest.
    fn forget(&mut self) {
        let mut oldest = self.oldest_at(self.revision);
        while self.remembered > self.window && oldest < self.revision {
            let place = usize::try_from(oldest - 1).unwrap_or(usize::MAX);
            self.remembered -= self.changes.get(place).map_or(0, |changes| changes.events.len() as u64);
            oldest += 1;
        }
        if let Some(changes) = self.changes.last_mut() {
            changes.oldest = oldest;
        }
    }

    fn part(&mut self, revision: u64, op: &kv::TxnOp) -> kv::TxnResult {
        let kind = op.kind.as_ref().map(|kind| match kind {
            txn_op::Kind::Put(put) => {
                self.set(revision, put);
                txn_result::Kind::Put(kv::PutResult {})
            }
            txn_op::Kind::Delete(delete) => {
                txn_result::Kind::Delete(kv::DeleteResult { existed: self.remove(revision, &delete.key, DELETED) })
            }
            txn_op::Kind::Get(get) => txn_result::Kind::Get(kv::GetResult { entry: self.now(&get.key).cloned() }),
        });
        kv::TxnResult { kind }
    }

    fn holds(&self, compare: &kv::Compare) -> bool {
        let found = self.now(&compare.key);
        let number = |of: fn(&kv::KvEntry) -> u64, given: u64| found.map_or(0, of).cmp(&given);
        let order = match &compare.target {
            Some(Target::Value(given)) => match found {
                Some(entry) => entry.value.cmp(given),
                None => return false,
            },
            Some(Target::Version(given)) => number(|entry| entry.version, *given),
            Some(Target::CreatedRevision(given)) => number(|entry| entry.created_revision, *given),
            Some(Target::ModifiedRevision(given)) => number(|entry| entry.modified_revision, *given),
            None => return false,
        };
        match compare.relation() {
            kv::Relation::Equal => order == Ordering::Equal,
            kv::Relation::NotEqual => order != Ordering::Equal,
            kv::Relation::Less => order == Ordering::Less,
            kv::Relation::Greater => order == Ordering::Greater,
        }
    }
}
