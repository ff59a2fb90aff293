//! Folders that a version has written, kept for ever: `fixtures/v1` beside this crate's sources. Each is read as the text
//! beside it says, or refused with the words there. How new ones are made is said in `examples/make_fixtures.rs`.

use crate::conformance::{Memory, describe};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The fixtures of a format, with what they must be read as.
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
        let text = fs::read_to_string(place.join(format!("{name}.txt"))).expect("there is a text beside it");
        fixtures.insert(name, (disk, text));
    }
    fixtures
}

#[test]
fn every_fixture_is_read_as_the_text_beside_it_says() {
    let fixtures = fixtures("v1");
    for (name, (disk, text)) in &fixtures {
        assert_eq!(describe(disk), *text, "{name}");
    }
    assert!(fixtures.len() >= 7, "{} fixtures", fixtures.len());
}

#[test]
fn what_must_be_refused_says_file_place_and_what_to_do() {
    let fixtures = fixtures("v1");
    let advice = ["promised to others", "remove the node from the cluster", "under a new id", "empty folder"];
    for (name, place) in [("damaged", "wal-0000000000000001 is damaged at byte 168"), ("damaged-snapshot", "snapshot-")]
    {
        let text = &fixtures[name].1;
        let refusal = text.lines().find(|line| line.starts_with("a start refuses: ")).expect("it is refused");
        for part in advice.iter().chain([&place]) {
            assert!(refusal.contains(part), "{name}: {part} in: {refusal}");
        }
    }
    assert!(fixtures["newer"].1.contains("use the version that wrote it"), "{}", fixtures["newer"].1);
    assert!(fixtures["torn"].1.contains("TornTail"), "{}", fixtures["torn"].1);
}
