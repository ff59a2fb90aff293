//! A second digest, for exploring: equal for two states that differ only in what cannot matter to what happens next. Time
//! counts from now on, numbers that only grow count back from the newest, nodes may change names, and an entry is known by
//! its id. The first, [`Digest`], tells any two states apart.
//!
//! Each type lists its fields beside its definition, by `canonical!`, and the compiler refuses a list that lacks one.

use crate::action::{HardState, StopReason};
use crate::config::Config;
use crate::digest::Digest;
use crate::entry::{Entries, Entry};
use crate::id::{EntryId, LogIndex, NodeId, ReadId, RequestId, Round, Seq, Term, WriteId};
use crate::raft::Raft;
use crate::role::Role;
use crate::snapshot::InstallMode;
use crate::status::{PeerState, RoleKind};
use crate::time::{Instant, nanos, width};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::hash::Hash;
use core::time::Duration;

/// What a fingerprint is taken with: other names for the nodes, and what only the whole world knows.
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
    /// The canonical digest. States that differ only in the absolute time, in how many writes, appends and readings there
    /// have been, in the host's request ids (not their order), in the jitter if there is none to draw, or in the payloads
    /// of equal entries are equal; and so are states that the renaming makes equal.
    pub fn fingerprint(&self, renaming: &Renaming) -> u128 {
        let (config, shared) = (&self.shared.config, &self.shared);
        let newest = match &self.role {
            Role::Leader(leader) => Some(leader.seq),
            _ => renaming.newest.get(&shared.term()).copied(),
        };
        let mut canon = Canon {
            digest: Digest::new(),
            renaming,
            now: shared.now,
            longest: longest(config),
            issued: shared.writes.issued(),
            reported: shared.writes.reported(),
            newest: newest.unwrap_or_default(),
            read: shared.read(),
            round: self.round,
            appended: if let Role::Leader(leader) = &self.role { leader.appended_bytes } else { 0 },
            requests: BTreeMap::new(),
            draws: width(&config.election_timeout) > 1,
        };
        self.feed(&mut canon);
        canon.digest.value()
    }
}

/// The longest duration of the settings: further away than that, all times are alike.
fn longest(config: &Config) -> u64 {
    let priority_delay = nanos(config.election_timeout.end).saturating_add(nanos(config.priority_delay()));
    let longest =
        [priority_delay, nanos(config.max_write_stall), nanos(config.snapshot_timeout)].into_iter().fold(0, u64::max);
    // Just as long and longer are not alike: some comparisons tell them apart.
    longest.saturating_add(1)
}

/// What a state is fed into.
pub(crate) struct Canon<'a> {
    digest: Digest,
    renaming: &'a Renaming,
    now: Instant,
    longest: u64,
    issued: WriteId,
    reported: WriteId,
    newest: Seq,
    read: ReadId,
    round: Round,
    appended: u64,
    requests: BTreeMap<RequestId, u64>,
    draws: bool,
}

impl Canon<'_> {
    fn raw(&mut self, value: &impl Hash) {
        value.hash(&mut self.digest);
    }

    fn name(&self, id: NodeId) -> NodeId {
        self.renaming.nodes.get(&id).copied().unwrap_or(id)
    }

    /// What the next draw depends on, unless there is nothing to draw.
    pub(crate) fn jitter(&mut self, state: &impl Hash) {
        if self.draws {
            self.raw(state);
        }
    }

    /// Bytes that a leader had appended, by how many it has appended since.
    pub(crate) fn appended_since(&mut self, bytes: u64) {
        let appended = self.appended;
        self.distance(bytes, appended);
    }

    /// A number that counts only against another.
    fn distance(&mut self, number: u64, from: u64) {
        self.raw(&from.wrapping_sub(number));
    }
}

/// A part of the state that can be fed.
pub(crate) trait Canonical {
    fn feed(&self, canon: &mut Canon<'_>);
}

/// Feeds the fields that are named; those after `without` are left out, for the reason said there.
macro_rules! canonical {
    ($type:ty { $($field:ident),* $(,)? } $(without { $($skipped:ident),* $(,)? })?) => {
        impl $crate::fingerprint::Canonical for $type {
            fn feed(&self, canon: &mut $crate::fingerprint::Canon<'_>) {
                let Self { $($field,)* $($($skipped: _,)*)? } = self;
                $($crate::fingerprint::Canonical::feed($field, canon);)*
            }
        }
    };
}
pub(crate) use canonical;

macro_rules! as_it_is {
    ($($type:ty),*) => { $(impl Canonical for $type {
        fn feed(&self, canon: &mut Canon<'_>) {
            canon.raw(self);
        }
    })* };
}

as_it_is!(bool, u64, Term, LogIndex, EntryId, Duration, Bytes, PeerState, RoleKind, InstallMode, StopReason);

impl Canonical for NodeId {
    fn feed(&self, canon: &mut Canon<'_>) {
        let name = canon.name(*self);
        canon.raw(&name);
    }
}

impl Canonical for Instant {
    fn feed(&self, canon: &mut Canon<'_>) {
        let limit = i128::from(canon.longest);
        let away = i128::from(self.0) - i128::from(canon.now.0);
        let away = if *self == Self::NEVER { i128::MAX } else { away.clamp(-limit, limit) };
        canon.raw(&away);
    }
}

impl Canonical for WriteId {
    fn feed(&self, canon: &mut Canon<'_>) {
        // What is durable is alike; what is in flight counts by its place.
        let place = if *self <= canon.reported { u64::MAX } else { canon.issued.0.wrapping_sub(self.0) };
        canon.raw(&place);
    }
}

impl Canonical for Seq {
    fn feed(&self, canon: &mut Canon<'_>) {
        let newest = canon.newest.0;
        // None yet is none, however many there have been.
        canon.raw(&(*self == Self(0)));
        canon.distance(if *self == Self(0) { newest } else { self.0 }, newest);
    }
}

impl Canonical for ReadId {
    fn feed(&self, canon: &mut Canon<'_>) {
        let newest = canon.read.0;
        canon.distance(self.0, newest);
    }
}

impl Canonical for Round {
    fn feed(&self, canon: &mut Canon<'_>) {
        let newest = canon.round.0;
        canon.distance(self.0, newest);
    }
}

impl Canonical for RequestId {
    fn feed(&self, canon: &mut Canon<'_>) {
        let next = canon.requests.len() as u64;
        let place = *canon.requests.entry(*self).or_insert(next);
        canon.raw(&place);
    }
}

impl Canonical for Config {
    fn feed(&self, canon: &mut Canon<'_>) {
        self.id.feed(canon);
        let seed = if canon.draws { self.seed } else { 0 };
        canon.raw(&Self { id: NodeId(0), seed, ..self.clone() });
    }
}

impl Canonical for Entry {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.id);
    }
}

impl Canonical for Entries {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.len());
        self.iter().for_each(|entry| entry.feed(canon));
    }
}

impl Canonical for HardState {
    fn feed(&self, canon: &mut Canon<'_>) {
        let Self { term, voted_for } = self;
        term.feed(canon);
        voted_for.feed(canon);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.is_some());
        self.iter().for_each(|value| value.feed(canon));
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.len());
        self.iter().for_each(|value| value.feed(canon));
    }
}

impl<T: Canonical> Canonical for VecDeque<T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.len());
        self.iter().for_each(|value| value.feed(canon));
    }
}

impl<A: Canonical, B: Canonical> Canonical for (A, B) {
    fn feed(&self, canon: &mut Canon<'_>) {
        self.0.feed(canon);
        self.1.feed(canon);
    }
}

impl<T: Canonical> Canonical for BTreeMap<LogIndex, T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.len());
        for (index, value) in self {
            index.feed(canon);
            value.feed(canon);
        }
    }
}

/// In the order of the names they are counted by.
impl<T: Canonical> Canonical for BTreeMap<NodeId, T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        let named: BTreeMap<NodeId, &T> = self.iter().map(|(&id, value)| (canon.name(id), value)).collect();
        canon.raw(&named.len());
        for (name, value) in named {
            canon.raw(&name);
            value.feed(canon);
        }
    }
}

impl Canonical for BTreeSet<NodeId> {
    fn feed(&self, canon: &mut Canon<'_>) {
        let named: BTreeSet<NodeId> = self.iter().map(|&id| canon.name(id)).collect();
        canon.raw(&named);
    }
}

impl Canonical for Role {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.kind());
        match self {
            Self::Follower(role) => role.feed(canon),
            Self::PreCandidate(role) => role.feed(canon),
            Self::Candidate(role) => role.feed(canon),
            Self::Leader(role) => role.feed(canon),
            Self::Stopped(reason) => reason.feed(canon),
        }
    }
}
