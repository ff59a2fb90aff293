//! The checkers of a run: each property in a separate file. All of them read the one stream of records and the `ghost`
//! folded from it. The first contradiction ends the run.
//!
//! The checkers do not look into a node, a disk or the network: a checker knows only the content of a [`Record`].

mod ack_durable;
mod acknowledged_survives;
mod backup;
mod calls;
mod commit_quorum;
mod configuration;
pub(crate) mod disk_reserve;
mod disk_space;
mod effect;
mod election_safety;
mod election_timer;
mod exactly_once;
mod expect;
mod farewells;
mod forwarded_once;
mod ghost;
mod higher_terms;
mod histories;
mod keys_expire;
mod leader_append_only;
mod leader_completeness;
mod leadership_kept;
mod linearizability;
mod liveness;
mod log_matching;
mod match_truthful;
mod monotone;
mod no_holes;
mod one_vote_per_term;
mod pipeline;
pub(crate) mod progress;
mod property;
pub(crate) mod queues;
mod read_back;
mod ready_peers;
mod recovery;
mod removed_nodes;
mod replay;
mod revisions;
mod saving_turns;
#[cfg(test)]
pub(crate) mod script;
mod session_owner;
mod snapshot_durable;
mod snapshot_forward;
mod snapshot_truthful;
mod sometimes;
mod stale_read;
mod state_equal;
mod state_machine_safety;
mod stranger_refused;
mod transfer;
mod vote_answers;
mod vote_durable;
mod watch;
mod write_stall;

use crate::record::{Record, RecordKind, SimTime};
use crate::scenario::model::{Expectations, Scenario};
use ghost::{Change, Ghost};
use histories::Histories;
use linearizability::Linearizability;
use property::{Fact, Property};
use raft_check::history::Operation;
use raft_core::LogIndex;
use sometimes::Sometimes;
use std::collections::BTreeMap;
use std::time::Duration;

pub use property::{End, Healed, Violation};
pub use sometimes::MARKS;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// A violation that only the whole run shows.
    pub violation: Option<Violation>,
    /// The expectations that were not met, liveness included, a sentence each.
    pub failures: Vec<String>,
    /// The checks that exceeded their budget: neither a pass nor a violation.
    pub inconclusive: Option<String>,
    /// How often each of [`MARKS`] was reached.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// How long after the healing there were a leader, a fresh commit and convergence; `None` if there was no healing
    /// or not all of them came.
    pub heal: Option<Duration>,
}

/// All checkers of one run.
#[derive(Clone)]
pub struct Checkers {
    ghost: Ghost,
    properties: Vec<Box<dyn Property>>,
    sometimes: Sometimes,
    histories: Histories,
    scenario: Scenario,
}

impl Checkers {
    /// The checkers of a run of this scenario.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            ghost: Ghost::new(scenario),
            properties: all(scenario),
            sometimes: Sometimes::new(scenario),
            histories: Histories::default(),
            scenario: scenario.clone(),
        }
    }

    /// Checks the next record. After a violation the run must end: the later records prove nothing.
    pub fn observe(&mut self, record: &Record) -> Option<Violation> {
        if let RecordKind::ClusterLimitsDrawn { max_sessions, max_answers, window_events } = &record.kind {
            let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let raft = &mut self.scenario.raft;
            (raft.max_sessions, raft.max_answers) = (count(*max_sessions), count(*max_answers));
            raft.window_events = *window_events;
            *self = Self::new(&self.scenario);
        }
        let change = match &record.kind {
            RecordKind::NewCluster { saved, .. } => self.begin_anew(record, saved.index),
            _ => self.ghost.update(record),
        };
        let fact = Fact { record, node: record.node.and_then(|id| self.ghost.node(id)), change };
        self.sometimes.observe(&self.ghost, &fact);
        self.histories.observe(&fact);
        let ghost = &self.ghost;
        self.properties.iter_mut().find_map(|property| property.check(ghost, &fact))
    }

    /// A new cluster begins with a part of the old one's log: what is known of the old nodes is over.
    fn begin_anew(&mut self, record: &Record, saved: LogIndex) -> Change {
        let (kept, change) = self.ghost.begin_anew(&self.scenario, record);
        for (property, anew) in self.properties.iter_mut().zip(all(&self.scenario)) {
            *property = property.carried_over(kept).unwrap_or(anew);
        }
        self.sometimes.begin_anew(&self.scenario);
        self.histories.cut(record.at, kept, saved);
        change
    }

    /// The marks since the last call, in order; nothing at the first call.
    pub(crate) fn take_new_marks(&mut self) -> Vec<&'static str> {
        self.sometimes.take_new()
    }

    /// The clients' history of the newest cluster, from the operations of all.
    pub fn newest_history(&self, all: &[Operation]) -> Vec<Operation> {
        self.histories.newest(all)
    }

    pub fn finish(&mut self, end: &End<'_>) -> Finish {
        let ghost = &self.ghost;
        let mut finish = Finish {
            violation: self.properties.iter_mut().find_map(|property| property.finish(ghost)),
            failures: self.expectations(&self.scenario.expect, end.at),
            sometimes: self.sometimes.counts(),
            ..Finish::default()
        };
        for history in self.histories.of_clusters(end.history) {
            match linearizability::check_history(&history) {
                Linearizability::Holds => {}
                Linearizability::Violated(violation) => finish.violation = finish.violation.or(Some(violation)),
                Linearizability::Inconclusive(reason) => finish.inconclusive = Some(reason),
            }
        }
        match liveness::check(ghost, &self.scenario, end) {
            Ok(heal) => finish.heal = heal,
            Err(failure) => finish.failures.push(failure),
        }
        finish
    }

    /// The expectations that do not hold now, a sentence each. It does not check the expectations about a whole run or
    /// all seeds together (`sometimes`, `heals_within`).
    pub fn expectations(&self, expectations: &Expectations, at: SimTime) -> Vec<String> {
        expect::failures(&self.ghost, expectations, self.sometimes.reached(), at)
    }
}

/// Every property that is checked record by record. If one record violates several properties, the first in this order
/// is reported: causes come before consequences.
fn all(scenario: &Scenario) -> Vec<Box<dyn Property>> {
    vec![
        Box::new(snapshot_durable::SnapshotDurable),
        Box::new(snapshot_truthful::SnapshotTruthful),
        Box::new(snapshot_forward::SnapshotForward),
        Box::new(no_holes::NoHoles),
        Box::new(disk_reserve::DiskReserve::default()),
        Box::new(recovery::Recovery::new(scenario)),
        Box::new(monotone::Monotone),
        Box::new(stranger_refused::StrangerRefused::default()),
        Box::new(vote_durable::VoteDurable),
        Box::new(one_vote_per_term::OneVotePerTerm::default()),
        Box::new(election_safety::ElectionSafety),
        Box::new(leader_completeness::LeaderCompleteness),
        Box::new(leader_append_only::LeaderAppendOnly),
        Box::new(log_matching::LogMatching::default()),
        Box::new(ack_durable::AckDurable),
        Box::new(match_truthful::MatchTruthful),
        Box::new(commit_quorum::CommitQuorum),
        Box::new(configuration::ConfigurationInForce),
        Box::new(transfer::Transfer::new(scenario)),
        Box::new(pipeline::Pipeline::default()),
        Box::new(queues::Queues::new(scenario)),
        Box::new(write_stall::WriteStall::new(scenario)),
        Box::new(ready_peers::ReadyPeers::new(scenario)),
        Box::new(removed_nodes::RemovedNodes::new(scenario)),
        Box::new(farewells::Farewells::new(scenario)),
        Box::new(election_timer::ElectionTimer::default()),
        Box::new(vote_answers::VoteAnswers::default()),
        Box::new(higher_terms::HigherTerms::default()),
        Box::new(leadership_kept::LeadershipKept::default()),
        Box::new(disk_space::DiskSpace::new(scenario)),
        Box::new(saving_turns::SavingTurns::new(scenario)),
        Box::new(read_back::ReadBack),
        Box::new(state_machine_safety::StateMachineSafety),
        Box::new(acknowledged_survives::AcknowledgedSurvives::default()),
        Box::new(backup::Backup::default()),
        Box::new(session_owner::SessionOwner::default()),
        Box::new(exactly_once::ExactlyOnce::default()),
        Box::new(forwarded_once::ForwardedOnce::default()),
        Box::new(stale_read::StaleRead::default()),
        Box::new(revisions::Revisions::default()),
        Box::new(state_equal::StateEqual::default()),
        Box::new(watch::Watch::default()),
        Box::new(keys_expire::KeysExpire::new(scenario)),
    ]
}

#[cfg(test)]
mod tests {
    use super::script::{Script, append, scenario};
    use super::*;
    use raft_core::EntryId;

    #[test]
    fn a_legal_run_passes_every_property() {
        let mut checkers = Checkers::new(&scenario());
        for record in &Script::legal().records {
            assert_eq!(checkers.observe(record), None);
        }
        let finish = checkers.finish(&End { at: SimTime(1), history: &[], healed: None });
        assert_eq!((finish.violation, finish.failures, finish.inconclusive, finish.heal), (None, vec![], None, None));
        assert_eq!(finish.sometimes.get("leader_elected"), Some(&2));
    }

    #[test]
    fn the_first_contradiction_is_reported_with_its_facts() {
        let mut script = Script::led();
        script.send(2, 3, append(2, EntryId::new(2, 2), 2, vec![]));
        let mut checkers = Checkers::new(&scenario());
        let violation = script.records.iter().find_map(|record| checkers.observe(record));
        let violation = violation.expect("n2 does not lead term 2");
        assert_eq!(violation.property, "election_safety");
        assert_eq!(violation.facts.len(), 2, "{violation:?}");
        let no_leader = Expectations { no_leader: true, ..Expectations::default() };
        assert_eq!(checkers.expectations(&no_leader, SimTime(1)).len(), 1);
    }
}
