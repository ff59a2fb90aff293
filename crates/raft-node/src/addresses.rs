//! Where members are reached. The log decides: each member's address is part of its configuration. What a host knows from elsewhere
//! (its settings, the answer to its request to join) only fills in what the log does not say.

use raft_core::{Configuration, NodeId};
use raft_proto::member_context_from_bytes;
use raft_proto::wire::raft::MemberContext;
use std::collections::BTreeMap;
use std::fmt;

/// The addresses that a host knows from elsewhere than the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook(pub BTreeMap<NodeId, MemberContext>);

/// How a host's addresses differ from those of a configuration. A member without an address in the log differs from none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AddressDifference {
    /// A member that the host does not name.
    Missing { id: NodeId },
    /// The host names it, and it is no member.
    NoMember { id: NodeId },
    /// The log has another peer address than the host.
    PeerUrl { id: NodeId, log: String, host: String },
}

impl AddressBook {
    /// All members with their addresses, as far as they are known; before the log has a configuration, those of the host.
    pub fn members(&self, configuration: Option<&Configuration>) -> BTreeMap<NodeId, MemberContext> {
        let Some(configuration) = configuration else { return self.0.clone() };
        let members = configuration.members.iter();
        members.map(|(id, context)| (*id, self.filled(*id, member_context_from_bytes(context)))).collect()
    }

    fn filled(&self, id: NodeId, mut context: MemberContext) -> MemberContext {
        if let Some(known) = self.0.get(&id) {
            let fill = |field: &mut String, known: &String| {
                if field.is_empty() {
                    field.clone_from(known);
                }
            };
            fill(&mut context.peer_url, &known.peer_url);
            fill(&mut context.client_url, &known.client_url);
        }
        context
    }

    /// How the host's addresses differ from the configuration, in order of id.
    pub fn differences(&self, configuration: &Configuration) -> Vec<AddressDifference> {
        let missing = configuration.members.keys().filter(|id| !self.0.contains_key(id));
        let mut differences: Vec<_> = missing.map(|id| AddressDifference::Missing { id: *id }).collect();
        for (&id, MemberContext { peer_url: host, .. }) in &self.0 {
            let Some(context) = configuration.members.get(&id) else {
                differences.push(AddressDifference::NoMember { id });
                continue;
            };
            let log = member_context_from_bytes(context).peer_url;
            if !log.is_empty() && !host.is_empty() && log != *host {
                differences.push(AddressDifference::PeerUrl { id, log, host: host.clone() });
            }
        }
        differences.sort_by_key(AddressDifference::id);
        differences
    }
}

impl AddressDifference {
    /// The node that it is about.
    pub fn id(&self) -> NodeId {
        match self {
            Self::Missing { id } | Self::NoMember { id } | Self::PeerUrl { id, .. } => *id,
        }
    }
}

impl fmt::Display for AddressDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { id } => write!(f, "node {} is a member and is missing in the settings", id.0),
            Self::NoMember { id } => write!(f, "node {} is in the settings and is no member", id.0),
            Self::PeerUrl { id, log, host } => {
                write!(f, "node {} is at {log} in the log and at {host} in the settings", id.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_proto::member_context_to_bytes;

    fn context(peer_url: &str, client_url: &str) -> MemberContext {
        MemberContext { peer_url: peer_url.to_owned(), client_url: client_url.to_owned(), cluster: String::new() }
    }

    fn book(entries: &[(u64, &str)]) -> AddressBook {
        AddressBook(entries.iter().map(|(id, url)| (NodeId(*id), context(url, ""))).collect())
    }

    /// Node 1 has no address in the log, node 2 one for peers, node 3 both.
    fn configuration() -> Configuration {
        let mut configuration = Configuration::of_voters((1..=3).map(NodeId));
        configuration.members.insert(NodeId(2), member_context_to_bytes(&context("http://two:1", "")));
        configuration.members.insert(NodeId(3), member_context_to_bytes(&context("http://three:1", "http://three:2")));
        configuration
    }

    #[test]
    fn the_log_decides_and_the_host_fills_in() {
        let book = book(&[(1, "http://one:1"), (2, "http://old:1"), (9, "http://nine:1")]);
        let expected = [(1, "http://one:1", ""), (2, "http://two:1", ""), (3, "http://three:1", "http://three:2")];
        let expected = expected.map(|(id, peer, client)| (NodeId(id), context(peer, client)));
        assert_eq!(book.members(Some(&configuration())), BTreeMap::from(expected));
        assert_eq!(book.members(None), book.0, "before the first entry arrives");
        assert_eq!(AddressBook::default().members(Some(&configuration()))[&NodeId(1)], MemberContext::default());
    }

    #[test]
    fn each_difference_names_its_node_and_its_side() {
        let texts = |entries: &[(u64, &str)]| {
            let differences = book(entries).differences(&configuration());
            differences.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(texts(&[(1, "http://any:1"), (2, "http://two:1"), (3, "")]), [""; 0]);
        assert_eq!(
            texts(&[(1, ""), (2, "http://old:1"), (4, "http://four:1")]),
            [
                "node 2 is at http://two:1 in the log and at http://old:1 in the settings",
                "node 3 is a member and is missing in the settings",
                "node 4 is in the settings and is no member",
            ]
        );
    }
}
