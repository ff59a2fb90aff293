//! Hand-made traces: legal ones to stay silent on, and each way of promising too early.

use super::*;
use crate::durability::http2::data_frame;
use crate::durability::trace;
use prost::Message;
use raft_core::{EntryId, InstallMode, LogIndex, Write};
use raft_proto::wire::raft as w;
use raft_store::conformance::{OPTIONS, entries, save, snapshot, vote};
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

    fn creates(self, file: &str) -> Self {
        self.line(&format!("7 openat(AT_FDCWD, \"{}\", O_RDWR|O_CREAT|O_EXCL, 0666) = 6<x>", path(file)))
    }

    /// A write of bytes whose meaning does not matter.
    fn puts(self, file: &str, offset: u64) -> Self {
        self.line(&format!("7 pwrite64(6<{}>, \"\\x01\\x02\", 2, {offset}) = 2", path(file)))
    }

    fn syncs(self, file: &str) -> Self {
        self.line(&format!("7 fdatasync(6<{}>) = 0", path(file)))
    }

    fn renames(self, from: &str, to: &str) -> Self {
        self.line(&format!("7 rename(\"{}\", \"{}\") = 0", path(from), path(to)))
    }

    fn removes(self, file: &str) -> Self {
        self.line(&format!("7 unlink(\"{}\") = 0", path(file)))
    }

    fn names(self) -> Self {
        self.line(&format!("7 fsync(4<{}>) = 0", hex(b"/n1")))
    }

    /// What the real store needs to know before a record names it.
    fn saved(mut self, last: EntryId) -> Self {
        save(&mut self.store, last);
        self
    }

    /// A snapshot's file in two pieces and with its header last, as it should be.
    fn saves(self, last: EntryId) -> Self {
        let (file, new) = (snapshot_file(last), format!("{}.unfinished", snapshot_file(last)));
        let script = self.saved(last).creates(&new).puts(&new, 32).puts(&new, 34).puts(&new, 0).syncs(&new);
        script.renames(&new, &file).names()
    }

    /// The next segment, begun as it should be.
    fn begins_segment(self, file: &str) -> Self {
        self.creates(file).puts(file, 0).syncs(file).names()
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
        let mut bytes = Vec::new();
        if !self.greeted {
            let hello = Some(w::peer_request::Kind::Hello(w::Hello { protocol_version: 1, ..w::Hello::default() }));
            bytes.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            bytes.extend(data_frame(1, &w::PeerRequest { kind: hello }.encode_to_vec()));
        }
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

fn path(file: &str) -> String {
    hex(format!("/n1/{file}").as_bytes())
}

fn snapshot_file(last: EntryId) -> String {
    format!("snapshot-{:016}-{:016}", last.index.0, last.term.0)
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

const SECOND: &str = "wal-0000000000000002";
const FIRST_ENTRIES: EntryId = EntryId::new(2, 2);
const ALL_ENTRIES: EntryId = EntryId::new(3, 2);

fn kept(last: EntryId) -> Write {
    snapshot(last, InstallMode::Keep)
}

/// A log of three entries.
fn logged() -> Script {
    Script::named().write(&follower()).sync()
}

/// The same with a snapshot of two of them in force.
fn covered() -> Script {
    logged().saves(FIRST_ENTRIES).write(&[kept(FIRST_ENTRIES)]).sync()
}

#[test]
fn what_a_durable_snapshot_covers_may_go() {
    let first = snapshot_file(FIRST_ENTRIES);
    let newer = covered().saves(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]).sync().removes(&first).names();
    silent(newer.begins_segment(SECOND).removes(SEGMENT).names().matched(3, 2).applied(2, 2).granted(2));
    // Made useless before any record named it; and a file that is being written.
    silent(logged().saves(ALL_ENTRIES).removes(&snapshot_file(ALL_ENTRIES)));
    silent(logged().creates("snapshot-x.part").removes("snapshot-x.part").applied(3, 2));
}

#[test]
fn a_file_that_is_not_whole_gets_no_name() {
    let (file, new) = (snapshot_file(ALL_ENTRIES), "received");
    let begun = || logged().creates(new).puts(new, 32);
    fires(begun().renames(new, &file), "received became snapshot-0000000000000003-0000000000000002 in line 9, but");
    fires(begun().syncs(new).puts(new, 0).renames(new, &file), "after its last write, in line 10");
    let failed = format!("7 fdatasync(6<{}>) = -1 EIO (Input/output error)", path(new));
    fires(begun().line(&failed).renames(new, &file), "no sync of received has returned");
    silent(begun().puts(new, 0).syncs(new).renames(new, &file));
}

#[test]
fn a_record_may_only_name_what_is_durable() {
    let (file, new) = (snapshot_file(ALL_ENTRIES), "own");
    let named = |script: Script| script.saved(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]);
    let renamed = || logged().creates(new).puts(new, 0).syncs(new).renames(new, &file);
    fires(named(renamed()), "the log was made to rest on snapshot-0000000000000003-0000000000000002");
    fires(named(renamed()), "0000000000000002 is not synced");
    fires(named(renamed().names().puts(&file, 40)), "no sync of snapshot-");
    fires(named(logged()), "there is no file snapshot-");
    silent(named(renamed().names()));
}

#[test]
fn a_snapshot_stays_until_the_record_of_a_newer_one_is_durable() {
    let (first, all) = (snapshot_file(FIRST_ENTRIES), snapshot_file(ALL_ENTRIES));
    let words = "snapshot-0000000000000002-0000000000000002 was removed";
    fires(covered().removes(&first), words);
    let newer = || covered().saves(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]);
    fires(newer().removes(&first), "no record that names a newer one is durable");
    fires(newer().sync_begins().removes(&first).sync_returns("0"), words);
    fires(newer().removes(&all), "a record names it");
    fires(newer().sync().removes(&all), "no record that names a newer one is durable");
    // Whatever takes its place under that name.
    fires(covered().renames(&first, "elsewhere"), words);
}

#[test]
fn a_segment_stays_as_long_as_a_crash_can_lead_back_to_it() {
    let unnamed = logged().begins_segment(SECOND).removes(SEGMENT);
    fires(unnamed, "entry 1 is in it, and no record that names a snapshot is durable");
    let part = || covered().begins_segment(SECOND);
    fires(part().removes(SEGMENT), "entry 3 is in it, and the newest durable record of a snapshot covers 2");
    fires(part().renames(SEGMENT, "reused"), "entry 3 is in it");
    let unsynced = || covered().saves(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]).begins_segment(SECOND);
    fires(unsynced().removes(SEGMENT), "covers 2");
    let whole = || covered().saves(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]).sync();
    fires(whole().removes(SEGMENT), "nothing of a later segment is durable");
    fires(whole().creates(SECOND).puts(SECOND, 0).names().removes(SEGMENT), "nothing of a later segment");
    silent(whole().begins_segment(SECOND).renames(SEGMENT, "reused"));
}

#[test]
fn segments_go_in_order_and_each_for_certain() {
    let third = "wal-0000000000000003";
    let whole = || covered().saves(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]).sync();
    let script = || whole().begins_segment(SECOND).begins_segment(third);
    fires(script().removes(SECOND), "wal-0000000000000001, which comes before it, is still there");
    fires(script().removes(SEGMENT).removes(SECOND), "it is not certain yet that wal-0000000000000001");
    silent(script().removes(SEGMENT).names().removes(SECOND));
    // The file of a segment that was never begun.
    silent(whole().creates(SECOND).removes(SECOND));
}

#[test]
fn a_log_whose_head_is_gone_is_judged_from_its_snapshot_on() {
    let last = EntryId::new(9, 2);
    let taken = || logged().saves(last).write(&[snapshot(last, InstallMode::Discard)]);
    fires(taken().matched(9, 2), "the snapshot up to 9 is not in force: written to wal-");
    fires(taken().sync().matched(10, 2), "its log ends at index 9");
    let longer = || taken().sync().write(&[entries(10, 2, 2, 8)]);
    fires(longer().applied(10, 2), "entry 10@2 is not durable");
    // What was durable before was true and stays so.
    silent(taken().matched(3, 2).sync().matched(9, 2).applied(2, 2));
    silent(longer().sync().matched(11, 2).applied(10, 2));
    // A log that was longer was another one.
    let conflict = |script: Script| script.saves(FIRST_ENTRIES).write(&[snapshot(FIRST_ENTRIES, InstallMode::Discard)]);
    fires(conflict(logged()).matched(1, 2), "the snapshot up to 2 is not in force");
}

#[test]
fn a_death_leaves_open_what_was_under_way() {
    // A record that names a snapshot, in a write that never returned: whichever of the two files recovery removes, it has
    // read which one the log goes by.
    for removed in [FIRST_ENTRIES, ALL_ENTRIES] {
        let mut judge = judge();
        let (mut script, _) = covered().saves(ALL_ENTRIES).write_begins(&[kept(ALL_ENTRIES)]);
        script.judged_by(&mut judge);
        let mut script = script.sync().names().removes(&snapshot_file(removed));
        script.judged_by(&mut judge);
        assert!(judge.violations.is_empty(), "{removed}: {:?}", judge.violations);
    }
    // A removal that never returned.
    let mut judge = judge();
    let whole = covered().saves(ALL_ENTRIES).write(&[kept(ALL_ENTRIES)]).sync();
    let script = whole.begins_segment(SECOND).begins_segment("wal-0000000000000003");
    let mut script = script.line(&format!("7 unlink(\"{}\" <unfinished ...>", path(SEGMENT)));
    script.judged_by(&mut judge);
    let mut script = script.names().removes(SECOND);
    script.judged_by(&mut judge);
    assert!(judge.violations.is_empty(), "{:?}", judge.violations);
}
