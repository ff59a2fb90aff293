//! The repository: its folder, its files, its commit.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the workspace's Cargo.toml.
pub(crate) fn root() -> Result<PathBuf> {
    // It is read at run time, not at compile time: a target folder may be moved or cached.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run the tasks by `cargo xtask`")?;
    let root = Path::new(&manifest).join("../..");
    root.canonicalize().with_context(|| format!("cannot find the workspace at {}", root.display()))
}

/// The files of the working tree that git does not ignore, uncommitted changes and new files included, sorted. Without a
/// repository (an unpacked archive) or without git it returns all files except those of builds.
pub(crate) fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let has_git = Command::new("git").arg("--version").output().is_ok();
    if !root.join(".git").exists() || !has_git {
        let files = walk(root)?.into_iter().filter_map(|path| path.strip_prefix(root).ok().map(Path::to_path_buf));
        return Ok(files.filter(|path| !path.starts_with("target")).collect());
    }
    let listing = git(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let paths = listing.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
    // A file may be deleted without a commit.
    Ok(paths.filter(|path| root.join(path).is_file()).collect())
}

/// All files below a folder.
pub(crate) fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    Ok(files)
}

/// The commit, with a mark if the working tree differs from it.
pub(crate) fn commit(root: &Path) -> String {
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".into());
    let is_changed = git(root, &["status", "--porcelain"]).is_ok_and(|status| !status.trim().is_empty());
    format!("{}{}", commit.trim(), if is_changed { " with uncommitted changes" } else { "" })
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    let output = command.args(arguments).current_dir(root).stdin(Stdio::null()).output();
    let output = output.context("cannot run git")?;
    if !output.status.success() {
        bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("the output of git is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_archive_has_files_too() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/b.rs", "target/debug/c", ".ci/run"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found: Vec<PathBuf> = files(folder.path()).unwrap().into_iter().collect();
        assert_eq!(found, [Path::new(".ci/run"), Path::new("a/b.rs")]);
    }

    #[test]
    fn every_source_file_opens_with_a_sentence_about_itself() {
        let root = root().unwrap();
        let opens_with = |path: &PathBuf, text: &str| {
            let file = std::fs::read_to_string(root.join(path)).unwrap();
            file.strip_prefix(text)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || "`[\"".contains(c)))
        };
        let silent = |path: &PathBuf| match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => !opens_with(path, "//! "),
            Some("proto") => !opens_with(path, "// "),
            _ => false,
        };
        let silent: Vec<_> = files(&root).unwrap().into_iter().filter(silent).collect();
        assert!(silent.is_empty(), "these files say nothing about themselves in their first line: {silent:?}");
    }
}
