//! Random schedules: any order of messages, writes, crashes and times that a network, a disk and a clock can produce.
//! `PROPTEST_CASES` sets the number of cases; another `PROPTEST_RNG_SEED` gives other cases.

use super::Cluster;
use crate::inputs::membership_step;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Settings, RngAlgorithm, RngSeed, TestRunner};
use raft_core::{Config, Input, Instant, NodeId, Raft, ReadMode, RoleKind, SnapshotOutcome};
use std::time::Duration;

/// One step of a schedule. Numbers choose among the current possibilities, so every schedule is legal, even a shrunk
/// one.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Deliver { link: u8, nth: u8 },
    Drop { link: u8, nth: u8 },
    Duplicate { link: u8, nth: u8 },
    // Reports some of a node's writes.
    Persist { node: u8, count: u8 },
    // For some rounds, reports all writes and delivers a message on each link.
    Calm { rounds: u8 },
    // Advances time without a call.
    Pass { millis: u8 },
    Tick { node: u8 },
    // Advances the clock to the node's deadline.
    Wait { node: u8 },
    Crash { node: u8, kept: u8 },
    Restart { node: u8, with_state_machine: bool },
    Isolate { node: u8 },
    Mend,
    Propose { node: u8 },
    ProposeToLeader,
    // Sends a read to every node that believes it leads.
    ReadAtLeaders,
    Read { node: u8 },
    Campaign { node: u8 },
    Unreachable { node: u8, peer: u8 },
    // Calls no node for longer than an election timeout; then calls one, and delivers some messages.
    Unseat { node: u8, rounds: u8 },
    // Holds back messages to the leaders while the other nodes continue; if it `waits`, a timer runs out first. Then
    // sends a read to all nodes that believe they lead. If it is `late`, the oldest messages of the old leaders arrive
    // first.
    Usurp { node: u8, rounds: u8, waits: bool, late: bool },
    CrashLeader { kept: u8 },
    // Starts a membership change at the leader.
    Change { kind: u8, node: u8, other: Option<(u8, u8)> },
    // Starts a leadership transfer at the leader.
    Transfer { to: Option<u8> },
    TakeSnapshot { node: u8, back: u8 },
    // Delivers or loses a snapshot in flight, with or without a report to its sender.
    Parcel { nth: u8, outcome: Option<SnapshotOutcome> },
    // Delivers any snapshot that was ever sent again.
    LateParcel { nth: u8 },
    AnswerRead { node: u8, nth: u8 },
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        40 => (any::<u8>(), 0..3_u8).prop_map(|(link, nth)| Deliver { link, nth }),
        3 => (any::<u8>(), 0..3_u8).prop_map(|(link, nth)| Drop { link, nth }),
        3 => (any::<u8>(), 0..3_u8).prop_map(|(link, nth)| Duplicate { link, nth }),
        12 => (any::<u8>(), 1..3_u8).prop_map(|(node, count)| Persist { node, count }),
        4 => (1..5_u8).prop_map(|rounds| Calm { rounds }),
        4 => (1..80_u8).prop_map(|millis| Pass { millis }),
        6 => any::<u8>().prop_map(|node| Tick { node }),
        8 => any::<u8>().prop_map(|node| Wait { node }),
        2 => (any::<u8>(), 0..4_u8).prop_map(|(node, kept)| Crash { node, kept }),
        4 => (any::<u8>(), any::<bool>())
            .prop_map(|(node, with_state_machine)| Restart { node, with_state_machine }),
        1 => any::<u8>().prop_map(|node| Isolate { node }),
        1 => Just(Mend),
        2 => any::<u8>().prop_map(|node| Propose { node }),
        9 => Just(ProposeToLeader),
        2 => any::<u8>().prop_map(|node| Read { node }),
        4 => Just(ReadAtLeaders),
        1 => any::<u8>().prop_map(|node| Campaign { node }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(node, peer)| Unreachable { node, peer }),
        3 => (any::<u8>(), 1..5_u8).prop_map(|(node, rounds)| Unseat { node, rounds }),
        2 => (any::<u8>(), 1..5_u8, any::<bool>(), any::<bool>())
            .prop_map(|(node, rounds, waits, late)| Usurp { node, rounds, waits, late }),
        1 => (0..3_u8).prop_map(|kept| CrashLeader { kept }),
        6 => (any::<u8>(), any::<u8>(), proptest::option::of((any::<u8>(), any::<u8>())))
            .prop_map(|(kind, node, other)| Change { kind, node, other }),
        5 => proptest::option::of(any::<u8>()).prop_map(|to| Transfer { to }),
        6 => (any::<u8>(), 0..4_u8).prop_map(|(node, back)| TakeSnapshot { node, back }),
        6 => (any::<u8>(), outcome()).prop_map(|(nth, outcome)| Parcel { nth, outcome }),
        10 => any::<u8>().prop_map(|nth| LateParcel { nth }),
        12 => (any::<u8>(), 0..2_u8).prop_map(|(node, nth)| AnswerRead { node, nth }),
    ]
}

fn outcome() -> impl Strategy<Value = Option<SnapshotOutcome>> {
    let delivered = Just(Some(SnapshotOutcome::Delivered));
    prop_oneof![6 => delivered, 2 => Just(Some(SnapshotOutcome::Progress)), 1 => Just(Some(SnapshotOutcome::Failed)), 1 => Just(None)]
}

/// A schedule for 1 to 7 founders and two nodes that may join.
pub(crate) fn schedule(length: usize) -> impl Strategy<Value = (u64, Vec<Happening>)> {
    let founders = prop_oneof![1 => 1..3_u64, 8 => Just(3_u64), 2 => Just(4_u64), 8 => Just(5_u64), 1 => 6..8_u64];
    (founders, vec(happening(), length / 2..length))
}

/// Runs a test on random cases that are the same on every machine.
pub(crate) fn for_random_cases<S: Strategy>(stream: u64, cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    runner(stream, cases)
        .run(strategy, |case| {
            test(case);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn runner(stream: u64, cases: u32) -> TestRunner {
    let settings = Settings::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { settings.cases } else { cases };
    let RngSeed::Fixed(seed) = settings.rng_seed else { panic!("run by cargo: it sets PROPTEST_RNG_SEED") };
    let seed = seed.wrapping_mul(1_000_003).wrapping_add(stream);
    TestRunner::new(Settings {
        cases,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..settings
    })
}

fn narrow(config: &mut Config) {
    config.max_append_bytes = 80;
    config.max_inflight_messages = 3;
    config.max_apply_bytes = 120;
    config.max_unpersisted_bytes = 400;
    config.max_uncommitted_bytes = 600;
    config.max_pending_reads = 4;
    config.max_cached_bytes = 100;
    config.max_retained_bytes = 150;
    config.trailing_entries = config.id.0 % 4;
    config.snapshot_timeout = Duration::from_millis(150);
    config.max_write_stall = Duration::from_millis(60);
    config.priority = [100, 50, 0][config.id.0 as usize % 3];
}

impl Cluster {
    /// A cluster for random schedules, with small limits that differ between nodes.
    pub(crate) fn for_schedules(size: u64) -> Self {
        Self::with_joiners(size, 2, narrow)
    }

    /// The same cluster with lease reads, clocks that drift as much as allowed, and elections as soon as leases allow
    /// them.
    pub(crate) fn for_leases(size: u64) -> Self {
        const DRIFT: i64 = 100_000;
        let mut cluster = Self::with_joiners(size, 2, |config| {
            narrow(config);
            config.lease_reads = true;
            config.max_clock_drift_ppm = DRIFT as u32;
            config.election_timeout.end = config.election_timeout.start + Duration::from_millis(10);
        });
        cluster.read_mode = ReadMode::Lease;
        for (server, drift) in cluster.servers.values_mut().zip([-DRIFT, DRIFT, 0].into_iter().cycle()) {
            server.drift_ppm = drift;
        }
        cluster
    }

    pub(crate) fn happen(&mut self, happening: &Happening) {
        use Happening::*;
        let ids = self.ids();
        let pick = |number: u8| ids[usize::from(number) % ids.len()];
        match *happening {
            Deliver { link, nth } | Drop { link, nth } | Duplicate { link, nth } => self.on_link(happening, link, nth),
            Persist { node, count } => drop(self.persist(pick(node), usize::from(count))),
            Calm { rounds } => self.calm(rounds, &[]),
            Pass { millis } => self.now = Instant(self.now.0 + u64::from(millis) * 1_000_000),
            Tick { node } => drop(self.tick(pick(node))),
            Wait { node } => drop(self.wait_for(pick(node))),
            Crash { node, kept } => self.crash(pick(node), usize::from(kept)),
            Restart { node, with_state_machine } => self.restart(pick(node), with_state_machine),
            Isolate { node } => self.isolate(pick(node), true),
            Mend => self.cut.clear(),
            Propose { node } if self.is_up(pick(node)) => _ = self.propose(pick(node)),
            Read { node } if self.is_up(pick(node)) => _ = self.read(pick(node)),
            Propose { .. } | Read { .. } => {}
            ProposeToLeader => _ = self.leader().map(|leader| self.propose(leader)),
            ReadAtLeaders => self.read_after(&[], false),
            Campaign { node } => drop(self.step(pick(node), Input::Campaign)),
            Unreachable { node, peer } => drop(self.step(pick(node), Input::Unreachable { peer: pick(peer) })),
            Unseat { node, rounds } => {
                self.now = Instant(self.now.0 + 400_000_000);
                self.wait_for(pick(node));
                self.calm(rounds, &[]);
            }
            Usurp { node, rounds, waits, late } => {
                let leaders = self.leaders();
                self.usurp(&leaders, node, rounds, waits);
                self.read_after(&leaders, late);
            }
            CrashLeader { kept } => {
                if let Some(leader) = self.leader() {
                    self.crash(leader, usize::from(kept));
                }
            }
            Change { kind, node, other } => {
                if let Some(leader) = self.leader() {
                    let steps = [Some((kind, node)), other].into_iter().flatten();
                    let steps = steps.map(|(kind, node)| membership_step(kind, pick(node))).collect();
                    self.change(leader, steps);
                }
            }
            Transfer { to } => _ = self.leader().map(|leader| self.transfer(leader, to.map(pick))),
            TakeSnapshot { node, back } => self.take_snapshot(pick(node), u64::from(back)),
            Parcel { nth, outcome } => {
                self.deliver_snapshot(usize::from(nth) % self.parcels.len().max(1), outcome);
            }
            LateParcel { nth } => self.deliver_late_snapshot(usize::from(nth)),
            AnswerRead { node, nth } => self.answer_read(pick(node), usize::from(nth)),
        }
    }

    /// Does something to a message on a link.
    fn on_link(&mut self, happening: &Happening, link: u8, nth: u8) {
        let busy = self.busy_links();
        let Some(&(from, to)) = busy.get(usize::from(link) % busy.len().max(1)) else { return };
        let nth = usize::from(nth) % self.links[&(from, to)].len();
        let Some(link) = self.links.get_mut(&(from, to)) else { return };
        match happening {
            Happening::Drop { .. } => drop(link.remove(nth)),
            Happening::Duplicate { .. } => link.extend(link.get(nth).cloned()),
            _ => drop(self.deliver(from, to, nth)),
        }
    }

    fn deliver_late_snapshot(&mut self, nth: usize) {
        if let Some(parcel) = self.sent_parcels.get(nth % self.sent_parcels.len().max(1)) {
            self.parcels.push_front(parcel.clone());
            self.deliver_snapshot(0, Some(SnapshotOutcome::Progress));
        }
    }

    /// Sends a read to all nodes that believe they lead. If it is `late`, the oldest messages of the `old` ones arrive
    /// first.
    fn read_after(&mut self, old: &[NodeId], late: bool) {
        if late {
            for (from, to) in self.busy_links().into_iter().filter(|(_, to)| old.contains(to)) {
                self.deliver(from, to, 0);
            }
        }
        for leader in self.leaders() {
            self.read(leader);
        }
    }

    fn is_up(&self, id: NodeId) -> bool {
        self.servers[&id].raft.is_some()
    }

    /// Reports all writes and delivers a message on each link, except to the `isolated` nodes.
    fn calm(&mut self, rounds: u8, isolated: &[NodeId]) {
        for _ in 0..rounds {
            for id in self.ids() {
                self.persist(id, usize::MAX);
                self.answer_read(id, 0);
            }
            let parcel = self
                .parcels
                .iter()
                .position(|parcel| !isolated.contains(&parcel.to) && !isolated.contains(&parcel.from));
            if let Some(nth) = parcel {
                self.deliver_snapshot(nth, Some(SnapshotOutcome::Delivered));
            }
            for (from, to) in self.busy_links().into_iter().filter(|(_, to)| !isolated.contains(to)) {
                self.deliver(from, to, 0);
            }
        }
    }

    /// Lets the others run without the `leaders` until another one is elected or the rounds are over.
    fn usurp(&mut self, leaders: &[NodeId], node: u8, rounds: u8, waits: bool) {
        let others: Vec<NodeId> = self.ids().into_iter().filter(|id| !leaders.contains(id)).collect();
        for turn in 0..usize::from(rounds) {
            if waits && let Some(&other) = others.get((usize::from(node) + turn) % others.len().max(1)) {
                self.wait_for(other);
            }
            self.calm(8, leaders);
            if !leaders.is_empty() && self.leaders().iter().any(|leader| !leaders.contains(leader)) {
                self.history.mark("usurped");
                return self.calm(2, leaders);
            }
        }
    }

    /// The nodes that believe they lead.
    fn leaders(&self) -> Vec<NodeId> {
        let rafts = self.servers.values().filter_map(|server| server.raft.as_ref());
        rafts.filter(|raft| raft.role() == RoleKind::Leader).map(Raft::id).collect()
    }

    /// Restores all links and restarts all nodes. Returns whether the cluster then makes progress: a leader, a new
    /// committed command, an answered read, and equal logs and state machines.
    pub(crate) fn heals(&mut self) -> bool {
        self.cut.clear();
        for id in self.ids() {
            self.restart(id, true);
        }
        if !self.run_until(400, Self::has_converged) {
            return false;
        }
        let before = self.history.newest_commit();
        let leader = self.leader().expect("converged");
        let (write, read) = (self.propose(leader), self.read(leader));
        let progress = self.run_until(50, |cluster| {
            cluster.has_converged() && cluster.history.newest_commit() > before && cluster.history.waiting(leader) == 0
        });
        let idle = |cluster: &Self| {
            let status = cluster.servers[&leader].raft.as_ref().expect("it leads").status();
            status.role == RoleKind::Leader
                && status.uncommitted_bytes == 0
                && status.unpersisted_bytes == 0
                && status.pending_reads == 0
                && status.peers.values().all(|peer| peer.inflight_messages == 0 && peer.inflight_bytes == 0)
        };
        progress && write < read && idle(self)
    }
}
