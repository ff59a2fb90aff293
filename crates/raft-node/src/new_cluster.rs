//! The folders of a new cluster's founders, from old data: a backup, or the folder of a node whose cluster lost its quorum.
//!
//! All founders restore the same backup with the same list of founders, and get the same log: none, after a snapshot whose
//! configuration is the founders. So they agree before they have exchanged a message, and any of them can be elected.
//!
//! The snapshot's last index is that of the old data plus a gap. A session is named by the index of the entry that opened it.
//! *Without the gap:* the old cluster opened a session after the old data, the new one opens another at the same index, and the
//! client of the first gets the answers of the second.

use crate::clients::sessions::SessionLimits;
use crate::interface::options::NodeOptions;
use crate::interface::state_machine::{SnapshotError, StateMachine};
use crate::replicated_state::ReplicatedState;
use crate::snapshots::content::with_last;
use bytes::Bytes;
use raft_core::{Configuration, EntryId, LogIndex, MAX_NUMBER, SnapshotMeta};
use raft_store::{
    BackupReader, ClusterId, Disk, DiskId, Identity, OldFolder, RebuildError, StoreOptions, restore_folder,
};
use std::io::Read;

/// More entries than a cluster writes after the old data.
const UNIT: u64 = 1_000_000_000;

/// Why no folder was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NewClusterError {
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Content(#[from] SnapshotError),
    /// The last index of the old data plus the gap is none that a log can have.
    #[error("the log would begin after entry {0}, and no log is longer than {MAX_NUMBER} entries")]
    TooLong(LogIndex),
}

impl From<raft_store::BackupError> for NewClusterError {
    fn from(error: raft_store::BackupError) -> Self {
        Self::Rebuild(error.into())
    }
}

/// How far the log of this new cluster begins after the old data: 10^9 to 65 536 times that, by the cluster's id. So two clusters
/// from the same data use different indices, but for one pair in 65 536.
pub fn index_gap(cluster: ClusterId) -> u64 {
    let [.., high, low] = cluster.0;
    UNIT * (1 + u64::from(u16::from_be_bytes([high, low])))
}

/// The empty folder that becomes that of a founder.
#[derive(Debug)]
pub struct NewFolder<'a, D> {
    /// The folder.
    pub disk: &'a mut D,
    /// The founder, of the new cluster.
    pub identity: Identity,
    /// The id of the folder's disk.
    pub disk_id: DiskId,
    /// Its store's options.
    pub options: StoreOptions,
    /// How far its log begins after the old data: [`index_gap`].
    pub gap: u64,
}

/// Makes an empty folder that of a founder of a new cluster, with the state and the sessions of a backup. Returns the entry after
/// which its log begins: the same for all founders.
///
/// # Errors
/// See [`NewClusterError`]. A backup that is damaged or of the same cluster, and a folder that is not empty, change nothing.
pub fn restore_backup<D: Disk, R: Read>(
    mut backup: BackupReader<R>,
    founders: Configuration,
    new: NewFolder<'_, D>,
) -> Result<EntryId, NewClusterError> {
    let (old, saved) = (backup.header().cluster, backup.header().meta.last);
    let last = new.first_position(old, saved)?;
    new.found(last, founders, || Ok(with_last(&backup.read_all()?, saved, last)?))
}

/// Makes an empty folder that of the only founder of a new cluster, with the state that everything in `old` leads to: snapshot and
/// log, entries that may never have been committed included. Returns the entry after which its log begins; its term is one in which
/// no node of the old cluster that `old` knows of has written. `machine` has applied nothing; `options` are those of the nodes.
///
/// # Errors
/// See [`NewClusterError`].
pub fn recover_folder<S: StateMachine, A: Disk, D: Disk>(
    old: &mut OldFolder<A>,
    machine: S,
    options: &NodeOptions,
    founder: Configuration,
    new: NewFolder<'_, D>,
) -> Result<EntryId, NewClusterError> {
    let saved = EntryId { index: old.last().index, term: old.term().next() };
    let last = new.first_position(old.identity().cluster, saved)?;
    new.found(last, founder, || {
        let mut state = ReplicatedState::new(machine, SessionLimits::new(options));
        if let Some((meta, data)) = old.load_snapshot()? {
            state.restore(meta.last, &data)?;
        }
        while state.applied < saved.index {
            for entry in old.entries(state.applied.next())?.iter() {
                state.apply(entry);
            }
        }
        Ok(state.encode(last).collect())
    })
}

impl<D: Disk> NewFolder<'_, D> {
    /// The entry after which the log begins.
    fn first_position(&self, old: ClusterId, saved: EntryId) -> Result<EntryId, NewClusterError> {
        if old == self.identity.cluster {
            return Err(RebuildError::SameCluster(old).into());
        }
        let index = LogIndex(saved.index.0.saturating_add(self.gap));
        // Room to go on.
        if index.0 > MAX_NUMBER / 2 {
            return Err(NewClusterError::TooLong(index));
        }
        Ok(EntryId { index, term: saved.term })
    }

    fn found(
        self,
        last: EntryId,
        founders: Configuration,
        data: impl FnOnce() -> Result<Bytes, NewClusterError>,
    ) -> Result<EntryId, NewClusterError> {
        let meta = SnapshotMeta { last, configuration: founders, configured_at: last };
        restore_folder(self.disk, self.identity, self.disk_id, self.options, || Ok((meta, data()?)))
    }
}
