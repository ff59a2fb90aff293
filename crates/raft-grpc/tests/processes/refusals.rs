//! The refusals of a node to start: the exit code, and one line that says what is wrong, where, and what to do.

use crate::support::cluster::Cluster;
use crate::support::command::run;
use crate::support::node::Line;
use crate::support::ports::Port;
use rustix::fs::statvfs;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FIRST_SEGMENT: &str = "wal-0000000000000001";

/// A cluster that has written some entries and ended.
async fn ended_with_data(count: u64) -> Cluster {
    let mut cluster = Cluster::start(count).await;
    let mut client = cluster.client();
    for key in 0..20 {
        client.put(format!("k{key}"), "v".repeat(100)).await.expect("there is a leader");
    }
    for id in 1..=count {
        let status = cluster.stop(id).await;
        assert_eq!(status.code(), Some(0), "{}", cluster.node(id).stderr());
    }
    cluster
}

/// The command line of node `id`, for a process whose standard input is empty.
fn line(cluster: &mut Cluster, id: u64) -> Line {
    let mut line = cluster.node(id).line.clone();
    line.more.retain(|flag| flag != "--control-stdin");
    line
}

/// Starts a node that must refuse, with this exit code and all of these words in its one line.
fn refuses(line: &Line, code: i32, words: &[&str]) {
    let ended = run(line.command());
    let said = ended.refused(code);
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
    assert_eq!(ended.stdout, "", "it never listened");
}

/// Checks the same, and that the line names the folder, which is unchanged.
fn refuses_folder(line: &Line, code: i32, words: &[&str]) {
    let before = content(&line.data_dir);
    refuses(line, code, &[&[&*line.data_dir.display().to_string()], words].concat());
    assert_eq!(content(&line.data_dir), before);
}

/// Every file below a folder, with its bytes.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    if folder.is_file() {
        return vec![(folder.to_owned(), fs::read(folder).expect("a file"))];
    }
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_others_is_exit_3_damage_is_exit_4_and_both_are_untouched() {
    let mut cluster = ended_with_data(2).await;
    let [own, other] = [1, 2].map(|id| line(&mut cluster, id));
    let folder = own.data_dir.clone();
    let more = [&own.more[..], &["--cluster", "other"].map(str::to_owned)].concat();
    refuses_folder(
        &Line { more, ..own.clone() },
        3,
        &["the data of node 1 of cluster ", "the settings say `other`", "keep the folder as it is"],
    );
    let other = Line { data_dir: folder.clone(), ..other };
    refuses_folder(&other, 3, &["the data of node 1 of", "expected node 2 of", "keep the folder as it is"]);

    let format = fs::read(folder.join("FORMAT")).expect("the format");
    let newer = "raft-store format 3\n";
    // It is right except for its number.
    let content_of_newer = format!("{newer}crc32c {:08x}\n", crc32c::crc32c(newer.as_bytes()));
    fs::write(folder.join("FORMAT"), content_of_newer).expect("written");
    refuses_folder(&own, 3, &["FORMAT has format 3", "reads up to 2", "use the version that wrote it"]);
    fs::write(folder.join("FORMAT"), format).expect("written");

    let segment = folder.join(FIRST_SEGMENT);
    let mut bytes = fs::read(&segment).expect("the first segment");
    let middle = end_of_records(&bytes) / 2;
    bytes[middle] ^= 0x10;
    fs::write(&segment, &bytes).expect("written");
    refuses_folder(&own, 4, &[FIRST_SEGMENT, "damaged at byte", "an exact copy of the folder"]);

    fs::remove_file(&segment).expect("removed");
    refuses_folder(&own, 4, &["wal-0000000000000001 is missing", "The folder holds", "META", "put it back"]);
}

#[test]
fn a_folder_of_something_else_is_exit_3_and_a_file_exit_2() {
    let mut cluster = Cluster::prepare(1);
    let line = line(&mut cluster, 1);
    fs::write(&line.data_dir, "mine").expect("written");
    refuses_folder(&line, 2, &["is a file", "choose a folder"]);
    fs::remove_file(&line.data_dir).expect("removed");
    fs::create_dir(&line.data_dir).expect("made");
    fs::write(line.data_dir.join("diary.txt"), "dear diary").expect("written");
    refuses_folder(&line, 3, &["diary.txt", "keep the folder as it is"]);
}

#[test]
fn a_used_port_is_exit_6_and_named() {
    for (place, key) in ["listen_peer", "listen_client", "listen_admin"].into_iter().enumerate() {
        let mut cluster = Cluster::prepare(1);
        let used = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = used.local_addr().expect("its address").to_string();
        let mut line = line(&mut cluster, 1);
        line.listen[place].clone_from(&address);
        refuses(&line, 6, &[key, &address, "in use", "choose another port"]);
        assert!(!line.data_dir.exists(), "a node that cannot listen creates no folder");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_said_and_cut_and_the_node_starts() {
    let mut cluster = ended_with_data(1).await;
    let segment = cluster.node(1).line.data_dir.join(FIRST_SEGMENT);
    let mut bytes = fs::read(&segment).expect("the first segment");
    let end = end_of_records(&bytes);
    bytes[end..end + 100].fill(0xa5);
    fs::write(&segment, &bytes).expect("written");
    cluster.start_node(1);
    cluster.leader().await;
    let log = cluster.node(1).stderr();
    let said = log.lines().find(|line| line.contains("a crash tore the last write")).unwrap_or_else(|| panic!("{log}"));
    assert!(said.contains("WARN") && said.contains(FIRST_SEGMENT) && said.contains(&format!("byte {end} ")), "{said}");
    let got = cluster.client().get("k19", raft_client::Consistency::Linearizable).await.expect("it leads");
    assert_eq!(got.value.map(|value| value.len()), Some(100));
    assert_eq!(cluster.stop(1).await.code(), Some(0), "{}", cluster.node(1).stderr());
    assert!(!fs::read(&segment).expect("the first segment").windows(8).any(|bytes| bytes == [0xa5; 8]));
}

/// The end of the records, where the zeros begin; records begin at multiples of 8.
fn end_of_records(segment: &[u8]) -> usize {
    let last = segment.iter().rposition(|byte| *byte != 0).expect("it holds something");
    assert!(last + 200 < segment.len(), "the segment is full");
    (last + 1).next_multiple_of(8)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_start_is_exit_5_and_takes_no_space() {
    const LARGEST: u64 = 1 << 40;
    let free = |folder: &Path| statvfs(folder).map_or(u64::MAX, |space| space.f_bavail.saturating_mul(space.f_frsize));
    let mut cluster = Cluster::prepare(1);
    let mut line = line(&mut cluster, 1);
    // If the disk has this much space, memory has less.
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let folders = [Some(cluster.folder.path()), memory.as_ref().map(tempfile::TempDir::path)];
    let small = folders.into_iter().flatten().find(|folder| free(folder) < LARGEST / 2);
    line.data_dir = small.expect("a file system with less than 512 GiB free").join("node1");
    let size = line.more.iter().position(|flag| flag == "--segment-bytes").expect("it has a size") + 1;
    line.more[size] = "1TiB".to_owned();
    let folder = line.data_dir.display().to_string();
    refuses(&line, 5, &[&folder, "1099511627776 bytes are needed", "are free", "free some space"]);
    let files = fs::read_dir(&line.data_dir).expect("the folder is there");
    let blocks: u64 = files.map(|entry| entry.expect("an entry").metadata().expect("a file").blocks()).sum();
    assert!(blocks * 512 < 64 << 10, "{blocks} blocks of 512 bytes are taken");
    // The start continues once there is space.
    cluster.node(1).line.data_dir = line.data_dir;
    cluster.start_node(1);
    cluster.leader().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_exit_8_and_its_node_goes_on() {
    let mut cluster = Cluster::start(1).await;
    let pid = format!("(pid {})", cluster.node(1).pid());
    let ports = [Port::any(), Port::any(), Port::any()];
    let mut second = line(&mut cluster, 1);
    second.listen = ports.each_ref().map(|port| port.address.to_string());
    let folder = second.data_dir.display().to_string();
    let known = fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains("FLOCK"));
    let words = [&*folder, "another process", "uses this folder", "stop it first", if known { &pid } else { "" }];
    refuses(&second, 8, &words);
    cluster.client().put("k", "v").await.expect("it leads still");
    assert_eq!(cluster.stop(1).await.code(), Some(0));
}
