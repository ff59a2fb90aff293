//! A path as lines, one for each step, and the way back: a line is read by comparison with the steps that are possible.

use super::Limits;
use super::pool::Pool;
use super::state::State;
use super::successors::{Step, StepKind};
use raft_core::RoleKind;
use std::fmt::Write;

/// The way to figure 8 (c) of the Raft paper with three nodes: n1 leads term 2 and alone has its entry, n3 leads term 3 and
/// alone has its entry, n1 leads term 4 and nobody has its new entry yet.
pub const FIGURE_8: &str = include_str!("figure-8.steps");

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    step: String,
    /// The node after it.
    effect: String,
}

/// The line of a step; `next` is the state after it.
pub(super) fn line(pool: &Pool, state: &State, step: &Step, next: Option<&State>) -> Line {
    let effect = next.map_or_else(String::new, |next| node(pool, next.nodes[step.node]));
    Line { step: text(pool, state, step), effect }
}

/// The lines with their numbers.
pub(super) fn show(lines: &[Line]) -> Vec<String> {
    let width = lines.iter().map(|line| line.step.chars().count()).filter(|&width| width <= 72).max().unwrap_or(0);
    let show = |(place, Line { step, effect }): (usize, &Line)| {
        if effect.is_empty() {
            format!("{:3}. {step}", place + 1)
        } else {
            format!("{:3}. {step:width$} | {effect}", place + 1)
        }
    };
    lines.iter().enumerate().map(show).collect()
}

fn text(pool: &Pool, state: &State, step: &Step) -> String {
    let id = step.node + 1;
    let replica = &pool.row(state.nodes[step.node]).replica;
    let mut text = match step.kind {
        StepKind::Receive { letter, again, late } => {
            let marks = if again { " (a copy)" } else { "" };
            let late = if late { " (late)" } else { "" };
            format!("{}{marks}{late}", message(pool, letter))
        }
        StepKind::Timeout if replica.role() == Some(RoleKind::Leader) => format!("n{id} heartbeat"),
        StepKind::Timeout => format!("n{id} election timeout"),
        StepKind::WriteDone => match replica.unsynced.first() {
            Some(write) => format!("n{id} write done: {write}"),
            None => format!("n{id} write done"),
        },
        StepKind::Request => format!("n{id} client request"),
        StepKind::PowerLoss { kept } => {
            format!("n{id} power loss, keeps {kept} of {} unsynced writes", replica.unsynced.len())
        }
        StepKind::Restart => format!("n{id} restart"),
        StepKind::Lost { letter } => format!("{} (lost, n{id} is down)", message(pool, letter)),
    };
    for &letter in &step.lost {
        let _ = write!(text, "{LOST}{}", message(pool, letter));
    }
    text
}

fn message(pool: &Pool, letter: u32) -> String {
    let letter = &pool.letter(letter).letter;
    format!("{}>{} {}", letter.from, letter.to, letter.rpc)
}

fn node(pool: &Pool, node: u32) -> String {
    let row = pool.row(node);
    let (id, log, durable) = (row.replica.id, row.summary.log, row.summary.durable);
    match &row.replica.core {
        None => format!("{id} is down, its disk has term {}, log {}", row.summary.durable_term, durable.show()),
        Some(core) => {
            let (role, term) = (core.role(), core.term());
            let behind = if log == durable { String::new() } else { format!(", durable {}", durable.show()) };
            format!("{id} {role} in term {term}, log {}{behind}, commit {}", log.show(), core.commit())
        }
    }
}

/// Follows a path from `start`.
///
/// # Errors
/// The first line that is no step, or that more than one step begins with.
pub(super) fn walk(pool: &mut Pool, limits: &Limits, start: State, path: &str) -> Result<(Vec<Line>, State), String> {
    // On the way there is more room, so only the messages that the path names are lost.
    let limits = Limits { in_flight: super::state::MAX_IN_FLIGHT, ..limits.clone() };
    let (mut state, mut lines) = (start, Vec::new());
    for (number, text) in path.lines().enumerate() {
        let text = text.split(" | ").next().unwrap_or_default().trim();
        let text = text.split_once(". ").filter(|(number, _)| number.parse::<u32>().is_ok()).map_or(text, |it| it.1);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut parts = text.split(LOST);
        let wanted = parts.next().unwrap_or_default();
        let at = |problem| format!("line {} of the path: {problem}", number + 1);
        if !wanted.is_empty() {
            let (mut line, next) = take(pool, &limits, &state, wanted).map_err(at)?;
            line.step = text.to_owned();
            lines.push(line);
            state = next;
        }
        for lost in parts {
            lose(pool, &mut state, lost).map_err(at)?;
        }
    }
    Ok((lines, state))
}

/// What separates the messages that a step loses.
const LOST: &str = "; lost: ";

/// Takes the step whose text is this, or else the only one whose text begins like this.
fn take(pool: &mut Pool, limits: &Limits, state: &State, wanted: &str) -> Result<(Line, State), String> {
    let (mut possible, mut found) = (Vec::new(), Vec::new());
    pool.successors(limits, state, &mut |pool, step, next| {
        let text = text(pool, state, &step);
        let is_exact = text == wanted;
        if is_exact {
            found.clear();
        }
        if text.starts_with(wanted) {
            found.push((step, next));
        }
        possible.push(text);
        !is_exact
    });
    let count = found.len();
    match (found.pop(), count) {
        (Some((step, next)), 1) => {
            let next = next.map_err(|violation| format!("`{wanted}`: {}", violation.message))?;
            Ok((line(pool, state, &step, Some(&next)), next))
        }
        _ => Err(format!("expected one step `{wanted}`, found {count} among\n  {}", possible.join("\n  "))),
    }
}

/// Removes the message in flight whose text is this, or else the only one whose text begins like this.
fn lose(pool: &Pool, state: &mut State, wanted: &str) -> Result<(), String> {
    let texts: Vec<String> = state.letters.iter().map(|&letter| message(pool, letter)).collect();
    let mut alike = (0..texts.len()).filter(|&place| texts[place].starts_with(wanted));
    let exact = texts.iter().position(|text| text == wanted);
    match exact.or_else(|| alike.next().filter(|_| alike.next().is_none())) {
        Some(place) => {
            state.letters.remove(place);
            Ok(())
        }
        None => Err(format!("expected one message `{wanted}`, in flight are\n  {}", texts.join("\n  "))),
    }
}
