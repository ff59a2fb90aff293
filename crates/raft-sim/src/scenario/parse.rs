//! Reads and checks a scenario file. It rejects an invalid file with all its problems.
//!
//! `docs/scenarios.md` documents the format; `model.rs` has its fields, `steps.rs` its steps.

use super::document::Document;
use super::forms::{form, set_nodes};
use super::model::Scenario;
use super::problem::{Problem, Problems};
use super::{check, steps};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

/// The version of the format this build reads.
pub const VERSION: u64 = 1;

/// The most nodes a scenario may have.
pub const MAX_NODES: u64 = 9;

/// The content of a file: a scenario and, if it is a recorded run, the run.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioFile {
    pub scenario: Scenario,
    /// The run that was recorded, if the file has `[recorded]`.
    pub recorded: Option<Recorded>,
}

/// A recorded run: the scenario with this seed repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Recorded {
    /// The name of its scenario, which may differ from the name of the file.
    #[serde(default)]
    pub scenario: String,
    pub seed: u64,
    /// The run's trace hash in the build that recorded it.
    #[serde(default, with = "form")]
    pub hash: Option<u128>,
    /// The property that did not hold.
    pub property: Option<String>,
    /// The build that recorded it; see [`crate::BUILD`].
    pub build: Option<String>,
}

/// Reads a scenario file's bytes.
///
/// # Errors
/// All problems of the file.
pub fn parse(file: &str, bytes: &[u8]) -> Result<ScenarioFile, Problems> {
    let refuse = |list| Problems { file: file.to_owned(), list };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        refuse(vec![Problem { line, field: String::new(), message: "the text is not UTF-8".to_owned() }])
    })?;
    let mut document = Document::parse(text).map_err(refuse)?;
    let parsed = file_of(&mut document, file);
    let problems = document.into_problems();
    match parsed {
        Some(parsed) if problems.is_empty() => Ok(parsed),
        _ => Err(refuse(problems)),
    }
}

fn file_of(document: &mut Document<'_>, file: &str) -> Option<ScenarioFile> {
    let mut table = document.table();
    document.require("version");
    let version: u64 = document.read(table.remove("version")?, &[])?;
    if version != VERSION {
        document.problem("version", format!("version {version} is not known; this build reads version {VERSION}"));
        return None;
    }
    let nodes = table.get("nodes").and_then(|value| u64::deserialize(ValueDeserializer::from(value.clone())).ok());
    set_nodes(nodes.filter(|nodes| (1..=MAX_NODES).contains(nodes)).unwrap_or(Scenario::default().nodes));
    let mut recorded: Option<Recorded> = table.remove("recorded").and_then(|value| document.read(value, &[]));
    for list in ["at", "when"] {
        table.remove(list);
    }
    let root = Spanned::new(0..0, DeValue::Table(table));
    let mut scenario: Scenario = document.read(root, &["version", "at", "when", "recorded"])?;
    scenario.path = file.to_owned();
    scenario.name = Path::new(file).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    if let Some(recorded) = &mut recorded {
        if recorded.scenario.is_empty() {
            recorded.scenario.clone_from(&scenario.name);
        }
        scenario.name.clone_from(&recorded.scenario);
    }
    for (id, state) in &mut scenario.initial {
        if !document.has(&format!("initial.{id}.term")) {
            state.term = state.log.last().copied().unwrap_or_default();
        }
    }
    scenario.steps = steps::read(document, &scenario);
    check::scenario(document, &scenario);
    Some(ScenarioFile { scenario, recorded })
}
