//! Scenarios: small documented stories in TOML.
pub mod model;
