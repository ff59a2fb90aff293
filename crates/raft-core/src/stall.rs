//! A leader with a stalled disk gives up leadership (rule R34).
//!
//! Appends leave before they are durable here (Thesis §10.2.1), so such a leader still replicates and keeps its
//! followers sticky, while it applies and answers nothing.

use crate::event::{Cause, Event};
use crate::id::{LogIndex, WriteId};
use crate::leader::Leader;
use crate::raft::Raft;
use crate::role::Role;
use crate::shared::Shared;
use crate::time::Instant;

impl Raft {
    /// Transfers leadership if the oldest write has been in flight for too long, or steps down if there is no target or the
    /// transfer has failed. It runs once in each call, after the inputs, because the report of the write may be among
    /// them.
    pub(crate) fn check_write_stall(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some((write, _)) = self.shared.writes.oldest() else { return };
        if !leader.stall_deadline(&self.shared).is_some_and(|deadline| deadline.is_due(self.shared.now)) {
            return;
        }
        let is_new = self.shared.stalled_write.replace(write) != Some(write);
        if is_new {
            self.shared.observe(|| Event::WriteStalled { write });
            if leader.transfer_away(&mut self.shared) {
                return;
            }
        }
        self.become_follower(self.shared.term(), Cause::WriteStalled);
    }
}

impl Leader {
    /// When the oldest write will have been in flight for too long; `None` during a transfer.
    pub(crate) fn stall_deadline(&self, shared: &Shared) -> Option<Instant> {
        let (_, since) = shared.writes.oldest().filter(|_| self.transfer.is_none())?;
        Some(since.after(shared.config.max_write_stall))
    }

    /// Starts a transfer to the voter with the longest log. Returns false if there is none.
    pub(crate) fn transfer_away(&mut self, shared: &mut Shared) -> bool {
        let Some(target) = self.best_successor(shared, LogIndex(0)).filter(|_| !self.is_leaving(shared)) else {
            return false;
        };
        self.start_transfer(shared, None, target);
        self.drive_transfer(shared);
        true
    }
}

impl Shared {
    /// Whether the write that made this node give up leadership is still in flight: a new leadership would stall again.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled_write.is_some_and(|write: WriteId| !self.writes.is_durable(write))
    }
}
