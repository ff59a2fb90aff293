//! The command lines of the two earlier projects still start clusters.

use crate::support::command::binary;
use crate::support::folder::Folder;
use crate::support::node::{Line, Node};
use crate::support::ports::Port;
use crate::support::wait::DEADLINE;
use raft_client::{Client, ClientOptions, Consistency};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

/// Starts two nodes. `arguments` turns a node's id, its ports, the other's id and the other's peer URL into a command
/// line.
async fn works(arguments: impl Fn(u64, &[Port; 3], u64, &str) -> Vec<String>) {
    let host = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        Err(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
    };
    let folder = Folder::new();
    let rows = [Port::row(host), Port::row(host)];
    let urls = rows.each_ref().map(|[peer, ..]| peer.url());
    let endpoints: Vec<String> = rows.iter().map(|[_, client, _]| client.url()).collect();
    let commands = [(1, 0, 1), (2, 1, 0)].map(|(id, own, other): (u64, usize, usize)| {
        let mut words = vec!["run".to_owned()];
        words.extend(arguments(id, &rows[own], 3 - id, &urls[other]));
        binary(words)
    });
    let mut nodes = Vec::new();
    for ((id, command), ports) in (1..).zip(commands).zip(rows) {
        let data_dir = folder.path().join(format!("raft-data/node{id}"));
        let listen = ports.each_ref().map(|port| port.address.to_string());
        let line = Line { id, listen, peers: [].into(), data_dir, more: Vec::new() };
        let mut node = Node::new(line, ports, folder.path());
        node.start_as(command);
        nodes.push(node);
    }
    let options = ClientOptions { deadline: DEADLINE, ..ClientOptions::new(endpoints) };
    let mut client = Client::new(options).expect("the endpoints are URLs");
    client.put("greeting", "hello").await.expect("two of two are a quorum");
    let got = client.get("greeting", Consistency::Linearizable).await.expect("two of two are a quorum");
    assert_eq!(got.value.as_deref(), Some(&b"hello"[..]));
    for node in &mut nodes {
        let [peer, client, admin] = node.ports.each_ref().map(Port::url);
        let id = node.line.id;
        assert_eq!(node.stdout(), format!("node {id} listening peer {peer} client {client} admin {admin}\n"));
        assert!(node.line.data_dir.join("META").is_file());
        let log = node.stderr();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("two nodes survives no failure")).collect();
        assert!(matches!(warnings[..], [line] if line.contains("WARN")), "{log}");
    }
    // Both end at once: a single node could not answer the requests in progress.
    let mut second = nodes.pop().expect("two nodes");
    let mut first = nodes.pop().expect("two nodes");
    let (one, two) = tokio::join!(first.stop(), second.stop());
    assert_eq!((one.code(), two.code()), (Some(0), Some(0)), "{}\n{}", first.stderr(), second.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_two_addresses() {
    works(|id, [peer, client, _], other, url| {
        let (peer, client) = (peer.address.to_string(), client.address.to_string());
        vec![format!("node{id}"), peer, client, format!("node{other}"), url.to_owned()]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_with_an_address_and_a_list() {
    works(|id, [peer, ..], other, url| vec![id.to_string(), peer.address.to_string(), format!("{other}={url}")]).await;
}
