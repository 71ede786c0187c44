//! A throw-away computer with a real systemd.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::command::{self, Output, shown};
use crate::error::{Result, TestkitError};
use crate::eventually::eventually_blocking;
use crate::guarded::Guarded;
use crate::leader::{host_pid, wait_ready};
use crate::network::Network;
use crate::paths::package_layer_dir;
use crate::seed::{self, SeedFile};
use crate::stage::Stage;

const BOOT_SCRIPT: &str = include_str!("boot.sh");
const PATH_INSIDE: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const POWER_OFF_DEADLINE: Duration = Duration::from_secs(20);

static BOOTED: AtomicU32 = AtomicU32::new(0);

/// How many machines this process has booted so far.
#[must_use]
pub fn machines_booted() -> u32 {
    BOOTED.load(Ordering::Relaxed)
}

/// What a machine is to be like.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Its host name.
    pub hostname: String,
    /// The layer with the binaries of this checkout; `None` for a bare machine.
    pub stage: Option<Stage>,
    /// Files that are there before it boots.
    pub files: Vec<SeedFile>,
    /// How long the boot may take.
    pub boot_deadline: Duration,
}

impl Default for MachineConfig {
    /// A bare machine named `obs1`.
    fn default() -> Self {
        Self {
            hostname: "obs1".into(),
            stage: None,
            files: Vec::new(),
            boot_deadline: Duration::from_secs(30),
        }
    }
}

impl MachineConfig {
    /// A bare machine of that host name.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            ..Self::default()
        }
    }

    /// The same with the binaries of this checkout in it.
    #[must_use]
    pub fn with_stage(mut self, stage: &Stage) -> Self {
        self.stage = Some(stage.clone());
        self
    }

    /// The same with a file more.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push(SeedFile {
            path: path.into(),
            content: content.into(),
            mode,
        });
        self
    }
}

/// A booted machine: systemd as PID 1, D-Bus and the journal, with a network that holds nothing but its own loopback.
///
/// It lives on memory over the host's root and leaves nothing behind, however this process ends: its mounts are in a
/// private mount namespace, its processes in a PID namespace whose first process dies with us. Dropping it kills it.
#[derive(Debug)]
pub struct Machine {
    name: String,
    hostname: String,
    leader: u32,
    boot_time: Duration,
    network: Network,
    // Dropped in this order: the processes first, then their directory.
    nspawn: Guarded,
    _base: TempDir,
}

impl Machine {
    /// Boots a machine and waits until its start-up is complete.
    ///
    /// # Errors
    /// When the host refuses, or the machine is not up within its deadline; the error shows the end of its console.
    pub fn boot(config: &MachineConfig) -> Result<Self> {
        let begun = Instant::now();
        let number = BOOTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcs-{}-{number}", std::process::id());
        let base = tempfile::Builder::new()
            .prefix("tcs-machine-")
            .tempdir()
            .map_err(TestkitError::io("cannot make a temporary directory"))?;
        let subdirectory = |name: &str| {
            let path = base.path().join(name);
            fs::create_dir(&path).map_err(TestkitError::io(format!("cannot create {}", path.display())))?;
            Ok::<_, TestkitError>(path)
        };
        subdirectory("work")?;
        seed::write(
            &subdirectory("seed")?,
            &config.hostname,
            &new_machine_id()?,
            &config.files,
        )?;

        let socket = base.path().join("notify");
        let notify = UnixDatagram::bind(&socket)
            .map_err(TestkitError::io(format!("cannot listen on {}", socket.display())))?;

        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            BOOT_SCRIPT,
            "boot.sh",
        ]);
        command.args(layers(config));
        command
            .env("BASE", base.path())
            .env("NAME", &name)
            .env("HOSTNAME_INSIDE", &config.hostname);
        command.env("CGROUP", format!("tcs-machine-{}-{number}", std::process::id()));
        command
            .env("NOTIFY_SOCKET", &socket)
            .env("SYSTEMD_LOG_LEVEL", "info")
            .env("LC_ALL", "C.UTF-8");
        let nspawn = Guarded::spawn(&command)?;

        let leader = wait_ready(&notify, &nspawn, begun + config.boot_deadline)
            .and_then(|inner| {
                host_pid(inner, &nspawn).ok_or_else(|| "its first process is not to be found".to_owned())
            })
            .map_err(|reason| TestkitError::Boot {
                name: name.clone(),
                reason,
                console: nspawn.last_lines(),
            })?;
        let network = Network::of_process(leader)?;
        let boot_time = begun.elapsed();
        Ok(Self {
            name,
            hostname: config.hostname.clone(),
            leader,
            boot_time,
            network,
            nspawn,
            _base: base,
        })
    }

    /// Its unique name on this host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its host name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The host's process id of its PID 1.
    #[must_use]
    pub fn leader_pid(&self) -> u32 {
        self.leader
    }

    /// From the call of [`Machine::boot`] to the end of the start-up.
    #[must_use]
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// Its network namespace, for [`crate::inside`] and [`crate::NatsServer`].
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its system bus, for a D-Bus client on the host's side: `unix:path=/proc/…/root/run/dbus/system_bus_socket`.
    #[must_use]
    pub fn dbus_address(&self) -> String {
        format!("unix:path=/proc/{}/root/run/dbus/system_bus_socket", self.leader)
    }

    /// A command that will run inside as root, with a small environment of its own.
    #[must_use]
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader.to_string()]);
        command
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"])
            .args(argv);
        command.env_clear().stdin(Stdio::null());
        command
            .env("PATH", PATH_INSIDE)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("SYSTEMD_PAGER", "");
        command
    }

    /// Runs a command inside as root, to its end, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        command::run(&mut self.command(argv))
    }

    /// Runs a command inside as root and gives its standard output.
    ///
    /// # Errors
    /// When it ends with anything but 0; the error holds what it wrote.
    pub fn run_ok(&self, argv: &[&str]) -> Result<String> {
        let output = self.run(argv)?;
        succeeded(argv, output)
    }

    /// Runs a command inside as another user, with that user's groups.
    ///
    /// # Errors
    /// When there is no such user, or it cannot be started.
    pub fn run_as(&self, user: &str, argv: &[&str]) -> Result<Output> {
        let group = self.run_ok(&["id", "--group", user])?;
        let (uid, gid) = (format!("--reuid={user}"), format!("--regid={}", group.trim()));
        let mut all = vec!["setpriv", &uid, &gid, "--init-groups", "--"];
        all.extend(argv);
        self.run(&all)
    }

    /// Writes a file inside, with its parents; an existing one is replaced in place.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn write_file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1\"";
        let mut command = self.command(&["sh", "-c", script, "sh", path]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let what = format!("cannot write {path} in machine {}", self.name);
        let mut child = command.spawn().map_err(TestkitError::io(&what))?;
        let written = child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(content.as_ref()));
        let output = child.wait_with_output().map_err(TestkitError::io(&what))?;
        if !output.status.success() {
            return Err(TestkitError::Command {
                command: shown(&command),
                status: output.status,
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        written.map_err(TestkitError::io(what))
    }

    /// Reads a text file inside.
    ///
    /// # Errors
    /// When it is not there or is no text.
    pub fn read_file(&self, path: &str) -> Result<String> {
        self.run_ok(&["cat", "--", path])
    }

    /// The last lines of its journal, for a message about a failure.
    #[must_use]
    pub fn journal(&self, lines: u32) -> String {
        let lines = lines.to_string();
        let argv = [
            "journalctl",
            "--no-pager",
            "--output=short-precise",
            "--quiet",
            "--lines",
            &lines,
        ];
        self.run(&argv)
            .map_or_else(|error| error.to_string(), |output| output.both())
    }

    /// The last lines of its console.
    #[must_use]
    pub fn console(&self) -> String {
        self.nspawn.last_lines()
    }

    /// How the machine ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.nspawn.status()
    }

    /// Shuts it down in order, as `systemctl poweroff` does.
    ///
    /// # Errors
    /// When it is not off within 20 s; it is killed then.
    pub fn power_off(self) -> Result<()> {
        self.run(&["systemctl", "--no-block", "poweroff"])?;
        match self.nspawn.wait(POWER_OFF_DEADLINE) {
            Some(_) => Ok(()),
            None => Err(TestkitError::Boot {
                name: self.name.clone(),
                reason: format!("not powered off within {} s", POWER_OFF_DEADLINE.as_secs()),
                console: self.nspawn.last_lines(),
            }),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.nspawn.kill();
        // The kernel takes the machine's processes down after their `unshare`; the next step may count on their end.
        let proc = PathBuf::from(format!("/proc/{}", self.leader));
        let gone = || if proc.exists() { Err("still there") } else { Ok(()) };
        let _ = eventually_blocking("the machine is gone", Duration::from_secs(5), gone);
    }
}

fn succeeded(argv: &[&str], output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(TestkitError::Command {
        command: argv.join(" "),
        status: output.status,
        output: output.both(),
    })
}

/// The layers over the host's root, lowest first.
fn layers(config: &MachineConfig) -> Vec<PathBuf> {
    let packages = package_layer_dir();
    let packages = packages.is_dir().then_some(packages);
    packages
        .into_iter()
        .chain(config.stage.iter().map(|stage| stage.directory().to_path_buf()))
        .collect()
}

/// Without one of its own, two machines would write into one journal and think that they were one.
fn new_machine_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let uuid =
        fs::read_to_string(path).map_err(TestkitError::io(format!("cannot read {}", path.display())))?;
    Ok(uuid.trim().replace('-', "") + "\n")
}

/// The namespace file of a process, opened.
pub(crate) fn namespace(pid: u32, kind: &str) -> Result<File> {
    let path = format!("/proc/{pid}/ns/{kind}");
    File::open(&path).map_err(TestkitError::io(format!("cannot open {path}")))
}
