//! The TOML file: its keys and texts, with their line numbers.

use super::key::Key;
use super::layer::{Layer, Source};
use super::suggest;
use crate::Failure;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration is about a page long; a longer file is another file, or a device without an end.
const MAX_FILE_BYTES: u64 = 1 << 20;

pub(super) fn read(path: &Path) -> Result<Layer, Failure> {
    let name = path.display().to_string();
    let unreadable = |problem: String| {
        let advice = "name a TOML file, or write one with `raft-grpc config init`";
        Failure::usage(format!("{name}: cannot read the configuration: {problem}: {advice}"))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable("more than 1 MiB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("no UTF-8 text".to_owned()))?;
    parse(&name, &text)
}

/// Parses `text`, the content of the file `name`.
pub(super) fn parse(name: &str, text: &str) -> Result<Layer, Failure> {
    let document = Document { name, text };
    let table = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        document.failure(start, &format!("not TOML: {}", error.message().replace('\n', ", ")))
    })?;
    let mut layer = Layer::default();
    for (name, value) in table.get_ref() {
        let key = Key::ALL.iter().find(|key| key.name() == name.get_ref().as_ref());
        match (key, value.get_ref()) {
            (None, _) => return Err(document.unknown(name, value)),
            (Some(Key::Peers), DeValue::Table(peers)) => document.peers(peers, &mut layer)?,
            (Some(key), _) => layer.give(*key, document.scalar(key.name(), value)?, document.source(name.span().start)),
        }
    }
    Ok(layer)
}

struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

impl Document<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    fn source(&self, offset: usize) -> Source {
        Source::File { path: self.name.to_owned(), line: self.line(offset) }
    }

    fn failure(&self, offset: usize, problem: &str) -> Failure {
        Failure::usage(format!("{}: {problem}", self.source(offset)))
    }

    fn scalar(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Failure> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            other => {
                let problem = format!("{key} is of type {}: write a text or a decimal number", other.type_str());
                Err(self.failure(value.span().start, &problem))
            }
        }
    }

    /// The table of peers: its keys are ids.
    fn peers(&self, peers: &DeTable<'_>, layer: &mut Layer) -> Result<(), Failure> {
        layer.give(Key::Peers, "", Source::Empty);
        for (id, url) in peers {
            let (id, offset) = (id.get_ref().as_ref(), id.span().start);
            if id.parse::<u64>().is_err() {
                // A common mistake: a key of the node below the header `[peers]`.
                let advice = match Key::ALL.iter().find(|key| key.name() == id) {
                    Some(key) => format!("; `{key}` belongs above [peers]"),
                    None => String::new(),
                };
                let problem =
                    format!("unknown key `peers.{id}`: what is in [peers] is ID = \"http://HOST:PORT\"{advice}");
                return Err(self.failure(offset, &problem));
            }
            let url = self.scalar(&format!("peers.{id}"), url)?;
            if url.contains(',') {
                return Err(self.failure(offset, &format!("peers.{id} = {url}: must be one http://HOST:PORT")));
            }
            layer.give(Key::Peers, format!("{id}={url}"), self.source(offset));
        }
        Ok(())
    }

    /// Reports an unknown key; for an unknown table, the first key in it, if there is one.
    fn unknown(&self, name: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Failure {
        let known = Key::ALL.iter().map(|key| key.name());
        let inner = value.get_ref().as_table().and_then(|table| table.iter().next());
        let (path, word, offset) = match inner {
            Some((inner, _)) => {
                (format!("{}.{}", name.get_ref(), inner.get_ref()), inner.get_ref(), inner.span().start)
            }
            None => (name.get_ref().to_string(), name.get_ref(), name.span().start),
        };
        self.failure(offset, &format!("unknown key `{path}`{}", suggest::hint(word, known)))
    }
}
