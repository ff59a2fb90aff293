//! Who a node is: the cluster, its id, and what it tells others about itself.

use crate::directory::Contact;
use crate::peers::PROTOCOL_VERSION;
use raft_core::{Configuration, NodeId};
use raft_proto::wire::raft::Hello;
use raft_store::{ClusterId, DiskId};
use xxhash_rust::xxh3::Xxh3;

/// A node's identity while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The node.
    pub(crate) node: NodeId,
    /// The disk that its data folder is on.
    pub(crate) disk: DiskId,
    /// What it tells others: its start and where it is reached.
    pub(crate) contact: Contact,
}

impl Identity {
    /// What it says to a peer before anything else.
    pub(crate) fn hello(&self, to: NodeId) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            cluster_id: self.cluster.0.to_vec().into(),
            from: self.node.0,
            to: to.0,
            incarnation: self.contact.incarnation,
            client_url: self.contact.client_url.clone(),
            admin_url: self.contact.admin_url.clone(),
            disk: self.disk.0.to_vec().into(),
        }
    }
}

/// The cluster id: a hash of the cluster's name and of who founds it. So founders that disagree about who they are never
/// talk to each other, and two clusters on one machine need but different names.
///
/// Addresses are no part of it, nor of the founding configuration: two founders may well write the same address in two
/// ways, and their first entries must be the same to the bit.
pub(crate) fn cluster_id(name: &str, founders: &Configuration) -> ClusterId {
    let mut hasher = Xxh3::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    for voter in &founders.voters {
        hasher.update(&voter.0.to_le_bytes());
    }
    ClusterId(hasher.digest128().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_id_says_name_and_founders() {
        let of = |name: &str, ids: &[u64]| cluster_id(name, &Configuration::of_voters(ids.iter().copied().map(NodeId)));
        assert_eq!(of("a", &[1, 2]), of("a", &[2, 1]));
        assert_ne!(of("a", &[1, 2]), of("b", &[1, 2]));
        assert_ne!(of("a", &[1, 2]), of("a", &[1, 2, 3]));
    }
}
