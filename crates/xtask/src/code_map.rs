//! The code map of ARCHITECTURE.md: every source file with the first sentence of its own opening. Written by this task,
//! compared by a test, so that the map is the files' word and cannot fall behind it.

use crate::repository;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- code map: written by `cargo xtask code-map` from each file's first sentence -->\n";
const END: &str = "<!-- end of the code map -->\n";

/// Writes the map into the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    fs::write(&path, with_map(&page, &map(root)?)?).with_context(|| format!("cannot write {PAGE}"))
}

/// The page with this map in place of the one it has.
fn with_map(page: &str, map: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else { bail!("{PAGE} has no place for the code map") };
    Ok(format!("{before}{BEGIN}{map}{END}{after}"))
}

/// A heading for each folder of the house, and a line for each of its files.
fn map(root: &Path) -> Result<String> {
    let mut text = String::new();
    let mut house = PathBuf::new();
    for path in repository::files(root)?.into_iter().filter(|path| is_source(path)) {
        let depth = if path.starts_with("crates") { 2 } else { 1 };
        let folder: PathBuf = path.components().take(depth).collect();
        let sentence = fs::read_to_string(root.join(&path)).ok().and_then(|text| first_sentence(&text));
        let sentence = sentence.with_context(|| format!("{} does not open with its job", path.display()))?;
        if folder != house {
            write!(text, "\n### {}\n\n", folder.display())?;
        }
        writeln!(text, "- `{}`: {sentence}", path.strip_prefix(&folder)?.display())?;
        house = folder;
    }
    text.push('\n');
    Ok(text)
}

fn is_source(path: &Path) -> bool {
    let is = |wanted: &str| path.extension().is_some_and(|extension| extension == wanted);
    (path.starts_with("crates") && is("rs")) || (path.starts_with("proto") && is("proto"))
}

/// The first sentence of the comment a file opens with: up to a full stop or the end of the paragraph.
fn first_sentence(text: &str) -> Option<String> {
    let comment =
        |line: &str| line.strip_prefix("//!").or_else(|| line.strip_prefix("//")).map(|it| it.trim().to_owned());
    let lines = text.lines().map_while(|line| comment(line).filter(|it| !it.is_empty()));
    let paragraph = without_links(&lines.collect::<Vec<_>>().join(" "));
    let end = paragraph.find(". ").unwrap_or_else(|| paragraph.trim_end_matches('.').len());
    let sentence = paragraph[..end].to_owned();
    (!sentence.is_empty()).then_some(sentence)
}

/// The text with links written as rustdoc has them replaced by their names.
fn without_links(text: &str) -> String {
    let mut parts = text.split("`]");
    let first = parts.next().unwrap_or_default().replace("[`", "`");
    parts.fold(first, |before, part| {
        let target = part.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        before + "`" + &target.map_or(part, |(_, rest)| rest).replace("[`", "`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_ends_at_a_stop_or_with_the_paragraph() {
        let sentence = |text: &str| first_sentence(text).unwrap_or_default();
        assert_eq!(sentence("//! One\n//! [`thing`]. Another.\n"), "One `thing`");
        assert_eq!(sentence("//! A log (Raft §5.3, Figure 2).\n//!\n//! More.\n"), "A log (Raft §5.3, Figure 2)");
        assert_eq!(sentence("//! As [`a`](b::c) and [`d`] say\n"), "As `a` and `d` say");
        assert_eq!(sentence("// What peers say\nsyntax = \"proto3\";\n"), "What peers say");
        assert_eq!(sentence("use core::fmt;\n"), "");
    }

    #[test]
    fn a_page_without_a_place_is_refused_and_the_rest_of_it_kept() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(with_map(&page, "new\n").unwrap(), format!("before\n{BEGIN}new\n{END}after\n"));
        assert!(with_map("no place", "new").is_err());
    }

    #[test]
    fn the_map_agrees_with_the_files() {
        let root = repository::root().unwrap();
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        let fresh = with_map(&page, &map(&root).unwrap()).unwrap();
        let difference = fresh.lines().find(|line| !page.contains(*line)).unwrap_or("a line too many");
        assert!(page == fresh, "the code map is old (`cargo xtask code-map` writes it): {difference}");
    }
}
