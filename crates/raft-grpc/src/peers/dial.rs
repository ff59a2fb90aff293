//! Keeps this node's stream to a peer open, at the peer's present address: it connects, sends the hello and then
//! messages, and reconnects after a growing pause.

use super::refusal_marks::{is_another_disk, is_not_a_member};
use super::{KEEPALIVE, KEEPALIVE_TIMEOUT, MAX_MESSAGE_BYTES, Outbox, QUEUE};
use crate::directory::{Contact, Directory};
use crate::identity::Identity;
use crate::services::peer_client::PeerClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use raft_core::NodeId;
use raft_proto::wire::raft::{Hello, PeerRequest, PeerResponse, Received, peer_request, peer_response};
use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// The first and the longest pause between attempts to connect.
const BACKOFF: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);
/// The longest time to connect, and to wait for the answer to the hello.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the streams to all peers share.
#[derive(Clone, Debug)]
pub(crate) struct Dialing {
    pub(crate) identity: Arc<Identity>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) directory: Arc<Directory>,
    /// The longest time without an acknowledgement of messages; then the stream is dropped.
    pub(crate) stall: Duration,
    /// Receives the peer that knows this node with another disk; then the node must end.
    pub(crate) refused: mpsc::Sender<NodeId>,
}

#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) shared: Dialing,
    pub(crate) peer: NodeId,
}

/// Why the work on one address ends.
enum End {
    /// The stream, or the attempt to open one, ended.
    Stream(Status),
    /// The peer has another address.
    Moved,
    /// The node is no peer any more, and the stream is closed.
    Removed,
}

impl Dialer {
    /// Runs until the sender of the peer's URLs is dropped, or the peer knows this node with another disk.
    pub(crate) async fn run(self, mut urls: watch::Receiver<String>) {
        let mut pause = BACKOFF.start;
        let mut last_error = String::new();
        // Whether the peer has refused this node as no member: then it only asks whether that is so.
        let mut asks = false;
        loop {
            let url = urls.borrow_and_update().clone();
            let start = Instant::now();
            let end = match self.follow(&url, asks, &mut urls).await {
                End::Stream(end) => end,
                End::Moved => {
                    pause = BACKOFF.start;
                    continue;
                }
                End::Removed => return,
            };
            if is_another_disk(&end) {
                // One such refusal suffices: if the queue is full, another peer has refused this node.
                let _ = self.shared.refused.try_send(self.peer);
                return;
            }
            asks = is_not_a_member(&end);
            // Each error is logged once, so that a peer that is down for hours causes one line.
            if last_error != end.message() {
                match end.code() {
                    Code::FailedPrecondition | Code::InvalidArgument => {
                        tracing::error!("peer {} at {url} refuses this node: {}", self.peer.0, end.message());
                    }
                    _ => tracing::warn!("no stream to peer {} at {url}: {}", self.peer.0, end.message()),
                }
                end.message().clone_into(&mut last_error);
            }
            if start.elapsed() > BACKOFF.end {
                pause = BACKOFF.start;
            }
            // The pause has full jitter. A new address is tried at once.
            tokio::select! {
                () = sleep(pause.mul_f64(fastrand::f64())) => {}
                _ = urls.changed() => {}
            }
            pause = (pause * 2).min(BACKOFF.end);
        }
    }

    /// One stream to the peer at `url`, until it ends or the peer's address changes. Without a URL, waits for one.
    async fn follow(&self, url: &str, asks: bool, urls: &mut watch::Receiver<String>) -> End {
        if url.is_empty() {
            return if urls.changed().await.is_ok() { End::Moved } else { End::Removed };
        }
        let mut stream = pin!(self.stream(url, asks));
        let end = tokio::select! {
            end = &mut stream => End::Stream(end),
            changed = urls.changed() => if changed.is_ok() { End::Moved } else { End::Removed },
        };
        self.shared.outbox.disconnect(self.peer);
        if matches!(end, End::Removed) {
            // The queue has no sender any more: the stream ends after its last message.
            let _: Result<Status, _> = timeout(TIMEOUT, stream).await;
        }
        end
    }

    /// Runs one stream, from the connection to its end; returns the reason for the end.
    async fn stream(&self, url: &str, asks: bool) -> Status {
        match self.connect(url, asks).await {
            Ok((queue, responses, takes_forwarded)) => {
                tracing::info!("connected to peer {} at {url}", self.peer.0);
                self.send(queue, responses, takes_forwarded).await
            }
            Err(status) => status,
        }
    }

    /// Looks the name in `url` up anew. Returns whether the peer takes forwarded requests, too.
    async fn connect(
        &self,
        url: &str,
        asks: bool,
    ) -> Result<(mpsc::Sender<PeerRequest>, Streaming<PeerResponse>, bool), Status> {
        let channel = connect(url).await?;
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (queue, requests) = mpsc::channel(QUEUE);
        let hello = Hello { asks, ..self.shared.identity.hello(self.peer) };
        let hello = PeerRequest { kind: Some(peer_request::Kind::Hello(hello)) };
        queue.try_send(hello).map_err(|_| Status::internal("the queue of a new stream has no room"))?;
        let accepted = async {
            let call = client.messages(Request::new(ReceiverStream::new(requests))).await?;
            let mut responses = call.into_inner();
            let takes_forwarded = self.check(responses.message().await?)?;
            Ok((queue, responses, takes_forwarded))
        };
        timeout(TIMEOUT, accepted)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer the hello")))
    }

    /// Checks that the expected peer answered the hello, and returns whether it takes forwarded requests.
    fn check(&self, response: Option<PeerResponse>) -> Result<bool, Status> {
        let Some(peer_response::Kind::Hello(hello)) = response.and_then(|response| response.kind) else {
            return Err(Status::failed_precondition("its first answer is not a hello"));
        };
        if hello.node != self.peer.0 {
            return Err(Status::failed_precondition(format!("node {} answers at this address", hello.node)));
        }
        let contact =
            Contact { incarnation: hello.incarnation, client_url: hello.client_url, admin_url: hello.admin_url };
        let takes_forwarded = hello.takes_forwarded;
        self.shared.directory.met(self.peer, contact).map(|()| takes_forwarded).map_err(|seen| {
            Status::failed_precondition(format!("it runs on an old copy of its data folder (start {seen} was seen)"))
        })
    }

    /// Sends the node's messages until the stream ends or stalls.
    async fn send(
        &self,
        queue: mpsc::Sender<PeerRequest>,
        mut responses: Streaming<PeerResponse>,
        takes_forwarded: bool,
    ) -> Status {
        let sent = self.shared.outbox.connect(self.peer, queue, takes_forwarded);
        let mut acknowledged = 0;
        let mut progress = Instant::now();
        let mut check = interval(self.shared.stall / 4);
        loop {
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(PeerResponse { kind: Some(peer_response::Kind::Received(Received { count })) })) => {
                        acknowledged = count;
                        progress = Instant::now();
                    }
                    Ok(Some(PeerResponse { kind: Some(peer_response::Kind::Answer(answer)) })) => {
                        if let Err(status) = self.shared.outbox.receive_answer(self.peer, answer) {
                            return status;
                        }
                    }
                    Ok(Some(_)) => return Status::invalid_argument("unexpected answer"),
                    Ok(None) => return Status::unavailable("it ended the stream"),
                    Err(status) => return status,
                },
                _ = check.tick() => {
                    if sent.load(Ordering::Relaxed) <= acknowledged {
                        progress = Instant::now();
                    } else if progress.elapsed() > self.shared.stall {
                        return Status::unavailable(format!("no acknowledgement from the peer for {:?}", self.shared.stall));
                    }
                }
            }
        }
    }
}

/// Connects once: the name in `url` is looked up in this call.
pub(super) async fn connect(url: &str) -> Result<Channel, Status> {
    connect_by(url, GaiResolver::new()).await
}

async fn connect_by<R>(url: &str, resolver: R) -> Result<Channel, Status>
where
    R: tower::Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<Box<dyn Error + Send + Sync>>>,
    R: Clone + Send + Sync + 'static,
    R::Future: Send,
{
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(TIMEOUT));
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| Status::unknown(error.to_string()))?;
    let endpoint = endpoint
        .connect_timeout(TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector(connector).await.map_err(|error| Status::unavailable(sources(&error)))
}

/// Formats an error with all its causes: the first is often only "transport error".
fn sources(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Mutex;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_name_is_looked_up_at_each_attempt() {
        let before = TcpListener::bind("127.0.0.1:0").await.expect("an address of this machine");
        let port = before.local_addr().expect("it is bound").port();
        let after = TcpListener::bind(("127.0.0.2", port)).await.expect("an address of this machine");
        let address = Arc::new(Mutex::new(before.local_addr().expect("it is bound")));
        let resolver = {
            let address = address.clone();
            tower::service_fn(move |_: Name| {
                let found = *address.lock().expect("no test panics with it");
                std::future::ready(Ok::<_, Infallible>(std::iter::once(found)))
            })
        };
        let url = format!("http://peer.example:{port}");
        for listener in [&before, &after] {
            *address.lock().expect("no test panics with it") = listener.local_addr().expect("it is bound");
            let channel = connect_by(&url, resolver.clone());
            let (channel, accepted) = tokio::join!(channel, timeout(TIMEOUT, listener.accept()));
            assert!(channel.is_ok() && accepted.is_ok_and(|accepted| accepted.is_ok()), "{listener:?}");
        }
    }
}
