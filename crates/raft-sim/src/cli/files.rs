//! Finding and reading scenario files.

use anyhow::{Context, Result, anyhow, bail};
use raft_sim::scenario::parse::{ScenarioFile, parse};
use std::fs;
use std::path::{Path, PathBuf};

/// The default folder of scenarios.
const FOLDER: &str = "sim-scenarios";

/// Reads all scenarios of these files and folders, in the order of the paths. The files of a folder are in the order of
/// their names.
///
/// # Errors
/// All problems of all files.
pub(crate) fn load_all(paths: &[PathBuf]) -> Result<Vec<ScenarioFile>> {
    let default = if paths.is_empty() { Some(default_folder()?) } else { None };
    let mut files = Vec::new();
    for path in default.iter().chain(paths) {
        let before = files.len();
        collect(path, &mut files)?;
        if files.len() == before {
            bail!("no scenario file (*.toml) in {}", path.display());
        }
    }
    let (good, bad): (Vec<_>, Vec<_>) = files.iter().map(|file| load(file)).partition(Result::is_ok);
    if !bad.is_empty() {
        let problems: Vec<String> = bad.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        bail!("{}", problems.join("\n"));
    }
    Ok(good.into_iter().flatten().collect())
}

/// Reads one scenario or recorded run.
///
/// # Errors
/// Its problems.
pub(crate) fn load(file: &Path) -> Result<ScenarioFile> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&file.display().to_string(), &bytes).map_err(|problems| anyhow!(problems))
}

fn default_folder() -> Result<PathBuf> {
    let here = PathBuf::from(FOLDER);
    // A binary in another folder finds the guided tour as long as its sources exist.
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER);
    let found = [here, built_from].into_iter().find(|folder| folder.is_dir());
    found.ok_or_else(|| anyhow!("no folder {FOLDER} here: name scenario files or folders"))
}

/// The scenario files at a path: the file itself, or all `*.toml` of a folder and its subfolders, by name.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let unreadable = || format!("cannot read the folder {}", path.display());
    let entries =
        fs::read_dir(path).with_context(unreadable)?.collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    let mut inside: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    inside.sort();
    for path in inside {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}
