//! Whether a machine can be booted on this host, tried rather than guessed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run;
use crate::error::{Missing, TestkitError};

/// The apt package that brings systemd-nspawn.
pub(crate) const CONTAINER_PACKAGE: &str = "systemd-container";

/// The exact line that installs what machines need on the host.
#[must_use]
pub fn apt_line() -> String {
    format!("apt-get install --no-install-recommends {CONTAINER_PACKAGE}")
}

/// Mounts what a machine's root is mounted from, in a namespace of its own that ends with it.
const PROBE: &str = "
set -eu
mount -t tmpfs tcs-probe \"$1\"
mkdir \"$1/upper\" \"$1/work\" \"$1/root\"
mount -t overlay -o \"lowerdir=/,upperdir=$1/upper,workdir=$1/work\" overlay \"$1/root\"
test -d \"$1/root/usr\"
touch \"$1/root/etc/tcs-probe\"
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -e \"$hierarchy/cgroup.procs\" ]; then
        mkdir \"$hierarchy/tcs-probe-$$\"
        rmdir \"$hierarchy/tcs-probe-$$\"
    fi
done
";

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this host itself was started by systemd, and so is somebody's computer rather than a container.
#[must_use]
pub fn host_runs_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
        || fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
}

/// Checks that a throw-away machine can be booted here.
///
/// # Errors
/// Everything that is missing, each with what to do about it.
pub fn check_can_boot() -> Result<(), Vec<Missing>> {
    let mut missing = obstacles();
    if find_program("systemd-nspawn").is_none() {
        missing.push(Missing::new("no `systemd-nspawn`", apt_line()));
    }
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

/// What stands in the way that no package of ours would mend: nothing is installed on a host that has it.
pub(crate) fn obstacles() -> Vec<Missing> {
    let mut missing = Vec::new();
    for tool in ["unshare", "nsenter", "setpriv", "mount", "umount", "flock"] {
        if find_program(tool).is_none() {
            missing.push(Missing::new(
                format!("no `{tool}`"),
                "apt-get install util-linux mount",
            ));
        }
    }
    for directory in ["/usr", "/etc", "/var"] {
        if is_mount_point(directory) {
            let remedy =
                "a machine's root is an overlay over `/` alone: use a host where it is no mount of its own";
            missing.push(Missing::new(
                format!("{directory} is another mount than /"),
                remedy,
            ));
        }
    }
    if !is_root() {
        let uid = rustix::process::geteuid().as_raw();
        missing.push(Missing::new(
            format!("not root (uid {uid})"),
            "run the same command as root",
        ));
    } else if let Err(reason) = probe_mounts() {
        let remedy = "needs the right to mount, as in `docker run --privileged`";
        missing.push(Missing::new(
            format!("no overlay can be mounted: {reason}"),
            remedy,
        ));
    }
    missing
}

fn probe_mounts() -> Result<(), String> {
    let directory = tempfile::Builder::new()
        .prefix("tcs-probe-")
        .tempdir()
        .map_err(|error| format!("no temporary directory: {error}"))?;
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            PROBE,
            "probe",
        ])
        .arg(directory.path());
    let output = run(&mut command).map_err(|error| match error {
        TestkitError::Io { what, source } => format!("{what}: {source}"),
        other => other.to_string(),
    })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(output.stderr.trim().replace('\n', "; "))
    }
}

/// Where a program is on the PATH, or in the directories that only root has on it.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrative = ["/usr/sbin", "/sbin"].into_iter().map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrative)
        .map(|place| place.join(name))
        .find(|file| file.is_file())
}

fn is_mount_point(directory: &str) -> bool {
    // The fifth field of a line is the mount point, see proc_pid_mountinfo(5).
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| {
        mounts
            .lines()
            .any(|line| line.split(' ').nth(4).is_some_and(|point| point == directory))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_told_from_directories() {
        assert!(is_mount_point("/proc"));
        assert!(!is_mount_point("/proc/self"));
    }

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(find_program("sh").is_some_and(|path| path.is_file()));
        assert_eq!(find_program("no-such-program-of-tcs"), None);
    }
}
