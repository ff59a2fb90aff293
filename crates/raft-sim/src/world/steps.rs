//! Scripted steps: when each is due, and its fault, order or client operation.
//!
//! This file makes no random choices except for the nodes that a step leaves open. [`faults`](crate::faults) has the
//! effects of faults.

use crate::faults::ends::FaultEnd;
use crate::faults::list;
use crate::record::{RecordKind, SimTime};
use crate::rng::Site;
use crate::scenario::model::{Condition, Links, Origin, Step, StepAction, Targets, Trigger};
use crate::scenario::refusals::Refusal;
use crate::world::client::ClientOp;
use crate::world::host::{Host, Process};
use crate::world::network::CutId;
use crate::world::operator::Work;
use crate::world::refusals::Act as Asked;
use crate::world::{Emission, Event, World};
use raft_core::{Configuration, NodeId, RoleKind, Status};
use raft_node::NodeInput;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const TARGET: Site = Site::new("step target");

#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The `when` steps that have not run; the next one is last.
    pub(crate) conditional: Vec<usize>,
    /// Whether the condition of the next one has held and only its delay remains.
    due: bool,
    pub(crate) partition: Option<CutId>,
    /// Whether the remaining steps do not run.
    pub(crate) is_over: bool,
}

impl Script {
    pub(crate) fn new(steps: &[Step]) -> Self {
        let waits = |(_, step): &(usize, &Step)| matches!(step.trigger, Trigger::When { .. });
        let conditional = steps.iter().enumerate().filter(waits).map(|(place, _)| place).rev().collect();
        Self { conditional, due: false, partition: None, is_over: false }
    }

    /// Drops the remaining steps.
    pub(crate) fn end(&mut self) {
        self.conditional.clear();
        self.is_over = true;
    }
}

/// What an action needs beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// The number of the step, for the choices that it leaves open.
    pub(crate) n: u64,
    pub(crate) lasts: Option<Duration>,
    pub(crate) refused: Option<Refusal>,
}

/// An action that a run has carried out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Act {
    pub(crate) at: SimTime,
    pub(crate) action: StepAction,
    pub(crate) lasts: Option<Duration>,
}

impl World {
    /// Plans the steps with a time.
    pub(crate) fn plan_steps(&mut self) {
        let scenario = Arc::clone(&self.scenario);
        for (place, step) in scenario.steps.iter().enumerate() {
            if let Trigger::At(at) = step.trigger {
                self.plan(SimTime(0).after(at), Event::Step(place));
            }
        }
    }

    /// Runs the `when` steps whose condition holds now, one after the other.
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
        let first = *self.script.conditional.last()?;
        let (steps, unreached) = (self.scenario.steps.len(), self.script.conditional.len());
        let Origin { line, condition } = &self.scenario.steps.get(first)?.origin;
        let place = if *line == 0 { String::new() } else { format!("{}:{line}: ", self.scenario.path) };
        let condition = if condition.is_empty() { String::new() } else { format!(" (`{condition}`)") };
        let first = first + 1;
        Some(format!("{place}step {first} of {steps}{condition} never triggered; {unreached} steps did not run"))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let any = |node: &Option<NodeId>, fits: &dyn Fn(&Process, &Status) -> bool| {
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
            Condition::Backups { finished } => self.backups.finished() >= *finished,
            Condition::VotedFor { node, candidate } => any(node, &|_, status| status.voted_for == Some(*candidate)),
        }
    }

    pub(crate) fn step(&mut self, place: usize) {
        if self.script.conditional.last() == Some(&place) {
            self.script.conditional.pop();
            self.script.due = false;
        }
        let scenario = Arc::clone(&self.scenario);
        let Some(&Step { ref action, lasts, refused, .. }) = scenario.steps.get(place) else { return };
        self.perform(action, Terms { n: place as u64, lasts, refused });
    }

    /// Carries out the action of a step, or of a swarm.
    pub(crate) fn perform(&mut self, action: &StepAction, terms: Terms) {
        let Terms { n, lasts, .. } = terms;
        if action.disturbs() {
            self.disturbed = self.now;
        }
        let at = self.now;
        self.acts.iter_mut().for_each(|acts| acts.push(Act { at, action: action.clone(), lasts }));
        match action {
            StepAction::Crash { nodes, crash, after, keep } => {
                let nodes = self.resolve(nodes, n);
                self.crash_step(&nodes, *crash, *after, *keep, lasts);
            }
            StepAction::Cut { links } => self.cut_all_step(links, n, lasts),
            StepAction::CutClients { nodes, only } => {
                let nodes = self.resolve(nodes, n);
                self.cut_clients_step(&nodes, *only, lasts);
            }
            StepAction::Partition { groups } => self.partition_step(groups, lasts),
            StepAction::Heal => self.heal_step(),
            StepAction::Drop { kind, from, to } => {
                let (from, to) = (self.resolve(from, n), self.resolve(to, n));
                self.drop_step(kind, &from, &to, lasts);
            }
            StepAction::Network(model) => {
                self.emit_fault("network".into());
                // The links of a swarm's minority keep it after the healing.
                match &self.swarm {
                    Some(_) => self.network.set_swarm_model(model.clone()),
                    None => self.network.set_scripted_model(model.clone()),
                }
            }
            StepAction::DiskLatency { nodes, latency } => {
                let nodes = self.resolve(nodes, n);
                self.slow_disk_step(&nodes, latency, lasts);
            }
            StepAction::Damage { nodes, fault } => {
                let nodes = self.resolve(nodes, n);
                self.damage_step(&nodes, *fault);
            }
            StepAction::InjectedError { nodes, error, after_calls } => {
                let nodes = self.resolve(nodes, n);
                self.disk_error_step(&nodes, *error, *after_calls, lasts);
            }
            StepAction::Drift { nodes, ppm } => {
                let nodes = self.resolve(nodes, n);
                self.drift_step(&nodes, *ppm, lasts);
            }
            StepAction::Jump { nodes, by } => {
                let nodes = self.resolve(nodes, n);
                self.jump_step(&nodes, *by);
            }
            StepAction::Stranger { nodes, messages } => {
                let nodes = self.resolve(nodes, n);
                self.stranger_step(&nodes, *messages, n);
            }
            StepAction::Restart { .. }
            | StepAction::Pause { .. }
            | StepAction::Suspend { .. }
            | StepAction::Resume { .. } => {
                self.process_step(action, terms);
            }
            StepAction::Expect(expectations) => {
                self.emit_fault("expect".into());
                self.emissions.push(Emission::Expect(expectations.clone()));
            }
            _ => self.act_step(action, terms),
        }
    }

    /// Processes that start, stand still and go on.
    fn process_step(&mut self, action: &StepAction, Terms { n, lasts, .. }: Terms) {
        match action {
            StepAction::Restart { nodes } => {
                self.each(("restart", nodes, n), Self::start);
            }
            StepAction::Pause { nodes } => {
                let nodes = self.each(("pause", nodes, n), Self::pause);
                self.each_ends_after(lasts, &nodes, FaultEnd::Resume);
            }
            StepAction::Suspend { nodes } => {
                let nodes = self.each(("suspend", nodes, n), Self::suspend);
                self.each_ends_after(lasts, &nodes, FaultEnd::Resume);
            }
            StepAction::Resume { nodes } => {
                self.each(("resume", nodes, n), Self::resume);
            }
            _ => {}
        }
    }

    /// What an operator or a client does.
    fn act_step(&mut self, action: &StepAction, terms: Terms) {
        let Terms { n, lasts, refused } = terms;
        match action {
            StepAction::Campaign { nodes } => {
                self.each(("campaign", nodes, n), |world, host| {
                    world.refusals.expect(Asked::Campaign(host.id), refused, || format!("campaign {}", host.id));
                    world.order(host, RecordKind::CampaignAsked, NodeInput::Campaign);
                });
            }
            StepAction::TakeSnapshot { nodes } => {
                self.each(("take a snapshot", nodes, n), |world, host| {
                    world.order(host, RecordKind::SnapshotWished, NodeInput::TakeSnapshot);
                });
            }
            StepAction::Put { .. } | StepAction::Get { .. } => self.client_step(action, n),
            StepAction::Change { steps, .. } if !self.is_survivable(&self.configurations.decided().end(), steps) => {}
            StepAction::Change { steps, force } => {
                self.instruct_once(Work::Change { steps: steps.clone(), force: *force }, lasts, refused);
            }
            StepAction::Backup { .. } | StepAction::Restore { .. } | StepAction::Recover { .. } => {
                self.backup_step(action, terms);
            }
            StepAction::Transfer { to, asked: None } => self.instruct_once(Work::Transfer(*to), lasts, refused),
            StepAction::Transfer { to, asked: Some(nodes) } => {
                let nodes = self.resolve(nodes, n);
                self.ask_transfer_step(&nodes, *to);
            }
            _ => {}
        }
    }

    fn backup_step(&mut self, action: &StepAction, Terms { n, refused, .. }: Terms) {
        match action {
            StepAction::Backup { nodes } => {
                for node in self.resolve(nodes, n) {
                    let id = self.begin_backup(node);
                    self.refusals.expect(Asked::Backup(id), refused, || format!("backup {node}"));
                }
            }
            // A broken disk keeps its node out for good, so there is no new cluster after that.
            StepAction::Restore { .. } | StepAction::Recover { .. } if !self.disks_are_sound() => {}
            StepAction::Restore { nodes } => {
                let nodes = self.resolve(nodes, n);
                self.restore_step(&nodes);
            }
            StepAction::Recover { node } => self.recover_step(*node),
            _ => {}
        }
    }

    /// Applies one action to each of the nodes of a step, and returns them.
    fn each(
        &mut self,
        (what, nodes, n): (&str, &Targets, u64),
        act: impl Fn(&mut Self, &mut Host),
    ) -> BTreeSet<NodeId> {
        let nodes = self.resolve(nodes, n);
        self.emit_fault(format!("{what} {}", list(&nodes)));
        self.on_each(&nodes, act);
        nodes
    }

    /// Makes a new client send one operation to each of these nodes.
    fn client_step(&mut self, action: &StepAction, n: u64) {
        let (nodes, op) = match action {
            StepAction::Put { node, key, value } => {
                (node, ClientOp::Put { key: key.clone(), value: value.clone(), ttl_ms: 0 })
            }
            StepAction::Get { node, key, mode } => {
                (node, ClientOp::scripted_get(key.clone(), *mode, self.scenario.clients.reads))
            }
            _ => return,
        };
        self.resolve(nodes, n).into_iter().for_each(|node| self.scripted_client(node, op.clone()));
    }

    /// Makes a new client send one operation to this node.
    pub(crate) fn scripted_client(&mut self, node: NodeId, op: ClientOp) {
        let mut out = Vec::new();
        self.clients.scripted(self.now, node, op, &mut out);
        self.for_clients(out, None);
    }

    /// Cuts all links of a step at once: it looks up the leader before the first cut.
    fn cut_all_step(&mut self, all: &[Links], n: u64, lasts: Option<Duration>) {
        let place = |place: usize| n + ((place as u64) << 32);
        let cuts: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(at, links)| (links, self.resolve(&links.from, place(at)), self.resolve(&links.to, place(at))))
            .collect();
        for (links, from, to) in cuts {
            self.cut_step(links, &from, &to, lasts);
        }
    }

    /// The nodes that a step means now.
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
}

impl StepAction {
    /// Whether liveness counts only from this step on, because it changes the conditions of the cluster. Requests and
    /// checks do not.
    const fn disturbs(&self) -> bool {
        !matches!(
            self,
            Self::Expect(_)
                | Self::Put { .. }
                | Self::Get { .. }
                | Self::Campaign { .. }
                | Self::TakeSnapshot { .. }
                | Self::Stranger { .. }
                | Self::Change { .. }
                | Self::Transfer { .. }
                | Self::Backup { .. }
        )
    }
}

#[cfg(test)]
mod tests;
