//! Virtual time passes: only so many events happen at one instant.
//!
//! It is the first to catch: a timer or a task that begins again at the time at which it ends. Without it such a run ends at
//! the limit of a run's records, which says nothing. No other checker depends on it.

use super::property::Violation;
use crate::record::SimTime;

const NAME: &str = "progress";

/// The most records, and the most events, at one instant. Events of one instant meet by chance or follow one another in a few
/// steps, so a swarm stays below 100. Above all, a call has as many records as inputs and outputs, and an inbox has 8192
/// messages and 16384 requests at most.
const MOST: u64 = 50_000;

/// The events of the present instant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    at: SimTime,
    events: u64,
    /// The newest record before the instant.
    before: u64,
    newest: u64,
}

impl Progress {
    /// An event has happened; the newest record has this number.
    pub(crate) fn advanced(&mut self, at: SimTime, newest: u64) -> Option<Violation> {
        if at != self.at {
            *self = Self { at, events: 0, before: self.newest, newest };
        }
        (self.events, self.newest) = (self.events + 1, newest);
        let records = newest.saturating_sub(self.before);
        (self.events > MOST || records > MOST).then(|| {
            let (ms, ns, events) = (at.0 / 1_000_000, at.0 % 1_000_000, self.events);
            let message = format!("time stands still at {ms}.{ns:06} ms: {events} events with {records} records");
            Violation { property: NAME, message, facts: vec![newest] }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_time_fire_and_others_do_not() {
        let mut progress = Progress::default();
        assert!((1..=2 * MOST).all(|number| progress.advanced(SimTime(number), number).is_none()), "time passes");
        let at = SimTime(1_000_000_007);
        let newest = 2 * MOST;
        assert!((0..MOST).all(|_| progress.advanced(at, newest).is_none()));
        let violation = progress.advanced(at, newest).expect("too many events without a record");
        assert_eq!((violation.property, violation.facts), (NAME, vec![newest]));
        assert_eq!(violation.message, "time stands still at 1000.000007 ms: 50001 events with 0 records");
        let later = SimTime(2_000_000_000);
        assert_eq!(progress.advanced(later, newest + MOST), None);
        assert!(progress.advanced(later, newest + MOST + 1).is_some(), "too many records");
    }
}
