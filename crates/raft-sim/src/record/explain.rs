//! A run as text, one line for each record, as `Display` of the core's types prints it. Equal runs give equal texts.

use crate::record::{CrashKind, Record, RecordKind, SimTime, Verdict};
use crate::scenario::model::{Limits, RaftSettings};
use raft_core::{EntryId, Write};
use raft_node::Reply;
use raft_node::{
    CallerRefusal, ForwardEnd, SnapshotChunk, SnapshotMessage, SnapshotProgress, SnapshotState, WriteOutcome,
};
use raft_store::PeerCheck;
use std::fmt;

/// Formats a record as one line: number, true time in seconds, node, event.
pub fn line(record: &Record) -> String {
    format!("{:>6}  {}  {:<3} {}", record.number, Seconds(record.at), who(record), Text(&record.kind))
}

/// True time in seconds, to the microsecond.
struct Seconds(SimTime);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.0 / 1_000;
        write!(f, "{:>4}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// The node's column: a node, a client, or the world.
fn who(record: &Record) -> String {
    match (&record.kind, record.node) {
        (
            RecordKind::Invoked { client, .. }
            | RecordKind::Queried { client, .. }
            | RecordKind::StaleQueried { client, .. }
            | RecordKind::Ended { client, .. },
            None,
        ) => {
            format!("c{client}")
        }
        (RecordKind::WatchSent { watcher, .. } | RecordKind::Watched { watcher, .. }, None) => format!("w{watcher}"),
        (RecordKind::Returned { operation }, None) => format!("c{}", operation.client),
        (_, Some(node)) => node.to_string(),
        (_, None) => "*".to_owned(),
    }
}

/// The text of a record of this kind.
pub(crate) fn text(kind: &RecordKind) -> String {
    Text(kind).to_string()
}

struct Text<'a>(&'a RecordKind);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RecordKind::Started { incarnation, hard_state, snapshot, entries, .. } => {
                let covered = snapshot.as_ref().map(|snapshot| snapshot.last);
                let last = entries.last_id().max(covered).unwrap_or(EntryId::ZERO);
                write!(f, "starts for the {} time with {hard_state}, ", ordinal(*incarnation))?;
                if let Some(covered) = covered {
                    write!(f, "the snapshot of {covered}, ")?;
                }
                write!(f, "log up to {last}")
            }
            RecordKind::RefusedToStart { error } => write!(f, "does not start: {error}"),
            RecordKind::Crashed { crash, lost } => {
                let how = match crash {
                    CrashKind::Kill => "is killed",
                    CrashKind::PowerLoss => "loses power",
                    CrashKind::DiskLoss => return write!(f, "loses its disk"),
                    CrashKind::DiskRollback => {
                        return write!(f, "has its disk rolled back, {lost} operations are undone");
                    }
                };
                write!(f, "{how}")?;
                if *lost > 0 { write!(f, ", {lost} bytes that were not synced are gone") } else { Ok(()) }
            }
            RecordKind::Received { from, rpc } => write!(f, "<- {from} {rpc}"),
            RecordKind::TimerFired => write!(f, "timer"),
            RecordKind::Requested { id, .. } => write!(f, "is asked {id}"),
            RecordKind::CampaignAsked => write!(f, "is asked to campaign"),
            RecordKind::Wrote { writes, .. } => {
                write!(f, "writes")?;
                writes.iter().try_for_each(|Write { id, .. }| write!(f, " {id}"))
            }
            RecordKind::Persisted { write, .. } => write!(f, "{write} is durable"),
            RecordKind::Sent { to, rpc, verdict } => write!(f, "-> {to} {rpc}{}", Fate(*verdict)),
            RecordKind::Asked { write } => write!(f, "persist {write}"),
            RecordKind::Applied { entries, .. } => write!(f, "apply {entries}"),
            RecordKind::Replied { id, reply } => write!(f, "answers {id}: {}", Answer(reply)),
            RecordKind::ConfigurationChanged { configuration, at, committed } => {
                write!(f, "configuration {configuration} of {at}{}", if *committed { " committed" } else { "" })
            }
            RecordKind::Stopped { reason } => write!(f, "stopped: {reason}"),
            RecordKind::Observed(event) => write!(f, "{event}"),
            RecordKind::Invoked { label, .. } | RecordKind::Queried { label, .. } | RecordKind::Ended { label, .. } => {
                write!(f, "{label}")
            }
            RecordKind::Returned { operation } => write!(f, "{operation}"),
            RecordKind::Fault { label } => write!(f, "{label}"),
            RecordKind::Garbage { from, bytes } => write!(f, "<- {from} {} bytes that cannot be decoded", bytes.len()),
            kind => of_snapshots(f, kind),
        }
    }
}

/// The records about snapshots, and about the log that they cover.
fn of_snapshots(f: &mut fmt::Formatter<'_>, kind: &RecordKind) -> fmt::Result {
    match kind {
        RecordKind::SnapshotWished => write!(f, "is asked to take a snapshot"),
        RecordKind::SnapshotTaken { meta } => write!(f, "takes a {meta}"),
        RecordKind::SnapshotGrown { last, end, .. } => write!(f, "has {end} bytes of the snapshot of {last}"),
        RecordKind::SnapshotNotWritten { last, outcome, .. } => {
            let why = match outcome {
                WriteOutcome::Done => "it is written".to_owned(),
                WriteOutcome::NoSpace => "the disk is full".to_owned(),
                WriteOutcome::Damaged => "it is not what was sent".to_owned(),
                WriteOutcome::Unusable(error) => error.to_string(),
            };
            write!(f, "has no file of the snapshot of {last}: {why}")
        }
        RecordKind::SnapshotSaved { meta, .. } => write!(f, "has the file of the snapshot of {}", meta.last),
        RecordKind::SnapshotReceived { meta, .. } => write!(f, "has all of the {meta}, its file is durable"),
        RecordKind::SnapshotRead { to, last, offset, bytes } => match bytes {
            Some(bytes) => write!(f, "has read {bytes} bytes at {offset} of the snapshot of {last} for {to}"),
            None => write!(f, "no longer has the snapshot of {last} for {to}"),
        },
        RecordKind::SnapshotSaid { to, message, verdict } => {
            write!(f, "-> {to} {}{}", OfTransfer(message), Fate(*verdict))
        }
        RecordKind::SnapshotHeard { from, message } => write!(f, "<- {from} {}", OfTransfer(message)),
        RecordKind::SnapshotDropped { last } => write!(f, "gives up what it has of the snapshot of {last}"),
        RecordKind::SnapshotRefused { from, meta, error } => {
            write!(f, "refuses the snapshot of {} of {from}: {error}", meta.last)
        }
        RecordKind::SnapshotChecked { last } => write!(f, "has the file of the snapshot of {last} checked"),
        RecordKind::SnapshotWanted { meta } => write!(f, "loads the snapshot of {}", meta.last),
        RecordKind::SnapshotLoaded { meta } => write!(f, "has loaded the snapshot of {}", meta.last),
        RecordKind::Restored { meta, .. } => write!(f, "is in the state after {}, Raft §7", meta.last),
        RecordKind::SnapshotRemoved { last } => write!(f, "deletes the file of the snapshot of {last}"),
        RecordKind::Compacted { before } => write!(f, "compacts its log before {before}, Raft §7"),
        RecordKind::ReadAsked { read, first, last, max_bytes } => {
            write!(f, "{read} read {first}..={last} up to {max_bytes} B")
        }
        RecordKind::LogRead { read, entries } if entries.is_empty() => write!(f, "{read} finds nothing any more"),
        RecordKind::LogRead { read, entries } => write!(f, "{read} finds {entries}"),
        kind => of_host(f, kind),
    }
}

/// The records about a node's disk and inbox.
fn of_host(f: &mut fmt::Formatter<'_>, kind: &RecordKind) -> fmt::Result {
    match kind {
        RecordKind::DiskFault { fault, place } if place.is_empty() => write!(f, "disk: {}", fault.name()),
        RecordKind::DiskFault { fault, place } => write!(f, "disk: {} in {place}", fault.name()),
        RecordKind::LimitsDrawn { priority, limits } => limits_drawn(f, *priority, limits),
        RecordKind::ReserveKept { bytes } => write!(f, "preallocates {bytes} bytes on its disk"),
        RecordKind::SpaceTold { is_low: true, .. } => write!(f, "is notified that its disk reserve is gone"),
        RecordKind::SpaceTold { is_low: false, .. } => write!(f, "is notified that its disk reserve is there"),
        RecordKind::SpaceAsked => write!(f, "asks for its disk to be tried for space"),
        RecordKind::MessageDropped { from } => write!(f, "drops a message of {from}: its inbox is full"),
        RecordKind::RequestRefused { id } => write!(f, "refuses request {}: its inbox is full", id.0),
        RecordKind::UnreachableTold { peer } => write!(f, "is notified that {peer} is unreachable"),
        RecordKind::PeerRegistered { peer, disk, found } => {
            write!(f, "has looked up the disk of {peer}, {disk}: ")?;
            match found {
                Some(PeerCheck::New) => write!(f, "new"),
                Some(PeerCheck::Known) => write!(f, "known"),
                Some(PeerCheck::Mismatch { known }) => write!(f, "mismatch, it was {known}"),
                Some(PeerCheck::Full) => write!(f, "too many are known"),
                None => write!(f, "no space to remember it"),
            }
        }
        kind => of_forwarding(f, kind),
    }
}

/// What happens to requests that a node forwards.
fn of_forwarding(f: &mut fmt::Formatter<'_>, kind: &RecordKind) -> fmt::Result {
    match kind {
        RecordKind::RequestForwarded { id, to, request, verdict } => {
            write!(f, "-> {to} forwards {id} as {}{}", request.id.number, Fate(*verdict))
        }
        RecordKind::ForwardedRequestReceived { from, request } => {
            write!(f, "<- {from} forwarded request {}", request.id.number)
        }
        RecordKind::ForwardedReplySent { to, reply, verdict } => {
            write!(f, "-> {to} reply to {}: {}{}", reply.id.number, Answer(&reply.reply), Fate(*verdict))
        }
        RecordKind::ForwardedReplyReceived { from, reply } => {
            write!(f, "<- {from} reply to {}: {}", reply.id.number, Answer(&reply.reply))
        }
        RecordKind::NotForwarded { id } => write!(f, "is notified that forwarded request {} was not sent", id.number),
        RecordKind::ForwardEnded { id, why } => {
            let why = match why {
                ForwardEnd::OverLimit => "it forwards as many as it may",
                ForwardEnd::NotSent => "it was not sent",
                ForwardEnd::TimedOut => "no reply came in time",
                ForwardEnd::LeaderLost => "another node leads, or none, or the connection broke",
            };
            write!(f, "forwards {id} no longer: {why}")
        }
        kind => of_backups(f, kind),
    }
}

fn of_backups(f: &mut fmt::Formatter<'_>, kind: &RecordKind) -> fmt::Result {
    match kind {
        RecordKind::BackupAsked { id, node } => write!(f, "ask {node}: backup {id}"),
        RecordKind::BackupCancelled { id } => write!(f, "is notified that backup {id} has ended"),
        RecordKind::NewCluster { saved, snapshot, .. } => {
            write!(f, "a new cluster begins with what was saved up to {saved}, and a log after {}", snapshot.last)
        }
        RecordKind::ForeignClusterRefused { from } => write!(f, "<- {from} is of another cluster"),
        RecordKind::CallerRefused { from, why } => {
            let why = match why {
                CallerRefusal::OtherCluster => "is of another cluster",
                CallerRefusal::OtherNode => "expects another node here",
                CallerRefusal::NotAPeer => "is no peer",
            };
            write!(f, "<- {from} {why}")
        }
        RecordKind::Forged { message, .. } => write!(f, "{message}  (forged)"),
        RecordKind::ClockJumped { by_ns } => {
            write!(f, "has a clock that jumps by {}", crate::scenario::units::show_jump(*by_ns))
        }
        RecordKind::BackupFinished { id, node, meta, state_hash } => {
            write!(f, "backup {id} of {node} at {} is complete", meta.last)?;
            state_hash.as_ref().map_or_else(|error| write!(f, " and cannot be read: {error}"), |_| Ok(()))
        }
        kind => of_watches(f, kind),
    }
}

fn of_watches(f: &mut fmt::Formatter<'_>, kind: &RecordKind) -> fmt::Result {
    match kind {
        RecordKind::ClusterLimitsDrawn { max_sessions, max_answers, window_events } => write!(
            f,
            "nodes keep {max_sessions} sessions with {max_answers} answers each, and remember {window_events} changes"
        ),
        RecordKind::StaleQueried { label, .. }
        | RecordKind::WatchSent { label, .. }
        | RecordKind::Watched { label, .. } => write!(f, "{label}"),
        RecordKind::WatchCancelled { id } => write!(f, "is notified that watch {id} has ended"),
        _ => Ok(()),
    }
}

struct OfTransfer<'a>(&'a SnapshotMessage);

impl fmt::Display for OfTransfer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SnapshotMessage::Chunk(SnapshotChunk { term, meta, size, bytes, .. }) if bytes.is_empty() => {
                write!(f, "term {term} how far is the {meta}, {size} bytes?")
            }
            SnapshotMessage::Chunk(SnapshotChunk { term, meta, size, offset, bytes, .. }) => {
                let end = offset.saturating_add(bytes.len() as u64);
                write!(f, "term {term} {meta}, bytes {offset}..{end} of {size}")
            }
            SnapshotMessage::Progress(SnapshotProgress { last, state, .. }) => match state {
                SnapshotState::Wants(offset) => write!(f, "has {offset} bytes of the snapshot of {last}"),
                SnapshotState::Delivered => write!(f, "needs no more of the snapshot of {last}"),
                SnapshotState::Damaged => write!(f, "was sent another snapshot of {last} than announced"),
                SnapshotState::Unwanted => write!(f, "cannot take the snapshot of {last}"),
            },
        }
    }
}

/// The limits that differ from the core's defaults.
fn limits_drawn(f: &mut fmt::Formatter<'_>, priority: u32, limits: &Limits) -> fmt::Result {
    write!(f, "has priority {priority}")?;
    let table = |limits: &Limits| toml::Table::try_from(limits).map_err(|_| fmt::Error);
    let defaults = table(&RaftSettings::default().limits())?;
    let drawn = table(limits)?;
    drawn
        .iter()
        .filter(|(name, value)| defaults.get(*name) != Some(value))
        .try_for_each(|(name, value)| write!(f, ", {name} {value}"))
}

struct Fate(Verdict);

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Verdict::Delivered { copies: 1 } => Ok(()),
            Verdict::Delivered { copies } => write!(f, "  ({copies} copies)"),
            Verdict::Lost => write!(f, "  (lost)"),
            Verdict::Cut => write!(f, "  (link is cut)"),
            Verdict::Dropped => write!(f, "  (dropped)"),
        }
    }
}

/// An answer, for people.
pub(crate) struct Answer<'a>(pub(crate) &'a Reply);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reply::SessionOpened { session } => write!(f, "session {} is open, Thesis §6.3", session.0),
            Reply::Applied { entry, .. } => write!(f, "applied as {entry}"),
            Reply::Answer { applied, .. } => write!(f, "read at {applied}, Thesis §6.4"),
            Reply::Watched { applied, .. } => write!(f, "watched at {applied}"),
            Reply::BackupBegun { meta } => write!(f, "a backup at {} has begun", meta.last),
            Reply::BackupChunk { bytes } => write!(f, "{} bytes of a backup", bytes.len()),
            Reply::NoBackup => write!(f, "there is no such backup"),
            Reply::OtherCluster => write!(f, "the watch began in another cluster"),
            Reply::ConfigurationDecided { entry, configuration } => {
                write!(f, "configuration {configuration} of {entry} is decided, Raft §6")
            }
            Reply::LeadershipTransferred { to } => write!(f, "handed over to {to}, Thesis §3.10"),
            Reply::TransferFailed { reason } => write!(f, "not handed over: {reason}"),
            Reply::SessionExpired => write!(f, "the session is unknown"),
            Reply::AlreadyAnswered => write!(f, "applied before, and its answer forgotten, Thesis §6.3"),
            Reply::Rejected { reason } => write!(f, "rejected: {reason}"),
            Reply::Lost => write!(f, "lost: another entry took its place"),
            Reply::Unknown => write!(f, "unknown: leadership was lost, Thesis §6.3"),
        }
    }
}

fn ordinal(number: u64) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Event, HardState, NodeId, RequestVote, Rpc, Term, VoteRefusal};

    fn record(node: Option<u64>, kind: RecordKind) -> String {
        line(&Record {
            number: 42,
            at: SimTime(1_234_567_890),
            cause: None,
            node: node.map(NodeId),
            call: 0,
            kind,
            view: None,
        })
    }

    #[test]
    fn lines_are_golden() {
        let rpc = Rpc::RequestVote(RequestVote { term: Term(3), last: EntryId::new(4, 2), transfer: false });
        let refused = Event::VoteRefused {
            candidate: NodeId(1),
            last: EntryId::new(4, 2),
            pre_vote: false,
            reason: VoteRefusal::LogBehind { last: EntryId::new(5, 3) },
        };
        let started = RecordKind::Started {
            incarnation: 2,
            hard_state: HardState { term: Term(3), voted_for: Some(NodeId(1)) },
            snapshot: None,
            entries: raft_core::Entries::new(),
            disk_mark: 0,
            disk_durable: 0,
        };
        let lines = [
            record(Some(2), RecordKind::Observed(refused)),
            record(Some(1), RecordKind::Sent { to: NodeId(2), rpc: rpc.clone(), verdict: Verdict::Cut }),
            record(Some(1), RecordKind::Sent { to: NodeId(2), rpc, verdict: Verdict::Delivered { copies: 1 } }),
            record(Some(1), RecordKind::Crashed { crash: CrashKind::PowerLoss, lost: 3 }),
            record(Some(1), started),
            record(None, RecordKind::Fault { label: "cut n1>n3".into() }),
            record(None, RecordKind::Invoked { client: 7, label: "put k3 = v17".into() }),
        ];
        let expected = [
            "    42     1.234567  n2  refuses n1 a vote: log 4@2 is behind 5@3, Raft §5.4.1",
            "    42     1.234567  n1  -> n2 request vote term 3 last 4@2  (link is cut)",
            "    42     1.234567  n1  -> n2 request vote term 3 last 4@2",
            "    42     1.234567  n1  loses power, 3 bytes that were not synced are gone",
            "    42     1.234567  n1  starts for the 2nd time with term 3 vote n1, log up to 0@0",
            "    42     1.234567  *   cut n1>n3",
            "    42     1.234567  c7  put k3 = v17",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn ordinals() {
        let words: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 111].into_iter().map(ordinal).collect();
        assert_eq!(words, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th"]);
    }
}
