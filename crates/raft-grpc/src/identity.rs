//! The identity of a node: its cluster, its id, and the contact data that it sends to others.

use crate::directory::Contact;
use crate::peers::PROTOCOL_VERSION;
use raft_core::{Configuration, NodeId};
use raft_proto::wire::raft::Hello;
use raft_store::{ClusterId, DiskId};
use xxhash_rust::xxh3::Xxh3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) disk: DiskId,
    pub(crate) contact: Contact,
}

impl Identity {
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

/// The cluster id: a hash of the cluster's name and its founders. Founders that disagree about the founders reject each other, and
/// two clusters with the same ids need different names.
///
/// Addresses belong neither to it nor to the founding configuration: founders can write the same address in different ways, and
/// their first entries must be identical.
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
    fn the_cluster_id_depends_on_name_and_founders() {
        let of = |name: &str, ids: &[u64]| cluster_id(name, &Configuration::of_voters(ids.iter().copied().map(NodeId)));
        assert_eq!(of("a", &[1, 2]), of("a", &[2, 1]));
        assert_ne!(of("a", &[1, 2]), of("b", &[1, 2]));
        assert_ne!(of("a", &[1, 2]), of("a", &[1, 2, 3]));
    }
}
