//! Ports that belong to a test. Nodes must know each other's ports before any of them listens, and keep theirs while
//! they are down.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// A port that no other process gets as long as this value lives: a socket is bound to it and never listens. A process
/// that names the port can still listen, because both sockets allow the reuse of the address.
pub(crate) struct Port {
    _socket: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl Port {
    pub(crate) fn any() -> Self {
        Self::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port")
    }

    pub(crate) fn row(host: IpAddr) -> [Self; 3] {
        for _ in 0..100 {
            let first = Self::bind(SocketAddr::from((host, 0))).expect("a free port");
            let next = |distance| {
                let port = first.address.port().checked_add(distance)?;
                Self::bind(SocketAddr::from((host, port))).ok()
            };
            if let (Some(second), Some(third)) = (next(1), next(2)) {
                return [first, second, third];
            }
        }
        panic!("there are no three free ports in a row");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        // This comes only now: earlier, it would allow a port that another test has.
        socket.set_reuseaddr(true)?;
        Ok(Self { _socket: socket, address })
    }
}
