//! Registers a peer's disk, durably before the peer's messages count.

use crate::disk::Disk;
use crate::folder::atomic_file::replace;
use crate::folder::known_peers::{KnownPeers, NEW_PEERS_FILE, PEERS_FILE, PeerCheck};
use crate::folder::meta_file::DiskId;
use crate::store::Store;
use crate::store_error::StoreError;
use raft_core::NodeId;

impl<D: Disk> Store<D> {
    /// Checks a peer's disk id and registers a new peer. The peer's messages may count only after [`PeerCheck::New`], which is
    /// durable, or [`PeerCheck::Known`].
    ///
    /// # Errors
    /// The disk failed, and the store is poisoned. If the disk is only full, the peer is not registered and the store
    /// stays usable.
    pub fn register_peer(&mut self, peer: NodeId, disk: DiskId) -> Result<PeerCheck, StoreError> {
        self.check_poisoned()?;
        let (check, updated) = self.known_peers.check(peer, disk);
        if let Some(updated) = updated {
            let written = replace(&mut self.disk, PEERS_FILE, NEW_PEERS_FILE, &updated.encode());
            self.poison_unless_full(NEW_PEERS_FILE, written)?;
            self.known_peers = updated;
        }
        Ok(check)
    }

    /// The registered peers.
    pub fn known_peers(&self) -> &KnownPeers {
        &self.known_peers
    }
}
