//! `config`: writes a commented configuration, or shows the values of all sources.

use super::flags::Flags;
use super::output::{self, Format};
use clap::Subcommand;
use raft_grpc::Failure;
use raft_grpc::config::{DEFAULT_FILE, Loaded, SAMPLE};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write a commented file with all defaults
    Init {
        /// The file to write; it must not exist
        #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
        file: PathBuf,
    },
    /// Print every value and its source; takes the flags of `node` and starts nothing
    Check {
        #[command(flatten)]
        flags: Box<Flags>,
        /// The output format; JSON is a list with the key, value and source of each
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    match options.action {
        Action::Init { file } => {
            init(&file)?;
            output::print(&format!("wrote {}: every key with its default\n", file.display()))
        }
        Action::Check { flags, format } => {
            let loaded = flags.load()?;
            for warning in &loaded.warnings {
                output::error(&format!("warning: {warning}"));
            }
            output::print(&show(&loaded, format))
        }
    }
}

fn init(file: &Path) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).open(file);
    let written = written.and_then(|mut file| file.write_all(SAMPLE.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::usage(format!("{}: exists and is not overwritten: name another file", file.display()))
        }
        _ => Failure::runtime(format!("{}: cannot be written: {error}", file.display())),
    })
}

fn show(loaded: &Loaded, format: Format) -> String {
    if format == Format::Json {
        let row = |row: &raft_grpc::config::Row| json!({ "key": row.key.name(), "value": row.value, "source": row.source.to_string() });
        return format!("{:#}\n", json!(loaded.rows.iter().map(row).collect::<Vec<_>>()));
    }
    let head = ["key", "value", "source"].map(str::to_owned).to_vec();
    let rows = loaded.rows.iter().map(|row| {
        let value = if row.value.is_empty() { "-" } else { &row.value };
        vec![row.key.to_string(), value.to_owned(), row.source.to_string()]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_grpc::config::{self, Key, Layer};

    #[test]
    fn what_init_writes_passes_the_check_and_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        init(&file).expect("written");
        let loaded = config::load(Some(&file), [], Layer::default()).expect("valid");
        assert_eq!(loaded.rows.len(), Key::ALL.len());
        std::fs::write(&file, "id = 9").expect("changed");
        let failure = init(&file).expect_err("there already");
        assert!(failure.message.contains("exists and is not overwritten"), "{failure}");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "id = 9");
        let nowhere = folder.path().join("no-such-folder/config.toml");
        assert!(init(&nowhere).expect_err("no folder").message.contains("cannot be written"));
    }

    #[test]
    fn each_key_is_printed_with_its_value_and_source() {
        let mut layer = Layer::default();
        layer.flag(Key::Id, "3");
        layer.flag(Key::Peers, "2=http://a:1");
        let variables = [("RAFT_CLUSTER".into(), "x".into())];
        let loaded = config::load(None, variables, layer).expect("valid");
        let text = show(&loaded, Format::Text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + Key::ALL.len());
        let expected = "\
key                     value                  source
id                      3                      --id
cluster                 x                      RAFT_CLUSTER
listen_peer             127.0.0.1:7070         default
listen_client           127.0.0.1:7071         default
listen_admin            127.0.0.1:7072         default
advertise_peer          http://127.0.0.1:7070  default
advertise_client        http://127.0.0.1:7071  default
advertise_admin         http://127.0.0.1:7072  default
data_dir                raft-data/node3        default
segment_bytes           16MiB                  default
snapshot_after_entries  0                      default";
        assert_eq!(lines[..12].join("\n"), expected);
        assert_eq!(lines.last(), Some(&"peers                   2=http://a:1           --peer"));
        let json: serde_json::Value = serde_json::from_str(&show(&loaded, Format::Json)).expect("JSON");
        assert_eq!(json[0], json!({ "key": "id", "value": "3", "source": "--id" }));
        assert_eq!(json.as_array().map(Vec::len), Some(Key::ALL.len()));
    }
}
