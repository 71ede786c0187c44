//! All that has to be done when NATS comes and while it is there.

use std::time::Duration;

use tcs_bus::{Bus, Connection, KvError, StreamFault, StreamsError};
use tcs_config::Site;
use tcs_wire::{Bucket, ServiceId, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, Outcome, RENEWAL, held};
use super::error::ManagerError;
use super::requests::Requests;
use super::store::{Store, open, remembered};

/// How long to wait after a failure, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// News for the engine.
#[derive(Debug)]
pub(super) enum News {
    /// The server is there, or is away.
    Connection(Connection),
    /// What is wrong on the server; nothing when the list is empty.
    Faults(Vec<String>),
    /// What an earlier run of the manager knew, which could not be had at the start.
    Past(Vec<Snapshot>),
    /// Another manager has the name.
    Ousted(ManagerError),
}

/// Looks after the server's side.
pub(super) struct Keeper {
    bus: Bus,
    claim: Claim,
    store: Store,
    requests: Requests,
    manager: ServiceId,
    manage_streams: bool,
    /// What an earlier run knew is still to be read.
    past_unknown: bool,
    declared: watch::Receiver<Vec<ServiceId>>,
}

impl Keeper {
    pub(super) fn new(
        bus: &Bus,
        claim: Claim,
        store: Store,
        requests: Requests,
        site: &Site,
        past_unknown: bool,
        declared: watch::Receiver<Vec<ServiceId>>,
    ) -> Self {
        Self {
            bus: bus.clone(),
            claim,
            store,
            requests,
            manager: site.manager_id(),
            manage_streams: site.manage_streams,
            past_unknown,
            declared,
        }
    }

    /// Works until `stop` is cancelled, then gives the claim up.
    pub(super) async fn run(mut self, news: mpsc::Sender<News>, stop: CancellationToken) {
        let mut connection = self.bus.connection();
        let mut renewal = tokio::time::interval(RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut set_up_at = None;
        let mut pause = PAUSE.0;
        let mut reported = None;
        loop {
            // A server that went and came while something else was waited for is another server.
            let changed = connection.has_changed().unwrap_or(false);
            let now = connection.borrow_and_update().clone();
            let is_back = changed && is_connected(&now);
            if is_back || reported.as_ref().map(is_connected) != Some(is_connected(&now)) {
                pause = PAUSE.0;
                set_up_at = is_connected(&now).then(Instant::now);
                reported = Some(now.clone());
                if news.send(News::Connection(now.clone())).await.is_err() {
                    return;
                }
            }
            let due = async {
                match set_up_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = connection.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
                Ok(()) = self.declared.changed() => {
                    // The answers for a new service are set up as all is at the beginning.
                    if is_connected(&now) {
                        set_up_at = Some(Instant::now());
                    }
                    None
                }
                () = due => {
                    let outcome = self.set_up(&news).await;
                    set_up_at = outcome.is_err().then(|| Instant::now() + pause);
                    pause = (2 * pause).min(PAUSE.1);
                    Some(match outcome {
                        Ok(Outcome::Ours) => News::Faults(Vec::new()),
                        Ok(other) => ousted(other),
                        Err(faults) => News::Faults(faults),
                    })
                }
                _ = renewal.tick(), if is_connected(&now) => {
                    match self.claim.renew(&self.bus).await {
                        Ok(Outcome::Ours) => None,
                        Ok(other) => Some(ousted(other)),
                        Err(_) if set_up_at.is_some() => None,
                        Err(error) => {
                            // The store is gone or broken: all is to be looked at again.
                            pause = PAUSE.0;
                            set_up_at = Some(Instant::now() + pause);
                            Some(News::Faults(vec![error.to_string()]))
                        }
                    }
                }
            };
            if let Some(told) = told
                && news.send(told).await.is_err()
            {
                return;
            }
        }
        if self.bus.is_connected() {
            self.claim.release(&self.bus).await;
        }
    }

    /// Claims the id, makes or checks the streams, lets the store compare, and answers requests from now on.
    ///
    /// The error is what is wrong, in words; it is tried again.
    async fn set_up(&mut self, news: &mpsc::Sender<News>) -> Result<Outcome, Vec<String>> {
        let one = |error: &dyn std::fmt::Display| vec![error.to_string()];
        let mut faults = Vec::new();
        match self.claim.renew(&self.bus).await {
            Ok(Outcome::Ours) => {}
            Ok(other) => return Ok(other),
            Err(error) => faults.push(self.missing(Bucket::Claims, error).map_err(|error| one(&error))?),
        }
        let streams = self.streams().await.map_err(|error| one(&error))?;
        faults.extend(
            streams
                .iter()
                .map(|fault| format!("stream {}: {}", fault.stream, fault.text)),
        );
        if let Err(error) = open(&self.bus, Bucket::State, self.manage_streams).await {
            faults.push(self.missing(Bucket::State, error).map_err(|error| one(&error))?);
        }
        // Before the store writes what it is now.
        if self.past_unknown
            && let Some(past) = remembered(&self.bus, &self.manager).await
        {
            self.past_unknown = false;
            let _ = news.send(News::Past(past)).await;
        }
        self.store.compare();
        let declared = self.declared.borrow().clone();
        self.requests
            .answer(&self.bus, &declared)
            .await
            .map_err(|error| one(&error))?;
        if faults.is_empty() {
            Ok(Outcome::Ours)
        } else {
            Err(faults)
        }
    }

    /// Says that a bucket is missing which the site is to make: the rest goes on without it. Any other error is handed
    /// back.
    fn missing(&self, bucket: Bucket, error: KvError) -> Result<String, KvError> {
        match error {
            KvError::Stream(StreamsError::NoStream(subject)) if !self.manage_streams => {
                let bucket = self.bus.prefix().bucket(bucket);
                Ok(format!(
                    "bucket {bucket}: no stream holds `{subject}`: create it, or set `manage_streams: true`"
                ))
            }
            other => Err(other),
        }
    }

    async fn streams(&self) -> Result<Vec<StreamFault>, StreamsError> {
        if self.manage_streams {
            self.bus.ensure_streams().await
        } else {
            self.bus.check_streams().await
        }
    }
}

fn is_connected(connection: &Connection) -> bool {
    *connection == Connection::Connected
}

fn ousted(outcome: Outcome) -> News {
    match held(outcome) {
        Err(error) => News::Ousted(error),
        Ok(()) => News::Faults(Vec::new()),
    }
}
