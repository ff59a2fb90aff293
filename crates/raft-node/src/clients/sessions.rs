//! Client sessions: a command is applied exactly once, however often a client sends it and however many leaders receive
//! it (Thesis §6.3).
//!
//! Sessions are replicated state: only applied entries change them, so they are equal on all nodes that applied the same
//! entries. This includes the end of a session. When there are too many sessions, or too many bytes of answers, the
//! session that was least recently used *by log index* ends, never by a clock. The node refuses a later command in an
//! ended session. This file must not know about time, leaders or waiting clients.

use crate::interface::options::NodeOptions;
use crate::interface::requests::{Reply, SessionCommand, SessionId};
use crate::interface::state_machine::SnapshotError;
use bytes::Bytes;
use raft_core::{EntryId, LogIndex};
use raft_proto::wire::{raft, snapshot as wire};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// The most answers in one session, whatever the options say: no client can raise this memory limit.
pub(crate) const MAX_ANSWERS: usize = 1024;

/// The most bytes of answers in all sessions. Like the number of sessions, it **must be the same on all nodes of a
/// cluster**.
const MAX_BYTES: u64 = 64 << 20;

/// The approximate memory of an answer beside its response.
const ANSWER_BYTES: u64 = 128;

/// The limits of the sessions: **the same on all nodes of a cluster**, because they decide which session ends and which answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionLimits {
    pub(crate) sessions: usize,
    /// The most answers in one session. A client with more pending commands loses the oldest answer; numbers up to that one count
    /// as abandoned.
    pub(crate) answers: usize,
    /// The most bytes of answers in all sessions.
    bytes: u64,
}

impl SessionLimits {
    /// The limits of sessions that are only read.
    pub(crate) const NONE: Self = Self { sessions: usize::MAX, answers: MAX_ANSWERS, bytes: u64::MAX };

    /// Each number has at least its smallest value, 1.
    pub(crate) fn new(options: &NodeOptions) -> Self {
        Self {
            sessions: options.max_sessions.max(1),
            answers: options.max_answers.clamp(1, MAX_ANSWERS),
            bytes: MAX_BYTES,
        }
    }
}

/// All open sessions.
///
/// Invariant: `by_use` maps the `last_used` of each session to it; `content` is the wrapping sum of the hashes of all sessions
/// and answers; `bytes` is the sum of [`Answer::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sessions {
    limits: SessionLimits,
    sessions: BTreeMap<SessionId, Session>,
    by_use: BTreeMap<LogIndex, SessionId>,
    bytes: u64,
    content: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    last_used: LogIndex,
    /// Commands below this number are never applied again.
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
    pub(crate) const fn new(limits: SessionLimits) -> Self {
        Self { limits, sessions: BTreeMap::new(), by_use: BTreeMap::new(), bytes: 0, content: 0 }
    }

    /// Opens the session named by `entry`, and ends the least recently used one if there are too many.
    pub(crate) fn open(&mut self, entry: EntryId) -> SessionId {
        while self.sessions.len() >= self.limits.sessions
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

    /// Applies the command of `entry` if it was not applied before, and keeps the answer.
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
        // A client waits for the command that it sends, whatever it claims.
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
        self.content = self.content.wrapping_add(hash_of_session(id, session));
        if session.answers.len() > self.limits.answers {
            self.forget_oldest_answer(id);
        }
        self.shrink(id);
        reply
    }

    /// Ends sessions until the answers are within the byte limit. The session just used stays. It loses only its oldest
    /// answers, which then count as abandoned, and never its last one.
    fn shrink(&mut self, used: SessionId) {
        while self.bytes > self.limits.bytes {
            let oldest = self.by_use.first_key_value().map(|(&index, &id)| (index, id));
            if let Some((index, id)) = oldest.filter(|(_, id)| *id != used) {
                self.by_use.remove(&index);
                self.forget(id);
            } else if self.sessions.get(&used).is_some_and(|session| session.answers.len() > 1) {
                self.forget_oldest_answer(used);
            } else {
                return;
            }
        }
    }

    /// Removes the answer with the lowest number from a session; numbers up to that one count as abandoned.
    fn forget_oldest_answer(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some((number, answer)) = session.answers.pop_first() else { return };
        let without = self.content.wrapping_sub(hash_of_session(id, session));
        session.lowest_pending = number.saturating_add(1);
        let with = without.wrapping_add(hash_of_session(id, session));
        self.content = with.wrapping_sub(hash_of_answer(id, number, &answer));
        self.bytes = self.bytes.saturating_sub(answer.bytes());
    }

    /// A hash of all sessions: equal sessions have equal hashes, whatever their history.
    pub(crate) fn hash(&self) -> u128 {
        self.content
    }

    /// The sessions as part of a snapshot.
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

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions in a snapshot of the state after `last`.
    pub(crate) fn from_wire(
        from: Vec<wire::Session>,
        last: LogIndex,
        limits: SessionLimits,
    ) -> Result<Self, SnapshotError> {
        let mut sessions = Self::new(limits);
        for session in from {
            let id = SessionId(session.id);
            if sessions.sessions.last_key_value().is_some_and(|(&before, _)| before >= id) {
                return Err(SnapshotError::malformed("SnapshotHead.sessions does not ascend strictly by id"));
            }
            let session = session_from_wire(session)?;
            if session.last_used.0 < id.0 || session.last_used > last {
                return Err(SnapshotError::malformed("Session.last_used is before the session or after the snapshot"));
            }
            if sessions.by_use.insert(session.last_used, id).is_some() {
                return Err(SnapshotError::malformed("Session.last_used is the same in two sessions"));
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
        return Err(SnapshotError::malformed("Session.answers are more than a session remembers"));
    }
    let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
    for answer in from.answers {
        let lowest = answers.last_key_value().map_or(lowest_pending, |(&before, _)| before.saturating_add(1));
        if answer.sequence < lowest {
            return Err(SnapshotError::malformed(
                "Session.answers does not ascend strictly by sequence from lowest_pending on",
            ));
        }
        let entry = entry_id(answer.entry, "Answer.entry")?;
        // A copy: a slice would keep the whole snapshot in memory.
        let response = Bytes::copy_from_slice(&answer.response);
        answers.insert(answer.sequence, Answer { entry, response });
    }
    Ok(Session { last_used, lowest_pending, answers })
}

pub(crate) fn entry_id(id: Option<raft::EntryId>, place: &str) -> Result<EntryId, SnapshotError> {
    let id = id.ok_or_else(|| SnapshotError::malformed(&format!("{place} is missing")))?;
    Ok(EntryId::new(id.index, id.term))
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

/// It is not cryptographic: it detects accidents only.
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

    /// Applies a command at `index`; returns true if it reached the state machine.
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

    /// Adds open sessions with these ids.
    fn open(mut sessions: Sessions, indices: &[u64]) -> Sessions {
        for &index in indices {
            assert_eq!(sessions.open(EntryId::new(index, 1)), SessionId(index));
        }
        sessions
    }

    fn at_most(max_sessions: usize) -> Sessions {
        Sessions::new(SessionLimits::new(&NodeOptions { max_sessions, ..NodeOptions::default() }))
    }

    fn bounded(sessions: usize, bytes: u64) -> Sessions {
        Sessions::new(SessionLimits { sessions, answers: 1_024, bytes })
    }

    fn names(sessions: &Sessions) -> Vec<u64> {
        sessions.sessions.keys().map(|id| id.0).collect()
    }

    #[test]
    fn one_command_after_another_in_one_session() {
        // Index, sequence number and lowest pending number of a command, then the index of the answer; `None` if the
        // client has abandoned it.
        let duplicate = [(2, 1, 1, Some(2)), (3, 1, 1, Some(2)), (4, 2, 1, Some(4))];
        let forgotten = [(2, 1, 1, Some(2)), (3, 2, 2, Some(3)), (4, 1, 1, None)];
        // A command that a client sends is pending, whatever the client claims.
        let out_of_order = [(2, 3, 1, Some(2)), (3, 1, 1, Some(3)), (4, 2, u64::MAX, Some(4)), (5, 1, 1, None)];
        for steps in [&duplicate[..], &forgotten, &out_of_order] {
            let mut sessions = open(at_most(4), &[1]);
            for &(index, sequence, lowest_pending, answered_at) in steps {
                let (reply, reached) = send(&mut sessions, index, 1, sequence, lowest_pending);
                let entry = if let Reply::Applied { entry, .. } = reply { Some(entry.index.0) } else { None };
                assert_eq!((entry, reached), (answered_at, answered_at == Some(index)), "at {index} of {steps:?}");
                assert!(entry.is_some() || reply == Reply::AlreadyAnswered, "{reply:?}");
            }
        }
    }

    #[test]
    fn an_unknown_session_applies_nothing() {
        let mut none = at_most(4);
        assert_eq!(send(&mut none, 2, 1, 1, 1), (Reply::SessionExpired, false));
        assert_eq!(none, at_most(4));
    }

    #[test]
    fn the_session_least_recently_used_by_log_index_ends() {
        let mut sessions = open(at_most(2), &[1, 2]);
        assert!(send(&mut sessions, 3, 1, 1, 1).1);
        sessions = open(sessions, &[4]);
        assert_eq!(names(&sessions), [1, 4], "2 was used at 2, 1 at 3");
        assert_eq!(send(&mut sessions, 5, 2, 1, 1).0, Reply::SessionExpired);
        assert!(!send(&mut sessions, 6, 1, 1, 1).1);
        assert_eq!(names(&open(sessions, &[7])), [1, 7], "a duplicate counts as a use");
        assert_eq!(names(&open(at_most(0), &[1, 2])), [2], "at least one session fits");
    }

    #[test]
    fn the_answers_of_one_session_are_limited() {
        let limits = SessionLimits { answers: 5, ..SessionLimits::new(&NodeOptions::default()) };
        let mut sessions = open(Sessions::new(limits), &[1]);
        for sequence in 1..=8 {
            assert!(send(&mut sessions, 1 + sequence, 1, sequence, 1).1);
        }
        assert_eq!(sessions.sessions[&SessionId(1)].answers.len(), 5);
        assert_eq!(send(&mut sessions, 5_000, 1, 3, 1), (Reply::AlreadyAnswered, false), "never applied again");
        assert!(matches!(send(&mut sessions, 5_001, 1, 4, 1), (Reply::Applied { .. }, false)));
    }

    #[test]
    fn the_bytes_of_all_sessions_are_limited() {
        let answer = |length: usize| Answer { entry: EntryId::ZERO, response: Bytes::from(vec![0; length]) }.bytes();
        let limit = 3 * answer("b\"command 1\" at 1".len());
        let mut sessions = open(bounded(9, limit), &[1, 2, 3]);
        for (index, session) in [(4, 1), (5, 2), (6, 3), (7, 1)] {
            assert!(send(&mut sessions, index, session, index, 1).1);
        }
        assert_eq!(names(&sessions), [1, 3], "a fourth answer is one too many, and 2 was used before 3");
        assert_eq!(send(&mut sessions, 8, 2, 5, 1), (Reply::SessionExpired, false), "a late retry");
        assert!(!send(&mut sessions, 9, 1, 4, 1).1, "the answers of other sessions stay");
        for index in 1_000..1_003 {
            assert!(send(&mut sessions, index, 1, index, 1).1);
        }
        assert_eq!(names(&sessions), [1], "the session in use stays");
        assert_eq!(sessions.sessions[&SessionId(1)].answers.keys().copied().collect::<Vec<_>>(), [1_001, 1_002]);
        assert_eq!(send(&mut sessions, 1_003, 1, 1_000, 1), (Reply::AlreadyAnswered, false), "never applied again");
        let mut tiny = open(bounded(9, 0), &[1]);
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
        /// No number of a session is ever applied twice; the incremental sums and indices equal recomputed ones.
        #[test]
        fn nothing_is_applied_twice(steps in proptest::collection::vec((0..5u8, 0..6usize, 1..5u64, 1..5u64), 1..80)) {
            let mut sessions = bounded(3, 800);
            let limits = sessions.limits;
            let mut opened = vec![0];
            let mut applied = BTreeSet::new();
            for (place, (what, which, sequence, lowest_pending)) in steps.into_iter().enumerate() {
                let index = place as u64 + 1;
                if what == 0 {
                    sessions = open(sessions, &[index]);
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
                let again = Sessions::from_wire(sessions.to_wire(), LogIndex(index), limits);
                prop_assert_eq!(again.as_ref(), Ok(&sessions), "round trip through a snapshot");
                // A node that starts from the snapshot ends the same sessions from then on.
                sessions = again.unwrap_or(sessions);
            }
        }
    }
}
