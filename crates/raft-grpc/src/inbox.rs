//! The node's inbox, shared between threads: a lock, a wake-up, and the senders that wait for an answer. [`raft_node::Inbox`] decides
//! what is accepted and in which order the node receives it.

use crate::clock;
use crate::node_thread::NodeFacts;
use raft_core::{Instant, NodeId, RequestId};
use raft_node::{InboxLimits, NodeInput, Reply, Request};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most status requests that wait.
const MAX_QUESTIONS: usize = 16_384;

#[derive(Debug)]
pub(crate) enum Waits {
    Nobody,
    /// A peer, which waits until the node has received the input and its outputs are sent.
    Given(oneshot::Sender<()>),
    Reply(oneshot::Sender<Replied>),
}

/// The reply to a client's request.
#[derive(Debug)]
pub(crate) struct Replied {
    pub(crate) reply: Reply,
    /// The leader that replied, if this node has forwarded the request to it.
    pub(crate) leader: Option<NodeId>,
}

impl From<Reply> for Replied {
    fn from(reply: Reply) -> Self {
        Self { reply, leader: None }
    }
}

/// The inputs of one call, besides the list.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The time of the call, read after the inputs were taken.
    pub(crate) now: Instant,
    pub(crate) questions: Vec<oneshot::Sender<NodeFacts>>,
    /// Whether the node's thread must end.
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct State {
    inbox: raft_node::Inbox<Waits>,
    next: RequestId,
    questions: Vec<oneshot::Sender<NodeFacts>>,
    closed: bool,
}

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
    pub(crate) fn new(limits: &InboxLimits) -> Self {
        let inbox = raft_node::Inbox::new(limits);
        let state = State { inbox, next: RequestId(1), questions: Vec::new(), closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that empties the inbox")]
    /// Appends all waiting inputs to `inputs`. Waits for one, but not longer than `limit` (`None` means no limit).
    pub(crate) fn take(&self, limit: Option<Duration>, inputs: &mut Vec<(NodeInput, Waits)>) -> Batch {
        let nothing = |state: &mut State| state.inbox.is_empty() && state.questions.is_empty() && !state.closed;
        let state = self.lock();
        let mut state = match limit {
            Some(limit) => {
                let waited = self.arrived.wait_timeout_while(state, limit, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrived.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        let now = state.inbox.take(inputs, clock::now);
        Batch { now, questions: std::mem::take(&mut state.questions), closed: state.closed }
    }

    pub(crate) fn give(&self, inputs: impl IntoIterator<Item = NodeInput>) {
        self.put(|state| inputs.into_iter().for_each(|input| drop(state.inbox.push(input, Waits::Nobody))));
    }

    /// Adds a peer's message. Returns false if there is no space and the message is dropped.
    pub(crate) fn message(&self, input: NodeInput) -> bool {
        self.put(|state| !state.closed && state.inbox.push(input, Waits::Nobody).is_ok())
    }

    /// Adds an input. The receiver is ready when the node has received it, and fails if it never will.
    pub(crate) fn give_and_wait(&self, input: NodeInput) -> oneshot::Receiver<()> {
        let (given, done) = oneshot::channel();
        self.put(|state| {
            if !state.closed {
                // A refused input is dropped, so the receiver fails.
                drop(state.inbox.push(input, Waits::Given(given)));
            }
        });
        done
    }

    /// Adds a client's request and returns the receiver of its reply. `None` means that there is no space.
    pub(crate) fn request(&self, request: Request) -> Option<(RequestId, oneshot::Receiver<Replied>)> {
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

    pub(crate) fn cancel_watch(&self, id: RequestId) {
        self.give([NodeInput::CancelWatch { id }]);
    }

    /// Requests the node's status; the sender is dropped if the node has ended or too many requests wait.
    pub(crate) fn ask_facts(&self, answer: oneshot::Sender<NodeFacts>) {
        self.put(|state| {
            if !state.closed && state.questions.len() < MAX_QUESTIONS {
                state.questions.push(answer);
            }
        });
    }

    /// Ends the node's thread. It drops the waiting inputs and their senders, and then accepts only results of the
    /// disk.
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

    /// Every change is one step, so the state is consistent even after a panic with the lock held.
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
    fn requests_are_numbered_and_refused_without_space() {
        let inbox = SharedInbox::new(&InboxLimits { max_messages: 1, max_requests: 2, ..InboxLimits::default() });
        let ids: Vec<_> = (0..3).map(|_| inbox.request(query(1)).map(|(id, _)| id)).collect();
        assert_eq!(ids, [Some(RequestId(1)), Some(RequestId(2)), None]);
        assert!(inbox.message(message()) && !inbox.message(message()));
        inbox.take(None, &mut Vec::new());
        assert_eq!(inbox.request(query(1)).map(|(id, _)| id), Some(RequestId(3)));
    }

    #[test]
    fn a_waiting_thread_is_woken() {
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
    fn a_closed_inbox_accepts_only_results_of_the_disk() {
        let inbox = SharedInbox::default();
        inbox.close();
        assert!(!inbox.message(message()));
        assert!(inbox.request(query(1)).is_none());
        let (answer, mut facts) = oneshot::channel();
        inbox.ask_facts(answer);
        assert!(facts.try_recv().is_err(), "dropped, so the caller gets an error");
        assert!(inbox.give_and_wait(NodeInput::TakeSnapshot).try_recv().is_err(), "the same");
        inbox.give([NodeInput::Persisted { write: WriteId(1) }, NodeInput::TakeSnapshot]);
        let mut inputs = Vec::new();
        assert!(inbox.take(None, &mut inputs).closed && inputs.len() == 2);
        assert!(inbox.take(None, &mut inputs).closed, "and stays closed");
    }
}
