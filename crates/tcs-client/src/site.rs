//! The connection to a site, and one look at it.

use std::time::Duration;

use jiff::Timestamp;
use tcs_bus::{Bus, BusOptions, Connection, Received, StreamsError};
use tcs_wire::{Bucket, Snapshot};

use crate::error::ClientError;
use crate::join::{Collector, decode_state};
use crate::view::SiteSnapshot;

/// How long to look for the reason when no server answers.
const PROBE_DEADLINE: Duration = Duration::from_millis(300);

/// A site: all hosts whose managers and services talk to one NATS server.
#[derive(Debug, Clone)]
pub struct Site {
    bus: Bus,
    urls: String,
}

impl Site {
    /// Connects, and gives up `within` that time or as soon as every address refused.
    ///
    /// # Errors
    /// [`ClientError::NoNats`] when nobody answers, [`ClientError::Login`] when the server does not let us in,
    /// [`ClientError::Options`] for an address that is none.
    pub async fn connect(options: BusOptions, within: Duration) -> Result<Self, ClientError> {
        let urls = without_passwords(&options.urls);
        let bus = Bus::connect(options).await?;
        let mut connection = bus.connection();
        let told = connection.wait_for(|state| !matches!(state, Connection::Away { reason: None, .. }));
        // The guard that comes back holds up whoever wants to tell the next state.
        drop(tokio::time::timeout(within, told).await);
        if bus.is_connected() {
            return Ok(Self { bus, urls });
        }
        let told = match &*bus.connection().borrow() {
            Connection::Away { reason, .. } => reason.clone(),
            Connection::Connected => None,
        };
        if let Some(reason) = told
            .as_ref()
            .filter(|reason| reason.to_lowercase().contains("auth"))
        {
            let reason = reason.trim_start_matches("nats: ").to_owned();
            return Err(ClientError::Login { urls, reason });
        }
        // For a network that fails the client has no more than "IO error" or "DNS error".
        let reason = match told.filter(|reason| !reason.contains("IO error") && !reason.contains("DNS error"))
        {
            Some(reason) => Some(reason),
            None => probe(&urls).await,
        };
        Err(ClientError::NoNats { urls, reason })
    }

    /// Returns the connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Returns the server's address as configured, without passwords.
    pub fn urls(&self) -> &str {
        &self.urls
    }

    /// Reads what the mirror, the status, the heartbeats and the registry hold, in four reads at once.
    ///
    /// # Errors
    /// [`ClientError::NoManager`] when there is nothing to be read at all; a part that is missing is left out.
    pub async fn collect(&self) -> Result<Collector, ClientError> {
        let prefix = self.bus.prefix();
        let [status, heartbeat, registry] =
            ["status", "heartbeat", "registry"].map(|category| format!("{prefix}.{category}.>"));
        let (state, status, heartbeat, registry) = tokio::join!(
            self.bus.kv_entries(Bucket::State),
            self.bus.last_per_subject(&status),
            self.bus.last_per_subject(&heartbeat),
            self.bus.last_per_subject(&registry),
        );
        let mut collector = Collector::default();
        let state = self.if_there(state)?;
        let mut missing = usize::from(state.is_none());
        for entry in state.unwrap_or_default() {
            collector.state(&entry.key, &entry.value);
        }
        type Take = fn(&mut Collector, &str, &[u8]);
        let parts: [(Result<Vec<Received>, StreamsError>, Take); 3] = [
            (status, Collector::status),
            (heartbeat, Collector::heartbeat),
            (registry, Collector::registry),
        ];
        for (received, take) in parts {
            match self.if_there(received)? {
                Some(messages) => messages
                    .iter()
                    .for_each(|message| take(&mut collector, &message.subject, &message.body)),
                None => missing += 1,
            }
        }
        if missing == 4 {
            return Err(ClientError::NoManager {
                urls: self.urls.clone(),
            });
        }
        Ok(collector)
    }

    /// Returns all services of all hosts as they are now.
    ///
    /// # Errors
    /// As [`Site::collect`].
    pub async fn snapshot(&self) -> Result<SiteSnapshot, ClientError> {
        Ok(self.collect().await?.view(Timestamp::now()))
    }

    /// Reads the mirror alone; entries that cannot be read are left out.
    ///
    /// # Errors
    /// When the server is away or has no JetStream; a missing mirror is an empty one.
    pub async fn mirror(&self) -> Result<Vec<Snapshot>, ClientError> {
        let entries = self
            .if_there(self.bus.kv_entries(Bucket::State).await)?
            .unwrap_or_default();
        Ok(entries
            .iter()
            .filter_map(|entry| decode_state(&entry.value).ok())
            .collect())
    }

    pub(crate) fn if_there<T>(&self, read: Result<T, StreamsError>) -> Result<Option<T>, ClientError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(StreamsError::NoStream(_)) => Ok(None),
            Err(error) => Err(ClientError::of_stream(error, &self.urls)),
        }
    }
}

/// Finds out in the system's words why a server cannot be reached.
async fn probe(urls: &str) -> Option<String> {
    let first = urls.split(", ").next().unwrap_or_default();
    let address = first
        .split_once("://")
        .map_or(first, |(_, address)| address)
        .trim_end_matches('/');
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port {
        address.to_owned()
    } else {
        format!("{address}:4222")
    };
    match tokio::time::timeout(PROBE_DEADLINE, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Some("something listens there, but it does not speak NATS".to_owned()),
        Ok(Err(error)) => {
            let text = error.to_string();
            Some(text.split(" (os error").next().unwrap_or(&text).to_lowercase())
        }
        Err(_) => Some("no answer in time".to_owned()),
    }
}

/// Returns addresses for people: what stands before an `@` may be a password.
pub fn without_passwords(urls: &[String]) -> String {
    let bare = |url: &String| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.clone(),
    };
    urls.iter().map(bare).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let urls = ["nats://user:p@ss@obs1:4222", "obs2:4222", "nats://token@obs3"].map(str::to_owned);
        assert_eq!(
            without_passwords(&urls),
            "nats://obs1:4222, obs2:4222, nats://obs3"
        );
    }
}
