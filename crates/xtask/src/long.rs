//! `cargo xtask long`: two planted bugs, then new seeds until the time limit. The printed line repeats a failure.

use crate::process::Line;
use crate::repository;
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The time limit; the current round is finished
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
}

/// The seeds of one round of the swarm, and the cases of each property test.
const ROUND_SEEDS: u64 = 500;
const ROUND_CASES: u64 = 2_000;

/// A test that the simulator still finds bugs: `cargo xtask planted-bugs` plants all of them.
const PLANTED: &str = "cargo run --locked --quiet --package xtask -- planted-bugs --seeds 100 --only vote-before-durable \
                       --only duplicate-append-acked-early";

/// The planted bugs, then rounds of property tests and swarms.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let commit = repository::commit(root);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (start, limit) = (Instant::now(), Duration::from_secs(options.minutes * 60));
    let planted = Line { words: PLANTED, environment: &[] };
    if !planted.command(root).status()?.success() {
        println!("long: FAILED, commit {commit}: the simulator misses a planted bug; to repeat it: {planted}");
        return Ok(false);
    }
    let mut round = 0;
    while start.elapsed() < limit {
        let seed = seed_of(since_1970, round);
        println!("long: round {round}, seed {seed}, commit {commit}");
        let environment = [("PROPTEST_RNG_SEED", seed.to_string()), ("PROPTEST_CASES", ROUND_CASES.to_string())];
        let swarm = format!(
            "cargo run --locked --quiet --profile sim --package raft-sim -- swarm --profile all --seeds {seed}..{}",
            seed + ROUND_SEEDS
        );
        let lines = [
            Line { words: "cargo test --locked --quiet --profile sim --workspace", environment: &environment },
            Line { words: &swarm, environment: &[] },
        ];
        for line in lines {
            if !line.command(root).status()?.success() {
                println!("long: FAILED in round {round}, seed {seed}, commit {commit}; to repeat it: {line}");
                return Ok(false);
            }
        }
        round += 1;
    }
    println!("long: {round} rounds passed in {} s, commit {commit}", start.elapsed().as_secs());
    Ok(true)
}

/// Seeds that are far apart, from the clock. They are below 2^48: short to type, and the end of a range cannot
/// overflow.
fn seed_of(since_1970: Duration, round: u64) -> u64 {
    let clock = since_1970.as_nanos() as u64;
    let mixed = clock.wrapping_add(round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;
    use std::collections::BTreeSet;

    #[test]
    fn the_planted_bugs_exist() {
        let patches = planted::patches(&repository::root().unwrap()).unwrap();
        let words: Vec<_> = PLANTED.split_whitespace().collect();
        let asked: Vec<_> = words.windows(2).filter(|pair| pair[0] == "--only").map(|pair| pair[1]).collect();
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|id| patches.iter().any(|patch| patch.id == *id)), "{asked:?}");
    }

    #[test]
    fn rounds_do_not_share_seeds() {
        let clock = Duration::from_secs(1_700_000_000);
        let seeds: BTreeSet<u64> = (0..1_000).map(|round| seed_of(clock, round)).collect();
        let gaps = seeds.iter().zip(seeds.iter().skip(1)).map(|(low, high)| high - low);
        assert!(seeds.len() == 1_000 && gaps.min().is_some_and(|gap| gap > ROUND_SEEDS));
        assert!(seeds.iter().all(|&seed| seed < 1 << 48));
    }
}
