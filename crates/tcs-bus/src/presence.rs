//! The presence of one id on the bus: its status on every change, its heartbeat every ten seconds.

use std::time::Duration;

use tcs_wire::{Heartbeat, ServiceId, Status, StatusDetails, StatusReport, WireTime};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::bus::{Bus, Connection};
use crate::entry::{Keep, Outgoing};

/// Seconds between heartbeats (contract section 7).
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How soon the next one follows on one that the server did not take, for example before the stream was made.
const RETRY: Duration = Duration::from_secs(1);

/// Who is present.
#[derive(Debug, Clone)]
pub struct PresenceOptions {
    /// The id.
    pub id: ServiceId,
    /// Who runs it.
    pub parent: Option<ServiceId>,
    /// The host, as it calls itself.
    pub hostname: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Own {
    status: Status,
    message: Option<String>,
    details: Option<StatusDetails>,
}

/// Publishes for one id until it is dropped or ended.
pub struct Presence {
    bus: Bus,
    options: PresenceOptions,
    own: watch::Sender<Option<Own>>,
}

impl Presence {
    /// Starts the heartbeat; the first one goes out as soon as a status is set and the server is there.
    pub fn new(bus: &Bus, options: PresenceOptions) -> Self {
        let (own, watched) = watch::channel::<Option<Own>>(None);
        bus.inner
            .tracker
            .spawn(keep_alive(bus.clone(), options.clone(), watched));
        Self {
            bus: bus.clone(),
            options,
            own,
        }
    }

    /// Returns the present status.
    pub fn status(&self) -> Status {
        self.own
            .borrow()
            .as_ref()
            .map_or(Status::Unknown, |own| own.status)
    }

    /// Returns the present message.
    pub fn message(&self) -> Option<String> {
        self.own.borrow().as_ref().and_then(|own| own.message.clone())
    }

    /// Sets status and message and publishes them if they differ from the last.
    pub fn set(&self, status: Status, message: impl Into<String>) {
        self.set_with(status, message, None);
    }

    /// Sets status, message and details and publishes them if they differ from the last.
    pub fn set_with(&self, status: Status, message: impl Into<String>, details: Option<StatusDetails>) {
        let message = Some(message.into()).filter(|message: &String| !message.is_empty());
        let own = Own {
            status,
            message,
            details,
        };
        let changed = self.own.send_if_modified(|last| {
            let differs = last.as_ref() != Some(&own);
            if differs {
                *last = Some(own.clone());
            }
            differs
        });
        if changed {
            publish(&self.bus, &self.options, own);
        }
    }
}

/// Beats at the first status, at every return of the server, and every ten seconds.
async fn keep_alive(bus: Bus, options: PresenceOptions, mut watched: watch::Receiver<Option<Own>>) {
    let mut connection = bus.connection();
    let mut tick = tokio::time::interval(HEARTBEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beaten = false;
    loop {
        let returned = tokio::select! {
            () = bus.inner.stop.cancelled() => return,
            _ = tick.tick() => false,
            changed = connection.changed() => match changed {
                Ok(()) => beaten,
                Err(_) => return,
            },
            changed = watched.changed() => match changed {
                Ok(()) if beaten => continue,
                Ok(()) => false,
                Err(_) => return,
            },
        };
        let own = watched.borrow_and_update().clone();
        let Some(own) = own.filter(|_| *connection.borrow_and_update() == Connection::Connected) else {
            continue;
        };
        beaten = true;
        let status = own.status;
        if returned {
            // The server may have come back without its store.
            publish(&bus, &options, own);
        }
        match beat(&bus, &options.id, status).await {
            true => tick.reset(),
            false => tick.reset_after(RETRY),
        }
    }
}

fn publish(bus: &Bus, options: &PresenceOptions, own: Own) {
    let now = WireTime::now();
    let report = StatusReport {
        name: options.id.to_string(),
        status: own.status,
        timestamp: now,
        message: own.message,
        details: own.details,
        parent: options.parent.as_ref().map(ToString::to_string),
        pid: Some(std::process::id()),
        hostname: Some(options.hostname.clone()),
    };
    let mut message = bus.message(&report);
    // The peers' tcsctl shows "Last Status" from this key only (contract section 9.3).
    message.meta.timestamp = Some(now);
    bus.publish(Outgoing {
        subject: bus.prefix().status(options.id.as_str()),
        message,
        message_id: bus.message_id(),
        keep: if own.status.is_final() {
            Keep::Event
        } else {
            Keep::Latest
        },
    });
}

/// Sends one heartbeat and tells whether the server has it. It is never sent again: the next one is another.
async fn beat(bus: &Bus, id: &ServiceId, status: Status) -> bool {
    let heartbeat = Heartbeat {
        service_id: id.to_string(),
        timestamp: WireTime::now(),
        status,
    };
    let (subject, message) = (bus.prefix().heartbeat(id.as_str()), bus.message(&heartbeat));
    let sent = bus
        .publish_acked(&subject, &message, &bus.message_id(), Duration::from_secs(5))
        .await;
    if let Err(error) = &sent {
        tracing::debug!(%error, "heartbeat not sent");
    }
    sent.is_ok()
}
