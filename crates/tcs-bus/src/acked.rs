//! Publishing with the acknowledgement in hand: for those whose next step depends on it.

use std::time::Duration;

use async_nats::jetstream::{context::PublishErrorKind, message::PublishMessage};
use tcs_wire::{Message, MessageId};
use thiserror::Error;

use crate::bus::Bus;

/// A message that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// The stream that took it.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Whether the server knew the message id and dropped it.
    pub duplicate: bool,
}

/// Why the server does not have a message.
#[derive(Debug, Error)]
pub enum PublishError {
    /// Nobody takes the subject.
    #[error("no stream takes `{0}`")]
    NoStream(String),
    /// No answer in time; the message may be there all the same.
    #[error("`{subject}` was not acknowledged within {} s", deadline.as_secs_f64())]
    Timeout {
        /// The subject.
        subject: String,
        /// The time that was given.
        deadline: Duration,
    },
    /// The server is away.
    #[error("NATS is away")]
    NotConnected,
    /// The server refused it.
    #[error("the server refused a message on `{subject}`")]
    Refused {
        /// The subject.
        subject: String,
        /// Why.
        #[source]
        source: async_nats::jetstream::context::PublishError,
    },
}

impl Bus {
    /// Publishes to a stream and waits for the acknowledgement.
    ///
    /// A repeat with the same id within the stream's duplicate window is dropped by the server.
    ///
    /// # Errors
    /// When the server does not have the message, or did not say so in time.
    pub async fn publish_acked(
        &self,
        subject: &str,
        message: &Message,
        message_id: &MessageId,
        deadline: Duration,
    ) -> Result<Acked, PublishError> {
        if !self.is_connected() {
            return Err(PublishError::NotConnected);
        }
        let publish = PublishMessage::build()
            .message_id(message_id.as_str())
            .payload(message.encode().into());
        let refused = |source: async_nats::jetstream::context::PublishError| match source.kind() {
            PublishErrorKind::StreamNotFound => PublishError::NoStream(subject.to_owned()),
            PublishErrorKind::TimedOut => PublishError::Timeout {
                subject: subject.to_owned(),
                deadline,
            },
            _ => PublishError::Refused {
                subject: subject.to_owned(),
                source,
            },
        };
        let publishing = async {
            self.inner
                .context
                .send_publish(subject.to_owned(), publish)
                .await
                .map_err(refused)?
                .await
                .map_err(refused)
        };
        let ack = tokio::time::timeout(deadline, publishing)
            .await
            .map_err(|_| PublishError::Timeout {
                subject: subject.to_owned(),
                deadline,
            })??;
        Ok(Acked {
            stream: ack.stream,
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        })
    }
}
