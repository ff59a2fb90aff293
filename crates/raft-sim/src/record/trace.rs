//! A run as JSON lines, for programs. It contains every record, in order, with enough detail to check the run against
//! an independent model. `docs/trace.md` documents the schema; a change of it changes [`VERSION`].

use crate::record::{CrashKind, InFlight, NodeView, Record, RecordKind, Verdict};
use crate::scenario::model::Limits;
use crate::scenario::refusals::{of_rejection, of_transfer};
use raft_core::{
    AppendOutcome, Configuration, Entry, EntryId, InstallMode, NodeId, Payload, RejectReason, RoleKind, Rpc,
    SnapshotMeta, SnapshotRecord, StopReason, Vote, VoteRefusal, Write, nanos,
};
use raft_node::Reply;
use raft_node::{
    CallerRefusal, ForwardEnd, ForwardedReply, SnapshotChunk, SnapshotFile, SnapshotMessage, SnapshotProgress,
    SnapshotState, WriteOutcome,
};
use raft_store::PeerCheck;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;

pub const VERSION: u64 = 1;

#[derive(Serialize)]
struct Head<'a> {
    version: u64,
    kind: &'static str,
    scenario: &'a str,
    seed: u64,
    nodes: u64,
}

/// The line of a record; the most useful fields come first.
#[derive(Serialize)]
struct Line {
    version: u64,
    time_ns: u64,
    node: Option<u64>,
    kind: &'static str,
    number: u64,
    cause: Option<u64>,
    call: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
    #[serde(flatten)]
    after: Option<After>,
}

/// The state of the node after the record.
#[derive(Serialize)]
struct After {
    term: u64,
    vote: Option<u64>,
    role: String,
    leader: Option<u64>,
    commit: u64,
    first_index: u64,
    last_index: u64,
    last_term: u64,
    snapshot: Option<Value>,
    applied: u64,
    in_flight: Option<Value>,
    configuration: Option<Value>,
}

/// Writes the line that opens a run.
///
/// # Errors
/// An error of `out`.
pub fn write_head(out: &mut dyn io::Write, scenario: &str, seed: u64, nodes: u64) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Head { version: VERSION, kind: "run", scenario, seed, nodes })?;
    out.write_all(b"\n")
}

/// Writes a record as a line.
///
/// # Errors
/// An error of `out`.
pub fn write_record(out: &mut dyn io::Write, record: &Record) -> io::Result<()> {
    let (kind, message, detail) = parts(&record.kind);
    let line = Line {
        version: VERSION,
        time_ns: record.at.0,
        node: record.node.map(|node| node.0),
        kind,
        number: record.number,
        cause: record.cause,
        call: record.call,
        message,
        detail,
        after: record.view.as_deref().map(after),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn after(view: &NodeView) -> After {
    After {
        term: view.term.0,
        vote: view.voted_for.map(|node| node.0),
        role: view.role.to_string(),
        leader: view.leader.map(|node| node.0),
        commit: view.commit.0,
        first_index: view.first.0,
        last_index: view.last.index.0,
        last_term: view.last.term.0,
        snapshot: view.snapshot.map(entry_id),
        applied: view.applied.0,
        in_flight: (view.role == RoleKind::Leader).then(|| {
            let InFlight { messages, bytes, snapshots } = view.in_flight;
            json!({ "messages": messages, "bytes": bytes, "snapshots": snapshots })
        }),
        configuration: view.configuration.as_ref().map(configuration),
    }
}

/// A record's kind, its message, and all other fields.
fn parts(what: &RecordKind) -> (&'static str, Option<Value>, Value) {
    let plain = |kind, detail| (kind, None, detail);
    match what {
        RecordKind::Started { incarnation, hard_state, snapshot: found, entries: log, disk_mark, disk_durable } => {
            plain(
                "started",
                json!({
                    "incarnation": incarnation, "term": hard_state.term.0, "vote": vote_of(hard_state.voted_for),
                    "snapshot": found.as_ref().map(snapshot), "entries": entries(log), "disk_mark": disk_mark,
                    "disk_durable": disk_durable,
                }),
            )
        }
        RecordKind::RefusedToStart { error } => plain("refused_to_start", json!({ "error": error })),
        RecordKind::Crashed { crash, lost } => {
            let how = match crash {
                CrashKind::Kill => "kill",
                CrashKind::PowerLoss => "power_loss",
                CrashKind::DiskLoss => "disk_loss",
                CrashKind::DiskRollback => "disk_rollback",
            };
            plain("crashed", json!({ "crash": how, "lost": lost }))
        }
        RecordKind::Received { from, rpc } => ("received", Some(message(rpc)), json!({ "from": from.0 })),
        RecordKind::TimerFired => plain("timer_fired", Value::Null),
        RecordKind::Requested { id, .. } => plain("requested", json!({ "request": id.0 })),
        RecordKind::CampaignAsked => plain("campaign_asked", Value::Null),
        RecordKind::Wrote { writes, disk_mark } => {
            let writes: Vec<Value> = writes.iter().map(write).collect();
            plain("wrote", json!({ "writes": writes, "disk_mark": disk_mark }))
        }
        RecordKind::Persisted { write, disk_durable, .. } => {
            plain("persisted", json!({ "write": write.0, "disk_durable": disk_durable }))
        }
        RecordKind::Sent { to, rpc, verdict } => {
            let (fate, copies) = fate(*verdict);
            ("sent", Some(message(rpc)), json!({ "to": to.0, "verdict": fate, "copies": copies }))
        }
        RecordKind::Asked { write: asked } => plain("asked", write(asked)),
        RecordKind::Applied { entries: applied, state_hash } => {
            plain("applied", json!({ "entries": entries(applied), "state_hash": format!("{state_hash:032x}") }))
        }
        RecordKind::Replied { id, reply: answer } => {
            plain("replied", json!({ "request": id.0, "reply": reply(answer) }))
        }
        RecordKind::ConfigurationChanged { configuration: now, at, committed } => plain(
            "configuration_changed",
            json!({ "configuration": configuration(now), "at": entry_id(*at), "committed": committed }),
        ),
        RecordKind::Stopped { reason } => plain("stopped", stopped(*reason)),
        RecordKind::Observed(event) => plain("observed", json!({ "text": event.to_string() })),
        RecordKind::Invoked { client, label } => plain("invoked", json!({ "client": client, "operation": label })),
        RecordKind::Queried { client, label, query } => {
            plain("queried", json!({ "client": client, "operation": label, "query": hex(query) }))
        }
        RecordKind::Ended { client, label } => plain("ended", json!({ "client": client, "operation": label })),
        RecordKind::Returned { operation } => plain("returned", serde_json::to_value(operation).unwrap_or_default()),
        RecordKind::Fault { label } => plain("fault", json!({ "step": label })),
        RecordKind::Garbage { from, bytes } => plain("garbage", json!({ "from": from.0, "bytes": hex(bytes) })),
        what => {
            let (kind, detail) = of_snapshots(what);
            plain(kind, detail)
        }
    }
}

const fn snapshot_file(file: SnapshotFile) -> &'static str {
    match file {
        SnapshotFile::Own => "own",
        SnapshotFile::Received => "received",
    }
}

fn snapshot_outcome(outcome: &WriteOutcome) -> String {
    match outcome {
        WriteOutcome::Done => "done".to_owned(),
        WriteOutcome::NoSpace => "no_space".to_owned(),
        WriteOutcome::Damaged => "damaged".to_owned(),
        WriteOutcome::Unusable(error) => format!("unusable: {error}"),
    }
}

fn snapshot_message(message: &SnapshotMessage) -> Value {
    match message {
        SnapshotMessage::Chunk(SnapshotChunk { term, meta, size, checksum, offset, bytes }) => json!({
            "term": term.0, "snapshot": snapshot(meta), "size": size, "checksum": checksum, "offset": offset,
            "bytes": bytes.len(),
        }),
        SnapshotMessage::Progress(SnapshotProgress { term, last, checksum, state }) => {
            let (state, wants) = match state {
                SnapshotState::Wants(offset) => ("wants", Some(*offset)),
                SnapshotState::Delivered => ("delivered", None),
                SnapshotState::Damaged => ("damaged", None),
                SnapshotState::Unwanted => ("unwanted", None),
            };
            json!({ "term": term.0, "last": entry_id(*last), "checksum": checksum, "state": state, "wants": wants })
        }
    }
}

/// The same for records about snapshots, and about the log that they cover.
fn of_snapshots(what: &RecordKind) -> (&'static str, Value) {
    match what {
        RecordKind::SnapshotWished => ("snapshot_wished", Value::Null),
        RecordKind::SnapshotTaken { meta } => ("snapshot_taken", json!({ "snapshot": snapshot(meta) })),
        RecordKind::SnapshotGrown { file, last, end } => {
            ("snapshot_grown", json!({ "file": snapshot_file(*file), "last": entry_id(*last), "end": end }))
        }
        RecordKind::SnapshotNotWritten { file, last, outcome } => {
            let (file, outcome) = (snapshot_file(*file), snapshot_outcome(outcome));
            ("snapshot_not_written", json!({ "file": file, "last": entry_id(*last), "outcome": outcome }))
        }
        RecordKind::SnapshotSaved { meta, durable } => {
            ("snapshot_saved", json!({ "snapshot": snapshot(meta), "durable": durable }))
        }
        RecordKind::SnapshotReceived { meta, durable } => {
            ("snapshot_received", json!({ "snapshot": snapshot(meta), "durable": durable }))
        }
        RecordKind::SnapshotRead { to, last, offset, bytes } => {
            ("snapshot_read", json!({ "to": to.0, "last": entry_id(*last), "offset": offset, "bytes": bytes }))
        }
        RecordKind::SnapshotSaid { to, message, verdict } => {
            let (fate, copies) = fate(*verdict);
            let message = snapshot_message(message);
            ("snapshot_said", json!({ "to": to.0, "message": message, "verdict": fate, "copies": copies }))
        }
        RecordKind::SnapshotHeard { from, message } => {
            ("snapshot_heard", json!({ "from": from.0, "message": snapshot_message(message) }))
        }
        RecordKind::SnapshotDropped { last } => ("snapshot_dropped", json!({ "last": entry_id(*last) })),
        RecordKind::SnapshotRefused { from, meta, error } => {
            let detail = json!({ "from": from.0, "snapshot": snapshot(meta), "error": error.to_string() });
            ("snapshot_refused", detail)
        }
        RecordKind::SnapshotChecked { last } => ("snapshot_checked", json!({ "last": entry_id(*last) })),
        RecordKind::SnapshotWanted { meta } => ("snapshot_wanted", json!({ "snapshot": snapshot(meta) })),
        RecordKind::SnapshotLoaded { meta } => ("snapshot_loaded", json!({ "snapshot": snapshot(meta) })),
        RecordKind::Restored { meta, state_hash } => {
            ("restored", json!({ "snapshot": snapshot(meta), "state_hash": format!("{state_hash:032x}") }))
        }
        RecordKind::SnapshotRemoved { last } => ("snapshot_removed", json!({ "last": entry_id(*last) })),
        RecordKind::Compacted { before } => ("compacted", json!({ "before": before.0 })),
        RecordKind::ReadAsked { read, first, last, max_bytes } => {
            let detail = json!({ "read": read.0, "first": first.0, "last": last.0, "max_bytes": max_bytes });
            ("read_asked", detail)
        }
        RecordKind::LogRead { read, entries: found } => {
            ("log_read", json!({ "read": read.0, "entries": entries(found) }))
        }
        what => of_host(what),
    }
}

/// The same for records about a node's disk and inbox.
fn of_host(what: &RecordKind) -> (&'static str, Value) {
    match what {
        RecordKind::DiskFault { fault, place } => ("disk_fault", json!({ "fault": fault.name(), "place": place })),
        RecordKind::LimitsDrawn { priority, limits } => ("limits_drawn", limits_drawn(*priority, limits)),
        RecordKind::ReserveKept { bytes } => ("reserve_kept", json!({ "bytes": bytes })),
        RecordKind::SpaceTold { is_low, .. } => ("space_told", json!({ "is_low": is_low })),
        RecordKind::MessageDropped { from } => ("message_dropped", json!({ "from": from.0 })),
        RecordKind::RequestRefused { id } => ("request_refused", json!({ "id": id.0 })),
        RecordKind::UnreachableTold { peer } => ("unreachable_told", json!({ "peer": peer.0 })),
        RecordKind::PeerRegistered { peer, disk, found } => {
            let found = found.map(|found| match found {
                PeerCheck::New => "new",
                PeerCheck::Known => "known",
                PeerCheck::Mismatch { .. } => "mismatch",
                PeerCheck::Full => "full",
            });
            ("peer_registered", json!({ "peer": peer.0, "disk": disk.to_string(), "found": found }))
        }
        RecordKind::SpaceAsked => ("space_asked", Value::Null),
        what => of_forwarding(what),
    }
}

/// The same for requests that a node forwards.
fn of_forwarding(what: &RecordKind) -> (&'static str, Value) {
    match what {
        RecordKind::RequestForwarded { id, to, request, verdict } => {
            let forwarded = request.id.number;
            let detail = json!({ "request": id.0, "to": to.0, "forwarded": forwarded, "verdict": fate(*verdict).0 });
            ("request_forwarded", detail)
        }
        RecordKind::ForwardedRequestReceived { from, request } => {
            ("forwarded_request_received", json!({ "from": from.0, "forwarded": request.id.number }))
        }
        RecordKind::ForwardedReplySent { to, reply: ForwardedReply { id, reply: answer }, verdict } => {
            let (answer, verdict) = (reply(answer), fate(*verdict).0);
            let detail = json!({ "to": to.0, "forwarded": id.number, "reply": answer, "verdict": verdict });
            ("forwarded_reply_sent", detail)
        }
        RecordKind::ForwardedReplyReceived { from, reply: ForwardedReply { id, reply: answer } } => {
            let detail = json!({ "from": from.0, "forwarded": id.number, "reply": reply(answer) });
            ("forwarded_reply_received", detail)
        }
        RecordKind::NotForwarded { id } => ("not_forwarded", json!({ "forwarded": id.number })),
        RecordKind::ForwardEnded { id, why } => {
            let why = match why {
                ForwardEnd::OverLimit => "over_limit",
                ForwardEnd::NotSent => "not_sent",
                ForwardEnd::TimedOut => "timed_out",
                ForwardEnd::LeaderLost => "leader_lost",
            };
            ("forward_ended", json!({ "request": id.0, "why": why }))
        }
        kind => of_backups(kind),
    }
}

fn of_backups(kind: &RecordKind) -> (&'static str, Value) {
    match kind {
        RecordKind::BackupAsked { id, node } => ("backup_asked", json!({ "backup": id.0, "from": node.0 })),
        RecordKind::BackupCancelled { id } => ("backup_cancelled", json!({ "backup": id.0 })),
        RecordKind::NewCluster { saved, recovered, snapshot: begins, state_hash, saved_hash } => {
            let recovered = recovered
                .as_ref()
                .map(|log| json!({ "snapshot_last": entry_id(log.covered), "entries": entries(&log.entries) }));
            let detail = json!({
                "saved": entry_id(*saved), "recovered": recovered, "snapshot": snapshot(begins),
                "state_hash": format!("{state_hash:032x}"), "saved_hash": format!("{saved_hash:032x}"),
            });
            ("new_cluster", detail)
        }
        RecordKind::ForeignClusterRefused { from } => ("foreign_cluster_refused", json!({ "from": from.0 })),
        RecordKind::ClockJumped { by_ns } => ("clock_jumped", json!({ "by_ns": by_ns })),
        RecordKind::CallerRefused { from, why } => {
            let why = match why {
                CallerRefusal::OtherCluster => "other_cluster",
                CallerRefusal::OtherNode => "other_node",
                CallerRefusal::NotAPeer => "not_a_peer",
            };
            ("caller_refused", json!({ "from": from.0, "why": why }))
        }
        RecordKind::Forged { from, message } => ("forged", json!({ "from": from.0, "text": message })),
        RecordKind::BackupFinished { id, node, meta, state_hash } => {
            let state_hash = state_hash.as_ref().map(|hash| format!("{hash:032x}"));
            let (state_hash, error) = (state_hash.as_ref().ok(), state_hash.as_ref().err());
            let (from, saved) = (node.0, snapshot(meta));
            let detail =
                json!({ "backup": id.0, "from": from, "snapshot": saved, "state_hash": state_hash, "error": error });
            ("backup_finished", detail)
        }
        kind => of_watches(kind),
    }
}

fn of_watches(kind: &RecordKind) -> (&'static str, Value) {
    match kind {
        RecordKind::ClusterLimitsDrawn { max_sessions, max_answers, window_events } => {
            let detail =
                json!({ "max_sessions": max_sessions, "max_answers": max_answers, "window_events": window_events });
            ("cluster_limits_drawn", detail)
        }
        RecordKind::StaleQueried { client, label, query } => {
            ("stale_queried", json!({ "client": client, "operation": label, "query": hex(query) }))
        }
        RecordKind::WatchSent { watcher, id, label, query } => {
            let detail = json!({ "watcher": watcher, "request": id.0, "watch": label, "query": hex(query) });
            ("watch_sent", detail)
        }
        RecordKind::Watched { watcher, label } => ("watched", json!({ "watcher": watcher, "changes": label })),
        RecordKind::WatchCancelled { id } => ("watch_cancelled", json!({ "request": id.0 })),
        _ => ("", Value::Null),
    }
}

fn limits_drawn(priority: u32, limits: &Limits) -> Value {
    json!({
        "priority": priority,
        "max_write_stall_ns": nanos(limits.max_write_stall),
        "max_inflight_bytes": limits.max_inflight_bytes,
        "max_uncommitted_bytes": limits.max_uncommitted_bytes,
        "max_unpersisted_bytes": limits.max_unpersisted_bytes,
        "max_apply_bytes": limits.max_apply_bytes,
        "max_retained_bytes": limits.max_retained_bytes,
        "max_pending_reads": limits.max_pending_reads,
    })
}

fn fate(verdict: Verdict) -> (&'static str, u32) {
    match verdict {
        Verdict::Delivered { copies } => ("delivered", copies),
        Verdict::Lost => ("lost", 0),
        Verdict::Cut => ("cut", 0),
        Verdict::Dropped => ("dropped", 0),
    }
}

fn message(rpc: &Rpc) -> Value {
    let (kind, term) = (rpc.kind(), rpc.term().0);
    match rpc {
        Rpc::PreVote(rpc) => {
            json!({ "kind": kind, "term": term, "round": rpc.round.0, "last": entry_id(rpc.last) })
        }
        Rpc::PreVoteResponse(rpc) => {
            json!({ "kind": kind, "term": term, "round": rpc.round.0, "vote": vote(rpc.vote) })
        }
        Rpc::RequestVote(rpc) => {
            json!({ "kind": kind, "term": term, "last": entry_id(rpc.last), "transfer": rpc.transfer })
        }
        Rpc::TimeoutNow(rpc) => json!({ "kind": kind, "term": term, "last": entry_id(rpc.last) }),
        Rpc::RequestVoteResponse(rpc) => json!({ "kind": kind, "term": term, "vote": vote(rpc.vote) }),
        Rpc::AppendEntries(rpc) => json!({
            "kind": kind, "term": term, "seq": rpc.seq.0, "prev": entry_id(rpc.prev),
            "leader_commit": rpc.leader_commit.0, "entries": entries(&rpc.entries),
        }),
        Rpc::AppendEntriesResponse(rpc) => {
            let mut answer = json!({ "kind": kind, "term": term, "seq": rpc.seq.0, "outcome": outcome(rpc.outcome) });
            if rpc.no_space {
                answer["no_space"] = true.into();
            }
            answer
        }
    }
}

fn stopped(reason: StopReason) -> Value {
    match reason {
        StopReason::CommittedConflict { ours, theirs } => {
            json!({ "ours": entry_id(ours), "theirs": entry_id(theirs) })
        }
        StopReason::EntriesMissing { first } => json!({ "missing_from": first.0 }),
        StopReason::Removed { at } => json!({ "removed_at": entry_id(at) }),
    }
}

fn vote(vote: Vote) -> Value {
    match vote {
        Vote::Granted => json!({ "granted": true }),
        Vote::Refused(VoteRefusal::StaleTerm) => json!({ "granted": false, "reason": "stale_term" }),
        Vote::Refused(VoteRefusal::LeaderAlive) => json!({ "granted": false, "reason": "leader_alive" }),
        Vote::Refused(VoteRefusal::AlreadyVoted { candidate }) => {
            json!({ "granted": false, "reason": "already_voted", "candidate": candidate.0 })
        }
        Vote::Refused(VoteRefusal::LogBehind { last }) => {
            json!({ "granted": false, "reason": "log_behind", "last": entry_id(last) })
        }
        Vote::Refused(VoteRefusal::NotAMember { since, current }) => {
            json!({ "granted": false, "reason": "not_a_member", "since": entry_id(since), "current": current })
        }
    }
}

fn outcome(outcome: AppendOutcome) -> Value {
    match outcome {
        AppendOutcome::Matched { index } => json!({ "kind": "matched", "index": index.0 }),
        AppendOutcome::StaleTerm => json!({ "kind": "stale_term" }),
        AppendOutcome::AnotherLeader => json!({ "kind": "another_leader" }),
        AppendOutcome::Mismatch { prev, hint } => {
            json!({ "kind": "mismatch", "prev": entry_id(prev), "hint": entry_id(hint) })
        }
    }
}

fn write(write: &Write) -> Value {
    json!({
        "write": write.id.0,
        "hard_state": write.hard_state.map(|state| json!({ "term": state.term.0, "vote": vote_of(state.voted_for) })),
        "truncate_from": write.truncate_from.map(|index| index.0),
        "snapshot": write.snapshot.as_ref().map(|SnapshotRecord { meta, log }| {
            json!({ "meta": snapshot(meta), "discards_log": *log == InstallMode::Discard })
        }),
        "entries": entries(&write.entries),
    })
}

fn snapshot(meta: &SnapshotMeta) -> Value {
    json!({
        "last": entry_id(meta.last), "configuration": configuration(&meta.configuration),
        "configured_at": entry_id(meta.configured_at),
    })
}

fn reply(reply: &Reply) -> Value {
    match reply {
        Reply::SessionOpened { session } => json!({ "kind": "session_opened", "session": session.0 }),
        Reply::Applied { entry, response } => {
            json!({ "kind": "applied", "entry": entry_id(*entry), "response": hex(response) })
        }
        Reply::Answer { applied, response } => {
            json!({ "kind": "answer", "applied": applied.0, "response": hex(response) })
        }
        Reply::Watched { applied, response, .. } => {
            json!({ "kind": "watched", "applied": applied.0, "response": hex(response) })
        }
        Reply::BackupBegun { meta } => json!({ "kind": "backup_begun", "snapshot": snapshot(meta) }),
        Reply::BackupChunk { bytes } => json!({ "kind": "backup_chunk", "bytes": bytes.len() }),
        Reply::NoBackup => json!({ "kind": "no_backup" }),
        Reply::OtherCluster => json!({ "kind": "other_cluster" }),
        Reply::SessionExpired => json!({ "kind": "session_expired" }),
        Reply::AlreadyAnswered => json!({ "kind": "already_answered" }),
        Reply::ConfigurationDecided { entry, configuration: decided } => {
            json!({
                "kind": "configuration_decided", "entry": entry_id(*entry), "configuration": configuration(decided),
            })
        }
        Reply::LeadershipTransferred { to } => json!({ "kind": "handed_over", "to": to.0 }),
        Reply::TransferFailed { reason } => {
            json!({ "kind": "not_handed_over", "reason": of_transfer(*reason).first() })
        }
        Reply::Rejected { reason } => rejected(reason),
        Reply::Lost => json!({ "kind": "lost" }),
        Reply::Unknown => json!({ "kind": "unknown" }),
    }
}

fn rejected(reason: &RejectReason) -> Value {
    let name = of_rejection(reason).first();
    let mut value = json!({ "kind": "rejected", "reason": name });
    match reason {
        RejectReason::NotLeader { leader } => value["leader"] = vote_of(*leader).into(),
        RejectReason::ConfigurationMismatch { at } => value["at"] = entry_id(*at),
        RejectReason::NotCaughtUp { id } => value["node"] = id.0.into(),
        RejectReason::InvalidChange(problem) => value["problem"] = problem.to_string().into(),
        RejectReason::UnfitTarget { id, why } => {
            (value["node"], value["problem"]) = (id.0.into(), why.to_string().into());
        }
        RejectReason::NoQuorumToCome { silent } => value["silent"] = silent.iter().map(|id| id.0).collect(),
        RejectReason::Busy
        | RejectReason::Transferring
        | RejectReason::Leaving
        | RejectReason::NoTarget
        | RejectReason::NotReady
        | RejectReason::Stopped
        | RejectReason::NoSpace => {}
    }
    value
}

fn vote_of(node: Option<NodeId>) -> Option<u64> {
    node.map(|node| node.0)
}

fn entry_id(id: EntryId) -> Value {
    json!({ "index": id.index.0, "term": id.term.0 })
}

fn entries(entries: &[Entry]) -> Vec<Value> {
    entries.iter().map(entry).collect()
}

fn entry(entry: &Entry) -> Value {
    let (index, term) = (entry.id.index.0, entry.id.term.0);
    match &entry.payload {
        Payload::Noop => json!({ "index": index, "term": term, "kind": "noop" }),
        Payload::Command(command) => {
            json!({ "index": index, "term": term, "kind": "command", "command": hex(command) })
        }
        Payload::Configuration(now) => {
            json!({ "index": index, "term": term, "kind": "configuration", "configuration": configuration(now) })
        }
    }
}

fn configuration(configuration: &Configuration) -> Value {
    let ids = |ids: &mut dyn Iterator<Item = &NodeId>| ids.map(|id| id.0).collect::<Vec<u64>>();
    json!({
        "voters": ids(&mut configuration.voters.iter()),
        "outgoing": ids(&mut configuration.outgoing.iter()),
        "leaving": ids(&mut configuration.leaving.iter()),
        "members": ids(&mut configuration.members.keys()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SimTime;
    use raft_core::{AppendEntries, LogIndex, Seq, Term};

    #[test]
    fn a_line_is_as_documented() {
        let noop = Entry { id: EntryId::new(2, 3), payload: Payload::Noop };
        let command =
            Entry { id: EntryId::new(3, 3), payload: Payload::Command(bytes::Bytes::from_static(b"\x01\xff")) };
        let rpc = Rpc::AppendEntries(AppendEntries {
            term: Term(3),
            seq: Seq(9),
            prev: EntryId::new(1, 1),
            leader_commit: LogIndex(1),
            entries: vec![noop, command].into(),
        });
        let view = NodeView {
            term: Term(3),
            voted_for: Some(NodeId(1)),
            role: RoleKind::Leader,
            leader: Some(NodeId(1)),
            commit: LogIndex(1),
            first: LogIndex(1),
            last: EntryId::new(3, 3),
            snapshot: None,
            applied: LogIndex(1),
            in_flight: InFlight { messages: 1, bytes: 120, snapshots: 0 },
            quotas: crate::record::Quotas::default(),
            configuration: Some(Configuration::of_voters([NodeId(1), NodeId(2)])),
            internals: crate::record::Unhashed::default(),
        };
        let kind = RecordKind::Sent { to: NodeId(2), rpc, verdict: Verdict::Delivered { copies: 2 } };
        let record = Record {
            number: 7,
            at: SimTime(12),
            cause: Some(5),
            node: Some(NodeId(1)),
            call: 3,
            kind,
            view: Some(Box::new(view)),
        };
        let mut out = Vec::new();
        write_head(&mut out, "first-election", 3, 5).expect("a Vec takes everything");
        write_record(&mut out, &record).expect("a Vec takes everything");
        let expected = concat!(
            r#"{"version":1,"kind":"run","scenario":"first-election","seed":3,"nodes":5}"#,
            "\n",
            r#"{"version":1,"time_ns":12,"node":1,"kind":"sent","number":7,"cause":5,"call":3,"#,
            r#""message":{"entries":[{"index":2,"kind":"noop","term":3},"#,
            r#"{"command":"01ff","index":3,"kind":"command","term":3}],"kind":"append_entries","leader_commit":1,"#,
            r#""prev":{"index":1,"term":1},"seq":9,"term":3},"detail":{"copies":2,"to":2,"verdict":"delivered"},"#,
            r#""term":3,"vote":1,"role":"leader","leader":1,"commit":1,"first_index":1,"last_index":3,"last_term":3,"snapshot":null,"#,
            r#""applied":1,"in_flight":{"bytes":120,"messages":1,"snapshots":0},"configuration":{"leaving":[],"members":[1,2],"outgoing":[],"voters":[1,2]}}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(out).expect("JSON is UTF-8"), expected);
    }

    #[test]
    fn a_record_of_a_client_has_no_node() {
        let kind = RecordKind::Invoked { client: 4, label: "get k1".into() };
        let record = Record { number: 1, at: SimTime(0), cause: None, node: None, call: 0, kind, view: None };
        let mut out = Vec::new();
        write_record(&mut out, &record).expect("a Vec takes everything");
        let expected = concat!(
            r#"{"version":1,"time_ns":0,"node":null,"kind":"invoked","number":1,"cause":null,"call":0,"#,
            r#""detail":{"client":4,"operation":"get k1"}}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(out).expect("JSON is UTF-8"), expected);
    }
}
