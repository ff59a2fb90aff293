//! Requests at followers: forwarded to the leader, once, and replied to whatever becomes of the leader.

use super::*;
use crate::interface::forwards::{ForwardEnd, ForwardId, ForwardedReply, ForwardedRequest, LeaderRequest};

/// Nodes that forward two requests at a time.
fn cluster() -> (Cluster, NodeId, SessionId) {
    let options = NodeOptions { max_forwarded_requests: 2, ..options() };
    Cluster::with(3, Config::new(NodeId(0)), options).with_session()
}

impl Cluster {
    /// Why requests ended without the leader's reply.
    fn ends(&self) -> Vec<(u64, ForwardEnd)> {
        let end = |output: &NodeOutput| match output {
            NodeOutput::Report(Report::ForwardEnded { id, why }) => Some((id.0, *why)),
            _ => None,
        };
        self.outputs.iter().filter_map(end).collect()
    }
}

#[test]
fn a_follower_returns_the_leaders_reply() {
    let (mut cluster, leader, session) = cluster();
    let follower = next(leader);
    let Some(Reply::Applied { entry, .. }) = cluster.ask(follower, 2, command(session, 1)) else {
        panic!("not applied but {:?}", cluster.reply(2))
    };
    assert_eq!(cluster.ask(follower, 3, query()), answer(entry.index, "1"));
    assert!(matches!(cluster.ask(follower, 4, Request::OpenSession), Some(Reply::SessionOpened { .. })));
    let by_leader = |output: &NodeOutput| matches!(output, NodeOutput::LeaderReply { leader: by, .. } if *by == leader);
    assert_eq!(cluster.count(by_leader), 3);
    let again = cluster.ask(leader, 5, command(session, 1));
    assert!(
        matches!(again, Some(Reply::Applied { entry: first, .. }) if first == entry),
        "once on both ways: {again:?}"
    );
    assert!(matches!(cluster.ask(follower, 6, stale_query()), Some(Reply::Answer { .. })));
    let transfer = Request::TransferLeadership { to: None };
    let not_leader = rejected(RejectReason::NotLeader { leader: Some(leader) });
    assert_eq!(cluster.ask(follower, 7, transfer), not_leader, "operators ask the leader");
    assert_eq!(cluster.count(by_leader), 3);
}

#[test]
fn a_forwarded_request_is_never_forwarded_again() {
    let (mut cluster, leader, session) = cluster();
    let (follower, other) = (next(leader), next(next(leader)));
    let Request::Command(command) = command(session, 1) else { panic!("a command") };
    let id = ForwardId { origin: 5, number: 9 };
    let request = ForwardedRequest { id, request: LeaderRequest::Command(command) };
    cluster.outputs.clear();
    // The other node takes this follower for the leader, and the follower takes a third one.
    cluster.feed(follower, NodeInput::ForwardedRequest { from: other, request });
    let reply = rejected(RejectReason::NotLeader { leader: Some(leader) }).unwrap();
    let reply = ForwardedReply { id, reply };
    assert_eq!(cluster.outputs, [NodeOutput::ForwardReply { to: other, reply }]);
    cluster.settle();
    assert_eq!(cluster.journal(leader).len(), 0);
}

#[test]
fn a_leader_that_stands_still_makes_the_outcome_unknown_and_holds_a_limited_number() {
    let (mut cluster, first, session) = cluster();
    let follower = next(first);
    cluster.cut.insert(first);
    cluster.request(follower, 2, command(session, 1));
    cluster.request(follower, 3, query());
    cluster.request(follower, 4, command(session, 2));
    assert_eq!(cluster.reply(4), rejected(RejectReason::Busy), "two at a time");
    assert_eq!((cluster.reply(2), cluster.reply(3)), (None, None));
    let second = cluster.leader();
    assert_eq!(cluster.reply(2), Some(Reply::Unknown), "the leader may have it");
    assert!(matches!(cluster.reply(3), Some(Reply::Rejected { .. })), "a read has no effect");
    let ends = [(4, ForwardEnd::OverLimit), (2, ForwardEnd::LeaderLost), (3, ForwardEnd::LeaderLost)];
    assert_eq!(cluster.ends(), ends);
    let retry = cluster.ask(second, 5, command(session, 1));
    assert!(matches!(retry, Some(Reply::Applied { .. })), "{retry:?}");
    cluster.heal();
    assert_eq!(cluster.journal(first).len(), 1);
}

#[test]
fn a_request_without_a_reply_ends_at_its_deadline() {
    let (mut cluster, leader, session) = cluster();
    let follower = next(leader);
    cluster.request(follower, 2, command(session, 1));
    let lost = |(_, input): &(NodeId, NodeInput)| !matches!(input, NodeInput::ForwardedRequest { .. });
    cluster.queue.retain(lost);
    let sent = cluster.now;
    cluster.run_until(|cluster| cluster.reply(2).is_some());
    assert_eq!(cluster.reply(2), Some(Reply::Unknown));
    assert_eq!(cluster.now, sent.after(cluster.config.election_timeout.end * 2));
    assert_eq!(cluster.ends(), [(2, ForwardEnd::TimedOut)]);
    assert_eq!(cluster.leader(), leader);
}

#[test]
fn a_request_that_was_not_sent_has_no_effect() {
    let (mut cluster, leader, session) = cluster();
    cluster.request(next(leader), 2, command(session, 1));
    let Some(NodeOutput::ForwardRequest { request, .. }) = cluster.outputs.last() else { panic!("not forwarded") };
    let id = request.id;
    cluster.queue.clear();
    cluster.feed(next(leader), NodeInput::NotForwarded { id });
    assert_eq!(cluster.reply(2), rejected(RejectReason::NotLeader { leader: Some(leader) }));
    cluster.feed(next(leader), NodeInput::NotForwarded { id });
    assert_eq!(cluster.ends(), [(2, ForwardEnd::NotSent)], "one reply");
}
