//! A watch skips nothing, repeats nothing and keeps the order: whatever node answers, the changes between two revisions that it
//! names are those of the log. An answer that the changes are gone is true. And a watch does not fall silent: its node answers in
//! the call in which it has a change of the range.
//!
//! Each answer is compared with the replayed map ([`replay`](super::replay)), and the next query begins after it. So the answers
//! that a client gets together are all changes, across leaders, restarts, snapshots and nodes. After a restore of an old backup
//! revisions are given again to other changes. So a client that has changes of the old cluster gets no answer in the new one, but a
//! refusal, after which it begins anew.
//!
//! It is the first to catch: a change that is skipped or sent twice where a watch continues, a window that forgets too early, a
//! watch that nobody asks again.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use bytes::Bytes;
use prost::Message;
use raft_core::{LogIndex, NodeId, RequestId};
use raft_node::Reply;
use raft_proto::wire::kv::{self, kv_answer, kv_query};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "watch";

#[derive(Clone, Default)]
pub(super) struct Watch {
    /// The queries without an answer.
    queries: BTreeMap<RequestId, Sent>,
    /// The first revision that each client has not received.
    positions: BTreeMap<u64, u64>,
    /// The clients that have changes of another cluster.
    foreign: BTreeSet<u64>,
    /// Where a client continues after an answer, by the answer's record; nowhere: it begins anew.
    answers: BTreeMap<u64, Option<u64>>,
    /// The queries that wait at each node.
    waiting: BTreeMap<NodeId, Waiting>,
    /// The nodes that load a snapshot: they answer no watch meanwhile.
    loading: BTreeSet<NodeId>,
}

#[derive(Clone)]
struct Sent {
    /// Its client has changes of another cluster.
    is_foreign: bool,
    watch: kv::Watch,
    record: u64,
}

#[derive(Clone, Default)]
struct Waiting {
    /// The newest call of the node.
    call: u64,
    /// The state in which all its queries were found to wait rightly.
    examined: Option<LogIndex>,
    queries: BTreeSet<RequestId>,
}

fn decode(query: &Bytes) -> Option<kv::Watch> {
    match kv::KvQuery::decode(query.clone()).ok()?.kind? {
        kv_query::Kind::Watch(watch) => Some(watch),
        _ => None,
    }
}

impl Property for Watch {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        if let RecordKind::WatchSent { watcher, id, query, .. } = &fact.record.kind {
            return self.sent(fact, *watcher, *id, query);
        }
        if let RecordKind::Watched { watcher, .. } = &fact.record.kind {
            match fact.record.cause.and_then(|answer| self.answers.remove(&answer)) {
                Some(Some(position)) => drop(self.positions.insert(*watcher, position)),
                Some(None) => drop(self.foreign.remove(watcher)),
                None => {}
            }
        }
        let node = fact.record.node?;
        if let Some(violation) = self.silent(ghost, fact, node) {
            return Some(violation);
        }
        match &fact.record.kind {
            RecordKind::Requested { id, .. } if self.queries.contains_key(id) => {
                // The new query is examined whatever its node has applied.
                let waiting = self.waiting.entry(node).or_default();
                (waiting.call, waiting.examined) = (fact.record.call, None);
                waiting.queries.insert(*id);
            }
            RecordKind::WatchCancelled { id } => self.remove(node, *id),
            RecordKind::Replied { id, reply } => return self.replied(ghost, fact, (node, *id), reply),
            RecordKind::SnapshotWanted { .. } => drop(self.loading.insert(node)),
            RecordKind::Restored { .. } => drop(self.loading.remove(&node)),
            RecordKind::Started { .. } | RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. } => {
                self.loading.remove(&node);
                self.waiting.remove(&node);
            }
            _ => {}
        }
        None
    }

    fn carried_over(&self, _: LogIndex) -> Option<Box<dyn Property>> {
        let foreign = self.foreign.iter().chain(self.positions.keys()).copied().collect();
        Some(Box::new(Self { foreign, ..Self::default() }))
    }
}

impl Watch {
    /// Checks that a client continues where its last answer ended.
    fn sent(&mut self, fact: &Fact<'_>, watcher: u64, id: RequestId, query: &Bytes) -> Option<Violation> {
        let watch = decode(query)?;
        let position = self.positions.get(&watcher).copied().filter(|position| *position != watch.from);
        let from = watch.from;
        let is_foreign = self.foreign.contains(&watcher);
        self.queries.insert(id, Sent { is_foreign, watch, record: fact.record.number });
        let message = format!("watch client {watcher} continues at revision {from}, expected {}", position?);
        Some(fact.contradicts(NAME, fact.record.number, message))
    }

    fn remove(&mut self, node: NodeId, id: RequestId) {
        if let Some(waiting) = self.waiting.get_mut(&node) {
            waiting.queries.remove(&id);
        }
    }

    fn replied(
        &mut self,
        ghost: &Ghost,
        fact: &Fact<'_>,
        (node, id): (NodeId, RequestId),
        reply: &Reply,
    ) -> Option<Violation> {
        let sent = self.queries.remove(&id)?;
        self.remove(node, id);
        let answer = match reply {
            Reply::OtherCluster if sent.is_foreign => Ok(None),
            Reply::OtherCluster => Err("another cluster, and its client has no changes of one".to_owned()),
            Reply::Watched { .. } if sent.is_foreign => Err("its client has changes of another cluster".to_owned()),
            Reply::Watched { applied, response, next } => {
                answered(ghost, &sent.watch, *applied, response, next.as_ref()).map(Some)
            }
            _ => return None,
        };
        match answer {
            Ok(position) => {
                self.answers.insert(fact.record.number, position);
                None
            }
            Err(problem) => Some(fact.contradicts(NAME, sent.record, format!("{node} answers watch {id}: {problem}"))),
        }
    }

    /// Checks at the beginning of a call that no query still waits whose answer the call before had.
    fn silent(&mut self, ghost: &Ghost, fact: &Fact<'_>, node: NodeId) -> Option<Violation> {
        let waiting = self.waiting.get_mut(&node).filter(|waiting| !waiting.queries.is_empty())?;
        if fact.record.call == 0 || waiting.call == fact.record.call {
            return None;
        }
        waiting.call = fact.record.call;
        let applied = ghost.node(node)?.applied;
        if waiting.examined == Some(applied) || self.loading.contains(&node) {
            return None;
        }
        waiting.examined = Some(applied);
        let revision = ghost.revision_at(applied)?;
        let queries = waiting.queries.iter().filter_map(|id| Some((id, self.queries.get(id)?)));
        queries.into_iter().find_map(|(id, Sent { is_foreign, watch, record, .. })| {
            let message = if *is_foreign {
                format!("{node} has not refused watch {id}, whose client has changes of another cluster")
            } else if watch.begun {
                let missed = ghost.map().events(watch, watch.from, revision).next()?;
                format!("{node} has the change of revision {} and has not answered watch {id}", missed.revision)
            } else {
                format!("{node} has not said that watch {id} has begun")
            };
            Some(fact.contradicts(NAME, *record, message))
        })
    }
}

/// The first revision that the client has not received after this answer; or the answer's problem.
fn answered(
    ghost: &Ghost,
    watch: &kv::Watch,
    applied: LogIndex,
    response: &Bytes,
    next: Option<&Bytes>,
) -> Result<u64, String> {
    let Some(revision) = ghost.revision_at(applied) else {
        return Err(format!("it is from the state after entry {applied}, which no node has applied"));
    };
    let from = if watch.from == 0 { revision + 1 } else { watch.from };
    match kv::KvAnswer::decode(response.clone()).ok().and_then(|answer| answer.kind) {
        Some(kv_answer::Kind::Changes(changes)) => {
            let through = changes.through;
            if through + 1 < from || through > revision.max(from - 1) {
                let expected = from - 1..=revision.max(from - 1);
                return Err(format!("it has all changes up to revision {through}, expected one of {expected:?}"));
            }
            difference(&changes.events, ghost.map().events(watch, from, through))?;
            let continues = kv::Watch { from: through + 1, begun: true, ..watch.clone() };
            let next = next.and_then(decode);
            if next.as_ref() != Some(&continues) {
                return Err(format!("the next query is {next:?}, expected {continues:?}"));
            }
            Ok(through + 1)
        }
        Some(kv_answer::Kind::Compacted(gone)) => {
            let oldest = ghost.map().oldest_at(revision);
            if from >= oldest || gone != (kv::Compacted { oldest, revision }) {
                let words = format!("expected revision {oldest} at revision {revision}");
                return Err(format!("the changes from {from} on are gone and {gone:?} is left, {words}"));
            }
            Ok(oldest)
        }
        other => Err(format!("expected changes, found {other:?}")),
    }
}

/// The first difference between the events of an answer and those of the log.
fn difference<'a>(found: &[kv::KvEvent], expected: impl Iterator<Item = &'a kv::KvEvent>) -> Result<(), String> {
    let mut found = found.iter();
    for expected in expected {
        let event = found.next();
        if event != Some(expected) {
            return Err(format!("expected {}, found {}", show(Some(expected)), show(event)));
        }
    }
    match found.next() {
        None => Ok(()),
        event => Err(format!("expected no more changes, found {}", show(event))),
    }
}

fn show(event: Option<&kv::KvEvent>) -> String {
    let Some(event) = event else { return "no change".to_owned() };
    let key = String::from_utf8_lossy(&event.key);
    format!("the change of {key} at revision {} after {}: {:?}", event.revision, event.previous_revision, event.kind)
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::{opens, puts};
    use super::super::script::*;
    use super::*;
    use raft_core::LogIndex;

    /// `k` is put three times, by entries 4 to 6: revisions 1 to 3.
    fn changed() -> Script {
        let mut script = Script::led();
        let puts = |index| puts(index, 2, (3, index), "a");
        script.apply(1, vec![founding(), noop(2, 2), opens(3, 2), puts(4), puts(5), puts(6)], 1);
        script
    }

    fn watch(from: u64, begun: bool) -> kv::Watch {
        kv::Watch { start: Bytes::new(), end: None, from, begun }
    }

    fn encoded(watch: kv::Watch) -> Bytes {
        kv::KvQuery { kind: Some(kv_query::Kind::Watch(watch)) }.encode_to_vec().into()
    }

    fn ask(script: &mut Script, id: u64, from: u64, begun: bool) {
        let (query, label) = (encoded(watch(from, begun)), "watch".to_owned());
        script.push(None, RecordKind::WatchSent { watcher: 1, id: RequestId(id), label, query });
        let command = crate::record::Unhashed(None);
        script.push(Some(1), RecordKind::Requested { id: RequestId(id), command });
    }

    fn event(revision: u64) -> kv::KvEvent {
        ghost_after(&changed()).map().events(&watch(1, true), revision, revision).next().expect("an event").clone()
    }

    fn reply(script: &mut Script, id: u64, kind: kv_answer::Kind, next: Option<u64>) {
        let response = kv::KvAnswer { kind: Some(kind) }.encode_to_vec().into();
        let next = next.map(|from| encoded(watch(from, true)));
        let reply = Reply::Watched { applied: LogIndex(6), response, next };
        script.push(Some(1), RecordKind::Replied { id: RequestId(id), reply });
    }

    fn changes(revisions: &[u64], through: u64) -> kv_answer::Kind {
        kv_answer::Kind::Changes(kv::Changes { events: revisions.iter().map(|at| event(*at)).collect(), through })
    }

    /// A query from this revision on, and its answer.
    fn of(from: u64, kind: kv_answer::Kind, next: Option<u64>) -> Script {
        let mut script = changed();
        ask(&mut script, 7, from, false);
        reply(&mut script, 7, kind, next);
        script
    }

    #[test]
    fn all_changes_in_order_are_silent_and_so_are_those_to_come() {
        assert_silent(Watch::default(), &of(1, changes(&[1, 2, 3], 3), Some(4)));
        assert_silent(Watch::default(), &of(2, changes(&[2], 2), Some(3)));
        assert_silent(Watch::default(), &of(0, changes(&[], 3), Some(4)));
        assert_silent(Watch::default(), &of(9, changes(&[], 8), Some(9)));
    }

    #[test]
    fn a_change_that_is_skipped_repeated_or_out_of_order_fires() {
        for (from, kind, next, words) in [
            (1, changes(&[1, 3], 3), 4, "expected the change of k at revision 2 after 1"),
            (2, changes(&[1, 2, 3], 3), 4, "expected the change of k at revision 2 after 1"),
            (1, changes(&[2, 1, 3], 3), 4, "expected the change of k at revision 1 after 0"),
            (1, changes(&[1, 2, 3, 3], 3), 4, "expected no more changes, found the change of k at revision 3"),
            (1, changes(&[1, 2], 3), 4, "found no change"),
            (1, changes(&[1, 2, 3], 4), 5, "it has all changes up to revision 4, expected one of 0..=3"),
            (0, changes(&[3], 3), 4, "expected no more changes"),
            (1, changes(&[1], 1), 3, "the next query is"),
        ] {
            assert_fires(Watch::default(), NAME, &of(from, kind, Some(next)), words);
        }
    }

    #[test]
    fn changes_that_the_map_still_has_are_not_gone() {
        let gone = |oldest| kv_answer::Kind::Compacted(kv::Compacted { oldest, revision: 3 });
        assert_fires(Watch::default(), NAME, &of(1, gone(2), None), "expected revision 1 at revision 3");
        let mut few = scenario();
        few.raft.window_events = 2;
        let mut ghost = Ghost::new(&few);
        for record in &changed().records {
            ghost.update(record);
        }
        let response = |oldest| kv::KvAnswer { kind: Some(gone(oldest)) }.encode_to_vec().into();
        let answer = |from, oldest| answered(&ghost, &watch(from, true), LogIndex(6), &response(oldest), None);
        assert_eq!(answer(1, 2), Ok(2));
        assert!(answer(2, 2).is_err() && answer(1, 3).is_err());
    }

    #[test]
    fn a_watch_that_falls_silent_fires() {
        let mut script = changed();
        ask(&mut script, 7, 4, true);
        script.step(1, |_| {});
        assert_silent(Watch::default(), &script);
        script.apply(1, vec![puts(7, 2, (3, 7), "b")], 2);
        assert_silent(Watch::default(), &script);
        script.step(1, |_| {});
        let words = "n1 has the change of revision 4 and has not answered watch r7";
        assert_fires(Watch::default(), NAME, &script, words);
        let mut script = changed();
        ask(&mut script, 7, 0, false);
        script.step(1, |_| {});
        assert_fires(Watch::default(), NAME, &script, "n1 has not said that watch r7 has begun");
    }

    /// A client that has this position asks in a cluster that was made of the first entries of its own.
    fn in_a_new_cluster(reply: impl FnOnce(&mut Script)) -> (Watch, Script) {
        let old = Watch { positions: BTreeMap::from([(1, 4)]), ..Watch::default() };
        let next = Watch { foreign: old.positions.keys().copied().collect(), ..Watch::default() };
        assert!(old.carried_over(LogIndex(4)).is_some());
        let mut script = changed();
        ask(&mut script, 7, 4, false);
        reply(&mut script);
        (next, script)
    }

    fn refuse(script: &mut Script, id: u64) {
        script.push(Some(1), RecordKind::Replied { id: RequestId(id), reply: Reply::OtherCluster });
    }

    #[test]
    fn a_watch_that_continues_in_another_cluster_fires() {
        let (watch, script) = in_a_new_cluster(|script| reply(script, 7, changes(&[], 3), Some(4)));
        assert_fires(watch, NAME, &script, "n1 answers watch r7: its client has changes of another cluster");
        let (watch, script) = in_a_new_cluster(|script| {
            script.step(1, |_| {});
        });
        let words = "n1 has not refused watch r7, whose client has changes of another cluster";
        assert_fires(watch, NAME, &script, words);
        let refused = |script: &mut Script| {
            refuse(script, 7);
            let answer = script.records.last().map(|record| record.number);
            script.push(None, RecordKind::Watched { watcher: 1, label: String::new() });
            script.newest().cause = answer;
            ask(script, 8, 0, false);
        };
        let (watch, script) = in_a_new_cluster(|script| {
            refused(script);
            reply(script, 8, changes(&[], 3), Some(4));
        });
        assert_silent(watch, &script);
        let (watch, script) = in_a_new_cluster(|script| {
            refused(script);
            refuse(script, 8);
        });
        assert_fires(
            watch,
            NAME,
            &script,
            "n1 answers watch r8: another cluster, and its client has no changes of one",
        );
    }

    #[test]
    fn a_client_that_continues_elsewhere_fires() {
        let mut script = of(1, changes(&[1, 2, 3], 3), Some(4));
        let answer = script.records.last().map(|record| record.number);
        script.push(None, RecordKind::Watched { watcher: 1, label: String::new() });
        script.newest().cause = answer;
        let query = encoded(watch(5, false));
        script.push(None, RecordKind::WatchSent { watcher: 1, id: RequestId(8), label: String::new(), query });
        assert_fires(Watch::default(), NAME, &script, "watch client 1 continues at revision 5, expected 4");
    }
}
