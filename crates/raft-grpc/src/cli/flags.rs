//! The flags of a node's settings, from the table of keys. The configuration parses the values of these flags.

use clap::{Arg, ArgAction, ArgMatches, Command};
use raft_grpc::Failure;
use raft_grpc::config::{self, DEFAULT_FILE, Key, Layer, Loaded};
use std::path::{Path, PathBuf};

/// The flags of all keys, and the file.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The TOML file with the settings [default: ./config.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyFlags<true>,
}

/// The flags of all keys, or of those that do not identify or locate the node.
pub(crate) struct KeyFlags<const ALL: bool>(pub(crate) Layer);

impl Flags {
    pub(crate) fn load(self) -> Result<Loaded, Failure> {
        let file = match self.config {
            Some(file) => Some(file),
            None => default_file()?,
        };
        config::load(file.as_deref(), std::env::vars_os(), self.keys.0)
    }
}

fn is_place(key: Key) -> bool {
    matches!(key, Key::Id | Key::ListenPeer | Key::ListenClient | Key::ListenAdmin | Key::Peers)
}

impl<const ALL: bool> KeyFlags<ALL> {
    fn keys() -> impl Iterator<Item = Key> {
        Key::ALL.iter().copied().filter(|key| ALL || !is_place(*key))
    }
}

impl<const ALL: bool> clap::Args for KeyFlags<ALL> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::keys().map(|key| {
            let flag = Arg::new(key.name()).long(key.flag().trim_start_matches('-').to_owned());
            let flag = flag.value_name(key.shape()).help(key.help());
            match key {
                Key::Peers => flag.action(ArgAction::Append),
                _ if key.is_switch() => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
                _ => flag,
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const ALL: bool> clap::FromArgMatches for KeyFlags<ALL> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut layer = Layer::default();
        for key in Self::keys() {
            for text in matches.get_many::<String>(key.name()).into_iter().flatten() {
                layer.flag(key, text);
            }
        }
        Ok(Self(layer))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn default_file() -> Result<Option<PathBuf>, Failure> {
    let file = Path::new(DEFAULT_FILE);
    let there = file.try_exists();
    let there = there.map_err(|error| Failure::usage(format!("{DEFAULT_FILE}: cannot be read: {error}")))?;
    Ok(there.then(|| file.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn every_key_has_its_flag() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "").expect("written");
        let mut line = vec!["x".to_owned(), format!("--config={}", file.display())];
        // The defaults are valid values too.
        let defaults = config::load(Some(&sample(&folder)), [], Layer::default()).expect("the sample").rows;
        for row in defaults {
            let value = if row.key == Key::Peers { "2=http://b:1" } else { &row.value };
            line.push(format!("{}={value}", row.key.flag()));
        }
        let loaded = Line::try_parse_from(line).expect("every flag exists").flags.load().expect("valid");
        for row in loaded.rows {
            assert_eq!(row.source, config::Source::Flag(row.key.flag()), "{}", row.key);
        }
    }

    fn sample(folder: &tempfile::TempDir) -> PathBuf {
        let file = folder.path().join("sample.toml");
        std::fs::write(&file, config::SAMPLE).expect("written");
        file
    }

    #[test]
    fn a_switch_needs_no_value() {
        let value = |flag: &str| {
            let line = Line::try_parse_from(["x", "--config=/dev/null", "--id=1", flag]).expect("a flag");
            line.flags.load().map(|loaded| loaded.settings.lease_reads).map_err(|failure| failure.message)
        };
        assert_eq!(value("--lease-reads"), Ok(true));
        assert_eq!(value("--lease-reads=false"), Ok(false));
        assert_eq!(value("--lease-reads=on"), Err("--lease-reads: lease_reads = on: must be true or false".to_owned()));
    }

    #[test]
    fn every_flag_has_a_line_of_help() {
        for key in Key::ALL {
            assert!((10..120).contains(&key.help().len()), "{key}: {}", key.help());
        }
    }
}
