//! Changes of the members, and the members as the leader sees them.

use raft_core::EntryId;
use raft_proto::wire::raft::{ChangeRefusal, MemberAddress, MemberStatus, MemberStep, StatusResponse, member_step};

/// A change of one member. URLs are `http://HOST:PORT`; an empty one is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MemberChange {
    /// A node becomes a learner: it gets the log and does not vote. Succeeds if it is a member at this peer URL already.
    Add { id: u64, peer_url: String, client_url: String },
    /// A learner becomes a voter, if it has caught up.
    Promote { id: u64 },
    /// A voter becomes a learner.
    Demote { id: u64 },
    /// A member leaves.
    Remove { id: u64 },
    /// A member has moved; an empty URL stays as it is.
    Update { id: u64, peer_url: String, client_url: String },
    /// Fills in the URLs of a member that the log does not have.
    Complete { id: u64, peer_url: String, client_url: String },
}

/// How a change is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeOptions {
    /// The name of the cluster to change; empty: any.
    pub cluster: String,
    /// Begin the change although no quorum of the voters to come answers. The cluster takes no writes until one does. Overrides no
    /// other check.
    pub force: bool,
}

impl MemberChange {
    /// The member that it is about.
    pub fn id(&self) -> u64 {
        match self {
            Self::Promote { id } | Self::Demote { id } | Self::Remove { id } => *id,
            Self::Add { id, .. } | Self::Update { id, .. } | Self::Complete { id, .. } => *id,
        }
    }

    pub(crate) fn to_step(&self) -> MemberStep {
        use member_step::Kind;
        let at = |id: &u64, peer_url: &String, client_url: &String| MemberAddress {
            id: *id,
            peer_url: peer_url.clone(),
            client_url: client_url.clone(),
        };
        let kind = match self {
            Self::Add { id, peer_url, client_url } => Kind::Add(at(id, peer_url, client_url)),
            Self::Update { id, peer_url, client_url } => Kind::Update(at(id, peer_url, client_url)),
            Self::Complete { id, peer_url, client_url } => Kind::Complete(at(id, peer_url, client_url)),
            Self::Promote { id } => Kind::Promote(*id),
            Self::Demote { id } => Kind::Demote(*id),
            Self::Remove { id } => Kind::Remove(*id),
        };
        MemberStep { kind: Some(kind) }
    }

    /// Whether this refusal says that the change holds already.
    pub(crate) fn is_done_if(&self, refusal: ChangeRefusal) -> bool {
        matches!(
            (self, refusal),
            (Self::Promote { .. }, ChangeRefusal::IsVoter)
                | (Self::Demote { .. }, ChangeRefusal::NoVoter)
                | (Self::Remove { .. }, ChangeRefusal::NoMember)
        )
    }
}

/// The members, as the leader sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// The leader's id.
    pub leader: u64,
    /// The cluster id: 16 bytes.
    pub cluster_id: Vec<u8>,
    /// The entry that carries the configuration.
    pub entry: EntryId,
    /// Whether no change is under way.
    pub settled: bool,
    /// The leader's last entry.
    pub last: u64,
    /// In order of id.
    pub members: Vec<MemberStatus>,
}

impl Membership {
    /// A member; none if there is none with this id.
    pub fn member(&self, id: u64) -> Option<&MemberStatus> {
        self.members.iter().find(|member| member.id == id)
    }
}

impl From<StatusResponse> for Membership {
    fn from(status: StatusResponse) -> Self {
        let entry = status.configuration.unwrap_or_default();
        Self {
            leader: status.id,
            cluster_id: status.cluster_id.to_vec(),
            entry: EntryId::new(entry.index, entry.term),
            settled: status.settled,
            last: status.last,
            members: status.members,
        }
    }
}
