//! Watches beside a load: they count what they receive, and check that it is every change, once and in order.

use raft_client::{Client, ClientError, ClientOptions, Event, EventKind, KeyRange, Watch};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The watches that share a connection.
const WATCHES_A_CONNECTION: u64 = 500;

/// How long the watches may take to receive what was written before the end.
const LAST_CHANGE_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    pub watches: u64,
    /// Each watch watches this prefix and its own number; none: all watch the keys of the load.
    pub prefix: Option<String>,
}

/// What the watches received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchTally {
    pub watches: u64,
    pub changes: u64,
    pub answers: u64,
    /// The changes before which others of the same key are missing.
    pub gaps: u64,
    /// The changes that came twice, or after a later one.
    pub disorder: u64,
    /// The watches that ended before the last change, and the reason of one of them.
    pub ended: u64,
    pub last_error: Option<String>,
}

impl WatchTally {
    /// Whether every watch received every change, once and in order.
    pub fn is_clean(&self) -> bool {
        self.gaps == 0 && self.disorder == 0 && self.ended == 0
    }

    fn add(&mut self, other: Self) {
        self.watches += other.watches;
        self.changes += other.changes;
        self.answers += other.answers;
        self.gaps += other.gaps;
        self.disorder += other.disorder;
        self.ended += other.ended;
        self.last_error = other.last_error.or(self.last_error.take());
    }
}

/// `watches: 10 received 500 changes in 320 answers, 0 missing, 0 out of order, 0 ended`.
impl fmt::Display for WatchTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { watches, changes, answers, gaps, disorder, ended, .. } = self;
        write!(f, "watches: {watches} received {changes} changes in {answers} answers")?;
        write!(f, ", {gaps} missing, {disorder} out of order, {ended} ended")
    }
}

/// The watches of a run, on a thread of their own: the load must not wait for them.
pub(super) struct Watchers {
    runtime: Runtime,
    watches: JoinSet<WatchTally>,
    /// The revision after which the watches end.
    last: watch::Sender<Option<u64>>,
}

impl Watchers {
    /// Begins the watches: those of the load watch the prefix `keys`. Every change from now on is received.
    pub(super) async fn start(client: &ClientOptions, options: &WatchOptions, keys: &str) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| ClientError::Endpoint { problem: format!("no thread: {error}") })?;
        let (last, end) = watch::channel(None);
        let mut beginning = JoinSet::new();
        let mut shared = Client::new(client.clone())?;
        for number in 0..options.watches {
            if number % WATCHES_A_CONNECTION == 0 {
                shared = Client::new(client.clone())?;
                shared.connect()?;
            }
            let prefix = options.prefix.as_ref().map_or(keys.to_owned(), |prefix| format!("{prefix}{number}/"));
            let mut watch = shared.watch(KeyRange::prefix(prefix.as_bytes()), 0);
            // The first answer says at which revision the watch has begun.
            beginning.spawn_on(async move { watch.next().await.map(|begun| (watch, begun.through)) }, runtime.handle());
        }
        let mut watches = JoinSet::new();
        while let Some(begun) = beginning.join_next().await {
            if let Ok(begun) = begun {
                let (watch, begun) = begun?;
                watches.spawn_on(receive(watch, begun, end.clone()), runtime.handle());
            }
        }
        Ok(Self { runtime, watches, last })
    }

    /// Ends the watches once they have received everything up to this revision. `None`: they do not watch the load.
    pub(super) async fn end(mut self, last: Option<u64>) -> WatchTally {
        self.last.send_replace(Some(last.unwrap_or(0)));
        let mut total = WatchTally::default();
        while let Some(Ok(tally)) = self.watches.join_next().await {
            total.add(tally);
        }
        self.runtime.shutdown_background();
        total
    }
}

/// Receives changes after `begun` until the last one.
async fn receive(mut watch: Watch, begun: u64, mut end: watch::Receiver<Option<u64>>) -> WatchTally {
    let mut tally = WatchTally { watches: 1, ..WatchTally::default() };
    let mut received = Received::after(begun);
    let late = async |end: &mut watch::Receiver<Option<u64>>, newest: u64| {
        let last = end.wait_for(Option::is_some).await.map_or(0, |last| last.unwrap_or(0));
        if newest < last {
            tokio::time::sleep(LAST_CHANGE_DEADLINE).await;
        }
    };
    loop {
        let changes = tokio::select! {
            changes = watch.next() => changes,
            () = late(&mut end, received.newest) => break,
        };
        match changes {
            Ok(changes) => {
                tally.answers += 1;
                tally.changes += changes.events.len() as u64;
                changes.events.iter().for_each(|event| received.take(event, &mut tally));
                received.newest = received.newest.max(changes.through);
            }
            Err(error) => {
                tally.last_error = Some(error.to_string());
                break;
            }
        }
    }
    let last = end.borrow().unwrap_or(u64::MAX);
    tally.ended = u64::from(received.newest < last);
    tally
}

/// The newest change of all keys, and of each.
#[derive(Default)]
struct Received {
    begun: u64,
    newest: u64,
    keys: BTreeMap<Vec<u8>, u64>,
}

impl Received {
    /// Nothing after this revision.
    fn after(begun: u64) -> Self {
        Self { begun, newest: begun, keys: BTreeMap::new() }
    }

    fn take(&mut self, event: &Event, tally: &mut WatchTally) {
        let known = self.keys.get(&*event.key).copied();
        let before = known.unwrap_or(0);
        tally.disorder += u64::from(event.revision < self.newest || event.revision <= before);
        // The change before a key's first one may be older than the watch.
        let is_missing = known.map_or(event.previous_revision > self.begun, |before| event.previous_revision != before);
        tally.gaps += u64::from(is_missing);
        let after = if matches!(event.kind, EventKind::Put(_)) { event.revision } else { 0 };
        self.keys.insert(event.key.to_vec(), after);
        self.newest = self.newest.max(event.revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &'static str, revision: u64, previous_revision: u64) -> Event {
        Event {
            key: key.into(),
            revision,
            previous_revision,
            kind: EventKind::Put(raft_client::Value {
                data: "v".into(),
                created_revision: 1,
                modified_revision: revision,
                version: 1,
                ttl_ms: 0,
            }),
        }
    }

    #[test]
    fn a_missing_change_and_one_out_of_order_are_found() {
        let check_after = |begun: u64, events: &[Event]| {
            let (mut tally, mut received) = (WatchTally::default(), Received::after(begun));
            events.iter().for_each(|event| received.take(event, &mut tally));
            (tally.gaps, tally.disorder)
        };
        let check = |events: &[Event]| check_after(0, events);
        assert_eq!(check_after(3, &[event("a", 5, 2)]), (0, 0), "the one before is older than the watch");
        assert_eq!(check_after(3, &[event("a", 6, 5)]), (1, 0));
        let deleted = Event { kind: EventKind::Delete, ..event("a", 4, 2) };
        assert_eq!(check(&[event("a", 2, 0), event("b", 3, 0), deleted, event("a", 5, 0)]), (0, 0));
        assert_eq!(check(&[event("a", 2, 0), event("a", 5, 4)]), (1, 0));
        assert_eq!(check(&[event("a", 2, 0), event("b", 5, 0), event("a", 4, 2)]), (0, 1));
        assert_eq!(check(&[event("a", 2, 0), event("a", 2, 0)]), (1, 1), "twice");
    }
}
