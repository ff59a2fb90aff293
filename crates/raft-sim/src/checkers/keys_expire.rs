//! A key with a time to live goes: at the latest its time to live and twelve longest election timeouts after a leader serves
//! without a break and the key is set. A new leader restarts the count, so a change of leader delays the end, but not for ever.
//!
//! "Serves" is what clients see: a leader of one term executes their commands, with no gap of two longest election timeouts and
//! without a refusal for lack of resources: such a leader rejects the removal of keys too. The property says nothing once a clock
//! was not true.
//!
//! It is the first to catch: a timer that is lost when a node leads again, a removal that is proposed once and lost. `revisions`
//! catches keys that go early.

use super::effect::Effect;
use super::ghost::{AppliedEntry, Ghost};
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::Scenario;
use bytes::Bytes;
use raft_core::{RejectReason, Term};
use raft_node::Reply;
use raft_proto::wire::kv::{self, kv_event};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "keys_expire";

/// A break of the service, and the patience beyond the time to live, in longest election timeouts.
const BREAK: u32 = 2;
const PATIENCE: u32 = 12;

#[derive(Clone)]
pub(super) struct KeysExpire {
    timeout: Duration,
    /// The keys with a time to live, by the key.
    alive: BTreeMap<Bytes, Key>,
    service: Option<Service>,
}

#[derive(Clone, Copy)]
struct Key {
    ttl: Duration,
    revision: u64,
    /// When the first node applied the command that set it, and the record.
    set_at: SimTime,
    record: u64,
}

/// A leader that executes commands.
#[derive(Clone, Copy)]
struct Service {
    term: Term,
    since: SimTime,
    latest: SimTime,
}

impl KeysExpire {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let of_nodes = scenario.raft.election_timeout_of.values().map(|range| range.end);
        let timeout = of_nodes.chain([scenario.raft.election_timeout.end]).max().unwrap_or_default();
        Self { timeout, alive: BTreeMap::new(), service: None }
    }
}

impl Property for KeysExpire {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        if let RecordKind::Replied { reply: Reply::Rejected { reason }, .. } = &fact.record.kind {
            let is_overloaded = !matches!(reason, RejectReason::NotLeader { .. });
            let leader = self.service.and_then(|service| ghost.terms.get(&service.term)?.leader);
            if is_overloaded && leader.map(|(node, _)| node) == fact.record.node {
                self.service = None;
            }
        }
        for applied in ghost.applied.get(fact.change.applied_before..).unwrap_or_default() {
            self.note_changes(ghost, fact, applied);
            if matches!(applied.effect, Effect::Carries(..) | Effect::Repeats(..)) && !fact.change.is_anew {
                self.serves(applied.entry.id.term, fact.record.at);
            }
        }
        let is_new = ghost.applied.len() > fact.change.applied_before;
        let service = self.service.filter(|_| is_new && ghost.clocks_are_true)?;
        let patience = self.timeout.saturating_mul(PATIENCE);
        let overdue = |key: &&Key| {
            let began = key.set_at.max(service.since);
            service.latest > began.after(key.ttl.saturating_add(patience))
        };
        let (name, key) = self.alive.iter().find(|(_, key)| overdue(key))?;
        let (name, lived) = (String::from_utf8_lossy(name), service.latest.since(key.set_at));
        let message = format!(
            "key {name} of revision {} lives for {:?} and is there after {lived:?}, although the leader of term {} has served for {:?}",
            key.revision,
            key.ttl,
            service.term,
            service.latest.since(service.since),
        );
        Some(fact.contradicts(NAME, key.record, message))
    }
}

impl KeysExpire {
    fn note_changes(&mut self, ghost: &Ghost, fact: &Fact<'_>, applied: &AppliedEntry) {
        let before = ghost.revision_at(applied.entry.id.index.previous()).unwrap_or(0);
        if applied.revision == before {
            return;
        }
        let all = kv::Watch::default();
        for event in ghost.map().events(&all, applied.revision, applied.revision) {
            self.alive.remove(&event.key);
            if let Some(kv_event::Kind::Put(entry)) = &event.kind
                && entry.ttl_ms > 0
            {
                let (ttl, revision) = (Duration::from_millis(entry.ttl_ms), event.revision);
                let key = Key { ttl, revision, set_at: fact.record.at, record: fact.record.number };
                self.alive.insert(event.key.clone(), key);
            }
        }
    }

    /// A leader of this term has executed a client's command.
    fn serves(&mut self, term: Term, now: SimTime) {
        let goes_on =
            |service: &Service| service.term == term && now.since(service.latest) <= self.timeout.saturating_mul(BREAK);
        let since = self.service.filter(goes_on).map_or(now, |service| service.since);
        self.service = Some(Service { term, since, latest: now });
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::{changes, opens, puts};
    use super::super::script::*;
    use super::*;
    use raft_core::RequestId;
    use raft_proto::wire::kv::kv_command;

    /// A key that lives for 50 ms, and a command every 500 ms until this time after it, in this term.
    fn served(until_ms: u64, refused_at_ms: u64) -> Script {
        let mut script = Script::led();
        let key = Bytes::from_static(b"ttl");
        let put = kv_command::Kind::Put(kv::Put { key, value: Bytes::new(), ttl_ms: 50 });
        script.apply(1, vec![founding(), noop(2, 2), opens(3, 2), changes(4, 2, (3, 1), put)], 1);
        let began = script.records.last().expect("a record").at;
        for place in 1..=until_ms / 500 {
            let index = 4 + place;
            script.apply(1, vec![puts(index, 2, (3, index), "v")], u128::from(index));
            script.newest().at = began.after(Duration::from_millis(place * 500));
            if place * 500 == refused_at_ms {
                let reply = Reply::Rejected { reason: RejectReason::Busy };
                script.push(Some(1), RecordKind::Replied { id: RequestId(1), reply });
            }
        }
        script
    }

    fn property() -> KeysExpire {
        KeysExpire::new(&scenario())
    }

    #[test]
    fn a_key_that_outlives_its_time_fires() {
        // Twelve times 300 ms, and 50 ms.
        let words = "key ttl of revision 1 lives for 50ms and is there after 4s, although the leader of term 2 has served for 4s";
        assert_fires(property(), NAME, &served(4_000, 0), words);
    }

    #[test]
    fn a_leader_that_is_busy_pauses_or_follows_another_one_may_be_late() {
        assert_silent(property(), &served(3_500, 0));
        assert_silent(property(), &served(4_000, 2_000));
        let mut paused = served(4_000, 0);
        paused
            .records
            .iter_mut()
            .rev()
            .take(3)
            .for_each(|record| record.at = record.at.after(Duration::from_millis(700)));
        assert_silent(property(), &paused);
        let mut drifted = served(3_500, 0);
        drifted.push(None, RecordKind::Fault { label: "clock of n1 drifts by 7 ppm".into() });
        let rest = served(4_500, 0).records.split_off(drifted.records.len() - 1);
        for mut record in rest {
            record.number += 1;
            drifted.records.push(record);
        }
        assert_silent(property(), &drifted);
    }
}
