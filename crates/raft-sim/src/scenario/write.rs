//! Writes a recorded run as a file that [`parse`](super::parse::parse) reads back to the same scenario.

use super::model::{Scenario, Trigger};
use super::parse::{Recorded, VERSION};
use super::steps::StepForm;
use serde::Serialize;
use serde::ser::Error;

/// A recorded run in the form of a file.
#[derive(Serialize)]
struct File<'a> {
    version: u64,
    #[serde(flatten)]
    scenario: &'a Scenario,
    recorded: &'a Recorded,
    at: Vec<&'a StepForm>,
    when: Vec<&'a StepForm>,
}

/// The text of a recorded run: every field of the scenario, its steps as they were read, and the recorded facts.
/// Without `--seeds` the file runs with the recorded seed.
///
/// # Errors
/// A step that was not read from a file.
pub fn write(scenario: &Scenario, recorded: &Recorded) -> Result<String, toml::ser::Error> {
    let forms = |is_timed: bool| -> Option<Vec<&StepForm>> {
        let steps = scenario.steps.iter().filter(|step| matches!(step.trigger, Trigger::At(_)) == is_timed);
        steps.map(|step| step.form.as_deref()).collect()
    };
    let (Some(at), Some(when)) = (forms(true), forms(false)) else {
        return Err(toml::ser::Error::custom("expected steps that were read from a file, found one that was not"));
    };
    toml::to_string(&File { version: VERSION, scenario, recorded, at, when })
}

/// The same text without the values that a reader assumes anyway.
///
/// # Errors
/// A step that was not read from a file.
pub fn write_short(scenario: &Scenario, recorded: &Recorded) -> Result<String, toml::ser::Error> {
    let text = write(scenario, recorded)?;
    let usual = write(&Scenario { steps: Vec::new(), ..Scenario::default() }, recorded)?;
    let parsed = |text: &str| text.parse::<toml::Table>().map_err(toml::ser::Error::custom);
    let (mut table, usual) = (parsed(&text)?, parsed(&usual)?);
    drop_usual(&mut table, &usual, &["version", "recorded", "seeds", "nodes"]);
    toml::to_string(&table)
}

/// Drops what is equal in both, except under these names.
fn drop_usual(table: &mut toml::Table, usual: &toml::Table, kept: &[&str]) {
    table.retain(|key, value| match (value, usual.get(key)) {
        _ if kept.contains(&key) => true,
        (toml::Value::Table(value), Some(toml::Value::Table(usual))) => {
            drop_usual(value, usual, &[]);
            !value.is_empty()
        }
        (toml::Value::Array(list), None) => !list.is_empty(),
        (value, usual) => usual != Some(value),
    });
}
