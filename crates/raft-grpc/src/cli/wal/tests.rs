//! Logs on real files: complete, torn, damaged, and in another format.

use super::*;
use raft_core::{Configuration, LogIndex, NodeId, Term, WriteId};
use raft_grpc::Exit;
use raft_node::SessionId;
use raft_store::{ClusterId, DiskId, Identity, Opened, StoreOptions, open_node};
use tempfile::TempDir;

const WAL: &str = "wal-0000000000000001";

fn entry(index: u64, term: u64, payload: Payload) -> Entry {
    Entry { id: EntryId::new(index, term), payload }
}

fn session_command(sequence: u64, command: Bytes) -> Payload {
    let session = SessionId(2);
    Payload::Command(Envelope::Command(SessionCommand { session, sequence, lowest_pending: 1, command }).encode())
}

fn start(folder: &Path) -> Opened<Files> {
    let identity = Identity { cluster: ClusterId([0xab; 16]), node: NodeId(1) };
    let founding = raft_core::Write::bootstrap(Configuration::of_voters([NodeId(1), NodeId(2)]));
    let files = Files::open(folder, true).expect("a folder");
    let options = StoreOptions { segment_bytes: 4096, tail_bytes: 0, reserve_bytes: 0 };
    open_node(files, identity, DiskId([0xd1; 16]), Some(&founding), options).expect("it starts")
}

/// A node's folder with one entry of each kind and a truncation in four records.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = start(folder.path()).store;
    store.register_peer(NodeId(2), DiskId([0xd2; 16])).expect("a disk that works");
    let (key, value) = (Bytes::from_static(b"k\xff"), Bytes::from_static(b"v\n"));
    let put = Command::Put { key: key.clone(), value: value.clone(), ttl_ms: 0 }.encode();
    let cas = Command::Cas { key: key.clone(), expected: None, value }.encode();
    let write = |truncate_from: Option<u64>, entries: Vec<Entry>| raft_core::Write {
        id: WriteId(0),
        hard_state: Some(HardState { term: Term(3), voted_for: Some(NodeId(2)) }),
        truncate_from: truncate_from.map(LogIndex),
        snapshot: None,
        entries: entries.into(),
    };
    let writes = [
        write(None, vec![entry(2, 1, Payload::Command(Envelope::OpenSession.encode())), entry(3, 1, Payload::Noop)]),
        write(None, vec![entry(4, 1, session_command(1, put)), entry(5, 1, session_command(2, cas))]),
        write(
            Some(5),
            vec![
                entry(5, 3, session_command(3, Command::Delete { key }.encode())),
                entry(6, 3, session_command(4, Bytes::from_static(b"\xff"))),
                entry(7, 3, Payload::Command(Bytes::from_static(b"\xff"))),
            ],
        ),
    ];
    for write in writes {
        store.write(&[write]).and_then(|()| store.sync()).expect("a disk that works");
    }
    folder
}

fn dumped(folder: &Path, format: Format) -> (Vec<String>, Result<(), Failure>) {
    let mut out = Vec::new();
    let result = dump(folder, format, &mut out);
    (String::from_utf8(out).expect("text").lines().map(str::to_owned).collect(), result)
}

fn verified(folder: &Path, format: Format) -> Result<String, Failure> {
    verify(folder, format)
}

/// The offset of a record, according to the output of dump.
fn offset_of(folder: &Path, record: usize) -> usize {
    let line: Value = serde_json::from_str(&dumped(folder, Format::Json).0[record - 1]).expect("a line of JSON");
    usize::try_from(line["offset"].as_u64().expect("a number")).expect("small")
}

fn damage(folder: &Path, file: &str, offset: usize) {
    let path = folder.join(file);
    let mut bytes = std::fs::read(&path).expect("there");
    bytes[offset] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn dump_prints_a_line_for_each_record_with_all_that_is_in_it() {
    let folder = folder();
    let (lines, result) = dumped(folder.path(), Format::Text);
    assert_eq!((lines.len(), result), (4, Ok(())), "{lines:#?}");
    let expected = [
        vec![WAL, " at 64: record 1, ", "1@1 configuration {n1 n2}"],
        vec!["record 2, ", "term 3", "2@1 ", "opens a session", "3@1 no-op"],
        vec!["4@1 ", r#"session 2 #1 put "k\xff"="v\n""#, "5@1 ", r#"#2 cas "k\xff" nothing->"v\n""#],
        vec!["cut from 5", "5@3 ", r#"#3 delete "k\xff""#, "#4 some command", "7@3 1 B unknown command"],
    ];
    for (line, parts) in lines.iter().zip(expected) {
        parts.iter().for_each(|part| assert!(line.contains(part), "{part} in: {line}"));
    }
}

#[test]
fn dump_as_json_is_an_object_a_line() {
    let folder = folder();
    let (lines, result) = dumped(folder.path(), Format::Json);
    assert_eq!(result, Ok(()));
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let numbers: Vec<_> = lines.iter().map(|line| line["record"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
    let put = &lines[2]["entries"][0];
    assert_eq!((&put["index"], &put["term"], &put["kind"]), (&json!(4), &json!(1), &json!("command")));
    let command = json!({ "put": { "key": "k\\xff", "value": "v\\n" } });
    assert_eq!(put["content"], json!({ "session": 2, "sequence": 1, "command": command }));
    assert_eq!((&lines[3]["truncate_from"], &lines[3]["hard_state"]["term"]), (&json!(5), &json!(3)));
    let kinds: Vec<_> = lines.iter().flat_map(|line| line["entries"].as_array().expect("a list")).collect();
    let kinds: Vec<_> = kinds.iter().map(|entry| entry["kind"].as_str().expect("a text")).collect();
    let expected = ["configuration", "open_session", "noop", "command", "command", "command", "command", "unknown"];
    assert_eq!(kinds, expected);
}

#[test]
fn a_good_log_is_verified_with_what_it_amounts_to() {
    let folder = folder();
    let text = verified(folder.path(), Format::Text).expect("clean");
    for part in [
        "node 1 of cluster abab",
        "incarnation 1",
        "disk        d1d1",
        "2 on d2d2",
        "records     4\n",
        "entries     7\n",
        "7@3",
        "term 3",
        "clean\n",
    ] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    let json: Value = serde_json::from_str(&verified(folder.path(), Format::Json).expect("clean")).expect("JSON");
    assert_eq!((&json["entries"], &json["last"]["term"], &json["torn_tail"]), (&json!(7), &json!(3), &Value::Null));
    assert_eq!(json["disk"], json!("d1".repeat(16)));
    assert_eq!(json["peers"], json!([{ "node": 2, "disk": "d2".repeat(16) }]));
    assert_eq!(json["owner"], json!({ "node": 1, "cluster": "ab".repeat(16), "incarnation": 1 }));
}

#[test]
fn a_torn_tail_is_told_and_left_there() {
    let folder = folder();
    let offset = offset_of(folder.path(), 4);
    damage(folder.path(), WAL, offset + 40);
    for _ in 0..2 {
        let text = verified(folder.path(), Format::Text).expect("a torn tail is not damage");
        let told = format!("torn tail in {WAL} at {offset}, ");
        assert!(text.contains(&told) && text.contains("records     3\n"), "{told} in: {text}");
        let (lines, result) = dumped(folder.path(), Format::Text);
        assert_eq!((lines.len(), result), (4, Ok(())), "{lines:?}");
        assert!(lines[3].starts_with(&told), "{lines:?}");
    }
    let json: Value = serde_json::from_str(&verified(folder.path(), Format::Json).expect("said")).expect("JSON");
    assert_eq!(json["torn_tail"]["offset"], json!(offset));
    assert_eq!(start(folder.path()).recovery.records, 3, "and a start cuts it");
}

#[test]
fn damage_exits_4_after_what_is_before_it() {
    let folder = folder();
    damage(folder.path(), WAL, offset_of(folder.path(), 3) + 40);
    let (lines, result) = dumped(folder.path(), Format::Text);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for failure in [result.expect_err("damage"), verified(folder.path(), Format::Text).expect_err("damage")] {
        assert_eq!(failure.exit, Exit::Corrupt, "{failure}");
        assert!(failure.message.contains(WAL) && !failure.message.contains('\n'), "{failure}");
    }
}

#[test]
fn a_newer_format_exits_3_and_no_log_is_told_as_such() {
    let folder = folder();
    let line = "raft-store format 9\n";
    let mut content = line.as_bytes().to_vec();
    content.extend(format!("crc32c {:08x}\n", 0).as_bytes());
    std::fs::write(folder.path().join("FORMAT"), &content).expect("written");
    let wrong = verified(folder.path(), Format::Text).expect_err("no checksum of that text");
    assert_eq!(wrong.exit, Exit::Corrupt);
    std::fs::write(folder.path().join("FORMAT"), format!("{line}crc32c {:08x}\n", crc32c::crc32c(line.as_bytes())))
        .expect("written");
    let newer = verified(folder.path(), Format::Text).expect_err("newer");
    assert_eq!(newer.exit, Exit::Foreign, "{newer}");

    let empty = tempfile::tempdir().expect("a temporary folder");
    let failure = verified(empty.path(), Format::Text).expect_err("nothing there");
    assert!(failure.exit == Exit::Runtime && failure.message.contains("no node has started here"), "{failure}");
    let failure = verified(&empty.path().join("gone"), Format::Text).expect_err("not even a folder");
    assert_eq!(failure.exit, Exit::Usage, "{failure}");
    let running = start(empty.path());
    let text = verified(empty.path(), Format::Text).expect("a node runs on it");
    assert!(text.contains("verdict     node is running: the end of the log may be in flight\n"), "{text}");
    let json: Value = serde_json::from_str(&verified(empty.path(), Format::Json).expect("sound")).expect("JSON");
    assert_eq!((&json["running"], &json["torn_tail"]), (&json!(true), &Value::Null));
    let (lines, result) = dumped(empty.path(), Format::Text);
    assert_eq!((lines.last().map(String::as_str), result), (Some(RUNNING), Ok(())));
    drop(running);
    assert!(verified(empty.path(), Format::Text).expect("sound").contains("clean\n"));
}

#[test]
fn nobody_reading_is_no_failure_and_a_full_pipe_is() {
    struct Broken(ErrorKind);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = folder();
    let dump_to = |kind| dump(folder.path(), Format::Text, &mut Broken(kind));
    assert_eq!(dump_to(ErrorKind::BrokenPipe), Ok(()));
    assert_eq!(dump_to(ErrorKind::StorageFull).expect_err("full").exit, Exit::Runtime);
}
