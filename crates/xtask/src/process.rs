//! Processes: command lines that are printed when they run, and runs with a time limit.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command line without quotes and shell characters, so that the printed line can be copied.
pub(crate) struct Line<'a> {
    /// The words, separated by spaces.
    pub(crate) words: &'a str,
    /// The variables that it needs.
    pub(crate) environment: &'a [(&'a str, String)],
}

impl Line<'_> {
    /// The command, to run in `folder` without input.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut words = self.words.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.current_dir(folder).stdin(Stdio::null());
        command
    }
}

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, value) in self.environment {
            write!(f, "{key}='{value}' ")?;
        }
        f.write_str(self.words)
    }
}

/// Fails if `cargo COMMAND` is not installed.
pub(crate) fn need_cargo(command: &str) -> Result<()> {
    let version =
        Command::new("cargo").args([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = version.context("cannot run cargo")?.success();
    ensure!(is_there, "cargo-{command} is missing: cargo install cargo-{command}");
    Ok(())
}

/// Whether strace is installed.
pub(crate) fn has_strace() -> bool {
    let version = Command::new("strace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// The end of a process with a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ended itself with this exit code (128 + number after a signal).
    Exit(i32),
    /// It took too long and was killed.
    TimedOut,
}

/// Runs a command for at most `limit`, with both outputs in files.
pub(crate) fn run_limited(mut command: Command, stdout: &Path, stderr: &Path, limit: Duration) -> Result<End> {
    let file = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
    command.stdin(Stdio::null()).stdout(file(stdout)?).stderr(file(stderr)?);
    let mut child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exit(code(status)));
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(End::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(unix)]
fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(not(unix))]
fn code(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_is_named() {
        assert!(need_cargo("fmt").is_ok());
        let missing = need_cargo("no-such-command").unwrap_err().to_string();
        assert!(missing.contains("cargo install cargo-no-such-command"), "{missing}");
    }

    fn run(words: &str, limit: Duration) -> (End, String) {
        let folder = tempfile::tempdir().unwrap();
        let (stdout, stderr) = (folder.path().join("out"), folder.path().join("err"));
        let line = Line { words, environment: &[("GREETING", "hello".into())] };
        let end = run_limited(line.command(folder.path()), &stdout, &stderr, limit).unwrap();
        (end, std::fs::read_to_string(stdout).unwrap())
    }

    #[test]
    fn a_process_ends_by_itself_or_at_its_limit() {
        let patient = Duration::from_secs(60);
        assert_eq!(run("printenv GREETING", patient), (End::Exit(0), "hello\n".into()));
        assert_eq!(run("false", patient).0, End::Exit(1));
        assert_eq!(run("tail -f /dev/null", Duration::from_millis(50)).0, End::TimedOut);
    }

    #[test]
    fn a_line_prints_what_can_be_copied() {
        let line = Line { words: "cargo doc", environment: &[("RUSTDOCFLAGS", "-D warnings".into())] };
        assert_eq!(line.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc");
    }
}
