//! Real NATS servers of the tests' own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;

use crate::error::{Result, TestkitError};
use crate::eventually::eventually_blocking;
use crate::guarded::Guarded;
use crate::network::Network;
use crate::scratch::ScratchDir;

const READY_DEADLINE: Duration = Duration::from_secs(15);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// What a server is to be like.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// The port on 127.0.0.1; `None` takes a free one and keeps it over restarts.
    pub port: Option<u16>,
    /// More lines for its configuration file.
    pub more: String,
}

impl Default for NatsOptions {
    /// JetStream on a free port.
    fn default() -> Self {
        Self {
            jetstream: true,
            port: None,
            more: String::new(),
        }
    }
}

impl NatsOptions {
    /// JetStream on 4222, as a host's own server has it: for a machine, where nothing else can be on that port.
    #[must_use]
    pub fn of_machine() -> Self {
        Self {
            port: Some(4222),
            ..Self::default()
        }
    }
}

/// What becomes of a server's streams when it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// They are still there.
    Keep,
    /// The server comes back empty.
    Wipe,
}

/// A NATS server that this process started, and that dies with it.
///
/// It is recognised by a name of its own in the first line that a server sends: one that somebody else runs on the
/// same port is never spoken to.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    name: String,
    network: Network,
    jetstream: bool,
    more: String,
    // Dropped in this order: the process first, then its directory.
    running: Mutex<Running>,
    directory: ScratchDir,
}

#[derive(Debug, Default)]
struct Running {
    process: Option<Guarded>,
    port: Option<u16>,
}

/// The part of a server's INFO line that says who it is.
#[derive(Debug, Deserialize)]
struct Info {
    server_name: String,
    version: String,
    #[serde(default)]
    jetstream: bool,
}

impl NatsServer {
    /// Starts a server in a network and waits until it answers.
    ///
    /// # Errors
    /// When it does not start, ends at once, or another server answers in its place.
    pub fn start(binary: &Path, network: &Network, options: &NatsOptions) -> Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = ScratchDir::new("tcs-nats-")?;
        let server = Self {
            binary: binary.to_path_buf(),
            name: format!("tcs-test-{}-{number}", std::process::id()),
            network: network.clone(),
            jetstream: options.jetstream,
            directory,
            more: options.more.clone(),
            running: Mutex::new(Running {
                process: None,
                port: options.port,
            }),
        };
        server.start_again()?;
        Ok(server)
    }

    /// Where it is, as seen in its network: `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.lock().port.unwrap_or_default()
    }

    /// Its unique name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network it is in.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Starts it after [`stop`](Self::stop) or [`kill`](Self::kill), on the same port.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_again(&self) -> Result<()> {
        let mut running = self.lock();
        let known_port = running.port;
        let configuration = self.write_configuration(known_port)?;
        let mut command = match self.network.namespace_path() {
            Some(path) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={path}")).arg("--").arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.arg("--config").arg(configuration);
        let process = Guarded::spawn(&command)?;
        let port = match known_port {
            Some(port) => port,
            None => self.port_taken(&process)?,
        };
        self.wait_ready(&process, port)?;
        *running = Running {
            process: Some(process),
            port: Some(port),
        };
        Ok(())
    }

    /// Stops it in order with SIGTERM; its streams stay.
    ///
    /// # Errors
    /// When it is not gone within 10 s.
    pub fn stop(&self) -> Result<()> {
        let Some(process) = self.lock().process.take() else {
            return Ok(());
        };
        process.signal(Signal::TERM);
        match process.wait(STOP_DEADLINE) {
            Some(_) => Ok(()),
            None => Err(self.error("it did not stop on SIGTERM", &process)),
        }
    }

    /// Kills it with SIGKILL; its streams stay.
    pub fn kill(&self) {
        drop(self.lock().process.take());
    }

    /// Kills it and starts it again on the same port.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&self, store: Store) -> Result<()> {
        self.kill();
        if store == Store::Wipe {
            let store = self.directory.path().join("store");
            if store.exists() {
                fs::remove_dir_all(&store)
                    .map_err(TestkitError::io(format!("cannot remove {}", store.display())))?;
            }
        }
        self.start_again()
    }

    /// Stops its process in its tracks: connections stay open and nothing answers from when this returns.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // A signal is on its way for a moment; the last thread may still answer.
        let Some(pid) = self
            .lock()
            .process
            .as_ref()
            .map(|process| process.pid().as_raw_nonzero())
        else {
            return;
        };
        let _ = eventually_blocking("the server stands still", Duration::from_secs(5), || {
            if stands_still(pid.get()) {
                Ok(())
            } else {
                Err("it moves")
            }
        });
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.lock().process {
            process.signal(signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_configuration(&self, port: Option<u16>) -> Result<PathBuf> {
        let directory = self.directory.path().display();
        let listen = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let mut lines = format!(
            "server_name: \"{}\"\nlisten: \"127.0.0.1:{listen}\"\nports_file_dir: \"{directory}\"\n",
            self.name
        );
        if self.jetstream {
            lines += &format!(
                "jetstream {{\n  store_dir: \"{directory}/store\"\n  max_memory_store: 256MB\n  max_file_store: 4GB\n}}\n"
            );
        }
        lines += &self.more;
        let path = self.directory.path().join("nats.conf");
        fs::write(&path, lines).map_err(TestkitError::io(format!("cannot write {}", path.display())))?;
        Ok(path)
    }

    /// The port that the server chose, which it writes into a file named after its process.
    fn port_taken(&self, process: &Guarded) -> Result<u16> {
        let name = format!("nats-server_{}.ports", process.pid().as_raw_nonzero());
        let path = self.directory.path().join(name);
        eventually_blocking("the server tells its port", READY_DEADLINE, || {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let ports: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let url = ports["nats"][0].as_str().unwrap_or_default();
            url.rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .ok_or(text)
        })
        .map_err(|error| self.error(&error.to_string(), process))
    }

    fn wait_ready(&self, process: &Guarded, port: u16) -> Result<()> {
        let ready = eventually_blocking("the server answers", READY_DEADLINE, || {
            if let Some(status) = process.status() {
                return Ok(Err(format!("it ended with {status}")));
            }
            let info = self
                .network
                .enter(|| read_info(port))
                .map_err(|error| error.to_string())??;
            if info.server_name != self.name {
                let (other, version) = (&info.server_name, &info.version);
                return Ok(Err(format!(
                    "another server (`{other}`, {version}) answers on port {port}"
                )));
            }
            if info.jetstream != self.jetstream {
                return Err(format!("it says jetstream: {}", info.jetstream));
            }
            Ok(Ok(()))
        });
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(self.error(&reason, process)),
            Err(late) => Err(self.error(&late.to_string(), process)),
        }
    }

    fn error(&self, reason: &str, process: &Guarded) -> TestkitError {
        TestkitError::Nats {
            name: self.name.clone(),
            reason: reason.into(),
            log: process.last_lines(),
        }
    }
}

/// Reads the INFO line, which a server sends to whoever connects, and says nothing to it.
fn read_info(port: u16) -> std::result::Result<Info, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let patience = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&address, patience).map_err(|error| error.to_string())?;
    stream
        .set_read_timeout(Some(patience))
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    let json = line
        .strip_prefix("INFO ")
        .ok_or_else(|| format!("no NATS server: it says {line:?}"))?;
    serde_json::from_str(json).map_err(|error| format!("its INFO is not understood: {error}"))
}
/// Whether every thread of a process is stopped (`T` in proc(5)); a process that is gone stands still too.
fn stands_still(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which stands in brackets and may hold anything.
        stat.rsplit_once(')')
            .is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}
