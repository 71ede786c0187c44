//! What systemd and the tools on the host are told: sd_notify, and a file that says since when NATS is away.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use sd_notify::NotifyState;
use serde::Serialize;
use tcs_bus::Connection;

/// Where `tcsctl` looks when it gets no answer over NATS.
const NATS_FILE: &str = "nats.json";

#[derive(Serialize)]
struct NatsState {
    connected: bool,
    since: Timestamp,
}

/// Speaks to systemd; without one it says nothing.
pub(super) struct Notifier {
    last: RefCell<String>,
    runtime_directory: Option<PathBuf>,
}

impl Notifier {
    pub(super) fn new() -> Self {
        let runtime_directory = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
        Self {
            last: RefCell::default(),
            runtime_directory,
        }
    }

    /// Tells the one line of `systemctl status`.
    pub(super) fn status(&self, text: &str) {
        if *self.last.borrow() != text {
            text.clone_into(&mut self.last.borrow_mut());
            send(&[NotifyState::Status(text)]);
        }
    }

    pub(super) fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    pub(super) fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    pub(super) fn alive(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// Returns how often to say that it is alive: half of what systemd waits for.
    pub(super) fn watchdog_period(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    /// Writes whether NATS is there, for those who cannot ask over NATS.
    pub(super) async fn nats(&self, connection: &Connection) {
        let Some(directory) = &self.runtime_directory else {
            return;
        };
        let state = match connection {
            Connection::Connected => NatsState {
                connected: true,
                since: Timestamp::now(),
            },
            Connection::Away { since, .. } => NatsState {
                connected: false,
                since: since.timestamp(),
            },
        };
        let body = serde_json::to_vec(&state).unwrap_or_default();
        let (path, part) = (directory.join(NATS_FILE), directory.join(".nats.json.part"));
        let written = async {
            tokio::fs::write(&part, body).await?;
            tokio::fs::rename(&part, &path).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, path = %path.display(), "cannot write the state of NATS");
        }
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
