//! Why a site cannot be seen, or a command was not carried out.

use std::time::Duration;

use jiff::Timestamp;
use tcs_bus::{ConnectError, RequestError, StreamsError};
use tcs_wire::ServiceId;
use tcs_wire::rpc::RpcError;
use thiserror::Error;

use crate::view::Liveness;

/// An error of this crate, sorted by what the caller can do about it.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address or the login cannot be used.
    #[error(transparent)]
    Options(#[from] ConnectError),
    /// No server answers.
    #[error("no NATS server answers at {urls}")]
    NoNats {
        /// Where was asked, without passwords.
        urls: String,
        /// What the last attempt ended in, where that is known.
        reason: Option<String>,
    },
    /// The server is there, and does not let us in.
    #[error("the NATS server at {urls} refuses the login")]
    Login {
        /// The server.
        urls: String,
        /// Its words.
        reason: String,
    },
    /// The server was there and went away.
    #[error("the connection to NATS was lost")]
    Lost,
    /// The server runs without JetStream.
    #[error("the NATS server at {urls} runs without JetStream")]
    NoJetStream {
        /// The server.
        urls: String,
    },
    /// Neither a mirror nor any message of a service is there.
    #[error("no manager has reported to the NATS server at {urls}")]
    NoManager {
        /// The server.
        urls: String,
    },
    /// No host has such a service.
    #[error("no host has a service `{id}`")]
    NoSuchService {
        /// The service.
        id: ServiceId,
        /// Names that it was perhaps meant to be.
        similar: Vec<String>,
    },
    /// The service is on several hosts.
    #[error("`{id}` is on several hosts: {}", hosts.join(", "))]
    SeveralHosts {
        /// The service.
        id: ServiceId,
        /// Where it is.
        hosts: Vec<String>,
    },
    /// The service is not on the host that was named.
    #[error("host `{host}` has no service `{id}`")]
    NotOnHost {
        /// The service.
        id: ServiceId,
        /// The host that was named.
        host: String,
        /// Where it is.
        hosts: Vec<String>,
    },
    /// The service is there, but its manager does not answer.
    #[error("the manager of {host}, which has `{id}`, does not answer")]
    ManagerAway {
        /// The service.
        id: ServiceId,
        /// The host.
        host: String,
        /// What is known of the manager.
        liveness: Liveness,
    },
    /// The service runs, but no manager has it.
    #[error("`{id}` is run by no manager")]
    Unmanaged {
        /// The service.
        id: ServiceId,
        /// Who runs it; none for a run by hand.
        parent: Option<String>,
        /// Where.
        host: Option<String>,
        /// Its process.
        pid: Option<u32>,
        /// When it was last heard of.
        heard: Option<Timestamp>,
    },
    /// Somebody may listen, but did not answer in time.
    #[error("no answer about {what} within {} s", after.as_secs_f64())]
    NoAnswer {
        /// What was asked for.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is: no.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// Anything else, in the words of the bus.
    #[error("{0}")]
    Bus(String),
}

impl ClientError {
    pub(crate) fn of_stream(error: StreamsError, urls: &str) -> Self {
        match error {
            StreamsError::NotConnected => Self::Lost,
            StreamsError::NoJetStream => Self::NoJetStream {
                urls: urls.to_owned(),
            },
            StreamsError::Timeout => Self::Bus(format!("the NATS server at {urls} did not answer in time")),
            other => Self::Bus(other.to_string()),
        }
    }

    pub(crate) fn of_request(error: RequestError, what: &str) -> Self {
        match error {
            RequestError::NotConnected => Self::Lost,
            RequestError::Timeout { deadline, .. } => Self::NoAnswer {
                what: what.to_owned(),
                after: deadline,
            },
            RequestError::Refused(refusal) => Self::Refused(refusal),
            other => match std::error::Error::source(&other) {
                Some(source) => Self::Bus(format!("{other}: {source}")),
                None => Self::Bus(other.to_string()),
            },
        }
    }
}
