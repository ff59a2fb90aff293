//! `run`: runs one node with the arguments of the two earlier projects.

use super::flags::KeyFlags;
use super::log::LogOptions;
use super::node;
use raft_grpc::Failure;
use raft_grpc::config::{self, Key, Layer, Source};
use raft_grpc::host::Control;

const USAGE: &str = "usage: raft-grpc run node1 PEER_HOST:PORT CLIENT_HOST:PORT [node2 http://HOST:PORT].., or raft-grpc \
                     run ID PEER_HOST:PORT [2=http://HOST:PORT,3=http://HOST:PORT]";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// NAME PEER_ADDRESS CLIENT_ADDRESS [NAME URL].., where each name ends in the node's id; or ID PEER_ADDRESS [ID=URL,ID=URL..]:
    /// then the client port is the peer port plus 1, and the admin port the peer port plus 2
    #[arg(required = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
    #[command(flatten)]
    keys: KeyFlags<false>,
    #[command(flatten)]
    log: LogOptions,
}

/// Runs a node until SIGTERM, SIGINT or a failure. It reads no file.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    options.log.start()?;
    let line = parse(&options.arguments).map_err(|problem| Failure::usage(format!("run: {problem}; {USAGE}")))?;
    let mut layer = options.keys.0;
    line.give(&mut layer);
    node::start(config::load(None, std::env::vars_os(), layer)?, Control::None, None)
}

/// The parsed arguments. Ids, addresses and URLs are checked later, with all other settings.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    id: u64,
    peer: String,
    client: String,
    admin: String,
    /// The peers, each as `ID=URL`.
    peers: Vec<String>,
}

impl Line {
    fn give(self, layer: &mut Layer) {
        let values = [
            (Key::Id, self.id.to_string()),
            (Key::ListenPeer, self.peer),
            (Key::ListenClient, self.client),
            (Key::ListenAdmin, self.admin),
            // The arguments name all peers, even if there are none.
            (Key::Peers, self.peers.join(",")),
        ];
        for (key, text) in values {
            layer.give(key, text, Source::Argument);
        }
    }
}

fn parse(arguments: &[String]) -> Result<Line, String> {
    match arguments {
        [] | [_] => Err("the node's id and address are missing".to_owned()),
        [id, peer] => by_list(id, peer, ""),
        // A list of peers contains `=` or is empty; an address is neither.
        [id, peer, list] if list.is_empty() || list.contains('=') => by_list(id, peer, list),
        [name, peer, client, peers @ ..] => by_names(name, peer, client, peers),
    }
}

/// Parses `1 [::1]:7070 2=http://[::1]:8080,3=http://[::1]:9090`.
fn by_list(id: &str, peer: &str, list: &str) -> Result<Line, String> {
    let (host, port) = split(peer)?;
    let peers = list.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let (client, admin) = (format!("{host}:{}", after(port, 1)?), format!("{host}:{}", after(port, 2)?));
    Ok(Line { id: number(id)?, peer: peer.to_owned(), client, admin, peers })
}

/// Parses `node1 [::1]:7070 [::1]:7071 node2 http://[::1]:8080`.
fn by_names(name: &str, peer: &str, client: &str, peers: &[String]) -> Result<Line, String> {
    let (_, peer_port) = split(peer)?;
    let (host, client_port) = split(client)?;
    let admin = format!("{host}:{}", after(peer_port.max(client_port), 1)?);
    let pairs = peers.chunks(2).map(|pair| match pair {
        [name, url] => Ok(format!("{}={url}", number(name)?)),
        _ => Err(format!("the URL of `{}` is missing", pair.concat())),
    });
    let peers = pairs.collect::<Result<_, _>>()?;
    Ok(Line { id: number(name)?, peer: peer.to_owned(), client: client.to_owned(), admin, peers })
}

fn number(name: &str) -> Result<u64, String> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.strip_prefix(stem).unwrap_or_default();
    digits.parse().map_err(|_| format!("`{name}` does not end in the number of a node"))
}

fn split(address: &str) -> Result<(&str, u16), String> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts.ok_or_else(|| format!("`{address}` is not HOST:PORT"))
}

fn after(port: u16, distance: u16) -> Result<u16, String> {
    port.checked_add(distance).ok_or_else(|| format!("there is no port {distance} after {port}: choose a lower one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Line, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn shown(line: Line) -> String {
        let Line { id, peer, client, admin, peers } = line;
        format!("{id} {peer} {client} {admin} {}", peers.join(","))
    }

    #[test]
    fn both_forms_are_read() {
        let table = [
            (
                "node1 [::1]:7070 [::1]:7071 node2 http://[::1]:8080",
                "1 [::1]:7070 [::1]:7071 [::1]:7072 2=http://[::1]:8080",
            ),
            (
                "node2 [::1]:8080 [::1]:8081 node1 http://[::1]:7070 node3 http://[::1]:9090",
                "2 [::1]:8080 [::1]:8081 [::1]:8082 1=http://[::1]:7070,3=http://[::1]:9090",
            ),
            ("n-12 a:7072 a:7071", "12 a:7072 a:7071 a:7073 "),
            ("3 a:1 b:2 4 http://c:3", "3 a:1 b:2 b:3 4=http://c:3"),
            ("knoté7 a:1 b:2", "7 a:1 b:2 b:3 "),
            (
                "1 127.0.0.1:7070 2=http://127.0.0.1:7080,3=http://127.0.0.1:7090",
                "1 127.0.0.1:7070 127.0.0.1:7071 127.0.0.1:7072 2=http://127.0.0.1:7080,3=http://127.0.0.1:7090",
            ),
            ("1 [::1]:7070 2=http://[::1]:8080", "1 [::1]:7070 [::1]:7071 [::1]:7072 2=http://[::1]:8080"),
            ("1 localhost:7070", "1 localhost:7070 localhost:7071 localhost:7072 "),
            ("node4 h:1 ,5=http://i:1,", "4 h:1 h:2 h:3 5=http://i:1"),
        ];
        for (line, expected) in table {
            assert_eq!(parsed(line).map(shown), Ok(expected.to_owned()), "{line}");
        }
        let empty = ["1".to_owned(), "h:1".to_owned(), String::new()];
        assert_eq!(parse(&empty).map(shown), Ok("1 h:1 h:2 h:3 ".to_owned()), "an empty list");
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let table = [
            ("", "the node's id and address"),
            ("node1", "the node's id and address"),
            ("node [::1]:7070 [::1]:7071", "`node` does not end in the number"),
            ("1x a:1", "`1x` does not end in the number"),
            ("1é a:1", "`1é` does not end in the number"),
            ("99999999999999999999 a:1", "does not end in the number"),
            ("node1 7070 7071", "`7070` is not HOST:PORT"),
            ("node1 a:1 http://b", "`http://b` is not HOST:PORT"),
            ("node1 a:1 b:2 node2", "the URL of `node2` is missing"),
            ("node1 a:1 b:2 node http://c:1", "`node` does not end in the number"),
            ("1 a:65535", "there is no port 1 after 65535"),
            ("1 a:65534 2=http://b:1", "there is no port 2 after 65534"),
            ("node1 a:1 b:65535", "there is no port 1 after 65535"),
            ("1 a:70000", "`a:70000` is not HOST:PORT"),
        ];
        for (line, expected) in table {
            let problem = parsed(line).expect_err(line);
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }

    #[test]
    fn the_arguments_are_checked_like_all_settings() {
        let checked = |line: &str| {
            let mut layer = Layer::default();
            parsed(line).expect("the shape is right").give(&mut layer);
            config::load(None, [], layer)
        };
        let loaded =
            checked("node1 [::1]:7070 [::1]:7071 node2 http://[::1]:8080").expect("the earlier project's line");
        assert_eq!(loaded.settings.data_dir.to_str(), Some("raft-data/node1"));
        assert_eq!(loaded.settings.peers.len(), 1);
        assert_eq!(loaded.warnings.len(), 1, "two nodes");
        let problem = checked("node0 a:1 b:2").expect_err("id 0").message;
        assert!(problem.starts_with("command line: id = 0: must be"), "{problem}");
        let problem = checked("1 127.0.0.1:1 2=b:1").expect_err("no URL").message;
        assert!(problem.starts_with("command line: peers = 2=b:1: "), "{problem}");
    }
}
