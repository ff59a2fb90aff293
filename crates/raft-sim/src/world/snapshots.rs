//! Messages about snapshots: they take longer than others and are lost more often.

// A new kind of input, output or job is decided about here, not lost.
#![warn(clippy::wildcard_enum_match_arm)]

use super::peers::Sender;
use super::{Emission, Event, World};
use crate::record::RecordKind;
use crate::world::host::RecordedInput;
use crate::world::network::{Copy, INSTALL_SNAPSHOT, INSTALL_SNAPSHOT_RESPONSE};
use bytes::Bytes;
use raft_core::NodeId;
use raft_node::{NodeInput, SnapshotMessage};

impl World {
    /// Over the wire as bytes, so that the encoding is part of every run. Pieces take their time.
    pub(super) fn send_snapshot(&mut self, node: NodeId, input: u64, to: NodeId, message: SnapshotMessage) {
        let up = self.hosts.get(&to).is_some_and(|host| host.process.is_some());
        let (choices, fault_counts, link) = (&mut self.choices, &mut self.fault_counts, (node, to));
        let sending = match &message {
            SnapshotMessage::Chunk(chunk) if chunk.bytes.is_empty() => {
                self.network.send(choices, fault_counts, link, INSTALL_SNAPSHOT, up)
            }
            SnapshotMessage::Chunk(_) => self.network.send_snapshot(choices, fault_counts, link, up),
            SnapshotMessage::Progress(_) => {
                self.network.send(choices, fault_counts, link, INSTALL_SNAPSHOT_RESPONSE, up)
            }
        };
        let bytes = sending.copies[0].map(|_| Bytes::from(raft_proto::encode_snapshot_message(&message)));
        let cause =
            self.emit(Some(input), Some(node), RecordKind::SnapshotSaid { to, message, verdict: sending.verdict });
        let Some(sender) = self.sender(node) else { return };
        for copy in sending.copies.into_iter().flatten() {
            if let Some(bytes) = bytes.clone() {
                self.plan_after(copy.delay, Event::DeliverSnapshot { copy, bytes, cause, sender });
            }
        }
    }

    /// A copy of a message about a snapshot arrives.
    pub(super) fn deliver_snapshot(&mut self, copy: Copy, bytes: Bytes, cause: u64, sender: Sender) {
        let (from, node) = copy.link;
        if !self.is_up_or_missed(node) {
            return;
        }
        self.network.arrived(&mut self.fault_counts, &copy);
        match raft_proto::decode_snapshot_message(bytes.clone()) {
            Ok(message) => {
                let kind = RecordKind::SnapshotHeard { from, message: message.clone() };
                let input = NodeInput::SnapshotMessage { from, message };
                self.give_from(from, sender, node, RecordedInput::new(Some(cause), kind, input));
            }
            Err(_) => {
                self.emissions.push(Emission::View(None));
                self.emit(Some(cause), Some(node), RecordKind::Garbage { from, bytes });
            }
        }
    }

    /// The node is told to take a snapshot now. One that is paused does not hear it.
    pub(crate) fn take_snapshot(&mut self, node: NodeId) {
        if self.hosts.get(&node).is_some_and(|host| !host.paused) {
            self.give(node, RecordedInput::new(None, RecordKind::SnapshotWished, NodeInput::TakeSnapshot));
            self.wake(node);
        }
    }
}
