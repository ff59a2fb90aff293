//! Folders that earlier versions wrote, kept forever: `fixtures/v1` and `fixtures/v2`, one for each format. The text
//! beside each folder says how a start reads it, or why it refuses it. `examples/make_fixtures.rs` writes new ones.

use crate::conformance::{Memory, describe};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The fixtures of a format with their texts.
fn fixtures(format: &str) -> BTreeMap<String, (Memory, String)> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format);
    let mut fixtures = BTreeMap::new();
    for entry in fs::read_dir(&place).expect("there are fixtures") {
        let path = entry.expect("it can be listed").path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut disk = Memory::default();
        for file in fs::read_dir(&path).expect("a folder") {
            let file = file.expect("it can be listed");
            let content = fs::read(file.path()).expect("it can be read");
            disk.files.insert(file.file_name().to_string_lossy().into_owned(), content);
        }
        let text = fs::read_to_string(place.join(format!("{name}.txt"))).expect("a text exists beside it");
        fixtures.insert(name, (disk, text));
    }
    fixtures
}

#[test]
fn every_fixture_is_read_as_the_text_beside_it_says() {
    for (format, count) in [("v1", 7), ("v2", 9)] {
        let fixtures = fixtures(format);
        for (name, (disk, text)) in &fixtures {
            assert_eq!(describe(disk), *text, "{format}/{name}");
        }
        assert!(fixtures.len() >= count, "{} fixtures of {format}", fixtures.len());
    }
}

#[test]
fn a_refusal_says_file_place_and_what_to_do() {
    let advice = ["Other nodes may count on", "remove the node from the cluster", "under a new id", "empty folder"];
    let log = ("damaged", "wal-0000000000000001 is damaged at byte 168");
    let places = [log, ("damaged-snapshot", "snapshot-"), ("damaged-peers", "PEERS is damaged at byte 0")];
    for (format, count) in [("v1", 2), ("v2", 3)] {
        let fixtures = fixtures(format);
        for (name, place) in &places[..count] {
            let text = &fixtures[*name].1;
            let refusal = text.lines().find(|line| line.starts_with("a start refuses: ")).expect("it is refused");
            for part in advice.iter().chain([place]) {
                assert!(refusal.contains(part), "{format}/{name}: {part} in: {refusal}");
            }
        }
        assert!(fixtures["torn"].1.contains("TornTail"), "{}", fixtures["torn"].1);
    }
    let newer = &fixtures("v2")["newer"].1;
    assert!(newer.contains("use the version that wrote it"), "{newer}");
}

/// An interrupted start wrote FORMAT but not META.
#[test]
fn a_half_upgraded_folder_is_a_folder_of_format_1() {
    let fixtures = fixtures("v1");
    let (half, old) = (&fixtures["half-upgraded"], &fixtures["founded"]);
    assert_eq!((half.0.files.len(), &half.1), (old.0.files.len(), &old.1));
    assert!(half.0.files["FORMAT"].starts_with(b"raft-store format 2"));
}
