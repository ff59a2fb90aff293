//! The children's output: every line on stderr, prefixed with the node's name.

use std::io::{self, BufRead, BufReader, Read, Write};

pub(super) fn prefix(id: u64, coloured: bool) -> String {
    // Red, green, yellow, blue, magenta, cyan: readable on dark and on bright terminals.
    let colour = 31 + id.saturating_sub(1) % 6;
    if coloured { format!("\u{1b}[{colour}mn{id} |\u{1b}[0m ") } else { format!("n{id} | ") }
}

/// Copies lines until the child closes its end, except lines for which `swallows` returns true. It drops lines that it
/// cannot write: a child must never wait for a closed pipe.
pub(super) fn copy_lines(from: impl Read, mut to: impl Write, prefix: &str, mut swallows: impl FnMut(&str) -> bool) {
    let mut lines = BufReader::new(from);
    let mut bytes = Vec::new();
    // An error ends the copy; `reap` reports the end of the child.
    while let Ok(1..) = lines.read_until(b'\n', &mut bytes) {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        if !swallows(line) {
            // It is one write, so that the lines of several nodes do not mix.
            let _ = to.write_all(format!("{prefix}{line}\n").as_bytes());
        }
        bytes.clear();
    }
}

/// Whether prefixes have colours: on a terminal without NO_COLOR.
pub(super) fn coloured() -> bool {
    io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_prefixed_and_some_are_swallowed() {
        let mut copied = Vec::new();
        let input = b"one\nnode 2 listening x\n\xff two\r\n\nlast without an end";
        copy_lines(&input[..], &mut copied, &prefix(2, false), |line| line.starts_with("node 2 listening "));
        assert_eq!(String::from_utf8_lossy(&copied), "n2 | one\nn2 | \u{fffd} two\nn2 | \nn2 | last without an end\n");
    }

    #[test]
    fn a_reader_that_has_gone_stops_nothing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut seen = 0;
        copy_lines(&b"a\nb\nc\n"[..], Gone, "", |_| {
            seen += 1;
            false
        });
        assert_eq!(seen, 3);
    }

    #[test]
    fn prefixes_are_coloured_only_on_demand() {
        assert_eq!(prefix(1, false), "n1 | ");
        assert_eq!(prefix(1, true), "\u{1b}[31mn1 |\u{1b}[0m ");
        assert_eq!(prefix(7, true), "\u{1b}[31mn7 |\u{1b}[0m ");
    }
}
