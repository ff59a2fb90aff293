//! A planted bug as a file: a header of `# key: value` lines, then a unified diff.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// One bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    /// The file's name without `.patch`.
    pub(crate) id: String,
    /// The fault of the patched tree, in one line.
    pub(crate) title: String,
    /// The system that shipped this bug, or the section whose rule it breaks.
    pub(crate) source: String,
    /// The names of the checkers that may be the first to find it.
    pub(crate) properties: Vec<String>,
    /// The consequence of the bug.
    pub(crate) why: String,
    /// The scenario that is about this bug, if random runs are not expected to reach it.
    pub(crate) story: Option<String>,
    /// The kinds of faults without which the swarm does not find it.
    pub(crate) needs: Vec<String>,
    /// The options of `raft-sim check` with which the explorer finds it.
    pub(crate) explore: Option<String>,
    /// The path of the file.
    pub(crate) path: PathBuf,
    /// The text of the file.
    pub(crate) text: String,
}

/// All bugs that the simulator has to find, by id.
pub(crate) fn patches(root: &Path) -> Result<Vec<Patch>> {
    patches_in(&root.join("crates/xtask/planted"))
}

/// All bugs in a folder, without its subfolders, by id.
pub(crate) fn patches_in(folder: &Path) -> Result<Vec<Patch>> {
    let listing = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = listing.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<Patch> {
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    parse(id, path.clone(), text).with_context(|| path.display().to_string())
}

fn parse(id: String, path: PathBuf, text: String) -> Result<Patch> {
    let header = header(&text)?;
    let values = |key: &str| {
        let values: Vec<&String> = header.iter().filter(|(found, _)| found == key).map(|(_, value)| value).collect();
        match values[..] {
            [] => Ok(None),
            [value] if !value.is_empty() => Ok(Some(value.clone())),
            _ => bail!("expected one line `# {key}: ..` in the header"),
        }
    };
    let value = |key: &str| values(key)?.with_context(|| format!("expected one line `# {key}: ..` in the header"));
    if let Some((unknown, _)) = header.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
        bail!("the header has an unknown key `{unknown}`; there are: {}", KEYS.join(", "));
    }
    let list = |text: String| text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<String>>();
    let (properties, needs) = (list(value("property")?), values("needs")?.map(list).unwrap_or_default());
    let (title, source, why) = (value("title")?, value("source")?, value("why")?);
    let (story, explore) = (values("story")?, values("explore")?);
    Ok(Patch { id, title, source, properties, why, story, needs, explore, path, text })
}

const KEYS: [&str; 7] = ["title", "source", "property", "why", "story", "needs", "explore"];

/// The `# key: value` lines before the first other line. A line with more indentation continues the previous one.
fn header(text: &str) -> Result<Vec<(String, String)>> {
    let mut header: Vec<(String, String)> = Vec::new();
    for line in text.lines().map_while(|line| line.strip_prefix("# ")) {
        if let Some(rest) = line.strip_prefix("  ") {
            let (_, value) = header.last_mut().context("the first line of the header continues nothing")?;
            value.push(' ');
            value.push_str(rest.trim());
        } else {
            let (key, value) = line.split_once(':').with_context(|| format!("`# {line}` is no `# key: value`"))?;
            header.push((key.into(), value.trim().into()));
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{gaps, tree};
    use crate::repository;

    fn parsed(text: &str) -> Result<Patch> {
        parse("bug".into(), "bug.patch".into(), text.into())
    }

    #[test]
    fn headers_are_read_with_their_continuations() {
        let patch = parsed("# title: T\n# source: a\n#   b: c\n# property: x, y\n# why: w\n\n--- a/f\n").unwrap();
        assert_eq!((patch.title.as_str(), patch.source.as_str()), ("T", "a b: c"));
        assert_eq!(patch.properties, ["x", "y"]);
        assert_eq!((patch.story, patch.needs.len(), patch.explore), (None, 0, None));
        let text =
            "# title: T\n# source: a\n# property: x\n# why: w\n# story: s\n# needs: a, b\n# explore: --terms 4\n";
        let patch = parsed(text).unwrap();
        assert_eq!(patch.explore.as_deref(), Some("--terms 4"));
        assert_eq!((patch.story.as_deref(), patch.needs), (Some("s"), vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn incomplete_and_unknown_headers_are_refused() {
        let refused = |text: &str| parsed(text).unwrap_err().to_string();
        assert!(refused("# title: T\n# source: S\n# why: w\n").contains("# property: .."));
        assert!(refused("# title: T\n# title: U\n").contains("property"));
        assert!(refused("# title: T\n# tilte: U\n# source: S\n# property: p\n# why: w\n").contains("tilte"));
        assert!(refused("# title: \n# source: S\n# property: p\n# why: w\n").contains("title"));
        assert!(refused("#   continues\n").contains("continues nothing"));
    }

    #[test]
    fn every_patch_applies_to_the_present_tree() {
        let root = repository::root().unwrap();
        let patches = patches(&root).unwrap();
        assert!(patches.len() >= 10, "only {} patches", patches.len());
        let of_real_nodes = patches_in(&root.join(crate::durability::PLANTED)).unwrap();
        assert!(!of_real_nodes.is_empty());
        for patch in patches.iter().chain(&of_real_nodes) {
            tree::patched(&root, patch).unwrap_or_else(|error| panic!("{error:#}"));
        }
    }

    /// A property is named after the file of its checker. The files of expectations and marks are not properties.
    #[test]
    fn every_expected_property_has_a_checker() {
        let root = repository::root().unwrap();
        for patch in patches(&root).unwrap() {
            for property in &patch.properties {
                let checker = root.join(format!("crates/raft-sim/src/checkers/{property}.rs"));
                let is_property = !["expect", "sometimes", "liveness"].contains(&property.as_str());
                assert!(checker.is_file() && is_property, "{}: no property is named {property}", patch.id);
            }
        }
    }

    #[test]
    fn every_story_and_every_kind_of_fault_exists() {
        let root = repository::root().unwrap();
        let faults = gaps::fault_kinds(&root).unwrap();
        for patch in patches(&root).unwrap() {
            let missing = patch.story.iter().find(|story| gaps::story(&root, story).is_none());
            assert_eq!(missing, None, "{}", patch.id);
            assert_eq!(patch.needs.iter().find(|kind| !faults.contains(*kind)), None, "{}", patch.id);
        }
    }

    #[test]
    fn a_patch_that_does_not_apply_is_noticed() {
        let root = repository::root().unwrap();
        let mut patch = patches(&root).unwrap().remove(0);
        let whole = patch.text.clone();
        patch.text = whole.replace("\n-    ", "\n-    planted ");
        assert!(patch.text != whole && tree::patched(&root, &patch).is_err(), "the removed line is missing");
        patch.text = whole.replace("+++ b/", "+++ b/no/such/");
        assert!(tree::patched(&root, &patch).is_err(), "there is no such file");
        patch.text = whole.lines().take(4).collect();
        assert!(tree::patched(&root, &patch).is_err(), "nothing but a header");
    }
}
