//! Each half of the property fires on a violation, and stays silent on legal runs.

use super::super::effect::tests::{changes, opens};
use super::super::script::*;
use super::*;
use crate::record::Unhashed;
use raft_core::{Entry, EntryId};
use raft_proto::wire::session;

fn revisions() -> Revisions {
    Revisions::default()
}

fn put(key: &'static str, value: &'static str, ttl_ms: u64) -> kv::Put {
    kv::Put { key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(value.as_bytes()), ttl_ms }
}

fn entry(key: &'static str, value: &'static str, revision: u64) -> kv::KvEntry {
    let kv::Put { key, value, ttl_ms } = put(key, value, 0);
    kv::KvEntry { key, value, created_revision: revision, modified_revision: revision, version: 1, ttl_ms }
}

/// Sets both keys, if the first one does not exist.
fn txn(value: &'static str) -> kv_command::Kind {
    let ops = ["a", "b"].map(|key| kv::TxnOp { kind: Some(kv::txn_op::Kind::Put(put(key, value, 0))) });
    let absent = kv::Compare {
        key: Bytes::from_static(b"a"),
        relation: kv::Relation::Equal.into(),
        target: Some(kv::compare::Target::Version(0)),
    };
    let read = kv::TxnOp { kind: Some(kv::txn_op::Kind::Get(kv::Get { key: Bytes::from_static(b"b") })) };
    kv_command::Kind::Txn(kv::Txn { compares: vec![absent], success: ops.into(), failure: vec![read] })
}

fn done(revision: u64) -> kv_response::Kind {
    let put = || kv::TxnResult { kind: Some(kv::txn_result::Kind::Put(kv::PutResult {})) };
    kv_response::Kind::Txn(kv::TxnResponse { succeeded: true, revision, results: vec![put(), put()] })
}

/// A session opened by entry 3, then `x` set by entry 4 (revision 1), then the transaction in entry 5 (revision 2).
fn answered() -> Script {
    let mut script = Script::led();
    let first = changes(4, 2, (3, 1), kv_command::Kind::Put(put("x", "0", 0)));
    script.apply(1, vec![founding(), noop(2, 2), opens(3, 2), first, changes(5, 2, (3, 2), txn("1"))], 1);
    script
}

/// Records a query; returns the record of its beginning.
fn ask(script: &mut Script, id: u64, query: Option<kv_query::Kind>) -> u64 {
    let label = format!("question {id}");
    let what = match query {
        None => RecordKind::Invoked { client: id, label },
        Some(kind) => {
            let query = kv::KvQuery { kind: Some(kind) }.encode_to_vec().into();
            RecordKind::Queried { client: id, label, query }
        }
    };
    let begun = script.push(None, what);
    script.push(Some(1), RecordKind::Requested { id: RequestId(id), command: Unhashed(None) });
    script.newest().cause = Some(begun);
    begun
}

fn reply(script: &mut Script, id: u64, reply: Reply) {
    script.push(Some(1), RecordKind::Replied { id: RequestId(id), reply });
}

fn ends(script: &mut Script, id: u64) {
    let answer = script.records.last().expect("an answer").number;
    script.push(None, RecordKind::Ended { client: id, label: "done".into() });
    script.newest().cause = Some(answer);
}

fn applied(script: &mut Script, id: u64, index: u64, kind: kv_response::Kind) {
    let response = kv::KvResponse { kind: Some(kind) }.encode_to_vec().into();
    reply(script, id, Reply::Applied { entry: EntryId::new(index, 2), response });
}

fn all() -> Option<kv_query::Kind> {
    Some(kv_query::Kind::Range(kv::Range { start: Bytes::new(), end: None, limit: 0, max_bytes: 0 }))
}

fn ranged(script: &mut Script, id: u64, revision: u64, entries: Vec<kv::KvEntry>) {
    let ranged = kv::Ranged { entries, more: false, revision };
    let response = kv::KvAnswer { kind: Some(kv_answer::Kind::Ranged(ranged)) }.encode_to_vec().into();
    // Entry 4 makes revision 1.
    reply(script, id, Reply::Answer { applied: LogIndex(3 + revision.min(2)), response });
}

#[test]
fn answers_from_one_revision_each_are_silent() {
    let mut script = answered();
    ask(&mut script, 1, None);
    ask(&mut script, 2, all());
    // The query began before the transaction was answered: it may see either map.
    ranged(&mut script, 2, 1, vec![entry("x", "0", 1)]);
    ends(&mut script, 2);
    applied(&mut script, 1, 5, done(2));
    ends(&mut script, 1);
    ask(&mut script, 3, all());
    ranged(&mut script, 3, 2, vec![entry("a", "1", 2), entry("b", "1", 2), entry("x", "0", 1)]);
    assert_silent(revisions(), &script);
}

#[test]
fn a_transaction_seen_in_part_fires() {
    let mut script = answered();
    ask(&mut script, 1, all());
    ranged(&mut script, 1, 2, vec![entry("a", "1", 2), entry("x", "0", 1)]);
    assert_fires(revisions(), NAME, &script, "of the map at that revision");
}

#[test]
fn a_range_from_before_what_was_known_fires() {
    let mut script = answered();
    ask(&mut script, 1, None);
    applied(&mut script, 1, 5, done(2));
    ends(&mut script, 1);
    ask(&mut script, 2, all());
    ranged(&mut script, 2, 1, vec![entry("x", "0", 1)]);
    assert_fires(revisions(), NAME, &script, "is answered from revision 1; revision 2 was known before it was asked");
}

#[test]
fn a_change_before_what_was_known_fires() {
    let mut script = answered();
    ask(&mut script, 1, all());
    ranged(&mut script, 1, 2, vec![entry("a", "1", 2), entry("b", "1", 2), entry("x", "0", 1)]);
    ends(&mut script, 1);
    ask(&mut script, 2, None);
    applied(&mut script, 2, 5, done(2));
    assert_fires(revisions(), NAME, &script, "changes the map at revision 2; revision 2 was known");
}

#[test]
fn another_answer_than_the_log_gives_fires() {
    let mut script = answered();
    ask(&mut script, 1, None);
    applied(&mut script, 1, 5, done(1));
    assert_fires(revisions(), NAME, &script, "the command of entry 5 is answered");
}

#[test]
fn an_answer_from_a_revision_that_is_not_there_fires() {
    let mut script = answered();
    ask(&mut script, 1, all());
    ranged(&mut script, 1, 3, vec![]);
    assert_fires(revisions(), NAME, &script, "no node has applied more than 2");
}

/// Removes the key that revision 1 set.
fn expire(index: u64, key: &'static str) -> Entry {
    let keys = vec![kv::Expiry { key: Bytes::from_static(key.as_bytes()), modified_revision: 1 }];
    let inner = kv::KvCommand { kind: Some(kv_command::Kind::Expire(kv::Expire { keys })) }.encode_to_vec().into();
    let kind = Some(session::session_command::Kind::Internal(session::InternalCommand { command: inner }));
    command(index, 2, session::SessionCommand { kind }.encode_to_vec().into())
}

/// `k` gets this time to live, and the log removes it after this time.
fn lives(ttl_ms: u64, removed_after_ms: u64) -> Script {
    let mut script = Script::led();
    let set = changes(4, 2, (3, 1), kv_command::Kind::Put(put("k", "0", ttl_ms)));
    script.apply(1, vec![founding(), noop(2, 2), opens(3, 2), set], 1);
    let set_at = script.records.last().expect("it is applied").at;
    script.apply(1, vec![expire(5, "k")], 2);
    script.newest().at = set_at.after(Duration::from_millis(removed_after_ms));
    script
}

#[test]
fn a_key_goes_when_the_log_says_so_and_not_early() {
    let mut script = lives(50, 50);
    ask(&mut script, 1, all());
    ranged(&mut script, 1, 2, vec![]);
    assert_silent(revisions(), &script);
    assert_fires(revisions(), NAME, &lives(50, 49), "key k lives for 50 ms and is removed after 49ms");
    // The log cannot remove a key that has no time to live or was set again: nothing changes, and the answer must say
    // so.
    let mut script = lives(0, 9);
    ask(&mut script, 1, all());
    ranged(&mut script, 1, 1, vec![]);
    assert_fires(revisions(), NAME, &script, "of the map at that revision");
}

#[test]
fn an_answer_that_names_another_state_fires_also_for_a_stale_read() {
    let stale = |applied| {
        let mut script = answered();
        let query = kv::KvQuery { kind: all() }.encode_to_vec().into();
        let begun = script.push(None, RecordKind::StaleQueried { client: 1, label: "range".into(), query });
        script.push(Some(1), RecordKind::Requested { id: RequestId(1), command: Unhashed(None) });
        script.newest().cause = Some(begun);
        let ranged = kv::Ranged { entries: vec![entry("x", "0", 1)], more: false, revision: 1 };
        let response = kv::KvAnswer { kind: Some(kv_answer::Kind::Ranged(ranged)) }.encode_to_vec().into();
        reply(&mut script, 1, Reply::Answer { applied: LogIndex(applied), response });
        script
    };
    assert_silent(revisions(), &stale(4));
    assert_fires(revisions(), NAME, &stale(5), "an answer is from revision 1, which is not that of entry 5");
}
