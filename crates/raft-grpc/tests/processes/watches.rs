//! Watches and times to live on real nodes, while leaders die.

use crate::support::cluster::Cluster;
use crate::support::wait::wait_until;
use raft_client::{Consistency, Watch};
use raft_kv::command::{EventKind, KeyRange};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The value of a key, or `None` if it is gone, by revision.
type Seen = BTreeMap<u64, (String, Option<String>)>;

/// The changes that a watch sees until this value.
async fn follow(mut watch: Watch, last: &str) -> Seen {
    let mut seen = Seen::new();
    loop {
        let changes = watch.next().await.expect("some node goes on");
        for event in changes.events {
            let value = match event.kind {
                EventKind::Put(value) => Some(String::from_utf8_lossy(&value.data).into_owned()),
                EventKind::Delete | EventKind::Expire => None,
            };
            let is_last = value.as_deref() == Some(last);
            let newest = seen.last_key_value().map_or(0, |(revision, _)| *revision);
            assert!(event.revision > newest, "{} comes after {newest}", event.revision);
            seen.insert(event.revision, (String::from_utf8_lossy(&event.key).into_owned(), value));
            if is_last {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_every_change_once_while_leaders_die() {
    let mut cluster = Cluster::start(3).await;
    let mut writer = cluster.client();
    let watch = cluster.client().watch(KeyRange::prefix(b"w/"), 1);
    let watching = tokio::spawn(follow(watch, "the last"));
    let mut written = Seen::new();
    for round in 0..3 {
        for number in 0..20 {
            let (key, value) = (format!("w/{}", number % 7), format!("{round}.{number}"));
            let revision = writer.put(key.clone(), value.clone()).await.expect("it is put").revision;
            written.insert(revision, (key, Some(value)));
        }
        writer.put("other", "of no interest").await.expect("it is put");
        let leader = cluster.leader().await;
        cluster.kill(leader.id);
        let deleted = writer.delete(format!("w/{round}")).await.expect("the others go on");
        written.insert(deleted.written.revision, (format!("w/{round}"), None));
        cluster.start_node(leader.id);
        cluster.leader().await;
    }
    let revision = writer.put("w/0", "the last").await.expect("it is put").revision;
    written.insert(revision, ("w/0".to_owned(), Some("the last".to_owned())));
    assert_eq!(watching.await.expect("the watch ends"), written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_lives_as_long_as_it_was_said_and_not_for_ever_also_when_its_leader_dies() {
    const TTL: Duration = Duration::from_millis(1_500);
    let mut cluster = Cluster::start(3).await;
    let mut client = cluster.client();
    client.put("for ever", "").await.expect("it is put");
    let put = Instant::now();
    client.put_for("k", "v", Some(TTL)).await.expect("it is put");
    let leader = cluster.leader().await;
    cluster.kill(leader.id);
    let gone = wait_until("the key is gone", async || {
        let got = client.get("k", Consistency::Linearizable).await.expect("the others go on");
        if got.value.is_some() { Err(format!("it is there after {:?}", put.elapsed())) } else { Ok(Instant::now()) }
    })
    .await;
    assert!(gone - put >= TTL, "gone after {:?}", gone - put);
    assert!(client.get("for ever", Consistency::Linearizable).await.expect("it is read").value.is_some());
    cluster.start_node(leader.id);
    cluster.agreement().await;
}
