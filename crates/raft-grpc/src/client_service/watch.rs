//! The streams of watches: each asks the node the next query, which the last answer names, once its client can take the answer.
//!
//! Watches with the same next query share one request to the node and its answer. So watches of one prefix cost the node as much
//! as one: those that take every answer at once have the same next query again. A slow client has no queue: its next query waits, and
//! its answer then has all changes since, as long as the node remembers them; else it says from where to continue.
//!
//! A node gives so many answers per second to all watches together. Beyond that a watch pauses before it asks its next query, and what
//! changes meanwhile comes in one answer. *Without it:* many watches of keys that change often take all processors, and a put waits for
//! them. A watch that has waited for its change gets it at once.

use crate::inbox::SharedInbox;
use bytes::Bytes;
use raft_core::{RejectReason, RequestId};
use raft_node::{Reply, Request};
use raft_proto::wire::raft::{self as w, watch_response::Outcome};
use raft_store::ClusterId;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

/// So many watches get an answer before other tasks run: the watches of a popular prefix must not delay a request.
const AT_ONCE: usize = 16;

/// The average time between two answers, if more watches ask.
const PACE: Duration = Duration::from_micros(100);
/// Pauses end at multiples of this, so watches that pause ask together and share an answer.
const STEP: Duration = Duration::from_millis(10);
/// No pause is longer: a node remembers a limited number of changes.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A query, and the cluster in which the watch began, if it continues from there.
pub(crate) type Asked = (Bytes, Option<ClusterId>);

/// The queries that wait for the node, each with the watches that wait for its answer.
#[derive(Clone, Debug)]
pub(crate) struct SharedWatches {
    inbox: Arc<SharedInbox>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    queries: BTreeMap<Asked, Waiting>,
    /// The number of the next watch that waits.
    next: u64,
    pace: Pace,
}

/// When watches may ask.
#[derive(Debug)]
struct Pace {
    origin: Instant,
    /// When the next one may, at this average rate.
    free_at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self { origin: now, free_at: now }
    }
}

impl Pace {
    /// When the next watch may ask; none: at once.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        let at = self.free_at.clamp(now, now + LONGEST_PAUSE);
        self.free_at = at + PACE;
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let multiple = nanos(at - self.origin).next_multiple_of(nanos(STEP));
        (at - now >= STEP).then(|| self.origin + Duration::from_nanos(multiple))
    }
}

#[derive(Debug)]
struct Waiting {
    watches: BTreeMap<u64, oneshot::Sender<Reply>>,
    /// Asks the node; dropping it cancels the node's watch.
    _request: AbortOnDropHandle<()>,
}

impl SharedWatches {
    pub(crate) fn new(inbox: Arc<SharedInbox>) -> Self {
        Self { inbox, state: Arc::default() }
    }

    /// The node's reply to a query; unknown if the node ends first.
    pub(crate) async fn ask(&self, asked: Asked) -> Reply {
        let pause = self.lock().pace.next(Instant::now());
        if let Some(until) = pause {
            tokio::time::sleep_until(until).await;
        }
        let (sender, reply) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            let number = state.next;
            state.next += 1;
            let waiting = state.queries.entry(asked.clone()).or_insert_with(|| Waiting {
                watches: BTreeMap::new(),
                _request: AbortOnDropHandle::new(tokio::spawn(self.clone().ask_node(asked.clone()))),
            });
            waiting.watches.insert(number, sender);
            number
        };
        let _leave = Leave { shared: self, asked, number };
        reply.await.unwrap_or(Reply::Unknown)
    }

    /// Asks the node, and gives its reply to all that wait for it by then.
    async fn ask_node(self, asked: Asked) {
        let (query, cluster) = asked.clone();
        let reply = match self.inbox.request(Request::Watch { query, cluster }) {
            None => Reply::Rejected { reason: RejectReason::Busy },
            Some((id, reply)) => {
                let mut open = OpenWatch { inbox: &self.inbox, id: Some(id) };
                let reply = reply.await.map_or(Reply::Unknown, |replied| replied.reply);
                open.id = None;
                reply
            }
        };
        // The request is this task: it must not end here.
        let Some(Waiting { watches, _request }) = self.lock().queries.remove(&asked) else { return };
        let mut watches = watches.into_values().peekable();
        while watches.peek().is_some() {
            // A watch may be gone.
            watches.by_ref().take(AT_ONCE).for_each(|watch| drop(watch.send(reply.clone())));
            tokio::task::yield_now().await;
        }
    }

    /// Every change is one step, so the state is consistent even after a panic with the lock held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch that waits. The last one to leave cancels the node's watch.
struct Leave<'a> {
    shared: &'a SharedWatches,
    asked: Asked,
    number: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        // Nothing is left of it once it has its reply.
        let waiting = state.queries.get_mut(&self.asked);
        let is_last =
            waiting.is_some_and(|waiting| waiting.watches.remove(&self.number).is_some() && waiting.watches.is_empty());
        let cancelled = is_last.then(|| state.queries.remove(&self.asked));
        drop(state);
        drop(cancelled);
    }
}

/// A request to the node without a reply; dropping it cancels the node's watch.
struct OpenWatch<'a> {
    inbox: &'a SharedInbox,
    /// None once it is answered.
    id: Option<RequestId>,
}

impl Drop for OpenWatch<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.inbox.cancel_watch(id);
        }
    }
}

type Answer = Result<w::WatchResponse, Status>;
/// Waits for an answer and the next query; none: the stream ends.
type Asking = Pin<Box<dyn Future<Output = (Answer, Option<Bytes>)> + Send>>;

/// The answers to one watch. It asks the next query when it is polled for the next answer, so only once the client takes it.
pub(crate) struct WatchAnswers {
    ask: Box<dyn Fn(Asked) -> Asking + Send>,
    asking: Option<Asking>,
}

impl WatchAnswers {
    /// Begins with `first`, at a node of the cluster `own`. `ask` gets an outcome and the next query, if there is one.
    pub(super) fn new<F: Future<Output = (Outcome, Option<Bytes>)> + Send + 'static>(
        first: Asked,
        own: ClusterId,
        ask: impl Fn(Asked) -> F + Send + 'static,
        closing: CancellationToken,
    ) -> Self {
        let cluster_id = Bytes::copy_from_slice(&own.0);
        let ask = move |asked| -> Asking {
            let (answer, closing, cluster_id) = (ask(asked), closing.clone(), cluster_id.clone());
            Box::pin(async move {
                tokio::select! {
                    (outcome, next) = answer => (Ok(w::WatchResponse { outcome: Some(outcome), cluster_id }), next),
                    () = closing.cancelled_owned() => {
                        (Err(Status::unavailable("the node is ending: continue at another")), None)
                    }
                }
            })
        };
        Self { asking: Some(ask(first)), ask: Box::new(ask) }
    }
}

impl Stream for WatchAnswers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(asking) = &mut self.asking else { return Poll::Ready(None) };
        let (answer, next) = ready!(asking.as_mut().poll(context));
        // The next query is this node's own.
        self.asking = next.map(|query| (self.ask)((query, None)));
        Poll::Ready(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Waits;
    use raft_core::LogIndex;
    use raft_node::NodeInput;
    use std::future::ready;
    use tokio_stream::StreamExt;

    const OWN: ClusterId = ClusterId([7; 16]);

    fn describe(response: Option<Answer>) -> String {
        match response {
            Some(Ok(response)) => format!("{:?}", response.outcome.expect("an outcome")),
            Some(Err(status)) => format!("{:?}", status.code()),
            None => "the end".to_owned(),
        }
    }

    #[tokio::test]
    async fn answers_follow_each_other_until_there_is_nothing_to_ask() {
        // Repeats the question, and asks for a longer one next; ends at four bytes.
        let echo = |(query, _): Asked| {
            let next = (query.len() < 4).then(|| [&query[..], b"+"].concat().into());
            ready((Outcome::Answer(w::Answer { applied: 7, response: query }), next))
        };
        let mut stream = WatchAnswers::new((Bytes::from_static(b"ab"), None), OWN, echo, CancellationToken::new());
        for expected in ["ab", "ab+", "ab++"] {
            let answer = format!("Answer(Answer {{ applied: 7, response: b\"{expected}\" }})");
            assert_eq!(describe(stream.next().await), answer);
        }
        assert_eq!(describe(stream.next().await), "the end");
    }

    #[tokio::test]
    async fn it_ends_when_the_node_ends() {
        let (never, closing) = (|_| std::future::pending(), CancellationToken::new());
        let mut waiting = WatchAnswers::new((Bytes::new(), None), OWN, never, closing.clone());
        closing.cancel();
        assert_eq!(describe(waiting.next().await), "Unavailable");
        assert!(waiting.next().await.is_none());
    }

    /// What the node gets, without the ids. `open` keeps the senders of the replies: dropping one is a reply, too.
    async fn inputs(inbox: &SharedInbox, open: &mut Vec<Waits>) -> Vec<String> {
        // The request is made by a task.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut inputs = Vec::new();
        inbox.take(Some(Duration::ZERO), &mut inputs);
        let describe = |input| match input {
            NodeInput::Request { request: Request::Watch { query, .. }, .. } => format!("{query:?}"),
            NodeInput::CancelWatch { .. } => "cancelled".to_owned(),
            other => format!("{other:?}"),
        };
        let (inputs, senders): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        open.extend(senders);
        inputs.into_iter().map(describe).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_query_is_asked_once_and_cancelled_when_the_last_watch_leaves() {
        let inbox = Arc::new(SharedInbox::default());
        let shared = SharedWatches::new(inbox.clone());
        let ask = |query: &'static str| {
            let shared = shared.clone();
            tokio::spawn(async move { shared.ask((Bytes::from_static(query.as_bytes()), None)).await })
        };
        let watches = [ask("a"), ask("a"), ask("b"), ask("a")];
        let mut open = Vec::new();
        assert_eq!(inputs(&inbox, &mut open).await, ["b\"a\"", "b\"b\""]);
        watches[0].abort();
        watches[2].abort();
        assert_eq!(inputs(&inbox, &mut open).await, ["cancelled"]);
        watches[1].abort();
        watches[3].abort();
        assert_eq!(inputs(&inbox, &mut open).await, ["cancelled"]);
        assert!(shared.lock().queries.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn few_watches_ask_at_once_and_many_pause_together() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut pauses = |now, count| {
            (0..count).map(|_| pace.next(now).map_or(0, |at| (at - began).as_millis())).collect::<Vec<_>>()
        };
        let mut groups = pauses(began, 1_000);
        groups.dedup();
        assert_eq!(groups, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(pauses(began, 100_000).last(), Some(&250), "no pause is much longer");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pauses(Instant::now(), 100), [0; 100], "nobody has asked for long");
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_wait_get_the_one_reply() {
        let inbox = Arc::new(SharedInbox::default());
        let shared = SharedWatches::new(inbox.clone());
        let watches: Vec<_> = (0..100)
            .map(|_| {
                let shared = shared.clone();
                tokio::spawn(async move { shared.ask((Bytes::from_static(b"abc"), None)).await })
            })
            .collect();
        // The last ones pause.
        tokio::time::sleep(2 * STEP).await;
        let mut inputs = Vec::new();
        inbox.take(Some(Duration::ZERO), &mut inputs);
        let Some((_, crate::inbox::Waits::Reply(reply))) = inputs.pop() else { panic!("nothing is asked") };
        assert!(inputs.is_empty());
        let expected = Reply::Watched { applied: LogIndex(7), response: "r".into(), next: None };
        reply.send(expected.clone().into()).expect("a task waits");
        for watch in watches {
            assert_eq!(watch.await.expect("it ends"), expected);
        }
        assert!(shared.lock().queries.is_empty());
    }
}
