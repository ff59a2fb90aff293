//! `[[at]]` and `[[when]]`: the steps of a scripted story, each a moment and one action.

use super::fields::{Fields, Value};
use super::model::{Condition, Keep, Links, Scenario, Step, StepAction, Targets, Trigger};
use super::names::{MESSAGE_KINDS, ROLES, named};
use super::parse::{self, Moment, duration, duration_range, set};
use super::{changes, suggest, targets, units};
use crate::faults::Fault;
use crate::record::CrashKind;
use crate::world::disk::InjectedError;
use raft_core::{LogIndex, MAX_NUMBER, NodeId, RoleKind, Term};
use std::time::Duration;

/// The actions; a step has exactly one.
const ACTIONS: [&str; 27] = [
    "kill",
    "power_loss",
    "wipe",
    "disk_rolled_back",
    "bit_rot",
    "misdirected_write",
    "eio",
    "enospc",
    "fsync_failed",
    "restart",
    "cut",
    "isolate",
    "partition",
    "heal",
    "drop",
    "network",
    "slow_disk",
    "drift",
    "pause",
    "resume",
    "campaign",
    "take_snapshot",
    "put",
    "get",
    "change",
    "transfer",
    "expect",
];

/// The states a `[[when]]` step can wait for; it has exactly one.
const CONDITIONS: [&str; 10] = [
    "leader",
    "role",
    "holds",
    "committed",
    "leader_appended",
    "voted_for",
    "decided",
    "joint",
    "snapshot",
    "sending_snapshot",
];

/// Fields that say more about an action or a condition.
const OPTIONS: [&str; 11] =
    ["after_actions", "after_calls", "call", "keep", "on", "latency", "ppm", "to", "node", "min_term", "after"];

/// All steps of a file: first those with a time, then those that wait for a state, each kind in the file's order.
pub(crate) fn steps(root: &mut Fields<'_, '_>, scenario: &Scenario) -> Vec<Step> {
    let mut steps = Vec::new();
    for value in list(root, "at") {
        let Some(mut fields) = value.table() else { continue };
        let time = fields.require("time").and_then(|time| {
            let at = duration(&time)?;
            if at > scenario.duration {
                time.problem(format!("is after the end of the run, {}", units::show(scenario.duration)));
            }
            Some(Trigger::At(at))
        });
        steps.extend(step(fields, time, scenario));
    }
    for value in list(root, "when") {
        let Some(mut fields) = value.table() else { continue };
        let condition = condition(&mut fields, scenario.nodes);
        let after = fields.get("after").and_then(|value| duration(&value)).unwrap_or(Duration::ZERO);
        let trigger = condition.map(|condition| Trigger::When { condition, after });
        steps.extend(step(fields, trigger, scenario));
    }
    steps
}

fn list<'r, 't>(root: &mut Fields<'r, 't>, name: &'static str) -> Vec<Value<'r, 't>> {
    root.get(name).and_then(|value| value.list("steps such as [[at]]")).unwrap_or_default()
}

fn step(mut fields: Fields<'_, '_>, trigger: Option<Trigger>, scenario: &Scenario) -> Option<Step> {
    let present = fields.present(&ACTIONS);
    let action = match present.as_slice() {
        [name] => fields.get(name).and_then(|value| action(name, &value, &mut fields, scenario)),
        [] => {
            fields.problem(format!("has no action; an action is one of {}", ACTIONS.join(", ")));
            None
        }
        [_, second, ..] => {
            fields.problem_with(second, format!("a step has one action, this one has {}", present.join(" and ")));
            return None;
        }
    };
    let words = ACTIONS.iter().chain(&CONDITIONS).chain(&OPTIONS).chain(&["time"]);
    fields.finish_within(&words.copied().collect::<Vec<_>>());
    trigger.zip(action).map(|(trigger, action)| Step { trigger, action })
}

fn whom(value: &Value<'_, '_>, nodes: u64) -> Option<Targets> {
    value.read("nodes such as \"leader\" or \"n1 n2\"", |text| targets::targets(text, nodes))
}

fn action(name: &str, value: &Value<'_, '_>, fields: &mut Fields<'_, '_>, scenario: &Scenario) -> Option<StepAction> {
    let nodes = scenario.nodes;
    match name {
        "kill" => crash(CrashKind::Kill, whom(value, nodes), fields),
        "power_loss" => crash(CrashKind::PowerLoss, whom(value, nodes), fields),
        "wipe" => crash(CrashKind::DiskLoss, whom(value, nodes), fields),
        "disk_rolled_back" => crash(CrashKind::DiskRollback, whom(value, nodes), fields),
        "bit_rot" => Some(StepAction::Damage { nodes: whom(value, nodes)?, fault: Fault::BitRot }),
        "misdirected_write" => Some(StepAction::Damage { nodes: whom(value, nodes)?, fault: Fault::MisdirectedWrite }),
        "eio" => {
            let call = fields.get("call").and_then(|value| value.read("`read` or `write`", call_that_fails));
            error(call.unwrap_or(InjectedError::WriteError), whom(value, nodes), fields)
        }
        "enospc" => Some(StepAction::InjectedError {
            nodes: whom(value, nodes)?,
            error: InjectedError::NoSpace,
            after_calls: 0,
        }),
        "fsync_failed" => error(InjectedError::FailedSync, whom(value, nodes), fields),
        "restart" => Some(StepAction::Restart { nodes: whom(value, nodes)? }),
        "cut" => cut(value, nodes),
        "isolate" => {
            let links = Links { from: whom(value, nodes)?, to: Targets::All, one_way: false };
            Some(StepAction::Cut { links: vec![links] })
        }
        "partition" => {
            let groups = value.read("groups such as \"n1 n2 | n3\"", |text| targets::groups(text, nodes))?;
            Some(StepAction::Partition { groups })
        }
        "heal" => {
            if !value.boolean()? {
                value.problem("can only be true");
            }
            Some(StepAction::Heal)
        }
        "drop" => drop_kind(value, fields, nodes),
        "network" => {
            let mut model = scenario.network.clone();
            let mut inner = value.table()?;
            parse::network(&mut inner, &mut model);
            inner.finish();
            Some(StepAction::Network(model))
        }
        "slow_disk" => {
            let latency = fields.require("latency").and_then(|value| duration_range(&value));
            Some(StepAction::DiskLatency { nodes: whom(value, nodes)?, latency: latency? })
        }
        "drift" => drift(whom(value, nodes), fields),
        "pause" => Some(StepAction::Pause { nodes: whom(value, nodes)? }),
        "resume" => Some(StepAction::Resume { nodes: whom(value, nodes)? }),
        "campaign" => Some(StepAction::Campaign { nodes: whom(value, nodes)? }),
        "take_snapshot" => Some(StepAction::TakeSnapshot { nodes: whom(value, nodes)? }),
        "put" => put(value, fields, nodes),
        "get" => get(value, fields, nodes),
        "change" => {
            let steps = value.read("a change such as \"add n4\"", |text| changes::change(text, nodes))?;
            Some(StepAction::Change { steps })
        }
        "transfer" => {
            let to = value.read("\"any\" or a node such as \"n2\"", |text| any(text, nodes))?;
            Some(StepAction::Transfer { to })
        }
        _ => {
            let mut inner = value.table()?;
            let expect = parse::expectations(&mut inner, nodes, Moment::Step);
            inner.finish_within(&["sometimes", "heals_within"]);
            Some(StepAction::Expect(expect))
        }
    }
}

fn crash(crash: CrashKind, nodes: Option<Targets>, fields: &mut Fields<'_, '_>) -> Option<StepAction> {
    let after = fields.get("after_actions").and_then(|value| value.integer(0..=1000));
    let after_actions = after.and_then(|number| u32::try_from(number).ok());
    let mut keep = Keep::Random;
    if crash == CrashKind::PowerLoss {
        let word = |text: &str| named(&KEEPS, "choice", text);
        set(&mut keep, fields.get("keep").and_then(|value| value.read("what is left, such as \"nothing\"", word)));
    }
    Some(StepAction::Crash { nodes: nodes?, crash, after_actions, keep })
}

/// Which calls an error of the device can strike.
fn call_that_fails(text: &str) -> Result<InjectedError, String> {
    named(&[(InjectedError::ReadError, "read"), (InjectedError::WriteError, "write")], "call", text)
}

fn error(error: InjectedError, nodes: Option<Targets>, fields: &mut Fields<'_, '_>) -> Option<StepAction> {
    let after_calls = fields.get("after_calls").and_then(|value| value.integer(0..=1000)).unwrap_or(0);
    Some(StepAction::InjectedError { nodes: nodes?, error, after_calls })
}

/// What `keep` can say.
pub(crate) const KEEPS: [(Keep, &str); 3] =
    [(Keep::Random, "random"), (Keep::Nothing, "nothing"), (Keep::Everything, "everything")];

fn link(value: &Value<'_, '_>, nodes: u64) -> Option<Links> {
    value.read("a link such as \"n1>n3\"", |text| targets::links(text, nodes))
}

/// One link, or a list of links that are cut in the same moment: any shape of network that stories ask for.
fn cut(value: &Value<'_, '_>, nodes: u64) -> Option<StepAction> {
    if !value.is_list() {
        return Some(StepAction::Cut { links: vec![link(value, nodes)?] });
    }
    let items = value.list("links")?;
    if items.is_empty() {
        value.problem("names no link");
        return None;
    }
    let links: Vec<Option<Links>> = items.iter().map(|item| link(item, nodes)).collect();
    Some(StepAction::Cut { links: links.into_iter().collect::<Option<_>>()? })
}

/// A clock that stands still or runs backwards is no clock, and one that runs ten times too fast is no story any more.
fn drift(nodes: Option<Targets>, fields: &mut Fields<'_, '_>) -> Option<StepAction> {
    let value = fields.require("ppm")?;
    let ppm = value.signed(-SLOWEST_PPM..=FASTEST_PPM).and_then(|ppm| i32::try_from(ppm).ok())?;
    if ppm == 0 {
        value.problem("0 is no drift");
    }
    Some(StepAction::Drift { nodes: nodes?, ppm })
}

/// How far clocks may be off in parts per million: ten times too slow, ten times too fast.
const SLOWEST_PPM: i64 = 900_000;
const FASTEST_PPM: i64 = 9_000_000;

fn drop_kind(value: &Value<'_, '_>, fields: &mut Fields<'_, '_>, nodes: u64) -> Option<StepAction> {
    let kind = value.read("a message kind such as \"request_vote\"", |text| {
        let known = || format!("unknown message kind `{text}`{}", suggest::hint(text, MESSAGE_KINDS));
        MESSAGE_KINDS.contains(&text).then(|| text.to_owned()).ok_or_else(known)
    });
    let (from, to) = match fields.get("on") {
        None => (Targets::All, Targets::All),
        Some(on) => {
            let Links { from, to, one_way } = link(&on, nodes)?;
            if !one_way {
                on.problem("a kind of message is dropped one way: write two steps for both");
            }
            (from, to)
        }
    };
    Some(StepAction::Drop { kind: kind?, from, to })
}

fn put(value: &Value<'_, '_>, fields: &mut Fields<'_, '_>, nodes: u64) -> Option<StepAction> {
    let node = fields.require("to").and_then(|value| whom(&value, nodes));
    let (key, value) = value.read("a put such as \"k1 = v1\"", |text| {
        let parts = text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
        parts.filter(|(key, _)| !key.is_empty()).ok_or_else(|| format!("`{text}` is no put such as \"k1 = v1\""))
    })?;
    Some(StepAction::Put { node: node?, key, value })
}

fn get(value: &Value<'_, '_>, fields: &mut Fields<'_, '_>, nodes: u64) -> Option<StepAction> {
    let node = fields.require("to").and_then(|value| whom(&value, nodes));
    let key = value.text("a key such as \"k1\"")?.trim().to_owned();
    if key.is_empty() {
        value.problem("names no key");
    }
    Some(StepAction::Get { node: node?, key })
}

/// `any`, or a node.
fn any(text: &str, nodes: u64) -> Result<Option<NodeId>, String> {
    if text == "any" { Ok(None) } else { units::node(text, nodes).map(Some) }
}

fn condition(fields: &mut Fields<'_, '_>, nodes: u64) -> Option<Condition> {
    let present = fields.present(&CONDITIONS);
    let name = match present.as_slice() {
        [name] => *name,
        [] => {
            fields.problem(format!("waits for nothing; a condition is one of {}", CONDITIONS.join(", ")));
            return None;
        }
        [_, second, ..] => {
            fields.problem_with(second, format!("a step waits for one thing, this one for {}", present.join(" and ")));
            CONDITIONS.iter().for_each(|name| drop(fields.get(name)));
            return None;
        }
    };
    let value = fields.get(name)?;
    let any = |text: &str| any(text, nodes);
    let some_node = |value: &Value<'_, '_>| value.read("\"any\" or a node such as \"n1\"", any);
    let at_least = |fields: &mut Fields<'_, '_>| {
        let term = fields.get("min_term").and_then(|value| value.integer(0..=MAX_NUMBER));
        Term(term.unwrap_or(0))
    };
    let holder = |fields: &mut Fields<'_, '_>| -> Option<Option<NodeId>> {
        fields.get("node").map_or(Some(None), |value| some_node(&value))
    };
    match name {
        "leader" => {
            let min_term = at_least(fields);
            Some(Condition::Role { node: some_node(&value)?, role: RoleKind::Leader, min_term })
        }
        "role" => {
            let (node, min_term) = (holder(fields), at_least(fields));
            let role = value.read("a role such as \"candidate\"", |text| named(&ROLES, "role", text))?;
            Some(Condition::Role { node: node?, role, min_term })
        }
        "holds" => {
            let node = holder(fields);
            let (index, term) = value.read("an entry such as \"7@3\"", units::entry)?;
            Some(Condition::Holds { node: node?, index, term })
        }
        "committed" => {
            let node = holder(fields);
            Some(Condition::Committed { index: LogIndex(value.integer(1..=MAX_NUMBER)?), node: node? })
        }
        "leader_appended" => {
            let min_term = at_least(fields);
            Some(Condition::LeaderAppended { node: some_node(&value)?, min_term })
        }
        "decided" => Some(Condition::Decided { seats: parse::configuration(&value, nodes)? }),
        "joint" => Some(Condition::Joint { node: some_node(&value)? }),
        "snapshot" => {
            let node = holder(fields);
            Some(Condition::Snapshot { index: LogIndex(value.integer(1..=MAX_NUMBER)?), node: node? })
        }
        "sending_snapshot" => Some(Condition::SendingSnapshot { to: some_node(&value)? }),
        _ => {
            let node = holder(fields);
            let candidate = value.read("a node such as \"n1\"", |text| units::node(text, nodes))?;
            Some(Condition::VotedFor { node: node?, candidate })
        }
    }
}
