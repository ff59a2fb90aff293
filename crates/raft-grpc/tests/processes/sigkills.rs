//! Real SIGKILLs of random nodes at random moments, under load. `RAFT_SIGKILLS` says how many, `RAFT_SIGKILLS_SEED` which.
//!
//! What the system holds of a dead process's writes it keeps: the power losses that take it back are the simulator's.

use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::random::Random;
use std::time::Duration;
use tokio::time::sleep;

const NODES: u64 = 3;

/// So often progress is waited for: a cluster that is never left alone need not get anywhere.
const KILLS_BETWEEN_RESTS: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_takes_an_acknowledged_word() {
    let kills: u64 = match std::env::var("RAFT_SIGKILLS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("RAFT_SIGKILLS = {text}: must be a number")),
        Err(_) => 3,
    };
    let (random, seed) = Random::from_variable("RAFT_SIGKILLS_SEED");
    println!("{kills} kills, RAFT_SIGKILLS_SEED={seed}");
    let cluster = Cluster::start(NODES).await;
    let load = Load::start(&cluster, Duration::from_secs(5));
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
    let operations = load.end().await;
    let Killer { mut cluster, done, leaders, pairs, starters, .. } = killer;
    assert_eq!(done, kills);
    println!("{leaders} leaders, {pairs} pairs, {starters} right after their start");
    // With so many, chance does not explain that a kind is missing.
    assert!(kills < 100 || leaders.min(pairs).min(starters) > 0);
    cluster.agreement().await;
    let starts: u64 = cluster.statuses().await.values().map(|status| status.incarnation).sum();
    // A node that is killed in the middle of its start need not have counted it.
    assert!(starts > NODES && starts <= NODES + kills, "{starts} starts, {kills} kills");
    println!("{operations} operations, {kills} kills, {starts} starts that got through");
}

/// Who kills.
struct Killer {
    cluster: Cluster,
    random: Random,
    done: u64,
    wanted: u64,
    /// How many of the dead led, as far as was known.
    leaders: u64,
    /// How often two died at once.
    pairs: u64,
    /// How many died right after their start.
    starters: u64,
}

impl Killer {
    /// Kills one node, or two, at a random moment, and starts them again after another.
    async fn strike(&mut self) {
        self.pause(1_500).await;
        let first = self.victim().await;
        let mut dead = vec![first];
        // Two of three: no quorum is left.
        if self.random.below(4) == 0 && self.done + 2 <= self.wanted {
            self.pairs += 1;
            dead.push(1 + (first + self.random.below(NODES - 1)) % NODES);
        }
        for id in &dead {
            self.kill(*id);
        }
        self.pause(1_200).await;
        for id in dead {
            self.cluster.start_node(id);
            // In the middle of its start, or soon after.
            if self.random.below(3) == 0 && self.done < self.wanted {
                self.starters += 1;
                self.pause(150).await;
                self.kill(id);
                self.cluster.start_node(id);
            }
        }
    }

    /// The leader half of the time, if there is one.
    async fn victim(&mut self) -> u64 {
        let leader = self.cluster.leader_now().await.map(|leader| leader.id);
        let victim = leader.filter(|_| self.random.below(2) == 0).unwrap_or_else(|| 1 + self.random.below(NODES));
        self.leaders += u64::from(leader == Some(victim));
        victim
    }

    fn kill(&mut self, id: u64) {
        self.cluster.kill(id);
        self.done += 1;
    }

    /// A moment nobody can foresee: that is the fault, and not a wait for anything.
    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.random.below(most_ms))).await;
    }
}
