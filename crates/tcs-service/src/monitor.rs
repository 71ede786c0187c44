//! How the service is: one place that systemd, NATS and the health request read the same words from.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tcs_bus::Presence;
use tcs_wire::{Status, StatusDetails};

use crate::notify;

#[derive(Debug, Default)]
struct Own {
    status: Status,
    message: String,
    /// What the health check complains of.
    complaint: Option<String>,
    nats_away: bool,
    ended: bool,
}

impl Own {
    fn shown(&self) -> (Status, String) {
        match &self.complaint {
            None => (self.status, self.message.clone()),
            Some(complaint) => (
                Status::aggregate([self.status, Status::Error]),
                format!("health check: {complaint}"),
            ),
        }
    }
}

/// The status of one service, published on every change.
#[derive(Default)]
pub(crate) struct Monitor {
    own: Mutex<Own>,
    presence: OnceLock<Presence>,
}

impl Monitor {
    /// Publishes to NATS too, from the next change on.
    pub(crate) fn attach(&self, presence: Presence) {
        let _ = self.presence.set(presence);
    }

    /// Returns what is shown at present.
    pub(crate) fn shown(&self) -> (Status, String) {
        self.own().shown()
    }

    pub(crate) fn set(&self, status: Status, message: impl Into<String>) {
        self.change(|own| {
            own.status = status;
            own.message = message.into();
        });
    }

    /// Sets the status unless the service itself has said something since it started.
    pub(crate) fn set_if_starting(&self, status: Status, message: &str) {
        self.change(|own| {
            if own.status == Status::Startup {
                own.status = status;
                message.clone_into(&mut own.message);
            }
        });
    }

    /// Notes what the health check complains of; none when it is content.
    pub(crate) fn set_complaint(&self, complaint: Option<String>) {
        self.change(|own| own.complaint = complaint);
    }

    pub(crate) fn set_nats_away(&self, away: bool) {
        self.change(|own| own.nats_away = away);
    }

    /// Says the last word: what comes after it is not published any more.
    pub(crate) fn end(&self, status: Status, message: &str, details: Option<StatusDetails>) {
        let mut own = self.own();
        *own = Own {
            status,
            message: message.to_owned(),
            ended: true,
            ..Own::default()
        };
        self.publish(&own, details);
    }

    fn change(&self, change: impl FnOnce(&mut Own)) {
        let mut own = self.own();
        if !own.ended {
            change(&mut own);
            self.publish(&own, None);
        }
    }

    /// Called with the lock held, so that no older word overtakes a newer one.
    fn publish(&self, own: &Own, details: Option<StatusDetails>) {
        let (status, message) = own.shown();
        let away = if own.nats_away { " (NATS away)" } else { "" };
        let colon = if message.is_empty() { "" } else { ": " };
        notify::status(&format!("{status}{colon}{message}{away}"));
        if let Some(presence) = self.presence.get() {
            presence.set_with(status, message, details);
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_covers_the_status_and_clears_again() {
        let monitor = Monitor::default();
        monitor.set(Status::Busy, "exposing");
        monitor.set_complaint(Some("the shutter is stuck".to_owned()));
        assert_eq!(
            monitor.shown(),
            (Status::Error, "health check: the shutter is stuck".to_owned())
        );
        monitor.set_complaint(None);
        assert_eq!(monitor.shown(), (Status::Busy, "exposing".to_owned()));
    }

    #[test]
    fn the_services_own_word_outlives_the_start() {
        let monitor = Monitor::default();
        monitor.set(Status::Startup, "starting");
        monitor.set(Status::Warning, "the dome is open");
        monitor.set_if_starting(Status::Ok, "running");
        assert_eq!(monitor.shown().0, Status::Warning);
    }

    #[test]
    fn nothing_follows_the_last_word() {
        let monitor = Monitor::default();
        monitor.end(Status::Shutdown, "stopped", None);
        monitor.set(Status::Ok, "still here");
        assert_eq!(monitor.shown(), (Status::Shutdown, "stopped".to_owned()));
    }
}
