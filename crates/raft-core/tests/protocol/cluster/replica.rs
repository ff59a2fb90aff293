//! A single replica; the test plays its peers. It is n1 of the voters n1 n2 n3 unless a test says otherwise.

use super::image;
use raft_core::*;
use std::time::Duration;

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);
/// A node that is not in the configuration.
pub(crate) const N9: NodeId = NodeId(9);

/// A replica and the last write that it emitted.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) raft: Raft,
    pub(crate) now: Instant,
    pub(crate) last_write: WriteId,
}

impl Replica {
    /// n1 of three, with a log of these terms, in the term of its last entry. It was called once, at one second.
    pub(crate) fn new(terms: &[u64]) -> Self {
        Self::with(terms, 3, |_, _| ())
    }

    /// n1 of `voters`, with settings and restored state changed by `adjust`. It was called once.
    pub(crate) fn with(terms: &[u64], voters: u64, adjust: impl FnOnce(&mut Config, &mut RecoveredState)) -> Self {
        let mut replica = Self::unstarted(terms, voters, adjust);
        replica.tick();
        replica
    }

    /// The same replica before its first call.
    pub(crate) fn unstarted(terms: &[u64], voters: u64, adjust: impl FnOnce(&mut Config, &mut RecoveredState)) -> Self {
        let mut config = Config { observe: true, ..Config::new(N1) };
        let disk = image(terms.last().copied().unwrap_or(0), terms, voters);
        let mut restored = disk.restored(0, true);
        adjust(&mut config, &mut restored);
        let raft = Raft::new(config, restored).expect("a legal start");
        Self { raft, now: Instant::from_millis(1_000), last_write: WriteId(0) }
    }

    // ---- calls ----

    pub(crate) fn step(&mut self, input: Input) -> Vec<Action> {
        self.batch([input])
    }

    /// Makes one call and checks what holds after every call.
    pub(crate) fn batch(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.raft.step_batch(self.now, inputs, &mut actions);
        let writes: Vec<WriteId> = actions
            .iter()
            .filter_map(|action| if let Action::Persist(write) = action { Some(write.id) } else { None })
            .collect();
        assert!(writes.len() <= 1, "one write a call: {actions:?}");
        for id in writes {
            assert_eq!(id, self.last_write.next(), "writes are numbered without a gap");
            self.last_write = id;
        }
        assert!(self.raft.deadline().is_none_or(|deadline| deadline > self.now), "{:?}", self.raft.deadline());
        actions
    }

    pub(crate) fn tick(&mut self) -> Vec<Action> {
        self.step(Input::Tick)
    }

    pub(crate) fn receive(&mut self, from: NodeId, rpc: Rpc) -> Vec<Action> {
        self.step(Input::Receive { from, rpc })
    }

    /// Reports all writes.
    pub(crate) fn persist(&mut self) -> Vec<Action> {
        self.report(self.last_write.0)
    }

    pub(crate) fn report(&mut self, write: u64) -> Vec<Action> {
        self.step(Input::Persisted { write: WriteId(write) })
    }

    pub(crate) fn propose(&mut self, id: u64) -> Vec<Action> {
        self.step(Input::Propose { id: RequestId(id), command: "x".into() })
    }

    pub(crate) fn read(&mut self, id: u64) -> Vec<Action> {
        self.step(Input::Read { id: RequestId(id), mode: ReadMode::Safe })
    }

    pub(crate) fn lease_read(&mut self, id: u64) -> Vec<Action> {
        self.step(Input::Read { id: RequestId(id), mode: ReadMode::Lease })
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = Instant(self.now.0 + millis * 1_000_000);
    }

    /// Advances the clock to the deadline and calls the replica.
    pub(crate) fn wait(&mut self) -> Vec<Action> {
        self.now = self.now.max(self.raft.deadline().expect("a timer runs"));
        self.tick()
    }

    // ---- roles ----

    /// Becomes a follower of n2 in `term`, durably; n2 has sent the append `s1`.
    pub(crate) fn following(mut self, term: u64) -> Self {
        let prev = self.raft.status().last;
        self.receive(N2, heartbeat(term, 1, (0, 0), 0));
        self.persist();
        assert_eq!(
            (self.raft.role(), self.raft.leader(), self.raft.status().last),
            (RoleKind::Follower, Some(N2), prev)
        );
        self
    }

    /// Becomes a pre-candidate.
    pub(crate) fn pre_candidate(mut self) -> Self {
        self.wait();
        assert_eq!(self.raft.role(), RoleKind::PreCandidate);
        self
    }

    /// Wins the pre-votes; its own vote is not durable.
    pub(crate) fn voting_for_itself(self) -> Self {
        let mut replica = self.pre_candidate();
        replica.receive(N2, pre_vote_granted(1, 1));
        assert_eq!(replica.raft.role(), RoleKind::Candidate);
        replica
    }

    /// Becomes a candidate.
    pub(crate) fn candidate(self) -> Self {
        let mut replica = self.voting_for_itself();
        replica.persist();
        replica
    }

    /// Becomes the leader of the term after its last one; its no-op is in flight to the disk and, as `s1` and `s2`, to
    /// n2 and n3.
    pub(crate) fn leader(self) -> Self {
        let mut replica = self.candidate();
        let term = replica.raft.term().0;
        replica.receive(N2, granted(term));
        assert_eq!(replica.raft.role(), RoleKind::Leader);
        replica
    }

    /// Becomes a leader whose no-op is durable here and at n2, and so committed; n2 has the whole log and knows that.
    pub(crate) fn established(self) -> Self {
        let mut replica = self.leader();
        replica.persist();
        let (term, last) = (replica.term(), replica.last());
        replica.receive(N2, matched(term, 1, last));
        assert_eq!(replica.raft.commit().0, last);
        replica
    }

    // ---- its state ----

    pub(crate) fn term(&self) -> u64 {
        self.raft.term().0
    }

    pub(crate) fn last(&self) -> u64 {
        self.raft.status().last.index.0
    }

    pub(crate) fn commit(&self) -> u64 {
        self.raft.commit().0
    }

    pub(crate) fn role(&self) -> RoleKind {
        self.raft.role()
    }
}

// ---- actions as text ----

/// The messages among the actions, as they print.
pub(crate) fn sends(actions: &[Action]) -> Vec<String> {
    let sends = actions.iter().filter(|action| matches!(action, Action::Send { .. }));
    sends.map(|action| action.to_string().trim_start_matches("-> ").to_string()).collect()
}

/// The answers and announcements among the actions, as they print.
pub(crate) fn news(actions: &[Action]) -> Vec<String> {
    let is_news = |action: &&Action| {
        !matches!(action, Action::Send { .. } | Action::Persist(_) | Action::Apply { .. } | Action::Observe(_))
    };
    actions.iter().filter(is_news).map(ToString::to_string).collect()
}

/// The events among the actions, as they print.
pub(crate) fn events(actions: &[Action]) -> Vec<String> {
    actions.iter().filter(|action| matches!(action, Action::Observe(_))).map(ToString::to_string).collect()
}

/// The write among the actions, as it prints.
pub(crate) fn write(actions: &[Action]) -> Option<String> {
    actions.iter().find(|action| matches!(action, Action::Persist(_))).map(ToString::to_string)
}

/// The `TimeoutNow` requests among the actions, as they print.
pub(crate) fn timeouts(actions: &[Action]) -> Vec<String> {
    sends(actions).into_iter().filter(|line| line.contains("timeout now")).collect()
}

/// The applied entries, as they print.
pub(crate) fn applies(actions: &[Action]) -> Vec<String> {
    actions.iter().filter(|action| matches!(action, Action::Apply { .. })).map(ToString::to_string).collect()
}

/// The appends to a peer.
pub(crate) fn appends_to(actions: &[Action], peer: NodeId) -> Vec<AppendEntries> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { to, rpc: Rpc::AppendEntries(rpc) } if *to == peer => Some(rpc.clone()),
            _ => None,
        })
        .collect()
}

// ---- messages ----

fn id((index, term): (u64, u64)) -> EntryId {
    EntryId::new(index, term)
}

pub(crate) fn append(term: u64, seq: u64, prev: (u64, u64), commit: u64, entries: &[(u64, u64)]) -> Rpc {
    let entries = entries.iter().map(|&(index, of)| super::entry(index, of, 3)).collect();
    Rpc::AppendEntries(AppendEntries {
        term: Term(term),
        seq: Seq(seq),
        prev: id(prev),
        leader_commit: LogIndex(commit),
        entries,
    })
}

pub(crate) fn heartbeat(term: u64, seq: u64, prev: (u64, u64), commit: u64) -> Rpc {
    append(term, seq, prev, commit, &[])
}

fn sticky(term: u64, seq: u64, outcome: AppendOutcome, millis: u64) -> Rpc {
    let stickiness = Duration::from_millis(millis);
    let (term, seq) = (Term(term), Seq(seq));
    Rpc::AppendEntriesResponse(AppendEntriesResponse { term, seq, outcome, stickiness, no_space: false })
}

/// The answer of a peer without space on its disk.
pub(crate) fn matched_without_space(term: u64, seq: u64, index: u64) -> Rpc {
    match matched(term, seq, index) {
        Rpc::AppendEntriesResponse(response) => {
            Rpc::AppendEntriesResponse(AppendEntriesResponse { no_space: true, ..response })
        }
        other => other,
    }
}

/// The success of a peer that is sticky for this long.
pub(crate) fn matched_sticky(term: u64, seq: u64, index: u64, millis: u64) -> Rpc {
    sticky(term, seq, AppendOutcome::Matched { index: LogIndex(index) }, millis)
}

/// The refusal of a peer that is sticky for this long.
pub(crate) fn mismatch_sticky(term: u64, seq: u64, prev: (u64, u64), hint: (u64, u64), millis: u64) -> Rpc {
    sticky(term, seq, AppendOutcome::Mismatch { prev: id(prev), hint: id(hint) }, millis)
}

pub(crate) fn matched(term: u64, seq: u64, index: u64) -> Rpc {
    matched_sticky(term, seq, index, 0)
}

pub(crate) fn mismatch(term: u64, seq: u64, prev: (u64, u64), hint: (u64, u64)) -> Rpc {
    mismatch_sticky(term, seq, prev, hint, 0)
}

pub(crate) fn stale_term(term: u64, seq: u64) -> Rpc {
    sticky(term, seq, AppendOutcome::StaleTerm, 0)
}

pub(crate) fn request_vote(term: u64, last: (u64, u64)) -> Rpc {
    Rpc::RequestVote(RequestVote { term: Term(term), last: id(last), transfer: false })
}

/// A vote request in an election that the leader asked for.
pub(crate) fn request_vote_for_transfer(term: u64, last: (u64, u64)) -> Rpc {
    Rpc::RequestVote(RequestVote { term: Term(term), last: id(last), transfer: true })
}

pub(crate) fn timeout_now(term: u64, last: (u64, u64)) -> Rpc {
    Rpc::TimeoutNow(TimeoutNow { term: Term(term), last: id(last) })
}

pub(crate) fn granted(term: u64) -> Rpc {
    Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote: Vote::Granted })
}

pub(crate) fn refused(term: u64) -> Rpc {
    let vote = Vote::Refused(VoteRefusal::StaleTerm);
    Rpc::RequestVoteResponse(RequestVoteResponse { term: Term(term), vote })
}

pub(crate) fn pre_vote(term: u64, round: u64, last: (u64, u64)) -> Rpc {
    Rpc::PreVote(PreVote { term: Term(term), round: Round(round), last: id(last) })
}

pub(crate) fn pre_vote_granted(term: u64, round: u64) -> Rpc {
    Rpc::PreVoteResponse(PreVoteResponse { term: Term(term), round: Round(round), vote: Vote::Granted })
}

pub(crate) fn pre_vote_refused(term: u64, round: u64) -> Rpc {
    let vote = Vote::Refused(VoteRefusal::StaleTerm);
    Rpc::PreVoteResponse(PreVoteResponse { term: Term(term), round: Round(round), vote })
}
