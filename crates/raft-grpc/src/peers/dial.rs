//! Keeps this node's stream to a peer open: it connects, sends the hello and then messages, and reconnects after a
//! growing pause.

use super::another_disk::is_another_disk;
use super::{KEEPALIVE, KEEPALIVE_TIMEOUT, MAX_MESSAGE_BYTES, Outbox, QUEUE};
use crate::directory::{Contact, Directory};
use crate::identity::Identity;
use crate::services::peer_client::PeerClient;
use raft_core::NodeId;
use raft_proto::wire::raft::{PeerRequest, PeerResponse, Received, peer_request, peer_response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// The first and the longest pause between attempts to connect.
const BACKOFF: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);
/// The longest time to connect, and to wait for the answer to the hello.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) identity: Arc<Identity>,
    pub(crate) peer: NodeId,
    pub(crate) url: String,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) directory: Arc<Directory>,
    /// The longest time without an acknowledgement of messages; then the stream is dropped.
    pub(crate) stall: Duration,
    /// Receives the peer that knows this node with another disk; then the node must end.
    pub(crate) refused: mpsc::Sender<NodeId>,
}

impl Dialer {
    /// Runs until its task is dropped, or until the peer knows this node with another disk.
    pub(crate) async fn run(self) {
        let mut pause = BACKOFF.start;
        let mut last_error = String::new();
        loop {
            let start = Instant::now();
            let end = self.stream().await;
            self.outbox.disconnect(self.peer);
            if is_another_disk(&end) {
                // One such refusal suffices: if the queue is full, another peer has refused this node.
                let _ = self.refused.try_send(self.peer);
                return;
            }
            // Each error is logged once, so that a peer that is down for hours causes one line.
            if last_error != end.message() {
                match end.code() {
                    Code::FailedPrecondition | Code::InvalidArgument => {
                        tracing::error!("peer {} at {} refuses this node: {}", self.peer.0, self.url, end.message());
                    }
                    _ => tracing::warn!("no stream to peer {} at {}: {}", self.peer.0, self.url, end.message()),
                }
                end.message().clone_into(&mut last_error);
            }
            if start.elapsed() > BACKOFF.end {
                pause = BACKOFF.start;
            }
            // The pause has full jitter.
            sleep(pause.mul_f64(fastrand::f64())).await;
            pause = (pause * 2).min(BACKOFF.end);
        }
    }

    /// Runs one stream, from the connection to its end; returns the reason for the end.
    async fn stream(&self) -> Status {
        match self.connect().await {
            Ok((queue, responses)) => {
                tracing::info!("connected to peer {} at {}", self.peer.0, self.url);
                self.send(queue, responses).await
            }
            Err(status) => status,
        }
    }

    async fn connect(&self) -> Result<(mpsc::Sender<PeerRequest>, Streaming<PeerResponse>), Status> {
        let channel = connect(&self.url).await?;
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (queue, requests) = mpsc::channel(QUEUE);
        let hello = PeerRequest { kind: Some(peer_request::Kind::Hello(self.identity.hello(self.peer))) };
        queue.try_send(hello).map_err(|_| Status::internal("the queue of a new stream has no room"))?;
        let accepted = async {
            let call = client.messages(Request::new(ReceiverStream::new(requests))).await?;
            let mut responses = call.into_inner();
            self.check(responses.message().await?)?;
            Ok((queue, responses))
        };
        timeout(TIMEOUT, accepted)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer the hello")))
    }

    /// Checks that the expected peer answered the hello.
    fn check(&self, response: Option<PeerResponse>) -> Result<(), Status> {
        let Some(peer_response::Kind::Hello(hello)) = response.and_then(|response| response.kind) else {
            return Err(Status::failed_precondition("its first answer is not a hello"));
        };
        if hello.node != self.peer.0 {
            return Err(Status::failed_precondition(format!("node {} answers at this address", hello.node)));
        }
        let contact =
            Contact { incarnation: hello.incarnation, client_url: hello.client_url, admin_url: hello.admin_url };
        self.directory.met(self.peer, contact).map_err(|seen| {
            Status::failed_precondition(format!("it runs on an old copy of its data folder (start {seen} was seen)"))
        })
    }

    /// Sends the node's messages until the stream ends or stalls.
    async fn send(&self, queue: mpsc::Sender<PeerRequest>, mut responses: Streaming<PeerResponse>) -> Status {
        let sent = self.outbox.connect(self.peer, queue);
        let mut acknowledged = 0;
        let mut progress = Instant::now();
        let mut check = interval(self.stall / 4);
        loop {
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(PeerResponse { kind: Some(peer_response::Kind::Received(Received { count })) })) => {
                        acknowledged = count;
                        progress = Instant::now();
                    }
                    Ok(Some(_)) => return Status::invalid_argument("unexpected answer"),
                    Ok(None) => return Status::unavailable("it ended the stream"),
                    Err(status) => return status,
                },
                _ = check.tick() => {
                    if sent.load(Ordering::Relaxed) <= acknowledged {
                        progress = Instant::now();
                    } else if progress.elapsed() > self.stall {
                        return Status::unavailable(format!("no acknowledgement from the peer for {:?}", self.stall));
                    }
                }
            }
        }
    }
}

pub(super) async fn connect(url: &str) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| Status::unknown(error.to_string()))?;
    let endpoint = endpoint
        .connect_timeout(TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    endpoint.connect().await.map_err(|error| Status::unavailable(sources(&error)))
}

/// Formats an error with all its causes: the first is often only "transport error".
fn sources(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}
