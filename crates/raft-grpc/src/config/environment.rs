//! The variables `RAFT_*`: one for each key.

use super::key::Key;
use super::layer::{Layer, Source};
use super::suggest;
use crate::Failure;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What the variables of this program begin with.
pub const VARIABLE_PREFIX: &str = "RAFT_";

/// What is logged, as `--log`.
pub const LOG_VARIABLE: &str = "RAFT_LOG";

/// Variables of this program that are no keys of a node: the clients' addresses, and the log.
const OTHERS: [&str; 2] = ["RAFT_ENDPOINTS", LOG_VARIABLE];

/// The keys among `variables`. One that begins like ours and is unknown is refused: a slip in a name must not start a
/// node with a default.
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
        let text = value.into_string().map_err(|_| Failure::usage(format!("{name}: {key} is no UTF-8 text")))?;
        layer.give(*key, text, Source::Variable(name));
    }
    Ok(layer)
}
