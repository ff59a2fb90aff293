//! Scripted steps: when each is due, and what it does to the world.
//!
//! This file must not draw anything but the nodes a step leaves open.

use crate::faults::Fault;
use crate::record::{CrashKind, SimTime};
use crate::rng::Site;
use crate::scenario::model::{Condition, Keep, Links, Step, StepAction, Targets, Trigger};
use crate::world::host::Armed;
use crate::world::network::{CutId, links_across, links_between};
use crate::world::operator::Work;
use crate::world::{Emission, Event, World};
use raft_core::{Configuration, NodeId, RoleKind};
use std::collections::BTreeSet;
use std::sync::Arc;

const TARGET: Site = Site::new("step target");

/// Where the script stands.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The `when` steps that have not been carried out, the next one last.
    conditional: Vec<usize>,
    /// Whether the next one's condition has held and only its delay is awaited.
    due: bool,
    /// The partition in force.
    partition: Option<CutId>,
}

impl Script {
    pub(crate) fn new(steps: &[Step]) -> Self {
        let waits = |(_, step): &(usize, &Step)| matches!(step.trigger, Trigger::When { .. });
        let conditional = steps.iter().enumerate().filter(waits).map(|(place, _)| place).rev().collect();
        Self { conditional, due: false, partition: None }
    }
}

impl World {
    /// Plans the steps that have a time.
    pub(crate) fn plan_steps(&mut self) {
        let scenario = Arc::clone(&self.scenario);
        for (place, step) in scenario.steps.iter().enumerate() {
            if let Trigger::At(at) = step.trigger {
                self.plan(SimTime(0).after(at), Event::Step(place));
            }
        }
    }

    /// Carries out the `when` steps whose condition holds now, one after the other.
    pub(crate) fn watch_script(&mut self) {
        while let Some(&place) = self.script.conditional.last() {
            let scenario = Arc::clone(&self.scenario);
            let Some(Step { trigger: Trigger::When { condition, after }, .. }) = scenario.steps.get(place) else {
                return;
            };
            if self.script.due || !self.holds(condition) {
                return;
            }
            if after.is_zero() {
                self.step(place);
            } else {
                self.script.due = true;
                self.plan_after(*after, Event::Step(place));
            }
        }
    }

    /// A failure if a step never ran: the run took another course than the scenario.
    pub(crate) fn unreached_step(&self) -> Option<String> {
        let first = self.script.conditional.last()? + 1;
        let (steps, unreached) = (self.scenario.steps.len(), self.script.conditional.len());
        Some(format!("step {first} of {steps} never triggered; {unreached} steps did not run"))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let any = |node: &Option<NodeId>, fits: &dyn Fn(&crate::world::host::Process, &raft_core::Status) -> bool| {
            let hosts = self.hosts.values().filter(|host| node.is_none_or(|node| node == host.id));
            hosts.filter_map(|host| host.process.as_ref()).any(|process| fits(process, &process.node.status()))
        };
        match condition {
            Condition::Role { node, role, min_term } => {
                any(node, &|_, status| status.role == *role && status.term >= *min_term)
            }
            Condition::Holds { node, index, term } => any(node, &|process, _| process.holds(*index, *term)),
            Condition::Snapshot { node, index } => {
                any(node, &|_, status| status.snapshot.is_some_and(|last| last.index >= *index))
            }
            Condition::SendingSnapshot { to } => any(&None, &|_, status| {
                let mut peers = status.peers.iter().filter(|(id, _)| to.is_none_or(|to| to == **id));
                peers.any(|(_, peer)| peer.snapshot.is_some())
            }),
            Condition::Committed { node, index } => any(node, &|_, status| status.commit >= *index),
            Condition::LeaderAppended { node, min_term } => any(node, &|process, status| {
                let leads = status.role == RoleKind::Leader && status.term >= *min_term;
                leads && process.led_and_appended == status.term
            }),
            Condition::Decided { seats } => seats.are_of(self.configurations.decided()),
            Condition::Joint { node } => {
                any(node, &|process, _| process.node.configuration().is_some_and(Configuration::is_joint))
            }
            Condition::VotedFor { node, candidate } => any(node, &|_, status| status.voted_for == Some(*candidate)),
        }
    }

    /// Carries out a step.
    pub(crate) fn step(&mut self, place: usize) {
        if self.script.conditional.last() == Some(&place) {
            self.script.conditional.pop();
            self.script.due = false;
        }
        let scenario = Arc::clone(&self.scenario);
        let Some(Step { action, .. }) = scenario.steps.get(place) else { return };
        if action.disturbs() {
            self.disturbed = self.now;
        }
        let n = place as u64;
        match action {
            StepAction::Crash { nodes, crash, after_actions, keep } => {
                let nodes = self.resolve(nodes, n);
                self.crash_step(&nodes, *crash, *after_actions, *keep);
            }
            StepAction::Restart { nodes } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("restart {}", list(&nodes)));
                nodes.iter().for_each(|&node| self.start(node));
            }
            StepAction::Cut { links } => self.cut_step(links, n),
            StepAction::Partition { groups } => self.partition_step(groups),
            StepAction::Heal => self.heal_step(),
            StepAction::Drop { kind, from, to } => {
                let (from, to) = (self.resolve(from, n), self.resolve(to, n));
                self.emit_fault(format!("drop {kind} {} > {}", list(&from), list(&to)));
                self.network.drop_kind(kind.clone(), links_between(&from, &to));
            }
            StepAction::Network(model) => {
                self.emit_fault("network".into());
                self.network.set_scripted_model(model.clone());
            }
            StepAction::DiskLatency { nodes, latency } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("disk latency of {}: {latency:?}", list(&nodes)));
                self.fault_counts.inject(Fault::SlowDisk);
                for host in self.hosts.values_mut().filter(|host| nodes.contains(&host.id)) {
                    host.slow = Some(latency.clone());
                }
            }
            StepAction::Damage { nodes, fault } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("{} of {}", fault.name(), list(&nodes)));
                for &node in &nodes {
                    self.damage(node, *fault);
                }
            }
            StepAction::InjectedError { nodes, error, after_calls } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("{error} at {}", list(&nodes)));
                nodes.iter().for_each(|&node| self.inject_error(node, *error, *after_calls));
            }
            StepAction::Drift { nodes, ppm } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("clock of {} drifts by {ppm} ppm", list(&nodes)));
                nodes.iter().for_each(|&node| self.set_drift(node, *ppm));
            }
            StepAction::Pause { nodes } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("pause {}", list(&nodes)));
                nodes.iter().for_each(|&node| self.pause(node));
            }
            StepAction::Resume { nodes } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("resume {}", list(&nodes)));
                nodes.iter().for_each(|&node| self.resume(node));
            }
            StepAction::Campaign { nodes } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("campaign {}", list(&nodes)));
                nodes.iter().for_each(|&node| self.campaign(node));
            }
            StepAction::TakeSnapshot { nodes } => {
                let nodes = self.resolve(nodes, n);
                self.emit_fault(format!("take a snapshot {}", list(&nodes)));
                nodes.iter().for_each(|&node| self.take_snapshot(node));
            }
            StepAction::Put { node, key, value } => self.client_step(node, key, Some(value), n),
            StepAction::Get { node, key } => self.client_step(node, key, None, n),
            StepAction::Change { steps } => self.errand_step(Work::Change(steps.clone())),
            StepAction::Transfer { to } => self.errand_step(Work::Transfer(*to)),
            StepAction::Expect(expectations) => {
                self.emit_fault("expect".into());
                self.emissions.push(Emission::Expect(expectations.clone()));
            }
        }
    }

    fn crash_step(&mut self, nodes: &BTreeSet<NodeId>, crash: CrashKind, after: Option<u32>, keep: Keep) {
        let how = match crash {
            CrashKind::Kill => "kill",
            CrashKind::PowerLoss => "power loss",
            CrashKind::DiskLoss => "wipe",
            CrashKind::DiskRollback => "set back the disk of",
        };
        match after {
            None => {
                self.emit_fault(format!("{how} {}", list(nodes)));
                for &node in nodes {
                    self.crash(node, crash, keep);
                }
            }
            Some(after) => {
                self.emit_fault(format!("{how} {} after {after} outputs", list(nodes)));
                for host in self.hosts.values_mut().filter(|host| nodes.contains(&host.id)) {
                    host.armed = Some(Armed { after, crash, keep, restart_after: None });
                }
            }
        }
    }

    fn errand_step(&mut self, work: Work) {
        self.emit_fault(work.to_string());
        self.instruct(work, None);
    }

    /// A put of this value, or a get, at each of these nodes.
    fn client_step(&mut self, nodes: &Targets, key: &str, value: Option<&String>, n: u64) {
        let mut out = Vec::new();
        for node in self.resolve(nodes, n) {
            self.clients.scripted(self.now, node, key.to_owned(), value.cloned(), &mut out);
        }
        self.for_clients(out, None);
    }

    fn partition_step(&mut self, groups: &[BTreeSet<NodeId>]) {
        let labels: Vec<String> = groups.iter().map(list).collect();
        self.emit_fault(format!("partition {}", labels.join(" | ")));
        self.end_partition();
        let links = links_across(&self.nodes(), groups);
        self.fault_counts.inject(Fault::Partition);
        self.script.partition = Some(self.network.cut(links, Fault::Partition));
    }

    fn heal_step(&mut self) {
        self.emit_fault("heal".into());
        self.network.heal();
        for node in self.nodes() {
            if let Some(host) = self.hosts.get_mut(&node) {
                host.slow = None;
            }
            self.clear_errors(node);
            self.set_drift(node, 0);
            self.resume(node);
        }
    }

    /// All links of a step are cut in the same moment: who leads is asked once.
    fn cut_step(&mut self, all: &[Links], n: u64) {
        let place = |place: usize| n + ((place as u64) << 32);
        let cuts: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(at, links)| (links, self.resolve(&links.from, place(at)), self.resolve(&links.to, place(at))))
            .collect();
        for (links, from, to) in cuts {
            self.cut_links(links, &from, &to);
        }
    }

    fn cut_links(&mut self, links: &Links, from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) {
        let Links { from: senders, to: receivers, one_way } = links;
        let names_leader = matches!(senders, Targets::Leader) || matches!(receivers, Targets::Leader);
        let fault = match (names_leader, *one_way) {
            (true, _) => Fault::IsolateLeader,
            (false, true) => Fault::OneWayCut,
            (false, false) => Fault::Partition,
        };
        self.emit_fault(format!("cut {} {} {}", list(from), if *one_way { ">" } else { "-" }, list(to)));
        let mut links = links_between(from, to);
        if !one_way {
            links.extend(links_between(to, from));
        }
        self.fault_counts.inject(fault);
        self.network.cut(links, fault);
    }

    fn end_partition(&mut self) {
        if let Some(partition) = self.script.partition.take() {
            self.network.mend(partition);
        }
    }

    /// Which nodes are meant, now.
    pub(crate) fn resolve(&mut self, targets: &Targets, n: u64) -> BTreeSet<NodeId> {
        match targets {
            Targets::Nodes(nodes) => nodes.clone(),
            Targets::All => self.nodes(),
            Targets::Leader => self.leader().into_iter().collect(),
            Targets::Followers => {
                let leader = self.leader();
                self.nodes().into_iter().filter(|&node| Some(node) != leader).collect()
            }
            Targets::Random => {
                let draw = self.choices.draw(TARGET, n, 0);
                BTreeSet::from([NodeId(1 + draw.below(self.scenario.nodes))])
            }
        }
    }

    /// The leader of the highest term, if any node leads.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let running = self.hosts.values().filter_map(|host| Some((host.id, host.process.as_ref()?.node.status())));
        let leaders = running.filter(|(_, status)| status.role == RoleKind::Leader);
        leaders.max_by_key(|(_, status)| status.term).map(|(id, _)| id)
    }
}

impl StepAction {
    /// Whether liveness is judged only from here on: whatever changes the cluster's circumstances. What clients and
    /// judges do changes nothing.
    const fn disturbs(&self) -> bool {
        !matches!(
            self,
            Self::Expect(_)
                | Self::Put { .. }
                | Self::Get { .. }
                | Self::Campaign { .. }
                | Self::TakeSnapshot { .. }
                | Self::Change { .. }
                | Self::Transfer { .. }
        )
    }
}

/// `n1 n2`, for people.
pub(crate) fn list(nodes: &BTreeSet<NodeId>) -> String {
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    if names.is_empty() { "nobody".into() } else { names.join(" ") }
}

#[cfg(test)]
mod tests;
