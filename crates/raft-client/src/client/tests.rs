//! The client against nodes that fail.

use super::*;
use crate::fake::{FakeNode, Trick, World, cluster, nobody};
use crate::outcome::{Got, Written};
use raft_core::EntryId;
use raft_kv::command::{Compare, TxnOp, TxnResult};
use raft_kv::{KvMap, WindowLimits};
use raft_proto::wire::raft::{MemberStatus, Role, ServedBy};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

fn timed(endpoints: Vec<String>, deadline_ms: u64, attempt_ms: u64) -> Client {
    let (deadline, attempt_timeout) = (Duration::from_millis(deadline_ms), Duration::from_millis(attempt_ms));
    let options = ClientOptions { deadline, attempt_timeout: Some(attempt_timeout), ..ClientOptions::new(endpoints) };
    Client::new(options).expect("these are endpoints")
}

/// A client with a long deadline; a test that needs the deadline sets it.
fn client(endpoints: Vec<String>) -> Client {
    timed(endpoints, 60_000, 20_000)
}

/// A client that does not wait long for one node.
fn quick(endpoints: Vec<String>) -> Client {
    timed(endpoints, 60_000, 500)
}

fn hasty(endpoints: Vec<String>) -> Client {
    timed(endpoints, 700, 200)
}

/// The faults that make a client ask again.
const TROUBLES: [Trick; 7] =
    [Trick::Deaf, Trick::Break, Trick::Unknown, Trick::Garbage, Trick::Never, Trick::Busy, Trick::Lost];

/// Runs all cases at once, because most of them wait.
async fn all_hold(cases: impl IntoIterator<Item = impl Future<Output = ()> + Send + 'static>) {
    cases.into_iter().collect::<tokio::task::JoinSet<()>>().join_all().await;
}

fn urls(nodes: &[FakeNode]) -> Vec<String> {
    nodes.iter().map(|node| node.url.clone()).collect()
}

fn applied(world: &Arc<Mutex<World>>) -> usize {
    world.lock().expect("nobody panicked").applied
}

#[tokio::test]
async fn commands_and_reads_are_answered() {
    let (nodes, _) = cluster(&[7]).await;
    let mut client = client(urls(&nodes));
    let put = client.put("k", "a").await.expect("it is put");
    let expected = Written { revision: 1, entry: EntryId::new(2, 2), leader: Some(7), attempts: 2 };
    assert_eq!(put, expected, "the session was opened at 1");
    let got = client.get("k", Consistency::Linearizable).await.expect("it is read");
    let expected = Got { value: Some("a".into()), modified_revision: 1, revision: 1, applied: 2, attempts: 1 };
    assert_eq!(got, expected);
    let missed = client.cas("k", None, "b").await.expect("it is compared");
    assert_eq!((missed.swapped, missed.actual), (false, Some("a".into())));
    assert!(client.cas("k", Some("a".into()), "b").await.expect("it is compared").swapped);
    assert!(client.delete("k").await.expect("it is deleted").existed);
    assert!(!client.delete("k").await.expect("it is deleted").existed);
    assert_eq!(client.get("k", Consistency::Stale).await.expect("it is read").value, None);
}

#[tokio::test]
async fn a_hint_is_followed_at_once_and_remembered() {
    let (nodes, _) = cluster(&[1, 2]).await;
    nodes[0].follows(&nodes[1]);
    let mut client = client(vec![nodes[0].url.clone()]);
    client.options.min_pause = Duration::from_secs(50);
    let put = client.put("k", "a").await.expect("the leader is found before any pause ends");
    assert_eq!(put.leader, Some(2));
    client.put("k", "b").await.expect("it is put");
    assert_eq!((nodes[0].asked(), nodes[1].asked()), (1, 3), "a session and two puts");
}

#[tokio::test]
async fn hints_in_a_circle_keep_it_from_nobody() {
    let (nodes, _) = cluster(&[1, 2, 3]).await;
    for first in 0..3 {
        let (second, leader) = ((first + 1) % 3, (first + 2) % 3);
        nodes[first].follows(&nodes[second]);
        nodes[second].follows(&nodes[first]);
        nodes[leader].behave();
        let mut client = client(urls(&nodes));
        let put = client.put("k", "a").await.expect("the client finally asks the third node");
        assert_eq!(put.leader, Some(leader as u64 + 1));
    }
}

#[tokio::test]
async fn a_circle_is_not_run_without_a_pause() {
    let (nodes, _) = cluster(&[1, 2]).await;
    nodes[0].follows(&nodes[1]);
    nodes[1].follows(&nodes[0]);
    let mut client = hasty(urls(&nodes));
    client.options.min_pause = Duration::from_millis(300);
    let error = client.put("k", "a").await.expect_err("nobody leads");
    assert!(!error.may_have_effect(), "{error}");
    let asked = nodes[0].asked() + nodes[1].asked();
    assert!((4..60).contains(&asked), "{asked} requests");
}

#[tokio::test]
async fn whatever_happens_to_answers_a_command_is_applied_once() {
    all_hold(TROUBLES.map(a_command_is_applied_once)).await;
}

async fn a_command_is_applied_once(trick: Trick) {
    let (nodes, world) = cluster(&[1, 2]).await;
    let mut client = quick(urls(&nodes));
    client.put("before", "a").await.expect("it is put");
    for node in &nodes {
        node.script(&[trick.clone(), trick.clone()]);
    }
    let put = client.put("k", "a").await.expect("the put finally succeeds");
    assert_eq!((put.revision, applied(&world)), (2, 2), "{trick:?}");
    assert!(put.attempts >= 3, "{trick:?}: {} attempts", put.attempts);
    assert_eq!(client.put("k", "b").await.expect("it is put").revision, 3, "{trick:?}: a number of its own");
}

#[tokio::test]
async fn a_session_is_opened_through_the_same_troubles() {
    for trick in TROUBLES {
        let (nodes, world) = cluster(&[1]).await;
        nodes[0].script(std::slice::from_ref(&trick));
        let put = quick(urls(&nodes)).put("k", "a").await.expect("it is put");
        assert!(put.attempts >= 3, "{trick:?}: {} attempts", put.attempts);
        assert_eq!(applied(&world), 1, "{trick:?}");
    }
}

#[tokio::test]
async fn what_ends_an_operation_after_an_open_attempt_leaves_its_outcome_unknown() {
    let (nodes, world) = cluster(&[1]).await;
    let mut client = quick(urls(&nodes));
    client.put("k", "a").await.expect("it is put");
    nodes[0].script(&[Trick::Expire]);
    assert_eq!(client.put("k", "b").await.expect("no operation is open, so the client uses a new session").revision, 2);
    for (last, trick, why) in
        [(3, [Trick::Deaf, Trick::Expire], "session ended"), (5, [Trick::Unknown, Trick::TooLarge], "refused")]
    {
        nodes[0].script(&trick);
        let error = client.put("k", "c").await.expect_err(why);
        assert!(error.may_have_effect() && error.to_string().contains(why), "{error}");
        assert_eq!(client.put("k", "d").await.expect("it is put").revision, last + 1, "c was applied");
    }
    assert_eq!(applied(&world), 6);
}

#[tokio::test]
async fn deadlines_are_kept_and_the_outcome_is_classified() {
    let unknown = [Trick::Never, Trick::Deaf, Trick::Break].map(|trick| a_deadline_is_kept(trick, true));
    let no_effect = [Trick::Busy, Trick::Lost, Trick::NotLeader(None, String::new())];
    all_hold(unknown.into_iter().chain(no_effect.map(|trick| a_deadline_is_kept(trick, false)))).await;
}

async fn a_deadline_is_kept(trick: Trick, unknown: bool) {
    let (nodes, _) = cluster(&[1, 2]).await;
    let mut client = client(urls(&nodes));
    // The session is already open, so that the command itself gets no answer.
    client.put("k", "a").await.expect("it is put");
    client.options.deadline = Duration::from_secs(2);
    client.nodes.attempt_timeout = Some(Duration::from_secs(if unknown { 1 } else { 5 }));
    for node in &nodes {
        node.always(trick.clone());
    }
    let began = Instant::now();
    let error = client.put("k", "b").await.expect_err("nobody answers");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "{trick:?} gave up after {took:?}");
    assert!(took < Duration::from_secs(20), "{trick:?} took {took:?}");
    assert_eq!(error.may_have_effect(), unknown, "{trick:?}: {error}");
    if trick == Trick::Never {
        let read = client.get("k", Consistency::Linearizable).await;
        assert!(matches!(read, Err(ClientError::NoEffect { .. })), "a read never has an effect: {read:?}");
    }
}

#[tokio::test]
async fn without_a_session_nothing_can_have_happened() {
    let (nodes, world) = cluster(&[1]).await;
    nodes[0].always(Trick::Deaf);
    let error = hasty(urls(&nodes)).put("k", "a").await.expect_err("no session");
    assert!(!error.may_have_effect(), "{error}");
    assert_eq!(applied(&world), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused_for_good() {
    let (nodes, _) = cluster(&[1, 2]).await;
    let mut client = client(urls(&nodes));
    client.put("k", "a").await.expect("it is put");
    let before = nodes[0].asked() + nodes[1].asked();
    for node in &nodes {
        node.script(&[Trick::TooLarge]);
    }
    let error = client.put("k", "too large").await.expect_err("it is too large");
    assert!(matches!(&error, ClientError::Refused { reason, .. } if reason.contains("the limit is 8")), "{error}");
    assert_eq!(nodes[0].asked() + nodes[1].asked(), before + 1, "asked once");
    client.put("k", "small").await.expect("the script of the other node still runs");
}

#[tokio::test]
async fn dead_nodes_are_passed_by_and_named() {
    let (nodes, _) = cluster(&[1]).await;
    let dead = nobody().await;
    let mut working = client(vec![dead.clone(), nodes[0].url.clone()]);
    working.put("k", "a").await.expect("the client asks the other node");
    nodes[0].always(Trick::NotLeader(Some(9), dead.clone()));
    working.options.deadline = Duration::from_secs(3);
    working.nodes.attempt_timeout = Some(Duration::from_secs(10));
    let error = working.put("k", "b").await.expect_err("the leader is dead");
    assert!(!error.may_have_effect(), "nothing was ever sent to it: {error}");
    let line = error.to_string();
    assert!(line.starts_with("no leader answered within 3s, nothing was changed: "), "{line}");
    assert!(line.contains(&format!("{dead}: Connection refused")), "{line}");
    assert!(line.contains(&format!("{}: does not lead, says node 9 at {dead} does", nodes[0].url)), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn a_stale_read_asks_whoever_is_there() {
    let (nodes, _) = cluster(&[1]).await;
    nodes[0].always(Trick::NotLeader(None, String::new()));
    let mut client = hasty(urls(&nodes));
    client.get("k", Consistency::Linearizable).await.expect_err("nobody leads");
    client.options.deadline = Duration::from_secs(60);
    assert_eq!(client.get("k", Consistency::Stale).await.expect("anybody answers").value, None);
}

#[tokio::test]
async fn an_answer_in_another_language_is_no_answer() {
    let (nodes, _) = cluster(&[1]).await;
    let mut client = client(urls(&nodes));
    nodes[0].script(&[Trick::Garbage]);
    let error = client.get("k", Consistency::Linearizable).await.expect_err("it is no answer");
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn a_dropped_command_leaves_its_number_behind() {
    let (nodes, world) = cluster(&[1]).await;
    let mut client = client(urls(&nodes));
    client.put("k", "a").await.expect("it is put");
    nodes[0].script(&[Trick::Deaf]);
    let given_up = tokio::time::timeout(Duration::from_millis(300), client.put("k", "b")).await;
    assert!(given_up.is_err() || applied(&world) == 2);
    let put = client.put("k", "c").await.expect("it is put");
    assert_eq!(put.revision as usize, applied(&world), "the answer belongs to this operation");
    let got = client.get("k", Consistency::Linearizable).await.expect("it is read");
    assert_eq!(got.value, Some("c".into()));
}

#[test]
fn endpoints_are_checked_and_have_one_spelling() {
    for bad in ["", "http://", "https://a:1", "http://a b:1", "ftp://a:1", "http://[::1"] {
        let error = Client::new(ClientOptions::new([bad])).expect_err(bad);
        assert!(matches!(error, ClientError::Endpoint { .. }), "{bad}: {error}");
    }
    assert!(Client::new(ClientOptions::new([""; 0])).is_err());
    let spelt = ["127.0.0.1:7071", "http://127.0.0.1:7071/", " http://127.0.0.1:7071"];
    let client = Client::new(ClientOptions::new(spelt)).expect("they are endpoints");
    assert_eq!(client.nodes.urls(), ["http://127.0.0.1:7071"]);
}

#[tokio::test]
async fn hints_are_not_remembered_without_end() {
    let (nodes, _) = cluster(&[1]).await;
    let mut client = client(urls(&nodes));
    for port in 1..200 {
        client.nodes.follow("http://somebody", &format!("http://127.0.0.1:{port}"));
    }
    assert_eq!(client.nodes.urls().len(), 64);
    assert!(!client.nodes.follow("http://somebody", "http://no such host:1"));
}

fn member(id: u64, client_url: &str) -> MemberStatus {
    MemberStatus { id, voter: true, client_url: client_url.into(), ..MemberStatus::default() }
}

#[tokio::test]
async fn members_are_asked_themselves_and_found_by_name() {
    let (nodes, _) = cluster(&[1, 2]).await;
    let (dead, stranger) = (nobody().await, nobody().await);
    let members = vec![member(1, &nodes[0].url), member(2, &nodes[1].url), member(3, &dead), member(4, "")];
    nodes[0].set_status(|status| status.members = members);
    nodes[1].set_status(|status| {
        status.role = Role::Follower.into();
        status.members = vec![MemberStatus { contact_ms: Some(5), ..member(3, "") }];
    });
    let mut client = client(vec![nodes[0].url.clone(), stranger.clone()]);
    let views = client.members().await;
    let ids: Vec<Option<u64>> = views.iter().map(|view| view.id).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3), Some(4), None], "{views:?}");
    let answered: Vec<bool> = views.iter().map(|view| view.answer.is_ok()).collect();
    assert_eq!(answered, [true, true, false, false, false]);
    assert_eq!((&views[2].url, &views[4].url), (&dead, &stranger));
    assert_eq!(views[2].known.as_ref().and_then(|known| known.contact_ms), None, "the leader's word counts");
    assert_eq!(client.status(&nodes[1].url).await.expect("it answers").id, 2);
    let error = client.status(&dead).await.expect_err("nobody is there");
    assert!(error.to_string().contains(&dead), "{error}");
}

/// The revisions of this many changes that a watch sees.
async fn seen(watch: &mut Watch, count: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    while revisions.len() < count {
        let changes = watch.next().await.expect("it goes on");
        revisions.extend(changes.events.iter().map(|event| event.revision));
    }
    revisions
}

#[tokio::test]
async fn a_watch_goes_on_at_another_node_behind_what_it_has_seen() {
    let (nodes, _) = cluster(&[1, 2, 3]).await;
    let mut watch = quick(urls(&nodes[..2])).watch(KeyRange::prefix(b"k"), 1);
    // Both break every watch after one answer, and the first is busy at first.
    nodes[0].script(&[Trick::Busy]);
    nodes[..2].iter().for_each(|node| node.always(Trick::Break));
    let first = watch.next().await.expect("it begins somewhere");
    assert_eq!((first.events, first.through), (vec![], 0));
    let mut writer = quick(vec![nodes[2].url.clone()]);
    let writing = async {
        for value in ["a", "b", "c", "d", "e"] {
            writer.put("k", value).await.expect("it is put");
            writer.put("other", value).await.expect("it is put");
        }
    };
    let (revisions, ()) = tokio::join!(seen(&mut watch, 5), writing);
    assert_eq!(revisions, [1, 3, 5, 7, 9], "each once, in order");
    let asked: usize = nodes[..2].iter().map(FakeNode::asked).sum();
    assert!(asked >= 3, "one was busy, and one broke the watch before anything was written: {asked}");
    nodes[..2].iter().for_each(FakeNode::behave);
    writer.put("k", "f").await.expect("it is put");
    assert_eq!(seen(&mut watch, 1).await, [11]);
}

#[tokio::test]
async fn a_watch_does_not_continue_in_another_cluster() {
    let (nodes, world) = cluster(&[1]).await;
    let named = |name: &'static str| world.lock().expect("nobody panics").cluster_id = name.into();
    named("a");
    let mut client = quick(urls(&nodes));
    client.put("k", "a").await.expect("it is put");
    nodes[0].always(Trick::Break);
    let mut watch = client.watch(KeyRange::default(), 1);
    assert_eq!(seen(&mut watch, 1).await, [1]);
    named("b");
    let error = watch.next().await.expect_err("the changes of b are others");
    assert_eq!(error, ClientError::OtherCluster { from: 2 });
    assert!(error.to_string().contains("another cluster than before revision 2"), "{error}");
    named("a");
    nodes.iter().for_each(FakeNode::behave);
    client.put("k", "b").await.expect("it is put");
    assert_eq!(seen(&mut watch, 1).await, [2], "it is as it was");
}

#[tokio::test]
async fn what_is_not_remembered_is_said_and_what_nobody_answers_ends() {
    let (nodes, world) = cluster(&[1]).await;
    world.lock().expect("nobody panics").map = KvMap::with_limits(WindowLimits { events: 2, bytes: 1 << 20 });
    let mut client = quick(urls(&nodes));
    for value in ["a", "b", "c"] {
        client.put("k", value).await.expect("it is put");
    }
    let mut late = client.watch(KeyRange::default(), 1);
    let error = late.next().await.expect_err("revision 1 is forgotten");
    assert_eq!(error, ClientError::Compacted { from: 1, oldest: 2, revision: 3 });
    assert!(error.to_string().contains("the oldest is 2"), "{error}");
    let mut watch = client.watch(KeyRange::default(), 2);
    assert_eq!(seen(&mut watch, 2).await, [2, 3]);

    let nowhere = timed(vec![nobody().await], 300, 500);
    let error = nowhere.watch(KeyRange::default(), 0).next().await.expect_err("nobody is there");
    assert!(matches!(error, ClientError::NoEffect { .. }), "{error}");
}

#[tokio::test]
async fn ranges_transactions_and_times_to_live_travel_whole() {
    let (nodes, world) = cluster(&[1]).await;
    let mut client = client(urls(&nodes));
    client.put_for("a/1", "x", Some(Duration::from_micros(2_500))).await.expect("it is put");
    let ttl = |key: &str| world.lock().expect("nobody panics").map.get(key.as_bytes()).map(|value| value.ttl_ms);
    assert_eq!(ttl("a/1"), Some(2));
    client.put_for("a/1", "x", Some(Duration::from_nanos(1))).await.expect("it is put");
    assert_eq!(ttl("a/1"), Some(1), "not for ever");
    let put = |key: &'static str| TxnOp::Put { key: key.into(), value: "y".into(), ttl_ms: 0 };
    let txn = Txn { compares: vec![Compare::absent("a/2")], success: vec![put("a/2"), put("b")], failure: vec![] };
    let done = client.txn(txn.clone()).await.expect("it is applied");
    assert_eq!((done.succeeded, done.written.revision, done.results), (true, 3, vec![TxnResult::Put; 2]));
    assert!(!client.txn(txn).await.expect("it is applied").succeeded);
    let twice = Txn { success: vec![put("k"), put("k")], ..Txn::default() };
    let error = client.txn(twice).await.expect_err("it is refused");
    assert!(matches!(&error, ClientError::Refused { reason, .. } if reason.contains("at most once")), "{error}");
    let ranged = client.range(KeyRange::prefix(b"a/"), 1, Consistency::Linearizable).await.expect("it is read");
    let keys: Vec<_> = ranged.entries.iter().map(|found| found.key.clone()).collect();
    assert_eq!((keys, ranged.more, ranged.revision), (vec!["a/1".into()], true, 3));
    let all = client.range(KeyRange::default(), 0, Consistency::Stale).await.expect("it is read");
    assert_eq!((all.entries.len(), all.more), (3, false));
}

#[tokio::test]
async fn a_change_of_members_happens_once_however_often_it_is_asked_for() {
    let promote = || MemberChange::Promote { id: 4 };
    // Done, and the answer is lost: the next attempt finds a voter, and that is success.
    for trouble in [Trick::Break, Trick::Unknown, Trick::Deaf] {
        let (nodes, world) = cluster(&[1, 2]).await;
        nodes[0].script(std::slice::from_ref(&trouble));
        nodes[1].follows(&nodes[0]);
        let mut client = quick(urls(&nodes));
        let changed = client
            .change_members(promote(), &ChangeOptions::default())
            .await
            .unwrap_or_else(|error| panic!("{trouble:?}: {error}"));
        assert_eq!((changed.leader, changed.settled), (1, true));
        assert_eq!(Vec::from_iter(world.lock().expect("nobody panicked").voters.clone()), [4]);
        // A first attempt that finds one has mistaken the member.
        let refused = client.change_members(promote(), &ChangeOptions::default()).await.expect_err("it is a voter");
        assert!(matches!(refused, ClientError::Refused { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_change_waits_for_the_one_before_and_a_promotion_for_the_log() {
    let (nodes, _) = cluster(&[1]).await;
    nodes[0].script(&[Trick::Change(ChangeRefusal::NotReady), Trick::Busy]);
    let mut client = client(urls(&nodes));
    client
        .change_members(MemberChange::Remove { id: 3 }, &ChangeOptions::default())
        .await
        .expect("it waits for the change before");

    let behind = Trick::Change(ChangeRefusal::NotCaughtUp);
    nodes[0].script(&[behind.clone(), behind.clone()]);
    let mut seen = Vec::new();
    client
        .promote(4, Duration::from_secs(60), &ChangeOptions::default(), |has, last| seen.push((has, last)))
        .await
        .expect("it has caught up");
    assert_eq!(seen, [(5, 25); 2]);
    nodes[0].script(&[behind]);
    let late = client.promote(5, Duration::ZERO, &ChangeOptions::default(), |_, _| {}).await.expect_err("no time");
    assert_eq!(late, ClientError::NotCaughtUp { id: 5, match_index: 5, last: 25 });
    assert!(late.to_string().contains("it has entry 5, and the leader's last entry is 25") && !late.may_have_effect());
}

#[tokio::test]
async fn a_transfer_finds_the_leader_and_says_why_it_failed() {
    let (nodes, _) = cluster(&[1, 2]).await;
    nodes[1].follows(&nodes[0]);
    let mut client = client(vec![nodes[1].url.clone()]);
    assert_eq!(client.transfer_leadership(Some(2)).await, Ok(2));
    let failed = client.transfer_leadership(None).await.expect_err("nobody answers");
    assert!(failed.to_string().contains("no voter that answers can take over"), "{failed}");
    assert_eq!(client.membership().await.expect("the leader answers").leader, 1);
}

fn served_by(node: u64, client_url: &str, election_timeout_ms: u64) -> ServedBy {
    ServedBy { node, client_url: client_url.into(), election_timeout_ms }
}

#[tokio::test]
async fn after_a_forwarded_request_the_leader_is_asked_directly() {
    let (nodes, _) = cluster(&[1, 2]).await;
    nodes[0].served_by(served_by(2, &nodes[1].url, 0));
    let mut client = client(vec![nodes[0].url.clone()]);
    client.put("k", "a").await.expect("the first node opens the session, the second applies");
    client.put("k", "b").await.expect("it is put");
    assert_eq!((nodes[0].asked(), nodes[1].asked()), (1, 2));
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_asked_through_a_follower_and_tried_again_later() {
    let (nodes, _) = cluster(&[1]).await;
    let leader = nobody().await;
    nodes[0].served_by(served_by(2, &leader, 0));
    let mut client = client(vec![nodes[0].url.clone()]);
    let mut attempts = Vec::new();
    for _ in 0..4 {
        attempts.push(client.put("k", "a").await.expect("it is put").attempts);
    }
    assert_eq!(attempts, [3, 1, 1, 1], "the session, the leader without an answer, and then the follower");
    let ended = client.nodes.avoided_mut(&leader).expect("it is avoided");
    assert_eq!(ended.1, Duration::from_secs(1));
    ended.0 = Instant::now();
    assert_eq!(client.put("k", "a").await.expect("it is put").attempts, 1, "the answer leads to the leader");
    assert_eq!(client.put("k", "a").await.expect("it is put").attempts, 2, "tried again");
    let pause = client.nodes.avoided_mut(&leader).map(|(_, pause)| *pause);
    assert_eq!(pause, Some(Duration::from_secs(2)), "twice as long");
}

#[tokio::test]
async fn an_attempt_takes_as_long_as_the_nodes_elect() {
    let (nodes, _) = cluster(&[1, 2]).await;
    for node in &nodes {
        node.served_by(served_by(1, "", 300));
    }
    let mut client = Client::new(ClientOptions::new(urls(&nodes))).expect("these are endpoints");
    assert_eq!(client.nodes.attempt_timeout(), Duration::from_secs(1), "no node has said it");
    client.put("k", "a").await.expect("it is put");
    assert_eq!(client.nodes.attempt_timeout(), Duration::from_millis(300));
    nodes.iter().for_each(|node| node.script(&[Trick::Never]));
    let began = Instant::now();
    client.put("k", "b").await.expect("one node after the other answers");
    assert!((600..1_900).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    for (said, expected) in [(1, 250), (60_000, 5_000), (0, 5_000)] {
        nodes.iter().for_each(|node| node.served_by(served_by(1, "", said)));
        client.put("k", "c").await.expect("it is put");
        assert_eq!(client.nodes.attempt_timeout(), Duration::from_millis(expected), "{said}");
    }
    client.nodes.attempt_timeout = Some(Duration::from_millis(7));
    assert_eq!(client.nodes.attempt_timeout(), Duration::from_millis(7), "the options decide");
}
