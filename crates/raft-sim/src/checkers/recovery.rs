//! A restart recovers term and vote, snapshot and log: the state after some prefix of the node's writes. The prefix
//! contains every durable write, and is itself durable. Of the log only compacted entries may be missing. After kills
//! alone the prefix contains all written writes. A first start recovers the state that the scenario put on the disk;
//! nothing if the node is not a founder. No crash makes a node refuse to start. Only damage does, as long as it exists,
//! and a failed call to the disk, once. No incarnation number occurs twice.
//!
//! It is the first to catch: a store that loses a synced record, recovers half of one, cuts too much of a torn tail,
//! orders segments wrongly, reports data of the page cache as durable, or starts from state that it did not sync (a
//! kill, a restart, a power loss). `monotone` and `leader_completeness` back it up.

use super::ghost::Ghost;
use super::ghost::node::{self, Node};
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use crate::scenario::model::{InitialState, Scenario};
use raft_core::{Configuration, EntryId, HardState, NodeId, Term};
use std::collections::BTreeMap;

const NAME: &str = "recovery";

#[derive(Clone)]
pub(super) struct Recovery {
    initial: BTreeMap<NodeId, InitialState>,
    /// The configuration of the first node that starts: n1 is always a founder.
    founding: Option<Configuration>,
    /// The last entry of the snapshot with which the founders of a cluster from old data start, in its term.
    rebuilt: Option<EntryId>,
}

impl Recovery {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { initial: scenario.initial.clone(), founding: None, rebuilt: None }
    }

    fn first_start(&mut self, fact: &Fact<'_>, node: &Node, hard_state: HardState) -> Option<Violation> {
        let founding = self.founding.get_or_insert_with(|| node.configuration().cloned().unwrap_or_default());
        let joins = !founding.members.is_empty() && !founding.members.contains_key(&node.id);
        let founder = InitialState { term: Term(1), voted_for: None, log: vec![Term(1)] };
        let joiner = InitialState::default();
        let expected = self.initial.get(&node.id).unwrap_or(if joins { &joiner } else { &founder });
        if let Some(last) = self.rebuilt.filter(|_| !joins) {
            let message = format!(
                "{} of a new cluster starts with {hard_state} and a log up to {}; its folder was made with {last} and that term",
                node.id,
                node.log.last_id()
            );
            let is_equal = hard_state == HardState { term: last.term, voted_for: None } && node.log.last_id() == last;
            return (!is_equal).then(|| fact.contradicts(NAME, fact.record.number, message));
        }
        let expected = if self.rebuilt.is_some() { &joiner } else { expected };
        let expected_state = HardState { term: expected.term, voted_for: expected.voted_for };
        if hard_state == expected_state && node.log.terms().eq(expected.log.iter().copied()) {
            return None;
        }
        let message = format!(
            "{} first starts with {hard_state} and a log up to {}; its disk was given {expected_state} and {} entries",
            node.id,
            node.log.last_id(),
            expected.log.len()
        );
        Some(fact.contradicts(NAME, fact.record.number, message))
    }
}

impl Property for Recovery {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        match &fact.record.kind {
            RecordKind::Started { hard_state, disk_mark, disk_durable, incarnation, .. } => {
                let (node, recovery) = (fact.node?, fact.change.recovery?);
                if recovery.first
                    && let Some(violation) = self.first_start(fact, node, *hard_state)
                {
                    return Some(violation);
                }
                if *incarnation <= recovery.earlier {
                    let message = format!(
                        "{} starts as incarnation {incarnation}; expected one above {}",
                        node.id, recovery.earlier
                    );
                    return Some(fact.contradicts(NAME, recovery.record_before, message));
                }
                restarted(fact, node, *hard_state, &recovery).or_else(|| {
                    let message = format!(
                        "{} starts from disk operation {disk_mark}, but only those up to {disk_durable} are durable",
                        node.id
                    );
                    (disk_durable < disk_mark).then(|| fact.contradicts(NAME, fact.record.number, message))
                })
            }
            RecordKind::NewCluster { snapshot, .. } => {
                self.founding = Some(snapshot.configuration.clone());
                self.rebuilt = Some(snapshot.last);
                None
            }
            RecordKind::RefusedToStart { error } if !fact.change.excused => {
                let node = fact.node?;
                let message = format!("{} refuses to start, and its disk had no fault but crashes: {error}", node.id);
                Some(fact.contradicts(NAME, node.asked, message))
            }
            _ => None,
        }
    }
}

fn restarted(fact: &Fact<'_>, node: &Node, hard_state: HardState, recovery: &node::Recovery) -> Option<Violation> {
    let (id, last, in_doubt) = (node.id, node.log.last_id(), recovery.in_doubt);
    let snapshot = node.snapshot.as_ref().map(|snapshot| snapshot.last).unwrap_or_default();
    let Some(contains) = recovery.contains else {
        let message = format!(
            "{id} restarts with {hard_state}, the snapshot of {} and a log up to {last}: not {}, the snapshot of {} and \
             {} durable entries with any prefix of the {in_doubt} writes in doubt",
            snapshot, recovery.hard_state_before, recovery.snapshot_before, recovery.log_before
        );
        return Some(fact.contradicts(NAME, recovery.record_before, message));
    };
    if recovery.only_killed && contains < recovery.written {
        let message = format!(
            "{id} was killed and restarts with {contains} of the {} writes its store had written: a kill loses nothing",
            recovery.written
        );
        return Some(fact.contradicts(NAME, recovery.record_before, message));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::CrashKind::{DiskLoss, Kill, PowerLoss};
    use raft_core::SnapshotMeta;

    fn recovery() -> Recovery {
        Recovery::new(&scenario())
    }

    /// n1 after term 2, with two more writes in doubt: the first was written, the second only emitted.
    fn in_doubt(crash: crate::record::CrashKind) -> Script {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 2)]);
        script.write(1);
        script.ask(1, Some((3, None)), None, vec![]);
        script.crash(1, crash);
        script
    }

    #[test]
    fn a_start_brings_back_what_is_durable_and_a_prefix_of_what_is_in_doubt() {
        let log = [founding(), noop(2, 2), noop(3, 2)];
        for (crash, term, vote, last, words) in [
            (PowerLoss, 2, Some(1), 2, ""),
            (PowerLoss, 2, Some(1), 3, ""),
            (Kill, 2, Some(1), 3, ""),
            (PowerLoss, 3, None, 3, ""),
            (DiskLoss, 0, None, 0, ""),
            // A durable entry is lost; a vote is lost; a lost disk still recovers something.
            (PowerLoss, 2, Some(1), 1, "n1 restarts with term 2 vote n1, the snapshot of 0@0 and a log up to 1@1: not"),
            (PowerLoss, 2, None, 2, "n1 restarts with term 2, the snapshot of 0@0 and a log up to 2@2: not"),
            (DiskLoss, 2, Some(1), 2, "n1 restarts with term 2 vote n1, the snapshot of 0@0 and a log up to 2@2: not"),
            // A later write is present without an earlier one; a kill loses a written record.
            (PowerLoss, 3, None, 2, "any prefix of the 2 writes in doubt"),
            (Kill, 2, Some(1), 2, "restarts with 0 of the 1 writes its store had written"),
        ] {
            let mut script = in_doubt(crash);
            script.start(1, term, vote, log[..last].to_vec());
            assert_says(recovery(), NAME, &script, words);
        }
        assert_silent(recovery(), &Script::legal());
    }

    #[test]
    fn a_state_that_is_not_durable_fires() {
        let mut script = in_doubt(Kill);
        script.start(1, 2, Some(1), vec![founding(), noop(2, 2), noop(3, 2)]);
        if let RecordKind::Started { disk_durable, .. } = &mut script.newest().kind {
            *disk_durable -= 1;
        }
        assert_fires(recovery(), NAME, &script, "are durable");
    }

    #[test]
    fn a_refusal_and_a_wrong_first_start_fire() {
        let mut script = in_doubt(PowerLoss);
        script.push(Some(1), RecordKind::RefusedToStart { error: "bad record".into() });
        let words = "n1 refuses to start, and its disk had no fault but crashes: bad record";
        assert_fires(recovery(), NAME, &script, words);
        let mut script = Script::default();
        script.start(1, 1, None, vec![]);
        assert_fires(recovery(), NAME, &script, "its disk was given term 1 and 1 entries");
    }

    #[test]
    fn all_founders_of_a_restored_cluster_start_alike() {
        let restored = |term, snapshot: SnapshotMeta| {
            let mut script = Script::led();
            let (saved, snapshot_of) = (EntryId::new(2, 2), meta(9, 2));
            let (recovered, state_hash, saved_hash) = (None, 7, 7);
            let kind = RecordKind::NewCluster { saved, recovered, snapshot: snapshot_of, state_hash, saved_hash };
            script.push(None, kind);
            script.start_from(1, term, None, Some(snapshot), vec![]);
            script
        };
        let fires = |script: &Script| {
            let mut checkers = super::super::Checkers::new(&scenario());
            script.records.iter().find_map(|record| checkers.observe(record))
        };
        assert_eq!(fires(&restored(2, meta(9, 2))), None);
        for script in [restored(3, meta(9, 2)), restored(2, meta(8, 2))] {
            let violation = fires(&script).expect("it differs from its folder");
            assert!(violation.message.contains("its folder was made with 9@2 and that term"), "{violation:?}");
        }
    }

    /// n1 with a durable snapshot of 2@2, after it compacted the first entry.
    fn compacted() -> Script {
        let mut script = Script::led();
        script.step(1, |view| view.applied = raft_core::LogIndex(2));
        script.save(1, &meta(2, 2));
        script.ask_snapshot(1, meta(2, 2), raft_core::InstallMode::Keep);
        script.sync(1);
        script.push(Some(1), RecordKind::Compacted { before: raft_core::LogIndex(2) });
        script.crash(1, PowerLoss);
        script
    }

    #[test]
    fn what_a_snapshot_covers_may_be_missing_and_nothing_else() {
        for entries in [vec![noop(2, 2)], vec![founding(), noop(2, 2)]] {
            let mut script = compacted();
            script.start_from(1, 2, Some(1), Some(meta(2, 2)), entries);
            assert_silent(recovery(), &script);
        }
        for (snapshot, entries) in [(Some(meta(2, 2)), vec![]), (Some(meta(1, 1)), vec![noop(2, 2)])] {
            let mut script = compacted();
            script.start_from(1, 2, Some(1), snapshot, entries);
            assert_fires(recovery(), NAME, &script, "not term 2 vote n1, the snapshot of 2@2 and 2 durable entries");
        }
    }

    #[test]
    fn a_log_that_gave_way_may_come_back_or_not_until_its_record_is_durable() {
        let asked = || {
            let mut script = Script::legal();
            script.step(1, |view| {
                (view.term, view.last, view.commit) = (Term(3), raft_core::EntryId::new(3, 3), raft_core::LogIndex(3));
            });
            script.ask_snapshot(1, meta(3, 3), raft_core::InstallMode::Discard);
            script.write(1);
            script.crash(1, PowerLoss);
            script
        };
        let mut script = asked();
        script.start(1, 2, Some(1), vec![founding(), noop(2, 2)]);
        assert_silent(recovery(), &script);
        let mut script = asked();
        script.start_from(1, 2, Some(1), Some(meta(3, 3)), vec![]);
        assert_silent(recovery(), &script);
        let mut script = asked();
        script.start_from(1, 2, Some(1), Some(meta(2, 2)), vec![]);
        assert_fires(recovery(), NAME, &script, "n1 restarts with term 2 vote n1, the snapshot of 2@2");
    }
}
