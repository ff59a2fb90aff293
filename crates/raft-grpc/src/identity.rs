//! The identity of a node: its cluster, its id, and the contact data that it sends to others.

use crate::directory::Contact;
use crate::peers::PROTOCOL_VERSION;
use raft_core::{Configuration, EntryId, NodeId};
use raft_proto::wire::raft::Hello;
use raft_store::{ClusterId, DiskId};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::Xxh3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    /// The cluster's name.
    pub(crate) name: String,
    /// The members at the start, for the text of a refusal.
    pub(crate) members: BTreeSet<NodeId>,
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
            cluster: self.name.clone(),
            members: self.members.iter().map(|id| id.0).collect(),
            asks: false,
        }
    }

    /// Why the sender of this hello is of another cluster: the name, or the ids that one of the two does not know.
    pub(crate) fn mismatch(&self, hello: &Hello) -> String {
        let (us, from) = (self.node.0, hello.from);
        if !hello.cluster.is_empty() && hello.cluster != self.name {
            let (theirs, ours) = (&hello.cluster, &self.name);
            return format!("node {from} is of another cluster: its name is `{theirs}`, that of node {us} is `{ours}`");
        }
        let theirs: BTreeSet<NodeId> = hello.members.iter().copied().map(NodeId).collect();
        if theirs.is_empty() || theirs == self.members {
            return format!(
                "node {from} is of another cluster: compare `cluster` and the ids of the founders; if both have the same, not both were \
                 restored from the same backup"
            );
        }
        let differences = list_differences((&theirs, from), (&self.members, us));
        format!(
            "node {from} is of another cluster, for the founders differ: {differences}. Delete no data folder. Where \
             the list was wrong: stop the node, correct its list, move its folder away, start it (docs/operations.md)"
        )
    }
}

/// Which ids one of two lists does not have, each list with its node: `4 is in the list of node 3 and not in that of node 1`.
fn list_differences(a: (&BTreeSet<NodeId>, u64), b: (&BTreeSet<NodeId>, u64)) -> String {
    let one_sided = |(has, at): (&BTreeSet<NodeId>, u64), (lacks, missing_at): (&BTreeSet<NodeId>, u64)| {
        let ids = ids(has.difference(lacks));
        (!ids.is_empty()).then(|| format!("{ids} in the list of node {at} and not in that of node {missing_at}"))
    };
    [one_sided(a, b), one_sided(b, a)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `1 2 3`.
pub(crate) fn ids<'a>(ids: impl IntoIterator<Item = &'a NodeId>) -> String {
    ids.into_iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" ")
}

/// The cluster id: a hash of the cluster's name and its founders. Founders that disagree about the founders reject each other, and
/// two clusters with the same ids need different names.
///
/// Addresses belong neither to it nor to the founding configuration: founders can write the same address in different ways, and
/// their first entries must be identical.
pub(crate) fn cluster_id(name: &str, founders: &Configuration) -> ClusterId {
    ClusterId(hash_of(name, founders).digest128().to_be_bytes())
}

/// The id of a cluster that is made from old data: also of the cluster and the last entry of the data. So it differs from the id of
/// the old cluster, and of a new one with the same name and founders that has not got the data.
pub(crate) fn cluster_id_from(name: &str, founders: &Configuration, (old, saved): (ClusterId, EntryId)) -> ClusterId {
    let mut hasher = hash_of(name, founders);
    hasher.update(&old.0);
    hasher.update(&saved.index.0.to_le_bytes());
    hasher.update(&saved.term.0.to_le_bytes());
    ClusterId(hasher.digest128().to_be_bytes())
}

fn hash_of(name: &str, founders: &Configuration) -> Xxh3 {
    let mut hasher = Xxh3::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    for voter in &founders.voters {
        hasher.update(&voter.0.to_le_bytes());
    }
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_the_ids_of_each_side() {
        let identity = |members: &[u64]| Identity {
            cluster: ClusterId([0; 16]),
            name: "raft".to_owned(),
            members: members.iter().copied().map(NodeId).collect(),
            node: NodeId(1),
            disk: DiskId([0; 16]),
            contact: Contact::default(),
        };
        let hello = |members: &[u64], cluster: &str| Hello {
            from: 3,
            members: members.to_vec(),
            cluster: cluster.to_owned(),
            ..Hello::default()
        };
        let table = [
            (hello(&[1, 2, 3, 4], "raft"), "4 in the list of node 3 and not in that of node 1. Delete no data folder"),
            (
                hello(&[1, 3, 5], ""),
                "differ: 5 in the list of node 3 and not in that of node 1, 2 in the list of node 1 and not in that of node 3",
            ),
            (hello(&[1, 2, 3], "other"), "its name is `other`, that of node 1 is `raft`"),
            (hello(&[], ""), "compare `cluster` and the ids of the founders"),
        ];
        for (hello, words) in table {
            let text = identity(&[1, 2, 3]).mismatch(&hello);
            assert!(text.starts_with("node 3 is of another cluster") && text.contains(words), "{text}");
        }
    }

    #[test]
    fn the_cluster_id_depends_on_name_and_founders() {
        let of = |name: &str, ids: &[u64]| cluster_id(name, &Configuration::of_voters(ids.iter().copied().map(NodeId)));
        assert_eq!(of("a", &[1, 2]), of("a", &[2, 1]));
        assert_ne!(of("a", &[1, 2]), of("b", &[1, 2]));
        assert_ne!(of("a", &[1, 2]), of("a", &[1, 2, 3]));
        let from = |old: ClusterId, index: u64| {
            cluster_id_from("a", &Configuration::of_voters([1, 2].map(NodeId)), (old, EntryId::new(index, 1)))
        };
        assert_eq!(from(of("a", &[1, 2]), 7), from(of("a", &[1, 2]), 7));
        let all = [of("a", &[1, 2]), from(of("a", &[1, 2]), 7), from(of("b", &[1, 2]), 7), from(of("a", &[1, 2]), 8)];
        assert_eq!(BTreeSet::from(all).len(), all.len());
    }
}
