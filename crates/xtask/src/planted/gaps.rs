//! What no planted bug needs: the checkers that are the first to catch none, and the kinds of faults without which every bug is
//! still found.

use super::table::Row;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Gaps of the planted bugs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    pub(crate) checkers: BTreeSet<String>,
    pub(crate) faults: BTreeSet<String>,
}

/// The gaps that these rows leave. A checker whose file says which other one it backs up is no gap.
pub(crate) fn gaps(root: &Path, rows: &[Row]) -> Result<Gaps> {
    let mut gaps = Gaps { checkers: checkers(root)?, faults: fault_kinds(root)? };
    for outcome in rows.iter().filter_map(|row| row.outcome.as_ref()) {
        for catch in outcome.catches() {
            gaps.checkers.remove(&catch.property);
        }
        for (fault, found) in &outcome.without {
            if outcome.is_needed(found.as_ref()) {
                gaps.faults.remove(fault);
            }
        }
    }
    Ok(gaps)
}

/// The checkers that have to be the first to catch a bug.
fn checkers(root: &Path) -> Result<BTreeSet<String>> {
    let folder = root.join("crates/raft-sim/src/checkers");
    let mut names = BTreeSet::new();
    for file in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = file?.path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if text.contains("\nconst NAME: &str = \"") && !backs_up_another(&text) {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

/// Whether the text at the beginning of a checker says that it backs up others.
fn backs_up_another(text: &str) -> bool {
    let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    head.join(" ").contains("backs up `")
}

/// The names of the kinds of faults, from their table.
pub(crate) fn fault_kinds(root: &Path) -> Result<BTreeSet<String>> {
    let path = root.join("crates/raft-sim/src/faults/mod.rs");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = |line: &str| Some(line.strip_suffix("\",")?.split_once(" = \"")?.1.to_owned());
    Ok(text.lines().filter_map(name).collect())
}

/// The file of a scenario.
pub(crate) fn story(root: &Path, name: &str) -> Option<PathBuf> {
    ["sim-scenarios", "sim-scenarios/regressions"]
        .into_iter()
        .map(|folder| Path::new(folder).join(format!("{name}.toml")))
        .find(|path| root.join(path).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::hunt::{Catch, Outcome};
    use crate::repository;

    fn row(outcome: Outcome) -> Row {
        Row { id: "bug".into(), expected: vec!["queues".into()], outcome: Some(outcome), searches: None }
    }

    #[test]
    fn a_catch_and_a_fault_that_it_needs_close_gaps() {
        let root = repository::root().unwrap();
        let none = gaps(&root, &[]).unwrap();
        assert!(none.checkers.contains("election_safety") && none.faults.contains("torn_write"), "{none:?}");
        assert!(!none.checkers.contains("expect") && !none.checkers.contains("state_machine_safety"), "{none:?}");
        let catch = |property: &str| Catch { property: property.into(), ..Catch::default() };
        let without = [("loss".to_owned(), None), ("kill".to_owned(), Some(catch("queues")))].into();
        let outcome = Outcome { swarm: Some(catch("election_safety")), without, ..Outcome::default() };
        let some = gaps(&root, &[row(outcome)]).unwrap();
        assert!(!some.checkers.contains("election_safety") && !some.faults.contains("loss"), "{some:?}");
        assert!(some.faults.contains("kill"), "the bug is found without it");
    }

    #[test]
    fn a_checker_may_back_up_others() {
        assert!(backs_up_another("//! A.\n//!\n//! It backs up\n//! `queues`.\n\nuse x;\n"));
        assert!(!backs_up_another("//! `queues` backs it up. It backs up no other.\n\n// backs up `x`\n"));
    }

    #[test]
    fn stories_are_found_in_both_folders() {
        let root = repository::root().unwrap();
        assert_eq!(story(&root, "figure-8"), Some("sim-scenarios/figure-8.toml".into()));
        assert_eq!(story(&root, "no-such-story"), None);
        assert!(story(&root, "non-member-refuses").is_some_and(|path| path.starts_with("sim-scenarios/regressions")));
    }
}
