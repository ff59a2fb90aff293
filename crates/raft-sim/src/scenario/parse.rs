//! A scenario file, read and checked: what comes out can be run, what cannot be run is refused with its line.
//!
//! The format is documented in `docs/scenarios.md`. Steps are read in `steps.rs`.

use super::defaults;
use super::feature::FEATURES;
use super::fields::{Fields, Reader, Value};
use super::model::{
    ClientModel, DiskModel, Enumeration, Expectations, InitialState, Limits, NetworkModel, ProcessModel, RaftSettings,
    Scenario, SwarmModel,
};
use super::names::{READS, named};
use super::problem::{Problem, Problems};
use super::{changes, steps, suggest, targets, units};
use raft_core::{LogIndex, MAX_NUMBER, MAX_PRIORITY, NodeId, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use toml::de::DeTable;

/// The version of the format this build reads.
pub const VERSION: u64 = 1;

/// The most nodes a scenario may have.
pub const MAX_NODES: u64 = 9;

/// What a file holds: a scenario, and if it is a recorded run, which.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioFile {
    /// The scenario.
    pub scenario: Scenario,
    /// The run that was recorded, if the file has `[recorded]`.
    pub recorded: Option<Recorded>,
}

/// A run worth keeping: replaying the scenario with this seed gives it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The name of the scenario it is a run of; it may differ from the name of the file.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The run's trace hash, by the build that recorded it.
    pub hash: Option<u128>,
    /// The property that did not hold.
    pub property: Option<String>,
}

/// Reads a scenario file's bytes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<ScenarioFile, Problems> {
    let refuse = |list| Problems { file: file.to_owned(), list };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        refuse(vec![Problem { line, field: String::new(), message: "the text is not UTF-8".to_owned() }])
    })?;
    let reader = Reader::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        reader.problem(&error.span().unwrap_or(0..0), "", error.message());
    });
    let parsed = table.ok().and_then(|table| file_of(Fields::root(&reader, &table), file));
    let problems = reader.into_problems();
    match parsed {
        Some(parsed) if problems.is_empty() => Ok(parsed),
        _ => Err(refuse(problems)),
    }
}

/// Takes a value over a default, if there is one.
pub(crate) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn file_of(mut fields: Fields<'_, '_>, file: &str) -> Option<ScenarioFile> {
    let root = &mut fields;
    let version = root.require("version")?.integer(0..=u64::MAX)?;
    if version != VERSION {
        root.problem_with("version", format!("version {version} is not known; this build reads version {VERSION}"));
        return None;
    }
    let name = Path::new(file).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut scenario = defaults::scenario(&name, file);
    set(&mut scenario.title, prose(root, "title"));
    set(&mut scenario.story, prose(root, "story"));
    set(&mut scenario.source, prose(root, "source"));
    set(&mut scenario.seeds, root.get("seeds").and_then(|value| value.read("seeds such as \"0..100\"", units::seeds)));
    set(&mut scenario.nodes, root.get("nodes").and_then(|value| value.integer(1..=MAX_NODES)));
    set(&mut scenario.duration, root.get("duration").and_then(|value| positive(&value)));
    let nodes = scenario.nodes;
    scenario.founders = root.get("founders").and_then(|value| value.integer(1..=nodes));
    section(root, "raft", |fields| raft(fields, &mut scenario.raft, nodes));
    set(&mut scenario.initial, root.get("initial").map(|value| initial(&value, scenario.founders.unwrap_or(nodes))));
    section(root, "network", |fields| network(fields, &mut scenario.network));
    section(root, "disk", |fields| disk(fields, &mut scenario.disk, scenario.raft.max_append_bytes));
    section(root, "process", |fields| process(fields, &mut scenario.process));
    section(root, "clients", |fields| clients(fields, &mut scenario.clients));
    scenario.steps = steps::steps(root, &scenario);
    section(root, "swarm", |fields| scenario.swarm = swarm(fields, scenario.duration));
    section(root, "enumerate", |fields| scenario.enumerate = enumerate(fields, scenario.duration));
    if scenario.swarm.is_some() && scenario.enumerate.is_some() {
        root.problem_with("enumerate", "does not go with `swarm`: nothing is drawn in an enumerated run");
    }
    section(root, "expect", |fields| scenario.expect = expectations(fields, nodes, Moment::End));
    let mut recorded = None;
    section(root, "recorded", |fields| recorded = recorded_run(fields, &name));
    if let Some(recorded) = &recorded {
        scenario.name.clone_from(&recorded.scenario);
    }
    fields.finish();
    Some(ScenarioFile { scenario, recorded })
}

/// Reads a table, if it is there, and reports what it has left over.
fn section(parent: &mut Fields<'_, '_>, name: &'static str, read: impl FnOnce(&mut Fields<'_, '_>)) {
    if let Some(mut fields) = parent.get(name).and_then(|value| value.table()) {
        read(&mut fields);
        fields.finish();
    }
}

fn prose(fields: &mut Fields<'_, '_>, name: &'static str) -> Option<String> {
    let value = fields.require(name)?;
    let text = value.text("a text")?.trim();
    if text.is_empty() {
        value.problem("says nothing");
    }
    Some(text.to_owned())
}

pub(crate) fn duration(value: &Value<'_, '_>) -> Option<Duration> {
    value.read("a duration such as \"150ms\"", units::duration)
}

fn positive(value: &Value<'_, '_>) -> Option<Duration> {
    let duration = duration(value)?;
    if duration.is_zero() {
        value.problem("must be above 0");
    }
    Some(duration)
}

pub(crate) fn duration_range(value: &Value<'_, '_>) -> Option<Range<Duration>> {
    value.read("a range of durations such as \"150ms..300ms\"", units::duration_range)
}

/// `"2.5%"` or `25_000`, parts per million.
fn probability(value: &Value<'_, '_>) -> Option<u32> {
    if value.is_integer() {
        value.integer(0..=1_000_000).and_then(|ppm| u32::try_from(ppm).ok())
    } else {
        value.read("a percentage such as \"2.5%\"", units::percentage)
    }
}

fn terms(value: &Value<'_, '_>) -> Option<Vec<Term>> {
    let list = value.list("a list of terms such as [1, 1, 4]")?;
    if list.len() > 10_000 {
        value.problem("more than 10000 entries");
        return None;
    }
    list.iter().map(|item| item.integer(1..=MAX_NUMBER).map(Term)).collect()
}

fn raft(fields: &mut Fields<'_, '_>, raft: &mut RaftSettings, nodes: u64) {
    set(&mut raft.election_timeout, fields.get("election_timeout").and_then(|value| duration_range(&value)));
    set(&mut raft.heartbeat_interval, fields.get("heartbeat_interval").and_then(|value| duration(&value)));
    set(&mut raft.pre_vote, fields.get("pre_vote").and_then(|value| value.boolean()));
    set(&mut raft.check_quorum, fields.get("check_quorum").and_then(|value| value.boolean()));
    set(&mut raft.stickiness, fields.get("stickiness").and_then(|value| value.boolean()));
    leases(fields, raft);
    let bytes = fields.get("max_append_bytes").and_then(|value| value.integer(1..=1 << 30));
    set(&mut raft.max_append_bytes, bytes);
    let messages = fields.get("max_inflight_messages").and_then(|value| value.integer(1..=1 << 20));
    set(&mut raft.max_inflight_messages, messages.and_then(|number| usize::try_from(number).ok()));
    limits(fields, &mut raft.limits);
    let mut number = |name, range| fields.get(name).and_then(|value| value.integer(range));
    set(&mut raft.snapshot_after_entries, number("snapshot_after_entries", 1..=1 << 30));
    set(&mut raft.trailing_entries, number("trailing_entries", 0..=1 << 30));
    set(&mut raft.max_cached_bytes, number("max_cached_bytes", 0..=1 << 40));
    set(&mut raft.snapshot_chunk_bytes, number("snapshot_chunk_bytes", 1..=4 << 20));
    set(&mut raft.snapshot_bytes_per_second, number("snapshot_bytes_per_second", 1..=1 << 40));
    set(&mut raft.snapshot_timeout, fields.get("snapshot_timeout").and_then(|value| positive(&value)));
    set(&mut raft.snapshot_patience, fields.get("snapshot_patience").and_then(|value| positive(&value)));
    if raft.heartbeat_interval.is_zero() {
        fields.problem_with("heartbeat_interval", "must be above 0");
    }
    // The core's own rule (Config::check), said with the field that breaks it.
    let too_short = |start: Duration| start <= raft.heartbeat_interval;
    let complaint = || format!("must start above the heartbeat interval, {}", units::show(raft.heartbeat_interval));
    if too_short(raft.election_timeout.start) {
        fields.problem_with("election_timeout", complaint());
    }
    for (key, value) in fields.get("election_timeout_of").iter().flat_map(Value::entries) {
        let range = duration_range(&value);
        if range.as_ref().is_some_and(|range| too_short(range.start)) {
            value.problem(complaint());
        }
        let id = units::node(key, nodes).map_err(|message| value.problem(message)).ok();
        raft.election_timeout_of.extend(id.zip(range));
    }
    set(&mut raft.priority, fields.get("priority").and_then(|value| priority(&value)));
    for (key, value) in fields.get("priority_of").iter().flat_map(Value::entries) {
        let id = units::node(key, nodes).map_err(|message| value.problem(message)).ok();
        raft.priority_of.extend(id.zip(priority(&value)));
    }
}

fn priority(value: &Value<'_, '_>) -> Option<u32> {
    value.integer(0..=u64::from(MAX_PRIORITY)).and_then(|priority| u32::try_from(priority).ok())
}

fn limits(fields: &mut Fields<'_, '_>, limits: &mut Limits) {
    set(&mut limits.max_write_stall, fields.get("max_write_stall").and_then(|value| positive(&value)));
    let mut number = |name, range| fields.get(name).and_then(|value| value.integer(range));
    set(&mut limits.max_inflight_bytes, number("max_inflight_bytes", 1..=1 << 40));
    set(&mut limits.max_uncommitted_bytes, number("max_uncommitted_bytes", 1..=1 << 40));
    set(&mut limits.max_unpersisted_bytes, number("max_unpersisted_bytes", 1..=1 << 40));
    set(&mut limits.max_apply_bytes, number("max_apply_bytes", 1..=1 << 40));
    set(&mut limits.max_retained_bytes, number("max_retained_bytes", 0..=1 << 40));
    let reads = number("max_pending_reads", 1..=1 << 20);
    set(&mut limits.max_pending_reads, reads.and_then(|number| usize::try_from(number).ok()));
}

fn leases(fields: &mut Fields<'_, '_>, raft: &mut RaftSettings) {
    set(&mut raft.lease_reads, fields.get("lease_reads").and_then(|value| value.boolean()));
    let ppm = fields.get("max_clock_drift_ppm").and_then(|value| value.integer(0..=999_999));
    set(&mut raft.max_clock_drift_ppm, ppm.and_then(|ppm| u32::try_from(ppm).ok()));
    if raft.lease_reads && !raft.stickiness {
        fields.problem_with("lease_reads", "needs `stickiness`");
    }
}

fn initial(value: &Value<'_, '_>, nodes: u64) -> BTreeMap<NodeId, InitialState> {
    let mut initial = BTreeMap::new();
    for (key, value) in value.entries() {
        let id = units::node(key, nodes).map_err(|message| value.problem(message)).ok();
        let Some(mut fields) = value.table() else { continue };
        initial.extend(id.zip(initial_state(&mut fields, nodes)));
        fields.finish();
    }
    initial
}

fn initial_state(fields: &mut Fields<'_, '_>, nodes: u64) -> Option<InitialState> {
    let log = fields.require("log").and_then(|value| terms(&value));
    let term = fields.get("term").and_then(|value| value.integer(0..=MAX_NUMBER)).map(Term);
    let vote = fields.get("voted_for");
    let voted_for = vote.and_then(|value| value.read("a node such as \"n1\"", |text| units::node(text, nodes)));
    let log = log?;
    if log.first().is_none_or(|first| *first != Term(1)) {
        fields.problem_with("log", "must start with an entry of term 1: entry 1 is the configuration");
    }
    if let Some((before, after)) = log.iter().zip(log.iter().skip(1)).find(|(before, after)| after < before) {
        fields.problem_with("log", format!("the terms of a log never fall, but {after} follows {before}"));
    }
    let last = log.last().copied().unwrap_or_default();
    let term = term.unwrap_or(last);
    if term < last {
        fields.problem_with("term", format!("must be at least the last term of the log, {last}"));
    }
    Some(InitialState { term, voted_for, log })
}

/// Reads the fields of a network model over the one in `model`.
pub(crate) fn network(fields: &mut Fields<'_, '_>, model: &mut NetworkModel) {
    set(&mut model.delay, fields.get("delay").and_then(|value| duration_range(&value)));
    set(&mut model.loss_ppm, fields.get("loss").and_then(|value| probability(&value)));
    set(&mut model.duplicate_ppm, fields.get("duplicate").and_then(|value| probability(&value)));
    set(&mut model.duplicate_delay, fields.get("duplicate_delay").and_then(|value| duration_range(&value)));
    set(&mut model.reorder_ppm, fields.get("reorder").and_then(|value| probability(&value)));
    set(&mut model.reorder_delay, fields.get("reorder_delay").and_then(|value| duration_range(&value)));
    set(&mut model.unreachable_ppm, fields.get("unreachable").and_then(|value| probability(&value)));
    set(&mut model.snapshot_transfer, fields.get("snapshot_transfer").and_then(|value| duration_range(&value)));
    set(&mut model.snapshot_loss_ppm, fields.get("snapshot_loss").and_then(|value| probability(&value)));
}

fn disk(fields: &mut Fields<'_, '_>, model: &mut DiskModel, max_append_bytes: u64) {
    set(&mut model.latency, fields.get("latency").and_then(|value| duration_range(&value)));
    set(&mut model.segment_bytes, fields.get("segment_bytes").and_then(|value| value.integer(4096..=1 << 30)));
    let reserve = fields.get("reserve_bytes").and_then(|value| value.integer(4096..=1 << 30));
    if reserve.is_some_and(|bytes| bytes / 4 < max_append_bytes) {
        fields
            .problem_with("reserve_bytes", "must be at least 4 times raft.max_append_bytes: one append is let through");
    }
    set(&mut model.reserve_bytes, reserve);
}

fn process(fields: &mut Fields<'_, '_>, model: &mut ProcessModel) {
    set(&mut model.busy_ppm, fields.get("busy").and_then(|value| probability(&value)));
    set(&mut model.busy, fields.get("busy_for").and_then(|value| duration_range(&value)));
    let mut count = |name| {
        let count = fields.get(name).and_then(|value| value.integer(1..=1 << 20));
        count.and_then(|count| usize::try_from(count).ok())
    };
    set(&mut model.inbox.max_messages, count("max_messages"));
    set(&mut model.inbox.max_requests, count("max_requests"));
    let mut bytes = |name| fields.get(name).and_then(|value| value.integer(1..=1 << 30));
    set(&mut model.inbox.max_message_bytes, bytes("max_message_bytes"));
    set(&mut model.inbox.max_request_bytes, bytes("max_request_bytes"));
}

fn clients(fields: &mut Fields<'_, '_>, model: &mut ClientModel) {
    set(&mut model.count, fields.get("count").and_then(|value| value.integer(0..=64)));
    set(&mut model.think, fields.get("think").and_then(|value| duration_range(&value)));
    set(&mut model.retry_after, fields.get("retry_after").and_then(|value| positive(&value)));
    set(&mut model.give_up_after, fields.get("give_up_after").and_then(|value| positive(&value)));
    set(&mut model.keys, fields.get("keys").and_then(|value| value.integer(1..=1000)));
    set(&mut model.start, fields.get("start").and_then(|value| duration(&value)));
    let reads =
        |value: Value<'_, '_>| value.read("a way to read such as \"lease\"", |text| named(&READS, "way to read", text));
    set(&mut model.reads, fields.get("reads").and_then(reads));
    section(fields, "mix", |fields| {
        let mut weight = |name| {
            let weight = fields.get(name).and_then(|value| value.integer(0..=1000)).unwrap_or(0);
            u32::try_from(weight).unwrap_or(0)
        };
        model.mix = [weight("get"), weight("put"), weight("cas"), weight("delete")];
        (model.several.range, model.several.txn) = (weight("range"), weight("txn"));
        if model.mix == [0; 4] && (model.several.range, model.several.txn) == (0, 0) {
            fields.problem("at least one of get, put, cas, delete, range and txn must be above 0");
        }
    });
    set(&mut model.several.ttl_ppm, fields.get("ttl_share").and_then(|value| probability(&value)));
    set(&mut model.several.ttl, fields.get("ttl").and_then(|value| duration_range(&value)));
}

fn swarm(fields: &mut Fields<'_, '_>, duration: Duration) -> Option<SwarmModel> {
    let list = fields.require("features").and_then(|value| {
        let list = value.list("a list of faults such as [\"loss\", \"kill\"]")?;
        if list.is_empty() {
            value.problem("names no fault");
        }
        Some(list)
    });
    let feature = |item: &Value<'_, '_>| item.read("a fault such as \"loss\"", |text| named(FEATURES, "fault", text));
    let features: BTreeSet<_> = list.into_iter().flatten().filter_map(|item| feature(&item)).collect();
    let mean_interval = fields.require("mean_interval").and_then(|value| positive(&value));
    let heal_at = fields.require("heal_at").and_then(|value| positive(&value));
    if heal_at.is_some_and(|at| at >= duration) {
        fields.problem_with("heal_at", format!("must be before the end of the run, {}", units::show(duration)));
    }
    Some(SwarmModel { features, mean_interval: mean_interval?, heal_at: heal_at? })
}

fn enumerate(fields: &mut Fields<'_, '_>, duration: Duration) -> Option<Enumeration> {
    let restart_after = fields.get("restart_after").and_then(|value| positive(&value));
    let until = fields.require("until").and_then(|value| positive(&value));
    if until.is_some_and(|until| until > duration) {
        fields.problem_with("until", format!("is after the end of the run, {}", units::show(duration)));
    }
    let slow_for = fields.get("slow_for").and_then(|value| positive(&value));
    let sample = fields.get("sample").and_then(|value| value.integer(1..=1_000_000));
    Some(Enumeration {
        restart_after: restart_after.unwrap_or(Duration::from_millis(50)),
        until: until?,
        slow_for: slow_for.unwrap_or_default(),
        sample: sample.unwrap_or(100),
    })
}

/// When expectations are checked. Some only mean something once all runs are over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Step,
    End,
}

/// Reads the fields of `[expect]`, or of a step's `expect`.
pub(crate) fn expectations(fields: &mut Fields<'_, '_>, nodes: u64, moment: Moment) -> Expectations {
    let leaders = |text: &str| if text == "any" { Ok(BTreeSet::new()) } else { targets::nodes(text, nodes) };
    let number = |fields: &mut Fields<'_, '_>, name| fields.get(name).and_then(|value| value.integer(1..=MAX_NUMBER));
    let mut expect = Expectations {
        leader: fields.get("leader").and_then(|value| value.read("\"any\" or nodes such as \"n1\"", leaders)),
        no_leader: fields.get("no_leader").and_then(|value| value.boolean()).unwrap_or(false),
        converged: fields.get("converged").and_then(|value| value.boolean()).unwrap_or(false),
        idle: fields.get("idle").and_then(|value| value.boolean()).unwrap_or(false),
        committed: number(fields, "committed").map(LogIndex),
        min_term: number(fields, "min_term").map(Term),
        max_term: number(fields, "max_term").map(Term),
        committed_within: fields.get("committed_within").and_then(|value| positive(&value)),
        stalled_for: fields.get("stalled_for").and_then(|value| positive(&value)),
        configuration: fields.get("configuration").and_then(|value| configuration(&value, nodes)),
        ..Expectations::default()
    };
    for (key, value) in fields.get("logs").iter().flat_map(Value::entries) {
        let id = units::node(key, nodes).map_err(|message| value.problem(message)).ok();
        expect.logs.extend(id.zip(terms(&value)));
    }
    for (key, value) in fields.get("last").iter().flat_map(Value::entries) {
        let id = units::node(key, nodes).map_err(|message| value.problem(message)).ok();
        expect.last.extend(id.zip(value.read("an entry such as \"7@3\"", units::entry)));
    }
    for (key, value) in fields.get("snapshot").iter().flat_map(Value::entries) {
        let id = units::node(key, nodes).map_err(|message| value.problem(message)).ok();
        expect.snapshot.extend(id.zip(value.integer(1..=MAX_NUMBER).map(LogIndex)));
    }
    if moment == Moment::End {
        let times = fields.get("heals_within").and_then(|value| value.integer(1..=10_000));
        expect.heals_within = times.and_then(|times| u32::try_from(times).ok());
        let marks = fields.get("sometimes").and_then(|value| value.list("a list of marks such as [\"election\"]"));
        expect.sometimes = marks.into_iter().flatten().filter_map(|item| item.read("a mark", mark)).collect();
    }
    if expect.leader.is_some() && expect.no_leader {
        fields.problem_with("no_leader", "contradicts `leader`");
    }
    if expect.min_term.zip(expect.max_term).is_some_and(|(min, max)| min > max) {
        fields.problem_with("max_term", "is below `min_term`");
    }
    if expect.committed_within.zip(expect.stalled_for).is_some_and(|(fresh, stalled)| fresh <= stalled) {
        fields.problem_with("stalled_for", "contradicts `committed_within`");
    }
    expect
}

/// `"n1 n2 n3"` or `"n1 n2 n3; learners n4"`.
pub(crate) fn configuration(value: &Value<'_, '_>, nodes: u64) -> Option<changes::Seats> {
    value.read("voters such as \"n1 n2 n3\"", |text| changes::seats(text, nodes))
}

fn mark(text: &str) -> Result<String, String> {
    let known = crate::checkers::MARKS;
    if known.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("unknown mark `{text}`{}", suggest::hint(text, known)))
    }
}

fn recorded_run(fields: &mut Fields<'_, '_>, name: &str) -> Option<Recorded> {
    let hash = |text: &str| {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        hash.ok_or_else(|| format!("`{text}` is no trace hash: 32 hexadecimal digits"))
    };
    let own = |text: &str| Ok(text.to_owned());
    let seed = fields.require("seed").and_then(|value| value.integer(0..=u64::MAX));
    let scenario = fields.get("scenario").and_then(|value| value.read("a name", own));
    let hash = fields.get("hash").and_then(|value| value.read("a trace hash", hash));
    let property = fields.get("property").and_then(|value| value.read("a property", own));
    Some(Recorded { scenario: scenario.unwrap_or_else(|| name.to_owned()), seed: seed?, hash, property })
}
