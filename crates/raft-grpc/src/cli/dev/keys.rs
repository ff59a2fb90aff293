//! The keyboard: single keys while stdin is a terminal, and the terminal as it was afterwards.

use super::Event;
use raft_grpc::Failure;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc::Sender;
use std::thread;

pub(super) const HELP: &str = "keys: k kill the leader, p cut the leader off, r restart the dead and heal cuts, q quit";

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// End the leader with SIGKILL.
    Kill,
    /// Cut the leader off from its peers.
    Cut,
    /// Restart what has ended, and heal what was cut.
    Restart,
    /// End it all.
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

/// Gives keys without waiting for a line, and shows none. Undone when dropped.
pub(super) struct Terminal {
    before: Termios,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Sends keys as events, if stdin is a terminal and this process is in its foreground.
pub(super) fn listen(events: Sender<Event>) -> Result<Option<Terminal>, Failure> {
    // A background job that touches its terminal is stopped by the system.
    if !io::stdin().is_terminal() || tcgetpgrp(io::stdin()) != Ok(getpgrp()) {
        return Ok(None);
    }
    let failed =
        |error| Failure::runtime(format!("cannot read keys from the terminal: {error}: start with </dev/null"));
    let before = tcgetattr(io::stdin()).map_err(failed)?;
    let mut modes = before.clone();
    // Not raw: Ctrl-C is a signal still.
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(io::stdin(), OptionalActions::Now, &modes).map_err(failed)?;
    thread::spawn(move || read(io::stdin().lock(), |key| events.send(Event::Key(key)).is_ok()));
    Ok(Some(Terminal { before }))
}

/// Hands on keys until the end of the input, which means nothing, or until nobody takes them.
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
    fn keys_mean_what_the_help_says_and_others_nothing() {
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
    fn nothing_is_read_when_nobody_takes_it() {
        let mut count = 0;
        read(&b"kkkk"[..], |_| {
            count += 1;
            count < 2
        });
        assert_eq!(count, 2);
    }
}
