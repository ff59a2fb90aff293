//! Is a run a function of scenario and seed? A second run answers this, compared record by record with the first one.

use raft_sim::faults::FaultSet;
use raft_sim::record::{NodeView, Record, explain};
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

/// Stores the records of a run. The records of a call share a view, so a view is stored only where it changes.
#[derive(Default)]
pub(crate) struct First {
    records: Vec<Record>,
    /// The views, each with the place of the first record that has it.
    views: Vec<(usize, Option<Box<NodeView>>)>,
}

impl Sink for First {
    fn record(&mut self, record: &Record) {
        if self.views.last().is_none_or(|(_, view)| *view != record.view) {
            self.views.push((self.records.len(), record.view.clone()));
        }
        self.records.push(Record { kind: record.kind.clone(), view: None, ..*record });
    }
}

/// Compares a run with the first one.
pub(crate) struct Second<'a> {
    first: &'a First,
    seen: usize,
    /// The place of the current view of the first run.
    view: usize,
    difference: Option<String>,
}

impl<'a> Second<'a> {
    pub(crate) fn new(first: &'a First) -> Self {
        Self { first, seen: 0, view: 0, difference: None }
    }

    /// The first event in which the two runs differ, if there is one.
    pub(crate) fn difference(self) -> Option<String> {
        let missing = self.first(self.seen);
        self.difference.or_else(|| missing.map(|record| describe(Some(record), None)))
    }

    /// A record of the first run, with the current view.
    fn first(&self, place: usize) -> Option<(&'a Record, &'a Option<Box<NodeView>>)> {
        let (_, view) = self.first.views.get(self.view)?;
        self.first.records.get(place).map(|record| (record, view))
    }
}

impl Sink for Second<'_> {
    fn record(&mut self, record: &Record) {
        let place = self.seen;
        self.seen += 1;
        if self.first.views.get(self.view + 1).is_some_and(|(from, _)| *from == place) {
            self.view += 1;
        }
        let first = self.first(place);
        if self.difference.is_none()
            && !first.is_some_and(|(first, view)| is_same(first, record) && *view == record.view)
        {
            self.difference = Some(describe(first, Some((record, &record.view))));
        }
    }
}

/// Whether two records are equal but for their views.
fn is_same(one: &Record, other: &Record) -> bool {
    let Record { number, at, cause, node, call, kind, view: _ } = one;
    (*number, *at, *cause, *node, *call) == (other.number, other.at, other.cause, other.node, other.call)
        && *kind == other.kind
}

/// The records at the place where two runs differ: the line for people, and the parts that it omits.
fn describe(
    first: Option<(&Record, &Option<Box<NodeView>>)>,
    second: Option<(&Record, &Option<Box<NodeView>>)>,
) -> String {
    let text = |record: Option<(&Record, &Option<Box<NodeView>>)>| {
        record.map_or_else(
            || "(the run is over)".to_owned(),
            |(record, view)| format!("{}  {:?} {view:?}", explain::line(record), record.cause),
        )
    };
    format!("first run:  {}\n    second run: {}", text(first), text(second))
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

    #[test]
    fn views_are_stored_once_and_compared_in_each_record() {
        let mut records = Vec::new();
        raft_sim::run::run(&raft_sim::faults::profiles::net(3), 0, &mut records);
        let mut first = First::default();
        records.iter().for_each(|record| first.record(record));
        assert!(first.views.len() < records.len(), "{} views", first.views.len());
        assert_eq!(difference(&records, &records), None);
        let last = records.iter().rposition(|record| record.view.is_some()).expect("a view");
        let mut changed = records.clone();
        changed[last].view = None;
        let named = difference(&records, &changed).expect("they differ");
        assert!(named.contains("NodeView") && named.ends_with("None"), "{named}");
    }
}
