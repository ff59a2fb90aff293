//! The canonical form of a state, which [`Raft::fingerprint`](crate::Raft::fingerprint) digests. Times are relative to
//! now, counters are relative to their newest value, nodes may be renamed, and an entry is represented by its id.
//!
//! Each type lists its fields beside its definition with `canonical!`, and the compiler rejects an incomplete list.
//! This file must not know the types.

use crate::digest::Digest;
use crate::id::{EntryId, LogIndex, NodeId, ReadId, RequestId, Round, Seq, Term, WriteId};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::hash::Hash;
use core::time::Duration;

/// An unfinished digest, with the origins of its numbers, times and names.
pub(crate) struct Canon<'a> {
    pub(crate) digest: Digest,
    /// The new name of each node; a node that is not here keeps its own.
    pub(crate) nodes: &'a BTreeMap<NodeId, NodeId>,
    pub(crate) now: Instant,
    /// Times that are further away than this count as equal.
    pub(crate) longest: u64,
    pub(crate) issued: WriteId,
    pub(crate) reported: WriteId,
    pub(crate) appends: Appends,
    pub(crate) read: ReadId,
    pub(crate) round: Round,
    /// The bytes that the leader has appended.
    pub(crate) appended: u64,
    /// The requests so far, each with its position.
    pub(crate) requests: BTreeMap<RequestId, u64>,
    /// Whether the jitter draws anything.
    pub(crate) draws: bool,
    /// Whether times do not count.
    pub(crate) timeless: bool,
    /// Whether echoes and marks do not count.
    pub(crate) plain: bool,
}

/// How the numbers of appends count.
pub(crate) enum Appends {
    /// By their distance from the newest append.
    FromNewest(Seq),
    /// Not at all: they go to a list, each with the receiver of the append.
    Listed { receiver: NodeId, list: Vec<(NodeId, Seq)> },
}

impl Canon<'_> {
    /// Adds a value unchanged.
    pub(crate) fn raw(&mut self, value: &impl Hash) {
        value.hash(&mut self.digest);
    }

    /// Adds the distance between two numbers.
    pub(crate) fn distance(&mut self, number: u64, from: u64) {
        self.raw(&from.wrapping_sub(number));
    }

    /// Notes who receives the appends whose numbers follow.
    pub(crate) fn receiver(&mut self, id: NodeId) {
        if let Appends::Listed { receiver, .. } = &mut self.appends {
            *receiver = id;
        }
    }

    fn name(&self, id: NodeId) -> NodeId {
        self.nodes.get(&id).copied().unwrap_or(id)
    }
}

/// A part of the state that has a canonical form.
pub(crate) trait Canonical {
    fn feed(&self, canon: &mut Canon<'_>);
}

/// Defines the canonical form of a type: its hash, or its fields in order, without those after `without`.
macro_rules! canonical {
    (hash of $($type:ty),*) => { $(impl $crate::canonical::Canonical for $type {
        fn feed(&self, canon: &mut $crate::canonical::Canon<'_>) {
            canon.raw(self);
        }
    })* };
    ($type:ty { $($field:ident),* $(,)? } $(without { $($skipped:ident),* $(,)? })?) => {
        impl $crate::canonical::Canonical for $type {
            fn feed(&self, canon: &mut $crate::canonical::Canon<'_>) {
                let Self { $($field,)* $($($skipped: _,)*)? } = self;
                $($crate::canonical::Canonical::feed($field, canon);)*
            }
        }
    };
}
pub(crate) use canonical;

canonical!(hash of bool, u64, Term, LogIndex, EntryId, Duration, Bytes);

impl Canonical for NodeId {
    fn feed(&self, canon: &mut Canon<'_>) {
        let name = canon.name(*self);
        canon.raw(&name);
    }
}

impl Canonical for Instant {
    fn feed(&self, canon: &mut Canon<'_>) {
        if canon.timeless {
            return canon.raw(&(*self == Self::NEVER));
        }
        let limit = i128::from(canon.longest);
        let away = i128::from(self.0) - i128::from(canon.now.0);
        let away = if *self == Self::NEVER { i128::MAX } else { away.clamp(-limit, limit) };
        canon.raw(&away);
    }
}

impl Canonical for WriteId {
    fn feed(&self, canon: &mut Canon<'_>) {
        // All durable writes count as equal; a write in flight counts by its position.
        let place = if *self <= canon.reported { u64::MAX } else { canon.issued.0.wrapping_sub(self.0) };
        canon.raw(&place);
    }
}

impl Canonical for Seq {
    fn feed(&self, canon: &mut Canon<'_>) {
        // 0 means that there is none, however many appends there have been.
        let is_none = *self == Self(0);
        canon.raw(&is_none);
        match &mut canon.appends {
            Appends::FromNewest(newest) => {
                let newest = newest.0;
                canon.distance(if is_none { newest } else { self.0 }, newest);
            }
            Appends::Listed { .. } if is_none => {}
            Appends::Listed { receiver, list } => list.push((*receiver, *self)),
        }
    }
}

impl Canonical for ReadId {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.distance(self.0, canon.read.0);
    }
}

impl Canonical for Round {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.distance(self.0, canon.round.0);
    }
}

impl Canonical for RequestId {
    fn feed(&self, canon: &mut Canon<'_>) {
        let next = canon.requests.len() as u64;
        let place = *canon.requests.entry(*self).or_insert(next);
        canon.raw(&place);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.is_some());
        self.iter().for_each(|value| value.feed(canon));
    }
}

impl<T: Canonical> Canonical for [T] {
    fn feed(&self, canon: &mut Canon<'_>) {
        canon.raw(&self.len());
        self.iter().for_each(|value| value.feed(canon));
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        self.as_slice().feed(canon);
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

/// Visits the nodes in the order of their new names.
impl<T: Canonical> Canonical for BTreeMap<NodeId, T> {
    fn feed(&self, canon: &mut Canon<'_>) {
        let named: BTreeMap<NodeId, (NodeId, &T)> =
            self.iter().map(|(&id, value)| (canon.name(id), (id, value))).collect();
        canon.raw(&named.len());
        for (name, (id, value)) in named {
            canon.raw(&name);
            canon.receiver(id);
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
