//! Messages between nodes: their sending as bytes, their delivery, and their connection.
//!
//! A peer opens a connection before its first message. The receiver's disk then looks up the disk that the peer had
//! when it first connected, and records it if it is new. Messages wait until the entry is durable. If the peer has
//! another disk than before, it has forgotten its promises, and the receiver drops all of its messages. A connection
//! lasts as long as the two processes, even while links are cut. A node refuses the messages of another cluster.

// A new kind of message needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use super::{Emission, Event, NodeEvent, World};
use crate::faults::Fault;
use crate::record::{RecordKind, SimTime, Verdict, explain};
use crate::rng::{Site, link_key};
use crate::world::host::{Caller, Connection, Host, RecordedInput};
use crate::world::network::{
    Copy, FORWARDED_REPLY, FORWARDED_REQUEST, INSTALL_SNAPSHOT, INSTALL_SNAPSHOT_RESPONSE, Sending,
};
use bytes::Bytes;
use prost::Message;
use raft_core::{NodeId, RequestId, Rpc};
use raft_node::{CallerIds, CallerRefusal, ForwardedReply, ForwardedRequest, NodeInput, SnapshotMessage};
use raft_proto::DecodeError;
use raft_proto::wire::raft as wire;
use raft_store::{ClusterId, DiskId, Identity, PeerCheck};
use std::time::Duration;

const NOTICED: Site = Site::new("loss noticed");
const NOTICED_LATER: Site = Site::new("loss noticed later");
const NOT_FORWARDED: Site = Site::new("not forwarded");

/// A message in flight. It consists of bytes, so that the encoding is part of every run.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    copy: Copy,
    packet: Packet,
    /// When it arrives, unless it has to wait for messages of higher priority.
    due: SimTime,
    /// The record of its sending.
    cause: u64,
    /// The sender's start, its disk, and its cluster.
    incarnation: u64,
    disk: DiskId,
    cluster: ClusterId,
}

/// A message that no node has sent, with the ids that its sender names.
#[derive(Clone, Debug)]
pub(crate) struct Forged {
    pub(crate) cluster: ClusterId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) packet: Packet,
}

#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Rpc(Bytes),
    Snapshot(Bytes),
    ForwardedRequest(Bytes),
    ForwardedReply(Bytes),
}

impl Packet {
    /// The input that it brings, and the record that shows it.
    pub(crate) fn decode(&self, from: NodeId) -> Result<(RecordKind, NodeInput), DecodeError> {
        Ok(match self {
            Self::Rpc(bytes) => {
                let rpc = raft_proto::decode_rpc(bytes.clone())?;
                (RecordKind::Received { from, rpc: rpc.clone() }, NodeInput::Receive { from, rpc })
            }
            Self::Snapshot(bytes) => {
                let message = raft_proto::decode_snapshot_message(bytes.clone())?;
                let kind = RecordKind::SnapshotHeard { from, message: message.clone() };
                (kind, NodeInput::SnapshotMessage { from, message })
            }
            Self::ForwardedRequest(bytes) => {
                let request = ForwardedRequest::try_from(wire::ForwardedRequest::decode(bytes.clone())?)?;
                let kind = RecordKind::ForwardedRequestReceived { from, request: request.clone() };
                (kind, NodeInput::ForwardedRequest { from, request })
            }
            Self::ForwardedReply(bytes) => {
                let reply = ForwardedReply::try_from(wire::ForwardedReply::decode(bytes.clone())?)?;
                let kind = RecordKind::ForwardedReplyReceived { from, reply: reply.clone() };
                (kind, NodeInput::ForwardedReply { from, reply })
            }
        })
    }

    pub(crate) fn of_rpc(rpc: &Rpc) -> Self {
        Self::Rpc(raft_proto::encode_rpc(rpc).into())
    }

    pub(crate) fn of_snapshot(message: &SnapshotMessage) -> Self {
        Self::Snapshot(raft_proto::encode_snapshot_message(message).into())
    }

    pub(crate) fn of_forwarded(request: ForwardedRequest) -> Self {
        Self::ForwardedRequest(wire::ForwardedRequest::from(request).encode_to_vec().into())
    }

    pub(crate) fn of_reply(reply: ForwardedReply) -> Self {
        Self::ForwardedReply(wire::ForwardedReply::from(reply).encode_to_vec().into())
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Rpc(bytes) | Self::Snapshot(bytes) | Self::ForwardedRequest(bytes) | Self::ForwardedReply(bytes) => {
                bytes
            }
        }
    }
}

impl Delivery {
    pub(crate) const fn is_about_snapshot(&self) -> bool {
        matches!(self.packet, Packet::Snapshot(_))
    }
}

impl World {
    pub(super) fn send(&mut self, host: &Host, input: u64, to: NodeId, rpc: Rpc) {
        let (up, link) = (self.is_up(to), (host.id, to));
        let sending = self.network.send(&mut self.choices, &mut self.fault_counts, link, rpc.kind(), up);
        let bytes = sending.copies[0].map(|_| Packet::of_rpc(&rpc));
        let verdict = sending.verdict;
        let cause = self.emit(Some(input), Some(host.id), RecordKind::Sent { to, rpc, verdict });
        self.notice_loss(host.id, to, verdict, cause);
        self.plan_deliveries(host, &sending, bytes, cause);
    }

    /// Sends a message about a snapshot. Chunks take longer than other messages, and are lost more often.
    pub(super) fn send_snapshot(&mut self, host: &Host, input: u64, to: NodeId, message: SnapshotMessage) {
        let (up, link) = (self.is_up(to), (host.id, to));
        let (choices, fault_counts) = (&mut self.choices, &mut self.fault_counts);
        let sending = match &message {
            SnapshotMessage::Chunk(chunk) if chunk.bytes.is_empty() => {
                self.network.send(choices, fault_counts, link, INSTALL_SNAPSHOT, up)
            }
            SnapshotMessage::Chunk(_) => self.network.send_snapshot(choices, fault_counts, link, up),
            SnapshotMessage::Progress(_) => {
                self.network.send(choices, fault_counts, link, INSTALL_SNAPSHOT_RESPONSE, up)
            }
        };
        let bytes = sending.copies[0].map(|_| Packet::of_snapshot(&message));
        let verdict = sending.verdict;
        let cause = self.emit(Some(input), Some(host.id), RecordKind::SnapshotSaid { to, message, verdict });
        self.plan_deliveries(host, &sending, bytes, cause);
    }

    /// Forwards a request. It arrives at most once, and half of the time the transport finds out at once that it sends nothing.
    pub(super) fn forward(
        &mut self,
        host: &Host,
        input: u64,
        (id, to): (RequestId, NodeId),
        request: ForwardedRequest,
    ) {
        let (up, link) = (self.is_up(to), (host.id, to));
        let mut sending = self.network.send(&mut self.choices, &mut self.fault_counts, link, FORWARDED_REQUEST, up);
        if sending.copies[1].take().is_some() {
            sending.verdict = Verdict::Delivered { copies: 1 };
        }
        let (verdict, forwarded) = (sending.verdict, request.id);
        let packet = Packet::of_forwarded(request.clone());
        let cause = self.emit(Some(input), Some(host.id), RecordKind::RequestForwarded { id, to, request, verdict });
        if sending.copies[0].is_none() && self.choices.draw(NOT_FORWARDED, host.id.0, id.0).chance_ppm(500_000) {
            let (incarnation, id) = (host.incarnation, forwarded);
            self.plan(self.now, Event::Node(host.id, NodeEvent::NotForwarded { incarnation, id, cause }));
        }
        self.plan_deliveries(host, &sending, Some(packet), cause);
    }

    pub(super) fn send_forwarded_reply(&mut self, host: &Host, input: u64, to: NodeId, reply: ForwardedReply) {
        let (up, link) = (self.is_up(to), (host.id, to));
        let sending = self.network.send(&mut self.choices, &mut self.fault_counts, link, FORWARDED_REPLY, up);
        let verdict = sending.verdict;
        let packet = Packet::of_reply(reply.clone());
        let cause = self.emit(Some(input), Some(host.id), RecordKind::ForwardedReplySent { to, reply, verdict });
        self.plan_deliveries(host, &sending, Some(packet), cause);
    }

    fn plan_deliveries(&mut self, host: &Host, sending: &Sending, packet: Option<Packet>, cause: u64) {
        let (incarnation, disk, cluster) = (host.incarnation, host.disk_id(), host.cluster);
        for copy in sending.copies.into_iter().flatten() {
            if let Some(packet) = packet.clone() {
                let due = self.now.after(copy.delay);
                self.network.planned(&mut self.choices, copy.link, due);
                let delivery = Delivery { copy, packet, due, cause, incarnation, disk, cluster };
                self.plan(due, Event::Node(copy.link.1, NodeEvent::Deliver(delivery)));
            }
        }
    }

    /// Handles a lost message: the sender's transport may notice the loss, some time later.
    fn notice_loss(&mut self, from: NodeId, peer: NodeId, verdict: Verdict, cause: u64) {
        let is_lost = !matches!(verdict, Verdict::Delivered { .. });
        let ppm = self.network.unreachable_ppm((from, peer));
        let (key, message) = (link_key(from, peer), self.network.sent((from, peer)));
        if is_lost && ppm > 0 && self.choices.draw(NOTICED, key, message).chance_ppm(ppm) {
            let late = Duration::ZERO..self.scenario.raft.election_timeout.end;
            let delay = self.choices.draw(NOTICED_LATER, key, message).in_range(&late);
            self.plan_after(delay, Event::Node(from, NodeEvent::Unreachable { peer, cause }));
        }
    }

    /// Loses all messages of peers that are in flight to this node.
    pub(crate) fn lose_messages_to(&mut self, node: NodeId) {
        self.queue.retain(|event| !matches!(event, Event::Node(to, NodeEvent::Deliver(_)) if *to == node));
    }

    pub(super) fn deliver(&mut self, host: &mut Host, delivery: Delivery) {
        let place = (delivery.copy.link, delivery.due, self.now);
        if let Some(at) = self.network.waits_until(&mut self.choices, &mut self.fault_counts, place) {
            return self.plan(at, Event::Node(host.id, NodeEvent::Deliver(delivery)));
        }
        let Delivery { copy, packet, cause, incarnation, disk, cluster, .. } = delivery;
        let from = copy.link.0;
        self.network.arrived(&mut self.fault_counts, &copy);
        let message = Forged { cluster, from, to: copy.link.1, packet };
        if let Some((kind, input)) = self.check_message(host, Some(cause), message) {
            self.receive(host, from, (incarnation, disk), RecordedInput::new(Some(cause), kind, input));
        }
    }

    /// Handles a message of a stranger, who knows the disks of members as well as their ids.
    pub(super) fn meet_stranger(&mut self, host: &mut Host, message: Forged) {
        self.fault_counts.note_effect(Fault::Stranger);
        let from = message.from;
        if let Some((kind, input)) = self.check_message(host, None, message) {
            let kind = RecordKind::Forged { from, message: explain::text(&kind) };
            self.enqueue(host, RecordedInput::new(None, kind, input));
        }
    }

    /// Checks a message as a host does: who sends it, and whether it can be decoded.
    fn check_message(&mut self, host: &Host, cause: Option<u64>, message: Forged) -> Option<(RecordKind, NodeInput)> {
        let Forged { cluster, from, to, packet } = message;
        let own = Identity { cluster: host.cluster, node: host.id };
        let all = 1..=self.scenario.nodes;
        let kind = match (
            CallerIds { cluster: &cluster.0, from, to }.check(&own, |id| all.contains(&id.0)),
            packet.decode(from),
        ) {
            (Ok(()), Ok(message)) => return Some(message),
            (Ok(()), Err(_)) => RecordKind::Garbage { from, bytes: packet.into_bytes() },
            (Err(CallerRefusal::OtherCluster), _) => RecordKind::ForeignClusterRefused { from },
            (Err(why), _) => RecordKind::CallerRefused { from, why },
        };
        self.emissions.push(Emission::View(None));
        self.emit(cause, Some(host.id), kind);
        None
    }

    /// Puts a message into the inbox, or makes it wait until the peer's disk is looked up. A message of an earlier
    /// start of the peer is lost with its connection, once a later start has connected.
    fn receive(&mut self, host: &mut Host, from: NodeId, (incarnation, disk): (u64, DiskId), message: RecordedInput) {
        let Some(process) = &mut host.process else { return };
        let open = process.callers.get_mut(&from).filter(|open| open.incarnation >= incarnation);
        match open.map(|open| (open.incarnation == incarnation, &mut open.caller)) {
            Some((true, Caller::Known)) => self.enqueue(host, message),
            Some((true, Caller::Unknown(waiting))) => waiting.push(message),
            Some((true, Caller::Refused) | (false, _)) => {}
            None => {
                let cause = message.cause.unwrap_or(0);
                let caller = Caller::Unknown(vec![message]);
                process.callers.insert(from, Connection { incarnation, disk, caller });
                process.queue.push_peer(from, disk, cause);
                self.serve_disk(host);
            }
        }
    }

    /// Handles the result of a lookup of a peer's disk: the waiting messages are delivered, or dropped.
    pub(super) fn peer_registered(&mut self, host: &mut Host, peer: NodeId, disk: DiskId, found: Option<PeerCheck>) {
        let Some(process) = &mut host.process else { return };
        let Some(open) = process.callers.get_mut(&peer).filter(|open| open.disk == disk) else { return };
        let caller = match found {
            Some(PeerCheck::New | PeerCheck::Known) => Caller::Known,
            Some(PeerCheck::Mismatch { .. }) => Caller::Refused,
            // It will connect again.
            Some(PeerCheck::Full) | None => {
                process.callers.remove(&peer);
                return;
            }
        };
        let is_known = matches!(caller, Caller::Known);
        if let (Caller::Unknown(waiting), true) = (std::mem::replace(&mut open.caller, caller), is_known) {
            waiting.into_iter().for_each(|message| self.enqueue(host, message));
        }
    }
}
