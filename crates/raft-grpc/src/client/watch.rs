//! A watch that outlives its node: it goes on at another behind the last revision it has seen.
//!
//! Revisions are whole in every answer, so that the last one seen says all there is to say: nothing is skipped, nothing comes
//! twice, and it never goes back.

use super::ask::words;
use super::nodes::Nodes;
use super::outcome::{Changes, read_answer};
use super::retry::RetryState;
use super::{ClientError, ClientOptions, not_leader};
use raft_kv::command::{Answer, KeyRange, Query, Watch as WatchQuery};
use raft_proto::wire::raft::{Answer as WireAnswer, Refused, WatchRequest, WatchResponse, refused, watch_response};
use tonic::Streaming;

/// A watch of the changes of a range. One node at a time tells it what it has applied, which may be late: a watch is no
/// linearizable read, and a node that hears of nothing has nothing to tell.
#[derive(Debug)]
pub struct Watch {
    options: ClientOptions,
    nodes: Nodes,
    range: KeyRange,
    /// The first revision that is not seen; 0: whatever comes.
    next: u64,
    stream: Option<Streaming<WatchResponse>>,
    /// Whether it has told anything.
    told: bool,
}

impl Watch {
    pub(super) fn new(options: ClientOptions, range: KeyRange, from: u64) -> Result<Self, ClientError> {
        let nodes = Nodes::new(&options)?;
        Ok(Self { options, nodes, range, next: from, stream: None, told: false })
    }

    /// The next changes; waits for them as long as it takes. If no node can be asked for them, it tries others until the
    /// deadline of an operation has passed. A future that is dropped loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Compacted`] if the nodes do not remember what comes next; [`ClientError::NoEffect`] if no node answers;
    /// [`ClientError::Refused`].
    pub async fn next(&mut self) -> Result<Changes, ClientError> {
        self.nodes.forget_what_was_heard();
        let mut retry = RetryState::new(&self.options);
        loop {
            let heard = match &mut self.stream {
                Some(stream) => match stream.message().await {
                    Ok(Some(WatchResponse { outcome: Some(watch_response::Outcome::Answer(answer)) })) => {
                        return self.read(&answer);
                    }
                    Ok(Some(WatchResponse { outcome: Some(watch_response::Outcome::Refused(refused)) })) => {
                        why(&refused)
                    }
                    Ok(Some(WatchResponse { outcome: None })) => "sent an answer that cannot be read".into(),
                    Ok(None) => "has ended the watch".into(),
                    Err(status) => words(&status),
                },
                None => match self.connect(&mut retry).await? {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(heard) => heard,
                },
            };
            self.stream = None;
            if std::mem::take(&mut self.told) {
                // It was told until now: the time without a node begins here.
                retry = RetryState::new(&self.options);
            }
            let url = self.nodes.target();
            self.nodes.hear(&url, heard);
            self.nodes.pass_on(&url);
            retry.pause().await;
        }
    }

    /// A stream of the next node, or what was heard from it instead.
    async fn connect(
        &mut self,
        retry: &mut RetryState,
    ) -> Result<Result<Streaming<WatchResponse>, String>, ClientError> {
        let Some(left) = retry.left() else { return Err(self.nodes.gave_up(retry)) };
        let mut stub = self.nodes.stub(&self.nodes.target())?;
        retry.count_attempt();
        let watch = WatchQuery { range: self.range.clone(), from: self.next, begun: false };
        let request = WatchRequest { query: Query::Watch(watch).encode() };
        let stream = tokio::time::timeout(left.min(self.options.attempt_timeout), stub.watch(request)).await;
        Ok(match stream {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(words(&status)),
            Err(_) => Err("no answer in time".into()),
        })
    }

    fn read(&mut self, answer: &WireAnswer) -> Result<Changes, ClientError> {
        match read_answer(answer) {
            Some(Answer::Changes { events, through }) => {
                self.told = true;
                self.next = self.next.max(through.saturating_add(1));
                Ok(Changes { events, through })
            }
            Some(Answer::Compacted { oldest, revision }) => {
                self.stream = None;
                Err(ClientError::Compacted { from: self.next, oldest, revision })
            }
            _ => {
                self.stream = None;
                Err(self.nodes.misread(false))
            }
        }
    }
}

/// Why a node does not tell.
fn why(refused: &Refused) -> String {
    match &refused.reason {
        Some(refused::Reason::NotLeader(hint)) => not_leader(hint),
        Some(refused::Reason::Busy(_)) => "has too many watches".into(),
        Some(refused::Reason::NoSpace(_)) => "has no space left on its disk".into(),
        Some(refused::Reason::Stopped(_)) => "has stopped for good".into(),
        Some(refused::Reason::Lost(_)) | None => "refused without a reason".into(),
    }
}
