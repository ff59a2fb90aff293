//! The timers of the state machine, for keys with a time to live (TTL). The leader counts them with the time of its
//! calls.
//!
//! Nothing in this file is replicated. A follower counts no time, and a new leader restarts every timer: it does not
//! know how much time has passed, and a timer must not fire early. This file must not know the purpose of a timer.

use crate::interface::state_machine::{Timer, TimerName};
use raft_core::{Instant, RequestId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The most timers in one command.
const MAX_TIMERS: usize = 256;
/// The delay before a rejected command is proposed again.
const RETRY: Duration = Duration::from_millis(100);
/// The ids of these proposals begin with these two bits. Those of clients begin with 0, those of forwarded requests with 11.
const INTERNAL: u64 = 0b10 << 62;
const NUMBER: u64 = (1 << 62) - 1;

/// The timers of a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    /// The term in which the node leads; `None` if it does not lead.
    term: Option<Term>,
    highest: u64,
    running: BTreeSet<(Instant, TimerName)>,
    /// The timers that are proposed to the core, and neither appended nor rejected yet.
    proposed: BTreeMap<RequestId, Vec<TimerName>>,
    next_request: u64,
}

impl Timers {
    /// Notes whether the node leads, and in which term; drops the timers of another term. Returns true if it leads.
    pub(crate) fn set_leading(&mut self, term: Option<Term>) -> bool {
        if term != self.term {
            *self = Self { term, next_request: self.next_request, ..Self::default() };
        }
        term.is_some()
    }

    /// The highest number of the started timers.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    pub(crate) fn start(&mut self, now: Instant, timers: Vec<Timer>) {
        for Timer { name, after } in timers {
            self.highest = self.highest.max(name.number);
            let end = now.after(after);
            // `u64::MAX` means never.
            if end < Instant(u64::MAX) {
                self.running.insert((end, name));
            }
        }
    }

    /// The next expired timers, as many as fit into one command.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<TimerName> {
        let mut due = Vec::new();
        while due.len() < MAX_TIMERS
            && self.running.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.running.pop_first()
        {
            due.push(name);
        }
        due
    }

    /// The id of the proposal for these timers.
    pub(crate) fn propose(&mut self, due: Vec<TimerName>) -> RequestId {
        let id = RequestId(INTERNAL | self.next_request);
        self.next_request = (self.next_request + 1) & NUMBER;
        self.proposed.insert(id, due);
        id
    }

    /// Whether a request is the node's own.
    pub(crate) const fn is_internal(id: RequestId) -> bool {
        id.0 & !NUMBER == INTERNAL
    }

    /// Removes a proposed command that the log has: only a change of leader can lose it now.
    pub(crate) fn on_appended(&mut self, id: RequestId) {
        self.proposed.remove(&id);
    }

    /// Handles a command that the log does not have: its timers fire again later.
    pub(crate) fn on_rejected(&mut self, id: RequestId, now: Instant) {
        let again = now.after(RETRY);
        self.running.extend(self.proposed.remove(&id).into_iter().flatten().map(|name| (again, name)));
    }

    /// When the next timer fires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.running.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn name(number: u64) -> TimerName {
        TimerName { number, name: Bytes::from_static(b"k") }
    }

    fn timer(number: u64, ms: u64) -> Timer {
        Timer { name: name(number), after: Duration::from_millis(ms) }
    }

    #[test]
    fn a_leader_counts_and_the_next_term_starts_again() {
        let mut timers = Timers::default();
        assert!(!timers.set_leading(None) && timers.set_leading(Some(Term(2))));
        timers.start(at(10), vec![timer(3, 20), timer(4, 5)]);
        assert_eq!((timers.highest(), timers.deadline()), (4, Some(at(15))));
        assert_eq!((timers.take_due(at(14)), timers.take_due(at(15))), (vec![], vec![name(4)]));
        assert!(timers.set_leading(Some(Term(2))));
        assert_eq!((timers.highest(), timers.deadline()), (4, Some(at(30))));
        assert!(timers.set_leading(Some(Term(3))));
        assert_eq!((timers.highest(), timers.deadline()), (0, None));
    }

    #[test]
    fn a_rejected_command_is_proposed_again_and_an_appended_one_is_not() {
        let mut timers = Timers::default();
        timers.set_leading(Some(Term(1)));
        timers.start(at(0), (0..=MAX_TIMERS as u64).map(|number| timer(number, number)).collect());
        let due = timers.take_due(at(10_000));
        assert_eq!((due.len(), timers.take_due(at(10_000)).len()), (MAX_TIMERS, 1), "one command's worth");
        let (first, second) = (timers.propose(due), timers.propose(vec![name(7)]));
        assert!(first != second && Timers::is_internal(first) && !Timers::is_internal(RequestId(7)));
        timers.on_appended(first);
        timers.on_rejected(first, at(0));
        assert_eq!(timers.deadline(), None);
        timers.on_rejected(second, at(50));
        assert_eq!(timers.deadline(), Some(at(150)));
        timers.set_leading(None);
        timers.on_rejected(second, at(60));
        assert_eq!(timers.deadline(), None, "another node leads");
        timers.set_leading(Some(Term(2)));
        timers.start(at(1), vec![timer(1, u64::MAX)]);
        assert_eq!((timers.deadline(), timers.highest()), (None, 1), "it never fires");
    }
}
