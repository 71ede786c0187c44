//! What machines and tests need besides this checkout, and how it is got without hurting the host.
//!
//! | what | how |
//! | --- | --- |
//! | systemd-nspawn | `apt-get install` on the host, the only thing that is; asked for first unless the host is a container |
//! | nats-server | `apt-get download` and `dpkg -x` into `target/tools`; needs no root and starts nothing |
//! | dbus, polkitd, `ip`, Python | when the host lacks them: installed into a layer that only machines see |
//! | serverish | `pip install` into a virtual environment in `target/tools` |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{run, run_ok};
use crate::error::{Result, TestkitError};
use crate::host::{CONTAINER_PACKAGE, apt_line, find_program, host_runs_systemd, is_root, obstacles};
use crate::machine::Machine;
use crate::paths::{package_layer_dir, tools_dir};
use crate::stage::lock;

const INSTALL_SCRIPT: &str = include_str!("install.sh");
const LAYER_SCRIPT: &str = include_str!("package_layer.sh");
const SERVERISH: &str = "serverish[messenger]==2.2.1";
const PYTHON_IN_LAYER: &str = "/opt/tcs-test/python/bin/python";

/// Whether something may be installed on a host that is somebody's computer.
#[derive(Clone, Copy, Debug)]
pub enum Consent {
    /// The user said `--yes`.
    Given,
    /// The user is asked; the question ends with the exact command.
    Ask(fn(&str) -> bool),
    /// Nobody is there to be asked.
    Absent,
}

/// Gets what is missing. Each step says in one line what it does, and nothing when there is nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Prerequisites {
    consent: Consent,
    tell: fn(&str),
}

/// A Python with the `serverish` package in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Python {
    /// A virtual environment on the host.
    Host(PathBuf),
    /// One that only machines have.
    Machine(&'static str),
}

impl Python {
    /// A command that runs this Python in the machine's network.
    #[must_use]
    pub fn command(&self, machine: &Machine) -> Command {
        match self {
            Self::Host(path) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net=/proc/{}/ns/net", machine.leader_pid()))
                    .arg("--")
                    .arg(path);
                command
            }
            Self::Machine(path) => machine.command(&[path]),
        }
    }
}

impl Prerequisites {
    /// With the user's consent, and where to say what is being done.
    #[must_use]
    pub fn new(consent: Consent, tell: fn(&str)) -> Self {
        Self { consent, tell }
    }

    /// Sees to systemd-nspawn on the host and to what machines need inside.
    ///
    /// # Errors
    /// When something is missing and may not be, or could not be, installed.
    pub fn for_machines(&self) -> Result<()> {
        self.systemd_nspawn()?;
        self.package_layer()
    }

    fn systemd_nspawn(&self) -> Result<()> {
        if find_program("systemd-nspawn").is_some() {
            return Ok(());
        }
        let obstacles = obstacles();
        if !obstacles.is_empty() {
            return Err(TestkitError::CannotBoot(obstacles));
        }
        let refused = || TestkitError::NotInstalled {
            package: CONTAINER_PACKAGE.into(),
            command: apt_line(),
        };
        if !is_root() {
            return Err(refused());
        }
        // A host without systemd as PID 1 is a container, made to be changed; any other is somebody's computer.
        let agreed = !host_runs_systemd()
            || match self.consent {
                Consent::Given => true,
                Consent::Ask(ask) => ask(&format!(
                    "{CONTAINER_PACKAGE} is needed on this host: {}",
                    apt_line()
                )),
                Consent::Absent => false,
            };
        if !agreed {
            return Err(refused());
        }
        (self.tell)(&format!("installing {CONTAINER_PACKAGE}: {}", apt_line()));
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            INSTALL_SCRIPT,
            "install.sh",
        ]);
        run_ok(command.arg(CONTAINER_PACKAGE)).map(drop)
    }

    fn package_layer(&self) -> Result<()> {
        let layer = package_layer_dir();
        let mut packages = Vec::new();
        if find_program("dbus-daemon").is_none() {
            packages.push("dbus");
        }
        if !Path::new("/usr/lib/polkit-1/polkitd").exists() {
            packages.push("polkitd");
        }
        if find_program("ip").is_none() {
            packages.push("iproute2");
        }
        let python = !host_python_has_venv();
        if python {
            packages.extend(["python3", "python3-venv"]);
        }
        let wanted = if python { SERVERISH } else { "" };
        let stamp = format!("{} {wanted} on {}\n", packages.join(" "), dpkg_state());
        let stamp_path = layer.with_extension("stamp");
        let known = || {
            let stamped = fs::read_to_string(&stamp_path).is_ok_and(|known| known == stamp);
            stamped && (packages.is_empty() || layer.is_dir())
        };
        if known() {
            return Ok(());
        }
        let _lock = lock(&layer)?;
        // Another process may have made it meanwhile.
        if known() {
            return Ok(());
        }
        let fresh = layer.with_extension("new");
        for stale in [&layer, &fresh] {
            if stale.exists() {
                fs::remove_dir_all(stale)
                    .map_err(TestkitError::io(format!("cannot remove {}", stale.display())))?;
            }
        }
        if !packages.is_empty() {
            (self.tell)(&format!(
                "installing into a layer for machines, not on this host: {}",
                packages.join(" ")
            ));
            let work = tempfile::tempdir().map_err(TestkitError::io("cannot make a temporary directory"))?;
            let mut command = Command::new("unshare");
            command.args([
                "--mount",
                "--propagation",
                "private",
                "--",
                "sh",
                "-c",
                LAYER_SCRIPT,
                "package_layer.sh",
            ]);
            command
                .args(&packages)
                .env("WORK", work.path())
                .env("OUT", &layer);
            command.env("SERVERISH", wanted);
            run_ok(&mut command)?;
            fs::rename(&fresh, &layer)
                .map_err(TestkitError::io(format!("cannot make {}", layer.display())))?;
        }
        if python && python_in_layer().is_err() {
            // Machines are of use without it, and what asks for it says what pip said; the next run tries again.
            return Ok(());
        }
        fs::write(&stamp_path, stamp)
            .map_err(TestkitError::io(format!("cannot write {}", stamp_path.display())))
    }

    /// The NATS server of the tests: the one in `target/tools`, fetched there when it is not.
    ///
    /// # Errors
    /// When apt knows no such package or cannot fetch it.
    pub fn nats_server(&self) -> Result<PathBuf> {
        let home = tools_dir().join("nats-server");
        let binary = home.join("usr/sbin/nats-server");
        if binary.is_file() {
            return Ok(binary);
        }
        let _lock = lock(&home)?;
        if binary.is_file() {
            return Ok(binary);
        }
        (self.tell)("fetching nats-server into target/tools: apt-get download nats-server, dpkg -x");
        let download = tools_dir().join("nats-server.new");
        if download.exists() {
            fs::remove_dir_all(&download)
                .map_err(TestkitError::io(format!("cannot remove {}", download.display())))?;
        }
        fs::create_dir_all(&download)
            .map_err(TestkitError::io(format!("cannot create {}", download.display())))?;
        self.apt_download("nats-server", &download)?;
        let packages = fs::read_dir(&download).map_err(TestkitError::io("cannot read the download"))?;
        let package = packages
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let package = package.ok_or_else(|| {
            TestkitError::io_from(
                "apt-get download nats-server wrote no package",
                std::io::ErrorKind::NotFound,
            )
        })?;
        run_ok(Command::new("dpkg").arg("-x").arg(&package).arg(&download))?;
        if home.exists() {
            fs::remove_dir_all(&home)
                .map_err(TestkitError::io(format!("cannot remove {}", home.display())))?;
        }
        fs::rename(&download, &home).map_err(TestkitError::io(format!("cannot make {}", home.display())))?;
        Ok(binary)
    }

    /// Downloads a package; with package lists of our own where the host has none, so that it works without root.
    fn apt_download(&self, package: &str, directory: &Path) -> Result<()> {
        let apt = |options: &[String]| {
            let mut command = Command::new("apt-get");
            command.arg("--quiet").args(options).current_dir(directory);
            command
        };
        if run(apt(&[]).args(["download", package]))?.status.success() {
            return Ok(());
        }
        (self.tell)("reading the package lists into target/tools/apt");
        let own = tools_dir().join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = own.join(part);
            fs::create_dir_all(&path)
                .map_err(TestkitError::io(format!("cannot create {}", path.display())))?;
        }
        let options = [
            format!("-oDir::State::lists={}", own.join("lists").display()),
            format!("-oDir::Cache={}", own.join("cache").display()),
            "-oAPT::Sandbox::User=root".to_owned(),
        ];
        run_ok(apt(&options).arg("update"))?;
        run_ok(apt(&options).args(["download", package])).map(drop)
    }

    /// A Python with serverish, the library of the Python services, for the test of compatibility.
    ///
    /// # Errors
    /// When there is no Python with `venv`, or pip cannot install the package.
    pub fn python(&self) -> Result<Python> {
        if !host_python_has_venv() {
            return python_in_layer();
        }
        let home = tools_dir().join("python");
        let _lock = lock(&home)?;
        let python = home.join("bin/python");
        let works = || {
            let mut command = Command::new(&python);
            command.args(["-c", "import serverish.messenger"]);
            python.exists() && run(&mut command).is_ok_and(|output| output.status.success())
        };
        if !works() {
            (self.tell)(&format!(
                "making a Python environment in target/tools/python: pip install {SERVERISH}"
            ));
            run_ok(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
            run_ok(Command::new(&python).args(["-m", "pip", "install", "--quiet", SERVERISH]))?;
        }
        Ok(Python::Host(python))
    }
}

/// The layer has one where the host has none: `for_machines` saw to it.
fn python_in_layer() -> Result<Python> {
    let home = package_layer_dir().join("opt/tcs-test");
    let library = home.join("python/lib");
    let installed = fs::read_dir(&library).is_ok_and(|versions| {
        versions
            .flatten()
            .any(|version| version.path().join("site-packages/serverish").is_dir())
    });
    if installed {
        return Ok(Python::Machine(PYTHON_IN_LAYER));
    }
    let said = fs::read_to_string(home.join("pip.log")).unwrap_or_default();
    let last = said.lines().last().unwrap_or("nothing").to_owned();
    Err(TestkitError::io_from(
        format!("pip install {SERVERISH} said: {last}"),
        std::io::ErrorKind::NotFound,
    ))
}

fn host_python_has_venv() -> bool {
    let mut command = Command::new("python3");
    command.args(["-c", "import venv, ensurepip"]);
    run(&mut command).is_ok_and(|output| output.status.success())
}

/// Changes when a package of the host does.
fn dpkg_state() -> String {
    fs::metadata("/var/lib/dpkg/status")
        .and_then(|metadata| Ok((metadata.len(), metadata.modified()?)))
        .map_or_else(
            |_| "no dpkg".into(),
            |(length, modified)| format!("{length} bytes, {modified:?}"),
        )
}
