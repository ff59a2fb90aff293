//! The node's inbox, shared by the threads that fill it and the one that empties it: a lock, a wake-up, and who waits for an
//! answer. What is let in and in which order it is given to the node stands in [`raft_node::Inbox`].

use crate::clock;
use crate::node_thread::NodeFacts;
use raft_core::{Instant, RequestId};
use raft_node::{InboxLimits, NodeInput, Reply, Request};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most questions about the node that wait.
const MAX_QUESTIONS: usize = 16_384;

/// Who waits for what becomes of an input.
#[derive(Debug)]
pub(crate) enum Waits {
    /// Nobody.
    Nobody,
    /// Somebody, until the node has been given it and its outputs are on their way.
    Given(oneshot::Sender<()>),
    /// A client, for the reply.
    Reply(oneshot::Sender<Reply>),
}

/// What the node's thread does next.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The time of the call: read after the inputs were taken.
    pub(crate) now: Instant,
    /// Who wants to know about the node.
    pub(crate) questions: Vec<oneshot::Sender<NodeFacts>>,
    /// The node's thread is to end.
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct State {
    inbox: raft_node::Inbox<Waits>,
    /// The next request's.
    next: RequestId,
    questions: Vec<oneshot::Sender<NodeFacts>>,
    closed: bool,
}

/// The inbox.
#[derive(Debug)]
pub(crate) struct SharedInbox {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Default for SharedInbox {
    fn default() -> Self {
        Self::new(&InboxLimits::default())
    }
}

impl SharedInbox {
    /// An empty inbox.
    pub(crate) fn new(limits: &InboxLimits) -> Self {
        let inbox = raft_node::Inbox::new(limits);
        let state = State { inbox, next: RequestId(1), questions: Vec::new(), closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that empties the inbox")]
    /// Everything that has arrived, appended to `inputs`; waits for something to arrive, at most for `patience` (none:
    /// without limit).
    pub(crate) fn take(&self, patience: Option<Duration>, inputs: &mut Vec<(NodeInput, Waits)>) -> Batch {
        let nothing = |state: &mut State| state.inbox.is_empty() && state.questions.is_empty() && !state.closed;
        let state = self.lock();
        let mut state = match patience {
            Some(patience) => {
                let waited = self.arrived.wait_timeout_while(state, patience, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrived.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        let now = state.inbox.take(inputs, clock::now);
        Batch { now, questions: std::mem::take(&mut state.questions), closed: state.closed }
    }

    /// Gives the node what the disk says, all of it in one call.
    pub(crate) fn give(&self, inputs: impl IntoIterator<Item = NodeInput>) {
        self.put(|state| inputs.into_iter().for_each(|input| drop(state.inbox.push(input, Waits::Nobody))));
    }

    /// A peer's message, or that a peer cannot be reached. False: there was no room, and it is dropped.
    pub(crate) fn message(&self, input: NodeInput) -> bool {
        self.put(|state| !state.closed && state.inbox.push(input, Waits::Nobody).is_ok())
    }

    /// Gives the node this; the receiver is ready once the node has been given it, and fails if it never will be.
    pub(crate) fn give_and_wait(&self, input: NodeInput) -> oneshot::Receiver<()> {
        let (given, done) = oneshot::channel();
        self.put(|state| {
            if !state.closed {
                // Handed back, it is dropped, and so the receiver fails.
                drop(state.inbox.push(input, Waits::Given(given)));
            }
        });
        done
    }

    /// A client's request, and where its reply goes. None: there was no room.
    pub(crate) fn request(&self, request: Request) -> Option<(RequestId, oneshot::Receiver<Reply>)> {
        let (reply, answer) = oneshot::channel();
        self.put(|state| {
            let id = state.next;
            if state.closed || state.inbox.push(NodeInput::Request { id, request }, Waits::Reply(reply)).is_err() {
                return None;
            }
            state.next = id.next();
            Some((id, answer))
        })
    }

    /// Nobody waits for the answer to this watch any more.
    pub(crate) fn cancel_watch(&self, id: RequestId) {
        self.give([NodeInput::CancelWatch { id }]);
    }

    /// A question about the node; the sender is dropped unanswered if the node has ended or too many ask.
    pub(crate) fn question(&self, answer: oneshot::Sender<NodeFacts>) {
        self.put(|state| {
            if !state.closed && state.questions.len() < MAX_QUESTIONS {
                state.questions.push(answer);
            }
        });
    }

    /// Ends the node's thread. What has arrived is dropped, and those who wait for it learn that; only what the disk says is still
    /// let in.
    pub(crate) fn close(&self) {
        self.put(|state| state.closed = true);
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
    use raft_core::{EntryId, NodeId, Round, Rpc, Term, WriteId};
    use std::sync::Arc;

    fn message() -> NodeInput {
        let rpc = Rpc::PreVote(raft_core::PreVote { term: Term(1), round: Round(1), last: EntryId::ZERO });
        NodeInput::Receive { from: NodeId(2), rpc }
    }

    fn query(bytes: usize) -> Request {
        Request::StaleQuery { query: Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn requests_are_numbered_and_refused_when_there_is_no_room() {
        let inbox = SharedInbox::new(&InboxLimits { max_messages: 1, max_requests: 2, ..InboxLimits::default() });
        let ids: Vec<_> = (0..3).map(|_| inbox.request(query(1)).map(|(id, _)| id)).collect();
        assert_eq!(ids, [Some(RequestId(1)), Some(RequestId(2)), None]);
        assert!(inbox.message(message()) && !inbox.message(message()));
        inbox.take(None, &mut Vec::new());
        assert_eq!(inbox.request(query(1)).map(|(id, _)| id), Some(RequestId(3)));
    }

    #[test]
    fn who_waits_is_woken() {
        let inbox = Arc::new(SharedInbox::default());
        let waiting = std::thread::spawn({
            let inbox = inbox.clone();
            move || {
                let mut inputs = Vec::new();
                inbox.take(None, &mut inputs);
                inputs.into_iter().map(|(input, _)| input).collect::<Vec<_>>()
            }
        });
        let persisted = NodeInput::Persisted { write: WriteId(7) };
        inbox.give([persisted.clone()]);
        assert_eq!(waiting.join().unwrap(), [persisted]);
    }

    #[test]
    fn a_closed_inbox_lets_in_only_the_disk() {
        let inbox = SharedInbox::default();
        inbox.close();
        assert!(!inbox.message(message()));
        assert!(inbox.request(query(1)).is_none());
        let (answer, mut facts) = oneshot::channel();
        inbox.question(answer);
        assert!(facts.try_recv().is_err(), "dropped, so whoever asked learns it");
        assert!(inbox.give_and_wait(NodeInput::TakeSnapshot).try_recv().is_err(), "the same");
        inbox.give([NodeInput::Persisted { write: WriteId(1) }, NodeInput::TakeSnapshot]);
        let mut inputs = Vec::new();
        assert!(inbox.take(None, &mut inputs).closed && inputs.len() == 2);
        assert!(inbox.take(None, &mut inputs).closed, "and stays closed");
    }
}
