//! The layer with this checkout's binaries, as an installed host has them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, XattrFlags, flock, setxattr};
use rustix::io::Errno;
use serde::Deserialize;

use crate::command::{run, shown};
use crate::error::{Result, TestkitError};
use crate::host::find_program;
use crate::paths::{cargo, target_dir};
use crate::seed::create_directory;

/// Where a binary goes.
#[derive(Clone, Copy)]
enum Place {
    Bin,
    Lib,
    /// A service: its manifest `TYPE.json` goes beside it.
    Service,
}

const SUITE: [(&str, Place); 5] = [
    ("tcsctl", Place::Bin),
    ("tcs-systemd-gen", Place::Bin),
    ("tcs-manager", Place::Lib),
    ("hello_world", Place::Service),
    ("weather_importer", Place::Service),
];

const FIXTURES: [(&str, Place); 2] = [("misfit", Place::Service), ("misfit_job", Place::Service)];

/// What a stage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// What a user installs.
    Suite,
    /// That, and the services that misbehave for the tests.
    SuiteAndFixtures,
}

/// How the binaries are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Cargo's `dev`.
    Dev,
    /// Cargo's `release`.
    Release,
}

/// A directory laid out as `/`, lowest of the layers above the host's root:
/// `usr/bin/tcsctl`, `usr/lib/tcs/tcs-manager`, `usr/lib/tcs/services/TYPE` and `TYPE.json`.
#[derive(Clone, Debug)]
pub struct Stage {
    directory: PathBuf,
}

/// The lines of cargo's output that say where an executable is.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    target: Option<CargoTarget>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
}

impl Stage {
    /// Builds the binaries and puts them into `target/stage/`, replacing what was there at once.
    ///
    /// Debug information is left out where `strip` is at hand: each machine holds a copy in memory.
    ///
    /// # Errors
    /// When the build fails, or a service does not describe itself with `BINARY describe`.
    pub fn build(profile: Profile, contents: Contents) -> Result<Self> {
        let mut binaries = SUITE.to_vec();
        if contents == Contents::SuiteAndFixtures {
            binaries.extend(FIXTURES);
        }
        let built = cargo_build(profile, &binaries)?;

        let name = match (profile, contents) {
            (Profile::Dev, Contents::Suite) => "dev",
            (Profile::Dev, Contents::SuiteAndFixtures) => "dev-tests",
            (Profile::Release, Contents::Suite) => "release",
            (Profile::Release, Contents::SuiteAndFixtures) => "release-tests",
        };
        let directory = target_dir().join("stage").join(name);
        let lock = lock(&directory)?;
        let fresh = directory.with_extension("new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)
                .map_err(TestkitError::io(format!("cannot remove {}", fresh.display())))?;
        }
        for (binary, place) in binaries {
            let source = built
                .iter()
                .find(|path| path.file_name() == Some(OsStr::new(binary)))
                .ok_or_else(|| TestkitError::Stage {
                    binary: binary.into(),
                    reason: "cargo built no such binary".into(),
                })?;
            stage_binary(source, &directory, &fresh, place)?;
        }
        hide_the_hosts(&fresh)?;
        replace(&directory, &fresh)?;
        drop(lock);
        Ok(Self { directory })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// One of its binaries, to run on the host itself: `tcsctl`, `hello_world`.
    #[must_use]
    pub fn binary(&self, name: &str) -> Option<PathBuf> {
        ["usr/bin", "usr/lib/tcs", "usr/lib/tcs/services"]
            .iter()
            .map(|place| self.directory.join(place).join(name))
            .find(|path| path.is_file())
    }
}

fn cargo_build(profile: Profile, binaries: &[(&str, Place)]) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    // With all of the workspace's features, as the tests are built: else dependencies are compiled twice.
    command.args([
        "build",
        "--locked",
        "--workspace",
        "--message-format=json-render-diagnostics",
    ]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    for (binary, _) in binaries {
        command.args(["--bin", binary]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = run(&mut command)?;
    if !output.status.success() {
        let words = "its messages are above".to_owned();
        return Err(TestkitError::Command {
            command: shown(&command),
            status: output.status,
            output: words,
        });
    }
    let messages = output
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok());
    Ok(messages
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| {
            message
                .target
                .as_ref()
                .is_some_and(|target| binaries.iter().any(|(name, _)| *name == target.name))
        })
        .filter_map(|message| message.executable)
        .collect())
}

fn stage_binary(source: &Path, old: &Path, fresh: &Path, place: Place) -> Result<()> {
    let refused = |reason: String| TestkitError::Stage {
        binary: source.to_path_buf(),
        reason,
    };
    let name = source.file_name().unwrap_or_default();
    let folder = match place {
        Place::Bin => "usr/bin",
        Place::Lib => "usr/lib/tcs",
        Place::Service => "usr/lib/tcs/services",
    };
    create_directory(&fresh.join(folder))?;
    let target = fresh.join(folder).join(name);
    copy_stripped(source, &old.join(folder).join(name), &target)?;
    if let Place::Service = place {
        let mut describe = Command::new(&target);
        describe
            .arg("describe")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null());
        let output = run(&mut describe)?;
        if !output.status.success() {
            return Err(refused(format!(
                "`describe` ended with {}: {}",
                output.status,
                output.stderr.trim()
            )));
        }
        let manifest: serde_json::Value = serde_json::from_str(&output.stdout).map_err(|error| {
            refused(format!(
                "`describe` printed no JSON ({error}): {:?}",
                output.stdout.trim()
            ))
        })?;
        if manifest["type"].as_str() != name.to_str() {
            return Err(refused(format!(
                "`describe` names the type {}, not its file name",
                manifest["type"]
            )));
        }
        let path = target.with_extension("json");
        write(&path, output.stdout.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Copies a binary without its debug information; takes the staged one again when the built one is the same.
fn copy_stripped(source: &Path, staged: &Path, target: &Path) -> Result<()> {
    let what = || format!("cannot stage {} as {}", source.display(), target.display());
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let built = modified(source).map_err(TestkitError::io(what()))?;
    if modified(staged).is_ok_and(|time| time == built) && fs::hard_link(staged, target).is_ok() {
        return Ok(());
    }
    let stripped = find_program("strip").is_some_and(|strip| {
        let mut command = Command::new(strip);
        command.arg("-o").arg(target).arg(source);
        run(&mut command).is_ok_and(|output| output.status.success())
    });
    if !stripped {
        fs::copy(source, target).map_err(TestkitError::io(what()))?;
    }
    fs::set_permissions(target, fs::Permissions::from_mode(0o755)).map_err(TestkitError::io(what()))?;
    File::open(target)
        .and_then(|file| file.set_modified(built))
        .map_err(TestkitError::io(what()))
}

/// A suite that is installed on the host must not show through.
fn hide_the_hosts(stage: &Path) -> Result<()> {
    let directory = stage.join("usr/lib/tcs");
    match setxattr(&directory, "trusted.overlay.opaque", b"y", XattrFlags::empty()) {
        // Who may not do this can boot no machine either; the binaries are of use all the same.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(TestkitError::io_from(
            format!("cannot mark {} as opaque", directory.display()),
            error,
        )),
    }
}

fn replace(directory: &Path, fresh: &Path) -> Result<()> {
    let old = directory.with_extension("old");
    let what = || format!("cannot replace {}", directory.display());
    if old.exists() {
        fs::remove_dir_all(&old).map_err(TestkitError::io(what()))?;
    }
    if directory.exists() {
        fs::rename(directory, &old).map_err(TestkitError::io(what()))?;
    }
    fs::rename(fresh, directory).map_err(TestkitError::io(what()))?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(TestkitError::io(what()))?;
    }
    Ok(())
}

/// Holds `LAYER.lock` for ourselves; machines hold it shared while they copy the layer.
pub(crate) fn lock(layer: &Path) -> Result<File> {
    let mut path = layer.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let what = format!("cannot lock {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(TestkitError::io(&what))?;
    }
    let file = File::create(&path).map_err(TestkitError::io(&what))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| TestkitError::io_from(what, error))?;
    Ok(file)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(TestkitError::io(format!("cannot write {}", path.display())))
}
