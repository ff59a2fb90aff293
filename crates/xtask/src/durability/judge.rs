//! No promise leaves a node before the sync that covers it has returned: every message that a node's traces show, against
//! its log at the moment when the sending of the message's last byte began. And nothing goes before what takes its place is
//! durable: a file is whole before it gets its name, a snapshot's file durable before a record names it, that record durable
//! before an older snapshot or a segment is removed.

use super::acts::{Act, KINDS, Violation};
use super::claims::{Claim, begins_messages, to_client, to_peer};
use super::files::Files;
use super::http2::Sent;
use super::trace::{Call, Link, What};
use super::wal::{Log, Place};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// A node, as its traces need to know it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    /// Its data folder, absolute.
    pub(crate) folder: String,
    /// Where clients reach it.
    pub(crate) client_port: u16,
    /// Where it reaches its peers, and who they are.
    pub(crate) peers: BTreeMap<u16, u64>,
}

/// What the node sends on a connection.
struct Connection {
    sent: Sent,
    /// Whether it is a stream of messages to a peer; none before its first message. Snapshots have connections of their own.
    has_messages: Option<bool>,
}

/// The judge of one node, over all its starts.
pub(crate) struct Judge {
    node: Node,
    traces: usize,
    pub(crate) log: Log,
    files: Files,
    connections: BTreeMap<Link, Connection>,
    /// By kind: how many acts were checked.
    pub(crate) checked: [u64; KINDS.len()],
    pub(crate) violations: Vec<Violation>,
}

impl Judge {
    pub(crate) fn new(node: Node) -> Self {
        let (log, files, connections) = (Log::default(), Files::default(), BTreeMap::new());
        Self { node, traces: 0, log, files, connections, checked: [0; KINDS.len()], violations: Vec::new() }
    }

    /// The calls of the node's next start, up to its end.
    ///
    /// # Errors
    /// They cannot be understood: nothing is proved.
    pub(crate) fn start(&mut self, calls: &[Call]) -> Result<()> {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            moments.push((call.begin, false, number));
            moments.extend(call.end.map(|line| (line, true, number)));
        }
        moments.sort_unstable();
        let mut writes = BTreeMap::new();
        for (line, is_end, number) in moments {
            let Some(call) = calls.get(number) else { continue };
            let done =
                if is_end { self.ends(number, call, &mut writes) } else { self.begins(number, call, &mut writes) };
            done.with_context(|| format!("node {}, line {line} of trace {}", self.node.id, self.traces + 1))?;
        }
        self.log.died();
        self.files.died();
        self.connections.clear();
        self.traces += 1;
        Ok(())
    }

    fn begins(&mut self, number: usize, call: &Call, writes: &mut BTreeMap<usize, Vec<usize>>) -> Result<()> {
        let place = Place { trace: self.traces, line: call.begin };
        match &call.what {
            What::Create { .. } => {}
            What::Write { path, offset, bytes } => {
                if let Some(file) = self.file(path) {
                    self.files.write_begins(&file, place.line);
                    if is_segment(&file) {
                        writes.insert(number, self.log_write_begins(&file, *offset, bytes, place)?);
                    }
                }
            }
            What::Sync { path } if *path == self.node.folder => {
                self.log.folder_sync_begins(number);
                self.files.folder_sync_begins(number);
            }
            What::Sync { path } => {
                if let Some(file) = self.file(path) {
                    self.log.sync_begins(number, &file, place);
                    self.files.sync_begins(number, &file);
                }
            }
            What::Rename { from, to } => {
                if let Some((from, to)) = self.file(from).zip(self.file(to)) {
                    self.leaves(&from, place)?;
                    let lacks = self.files.lacks_content(&from);
                    if call.end.is_none() && is_segment(&from) {
                        self.gone(&from);
                    }
                    self.check(Act::Rename { from, to }, lacks, place);
                }
            }
            What::Remove { path } => {
                if let Some(file) = self.file(path) {
                    self.leaves(&file, place)?;
                    // Who died while removing it may have removed it.
                    if call.end.is_none() {
                        self.gone(&file);
                    }
                }
            }
            What::Send { link, bytes } => {
                // Who died while sending may have sent it all.
                let sent = call.returned.map_or(bytes.len(), |sent| usize::try_from(sent).unwrap_or(0));
                self.sends(*link, bytes.get(..sent).unwrap_or(bytes), place)?;
            }
            What::Close { link } => {
                self.connections.remove(link);
            }
        }
        Ok(())
    }

    fn ends(&mut self, number: usize, call: &Call, writes: &mut BTreeMap<usize, Vec<usize>>) -> Result<()> {
        match &call.what {
            What::Create { path } if call.returned >= Some(0) => {
                if let Some(file) = self.file(path) {
                    self.files.created(&file);
                    if is_segment(&file) {
                        self.log.created(&file)?;
                    }
                }
            }
            What::Write { path, bytes, .. } => {
                if let Some(file) = self.file(path) {
                    self.files.write_ends(&file);
                }
                let records = writes.remove(&number).unwrap_or_default();
                match call.returned.and_then(|written| usize::try_from(written).ok()) {
                    Some(written) if written == bytes.len() => self.log.write_ends(&records),
                    Some(written) if !records.is_empty() => {
                        bail!("only {written} of {} bytes were written", bytes.len())
                    }
                    _ => {}
                }
            }
            What::Sync { .. } => {
                self.log.sync_ends(number, call.returned == Some(0));
                self.files.sync_ends(number, call.returned == Some(0));
            }
            What::Rename { from, to } if call.returned == Some(0) => {
                if let Some((from, to)) = self.file(from).zip(self.file(to)) {
                    self.files.renamed(&from, &to);
                    if is_segment(&from) {
                        self.log.removed(&from);
                    }
                    if is_segment(&to) {
                        self.log.created(&to)?;
                    }
                }
            }
            What::Remove { path } if call.returned == Some(0) => {
                if let Some(file) = self.file(path) {
                    self.gone(&file);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The name of a file in the node's folder.
    fn file(&self, path: &str) -> Option<String> {
        path.strip_prefix(&self.node.folder)?.strip_prefix('/').map(str::to_owned)
    }

    /// A write to a segment begins: its records.
    fn log_write_begins(&mut self, file: &str, offset: u64, bytes: &[u8], place: Place) -> Result<Vec<usize>> {
        let (records, snapshots) = self.log.write_begins(file, offset, bytes, place)?;
        for snapshot in snapshots {
            let snapshot = snapshot.file();
            let lacks = self.files.lacks(&snapshot);
            self.check(Act::Name { snapshot }, lacks, place);
        }
        Ok(records)
    }

    /// A file begins to lose its name.
    fn leaves(&mut self, file: &str, place: Place) -> Result<()> {
        let file = file.to_owned();
        if is_segment(&file) {
            let lacks = self.log.lacks_to_remove_segment(&file)?;
            self.check(Act::RemoveSegment { file }, lacks, place);
        } else if is_snapshot(&file) {
            let lacks = self.log.lacks_to_remove_snapshot(&file)?;
            self.check(Act::RemoveSnapshot { file }, lacks, place);
        }
        Ok(())
    }

    /// A file has lost its name.
    fn gone(&mut self, file: &str) {
        self.files.removed(file);
        if is_segment(file) {
            self.log.removed(file);
        }
    }

    fn sends(&mut self, link: Link, bytes: &[u8], place: Place) -> Result<()> {
        let peer = self.node.peers.get(&link.remote).copied();
        if peer.is_none() && link.local != self.node.client_port {
            return Ok(());
        }
        let new = || Connection {
            sent: if peer.is_some() { Sent::by_client() } else { Sent::by_server() },
            has_messages: None,
        };
        let connection = self.connections.entry(link).or_insert_with(new);
        for message in connection.sent.more(bytes)? {
            let claim = match peer {
                None => to_client(&message),
                Some(peer) => {
                    let has_messages = connection.has_messages.get_or_insert_with(|| begins_messages(&message));
                    if *has_messages { to_peer(self.node.id, peer, &message)? } else { None }
                }
            };
            if let Some(claim) = claim {
                let lacks = lacks(&mut self.log, claim)?;
                let violation = judged(self.node.id, place, Act::Promise(claim), lacks, &mut self.checked);
                self.violations.extend(violation);
            }
        }
        Ok(())
    }

    fn check(&mut self, act: Act, lacks: Option<String>, place: Place) {
        self.violations.extend(judged(self.node.id, place, act, lacks, &mut self.checked));
    }
}

/// What is missing for a promise to be true.
fn lacks(log: &mut Log, claim: Claim) -> Result<Option<String>> {
    Ok(match claim {
        Claim::Matched { index, term } => log.lacks_match(index, term)?,
        Claim::Granted { candidate, term } | Claim::OwnVote { candidate, term } => log.lacks_vote(term, candidate),
        Claim::Applied { index, term } => log.lacks_entry(index, term),
        Claim::Opened { index } | Claim::Answered { index } => log.lacks_prefix(index),
    })
}

/// Counts an act; the violation that it is if something was missing.
fn judged(
    node: u64,
    place: Place,
    act: Act,
    lacks: Option<String>,
    checked: &mut [u64; KINDS.len()],
) -> Option<Violation> {
    if let Some(kind) = checked.get_mut(act.kind()) {
        *kind += 1;
    }
    lacks.map(|lacks| Violation { node, place, act, lacks })
}

/// Whether this is the name of a segment. Other files hold no promises.
fn is_segment(file: &str) -> bool {
    file.strip_prefix("wal-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether this is the name of a finished snapshot, whatever the unfinished ones are called.
fn is_snapshot(file: &str) -> bool {
    file.strip_prefix("snapshot-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

#[cfg(test)]
mod tests;
