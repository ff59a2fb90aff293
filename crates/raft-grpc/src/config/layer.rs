//! One source of values: the unparsed texts that it gives for keys, with their positions.

use super::key::Key;
use crate::Failure;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    #[default]
    Default,
    /// A line of a file, from 1.
    File {
        path: String,
        line: usize,
    },
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
    Argument,
    Empty,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.pad(name),
            Self::Argument => f.pad("command line"),
            Self::Empty => f.pad("set to none"),
        }
    }
}

/// A text that a source gives for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: Source,
}

/// The values of one source. They are checked after the merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    values: BTreeMap<Key, Vec<Given>>,
}

impl Layer {
    /// Sets the text of `key`. For [`Key::Peers`] it is `ID=URL`, or several with commas, and is added to the list.
    pub fn give(&mut self, key: Key, text: impl Into<String>, source: Source) {
        let text = text.into();
        let list = self.values.entry(key).or_default();
        if key == Key::Peers {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            list.extend(parts.map(|part| Given { text: part.to_owned(), source: source.clone() }));
        } else {
            *list = vec![Given { text, source }];
        }
    }

    /// Sets the text of `key`, with the key's flag as its source.
    pub fn flag(&mut self, key: Key, text: impl Into<String>) {
        self.give(key, text, Source::Flag(key.flag()));
    }

    pub(super) fn get(&self, key: Key) -> Option<&[Given]> {
        self.values.get(&key).map(Vec::as_slice)
    }
}

pub(super) fn refuse(key: Key, given: &Given, problem: &str) -> Failure {
    Failure::usage(format!("{}: {key} = {}: {problem}", given.source, given.text))
}
