//! One node: the production core, or none while it is down, and its disk. A step gives the next node and what it sends.
//!
//! The properties that one node can break alone are checked here, once for each distinct step.

use crate::checkers::Violation;
use raft_core::{
    Action, AppendOutcome, Config, Entry, HardState, Input, Instant, LogIndex, Message, NodeId, Raft, RecoveredState,
    RequestId, RoleKind, Rpc, StopReason, Vote, Write,
};
use std::collections::VecDeque;

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) hard_state: HardState,
    pub(super) entries: Vec<Entry>,
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) id: NodeId,
    /// `None` while the node is down.
    pub(super) core: Option<Box<Raft>>,
    /// What a power loss keeps for certain.
    pub(super) durable: Image,
    /// The writes that are not reported done, in order. A power loss keeps any number of the first ones.
    pub(super) unsynced: Vec<Write>,
    /// What the disk holds once all writes are done: the log and the term in memory.
    pub(super) written: Image,
    /// The time of its own clock.
    pub(super) now: Instant,
    /// The election timeouts since its start, if they are limited.
    pub(super) rounds: u32,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A message arrives; `late`: when the next timer of the node is due.
    Receive { from: NodeId, rpc: Rpc, late: bool },
    /// The next timer fires.
    Timeout,
    /// The oldest write is done.
    WriteDone,
    /// A client asks for an entry.
    Request,
    /// The power fails; the disk keeps this many writes that were not reported done.
    PowerLoss { kept: usize },
    /// The node starts.
    Restart,
}

/// How far a clock that fires a timer goes beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) beyond: u64,
    /// Whether the node counts its election timeouts.
    pub(super) counts_rounds: bool,
}

impl Image {
    /// Carries out a write.
    fn apply(&mut self, write: &Write) -> Result<(), Violation> {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(index) = write.truncate_from {
            self.entries.retain(|entry| entry.id.index < index);
        }
        let last = self.entries.last().map(|entry| entry.id).unwrap_or_default();
        if !write.entries.follows(last) {
            return Err(broken("no_holes", format!("the write {write} does not follow {last}")));
        }
        self.entries.extend(write.entries.iter().cloned());
        Ok(())
    }

    pub(super) fn last(&self) -> LogIndex {
        self.entries.last().map(|entry| entry.id.index).unwrap_or_default()
    }

    /// Whether both hold the same entries up to `index`.
    fn agrees(&self, other: &Self, index: LogIndex) -> bool {
        let count = usize::try_from(index.0).unwrap_or(usize::MAX);
        let ids =
            |image: &Self| image.entries.get(..count).map(|all| all.iter().map(|entry| entry.id).collect::<Vec<_>>());
        ids(self).is_some() && ids(self) == ids(other)
    }
}

pub(super) fn broken(property: &'static str, message: String) -> Violation {
    Violation { property, message, facts: Vec::new() }
}

impl Replica {
    /// A founder of the cluster, started.
    pub(super) fn founder(config: &Config, first: &Write) -> Result<Self, Violation> {
        let mut durable = Image::default();
        durable.apply(first)?;
        let written = durable.clone();
        let (id, unsynced) = (config.id, Vec::new());
        let down = Self { id, core: None, durable, unsynced, written, now: Instant::default(), rounds: 0 };
        Ok(down.step(&Event::Restart, config, Timing { beyond: 0, counts_rounds: false })?.0)
    }

    /// The node after an event, and what it sends.
    pub(super) fn step(
        &self,
        event: &Event,
        config: &Config,
        timing: Timing,
    ) -> Result<(Self, Vec<(NodeId, Rpc)>), Violation> {
        let (mut next, mut sent) = (self.clone(), Vec::new());
        let deadline = self.core.as_ref().and_then(|core| core.deadline()).unwrap_or_default();
        match event {
            Event::Receive { from, rpc, late } => {
                let now = if *late { deadline } else { self.now };
                // The timer may fire after the message.
                next.rounds += u32::from(timing.counts_rounds && *late);
                next.call(now, Input::Receive { from: *from, rpc: rpc.clone() }, &mut sent)?;
            }
            Event::Timeout => {
                let leads = self.role() == Some(RoleKind::Leader);
                next.rounds += u32::from(timing.counts_rounds && !leads);
                next.call(Instant(deadline.0.saturating_add(timing.beyond)), Input::Tick, &mut sent)?;
            }
            Event::WriteDone => {
                let write = next.unsynced.remove(0);
                next.durable.apply(&write)?;
                next.call(self.now, Input::Persisted { write: write.id }, &mut sent)?;
            }
            Event::Request => {
                let input = Input::Propose { id: RequestId(0), command: Vec::new().into() };
                next.call(self.now, input, &mut sent)?;
            }
            Event::PowerLoss { kept } => {
                for write in next.unsynced.drain(..).take(*kept) {
                    next.durable.apply(&write)?;
                }
                (next.core, next.written, next.rounds) = (None, next.durable.clone(), 0);
            }
            Event::Restart => {
                let Image { hard_state, entries } = next.durable.clone();
                let restored = RecoveredState::of_log(hard_state, None, entries.into());
                let core = Raft::new(config.clone(), restored)
                    .map_err(|error| broken("recovery", format!("{} does not start: {error}", self.id)))?;
                (next.core, next.now) = (Some(Box::new(core)), Instant::default());
                next.call(Instant::default(), Input::Tick, &mut sent)?;
            }
        }
        self.check_change(&next)?;
        Ok((next, sent))
    }

    /// Calls the core, and reports what it asks to apply as applied at once.
    pub(super) fn call(&mut self, now: Instant, input: Input, sent: &mut Vec<(NodeId, Rpc)>) -> Result<(), Violation> {
        self.now = self.now.max(now);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(core) = &mut self.core else { return Ok(()) };
            for action in core.step(Message { now: self.now, input }) {
                match action {
                    Action::Send { to, rpc } => {
                        self.check_promise(to, &rpc)?;
                        sent.push((to, rpc));
                    }
                    Action::Persist(write) => self.write(write)?,
                    Action::Apply { entries } => {
                        let last = entries.last_id().unwrap_or_default();
                        if !self.durable.agrees(&self.written, last.index) {
                            return Err(self.broken("effect", format!("applies {last}, which is not durable here")));
                        }
                        inputs.push_back(Input::Applied { index: last.index });
                    }
                    Action::Stopped { reason } => return Err(self.stopped(reason)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, write: Write) -> Result<(), Violation> {
        let before = self.written.hard_state;
        self.written.apply(&write)?;
        let after = self.written.hard_state;
        if after.term < before.term {
            return Err(self.broken("monotone", format!("goes back from {before} to {after}")));
        }
        let voted = before.voted_for.is_some() && before.voted_for != after.voted_for;
        if after.term == before.term && voted {
            return Err(self.broken("one_vote_per_term", format!("had {before}, and writes {after}")));
        }
        self.unsynced.push(write);
        Ok(())
    }

    /// A message may promise only what is durable.
    fn check_promise(&self, to: NodeId, rpc: &Rpc) -> Result<(), Violation> {
        let hard_state = self.durable.hard_state;
        match rpc {
            Rpc::RequestVoteResponse(answer)
                if answer.vote == Vote::Granted
                    && hard_state != (HardState { term: answer.term, voted_for: Some(to) }) =>
            {
                let vote = format!("votes for {to} in term {}, durable is {hard_state}", answer.term);
                return Err(self.broken("vote_durable", vote));
            }
            Rpc::AppendEntriesResponse(answer) => {
                let AppendOutcome::Matched { index } = answer.outcome else { return Ok(()) };
                if hard_state.term < answer.term || !self.durable.agrees(&self.written, index) {
                    let last = self.durable.last();
                    let ack = format!("acknowledges {index} in term {}, durable is {hard_state}, {last}", answer.term);
                    return Err(self.broken("ack_durable", ack));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a step may not take back, and what a new leader needs.
    fn check_change(&self, next: &Self) -> Result<(), Violation> {
        let (Some(core), Some(after)) = (&self.core, &next.core) else { return Ok(()) };
        if after.commit() < core.commit() {
            let (before, after) = (core.commit(), after.commit());
            return Err(self.broken("monotone", format!("takes its commit index back from {before} to {after}")));
        }
        let (led, leads) = (core.role() == RoleKind::Leader, after.role() == RoleKind::Leader);
        if led && leads && core.term() == after.term() && !next.written.agrees(&self.written, self.written.last()) {
            return Err(self.broken("leader_append_only", format!("removes entries in term {}", core.term())));
        }
        let own = HardState { term: after.term(), voted_for: Some(self.id) };
        if leads && next.durable.hard_state != own {
            let found = next.durable.hard_state;
            return Err(self.broken("vote_durable", format!("leads term {}, durable is {found}", after.term())));
        }
        Ok(())
    }

    fn stopped(&self, reason: StopReason) -> Violation {
        self.broken("state_machine_safety", format!("stops: {reason}"))
    }

    fn broken(&self, property: &'static str, what: String) -> Violation {
        broken(property, format!("{} {what}", self.id))
    }

    pub(super) fn role(&self) -> Option<RoleKind> {
        self.core.as_ref().map(|core| core.role())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{
        AppendEntriesResponse, Configuration, EntryId, Payload, RequestVoteResponse, Seq, Term, VoteRefusal, WriteId,
    };
    use std::time::Duration;

    fn founder() -> Replica {
        let first = Write::bootstrap(Configuration::of_voters([1, 2, 3].map(NodeId)));
        Replica::founder(&Config::new(NodeId(1)), &first).expect("a founder starts")
    }

    fn write(term: u64, voted_for: Option<u64>, entries: &[(u64, u64)]) -> Write {
        let entry = |&(index, term): &(u64, u64)| Entry { id: EntryId::new(index, term), payload: Payload::Noop };
        let hard_state = Some(HardState { term: Term(term), voted_for: voted_for.map(NodeId) });
        let entries = entries.iter().map(entry).collect();
        Write { id: WriteId(1), hard_state, truncate_from: None, snapshot: None, entries }
    }

    fn property(result: Result<impl Sized, Violation>) -> &'static str {
        result.err().map_or("holds", |violation| violation.property)
    }

    fn vote(term: u64, vote: Vote) -> Rpc {
        Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote })
    }

    fn ack(term: u64, index: u64) -> Rpc {
        let outcome = AppendOutcome::Matched { index: LogIndex(index) };
        let (term, stickiness) = (Term(term), Duration::ZERO);
        Rpc::AppendEntriesResponse(AppendEntriesResponse { term, seq: Seq(1), outcome, stickiness, no_space: false })
    }

    #[test]
    fn votes_and_acknowledgements_leave_when_they_are_durable() {
        let mut node = founder();
        let promise = |node: &Replica, rpc: &Rpc| property(node.check_promise(NodeId(2), rpc));
        node.write(write(2, Some(2), &[(2, 2)])).expect("a write");
        assert_eq!(promise(&node, &vote(2, Vote::Granted)), "vote_durable");
        assert_eq!(promise(&node, &vote(2, Vote::Refused(VoteRefusal::StaleTerm))), "holds");
        assert_eq!((promise(&node, &ack(1, 1)), promise(&node, &ack(1, 2))), ("holds", "ack_durable"));
        assert_eq!(promise(&node, &ack(2, 1)), "ack_durable", "the term is not durable");
        node.durable = node.written.clone();
        assert_eq!(promise(&node, &vote(2, Vote::Granted)), "holds");
        assert_eq!(property(node.check_promise(NodeId(3), &vote(2, Vote::Granted))), "vote_durable");
        assert_eq!((promise(&node, &ack(2, 2)), promise(&node, &ack(2, 3))), ("holds", "ack_durable"));
    }

    #[test]
    fn a_write_keeps_the_vote_and_the_order() {
        let written = |first: Write, second: Write| {
            let mut node = founder();
            node.write(first).expect("the first write");
            property(node.write(second))
        };
        assert_eq!(written(write(2, Some(2), &[]), write(2, Some(3), &[])), "one_vote_per_term");
        assert_eq!(written(write(2, Some(2), &[]), write(2, None, &[])), "one_vote_per_term");
        assert_eq!(written(write(3, None, &[]), write(2, None, &[])), "monotone");
        assert_eq!(written(write(2, None, &[(2, 2)]), write(2, None, &[(4, 2)])), "no_holes");
        assert_eq!(written(write(2, None, &[(2, 2)]), write(3, Some(1), &[(3, 2)])), "holds");
    }

    #[test]
    fn a_power_loss_keeps_what_is_durable_and_any_first_writes() {
        let (config, timing) = (Config::new(NodeId(1)), Timing { beyond: 0, counts_rounds: false });
        let mut node = founder();
        node.write(write(2, Some(2), &[(2, 2)])).expect("a write");
        node.write(write(3, None, &[(3, 3)])).expect("a write");
        let last = |kept| {
            let (down, _) = node.step(&Event::PowerLoss { kept }, &config, timing).expect("a power loss");
            assert!(down.core.is_none() && down.unsynced.is_empty());
            let (up, _) = down.step(&Event::Restart, &config, timing).expect("a restart");
            let core = up.core.expect("it is up");
            (core.term().0, core.status().last)
        };
        assert_eq!(last(0), (1, EntryId::new(1, 1)));
        assert_eq!((last(1), last(2)), ((2, EntryId::new(2, 2)), (3, EntryId::new(3, 3))));
    }
}
