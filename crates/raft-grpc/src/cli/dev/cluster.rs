//! All members together: they start on free ports, are announced when one of them leads, and get faults and repairs on
//! request.

use super::folder::{Folder, Kept, url};
use super::leader;
use super::member::Member;
use super::{Event, ports};
use crate::cli::output;
use raft_grpc::{Exit, Failure};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How often new ports are chosen if other processes take them.
const PORT_ATTEMPTS: u32 = 5;

/// How long a member may take to end after a request.
const GRACE: Duration = Duration::from_secs(5);

/// How often the members are asked for the leader.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long a key waits for a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the allocator of glibc merge freed memory at once. Otherwise it merges that of a snapshot's copy in one step, and the node
/// stands still meanwhile: 0.3 s for a million keys.
const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.mxfast=0");

pub(super) struct Cluster<'a> {
    folder: &'a Folder,
    kept: Kept,
    program: PathBuf,
    log: Option<String>,
    events: Sender<Event>,
    runtime: &'a Runtime,
    members: Vec<Member>,
    starts: u64,
    attempts: u32,
    announced: bool,
    asked: Instant,
}

impl<'a> Cluster<'a> {
    /// The folder's cluster, or a new one of `nodes`. It starts no process.
    pub(super) fn new(
        folder: &'a Folder,
        nodes: Option<u8>,
        log: Option<String>,
        events: Sender<Event>,
        runtime: &'a Runtime,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Failure::runtime(format!("cannot find this program: {error}")))?;
        let mut kept = folder.cluster(nodes)?;
        kept.nodes = ports::available(kept.nodes).map_err(|error| no_ports(&error))?;
        Ok(Self {
            folder,
            kept,
            program,
            log,
            events,
            runtime,
            members: Vec::new(),
            starts: 0,
            attempts: 0,
            announced: false,
            asked: Instant::now(),
        })
    }

    pub(super) fn start(&mut self) -> Result<(), Failure> {
        self.folder.write(&self.kept)?;
        self.members = (1..).zip(&self.kept.nodes).map(|(id, ports)| Member::new(id, *ports)).collect();
        let failure = self.spawn_dead().into_iter().find_map(|(id, outcome)| Some((id, outcome.err()?)));
        match failure {
            Some((id, error)) => {
                self.end();
                Err(Failure::runtime(format!("{}: cannot start node {id}: {error}", self.program.display())))
            }
            None => Ok(()),
        }
    }

    fn spawn_dead(&mut self) -> Vec<(u64, std::io::Result<()>)> {
        let mut outcomes = Vec::new();
        for member in self.members.iter_mut().filter(|member| !member.is_alive()) {
            self.starts += 1;
            let mut command = Command::new(&self.program);
            if std::env::var_os(ALLOCATOR.0).is_none() {
                command.env(ALLOCATOR.0, ALLOCATOR.1);
            }
            command.args(["node", "--control-stdin", "--config"]).arg(self.folder.configuration(member.id));
            command.args(self.log.iter().flat_map(|filter| ["--log", filter]));
            outcomes.push((member.id, member.spawn(command, self.events.clone(), self.starts)));
        }
        outcomes
    }

    pub(super) fn on_listening(&mut self, id: u64, start: u64) {
        for member in self.members.iter_mut().filter(|member| member.id == id && member.start == start) {
            // The process may have ended since.
            let Some(pid) = member.pid() else { continue };
            member.listening = true;
            let [peer, client, admin] = [member.ports.peer, member.ports.client, member.ports.admin].map(url);
            output::announce(&format!("node {id} pid {pid} client {client} peer {peer} admin {admin}"));
        }
    }

    /// Reports members that have ended, replaces ports that other processes took, and announces the cluster once one of
    /// its members leads.
    pub(super) fn look_after(&mut self) -> Result<(), Failure> {
        let mut ports_taken = false;
        for member in &mut self.members {
            let ended = member.reap();
            let ended = ended.map_err(|error| Failure::runtime(format!("cannot wait for node {}: {error}", member.id)));
            if let Some(ended) = ended? {
                output::announce(&format!("node {} ended: {ended}", member.id));
                ports_taken |= ended.0.code() == Some(Exit::AddressInUse as i32);
            }
        }
        if ports_taken && !self.announced {
            return self.replace_ports();
        }
        if !self.announced && self.asked.elapsed() >= ASK_EVERY && self.all_alive_listen() {
            self.announced = self.leader().is_some();
            self.asked = Instant::now();
            if self.announced {
                let urls: Vec<String> = self.kept.nodes.iter().map(|ports| url(ports.client)).collect();
                output::announce(&format!("RAFT_ENDPOINTS={}", urls.join(",")));
            }
        }
        Ok(())
    }

    fn all_alive_listen(&self) -> bool {
        self.members.iter().all(|member| member.listening || !member.is_alive())
    }

    /// Another process took a port after the check that it was free. The peers know each other's ports, so all members
    /// start again.
    fn replace_ports(&mut self) -> Result<(), Failure> {
        self.attempts += 1;
        self.end();
        if self.attempts >= PORT_ATTEMPTS {
            let problem = "other processes took the free ports: try again";
            return Err(Failure::new(Exit::AddressInUse, format!("127.0.0.1: {problem}")));
        }
        output::announce("a port was taken meanwhile: starting all nodes again with other ports");
        self.kept.nodes = ports::free(self.kept.nodes.len()).map_err(|error| no_ports(&error))?;
        self.start()
    }

    /// The node that leads, among those that are not isolated.
    fn leader(&self) -> Option<u64> {
        let reachable = self.members.iter().filter(|member| member.listening && !member.cut);
        self.runtime.block_on(leader::find(reachable.map(|member| (member.id, url(member.ports.client))).collect()))
    }

    /// The member that leads; waits for an election if necessary.
    fn leading_member(&mut self) -> Option<&mut Member> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        let id = loop {
            match self.leader() {
                Some(id) => break id,
                None if Instant::now() >= deadline => return None,
                None => thread::sleep(ASK_EVERY),
            }
        };
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// Ends the leader with SIGKILL; returns a message.
    pub(super) fn kill_leader(&mut self) -> String {
        let Some(member) = self.leading_member() else { return "kill: there is no leader".to_owned() };
        match member.kill() {
            Ok(()) => format!("kill: SIGKILL to node {}, the leader", member.id),
            Err(error) => format!("kill: node {}, the leader, could not be killed: {error}", member.id),
        }
    }

    /// Cuts the leader off from its peers; returns a message.
    pub(super) fn cut_leader(&mut self) -> String {
        let Some(member) = self.leading_member() else { return "cut: there is no leader".to_owned() };
        match member.send("cut") {
            Ok(()) => {
                member.cut = true;
                format!("cut: node {}, the leader, is cut off from its peers", member.id)
            }
            Err(error) => format!("cut: node {}, the leader, did not receive it: {error}", member.id),
        }
    }

    /// Starts all members that have ended, and ends all cuts; returns a message.
    pub(super) fn restart(&mut self) -> String {
        let mut done = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.cut && member.is_alive()) {
            match member.send("heal") {
                Ok(()) => {
                    member.cut = false;
                    done.push(format!("node {} is connected again", member.id));
                }
                Err(error) => done.push(format!("node {} did not receive it: {error}", member.id)),
            }
        }
        for (id, outcome) in self.spawn_dead() {
            done.push(match outcome {
                Ok(()) => format!("node {id} is started"),
                Err(error) => format!("node {id} could not be started: {error}"),
            });
        }
        if done.is_empty() {
            "restart: no node has ended or is cut off".to_owned()
        } else {
            format!("restart: {}", done.join(", "))
        }
    }

    /// Ends all members, gently for [`GRACE`].
    pub(super) fn end(&mut self) {
        for member in &self.members {
            if let Err(error) = member.terminate() {
                output::error(&format!("cannot end node {}: {error}", member.id));
            }
        }
        let deadline = Instant::now() + GRACE;
        let mut killed = false;
        while self.members.iter().any(Member::is_alive) {
            if !killed && Instant::now() >= deadline {
                killed = true;
                for member in self.members.iter_mut().filter(|member| member.is_alive()) {
                    output::error(&format!("node {} did not end within {GRACE:?}: killed", member.id));
                    if let Err(error) = member.kill() {
                        output::error(&format!("cannot kill node {}: {error}", member.id));
                    }
                }
            }
            for member in &mut self.members {
                if let Err(error) = member.reap() {
                    output::error(&format!("cannot wait for node {}: {error}", member.id));
                    return;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn no_ports(error: &std::io::Error) -> Failure {
    Failure::new(Exit::AddressInUse, format!("127.0.0.1: no free ports to listen on: {error}"))
}
