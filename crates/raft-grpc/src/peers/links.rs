//! A stream to each member: follows the configuration in force. A new member is dialled, a member that moved is dialled anew, and the
//! stream to a removed one is closed with a delay after its removal is committed, behind the last messages to it.
//!
//! The delay only bounds the use of a socket: the core decides when a removed peer gets no more messages, an election timeout after
//! its removal at the latest, and a node that comes back later may still ask. So it stays here.

use super::dial::{Dialer, Dialing};
use raft_core::{Configuration, NodeId};
use raft_node::AddressBook;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

#[derive(Debug)]
pub(crate) struct Links {
    dialing: Dialing,
    book: Arc<AddressBook>,
    /// A removed member stays connected for so long: it can still receive the last messages, and send.
    linger: Duration,
    runtime: Handle,
    links: Mutex<BTreeMap<NodeId, Link>>,
}

#[derive(Debug)]
struct Link {
    /// The peer's address; empty: unknown. Dropping it closes the stream.
    url: watch::Sender<String>,
    /// The task that closes the stream, if the peer is removed.
    closing: Option<AbortHandle>,
}

impl Links {
    pub(crate) fn new(dialing: Dialing, book: Arc<AddressBook>, linger: Duration, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { dialing, book, linger, runtime, links: Mutex::default() })
    }

    /// Follows a configuration; none: the log has none yet. Members that it does not name stay connected until it is committed,
    /// because it may be replaced by the one before.
    pub(crate) fn follow(self: &Arc<Self>, configuration: Option<&Configuration>, committed: bool) {
        let own = self.dialing.identity.node;
        let mut members = self.book.members(configuration);
        members.remove(&own);
        let mut links = self.lock();
        for (&peer, address) in &members {
            self.dialing.directory.set_address(peer, address);
            if address.peer_url.is_empty() && !links.contains_key(&peer) {
                let id = peer.0;
                tracing::warn!(
                    "the address of member {id} is unknown: name it in `peers`, or `raft-grpc member update {id} --peer URL`"
                );
            }
            let link = links.entry(peer).or_insert_with(|| self.dial(peer));
            if let Some(closing) = link.closing.take() {
                closing.abort();
            }
            link.url.send_if_modified(|url| {
                let changed = *url != address.peer_url;
                url.clone_from(&address.peer_url);
                changed
            });
        }
        for (&peer, link) in links.iter_mut().filter(|(peer, _)| committed && !members.contains_key(peer)) {
            if link.closing.is_none() {
                let links = self.clone();
                let close = async move {
                    tokio::time::sleep(links.linger).await;
                    links.close(peer);
                };
                link.closing = Some(self.runtime.spawn(close).abort_handle());
            }
        }
    }

    fn dial(&self, peer: NodeId) -> Link {
        self.dialing.outbox.add(peer);
        let (url, urls) = watch::channel(String::new());
        self.runtime.spawn(Dialer { shared: self.dialing.clone(), peer }.run(urls));
        Link { url, closing: None }
    }

    fn close(&self, peer: NodeId) {
        let mut links = self.lock();
        // It may be a member again.
        if links.get(&peer).is_some_and(|link| link.closing.is_some()) {
            links.remove(&peer);
            self.dialing.outbox.remove(peer);
            self.dialing.directory.remove(peer);
            tracing::info!("node {} is removed: its stream is closed", peer.0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
