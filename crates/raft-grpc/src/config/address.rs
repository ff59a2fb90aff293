//! Addresses to listen on, and URLs of other nodes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// A host and a port as in the text, with the host in lower case and without brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostPort {
    pub(super) host: String,
    pub(super) port: u16,
}

impl HostPort {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_ascii_lowercase(), port }
    }

    /// Reads `HOST:PORT`; IPv6 addresses are in brackets.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
        let number = port.parse::<u16>().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = number.ok_or_else(|| format!("`{port}` is not a port"))?;
        if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address = inner.parse::<Ipv6Addr>().map_err(|_| format!("`{inner}` is not an IPv6 address"))?;
            return Ok(Self { host: address.to_string(), port });
        }
        if host.contains(':') {
            return Err("an IPv6 address needs brackets, as [::1]:7070".to_owned());
        }
        let plausible = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(plausible) {
            return Err(format!("`{host}` is not a host"));
        }
        Ok(Self::new(host, port))
    }

    pub(super) fn url(&self) -> String {
        format!("http://{self}")
    }

    /// The IP address, if the host is one and not a name.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    pub(super) fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        addresses
            .map(Iterator::collect)
            .map_err(|error| format!("the name `{}` cannot be resolved: {error}", self.host))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An address to listen on. If a name has several addresses, it takes an IPv4 one: most people who write `localhost`
/// mean 127.0.0.1.
pub(super) fn listen(text: &str) -> Result<(SocketAddr, HostPort), String> {
    let host = HostPort::parse(text).map_err(|problem| format!("{problem}: must be HOST:PORT, as 127.0.0.1:7070"))?;
    let addresses = host.resolve()?;
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let address = *address.ok_or_else(|| format!("the name `{}` has no address", host.host))?;
    Ok((address, host))
}

/// The URL of another node, `http://HOST:PORT`. It drops a slash at the end.
pub(super) fn url(text: &str) -> Result<String, String> {
    parse_url(text).map(|host| host.url())
}

pub(super) fn parse_url(text: &str) -> Result<HostPort, String> {
    let problem = |detail: &str| format!("{detail}: must be http://HOST:PORT");
    let (scheme, rest) = text.split_once("://").ok_or_else(|| problem("not a URL"))?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(problem(&format!("the scheme `{scheme}` is not supported")));
    }
    let host = HostPort::parse(rest.strip_suffix('/').unwrap_or(rest)).map_err(|detail| problem(&detail))?;
    // Port 0 lets the system choose; a URL cannot have it.
    if host.port == 0 { Err(problem("`0` is not a port")) } else { Ok(host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused() {
        let good = [
            ("http://localhost:7070", "http://localhost:7070"),
            ("HTTP://Node-1.Example:1/", "http://node-1.example:1"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("http://10.0.0.1:65535", "http://10.0.0.1:65535"),
        ];
        for (text, expected) in good {
            assert_eq!(url(text), Ok(expected.to_owned()));
        }
        let bad = [
            "",
            "localhost:7070",
            "https://a:1",
            "http://a",
            "http://:1",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:1/x",
            "http://a:1?x",
            "http://u@a:1",
            "http://::1:80",
            "http://[::1]",
            "http://[x]:1",
            "http://a b:1",
        ];
        for text in bad {
            let problem = url(text).expect_err(text);
            assert!(problem.contains("http://HOST:PORT"), "{text}: {problem}");
        }
    }

    #[test]
    fn listen_addresses_may_be_names() {
        let (address, host) = listen("localhost:7070").expect("localhost");
        assert!(address.ip().is_loopback() && address.port() == 7070, "{address}");
        assert_eq!(host.url(), "http://localhost:7070");
        assert_eq!(listen("[::1]:7070").expect("IPv6").0, "[::1]:7070".parse().expect("an address"));
        assert!(listen("::1:7070").expect_err("no brackets").contains("brackets"));
        assert!(listen("7070").expect_err("only a port").contains("HOST:PORT"));
        assert!(listen("no-such-host.invalid:7070").expect_err("no such host").contains("cannot be resolved"));
    }
}
