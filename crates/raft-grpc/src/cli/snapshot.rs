//! `snapshot`: saves the state of a running cluster in a file, and checks such a file. A file has its name only when it is whole, durable
//! and checked.

use super::endpoints::{Endpoints, block_on};
use super::output::{self, Format};
use raft_client::Client;
use raft_grpc::Failure;
use raft_kv::KvMap;
use raft_node::{StateMachine, read_backup};
use raft_store::{BackupHeader, BackupReader};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Save everything that was acknowledged until now in FILE, while the cluster serves
    Save(Save),
    /// Check every byte of FILE and print what it holds: exit 0 if it can be restored, 4 if it is damaged, 3 if it has a newer format
    Verify(Verify),
}

#[derive(clap::Args)]
struct Save {
    /// The file to make
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    /// Save what one node has applied, which may be old: needs no leader
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    endpoints: Endpoints,
}

#[derive(clap::Args)]
struct Verify {
    /// A file of `snapshot save`
    file: PathBuf,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    match options.action {
        Action::Save(save) => run_save(&save),
        Action::Verify(Verify { file, format }) => {
            let backup = check(&file)?;
            output::print(&match format {
                Format::Text => backup.text(),
                Format::Json => backup.json(),
            })
        }
    }
}

fn run_save(save: &Save) -> Result<(), Failure> {
    let Save { file, force, stale, endpoints } = save;
    if !force && file.try_exists().map_err(|error| cannot("look at", file, &error))? {
        return Err(exists(file));
    }
    let mut client = Client::new(endpoints.options()?)?;
    let part = part_of(file);
    let saved = block_on(download(&mut client, *stale, &part))?.and_then(|()| check(&part)).and_then(|backup| {
        name(&part, file, *force)?;
        Ok(backup)
    });
    if saved.is_err() {
        // It may not exist. The failure is what matters.
        let _ = std::fs::remove_file(&part);
    }
    let Backup { header, bytes, keys, .. } = saved?;
    output::print(&format!("saved {} at {}: {keys} keys, {bytes} bytes\n", file.display(), header.meta.last))
}

/// The name of the file while it is not whole. Two commands at a time have two.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}

/// Writes the backup that a node sends, durably. Every second it says on stderr how far it is.
async fn download(client: &mut Client, stale: bool, part: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot("write", part, &error);
    let mut backup = client.backup(stale).await?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(part).map_err(failed)?;
    let (began, mut said, mut bytes) = (Instant::now(), Duration::ZERO, 0_u64);
    while let Some(data) = backup.next().await? {
        file.write_all(&data).map_err(failed)?;
        bytes += data.len() as u64;
        let elapsed = began.elapsed();
        if elapsed >= said + Duration::from_secs(1) {
            said = elapsed;
            eprintln!("{} MiB from {} in {} s", bytes >> 20, backup.url(), elapsed.as_secs());
        }
    }
    file.sync_all().map_err(failed)?;
    eprintln!("{bytes} bytes from {} in {} ms", backup.url(), began.elapsed().as_millis());
    Ok(())
}

/// Gives the file its name, durably.
fn name(part: &Path, file: &Path, force: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot("name", file, &error);
    let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    match renameat_with(CWD, part, CWD, file, flags).map_err(io::Error::from) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(file)),
        // Not all file systems have the flag.
        Err(_) if force || !file.try_exists().map_err(failed)? => std::fs::rename(part, file).map_err(failed)?,
        Err(_) => return Err(exists(file)),
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn exists(file: &Path) -> Failure {
    Failure::usage(format!("{} exists: choose another name, or replace it with --force", file.display()))
}

fn cannot(what: &str, file: &Path, error: &io::Error) -> Failure {
    Failure::runtime(format!("cannot {what} {}: {error}", file.display()))
}

/// Opens a saved file, and checks its header.
pub(super) fn open(file: &Path) -> Result<BackupReader<BufReader<File>>, Failure> {
    let input = File::open(file);
    let input = input.map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    BackupReader::open(BufReader::new(input)).map_err(|error| Failure::backup(&file.display().to_string(), &error))
}

/// What a sound file holds.
pub(super) struct Backup {
    pub(super) header: BackupHeader,
    sessions: usize,
    keys: usize,
    bytes: u64,
}

/// Reads and checks a whole file.
pub(super) fn check(file: &Path) -> Result<Backup, Failure> {
    let place = file.display().to_string();
    let mut reader = open(file)?;
    let data = reader.read_all().map_err(|error| Failure::backup(&place, &error))?;
    let (header, bytes) = (reader.header().clone(), reader.offset());
    let mut map = KvMap::new();
    let content = read_backup(&data, header.meta.last);
    let content = content.and_then(|content| map.restore(&content.machine).map(|()| content));
    let content = content.map_err(|error| Failure::content(&place, &error))?;
    Ok(Backup { header, sessions: content.sessions, keys: map.len(), bytes })
}

impl Backup {
    fn text(&self) -> String {
        let BackupHeader { cluster, time_ms, meta } = &self.header;
        let time = UNIX_EPOCH + Duration::from_millis(*time_ms);
        let rows = [
            ("cluster", cluster.to_string()),
            ("saved", humantime::format_rfc3339_millis(time).to_string()),
            ("last entry", meta.last.to_string()),
            ("members", meta.configuration.to_string()),
            ("sessions", self.sessions.to_string()),
            ("keys", self.keys.to_string()),
            ("bytes", self.bytes.to_string()),
            ("verdict", "sound".to_owned()),
        ];
        output::table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
    }

    fn json(&self) -> String {
        let BackupHeader { cluster, time_ms, meta } = &self.header;
        let ids: Vec<u64> = meta.configuration.members.keys().map(|id| id.0).collect();
        let voters: Vec<u64> = meta.configuration.voters.iter().map(|id| id.0).collect();
        let value = json!({
            "cluster": cluster.to_string(), "time_ms": time_ms, "index": meta.last.index.0, "term": meta.last.term.0,
            "members": ids, "voters": voters, "sessions": self.sessions, "keys": self.keys, "bytes": self.bytes,
        });
        format!("{value:#}\n")
    }
}
