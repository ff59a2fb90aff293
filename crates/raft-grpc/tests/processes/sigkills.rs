//! Real SIGKILLs of random nodes at random times, under load, while snapshots are taken and sent, and the log is
//! compacted. `RAFT_SIGKILLS` sets the number, `RAFT_SIGKILLS_SEED` the seed.
//!
//! The system keeps the writes of a dead process; only the simulator has power losses that undo them.

use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::wait::wait_until;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

const NODES: u64 = 3;

/// After this many kills the test waits for progress: a cluster under constant kills need not make any.
const KILLS_BETWEEN_RESTS: u64 = 10;

/// Snapshots are frequent, few entries stay after them, and the first segment is soon full. The later segments are as
/// large as the reserve of a node, so values are not small.
const COMPACTING: [&str; 7] =
    ["--control-stdin", "--segment-bytes", "16KiB", "--snapshot-after-entries", "100", "--trailing-entries", "10"];
const VALUE_BYTES: usize = 4096;

/// Of this many operations a few hundred are writes: a node that missed them cannot continue from any log.
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
    // With this many kills, chance does not explain a missing kind.
    assert!(kills < 100 || leaders.min(pairs).min(starters) > 0);
    cluster.agreement().await;
    assert!(restored(&mut cluster, away.id) > away.restored, "node {}: {}", away.id, cluster.node(away.id).stderr());
    for id in 1..=NODES {
        // The last snapshot may still be in flight to the disk.
        let compacted = wait_until("the log is compacted", async || compacted(&mut cluster, id)).await;
        println!("node {id}: {compacted}, {} snapshots of peers", restored(&mut cluster, id));
    }
    let starts: u64 = cluster.statuses().await.values().map(|status| status.incarnation).sum();
    // A node that is killed during its start need not have counted it.
    assert!(starts > NODES && starts <= NODES + kills, "{starts} starts, {kills} kills");
    println!("{operations} operations, {kills} kills, {starts} completed starts");
}

/// How often a node has restored a peer's snapshot.
fn restored(cluster: &mut Cluster, id: u64) -> usize {
    cluster.node(id).stderr().matches("the state is now that of the snapshot").count()
}

/// The state of a node's log if it was compacted: its first segment is gone, and a snapshot exists.
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

/// A node that was away for too long.
struct Away {
    id: u64,
    /// How often it had restored a peer's snapshot before.
    restored: usize,
}

struct Killer {
    cluster: Cluster,
    random: Rng,
    done: u64,
    wanted: u64,
    /// How many of the killed nodes led, as far as the test knows.
    leaders: u64,
    pairs: u64,
    starters: u64,
}

impl Killer {
    /// Kills one node, or two, at a random time, and starts them again after another.
    async fn strike(&mut self) {
        self.pause(1_500).await;
        let first = self.victim().await;
        let mut dead = vec![first];
        // Two of three nodes are down: no quorum remains.
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
            // The kill happens during a start, or soon after.
            if self.random.u64(..3) == 0 && self.done < self.wanted {
                self.starters += 1;
                self.pause(150).await;
                self.kill(id);
                self.cluster.start_node(id);
            }
        }
    }

    /// Kills one more node, and starts it again only after the others have compacted the entries that it needs.
    async fn stay_away(&mut self, load: &Load) -> Away {
        let id = self.victim().await;
        let restored = restored(&mut self.cluster, id);
        self.kill(id);
        load.progress(MISSED).await;
        self.cluster.start_node(id);
        Away { id, restored }
    }

    /// Chooses the leader half of the time, if there is one.
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

    /// Waits for a random time: the time of the fault is random, and this waits for no condition.
    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.random.u64(..most_ms))).await;
    }
}
