//! When the state machine's timers are up: the leader counts, by the clock that comes with its calls.
//!
//! Nothing here is replicated. A node that does not lead counts nothing, and one that comes to lead begins to count anew: it
//! does not know how long others have counted, and a timer must not end early (leases are no clocks: what ends is decided by
//! an entry of the log). This file must not know what a timer is for.

use crate::state_machine::{Timer, TimerName};
use raft_core::{Instant, RequestId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The most timers that one command carries out.
const MAX_TIMERS: usize = 256;
/// After what time one is tried again that could not be proposed.
const RETRY: Duration = Duration::from_millis(100);
/// The numbers of the node's own requests have this bit; those of a host have not.
const OWN: u64 = 1 << 63;

/// The timers of a node that leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    /// The term in which it leads; none: it does not.
    term: Option<Term>,
    /// The highest number that is known.
    seen: u64,
    running: BTreeSet<(Instant, TimerName)>,
    /// What the core is being asked to append.
    proposed: BTreeMap<RequestId, Vec<TimerName>>,
    requests: u64,
}

impl Timers {
    /// The node leads in this term, or does not lead. What was counted in another term is forgotten.
    pub(crate) fn lead(&mut self, term: Option<Term>) -> bool {
        if term != self.term {
            *self = Self { term, requests: self.requests, ..Self::default() };
        }
        term.is_some()
    }

    /// Above which number timers are not known yet.
    pub(crate) const fn seen(&self) -> u64 {
        self.seen
    }

    /// These begin now.
    pub(crate) fn begin(&mut self, now: Instant, timers: Vec<Timer>) {
        for Timer { name, after } in timers {
            self.seen = self.seen.max(name.number);
            let end = now.after(after);
            // The end of time does not come.
            if end < Instant(u64::MAX) {
                self.running.insert((end, name));
            }
        }
    }

    /// The next of those that are up, as many as one command carries out.
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

    /// The command for these is proposed: under which number.
    pub(crate) fn propose(&mut self, due: Vec<TimerName>) -> RequestId {
        let id = RequestId(OWN | self.requests);
        self.requests = (self.requests + 1) & !OWN;
        self.proposed.insert(id, due);
        id
    }

    /// Whether a request is the node's own.
    pub(crate) const fn is_own(id: RequestId) -> bool {
        id.0 & OWN != 0
    }

    /// It is in the log: if it is lost there, then with the leadership.
    pub(crate) fn appended(&mut self, id: RequestId) {
        self.proposed.remove(&id);
    }

    /// It is not in the log: they are tried again a little later.
    pub(crate) fn rejected(&mut self, id: RequestId, now: Instant) {
        let again = now.after(RETRY);
        self.running.extend(self.proposed.remove(&id).into_iter().flatten().map(|name| (again, name)));
    }

    /// When the first is up.
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
    fn they_are_counted_while_the_node_leads_and_anew_when_it_leads_again() {
        let mut timers = Timers::default();
        assert!(!timers.lead(None) && timers.lead(Some(Term(2))));
        timers.begin(at(10), vec![timer(3, 20), timer(4, 5)]);
        assert_eq!((timers.seen(), timers.deadline()), (4, Some(at(15))));
        assert_eq!((timers.take_due(at(14)), timers.take_due(at(15))), (vec![], vec![name(4)]));
        assert!(timers.lead(Some(Term(2))));
        assert_eq!((timers.seen(), timers.deadline()), (4, Some(at(30))));
        assert!(timers.lead(Some(Term(3))));
        assert_eq!((timers.seen(), timers.deadline()), (0, None), "whoever leads again begins anew");
    }

    #[test]
    fn what_is_refused_is_tried_again_and_what_is_appended_is_not() {
        let mut timers = Timers::default();
        timers.lead(Some(Term(1)));
        timers.begin(at(0), (0..=MAX_TIMERS as u64).map(|number| timer(number, number)).collect());
        let due = timers.take_due(at(10_000));
        assert_eq!((due.len(), timers.take_due(at(10_000)).len()), (MAX_TIMERS, 1), "so many at once");
        let (first, second) = (timers.propose(due), timers.propose(vec![name(7)]));
        assert!(first != second && Timers::is_own(first) && !Timers::is_own(RequestId(7)));
        timers.appended(first);
        timers.rejected(first, at(0));
        assert_eq!(timers.deadline(), None);
        timers.rejected(second, at(50));
        assert_eq!(timers.deadline(), Some(at(150)));
        timers.lead(None);
        timers.rejected(second, at(60));
        assert_eq!(timers.deadline(), None, "another leads");
        timers.lead(Some(Term(2)));
        timers.begin(at(1), vec![timer(1, u64::MAX)]);
        assert_eq!((timers.deadline(), timers.seen()), (None, 1), "the end of time does not come");
    }
}
