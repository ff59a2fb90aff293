//! A leader's view of one peer. The leader first probes the peer, then sends a pipeline of appends (Raft §5.3, Thesis
//! §10.2.1).
//!
//! This file must not know the log's content or the other peers.

use crate::canonical::{Canon, Canonical, canonical};
use crate::id::{EntryId, LogIndex, NodeId, Seq};
use crate::membership::catch_up::CatchUp;
use crate::readback::ReadBack;
use crate::status::{PeerState, PeerStatus};
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::time::Duration;

/// A leader's view of a peer.
///
/// Invariants:
/// - match < next <= last + 1; base < next, unless the peer has lost data;
/// - `inflight` is empty unless replicating; its indices rise from match to next, and `inflight_bytes` is its sum;
/// - `sending` is set exactly in the state `Snapshot`;
/// - echoed <= sent <= the newest append, `created` and `position_since` too;
/// - sent_commit <= the leader's commit index;
/// - promised <= contact <= now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Progress {
    /// The highest index known to be durable at the peer. It never decreases.
    pub(crate) match_index: LogIndex,
    /// The next index to send.
    pub(crate) next_index: LogIndex,
    pub(crate) state: PeerState,
    /// Whether the leader has sent the probe of this position; heartbeats repeat it.
    pub(crate) probe_sent: bool,
    /// Refusals of appends up to this one do not concern the current position.
    pub(crate) position_since: Seq,
    /// The newest append that the peer has echoed: it confirms reads (Thesis §6.4).
    pub(crate) echoed: Seq,
    /// The newest append sent.
    pub(crate) sent: Seq,
    /// The highest commit index that the peer can reach through the appends sent so far.
    pub(crate) sent_commit: LogIndex,
    /// When the peer last answered an append of this term, for check-quorum and stickiness.
    pub(crate) contact: Option<Instant>,
    /// The send time of the newest append that it has answered with a promise of stickiness.
    pub(crate) promised: Option<Instant>,
    /// The stickiness in its last answer.
    pub(crate) stickiness: Option<Duration>,
    /// Whether it had no space on its disk by its last answer.
    pub(crate) no_space: bool,
    inflight: VecDeque<InFlight>,
    inflight_bytes: u64,
    /// The snapshot in flight, in the state `Snapshot`.
    pub(crate) sending: Option<SnapshotInFlight>,
    /// The part of the log that stays because the leader sent a snapshot.
    pub(crate) retained: Option<Retained>,
    /// The read of entries for this peer that are no longer in memory.
    pub(crate) read_back: ReadBack,
    marks: VecDeque<Mark>,
    /// The newest append to any peer when this one was added: echoes up to it do not count.
    pub(crate) created: Seq,
    pub(crate) catch_up: CatchUp,
    /// It is no member any more, and is to get the commit index that says so.
    pub(crate) farewell: Option<Farewell>,
}

/// The end of the appends to a peer that is no member any more (rule R47).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Farewell {
    /// All later appends carry the commit index.
    pub(crate) after: Seq,
    /// When it gets no more, whether it knows or not.
    pub(crate) until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SnapshotInFlight {
    pub(crate) last: EntryId,
    /// When the snapshot counts as lost, unless it makes progress.
    pub(crate) deadline: Instant,
}

/// The log after a sent snapshot stays until the peer is past the end of a newer one. If it stayed only until the
/// snapshot arrives, the peer would need the newer snapshot at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Retained {
    /// The last index that the snapshot covers.
    pub(crate) after: LogIndex,
    /// The bytes that the leader had appended when it sent the snapshot.
    pub(crate) appended_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct InFlight {
    last: LogIndex,
    bytes: u64,
}

/// The leader's numbers that limit those of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The last compacted entry.
    pub(crate) base: LogIndex,
    pub(crate) commit: LogIndex,
    pub(crate) last: LogIndex,
    /// The newest append sent to any peer.
    pub(crate) seq: Seq,
    pub(crate) now: Instant,
}

/// Send time and match index of an append. The leader uses them to date answers that echo the append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Mark {
    pub(crate) seq: Seq,
    pub(crate) at: Instant,
    pub(crate) match_index: LogIndex,
}

impl Progress {
    /// A new peer, which the leader probes from `next_index` on. `created` is the newest append sent to any peer.
    pub(crate) fn new(next_index: LogIndex, created: Seq, now: Instant) -> Self {
        Self {
            match_index: LogIndex(0),
            next_index,
            state: PeerState::Probe,
            probe_sent: false,
            position_since: created,
            echoed: Seq(0),
            sent: Seq(0),
            sent_commit: LogIndex(0),
            contact: None,
            promised: None,
            stickiness: None,
            no_space: false,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            sending: None,
            retained: None,
            read_back: ReadBack::default(),
            marks: VecDeque::new(),
            created,
            catch_up: CatchUp::new(next_index.previous(), now),
            farewell: None,
        }
    }

    /// Whether the window has room for another append with entries.
    pub(crate) fn has_room(&self, max_messages: usize, max_bytes: u64) -> bool {
        self.inflight.is_empty() || (self.inflight.len() < max_messages && self.inflight_bytes < max_bytes)
    }

    /// Whether everything sent has been acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.inflight.is_empty()
    }

    /// Notes an append with entries that ends at `last`.
    pub(crate) fn sent_entries(&mut self, last: LogIndex, bytes: u64) {
        match self.state {
            PeerState::Probe => self.probe_sent = true,
            PeerState::Replicate => {
                self.inflight.push_back(InFlight { last, bytes });
                self.inflight_bytes = self.inflight_bytes.saturating_add(bytes);
                self.next_index = last.next();
            }
            PeerState::Snapshot | PeerState::LostData => {}
        }
    }

    /// Marks an append. There is at most one mark a heartbeat interval, and none is older than an election timeout, so
    /// the quotient of the two bounds their number.
    pub(crate) fn mark(&mut self, seq: Seq, now: Instant, interval: Duration, oldest: Duration) {
        self.sent = seq;
        while self.marks.front().is_some_and(|mark| mark.at.after(oldest) < now) {
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|mark| mark.at.after(interval) <= now) {
            self.marks.push_back(Mark { seq, at: now, match_index: self.match_index });
        }
    }

    /// The newest mark at or below `seq`.
    pub(crate) fn mark_of(&self, seq: Seq) -> Option<Mark> {
        self.marks.iter().rev().find(|mark| mark.seq <= seq).copied()
    }

    /// Notes that the peer holds the leader's log up to `index`. An index below the known match comes from an old
    /// answer (rule R21). The leader's log begins after `base`.
    pub(crate) fn matched(&mut self, index: LogIndex, seq: Seq, base: LogIndex) {
        self.match_index = self.match_index.max(index);
        while let Some(append) = self.inflight.front().filter(|append| append.last <= self.match_index) {
            self.inflight_bytes = self.inflight_bytes.saturating_sub(append.bytes);
            self.inflight.pop_front();
        }
        if self.state == PeerState::Probe && seq > self.position_since {
            // The answer concerns this position: the pipeline starts at its match.
            self.state = PeerState::Replicate;
            self.next_index = self.match_index.max(base).next();
        }
        if self.state == PeerState::Snapshot && self.match_index >= base {
            // The log can continue from there, with or without the snapshot.
            self.state = PeerState::Replicate;
            self.sending = None;
            self.next_index = self.match_index.next();
        }
        self.next_index = self.next_index.max(self.match_index.next());
    }

    /// Whether a refusal of `prev` by append `seq` concerns the current position. All others are obsolete (rule R19).
    pub(crate) fn is_current(&self, prev: EntryId, seq: Seq) -> bool {
        seq > self.position_since
            && prev.index > self.match_index
            && match self.state {
                PeerState::Probe => prev.index == self.next_index.previous(),
                PeerState::Replicate => prev.index < self.next_index,
                PeerState::Snapshot | PeerState::LostData => false,
            }
    }

    /// Notes that the logs differ at or before `next - 1`, and probes from there. `seq` is the newest append sent to
    /// any peer.
    pub(crate) fn probe_from(&mut self, next: LogIndex, seq: Seq) {
        self.state = PeerState::Probe;
        self.next_index = next.max(self.match_index.next());
        self.probe_sent = false;
        self.position_since = seq;
        self.clear();
    }

    /// Notes that a snapshot is in flight: empty appends meanwhile probe whether the log can continue after it.
    pub(crate) fn send_snapshot(&mut self, sending: SnapshotInFlight, appended_bytes: u64) {
        self.state = PeerState::Snapshot;
        self.next_index = sending.last.index.next();
        self.clear();
        self.sending = Some(sending);
        self.retained = Some(Retained { after: sending.last.index, appended_bytes });
    }

    /// Notes that the snapshot has arrived or failed: the next heartbeat probes from `next` on.
    pub(crate) fn snapshot_over(&mut self, next: LogIndex, seq: Seq) {
        self.probe_from(next, seq);
        self.probe_sent = true;
    }

    /// Notes that appends to the peer may be lost. The next heartbeat probes instead of an append with entries, which
    /// would be lost too while the peer is away.
    pub(crate) fn unreachable(&mut self, seq: Seq, base: LogIndex) {
        if self.state == PeerState::Replicate {
            self.probe_from(self.match_index.max(base).next(), seq);
            self.probe_sent = true;
        }
    }

    /// Whether a refusal of append `seq` denies an entry that the peer had acknowledged when that append left, or offers less
    /// (rules R21 and R40): the index acknowledged then.
    pub(crate) fn denies_acknowledged(&self, prev: EntryId, hint: EntryId, seq: Seq) -> Option<LogIndex> {
        let acknowledged = self.mark_of(seq).map_or(LogIndex(0), |mark| mark.match_index);
        (prev.index.min(hint.index.next()) <= acknowledged).then_some(acknowledged)
    }

    /// Notes that the peer denied entries that it had acknowledged.
    pub(crate) fn lost_data(&mut self) {
        self.state = PeerState::LostData;
        self.clear();
        self.retained = None;
    }

    /// Forgets what was in flight in the previous state.
    fn clear(&mut self) {
        self.inflight.clear();
        self.inflight_bytes = 0;
        self.sending = None;
        self.read_back.forget();
    }

    /// Asserts the invariants between two calls.
    pub(crate) fn check(&self, id: NodeId, bounds: Bounds) {
        let Bounds { base, commit, last, seq, now } = bounds;
        let Self { match_index, next_index, state, sent, echoed, contact, promised, sent_commit, .. } = *self;
        assert!(match_index < next_index, "{id}: match {match_index} is not below next {next_index}");
        assert!(next_index <= last.next(), "{id}: next {next_index} is beyond last {last}");
        assert!(next_index > base || state == PeerState::LostData, "{id}: next {next_index} is not above base {base}");
        let window = self.inflight.front().map(|low| low.last).zip(self.inflight.back().map(|high| high.last));
        let is_window = window.map_or(self.inflight_bytes == 0, |(low, high)| {
            state == PeerState::Replicate && match_index < low && low <= high && high.next() == next_index
        });
        let bytes = self.inflight_bytes;
        assert!(is_window, "{id}: {window:?} in flight, {bytes} B, match {match_index}, next {next_index}, {state:?}");
        let sending = self.sending;
        assert!((state == PeerState::Snapshot) == sending.is_some(), "{id}: sending {sending:?} in {state:?}");
        assert!(echoed <= sent, "{id}: echoed {echoed} is above sent {sent}");
        let newest = sent.max(self.created).max(self.position_since);
        assert!(newest <= seq, "{id}: append {newest} is above the newest {seq}");
        assert!(sent_commit <= commit, "{id}: sent commit {sent_commit} is above commit {commit}");
        assert!(promised <= contact, "{id}: promised {promised:?} is after contact {contact:?}");
        assert!(contact <= Some(now), "{id}: contact {contact:?} is after now {now}");
    }

    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            match_index: self.match_index,
            next_index: self.next_index,
            state: self.state,
            inflight_messages: self.inflight.len(),
            inflight_bytes: self.inflight_bytes,
            snapshot: self.sending.map(|sending| sending.last),
        }
    }
}

canonical!(SnapshotInFlight { last, deadline });

/// Counts the bytes appended since then.
impl Canonical for Retained {
    fn feed(&self, canon: &mut Canon<'_>) {
        let Self { after, appended_bytes } = self;
        after.feed(canon);
        canon.distance(*appended_bytes, canon.appended);
    }
}

/// A position after the newest append to this peer counts as that append: no answer tells them apart.
impl Canonical for Progress {
    fn feed(&self, canon: &mut Canon<'_>) {
        let Self { match_index, next_index, state, probe_sent, position_since, echoed, sent, sent_commit, .. } = self;
        let Self { contact, promised, stickiness, no_space, inflight, inflight_bytes, sending, .. } = self;
        let Self { retained, read_back, marks, created, catch_up, farewell, .. } = self;
        let always: [&dyn Canonical; 13] = [
            match_index,
            next_index,
            state,
            probe_sent,
            position_since.min(sent),
            sent_commit,
            promised,
            stickiness,
            no_space,
            inflight,
            inflight_bytes,
            sending,
            retained,
        ];
        always.iter().for_each(|part| part.feed(canon));
        read_back.feed(canon);
        farewell.feed(canon);
        catch_up.feed(canon);
        if !canon.timeless {
            contact.feed(canon);
        }
        if !canon.plain {
            echoed.feed(canon);
            sent.feed(canon);
            created.min(sent).feed(canon);
            marks.feed(canon);
        }
    }
}
canonical!(Farewell { after, until });
canonical!(InFlight { last, bytes });
canonical!(Mark { seq, at, match_index });

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(next: u64) -> Progress {
        Progress::new(LogIndex(next), Seq(0), Instant::default())
    }

    fn replicating() -> Progress {
        let mut progress = fresh(5);
        progress.matched(LogIndex(4), Seq(1), LogIndex(0));
        assert_eq!((progress.state, progress.next_index), (PeerState::Replicate, LogIndex(5)));
        progress
    }

    #[test]
    fn the_window_closes_by_messages_or_bytes_and_quotas_return_to_zero() {
        let mut progress = replicating();
        assert!(progress.has_room(2, 100));
        progress.sent_entries(LogIndex(6), 500);
        assert!(!progress.has_room(2, 100), "bytes");
        assert!(progress.has_room(2, 501) && !progress.has_room(2, 500));
        progress.sent_entries(LogIndex(7), 1);
        assert!(!progress.has_room(2, 1_000), "messages");
        progress.matched(LogIndex(6), Seq(2), LogIndex(0));
        assert!(progress.has_room(2, 100) && !progress.is_idle());
        progress.matched(LogIndex(7), Seq(2), LogIndex(0));
        assert!(progress.is_idle() && progress.inflight_bytes == 0);
        progress.sent_entries(LogIndex(8), 9);
        progress.probe_from(LogIndex(8), Seq(4));
        assert!(progress.is_idle() && progress.inflight_bytes == 0);
    }

    #[test]
    fn marks_are_an_interval_apart_and_no_older_than_they_may_be() {
        let (interval, oldest) = (Duration::from_millis(10), Duration::from_millis(100));
        let marks_at = |times: &[u64]| {
            let mut progress = fresh(5);
            times.iter().for_each(|&ms| progress.mark(Seq(ms), Instant::from_millis(ms), interval, oldest));
            progress.marks.iter().map(|mark| mark.seq.0).collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(marks_at(&[0, 9, 10, 19, 20]), [0, 10, 20]);
        assert_eq!(marks_at(&[0, 100]), [0, 100], "just young enough");
        assert_eq!(marks_at(&[0, 50, 130]), [50, 130]);
    }

    #[test]
    fn a_match_is_never_lowered_and_next_stays_above_it() {
        let mut progress = replicating();
        progress.sent_entries(LogIndex(9), 1);
        progress.matched(LogIndex(9), Seq(2), LogIndex(0));
        progress.matched(LogIndex(3), Seq(3), LogIndex(0));
        assert_eq!((progress.match_index, progress.next_index), (LogIndex(9), LogIndex(10)));
        progress.probe_from(LogIndex(2), Seq(3));
        assert_eq!(progress.next_index, LogIndex(10), "the next index is never below the match");
    }

    #[test]
    fn stale_rejections_do_not_rewind() {
        let mut progress = fresh(9);
        assert!(progress.is_current(EntryId::new(8, 2), Seq(1)));
        assert!(!progress.is_current(EntryId::new(7, 2), Seq(1)), "not the probed position");
        progress.probe_from(LogIndex(5), Seq(3));
        assert!(!progress.is_current(EntryId::new(4, 1), Seq(3)), "the append left before this position");
        assert!(progress.is_current(EntryId::new(4, 1), Seq(4)));
        progress.matched(LogIndex(4), Seq(4), LogIndex(0));
        progress.sent_entries(LogIndex(8), 1);
        assert!(progress.is_current(EntryId::new(8, 2), Seq(5)), "a gap in the pipeline");
        assert!(!progress.is_current(EntryId::new(4, 1), Seq(5)), "known to match");
        assert!(!progress.is_current(EntryId::new(9, 2), Seq(5)), "never sent");
    }

    #[test]
    fn an_answer_to_an_older_position_does_not_end_a_probe() {
        let mut progress = replicating();
        progress.probe_from(LogIndex(7), Seq(5));
        progress.matched(LogIndex(5), Seq(5), LogIndex(0));
        assert_eq!((progress.state, progress.next_index), (PeerState::Probe, LogIndex(7)));
        progress.matched(LogIndex(5), Seq(6), LogIndex(0));
        assert_eq!((progress.state, progress.next_index), (PeerState::Replicate, LogIndex(6)));
    }

    #[test]
    fn marks_are_bounded_and_date_an_echo_by_the_newest_at_or_below_it() {
        let (interval, oldest) = (Duration::from_millis(10), Duration::from_millis(30));
        let mut progress = replicating();
        for millis in 0..100 {
            progress.match_index = LogIndex(millis);
            progress.mark(Seq(millis + 1), Instant::from_millis(millis), interval, oldest);
            assert!(progress.marks.len() <= 4, "{:?}", progress.marks);
        }
        assert_eq!(progress.mark_of(Seq(95)).map(|mark| mark.match_index), Some(LogIndex(90)));
        assert_eq!(progress.mark_of(Seq(91)).map(|mark| mark.at), Some(Instant::from_millis(90)));
        assert_eq!(progress.mark_of(Seq(3)), None, "the append is too old for a mark");
    }

    #[test]
    fn progress_out_of_bounds_fails() {
        let (at, seq) = (Instant::from_millis, Seq(5));
        let bounds = Bounds { base: LogIndex(3), commit: LogIndex(4), last: LogIndex(9), seq, now: at(8) };
        let mut sound = replicating();
        sound.sent_entries(LogIndex(6), 10);
        (sound.sent, sound.echoed, sound.sent_commit) = (Seq(4), Seq(3), LogIndex(4));
        (sound.contact, sound.promised) = (Some(at(7)), Some(at(6)));
        crate::testing::each_fails(
            &sound,
            |peer| peer.check(NodeId(2), bounds),
            &[
                ("n2: match 7 is not below next 7", |peer| peer.match_index = LogIndex(7)),
                ("n2: next 11 is beyond last 9", |peer| peer.next_index = LogIndex(11)),
                ("n2: next 3 is not above base 3", |peer| {
                    (peer.match_index, peer.next_index) = (LogIndex(0), LogIndex(3))
                }),
                ("Some((6, 6)) in flight, 10 B, match 4, next 8", |peer| peer.next_index = LogIndex(8)),
                ("match 6, next 7", |peer| peer.match_index = LogIndex(6)),
                ("in flight, 10 B, match 4, next 7, Probe", |peer| peer.state = PeerState::Probe),
                ("None in flight, 10 B", |peer| peer.inflight.clear()),
                ("Some((8, 6)) in flight", |peer| peer.inflight.push_front(InFlight { last: LogIndex(8), bytes: 0 })),
                ("n2: sending None in Snapshot", |peer| {
                    peer.clear();
                    peer.state = PeerState::Snapshot;
                }),
                ("n2: echoed s5 is above sent s4", |peer| peer.echoed = Seq(5)),
                ("n2: append s6 is above the newest s5", |peer| peer.position_since = Seq(6)),
                ("n2: sent commit 5 is above commit 4", |peer| peer.sent_commit = LogIndex(5)),
                ("n2: promised Some(8.000000ms) is after contact Some(7", |peer| {
                    peer.promised = Some(Instant::from_millis(8))
                }),
                ("n2: contact Some(9.000000ms) is after now 8", |peer| peer.contact = Some(Instant::from_millis(9))),
            ],
        );
    }
}
