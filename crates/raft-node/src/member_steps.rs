//! From a request to change members to the steps of the core: addresses become contexts, and what holds already needs no step.

use crate::addresses::AddressBook;
use bytes::Bytes;
use raft_core::{Configuration, InvalidChange, MembershipStep, NodeId};
use raft_proto::wire::raft::MemberContext;
use raft_proto::{member_context_from_bytes, member_context_to_bytes};
use std::fmt;

/// A step of a change of members. Empty addresses are unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MemberStep {
    /// A node becomes a learner. No step if it is a member at this peer address.
    Add {
        id: NodeId,
        address: MemberContext,
    },
    Promote {
        id: NodeId,
    },
    Demote {
        id: NodeId,
    },
    Remove {
        id: NodeId,
    },
    /// A member is reached elsewhere; an empty address stays.
    Update {
        id: NodeId,
        address: MemberContext,
    },
    /// The addresses that the log does not have: the host's own, else these.
    Complete {
        id: NodeId,
        address: MemberContext,
    },
}

/// Why a step is refused before the core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StepRefusal {
    Invalid(InvalidChange),
    /// The node is a member at another address.
    IsElsewhere {
        id: NodeId,
        peer_url: String,
    },
    /// Another member has this peer address.
    SameUrl {
        id: NodeId,
        peer_url: String,
    },
}

impl fmt::Display for StepRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => write!(f, "{reason}"),
            Self::IsElsewhere { id, peer_url } => {
                let (id, peer_url) = (id.0, if peer_url.is_empty() { "an unknown address" } else { peer_url });
                write!(
                    f,
                    "node {id} is a member already, at {peer_url}: choose another id, or `member update {id}` if it moved"
                )
            }
            Self::SameUrl { id, peer_url } => {
                write!(f, "node {} is at {peer_url}: each member needs its own address", id.0)
            }
        }
    }
}

/// The steps for the core; none if everything holds already. `own` are the host's addresses, `cluster` is the cluster's name.
///
/// # Errors
/// A step about an address is invalid. The core checks the others.
pub fn member_steps(
    steps: &[MemberStep],
    configuration: &Configuration,
    own: &AddressBook,
    cluster: &str,
) -> Result<Vec<MembershipStep>, StepRefusal> {
    let known = |id: &NodeId| configuration.members.get(id).map(member_context_from_bytes);
    let mut needed = Vec::new();
    for step in steps {
        let (id, context) = match step {
            MemberStep::Promote { id } => {
                needed.push(MembershipStep::Promote { id: *id });
                continue;
            }
            MemberStep::Demote { id } => {
                needed.push(MembershipStep::Demote { id: *id });
                continue;
            }
            MemberStep::Remove { id } => {
                needed.push(MembershipStep::Remove { id: *id });
                continue;
            }
            MemberStep::Add { id, address } => match known(id) {
                Some(known) if known.peer_url == address.peer_url => continue,
                Some(known) => return Err(StepRefusal::IsElsewhere { id: *id, peer_url: known.peer_url }),
                None => (*id, address.clone()),
            },
            MemberStep::Update { id, address } => {
                let Some(known) = known(id) else { return Err(no_member(*id)) };
                (*id, first_of(&[address, &known]))
            }
            MemberStep::Complete { id, address } => {
                let Some(known) = known(id) else { return Err(no_member(*id)) };
                let nothing = MemberContext::default();
                (*id, first_of(&[&known, own.0.get(id).unwrap_or(&nothing), address]))
            }
        };
        refuse_same_url(configuration, id, &context.peer_url)?;
        let context = member_context_to_bytes(&MemberContext { cluster: cluster.to_owned(), ..context });
        match configuration.members.get(&id) {
            Some(known) if *known == context => {}
            Some(_) => needed.push(MembershipStep::SetContext { id, context }),
            None => needed.push(MembershipStep::AddLearner { id, context }),
        }
    }
    Ok(needed)
}

fn no_member(id: NodeId) -> StepRefusal {
    StepRefusal::Invalid(InvalidChange::NoMember { id })
}

/// For each address the first that is known.
fn first_of(contexts: &[&MemberContext]) -> MemberContext {
    let first = |field: fn(&MemberContext) -> &String| {
        contexts.iter().map(|context| field(context)).find(|text| !text.is_empty()).cloned().unwrap_or_default()
    };
    MemberContext {
        peer_url: first(|context| &context.peer_url),
        client_url: first(|context| &context.client_url),
        cluster: String::new(),
    }
}

fn refuse_same_url(configuration: &Configuration, id: NodeId, peer_url: &str) -> Result<(), StepRefusal> {
    let is_there = |(other, context): &(&NodeId, &Bytes)| {
        **other != id && !peer_url.is_empty() && member_context_from_bytes(context).peer_url == peer_url
    };
    match configuration.members.iter().find(is_there) {
        Some((other, _)) => Err(StepRefusal::SameUrl { id: *other, peer_url: peer_url.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const NEW: NodeId = NodeId(4);

    fn at(peer_url: &str, client_url: &str) -> MemberContext {
        MemberContext { peer_url: peer_url.to_owned(), client_url: client_url.to_owned(), cluster: String::new() }
    }

    fn bytes(peer_url: &str, client_url: &str) -> Bytes {
        member_context_to_bytes(&MemberContext { cluster: "c".to_owned(), ..at(peer_url, client_url) })
    }

    /// Node 1 has its addresses in the log, node 2 has none; the host knows a peer address of node 2.
    fn steps(steps: &[MemberStep]) -> Result<Vec<MembershipStep>, StepRefusal> {
        let mut configuration = Configuration::of_voters([ONE, TWO]);
        configuration.members.insert(ONE, bytes("http://one:1", "http://one:2"));
        let own = AddressBook(BTreeMap::from([(TWO, at("http://flag:1", ""))]));
        member_steps(steps, &configuration, &own, "c")
    }

    #[test]
    fn addresses_become_contexts_and_what_holds_needs_no_step() {
        let set = |id, peer, client| vec![MembershipStep::SetContext { id, context: bytes(peer, client) }];
        let table = [
            (
                MemberStep::Add { id: NEW, address: at("http://four:1", "") },
                vec![MembershipStep::AddLearner { id: NEW, context: bytes("http://four:1", "") }],
            ),
            (MemberStep::Add { id: ONE, address: at("http://one:1", "http://other:2") }, vec![]),
            (
                MemberStep::Update { id: ONE, address: at("http://moved:1", "") },
                set(ONE, "http://moved:1", "http://one:2"),
            ),
            (MemberStep::Update { id: ONE, address: at("http://one:1", "") }, vec![]),
            (
                MemberStep::Complete { id: TWO, address: at("http://own:1", "http://own:2") },
                set(TWO, "http://flag:1", "http://own:2"),
            ),
            (MemberStep::Complete { id: ONE, address: at("http://own:1", "http://own:2") }, vec![]),
            (MemberStep::Promote { id: NEW }, vec![MembershipStep::Promote { id: NEW }]),
            (MemberStep::Demote { id: ONE }, vec![MembershipStep::Demote { id: ONE }]),
            (MemberStep::Remove { id: ONE }, vec![MembershipStep::Remove { id: ONE }]),
        ];
        for (step, expected) in table {
            assert_eq!(steps(std::slice::from_ref(&step)), Ok(expected), "{step:?}");
        }
    }

    #[test]
    fn steps_about_addresses_can_be_refused() {
        let table = [
            (MemberStep::Add { id: ONE, address: at("http://x:1", "") }, "a member already, at http://one:1"),
            (MemberStep::Add { id: NEW, address: at("http://one:1", "") }, "node 1 is at http://one:1"),
            (MemberStep::Update { id: TWO, address: at("http://one:1", "") }, "node 1 is at http://one:1"),
            (MemberStep::Update { id: NEW, address: at("http://x:1", "") }, "n4 is no member"),
            (MemberStep::Complete { id: NEW, address: at("http://x:1", "") }, "n4 is no member"),
        ];
        for (step, words) in table {
            let refused = steps(std::slice::from_ref(&step)).expect_err(words).to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
