//! Scenarios: small documented runs in TOML, read and written.

pub mod changes;
mod check;
pub mod defaults;
mod document;
pub mod feature;
mod forms;
pub mod model;
pub mod names;
pub mod parse;
pub mod problem;
pub(crate) mod refusals;
pub(crate) mod steps;
mod suggest;
pub(crate) mod targets;
pub mod units;
pub mod write;
