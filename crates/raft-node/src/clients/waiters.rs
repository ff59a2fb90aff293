//! Requests that wait for the entry that carries them to be applied.
//!
//! Keyed by index **and term**: by index alone, a client whose entry was replaced would be told another's answer. This
//! file must not know what the entries contain.

use crate::node::outputs::Reply;
use raft_core::{EntryId, LogIndex, RequestId, Term};
use std::collections::BTreeMap;

/// The waiting requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiters {
    waiting: BTreeMap<(LogIndex, Term), RequestId>,
}

impl Waiters {
    /// The request `id` is carried by `entry`.
    pub(crate) fn insert(&mut self, entry: EntryId, id: RequestId) {
        self.waiting.insert((entry.index, entry.term), id);
    }

    /// `entry` was applied and its answer is `reply`: whoever waits for this index learns it now, or that its own entry
    /// was replaced.
    pub(crate) fn applied(&mut self, entry: EntryId, reply: &Reply, answer: &mut impl FnMut(RequestId, Reply)) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= entry.index
        {
            let ((index, term), id) = first.remove_entry();
            let done = index == entry.index && term == entry.term;
            answer(id, if done { reply.clone() } else { Reply::Lost });
        }
    }

    /// The state will jump to a snapshot that covers everything up to `last`: what was appended up to there may be in it or
    /// not, which nobody can tell.
    pub(crate) fn on_snapshot_installed(&mut self, last: LogIndex, answer: &mut impl FnMut(RequestId, Reply)) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= last
        {
            answer(first.remove(), Reply::Unknown);
        }
    }

    /// Leadership of `term` is lost: what was appended in it, or before, may be applied later or never.
    pub(crate) fn leadership_lost(&mut self, term: Term, answer: &mut impl FnMut(RequestId, Reply)) {
        self.waiting.retain(|(_, appended_in), id| {
            let stays = *appended_in > term;
            if !stays {
                answer(*id, Reply::Unknown);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One waiter for 5@2; what it is told when this happens.
    fn told(what: impl FnOnce(&mut Waiters, &mut dyn FnMut(RequestId, Reply))) -> Option<Reply> {
        let mut waiters = Waiters::default();
        waiters.insert(EntryId::new(5, 2), RequestId(1));
        let mut replies = Vec::new();
        what(&mut waiters, &mut |id, reply| {
            assert_eq!(id, RequestId(1));
            replies.push(reply);
        });
        assert!(replies.len() <= 1, "answered once");
        assert_eq!(waiters.waiting.is_empty(), !replies.is_empty(), "answered or still waiting");
        replies.pop()
    }

    #[test]
    fn what_a_waiter_is_told() {
        let done = Reply::SessionExpired;
        let applied = |index, term| {
            let done = done.clone();
            told(move |waiters, mut answer| waiters.applied(EntryId::new(index, term), &done, &mut answer))
        };
        assert_eq!(applied(4, 2), None, "an entry before it");
        assert_eq!(applied(5, 2), Some(done.clone()), "its own");
        assert_eq!(applied(5, 1), Some(Reply::Lost), "another term at its index");
        assert_eq!(applied(5, 3), Some(Reply::Lost), "another term at its index");
        assert_eq!(applied(6, 3), Some(Reply::Lost), "passed without it");
        let lost = |term| told(move |waiters, mut answer| waiters.leadership_lost(Term(term), &mut answer));
        assert_eq!(lost(1), None, "it was appended in a later term");
        assert_eq!(lost(2), Some(Reply::Unknown));
        assert_eq!(lost(u64::MAX), Some(Reply::Unknown));
        let on_snapshot_installed =
            |last| told(move |waiters, mut answer| waiters.on_snapshot_installed(LogIndex(last), &mut answer));
        assert_eq!(on_snapshot_installed(4), None, "the snapshot ends before it");
        assert_eq!(on_snapshot_installed(5), Some(Reply::Unknown));
        assert_eq!(on_snapshot_installed(6), Some(Reply::Unknown));
    }
}
