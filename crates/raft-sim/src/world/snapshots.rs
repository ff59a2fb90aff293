//! What a node wants done about snapshots: jobs for its disk, and messages that take longer than others and are lost more
//! often.

use super::call::Given;
use super::disk_lane::Question;
use super::{Emission, Event, World};
use crate::lane::Job;
use crate::network::{Copy, INSTALL_SNAPSHOT, INSTALL_SNAPSHOT_RESPONSE};
use crate::record::What;
use bytes::Bytes;
use raft_core::NodeId;
use raft_node::{NodeInput, NodeOutput, SnapshotFile, SnapshotMessage};

impl World {
    /// What a node asks for about snapshots, and about the log that they cover.
    pub(super) fn carry_out_for_snapshots(&mut self, node: NodeId, input: u64, output: NodeOutput) {
        let cause = Some(input);
        let asked = match &output {
            NodeOutput::WriteSnapshot { file: SnapshotFile::Own, meta, offset: 0, .. } => {
                self.emit(cause, Some(node), What::SnapshotTaken { meta: meta.clone() })
            }
            NodeOutput::LoadSnapshot { meta } => {
                if let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) {
                    process.wanted = Some(meta.last);
                }
                self.emit(cause, Some(node), What::SnapshotWanted { meta: meta.clone() })
            }
            NodeOutput::Compact { before } => self.emit(cause, Some(node), What::Compacted { before: *before }),
            NodeOutput::WriteSnapshot { .. }
            | NodeOutput::ReadSnapshot { .. }
            | NodeOutput::VerifySnapshot { .. }
            | NodeOutput::DropSnapshot { .. }
            | NodeOutput::RemoveSnapshot { .. } => input,
            _ => return self.carry_out_elsewhere(node, input, output),
        };
        self.ask_disk(node, Job::Ask(output), asked);
    }

    /// What is no job for the disk, or goes beside its lane.
    fn carry_out_elsewhere(&mut self, node: NodeId, input: u64, output: NodeOutput) {
        let cause = Some(input);
        match output {
            NodeOutput::Restored { meta, state_hash } => {
                self.emit(cause, Some(node), What::Restored { meta, state_hash });
            }
            NodeOutput::SnapshotRefused { from, meta, error } => {
                self.emit(cause, Some(node), What::SnapshotRefused { from, meta, error });
            }
            NodeOutput::SnapshotUnreadable { meta, error } => {
                self.store_failed(node, &format!("the snapshot of {} cannot be read: {error}", meta.last));
            }
            NodeOutput::SendSnapshot { to, message } => self.say(node, input, to, message),
            NodeOutput::ReadLog { read, first, last, max_bytes } => {
                let asked = self.emit(cause, Some(node), What::ReadAsked { read, first, last, max_bytes });
                self.read_log(node, Question { read, first, last, max_bytes }, asked);
            }
            _ => {}
        }
    }

    /// Over the wire as bytes, so that the encoding is part of every run. Pieces take their time.
    fn say(&mut self, node: NodeId, input: u64, to: NodeId, message: SnapshotMessage) {
        let up = self.hosts.get(&to).is_some_and(|host| host.process.is_some());
        let (choices, ledger, link) = (&mut self.choices, &mut self.ledger, (node, to));
        let sending = match &message {
            SnapshotMessage::Chunk(chunk) if chunk.bytes.is_empty() => {
                self.network.send(choices, ledger, link, INSTALL_SNAPSHOT, up)
            }
            SnapshotMessage::Chunk(_) => self.network.send_snapshot(choices, ledger, link, up),
            SnapshotMessage::Progress(_) => self.network.send(choices, ledger, link, INSTALL_SNAPSHOT_RESPONSE, up),
        };
        let bytes = sending.copies[0].map(|_| Bytes::from(raft_proto::encode_snapshot_message(&message)));
        let cause = self.emit(Some(input), Some(node), What::SnapshotSaid { to, message, verdict: sending.verdict });
        for copy in sending.copies.into_iter().flatten() {
            if let Some(bytes) = bytes.clone() {
                self.plan_after(copy.delay, Event::DeliverSnapshot { copy, bytes, cause });
            }
        }
    }

    /// A copy of a message about a snapshot arrives.
    pub(super) fn deliver_snapshot(&mut self, copy: Copy, bytes: Bytes, cause: u64) {
        let (from, node) = copy.link;
        if !self.is_up_or_missed(node) {
            return;
        }
        self.network.arrived(&mut self.ledger, &copy);
        match raft_proto::decode_snapshot_message(bytes.clone()) {
            Ok(message) => {
                let what = What::SnapshotHeard { from, message: message.clone() };
                let input = NodeInput::SnapshotMessage { from, message };
                self.call(node, vec![Given::new(Some(cause), what, input)]);
            }
            Err(_) => {
                self.emissions.push(Emission::View(None));
                self.emit(Some(cause), Some(node), What::Garbage { from, bytes });
            }
        }
    }

    /// The node is told to take a snapshot now. One that is paused does not hear it.
    pub(crate) fn take_snapshot(&mut self, node: NodeId) {
        if self.hosts.get(&node).is_some_and(|host| !host.paused) {
            self.call(node, vec![Given::new(None, What::SnapshotWished, NodeInput::TakeSnapshot)]);
        }
    }
}
