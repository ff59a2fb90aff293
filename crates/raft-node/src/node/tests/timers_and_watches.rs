//! Outputs without a request in the same call: watches, and timers that the leader counts.

use super::*;
use raft_store::ClusterId;

impl Cluster {
    /// Applies a command with this text.
    fn say(&mut self, at: NodeId, session: SessionId, sequence: u64, text: &str) {
        let command = Bytes::copy_from_slice(text.as_bytes());
        let command = SessionCommand { session, sequence, lowest_pending: sequence, command };
        let reply = self.ask(at, 1_000 + sequence, Request::Command(command));
        assert!(matches!(reply, Some(Reply::Applied { .. })), "{text}: {reply:?}");
    }

    /// Advances time until a node's journal has this line; returns the milliseconds since `since`.
    fn until(&mut self, since: Instant, at: NodeId, line: &str) -> u64 {
        self.run_until(|cluster| cluster.journal(at).iter().any(|command| *command == *line.as_bytes()));
        self.elapsed(since)
    }

    fn elapsed(&self, since: Instant) -> u64 {
        (self.now.0 - since.0) / 1_000_000
    }

    fn watch(&mut self, at: NodeId, id: u64, query: &str) {
        self.request(at, id, Request::Watch { query: Bytes::copy_from_slice(query.as_bytes()), cluster: None });
    }

    /// The response to a watch, and the next query.
    fn watched(&self, id: u64) -> Option<(String, Option<String>)> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        match self.reply(id)? {
            Reply::Watched { response, next, .. } => Some((text(response), next.map(text))),
            other => panic!("{other:?}"),
        }
    }
}

fn now_and_next(response: &str, next: &str) -> Option<(String, Option<String>)> {
    let next = if next.contains(' ') { next.to_owned() } else { format!("{next} ") };
    Some((response.to_owned(), Some(next)))
}

#[test]
fn timers_fire_once_the_leader_has_counted_their_time() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    let began = cluster.now;
    cluster.say(leader, session, 1, "after 5000");
    cluster.say(leader, session, 2, "after 40");
    let deadlines = cluster.nodes.values().filter_map(|node| node.timers.deadline()).collect::<Vec<_>>();
    assert_eq!(deadlines, [began.after(Duration::from_millis(40))], "only the leader counts");
    assert_eq!(cluster.until(began, leader, "done 2"), 40);
    assert_eq!(cluster.until(began, leader, "done 1"), 5_000);
    cluster.heal();
    assert_eq!(cluster.journal(leader).len(), 4, "each fired once");
    assert_eq!(cluster.nodes[&leader].timers.deadline(), None);
}

#[test]
fn the_next_leader_starts_a_timer_again() {
    let (mut cluster, first, session) = Cluster::new(3).with_session();
    let began = cluster.now;
    cluster.say(first, session, 1, "after 3000");
    cluster.run_until(|cluster| cluster.elapsed(began) > 2_500);
    cluster.cut.insert(first);
    let second = cluster.leader();
    let elected = cluster.now;
    assert!(cluster.elapsed(began) < 5_000, "the two times differ");
    assert!(cluster.until(elected, second, "done 1") >= 2_900);
    assert_eq!(cluster.journal(first).len(), 1, "it leads nobody");
    cluster.heal();
    assert_eq!(cluster.journal(first).len(), 2);
}

#[test]
fn a_rejected_timer_command_is_proposed_again() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.say(leader, session, 1, "after 10");
    let began = cluster.now;
    // During a leadership transfer, here to a node without a network, the leader appends nothing.
    let to = next(leader);
    cluster.cut.insert(to);
    cluster.request(leader, 2, Request::TransferLeadership { to: Some(to) });
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    assert!(cluster.elapsed(began) > 10 && cluster.journal(leader).len() == 1, "the command was rejected meanwhile");
    let failed = cluster.now;
    assert!(cluster.until(failed, leader, "done 1") <= 100);
}

#[test]
fn a_timer_command_waits_while_space_is_low() {
    let (mut cluster, leader, session) = Cluster::new(1).with_session();
    cluster.say(leader, session, 1, "after 10");
    let began = cluster.now;
    cluster.feed(leader, NodeInput::Space { is_low: true });
    cluster.run_until(|cluster| cluster.elapsed(began) > 600);
    assert_eq!(cluster.journal(leader).len(), 1, "nothing is proposed");
    cluster.feed(leader, NodeInput::Space { is_low: false });
    assert!(cluster.until(began, leader, "done 1") <= 800);
}

#[test]
fn any_node_answers_a_watch_once_there_is_a_response() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    let ids = [11, 12, 13];
    for (at, id) in (1..).zip(ids) {
        cluster.watch(NodeId(at), id, "2");
    }
    cluster.say(leader, session, 1, "a");
    assert_eq!(ids.map(|id| cluster.watched(id)), [None, None, None]);
    cluster.say(leader, session, 2, "b");
    cluster.catch_up();
    assert!(ids.iter().all(|id| cluster.watched(*id) == now_and_next("b", "3")));
    cluster.watch(NodeId(1), 14, "1");
    assert_eq!(cluster.watched(14), now_and_next("a", "2"), "the answer comes at once, if there is one");
    cluster.watch(NodeId(1), 15, "3");
    cluster.feed(NodeId(1), NodeInput::CancelWatch { id: RequestId(15) });
    cluster.say(leader, session, 3, "c");
    cluster.catch_up();
    assert_eq!(cluster.watched(15), None, "it was cancelled");
}

#[test]
fn a_watch_of_another_cluster_is_refused() {
    let (mut cluster, leader, _) = Cluster::new(1).with_session();
    let own = options().cluster;
    for (id, asked, is_refused) in [(11, ClusterId([9; 16]), true), (12, own, false)] {
        let query = Bytes::from_static(b"1");
        cluster.request(leader, id, Request::Watch { query, cluster: Some(asked) });
        assert_eq!(cluster.reply(id) == Some(Reply::OtherCluster), is_refused, "{asked}");
    }
}

#[test]
fn a_watch_outlives_the_leader_and_an_installed_snapshot() {
    let config = Config { trailing_entries: 0, max_cached_bytes: 0, ..Config::new(NodeId(0)) };
    let options = NodeOptions { snapshot_after_entries: 5, ..options() };
    let (mut cluster, first, session) = Cluster::with(3, config, options).with_session();
    let away = next(first);
    cluster.watch(away, 11, "20");
    cluster.cut.insert(away);
    cluster.commands(first, session, 1..=19);
    cluster.outputs.clear();
    cluster.heal();
    assert_eq!((cluster.count(restores), cluster.watched(11)), (1, None));
    cluster.cut.insert(first);
    let second = cluster.leader();
    cluster.say(second, session, 20, "the twentieth");
    cluster.catch_up();
    assert_eq!(cluster.watched(11), now_and_next("the twentieth", "21"));
}

/// A client that watches a prefix: it asks node after node, and keeps what it gets.
struct Follower {
    prefix: &'static str,
    at: NodeId,
    id: u64,
    seen: Vec<String>,
}

impl Follower {
    /// Takes the response, if there is one, and asks the next node.
    fn take(&mut self, cluster: &mut Cluster) {
        while let Some((response, next)) = cluster.watched(self.id) {
            let Some(next) = next else { panic!("{} after {:?}", response, self.seen) };
            self.seen.push(response);
            (self.at, self.id) = (super::next(self.at), self.id + 100);
            cluster.watch(self.at, self.id, &next);
        }
    }
}

#[test]
fn every_change_comes_once_and_in_order_across_leaders_and_installed_snapshots() {
    let config = Config { trailing_entries: 0, max_cached_bytes: 0, ..Config::new(NodeId(0)) };
    let options = NodeOptions { snapshot_after_entries: 4, ..options() };
    let (mut cluster, mut leader, session) = Cluster::with(3, config, options).with_session();
    let follower = |(id, prefix): (u64, &'static str)| Follower {
        prefix,
        at: NodeId(id % 3 + 1),
        id: 10_000 + id,
        seen: Vec::new(),
    };
    let mut followers: Vec<Follower> = (0..).zip(["", "a", "a", "ab", "b", "c"]).map(follower).collect();
    for Follower { prefix, at, id, .. } in &followers {
        cluster.watch(*at, *id, &format!("1 {prefix}"));
    }
    let (mut said, mut installed) = (Vec::new(), 0);
    for (sequence, text) in (1..).zip(["a", "b", "ab", "abc", "x", "aa", "b", "b"].repeat(5)) {
        if sequence % 7 == 0 {
            cluster.cut.insert(if sequence % 2 == 0 { leader } else { next(leader) });
            leader = cluster.leader();
        }
        let text = format!("{text}{sequence}");
        cluster.say(leader, session, sequence, &text);
        said.push(text);
        if sequence % 7 == 5 {
            cluster.heal();
            installed += cluster.count(restores);
        }
        followers.iter_mut().for_each(|follower| follower.take(&mut cluster));
    }
    cluster.heal();
    for follower in &mut followers {
        follower.take(&mut cluster);
        let expected: Vec<_> = said.iter().filter(|text| text.starts_with(follower.prefix)).collect();
        assert_eq!(follower.seen.iter().collect::<Vec<_>>(), expected, "{:?}", follower.prefix);
    }
    assert!(installed > 0);
}

#[test]
fn only_the_watches_of_a_changed_key_are_asked_and_no_change_is_too_old_for_one_that_was_idle() {
    let (mut cluster, leader, session) = Cluster::new(1).with_session();
    for id in 0..50 {
        cluster.watch(leader, 100 + id, &format!("1 idle{id} "));
        cluster.watch(leader, 200 + id, "1 key");
    }
    cluster.watch(leader, 300, "30 key");
    let asked = |cluster: &Cluster| cluster.nodes[&leader].machine().asked.take();
    assert_eq!(asked(&cluster), 101);
    (1..=20).for_each(|sequence| cluster.say(leader, session, sequence, "other"));
    assert_eq!(asked(&cluster), 0);
    cluster.say(leader, session, 21, "key");
    assert_eq!(asked(&cluster), 2, "one for all that wait for the next, and one for another number");
    assert!((200..250).all(|id| cluster.watched(id) == now_and_next("key", "22 key")));
    assert_eq!((cluster.watched(300), cluster.watched(100)), (None, None));
    cluster.feed(leader, NodeInput::CancelWatch { id: RequestId(149) });
    cluster.say(leader, session, 22, "idle49 ");
    assert_eq!((asked(&cluster), cluster.watched(149)), (0, None), "it was cancelled");
    cluster.watch(leader, 400, "12 key");
    assert_eq!(cluster.watched(400), Some(("forgotten".to_owned(), None)));
}
