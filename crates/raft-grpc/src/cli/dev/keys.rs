//! The keyboard: reads single keys if stdin is a terminal, and restores the terminal.

use super::Event;
use raft_grpc::Failure;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc::Sender;
use std::thread;

pub(super) const HELP: &str =
    "keys: k kill the leader, p cut the leader off, r restart killed nodes and reconnect, q quit";

/// The command of a key; see [`HELP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Kill,
    Cut,
    Restart,
    Quit,
}

fn key_of(byte: u8) -> Option<Key> {
    match byte.to_ascii_lowercase() {
        b'k' => Some(Key::Kill),
        b'p' => Some(Key::Cut),
        b'r' => Some(Key::Restart),
        b'q' => Some(Key::Quit),
        _ => None,
    }
}

/// The terminal without line mode and echo; a drop restores it.
pub(super) struct Terminal {
    before: Termios,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A closed terminal needs no restoration.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Sends keys as events, if stdin is a terminal and this process is in its foreground.
pub(super) fn listen(events: Sender<Event>) -> Result<Option<Terminal>, Failure> {
    // The system stops a background job that changes its terminal.
    if !io::stdin().is_terminal() || tcgetpgrp(io::stdin()) != Ok(getpgrp()) {
        return Ok(None);
    }
    let failed =
        |error| Failure::runtime(format!("cannot read keys from the terminal: {error}: start with </dev/null"));
    let before = tcgetattr(io::stdin()).map_err(failed)?;
    let mut modes = before.clone();
    // It does not use raw mode: Ctrl-C remains a signal.
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(io::stdin(), OptionalActions::Now, &modes).map_err(failed)?;
    thread::spawn(move || read(io::stdin().lock(), |key| events.send(Event::Key(key)).is_ok()));
    Ok(Some(Terminal { before }))
}

/// Sends keys until the end of the input, or until `takes` returns false.
fn read(input: impl BufRead, mut takes: impl FnMut(Key) -> bool) {
    for byte in input.bytes() {
        let Ok(byte) = byte else { return };
        if key_of(byte).is_some_and(|key| !takes(key)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_help() {
        let mut keys = Vec::new();
        read(&b"kx\x04P\nr Q\x1b[A"[..], |key| {
            keys.push(key);
            true
        });
        assert_eq!(keys, [Key::Kill, Key::Cut, Key::Restart, Key::Quit]);
        for key in ["k kill", "p cut", "r restart", "q quit"] {
            assert!(HELP.contains(key), "{key}");
        }
    }

    #[test]
    fn reading_ends_when_a_key_is_not_taken() {
        let mut count = 0;
        read(&b"kkkk"[..], |_| {
            count += 1;
            count < 2
        });
        assert_eq!(count, 2);
    }
}
