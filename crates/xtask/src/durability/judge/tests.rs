//! Hand-made traces: legal ones to stay silent on, and each way of promising too early.

use super::*;
use crate::durability::http2::data_frame;
use crate::durability::trace;
use prost::Message;
use raft_core::{LogIndex, Write};
use raft_proto::wire::raft as w;
use raft_store::conformance::{OPTIONS, entries, vote};
use raft_store::{Files, Store};
use std::fmt::Write as _;

const SEGMENT: &str = "wal-0000000000000001";
const PEER: &str = "TCP:[127.0.0.1:40000->127.0.0.1:2000]";
const CLIENT: &str = "TCP:[127.0.0.1:1001->127.0.0.1:50000]";

/// The trace of node 1, whose folder is /n1. Its records are real.
struct Script {
    folder: tempfile::TempDir,
    store: Store<Files>,
    /// Where the next record begins.
    end: usize,
    text: String,
    greeted: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").unwrap();
        text
    })
}

fn segment() -> String {
    hex(format!("/n1/{SEGMENT}").as_bytes())
}

impl Script {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(Files::open(folder.path(), false).unwrap(), OPTIONS).unwrap();
        Self { folder, store, end: 64, text: String::new(), greeted: false }
    }

    /// With a segment that has a durable name.
    fn named() -> Self {
        Self::new().create().line(&format!("7 fsync(6<{}>) = 0", hex(b"/n1")))
    }

    fn create(self) -> Self {
        self.line(&format!("7 openat(AT_FDCWD, \"{}\", O_RDWR|O_CREAT|O_EXCL, 0666) = 5<x>", segment()))
    }

    fn line(mut self, line: &str) -> Self {
        self.text.push_str(line);
        self.text.push('\n');
        self
    }

    /// A write that has begun, and what it will return.
    fn write_begins(mut self, writes: &[Write]) -> (Self, usize) {
        self.store.write(writes).unwrap();
        let file = std::fs::read(self.folder.path().join(SEGMENT)).unwrap();
        let end = (file.iter().rposition(|&byte| byte != 0).unwrap() + 1).next_multiple_of(8);
        let (offset, bytes) = (self.end, &file[self.end..end]);
        let (data, count) = (hex(bytes), bytes.len());
        self.end = end;
        (self.line(&format!("7 pwrite64(5<{}>, \"{data}\", {count}, {offset} <unfinished ...>", segment())), count)
    }

    fn write(self, writes: &[Write]) -> Self {
        let (script, count) = self.write_begins(writes);
        script.line(&format!("7 <... pwrite64 resumed>) = {count}"))
    }

    fn sync_begins(self) -> Self {
        self.line(&format!("8 fdatasync(5<{}> <unfinished ...>", segment()))
    }

    fn sync_returns(self, result: &str) -> Self {
        self.line(&format!("8 <... fdatasync resumed>) = {result}"))
    }

    fn sync(self) -> Self {
        self.sync_begins().sync_returns("0")
    }

    fn send(self, link: &str, bytes: &[u8]) -> Self {
        self.line(&format!("9 writev(18<{link}>, [{{iov_base=\"{}\"}}], 1) = {}", hex(bytes), bytes.len()))
    }

    fn tells_peer(mut self, rpc: w::peer_message::Rpc) -> Self {
        let kind = w::peer_request::Kind::Message(w::PeerMessage { rpc: Some(rpc) });
        let mut bytes = if self.greeted { Vec::new() } else { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() };
        bytes.extend(data_frame(1, &w::PeerRequest { kind: Some(kind) }.encode_to_vec()));
        self.greeted = true;
        self.send(PEER, &bytes)
    }

    fn matched(self, index: u64, term: u64) -> Self {
        let outcome = Some(w::append_entries_response::Outcome::Matched(w::Matched { index }));
        let response = w::AppendEntriesResponse { term, seq: 1, outcome, stickiness_ns: 0 };
        self.tells_peer(w::peer_message::Rpc::AppendEntriesResponse(response))
    }

    fn granted(self, term: u64) -> Self {
        let vote = Some(w::Vote { verdict: Some(w::vote::Verdict::Granted(w::Granted {})) });
        self.tells_peer(w::peer_message::Rpc::RequestVoteResponse(w::RequestVoteResponse { term, vote }))
    }

    fn candidate(self, term: u64) -> Self {
        self.tells_peer(w::peer_message::Rpc::RequestVote(w::RequestVote { term, last: None, transfer: false }))
    }

    fn applied(self, index: u64, term: u64) -> Self {
        let applied = w::Applied { entry: Some(w::EntryId { index, term }), response: b"r".to_vec().into(), node: 1 };
        let outcome = Some(w::command_response::Outcome::Applied(applied));
        self.send(CLIENT, &data_frame(1, &w::CommandResponse { outcome }.encode_to_vec()))
    }

    /// Ends a start of the node.
    fn judged_by(&mut self, judge: &mut Judge) {
        let text = std::mem::take(&mut self.text);
        self.greeted = false;
        judge.start(&trace::read(text.as_bytes()).unwrap()).unwrap();
    }

    /// What was violated, if this is all.
    fn verdict(mut self) -> Vec<String> {
        let mut judge = judge();
        self.judged_by(&mut judge);
        assert!(judge.checked.iter().sum::<u64>() > 0, "nothing was checked");
        judge.violations.iter().map(Violation::to_string).collect()
    }
}

fn judge() -> Judge {
    let peers = BTreeMap::from([(2000, 2), (3000, 3)]);
    Judge::new(Node { id: 1, folder: "/n1".into(), client_port: 1001, peers })
}

/// Exactly one violation, and it says this.
fn fires(script: Script, words: &str) {
    let violations = script.verdict();
    assert!(violations.len() == 1 && violations[0].contains(words), "{violations:#?}");
}

fn silent(script: Script) {
    assert_eq!(script.verdict(), Vec::<String>::new());
}

fn follower() -> [Write; 2] {
    [vote(2, 2), entries(1, 3, 2, 8)]
}

#[test]
fn what_is_synced_may_be_promised() {
    silent(Script::named().write(&follower()).sync().matched(3, 2).granted(2).applied(3, 2));
    silent(Script::named().write(&[vote(5, 1)]).sync().candidate(5).matched(0, 5));
}

#[test]
fn a_promise_before_the_sync_fires() {
    fires(Script::named().write(&follower()).sync().write(&[entries(4, 1, 2, 8)]).matched(4, 2).sync(), "no fdatasync");
    fires(Script::named().write(&follower()).sync().write(&[entries(4, 1, 2, 8)]).applied(4, 2).sync(), "entry 4@2");
    fires(Script::named().write(&follower()).granted(2).sync(), "the vote of term 2 to node 2 left in line 5");
    fires(Script::named().write(&[vote(5, 1)]).candidate(5).sync(), "the request for votes of term 5");
}

#[test]
fn a_promise_during_the_sync_fires() {
    let words = "its fdatasync began in line 5 and has not returned";
    fires(Script::named().write(&follower()).sync_begins().applied(3, 2).sync_returns("0"), words);
    fires(Script::named().write(&follower()).sync_begins().granted(2).sync_returns("0"), words);
}

#[test]
fn a_sync_that_began_before_the_write_returned_covers_nothing() {
    let (script, count) = Script::named().write_begins(&follower());
    let script = script.sync_begins().line(&format!("7 <... pwrite64 resumed>) = {count}")).sync_returns("0");
    fires(script.applied(3, 2), "no fdatasync has begun since that write returned");
}

#[test]
fn a_sync_that_failed_covers_nothing() {
    let script = Script::named().write(&follower()).sync_begins().sync_returns("-1 EIO (Input/output error)");
    fires(script.applied(1, 2), "entry 1@2 is not durable");
}

#[test]
fn a_file_without_a_durable_name_holds_nothing() {
    fires(Script::new().create().write(&follower()).sync().applied(3, 2), "the name of its file is not synced");
}

#[test]
fn a_promise_of_what_was_never_written_fires() {
    fires(Script::named().write(&follower()).sync().matched(4, 2), "its log ends at index 3");
    fires(Script::named().write(&follower()).sync().applied(3, 1), "its log holds 3@2");
    fires(Script::named().write(&follower()).sync().matched(3, 3), "only those up to 2");
    fires(Script::named().write(&[vote(2, 3)]).sync().granted(2), "no such vote was written");
}

#[test]
fn the_start_of_sending_the_last_byte_counts() {
    let whole = data_frame(
        1,
        &w::OpenSessionResponse { outcome: Some(w::open_session_response::Outcome::Session(3)) }.encode_to_vec(),
    );
    let (last, rest) = whole.split_last().unwrap();
    let before = Script::named().write(&follower()).send(CLIENT, rest).sync().send(CLIENT, &[*last]);
    silent(before);
    let begun = format!("9 write(18<{CLIENT}>, \"{}\" <unfinished ...>", hex(&whole));
    let during = Script::named().write(&follower()).sync_begins().line(&begun).sync_returns("0");
    fires(during.line(&format!("9 <... write resumed>) = {}", whole.len())), "opened a session");
    // What the kernel did not take is sent by a later call.
    let refused = format!("9 write(18<{CLIENT}>, \"{}\") = -1 EAGAIN (Again)", hex(&whole));
    silent(Script::named().write(&follower()).line(&refused).sync().send(CLIENT, &whole));
}

#[test]
fn what_was_truncated_counts_no_more_and_a_late_message_counts_as_of_its_term() {
    let truncation = Write { truncate_from: Some(LogIndex(2)), ..entries(2, 2, 3, 8) };
    let rewritten = || Script::named().write(&follower()).sync().write(&[vote(3, 3), truncation.clone()]);
    silent(rewritten().matched(3, 2).sync().matched(3, 3));
    silent(rewritten().sync().matched(3, 2).applied(1, 2));
    fires(rewritten().applied(3, 3), "entry 2@3 is not durable");
    fires(rewritten().matched(3, 3), "only those up to 2");
}

#[test]
fn recovery_makes_durable_what_a_kill_left() {
    let mut judge = judge();
    let (mut script, _) = Script::named().write(&follower()).write_begins(&[entries(4, 1, 2, 8)]);
    script.judged_by(&mut judge);
    let mut script = script.applied(3, 2).sync().applied(4, 2);
    script.judged_by(&mut judge);
    let places: Vec<_> = judge.violations.iter().map(|violation| violation.place).collect();
    assert_eq!(places, [Place { trace: 1, line: 1 }]);
    assert_eq!((judge.log.figures.writes, judge.log.figures.entries, judge.log.figures.syncs), (2, 4, 1));
}

#[test]
fn what_recovery_cuts_is_forgotten() {
    let mut judge = judge();
    let script = Script::named().write(&follower()).sync();
    let end = script.end;
    let (mut script, _) = script.write_begins(&[entries(4, 1, 2, 8)]);
    script.judged_by(&mut judge);
    let cut = format!("7 pwrite64(5<{}>, \"{}\", 16, {end}) = 16", segment(), hex(&[0; 16]));
    let mut script = script.line(&cut).sync().applied(3, 2).applied(4, 2);
    script.judged_by(&mut judge);
    assert_eq!(judge.violations.len(), 1, "{:?}", judge.violations);
    assert_eq!(judge.violations[0].lacks, "its log ends at index 3");
}
