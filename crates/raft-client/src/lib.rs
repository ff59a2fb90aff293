//! The Rust client of a cluster of `raft-grpc` nodes, which hold a key-value map.
//!
//! A [`Client`] knows some nodes of the cluster, finds the leader and retries until a deadline. It executes each
//! command exactly once, in a session. An error says whether the command may have taken effect. A [`Watch`] follows the
//! changes of keys and continues at another node when its node fails.
//!
//! ```no_run
//! use raft_client::{Client, ClientError, ClientOptions, Consistency, KeyRange};
//!
//! # async fn example() -> Result<(), ClientError> {
//! // One node that runs is enough; the client learns the others from it.
//! let options = ClientOptions::new(["http://127.0.0.1:7071", "http://127.0.0.1:7081"]);
//! let mut client = Client::new(options)?;
//!
//! let written = client.put("lock/a", "me").await?;
//! println!("revision {} after {} requests", written.revision, written.attempts);
//!
//! let got = client.get("lock/a", Consistency::Linearizable).await?;
//! assert_eq!(got.value.as_deref(), Some(&b"me"[..]));
//!
//! // Every change of these keys, from the put on: each once, in order.
//! let mut watch = client.watch(KeyRange::prefix(b"lock/"), written.revision);
//! for event in watch.next().await?.events {
//!     println!("{:?} at revision {}", event.key, event.revision);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A client does one operation at a time. Create one for each task; clients share nothing.
//!
//! ```
//! use raft_client::ClientError;
//!
//! /// Whether to repeat an operation that failed.
//! fn can_repeat(error: &ClientError) -> bool {
//!     match error {
//!         // The operation has no effect, now or later.
//!         ClientError::NoEffect { .. } => true,
//!         // The learner is behind: try again later.
//!         ClientError::NotCaughtUp { .. } => true,
//!         // The operation may take effect: read before repeating it.
//!         ClientError::OutcomeUnknown { .. } => false,
//!         // Repeating it would fail again.
//!         ClientError::Endpoint { .. } | ClientError::Refused { .. } => false,
//!         ClientError::Compacted { .. } | ClientError::OtherCluster { .. } => false,
//!     }
//! }
//! ```
//!
//! # The map, in reading order
//!
//! `client` has the operations; `ask` is one request to one node with its result, `find_leader` the known nodes and the
//! choice of the next one, `retry` the deadline and the pauses of an operation; `watch`, `backup`, `members` and `member_change`
//! build on these.

mod ask;
mod backup;
mod client;
mod error;
#[cfg(feature = "fake")]
#[doc(hidden)]
pub mod fake;
pub(crate) mod find_leader;
mod member_change;
mod members;
mod outcome;
mod retry;
pub mod service;
mod watch;

pub use backup::Backup;
pub use bytes::Bytes;
pub use client::{Client, ClientOptions};
pub use error::ClientError;
pub use member_change::{ChangeOptions, MemberChange, Membership};
pub use members::{MemberView, members_of};
pub use outcome::{Changes, Consistency, Deleted, Got, Ranged, Swapped, Transacted, Written};
pub use raft_core::EntryId;
pub use raft_kv::command::{
    Compare, Event, EventKind, KeyRange, KeyValue, Relation, Target, Txn, TxnOp, TxnResult, Value,
};
pub use raft_proto::wire::raft::{MemberStatus, Role, StatusResponse};
pub use watch::Watch;
