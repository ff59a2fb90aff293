//! What a campaign covers: its abstract states, how many more there may be, and where each kind of fault struck.
//!
//! One observation is a state in a run, however many events of the run are in it: events of one run depend on each
//! other, runs do not. By Good and Turing, the share of states among the observations of a next run that no run has had
//! is about the number of states that exactly one run had, divided by all observations.

use super::scenario_report::Run;
use super::show;
use raft_sim::coverage::phases::Phase;
use raft_sim::coverage::run::RunCoverage;
use raft_sim::faults::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The states of a run in a report. Each state is in one run of a report: the first that had it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunStates {
    /// How many the run had.
    states: u64,
    /// How many no earlier run had had.
    new: u64,
    /// Those of the new ones that no later run had, in ascending order, 16 hexadecimal digits each.
    only_here: String,
    /// The other new ones.
    here_first: String,
}

/// The coverage of all runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    /// The states of all runs.
    states: u64,
    /// The states that exactly one run had.
    once: u64,
    /// The sum of all runs' states.
    observations: u64,
    unseen_mass: f64,
    /// How many states the first runs had: 1, 2, 5, 10, 20, ..
    curve: Vec<(u64, u64)>,
    /// For each kind of fault the number of runs in which it struck in each phase.
    phases: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The states of the runs so far, each with its first run, and whether another run had it too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    states: BTreeMap<u64, (u32, bool)>,
    once: u64,
    observations: u64,
    runs: u32,
}

impl Seen {
    /// Adds the next run, with its states.
    pub(crate) fn add(&mut self, states: impl IntoIterator<Item = u64>) {
        let run = self.begin();
        for state in states {
            self.observations += 1;
            self.meet(state, run, false);
        }
    }

    fn begin(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }

    fn meet(&mut self, state: u64, run: u32, elsewhere: bool) {
        let mut is_new = false;
        let (_, again) = self.states.entry(state).or_insert_with(|| {
            is_new = true;
            (run, elsewhere)
        });
        if is_new {
            self.once += u64::from(!elsewhere);
        } else if !*again {
            *again = true;
            self.once -= 1;
        }
    }

    /// Whether the unseen mass is below a limit, in parts per trillion. Fewer observations than the limit's reciprocal
    /// cannot tell.
    pub(crate) fn is_below(&self, limit: u64) -> bool {
        u128::from(self.once.max(1)) * 1_000_000_000_000 < u128::from(limit) * u128::from(self.observations)
    }
}

impl Coverage {
    /// Empty tables: each kind of fault, each phase.
    pub(crate) fn new() -> Self {
        let row = || Phase::ALL.iter().map(|phase| (phase.name().to_owned(), 0)).collect();
        Self { phases: Fault::ALL.iter().map(|fault| (fault.name().to_owned(), row())).collect(), ..Self::default() }
    }

    /// Counts where the faults of a run struck.
    pub(crate) fn count_faults(&mut self, run: &RunCoverage) {
        for (fault, phases) in &run.struck {
            for phase in Phase::ALL.iter().filter(|phase| phases.has(**phase)) {
                self.add_to(fault.name(), phase.name(), 1);
            }
        }
    }

    fn add_to(&mut self, fault: &str, phase: &str, runs: u64) {
        let sum = self.phases.entry(fault.to_owned()).or_default().entry(phase.to_owned()).or_default();
        *sum = sum.saturating_add(runs);
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (fault, phases) in &other.phases {
            phases.iter().for_each(|(phase, runs)| self.add_to(fault, phase, *runs));
        }
    }

    /// Computes the figures, and writes each state into its first run. The runs are all runs with coverage, in order.
    pub(crate) fn conclude(&mut self, seen: &Seen, runs: &mut [&mut Run]) {
        let mut texts = vec![(0_u64, String::new(), String::new()); runs.len()];
        for (state, (run, again)) in &seen.states {
            if let Some((new, only_here, here_first)) = texts.get_mut((*run as usize).wrapping_sub(1)) {
                *new += 1;
                (if *again { here_first } else { only_here }).push_str(&format!("{state:016x}"));
            }
        }
        let mut known = 0;
        self.curve.clear();
        for (place, (run, (new, only_here, here_first))) in (1..).zip(runs.iter_mut().zip(texts)) {
            known += new;
            if is_round(place) || place == u64::from(seen.runs) {
                self.curve.push((place, known));
            }
            if let Some(states) = &mut run.coverage {
                *states = RunStates { states: states.states, new, only_here, here_first };
            }
        }
        (self.states, self.once, self.observations) = (known, seen.once, seen.observations);
        self.unseen_mass = self.once as f64 / self.observations.max(1) as f64;
    }
}

impl RunStates {
    /// A run with this many states; [`Coverage::conclude`] adds which.
    pub(crate) fn of(states: usize) -> Self {
        Self { states: states as u64, ..Self::default() }
    }
}

/// The states of these runs, of one report or of several.
///
/// # Errors
/// A text that is not a list of states.
pub(crate) fn read<'a>(runs: impl IntoIterator<Item = &'a RunStates>) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for run in runs {
        let number = seen.begin();
        seen.observations = seen.observations.saturating_add(run.states);
        for (text, elsewhere) in [(&run.only_here, false), (&run.here_first, true)] {
            for digits in text.as_bytes().chunks(16) {
                let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16);
                let state = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                let state = state.ok_or("expected states of 16 hexadecimal digits each, found another text")?;
                seen.meet(state, number, elsewhere);
            }
        }
    }
    Ok(seen)
}

/// Whether a number of runs is a point of the curve: 1, 2, 5, 10, 20, 50, ..
fn is_round(mut number: u64) -> bool {
    while number >= 10 && number.is_multiple_of(10) {
        number /= 10;
    }
    matches!(number, 1 | 2 | 5)
}

/// The figures and the table, for people.
pub(crate) fn text(coverage: &Coverage) -> String {
    let grouped = |number: u64| show::grouped(number.into());
    let curve: Vec<String> =
        coverage.curve.iter().map(|(runs, states)| format!("{} {}", grouped(*runs), grouped(*states))).collect();
    let mut text = format!(
        "{} abstract states; unseen mass {:.1e} ({} in one run only, of {} observations)\nstates after runs: {}\n",
        grouped(coverage.states),
        coverage.unseen_mass,
        grouped(coverage.once),
        grouped(coverage.observations),
        curve.join(", "),
    );
    text.push_str(&format!("{:<26}", "runs in which it struck in"));
    Phase::ALL.iter().for_each(|phase| text.push_str(&format!("{:>13}", phase.name())));
    for fault in Fault::ALL {
        let row = coverage.phases.get(fault.name());
        text.push_str(&format!("\n{:<26}", fault.name()));
        for phase in Phase::ALL {
            let runs = row.and_then(|row| row.get(phase.name())).copied().filter(|runs| *runs > 0);
            text.push_str(&format!("{:>13}", runs.map_or_else(|| "-".to_owned(), grouped)));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(runs: &[&[u64]]) -> Seen {
        let mut seen = Seen::default();
        runs.iter().for_each(|states| seen.add(states.iter().copied()));
        seen
    }

    fn run(states: &[u64]) -> Run {
        Run { coverage: Some(RunStates::of(states.len())), ..Run::default() }
    }

    #[test]
    fn a_state_of_one_run_counts_as_unseen_mass_and_one_of_two_runs_does_not() {
        let (first, second) = ([1, 2, 3], [2, 3, 4, 5]);
        let (mut coverage, seen) = (Coverage::new(), seen(&[&first, &second]));
        let (mut one, mut two) = (run(&first), run(&second));
        coverage.conclude(&seen, &mut [&mut one, &mut two]);
        assert_eq!((coverage.states, coverage.once, coverage.observations), (5, 3, 7));
        assert_eq!(coverage.curve, [(1, 3), (2, 5)]);
        assert!((coverage.unseen_mass - 3.0 / 7.0).abs() < 1e-9);
        let two = two.coverage.expect("coverage");
        assert_eq!((two.states, two.new, two.only_here.len(), two.here_first.as_str()), (4, 2, 32, ""));
        let one = one.coverage.expect("coverage");
        assert_eq!((one.only_here.as_str(), one.here_first.len()), ("0000000000000001", 32));
    }

    #[test]
    fn the_mass_is_below_a_limit_only_after_enough_observations() {
        let percent = 10_000_000_000;
        let mut seen = seen(&[&[1, 2], &[1, 2]]);
        assert!(!seen.is_below(percent), "no state is new, but four observations are few");
        (0..48).for_each(|_| seen.add([1, 2]));
        assert!(!seen.is_below(percent), "1 of 100 is not below 1 %");
        seen.add([1]);
        assert!(seen.is_below(percent));
        seen.add([3, 4]);
        assert!(!seen.is_below(percent), "2 of 103");
    }

    #[test]
    fn the_states_of_two_reports_join_to_those_of_the_whole() {
        let runs: [&[u64]; 4] = [&[1, 2, 9], &[2, 3], &[1, 4, 5], &[5, 6, 7]];
        let part = |places: [usize; 2]| -> Vec<(usize, RunStates)> {
            let mut reported: Vec<Run> = places.iter().map(|place| run(runs[*place])).collect();
            let seen = seen(&places.map(|place| runs[place]));
            Coverage::new().conclude(&seen, &mut reported.iter_mut().collect::<Vec<_>>());
            places.into_iter().zip(reported.into_iter().filter_map(|run| run.coverage)).collect()
        };
        let mut parts = [part([1, 3]), part([0, 2])].concat();
        parts.sort_by_key(|(place, _)| *place);
        let (joined, whole) = (read(parts.iter().map(|(_, states)| states)).expect("states"), seen(&runs));
        assert_eq!((joined.states, joined.once, joined.observations), (whole.states, whole.once, whole.observations));
    }

    #[test]
    fn a_text_that_is_no_list_of_states_is_refused() {
        for text in ["0", "000000000000000g", "00000000000000001", "ä00000000000000000"] {
            let states = RunStates { only_here: text.to_owned(), ..RunStates::default() };
            assert!(read([&states]).is_err(), "{text}");
        }
    }
}
