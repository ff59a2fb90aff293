//! Types with a short text use that text for `Debug` too, because people read traces and failed assertions.

use crate::{
    Action, Configuration, Entry, EntryId, Instant, LogIndex, NodeId, ReadId, RequestId, Round, Rpc, Seq, SnapshotMeta,
    Term, Write, WriteId,
};
use core::fmt;

macro_rules! debug_as_display {
    ($($name:ident)*) => { $(impl fmt::Debug for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    })* };
}

debug_as_display!(Action Configuration Entry EntryId Instant LogIndex NodeId ReadId RequestId Round Rpc Seq);
debug_as_display!(SnapshotMeta Term Write WriteId);
