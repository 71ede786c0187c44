//! What all services of one process share: one connection to NATS, and where the process runs.

use std::sync::Arc;
use std::time::Duration;

use tcs_bus::{Bus, BusOptions, ConnectError, Connection};
use tcs_config::NatsSettings;
use tcs_wire::ServiceId;
use tokio::time::timeout;
use tracing::{info, warn};

/// How long the first connection may take when there is nothing left to do but to say goodbye.
const FIRST_CONNECTION: Duration = Duration::from_secs(1);
/// How long the last messages may take; the outbox looks for a missing stream every 2 s.
const FAREWELL: Duration = Duration::from_millis(2500);
/// Who manages the unit; set by it.
pub(crate) const MANAGER_VARIABLE: &str = "TCS_MANAGER";

/// The surroundings of every service in a process.
#[derive(Debug)]
pub struct ProcessContext {
    bus: Option<Bus>,
    hostname: String,
    manager: Option<ServiceId>,
    urls: Vec<String>,
}

impl ProcessContext {
    /// Sets the connection up, unless there is to be none; it does not wait for the server.
    pub(crate) async fn new(
        name: &ServiceId,
        nats: &NatsSettings,
        without_nats: bool,
        manager: Option<ServiceId>,
    ) -> Result<Arc<Self>, ConnectError> {
        let bus = if without_nats {
            None
        } else {
            let options = BusOptions {
                urls: nats.urls.clone(),
                prefix: nats.subject_prefix.clone(),
                ..BusOptions::new("", name.to_string())
            };
            Some(Bus::connect(options).await?)
        };
        Ok(Arc::new(Self {
            bus,
            hostname: hostname(),
            manager,
            urls: nats.urls.clone(),
        }))
    }

    /// Returns the connection to NATS; none where the process runs without.
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// Returns what the host calls itself.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Returns the manager that runs this process; none when it was started by hand.
    pub fn manager(&self) -> Option<&ServiceId> {
        self.manager.as_ref()
    }

    /// Returns the addresses of NATS, for messages.
    pub(crate) fn addresses(&self) -> String {
        self.urls.join(", ")
    }

    /// Tells of every change of the connection until it is closed.
    pub(crate) async fn follow_connection(&self, mut tell: impl FnMut(bool)) {
        let Some(bus) = &self.bus else { return };
        let mut connection = bus.connection();
        let mut was_connected = None;
        loop {
            let connected = *connection.borrow_and_update() == Connection::Connected;
            match (was_connected, connected) {
                (Some(true), false) => warn!("NATS is away: {}", self.addresses()),
                (None | Some(false), true) => info!("connected to NATS at {}", self.addresses()),
                _ => {}
            }
            if was_connected != Some(connected) {
                tell(connected);
                was_connected = Some(connected);
            }
            if connection.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes the streams where nobody else does: by hand there is no manager (design decision 24).
    pub(crate) async fn ensure_streams(&self) {
        let Some(bus) = &self.bus else { return };
        let mut connection = bus.connection();
        if connection
            .wait_for(|state| *state == Connection::Connected)
            .await
            .is_err()
        {
            return;
        }
        match bus.ensure_streams().await {
            Ok(faults) => faults
                .iter()
                .for_each(|fault| warn!("stream {}: {}", fault.stream, fault.text)),
            Err(error) => warn!("nothing is kept on NATS: {error}"),
        }
    }

    /// Sends what still waits.
    ///
    /// A job may be over before the first connection is made, so that is waited for, but not for a server that has
    /// already shown to be away.
    pub(crate) async fn flush(&self) {
        let Some(bus) = &self.bus else { return };
        let mut connection = bus.connection();
        let attempted = connection.wait_for(|state| !matches!(state, Connection::Away { reason: None, .. }));
        let _ = timeout(FIRST_CONNECTION, attempted).await;
        if bus.is_connected() {
            bus.flush(FAREWELL).await;
        }
        let (waiting, _) = bus.outbox_counts();
        if waiting > 0 {
            warn!("NATS does not take the last word, messages lost: {waiting}");
        }
    }

    /// Closes the connection.
    pub(crate) async fn close(&self) {
        if let Some(bus) = &self.bus {
            bus.close(Duration::from_millis(500)).await;
        }
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
