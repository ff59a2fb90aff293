//! Chooses the ports of the nodes: their earlier ones, the usual ones, or free ones.

use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// The three ports of a node, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ports {
    pub(super) peer: u16,
    pub(super) client: u16,
    pub(super) admin: u16,
}

impl Ports {
    fn all(self) -> [u16; 3] {
        [self.peer, self.client, self.admin]
    }
}

pub(super) fn usual(nodes: u8) -> Vec<Ports> {
    let first = |node: u8| 7070 + 10 * u16::from(node);
    (0..nodes).map(first).map(|peer| Ports { peer, client: peer + 1, admin: peer + 2 }).collect()
}

/// The `wanted` ports if all are free, otherwise the same number of free ones.
pub(super) fn available(wanted: Vec<Ports>) -> io::Result<Vec<Ports>> {
    if wanted.iter().flat_map(|ports| ports.all()).all(is_free) { Ok(wanted) } else { free(wanted.len()) }
}

/// Ports that are free now. Another process may take one before its node does; the node's exit code shows that.
pub(super) fn free(nodes: usize) -> io::Result<Vec<Ports>> {
    // All ports are held until the last is found, so that no two are the same.
    let held = (0..nodes).map(|_| Ok([bind(0)?, bind(0)?, bind(0)?]));
    let held = held.collect::<io::Result<Vec<[TcpListener; 3]>>>()?;
    let port = |listener: &TcpListener| Ok::<_, io::Error>(listener.local_addr()?.port());
    let ports = held
        .iter()
        .map(|[peer, client, admin]| Ok(Ports { peer: port(peer)?, client: port(client)?, admin: port(admin)? }));
    ports.collect()
}

fn is_free(port: u16) -> bool {
    bind(port).is_ok()
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_usual_ports_are_those_that_clients_try() {
        let clients: Vec<u16> = usual(3).iter().map(|ports| ports.client).collect();
        assert_eq!(clients, [7071, 7081, 7091]);
        assert_eq!(usual(9).last(), Some(&Ports { peer: 7150, client: 7151, admin: 7152 }));
    }

    #[test]
    fn free_ports_are_all_different() {
        let ports = free(9).expect("27 free ports");
        let distinct: BTreeSet<u16> = ports.iter().flat_map(|ports| ports.all()).collect();
        assert_eq!(distinct.len(), 27);
        assert!(!distinct.contains(&0));
    }

    #[test]
    fn one_busy_port_changes_all_of_them() {
        let wanted = free(2).expect("free ports");
        let busy = bind(wanted[1].admin).expect("was free");
        let others = available(wanted.clone()).expect("free ports");
        assert_eq!(others.len(), 2);
        assert!(others.iter().zip(&wanted).all(|(new, old)| new != old), "{others:?}");
        drop(busy);
    }
}
