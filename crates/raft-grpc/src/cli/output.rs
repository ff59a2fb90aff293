//! Writes lines to stdout and stderr. A closed pipe is neither an error nor a panic.

use raft_grpc::Failure;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines of text
    Text,
    /// JSON
    Json,
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Writes `bytes` to stdout. Ends the process with 0 if the pipe is closed (`raft-grpc .. | head`).
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::runtime(format!("cannot write to stdout: {error}"))),
    }
}

/// Writes a line to stdout, for commands that continue when the pipe is closed.
pub(crate) fn announce(line: &str) {
    let mut stdout = io::stdout().lock();
    // A closed pipe must not end a cluster.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

pub(crate) fn error(message: &str) {
    // If stderr is closed, there is no other place for the message.
    let _ = writeln!(io::stderr(), "raft-grpc: {}", one_line(message));
}

/// `text` as one line: control characters, which may come from a file or an argument, become spaces.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `2.1ms`.
pub(crate) fn millis(took: Duration) -> String {
    format!("{:.1}ms", took.as_secs_f64() * 1000.0)
}

/// A value as pretty JSON, with a line end.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::runtime(format!("no JSON: {error}")))?;
    Ok(text + "\n")
}

/// A cell of a table; an unknown value is `-`.
pub(crate) fn dash(value: Option<impl ToString>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

/// Columns as wide as their widest cell, two spaces apart; the last is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column| row.get(column).map_or(0, |cell: &String| cell.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_failures_are_one_line() {
        let rows = [["key", "value", "source"], ["id", "1", "--id"], ["peers", "", "default"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(table(&rows), "key    value  source\nid     1      --id\npeers         default\n");
        assert_eq!(table(&[]), "");
        assert_eq!(one_line("a\nb\u{1b}[31mc"), "a b [31mc");
    }
}
