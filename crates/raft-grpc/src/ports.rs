//! A port: it listens, and admits connections up to a limit.
//!
//! A connection costs a task and a descriptor, and any host can open thousands without sending a byte. So a gRPC
//! connection reaches the server only after the opening bytes of HTTP/2; a connection that is silent or sends other
//! bytes is closed.

use crate::failure::{Exit, Failure};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tonic::transport::server::Connected;

/// The opening bytes of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest time until the opening bytes arrive.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);
/// The pause after a failure to accept a connection, which usually means that no descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Port {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Listens on `address`; port 0 chooses any free port. `key` is the setting's name.
    pub(crate) fn bind(key: &str, address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => Failure::new(
                Exit::AddressInUse,
                format!("{key}: {address} is in use by another process: end that one, or choose another port"),
            ),
            _ => Failure::runtime(format!("{key}: cannot listen on {address}: {error}: choose another address")),
        };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Admits connections, at most `limit` at a time, until the receiver is dropped.
    pub(crate) async fn admit(self, limit: usize, opening: Opening, admitted: mpsc::Sender<io::Result<Connection>>) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                // The receiver may be dropped.
                let _ = admitted.send(Err(error)).await;
                return;
            }
        };
        let places = Arc::new(Semaphore::new(limit));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = admitted.closed() => return,
            };
            match accepted {
                Ok((stream, from)) => match places.clone().try_acquire_owned() {
                    Ok(place) => drop(tokio::spawn(enter(stream, place, opening, admitted.clone()))),
                    Err(_) => tracing::warn!("{}: {from} is refused: there are {limit} connections", self.address),
                },
                Err(error) => {
                    tracing::warn!("{}: cannot accept a connection: {error}", self.address);
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The required opening bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Http2,
    /// Any bytes: the server checks them itself.
    Any,
}

/// Waits for the opening bytes, then admits the connection.
async fn enter(
    mut stream: TcpStream,
    place: OwnedSemaphorePermit,
    opening: Opening,
    admitted: mpsc::Sender<io::Result<Connection>>,
) {
    // Otherwise each small message waits for the acknowledgement of the previous one.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let unread: &[u8] = match opening {
        Opening::Any => &[],
        Opening::Http2 => match timeout(SILENCE, read_preface(&mut stream)).await {
            Ok(Ok(true)) => PREFACE,
            Ok(Ok(false) | Err(_)) | Err(_) => return,
        },
    };
    // A server that shuts down accepts no more connections.
    let _ = admitted.send(Ok(Connection { stream, unread, _place: place })).await;
}

async fn read_preface(stream: &mut TcpStream) -> io::Result<bool> {
    let mut bytes = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = stream.read(&mut bytes[filled..]).await?;
        filled += count;
        if count == 0 || bytes[..filled] != PREFACE[..filled] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: &'static [u8],
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let (first, rest) = self.unread.split_at(self.unread.len().min(into.remaining()));
        into.put_slice(first);
        self.unread = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn port(limit: usize, opening: Opening) -> (SocketAddr, mpsc::Receiver<io::Result<Connection>>) {
        let port = Port::bind("listen_test", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = port.address();
        let (admitted, connections) = mpsc::channel(4);
        tokio::spawn(port.admit(limit, opening, admitted));
        (address, connections)
    }

    /// Whether the other side closes without sending a byte.
    async fn is_closed(stream: &mut TcpStream) -> bool {
        matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn an_address_in_use_is_exit_6() {
        let first = Port::bind("listen_peer", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let second = Port::bind("listen_peer", first.address()).unwrap_err();
        assert_eq!(second.exit, Exit::AddressInUse);
        assert!(second.message.contains(&first.address().to_string()), "{second}");
    }

    #[tokio::test]
    async fn a_connection_arrives_with_its_opening_bytes() {
        let (address, mut connections) = port(4, Opening::Http2).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (first, second) = PREFACE.split_at(5);
        client.write_all(first).await.unwrap();
        client.write_all(&[second, b"rest"].concat()).await.unwrap();
        let mut connection = connections.recv().await.unwrap().unwrap();
        let mut bytes = vec![0; PREFACE.len() + 4];
        connection.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [&PREFACE[..], b"rest"].concat());
    }

    #[tokio::test]
    async fn other_bytes_are_closed_at_once() {
        let (address, mut connections) = port(4, Opening::Http2).await;
        let mut garbage = TcpStream::connect(address).await.unwrap();
        garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let begin = tokio::time::Instant::now();
        assert!(is_closed(&mut garbage).await);
        assert!(begin.elapsed() < SILENCE);
        assert!(connections.try_recv().is_err());
    }

    #[tokio::test]
    async fn half_of_the_opening_is_waited_for_and_then_closed() {
        let (address, mut connections) = port(4, Opening::Http2).await;
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(&PREFACE[..7]).await.unwrap();
        // From here on time jumps to the next timer when all tasks wait.
        tokio::time::pause();
        let begin = tokio::time::Instant::now();
        assert!(is_closed(&mut half).await);
        assert!(begin.elapsed() >= SILENCE / 2);
        assert!(connections.try_recv().is_err());
    }

    #[tokio::test]
    async fn beyond_the_limit_connections_are_turned_away_until_one_ends() {
        let (address, mut connections) = port(1, Opening::Any).await;
        let _first = TcpStream::connect(address).await.unwrap();
        let held = connections.recv().await.unwrap().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(is_closed(&mut second).await);
        drop(held);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(connections.recv().await.unwrap().is_ok());
    }
}
