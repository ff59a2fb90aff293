//! The test command of README.md: CI runs the same command that a reader copies.

use anyhow::{Context, Result, bail};
use std::path::Path;

/// The only line of the README's code blocks that begins with `cargo test`.
pub(crate) fn test_command(root: &Path) -> Result<String> {
    let text = std::fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    only_test_command(&text)
}

fn only_test_command(text: &str) -> Result<String> {
    let mut commands = commands(text).filter(|command| command.starts_with("cargo test"));
    let command = commands.next().context("README.md has no command that begins with `cargo test`")?;
    if let Some(other) = commands.find(|other| *other != command) {
        bail!("README.md: expected one test command, found `{command}` and `{other}`");
    }
    if command.contains(['|', '&', ';', '$', '\'', '"', '<', '>', '`', '\\']) {
        bail!("README.md: the test command `{command}` needs a shell: write a plain command");
    }
    Ok(command.into())
}

/// The commands in the code blocks, without prompt and trailing comment.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter_map(move |line| {
        if line.starts_with("```") {
            is_code = !is_code;
            return None;
        }
        let line = line.trim();
        let command = line.strip_prefix("$ ").unwrap_or(line).split(" #").next().unwrap_or_default().trim();
        (is_code && !command.is_empty()).then_some(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    #[test]
    fn the_command_is_found_in_code_blocks_only() {
        let text = "run `cargo test`\n\n```text\n$ cargo test --workspace   # all\n```\ncargo test --other\n";
        assert_eq!(only_test_command(text).unwrap(), "cargo test --workspace");
    }

    #[test]
    fn none_two_and_shell_words_are_refused() {
        let refused = |text: &str| only_test_command(text).unwrap_err().to_string();
        assert!(refused("cargo test").contains("no command"));
        assert!(refused("```\ncargo test\ncargo test -q\n```").contains("expected one"));
        assert!(refused("```\ncargo test | tee log\n```").contains("shell"));
    }

    #[test]
    fn the_readme_has_the_two_promised_commands() {
        let root = repository::root().unwrap();
        assert_eq!(test_command(&root).unwrap(), "cargo test");
        let text = std::fs::read_to_string(root.join("README.md")).unwrap();
        assert!(commands(&text).any(|command| command == "cargo run --profile sim -p raft-sim"));
    }
}
