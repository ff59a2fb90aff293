//! Real nodes, each under strace, and load on them. Must not know what their traces prove.

use super::judge::Node;
use super::trace::{MAX_DATA, TRACED};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A small first segment, so that its end is reached and it is removed on every node. The later ones are as large as the
/// space that a node keeps ahead.
const SEGMENT: &str = "16KiB";
/// After so many entries a snapshot is taken.
const SNAPSHOT_AFTER: u64 = 100;
/// So many of the entries that it covers stay.
const TRAILING: u64 = 10;
/// Who has missed so many entries is sent a snapshot: two were taken since, whatever was on its way.
const MISSED: u64 = 3 * SNAPSHOT_AFTER + TRAILING;
/// How long the cluster may take to be ready, and a node to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long load is put on the cluster at a time.
const ROUND: Duration = Duration::from_secs(8);
/// How long the load goes on before and between the faults.
const CALM: Duration = Duration::from_millis(1_500);
/// How long a cut leader stays away: the others elect another one meanwhile.
const AWAY: Duration = Duration::from_millis(1_500);

/// A cluster on this machine.
pub(crate) struct Cluster {
    binary: PathBuf,
    folder: PathBuf,
    members: Vec<Member>,
}

struct Member {
    id: u64,
    ports: [u16; 3],
    /// strace, whose child is the node.
    process: Option<Child>,
    traces: Vec<PathBuf>,
}

impl Cluster {
    /// Starts `nodes` nodes whose data, logs and traces are in `folder`, and waits until they are ready.
    pub(crate) fn start(binary: &Path, folder: &Path, nodes: u64) -> Result<Self> {
        let held = (0..nodes * 3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let held: Vec<TcpListener> = held.collect::<Result<_, _>>().context("no free ports")?;
        let ports: Vec<u16> = held.iter().map(|it| Ok(it.local_addr()?.port())).collect::<Result<_>>()?;
        drop(held);
        let member = |(id, ports): (u64, &[u16])| {
            let ports = ports.try_into().context("a node has three ports")?;
            Ok(Member { id, ports, process: None, traces: Vec::new() })
        };
        let members = (1..).zip(ports.chunks(3)).map(member).collect::<Result<_>>()?;
        let mut cluster = Self { binary: binary.into(), folder: folder.into(), members };
        for id in 1..=nodes {
            cluster.spawn(id)?;
        }
        cluster.ready()?;
        Ok(cluster)
    }

    /// Each node, and its traces in order.
    pub(crate) fn traces(&self) -> Vec<(Node, Vec<PathBuf>)> {
        let node = |member: &Member| {
            let others = self.members.iter().filter(|other| other.id != member.id);
            let peers: BTreeMap<u16, u64> = others.map(|other| (other.ports[0], other.id)).collect();
            let folder = self.folder.join(format!("node{}", member.id)).display().to_string();
            (Node { id: member.id, folder, client_port: member.ports[1], peers }, member.traces.clone())
        };
        self.members.iter().map(node).collect()
    }

    /// Harms the leader under load, twice: killed, and started again once the others have gone on without it for so long that
    /// it has to be sent a snapshot; cut off and connected again, so that its log is truncated. How many writes clients were
    /// told of.
    pub(crate) fn round(&mut self, round: u32, clients: u64) -> Result<u64> {
        let load = self.load(&format!("{round}-killed"), clients)?;
        std::thread::sleep(CALM);
        let leader = self.leader()?.context("no node leads under load")?;
        let missed = self.commit()? + MISSED;
        self.signal(leader, "KILL")?;
        self.wait(leader)?;
        let mut heard = load.heard()?;
        for more in 1.. {
            // However slow the machine is: not time is what counts, but how much was written.
            if self.commit()? >= missed {
                break;
            }
            let more = self.load(&format!("{round}-away-{more}"), clients)?.heard()?;
            if more == 0 {
                bail!("without node {leader} no write is acknowledged");
            }
            heard += more;
        }
        self.spawn(leader)?;
        let load = self.load(&format!("{round}-cut"), clients)?;
        std::thread::sleep(CALM);
        let leader = self.leader()?.context("no node leads after a kill")?;
        self.tell(leader, "cut")?;
        self.strand(leader)?;
        std::thread::sleep(AWAY);
        self.tell(leader, "heal")?;
        heard += load.heard()?;
        self.ready()?;
        Ok(heard)
    }

    /// Puts load on the cluster for a while.
    fn load(&self, name: &str, clients: u64) -> Result<Load> {
        let history = self.folder.join(format!("history-{name}.jsonl"));
        let log = self.folder.join(format!("bench-{name}.log"));
        let mut bench = self.client("bench");
        bench.args(["--clients", &clients.to_string(), "--seconds", &ROUND.as_secs().to_string()]);
        bench.args(["--mix", "put=70,get=15,cas=10,delete=5", "--history"]).arg(&history);
        let output = File::create(&log)?;
        bench.stdout(output.try_clone()?).stderr(output);
        Ok(Load { bench: bench.spawn().context("cannot run bench")?, history, log })
    }

    /// Ends all nodes kindly, so that the traces are whole.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let ids: Vec<u64> = self.members.iter().map(|member| member.id).collect();
        ids.iter().try_for_each(|id| self.signal(*id, "TERM"))?;
        ids.iter().try_for_each(|id| self.wait(*id))
    }

    /// Gives a leader that is cut off an entry that nobody else will have. No answer is expected.
    fn strand(&mut self, leader: u64) -> Result<()> {
        let url = format!("http://127.0.0.1:{}", self.member(leader)?.ports[1]);
        let mut put = Command::new(&self.binary);
        put.args(["kv", "put", "stranded", "here", "--timeout", "300ms", "--endpoints", &url]);
        put.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        put.status().context("cannot run kv put")?;
        Ok(())
    }

    fn member(&mut self, id: u64) -> Result<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id).with_context(|| format!("there is no node {id}"))
    }

    fn spawn(&mut self, id: u64) -> Result<()> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let others = self.members.iter().filter(|other| other.id != id);
        let peers: Vec<String> = others.map(|other| format!("{}={}", other.id, url(other.ports[0]))).collect();
        let (binary, folder) = (self.binary.clone(), self.folder.clone());
        let member = self.member(id)?;
        let start = member.traces.len() + 1;
        let trace = folder.join(format!("node{id}-{start}.strace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-yy", "-xx", "-s", &MAX_DATA.to_string(), "-e", TRACED, "-e", "signal=none"]);
        command.arg("--seccomp-bpf").arg("-o").arg(&trace).arg(&binary).args([
            "node",
            "--control-stdin",
            "--id",
            &id.to_string(),
        ]);
        for (name, port) in ["--listen-peer", "--listen-client", "--listen-admin"].iter().zip(member.ports) {
            command.args([name, &*format!("127.0.0.1:{port}")]);
        }
        command.args(peers.iter().flat_map(|peer| ["--peer", peer]));
        command.args(["--cluster", "durability", "--segment-bytes", SEGMENT]);
        command.args(["--snapshot-after-entries", &SNAPSHOT_AFTER.to_string()]);
        command.args(["--trailing-entries", &TRAILING.to_string()]);
        command.arg("--data-dir").arg(folder.join(format!("node{id}")));
        let log = File::create(folder.join(format!("node{id}-{start}.log")))?;
        command.current_dir(&folder).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        member.process = Some(command.spawn().context("cannot run strace")?);
        member.traces.push(trace);
        Ok(())
    }

    /// Waits until a node leads and all are ready.
    fn ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            for member in &mut self.members {
                if let Some(status) = member.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                    let log = self.folder.join(format!("node{}-{}.log", member.id, member.traces.len()));
                    bail!("node {} has ended ({status}): {}", member.id, last_line(&log));
                }
            }
            let status = self.status()?;
            let is = |member: &Value| member["ready"] == true;
            if status.len() == self.members.len() && status.iter().all(is) && leader_of(&status).is_some() {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("the cluster is not ready after {} s: see {}", PATIENCE.as_secs(), self.folder.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The node that leads; waits for an election.
    fn leader(&self) -> Result<Option<u64>> {
        let begin = Instant::now();
        loop {
            let leader = leader_of(&self.status()?);
            if leader.is_some() || begin.elapsed() > PATIENCE {
                return Ok(leader);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The highest commit index that a node knows.
    fn commit(&self) -> Result<u64> {
        Ok(self.status()?.iter().filter_map(|member| member["commit"].as_u64()).max().unwrap_or(0))
    }

    fn status(&self) -> Result<Vec<Value>> {
        let output = self.client("status").args(["--format", "json", "--timeout", "1s"]).output()?;
        // No node answers before the first one listens.
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    fn client(&self, name: &str) -> Command {
        let urls: Vec<String> = self.members.iter().map(|it| format!("http://127.0.0.1:{}", it.ports[1])).collect();
        let mut command = Command::new(&self.binary);
        command.args([name, "--endpoints", &urls.join(",")]).stdin(Stdio::null());
        command
    }

    /// Signals the node, not strace: it would let go of a node that goes on.
    fn signal(&mut self, id: u64, signal: &str) -> Result<()> {
        let Some(strace) = self.member(id)?.process.as_ref().map(Child::id) else { return Ok(()) };
        let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children"));
        for node in children.unwrap_or_default().split_whitespace() {
            let status = Command::new("sh").args(["-c", &format!("kill -{signal} {node}")]).status()?;
            if !status.success() {
                bail!("cannot signal node {id}");
            }
        }
        Ok(())
    }

    /// Writes a line to the node's stdin, which strace leaves to it.
    fn tell(&mut self, id: u64, line: &str) -> Result<()> {
        let stdin = self.member(id)?.process.as_mut().and_then(|process| process.stdin.as_mut());
        let stdin = stdin.with_context(|| format!("node {id} does not run"))?;
        writeln!(stdin, "{line}").with_context(|| format!("cannot tell node {id} to {line}"))
    }

    fn wait(&mut self, id: u64) -> Result<()> {
        let begin = Instant::now();
        let member = self.member(id)?;
        while let Some(process) = &mut member.process {
            if process.try_wait()?.is_some() {
                member.process = None;
            } else if begin.elapsed() > PATIENCE {
                bail!("node {id} does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Load on its way.
struct Load {
    bench: Child,
    history: PathBuf,
    log: PathBuf,
}

impl Load {
    /// How many writes clients were told of, once it is over.
    fn heard(mut self) -> Result<u64> {
        if !self.bench.wait()?.success() {
            bail!("bench failed: see {}", self.log.display());
        }
        acknowledged(&fs::read_to_string(&self.history).context("bench has written no history")?)
    }
}

impl Drop for Cluster {
    /// Nothing of it is left running, whatever went wrong.
    fn drop(&mut self) {
        for id in self.members.iter().map(|member| member.id).collect::<Vec<_>>() {
            let ended = self.signal(id, "KILL").and_then(|()| self.wait(id));
            if let Err(error) = ended {
                eprintln!("durability: {error:#}");
            }
        }
    }
}

fn leader_of(status: &[Value]) -> Option<u64> {
    status.iter().find(|member| member["role"] == "leader").and_then(|member| member["id"].as_u64())
}

/// How many operations of a history are writes that were acknowledged.
fn acknowledged(history: &str) -> Result<u64> {
    let mut count = 0;
    for line in history.lines() {
        let operation: Value = serde_json::from_str(line).context("the history of bench is no JSON lines")?;
        count += u64::from(operation["status"] == "ok" && operation["op"] != "get");
    }
    Ok(count)
}

fn last_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_acknowledged_writes_count() {
        let line = |op: &str, status: &str| format!("{{\"op\":\"{op}\",\"status\":\"{status}\"}}\n");
        let history = [line("put", "ok"), line("get", "ok"), line("cas", "ok"), line("put", "unknown")].concat();
        assert_eq!(acknowledged(&history).unwrap(), 2);
        assert!(acknowledged("nonsense").is_err());
    }

    #[test]
    fn the_leader_is_who_says_so() {
        let status: Vec<Value> =
            serde_json::from_str(r#"[{"id":1,"role":"follower"},{"id":null,"role":null},{"id":3,"role":"leader"}]"#)
                .unwrap();
        assert_eq!((leader_of(&status), leader_of(&status[..2])), (Some(3), None));
    }
}
