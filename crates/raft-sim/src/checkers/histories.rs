//! The histories of the clients, one for each cluster: a restore or a recovery begins a new cluster with a part of the old
//! one's state.
//!
//! A history begins with the operations of earlier clusters whose effects are in that part. An operation that was open at
//! the change never returns in the old cluster and goes on in the new one. What was acknowledged later than that part is
//! lost, and belongs to the old cluster alone.

use super::property::Fact;
use crate::record::{RecordKind, SimTime};
use raft_check::history::{Op, OpResult, Operation, Status};
use raft_core::LogIndex;
use raft_node::Reply;
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub(super) struct Histories {
    /// The entry of each acknowledged command, by the record of the answer.
    answers: BTreeMap<u64, LogIndex>,
    /// The entry that answered each finished operation, in their order.
    entries: Vec<Option<LogIndex>>,
    cuts: Vec<Cut>,
}

/// The end of a cluster.
#[derive(Clone)]
struct Cut {
    at: SimTime,
    /// How many operations had returned.
    count: usize,
    /// The last committed entry that the next cluster has.
    kept: LogIndex,
    /// The next cluster may execute more: its log has entries that no leader had committed.
    has_more: bool,
}

impl Histories {
    pub(super) fn observe(&mut self, fact: &Fact<'_>) {
        match &fact.record.kind {
            RecordKind::Replied { reply: Reply::Applied { entry, .. }, .. } => {
                self.answers.insert(fact.record.number, entry.index);
            }
            RecordKind::Returned { .. } => {
                let answer = fact.record.cause.and_then(|answer| self.answers.get(&answer));
                self.entries.push(answer.copied());
            }
            _ => {}
        }
    }

    /// Notes that another cluster begins with the committed log up to `kept`.
    pub(super) fn cut(&mut self, at: SimTime, kept: LogIndex, saved: LogIndex) {
        self.cuts.push(Cut { at, count: self.entries.len(), kept, has_more: saved > kept });
    }

    /// The history of the newest cluster.
    pub(super) fn newest(&self, all: &[Operation]) -> Vec<Operation> {
        self.of_clusters(all).pop().unwrap_or_default()
    }

    /// The history of each cluster.
    pub(super) fn of_clusters(&self, all: &[Operation]) -> Vec<Vec<Operation>> {
        if self.cuts.is_empty() {
            return vec![all.to_vec()];
        }
        let mut histories = Vec::new();
        let mut known: Vec<(Operation, Option<LogIndex>)> = Vec::new();
        let mut from = 0;
        for cut in self.cuts.iter().map(Some).chain([None]) {
            let until = cut.map_or(all.len(), |cut| cut.count);
            let finished = all.iter().zip(&self.entries).take(until).skip(from);
            known.extend(finished.map(|(operation, entry)| (operation.clone(), *entry)));
            from = until;
            let mut history: Vec<Operation> = known.iter().map(|(operation, _)| operation.clone()).collect();
            if let Some(cut) = cut {
                let open = all.iter().skip(until).filter(|operation| operation.invoke_ns < cut.at.0);
                history.extend(open.cloned().map(never_returned));
                known = known.into_iter().filter_map(|(operation, entry)| cut.carry(operation, entry)).collect();
            }
            histories.push(history);
        }
        histories
    }
}

impl Cut {
    /// The operation in the history of the next cluster, if it may have an effect there.
    fn carry(&self, operation: Operation, entry: Option<LogIndex>) -> Option<(Operation, Option<LogIndex>)> {
        let is_kept = entry.is_some_and(|entry| entry <= self.kept);
        match operation.status {
            _ if operation.op == Op::Get => None,
            Status::Fail => None,
            Status::Unknown => Some((operation, entry)),
            Status::Ok if is_kept => Some((operation, entry)),
            Status::Ok => self.has_more.then(|| (never_returned(operation), None)),
        }
    }
}

fn never_returned(operation: Operation) -> Operation {
    Operation { status: Status::Unknown, result: OpResult::Null, return_ns: None, ..operation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_check::history::OpValue;

    fn put(client: u64, value: &str, invoke_ns: u64, return_ns: u64) -> Operation {
        let (status, return_ns) = (Status::Ok, Some(return_ns));
        let value = OpValue::Value(value.into());
        Operation { client, op: Op::Put, key: "k".into(), value, status, result: OpResult::Null, invoke_ns, return_ns }
    }

    fn values(history: &[Operation]) -> Vec<(String, Status)> {
        history.iter().map(|operation| (format!("{:?}", operation.value), operation.status)).collect()
    }

    /// Three puts: kept by the next cluster, lost with the old one, and open at the change.
    fn changed(saved: u64) -> (Histories, Vec<Operation>) {
        let all = vec![put(1, "kept", 1, 2), put(2, "lost", 3, 4), put(3, "open", 5, 20), put(1, "new", 21, 22)];
        let mut histories = Histories { entries: vec![Some(LogIndex(4)), Some(LogIndex(6))], ..Histories::default() };
        histories.cut(SimTime(10), LogIndex(5), LogIndex(saved));
        histories.entries.extend([Some(LogIndex(105)), Some(LogIndex(106))]);
        (histories, all)
    }

    #[test]
    fn a_history_begins_with_what_its_cluster_has_of_the_old_one() {
        let (histories, all) = changed(5);
        let [old, new] = &histories.of_clusters(&all)[..] else { panic!("two clusters") };
        let value = |value: &str| format!("{:?}", OpValue::Value(value.into()));
        let ok = |name: &str| (value(name), Status::Ok);
        assert_eq!(values(old), [ok("kept"), ok("lost"), (value("open"), Status::Unknown)]);
        assert_eq!(values(new), [ok("kept"), ok("open"), ok("new")]);
        assert!(old.iter().all(|operation| operation.check().is_ok()));
    }

    #[test]
    fn what_was_not_committed_in_the_old_cluster_may_still_be_executed() {
        let (histories, all) = changed(7);
        let statuses: Vec<Status> = histories.newest(&all).iter().map(|operation| operation.status).collect();
        assert_eq!(statuses, [Status::Ok, Status::Unknown, Status::Ok, Status::Ok]);
    }

    #[test]
    fn one_cluster_has_one_history() {
        let all = vec![put(1, "a", 1, 2)];
        let histories = Histories { entries: vec![None], ..Histories::default() };
        assert_eq!(histories.of_clusters(&all), [all]);
    }
}
