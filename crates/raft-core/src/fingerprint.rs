//! A second digest, for exploration: it is equal for two states if their difference cannot affect the future. The first
//! digest, [`Raft::digest`], tells any two states apart.
//!
//! The protocol does not depend on this file, which reads the state in its canonical form.

use crate::canonical::{Canon, Canonical};
use crate::config::Config;
use crate::digest::Digest;
use crate::id::{NodeId, Seq, Term};
use crate::raft::Raft;
use crate::role::Role;
use crate::time::{nanos, width};
use alloc::collections::BTreeMap;

/// The view of a fingerprint: new names for the nodes, and facts about other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// The new name of each node; a node that is not here keeps its own. The map must be a permutation, or different
    /// states get equal fingerprints.
    pub nodes: BTreeMap<NodeId, NodeId>,
    /// The newest append of each term, as its leader counts; a follower's newest append counts relative to it. A term
    /// that is not in the map counts from 0.
    pub newest: BTreeMap<Term, Seq>,
}

impl Raft {
    /// The canonical digest. Two states are equal if they differ only in the absolute time, in the numbers of writes,
    /// appends and log reads so far, in the host's request ids (not their order), in a jitter that draws nothing, or in
    /// the payloads of equal entries. States that the renaming makes equal are equal too.
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

/// The longest duration of the settings: all times further away count as equal.
fn longest(config: &Config) -> u64 {
    let delayed = nanos(config.election_timeout.end).saturating_add(nanos(config.priority_delay()));
    let longest = delayed.max(nanos(config.max_write_stall)).max(nanos(config.snapshot_timeout));
    // The longest duration itself differs from longer ones: some comparisons tell them apart.
    longest.saturating_add(1)
}
