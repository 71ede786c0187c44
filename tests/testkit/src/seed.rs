//! The files that make the host's root into a throw-away machine: put into the upper directory before it is mounted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};

use crate::error::{Result, TestkitError};

/// A file to be there before the machine boots.
#[derive(Clone, Debug)]
pub struct SeedFile {
    /// Absolute path inside the machine.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permission bits, e.g. `0o644`.
    pub mode: u32,
}

/// Directories of the host that a machine starts without: what is enabled or kept there is none of its business.
const EMPTIED: [&str; 7] = [
    "etc/systemd/system",
    "etc/systemd/user",
    "etc/tcs",
    "var/lib/systemd/timers",
    "var/lib/tcs",
    "var/lib/tcs-manager",
    "var/log/journal",
];

/// Units that would set the clock (it is the host's), ask at a console, or work at times of their own choosing.
const MASKED: [&str; 16] = [
    "systemd-timesyncd.service",
    "systemd-firstboot.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "console-getty.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "apt-daily.service",
    "apt-daily-upgrade.service",
    "man-db.timer",
    "fstrim.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "dpkg-db-backup.timer",
    "systemd-tmpfiles-clean.timer",
];

/// Generators that read the host's disks and old start scripts.
const MASKED_GENERATORS: [&str; 6] = [
    "systemd-sysv-generator",
    "systemd-fstab-generator",
    "systemd-gpt-auto-generator",
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "postgresql-generator",
];

const TARGET: &str = "[Unit]
Description=Throw-away machine of the tcs tests
Requires=basic.target dbus.service
After=basic.target dbus.service
AllowIsolate=yes
";

/// The journal outlives the machine's own restarts and drops nothing.
const JOURNAL: &str = "[Journal]
Storage=persistent
RateLimitIntervalSec=0
";

/// Quick when a machine is powered off, whatever hangs.
const MANAGER: &str = "[Manager]
DefaultTimeoutStopSec=10s
";

/// Writes the machine's own files and the caller's into `seed`.
pub(crate) fn write(seed: &Path, hostname: &str, machine_id: &str, files: &[SeedFile]) -> Result<()> {
    for directory in EMPTIED {
        let directory = seed.join(directory);
        create_directory(&directory)?;
        setxattr(&directory, "trusted.overlay.opaque", b"y", XattrFlags::empty()).map_err(|error| {
            TestkitError::io_from(format!("cannot mark {} as opaque", directory.display()), error)
        })?;
    }
    for unit in MASKED {
        mask(&seed.join("etc/systemd/system").join(unit))?;
    }
    for generator in MASKED_GENERATORS {
        mask(&seed.join("etc/systemd/system-generators").join(generator))?;
    }
    let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost\n");
    let own = [
        ("/etc/systemd/system/tcs-test.target", TARGET),
        ("/etc/systemd/journald.conf.d/tcs-test.conf", JOURNAL),
        ("/etc/systemd/system.conf.d/tcs-test.conf", MANAGER),
        ("/etc/machine-id", machine_id),
        ("/etc/hostname", hostname),
        ("/etc/hosts", &hosts),
        ("/etc/fstab", ""),
        ("/etc/crypttab", ""),
    ];
    for (path, content) in own {
        write_file(seed, Path::new(path), content.as_bytes(), 0o644)?;
    }
    for file in files {
        write_file(seed, &file.path, &file.content, file.mode)?;
    }
    Ok(())
}

fn write_file(seed: &Path, path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let path = seed.join(path.strip_prefix("/").unwrap_or(path));
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    fs::write(&path, content).map_err(TestkitError::io(format!("cannot write {}", path.display())))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(TestkitError::io(format!(
        "cannot set the mode of {}",
        path.display()
    )))
}

/// Creates a directory and its parents, each readable by everybody whatever our umask is.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)
            .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o755)))
            .map_err(TestkitError::io(format!("cannot create {}", directory.display())))?;
    }
    Ok(())
}

fn mask(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    symlink("/dev/null", path).map_err(TestkitError::io(format!("cannot mask {}", path.display())))
}
