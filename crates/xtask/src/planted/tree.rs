//! The copy of the tree in which bugs are planted. Files that are as they should be are not written again, so that cargo
//! rebuilds what a patch touched and nothing else.

use super::patch::Patch;
use crate::repository;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A copy of the working tree, without git.
pub(crate) struct Tree {
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
        let tree = Self { work: work.into(), files };
        fs::create_dir_all(tree.folder()).with_context(|| format!("cannot create {}", tree.folder().display()))?;
        tree.restore()?;
        Ok(tree)
    }

    /// Where the copy stands.
    pub(crate) fn folder(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// Where its builds go.
    pub(crate) fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    /// Where the simulator's outputs go.
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

    /// A hash of everything a run of the simulator depends on: the tasks and the pages for people do not count.
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

    /// Makes the copy as it was copied, whatever a patch did to it.
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
        git_apply(&self.folder(), patch, &[])?;
        // git skips, in silence, what it takes for a path outside its folder.
        let folder = self.folder();
        let is_planted =
            self.files.iter().any(|(path, bytes)| fs::read(folder.join(path)).is_ok_and(|it| it != *bytes));
        if !is_planted {
            bail!("{} changed nothing", patch.path.display());
        }
        Ok(())
    }
}

/// Whether a patch applies to the tree in `folder`; changes nothing.
#[cfg(test)]
pub(crate) fn check(folder: &Path, patch: &Patch) -> Result<()> {
    git_apply(folder, patch, &["--check"])
}

fn git_apply(folder: &Path, patch: &Patch, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("apply").args(arguments).arg(&patch.path).current_dir(folder).stdin(Stdio::null());
    // The copy lies inside a repository and is none: git must not take the paths for that repository's.
    if let Some(parent) = folder.parent() {
        command.env("GIT_CEILING_DIRECTORIES", parent).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    }
    let output = command.output().context("cannot run git, which applies the patches")?;
    if !output.status.success() {
        bail!("{} does not apply: {}", patch.path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
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
