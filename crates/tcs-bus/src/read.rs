//! Reading: what a stream holds last for each subject, and what comes by from now on.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use tcs_wire::{DecodeError, Message};

use crate::bus::{Bus, SERVER_DEADLINE};
use crate::streams::StreamsError;

/// How long a read waits for messages that the server said were there.
const BATCH_DEADLINE: Duration = Duration::from_millis(250);

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
            let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            // So many subjects, or messages, are there; what is replaced while it is read comes again, and later.
            let expected = count(consumer.cached_info().num_pending);
            let last_only = deliver_policy == DeliverPolicy::LastPerSubject;
            let mut received: Vec<Received> = Vec::with_capacity(expected.min(4096));
            let mut subjects = HashSet::new();
            let (mut pending, mut missing) = (expected, expected);
            while pending > 0 || missing > 0 {
                // Under replacement the server's own count may be wrong: it must not be waited for without an end.
                let batch = consumer
                    .batch()
                    .max_messages(pending.max(missing).min(2000))
                    .expires(BATCH_DEADLINE);
                let batch = batch.messages().await;
                let mut batch = batch.map_err(|error| StreamsError::Refused(error.to_string()))?;
                let before = received.len();
                while let Some(message) = batch.next().await {
                    let message = message.map_err(|error| StreamsError::Refused(error.to_string()))?;
                    let info = message.info().ok();
                    let sequence = info.as_ref().map_or(0, |info| info.stream_sequence);
                    pending = info.map_or(0, |info| count(info.pending));
                    if last_only {
                        subjects.insert(message.subject.to_string());
                    }
                    received.push(Received::new(message.message.clone(), sequence));
                }
                if received.len() == before {
                    break;
                }
                let seen = if last_only { subjects.len() } else { received.len() };
                missing = expected.saturating_sub(seen);
            }
            if last_only {
                keep_last(&mut received);
            }
            Ok(received)
        };
        tokio::time::timeout(2 * SERVER_DEADLINE, reading)
            .await
            .map_err(|_| StreamsError::Timeout)?
    }
}

/// Keeps the last message of each subject, in their order: what is replaced while the stream is read comes again, and the
/// server delivers a message of that moment twice.
fn keep_last(received: &mut Vec<Received>) {
    received.reverse();
    let mut seen = HashSet::new();
    received.retain(|message| seen.insert(message.subject.clone()));
    received.reverse();
}
