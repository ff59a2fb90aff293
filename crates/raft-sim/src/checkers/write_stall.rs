//! A leader whose disk stalls transfers leadership or steps down: some time after `max_write_stall` it sends no more
//! appends.
//!
//! The time is the leader's: its clock may run at half the speed of true time. A transfer takes up to the longest
//! election timeout, and another transfer may be in progress. A paused process gets the same time after it resumes.
//!
//! It is the first to catch: a stalled disk that the leader never notices, or notices without effect. It backs up no
//! other checker: the safety of Raft is not violated, but no client gets an answer.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::Scenario;
use raft_core::{NodeId, RoleKind, Rpc, WriteId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const NAME: &str = "write_stall";

/// The factor from the time of the slowest clock to true time.
pub(super) const SLOWEST_CLOCK: u32 = 2;

#[derive(Clone)]
pub(super) struct WriteStall {
    /// The longest election timeout of any node.
    timeout: Duration,
    processes: BTreeMap<NodeId, Process>,
}

#[derive(Clone, Default)]
struct Process {
    /// The writes in flight: the start time and the record of each.
    in_flight: VecDeque<(WriteId, SimTime, u64)>,
    /// The time of its last append.
    sent: SimTime,
    /// The oldest of these writes, and the time from which it is overdue.
    overdue: Option<(WriteId, SimTime)>,
}

impl WriteStall {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { timeout: longest_timeout(scenario), processes: BTreeMap::new() }
    }
}

/// The longest election timeout of any node.
pub(super) fn longest_timeout(scenario: &Scenario) -> Duration {
    let of_nodes = scenario.raft.election_timeout_of.values().map(|range| range.end);
    of_nodes.max().unwrap_or_default().max(scenario.raft.election_timeout.end)
}

impl Process {
    /// Notes that the node sends an append as a leader. Returns the time from which its oldest write is overdue, and
    /// the record of that write.
    fn sends(&mut self, at: SimTime, max_write_stall: Duration, timeout: Duration) -> Option<(SimTime, u64)> {
        let stood_still = at.since(std::mem::replace(&mut self.sent, at)) > timeout;
        let (write, since, record) = self.in_flight.front().copied()?;
        if at.since(since) <= max_write_stall.saturating_mul(SLOWEST_CLOCK) {
            return None;
        }
        let overdue = self.overdue.filter(|(overdue, _)| *overdue == write && !stood_still);
        let (_, overdue_since) = *self.overdue.insert(overdue.unwrap_or((write, at)));
        Some((overdue_since, record))
    }
}

impl Property for WriteStall {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        let process = self.processes.entry(node).or_default();
        match &record.kind {
            RecordKind::Started { .. } => *process = Process::default(),
            RecordKind::Asked { write } => process.in_flight.push_back((write.id, record.at, record.number)),
            RecordKind::Persisted { write, .. } => {
                while process.in_flight.front().is_some_and(|(id, ..)| id <= write) {
                    process.in_flight.pop_front();
                }
            }
            RecordKind::Sent { rpc: Rpc::AppendEntries(_), .. }
                if record.view.as_ref().is_some_and(|view| view.role == RoleKind::Leader) =>
            {
                let (limit, still) = ghost.node(node).map(|node| (node.limits.max_write_stall, node.stood_still))?;
                let (since, asked) = process.sends(record.at, limit.saturating_add(still), self.timeout)?;
                // Two transfers, one after the other.
                if record.at.since(since) > self.timeout.saturating_mul(2 * SLOWEST_CLOCK).saturating_add(still) {
                    let words = format!(
                        "{node} still leads, and its write of record {asked} is not durable; the limit is {limit:?}"
                    );
                    return Some(fact.contradicts(NAME, asked, words));
                }
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::EntryId;

    /// n1 leads, emits a write, and then sends this many empty appends, one every 100 ms.
    fn stalled(limit: Duration, appends: u64) -> Script {
        let mut script = Script::limited(1, |limits| limits.max_write_stall = limit);
        script.ask(1, None, None, vec![noop(3, 2)]);
        send(&mut script, appends);
        script
    }

    fn send(script: &mut Script, appends: u64) {
        for _ in 0..appends {
            script.send(1, 2, append(2, EntryId::new(2, 2), 2, vec![]));
            let earlier = script.records.iter().rev().nth(1).map_or(SimTime(0), |record| record.at);
            script.newest().at = earlier.after(Duration::from_millis(100));
        }
    }

    #[test]
    fn a_leader_that_stays_on_a_stalled_disk_fires() {
        // The write is overdue after 400 ms; two transfers take 1.2 s.
        let limit = Duration::from_millis(200);
        assert_silent(WriteStall::new(&scenario()), &stalled(limit, 17));
        let words = "n1 still leads, and its write of record";
        assert_fires(WriteStall::new(&scenario()), NAME, &stalled(limit, 18), words);
    }

    #[test]
    fn a_write_that_is_reported_a_higher_limit_and_a_leader_that_stood_still_are_silent() {
        assert_silent(WriteStall::new(&scenario()), &stalled(Duration::from_secs(2), 30));
        let mut script = stalled(Duration::from_millis(200), 10);
        script.sync(1);
        send(&mut script, 20);
        assert_silent(WriteStall::new(&scenario()), &script);
        let mut script = stalled(Duration::from_millis(200), 10);
        script.step(1, |_| {});
        let record = script.newest();
        record.at = record.at.after(Duration::from_secs(60));
        send(&mut script, 10);
        assert_silent(WriteStall::new(&scenario()), &script);
    }
}
