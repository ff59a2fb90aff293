//! `raft-sim run`: scenarios with all their seeds.

use super::args::RunArgs;
use super::campaign::{End, Group, campaign};
use super::exit::Exit;
use super::files;
use super::replay::show;
use anyhow::Result;
use raft_sim::enumerate;
use raft_sim::scenario::model::{Enumeration, Scenario};
use raft_sim::scenario::parse::ScenarioFile;

/// Runs scenarios, each with its own seeds or the given ones.
pub(crate) fn run(args: &RunArgs) -> Result<Exit> {
    let files = files::load_all(&args.paths)?;
    if let Some((point, outcome)) = args.case {
        return one_case(&files, point, outcome, args);
    }
    let group = |file: ScenarioFile| {
        if let Some(enumeration) = &file.scenario.enumerate {
            return points(&file.scenario, enumeration, args);
        }
        let seeds = args.seeds.clone().unwrap_or_else(|| file.scenario.seeds.clone());
        let count = seeds.end.saturating_sub(seeds.start);
        Group { scenario: file.scenario, first: seeds.start, step: 1, count, of_points: None }
    };
    let groups: Vec<Group> = files.into_iter().map(group).collect();
    campaign(groups, &args.campaign, &End::default())
}

/// The crash points of an enumerated scenario: all, the given ones, or an even sample over the run.
fn points(scenario: &Scenario, enumeration: &Enumeration, args: &RunArgs) -> Group {
    let all = enumerate::points(scenario);
    let (first, step, count) = match &args.seeds {
        Some(points) => (points.start, 1, points.end.min(all).saturating_sub(points.start)),
        None if args.full => (0, 1, all),
        None => {
            let step = all.div_ceil(enumeration.sample).max(1);
            (step / 2, step, all.saturating_sub(step / 2).div_ceil(step))
        }
    };
    Group { scenario: scenario.clone(), first, step, count, of_points: Some(all) }
}

/// One outcome of one crash point.
fn one_case(files: &[ScenarioFile], point: u64, outcome: u64, args: &RunArgs) -> Result<Exit> {
    let [file] = files else {
        eprintln!("expected one scenario file with --case, found {}", files.len());
        return Ok(Exit::Usage);
    };
    if file.scenario.enumerate.is_none() {
        eprintln!("--case needs an enumerated scenario; {} has no [enumerate]", file.scenario.path);
        return Ok(Exit::Usage);
    }
    show(file, point, &args.campaign.outputs, |sink| enumerate::run_point(&file.scenario, point, Some(outcome), sink))
}
