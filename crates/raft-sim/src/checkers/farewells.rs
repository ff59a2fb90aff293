//! A leader sends a peer that it has removed the commit index of its removal (rule R47), if the peer answers.
//!
//! The peer owes nothing, and the network may lose the message. So the property looks at the leader alone: it leads on, it does
//! not pause, and two longest election timeouts after the commit it sends to others and has not sent to the peer. That it sends
//! again what is lost is part of `liveness`.
//!
//! First to catch: a peer that the leader drops too early. It backs up no other checker: the node still learns of its removal, from
//! the refusals of its requests, if enough voters are left.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::{RecordKind, SimTime};
use crate::scenario::model::{RaftSettings, Scenario};
use raft_core::{
    AppendEntriesResponse, AppendOutcome, Configuration, EntryId, Event, LogIndex, NodeId, RoleKind, Rpc, Term,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

const NAME: &str = "farewells";

/// True time for a time of the slowest clock.
const SLOWEST_CLOCK: u32 = 2;

/// The latest answer of a peer that matches, in this term.
#[derive(Clone, Copy)]
struct Answer {
    term: Term,
    at: SimTime,
    index: LogIndex,
}

impl Answer {
    const NONE: Self = Self { term: Term(0), at: SimTime(0), index: LogIndex(0) };
}

/// The commit index that a leader has not sent to a removed peer yet.
#[derive(Clone, Copy)]
struct Farewell {
    term: Term,
    /// The entry that ended the peer's membership.
    entry: EntryId,
    /// When it was committed, and the record.
    since: SimTime,
    record: u64,
}

#[derive(Clone)]
pub(super) struct Farewells {
    /// The shortest and the longest election timeout of any node.
    timeout: Range<Duration>,
    answers: BTreeMap<(NodeId, NodeId), Answer>,
    pending: BTreeMap<(NodeId, NodeId), Farewell>,
    /// The time of each node's latest record.
    latest: BTreeMap<NodeId, SimTime>,
}

impl Farewells {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let RaftSettings { election_timeout: usual, election_timeout_of: of_nodes, .. } = &scenario.raft;
        let all = || of_nodes.values().chain([usual]);
        let shortest = all().map(|range| range.start).min().unwrap_or_default();
        let longest = all().map(|range| range.end).max().unwrap_or_default();
        Self { timeout: shortest..longest, answers: BTreeMap::new(), pending: BTreeMap::new(), latest: BTreeMap::new() }
    }

    /// A time in which a leader that runs sends heartbeats, and in which its clock does not count an election timeout.
    fn short(&self) -> Duration {
        self.timeout.start / SLOWEST_CLOCK
    }

    /// Forgets what the leader need not send any more: it leads no longer, or it paused, and the peer may have been silent for too
    /// long on its clock.
    fn forget(&mut self, fact: &Fact<'_>, node: NodeId) {
        let now = fact.record.at;
        let before = self.latest.insert(node, now).unwrap_or(now);
        let has_paused = now.since(before) > self.short();
        let view = fact.record.view.as_ref().filter(|view| view.role == RoleKind::Leader && !has_paused);
        self.pending
            .retain(|(leader, _), farewell| *leader != node || view.is_some_and(|view| view.term == farewell.term));
    }

    /// Notes the peers that the newly committed configurations remove, and that answer this leader.
    fn committed(&mut self, ghost: &Ghost, fact: &Fact<'_>, leader: NodeId, term: Term) {
        let (now, from) = (fact.record.at, fact.change.decided_before.saturating_sub(1));
        for pair in ghost.decided().get(from..).unwrap_or_default().windows(2) {
            let [(before, old), (entry, new)] = pair else { continue };
            for peer in removed(old, new).filter(|peer| *peer != leader) {
                let answer = self.answers.get(&(leader, peer)).filter(|answer| answer.term == term);
                // An answer below that entry may belong to an earlier membership.
                if answer.is_some_and(|answer| answer.index >= before.index && now.since(answer.at) <= self.short()) {
                    let farewell = Farewell { term, entry: *entry, since: now, record: fact.record.number };
                    self.pending.insert((leader, peer), farewell);
                }
            }
        }
    }

    fn sent(&mut self, fact: &Fact<'_>, leader: NodeId, to: NodeId, commit: LogIndex) -> Option<Violation> {
        let still = fact.node.map_or(Duration::ZERO, |node| node.stood_still);
        if self.pending.get(&(leader, to)).is_some_and(|farewell| commit >= farewell.entry.index) {
            self.pending.remove(&(leader, to));
        }
        let limit = self.timeout.end.saturating_mul(SLOWEST_CLOCK).saturating_add(still);
        let of_leader = self.pending.iter().filter(|((of, _), _)| *of == leader);
        let mut overdue = of_leader.filter(|(_, farewell)| fact.record.at.since(farewell.since) > limit);
        overdue.next().map(|((_, peer), Farewell { entry, record, .. })| {
            let words =
                format!("{leader} committed {entry}, which removes {peer}, and has not sent it that for {limit:?}");
            fact.contradicts(NAME, *record, words)
        })
    }
}

/// The nodes that are members of the first configuration only.
fn removed<'a>(old: &'a Configuration, new: &'a Configuration) -> impl Iterator<Item = NodeId> + 'a {
    old.members.keys().copied().filter(|peer| !new.members.contains_key(peer))
}

impl Property for Farewells {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let (record, node) = (fact.record, fact.node?.id);
        self.forget(fact, node);
        if let RecordKind::ClockJumped { .. } = record.kind {
            // For its leader a peer may have been silent for too long, or not yet.
            self.pending.retain(|(leader, _), _| *leader != node);
            self.answers.retain(|(leader, _), _| *leader != node);
        }
        let view = record.view.as_ref()?;
        if view.role == RoleKind::Leader && ghost.decided().len() > fact.change.decided_before {
            self.committed(ghost, fact, node, view.term);
        }
        match &record.kind {
            RecordKind::Received { from, rpc: Rpc::AppendEntriesResponse(response) } => {
                let AppendEntriesResponse { term, outcome, .. } = *response;
                let latest = self.answers.entry((node, *from)).or_insert(Answer { term, ..Answer::NONE });
                match outcome {
                    AppendOutcome::Matched { index } if (term, index) >= (latest.term, latest.index) => {
                        *latest = Answer { term, at: record.at, index };
                    }
                    AppendOutcome::Matched { .. } => {}
                    // The peer may need a snapshot. Then the leader drops it, and sends it nothing more.
                    _ => {
                        latest.at = SimTime(0);
                        self.pending.remove(&(node, *from));
                    }
                }
                None
            }
            RecordKind::Observed(Event::PeerLostData { peer, .. }) => {
                // It gets no more appends in this term, and its late answers do not count.
                let lost = Answer { term: view.term, index: LogIndex(u64::MAX), ..Answer::NONE };
                self.answers.insert((node, *peer), lost);
                self.pending.remove(&(node, *peer));
                None
            }
            RecordKind::Sent { to, rpc: Rpc::AppendEntries(append), .. } => {
                self.sent(fact, node, *to, append.leader_commit)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use raft_core::{Entry, Payload};

    /// n1 leads, n2 and n3 answer, and n1 commits 3@2, which removes n3.
    fn removed() -> Script {
        let mut script = Script::led();
        let without_n3 = Payload::Configuration(Configuration::of_voters([1, 2].map(NodeId)));
        let entry = Entry { id: EntryId::new(3, 2), payload: without_n3 };
        script.step(1, |view| view.last = entry.id);
        script.ask(1, None, None, vec![entry.clone()]);
        script.sync(1);
        script.follow(2, 1, 2, EntryId::new(2, 2), vec![entry]);
        for peer in [2, 3] {
            script.push(Some(1), RecordKind::Received { from: NodeId(peer), rpc: matched(2, 3) });
        }
        script.commit(1, 3);
        script
    }

    /// n1 sends heartbeats to n2 for 608 ms, with a longer pause between some of them.
    fn leads_on(script: &mut Script, pause: u64) {
        let start = script.newest().at;
        for beat in 1..=32 {
            let millis = beat * 19 + if beat > 15 { pause } else { 0 };
            script.step(1, |_| {});
            script.newest().at = start.after(Duration::from_millis(millis));
            script.send(1, 2, append(2, EntryId::new(3, 2), 3, vec![]));
            script.newest().at = start.after(Duration::from_millis(millis));
        }
    }

    fn checker() -> Farewells {
        Farewells::new(&scenario())
    }

    #[test]
    fn a_removed_peer_that_answers_and_gets_nothing_fires() {
        let mut script = removed();
        leads_on(&mut script, 0);
        assert_fires(
            checker(),
            NAME,
            &script,
            "n1 committed 3@2, which removes n3, and has not sent it that for 600ms",
        );
    }

    #[test]
    fn one_append_with_an_older_commit_index_is_not_enough() {
        for (commit, words) in [(2, "n1 committed 3@2"), (3, "")] {
            let mut script = removed();
            script.send(1, 3, append(2, EntryId::new(3, 2), commit, vec![]));
            leads_on(&mut script, 0);
            assert_says(checker(), NAME, &script, words);
        }
    }

    #[test]
    fn a_peer_that_refuses_after_the_commit_may_need_a_snapshot_and_is_dropped() {
        let refused = AppendOutcome::Mismatch { prev: EntryId::new(5, 2), hint: EntryId::new(3, 2) };
        for (answer, words) in [(AppendOutcome::Matched { index: LogIndex(3) }, "n1 committed 3@2"), (refused, "")] {
            let mut script = removed();
            let Rpc::AppendEntriesResponse(response) = matched(2, 3) else { unreachable!("an answer") };
            let rpc = Rpc::AppendEntriesResponse(AppendEntriesResponse { outcome: answer, ..response });
            script.push(Some(1), RecordKind::Received { from: NodeId(3), rpc });
            leads_on(&mut script, 0);
            assert_says(checker(), NAME, &script, words);
        }
    }

    #[test]
    fn a_silent_peer_a_pause_and_lost_leadership_are_silent() {
        let mut script = removed();
        leads_on(&mut script, 100);
        assert_silent(checker(), &script);
        let mut script = removed();
        script.step(1, |view| view.role = RoleKind::Follower);
        script.step(1, |view| view.role = RoleKind::Leader);
        leads_on(&mut script, 0);
        assert_silent(checker(), &script);
        let mut script = removed();
        let answers = |record: &crate::record::Record| {
            matches!(&record.kind, RecordKind::Received { from: NodeId(3), rpc: Rpc::AppendEntriesResponse(_) })
        };
        script.records.retain(|record| !answers(record));
        leads_on(&mut script, 0);
        assert_silent(checker(), &script);
    }
}
