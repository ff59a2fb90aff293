//! A peer is met: which disk it has, remembered before it is believed.

use crate::disk::Disk;
use crate::folder::atomic_file::replace;
use crate::folder::known_peers::{KnownPeers, NEW_PEERS_FILE, PEERS_FILE, PeerCheck};
use crate::folder::meta_file::DiskId;
use crate::store::Store;
use crate::store_error::StoreError;
use raft_core::NodeId;

impl<D: Disk> Store<D> {
    /// A peer says that its folder is on this disk. What it says apart from that counts only if the answer is
    /// [`PeerCheck::New`], which is durable then, or [`PeerCheck::Known`].
    ///
    /// # Errors
    /// The disk failed: no call succeeds any more. But if it is only full, nobody is met, and all else goes on.
    pub fn register_peer(&mut self, peer: NodeId, disk: DiskId) -> Result<PeerCheck, StoreError> {
        self.refuse_if_poisoned()?;
        let (acquaintance, met) = self.known_peers.judge(peer, disk);
        if let Some(met) = met {
            let written = replace(&mut self.disk, PEERS_FILE, NEW_PEERS_FILE, &[&met.encode()]);
            self.unless_full(NEW_PEERS_FILE, written)?;
            self.known_peers = met;
        }
        Ok(acquaintance)
    }

    /// The peers whose disks this node knows.
    pub fn known_peers(&self) -> &KnownPeers {
        &self.known_peers
    }
}
