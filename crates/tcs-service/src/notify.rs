//! What is said to the service manager over `NOTIFY_SOCKET` (`sd_notify(3)`).
//!
//! Without the socket nothing is sent. A lost datagram is no failure of the service, so errors are passed over.

use std::time::Duration;

use sd_notify::NotifyState;

/// Variables that belong to this process and must not reach its children.
pub(crate) const OWN_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Says that the service serves.
pub(crate) fn ready() {
    send(NotifyState::Ready);
}

/// Says that the service is about to end.
pub(crate) fn stopping() {
    send(NotifyState::Stopping);
}

/// Shows one line in `systemctl status`.
pub(crate) fn status(line: &str) {
    send(NotifyState::Status(&one_line(line)));
}

/// Shows that the service's work is alive.
pub(crate) fn watchdog() {
    send(NotifyState::Watchdog);
}

/// Returns the longest silence that systemd allows, when it watches this process.
pub(crate) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// A newline would end the assignment and begin another one.
fn one_line(line: &str) -> String {
    line.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" | ")
}

fn send(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stays_one_line() {
        assert_eq!(one_line("no stations\n  READY=1\r\n"), "no stations | READY=1");
    }
}
