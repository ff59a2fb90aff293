//! Clients with hand-made answers: when they retry, when they give up, and the resulting histories.

use super::*;
use crate::scenario::model::{ClientReads, Mix};
use crate::testing::ms;
use raft_core::{EntryId, LogIndex, ReadMode};
use raft_kv::command::{Answer, Response, TxnOp};
use raft_node::SessionCommand;
use std::collections::BTreeSet;

/// One client of three nodes that only puts, or only gets, and its requests to the world.
struct Bench {
    clients: Clients,
    choices: Choices,
    now: SimTime,
    out: Vec<ClientOutput>,
}

impl Bench {
    fn new(mix: [u32; 4]) -> Self {
        Self::reading(mix, ClientReads::Safe)
    }

    fn reading(mix: [u32; 4], reads: ClientReads) -> Self {
        let [get, put, cas, delete] = mix;
        let model = ClientModel {
            count: 1,
            think: ms(1)..ms(1),
            retry_after: ms(100),
            give_up_after: ms(250),
            keys: 1,
            mix: Mix { get, put, cas, delete, ..Mix::default() },
            reads,
            start: ms(0),
            ..ClientModel::default()
        };
        let (mut choices, mut out) = (Choices::new(1), Vec::new());
        let clients = Clients::new(&model, 3, &mut choices, &mut out);
        Self { clients, choices, now: SimTime(0), out }
    }

    /// Advances to the latest wake.
    fn wake(&mut self) {
        let wakes = self.out.iter().filter_map(|output| match output {
            ClientOutput::Wake { slot, at, generation } => Some((*slot, *at, *generation)),
            _ => None,
        });
        let (slot, at, generation) = wakes.last().expect("a planned wake");
        self.now = at;
        self.clients.wake(slot, generation, at, &mut self.choices, &mut self.out);
    }

    fn reply(&mut self, id: RequestId, reply: &Reply) {
        self.clients.reply(0, id, reply, self.now, &mut self.choices, &mut self.out);
    }

    /// Answers the newest request.
    fn answer(&mut self, reply: &Reply) {
        self.reply(self.last().0, reply);
    }

    fn sent(&self) -> Vec<(RequestId, NodeId, Request)> {
        let sent = self.out.iter().filter_map(|output| match output {
            ClientOutput::Send { id, node, request, .. } => Some((*id, *node, request.clone())),
            _ => None,
        });
        sent.collect()
    }

    fn last(&self) -> (RequestId, NodeId, Request) {
        self.sent().pop().expect("something was sent")
    }

    fn ended(&self) -> Vec<(u64, Status)> {
        let ended = self.out.iter().filter_map(|output| match output {
            ClientOutput::Returned(operation) => Some((operation.client, operation.status)),
            _ => None,
        });
        ended.collect()
    }

    /// Opens the session and sends the first operation.
    fn open(mix: [u32; 4]) -> Self {
        Self::new(mix).opened()
    }

    fn opened(mut self) -> Self {
        self.wake();
        let (id, _, request) = self.last();
        assert_eq!(request, Request::OpenSession);
        self.reply(id, &Reply::SessionOpened { session: SessionId(7) });
        self
    }
}

const PUTS: [u32; 4] = [0, 1, 0, 0];
const GETS: [u32; 4] = [1, 0, 0, 0];

fn applied() -> Reply {
    Reply::Applied { entry: EntryId::new(9, 1), response: Response::Put { revision: 1 }.encode() }
}

fn rejected(leader: Option<u64>) -> Reply {
    Reply::Rejected { reason: RejectReason::NotLeader { leader: leader.map(NodeId) } }
}

#[test]
fn a_retry_repeats_session_and_number_at_another_node() {
    let mut bench = Bench::open(PUTS);
    let (first, node, request) = bench.last();
    assert!(matches!(
        request,
        Request::Command(SessionCommand { session: SessionId(7), sequence: 1, lowest_pending: 1, .. })
    ));
    bench.wake();
    let (second, other, again) = bench.last();
    assert!(first != second && node != other && request == again);
    bench.reply(first, &applied());
    assert_eq!(bench.ended(), [(1, Status::Ok)], "a late answer to the first attempt counts");
    bench.reply(second, &applied());
    assert_eq!(bench.ended().len(), 1, "an operation ends once");
    bench.wake();
    assert!(matches!(bench.last().2, Request::Command(SessionCommand { sequence: 2, .. })));
}

#[test]
fn what_is_given_up_in_doubt_is_unknown_and_ends_the_client() {
    let mut bench = Bench::open(PUTS);
    let (first, ..) = bench.last();
    (0..3).for_each(|_| bench.wake());
    assert_eq!(bench.ended(), [(1, Status::Unknown)]);
    bench.wake();
    let (id, _, request) = bench.last();
    assert_eq!(request, Request::OpenSession, "a new client has no session");
    bench.reply(first, &applied());
    bench.reply(id, &Reply::SessionOpened { session: SessionId(8) });
    assert!(bench.out.iter().any(|output| matches!(output, ClientOutput::Invoked { client: 1_000_001, .. })));
    assert_eq!(bench.ended().len(), 1);
}

#[test]
fn what_surely_had_no_effect_failed() {
    let mut bench = Bench::open(PUTS);
    for _ in 0..3 {
        bench.answer(&rejected(None));
        bench.wake();
    }
    assert_eq!(bench.ended(), [(1, Status::Fail)]);
    bench.wake();
    assert!(
        matches!(bench.last().2, Request::Command(SessionCommand { session: SessionId(7), .. })),
        "the client continues"
    );
}

#[test]
fn one_doubtful_attempt_is_enough_for_unknown() {
    let mut bench = Bench::open(PUTS);
    bench.answer(&Reply::Unknown);
    bench.wake();
    bench.answer(&Reply::Lost);
    (0..4).for_each(|_| {
        if bench.ended().is_empty() {
            bench.wake()
        }
    });
    assert_eq!(bench.ended(), [(1, Status::Unknown)]);
}

#[test]
fn a_read_that_is_given_up_failed() {
    let mut bench = Bench::open(GETS);
    assert!(matches!(bench.last().2, Request::Query { .. }));
    (0..3).for_each(|_| bench.wake());
    assert_eq!(bench.ended(), [(1, Status::Fail)]);
}

#[test]
fn reads_are_asked_for_as_the_model_says() {
    let got = Answer::Got { value: None, modified_revision: 0, revision: 0 }.encode();
    let modes = |reads| {
        let mut bench = Bench::reading(GETS, reads).opened();
        for _ in 0..40 {
            bench.answer(&Reply::Answer { applied: LogIndex(1), response: got.clone() });
            bench.wake();
        }
        assert!(bench.ended().len() == 40 && bench.ended().iter().all(|(_, status)| *status == Status::Ok));
        let sent = bench.sent().into_iter().filter_map(|(.., request)| match request {
            Request::Query { mode, .. } => Some(mode == ReadMode::Lease),
            _ => None,
        });
        sent.collect::<BTreeSet<bool>>()
    };
    assert_eq!(modes(ClientReads::Safe), [false].into());
    assert_eq!(modes(ClientReads::Lease), [true].into());
    assert_eq!(modes(ClientReads::Mixed), [false, true].into());
    for (reads, mode) in [(ClientReads::Safe, ReadMode::Safe), (ClientReads::Mixed, ReadMode::Lease)] {
        let mut bench = Bench::reading(GETS, reads);
        bench.clients.scripted(SimTime(5), NodeId(2), ClientOp::scripted_get("k".into(), None, reads), &mut bench.out);
        assert!(matches!(bench.last().2, Request::Query { mode: sent, .. } if sent == mode), "of a scripted get");
    }
}

#[test]
fn an_expired_session_ends_an_operation_as_what_came_before_says() {
    let mut bench = Bench::open(PUTS);
    bench.answer(&Reply::SessionExpired);
    assert_eq!(bench.ended(), [(1, Status::Fail)]);
    bench.wake();
    assert_eq!(bench.last().2, Request::OpenSession);
    let mut bench = Bench::open(PUTS);
    bench.wake();
    bench.answer(&Reply::SessionExpired);
    assert_eq!(bench.ended(), [(1, Status::Unknown)], "the first attempt may have been applied");
}

#[test]
fn a_command_that_surely_had_no_effect_goes_into_another_session() {
    let mut bench = Bench::new(PUTS);
    bench.clients.model.retry_expired = true;
    let mut bench = bench.opened();
    let (_, _, first) = bench.last();
    bench.answer(&Reply::SessionExpired);
    assert_eq!((bench.last().2, bench.ended()), (Request::OpenSession, vec![]));
    bench.answer(&rejected(None));
    bench.wake();
    bench.answer(&Reply::SessionOpened { session: SessionId(9) });
    let (Request::Command(first), Request::Command(again)) = (first, bench.last().2) else { panic!("two commands") };
    assert_eq!((again.session, again.sequence, &again.command), (SessionId(9), 1, &first.command));
    bench.wake();
    bench.answer(&Reply::SessionExpired);
    assert_eq!(bench.ended(), [(1, Status::Unknown)], "the first attempt may have been applied");
}

#[test]
fn lanes_share_a_session_and_say_what_they_wait_for() {
    let mut bench = Bench::new(PUTS);
    bench.clients.model.open = 2;
    bench.out.clear();
    bench.clients = Clients::new(&bench.clients.model, 3, &mut bench.choices, &mut bench.out);
    let wakes: Vec<u64> = bench
        .out
        .iter()
        .filter_map(|output| match output {
            ClientOutput::Wake { generation, .. } => Some(*generation),
            _ => None,
        })
        .collect();
    for generation in wakes {
        bench.clients.wake(0, generation, SimTime(1), &mut bench.choices, &mut bench.out);
        bench.answer(&Reply::SessionOpened { session: SessionId(6 + generation) });
    }
    let commands = |bench: &Bench| {
        let sent = bench.sent().into_iter().filter_map(|(id, _, request)| match request {
            Request::Command(command) => Some((id, command.session.0, command.sequence, command.lowest_pending)),
            _ => None,
        });
        sent.collect::<Vec<_>>()
    };
    let [first, second] = commands(&bench)[..] else { panic!("two commands") };
    assert_eq!((first.1, first.2, first.3, second.1, second.2, second.3), (7, 1, 1, 7, 2, 1));
    bench.reply(second.0, &applied());
    bench.wake();
    assert_eq!(commands(&bench).last().map(|last| (last.1, last.2, last.3)), Some((7, 3, 1)), "1 is still open");
    bench.reply(first.0, &applied());
    assert_eq!(bench.ended(), [(1_000_001, Status::Ok), (1, Status::Ok)], "each lane is a client of its own");
}

#[test]
fn in_turn_a_session_is_asked_for_at_every_node() {
    let mut bench = Bench::new(PUTS);
    bench.clients.ask_in_turn();
    (0..4).for_each(|_| bench.wake());
    let asked: Vec<u64> = bench.sent().iter().map(|(_, node, _)| node.0).collect();
    let next = |node: &u64| node % 3 + 1;
    assert_eq!(asked.len(), 4);
    assert!(asked.windows(2).all(|pair| matches!(pair, [one, other] if next(one) == *other)), "{asked:?}");
}

#[test]
fn hints_are_followed_but_not_for_ever() {
    let mut bench = Bench::open(PUTS);
    let before = bench.sent().len();
    for _ in 0..10 {
        let (id, node, _) = bench.last();
        bench.reply(id, &rejected(Some(1 + node.0 % 3)));
    }
    assert_eq!(bench.sent().len() - before, MAX_HOPS as usize);
    bench.wake();
    let (id, ..) = bench.last();
    bench.reply(id, &rejected(Some(99)));
    assert_eq!(bench.last().0, id, "a node that does not exist is no hint");
}

#[test]
fn a_scripted_put_is_sent_once() {
    let mut bench = Bench::new(PUTS);
    bench.out.clear();
    let put = ClientOp::Put { key: "k".into(), value: "v".into(), ttl_ms: 0 };
    bench.clients.scripted(SimTime(5), NodeId(2), put, &mut bench.out);
    let (id, node, request) = bench.last();
    assert_eq!((node, request), (NodeId(2), Request::OpenSession));
    let opened = Reply::SessionOpened { session: SessionId(3) };
    bench.clients.reply(1, id, &opened, SimTime(6), &mut bench.choices, &mut bench.out);
    assert!(matches!(
        bench.last(),
        (_, NodeId(2), Request::Command(SessionCommand { session: SessionId(3), sequence: 1, .. }))
    ));
    bench.wake();
    assert_eq!((bench.sent().len(), bench.ended()), (2, vec![(2, Status::Unknown)]));
}

#[test]
fn what_is_open_at_the_end_never_returned() {
    let mut bench = Bench::open(PUTS);
    bench.clients.end(&mut bench.out);
    let Some(ClientOutput::Returned(operation)) = bench.out.last() else { panic!("{:?}", bench.out) };
    assert_eq!((operation.status, operation.return_ns, operation.check()), (Status::Unknown, None, Ok(())));
}

#[test]
fn an_answer_that_cannot_be_read_proves_nothing() {
    let mut bench = Bench::open(PUTS);
    bench.answer(&Reply::Applied { entry: EntryId::new(9, 1), response: Bytes::from_static(b"\xff") });
    assert_eq!(bench.ended(), [(1, Status::Unknown)]);
}

#[test]
fn who_wants_several_keys_keeps_no_history_and_says_what_it_asks() {
    let mut bench = Bench::new([0, 1, 0, 0]);
    bench.clients.model.mix = Mix { range: 1, ..Mix::default() };
    bench.wake();
    bench.answer(&Reply::SessionOpened { session: SessionId(7) });
    let (id, _, request) = bench.last();
    let asked = bench.out.iter().find_map(|output| match output {
        ClientOutput::Invoked { query, .. } => query.clone(),
        _ => None,
    });
    assert!(matches!(request, Request::Query { query, .. } if Some(&query) == asked.as_ref()));
    let response = Answer::Ranged { entries: Vec::new(), more: false, revision: 0 }.encode();
    bench.reply(id, &Reply::Answer { applied: LogIndex(1), response });
    assert_eq!(bench.ended(), Vec::new());
    let is_done =
        |output: &ClientOutput| matches!(output, ClientOutput::Ended { label, .. } if label.ends_with(": is done"));
    assert!(bench.out.iter().any(is_done), "{:?}", bench.out);
}

#[test]
fn transactions_change_no_key_twice_and_values_are_unique() {
    let mut bench = Bench::new([0, 1, 0, 0]);
    bench.clients.model.keys = 3;
    let seen = BTreeMap::from([("k1".to_owned(), Some("v1.1".to_owned()))]);
    let mut values = BTreeSet::new();
    for n in 1..200 {
        let txn = several::txn(&bench.clients.model, 1, n, &format!("v2.{n}"), &seen, &mut bench.choices);
        let mut changed = BTreeSet::new();
        for op in &txn.success {
            match op {
                TxnOp::Put { key, value, .. } => assert!(changed.insert(key.clone()) && values.insert(value.clone())),
                TxnOp::Delete { key } => assert!(changed.insert(key.clone())),
                TxnOp::Get { .. } => {}
            }
        }
        assert!(!txn.compares.is_empty() && txn.failure.len() == txn.success.len());
    }
    assert!(values.len() > 150, "{} puts", values.len());
}
