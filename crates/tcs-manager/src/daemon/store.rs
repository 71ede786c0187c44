//! The mirror's records in the bucket `tcs_state`: the latest of each service, written as soon as the server takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tcs_bus::{Bus, Kv, KvEntry, KvError, StreamsError};
use tcs_wire::{Bucket, ServiceId, Snapshot};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::identity;

/// Writes under way at a time.
const IN_FLIGHT: usize = 64;
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the record of a service outlives its declaration (design decision 33).
const KEPT: SignedDuration = SignedDuration::from_hours(24);

enum Message {
    Put(Box<Snapshot>),
    /// A record that should be there already.
    Know(Box<Snapshot>),
    /// The server is there, or there again: what it has is compared with what it should have.
    Compare,
}

/// The way in to the store.
#[derive(Clone)]
pub(super) struct Store(mpsc::UnboundedSender<Message>);

impl Store {
    pub(super) fn spawn(
        bus: &Bus,
        manager: &ServiceId,
        makes_buckets: bool,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let task = Task {
            bus: bus.clone(),
            prefix: format!("{manager}."),
            messages: receiver,
            wanted: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            makes_buckets,
            kv: None,
        };
        tasks.spawn(async move { task.run(stop).await });
        Self(sender)
    }

    /// Writes a record, now or when the server is there; a newer one takes its place.
    pub(super) fn put(&self, record: Box<Snapshot>) {
        let _ = self.0.send(Message::Put(record));
    }

    /// Takes a record for written, unless a comparison shows otherwise.
    pub(super) fn know(&self, record: Box<Snapshot>) {
        let _ = self.0.send(Message::Know(record));
    }

    /// Compares what the server has with what it should have, and writes the difference.
    pub(super) fn compare(&self) {
        let _ = self.0.send(Message::Compare);
    }
}

/// Opens a bucket, and makes it first where the site leaves that to us (design decision 24).
pub(super) async fn open(bus: &Bus, bucket: Bucket, make: bool) -> Result<Kv, KvError> {
    if make {
        bus.kv(bucket).await
    } else {
        bus.kv_existing(bucket).await
    }
}

/// Reads what an earlier run of this manager knew, as far as it is of this boot; none where the server cannot say.
pub(super) async fn remembered(bus: &Bus, manager: &ServiceId) -> Option<Vec<Snapshot>> {
    let entries = match bus.kv_entries(Bucket::State).await {
        Ok(entries) => entries,
        Err(StreamsError::NoStream(_)) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "what an earlier run knew cannot be read");
            return None;
        }
    };
    let booted = identity::boot_time();
    let prefix = format!("{manager}.");
    let ours = entries.iter().filter(|entry| entry.key.starts_with(&prefix));
    let records = ours.filter_map(|entry| serde_json::from_slice::<Snapshot>(&entry.value).ok());
    let of_this_boot = |record: &Snapshot| booted.is_none_or(|booted| record.updated.timestamp() > booted);
    let kept = records
        .filter(of_this_boot)
        .filter(|record| record.declared || is_kept(record, Timestamp::now()));
    Some(kept.collect())
}

fn is_kept(record: &Snapshot, now: Timestamp) -> bool {
    now.duration_since(record.updated.timestamp()) < KEPT
}

struct Task {
    bus: Bus,
    prefix: String,
    messages: mpsc::UnboundedReceiver<Message>,
    wanted: BTreeMap<String, Vec<u8>>,
    unwritten: BTreeSet<String>,
    makes_buckets: bool,
    kv: Option<Kv>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut writing = FuturesUnordered::new();
        // A key is written by one at a time, or an older record could come last.
        let mut under_way = BTreeSet::new();
        let mut compare_at: Option<tokio::time::Instant> = None;
        loop {
            if let Some(kv) = &self.kv {
                let free = IN_FLIGHT.saturating_sub(under_way.len());
                let keys: Vec<String> = self
                    .unwritten
                    .difference(&under_way)
                    .take(free)
                    .cloned()
                    .collect();
                for key in keys {
                    self.unwritten.remove(&key);
                    under_way.insert(key.clone());
                    let (kv, value) = (kv.clone(), self.wanted.get(&key).cloned());
                    writing.push(async move {
                        let written = match value {
                            Some(value) => kv.put(&key, value).await.map(drop),
                            None => kv.delete(&key).await,
                        };
                        (key, written)
                    });
                }
            }
            let due = async {
                match compare_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let idle = writing.is_empty() && (self.unwritten.is_empty() || self.kv.is_none());
            tokio::select! {
                biased;
                Some((key, written)) = writing.next() => {
                    under_way.remove(&key);
                    if let Err(error) = written {
                        tracing::debug!(%error, key, "record not written; kept");
                        self.unwritten.insert(key);
                        self.kv = None;
                        compare_at = Some(tokio::time::Instant::now() + PAUSE);
                    }
                }
                message = self.messages.recv() => match message {
                    Some(Message::Put(record)) => self.want(&record, true),
                    Some(Message::Know(record)) => self.want(&record, false),
                    Some(Message::Compare) => compare_at = Some(tokio::time::Instant::now()),
                    None => return,
                },
                () = due => {
                    compare_at = None;
                    // A pause for breath while the server is away; its return asks for the comparison.
                    if self.bus.is_connected() {
                        match self.compare().await {
                            Ok(()) => {}
                            // The keeper tells it, and asks again.
                            Err(KvError::Stream(StreamsError::NoStream(_))) if !self.makes_buckets => {}
                            Err(error) => {
                                tracing::warn!(%error, "cannot read the mirror; tried again");
                                compare_at = Some(tokio::time::Instant::now() + PAUSE);
                            }
                        }
                    }
                }
                () = stop.cancelled(), if idle || !self.bus.is_connected() => return,
            }
        }
    }

    fn want(&mut self, record: &Snapshot, write: bool) {
        let key = record.key();
        match serde_json::to_vec(record) {
            Ok(body) => {
                self.wanted.insert(key.clone(), body);
                if write {
                    self.unwritten.insert(key);
                }
            }
            Err(error) => tracing::error!(%error, key, "a record cannot be written as JSON"),
        }
    }

    async fn compare(&mut self) -> Result<(), KvError> {
        let kv = open(&self.bus, Bucket::State, self.makes_buckets).await?;
        let mut missing: BTreeSet<&String> = self.wanted.keys().collect();
        let mut unwritten = Vec::new();
        for KvEntry { key, value, .. } in kv.entries().await? {
            if !key.starts_with(&self.prefix) {
                continue;
            }
            match self.wanted.get(&key) {
                Some(wanted) if wanted[..] == value[..] => {
                    missing.remove(&key);
                }
                Some(_) => {}
                None => {
                    let record = serde_json::from_slice::<Snapshot>(&value).ok();
                    if !record.is_some_and(|record| is_kept(&record, Timestamp::now())) {
                        unwritten.push(key);
                    }
                }
            }
        }
        unwritten.extend(missing.into_iter().cloned());
        self.unwritten.extend(unwritten);
        self.kv = Some(kv);
        Ok(())
    }
}
