//! A check that failed, as reports list it.

use super::exit::Exit;
use serde::{Deserialize, Serialize};

/// The property that a run's code never panics.
pub(crate) const PANIC: &str = "no-panic";
/// The property that the runs of a scenario reach its marks.
pub(crate) const SOMETIMES: &str = "sometimes";
pub(crate) const MARGIN: &str = "margin";
pub(crate) const EXPECTATION: &str = "expectation";
pub(crate) const INCONCLUSIVE: &str = "inconclusive";
pub(crate) const DETERMINISM: &str = "determinism";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) scenario: String,
    /// `None` for an expectation about all seeds together.
    pub(crate) seed: Option<u64>,
    pub(crate) property: String,
    pub(crate) message: String,
    /// The numbers of the events that contradict each other.
    pub(crate) facts: Vec<u64>,
    /// The crash point and its outcome, for an enumerated scenario.
    #[serde(skip)]
    pub(crate) case: Option<(u64, u64)>,
    /// The file with the recorded run.
    pub(crate) file: Option<String>,
    /// A command that repeats the run.
    pub(crate) reproduce: Option<String>,
    /// The run's trace hash; `None` after a panic.
    #[serde(skip)]
    pub(crate) hash: Option<u128>,
}

impl Finding {
    pub(crate) fn new(scenario: &str, property: &str, message: &str) -> Self {
        let (scenario, property) = (scenario.to_owned(), property.to_owned());
        Self { scenario, property, message: message.to_owned(), ..Self::default() }
    }

    /// A failed check of one run.
    pub(crate) fn of_run(
        scenario: &str,
        seed: u64,
        (property, message, facts): (&str, &str, &[u64]),
        hash: u128,
    ) -> Self {
        let new = Self::new(scenario, property, message);
        Self { seed: Some(seed), facts: facts.to_vec(), hash: Some(hash), ..new }
    }

    /// How a command with this finding ends.
    pub(crate) fn exit(&self) -> Exit {
        match self.property.as_str() {
            // A panic of the code under test is reported as a violation, but ends the command as a panic.
            PANIC => Exit::Panic,
            SOMETIMES | MARGIN | EXPECTATION => Exit::Expectation,
            INCONCLUSIVE => Exit::Inconclusive,
            DETERMINISM => Exit::NotDeterministic,
            _ => Exit::Safety,
        }
    }
}
