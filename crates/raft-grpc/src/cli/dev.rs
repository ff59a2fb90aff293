//! `dev`: a whole cluster on this machine, one process for each node, with keys that kill, isolate and restart nodes.
//! Like any client it knows only the status of the nodes.

mod cluster;
mod folder;
mod keys;
mod leader;
mod logs;
mod member;
mod ports;

use super::log::LogOptions;
use super::output;
use cluster::Cluster;
use folder::Folder;
use keys::Key;
use raft_grpc::Failure;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// How often it checks the children when there is no event.
const TICK: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many nodes, 1 to 9 [default: 3, or as many as the folder's cluster has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// The folder of the nodes' data; the same folder starts the same cluster again [default: a temporary folder, removed at the
    /// end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    log: LogOptions,
}

/// The node `id` listens; `start` counts the starts of all children, so that a message of an earlier start can be
/// recognized.
enum Event {
    Listening { id: u64, start: u64 },
    Key(Key),
    Stop,
}

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::runtime(format!("cannot start the runtime: {error}")))?;
    let (events, received) = mpsc::channel();
    stop_on_signals(&runtime, events.clone())?;
    let folder = Folder::open(options.data_dir)?;
    let mut cluster = Cluster::new(&folder, options.nodes, options.log.filter, events.clone(), &runtime)?;
    let terminal = keys::listen(events)?;
    cluster.start()?;
    if terminal.is_some() {
        output::announce(keys::HELP);
    }
    let outcome = serve(&mut cluster, &received);
    cluster.end();
    outcome?;
    drop(cluster);
    folder.remove_if_temporary()
}

fn serve(cluster: &mut Cluster<'_>, received: &mpsc::Receiver<Event>) -> Result<(), Failure> {
    loop {
        match received.recv_timeout(TICK) {
            Ok(Event::Listening { id, start }) => cluster.on_listening(id, start),
            Ok(Event::Key(Key::Kill)) => output::announce(&cluster.kill_leader()),
            Ok(Event::Key(Key::Cut)) => output::announce(&cluster.cut_leader()),
            Ok(Event::Key(Key::Restart)) => output::announce(&cluster.restart()),
            Ok(Event::Key(Key::Quit)) => {
                output::announce("quit: ending all nodes");
                return Ok(());
            }
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        cluster.look_after()?;
    }
}

/// Makes signals end the loop and not the process, so that no child outlives it and the terminal is restored.
fn stop_on_signals(runtime: &Runtime, events: Sender<Event>) -> Result<(), Failure> {
    let _inside = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()] {
        let signals = signal(kind).map_err(|error| Failure::runtime(format!("cannot wait for signals: {error}")));
        let (mut signals, events) = (signals?, events.clone());
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                if events.send(Event::Stop).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}
