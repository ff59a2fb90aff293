//! A node whose disk is full does not lead if another node can (rule R51).
//!
//! Its heartbeats, votes and answers fit into its reserve, so its followers see no reason to look for another leader, although it
//! refuses every proposal. The host reports that space is low; the node's answers to appends repeat it for the leader.

use crate::leader::Leader;
use crate::raft::Raft;
use crate::role::Role;
use crate::shared::Shared;
use core::time::Duration;

/// For so many longest election timeouts more, a node without space waits for another leader. After that no node with space can
/// win, and a leader that only serves reads is better than none.
const LAST_RESORT: u32 = 4;

impl Raft {
    /// The host reports the space of its disk. A leader without space tries to transfer leadership once for each report, so the
    /// host's interval bounds the attempts.
    pub(crate) fn on_space(&mut self, is_low: bool) {
        self.shared.no_space = is_low;
        if let Role::Leader(leader) = &mut self.role
            && is_low
        {
            leader.leave_full_disk(&mut self.shared);
        }
    }
}

impl Leader {
    /// Transfers leadership to a voter with space. If there is none it stays: another leader could not write either.
    fn leave_full_disk(&mut self, shared: &mut Shared) {
        if self.transfer.is_none() {
            self.transfer_away(shared);
        }
    }
}

impl Shared {
    /// How much longer this node waits before it campaigns, because it has no space. A sole voter waits for nobody.
    pub(crate) fn wait_without_space(&self) -> Duration {
        let is_alone = self.configuration().is_some_and(|configuration| configuration.is_sole_voter(self.id()));
        if self.no_space && !is_alone { self.longest_timeout().saturating_mul(LAST_RESORT) } else { Duration::ZERO }
    }
}
