//! Backups: what they contain, who makes them, and how they end.

use super::*;
use crate::clients::backups::MAX_BACKUPS;
use crate::{NewClusterError, NewFolder, read_backup, recover_folder, restore_backup};
use raft_core::SnapshotRecord;
use raft_store::conformance::{DISK_ID, IDENTITY, Memory, OPTIONS};
use raft_store::{BackupHeader, BackupReader, BackupWriter, ClusterId, Identity, OldFolder, RebuildError, open_node};

impl Cluster {
    /// Begins a backup under this id.
    fn begin_backup(&mut self, at: NodeId, id: u64, is_stale: bool) -> Reply {
        self.ask(at, id, Request::BeginBackup { is_stale }).expect("a reply")
    }

    /// The rest of a backup, asked for under ids from `id * 1000` on.
    fn rest(&mut self, at: NodeId, id: u64) -> Bytes {
        let mut bytes = Vec::new();
        for number in id * 1000.. {
            match self.ask(at, number, Request::ContinueBackup { backup: RequestId(id) }) {
                Some(Reply::BackupChunk { bytes: chunk }) if chunk.is_empty() => break,
                Some(Reply::BackupChunk { bytes: chunk }) => bytes.extend_from_slice(&chunk),
                other => panic!("{other:?}"),
            }
        }
        bytes.into()
    }
}

#[test]
fn a_backup_is_the_state_at_its_beginning() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.commands(leader, session, 1..=3);
    let Reply::BackupBegun { meta } = cluster.begin_backup(leader, 50, false) else { panic!("the leader makes it") };
    assert_eq!(
        (meta.last.index, &meta.configuration),
        (cluster.node(leader.0).state.applied, cluster.node(1).configuration().expect("one"))
    );
    let (journal, state_hash) = (cluster.journal(leader).to_vec(), cluster.node(leader.0).state_hash());
    cluster.commands(leader, session, 4..=6);
    let data = cluster.rest(leader, 50);
    let content = read_backup(&data, meta.last).expect("a node wrote it");
    let mut restored = Journal::default();
    restored.restore(&content.machine).expect("its own");
    assert_eq!((restored.commands, content.sessions), (journal, 1));
    assert_eq!(content.state_hash(Journal::default(), meta.last.index), Ok(state_hash));
    let next = cluster.ask(leader, 60, Request::ContinueBackup { backup: RequestId(50) });
    assert_eq!(next, Some(Reply::NoBackup), "it was complete");
}

#[test]
fn a_follower_makes_a_backup_only_if_it_may_be_stale() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.commands(leader, session, 1..=3);
    cluster.catch_up();
    let follower = next(leader);
    let not_leader = RejectReason::NotLeader { leader: Some(leader) };
    assert_eq!(cluster.begin_backup(follower, 50, false), Reply::Rejected { reason: not_leader });
    let Reply::BackupBegun { meta } = cluster.begin_backup(follower, 51, true) else { panic!("any node makes it") };
    assert!(read_backup(&cluster.rest(follower, 51), meta.last).is_ok());
    let mut empty = Cluster::new(3);
    assert_eq!(empty.begin_backup(NodeId(1), 1, true), Reply::Rejected { reason: RejectReason::Busy }, "no state yet");
}

#[test]
fn the_number_of_backups_is_bounded_and_a_cancelled_one_makes_room() {
    let (mut cluster, leader, _) = Cluster::new(1).with_session();
    for id in 0..MAX_BACKUPS as u64 {
        assert!(matches!(cluster.begin_backup(leader, 50 + id, true), Reply::BackupBegun { .. }));
    }
    let busy = Reply::Rejected { reason: RejectReason::Busy };
    assert_eq!(cluster.begin_backup(leader, 60, false), busy);
    cluster.feed(leader, NodeInput::CancelWatch { id: RequestId(50) });
    assert!(matches!(cluster.begin_backup(leader, 61, false), Reply::BackupBegun { .. }));
    let gone = cluster.ask(leader, 62, Request::ContinueBackup { backup: RequestId(50) });
    assert_eq!(gone, Some(Reply::NoBackup));
}

#[test]
fn a_backup_that_is_cancelled_while_it_waits_does_not_begin() {
    let (mut cluster, leader, _) = Cluster::new(3).with_session();
    // No other node answers before it is cancelled.
    let begin = NodeInput::Request { id: RequestId(50), request: Request::BeginBackup { is_stale: false } };
    cluster.feed_all(leader, vec![begin, NodeInput::CancelWatch { id: RequestId(50) }]);
    cluster.settle();
    assert_eq!(cluster.reply(50), None);
    let gone = cluster.ask(leader, 62, Request::ContinueBackup { backup: RequestId(50) });
    assert_eq!(gone, Some(Reply::NoBackup));
}

const OTHER: ClusterId = ClusterId(*b"another cluster.");

/// The empty folder of n7 of this cluster.
fn new_folder(disk: &mut Memory, cluster: ClusterId) -> NewFolder<'_, Memory> {
    let identity = Identity { cluster, node: NodeId(7) };
    NewFolder { disk, identity, disk_id: DISK_ID, options: OPTIONS, gap: 1_000 }
}

/// n7 after its start from such a folder.
fn started(disk: Memory, last: EntryId) -> Node<Journal> {
    let identity = Identity { cluster: OTHER, node: NodeId(7) };
    let mut opened = open_node(disk, identity, DISK_ID, None, OPTIONS).expect("it is whole");
    let data = opened.store.load_snapshot(last).expect("it is there");
    let restored = opened.recovery.restored;
    assert_eq!((restored.last, restored.hard_state.term), (EntryId::ZERO, last.term));
    let new = Cluster::new(1);
    let config = Config { id: NodeId(7), ..new.config.clone() };
    let mut node = Node::new(config, options(), restored, Journal::default()).expect("it is valid");
    let configuration = Configuration::of_voters([NodeId(7)]);
    let meta = SnapshotMeta { last, configuration: configuration.clone(), configured_at: last };
    let mut outputs = Vec::new();
    node.step(new.now, [NodeInput::Tick], &mut outputs);
    node.step(new.now, [NodeInput::SnapshotLoaded { meta, data }], &mut outputs);
    assert_eq!((node.state.applied, node.configuration()), (last.index, Some(&configuration)));
    node
}

#[test]
fn a_restored_backup_is_a_new_log_with_the_state_and_the_sessions() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.commands(leader, session, 1..=3);
    let Reply::BackupBegun { meta } = cluster.begin_backup(leader, 50, false) else { panic!("the leader makes it") };
    let saved = meta.last;
    let header = BackupHeader { cluster: IDENTITY.cluster, time_ms: 0, meta: *meta };
    let (mut writer, begin) = BackupWriter::begin(&header);
    let file = [begin, writer.data(&cluster.rest(leader, 50)), writer.end()].concat();
    let restore = |cluster, gap| {
        let mut disk = Memory::default();
        let backup = BackupReader::open(&file[..]).expect("just written");
        let folder = NewFolder { gap, ..new_folder(&mut disk, cluster) };
        restore_backup(backup, Configuration::of_voters([NodeId(7)]), folder).map(|last| (disk, last))
    };
    let refused = |cluster, gap| restore(cluster, gap).map(|(_, last)| last).expect_err("it is refused");
    assert_eq!(refused(IDENTITY.cluster, 1_000), RebuildError::SameCluster(IDENTITY.cluster).into());
    assert!(matches!(refused(OTHER, 1 << 61), NewClusterError::TooLong(_)));
    let (disk, last) = restore(OTHER, 1_000).expect("an empty folder");
    assert_eq!(last, EntryId::new(saved.index.0 + 1_000, saved.term.0));
    let node = started(disk, last);
    assert_eq!(node.machine().commands, cluster.journal(leader));
    assert_eq!(node.state.sessions, cluster.node(leader.0).state.sessions);
}

#[test]
fn a_recovered_folder_is_a_new_log_with_the_state_that_the_whole_old_log_leads_to() {
    let (mut cluster, leader, session) = Cluster::new(3).with_session();
    cluster.commands(leader, session, 1..=9);
    let mut whole = cluster.node(leader.0).state.clone();
    let covered = cluster.node(leader.0).raft.snapshot_meta(whole.applied).expect("there is a configuration");
    let data = whole.encode(covered.last).collect();
    // Nobody has committed this one.
    let id = EntryId { index: covered.last.index.next(), term: covered.last.term };
    let command = SessionCommand { session, sequence: 10, lowest_pending: 10, command: Bytes::from_static(b"last") };
    let entry = Entry { id, payload: Payload::Command(Envelope::Command(command).encode()) };
    let mut store = open_node(Memory::default(), IDENTITY, DISK_ID, None, OPTIONS).expect("new").store;
    store.save_snapshot(&covered, &data).expect("it fits");
    let write = Write {
        hard_state: Some(HardState { term: Term(9), voted_for: None }),
        snapshot: Some(SnapshotRecord { meta: covered, log: InstallMode::Discard }),
        entries: vec![entry.clone()].into(),
        ..Write::bootstrap(Configuration::default())
    };
    store.write(&[write]).and_then(|()| store.sync()).expect("it fits");
    let mut old = OldFolder::open(store.into_disk()).expect("intact");
    let alone = Configuration::of_voters([NodeId(7)]);
    let mut recover = |cluster| {
        let mut disk = Memory::default();
        let last =
            recover_folder(&mut old, Journal::default(), &options(), alone.clone(), new_folder(&mut disk, cluster));
        last.map(|last| (disk, last))
    };
    assert_eq!(recover(IDENTITY.cluster).err(), Some(RebuildError::SameCluster(IDENTITY.cluster).into()));
    let (disk, last) = recover(OTHER).expect("intact");
    assert_eq!(last, EntryId::new(id.index.0 + 1_000, 10));
    let node = started(disk, last);
    whole.apply(&entry);
    assert_eq!(node.machine().commands, whole.machine.commands);
    assert_eq!(node.state.sessions, whole.sessions);
}

#[test]
fn clusters_begin_at_different_indices() {
    let gap = |high, low| {
        let mut id = OTHER;
        (id.0[14], id.0[15]) = (high, low);
        crate::index_gap(id)
    };
    assert_eq!([gap(0, 0), gap(0, 1), gap(1, 0)], [1, 2, 257].map(|times| times * 1_000_000_000));
    assert_eq!(gap(255, 255), 65_536 * 1_000_000_000);
}
