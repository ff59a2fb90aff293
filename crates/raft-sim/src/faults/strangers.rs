//! Messages of a stranger on the wire: garbage, and well-formed messages that no peer has sent.
//!
//! A node refuses a caller of another cluster, a caller that wants to reach another node, and one that is no peer
//! ([`raft_node::CallerIds`]), whatever the message says. So those messages are as harmful as the stranger can make them:
//! votes, appends and snapshots of the next term. A stranger that passes as a member is beyond what Raft survives: a
//! valid message counts as that member's. What remains is that the core and the node refuse each message whose numbers
//! no peer can send (rule R44): such messages come from members here.
//!
//! The checker `stranger_refused` demands that none of them changes the node.

use crate::faults::swarm::only;
use crate::faults::{Fault, list};
use crate::rng::{Draw, Site};
use crate::scenario::model::{Forgery, StepAction};
use crate::world::{Event, NodeEvent, World};
use crate::world::{Forged, Packet};
use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Configuration, Entry, EntryId, LogIndex, MAX_NUMBER, NodeId,
    Payload, PreVote, PreVoteResponse, RejectReason, RequestVote, RequestVoteResponse, Round, Rpc, Seq, SnapshotMeta,
    Status, Term, TimeoutNow, Vote,
};
use raft_node::{
    ForwardId, ForwardedReply, ForwardedRequest, LeaderRequest, Reply, SnapshotChunk, SnapshotMessage,
    SnapshotProgress, SnapshotState,
};
use raft_store::ClusterId;
use std::collections::BTreeSet;
use std::time::Duration;

const STRANGER: Site = Site::new("stranger");

/// The cluster of a stranger.
const OTHER: ClusterId = ClusterId(*b"another  cluster");

const BIG: u64 = u64::MAX;

/// The choices of one message.
const CHOICES: u64 = 32;

/// The most messages that a swarm's stranger sends at a time.
const MOST: u64 = 8;

/// The kinds of messages: garbage, of another cluster, of no peer, to another node, with impossible numbers.
const KINDS: u64 = 5;

impl World {
    /// A stranger sends drawn messages to each of these nodes, or some of each kind.
    pub(crate) fn stranger_step(&mut self, nodes: &BTreeSet<NodeId>, messages: Option<Forgery>, n: u64) {
        self.emit_fault(format!("a stranger sends to {}", list(nodes)));
        for &node in nodes {
            let Some(Forgery { count, key }) = messages else {
                (0..KINDS * 4).for_each(|message| self.forge(node, (node.0 << 32) + n, message, message % KINDS));
                continue;
            };
            for message in 0..count {
                let kind = self.choices.draw(STRANGER, key, message * CHOICES).below(KINDS);
                self.forge(node, key, message, kind);
            }
        }
    }

    pub(crate) fn swarm_stranger(&mut self, n: u64) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(300_000)).unwrap_or(drawn);
        let messages = Forgery { count: 1 + self.detail(n, 2).below(MOST), key: n };
        self.strike(StepAction::Stranger { nodes: only(node), messages: Some(messages) }, None);
    }

    /// Plans the arrival of a forged message of this kind.
    fn forge(&mut self, node: NodeId, n: u64, message: u64, kind: u64) {
        self.fault_counts.inject(Fault::Stranger);
        let at = |place| message * CHOICES + place;
        let mut draw = |place| self.choices.draw(STRANGER, n, at(place));
        let [which, member, later, length] = [draw(1), draw(2), draw(3), draw(4)];
        let words: Vec<u64> = (0..8).map(|word| draw(8 + word).bits()).collect();
        let Some(host) = self.hosts.get(&node) else { return };
        let Some(process) = &host.process else { return };
        let (status, cluster, count) = (process.node.status(), host.cluster, self.scenario.nodes);
        // With one node there is no member to pass as.
        let outsider = [node.0, 0, count + 1, BIG][member.below(4) as usize];
        let peer = if count > 1 { (node.0 + member.below(count - 1)) % count + 1 } else { outsider };
        let other_node = NodeId(node.0 % 9 + 1);
        let (cluster, from, to, packet) = match kind {
            0 => {
                let packet = garbage(which, length, &words);
                // Garbage that can be decoded after all does not pass as a member's.
                let from = if packet.decode(NodeId(peer)).is_ok() { outsider } else { peer };
                (cluster, from, node, packet)
            }
            1 => (OTHER, peer, node, harmful(&status, which)),
            2 => (cluster, outsider, node, harmful(&status, which)),
            3 => (cluster, peer, other_node, harmful(&status, which)),
            _ => (cluster, peer, node, impossible(&status, which)),
        };
        let forged = Forged { cluster, from: NodeId(from), to, packet };
        let delay = later.in_range(&(Duration::ZERO..Duration::from_millis(20)));
        self.plan_after(delay, Event::Node(node, NodeEvent::Forged(forged)));
    }
}

fn garbage(which: Draw, length: Draw, words: &[u64]) -> Packet {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(length.below(1 + bytes.len() as u64) as usize);
    let bytes = Bytes::from(bytes);
    match which.below(4) {
        0 => Packet::Rpc(bytes),
        1 => Packet::Snapshot(bytes),
        2 => Packet::ForwardedRequest(bytes),
        _ => Packet::ForwardedReply(bytes),
    }
}

fn append(term: Term, seq: u64, prev: EntryId, commit: u64, entries: &[(u64, Term)]) -> Rpc {
    let entry = |(index, term): &(u64, Term)| Entry { id: EntryId::new(*index, term.0), payload: Payload::Noop };
    let (seq, leader_commit) = (Seq(seq), LogIndex(commit));
    Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, entries: entries.iter().map(entry).collect() })
}

fn answer(term: Term, seq: u64, outcome: AppendOutcome) -> Rpc {
    let stickiness = Duration::from_nanos(BIG);
    Rpc::AppendEntriesResponse(AppendEntriesResponse { term, seq: Seq(seq), outcome, stickiness, no_space: true })
}

fn chunk(term: u64, last: EntryId, configured_at: EntryId, (size, offset): (u64, u64)) -> Packet {
    let configuration = Configuration::of_voters([NodeId(1)]);
    let meta = SnapshotMeta { last, configuration, configured_at };
    let bytes = Bytes::from_static(b"stranger");
    let chunk = SnapshotChunk { term: Term(term), meta, size, checksum: 7, offset, bytes };
    Packet::of_snapshot(&SnapshotMessage::Chunk(chunk))
}

/// A valid message that would change the node if it came from a peer.
fn harmful(status: &Status, which: Draw) -> Packet {
    let (term, last, next) = (status.term, status.last, status.term.next());
    let most = EntryId::new(MAX_NUMBER, next.0);
    let rpc = match which.below(10) {
        0 => Rpc::RequestVote(RequestVote { term: next, last: most, transfer: true }),
        1 => Rpc::RequestVote(RequestVote { term: Term(MAX_NUMBER), last: most, transfer: true }),
        2 => append(next, 1, EntryId::ZERO, 1, &[(1, next)]),
        3 => append(next, 1, last, last.index.0, &[(last.index.0 + 1, next)]),
        4 => answer(term, 1, AppendOutcome::Matched { index: last.index }),
        5 => Rpc::RequestVoteResponse(RequestVoteResponse { term, vote: Vote::Granted }),
        6 => Rpc::RequestVoteResponse(RequestVoteResponse { term: next, vote: Vote::Granted }),
        7 => Rpc::TimeoutNow(TimeoutNow { term, last }),
        8 => return chunk(next.0, EntryId::new(last.index.0 + 9, next.0), EntryId::new(1, 1), (8, 0)),
        _ => {
            let id = ForwardId { origin: 1, number: 1 };
            return Packet::of_forwarded(ForwardedRequest { id, request: LeaderRequest::OpenSession });
        }
    };
    Packet::of_rpc(&rpc)
}

/// A message with numbers that no peer can send.
fn impossible(status: &Status, which: Draw) -> Packet {
    let (term, last, next) = (status.term, status.last, status.term.next());
    let over = Term(MAX_NUMBER + 1);
    let request = |term, last| Rpc::RequestVote(RequestVote { term, last, transfer: true });
    let pre_vote = |term, last| Rpc::PreVote(PreVote { term, round: Round(BIG), last });
    let rpc = match which.below(26) {
        0 => pre_vote(Term(BIG), last),
        1 => pre_vote(next, EntryId::new(0, 1)),
        2 => request(over, last),
        3 => request(next, EntryId::new(last.index.0 + 1, BIG)),
        4 => request(next, EntryId::new(BIG, 1)),
        5 => Rpc::TimeoutNow(TimeoutNow { term: next, last: EntryId::new(BIG, 1) }),
        6 => Rpc::TimeoutNow(TimeoutNow { term: Term(BIG), last }),
        7 => append(next, 0, last, last.index.0, &[]),
        8 => append(next, BIG, EntryId::ZERO, BIG, &[]),
        9 => append(next, 1, EntryId::new(BIG, 1), 0, &[(0, next)]),
        10 => append(next, 1, EntryId::new(0, 1), 0, &[]),
        11 => append(next, 1, EntryId::ZERO, 3, &[(1, next), (3, next)]),
        12 => append(next, 1, EntryId::ZERO, 1, &[(1, next.next())]),
        13 => append(next, 1, EntryId::ZERO, 2, &[(1, next), (2, term)]),
        14 => append(over, 1, EntryId::ZERO, 1, &[(1, over)]),
        15 => append(next, 1, EntryId::new(MAX_NUMBER, 1), 1, &[(MAX_NUMBER + 1, next)]),
        16 => answer(term, BIG, AppendOutcome::Matched { index: LogIndex(BIG) }),
        17 => answer(term, BIG, AppendOutcome::Mismatch { prev: EntryId::new(1, BIG), hint: EntryId::new(BIG, BIG) }),
        18 => answer(Term(BIG), 1, AppendOutcome::StaleTerm),
        19 => Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(BIG), vote: Vote::Granted }),
        20 => Rpc::PreVoteResponse(PreVoteResponse { term: over, round: Round(BIG), vote: Vote::Granted }),
        21 => return chunk(BIG, EntryId::new(BIG, BIG), EntryId::new(1, 1), (BIG, 0)),
        22 => return chunk(next.0, EntryId::new(last.index.0 + 9, next.0), EntryId::new(BIG, 1), (8, 0)),
        23 => return chunk(next.0, EntryId::new(last.index.0 + 9, BIG), EntryId::new(1, 1), (BIG, BIG - 3)),
        24 => {
            let (last, state) = (EntryId::new(BIG, BIG), SnapshotState::Wants(BIG));
            let progress = SnapshotProgress { term: Term(BIG), last, checksum: 7, state };
            return Packet::of_snapshot(&SnapshotMessage::Progress(progress));
        }
        _ => {
            let reply = Reply::Rejected { reason: RejectReason::Busy };
            return Packet::of_reply(ForwardedReply { id: ForwardId { origin: BIG, number: BIG }, reply });
        }
    };
    Packet::of_rpc(&rpc)
}
