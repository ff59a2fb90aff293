//! `wal`: reads a node's folder with the code that a start uses, and changes nothing. The store decides which damage is a torn tail, and
//! what is only in flight in the folder of a node that runs.

use super::output::{self, Format};
use bytes::Bytes;
use clap::Subcommand;
use raft_core::{Entry, EntryId, HardState, InstallMode, NodeId, Payload, SnapshotRecord};
use raft_grpc::Failure;
use raft_kv::command::{Command, TxnOp};
use raft_node::{Envelope, SessionCommand};
use raft_store::{DiskId, Files, Inspection, Record, StoreError, TornTail, inspect, inspect_running};
use serde_json::{Value, json};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print every record of the log, a line each
    Dump(Log),
    /// Check the whole folder and print a summary: exit 0 if a node can start from it, 4 if it is damaged
    Verify(Log),
}

#[derive(clap::Args)]
struct Log {
    /// The node's data folder; the node may be running
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The output format; JSON is one object (for a dump a line for each record)
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    match options.action {
        Action::Dump(Log { folder, format }) => dump(&folder, format, &mut BufWriter::new(io::stdout().lock())),
        Action::Verify(Log { folder, format }) => output::print(&verify(&folder, format)?),
    }
}

/// What is known of the end of a running node's log.
const RUNNING: &str = "node is running: the end of the log may be in flight";

/// Reads a folder; true if a node runs on it.
fn read(folder: &Path, visit: &mut dyn FnMut(&Record<'_>)) -> Result<(Inspection, bool), Failure> {
    let (found, runs) = match Files::open_to_read(folder) {
        Ok(mut files) => (inspect(&mut files, visit), false),
        Err(StoreError::InUse { .. }) => (inspect_running(|| Files::open_unlocked(folder), visit), true),
        Err(error) => (Err(error), false),
    };
    let inspection = found.map_err(|error| Failure::store(&folder.display().to_string(), &error))?;
    if inspection.owner.is_none() {
        let message = format!("{}: no node has started here: name a node's data folder", folder.display());
        return Err(Failure::runtime(message));
    }
    Ok((inspection, runs))
}

fn dump(folder: &Path, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let mut written = Ok(());
    let mut print = |text: &dyn Fn() -> String| {
        if written.is_ok() {
            written = writeln!(out, "{}", text());
        }
    };
    let found = read(folder, &mut |record| match format {
        Format::Text => print(&|| record_text(record)),
        Format::Json => print(&|| record_json(record).to_string()),
    });
    match (&found, format) {
        (Ok((_, true)), Format::Text) => print(&|| RUNNING.to_owned()),
        (Ok((_, true)), Format::Json) => print(&|| json!({ "running": true }).to_string()),
        (Ok((Inspection { torn_tail: Some(tail), .. }, _)), Format::Text) => print(&|| tail_text(tail)),
        (Ok((Inspection { torn_tail: Some(tail), .. }, _)), Format::Json) => {
            print(&|| json!({ "torn_tail": tail_json(tail) }).to_string());
        }
        _ => {}
    }
    written = written.and_then(|()| out.flush());
    // An error of the store comes before an error of the output.
    found?;
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write the records: {error}")))
        }
        _ => Ok(()),
    }
}

fn verify(folder: &Path, format: Format) -> Result<String, Failure> {
    let (found, runs) = read(folder, &mut |_| {})?;
    let (last, snapshot) = (found.last, found.snapshot.as_ref());
    let entries = (last.index.0 + 1).saturating_sub(found.first.0);
    // A log without entries begins after its snapshot.
    let newest = snapshot.map(|meta| meta.last).max(Some(last)).unwrap_or(last);
    if format == Format::Json {
        let owner = found.owner.map(|(identity, incarnation)| {
            json!({ "node": identity.node.0, "cluster": identity.cluster.to_string(), "incarnation": incarnation })
        });
        let summary = json!({
            "owner": owner, "disk": found.disk_id.map(|disk| disk.to_string()),
            "peers": found.known_peers.iter().map(peer_json).collect::<Vec<_>>(), "records": found.records, "entries": entries, "first": found.first.0,
            "last": entry_id_json(newest), "hard_state": hard_state_json(&found.hard_state),
            "snapshot": snapshot.map(|meta| entry_id_json(meta.last)),
            "torn_tail": found.torn_tail.as_ref().map(tail_json), "running": runs,
        });
        return Ok(format!("{summary:#}\n"));
    }
    let owner = found.owner.map(|(identity, incarnation)| format!("{identity}, incarnation {incarnation}"));
    let verdict = if runs { RUNNING } else { "clean" };
    let peers: Vec<String> = found.known_peers.iter().map(|(peer, disk)| format!("{} on {disk}", peer.0)).collect();
    let rows = [
        ("folder", owner.unwrap_or_default()),
        ("disk", found.disk_id.map_or_else(|| "no id yet".to_owned(), |disk| disk.to_string())),
        ("peers", if peers.is_empty() { "none met".to_owned() } else { peers.join(", ") }),
        ("records", found.records.to_string()),
        ("entries", entries.to_string()),
        ("last entry", newest.to_string()),
        ("snapshot", snapshot.map_or_else(|| "none".to_owned(), |meta| meta.last.to_string())),
        ("hard state", found.hard_state.to_string()),
        ("verdict", found.torn_tail.as_ref().map_or_else(|| verdict.to_owned(), tail_text)),
    ];
    Ok(output::table(&rows.map(|(name, value)| vec![name.to_owned(), value])))
}

fn peer_json((peer, disk): (NodeId, DiskId)) -> Value {
    json!({ "node": peer.0, "disk": disk.to_string() })
}

fn record_text(record: &Record<'_>) -> String {
    let Record { file, offset, number, bytes, write, .. } = record;
    let mut parts = vec![format!("{file} at {offset}: record {number}, {bytes} bytes")];
    parts.extend(write.hard_state.map(|state| state.to_string()));
    parts.extend(write.truncate_from.map(|from| format!("cut from {from}")));
    parts.extend(write.snapshot.as_ref().map(|SnapshotRecord { meta, log }| match log {
        InstallMode::Keep => meta.to_string(),
        InstallMode::Discard => format!("{meta}, log discarded"),
    }));
    parts.extend(write.entries.iter().map(entry_text));
    parts.join("; ")
}

fn entry_text(entry: &Entry) -> String {
    let command = match &entry.payload {
        Payload::Noop => return entry.to_string(),
        Payload::Configuration(members) => return format!("{} configuration {members}", entry.id),
        Payload::Command(command) => command,
    };
    let text =
        |bytes| Command::decode(bytes).map_or_else(|| "some command".to_owned(), |command| command_text(&command));
    let meaning = match Envelope::decode(command) {
        Some(Envelope::OpenSession) => "opens a session".to_owned(),
        Some(Envelope::Internal(inner)) => format!("by itself {}", text(&inner)),
        Some(Envelope::Command(SessionCommand { session, sequence, command, .. })) => {
            format!("session {} #{sequence} {}", session.0, text(&command))
        }
        None => "unknown command".to_owned(),
    };
    format!("{entry} {meaning}")
}

fn command_text(command: &Command) -> String {
    match command {
        Command::Put { key, value, ttl_ms: 0 } => format!("put {}={}", quoted(key), quoted(value)),
        Command::Put { key, value, ttl_ms } => format!("put {}={} for {ttl_ms}ms", quoted(key), quoted(value)),
        Command::Delete { key } => format!("delete {}", quoted(key)),
        Command::Cas { key, expected, value } => {
            let expected = expected.as_ref().map_or_else(|| "nothing".to_owned(), quoted);
            format!("cas {} {expected}->{}", quoted(key), quoted(value))
        }
        Command::Txn(txn) => {
            let ops = |ops: &[TxnOp]| ops.iter().map(op_text).collect::<Vec<_>>().join(", ");
            let (compares, success, failure) = (txn.compares.len(), ops(&txn.success), ops(&txn.failure));
            format!("txn of {compares} compares, then [{success}], else [{failure}]")
        }
        Command::Expire { keys } => {
            let keys = keys.iter().map(|(key, revision)| format!("{} of {revision}", quoted(key)));
            format!("expire {}", keys.collect::<Vec<_>>().join(", "))
        }
    }
}

fn op_text(op: &TxnOp) -> String {
    match op {
        TxnOp::Put { key, value, .. } => format!("put {}={}", quoted(key), quoted(value)),
        TxnOp::Delete { key } => format!("delete {}", quoted(key)),
        TxnOp::Get { key } => format!("get {}", quoted(key)),
    }
}

fn quoted(bytes: &Bytes) -> String {
    const SHOWN: usize = 64;
    match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => format!("\"{}\"..({} B)", start.escape_ascii(), bytes.len()),
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

fn tail_text(tail: &TornTail) -> String {
    let TornTail { file, offset, bytes } = tail;
    format!("torn tail in {file} at {offset}, {bytes} bytes: it was never acknowledged, the next start removes it")
}

fn tail_json(tail: &TornTail) -> Value {
    json!({ "file": tail.file, "offset": tail.offset, "bytes": tail.bytes })
}

fn hard_state_json(state: &HardState) -> Value {
    json!({ "term": state.term.0, "voted_for": state.voted_for.map(|node| node.0) })
}

fn entry_id_json(id: EntryId) -> Value {
    json!({ "index": id.index.0, "term": id.term.0 })
}

fn record_json(record: &Record<'_>) -> Value {
    let Record { file, segment, offset, number, bytes, write } = record;
    json!({
        "file": file, "segment": segment, "offset": offset, "record": number, "bytes": bytes,
        "hard_state": write.hard_state.as_ref().map(hard_state_json),
        "truncate_from": write.truncate_from.map(|from| from.0),
        "snapshot": write.snapshot.as_ref().map(|record| {
            json!({ "last": entry_id_json(record.meta.last), "discards_log": record.log == InstallMode::Discard })
        }),
        "entries": write.entries.iter().map(entry_json).collect::<Vec<_>>(),
    })
}

/// Keys and values are escaped as in Rust (`\xff`), so that any bytes are valid JSON and can be restored.
fn entry_json(entry: &Entry) -> Value {
    let inner = |bytes| Command::decode(bytes).as_ref().map(command_json);
    let (kind, content) = match &entry.payload {
        Payload::Noop => ("noop", Value::Null),
        Payload::Configuration(configuration) => ("configuration", json!(configuration.to_string())),
        Payload::Command(command) => match Envelope::decode(command) {
            Some(Envelope::OpenSession) => ("open_session", Value::Null),
            Some(Envelope::Internal(bytes)) => ("own_command", json!({ "command": inner(&bytes) })),
            Some(Envelope::Command(SessionCommand { session, sequence, command, .. })) => {
                ("command", json!({ "session": session.0, "sequence": sequence, "command": inner(&command) }))
            }
            None => ("unknown", Value::Null),
        },
    };
    let size = if let Payload::Command(command) = &entry.payload { command.len() } else { 0 };
    json!({ "index": entry.id.index.0, "term": entry.id.term.0, "kind": kind, "size": size, "content": content })
}

fn command_json(command: &Command) -> Value {
    let text = |bytes: &Bytes| bytes.escape_ascii().to_string();
    match command {
        Command::Put { key, value, ttl_ms: 0 } => json!({ "put": { "key": text(key), "value": text(value) } }),
        Command::Put { key, value, ttl_ms } => {
            json!({ "put": { "key": text(key), "value": text(value), "ttl_ms": ttl_ms } })
        }
        Command::Delete { key } => json!({ "delete": { "key": text(key) } }),
        Command::Txn(_) => json!({ "txn": command_text(command) }),
        Command::Expire { keys } => {
            let key = |(key, revision): &(Bytes, u64)| json!({ "key": text(key), "modified_revision": revision });
            json!({ "expire": keys.iter().map(key).collect::<Vec<_>>() })
        }
        Command::Cas { key, expected, value } => {
            json!({ "cas": { "key": text(key), "expected": expected.as_ref().map(text), "value": text(value) } })
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a folder is made to be looked at")]
mod tests;
