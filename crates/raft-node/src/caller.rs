//! From which callers a node takes messages. The host asks before the first message of a connection.
//!
//! A caller that passes is authenticated no further: Raft trusts its members. The core checks the numbers in their
//! messages, so a damaged or forged one changes nothing (rule R44). What a member says in valid numbers counts.

use raft_core::NodeId;
use raft_store::Identity;

/// The ids that a caller names when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerIds<'a> {
    /// The id of its cluster.
    pub cluster: &'a [u8],
    /// Its own id.
    pub from: NodeId,
    /// The id of the node that it wants to reach.
    pub to: NodeId,
}

/// Why a node refuses a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerRefusal {
    /// It belongs to another cluster.
    OtherCluster,
    /// It wants to reach another node.
    OtherNode,
    /// It is not a peer of this node.
    NotAPeer,
}

impl CallerIds<'_> {
    /// Checks a caller at the node with this identity.
    ///
    /// # Errors
    /// Why the node takes no messages from it.
    pub fn check(&self, own: &Identity, is_peer: impl FnOnce(NodeId) -> bool) -> Result<(), CallerRefusal> {
        if self.cluster != own.cluster.0 {
            Err(CallerRefusal::OtherCluster)
        } else if self.to != own.node {
            Err(CallerRefusal::OtherNode)
        } else if self.from == own.node || !is_peer(self.from) {
            Err(CallerRefusal::NotAPeer)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_store::ClusterId;

    #[test]
    fn only_a_peer_of_the_cluster_that_means_this_node_passes() {
        let own = Identity { cluster: ClusterId([7; 16]), node: NodeId(1) };
        let check = |cluster: &[u8], from, to| {
            CallerIds { cluster, from: NodeId(from), to: NodeId(to) }.check(&own, |id| id.0 <= 3)
        };
        assert_eq!(check(&[7; 16], 2, 1), Ok(()));
        assert_eq!(check(&[8; 16], 2, 1), Err(CallerRefusal::OtherCluster));
        assert_eq!(check(&[7; 15], 2, 1), Err(CallerRefusal::OtherCluster));
        assert_eq!(check(&[7; 16], 2, 3), Err(CallerRefusal::OtherNode));
        assert_eq!(check(&[7; 16], 4, 1), Err(CallerRefusal::NotAPeer));
        assert_eq!(check(&[7; 16], 1, 1), Err(CallerRefusal::NotAPeer));
    }
}
