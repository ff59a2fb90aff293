//! Checks `docs/protocol.md` against the sources: every name in it exists, and the test of every rule is listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names in a row: a source file, a test file, a test in it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    source: String,
    file: String,
    test: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The rows of all tables: the last two cells.
fn rows(page: &str) -> Vec<Row> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines = page.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    let row = |line: &str| match cells(line).as_slice() {
        [.., source, place] => {
            let names: Vec<&str> = place.split('`').collect();
            let [_, file, ": ", test, ""] = names[..] else { panic!("`{place}` is not `FILE`: `TEST`") };
            Row { source: source.trim_matches('`').into(), file: file.into(), test: test.into() }
        }
        _ => panic!("`{line}` is no row"),
    };
    lines.map(row).collect()
}

/// The names of the tests in a file.
fn tests(source: &str) -> BTreeSet<&str> {
    let after_mark = source.split("#[test]\nfn ").skip(1);
    after_mark.filter_map(|rest| rest.split('(').next()).collect()
}

/// The problem of a row, if there is one.
fn problem(row: &Row) -> Option<String> {
    if !folder("src").join(&row.source).is_file() {
        return Some(format!("src/{} does not exist", row.source));
    }
    let Ok(source) = fs::read_to_string(folder("tests/protocol").join(&row.file)) else {
        return Some(format!("tests/protocol/{} does not exist", row.file));
    };
    (!tests(&source).contains(row.test.as_str()))
        .then(|| format!("tests/protocol/{} has no test {}", row.file, row.test))
}

#[test]
fn every_row_names_a_file_and_a_test_that_exist() {
    let page = fs::read_to_string(folder("../../docs/protocol.md")).expect("the page is there");
    let rows = rows(&page);
    assert!(rows.len() > 40, "{} rows", rows.len());
    let problems: Vec<_> = rows.iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_rule_of_figure_2_that_has_a_test_has_a_row() {
    let page = fs::read_to_string(folder("../../docs/protocol.md")).expect("the page is there");
    let rows = rows(&page);
    let source = fs::read_to_string(folder("tests/protocol/figure_2.rs")).expect("the tests are there");
    let listed = |test: &&&str| rows.iter().any(|row| row.file == "figure_2.rs" && row.test == **test);
    let tests = tests(&source);
    let missing: Vec<_> = tests.iter().filter(|test| !listed(test)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_row_that_names_nothing_is_seen() {
    let page = "| a rule | `leader.rs` | `figure_2.rs`: `no_such_test` |\n| b | `no.rs` | `figure_2.rs`: `x` |\n";
    let problems: Vec<_> = rows(page).iter().filter_map(problem).collect();
    assert_eq!(problems, ["tests/protocol/figure_2.rs has no test no_such_test", "src/no.rs does not exist"]);
}
