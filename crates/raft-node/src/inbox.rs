//! The inputs that wait for a node, and their order in a call. It is the same for every host; the host decides when the node is
//! free.
//!
//! A call takes everything that has arrived, in this order:
//! 1. whether the disk's space is low: the node relies on it when the next input reports durable writes;
//! 2. the newest durable write, so that the messages and requests of this call see its effect;
//! 3. other results of the disk and requests of operators, then chunks of snapshots, so that the message that a peer
//!    sends after its snapshot finds the snapshot here;
//! 4. unreachable peers, so that an earlier message of such a peer changes nothing;
//! 5. messages of peers, in order of arrival;
//! 6. requests of clients, forwarded ones among them, in order of arrival, then cancelled watches.
//!
//! The clock is read after the batch is taken. *Without it:* a request arrives after the time of its call, and a lease
//! that ended in between answers that request.
//!
//! Filling an inbox never blocks. Only the newest report of durable writes, the newest space report and the newest
//! chunk of each peer count. The disk sends one result per job. Messages and requests have limits. The inbox drops a
//! message beyond them, as a network may do. It refuses a request beyond them, which then has no effect. So a full
//! inbox can neither block a socket nor stall the disk. This file must not know what the node does with its inputs.

// A new kind of input, output or job needs a decision in this file.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::interface::inputs::NodeInput;
use crate::interface::requests::Request;
use raft_core::{Instant, NodeId, Rpc, WriteId};
use raft_proto::SnapshotMessage;
use std::collections::{BTreeMap, VecDeque};

/// The limits of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// The most messages of peers; 0 counts as 1. Default 8 192.
    pub max_messages: usize,
    /// The most bytes of entries and of leaders' responses in them; one message always fits. Default 64 MiB.
    pub max_message_bytes: u64,
    /// The most requests of clients, forwarded ones among them; 0 counts as 1. Default 16 384.
    pub max_requests: usize,
    /// The most bytes of commands and queries in them; one request always fits. Default 64 MiB.
    pub max_request_bytes: u64,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self { max_messages: 8_192, max_message_bytes: 64 << 20, max_requests: 16_384, max_request_bytes: 64 << 20 }
    }
}

/// What counts against the limits of an inbox.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxLoad {
    pub messages: usize,
    pub message_bytes: u64,
    pub requests: usize,
    pub request_bytes: u64,
}

/// The inputs that wait for a node. Each has a tag from the host, which the inbox returns with it.
#[derive(Clone, Debug)]
pub struct Inbox<T> {
    space: Option<(bool, T)>,
    persisted: Option<(WriteId, T)>,
    reports: Vec<(NodeInput, T)>,
    /// The newest chunk of each peer: chunks are large, and a peer sends a lost one again.
    chunks: BTreeMap<NodeId, (NodeInput, T)>,
    unreachable: BTreeMap<NodeId, T>,
    messages: Lane<T>,
    requests: Lane<T>,
    cancelled: Vec<(NodeInput, T)>,
}

/// Inputs with a limit.
#[derive(Clone, Debug)]
struct Lane<T> {
    waiting: VecDeque<(NodeInput, T)>,
    bytes: u64,
    max_count: usize,
    max_bytes: u64,
}

impl<T> Lane<T> {
    fn new(max_count: usize, max_bytes: u64) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, max_count: max_count.max(1), max_bytes }
    }

    fn push(&mut self, input: NodeInput, bytes: u64, tag: T) -> Result<(), Box<(NodeInput, T)>> {
        let after = self.bytes.saturating_add(bytes);
        if self.waiting.len() >= self.max_count || (self.bytes > 0 && after > self.max_bytes) {
            return Err(Box::new((input, tag)));
        }
        self.bytes = after;
        self.waiting.push_back((input, tag));
        Ok(())
    }

    fn take(&mut self) -> impl Iterator<Item = (NodeInput, T)> {
        self.bytes = 0;
        self.waiting.drain(..)
    }
}

impl<T> Inbox<T> {
    /// An empty inbox.
    pub fn new(limits: &InboxLimits) -> Self {
        Self {
            space: None,
            persisted: None,
            reports: Vec::new(),
            chunks: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            messages: Lane::new(limits.max_messages, limits.max_message_bytes),
            requests: Lane::new(limits.max_requests, limits.max_request_bytes),
            cancelled: Vec::new(),
        }
    }

    /// Whether the inbox is empty.
    pub fn is_empty(&self) -> bool {
        self.space.is_none()
            && self.persisted.is_none()
            && self.reports.is_empty()
            && self.chunks.is_empty()
            && self.unreachable.is_empty()
            && self.messages.waiting.is_empty()
            && self.requests.waiting.is_empty()
            && self.cancelled.is_empty()
    }

    /// What counts against the limits.
    pub fn load(&self) -> InboxLoad {
        InboxLoad {
            messages: self.messages.waiting.len(),
            message_bytes: self.messages.bytes,
            requests: self.requests.waiting.len(),
            request_bytes: self.requests.bytes,
        }
    }

    /// Adds an input. It does not keep [`NodeInput::Tick`], which has no content.
    ///
    /// # Errors
    /// The message or request, if it is beyond its limit.
    pub fn push(&mut self, input: NodeInput, tag: T) -> Result<(), Box<(NodeInput, T)>> {
        match &input {
            NodeInput::Tick => {}
            NodeInput::Space { is_low } => self.space = Some((*is_low, tag)),
            NodeInput::Persisted { write } => {
                if self.persisted.as_ref().is_none_or(|(newest, _)| newest < write) {
                    self.persisted = Some((*write, tag));
                }
            }
            NodeInput::LogRead { .. }
            | NodeInput::SnapshotWritten { .. }
            | NodeInput::SnapshotRead { .. }
            | NodeInput::SnapshotLoaded { .. }
            | NodeInput::TakeSnapshot
            | NodeInput::NotForwarded { .. }
            | NodeInput::Campaign => self.reports.push((input, tag)),
            NodeInput::SnapshotMessage { from, message: SnapshotMessage::Chunk(_) } => {
                self.chunks.insert(*from, (input, tag));
            }
            NodeInput::Unreachable { peer } => {
                self.unreachable.insert(*peer, tag);
            }
            NodeInput::Receive { rpc, .. } => {
                let bytes = if let Rpc::AppendEntries(append) = rpc { append.entries.size() } else { 0 };
                return self.messages.push(input, bytes, tag);
            }
            NodeInput::SnapshotMessage { message: SnapshotMessage::Progress(_), .. } => {
                return self.messages.push(input, 0, tag);
            }
            NodeInput::ForwardedReply { reply, .. } => {
                let bytes = reply.bytes();
                return self.messages.push(input, bytes, tag);
            }
            NodeInput::ForwardedRequest { request, .. } => {
                let bytes = request.bytes();
                return self.requests.push(input, bytes, tag);
            }
            NodeInput::Request { request, .. } => {
                let bytes = request.bytes();
                return self.requests.push(input, bytes, tag);
            }
            NodeInput::CancelWatch { .. } => self.cancelled.push((input, tag)),
        }
        Ok(())
    }

    /// Appends all inputs of one call to `batch`, in order. Then reads the clock, which gives the time of that call.
    pub fn take(&mut self, batch: &mut Vec<(NodeInput, T)>, clock: impl FnOnce() -> Instant) -> Instant {
        let space = self.space.take().map(|(is_low, tag)| (NodeInput::Space { is_low }, tag));
        let persisted = self.persisted.take().map(|(write, tag)| (NodeInput::Persisted { write }, tag));
        batch.extend(space);
        batch.extend(persisted);
        batch.append(&mut self.reports);
        batch.extend(std::mem::take(&mut self.chunks).into_values());
        let unreachable = std::mem::take(&mut self.unreachable);
        batch.extend(unreachable.into_iter().map(|(peer, tag)| (NodeInput::Unreachable { peer }, tag)));
        batch.extend(self.messages.take());
        batch.extend(self.requests.take());
        batch.append(&mut self.cancelled);
        clock()
    }
}

impl Request {
    /// Bytes of the command or query.
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Command(command) => command.command.len(),
            Self::Query { query, .. } | Self::StaleQuery { query } | Self::Watch { query, .. } => query.len(),
            Self::OpenSession
            | Self::ChangeMembership { .. }
            | Self::TransferLeadership { .. }
            | Self::BeginBackup { .. }
            | Self::ContinueBackup { .. } => 0,
        };
        bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::disk_jobs::{SnapshotFile, WriteOutcome};
    use bytes::Bytes;
    use raft_core::{EntryId, PreVote, RequestId, Round, Term};

    const LIMITS: InboxLimits =
        InboxLimits { max_messages: 3, max_message_bytes: 100, max_requests: 2, max_request_bytes: 10 };

    fn message(term: u64) -> NodeInput {
        let rpc = Rpc::PreVote(PreVote { term: Term(term), round: Round(1), last: EntryId::ZERO });
        NodeInput::Receive { from: NodeId(2), rpc }
    }

    fn request(id: u64, bytes: usize) -> NodeInput {
        let query = Bytes::from(vec![0; bytes]);
        NodeInput::Request { id: RequestId(id), request: Request::StaleQuery { query } }
    }

    fn report() -> NodeInput {
        let (file, outcome) = (SnapshotFile::Own, WriteOutcome::Done);
        NodeInput::SnapshotWritten { file, last: EntryId::ZERO, end: 1, outcome }
    }

    #[test]
    fn a_call_takes_every_input_once_in_the_order_of_kinds() {
        let mut inbox = Inbox::new(&LIMITS);
        let cancel = NodeInput::CancelWatch { id: RequestId(9) };
        let arrivals = [
            cancel.clone(),
            request(1, 0),
            message(1),
            NodeInput::Unreachable { peer: NodeId(3) },
            report(),
            NodeInput::Persisted { write: WriteId(4) },
            message(2),
            NodeInput::Space { is_low: true },
            NodeInput::Persisted { write: WriteId(3) },
            NodeInput::Unreachable { peer: NodeId(3) },
            NodeInput::Space { is_low: false },
            NodeInput::Tick,
        ];
        for (tag, input) in arrivals.into_iter().enumerate() {
            inbox.push(input, tag).expect("it fits");
        }
        let mut batch = Vec::new();
        assert_eq!(inbox.take(&mut batch, || Instant(7)), Instant(7));
        let expected = [
            (NodeInput::Space { is_low: false }, 10),
            (NodeInput::Persisted { write: WriteId(4) }, 5),
            (report(), 4),
            (NodeInput::Unreachable { peer: NodeId(3) }, 9),
            (message(1), 2),
            (message(2), 6),
            (request(1, 0), 1),
            (cancel, 0),
        ];
        assert_eq!(batch, expected);
        assert!(inbox.is_empty());
        inbox.take(&mut batch, || Instant(8));
        assert_eq!(batch, expected, "nothing more");
    }

    #[test]
    fn a_full_lane_refuses_and_the_others_accept() {
        let mut inbox = Inbox::new(&LIMITS);
        (0..3).for_each(|tag| inbox.push(message(1), tag).expect("it fits"));
        assert_eq!(inbox.push(message(2), 3), Err(Box::new((message(2), 3))));
        inbox.push(request(1, 11), 4).expect("one always fits");
        assert_eq!(inbox.push(request(2, 1), 5), Err(Box::new((request(2, 1), 5))), "too many bytes");
        inbox.push(request(3, 0), 6).expect_err("beyond the limit, even without bytes");
        inbox.push(report(), 7).expect("reports are never refused");
        let mut batch = Vec::new();
        inbox.take(&mut batch, || Instant(0));
        assert_eq!(batch.len(), 5);
        inbox.push(request(2, 5), 8).expect("it fits again");
        inbox.push(request(3, 5), 9).expect("it fits exactly");
        assert!(inbox.push(request(4, 0), 10).is_err(), "too many");
    }
}
