//! A leader that has appends in flight to a peer takes them back when the peer refuses one of them: it sends from an earlier
//! position again (Raft §5.3, Thesis §10.2.1).
//!
//! A refusal says that the entry before its append is missing there, so the appends before it are lost or late. A refusal of an
//! append from before the pipeline began, or of an entry that the peer has acknowledged meanwhile, is obsolete.
//!
//! First to catch: a window that stays closed, because no answer can come to lost appends. It backs up no other checker: nothing
//! that Raft promises is broken, but the peer falls behind forever.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{NodeView, RecordKind};
use raft_core::{AppendEntriesResponse, AppendOutcome, NodeId, PeerState, RoleKind, Rpc, Seq, Term};
use std::collections::BTreeMap;

const NAME: &str = "pipeline";

#[derive(Clone, Default)]
pub(super) struct Pipeline {
    /// The appends of each leader to each peer.
    streams: BTreeMap<(NodeId, NodeId), Stream>,
}

/// The appends of a leader to a peer in one term.
#[derive(Clone, Copy, Default)]
struct Stream {
    term: Term,
    /// The newest append.
    sent: Seq,
    /// The newest append that was not part of the present pipeline.
    before: Seq,
}

impl Pipeline {
    /// The stream to this peer. All appends up to now are from before the pipeline, while there is none.
    fn stream(&mut self, view: &NodeView, leader: NodeId, peer: NodeId, newest: Option<Seq>) -> &mut Stream {
        let stream = self.streams.entry((leader, peer)).or_default();
        if stream.term != view.term {
            *stream = Stream { term: view.term, ..Stream::default() };
        }
        stream.sent = stream.sent.max(newest.unwrap_or_default());
        if view.internals.0.peers.get(&peer).is_none_or(|peer| peer.state != PeerState::Replicate) {
            stream.before = stream.sent;
        }
        stream
    }

    /// What is wrong if the leader goes on after this answer as if nothing was refused.
    fn answered(
        &mut self,
        view: &NodeView,
        leader: NodeId,
        from: NodeId,
        response: &AppendEntriesResponse,
    ) -> Option<String> {
        let AppendEntriesResponse { term, seq, outcome, .. } = *response;
        let stream = self.stream(view, leader, from, None);
        let AppendOutcome::Mismatch { prev, .. } = outcome else { return None };
        let peer = view.internals.0.peers.get(&from)?;
        let is_current =
            term == view.term && seq > stream.before && seq <= stream.sent && prev.index > peer.match_index;
        (is_current && prev.index < peer.next_index).then(|| {
            let next = peer.next_index;
            format!("{from} refuses append {seq} of {leader}, which follows {prev}, and {leader} goes on from {next}")
        })
    }
}

impl Property for Pipeline {
    fn check(&mut self, _ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.record.node?);
        let view = record.view.as_ref().filter(|view| view.role == RoleKind::Leader)?;
        match &record.kind {
            RecordKind::Sent { to, rpc: Rpc::AppendEntries(append), .. } => {
                self.stream(view, node, *to, Some(append.seq));
                None
            }
            RecordKind::Received { from, rpc: Rpc::AppendEntriesResponse(response) } => {
                let words = self.answered(view, node, *from, response)?;
                Some(fact.contradicts(NAME, record.number, words))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{AppendEntries, EntryId, LogIndex, PeerStatus};
    use std::time::Duration;

    /// What n1 knows of n2 after its next step.
    fn peer(script: &mut Script, state: PeerState, next: u64) {
        let status = PeerStatus {
            match_index: LogIndex(2),
            next_index: LogIndex(next),
            state,
            inflight_messages: 0,
            inflight_bytes: 0,
            snapshot: None,
        };
        script.step(1, |view| {
            view.internals.0.peers.insert(NodeId(2), status);
        });
    }

    fn send(script: &mut Script, seq: u64) {
        let Rpc::AppendEntries(rpc) = append(2, EntryId::new(2, 2), 2, vec![]) else { panic!("it is an append") };
        script.send(1, 2, Rpc::AppendEntries(AppendEntries { seq: Seq(seq), ..rpc }));
    }

    /// n2 refuses an append that follows this entry.
    fn refuse(script: &mut Script, seq: u64, prev: u64) {
        let outcome = AppendOutcome::Mismatch { prev: EntryId::new(prev, 2), hint: EntryId::new(2, 2) };
        let (term, seq, stickiness) = (Term(2), Seq(seq), Duration::ZERO);
        let rpc = AppendEntriesResponse { term, seq, outcome, stickiness, no_space: false };
        script.push(Some(1), RecordKind::Received { from: NodeId(2), rpc: Rpc::AppendEntriesResponse(rpc) });
    }

    /// n1 has probed with append 2, and sends a pipeline of appends from 3 on.
    fn pipeline() -> Script {
        let mut script = Script::led();
        peer(&mut script, PeerState::Probe, 3);
        send(&mut script, 2);
        peer(&mut script, PeerState::Replicate, 6);
        (3..=5).for_each(|seq| send(&mut script, seq));
        script
    }

    #[test]
    fn a_leader_that_goes_on_after_a_refusal_fires() {
        let mut script = pipeline();
        refuse(&mut script, 4, 4);
        assert_fires(Pipeline::default(), NAME, &script, "n2 refuses append s4 of n1, which follows 4@2");
    }

    #[test]
    fn a_refusal_that_is_obsolete_is_silent() {
        for (seq, prev) in [(2, 4), (4, 2), (9, 4)] {
            let mut script = pipeline();
            refuse(&mut script, seq, prev);
            assert_silent(Pipeline::default(), &script);
        }
    }

    #[test]
    fn a_leader_that_goes_back_is_silent() {
        let mut script = pipeline();
        peer(&mut script, PeerState::Probe, 3);
        refuse(&mut script, 4, 4);
        peer(&mut script, PeerState::Replicate, 6);
        // A second refusal of the same pipeline.
        refuse(&mut script, 5, 5);
        assert_silent(Pipeline::default(), &script);
    }
}
