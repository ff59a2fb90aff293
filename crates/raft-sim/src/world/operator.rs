//! The operator: it requests changes of the configuration and leadership transfers from leaders, one task after the
//! other, and repeats each request until it is done.
//!
//! It knows the leader and the decided configuration, unlike the operator of a real cluster. Its requests travel like
//! any client's. The checkers decide whether an answer is right.

use crate::faults::Fault;
use crate::record::{RecordKind, SimTime};
use crate::rng::Site;
use crate::scenario::changes::{SeatChange, is_in_force, membership_change, show_change};
use crate::scenario::refusals::{Refusal, of_reply};
use crate::world::refusals::Act;
use crate::world::watchers::FIRST_OF_WATCHES;
use crate::world::{Event, NodeEvent, World};
use raft_core::{NodeId, RejectReason, RequestId};
use raft_node::{Reply, Request};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

const DELAY: Site = Site::new("operator delay");
const FORCE: Site = Site::new("operator force");

/// The probability, in parts per million, that the operator of a swarm forces a change that was just refused because no quorum
/// of the voters to come answers.
const FORCED: u32 = 700_000;

/// The requests of the operator's tasks have numbers below this; those that it makes once, without a task, begin here.
pub(crate) const FIRST_OF_ACTS: u64 = 400_000;

/// The requests of the operator's backups begin here.
pub(crate) const FIRST_OF_BACKUPS: u64 = 500_000;

/// The requests of clients have numbers from here on.
pub(crate) const FIRST_OF_CLIENTS: u64 = 1_000_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Operator {
    /// The tasks to do; the first is in progress.
    tasks: VecDeque<OperatorTask>,
    /// The request that it waits for.
    asked: Option<RequestId>,
    requests: u64,
    /// Counts the tasks that are asked once.
    once: u64,
    /// Counts the requests without a task.
    acts: u64,
    /// Only the newest wake counts.
    generation: u64,
}

#[derive(Clone, Debug)]
struct OperatorTask {
    work: Work,
    /// When the operator gives up the task; it never gives up a step of a scenario.
    until: Option<SimTime>,
    /// The number of a task that is asked once, because a refusal is expected.
    once: Option<Act>,
    attempts: u64,
    last_answer: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A change of the configuration; `force`: also if no quorum of the one to come answers.
    Change { steps: Vec<SeatChange>, force: bool },
    /// A leadership transfer, to this node or to the leader's choice.
    Transfer(Option<NodeId>),
}

/// The events that the operator waits for.
#[derive(Clone, Debug)]
pub(crate) enum OperatorEvent {
    Reply { id: RequestId, reply: Reply },
    Wake { generation: u64 },
}

impl Work {
    fn request(&self) -> Request {
        match self {
            Self::Change { steps, force } => Request::ChangeMembership { change: membership_change(steps, *force) },
            Self::Transfer(to) => Request::TransferLeadership { to: *to },
        }
    }

    const fn fault(&self) -> Fault {
        match self {
            Self::Change { .. } => Fault::Membership,
            Self::Transfer(_) => Fault::Transfer,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { steps, force } => {
                write!(f, "{}{}", show_change(steps), if *force { ", forced" } else { "" })
            }
            Self::Transfer(Some(to)) => write!(f, "hand over to {to}"),
            Self::Transfer(None) => write!(f, "hand over"),
        }
    }
}

impl World {
    pub(crate) fn instruct(&mut self, work: Work, until: Option<SimTime>) {
        self.add_task(work, until, None);
    }

    /// Gives the operator a step of the scenario. It gives up after a while if the step says so. If a refusal is expected, it
    /// asks once.
    pub(crate) fn instruct_once(&mut self, work: Work, lasts: Option<Duration>, refused: Option<Refusal>) {
        if let Some(lasts) = lasts {
            return self.instruct(work, Some(self.now.after(lasts)));
        }
        self.operator.once += u64::from(refused.is_some());
        let act = Act::Task(self.operator.once);
        self.refusals.expect(act, refused, || work.to_string());
        self.add_task(work, None, refused.map(|_| act));
    }

    fn add_task(&mut self, work: Work, until: Option<SimTime>, once: Option<Act>) {
        self.emit_fault(work.to_string());
        let idle = self.operator.tasks.is_empty();
        self.fault_counts.inject(work.fault());
        let last_answer = "no node led".into();
        self.operator.tasks.push_back(OperatorTask { work, until, once, attempts: 0, last_answer });
        if idle {
            self.operator_tries();
        }
    }

    /// The number of a request without a task.
    pub(crate) fn next_act(&mut self) -> RequestId {
        self.operator.acts += 1;
        RequestId(FIRST_OF_ACTS + self.operator.acts)
    }

    /// Whether the operator has no task.
    pub(crate) fn operator_is_idle(&self) -> bool {
        self.operator.tasks.is_empty()
    }

    /// Drops the tasks that may be given up.
    pub(crate) fn dismiss_operator(&mut self) {
        let gone = self.operator.tasks.front().is_some_and(|task| task.until.is_some());
        self.operator.tasks.retain(|task| task.until.is_none());
        if gone {
            self.operator.asked = None;
            self.operator_tries();
        }
    }

    /// Whether a request is the operator's and it no longer waits for the answer: its connection is closed.
    pub(crate) fn is_withdrawn(&self, id: RequestId) -> bool {
        match id.0 {
            ..FIRST_OF_ACTS => self.operator.asked != Some(id),
            FIRST_OF_ACTS..FIRST_OF_BACKUPS => false,
            FIRST_OF_BACKUPS..FIRST_OF_CLIENTS => !self.backups.waits_for(id),
            FIRST_OF_WATCHES.. => !self.watchers.waits_for(id),
            _ => false,
        }
    }

    pub(crate) fn operator_event(&mut self, event: OperatorEvent) {
        match event {
            OperatorEvent::Reply { id, reply } => self.operator_receives(id, &reply),
            OperatorEvent::Wake { generation } if generation == self.operator.generation => {
                // The request or its answer is lost with its node.
                self.operator.asked = None;
                self.operator_tries();
            }
            OperatorEvent::Wake { .. } => {}
        }
    }

    /// Sends the next task to the leader, or waits for a leader.
    fn operator_tries(&mut self) {
        while let Some(task) = self.operator.tasks.front() {
            let work = task.work.clone();
            let given_up = task.until.is_some_and(|until| until <= self.now);
            let (once, attempts, last_answer) = (task.once, task.attempts, task.last_answer.clone());
            if let Some(act) = once.filter(|_| attempts > 0) {
                self.refusals.answered(act, &[], &last_answer, self.now);
                self.operator.tasks.pop_front();
                continue;
            }
            if !given_up && (once.is_some() || !self.is_done(&work)) {
                return self.operator_asks(&work);
            }
            let how = if given_up { "is given up" } else { "is so already" };
            self.emit_fault(format!("{work}: {how}"));
            self.operator.tasks.pop_front();
        }
    }

    fn operator_asks(&mut self, work: &Work) {
        let timeout = self.scenario.raft.election_timeout.end;
        let Some(leader) = self.leader() else { return self.operator_waits(timeout / 8) };
        self.operator.requests += 1;
        let id = RequestId(self.operator.requests);
        self.operator.asked = Some(id);
        if let Some(task) = self.operator.tasks.front_mut() {
            task.attempts += 1;
            task.last_answer = format!("{leader} did not answer");
        }
        let asks = self.emit_outside(None, RecordKind::Fault { label: format!("ask {leader}: {work}") });
        let delay = self.choices.draw(DELAY, 0, id.0).in_range(&self.scenario.network.delay);
        let event = NodeEvent::Request { id, request: work.request(), cause: Some(asks) };
        self.plan_after(delay, Event::Node(leader, event));
        self.operator_waits(timeout.saturating_mul(2));
    }

    fn operator_waits(&mut self, pause: Duration) {
        self.operator.generation += 1;
        let wake = OperatorEvent::Wake { generation: self.operator.generation };
        self.plan_after(pause.max(Duration::from_micros(1)), Event::Operator(wake));
    }

    pub(crate) fn answer_operator(&mut self, id: RequestId, reply: Reply) {
        let delay = self.choices.draw(DELAY, 1, id.0).in_range(&self.scenario.network.delay);
        self.plan_after(delay, Event::Operator(OperatorEvent::Reply { id, reply }));
    }

    fn operator_receives(&mut self, id: RequestId, reply: &Reply) {
        if self.operator.asked != Some(id) {
            return;
        }
        self.operator.asked = None;
        let Some(task) = self.operator.tasks.front_mut() else { return };
        task.last_answer = crate::record::explain::Answer(reply).to_string();
        if let Some(act) = task.once {
            self.refusals.answered(act, of_reply(reply), &task.last_answer, self.now);
            self.operator.tasks.pop_front();
            return self.operator_tries();
        }
        let fault = task.work.fault();
        let is_invalid = matches!(reply, Reply::Rejected { reason: RejectReason::InvalidChange(_) });
        let is_sent = matches!(reply, Reply::LeadershipTransferred { .. });
        if matches!(reply, Reply::ConfigurationDecided { .. } | Reply::TransferFailed { .. }) || is_sent {
            self.fault_counts.note_effect(fault);
        }
        if let Work::Change { force, .. } = &mut task.work
            && matches!(reply, Reply::Rejected { reason: RejectReason::NoQuorumToCome { .. } })
        {
            *force |= task.until.is_some() && self.choices.draw(FORCE, 0, id.0).chance_ppm(FORCED);
        }
        let done = matches!(reply, Reply::ConfigurationDecided { .. }) || is_sent;
        if done || is_invalid && task.until.is_some() {
            self.operator.tasks.pop_front();
            return self.operator_tries();
        }
        self.operator_waits(self.scenario.raft.election_timeout.end / 8);
    }

    fn is_done(&self, work: &Work) -> bool {
        match work {
            Work::Change { steps, .. } => is_in_force(steps, self.configurations.decided()),
            Work::Transfer(to) => to.is_some() && self.leader() == *to,
        }
    }

    /// The problem if a step of the scenario requested a change or a transfer that was never done.
    pub(crate) fn unfinished_task(&self) -> Option<String> {
        let OperatorTask { work, attempts, last_answer, .. } =
            self.operator.tasks.iter().find(|task| task.until.is_none() && task.once.is_none())?;
        Some(format!("\"{work}\" was never done: asked {attempts} times, last: {last_answer}"))
    }
}

#[cfg(test)]
mod tests;
