//! Key-value buckets.

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::kv::{self, Operation};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use bytes::Bytes;
use futures_util::StreamExt;
use tcs_wire::Bucket;
use thiserror::Error;

use crate::bus::{Bus, SERVER_DEADLINE};
use crate::read::Received;
use crate::streams::{StreamsError, chain};

/// Why a bucket could not be read or written.
#[derive(Debug, Error)]
pub enum KvError {
    /// The bucket's stream.
    #[error(transparent)]
    Stream(#[from] StreamsError),
    /// Somebody else wrote the key first.
    #[error("`{0}` was changed by somebody else")]
    Conflict(String),
    /// No answer in time.
    #[error("the NATS server did not answer in time")]
    Timeout,
    /// Anything else, in the server's words.
    #[error("the NATS server refused: {0}")]
    Refused(String),
}

/// One key with its value.
#[derive(Debug, Clone)]
pub struct KvEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Grows with each change of the bucket.
    pub revision: u64,
}

/// A change in a bucket.
#[derive(Debug, Clone)]
pub enum KvChange {
    /// A key was written.
    Put(KvEntry),
    /// A key was deleted.
    Deleted(String),
}

/// An open bucket.
#[derive(Clone)]
pub struct Kv {
    bus: Bus,
    store: kv::Store,
    prefix: String,
}

impl Bus {
    /// Opens a bucket of the suite, and makes it first where it is missing.
    ///
    /// The bucket is made as a stream: the client's own call fails on nats-server 2.9 (design decision 23).
    ///
    /// # Errors
    /// When the server is away or has no JetStream.
    pub async fn kv(&self, bucket: Bucket) -> Result<Kv, KvError> {
        match self.kv_existing(bucket).await {
            Err(KvError::Stream(StreamsError::NoStream(_))) => {}
            other => return other,
        }
        let name = self.prefix().bucket(bucket);
        let config = Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("$KV.{name}.>")],
            max_messages_per_subject: if bucket == Bucket::Config { 64 } else { 1 },
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        };
        self.create(config).await?;
        self.kv_existing(bucket).await
    }

    /// Opens a bucket that must be there.
    ///
    /// # Errors
    /// [`StreamsError::NoStream`] when it is not, else as [`Bus::kv`].
    pub async fn kv_existing(&self, bucket: Bucket) -> Result<Kv, KvError> {
        if !self.is_connected() {
            return Err(StreamsError::NotConnected.into());
        }
        let name = self.prefix().bucket(bucket);
        let opened = tokio::time::timeout(SERVER_DEADLINE, self.inner.context.get_key_value(&name)).await;
        let store = opened.map_err(|_| KvError::Timeout)?.map_err(|error| {
            let text = chain(&error);
            if text.contains("stream not found") {
                StreamsError::NoStream(format!("$KV.{name}.>"))
            } else {
                StreamsError::of_text(text)
            }
        })?;
        Ok(Kv {
            bus: self.clone(),
            store,
            prefix: format!("$KV.{name}."),
        })
    }

    /// Reads a whole bucket at once, without opening it first: the quickest way to a list.
    ///
    /// # Errors
    /// [`StreamsError::NoStream`] when there is no such bucket.
    pub async fn kv_entries(&self, bucket: Bucket) -> Result<Vec<KvEntry>, StreamsError> {
        let name = self.prefix().bucket(bucket);
        let prefix = format!("$KV.{name}.");
        let read = self
            .read(
                &format!("KV_{name}"),
                &format!("{prefix}>"),
                DeliverPolicy::LastPerSubject,
            )
            .await;
        // An empty body is the mark that a deletion leaves.
        let live = read?.into_iter().filter(|received| !received.body.is_empty());
        Ok(live.map(|received| entry(&prefix, received)).collect())
    }
}

fn entry(prefix: &str, received: Received) -> KvEntry {
    let key = received
        .subject
        .strip_prefix(prefix)
        .unwrap_or(&received.subject)
        .to_owned();
    KvEntry {
        key,
        value: received.body,
        revision: received.sequence,
    }
}

impl Kv {
    /// Reads one key; none where it is missing or deleted.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        let entry = bounded(self.store.entry(key)).await?;
        let live = entry.filter(|entry| entry.operation == Operation::Put);
        Ok(live.map(|entry| KvEntry {
            key: entry.key,
            value: entry.value,
            revision: entry.revision,
        }))
    }

    /// Writes one key and returns its revision.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<u64, KvError> {
        bounded(self.store.put(key, value.into())).await
    }

    /// Writes a key that must not be there.
    ///
    /// # Errors
    /// [`KvError::Conflict`] when it is.
    pub async fn create(&self, key: &str, value: impl Into<Bytes>) -> Result<u64, KvError> {
        let made = tokio::time::timeout(SERVER_DEADLINE, self.store.create(key, value.into())).await;
        made.map_err(|_| KvError::Timeout)?
            .map_err(|error| match error.kind() {
                kv::CreateErrorKind::AlreadyExists => KvError::Conflict(key.to_owned()),
                _ => KvError::Refused(chain(&error)),
            })
    }

    /// Writes a key that must still be at `revision`.
    ///
    /// # Errors
    /// [`KvError::Conflict`] when it is not.
    pub async fn update(&self, key: &str, value: impl Into<Bytes>, revision: u64) -> Result<u64, KvError> {
        let made =
            tokio::time::timeout(SERVER_DEADLINE, self.store.update(key, value.into(), revision)).await;
        made.map_err(|_| KvError::Timeout)?
            .map_err(|error| match error.kind() {
                kv::UpdateErrorKind::WrongLastRevision => KvError::Conflict(key.to_owned()),
                _ => KvError::Refused(chain(&error)),
            })
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), KvError> {
        bounded(self.store.delete(key)).await
    }

    /// Reads all keys.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn entries(&self) -> Result<Vec<KvEntry>, KvError> {
        let stream = format!("KV_{}", self.store.name);
        let all = format!("{}>", self.prefix);
        let read = self
            .bus
            .read(&stream, &all, DeliverPolicy::LastPerSubject)
            .await?;
        let live = read.into_iter().filter(|received| !received.body.is_empty());
        Ok(live.map(|received| entry(&self.prefix, received)).collect())
    }

    /// Follows the bucket from now on: each change is handed to `each` until it says false, or the watch breaks.
    ///
    /// # Errors
    /// When the watch cannot be set up; one that breaks later just ends, and the caller takes a fresh look.
    pub async fn follow(&self, mut each: impl FnMut(KvChange) -> bool) -> Result<(), KvError> {
        let mut watch = bounded(self.store.watch_all()).await?;
        while let Some(Ok(entry)) = watch.next().await {
            let change = match entry.operation {
                Operation::Put => KvChange::Put(KvEntry {
                    key: entry.key,
                    value: entry.value,
                    revision: entry.revision,
                }),
                Operation::Delete | Operation::Purge => KvChange::Deleted(entry.key),
            };
            if !each(change) {
                break;
            }
        }
        Ok(())
    }
}

async fn bounded<T, E: std::error::Error>(call: impl Future<Output = Result<T, E>>) -> Result<T, KvError> {
    let answered = tokio::time::timeout(SERVER_DEADLINE, call)
        .await
        .map_err(|_| KvError::Timeout)?;
    answered.map_err(|error| KvError::Refused(chain(&error)))
}
