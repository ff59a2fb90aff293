//! To which cluster a start belongs. An empty folder becomes a founder's, with the members of the settings. After that the log says who
//! is a member: settings that differ are reported, and the node follows the log.

use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::identity::{cluster_id, ids};
use crate::join::Own;
use raft_core::{Configuration, LogIndex, Payload};
use raft_node::AddressBook;
use raft_proto::member_context_from_bytes;
use raft_proto::wire::raft::MemberContext;
use raft_store::{
    ClusterId, DiskErrorKind, Files, Identity as FolderIdentity, Record, StoreError, folder_owner, inspect,
};
use std::collections::BTreeMap;

/// What a start knows before it opens the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Founding {
    pub(crate) cluster: ClusterId,
    /// The first entry of an empty folder. None: a node has started on the folder.
    pub(crate) founders: Option<Configuration>,
    /// Whether the folder's log has a configuration. A node that joins gets one from the leader.
    pub(crate) has_log: bool,
}

impl Founding {
    /// Reads the folder and changes nothing.
    ///
    /// # Errors
    /// The folder holds the log of a cluster with another name, or cannot be read.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Failure> {
        let place = settings.data_dir.display().to_string();
        let founders = Configuration::of_voters(settings.peers.keys().copied().chain([settings.id]));
        let by_settings = cluster_id(&settings.cluster, &founders);
        let refused = |error: StoreError| Failure::store(&place, &error);
        let mut files = match Files::open_to_read(&settings.data_dir) {
            Ok(files) => files,
            // The start creates the folder.
            Err(StoreError::Folder(error)) if error.kind == DiskErrorKind::NotFound => {
                return Ok(Self { cluster: by_settings, founders: Some(founders), has_log: false });
            }
            Err(error) => return Err(refused(error)),
        };
        match folder_owner(&mut files).map_err(refused)? {
            // The store refuses another node's folder.
            Some(owner) if owner.node == settings.id && owner.cluster != by_settings => {
                let configurations = configurations(&mut files).map_err(refused)?;
                check_name(settings, owner, &configurations)?;
                Ok(Self { cluster: owner.cluster, founders: None, has_log: !configurations.is_empty() })
            }
            owner => Ok(Self { cluster: by_settings, founders: Some(founders), has_log: owner.is_some() }),
        }
    }
}

/// The configurations in a folder's log, by index.
fn configurations(files: &mut Files) -> Result<BTreeMap<LogIndex, Configuration>, StoreError> {
    let mut found = BTreeMap::new();
    inspect(files, &mut |Record { write, .. }: &Record<'_>| {
        if let Some(from) = write.truncate_from {
            found.split_off(&from);
        }
        if let Some(snapshot) = &write.snapshot {
            found.insert(snapshot.meta.configured_at.index, snapshot.meta.configuration.clone());
        }
        for entry in write.entries.iter() {
            if let Payload::Configuration(configuration) = &entry.payload {
                found.insert(entry.id.index, configuration.clone());
            }
        }
    })?;
    Ok(found)
}

/// Refuses a folder of a cluster with another name than that of the settings. The log has the name, or the cluster id shows it by
/// founders that are known. A log that has neither is accepted: peers compare cluster ids.
fn check_name(
    settings: &Settings,
    owner: FolderIdentity,
    configurations: &BTreeMap<LogIndex, Configuration>,
) -> Result<(), Failure> {
    let name = &settings.cluster;
    let contexts = configurations.values().rev().flat_map(|configuration| configuration.members.values());
    let known = contexts.map(|context| member_context_from_bytes(context).cluster).find(|known| !known.is_empty());
    let is_right = match &known {
        Some(known) => known == name,
        None => {
            let is_by = |founders: &Configuration| cluster_id(name, founders) == owner.cluster;
            !configurations.contains_key(&LogIndex(1)) || configurations.values().any(is_by)
        }
    };
    if is_right {
        return Ok(());
    }
    let (place, id) = (settings.data_dir.display(), owner.node.0);
    let found = known.map_or_else(|| "with another name".to_owned(), |known| format!("`{known}`"));
    Err(Failure::new(
        Exit::Foreign,
        format!(
            "{place}: the folder holds the data of node {id} of cluster {found}, and the settings say `{name}`: keep the folder as \
             it is, and correct `cluster` or `data_dir`"
        ),
    ))
}

/// The addresses of the settings.
pub(crate) fn address_book(settings: &Settings) -> AddressBook {
    let at = |peer_url: &String| MemberContext { peer_url: peer_url.clone(), ..MemberContext::default() };
    AddressBook(settings.peers.iter().map(|(id, url)| (*id, at(url))).collect())
}

/// Reports that the log has this node at another address than its settings.
pub(crate) fn report_own_address(own: &Own, configuration: &Configuration) {
    let Some(context) = configuration.members.get(&own.id) else { return };
    let (log, id) = (member_context_from_bytes(context).peer_url, own.id.0);
    if !log.is_empty() && !own.peer_url.is_empty() && log != own.peer_url {
        let here = &own.peer_url;
        tracing::warn!(
            "peers reach this node at {log}, says the log, and the settings say {here}: if it moved, \
             `raft-grpc member update {id} --peer {here}`"
        );
    }
}

/// Reports in one line how the settings differ from the log, which the node follows. Settings without peers leave it to the log.
pub(crate) fn report_differences(settings: &Settings, book: &AddressBook, configuration: &Configuration) {
    if settings.peers.is_empty() {
        return;
    }
    let others = book.differences(configuration).into_iter().filter(|difference| difference.id() != settings.id);
    let differences: Vec<String> = others.map(|difference| difference.to_string()).collect();
    if !differences.is_empty() {
        let (members, differences) = (ids(configuration.members.keys()), differences.join("; "));
        tracing::warn!(
            "`peers` differs from the log, and the node follows the log (members {members}): {differences}. Correct `peers`, or \
             leave it out"
        );
    }
}
