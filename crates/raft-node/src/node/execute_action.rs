//! How a node executes the actions of the core.

use super::Node;
use crate::interface::disk_jobs::{DiskJob, SnapshotJob};
use crate::interface::outputs::{NodeOutput, Outputs, Report};
use crate::interface::requests::Reply;
use crate::interface::state_machine::StateMachine;
use crate::node::ttl_timers::Timers;
use raft_core::{Action, RejectReason, StopReason, Term};

impl<S: StateMachine> Node<S> {
    pub(super) fn execute(&mut self, action: Action, outputs: &mut Outputs) {
        let output = match action {
            Action::Send { to, rpc } => NodeOutput::Send { to, rpc },
            Action::Persist(write) => {
                self.disk_budget.on_write(&write);
                self.snapshots.files.on_write(&write);
                NodeOutput::Persist(write)
            }
            Action::Apply { entries } => {
                if let Some(entries) = self.snapshots.loading.defer(entries) {
                    self.apply(entries, outputs);
                }
                return;
            }
            Action::Restore { meta } => {
                self.waiters.on_snapshot_installed(meta.last.index, outputs);
                self.snapshots.loading.begin(meta.clone());
                SnapshotJob::Load { meta }.into()
            }
            Action::Compact { before } => NodeOutput::Disk(DiskJob::Compact { before }),
            Action::ReadLog { read, first, last, max_bytes } => {
                NodeOutput::Disk(DiskJob::ReadLog { read, first, last, max_bytes })
            }
            Action::SendSnapshot { to, term, meta } => self.snapshots.outgoing.begin(to, term, meta).into(),
            Action::Appended { id, .. } if Timers::is_internal(id) => return self.timers.on_appended(id),
            Action::Appended { id, entry } => return self.waiters.insert(entry, id),
            Action::Rejected { id, .. } if Timers::is_internal(id) => return self.timers.on_rejected(id, self.now),
            Action::Rejected { id, reason } => {
                self.reads.on_failed(id);
                NodeOutput::rejected(id, reason)
            }
            Action::ReadReady { id, index } => return self.reads.on_ready(id, index),
            // A read has no effect, so `Rejected` is true for any reason.
            Action::ReadFailed { id, reason } if self.reads.on_failed(id) => NodeOutput::rejected(id, reason),
            Action::ReadFailed { .. } => return,
            Action::TransferDone { id, to } => NodeOutput::Reply { id, reply: Reply::LeadershipTransferred { to } },
            Action::TransferFailed { id, reason } => NodeOutput::Reply { id, reply: Reply::TransferFailed { reason } },
            Action::LeadershipLost { term } => {
                self.lost_term = self.lost_term.max(Some(term));
                self.snapshots.outgoing.clear();
                Report::LeadershipLost { term }.into()
            }
            Action::LeaderChanged { term, leader } => Report::LeaderChanged { term, leader }.into(),
            Action::ConfigurationChanged { configuration, at, committed } => {
                Report::ConfigurationChanged { configuration, at, committed }.into()
            }
            Action::Stopped { reason } => self.stop(reason, outputs),
            Action::Observe(event) => Report::Observed(event).into(),
        };
        outputs.push(output);
    }

    /// The core has stopped: rejects all waiting requests.
    fn stop(&mut self, reason: StopReason, outputs: &mut Outputs) -> NodeOutput {
        self.lost_term = Some(Term(u64::MAX));
        self.snapshots.outgoing.clear();
        let waiting = self.reads.take_all().into_iter().chain(self.watches.take_all());
        outputs.extend(waiting.map(|id| NodeOutput::rejected(id, RejectReason::Stopped)));
        Report::Stopped { reason }.into()
    }
}
