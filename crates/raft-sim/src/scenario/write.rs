//! Writes a recorded run as a file that [`parse`](super::parse::parse) reads back to the same scenario.

use super::model::{Scenario, Step, Trigger};
use super::parse::{Recorded, VERSION};
use super::steps::StepForm;
use serde::Serialize;

/// A recorded run as a file has it.
#[derive(Serialize)]
struct File<'a> {
    version: u64,
    #[serde(flatten)]
    scenario: &'a Scenario,
    recorded: &'a Recorded,
    at: Vec<StepForm>,
    when: Vec<StepForm>,
}

/// The text of a recorded run: the scenario, every field of it, and what was recorded. Run without `--seeds` it runs the
/// recorded seed.
///
/// # Errors
/// A step that no file can have: a power loss of a numbered outcome.
pub fn write(scenario: &Scenario, recorded: &Recorded) -> Result<String, toml::ser::Error> {
    let is_timed = |step: &&Step| matches!(step.trigger, Trigger::At(_));
    let (at, when): (Vec<&Step>, Vec<&Step>) = scenario.steps.iter().partition(is_timed);
    let forms = |steps: Vec<&Step>| steps.into_iter().map(StepForm::from).collect();
    toml::to_string(&File { version: VERSION, scenario, recorded, at: forms(at), when: forms(when) })
}
