//! What waits for the node's thread: one bounded lane for peers, one for clients, one for the disk and for snapshots.
//!
//! Nobody who fills it ever waits: a message from a peer may be dropped, a request is refused as busy, of the disk's
//! reports of writes only the newest counts, and of the others there are no more than questions. So a full inbox can
//! neither hang a socket nor stall the disk. This file must not know what the node makes of it.

use crate::node_thread::NodeFacts;
use raft_core::{NodeId, Rpc, WriteId};
use raft_node::{NodeInput, Reply, Request};
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most messages of peers that wait.
const MAX_MESSAGES: usize = 8_192;
/// The most bytes of entries in them; one message always fits.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// The most requests that wait.
const MAX_REQUESTS: usize = 16_384;
/// The most bytes of commands and queries in them; one request always fits.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// A client's request, and where its reply goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// What the disk or the transport of snapshots has to say to the node.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) input: NodeInput,
    /// Who waits until the node has been told and its outputs are on their way.
    pub(crate) told: Option<oneshot::Sender<()>>,
}

/// Everything that had arrived when the node's thread looked.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The newest contiguous durable write, if it is news.
    pub(crate) persisted: Option<WriteId>,
    /// Other reports, in order of arrival. They come before the messages: what a peer sends once its snapshot is handed
    /// over must find it there.
    pub(crate) reports: Vec<Report>,
    /// The peers to which something sent may be lost, each once.
    pub(crate) unreachable: BTreeSet<NodeId>,
    /// Messages of peers, in order of arrival.
    pub(crate) messages: Vec<NodeInput>,
    /// Requests of clients, in order of arrival.
    pub(crate) requests: Vec<Asked>,
    /// Somebody does not wait for a reply any more.
    pub(crate) given_up: bool,
    /// Who wants to know about the node.
    pub(crate) questions: Vec<oneshot::Sender<NodeFacts>>,
    /// The node's thread is to end.
    pub(crate) closed: bool,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    message_bytes: usize,
    request_bytes: usize,
}

/// The inbox.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Inbox {
    /// Everything that has arrived; waits for something to arrive, at most for `patience` (none: without limit).
    pub(crate) fn take(&self, patience: Option<Duration>) -> Batch {
        let nothing = |state: &mut State| {
            let batch = &state.batch;
            let quiet = batch.persisted.is_none() && batch.messages.is_empty() && batch.requests.is_empty();
            let no_reports = batch.reports.is_empty() && batch.unreachable.is_empty();
            quiet && no_reports && batch.questions.is_empty() && !batch.given_up && !batch.closed
        };
        let state = self.lock();
        let mut state = match patience {
            Some(patience) => {
                let waited = self.arrived.wait_timeout_while(state, patience, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrived.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        let State { batch, .. } = std::mem::take(&mut *state);
        state.batch.closed = batch.closed;
        batch
    }

    /// Everything up to this write is durable.
    pub(crate) fn persisted(&self, write: WriteId) {
        self.put(|state| state.batch.persisted = state.batch.persisted.max(Some(write)));
    }

    /// The node is to be told this.
    pub(crate) fn report(&self, input: NodeInput) {
        self.put(|state| state.batch.reports.push(Report { input, told: None }));
    }

    /// The node is to be told this; the receiver is ready once it has been, and fails if it never will be.
    pub(crate) fn tell(&self, input: NodeInput) -> oneshot::Receiver<()> {
        let (told, done) = oneshot::channel();
        self.put(|state| {
            if !state.batch.closed {
                state.batch.reports.push(Report { input, told: Some(told) });
            }
        });
        done
    }

    /// What was sent to this peer may be lost.
    pub(crate) fn unreachable(&self, peer: NodeId) {
        self.put(|state| {
            state.batch.unreachable.insert(peer);
        });
    }

    /// A peer's message. False: there was no room, and it is dropped.
    pub(crate) fn message(&self, input: NodeInput) -> bool {
        let bytes = match &input {
            NodeInput::Receive { rpc: Rpc::AppendEntries(append), .. } => append.entries.size(),
            _ => 0,
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.put(|state| {
            let batch = &mut state.batch;
            let full = state.message_bytes > 0 && state.message_bytes.saturating_add(bytes) > MAX_MESSAGE_BYTES;
            if batch.closed || full || batch.messages.len() >= MAX_MESSAGES {
                return false;
            }
            state.message_bytes = state.message_bytes.saturating_add(bytes);
            batch.messages.push(input);
            true
        })
    }

    /// A client's request. Handed back if there is no room.
    pub(crate) fn request(&self, asked: Asked) -> Result<(), Asked> {
        let bytes = match &asked.request {
            Request::OpenSession => 0,
            Request::Command { command, .. } => command.len(),
            Request::Query { query, .. } | Request::StaleQuery { query } | Request::Watch { query } => query.len(),
            Request::ChangeMembership { .. } | Request::TransferLeadership { .. } => 0,
        };
        self.put(|state| {
            let batch = &mut state.batch;
            let full = state.request_bytes > 0 && state.request_bytes.saturating_add(bytes) > MAX_REQUEST_BYTES;
            if batch.closed || full || batch.requests.len() >= MAX_REQUESTS {
                return Err(asked);
            }
            state.request_bytes = state.request_bytes.saturating_add(bytes);
            batch.requests.push(asked);
            Ok(())
        })
    }

    /// Somebody has dropped the receiver of a reply: if it was a watch's, the node need not wait for it.
    pub(crate) fn gave_up(&self) {
        self.put(|state| state.batch.given_up = true);
    }

    /// A question about the node; the sender is dropped unanswered if the node has ended or too many ask.
    pub(crate) fn question(&self, answer: oneshot::Sender<NodeFacts>) {
        self.put(|state| {
            if !state.batch.closed && state.batch.questions.len() < MAX_REQUESTS {
                state.batch.questions.push(answer);
            }
        });
    }

    /// Ends the node's thread, after it has taken what has arrived. Nothing is let in any more, but reports of the disk.
    pub(crate) fn close(&self) {
        self.put(|state| state.batch.closed = true);
    }

    fn put<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        drop(state);
        self.arrived.notify_one();
        result
    }

    /// A thread that panicked while it held the lock left a whole state: every change here is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use raft_core::{EntryId, Round, Term};
    use std::sync::Arc;

    fn message(from: u64, term: u64) -> NodeInput {
        NodeInput::Receive { from: NodeId(from), rpc: rpc(term) }
    }

    fn rpc(term: u64) -> Rpc {
        Rpc::PreVote(raft_core::PreVote { term: Term(term), round: Round(1), last: EntryId::ZERO })
    }

    fn request(bytes: usize) -> (Asked, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (Asked { request: Request::StaleQuery { query: Bytes::from(vec![0; bytes]) }, reply }, answer)
    }

    #[test]
    fn everything_that_arrived_is_taken_once_and_in_order() {
        let inbox = Inbox::default();
        assert!(inbox.message(message(2, 1)) && inbox.message(message(3, 2)));
        inbox.persisted(WriteId(4));
        inbox.persisted(WriteId(3));
        [3, 2, 3].into_iter().for_each(|peer| inbox.unreachable(NodeId(peer)));
        let (asked, _answer) = request(5);
        inbox.request(asked).unwrap();
        let batch = inbox.take(None);
        assert_eq!(batch.messages, [message(2, 1), message(3, 2)]);
        assert_eq!(batch.persisted, Some(WriteId(4)), "the newest, in whatever order they come");
        assert_eq!(batch.unreachable, [NodeId(2), NodeId(3)].into(), "each once");
        assert_eq!(batch.requests.len(), 1);
        let batch = inbox.take(Some(Duration::ZERO));
        assert!(batch.persisted.is_none() && batch.messages.is_empty() && batch.requests.is_empty());
        assert!(batch.unreachable.is_empty());
    }

    #[test]
    fn a_full_lane_refuses_and_the_others_go_on() {
        let inbox = Inbox::default();
        for _ in 0..MAX_MESSAGES {
            assert!(inbox.message(message(2, 1)));
        }
        assert!(!inbox.message(message(2, 1)));
        let large = request(MAX_REQUEST_BYTES + 1).0;
        inbox.request(large).expect("one always fits");
        inbox.request(request(1).0).expect_err("then it is full");
        inbox.persisted(WriteId(1));
        assert_eq!(inbox.take(None).messages.len(), MAX_MESSAGES);
        inbox.request(request(1).0).expect("there is room again");
    }

    #[test]
    fn who_waits_is_woken() {
        let inbox = Arc::new(Inbox::default());
        let waiting = std::thread::spawn({
            let inbox = inbox.clone();
            move || inbox.take(None).persisted
        });
        inbox.persisted(WriteId(7));
        assert_eq!(waiting.join().unwrap(), Some(WriteId(7)));
    }

    #[test]
    fn a_closed_inbox_lets_in_only_the_disk() {
        let inbox = Inbox::default();
        inbox.close();
        assert!(!inbox.message(message(2, 1)));
        inbox.request(request(1).0).expect_err("closed");
        let (answer, mut facts) = oneshot::channel();
        inbox.question(answer);
        assert!(facts.try_recv().is_err(), "dropped, so whoever asked learns it");
        assert!(inbox.tell(NodeInput::TakeSnapshot).try_recv().is_err(), "the same");
        inbox.persisted(WriteId(1));
        inbox.report(NodeInput::Tick);
        let batch = inbox.take(None);
        assert!(batch.closed && batch.persisted == Some(WriteId(1)) && batch.reports.len() == 1);
        assert!(inbox.take(None).closed, "and stays closed");
    }
}
