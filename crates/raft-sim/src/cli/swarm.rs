//! `raft-sim swarm`: random faults, seed after seed.

use super::args::{Profile, SwarmArgs};
use super::campaign::{self, End, Group};
use super::exit::Exit;
use anyhow::Result;
use raft_sim::faults::profiles;

/// Runs a swarm profile.
pub(crate) fn swarm(args: &SwarmArgs) -> Result<Exit> {
    let mut scenario = match args.profile {
        Profile::Net => profiles::net(args.nodes),
        Profile::Disk => profiles::disk(args.nodes),
        Profile::Member => profiles::member(args.nodes),
        Profile::Timing => profiles::timing(args.nodes),
        Profile::All => profiles::all(args.nodes),
    };
    if let Some(swarm) = &mut scenario.swarm {
        swarm.without = args.without.iter().copied().collect();
    }
    let is_open = args.time.is_some() || args.until_unseen.is_some();
    let open_end = if is_open { 0..u64::MAX / 2 } else { scenario.seeds.clone() };
    let seeds = args.seeds.clone().unwrap_or(open_end);
    let count = seeds.end.saturating_sub(seeds.start);
    let group = Group { scenario, first: seeds.start, step: 1, count, of_points: None };
    let end = End { time: campaign::until(args.time), unseen: args.until_unseen };
    campaign::campaign(vec![group], &args.campaign, &end)
}
