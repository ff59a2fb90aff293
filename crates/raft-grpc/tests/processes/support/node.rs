//! One node as a process: its start, its state, and its output.

use super::command::binary;
use super::ports::Port;
use super::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) id: u64,
    /// The addresses for peers, clients and operators.
    pub(crate) listen: [String; 3],
    pub(crate) peers: BTreeMap<u64, String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) more: Vec<String>,
}

impl Line {
    pub(crate) fn command(&self) -> Command {
        let mut command = binary(["node", "--id", &self.id.to_string()]);
        for (flag, address) in ["--listen-peer", "--listen-client", "--listen-admin"].iter().zip(&self.listen) {
            command.args([flag, address.as_str()]);
        }
        for (id, url) in &self.peers {
            command.args(["--peer", &format!("{id}={url}")]);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(&self.more);
        command
    }
}

pub(crate) struct Node {
    pub(crate) line: Line,
    /// The ports for peers, clients and operators.
    pub(crate) ports: [Port; 3],
    folder: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub(crate) fn new(line: Line, ports: [Port; 3], folder: &Path) -> Self {
        Self { line, ports, folder: folder.to_owned(), child: None }
    }

    pub(crate) fn start(&mut self) {
        self.start_as(self.line.command());
    }

    /// Starts the process by another command. Its standard input is a pipe that ends with this process. So no node
    /// survives a killed test, if the command has `--control-stdin`.
    pub(crate) fn start_as(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "node {} runs already", self.line.id);
        command.current_dir(&self.folder).stdin(Stdio::piped());
        command.stdout(self.output("stdout")).stderr(self.output("stderr"));
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.child.as_mut().and_then(|child| child.stdin.as_mut()).expect("it runs");
        writeln!(input, "{line}").expect("it reads");
    }

    pub(crate) fn disk_id(&self) -> Vec<u8> {
        let meta = std::fs::read(self.line.data_dir.join("META")).expect("it has started");
        meta[48..64].to_vec()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Sends SIGKILL now. The process must have been running.
    pub(crate) fn kill(&mut self) {
        self.must_run();
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        let status = child.wait().expect("the wait for its end succeeds");
        assert_eq!(status.code(), None, "node {} ended by itself: {status}\n{}", self.line.id, self.stderr());
    }

    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.end().await
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.must_run();
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it takes signals");
    }

    pub(crate) async fn end(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let ended = wait_until("a node ends", async || {
            child.try_wait().expect("the process state can be read").ok_or_else(|| "it runs".to_owned())
        });
        let status = ended.await;
        self.child = None;
        status
    }

    /// Panics if it should run and does not.
    pub(crate) fn must_run(&mut self) {
        let Some(child) = &mut self.child else { panic!("node {} was not started", self.line.id) };
        if let Some(status) = child.try_wait().expect("the process state can be read") {
            panic!("node {} ended by itself: {status}\n{}", self.line.id, self.stderr());
        }
    }

    pub(crate) fn stdout(&self) -> String {
        self.printed("stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.printed("stderr")
    }

    fn printed(&self, stream: &str) -> String {
        let bytes = std::fs::read(self.output_path(stream)).expect("the output file exists");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn output(&self, stream: &str) -> File {
        let path = self.output_path(stream);
        OpenOptions::new().create(true).append(true).open(path).expect("a file for its output")
    }

    fn output_path(&self, stream: &str) -> PathBuf {
        self.folder.join(format!("node{}.{stream}", self.line.id))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended itself, which is checked elsewhere.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
