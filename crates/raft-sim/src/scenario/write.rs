//! A scenario as text that [`parse`](super::parse::parse) reads back to the same scenario: recorded runs are written so,
//! whether their scenario came from a file or was built in code.

use super::changes::show_change;
use super::feature::FEATURES;
use super::model::{
    ClientModel, Condition, Expectations, Keep, Limits, Links, NetworkModel, ProcessModel, RaftSettings, Scenario,
    SeveralModel, Step, StepAction, Targets, Trigger,
};
use super::names::{READS, ROLES, name_of};
use super::parse::{Recorded, VERSION};
use super::steps::KEEPS;
use super::targets::{show, show_links, show_nodes};
use super::units::{self, show_percentage, show_range};
use crate::record::CrashKind;
use crate::world::disk::InjectedError;
use raft_core::{LogIndex, NodeId, RoleKind, Term};
use std::fmt::Display;

/// The text of a recorded run: the scenario, everything said, and what was recorded. Run without `--seeds` it runs the
/// recorded seed.
pub fn write(scenario: &Scenario, recorded: &Recorded) -> String {
    let mut out = Text::default();
    out.field("version", VERSION);
    out.field("title", quoted(&scenario.title));
    out.field("story", quoted(&scenario.story));
    out.field("source", quoted(&scenario.source));
    out.field("nodes", scenario.nodes);
    scenario.founders.iter().for_each(|founders| out.field("founders", founders));
    out.field("duration", quoted(&units::show(scenario.duration)));
    out.field("seeds", quoted(&format!("{}..{}", scenario.seeds.start, scenario.seeds.end)));
    out.section("[recorded]");
    out.field("scenario", quoted(&recorded.scenario));
    out.field("seed", recorded.seed);
    if let Some(hash) = recorded.hash {
        out.field("hash", quoted(&format!("{hash:032x}")));
    }
    if let Some(property) = &recorded.property {
        out.field("property", quoted(property));
    }
    raft(&mut out, &scenario.raft);
    for (id, state) in &scenario.initial {
        out.section(&format!("[initial.{id}]"));
        out.field("term", state.term);
        if let Some(vote) = state.voted_for {
            out.field("voted_for", quoted(&vote.to_string()));
        }
        out.field("log", terms(&state.log));
    }
    out.section("[network]");
    network(&scenario.network).into_iter().for_each(|(name, value)| out.field(name, value));
    out.section("[disk]");
    out.field("latency", quoted(&show_range(&scenario.disk.latency)));
    out.field("segment_bytes", scenario.disk.segment_bytes);
    if scenario.disk.reserve_bytes > 0 {
        out.field("reserve_bytes", scenario.disk.reserve_bytes);
    }
    process(&mut out, &scenario.process);
    clients(&mut out, &scenario.clients);
    scenario.steps.iter().for_each(|step| write_step(&mut out, step));
    if let Some(swarm) = &scenario.swarm {
        out.section("[swarm]");
        let features = swarm.features.iter().map(|feature| quoted(name_of(FEATURES, *feature)));
        out.field("features", list(features));
        out.field("mean_interval", quoted(&units::show(swarm.mean_interval)));
        out.field("heal_at", quoted(&units::show(swarm.heal_at)));
    }
    if let Some(enumerate) = &scenario.enumerate {
        out.section("[enumerate]");
        out.field("restart_after", quoted(&units::show(enumerate.restart_after)));
        out.field("until", quoted(&units::show(enumerate.until)));
        out.field("slow_for", quoted(&units::show(enumerate.slow_for)));
        out.field("sample", enumerate.sample);
    }
    let expect = expectations(&scenario.expect);
    if !expect.is_empty() {
        out.section("[expect]");
        expect.into_iter().for_each(|(name, value)| out.field(name, value));
    }
    out.0
}

fn process(out: &mut Text, model: &ProcessModel) {
    if *model == ProcessModel::default() {
        return;
    }
    out.section("[process]");
    out.field("busy", quoted(&show_percentage(model.busy_ppm)));
    out.field("busy_for", quoted(&show_range(&model.busy)));
    out.field("max_messages", model.inbox.max_messages);
    out.field("max_message_bytes", model.inbox.max_message_bytes);
    out.field("max_requests", model.inbox.max_requests);
    out.field("max_request_bytes", model.inbox.max_request_bytes);
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn field(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name} = {value}\n"));
    }

    fn section(&mut self, header: &str) {
        self.0.push_str(&format!("\n{header}\n"));
    }
}

/// A TOML text. `toml` decides on the quotes, so that any text survives.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn terms(terms: &[Term]) -> String {
    list(terms.iter().map(ToString::to_string))
}

fn inline(fields: Vec<(&'static str, String)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn raft(out: &mut Text, raft: &RaftSettings) {
    out.section("[raft]");
    out.field("election_timeout", quoted(&show_range(&raft.election_timeout)));
    out.field("heartbeat_interval", quoted(&units::show(raft.heartbeat_interval)));
    out.field("pre_vote", raft.pre_vote);
    out.field("check_quorum", raft.check_quorum);
    out.field("stickiness", raft.stickiness);
    out.field("lease_reads", raft.lease_reads);
    out.field("max_clock_drift_ppm", raft.max_clock_drift_ppm);
    out.field("priority", raft.priority);
    out.field("max_append_bytes", raft.max_append_bytes);
    out.field("max_inflight_messages", raft.max_inflight_messages);
    if raft.snapshot_after_entries > 0 {
        out.field("snapshot_after_entries", raft.snapshot_after_entries);
    }
    out.field("trailing_entries", raft.trailing_entries);
    out.field("max_cached_bytes", raft.max_cached_bytes);
    out.field("snapshot_timeout", quoted(&units::show(raft.snapshot_timeout)));
    out.field("snapshot_chunk_bytes", raft.snapshot_chunk_bytes);
    if raft.snapshot_bytes_per_second > 0 {
        out.field("snapshot_bytes_per_second", raft.snapshot_bytes_per_second);
    }
    out.field("snapshot_patience", quoted(&units::show(raft.snapshot_patience)));
    limits(&raft.limits).into_iter().for_each(|(name, value)| out.field(name, value));
    if !raft.election_timeout_of.is_empty() {
        out.section("[raft.election_timeout_of]");
        raft.election_timeout_of.iter().for_each(|(id, range)| out.field(&id.to_string(), quoted(&show_range(range))));
    }
    if !raft.priority_of.is_empty() {
        out.section("[raft.priority_of]");
        raft.priority_of.iter().for_each(|(id, priority)| out.field(&id.to_string(), priority));
    }
}

/// The limits under their names in a file.
pub(crate) fn limits(limits: &Limits) -> [(&'static str, String); 7] {
    [
        ("max_write_stall", quoted(&units::show(limits.max_write_stall))),
        ("max_inflight_bytes", limits.max_inflight_bytes.to_string()),
        ("max_uncommitted_bytes", limits.max_uncommitted_bytes.to_string()),
        ("max_unpersisted_bytes", limits.max_unpersisted_bytes.to_string()),
        ("max_apply_bytes", limits.max_apply_bytes.to_string()),
        ("max_retained_bytes", limits.max_retained_bytes.to_string()),
        ("max_pending_reads", limits.max_pending_reads.to_string()),
    ]
}

fn network(model: &NetworkModel) -> Vec<(&'static str, String)> {
    vec![
        ("delay", quoted(&show_range(&model.delay))),
        ("loss", quoted(&show_percentage(model.loss_ppm))),
        ("duplicate", quoted(&show_percentage(model.duplicate_ppm))),
        ("duplicate_delay", quoted(&show_range(&model.duplicate_delay))),
        ("reorder", quoted(&show_percentage(model.reorder_ppm))),
        ("reorder_delay", quoted(&show_range(&model.reorder_delay))),
        ("unreachable", quoted(&show_percentage(model.unreachable_ppm))),
        ("snapshot_transfer", quoted(&show_range(&model.snapshot_transfer))),
        ("snapshot_loss", quoted(&show_percentage(model.snapshot_loss_ppm))),
    ]
}

fn clients(out: &mut Text, clients: &ClientModel) {
    let [get, put, cas, delete] = clients.mix;
    out.section("[clients]");
    out.field("count", clients.count);
    out.field("think", quoted(&show_range(&clients.think)));
    out.field("retry_after", quoted(&units::show(clients.retry_after)));
    out.field("give_up_after", quoted(&units::show(clients.give_up_after)));
    out.field("keys", clients.keys);
    let SeveralModel { range, txn, ttl_ppm, ttl } = &clients.several;
    let several = if (*range, *txn) == (0, 0) { String::new() } else { format!(", range = {range}, txn = {txn}") };
    out.field("mix", format!("{{ get = {get}, put = {put}, cas = {cas}, delete = {delete}{several} }}"));
    if *ttl_ppm > 0 {
        out.field("ttl_share", quoted(&show_percentage(*ttl_ppm)));
        out.field("ttl", quoted(&show_range(ttl)));
    }
    out.field("reads", quoted(name_of(&READS, clients.reads)));
    out.field("start", quoted(&units::show(clients.start)));
}

fn write_step(out: &mut Text, step: &Step) {
    match &step.trigger {
        Trigger::At(time) => {
            out.section("[[at]]");
            out.field("time", quoted(&units::show(*time)));
        }
        Trigger::When { condition, after } => {
            out.section("[[when]]");
            write_condition(out, condition);
            if !after.is_zero() {
                out.field("after", quoted(&units::show(*after)));
            }
        }
    }
    write_action(out, &step.action);
}

fn entry(index: LogIndex, term: Option<Term>) -> String {
    term.map_or_else(|| index.to_string(), |term| format!("{index}@{term}"))
}

fn any(node: Option<NodeId>) -> String {
    quoted(&node.map_or_else(|| "any".to_owned(), |id| id.to_string()))
}

fn write_condition(out: &mut Text, condition: &Condition) {
    match condition {
        Condition::Role { node, role: RoleKind::Leader, min_term } => {
            out.field("leader", any(*node));
            out.field("min_term", min_term);
        }
        Condition::Role { node, role, min_term } => {
            out.field("role", quoted(name_of(&ROLES, *role)));
            out.field("node", any(*node));
            out.field("min_term", min_term);
        }
        Condition::Holds { node, index, term } => {
            out.field("holds", quoted(&entry(*index, *term)));
            out.field("node", any(*node));
        }
        Condition::Committed { node, index } => {
            out.field("committed", index);
            out.field("node", any(*node));
        }
        Condition::LeaderAppended { node, min_term } => {
            out.field("leader_appended", any(*node));
            out.field("min_term", min_term);
        }
        Condition::VotedFor { node, candidate } => {
            out.field("voted_for", quoted(&candidate.to_string()));
            out.field("node", any(*node));
        }
        Condition::Decided { seats } => out.field("decided", quoted(&seats.to_string())),
        Condition::Joint { node } => out.field("joint", any(*node)),
        Condition::Snapshot { node, index } => {
            out.field("snapshot", index);
            out.field("node", any(*node));
        }
        Condition::SendingSnapshot { to } => out.field("sending_snapshot", any(*to)),
    }
}

fn write_action(out: &mut Text, action: &StepAction) {
    let whom = |targets: &Targets| quoted(&show(targets));
    match action {
        StepAction::Crash { nodes, crash, after_actions, keep } => {
            let verb = match crash {
                CrashKind::Kill => "kill",
                CrashKind::PowerLoss => "power_loss",
                CrashKind::DiskLoss => "wipe",
                CrashKind::DiskRollback => "disk_rolled_back",
            };
            out.field(verb, whom(nodes));
            after_actions.iter().for_each(|count| out.field("after_actions", count));
            if *keep != Keep::Random {
                out.field("keep", quoted(name_of(&KEEPS, *keep)));
            }
        }
        StepAction::Restart { nodes } => out.field("restart", whom(nodes)),
        StepAction::Cut { links } => match links.as_slice() {
            [one] => out.field("cut", quoted(&show_links(one))),
            many => out.field("cut", list(many.iter().map(|links| quoted(&show_links(links))))),
        },
        StepAction::Partition { groups } => {
            let groups: Vec<String> = groups.iter().map(show_nodes).collect();
            out.field("partition", quoted(&groups.join(" | ")));
        }
        StepAction::Heal => out.field("heal", true),
        StepAction::Drop { kind, from, to } => {
            out.field("drop", quoted(kind));
            let links = Links { from: from.clone(), to: to.clone(), one_way: true };
            out.field("on", quoted(&show_links(&links)));
        }
        StepAction::Network(model) => out.field("network", inline(network(model))),
        StepAction::DiskLatency { nodes, latency } => {
            out.field("slow_disk", whom(nodes));
            out.field("latency", quoted(&show_range(latency)));
        }
        StepAction::Damage { nodes, fault } => out.field(fault.name(), whom(nodes)),
        StepAction::InjectedError { nodes, error: InjectedError::NoSpace, .. } => out.field("enospc", whom(nodes)),
        StepAction::InjectedError { nodes, error, after_calls } => {
            match error {
                InjectedError::FailedSync => out.field("fsync_failed", whom(nodes)),
                _ => {
                    out.field("eio", whom(nodes));
                    out.field("call", quoted(if *error == InjectedError::ReadError { "read" } else { "write" }));
                }
            }
            out.field("after_calls", after_calls);
        }
        StepAction::Drift { nodes, ppm } => {
            out.field("drift", whom(nodes));
            out.field("ppm", ppm);
        }
        StepAction::Pause { nodes } => out.field("pause", whom(nodes)),
        StepAction::Resume { nodes } => out.field("resume", whom(nodes)),
        StepAction::Campaign { nodes } => out.field("campaign", whom(nodes)),
        StepAction::TakeSnapshot { nodes } => out.field("take_snapshot", whom(nodes)),
        StepAction::Put { node, key, value } => {
            out.field("put", quoted(&format!("{key} = {value}")));
            out.field("to", whom(node));
        }
        StepAction::Get { node, key } => {
            out.field("get", quoted(key));
            out.field("to", whom(node));
        }
        StepAction::Change { steps } => out.field("change", quoted(&show_change(steps))),
        StepAction::Transfer { to } => out.field("transfer", any(*to)),
        StepAction::Expect(expect) => out.field("expect", inline(expectations(expect))),
    }
}

fn expectations(expect: &Expectations) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let Some(leader) = &expect.leader {
        fields.push(("leader", quoted(&if leader.is_empty() { "any".to_owned() } else { show_nodes(leader) })));
    }
    let flags = [("no_leader", expect.no_leader), ("converged", expect.converged), ("idle", expect.idle)];
    fields.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name, "true".to_owned())));
    fields.extend(expect.committed.map(|index| ("committed", index.to_string())));
    fields.extend(expect.configuration.iter().map(|seats| ("configuration", quoted(&seats.to_string()))));
    fields.extend(expect.min_term.map(|term| ("min_term", term.to_string())));
    fields.extend(expect.max_term.map(|term| ("max_term", term.to_string())));
    let spans = [("committed_within", expect.committed_within), ("stalled_for", expect.stalled_for)];
    fields.extend(spans.iter().filter_map(|(name, span)| Some((*name, quoted(&units::show((*span)?))))));
    fields.extend(expect.heals_within.map(|times| ("heals_within", times.to_string())));
    if !expect.sometimes.is_empty() {
        fields.push(("sometimes", list(expect.sometimes.iter().map(|mark| quoted(mark)))));
    }
    if !expect.logs.is_empty() {
        let logs = expect.logs.iter().map(|(id, log)| format!("{id} = {}", terms(log)));
        fields.push(("logs", format!("{{ {} }}", logs.collect::<Vec<_>>().join(", "))));
    }
    if !expect.last.is_empty() {
        let last = expect.last.iter().map(|(id, (index, term))| format!("{id} = {}", quoted(&entry(*index, *term))));
        fields.push(("last", format!("{{ {} }}", last.collect::<Vec<_>>().join(", "))));
    }
    if !expect.snapshot.is_empty() {
        let covered = expect.snapshot.iter().map(|(id, index)| format!("{id} = {index}"));
        fields.push(("snapshot", format!("{{ {} }}", covered.collect::<Vec<_>>().join(", "))));
    }
    fields
}
