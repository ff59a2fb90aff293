//! Clocks that jump, and machines that stand still.
//!
//! A host promises a clock that never goes back and runs through suspend. These faults break that promise. Safety does
//! not depend on it: after a jump forward all timers of a node are due, after a jump back the node counts its latest
//! time (rule R1) until its clock has passed that, so its timers stand still for as long as the jump was. A lease is
//! different. It rests on the difference of two clocks' rates: after a jump back of the leader's clock the leader relies
//! on promises that are over, and after a jump forward of a voter's clock the voter breaks its promise early. So a run
//! has leases or jumps, not both.

use crate::faults::swarm::only;
use crate::faults::{Fault, list};
use crate::record::RecordKind;
use crate::scenario::feature::Feature;
use crate::scenario::model::StepAction;
use crate::scenario::units;
use crate::world::host::Host;
use crate::world::{Emission, NodeEvent, World};
use raft_core::{Instant, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest jumps, in election timeouts: back, so that a healed node's timers run again soon, and forward.
const MOST_BACK: u32 = 3;
const MOST_FORWARD: u32 = 40;

/// The effect on the world.
impl World {
    /// Sets a node's clock to another reading.
    fn set_clock(&mut self, host: &mut Host, reading: Instant) {
        let before = host.clock.read(self.now);
        host.clock = host.clock.set(self.now, reading);
        let by_ns = i128::from(reading.0) - i128::from(before.0);
        self.emissions.push(Emission::View(host.view()));
        let by_ns = i64::try_from(by_ns).unwrap_or(if by_ns < 0 { i64::MIN } else { i64::MAX });
        self.emit(None, Some(host.id), RecordKind::ClockJumped { by_ns });
        self.arrange_timer(host);
    }

    pub(crate) fn jump_step(&mut self, nodes: &BTreeSet<NodeId>, by: i64) {
        let (sign, length) = (if by < 0 { "back" } else { "forward" }, Duration::from_nanos(by.unsigned_abs()));
        self.emit_fault(format!("clock of {} jumps {sign} by {}", list(nodes), units::show(length)));
        self.fault_counts.inject(Fault::ClockJump);
        self.on_each(nodes, |world, host| {
            let reading = Instant(host.clock.read(world.now).0.saturating_add_signed(by));
            world.set_clock(host, reading);
            if host.process.is_some() {
                world.fault_counts.note_effect(Fault::ClockJump);
            }
        });
    }

    /// Suspends a machine: its process, its disk and its clock stand still, and what is sent to it is lost.
    pub(crate) fn suspend(&mut self, host: &mut Host) {
        if host.process.is_some() && !host.paused {
            (host.paused, host.suspended) = (true, Some(host.clock.read(self.now)));
            self.fault_counts.inject(Fault::MachinePause);
        }
    }

    /// A suspended machine continues with the reading that its clock had.
    pub(crate) fn end_suspension(&mut self, host: &mut Host) {
        if let Some(reading) = host.suspended.take() {
            self.set_clock(host, reading);
        }
    }

    /// Whether an event is lost because its machine is suspended. The machine's own disk continues later.
    pub(crate) fn is_lost_in_suspension(&mut self, host: &Host, event: &NodeEvent) -> bool {
        let is_suspended = host.suspended.is_some();
        if is_suspended {
            self.fault_counts.note_effect(Fault::MachinePause);
        }
        is_suspended && event.comes_from_outside()
    }
}

/// The draws of a swarm.
impl World {
    /// Whether this run has leases, and the fault breaks the assumption of a lease.
    pub(crate) fn leases_forbid(&self, feature: Feature) -> bool {
        self.scenario.raft.lease_reads && matches!(feature, Feature::ClockJump | Feature::MachinePause)
    }

    pub(crate) fn swarm_jump(&mut self, n: u64) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(400_000)).unwrap_or(drawn);
        let timeout = self.scenario.raft.election_timeout.end;
        let is_back = self.detail(n, 2).chance_ppm(500_000);
        let most = timeout.saturating_mul(if is_back { MOST_BACK } else { MOST_FORWARD });
        // Small jumps matter as much as great ones.
        let most = most / [1, 8, 64][self.detail(n, 3).below(3) as usize];
        let length = self.detail(n, 4).in_range(&(Duration::from_nanos(1)..most));
        let by = i64::try_from(raft_core::nanos(length)).unwrap_or(i64::MAX);
        self.strike(StepAction::Jump { nodes: only(node), by: if is_back { -by } else { by } }, None);
    }

    pub(crate) fn swarm_suspend(&mut self, n: u64, length: Duration) {
        let drawn = self.drawn_node(n);
        let node = self.leader().filter(|_| self.detail(n, 1).chance_ppm(500_000)).unwrap_or(drawn);
        self.strike(StepAction::Suspend { nodes: only(node) }, Some(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::model::{Condition, StepAction, Targets};
    use crate::testing::{at, ms, passed, quiet, when};
    use raft_core::{RoleKind, Term};

    const LEADS: Condition = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(0) };

    #[test]
    fn after_a_jump_forward_the_timers_are_due_and_after_a_jump_back_they_wait() {
        let mut scenario = quiet(3, ms(6_000));
        let jump = |by| StepAction::Jump { nodes: Targets::Followers, by };
        scenario.steps = vec![when(LEADS, ms(500), jump(10_000_000_000))];
        let (_, records) = passed(&scenario);
        let jumped = records.iter().position(|record| matches!(record.kind, RecordKind::ClockJumped { .. }));
        let (before, after) = records.split_at(jumped.expect("a jump"));
        let timers = |node: u64| {
            let at = before.last().map(|record| record.at);
            let fired = after
                .iter()
                .find(|record| record.node == Some(NodeId(node)) && matches!(record.kind, RecordKind::TimerFired));
            fired.zip(at).map(|(record, at)| record.at.since(at))
        };
        assert!((1..=3).filter_map(timers).filter(|wait| *wait < ms(1)).count() >= 2);
        // The leader sends nothing while its time stands still, so another one is elected.
        let back = StepAction::Jump { nodes: Targets::Leader, by: -2_000_000_000 };
        let second = Condition::Role { node: None, role: RoleKind::Leader, min_term: Term(2) };
        scenario.steps = vec![when(LEADS, ms(2_500), back), when(second, ms(0), StepAction::Heal)];
        passed(&scenario);
    }

    #[test]
    fn a_suspended_machine_loses_its_messages_and_its_clock_stands_still() {
        let mut scenario = quiet(3, ms(6_000));
        scenario.steps = vec![
            when(LEADS, ms(500), StepAction::Suspend { nodes: Targets::Leader }),
            at(3_000, StepAction::Resume { nodes: Targets::All }),
        ];
        let (result, records) = passed(&scenario);
        assert!(result.faults["machine_pause"].had_effect);
        let back: Vec<i64> = records
            .iter()
            .filter_map(|record| if let RecordKind::ClockJumped { by_ns } = record.kind { Some(by_ns) } else { None })
            .collect();
        assert!(matches!(back[..], [by] if (-3_000_000_000..-1_000_000_000).contains(&by)), "{back:?}");
    }
}
