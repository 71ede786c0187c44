//! Asking: one request, one reply, one deadline (contract section 10).

use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tcs_wire::rpc::{self, RpcError};
use tcs_wire::{DecodeError, Message};
use thiserror::Error;

use crate::bus::Bus;
use crate::streams::chain;

/// Why a request has no answer.
#[derive(Debug, Error)]
pub enum RequestError {
    /// Nobody listens on the subject.
    #[error("nobody answers on `{0}`")]
    NoResponders(String),
    /// Somebody may listen, but did not answer in time.
    #[error("no answer on `{subject}` within {} s", deadline.as_secs_f64())]
    Timeout {
        /// The subject.
        subject: String,
        /// The time that was given.
        deadline: Duration,
    },
    /// The server is away.
    #[error("NATS is away")]
    NotConnected,
    /// The answer is: no.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The answer cannot be read.
    #[error("the answer on `{subject}` cannot be read")]
    Unreadable {
        /// The subject.
        subject: String,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The client failed.
    #[error("the request on `{subject}` failed: {text}")]
    Failed {
        /// The subject.
        subject: String,
        /// In the client's words.
        text: String,
    },
}

impl Bus {
    /// Sends `arguments` to `subject` and reads the reply.
    ///
    /// # Errors
    /// When there is no answer by the deadline, or the answer is a refusal.
    pub async fn request<A: Serialize, R: DeserializeOwned>(
        &self,
        subject: &str,
        arguments: &A,
        deadline: Duration,
    ) -> Result<R, RequestError> {
        let message = self
            .request_message(subject, &self.message(arguments), deadline)
            .await?;
        let unreadable = |source| RequestError::Unreadable {
            subject: subject.to_owned(),
            source,
        };
        rpc::read_reply(&message)
            .map_err(unreadable)?
            .map_err(RequestError::Refused)
    }

    /// Sends a message to `subject` and returns the reply as it came.
    ///
    /// # Errors
    /// When there is no answer by the deadline.
    pub async fn request_message(
        &self,
        subject: &str,
        message: &Message,
        deadline: Duration,
    ) -> Result<Message, RequestError> {
        if !self.is_connected() {
            return Err(RequestError::NotConnected);
        }
        let request = Request::new()
            .payload(message.encode().into())
            .timeout(Some(deadline));
        let timeout = || RequestError::Timeout {
            subject: subject.to_owned(),
            deadline,
        };
        let asked = tokio::time::timeout(
            deadline,
            self.inner.client.send_request(subject.to_owned(), request),
        )
        .await;
        let reply = asked
            .map_err(|_| timeout())?
            .map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => RequestError::NoResponders(subject.to_owned()),
                RequestErrorKind::TimedOut => timeout(),
                _ => RequestError::Failed {
                    subject: subject.to_owned(),
                    text: chain(&error),
                },
            })?;
        Message::decode(&reply.payload).map_err(|source| RequestError::Unreadable {
            subject: subject.to_owned(),
            source,
        })
    }
}
