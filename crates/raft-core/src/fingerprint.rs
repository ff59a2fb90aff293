//! A second digest, for exploring: equal for two states that differ only in what cannot matter to what happens next. The
//! first, [`Raft::digest`], tells any two states apart.
//!
//! Nothing of the protocol knows this file: it reads the state in its canonical form.

use crate::canonical::{Canon, Canonical};
use crate::config::Config;
use crate::digest::Digest;
use crate::id::{NodeId, Seq, Term};
use crate::raft::Raft;
use crate::role::Role;
use crate::time::{nanos, width};
use alloc::collections::BTreeMap;

/// The point of view of a fingerprint: other names for the nodes, and facts about other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// The name to count each node by; a node that is not here keeps its own. A permutation, or states that differ get
    /// equal fingerprints.
    pub nodes: BTreeMap<NodeId, NodeId>,
    /// The newest append of each term, by its leader's count; what a follower has seen counts back from it. A term that is
    /// not here counts from 0.
    pub newest: BTreeMap<Term, Seq>,
}

impl Raft {
    /// The canonical digest. States that differ only in the absolute time, in how many writes, appends and log reads there
    /// have been, in the host's request ids (not their order), in the jitter if there is none to draw, or in the payloads
    /// of equal entries are equal; and so are states that the renaming makes equal.
    pub fn fingerprint(&self, renaming: &Renaming) -> u128 {
        let (config, shared) = (&self.shared.config, &self.shared);
        let (newest, appended) = match &self.role {
            Role::Leader(leader) => (Some(leader.seq), leader.appended_bytes),
            _ => (renaming.newest.get(&shared.term()).copied(), 0),
        };
        let mut canon = Canon {
            digest: Digest::new(),
            nodes: &renaming.nodes,
            now: shared.now,
            longest: longest(config),
            issued: shared.writes.issued(),
            reported: shared.writes.reported(),
            newest: newest.unwrap_or_default(),
            read: shared.read,
            round: shared.clock.round,
            appended,
            requests: BTreeMap::new(),
            draws: width(&config.election_timeout) > 1,
        };
        self.feed(&mut canon);
        canon.digest.value()
    }
}

/// The longest duration of the settings: further away than that, all times are alike.
fn longest(config: &Config) -> u64 {
    let delayed = nanos(config.election_timeout.end).saturating_add(nanos(config.priority_delay()));
    let longest = delayed.max(nanos(config.max_write_stall)).max(nanos(config.snapshot_timeout));
    // Just as long and longer are not alike: some comparisons tell them apart.
    longest.saturating_add(1)
}
