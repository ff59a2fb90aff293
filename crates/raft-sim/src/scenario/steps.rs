//! `[[at]]` and `[[when]]`: steps in the form of a file, with one key for each action, condition and option.

use super::document::Document;
use super::forms::{AnyNode, F, Jump, MessageKind, Put, some_within};
use super::model::{
    Condition, CrashAfter, Expectations, Forgery, GetMode, Keep, Links, NetworkModel, OneWay, Origin, Scenario, Step,
    StepAction, Targets, Trigger,
};
use super::refusals::Refusal;
use super::{changes, check, units};
use crate::faults::Fault;
use crate::record::CrashKind;
use crate::world::disk::InjectedError;
use raft_core::{LogIndex, MAX_NUMBER, NodeId, RoleKind, Term};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// The actions; a step has exactly one.
pub(crate) const ACTIONS: &str = "kill, power_loss, wipe, disk_rolled_back, bit_rot, misdirected_write, eio, enospc, fsync_failed, \
                       restart, cut, isolate, cut_clients, partition, heal, drop, network, slow_disk, drift, jump, pause, suspend, resume, stranger, \
                       campaign, take_snapshot, put, get, change, transfer, backup, restore, recover, expect";

/// The conditions; a `[[when]]` step has exactly one.
pub(crate) const CONDITIONS: &str =
    "leader, role, holds, committed, leader_appended, voted_for, decided, joint, snapshot, sending_snapshot, backups";

/// The further fields of an action or a condition.
pub(crate) fn options(name: &str) -> &'static [&'static str] {
    match name {
        "kill" | "wipe" | "disk_rolled_back" => &["after_actions", "after_calls", "after_new_file", "for"],
        "power_loss" => &["after_actions", "after_calls", "after_new_file", "keep", "for"],
        "eio" => &["after_calls", "call"],
        "enospc" => &["after_calls", "for"],
        "fsync_failed" => &["after_calls"],
        "cut" | "isolate" | "partition" | "pause" | "suspend" => &["for"],
        "cut_clients" => &["only", "for"],
        "drop" => &["on", "for"],
        "slow_disk" => &["latency", "for"],
        "drift" => &["ppm", "for"],
        "stranger" => &["messages", "key"],
        "put" => &["to"],
        "get" => &["to", "mode"],
        "jump" => &["by"],
        "change" => &["force", "refused", "for"],
        "transfer" => &["refused", "asked", "for"],
        "backup" | "campaign" => &["refused"],
        "leader" | "leader_appended" => &["min_term"],
        "role" => &["node", "min_term"],
        "holds" | "committed" | "voted_for" | "snapshot" => &["node"],
        _ => &[],
    }
}

/// The options that are required.
const NEEDED: [&str; 4] = ["latency", "ppm", "by", "to"];

type Maybe<T> = Option<F<T>>;

/// A step in the form of a file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct StepForm {
    time: Maybe<Duration>,
    leader: Maybe<AnyNode>,
    role: Maybe<RoleKind>,
    holds: Maybe<(LogIndex, Option<Term>)>,
    committed: Maybe<LogIndex>,
    leader_appended: Maybe<AnyNode>,
    voted_for: Maybe<NodeId>,
    decided: Maybe<changes::Seats>,
    joint: Maybe<AnyNode>,
    snapshot: Maybe<LogIndex>,
    sending_snapshot: Maybe<AnyNode>,
    node: Maybe<AnyNode>,
    min_term: Maybe<Term>,
    after: Maybe<Duration>,
    kill: Maybe<Targets>,
    power_loss: Maybe<Targets>,
    wipe: Maybe<Targets>,
    disk_rolled_back: Maybe<Targets>,
    bit_rot: Maybe<Targets>,
    misdirected_write: Maybe<Targets>,
    eio: Maybe<Targets>,
    enospc: Maybe<Targets>,
    fsync_failed: Maybe<Targets>,
    restart: Maybe<Targets>,
    cut: Maybe<Vec<Links>>,
    isolate: Maybe<Targets>,
    cut_clients: Maybe<Targets>,
    partition: Maybe<Vec<BTreeSet<NodeId>>>,
    heal: Option<bool>,
    drop: Maybe<MessageKind>,
    slow_disk: Maybe<Targets>,
    drift: Maybe<Targets>,
    jump: Maybe<Targets>,
    pause: Maybe<Targets>,
    suspend: Maybe<Targets>,
    stranger: Maybe<Targets>,
    resume: Maybe<Targets>,
    campaign: Maybe<Targets>,
    take_snapshot: Maybe<Targets>,
    put: Maybe<Put>,
    get: Option<String>,
    mode: Option<GetMode>,
    change: Maybe<Vec<changes::SeatChange>>,
    force: Option<bool>,
    transfer: Maybe<AnyNode>,
    #[serde(deserialize_with = "some_within::<0, 1000, _, _>")]
    after_actions: Option<u32>,
    #[serde(deserialize_with = "some_within::<0, 1000, _, _>")]
    after_calls: Option<u32>,
    #[serde(deserialize_with = "some_within::<0, 1000, _, _>")]
    after_new_file: Option<u32>,
    #[serde(rename = "for")]
    lasts: Maybe<Duration>,
    only: Option<OneWay>,
    #[serde(deserialize_with = "some_within::<1, 1000, _, _>")]
    messages: Option<u64>,
    #[serde(deserialize_with = "some_within::<0, { MAX_NUMBER as i64 }, _, _>")]
    key: Option<u64>,
    asked: Maybe<Targets>,
    call: Option<Call>,
    keep: Option<Keep>,
    on: Maybe<Links>,
    latency: Maybe<Range<Duration>>,
    /// The rate ranges from ten times too slow to ten times too fast.
    #[serde(deserialize_with = "some_within::<-900_000, 9_000_000, _, _>")]
    ppm: Option<i32>,
    by: Maybe<Jump>,
    to: Maybe<Targets>,
    backup: Maybe<Targets>,
    backups: Option<u64>,
    restore: Maybe<Targets>,
    recover: Maybe<NodeId>,
    network: Option<NetworkModel>,
    expect: Option<Expectations>,
    refused: Maybe<Refusal>,
}

/// The calls that an error of the device makes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Read,
    Write,
}

/// All steps of a file: first those with a time, then those with a condition, each kind in the file's order.
pub(crate) fn read(document: &mut Document<'_>, scenario: &Scenario) -> Vec<Step> {
    let usual = document.table().remove("network").map(Spanned::into_inner);
    let mut steps = Vec::new();
    for list in ["at", "when"] {
        for (place, mut item) in document.items(list).into_iter().enumerate() {
            // Values that a step's network omits are those of the scenario.
            if let DeValue::Table(step) = item.get_mut()
                && let Some(DeValue::Table(network)) = step.get_mut("network").map(Spanned::get_mut)
                && let Some(DeValue::Table(usual)) = usual.as_ref()
            {
                for (key, value) in usual {
                    network.entry(key.clone()).or_insert(value.clone());
                }
            }
            if let Some(form) = document.read::<StepForm>(item, &[]) {
                steps.extend(step(document, &format!("{list}[{place}]"), form, scenario));
            }
        }
    }
    steps
}

fn step(document: &mut Document<'_>, path: &str, form: StepForm, scenario: &Scenario) -> Option<Step> {
    let is_timed = path.starts_with("at");
    let action_name = only(document, path, "action", ACTIONS);
    let condition_name = if is_timed { "time" } else { only(document, path, "condition", CONDITIONS) };
    let trigger = if is_timed { "time" } else { "after" };
    let options: Vec<&str> = options(action_name).iter().chain(options(condition_name)).copied().collect();
    for needed in options.iter().filter(|name| NEEDED.contains(name)).chain(is_timed.then_some(&"time")) {
        document.require(&format!("{path}.{needed}"));
    }
    let mut known = vec![action_name, condition_name, trigger];
    known.extend(&options);
    // Two actions or two conditions are already a problem, so each of them alone is not reported.
    for (name, names) in [(action_name, ACTIONS), (condition_name, CONDITIONS)] {
        known.extend(names.split(", ").filter(|_| name.is_empty()));
    }
    for key in document.keys(path) {
        if !known.contains(&key.as_str()) {
            document.problem(&format!("{path}.{key}"), format!("`{key}` does not go with the other fields here"));
        }
    }
    check_values(document, path, &form, scenario);
    let waits = [
        ("after_actions", form.after_actions),
        ("after_calls", form.after_calls),
        ("after_new_file", form.after_new_file),
    ];
    let mut waits = waits.iter().filter(|(_, after)| after.is_some()).map(|(name, _)| name);
    if let (Some(first), Some(second)) = (waits.next(), waits.next()) {
        document.problem(&format!("{path}.{second}"), format!("does not go with `{first}`: write one of them"));
    }
    if scenario.raft.lease_reads && (form.jump.is_some() || form.suspend.is_some()) {
        let message = "does not go with `raft.lease_reads`: a lease assumes that no clock jumps or stands still";
        document.problem(&format!("{path}.{action_name}"), message);
    }
    let trigger = if is_timed {
        Trigger::At(form.time.as_ref()?.0)
    } else {
        let after = form.after.as_ref().map_or(Duration::ZERO, |F(after)| *after);
        Trigger::When { condition: condition(&form, condition_name)?, after }
    };
    let action = action(form.clone(), action_name)?;
    let lasts = form.lasts.as_ref().map(|F(lasts)| *lasts);
    let condition = [condition_name, "after"].into_iter().chain(self::options(condition_name).iter().copied());
    let origin = Origin { line: document.line(path), condition: show(&form, condition) };
    Some(Step {
        trigger,
        action,
        lasts,
        refused: form.refused.as_ref().map(|F(name)| *name),
        origin,
        form: Some(Box::new(form)),
    })
}

/// These fields of a step as in a file: `leader = "any", min_term = 3`.
fn show<'a>(form: &StepForm, fields: impl Iterator<Item = &'a str>) -> String {
    let table = toml::Table::try_from(form).unwrap_or_default();
    let fields = fields.filter_map(|field| Some(format!("{field} = {}", table.get(field)?)));
    fields.collect::<Vec<_>>().join(", ")
}

/// The one of these names that the step has; empty if it has none, or two.
fn only(document: &mut Document<'_>, path: &str, what: &str, names: &'static str) -> &'static str {
    let keys = document.keys(path);
    let found: Vec<&str> = names.split(", ").filter(|name| keys.iter().any(|key| key == name)).collect();
    match found.as_slice() {
        [one] => return one,
        [] => document.problem(path, format!("has no {what}: write one of {names}")),
        [_, second, ..] => {
            let message = format!("a step has one {what}, this one has {}", found.join(" and "));
            document.problem(&format!("{path}.{second}"), message);
        }
    }
    ""
}

/// Checks the values that serde does not check.
fn check_values(document: &mut Document<'_>, path: &str, form: &StepForm, scenario: &Scenario) {
    let end = scenario.duration;
    let late = format!("is after the end of the run, {}", units::show(end));
    let expect = form.expect.as_ref();
    let wrong = [
        ("time", form.time.as_ref().is_some_and(|F(at)| *at > end), late.as_str()),
        ("heal", form.heal == Some(false), "can only be true"),
        ("get", form.get.as_ref().is_some_and(|key| key.trim().is_empty()), "names no key"),
        ("cut", form.cut.as_ref().is_some_and(|F(links)| links.is_empty()), "names no link"),
        ("ppm", form.ppm == Some(0), "must not be 0"),
        ("by", form.by == Some(F(Jump(0))), "must not be 0"),
        (
            "on",
            form.on.as_ref().is_some_and(|F(on)| !on.one_way),
            "a kind of message is dropped one way: write two steps for both",
        ),
        (
            "expect.sometimes",
            expect.is_some_and(|expect| !expect.sometimes.is_empty()),
            "is known only at the end of the run: write it under [expect]",
        ),
        (
            "expect.heals_within",
            expect.is_some_and(|expect| expect.heals_within.is_some()),
            "is known only at the end of the run: write it under [expect]",
        ),
    ];
    for (field, _, message) in wrong.iter().filter(|(_, is_wrong, _)| *is_wrong) {
        document.problem(&format!("{path}.{field}"), *message);
    }
    if let Some(expect) = expect {
        check::expectations(document, &format!("{path}.expect."), expect, scenario.nodes);
    }
}

/// The condition of this name.
fn condition(form: &StepForm, name: &str) -> Option<Condition> {
    let any = |node: &Maybe<AnyNode>| node.as_ref().and_then(|F(AnyNode(node))| *node);
    let (node, min_term) = (any(&form.node), form.min_term.as_ref().map_or(Term(0), |F(term)| *term));
    Some(match name {
        "leader" => Condition::Role { node: any(&form.leader), role: RoleKind::Leader, min_term },
        "role" => Condition::Role { node, role: form.role.as_ref()?.0, min_term },
        "holds" => {
            let (index, term) = form.holds.as_ref()?.0;
            Condition::Holds { node, index, term }
        }
        "committed" => Condition::Committed { node, index: form.committed.as_ref()?.0 },
        "leader_appended" => Condition::LeaderAppended { node: any(&form.leader_appended), min_term },
        "voted_for" => Condition::VotedFor { node, candidate: form.voted_for.as_ref()?.0 },
        "decided" => Condition::Decided { seats: form.decided.as_ref()?.0.clone() },
        "joint" => Condition::Joint { node: any(&form.joint) },
        "backups" => Condition::Backups { finished: form.backups? },
        "snapshot" => Condition::Snapshot { node, index: form.snapshot.as_ref()?.0 },
        _ => Condition::SendingSnapshot { to: any(&form.sending_snapshot) },
    })
}

/// The action of this name.
fn action(form: StepForm, name: &str) -> Option<StepAction> {
    let after_calls = form.after_calls.unwrap_or(0).into();
    let calls = form.after_calls.map(CrashAfter::Calls).or(form.after_new_file.map(CrashAfter::NewFile));
    let after = form.after_actions.map(CrashAfter::Actions).or(calls);
    let crash =
        |crash, nodes: Maybe<Targets>, keep| nodes.map(|F(nodes)| StepAction::Crash { nodes, crash, after, keep });
    let error =
        |error, nodes: Maybe<Targets>| nodes.map(|F(nodes)| StepAction::InjectedError { nodes, error, after_calls });
    Some(match name {
        "kill" => crash(CrashKind::Kill, form.kill, Keep::Random)?,
        "power_loss" => crash(CrashKind::PowerLoss, form.power_loss, form.keep.unwrap_or(Keep::Random))?,
        "wipe" => crash(CrashKind::DiskLoss, form.wipe, Keep::Random)?,
        "disk_rolled_back" => crash(CrashKind::DiskRollback, form.disk_rolled_back, Keep::Random)?,
        "bit_rot" => StepAction::Damage { nodes: form.bit_rot?.0, fault: Fault::BitRot },
        "misdirected_write" => StepAction::Damage { nodes: form.misdirected_write?.0, fault: Fault::MisdirectedWrite },
        "eio" if form.call == Some(Call::Read) => error(InjectedError::ReadError, form.eio)?,
        "eio" => error(InjectedError::WriteError, form.eio)?,
        "enospc" => error(InjectedError::NoSpace, form.enospc)?,
        "fsync_failed" => error(InjectedError::FailedSync, form.fsync_failed)?,
        "restart" => StepAction::Restart { nodes: form.restart?.0 },
        "cut" => StepAction::Cut { links: form.cut?.0 },
        "isolate" => StepAction::Cut { links: vec![Links { from: form.isolate?.0, to: Targets::All, one_way: false }] },
        "cut_clients" => StepAction::CutClients { nodes: form.cut_clients?.0, only: form.only },
        "partition" => StepAction::Partition { groups: form.partition?.0 },
        "heal" => form.heal.map(|_| StepAction::Heal)?,
        "drop" => {
            let all = Links { from: Targets::All, to: Targets::All, one_way: true };
            let Links { from, to, .. } = form.on.map_or(all, |F(on)| on);
            StepAction::Drop { kind: form.drop?.0.0, from, to }
        }
        "network" => StepAction::Network(form.network?),
        "slow_disk" => StepAction::DiskLatency { nodes: form.slow_disk?.0, latency: form.latency?.0 },
        "drift" => StepAction::Drift { nodes: form.drift?.0, ppm: form.ppm? },
        "jump" => StepAction::Jump { nodes: form.jump?.0, by: form.by?.0.0 },
        "pause" => StepAction::Pause { nodes: form.pause?.0 },
        "suspend" => StepAction::Suspend { nodes: form.suspend?.0 },
        "stranger" => {
            let messages = form.messages.map(|count| Forgery { count, key: form.key.unwrap_or(0) });
            StepAction::Stranger { nodes: form.stranger?.0, messages }
        }
        "resume" => StepAction::Resume { nodes: form.resume?.0 },
        "campaign" => StepAction::Campaign { nodes: form.campaign?.0 },
        "take_snapshot" => StepAction::TakeSnapshot { nodes: form.take_snapshot?.0 },
        "put" => {
            let F(Put(key, value)) = form.put?;
            StepAction::Put { node: form.to?.0, key, value }
        }
        "get" => StepAction::Get { node: form.to?.0, key: form.get?.trim().to_owned(), mode: form.mode },
        "change" => StepAction::Change { steps: form.change?.0, force: form.force.unwrap_or(false) },
        "backup" => StepAction::Backup { nodes: form.backup?.0 },
        "restore" => StepAction::Restore { nodes: form.restore?.0 },
        "recover" => StepAction::Recover { node: form.recover?.0 },
        "transfer" => StepAction::Transfer { to: form.transfer?.0.0, asked: form.asked.map(|F(nodes)| nodes) },
        _ => StepAction::Expect(Box::new(form.expect?)),
    })
}

impl Step {
    /// A step at this time, as if it had been read from a file.
    pub(crate) fn at(time: Duration, mut action: StepAction, lasts: Option<Duration>) -> Self {
        // Only a power loss asks what is kept.
        if let StepAction::Crash {
            crash: CrashKind::Kill | CrashKind::DiskLoss | CrashKind::DiskRollback, keep, ..
        } = &mut action
        {
            *keep = Keep::Random;
        }
        let form = Some(Box::new(StepForm { time: Some(F(time)), lasts: lasts.map(F), ..form_of(&action) }));
        Self { trigger: Trigger::At(time), action, lasts, refused: None, origin: Origin::default(), form }
    }
}

/// The form of an action: [`action`] reads it back.
fn form_of(action: &StepAction) -> StepForm {
    let mut form = StepForm::default();
    let nodes = |nodes: &Targets| Some(F(nodes.clone()));
    let calls = |after: u64| u32::try_from(after).ok().filter(|after| *after > 0);
    match action {
        StepAction::Crash { nodes: of, crash, after, keep } => {
            let place = match crash {
                CrashKind::Kill => &mut form.kill,
                CrashKind::PowerLoss => &mut form.power_loss,
                CrashKind::DiskLoss => &mut form.wipe,
                CrashKind::DiskRollback => &mut form.disk_rolled_back,
            };
            *place = nodes(of);
            form.keep = (*crash == CrashKind::PowerLoss && *keep != Keep::Random).then_some(*keep);
            match after {
                Some(CrashAfter::Actions(after)) => form.after_actions = Some(*after),
                Some(CrashAfter::Calls(after)) => form.after_calls = Some(*after),
                Some(CrashAfter::NewFile(after)) => form.after_new_file = Some(*after),
                None => {}
            }
        }
        StepAction::Restart { nodes: of } => form.restart = nodes(of),
        StepAction::Cut { links } => form.cut = Some(F(links.clone())),
        StepAction::CutClients { nodes: of, only } => (form.cut_clients, form.only) = (nodes(of), *only),
        StepAction::Partition { groups } => form.partition = Some(F(groups.clone())),
        StepAction::Heal => form.heal = Some(true),
        StepAction::Drop { kind, from, to } => {
            form.drop = Some(F(MessageKind(kind.clone())));
            form.on = Some(F(Links { from: from.clone(), to: to.clone(), one_way: true }));
        }
        StepAction::Network(model) => form.network = Some(model.clone()),
        StepAction::DiskLatency { nodes: of, latency } => {
            (form.slow_disk, form.latency) = (nodes(of), Some(F(latency.clone())));
        }
        StepAction::Damage { nodes: of, fault } => {
            let place = if *fault == Fault::BitRot { &mut form.bit_rot } else { &mut form.misdirected_write };
            *place = nodes(of);
        }
        StepAction::InjectedError { nodes: of, error, after_calls } => {
            form.after_calls = calls(*after_calls);
            match error {
                InjectedError::ReadError => (form.eio, form.call) = (nodes(of), Some(Call::Read)),
                InjectedError::WriteError => form.eio = nodes(of),
                InjectedError::NoSpace => form.enospc = nodes(of),
                InjectedError::FailedSync => form.fsync_failed = nodes(of),
            }
        }
        StepAction::Drift { nodes: of, ppm } => (form.drift, form.ppm) = (nodes(of), Some(*ppm)),
        StepAction::Jump { nodes: of, by } => (form.jump, form.by) = (nodes(of), Some(F(Jump(*by)))),
        _ => form = act_form_of(action),
    }
    form
}

/// The form of an action of an operator or a client, of a process that stands still, or of a check.
fn act_form_of(action: &StepAction) -> StepForm {
    let mut form = StepForm::default();
    let nodes = |nodes: &Targets| Some(F(nodes.clone()));
    match action {
        StepAction::Pause { nodes: of } => form.pause = nodes(of),
        StepAction::Stranger { nodes: of, messages } => {
            form.stranger = nodes(of);
            (form.messages, form.key) = messages.map_or((None, None), |drawn| (Some(drawn.count), Some(drawn.key)));
        }
        StepAction::Suspend { nodes: of } => form.suspend = nodes(of),
        StepAction::Resume { nodes: of } => form.resume = nodes(of),
        StepAction::Campaign { nodes: of } => form.campaign = nodes(of),
        StepAction::TakeSnapshot { nodes: of } => form.take_snapshot = nodes(of),
        StepAction::Put { node, key, value } => {
            (form.put, form.to) = (Some(F(Put(key.clone(), value.clone()))), nodes(node));
        }
        StepAction::Get { node, key, mode } => (form.get, form.to, form.mode) = (Some(key.clone()), nodes(node), *mode),
        StepAction::Change { steps, force } => {
            (form.change, form.force) = (Some(F(steps.clone())), force.then_some(true))
        }
        StepAction::Transfer { to, asked } => {
            (form.transfer, form.asked) = (Some(F(AnyNode(*to))), asked.clone().map(F));
        }
        StepAction::Backup { nodes: of } => form.backup = nodes(of),
        StepAction::Restore { nodes: of } => form.restore = nodes(of),
        StepAction::Recover { node } => form.recover = Some(F(*node)),
        StepAction::Expect(expect) => form.expect = Some((**expect).clone()),
        _ => {}
    }
    form
}
