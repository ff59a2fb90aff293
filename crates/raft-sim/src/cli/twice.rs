//! Is a run a function of scenario and seed? A second run answers this, compared line by line with the first trace.

use raft_sim::faults::FaultSet;
use raft_sim::record::Record;
use raft_sim::record::explain;
use raft_sim::run::Sink;

/// Two sinks for one run.
pub(crate) struct Both<'a>(pub(crate) &'a mut dyn Sink, pub(crate) &'a mut dyn Sink);

impl Sink for Both<'_> {
    fn record(&mut self, record: &Record) {
        self.0.record(record);
        self.1.record(record);
    }

    fn struck(&mut self, faults: FaultSet) {
        self.0.struck(faults);
        self.1.struck(faults);
    }
}

/// Stores the lines of a run.
#[derive(Default)]
pub(crate) struct First {
    lines: Vec<String>,
}

impl Sink for First {
    fn record(&mut self, record: &Record) {
        self.lines.push(text(record));
    }
}

/// The complete text of a record: the line for people, and the parts that it omits.
fn text(record: &Record) -> String {
    format!("{}  {:?} {:?}", explain::line(record), record.cause, record.view)
}

/// Compares a run with the first one.
pub(crate) struct Second<'a> {
    first: &'a [String],
    seen: usize,
    difference: Option<String>,
}

impl<'a> Second<'a> {
    pub(crate) fn new(first: &'a First) -> Self {
        Self { first: &first.lines, seen: 0, difference: None }
    }

    /// The first event in which the two runs differ, if there is one.
    pub(crate) fn difference(self) -> Option<String> {
        let missing = self.first.get(self.seen);
        self.difference.or_else(|| missing.map(|line| describe(Some(line), None)))
    }
}

impl Sink for Second<'_> {
    fn record(&mut self, record: &Record) {
        let first = self.first.get(self.seen);
        self.seen += 1;
        if self.difference.is_none() {
            let line = text(record);
            if first != Some(&line) {
                self.difference = Some(describe(first, Some(&line)));
            }
        }
    }
}

fn describe(first: Option<&String>, second: Option<&String>) -> String {
    let end = "(the run is over)".to_owned();
    format!("first run:  {}\n    second run: {}", first.unwrap_or(&end), second.unwrap_or(&end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_sim::record::{RecordKind, SimTime};

    fn record(number: u64, label: &str) -> Record {
        let kind = RecordKind::Fault { label: label.into() };
        Record { number, at: SimTime(number), cause: None, node: None, call: 0, kind, view: None }
    }

    fn difference(first: &[Record], second: &[Record]) -> Option<String> {
        let mut one = First::default();
        first.iter().for_each(|record| one.record(record));
        let mut two = Second::new(&one);
        second.iter().for_each(|record| two.record(record));
        two.difference()
    }

    #[test]
    fn the_first_divergent_event_is_named() {
        let (a, b, c) = (record(1, "cut"), record(2, "heal"), record(2, "kill"));
        assert_eq!(difference(&[a.clone(), b.clone()], &[a.clone(), b.clone()]), None);
        let named = difference(&[a.clone(), b.clone()], &[a.clone(), c]).expect("they differ");
        assert!(named.contains("heal") && named.contains("kill"), "{named}");
        let shorter = difference(&[a.clone(), b.clone()], std::slice::from_ref(&a)).expect("they differ");
        assert!(shorter.contains("heal") && shorter.ends_with("(the run is over)"), "{shorter}");
        let longer = difference(std::slice::from_ref(&a), &[a.clone(), b]).expect("they differ");
        assert!(longer.contains("first run:  (the run is over)"), "{longer}");
    }
}
