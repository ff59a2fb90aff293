//! `raft-sim run`: the main job.

use super::args::RunArgs;
use super::campaign::{Group, campaign};
use super::exit::Exit;
use super::files;
use anyhow::Result;

/// Runs scenarios, each with its own seeds or those asked for.
pub(crate) fn run(args: &RunArgs) -> Result<Exit> {
    let files = files::load_all(&args.paths)?;
    let group = |file: raft_sim::scenario::parse::ScenarioFile| {
        let seeds = args.seeds.clone().unwrap_or_else(|| file.scenario.seeds.clone());
        Group { scenario: file.scenario, first: seeds.start, step: 1, count: seeds.end.saturating_sub(seeds.start) }
    };
    let groups: Vec<Group> = files.into_iter().map(group).collect();
    campaign(&groups, &args.campaign, None)
}
