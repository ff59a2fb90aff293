//! The marks are honest: each one is demanded by a scenario of the guided tour, so no mark can vanish unseen.

use raft_sim::checkers::MARKS;
use raft_sim::scenario::parse::parse;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The marks that the scenarios of a folder demand.
fn demanded(folder: &Path, marks: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the scenarios are there") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            demanded(&path, marks);
        } else {
            let bytes = fs::read(&path).expect("readable");
            let file = parse(&path.to_string_lossy(), &bytes).unwrap_or_else(|problems| panic!("{problems}"));
            marks.extend(file.scenario.expect.sometimes);
        }
    }
}

#[test]
fn every_mark_is_demanded_by_a_scenario() {
    let mut marks = BTreeSet::new();
    demanded(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim-scenarios"), &mut marks);
    let missing: Vec<&str> = MARKS.iter().copied().filter(|mark| !marks.contains(*mark)).collect();
    assert_eq!(missing, [""; 0], "add each mark to `sometimes` of a scenario that reaches it");
}
