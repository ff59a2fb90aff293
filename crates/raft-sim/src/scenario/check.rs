//! The checks of a scenario that serde cannot make: values that depend on each other. It checks the values of the file:
//! the defaults are valid.

use super::document::Document;
use super::feature::Feature;
use super::model::{Belief, Expectations, InitialState, RaftSettings, Scenario};
use super::{suggest, units};
use crate::checkers::MARKS;
use raft_core::{MAX_PRIORITY, NodeId, Term};
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest initial log of a node.
const LONGEST_LOG: usize = 10_000;

/// Checks all of a scenario except its steps.
pub(crate) fn scenario(document: &mut Document<'_>, scenario: &Scenario) {
    for (field, text) in [("title", &scenario.title), ("story", &scenario.story), ("source", &scenario.source)] {
        document.require(field);
        if text.is_empty() {
            document.problem(field, "is empty");
        }
    }
    in_range(document, "founders", scenario.founders, scenario.nodes);
    positive(document, scenario);
    raft(document, &scenario.raft);
    let founders = scenario.founders.unwrap_or(scenario.nodes);
    for (id, state) in &scenario.initial {
        initial(document, *id, state, founders);
    }
    if document.has("disk.reserve_bytes") && scenario.disk.reserve_bytes / 4 < scenario.raft.max_append_bytes {
        document
            .problem("disk.reserve_bytes", "must be at least 4 times raft.max_append_bytes: one append is let through");
    }
    let weights = scenario.clients.mix.weights();
    if weights.iter().all(|weight| *weight == 0) {
        document.problem("clients.mix", "at least one of get, put, cas, delete, range and txn must be above 0");
    }
    if weights.iter().any(|weight| *weight > 1000) {
        document.problem("clients.mix", "a weight is at most 1000");
    }
    if document.has("swarm") {
        // Serde reports only the first field that is missing.
        ["swarm.features", "swarm.mean_interval", "swarm.heal_at"].iter().for_each(|field| document.require(field));
    }
    let end = units::show(scenario.duration);
    if let Some(swarm) = &scenario.swarm {
        // A swarm without features heals a majority, and nothing happens that Raft does not survive.
        if swarm.features.is_empty() && scenario.steps.is_empty() {
            document.problem("swarm.features", "names no fault");
        }
        let names_nodes = scenario.founders.is_some() || !scenario.initial.is_empty() || !scenario.steps.is_empty();
        if swarm.features.contains(&Feature::NodeCount) && names_nodes {
            let message = "`node_count` does not go with `founders`, `initial` or steps: they name nodes";
            document.problem("swarm.features", message);
        }
        if swarm.heal_at >= scenario.duration {
            document.problem("swarm.heal_at", format!("must be before the end of the run, {end}"));
        }
    }
    if scenario.enumerate.as_ref().is_some_and(|enumerate| enumerate.until > scenario.duration) {
        document.problem("enumerate.until", format!("is after the end of the run, {end}"));
    }
    if scenario.swarm.is_some() && scenario.enumerate.is_some() {
        document.problem("enumerate", "does not go with `swarm`: nothing is drawn in an enumerated run");
    }
    in_range(document, "expect.heals_within", scenario.expect.heals_within.map(u64::from), 10_000);
    known_marks(document, "expect.sometimes", &scenario.expect.sometimes);
    expectations(document, "expect.", &scenario.expect, scenario.nodes);
}

fn known_marks(document: &mut Document<'_>, path: &str, marks: &BTreeSet<String>) {
    for mark in marks.iter().filter(|mark| !MARKS.contains(&mark.as_str())) {
        let place = document.items(path).iter().position(|item| item.get_ref().as_str() == Some(mark));
        let field = format!("{path}[{}]", place.unwrap_or_default());
        document.problem(&field, suggest::unknown("mark", mark, MARKS.iter().copied()));
    }
}

fn in_range(document: &mut Document<'_>, field: &str, number: Option<u64>, most: u64) {
    if let Some(number) = number.filter(|number| !(1..=most).contains(number)) {
        document.problem(field, format!("expected an integer from 1 to {most}, found integer `{number}`"));
    }
}

/// Checks the durations that must not be 0.
fn positive(document: &mut Document<'_>, scenario: &Scenario) {
    let (raft, clients) = (&scenario.raft, &scenario.clients);
    let (swarm, enumerate) = (scenario.swarm.as_ref(), scenario.enumerate.as_ref());
    let lengths = [
        ("duration", Some(scenario.duration)),
        ("raft.heartbeat_interval", Some(raft.heartbeat_interval)),
        ("raft.max_write_stall", Some(raft.max_write_stall)),
        ("raft.snapshot_timeout", Some(raft.snapshot_timeout)),
        ("raft.snapshot_patience", Some(raft.snapshot_patience)),
        ("clients.retry_after", Some(clients.retry_after)),
        ("clients.give_up_after", Some(clients.give_up_after)),
        ("swarm.mean_interval", swarm.map(|swarm| swarm.mean_interval)),
        ("swarm.heal_at", swarm.map(|swarm| swarm.heal_at)),
        ("enumerate.restart_after", enumerate.map(|enumerate| enumerate.restart_after)),
        ("enumerate.until", enumerate.map(|enumerate| enumerate.until)),
    ];
    for (field, _) in lengths.iter().filter(|(_, length)| *length == Some(Duration::ZERO)) {
        document.problem(field, "must be above 0");
    }
}

fn raft(document: &mut Document<'_>, raft: &RaftSettings) {
    if raft.lease_reads && !raft.stickiness {
        document.problem("raft.lease_reads", "needs `stickiness`");
    }
    // This is the core's own rule (Config::check), reported at the field that violates it.
    let complaint = format!("must start above the heartbeat interval, {}", units::show(raft.heartbeat_interval));
    let own = raft.election_timeout_of.iter().map(|(id, range)| (format!("raft.election_timeout_of.{id}"), range));
    for (field, range) in own.chain([("raft.election_timeout".to_owned(), &raft.election_timeout)]) {
        if range.start <= raft.heartbeat_interval {
            document.problem(&field, complaint.as_str());
        }
    }
    for (id, priority) in raft.priority_of.iter().filter(|(_, priority)| **priority > MAX_PRIORITY) {
        let message = format!("expected an integer from 0 to {MAX_PRIORITY}, found integer `{priority}`");
        document.problem(&format!("raft.priority_of.{id}"), message);
    }
}

fn initial(document: &mut Document<'_>, id: NodeId, state: &InitialState, founders: u64) {
    if id.0 > founders {
        document.problem(&format!("initial.{id}"), format!("unknown node `{id}`: this scenario has n1 to n{founders}"));
    }
    let field = format!("initial.{id}.log");
    if state.log.len() > LONGEST_LOG {
        document.problem(&field, format!("more than {LONGEST_LOG} entries"));
    }
    if state.log.first().is_none_or(|first| *first != Term(1)) {
        document.problem(&field, "must start with an entry of term 1: entry 1 is the configuration");
    }
    if let Some((before, after)) = state.log.iter().zip(state.log.iter().skip(1)).find(|(before, after)| after < before)
    {
        document.problem(&field, format!("the terms of a log never fall, but {after} follows {before}"));
    }
    let last = state.log.last().copied().unwrap_or_default();
    if state.term < last {
        let message = format!("must be at least the last term of the log, {last}");
        document.problem(&format!("initial.{id}.term"), message);
    }
}

/// Checks the expectations of a step, or of the end, in a scenario of this many nodes. `path` ends with a dot.
pub(crate) fn expectations(document: &mut Document<'_>, path: &str, expect: &Expectations, nodes: u64) {
    known_marks(document, &format!("{path}never"), &expect.never);
    for (id, belief) in expect.beliefs() {
        if id.0 > nodes {
            document.problem(&format!("{path}{id}"), format!("unknown node `{id}`: this scenario has n1 to n{nodes}"));
        }
        if *belief == Belief::default() {
            document.problem(&format!("{path}{id}"), "names nothing that the node believes");
        }
    }
    let is_zero = |length: Option<Duration>| length == Some(Duration::ZERO);
    let both = |one: Option<Term>, two: Option<Term>| one.zip(two).is_some_and(|(min, max)| min > max);
    let wrong = [
        ("committed_within", is_zero(expect.committed_within), "must be above 0"),
        ("stalled_for", is_zero(expect.stalled_for), "must be above 0"),
        ("no_leader", expect.leader.is_some() && expect.no_leader, "contradicts `leader`"),
        ("max_term", both(expect.min_term, expect.max_term), "is below `min_term`"),
        ("never", !expect.never.is_disjoint(&expect.sometimes), "contradicts `sometimes`"),
        (
            "stalled_for",
            expect.committed_within.zip(expect.stalled_for).is_some_and(|(fresh, stalled)| fresh <= stalled),
            "contradicts `committed_within`",
        ),
    ];
    for (field, _, message) in wrong.iter().filter(|(_, is_wrong, _)| *is_wrong) {
        document.problem(&format!("{path}{field}"), *message);
    }
}
