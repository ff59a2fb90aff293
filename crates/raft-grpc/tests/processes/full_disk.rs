//! A leader whose disk fills up: another node leads, no write fails, and all is back to normal once there is space. Each node has a
//! small file system of its own; where mounting one is not permitted, the test says so and checks nothing.

use crate::support::cluster::Cluster;
use crate::support::wait::wait_until;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const FLAGS: [&str; 5] = ["--control-stdin", "--segment-bytes", "256KiB", "--disk-reserve", "4MiB"];
/// Twice the longest election timeout, which is one second by default.
const TWO_ELECTIONS: Duration = Duration::from_secs(2);

/// A mounted file system of 16 MiB; unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None: mounting is not permitted here.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("a folder to mount on");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|ended| ended.status.success()).then_some(Self(at))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("there is space for a name");
        for size in [1 << 20, 4096] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nodes may still run on it. If this fails, the folder stays, and that is seen.
        let ended = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking(), "{} stays", self.0.display());
    }
}

/// The status and the body of an answer of the admin port.
async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the port listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer ends");
    answer
}

fn disks(cluster: &mut Cluster) -> Option<Vec<SmallDisk>> {
    let folder: &Path = cluster.folder.path();
    let mounted: Option<Vec<SmallDisk>> =
        (1..=3).map(|id| SmallDisk::mount(folder.join(format!("disk{id}")))).collect();
    let disks = mounted?;
    for (id, disk) in (1..).zip(&disks) {
        let line = &mut cluster.node(id).line;
        (line.data_dir, line.more) = (disk.0.join("node"), FLAGS.map(str::to_owned).to_vec());
    }
    Some(disks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_leads_while_the_leaders_disk_is_full() {
    let mut cluster = Cluster::prepare(3);
    let Some(disks) = disks(&mut cluster) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    (1..=3).for_each(|id| cluster.start_node(id));
    let first = cluster.leader().await.id;
    cluster.met().await;
    let disk = &disks[usize::try_from(first).expect("a small id") - 1];
    disk.fill();
    let mut client = cluster.client();
    let mut longest = Duration::ZERO;
    for key in 0..40 {
        let began = Instant::now();
        client.put(format!("k{key}"), "v".repeat(64 << 10)).await.expect("two nodes have space");
        longest = longest.max(began.elapsed());
    }
    assert!(longest < TWO_ELECTIONS, "a write took {longest:?}");
    assert_ne!(cluster.leader().await.id, first, "{}", cluster.node(first).stderr());
    let admin = cluster.node(first).line.listen[2].clone();
    assert!(cluster.statuses().await[&first].no_space);
    let ready = get(&admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("disk_space: the disk is full"), "{ready}");
    assert!(get(&admin, "/readyz?exclude=disk_space").await.starts_with("HTTP/1.1 200"), "it serves reads");
    let table = cluster.ask(&["status"]).stdout;
    assert!(table.lines().filter(|line| line.contains(" full ")).count() == 1, "{table}");

    fs::remove_file(disk.filler()).expect("it exists");
    wait_until("the node notices the space", async || {
        let statuses = cluster.statuses().await;
        if statuses[&first].no_space { Err(format!("{statuses:?}")) } else { Ok(()) }
    })
    .await;
    cluster.agreement().await;
    assert!(get(&admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    let log = cluster.node(first).stderr();
    let said = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!((said("the disk is full"), said("the disk has space again")), (1, 1), "{log}");
}
