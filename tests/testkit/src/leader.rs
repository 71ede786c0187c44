//! The first process of a machine: when it is ready, and which it is on the host's side.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::guarded::Guarded;

/// Waits for systemd-nspawn's `READY=1`, which it sends when the machine's own systemd has finished its start-up, and
/// gives the leader's process id (sd_notify(3); `--notify-ready=yes` in systemd-nspawn(1)).
pub(crate) fn wait_ready(
    notify: &UnixDatagram,
    nspawn: &Guarded,
    end: Instant,
) -> std::result::Result<u32, String> {
    let mut leader = None;
    let mut datagram = [0; 4096];
    loop {
        if let Some(status) = nspawn.status() {
            return Err(format!("systemd-nspawn ended with {status}"));
        }
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            return Err("it was not up within its deadline".into());
        };
        // Looks at least so often whether systemd-nspawn is still there; a message ends the wait at once.
        let patience = left.clamp(Duration::from_millis(1), Duration::from_millis(100));
        notify
            .set_read_timeout(Some(patience))
            .map_err(|error| error.to_string())?;
        let Ok(length) = notify.recv(&mut datagram) else {
            continue;
        };
        let message = String::from_utf8_lossy(&datagram[..length]);
        for line in message.lines() {
            if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                leader = pid.parse().ok();
            }
            if line == "READY=1" {
                return leader
                    .ok_or_else(|| "systemd-nspawn did not tell its leader's process id".to_owned());
            }
        }
    }
}

/// The host's number of the leader, of which systemd-nspawn tells the number in its own PID namespace: the process that
/// has these three numbers (proc_pid_status(5), `NSpid`) below our `unshare`.
pub(crate) fn host_pid(inner: u32, nspawn: &Guarded) -> Option<u32> {
    let field = |status: &str, name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(
            line.split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<u32>>(),
        )
    };
    let status = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let ours = u32::try_from(nspawn.pid().as_raw_nonzero().get()).ok()?;
    let processes = fs::read_dir("/proc").ok()?;
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|&pid| {
            let is_leader = || {
                let leader = status(pid)?;
                let numbers = field(&leader, "NSpid")?;
                let parent = status(*field(&leader, "PPid")?.first()?)?;
                let grandparent = *field(&parent, "PPid")?.first()?;
                Some(numbers.ends_with(&[inner, 1]) && grandparent == ours)
            };
            is_leader().unwrap_or(false)
        })
}
