//! The variables `RAFT_*`: one for each key.

use super::key::Key;
use super::layer::{Layer, Source};
use super::suggest;
use crate::Failure;
use std::collections::BTreeMap;
use std::ffi::OsString;

pub const VARIABLE_PREFIX: &str = "RAFT_";

pub const LOG_VARIABLE: &str = "RAFT_LOG";

/// Variables of this program that are not keys of a node.
const OTHERS: [&str; 2] = ["RAFT_ENDPOINTS", LOG_VARIABLE];

/// The keys among `variables`. An unknown variable with the prefix is an error, so that a typo does not start a node
/// with a default.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Layer, Failure> {
    let keys: BTreeMap<String, Key> = Key::ALL.iter().map(|key| (key.variable(), *key)).collect();
    let mut ours = BTreeMap::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(VARIABLE_PREFIX) && !OTHERS.contains(&name.as_str()) {
            ours.insert(name, value);
        }
    }
    let mut layer = Layer::default();
    for (name, value) in ours {
        let Some(key) = keys.get(&name) else {
            let known = keys.keys().map(String::as_str).chain(OTHERS);
            return Err(Failure::usage(format!("{name}: unknown variable{}", suggest::hint(&name, known))));
        };
        let text = value.into_string().map_err(|_| Failure::usage(format!("{name}: {key} is not UTF-8")))?;
        layer.give(*key, text, Source::Variable(name));
    }
    Ok(layer)
}
