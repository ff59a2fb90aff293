//! A watch that survives its node: it continues at another node after the last revision it received.
//!
//! Every answer has whole revisions, so the client can continue after the last one: no change is skipped or repeated.

use crate::ask::{cause, reason};
use crate::client::ClientOptions;
use crate::error::ClientError;
use crate::find_leader::Nodes;
use crate::outcome::Changes;
use crate::retry::RetryState;
use bytes::Bytes;
use raft_kv::command::{Answer, KeyRange, Query, Watch as WatchQuery};
use raft_proto::wire::raft::{Answer as WireAnswer, WatchRequest, WatchResponse, watch_response::Outcome};
use tonic::Streaming;

/// A watch of the changes of a range. One node at a time sends the changes that it has applied, perhaps late: a watch
/// is not a linearizable read, and a node without contact to the cluster sends nothing.
#[derive(Debug)]
pub struct Watch {
    options: ClientOptions,
    nodes: Nodes,
    range: KeyRange,
    /// The first revision not received yet; 0 means the next one that the node applies.
    next: u64,
    /// The cluster of what it has received; empty: nothing yet.
    cluster_id: Bytes,
    stream: Option<Streaming<WatchResponse>>,
    /// Whether the stream has delivered an answer.
    answered: bool,
}

impl Watch {
    pub(crate) fn new(options: ClientOptions, nodes: Nodes, range: KeyRange, from: u64) -> Self {
        Self { options, nodes, range, next: from, cluster_id: Bytes::new(), stream: None, answered: false }
    }

    /// The next changes; waits for them without limit. If a node fails, it tries others until an operation's deadline has
    /// passed. A dropped future loses no change.
    ///
    /// # Errors
    /// [`ClientError::Compacted`] if the nodes no longer remember the next changes; [`ClientError::OtherCluster`] if they belong to another
    /// cluster than before; [`ClientError::NoEffect`] if no node answers; [`ClientError::Refused`].
    pub async fn next(&mut self) -> Result<Changes, ClientError> {
        self.nodes.clear_failures();
        let mut retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
        loop {
            let failure = match &mut self.stream {
                Some(stream) => match stream.message().await {
                    Ok(Some(WatchResponse { outcome: Some(Outcome::Answer(answer)), cluster_id })) => {
                        return self.read(&answer, cluster_id);
                    }
                    Ok(Some(WatchResponse { outcome: Some(Outcome::OtherCluster(_)), .. })) => {
                        self.stream = None;
                        return Err(ClientError::OtherCluster { from: self.next });
                    }
                    Ok(Some(WatchResponse { outcome: Some(Outcome::Refused(refused)), .. })) => reason(&refused),
                    Ok(Some(WatchResponse { outcome: None, .. })) => "sent an answer that cannot be read".into(),
                    Ok(None) => "ended the watch".into(),
                    Err(status) => cause(&status),
                },
                None => match self.connect(&mut retry).await? {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(failure) => failure,
                },
            };
            self.stream = None;
            if std::mem::take(&mut self.answered) {
                // The node answered until now, so the deadline starts here.
                retry = RetryState::new(&self.options, self.nodes.attempt_timeout());
            }
            let url = self.nodes.target();
            self.nodes.add_failure(&url, failure);
            self.nodes.skip(&url);
            retry.pause().await;
        }
    }

    /// A stream of the next node, or the reason why there is none.
    async fn connect(
        &mut self,
        retry: &mut RetryState,
    ) -> Result<Result<Streaming<WatchResponse>, String>, ClientError> {
        let Some(left) = retry.left() else { return Err(self.nodes.gave_up(retry)) };
        let mut stub = self.nodes.stub(&self.nodes.target())?;
        retry.attempts += 1;
        let watch = WatchQuery { range: self.range.clone(), from: self.next, begun: false };
        let request = WatchRequest { query: Query::Watch(watch).encode(), cluster_id: self.cluster_id.clone() };
        let stream = tokio::time::timeout(left.min(self.nodes.attempt_timeout()), stub.watch(request)).await;
        Ok(match stream {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(cause(&status)),
            Err(_) => Err("no answer in time".into()),
        })
    }

    fn read(&mut self, answer: &WireAnswer, cluster_id: Bytes) -> Result<Changes, ClientError> {
        match Answer::decode(&answer.response) {
            Some(Answer::Changes { events, through }) => {
                self.answered = true;
                self.cluster_id = cluster_id;
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
