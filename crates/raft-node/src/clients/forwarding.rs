//! Requests that a follower forwards to the leader, for clients that reach the follower and not the leader.
//!
//! A request is forwarded once: a node that does not lead replies to a forwarded one with the leader it knows. The client gets
//! the leader's reply. Without one it learns that the outcome is unknown, unless the request was never sent. The number, the
//! bytes and the time of pending requests are limited, so a leader that stands still cannot fill a follower's memory. Nothing
//! here is replicated: sessions apply a command once on whichever way it arrives. This file must not know how requests travel.

use crate::interface::forwards::{ForwardEnd, ForwardId, ForwardedReply, ForwardedRequest, LeaderRequest};
use crate::interface::options::NodeOptions;
use crate::interface::outputs::{NodeOutput, Outputs, Report};
use crate::interface::requests::Reply;
use raft_core::{Instant, NodeId, RejectReason, RequestId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A leader's own ids for forwarded requests begin with these two bits. Those of clients begin with 0, those of timers with 10.
const FORWARDED: u64 = 0b11 << 62;

/// The requests that this node has forwarded, and those that others have forwarded to it.
///
/// Invariant: what is pending waits for `leader`; `bytes` is the sum of [`Pending::bytes`]; deadlines ascend with the numbers,
/// because all requests have the same time.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    max_requests: usize,
    max_bytes: u64,
    timeout: Duration,
    origin: u64,
    /// The leader that the node knows, if another node leads.
    leader: Option<NodeId>,
    numbers: u64,
    pending: BTreeMap<u64, Pending>,
    bytes: u64,
    /// Forwarded requests that this node executes: who waits for the reply.
    executing: BTreeMap<RequestId, (NodeId, ForwardId)>,
    executed: u64,
}

/// A forwarded request without a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    id: RequestId,
    is_read: bool,
    bytes: u64,
    deadline: Instant,
}

impl Pending {
    fn end(self, why: ForwardEnd, reply: Reply, outputs: &mut Outputs) {
        outputs.push(Report::ForwardEnded { id: self.id, why }.into());
        outputs.push(NodeOutput::Reply { id: self.id, reply });
    }
}

impl Forwarding {
    /// `origin` must differ between the starts of a node.
    pub(crate) const fn new(options: &NodeOptions, timeout: Duration, origin: u64) -> Self {
        Self {
            max_requests: options.max_forwarded_requests,
            max_bytes: options.max_forwarded_bytes,
            timeout,
            origin,
            leader: None,
            numbers: 0,
            pending: BTreeMap::new(),
            bytes: 0,
            executing: BTreeMap::new(),
            executed: 0,
        }
    }

    /// The number of forwarded requests without a reply, and their bytes.
    pub(crate) fn pending(&self) -> (usize, u64) {
        (self.pending.len(), self.bytes)
    }

    /// The number of peers' requests without a reply.
    pub(crate) fn executing(&self) -> usize {
        self.executing.len()
    }

    /// The leader to which requests are forwarded, if they are.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader.filter(|_| self.max_requests > 0)
    }

    /// Another node leads, or none that is known. What waits for an earlier leader ends.
    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>, outputs: &mut Outputs) {
        if leader != self.leader {
            self.leader = leader;
            self.end_where(ForwardEnd::LeaderLost, |_| true, outputs);
        }
    }

    /// The connection to this peer broke: what waits for it ends, because the reply may be lost.
    pub(crate) fn on_unreachable(&mut self, peer: NodeId, outputs: &mut Outputs) {
        if self.leader == Some(peer) {
            self.end_where(ForwardEnd::LeaderLost, |_| true, outputs);
        }
    }

    /// Forwards a request to the leader, or rejects it as busy. One request always fits, whatever its size.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        to: NodeId,
        (id, request): (RequestId, LeaderRequest),
        outputs: &mut Outputs,
    ) {
        let number = self.numbers.saturating_add(1);
        let is_read = matches!(request, LeaderRequest::Query { .. });
        let request = ForwardedRequest { id: ForwardId { origin: self.origin, number }, request };
        let bytes = request.bytes();
        let after = self.bytes.saturating_add(bytes);
        let pending = Pending { id, is_read, bytes, deadline: now.after(self.timeout) };
        if self.pending.len() >= self.max_requests || (!self.pending.is_empty() && after > self.max_bytes) {
            return pending.end(ForwardEnd::OverLimit, Reply::Rejected { reason: RejectReason::Busy }, outputs);
        }
        (self.numbers, self.bytes) = (number, after);
        self.pending.insert(number, pending);
        outputs.push(NodeOutput::ForwardRequest { id, to, request });
    }

    /// A reply of the node `from`. It counts if this start has asked that node, and waits for the reply.
    pub(crate) fn on_reply(&mut self, from: NodeId, reply: ForwardedReply, outputs: &mut Outputs) {
        let ForwardedReply { id: ForwardId { origin, number }, reply } = reply;
        if origin == self.origin
            && self.leader == Some(from)
            && let Some(Pending { id, .. }) = self.take(number)
        {
            outputs.push(NodeOutput::LeaderReply { id, leader: from, reply });
        }
    }

    /// The host could not send this request, so it has no effect.
    pub(crate) fn on_not_sent(&mut self, number: u64, outputs: &mut Outputs) {
        if let Some(pending) = self.take(number) {
            let reply = self.not_executed();
            pending.end(ForwardEnd::NotSent, reply, outputs);
        }
    }

    pub(crate) fn on_time(&mut self, now: Instant, outputs: &mut Outputs) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.end_where(ForwardEnd::TimedOut, |pending| pending.deadline <= now, outputs);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.first_key_value().map(|(_, pending)| pending.deadline)
    }

    /// Ends requests that may have reached the leader: the outcome is unknown. A read has no effect wherever it is.
    fn end_where(&mut self, why: ForwardEnd, ends: impl Fn(&Pending) -> bool, outputs: &mut Outputs) {
        let ended: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| ends(pending)).map(|(number, _)| *number).collect();
        for number in ended {
            if let Some(pending) = self.take(number) {
                let reply = if pending.is_read { self.not_executed() } else { Reply::Unknown };
                pending.end(why, reply, outputs);
            }
        }
    }

    const fn not_executed(&self) -> Reply {
        Reply::Rejected { reason: RejectReason::NotLeader { leader: self.leader } }
    }

    fn take(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(pending.bytes);
        Some(pending)
    }

    /// This node's own id for a request that `from` has forwarded to it.
    pub(crate) fn begin_executing(&mut self, from: NodeId, id: ForwardId) -> RequestId {
        let own = RequestId(FORWARDED | self.executed);
        self.executed = (self.executed + 1) & !FORWARDED;
        self.executing.insert(own, (from, id));
        own
    }

    /// Turns the replies to forwarded requests into messages to the nodes that forwarded them.
    pub(crate) fn send_replies(&mut self, outputs: &mut [NodeOutput]) {
        if self.executing.is_empty() {
            return;
        }
        for output in outputs {
            if let NodeOutput::Reply { id, reply } = output
                && let Some((to, forwarded)) = self.executing.remove(id)
            {
                let reply = ForwardedReply { id: forwarded, reply: reply.clone() };
                *output = NodeOutput::ForwardReply { to, reply };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::requests::{SessionCommand, SessionId};
    use bytes::Bytes;
    use raft_core::ReadMode;

    const LEADER: NodeId = NodeId(2);

    fn forwarding() -> Forwarding {
        let options = NodeOptions { max_forwarded_requests: 2, max_forwarded_bytes: 5, ..NodeOptions::default() };
        let mut forwarding = Forwarding::new(&options, Duration::from_millis(10), 7);
        forwarding.set_leader(Some(LEADER), &mut Vec::new());
        forwarding
    }

    fn command(bytes: usize) -> LeaderRequest {
        let command = Bytes::from(vec![0; bytes]);
        LeaderRequest::Command(SessionCommand { session: SessionId(1), sequence: 1, lowest_pending: 1, command })
    }

    /// Forwards a request at this time; the number under which it left, or the reply.
    fn forward(forwarding: &mut Forwarding, ms: u64, id: u64, request: LeaderRequest) -> Result<u64, Reply> {
        let mut outputs = Vec::new();
        forwarding.forward(Instant::from_millis(ms), LEADER, (RequestId(id), request), &mut outputs);
        match outputs.pop() {
            Some(NodeOutput::ForwardRequest { to: LEADER, request, .. }) => Ok(request.id.number),
            Some(NodeOutput::Reply { reply, .. }) => Err(reply),
            other => panic!("{other:?}"),
        }
    }

    /// The replies to clients after this event, by request.
    fn replies(forwarding: &mut Forwarding, event: impl FnOnce(&mut Forwarding, &mut Outputs)) -> Vec<(u64, Reply)> {
        let mut outputs = Vec::new();
        event(forwarding, &mut outputs);
        let reply = |output| match output {
            NodeOutput::Reply { id, reply } | NodeOutput::LeaderReply { id, reply, .. } => Some((id.0, reply)),
            _ => None,
        };
        outputs.into_iter().filter_map(reply).collect()
    }

    const BUSY: Reply = Reply::Rejected { reason: RejectReason::Busy };
    const NOT_EXECUTED: Reply = Reply::Rejected { reason: RejectReason::NotLeader { leader: Some(LEADER) } };

    #[test]
    fn number_and_bytes_are_limited_and_a_reply_makes_room() {
        let mut forwarding = forwarding();
        assert_eq!(forward(&mut forwarding, 0, 1, command(9)), Ok(1), "one always fits");
        assert_eq!(forward(&mut forwarding, 0, 2, command(1)), Err(BUSY), "too many bytes");
        let reply = |number, origin| ForwardedReply { id: ForwardId { origin, number }, reply: Reply::Lost };
        for (from, reply, why) in [
            (NodeId(3), reply(1, 7), "this node was not asked"),
            (LEADER, reply(1, 6), "an earlier start asked"),
            (LEADER, reply(2, 7), "not forwarded"),
        ] {
            let replied = replies(&mut forwarding, |forwarding, outputs| forwarding.on_reply(from, reply, outputs));
            assert_eq!(replied, [], "{why}");
        }
        for expected in [vec![(1, Reply::Lost)], vec![]] {
            let arrives = |forwarding: &mut Forwarding, outputs: &mut Outputs| {
                forwarding.on_reply(LEADER, reply(1, 7), outputs);
            };
            assert_eq!(replies(&mut forwarding, arrives), expected, "once");
        }
        assert_eq!(forward(&mut forwarding, 0, 3, command(2)), Ok(2));
        assert_eq!(forward(&mut forwarding, 0, 4, command(3)), Ok(3), "it fits exactly");
        assert_eq!(forward(&mut forwarding, 0, 5, LeaderRequest::OpenSession), Err(BUSY), "too many requests");
        assert_eq!((forwarding.bytes, forwarding.pending.len()), (5, 2));
    }

    #[test]
    fn without_a_reply_the_outcome_is_unknown_unless_it_was_not_sent_or_is_a_read() {
        let read = || LeaderRequest::Query { query: Bytes::new(), mode: ReadMode::Safe };
        let mut forwarding = forwarding();
        forward(&mut forwarding, 0, 1, command(1)).unwrap();
        forward(&mut forwarding, 4, 2, read()).unwrap();
        assert_eq!(forwarding.deadline(), Some(Instant::from_millis(10)));
        let at = |ms| {
            move |forwarding: &mut Forwarding, outputs: &mut Outputs| {
                forwarding.on_time(Instant::from_millis(ms), outputs);
            }
        };
        assert_eq!(replies(&mut forwarding, at(9)), []);
        assert_eq!(replies(&mut forwarding, at(10)), [(1, Reply::Unknown)]);
        assert_eq!(replies(&mut forwarding, at(14)), [(2, NOT_EXECUTED)]);
        let number = forward(&mut forwarding, 20, 3, command(1)).unwrap();
        let not_sent = |forwarding: &mut Forwarding, outputs: &mut Outputs| forwarding.on_not_sent(number, outputs);
        assert_eq!(replies(&mut forwarding, not_sent), [(3, NOT_EXECUTED)]);
        assert_eq!(replies(&mut forwarding, not_sent), []);
        forward(&mut forwarding, 20, 4, LeaderRequest::OpenSession).unwrap();
        forward(&mut forwarding, 20, 5, read()).unwrap();
        let unreachable = |peer| {
            move |forwarding: &mut Forwarding, outputs: &mut Outputs| {
                forwarding.on_unreachable(peer, outputs);
            }
        };
        assert_eq!(replies(&mut forwarding, unreachable(NodeId(3))), []);
        assert_eq!(replies(&mut forwarding, unreachable(LEADER)), [(4, Reply::Unknown), (5, NOT_EXECUTED)]);
        forward(&mut forwarding, 20, 6, command(1)).unwrap();
        let leads = |leader| {
            move |forwarding: &mut Forwarding, outputs: &mut Outputs| {
                forwarding.set_leader(leader, outputs);
            }
        };
        assert_eq!(replies(&mut forwarding, leads(Some(LEADER))), []);
        assert_eq!(replies(&mut forwarding, leads(Some(NodeId(3)))), [(6, Reply::Unknown)]);
        assert_eq!(forwarding.leader(), Some(NodeId(3)));
        assert_eq!((forwarding.bytes, forwarding.deadline()), (0, None));
    }

    #[test]
    fn the_reply_to_a_forwarded_request_goes_back_once() {
        let mut forwarding = forwarding();
        let (from, id) = (NodeId(3), ForwardId { origin: 1, number: 9 });
        let own = forwarding.begin_executing(from, id);
        let client = NodeOutput::Reply { id: RequestId(1), reply: Reply::Lost };
        let mut outputs = vec![client.clone(), NodeOutput::Reply { id: own, reply: Reply::Unknown }, client.clone()];
        forwarding.send_replies(&mut outputs);
        let sent = NodeOutput::ForwardReply { to: from, reply: ForwardedReply { id, reply: Reply::Unknown } };
        assert_eq!(outputs, [client.clone(), sent, client]);
        assert!(forwarding.executing.is_empty());
        assert_ne!(forwarding.begin_executing(from, id), own);
    }
}
