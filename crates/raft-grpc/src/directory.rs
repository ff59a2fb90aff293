//! The facts that this process knows about its peers: their addresses, their connections, and the times of their last
//! messages. The connections update it.

use raft_core::{Instant, NodeId};
use raft_proto::wire::raft::MemberContext;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// A node's start and its URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contact {
    /// The number of its start on its data folder, from 1; 0 means unknown.
    pub(crate) incarnation: u64,
    /// The URL for clients. It is empty if unknown.
    pub(crate) client_url: String,
    /// The URL for operators. It is empty if unknown.
    pub(crate) admin_url: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PeerFacts {
    /// Where its peers reach it, and clients; empty: unknown. From the log, or else from the settings.
    pub(crate) address: MemberContext,
    /// What it says about itself.
    pub(crate) contact: Contact,
    pub(crate) connected: bool,
    pub(crate) last_message: Option<Instant>,
    /// The number of dropped messages to it: without a connection, or with a full queue.
    pub(crate) dropped: u64,
    stream: Option<CancellationToken>,
    /// Ends the wait of its last snapshot chunk.
    chunk: Option<CancellationToken>,
}

impl PeerFacts {
    /// Where clients reach it: what it says itself is newer than the log. Empty: unknown.
    pub(crate) fn client_url(&self) -> &str {
        if self.contact.client_url.is_empty() { &self.address.client_url } else { &self.contact.client_url }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Directory {
    peers: Mutex<BTreeMap<NodeId, PeerFacts>>,
    cut: AtomicBool,
}

impl Directory {
    /// A peer is at this address. From now on its calls are accepted.
    pub(crate) fn set_address(&self, peer: NodeId, address: &MemberContext) {
        self.lock().entry(peer).or_default().address.clone_from(address);
    }

    /// A node is no peer any more: it is forgotten, its stream ends, and its calls are refused. *With the stream:* a node that starts
    /// again just after its removal asks on it, gets no answer, and never learns that it is out.
    pub(crate) fn remove(&self, peer: NodeId) {
        let removed = self.lock().remove(&peer);
        removed.and_then(|facts| facts.stream).inspect(CancellationToken::cancel);
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn get(&self, peer: NodeId) -> Option<PeerFacts> {
        self.lock().get(&peer).cloned()
    }

    /// A node's URL for clients; empty if unknown.
    pub(crate) fn client_url(&self, node: NodeId) -> String {
        self.lock().get(&node).map(PeerFacts::client_url).unwrap_or_default().to_owned()
    }

    pub(crate) fn update(&self, peer: NodeId, change: impl FnOnce(&mut PeerFacts)) {
        if let Some(facts) = self.lock().get_mut(&peer) {
            change(facts);
        }
    }

    /// Stores a peer's contact data. It fails with the highest known incarnation if this one is older.
    pub(crate) fn met(&self, peer: NodeId, contact: Contact) -> Result<(), u64> {
        let mut peers = self.lock();
        let Some(facts) = peers.get_mut(&peer) else { return Ok(()) };
        if contact.incarnation < facts.contact.incarnation {
            return Err(facts.contact.incarnation);
        }
        facts.contact = contact;
        Ok(())
    }

    /// Notes a stream that a peer has opened, which replaces its last one. The token is cancelled when the stream must
    /// end.
    pub(crate) fn stream_opened(&self, peer: NodeId) -> CancellationToken {
        self.replaces(peer, |facts| &mut facts.stream)
    }

    /// Notes a snapshot chunk from a peer, which replaces its last one. The token is cancelled when the wait must end.
    pub(crate) fn chunk_begun(&self, peer: NodeId) -> CancellationToken {
        self.replaces(peer, |facts| &mut facts.chunk)
    }

    fn replaces(
        &self,
        peer: NodeId,
        place: impl FnOnce(&mut PeerFacts) -> &mut Option<CancellationToken>,
    ) -> CancellationToken {
        let token = CancellationToken::new();
        let mut peers = self.lock();
        let replaced = peers.get_mut(&peer).and_then(|facts| place(facts).replace(token.clone()));
        replaced.inspect(CancellationToken::cancel);
        token
    }

    /// Whether the node drops all traffic with peers.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(crate) fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, PeerFacts>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let directory = Directory::default();
        directory.set_address(
            NodeId(2),
            &MemberContext { client_url: "http://log:1".to_owned(), ..MemberContext::default() },
        );
        directory
    }

    fn contact(incarnation: u64) -> Contact {
        Contact { incarnation, client_url: format!("http://127.0.0.1:{incarnation}"), admin_url: String::new() }
    }

    #[test]
    fn an_older_incarnation_is_refused_and_changes_nothing() {
        let directory = directory();
        assert_eq!(directory.client_url(NodeId(2)), "http://log:1", "until it says more");
        assert_eq!(directory.met(NodeId(2), contact(3)), Ok(()));
        assert_eq!(directory.met(NodeId(2), contact(2)), Err(3));
        assert_eq!(directory.client_url(NodeId(2)), "http://127.0.0.1:3");
        assert_eq!(directory.met(NodeId(2), contact(3)), Ok(()), "it may connect again");
        assert_eq!(directory.met(NodeId(9), contact(1)), Ok(()));
        assert!(directory.get(NodeId(9)).is_none(), "no state remains about an unknown node");
    }

    #[test]
    fn a_new_stream_ends_the_one_before() {
        let directory = directory();
        let first = directory.stream_opened(NodeId(2));
        let second = directory.stream_opened(NodeId(2));
        assert!(first.is_cancelled() && !second.is_cancelled());
    }
}
