//! `raft-sim swarm`: random faults, seed after seed.

use super::args::{Profile, Shard, SwarmArgs};
use super::campaign::{self, Group};
use super::exit::Exit;
use anyhow::Result;
use raft_sim::faults::profiles;

/// Runs a swarm profile.
pub(crate) fn swarm(args: &SwarmArgs) -> Result<Exit> {
    let mut scenario = match args.profile {
        Profile::Net => profiles::net(args.nodes),
        Profile::Disk => profiles::disk(args.nodes),
        Profile::Timing => profiles::timing(args.nodes),
        Profile::All => profiles::all(args.nodes),
    };
    if let Some(swarm) = &mut scenario.swarm {
        swarm.without = args.without.iter().copied().collect();
    }
    let open_end = if args.time.is_some() { 0..u64::MAX / 2 } else { scenario.seeds.clone() };
    let seeds = args.seeds.clone().unwrap_or(open_end);
    let Shard { index, of } = args.shard.unwrap_or(Shard { index: 0, of: 1 });
    let count = seeds.end.saturating_sub(seeds.start).saturating_sub(index).div_ceil(of);
    let group = Group { scenario, first: seeds.start.saturating_add(index), step: of, count, of_points: None };
    campaign::campaign(&[group], &args.campaign, campaign::until(args.time))
}
