//! A leader's commit index moves only to an entry of its own term that is durable on a quorum of every half of its
//! configuration (Raft §5.3, §5.4.2). A follower's commit index moves only over entries that some leader has committed.
//!
//! Durable means durable on the simulated disks according to the ghost, whatever the nodes acknowledged.
//!
//! It is the first to catch: a wrong majority, a leader that counts itself before its own disk has reported, the match
//! of another term or configuration, the commit of an old term's entry (§5.4.2), a follower that trusts `leader_commit`
//! beyond the compared entries. It backs up `ack_durable` and `match_truthful`.

use super::ghost::Ghost;
use super::ghost::node::{Node, Seen};
use super::property::{Fact, Property, Violation};
use raft_core::{Configuration, LogIndex, NodeId, RoleKind};

const NAME: &str = "commit_quorum";

#[derive(Clone)]
pub(super) struct CommitQuorum;

impl Property for CommitQuorum {
    fn check(&mut self, ghost: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let change = &fact.change;
        if !change.new_view && !change.settled_view {
            return None;
        }
        let node = fact.node?;
        let view = node.view.as_ref()?;
        if view.commit <= node.previous.map_or(LogIndex(0), |before| before.commit) {
            return None;
        }
        match view.role {
            RoleKind::Leader if change.settled_view => by_leader(ghost, fact, node, view),
            RoleKind::Leader => None,
            _ if change.settled_view => by_follower(ghost, fact, node, view),
            _ => None,
        }
    }
}

fn by_leader(ghost: &Ghost, fact: &Fact<'_>, node: &Node, view: &Seen) -> Option<Violation> {
    let (id, term, commit) = (node.id, view.term, view.commit);
    let Some(slot) = node.log.slot(commit) else {
        let message = format!("{id} commits {commit} while its log ends in {}", node.log.last_id());
        return Some(fact.contradicts(NAME, node.asked, message));
    };
    if slot.id.term != term {
        let message = format!("{id} commits {} by its own count while it leads term {term}, Raft §5.4.2", slot.id);
        return Some(fact.contradicts(NAME, slot.record, message));
    }
    let holds = |voter: NodeId| ghost.holds_durably(voter, commit, slot.chain);
    // A step can append several configurations: the first commits as much as it can, and the next one takes effect only
    // where it is committed.
    let before = LogIndex(node.log.len() - fact.change.edit.pushed);
    let acted_on = node.configurations_since(before.0);
    let known = node.previous.map_or(LogIndex(0), |seen| seen.commit);
    let decides = |index: LogIndex, configuration: &Configuration| {
        let chain = node.log.chain_at(index);
        chain.is_some_and(|chain| configuration.has_quorum(|voter| ghost.holds_durably(voter, index, chain)))
    };
    for (at, configuration) in acted_on {
        if decides(commit, configuration) {
            return None;
        }
        if at.index > known && !decides(at.index, configuration) {
            break;
        }
    }
    let configuration = acted_on.first().map(|(_, configuration)| configuration);
    let holders: Vec<String> =
        ghost.nodes().iter().map(|node| node.id).filter(|id| holds(*id)).map(|id| id.to_string()).collect();
    let among = configuration.map_or("no configuration".to_string(), ToString::to_string);
    let message = format!("{id} commits {}, durable on [{}] only, no quorum of {among}", slot.id, holders.join(" "));
    Some(fact.contradicts(NAME, slot.record, message))
}

fn by_follower(ghost: &Ghost, fact: &Fact<'_>, node: &Node, view: &Seen) -> Option<Violation> {
    let (id, commit) = (node.id, view.commit);
    let Some(committed) = ghost.committed_at(commit) else {
        let known = ghost.committed.last();
        let record = known.map_or(fact.record.number, |entry| entry.record);
        let last = known.map(|entry| entry.id).unwrap_or_default();
        let message = format!("{id} takes {commit} for committed while the leaders have committed up to {last}");
        return Some(fact.contradicts(NAME, record, message));
    };
    match node.log.slot(commit) {
        Some(slot) if slot.chain == committed.chain => None,
        held => {
            let held = held.map_or("nothing".to_string(), |slot| slot.id.to_string());
            let message = format!("{id} holds {held} committed at {commit}; {} committed another log", committed.by);
            Some(fact.contradicts(NAME, committed.record, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::{RecordKind, Unhashed};
    use raft_core::{EntryId, Term};

    #[test]
    fn a_commit_without_a_durable_quorum_fires() {
        let mut script = Script::led();
        script.ask(1, None, None, vec![noop(3, 2)]);
        script.sync(1);
        script.ask(2, None, None, vec![noop(3, 2)]);
        script.write(2);
        script.step(1, |view| (view.last, view.commit) = (EntryId::new(3, 2), LogIndex(3)));
        assert_fires(CommitQuorum, NAME, &script, "n1 commits 3@2, durable on [n1] only, no quorum of {n1 n2 n3}");
    }

    #[test]
    fn news_about_space_may_come_before_the_durable_writes_of_the_same_call() {
        let commits = |script: &mut Script| {
            let view = script.newest().view.iter_mut();
            view.for_each(|view| (view.last, view.commit) = (EntryId::new(3, 2), LogIndex(3)));
        };
        let told = || {
            let mut script = Script::led();
            script.ask(2, None, None, vec![noop(3, 2)]);
            script.sync(2);
            script.ask(1, None, None, vec![noop(3, 2)]);
            script.write(1);
            script.push(Some(1), RecordKind::SpaceTold { is_low: true, task: Unhashed::default() });
            commits(&mut script);
            script
        };
        let mut script = told();
        script.sync(1);
        commits(&mut script);
        assert_silent(CommitQuorum, &script);
        let mut script = told();
        script.push(Some(1), RecordKind::TimerFired);
        commits(&mut script);
        assert_fires(CommitQuorum, NAME, &script, "n1 commits 3@2, durable on [n2] only");
    }

    #[test]
    fn a_commit_of_an_old_term_by_count_fires() {
        let mut script = Script::elected();
        script.commit(1, 1);
        assert_fires(CommitQuorum, NAME, &script, "n1 commits 1@1 by its own count while it leads term 2");
    }

    #[test]
    fn a_commit_beyond_the_log_fires() {
        let mut script = Script::led();
        script.commit(1, 9);
        assert_fires(CommitQuorum, NAME, &script, "n1 commits 9 while its log ends in 2@2");
    }

    #[test]
    fn a_follower_ahead_of_all_leaders_or_beside_them_fires() {
        let mut script = Script::legal();
        script.ask(3, None, None, vec![noop(4, 3)]);
        script.step(3, |view| (view.last, view.commit) = (EntryId::new(4, 3), LogIndex(4)));
        let words = "n3 takes 4 for committed while the leaders have committed up to 3@3";
        assert_fires(CommitQuorum, NAME, &script, words);
        let mut script = Script::led();
        script.ask(3, Some((2, None)), None, vec![noop(2, 1)]);
        script.step(3, |view| {
            (view.term, view.last, view.commit) = (Term(2), EntryId::new(2, 1), LogIndex(2));
        });
        assert_fires(CommitQuorum, NAME, &script, "n3 holds 2@1 committed at 2");
    }

    #[test]
    fn a_follower_that_learns_entry_and_commit_in_one_step_is_silent() {
        let mut script = Script::led();
        script.step(3, |view| {
            (view.term, view.last, view.commit) = (Term(2), EntryId::new(2, 2), LogIndex(2));
        });
        script.ask(3, Some((2, None)), None, vec![noop(2, 2)]);
        assert_silent(CommitQuorum, &script);
        assert_silent(CommitQuorum, &Script::legal());
    }

    #[test]
    fn a_leader_that_commits_and_is_deposed_in_one_step_is_silent() {
        let mut script = Script::elected();
        script.follow(2, 1, 2, EntryId::new(1, 1), vec![noop(2, 2)]);
        script.step(1, |view| {
            (view.term, view.voted_for, view.role, view.commit) = (Term(3), None, RoleKind::Follower, LogIndex(2));
        });
        assert_silent(CommitQuorum, &script);
    }
}
