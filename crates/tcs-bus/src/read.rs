//! Reading: what a stream holds last for each subject, and what comes by from now on.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use tcs_wire::{DecodeError, Message};

use crate::bus::{Bus, SERVER_DEADLINE};
use crate::streams::StreamsError;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its subject.
    pub subject: String,
    /// Its body.
    pub body: bytes::Bytes,
    /// The value of its `Nats-Msg-Id` header.
    pub message_id: Option<String>,
    /// Its sequence in the stream; 0 where it came from none.
    pub sequence: u64,
}

impl Received {
    /// Reads the envelope.
    ///
    /// # Errors
    /// For a body that is no message; the caller passes it over, and none may stop a reader.
    pub fn decode(&self) -> Result<Message, DecodeError> {
        Message::decode(&self.body)
    }

    fn new(message: async_nats::Message, sequence: u64) -> Self {
        let header = |headers: &async_nats::HeaderMap| headers.get("Nats-Msg-Id").map(ToString::to_string);
        Self {
            message_id: message.headers.as_ref().and_then(header),
            subject: message.subject.into_string(),
            body: message.payload,
            sequence,
        }
    }
}

/// Messages on a subject from now on; core NATS, so what is published while the server is away is not seen.
pub struct Subscription {
    subscriber: async_nats::Subscriber,
}

impl Subscription {
    /// Waits for the next message; none once the bus is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Received> {
        self.subscriber
            .next()
            .await
            .map(|message| Received::new(message, 0))
    }
}

impl Bus {
    /// Subscribes to `subject`, wildcards allowed; the server knows of it when this returns.
    ///
    /// # Errors
    /// When the server is away or does not answer in time.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, StreamsError> {
        if !self.is_connected() {
            return Err(StreamsError::NotConnected);
        }
        let subscribed = self.inner.client.subscribe(subject.to_owned()).await;
        let subscriber = subscribed.map_err(|error| StreamsError::Refused(error.to_string()))?;
        if self.settled().await {
            Ok(Subscription { subscriber })
        } else {
            Err(StreamsError::Timeout)
        }
    }

    /// Reads the last message of every subject that `filter` matches, in stream order.
    ///
    /// # Errors
    /// When the server is away, has no JetStream or does not answer, or no stream holds `filter`.
    pub async fn last_per_subject(&self, filter: &str) -> Result<Vec<Received>, StreamsError> {
        let stream = self.stream_of(filter).await?;
        self.read(&stream, filter, DeliverPolicy::LastPerSubject).await
    }

    /// Reads all that a stream holds on `filter`, in stream order.
    ///
    /// # Errors
    /// As [`Bus::last_per_subject`].
    pub async fn all(&self, filter: &str) -> Result<Vec<Received>, StreamsError> {
        let stream = self.stream_of(filter).await?;
        self.read(&stream, filter, DeliverPolicy::All).await
    }

    pub(crate) async fn read(
        &self,
        stream: &str,
        filter: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<Vec<Received>, StreamsError> {
        let config = pull::Config {
            deliver_policy,
            filter_subject: filter.to_owned(),
            ack_policy: AckPolicy::None,
            memory_storage: true,
            inactive_threshold: Duration::from_secs(5),
            ..pull::Config::default()
        };
        let reading = async {
            let consumer: async_nats::jetstream::consumer::PullConsumer = self
                .inner
                .context
                .create_consumer_on_stream(config, stream)
                .await
                .map_err(|error| StreamsError::of_consumer(stream, error))?;
            let mut pending = usize::try_from(consumer.cached_info().num_pending).unwrap_or(usize::MAX);
            let mut received = Vec::with_capacity(pending.min(4096));
            while pending > 0 {
                let batch = consumer.fetch().max_messages(pending.min(2000)).messages().await;
                let mut batch = batch.map_err(|error| StreamsError::Refused(error.to_string()))?;
                let before = received.len();
                while let Some(message) = batch.next().await {
                    let message = message.map_err(|error| StreamsError::Refused(error.to_string()))?;
                    let info = message.info().ok();
                    let sequence = info.as_ref().map_or(0, |info| info.stream_sequence);
                    // What is updated meanwhile comes later: the count at the beginning would end too early.
                    pending = info.map_or(0, |info| usize::try_from(info.pending).unwrap_or(usize::MAX));
                    received.push(Received::new(message.message.clone(), sequence));
                }
                if received.len() == before {
                    break;
                }
            }
            if deliver_policy == DeliverPolicy::LastPerSubject {
                keep_last(&mut received);
            }
            Ok(received)
        };
        tokio::time::timeout(2 * SERVER_DEADLINE, reading)
            .await
            .map_err(|_| StreamsError::Timeout)?
    }
}

/// Drops what a later message of the same subject replaced while the stream was read.
fn keep_last(received: &mut Vec<Received>) {
    let last: HashMap<String, u64> = received
        .iter()
        .map(|message| (message.subject.clone(), message.sequence))
        .collect();
    received.retain(|message| last.get(&message.subject) == Some(&message.sequence));
}
