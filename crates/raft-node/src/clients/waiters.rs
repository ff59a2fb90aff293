//! Requests whose log entry is not applied yet.
//!
//! The key is index **and term**. *With the index alone*, a client whose entry was replaced would get the reply of another
//! one. This file must not know what the entries contain.

use crate::interface::outputs::{NodeOutput, Outputs};
use crate::interface::requests::Reply;
use raft_core::{EntryId, LogIndex, RequestId, Term};
use std::collections::BTreeMap;

/// The waiting requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiters(BTreeMap<(LogIndex, Term), RequestId>);

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes that `entry` carries the request `id`.
    pub(crate) fn insert(&mut self, entry: EntryId, id: RequestId) {
        self.0.insert((entry.index, entry.term), id);
    }

    /// The node has applied `entry`. The request in it gets `reply`. Other requests up to its index are lost, because
    /// other entries replaced theirs.
    pub(crate) fn on_applied(&mut self, entry: EntryId, reply: &Reply, outputs: &mut Outputs) {
        while let Some(first) = self.0.first_entry()
            && first.key().0 <= entry.index
        {
            let (key, id) = first.remove_entry();
            let reply = if key == (entry.index, entry.term) { reply.clone() } else { Reply::Lost };
            outputs.push(NodeOutput::Reply { id, reply });
        }
    }

    /// The node installs a snapshot that covers everything up to `last`. It cannot know whether they contain the
    /// requests up to there.
    pub(crate) fn on_snapshot_installed(&mut self, last: LogIndex, outputs: &mut Outputs) {
        self.end(|index, _| index <= last, outputs);
    }

    /// The node no longer leads in `term`. Entries of that term and earlier ones may be applied later or never.
    pub(crate) fn on_leadership_lost(&mut self, term: Term, outputs: &mut Outputs) {
        self.end(|_, appended_in| appended_in <= term, outputs);
    }

    fn end(&mut self, is_unknown: impl Fn(LogIndex, Term) -> bool, outputs: &mut Outputs) {
        self.0.retain(|&(index, term), &mut id| {
            let is_unknown = is_unknown(index, term);
            outputs.extend(is_unknown.then_some(NodeOutput::Reply { id, reply: Reply::Unknown }));
            !is_unknown
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply to a request in entry 5@2 after this event.
    fn reply_after(event: impl FnOnce(&mut Waiters, &mut Outputs)) -> Option<Reply> {
        let (mut waiters, mut outputs) = (Waiters::default(), Vec::new());
        waiters.insert(EntryId::new(5, 2), RequestId(1));
        event(&mut waiters, &mut outputs);
        assert_eq!(waiters.0.len() + outputs.len(), 1, "one reply, or still waiting");
        outputs.pop().map(|output| match output {
            NodeOutput::Reply { id: RequestId(1), reply } => reply,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn replies_by_event() {
        let done = Reply::SessionExpired;
        for (index, term, expected) in [
            (4, 2, None),
            (5, 2, Some(done.clone())),
            (5, 1, Some(Reply::Lost)),
            (5, 3, Some(Reply::Lost)),
            (6, 3, Some(Reply::Lost)),
        ] {
            let reply = reply_after(|waiters, outputs| waiters.on_applied(EntryId::new(index, term), &done, outputs));
            assert_eq!(reply, expected, "{index}@{term} is applied");
        }
        for (number, expected) in [(1, None), (2, Some(Reply::Unknown)), (u64::MAX, Some(Reply::Unknown))] {
            let lost = reply_after(|waiters, outputs| waiters.on_leadership_lost(Term(number), outputs));
            assert_eq!(lost, expected, "leadership of term {number} is lost");
        }
        for (number, expected) in [(4, None), (5, Some(Reply::Unknown)), (6, Some(Reply::Unknown))] {
            let installed = reply_after(|waiters, outputs| waiters.on_snapshot_installed(LogIndex(number), outputs));
            assert_eq!(installed, expected, "a snapshot up to {number} is installed");
        }
    }
}
