//! Test support for assertions: replicas to break, and the panic message of a broken one.

extern crate std;

use crate::entry::{Entry, Payload};
use crate::id::{EntryId, LogIndex, NodeId, Seq, Term, WriteId};
use crate::membership::Configuration;
use crate::message::{AppendEntries, Input, RequestVoteResponse, Rpc, Vote};
use crate::{Config, Instant, Message, Raft, RecoveredState, SnapshotMeta};
use alloc::string::{String, ToString};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message that `run` panics with.
pub(crate) fn failure(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("an assertion fails");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap()
}

/// A part of the expected message, and the change that breaks an invariant.
pub(crate) type Change<T> = (&'static str, fn(&mut T));

/// Checks that `sound` passes, and that each change makes it fail with a message that contains the text.
pub(crate) fn each_fails<T: Clone>(sound: &T, check: impl Fn(&mut T), changes: &[Change<T>]) {
    check(&mut sound.clone());
    for (expected, change) in changes {
        let mut broken = sound.clone();
        let message = failure(|| {
            change(&mut broken);
            check(&mut broken);
        });
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
}

/// A snapshot of a log of the voter n1.
pub(crate) fn meta(index: u64, term: u64) -> SnapshotMeta {
    let configuration = Configuration::of_voters([NodeId(1)]);
    SnapshotMeta { last: EntryId::new(index, term), configuration, configured_at: EntryId::new(1, 1) }
}

/// n1 of three, in term 1 with the configuration as `1@1`.
fn fresh() -> Raft {
    let config = Config { pre_vote: false, ..Config::new(NodeId(1)) };
    let restored = RecoveredState::bootstrap(Configuration::of_voters((1..=3).map(NodeId)));
    let mut raft = Raft::new(config, restored).expect("a legal start");
    step(&mut raft, Input::Tick);
    raft
}

fn step(raft: &mut Raft, input: Input) {
    raft.step(Message { now: raft.shared.now.max(Instant::from_millis(1)), input });
}

/// n1 follows n2 in term 2 and has voted for it; of the log `1@1..3@2`, two entries are committed and submitted to the
/// state machine.
pub(crate) fn follower() -> Raft {
    let mut raft = fresh();
    let entry = |index| Entry { id: EntryId::new(index, 2), payload: Payload::Noop };
    let (term, prev, leader_commit) = (Term(2), EntryId::new(1, 1), LogIndex(2));
    let entries = [2, 3].map(entry).into_iter().collect();
    let append = AppendEntries { term, seq: Seq(1), prev, leader_commit, entries };
    step(&mut raft, Input::Receive { from: NodeId(2), rpc: Rpc::AppendEntries(append) });
    step(&mut raft, Input::Persisted { write: WriteId(1) });
    raft
}

/// n1 is a candidate in term 2.
pub(crate) fn candidate() -> Raft {
    let mut raft = fresh();
    let now = Instant::from_millis(1_000);
    raft.step(Message { now, input: Input::Tick });
    step(&mut raft, Input::Persisted { write: WriteId(1) });
    raft
}

/// n1 leads in term 2; its no-op `2@2` is not committed.
pub(crate) fn leader() -> Raft {
    let mut raft = candidate();
    let rpc = Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(2), vote: Vote::Granted });
    step(&mut raft, Input::Receive { from: NodeId(2), rpc });
    raft
}
