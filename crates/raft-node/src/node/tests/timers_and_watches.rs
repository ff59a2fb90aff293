//! What happens without a request, or long after it: timers that the leader counts, and watches.

use super::*;

impl Cluster {
    /// Has a command of these words applied.
    fn say(&mut self, at: NodeId, session: SessionId, sequence: u64, words: &str) {
        let command = Bytes::copy_from_slice(words.as_bytes());
        let request = Request::Command(SessionCommand { session, sequence, lowest_pending: sequence, command });
        self.request(at, 1_000 + sequence, request);
        self.settle();
        assert!(matches!(self.reply(1_000 + sequence), Some(Reply::Applied { .. })), "{words}");
    }

    /// The time at which a node's journal has this line; lets time pass until then.
    fn when(&mut self, at: NodeId, line: &str) -> Instant {
        self.run_until(|cluster| cluster.nodes[&at].machine().0.iter().any(|said| *said == *line.as_bytes()));
        self.now
    }

    fn watch(&mut self, at: u64, id: u64, query: &str) {
        let query = Bytes::copy_from_slice(query.as_bytes());
        self.request(NodeId(at), id, Request::Watch { query });
    }

    fn watched(&self, id: u64) -> Option<(&[u8], Option<&[u8]>)> {
        match self.reply(id)? {
            Reply::Watched { response, next, .. } => Some((response, next.as_deref())),
            other => panic!("{other:?}"),
        }
    }
}

const MS: u64 = 1_000_000;

#[test]
fn what_is_to_happen_by_itself_happens_when_the_leader_has_counted_so_long() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    let began = cluster.now;
    cluster.say(leader, session, 1, "after 5000");
    cluster.say(leader, session, 2, "after 40");
    assert_eq!(cluster.nodes[&leader].timers.deadline(), Some(Instant(began.0 + 40 * MS)));
    for id in [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader) {
        assert_eq!(cluster.nodes[&id].timers.deadline(), None, "{id} does not count");
    }
    assert_eq!(cluster.when(leader, "done 2"), Instant(began.0 + 40 * MS));
    assert_eq!(cluster.when(leader, "done 1"), Instant(began.0 + 5_000 * MS));
    cluster.run_until(|cluster| cluster.nodes.values().all(|node| node.machine().0.len() == 4));
    assert_eq!(cluster.hashes().len(), 1);
    assert_eq!(cluster.nodes[&leader].timers.deadline(), None, "each once");
}

#[test]
fn the_next_leader_counts_anew() {
    let mut cluster = Cluster::new(3);
    let first = cluster.leader();
    let session = cluster.open_session(first, 1);
    cluster.say(first, session, 1, "after 3000");
    let began = cluster.now;
    cluster.run_until(|cluster| cluster.now.0 > began.0 + 2_500 * MS);
    cluster.cut.insert(first);
    let second = cluster.leader();
    let elected = cluster.now;
    assert!(elected.0 < began.0 + 5_000 * MS, "the time that is counted now would be over before");
    let done = cluster.when(second, "done 1");
    assert!(done.0 >= elected.0 + 2_900 * MS, "elected at {elected:?}, done at {done:?}");
    assert!(!cluster.nodes[&first].machine().0.contains(&Bytes::from_static(b"done 1")), "it leads nobody");
    cluster.cut.clear();
    cluster.when(first, "done 1");
    assert_eq!(cluster.hashes().len(), 1);
}

#[test]
fn a_timer_that_cannot_be_proposed_is_tried_again() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.say(leader, session, 1, "after 10");
    let began = cluster.now;
    // While leadership is handed over to somebody who does not hear of it, nothing is appended.
    let to = NodeId(leader.0 % 3 + 1);
    cluster.cut.insert(to);
    cluster.request(leader, 2, Request::TransferLeadership { to: Some(to) });
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    let failed = cluster.now;
    assert!(failed.0 > began.0 + 10 * MS && cluster.nodes[&leader].machine().0.len() == 1, "it was refused meanwhile");
    let done = cluster.when(leader, "done 1");
    assert!(done.0 <= failed.0 + 100 * MS, "refused until {failed:?}, done at {done:?}");
}

#[test]
fn a_timer_waits_while_the_disk_has_no_room() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    cluster.say(leader, session, 1, "after 10");
    let began = cluster.now;
    cluster.feed(leader, NodeInput::Space { is_low: true });
    cluster.run_until(|cluster| cluster.now.0 > began.0 + 600 * MS);
    assert_eq!(cluster.nodes[&leader].machine().0.len(), 1, "nothing is proposed");
    cluster.feed(leader, NodeInput::Space { is_low: false });
    let done = cluster.when(leader, "done 1");
    assert!(done.0 <= began.0 + 800 * MS, "done at {done:?}");
}

#[test]
fn a_watch_is_answered_at_any_node_once_there_is_an_answer() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let session = cluster.open_session(leader, 1);
    for (at, id) in [(1, 11), (2, 12), (3, 13)] {
        cluster.watch(at, id, "2");
    }
    cluster.say(leader, session, 1, "a");
    assert_eq!([11, 12, 13].map(|id| cluster.watched(id)), [None, None, None]);
    cluster.say(leader, session, 2, "b");
    cluster.catch_up();
    assert_eq!([11, 12, 13].map(|id| cluster.watched(id)), [Some((&b"b"[..], Some(&b"3"[..]))); 3]);
    cluster.watch(1, 14, "1");
    assert_eq!(cluster.watched(14), Some((&b"a"[..], Some(&b"2"[..]))), "at once, if there is one");
    cluster.watch(1, 15, "3");
    cluster.feed(NodeId(1), NodeInput::CancelWatch { id: RequestId(15) });
    cluster.say(leader, session, 3, "c");
    cluster.catch_up();
    assert_eq!(cluster.watched(15), None, "nobody waits");
}

#[test]
fn a_watch_outlives_the_leader_and_a_jump_to_a_snapshot() {
    let config = Config { trailing_entries: 0, max_cached_bytes: 0, ..Config::new(NodeId(0)) };
    let options = NodeOptions { max_sessions: 2, snapshot_after_entries: 5, snapshot_after_bytes: 0, ..pieces() };
    let mut cluster = Cluster::with(3, config, options);
    let first = cluster.leader();
    let away = first.0 % 3 + 1;
    let session = cluster.open_session(first, 1);
    cluster.watch(away, 11, "20");
    cluster.cut.insert(NodeId(away));
    for sequence in 1..=19 {
        cluster.say(first, session, sequence, "x");
    }
    cluster.outputs.clear();
    cluster.cut.clear();
    cluster.catch_up();
    assert!(
        cluster.outputs.iter().any(|output| matches!(output, NodeOutput::Report(Report::Restored { .. }))),
        "it has jumped"
    );
    assert_eq!(cluster.watched(11), None);
    cluster.cut.insert(first);
    let second = cluster.leader();
    cluster.say(second, session, 20, "the twentieth");
    cluster.catch_up();
    assert_eq!(cluster.watched(11), Some((&b"the twentieth"[..], Some(&b"21"[..]))));
}
