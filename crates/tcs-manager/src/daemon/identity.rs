//! Who this manager is: its names, its boot, its run.

use std::fs;

use jiff::Timestamp;
use tcs_config::Site;

use crate::mirror::Identity;

/// Collects the names of this manager.
pub(super) fn identity(site: &Site) -> Identity {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let run_id = std::env::var("INVOCATION_ID").ok().filter(|id| !id.is_empty());
    Identity {
        manager: site.manager_id(),
        host: site.host.clone(),
        hostname,
        boot_id: boot_id(),
        run_id: run_id.unwrap_or_else(|| kernel_id("uuid")),
    }
}

/// Returns the id of this boot, 32 hexadecimal digits.
pub(super) fn boot_id() -> String {
    kernel_id("boot_id")
}

/// Returns when the machine was booted, to the second.
pub(super) fn boot_time() -> Option<Timestamp> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let seconds = text
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Timestamp::from_second(seconds).ok()
}

fn kernel_id(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/random/{name}")).unwrap_or_default();
    text.trim().replace('-', "")
}
