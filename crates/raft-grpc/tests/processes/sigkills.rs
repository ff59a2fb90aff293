//! Real SIGKILLs of random nodes at random moments, under load, while snapshots are taken, sent, and the log let go of
//! behind them. `RAFT_SIGKILLS` says how many, `RAFT_SIGKILLS_SEED` which.
//!
//! What the system holds of a dead process's writes it keeps: the power losses that take it back are the simulator's.

use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::wait::wait_until;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

const NODES: u64 = 3;

/// So often progress is waited for: a cluster that is never left alone need not get anywhere.
const KILLS_BETWEEN_RESTS: u64 = 10;

/// A snapshot all the time, few entries behind it, and a first segment that is soon full. The later ones are as large as the
/// space that a node keeps ahead, which is why values are not small.
const COMPACTING: [&str; 7] =
    ["--control-stdin", "--segment-bytes", "16KiB", "--snapshot-after-entries", "100", "--trailing-entries", "10"];
const VALUE_BYTES: usize = 4096;

/// Of so many operations a few hundred are writes: who has missed them cannot go on from anybody's log.
const MISSED: u64 = 1_000;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} = {text}: must be a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_takes_an_acknowledged_word() {
    let kills = variable("RAFT_SIGKILLS").unwrap_or(3);
    let seed = variable("RAFT_SIGKILLS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let random = Rng::with_seed(seed);
    println!("{kills} kills, RAFT_SIGKILLS_SEED={seed}");
    let cluster = Cluster::start_with(NODES, &COMPACTING).await;
    let load = Load::start(&cluster, Duration::from_secs(5), VALUE_BYTES);
    load.progress(100).await;
    let mut killer = Killer { cluster, random, done: 0, wanted: kills, leaders: 0, pairs: 0, starters: 0 };
    let mut next_rest = KILLS_BETWEEN_RESTS;
    while killer.done < kills {
        killer.strike().await;
        if killer.done >= next_rest {
            next_rest += KILLS_BETWEEN_RESTS;
            load.progress(100).await;
        }
    }
    load.progress(100).await;
    let away = killer.stay_away(&load).await;
    let operations = load.end().await;
    let Killer { mut cluster, done, leaders, pairs, starters, .. } = killer;
    let kills = kills + 1;
    assert_eq!(done, kills);
    println!("{leaders} leaders, {pairs} pairs, {starters} right after their start");
    // With so many, chance does not explain that a kind is missing.
    assert!(kills < 100 || leaders.min(pairs).min(starters) > 0);
    cluster.agreement().await;
    assert!(restored(&mut cluster, away.id) > away.restored, "node {}: {}", away.id, cluster.node(away.id).stderr());
    for id in 1..=NODES {
        // The last snapshot may still be on its way to the disk.
        let compacted = wait_until("the log is compacted", async || compacted(&mut cluster, id)).await;
        println!("node {id}: {compacted}, {} snapshots of peers", restored(&mut cluster, id));
    }
    let starts: u64 = cluster.statuses().await.values().map(|status| status.incarnation).sum();
    // A node that is killed in the middle of its start need not have counted it.
    assert!(starts > NODES && starts <= NODES + kills, "{starts} starts, {kills} kills");
    println!("{operations} operations, {kills} kills, {starts} starts that got through");
}

/// How often a node's state has become that of a peer's snapshot.
fn restored(cluster: &mut Cluster, id: u64) -> usize {
    cluster.node(id).stderr().matches("the state is now that of the snapshot").count()
}

/// What has become of a node's log, if something has: its first segment is gone, and there is a snapshot instead.
fn compacted(cluster: &mut Cluster, id: u64) -> Result<String, String> {
    let files = std::fs::read_dir(&cluster.node(id).line.data_dir).expect("its folder");
    let names = files.map(|file| file.expect("an entry of the folder").file_name().into_string().expect("UTF-8"));
    let names: BTreeSet<String> = names.collect();
    let first = |beginning: &str| names.iter().find_map(|name| name.strip_prefix(beginning));
    match (first("wal-").and_then(|number| number.parse::<u64>().ok()), first("snapshot-")) {
        (Some(oldest), Some(snapshot)) if oldest > 1 => Ok(format!("snapshot {snapshot}, segments from {oldest} on")),
        _ => Err(format!("node {id}: {names:?}")),
    }
}

/// Who was away for too long.
struct Away {
    id: u64,
    /// How often its state had become that of a peer's snapshot before.
    restored: usize,
}

struct Killer {
    cluster: Cluster,
    random: Rng,
    done: u64,
    wanted: u64,
    /// How many of the dead led, as far as was known.
    leaders: u64,
    pairs: u64,
    starters: u64,
}

impl Killer {
    /// Kills one node, or two, at a random moment, and starts them again after another.
    async fn strike(&mut self) {
        self.pause(1_500).await;
        let first = self.victim().await;
        let mut dead = vec![first];
        // Two of three: no quorum is left.
        if self.random.u64(..4) == 0 && self.done + 2 <= self.wanted {
            self.pairs += 1;
            dead.push(1 + (first + self.random.u64(..NODES - 1)) % NODES);
        }
        for id in &dead {
            self.kill(*id);
        }
        self.pause(1_200).await;
        for id in dead {
            self.cluster.start_node(id);
            // In the middle of its start, or soon after.
            if self.random.u64(..3) == 0 && self.done < self.wanted {
                self.starters += 1;
                self.pause(150).await;
                self.kill(id);
                self.cluster.start_node(id);
            }
        }
    }

    /// Kills one more, and starts it again only when the others have let go of what it would need.
    async fn stay_away(&mut self, load: &Load) -> Away {
        let id = self.victim().await;
        let restored = restored(&mut self.cluster, id);
        self.kill(id);
        load.progress(MISSED).await;
        self.cluster.start_node(id);
        Away { id, restored }
    }

    /// The leader half of the time, if there is one.
    async fn victim(&mut self) -> u64 {
        let leader = self.cluster.leader_now().await.map(|leader| leader.id);
        let victim = leader.filter(|_| self.random.u64(..2) == 0).unwrap_or_else(|| 1 + self.random.u64(..NODES));
        self.leaders += u64::from(leader == Some(victim));
        victim
    }

    fn kill(&mut self, id: u64) {
        self.cluster.kill(id);
        self.done += 1;
    }

    /// A moment nobody can foresee: that is the fault, and not a wait for anything.
    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.random.u64(..most_ms))).await;
    }
}
