//! Scenarios: small documented stories in TOML.

pub mod changes;
pub mod defaults;
pub mod feature;
mod fields;
pub mod model;
pub mod names;
pub mod parse;
pub mod problem;
mod steps;
mod suggest;
mod targets;
pub mod units;
pub mod write;
