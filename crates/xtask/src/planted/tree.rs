//! The copy of the tree in which bugs are planted. Unchanged files are not written again, so cargo rebuilds only the
//! crates that a patch changes.

use super::patch::Patch;
use crate::repository;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

/// The table of a scenario file that is a swarm.
const SWARM: &[u8] = b"\n[swarm]";

/// A copy of the working tree, without git.
pub(crate) struct Tree {
    root: PathBuf,
    work: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Tree {
    /// Copies the repository's working tree to `work`/tree.
    pub(crate) fn copy(root: &Path, work: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for path in repository::files(root)? {
            let bytes = fs::read(root.join(&path)).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(path, bytes);
        }
        let tree = Self { root: root.into(), work: work.into(), files };
        fs::create_dir_all(tree.folder()).with_context(|| format!("cannot create {}", tree.folder().display()))?;
        tree.restore()?;
        Ok(tree)
    }

    /// The folder of the copy.
    pub(crate) fn folder(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// The folder of its programs.
    pub(crate) fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    /// The environment of its builds. They share dependencies with the repository's own builds; an older cargo that
    /// ignores the second variable builds them again.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("CARGO_TARGET_DIR", text(self.target())),
            ("CARGO_BUILD_BUILD_DIR", text(self.root.join("target"))),
            // A patch changes a few lines: an incremental build takes a third of the time, and the programs are hardly
            // slower.
            ("CARGO_INCREMENTAL", "1".into()),
        ]
    }

    /// The folder of the simulator's outputs.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.work.join("outputs")
    }

    /// The scenario files, in order.
    pub(crate) fn scenarios(&self) -> impl Iterator<Item = &Path> {
        let is_scenario = |path: &&PathBuf| {
            path.starts_with("sim-scenarios") && path.extension().is_some_and(|extension| extension == "toml")
        };
        self.files.keys().filter(is_scenario).map(PathBuf::as_path)
    }

    /// The scenario files that are swarms.
    pub(crate) fn swarms(&self) -> Vec<&Path> {
        let is_swarm = |bytes: &[u8]| bytes.windows(SWARM.len()).any(|part| part == SWARM);
        self.scenarios().filter(|path| self.files.get(*path).is_some_and(|bytes| is_swarm(bytes))).collect()
    }

    /// A hash of all files that a run of the simulator depends on, without xtask and the pages.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let counts = |path: &Path| !path.starts_with("crates/xtask") && path.extension().is_none_or(|it| it != "md");
        for (path, bytes) in self.files.iter().filter(|(path, _)| counts(path)) {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write_u8(0);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        hasher.finish()
    }

    /// Restores the copy after a patch.
    pub(crate) fn restore(&self) -> Result<()> {
        let folder = self.folder();
        for (path, bytes) in &self.files {
            let copy = folder.join(path);
            if fs::read(&copy).is_ok_and(|found| found == *bytes) {
                continue;
            }
            if let Some(parent) = copy.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&copy, bytes).with_context(|| format!("cannot write {}", copy.display()))?;
        }
        for path in repository::walk(&folder)? {
            if !self.files.contains_key(path.strip_prefix(&folder)?) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Plants a bug in the copy.
    pub(crate) fn apply(&self, patch: &Patch) -> Result<()> {
        let folder = self.folder();
        for (path, text) in patched(&folder, patch)? {
            fs::write(folder.join(&path), text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// The files that a patch changes, with their text after it. It writes nothing.
///
/// # Errors
/// The patch names no file, a file is missing, or a hunk does not apply.
pub(crate) fn patched(folder: &Path, patch: &Patch) -> Result<Vec<(PathBuf, String)>> {
    let named = || patch.path.display();
    let starts: Vec<usize> = patch.text.match_indices("\n--- a/").map(|(place, _)| place + 1).collect();
    let ends = starts.iter().skip(1).copied().chain([patch.text.len()]);
    let mut files = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let diff =
            diffy::Patch::from_str(&patch.text[*start..end]).with_context(|| format!("{} is no diff", named()))?;
        let name = diff.modified().and_then(|name| name.strip_prefix("b/"));
        let path = PathBuf::from(name.with_context(|| format!("{} names no file", named()))?);
        let before = fs::read_to_string(folder.join(&path))
            .with_context(|| format!("{} does not apply: cannot read {}", named(), path.display()))?;
        let after = diffy::apply(&before, &diff)
            .with_context(|| format!("{} does not apply to {}", named(), path.display()))?;
        if after == before {
            bail!("{} changes nothing in {}", named(), path.display());
        }
        files.push((path, after));
    }
    if files.is_empty() {
        bail!("{} changes no file", named());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::patch::patches;

    #[test]
    fn bugs_are_planted_and_pulled_out_again() {
        let root = repository::root().unwrap();
        let work = root.join("target/planted/test-of-the-copy");
        let tree = Tree::copy(&root, &work).unwrap();
        let copied = |path: &Path| fs::read(tree.folder().join(path)).unwrap();
        let pristine = |tree: &Tree| tree.files.iter().all(|(path, bytes)| copied(path) == *bytes);
        assert!(pristine(&tree) && tree.scenarios().count() > 0);
        for patch in patches(&root).unwrap() {
            tree.apply(&patch).unwrap_or_else(|error| panic!("{error:#}"));
            assert!(!pristine(&tree), "{}", patch.id);
            fs::write(tree.folder().join("left-behind"), "").unwrap();
            tree.restore().unwrap();
            assert!(pristine(&tree) && !tree.folder().join("left-behind").exists(), "{}", patch.id);
        }
        fs::remove_dir_all(work).unwrap();
    }
}
