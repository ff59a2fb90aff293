//! Client sessions: what makes a command apply exactly once, however often and through however many leaders it is sent
//! (Thesis §6.3).
//!
//! Sessions are replicated state: they change by applied entries alone, and are the same on every node that applied the
//! same entries. So is their end: a session ends when there are too many, or when all that is remembered for all of them has
//! too many bytes, and it is always the one least recently used *by log index*, never by anybody's clock. Whoever comes back
//! to a session that has ended is told so, and nothing of it is applied again. This file must not know about time, leaders or
//! waiting clients.

use crate::clients::envelope::SessionCommand;
use crate::node::outputs::{Reply, SessionId};
use crate::snapshots::content::{SnapshotError, entry_id, malformed};
use bytes::Bytes;
use raft_core::{EntryId, LogIndex};
use raft_proto::wire::{raft, snapshot as wire};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// The most answers remembered for one session. A client that has more commands pending loses the oldest answer, and
/// all below it count as given up: a bound for memory that no client can lift.
pub(crate) const MAX_ANSWERS: usize = 1024;

/// The most bytes of answers remembered for all sessions. Like the number of sessions, **the same on all nodes of a cluster**.
const MAX_BYTES: u64 = 64 << 20;

/// What an answer counts beside its bytes: about what it takes in memory.
const ANSWER_BYTES: u64 = 128;

/// All open sessions.
///
/// Invariant: `by_use` has exactly one place for each session, the index of the last entry that used it; `content` is
/// the wrapping sum of the hashes of all sessions and answers, `bytes` the sum of what the answers count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sessions {
    max_sessions: usize,
    max_bytes: u64,
    sessions: BTreeMap<SessionId, Session>,
    by_use: BTreeMap<LogIndex, SessionId>,
    bytes: u64,
    content: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    last_used: LogIndex,
    /// Commands below this number are never applied any more.
    lowest_pending: u64,
    answers: BTreeMap<u64, Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    entry: EntryId,
    response: Bytes,
}

impl Answer {
    fn bytes(&self) -> u64 {
        ANSWER_BYTES.saturating_add(self.response.len() as u64)
    }
}

impl Sessions {
    /// No sessions. At most `max_sessions` (at least 1) will be open.
    pub(crate) fn new(max_sessions: usize) -> Self {
        Self::with_limits(max_sessions, MAX_BYTES)
    }

    fn with_limits(max_sessions: usize, max_bytes: u64) -> Self {
        let (sessions, by_use) = (BTreeMap::new(), BTreeMap::new());
        Self { max_sessions: max_sessions.max(1), max_bytes, sessions, by_use, bytes: 0, content: 0 }
    }

    /// Opens the session named by `entry`. If there are too many, the one least recently used *by log index* ends: all
    /// nodes see the same log, so they end the same one.
    pub(crate) fn open(&mut self, entry: EntryId) -> SessionId {
        while self.sessions.len() >= self.max_sessions
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.forget(oldest);
        }
        let id = SessionId(entry.index.0);
        let session = Session { last_used: entry.index, lowest_pending: 0, answers: BTreeMap::new() };
        self.content = self.content.wrapping_add(hash_of_session(id, &session));
        self.by_use.insert(entry.index, id);
        self.sessions.insert(id, session);
        id
    }

    /// Decides whether the command of `entry` is to be applied, and if so remembers what `apply` answers.
    pub(crate) fn apply_once(
        &mut self,
        entry: EntryId,
        command: &SessionCommand,
        apply: impl FnOnce(&Bytes) -> Bytes,
    ) -> Reply {
        let &SessionCommand { session: id, sequence, .. } = command;
        let Some(session) = self.sessions.get_mut(&id) else { return Reply::SessionExpired };
        self.content = self.content.wrapping_sub(hash_of_session(id, session));
        self.by_use.remove(&session.last_used);
        self.by_use.insert(entry.index, id);
        session.last_used = entry.index;
        // Whatever a client claims, the command it sends is one it waits for.
        session.lowest_pending = session.lowest_pending.max(command.lowest_pending.min(sequence));
        while let Some(first) = session.answers.first_entry()
            && *first.key() < session.lowest_pending
        {
            let (number, answer) = first.remove_entry();
            self.bytes = self.bytes.saturating_sub(answer.bytes());
            self.content = self.content.wrapping_sub(hash_of_answer(id, number, &answer));
        }
        let reply = match session.answers.get(&sequence) {
            Some(answer) => Reply::Applied { entry: answer.entry, response: answer.response.clone() },
            None if sequence < session.lowest_pending => Reply::AlreadyAnswered,
            None => {
                let answer = Answer { entry, response: apply(&command.command) };
                let reply = Reply::Applied { entry, response: answer.response.clone() };
                self.bytes = self.bytes.saturating_add(answer.bytes());
                self.content = self.content.wrapping_add(hash_of_answer(id, sequence, &answer));
                session.answers.insert(sequence, answer);
                reply
            }
        };
        if session.answers.len() > MAX_ANSWERS {
            self.forget_oldest_answer(id);
        }
        if let Some(session) = self.sessions.get(&id) {
            self.content = self.content.wrapping_add(hash_of_session(id, session));
        }
        self.shrink(id);
        reply
    }

    /// Ends sessions until what is remembered has no more bytes than it may. The one that was just used stays: of that only
    /// the oldest answers go, which then count as given up, and never its last.
    fn shrink(&mut self, used: SessionId) {
        while self.bytes > self.max_bytes {
            let oldest = self.by_use.first_key_value().map(|(&index, &id)| (index, id));
            match oldest.filter(|(_, id)| *id != used) {
                Some((index, id)) => {
                    self.by_use.remove(&index);
                    self.forget(id);
                }
                None => {
                    let Some(session) = self.sessions.get(&used).filter(|session| session.answers.len() > 1) else {
                        return;
                    };
                    self.content = self.content.wrapping_sub(hash_of_session(used, session));
                    self.forget_oldest_answer(used);
                    if let Some(session) = self.sessions.get(&used) {
                        self.content = self.content.wrapping_add(hash_of_session(used, session));
                    }
                }
            }
        }
    }

    /// Takes the answer with the lowest number from a session; that and all below it count as given up. The session's own
    /// part of the sum is the caller's business.
    fn forget_oldest_answer(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some((number, answer)) = session.answers.pop_first() else { return };
        session.lowest_pending = number.saturating_add(1);
        self.bytes = self.bytes.saturating_sub(answer.bytes());
        self.content = self.content.wrapping_sub(hash_of_answer(id, number, &answer));
    }

    /// A hash of all sessions. Equal sessions have equal hashes, whatever way they came to be.
    pub(crate) fn hash(&self) -> u128 {
        self.content
    }

    /// As a part of a snapshot.
    pub(crate) fn to_wire(&self) -> Vec<wire::Session> {
        let answer = |(&sequence, answer): (&u64, &Answer)| {
            let entry = Some(raft::EntryId { index: answer.entry.index.0, term: answer.entry.term.0 });
            wire::Answer { sequence, entry, response: answer.response.clone() }
        };
        let session = |(id, session): (&SessionId, &Session)| wire::Session {
            id: id.0,
            last_used: session.last_used.0,
            lowest_pending: session.lowest_pending,
            answers: session.answers.iter().map(answer).collect(),
        };
        self.sessions.iter().map(session).collect()
    }

    /// From a part of a snapshot of the state after the entry at `last`: the very sessions that it was made of.
    pub(crate) fn from_wire(
        from: Vec<wire::Session>,
        last: LogIndex,
        max_sessions: usize,
    ) -> Result<Self, SnapshotError> {
        let mut sessions = Self::new(max_sessions);
        for session in from {
            let id = SessionId(session.id);
            if sessions.sessions.last_key_value().is_some_and(|(&before, _)| before >= id) {
                return Err(malformed("SnapshotHead.sessions does not ascend strictly by id"));
            }
            let session = session_from_wire(session)?;
            if session.last_used.0 < id.0 || session.last_used > last {
                return Err(malformed("Session.last_used is before the session or after the snapshot"));
            }
            if sessions.by_use.insert(session.last_used, id).is_some() {
                return Err(malformed("Session.last_used is the same in two sessions"));
            }
            sessions.bytes = session.answers.values().map(Answer::bytes).fold(sessions.bytes, u64::saturating_add);
            sessions.content = hash_of_all(id, &session).fold(sessions.content, u128::wrapping_add);
            sessions.sessions.insert(id, session);
        }
        Ok(sessions)
    }

    fn forget(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.bytes = session.answers.values().map(Answer::bytes).fold(self.bytes, u64::saturating_sub);
        self.content = hash_of_all(id, &session).fold(self.content, u128::wrapping_sub);
    }
}

fn session_from_wire(from: wire::Session) -> Result<Session, SnapshotError> {
    let (last_used, lowest_pending) = (LogIndex(from.last_used), from.lowest_pending);
    if from.answers.len() > MAX_ANSWERS {
        return Err(malformed("Session.answers are more than a session remembers"));
    }
    let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
    for answer in from.answers {
        let lowest = answers.last_key_value().map_or(lowest_pending, |(&before, _)| before.saturating_add(1));
        if answer.sequence < lowest {
            return Err(malformed("Session.answers does not ascend strictly by sequence from lowest_pending on"));
        }
        let entry = entry_id(answer.entry, "Answer.entry")?;
        // A copy of its own: a slice would keep the whole snapshot in memory.
        let response = Bytes::copy_from_slice(&answer.response);
        answers.insert(answer.sequence, Answer { entry, response });
    }
    Ok(Session { last_used, lowest_pending, answers })
}

/// The hashes of a session and its answers.
fn hash_of_all(id: SessionId, session: &Session) -> impl Iterator<Item = u128> {
    let answers = session.answers.iter().map(move |(number, answer)| hash_of_answer(id, *number, answer));
    std::iter::once(hash_of_session(id, session)).chain(answers)
}

fn hash_of_session(id: SessionId, session: &Session) -> u128 {
    hash_of([0, id.0, session.last_used.0, session.lowest_pending, 0], &[])
}

fn hash_of_answer(id: SessionId, number: u64, answer: &Answer) -> u128 {
    hash_of([1, id.0, number, answer.entry.index.0, answer.entry.term.0], &answer.response)
}

/// Not cryptographic: against accidents only.
fn hash_of(numbers: [u64; 5], bytes: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(bytes);
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Applies a command at `index` and says whether it reached the state machine.
    fn send(sessions: &mut Sessions, index: u64, session: u64, sequence: u64, lowest_pending: u64) -> (Reply, bool) {
        let command = Bytes::from(format!("command {sequence}"));
        let command = SessionCommand { session: SessionId(session), sequence, lowest_pending, command };
        let mut reached = false;
        let reply = sessions.apply_once(EntryId::new(index, 1), &command, |bytes| {
            reached = true;
            Bytes::from(format!("{bytes:?} at {index}"))
        });
        (reply, reached)
    }

    fn open(sessions: &mut Sessions, index: u64) {
        assert_eq!(sessions.open(EntryId::new(index, 1)), SessionId(index));
    }

    fn names(sessions: &Sessions) -> Vec<u64> {
        sessions.sessions.keys().map(|id| id.0).collect()
    }

    #[test]
    fn a_duplicate_gets_the_first_answer() {
        let mut sessions = Sessions::new(4);
        open(&mut sessions, 1);
        let (first, reached) = send(&mut sessions, 2, 1, 1, 1);
        assert!(reached);
        assert!(matches!(&first, Reply::Applied { entry, .. } if *entry == EntryId::new(2, 1)));
        assert_eq!(send(&mut sessions, 3, 1, 1, 1), (first, false));
        assert!(send(&mut sessions, 4, 1, 2, 1).1, "another number is another command");
    }

    #[test]
    fn what_the_client_no_longer_waits_for_is_forgotten_and_never_applied_again() {
        let mut sessions = Sessions::new(4);
        open(&mut sessions, 1);
        assert!(send(&mut sessions, 2, 1, 1, 1).1);
        assert!(send(&mut sessions, 3, 1, 2, 2).1);
        assert_eq!(send(&mut sessions, 4, 1, 1, 1), (Reply::AlreadyAnswered, false), "a late duplicate");
        assert_eq!(sessions.sessions[&SessionId(1)].answers.len(), 1);
    }

    #[test]
    fn numbers_may_come_out_of_order_while_they_are_pending() {
        let mut sessions = Sessions::new(4);
        open(&mut sessions, 1);
        assert!(send(&mut sessions, 2, 1, 3, 1).1);
        assert!(send(&mut sessions, 3, 1, 1, 1).1);
        assert!(send(&mut sessions, 4, 1, 2, u64::MAX).1, "what is sent is pending, whatever is claimed");
        assert_eq!(send(&mut sessions, 5, 1, 1, 1).0, Reply::AlreadyAnswered);
    }

    #[test]
    fn an_unknown_session_applies_nothing() {
        let mut sessions = Sessions::new(4);
        let before = sessions.clone();
        assert_eq!(send(&mut sessions, 2, 1, 1, 1), (Reply::SessionExpired, false));
        assert_eq!(sessions, before);
    }

    #[test]
    fn the_least_recently_used_by_log_index_expires() {
        let mut sessions = Sessions::new(2);
        open(&mut sessions, 1);
        open(&mut sessions, 2);
        assert!(send(&mut sessions, 3, 1, 1, 1).1);
        open(&mut sessions, 4);
        assert_eq!(names(&sessions), [1, 4], "2 was used at 2, 1 at 3");
        assert_eq!(send(&mut sessions, 5, 2, 1, 1).0, Reply::SessionExpired);
        assert!(!send(&mut sessions, 6, 1, 1, 1).1);
        open(&mut sessions, 7);
        assert_eq!(names(&sessions), [1, 7], "a duplicate is a use too");
        let mut tiny = Sessions::new(0);
        open(&mut tiny, 1);
        open(&mut tiny, 2);
        assert_eq!(names(&tiny), [2], "at least one session fits");
    }

    #[test]
    fn the_answers_of_one_session_are_bounded() {
        let mut sessions = Sessions::new(1);
        open(&mut sessions, 1);
        let count = MAX_ANSWERS as u64 + 3;
        for sequence in 1..=count {
            assert!(send(&mut sessions, 1 + sequence, 1, sequence, 1).1);
        }
        assert_eq!(sessions.sessions[&SessionId(1)].answers.len(), MAX_ANSWERS);
        assert_eq!(send(&mut sessions, 5_000, 1, 3, 1), (Reply::AlreadyAnswered, false), "never applied again");
        assert!(matches!(send(&mut sessions, 5_001, 1, 4, 1), (Reply::Applied { .. }, false)));
    }

    #[test]
    fn the_bytes_of_all_sessions_are_bounded_by_ending_those_least_recently_used() {
        let answer = |length: usize| Answer { entry: EntryId::ZERO, response: Bytes::from(vec![0; length]) }.bytes();
        let mut sessions = Sessions::with_limits(9, 3 * answer("b\"command 1\" at 1".len()));
        for index in 1..=3 {
            open(&mut sessions, index);
        }
        for (index, session) in [(4, 1), (5, 2), (6, 3), (7, 1)] {
            assert!(send(&mut sessions, index, session, index, 1).1);
        }
        assert_eq!(names(&sessions), [1, 3], "a fourth answer is one too many, and 2 was used before 3");
        assert_eq!(send(&mut sessions, 8, 2, 5, 1), (Reply::SessionExpired, false), "a late retry");
        assert!(!send(&mut sessions, 9, 1, 4, 1).1, "answers of others are still there");
        for index in 1_000..1_003 {
            assert!(send(&mut sessions, index, 1, index, 1).1);
        }
        assert_eq!(names(&sessions), [1], "the one that is used stays");
        assert_eq!(sessions.sessions[&SessionId(1)].answers.keys().copied().collect::<Vec<_>>(), [1_001, 1_002]);
        assert_eq!(send(&mut sessions, 1_003, 1, 1_000, 1), (Reply::AlreadyAnswered, false), "given up, not again");
        let mut tiny = Sessions::with_limits(9, 0);
        open(&mut tiny, 1);
        assert!(send(&mut tiny, 2, 1, 1, 1).1);
        assert!(!send(&mut tiny, 3, 1, 1, 1).1, "its last answer stays, however large");
    }

    #[test]
    fn every_field_changes_the_hash() {
        let session = Session { last_used: LogIndex(3), lowest_pending: 2, answers: BTreeMap::new() };
        let answer = Answer { entry: EntryId::new(3, 1), response: Bytes::from_static(b"r") };
        let id = SessionId(1);
        let hashes = [
            hash_of_session(id, &session),
            hash_of_session(SessionId(2), &session),
            hash_of_session(id, &Session { last_used: LogIndex(4), ..session.clone() }),
            hash_of_session(id, &Session { lowest_pending: 3, ..session }),
            hash_of_answer(id, 2, &answer),
            hash_of_answer(SessionId(2), 2, &answer),
            hash_of_answer(id, 3, &answer),
            hash_of_answer(id, 2, &Answer { entry: EntryId::new(4, 1), ..answer.clone() }),
            hash_of_answer(id, 2, &Answer { entry: EntryId::new(3, 2), ..answer.clone() }),
            hash_of_answer(id, 2, &Answer { response: Bytes::from_static(b"s"), ..answer }),
        ];
        assert_eq!(BTreeSet::from(hashes).len(), hashes.len());
    }

    proptest! {
        /// Against the plainest words for exactly once: a number of a session is applied at most once, ever; and the
        /// sums and indices kept up to date are those computed afresh.
        #[test]
        fn nothing_is_applied_twice(steps in proptest::collection::vec((0..5u8, 0..6usize, 1..5u64, 1..5u64), 1..80)) {
            let mut sessions = Sessions::with_limits(3, 800);
            let mut opened = vec![0];
            let mut applied = BTreeSet::new();
            for (place, (what, which, sequence, lowest_pending)) in steps.into_iter().enumerate() {
                let index = place as u64 + 1;
                if what == 0 {
                    open(&mut sessions, index);
                    opened.push(index);
                } else {
                    let session = opened[which % opened.len()];
                    if send(&mut sessions, index, session, sequence, lowest_pending).1 {
                        prop_assert!(applied.insert((session, sequence)), "{sequence} of session {session}, again");
                    }
                }
                prop_assert!(sessions.sessions.len() <= 3);
                let by_use = sessions.sessions.iter().map(|(id, session)| (session.last_used, *id));
                prop_assert_eq!(&by_use.collect::<BTreeMap<_, _>>(), &sessions.by_use);
                let all = sessions.sessions.iter().flat_map(|(id, session)| hash_of_all(*id, session));
                prop_assert_eq!(all.fold(0u128, u128::wrapping_add), sessions.content);
                let again = Sessions::from_wire(sessions.to_wire(), LogIndex(index), 3);
                let again = again.map(|again| Sessions { max_bytes: 800, ..again });
                prop_assert_eq!(again.as_ref(), Ok(&sessions), "they come back from a snapshot");
                // Whoever comes from a snapshot ends the same ones from here on.
                sessions = again.unwrap_or(sessions);
            }
        }
    }
}
