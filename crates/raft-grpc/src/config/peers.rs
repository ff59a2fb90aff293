//! The list of peers: checks that each is a different node.

use super::address::HostPort;
use super::key::Key;
use super::layer::{Given, refuse};
use super::value;
use crate::Failure;
use raft_core::NodeId;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The peers of the node `own`, which listens on `listen`, written as `host`. The list may name the node itself, so
/// that all nodes of a cluster can share one list; the result omits it.
pub(super) fn check(
    given: &[Given],
    own: NodeId,
    host: &HostPort,
    listen: SocketAddr,
) -> Result<BTreeMap<NodeId, String>, Failure> {
    let mut members: BTreeMap<NodeId, HostPort> = BTreeMap::new();
    for peer in given {
        let (id, address) = value::peers().parse(&peer.text).map_err(|problem| refuse(Key::Peers, peer, &problem))?;
        let problem = if members.contains_key(&id) {
            Some(format!("node {} is named twice", id.0))
        } else if let Some((other, _)) = members.iter().find(|(_, known)| **known == address) {
            Some(format!("node {} has the same URL: each node needs its own", other.0))
        } else if id == own {
            own_entry(&address, host, listen).err()
        } else if is_same(&address, host, listen) {
            Some(format!("this is the address on which this node, {}, listens: each node needs its own", own.0))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(refuse(Key::Peers, peer, &problem));
        }
        members.insert(id, address);
    }
    Ok(members.into_iter().filter(|(id, _)| *id != own).map(|(id, address)| (id, address.url())).collect())
}

/// Whether `address` is the address of this node; it does not resolve names.
fn is_same(address: &HostPort, host: &HostPort, listen: SocketAddr) -> bool {
    address == host || (address.port == listen.port() && address.ip() == Some(listen.ip()))
}

/// Checks that the entry of the node itself has its address: otherwise the configuration probably belongs to another
/// node.
fn own_entry(address: &HostPort, host: &HostPort, listen: SocketAddr) -> Result<(), String> {
    let problem = |detail: &str| {
        format!("this node has that id and listens for peers on {listen}{detail}: correct one of them, or leave it out")
    };
    if is_same(address, host, listen) {
        return Ok(());
    }
    if address.port != listen.port() {
        return Err(problem(""));
    }
    // A node that listens on every address of the machine has all of its names.
    if listen.ip().is_unspecified() {
        return Ok(());
    }
    let found = address.resolve().map_err(|detail| problem(&format!(", and {detail}")))?;
    if found.iter().any(|found| found.ip() == listen.ip()) { Ok(()) } else { Err(problem("")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, address};

    fn checked(listen: &str, peers: &[&str]) -> Result<Vec<(u64, String)>, String> {
        let given: Vec<Given> = peers
            .iter()
            .map(|text| Given { text: (*text).to_owned(), source: Source::Flag("--peer".into()) })
            .collect();
        let (address, host) = address::listen(listen)?;
        let peers = check(&given, NodeId(1), &host, address).map_err(|failure| failure.message)?;
        Ok(peers.into_iter().map(|(id, url)| (id.0, url)).collect())
    }

    #[test]
    fn a_list_may_name_the_node_itself_at_its_own_address() {
        let two = Ok(vec![(2, "http://b:7070".to_owned())]);
        assert_eq!(checked("127.0.0.1:7070", &["2=http://b:7070"]), two);
        assert_eq!(checked("127.0.0.1:7070", &["1=http://127.0.0.1:7070", "2=http://b:7070"]), two);
        assert_eq!(checked("127.0.0.1:7070", &["1=http://localhost:7070", "2=http://b:7070"]), two);
        assert_eq!(checked("0.0.0.0:7070", &["1=http://a.example:7070", "2=http://b:7070"]), two);
        assert_eq!(checked("127.0.0.1:7070", &[]), Ok(vec![]));
    }

    #[test]
    fn wrong_lists_are_refused() {
        let table: [(&[&str], &str); 11] = [
            (&["1=http://b:7071"], "this node has that id and listens for peers on 127.0.0.1:7070"),
            (&["1=http://10.9.9.9:7070"], "this node has that id"),
            (&["1=http://no-such-host.invalid:7070"], "cannot be resolved"),
            (&["2=http://127.0.0.1:7070"], "the address on which this node"),
            (&["2=http://b:7070", "2=http://c:7070"], "node 2 is named twice"),
            (&["2=http://b:7070", "3=HTTP://B:7070/"], "node 2 has the same URL"),
            (&["0=http://b:7070"], "1 to 2^62"),
            (&["x=http://b:7070"], "1 to 2^62"),
            (&["http://b:7070"], "must be ID=http://HOST:PORT"),
            (&["2=b:7070"], "must be http://HOST:PORT"),
            (&["2=https://b:7070"], "`https` is not supported"),
        ];
        for (peers, expected) in table {
            let problem = checked("127.0.0.1:7070", peers).expect_err(expected);
            assert!(problem.contains(expected) && problem.contains("--peer: peers ="), "{peers:?}: {problem}");
        }
    }
}
