//! `raft-sim check`: every interleaving of a small cluster.

use super::args::{CheckArgs, Format};
use super::clock;
use super::exit::Exit;
use anyhow::{Context, Result, anyhow};
use raft_sim::explore::{self, Broken, End, FIGURE_8, Figures, Limits};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// The version of the JSON report.
const SCHEMA: u64 = 1;

/// Explores the states within the limits and prints what was found.
pub(crate) fn check(args: &CheckArgs) -> Result<Exit> {
    let limits = limits(args);
    let path = match &args.steps {
        None => String::new(),
        Some(name) if name.as_os_str() == "figure-8" => FIGURE_8.to_owned(),
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
    };
    let started = clock::now();
    let is_shown = io::stderr().is_terminal();
    let mut shown = Duration::ZERO;
    let mut keep_on = |figures: &Figures| {
        let elapsed = clock::now().duration_since(started);
        if is_shown && elapsed - shown > Duration::from_secs(1) {
            shown = elapsed;
            let Figures { states, depth, frontier, .. } = *figures;
            eprint!("\r{states} states, {frontier} of them to do, depth {depth}, {} s ", elapsed.as_secs());
        }
        if args.time.is_some_and(|limit| elapsed >= limit) {
            return Some("time");
        }
        (figures.bytes >= args.memory).then_some("memory")
    };
    let outcome = explore::explore(&limits, &path, &mut keep_on);
    if is_shown {
        eprintln!();
    }
    let (end, figures) = outcome.map_err(|problem| anyhow!("{problem}"))?;
    let report = Report { limits, end, figures, wall: clock::now().duration_since(started) };
    let text = match args.format {
        Format::Text => report.text(),
        Format::Json => format!("{:#}\n", report.json()),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(report.exit())
}

fn limits(args: &CheckArgs) -> Limits {
    Limits {
        nodes: args.nodes,
        terms: args.terms,
        entries: args.entries,
        crashes: args.crashes,
        in_flight: args.in_flight,
        drops: args.drops.0,
        duplicates: args.duplicates,
        heartbeats: args.heartbeats.0,
        rounds: args.rounds,
        pre_vote: args.pre_vote,
        stickiness: args.stickiness,
        check_quorum: args.check_quorum,
        symmetry: args.symmetry,
        ..Limits::default()
    }
}

struct Report {
    limits: Limits,
    end: End,
    figures: Figures,
    wall: Duration,
}

impl Report {
    fn exit(&self) -> Exit {
        match &self.end {
            End::Exhausted => Exit::Held,
            End::Stopped(_) => Exit::Inconclusive,
            End::Broken(Broken { violation, .. }) => match violation.property {
                "no-panic" => Exit::Panic,
                "liveness" => Exit::Expectation,
                _ => Exit::Safety,
            },
        }
    }

    /// Per second and core: the search has one thread.
    fn speed(&self, count: u64) -> u64 {
        (u128::from(count) * 1_000_000 / self.wall.as_micros().max(1)) as u64
    }

    fn bytes_per_state(&self) -> u64 {
        self.figures.bytes / self.figures.states.max(1)
    }

    fn text(&self) -> String {
        let (verdict, outcome) = match &self.end {
            End::Exhausted => ("PASS", "every state was visited".to_owned()),
            End::Stopped(what) => ("INCONCLUSIVE", format!("the budget of {what} ran out")),
            End::Broken(Broken { violation, .. }) => ("FAIL", format!("{}: {}", violation.property, violation.message)),
        };
        let Figures { states, transitions, depth, frontier, nodes, messages, calls, healed, bytes } = self.figures;
        let mut text = format!("{verdict} check  {}: {outcome}\n", self.limits_text());
        if let End::Broken(broken) = &self.end {
            broken.steps.iter().for_each(|line| text += &format!("{line}\n"));
        }
        text += &format!(
            "  {states} states, {transitions} transitions, depth {depth}, {frontier} states not expanded\n  \
             {} states/s, {} transitions/s, {:.1} s\n  {} bytes a state, {} MiB\n  \
             {nodes} distinct nodes, {messages} distinct messages, {calls} calls of the core, {healed} states healed\n",
            self.speed(states),
            self.speed(transitions),
            self.wall.as_secs_f64(),
            self.bytes_per_state(),
            bytes >> 20,
        );
        text
    }

    fn limits_text(&self) -> String {
        let Limits { nodes, terms, entries, crashes, in_flight, drops, duplicates, heartbeats, .. } = self.limits;
        let mut text =
            format!("{nodes} nodes, {terms} terms, {entries} entries, {crashes} crashes, {in_flight} in flight");
        let heartbeats = heartbeats.map_or_else(|| "any".to_owned(), |number| number.to_string());
        text += &format!(", {heartbeats} heartbeats");
        if let Some(drops) = drops {
            text += &format!(", {drops} drops");
        }
        if duplicates > 0 {
            text += &format!(", {duplicates} duplicates");
        }
        for (is_on, name) in self.options() {
            if is_on {
                text += &format!(", {name}");
            }
        }
        text
    }

    fn options(&self) -> [(bool, &'static str); 4] {
        let Limits { pre_vote, stickiness, check_quorum, symmetry, .. } = self.limits;
        [(pre_vote, "pre-vote"), (stickiness, "stickiness"), (check_quorum, "check-quorum"), (symmetry, "symmetry")]
    }

    fn json(&self) -> Value {
        let Limits { nodes, terms, entries, crashes, in_flight, drops, duplicates, heartbeats, rounds, .. } =
            self.limits;
        let Figures { states, transitions, depth, frontier, calls, healed, bytes, .. } = self.figures;
        let options: Vec<&str> = self.options().into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect();
        let (end, violations) = match &self.end {
            End::Exhausted => ("exhausted", Vec::new()),
            End::Stopped(what) => (*what, Vec::new()),
            End::Broken(Broken { violation, steps }) => {
                let found = json!({"property": violation.property, "message": violation.message, "steps": steps});
                ("violation", vec![found])
            }
        };
        json!({
            "schema": SCHEMA,
            "end": end,
            "limits": {
                "nodes": nodes, "terms": terms, "entries": entries, "crashes": crashes, "in_flight": in_flight,
                "drops": drops, "duplicates": duplicates, "heartbeats": heartbeats, "rounds": rounds,
                "options": options,
            },
            "states": states,
            "transitions": transitions,
            "depth": depth,
            "frontier": frontier,
            "calls": calls,
            "healed": healed,
            "states_per_s": self.speed(states),
            "transitions_per_s": self.speed(transitions),
            "bytes_per_state": self.bytes_per_state(),
            "bytes": bytes,
            "seconds": self.wall.as_secs_f64(),
            "violations": violations,
        })
    }
}
