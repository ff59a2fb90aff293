//! Hostile traffic on the ports of a node, which continues to work.

use crate::support::cluster::Cluster;
use crate::support::wait::DEADLINE;
use bytes::Bytes;
use raft_client::service::client_client::ClientClient;
use raft_client::{Client, ClientError, ClientOptions};
use raft_grpc::services::peer_client::PeerClient;
use raft_proto::wire::raft::{Hello, PeerRequest, peer_request};
use raft_proto::wire::session::Command;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codegen::http;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::ServiceExt;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The number of silent connections on each port, if the system allows that many.
const IDLE: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_halves_and_crowds_do_not_stop_a_node_from_serving() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let ports = addresses(&mut cluster, leader.id);
    let idle = connections_for_each_port();
    let begun = Instant::now();
    let mut held: Vec<TcpStream> = Vec::new();
    for port in ports {
        held.extend(crowd(port, idle).await);
        for bytes in openings() {
            let mut stream = connect(port).await;
            // The node may close the connection during the write, which is also correct.
            let _ = stream.write_all(&bytes).await;
            held.push(stream);
        }
    }
    println!("{idle} silent connections on each port, after {:?}", begun.elapsed());
    let tasks = [ports[0], ports[1]].map(|port| tokio::spawn(claim_four_gigabytes(port)));

    // The test asks only the leader, because the leader is under attack.
    let url = format!("http://{}", ports[1]);
    let mut client =
        Client::new(ClientOptions { deadline: DEADLINE, ..ClientOptions::new(vec![url.clone()]) }).expect("a URL");
    for number in 0..200 {
        client.put(format!("k{number}"), "v").await.expect("it goes on writing");
        client.status(&url).await.expect("it goes on answering");
    }
    for task in tasks {
        task.await.expect("the claim was refused");
    }
    assert_eq!(curl(ports[2], "/livez").await, "ok");
    let now = cluster.leader().await;
    assert_eq!(now, leader, "no election was needed");
    println!("200 writes and 200 statuses until {:?} after the first connection", begun.elapsed());
    drop(held);
    cluster.agreement().await;
    assert_eq!(cluster.stop(leader.id).await.code(), Some(0));
}

fn addresses(cluster: &mut Cluster, id: u64) -> [SocketAddr; 3] {
    cluster.node(id).ports.each_ref().map(|port| port.address)
}

/// Raises this process's limit of descriptors, and returns how many connections to each of three ports it allows.
fn connections_for_each_port() -> u64 {
    const OTHERS: u64 = 200;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("the limit can be raised to its maximum");
    let most = limit.maximum.unwrap_or(u64::MAX);
    // The node has the same limit, and as many connections.
    let idle = (most.saturating_sub(OTHERS) / 3).min(IDLE);
    assert!(idle >= 16, "only {most} descriptors");
    idle
}

async fn crowd(port: SocketAddr, count: u64) -> Vec<TcpStream> {
    let mut connecting = JoinSet::new();
    for _ in 0..count {
        connecting.spawn(connect(port));
    }
    connecting.join_all().await
}

async fn connect(port: SocketAddr) -> TcpStream {
    // If there are more at once than the system queues, it retries them after a second or more.
    timeout(DEADLINE, TcpStream::connect(port)).await.expect("within the deadline").expect("it listens")
}

/// Opening bytes of a connection that lead to nothing.
fn openings() -> Vec<Vec<u8>> {
    let http2 = |rest: &[u8]| [PREFACE, SETTINGS, rest].concat();
    vec![
        vec![0; 65_536],
        vec![0xff; 65_536],
        (0..=255).cycle().take(200_000).collect(),
        // A TLS handshake.
        vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        // Half a header.
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nX-Half".to_vec(),
        b"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nx".to_vec(),
        PREFACE[..10].to_vec(),
        PREFACE.to_vec(),
        http2(&[]),
        // A frame of 16 MiB that never arrives.
        http2(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        // Headers that are invalid.
        http2(&[0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        // A window that is too large by one.
        http2(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
    ]
}

/// Sends a gRPC message whose frame claims 4 GiB. The server refuses it because of the claim alone.
async fn claim_four_gigabytes(port: SocketAddr) {
    let channel = channel(port).await;
    for path in ["/raft.v1.Client/Command", "/raft.v1.Peer/Messages"] {
        let body = tonic::body::Body::new(axum::body::Body::from(vec![0, 0xff, 0xff, 0xff, 0xff]));
        let request = http::Request::post(format!("http://{port}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .expect("a request");
        let response = timeout(DEADLINE, channel.clone().oneshot(request)).await.expect("within the deadline");
        let response = response.expect("the connection goes on");
        let status = Status::from_header_map(response.headers()).expect("the node refuses it at once");
        // The client service is not on the port for peers, and the peer service not on the port for clients.
        let refused = [Code::ResourceExhausted, Code::OutOfRange, Code::Unimplemented];
        assert!(refused.contains(&status.code()), "{path}: {status}");
    }
}

async fn channel(port: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{port}")).expect("a URL").connect().await.expect("it listens")
}

async fn curl(port: SocketAddr, path: &str) -> String {
    let mut stream = connect(port).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it listens");
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("within the deadline").expect("an answer");
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_above_the_limit_is_refused_with_the_limit() {
    let mut cluster = Cluster::start(1).await;
    let port = addresses(&mut cluster, 1)[1];
    let before = cluster.statuses().await[&1].last;
    // The sizes are just above the limit of the command, and above the part of a request that is read.
    for bytes in [(1 << 20) + 1, 3 << 20] {
        let command = Bytes::from(vec![b'x'; bytes]);
        let request = Command { session: 1, sequence: 1, lowest_pending: 1, command };
        let refused = ClientClient::new(channel(port).await).command(request).await.expect_err("it is too large");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(refused.message().contains("limit is 1048576"), "{refused}");
    }
    let mut client = cluster.client();
    let refused = client.put("k", "x".repeat(2 << 20)).await.expect_err("it is too large");
    assert!(matches!(&refused, ClientError::Refused { reason, .. } if reason.contains("1048576")), "{refused}");
    assert!(!refused.may_have_effect());
    client.put("k", "x".repeat(1 << 19)).await.expect("it is small enough");
    let after = cluster.statuses().await[&1].last;
    assert!(after - before <= 3, "a session and a value, and nothing of what was refused: {before}, {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_no_peer_and_the_node_goes_on() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let port = addresses(&mut cluster, leader.id)[0];
    cluster.met().await;
    let peer = 1 + leader.id % 3;
    let strangers = strange(&cluster.hello(peer, leader.id).await);
    let count = strangers.len();
    for (hello, word) in strangers {
        let refused = call(port, peer_request::Kind::Hello(hello)).await;
        assert_eq!(refused.code(), Code::FailedPrecondition, "{word}: {refused}");
        assert!(refused.message().contains(word), "{word}: {refused}");
    }
    let rude = call(port, peer_request::Kind::Message(raft_proto::wire::raft::PeerMessage { rpc: None })).await;
    assert_eq!(rude.code(), Code::InvalidArgument, "{rude}");

    cluster.client().put("k", "v").await.expect("it goes on");
    assert_eq!(cluster.leader().await, leader, "no election was needed");
    let now = cluster.statuses().await.remove(&leader.id).expect("it answers");
    assert!(now.members.iter().all(|member| member.connected), "{:?}", now.members);
    let log = cluster.node(leader.id).stderr();
    let said = log.lines().filter(|line| line.contains("a caller on the peer port is refused")).count();
    assert_eq!(said, count, "each is said once: {log}");
}

/// Hellos that do not come from a peer, similar to a valid one, each with its refusal.
fn strange(right: &Hello) -> Vec<(Hello, &'static str)> {
    vec![
        (Hello { cluster_id: vec![7; 16].into(), ..right.clone() }, "is of another cluster: compare"),
        (Hello { cluster_id: vec![7; 16].into(), cluster: "x".to_owned(), ..right.clone() }, "its name is `x`"),
        (Hello { cluster_id: vec![7; 16].into(), members: vec![1, 2, 3, 4], ..right.clone() }, "4 in the list of node"),
        (Hello { cluster_id: Bytes::new(), ..right.clone() }, "is of another cluster"),
        (Hello { to: right.from, ..right.clone() }, "expects node"),
        (Hello { protocol_version: 2, ..right.clone() }, "uses protocol version 2, expected 1"),
        (Hello { from: 9, ..right.clone() }, "node 9 is not a peer"),
        (Hello { from: right.to, ..right.clone() }, "is not a peer"),
        (Hello { disk: Bytes::new(), ..right.clone() }, "sends no disk id"),
        (Hello { disk: vec![7; 17].into(), ..right.clone() }, "sends no disk id"),
        (
            Hello { disk: vec![7; 16].into(), ..right.clone() },
            "is known with another disk: if its disk was lost, remove",
        ),
        (Hello { incarnation: 0, ..right.clone() }, "old copy of its data folder"),
    ]
}

/// Opens a stream with this frame, leaves it open, and expects a refusal.
async fn call(port: SocketAddr, first: peer_request::Kind) -> Status {
    let mut peer = PeerClient::new(channel(port).await);
    let (frames, stream) = tokio::sync::mpsc::channel(1);
    frames.send(PeerRequest { kind: Some(first) }).await.expect("there is room");
    let requests = tokio_stream::wrappers::ReceiverStream::new(stream);
    let answer =
        timeout(Duration::from_secs(30), peer.messages(requests)).await.expect("the node does not wait for more bytes");
    drop(frames);
    answer.map(drop).expect_err("it is refused")
}
