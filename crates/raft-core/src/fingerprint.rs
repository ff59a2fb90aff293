//! A second digest, for exploration: it is equal for two states if their difference cannot affect the future. The first
//! digest, [`Raft::digest`], tells any two states apart.
//!
//! The protocol does not depend on this file, which reads the state in its canonical form.

use crate::canonical::{Appends, Canon, Canonical};
use crate::config::Config;
use crate::digest::Digest;
use crate::id::{NodeId, Seq, Term};
use crate::raft::Raft;
use crate::role::Role;
use crate::time::{nanos, width};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The view of a fingerprint: new names for the nodes, and facts about other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// The new name of each node; a node that is not here keeps its own. The map must be a permutation, or different
    /// states get equal fingerprints.
    pub nodes: BTreeMap<NodeId, NodeId>,
    /// The newest append of each term, as its leader counts; a follower's newest append counts relative to it. A term
    /// that is not in the map counts from 0.
    pub newest: BTreeMap<Term, Seq>,
    /// Whether times do not count. This is right for a driver that decides itself which timer fires and when, if no
    /// guard, transfer or membership change depends on a time.
    pub timeless: bool,
    /// Whether the surroundings are plain: no reads, no transfers, no changes of members, no forged messages, and disks
    /// that keep what they have reported. Then the number of an append matters only by whether it is above the position
    /// that its leader has for its receiver.
    pub plain: bool,
}

impl Raft {
    /// The canonical digest. Two states are equal if they differ only in the absolute time, in the numbers of writes,
    /// appends and log reads so far, in the host's request ids (not their order), in a jitter that draws nothing, or in
    /// the payloads of equal entries. States that the renaming makes equal are equal too.
    pub fn fingerprint(&self, renaming: &Renaming) -> u128 {
        let newest = match &self.role {
            Role::Leader(leader) => Some(leader.seq),
            _ => renaming.newest.get(&self.shared.term()).copied(),
        };
        self.canon(renaming, Appends::FromNewest(newest.unwrap_or_default())).digest.value()
    }

    /// The fingerprint without the numbers of appends, and these numbers, each with the receiver of the append, under its
    /// old name. In plain surroundings they are a leader's position for each peer, and the newest append that a follower
    /// has seen.
    pub fn outline(&self, renaming: &Renaming) -> (u128, Vec<(NodeId, Seq)>) {
        let canon = self.canon(renaming, Appends::Listed { receiver: self.shared.id(), list: Vec::new() });
        let list = if let Appends::Listed { list, .. } = canon.appends { list } else { Vec::new() };
        (canon.digest.value(), list)
    }

    fn canon<'a>(&self, renaming: &'a Renaming, appends: Appends) -> Canon<'a> {
        let (config, shared) = (&self.shared.config, &self.shared);
        let mut canon = Canon {
            digest: Digest::new(),
            nodes: &renaming.nodes,
            now: shared.now,
            longest: longest(config),
            issued: shared.writes.issued(),
            reported: shared.writes.reported(),
            appends,
            read: shared.read,
            round: shared.clock.round,
            appended: if let Role::Leader(leader) = &self.role { leader.appended_bytes } else { 0 },
            requests: BTreeMap::new(),
            draws: width(&config.election_timeout) > 1,
            timeless: renaming.timeless,
            plain: renaming.plain,
        };
        self.feed(&mut canon);
        canon
    }
}

/// The longest duration of the settings: all times further away count as equal. A duration that means "never" compares
/// no times.
fn longest(config: &Config) -> u64 {
    let delayed = nanos(config.election_timeout.end).saturating_add(nanos(config.priority_delay()));
    let others = [config.max_write_stall, config.snapshot_timeout].map(nanos);
    let longest = others.into_iter().filter(|&length| length != u64::MAX).fold(delayed, u64::max);
    // The longest duration itself differs from longer ones: some comparisons tell them apart.
    longest.saturating_add(1)
}
