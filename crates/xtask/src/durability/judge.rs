//! No promise leaves a node before the sync that covers it has returned: every message that a node's traces show, against
//! its log at the moment when the sending of the message's last byte began.

use super::claims::{Claim, KINDS, to_client, to_peer};
use super::http2::Sent;
use super::trace::{Call, Link, What};
use super::wal::{Log, Place};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;

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

/// A promise that was no truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Whose.
    pub(crate) node: u64,
    /// Where it left.
    pub(crate) place: Place,
    pub(crate) claim: Claim,
    /// What was missing.
    pub(crate) lacks: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, place, claim, lacks } = self;
        let claim = match claim {
            Claim::Matched { index, term } => format!("the match of all entries up to {index} in term {term}"),
            Claim::Granted { candidate, term } => format!("the grant of the vote of term {term} to node {candidate}"),
            Claim::OwnVote { term, .. } => format!("the request for votes of term {term}"),
            Claim::Applied { index, term } => format!("the answer to a command, applied as entry {index}@{term},"),
            Claim::Opened { index } => format!("the answer that entry {index} has opened a session"),
            Claim::Answered { index } => format!("the answer to a query from what is applied up to {index}"),
        };
        write!(f, "node {node}: {claim} left in {place}, but {lacks}")
    }
}

/// The judge of one node, over all its starts.
pub(crate) struct Judge {
    node: Node,
    traces: usize,
    pub(crate) log: Log,
    connections: BTreeMap<Link, Sent>,
    /// By kind: how many claims were checked.
    pub(crate) checked: [u64; KINDS.len()],
    pub(crate) violations: Vec<Violation>,
}

impl Judge {
    pub(crate) fn new(node: Node) -> Self {
        let (log, connections) = (Log::default(), BTreeMap::new());
        Self { node, traces: 0, log, connections, checked: [0; KINDS.len()], violations: Vec::new() }
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
                    writes.insert(number, self.log.write_begins(file, *offset, bytes, place)?);
                }
            }
            What::Sync { path } if *path == self.node.folder => self.log.folder_sync_begins(number),
            What::Sync { path } => {
                if let Some(file) = self.file(path) {
                    self.log.sync_begins(number, file, place);
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
                    self.log.created(file)?;
                }
            }
            What::Write { bytes, .. } => {
                let records = writes.remove(&number).unwrap_or_default();
                match call.returned.and_then(|written| usize::try_from(written).ok()) {
                    Some(written) if written == bytes.len() => self.log.write_ends(&records),
                    Some(written) if !records.is_empty() => {
                        bail!("only {written} of {} bytes were written", bytes.len())
                    }
                    _ => {}
                }
            }
            What::Sync { .. } => self.log.sync_ends(number, call.returned == Some(0)),
            _ => {}
        }
        Ok(())
    }

    /// The name of a segment in the node's folder. Other files hold no promises.
    fn file<'p>(&self, path: &'p str) -> Option<&'p str> {
        let name = path.strip_prefix(&self.node.folder)?.strip_prefix('/')?;
        name.starts_with("wal-").then_some(name)
    }

    fn sends(&mut self, link: Link, bytes: &[u8], place: Place) -> Result<()> {
        let peer = self.node.peers.get(&link.remote).copied();
        if peer.is_none() && link.local != self.node.client_port {
            return Ok(());
        }
        let new = || if peer.is_some() { Sent::by_client() } else { Sent::by_server() };
        for message in self.connections.entry(link).or_insert_with(new).more(bytes)? {
            let claim = match peer {
                Some(peer) => to_peer(self.node.id, peer, &message)?,
                None => to_client(&message),
            };
            if let Some(claim) = claim {
                self.check(claim, place)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, claim: Claim, place: Place) -> Result<()> {
        let lacks = match claim {
            Claim::Matched { index, term } => self.log.lacks_match(index, term)?,
            Claim::Granted { candidate, term } | Claim::OwnVote { candidate, term } => {
                self.log.lacks_vote(term, candidate)
            }
            Claim::Applied { index, term } => self.log.lacks_entry(index, term),
            Claim::Opened { index } | Claim::Answered { index } => self.log.lacks_prefix(index),
        };
        if let Some(kind) = self.checked.get_mut(claim.kind()) {
            *kind += 1;
        }
        let node = self.node.id;
        self.violations.extend(lacks.map(|lacks| Violation { node, place, claim, lacks }));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
