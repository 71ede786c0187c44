//! All that has to be done when NATS comes and while it is there.

use std::time::Duration;

use tcs_bus::{Bus, Connection, StreamFault, StreamsError};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, Outcome, RENEWAL, held};
use super::error::ManagerError;
use super::requests::Requests;
use super::store::Store;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// News for the engine.
#[derive(Debug)]
pub(super) enum News {
    /// The server is there, or is away.
    Connection(Connection),
    /// What is wrong on the server; nothing when the list is empty.
    Faults(Vec<String>),
    /// Another manager has the name.
    Ousted(ManagerError),
}

/// Looks after the server's side.
pub(super) struct Keeper {
    bus: Bus,
    claim: Claim,
    store: Store,
    requests: Requests,
    manage_streams: bool,
}

impl Keeper {
    pub(super) fn new(
        bus: &Bus,
        claim: Claim,
        store: Store,
        requests: Requests,
        manage_streams: bool,
    ) -> Self {
        Self {
            bus: bus.clone(),
            claim,
            store,
            requests,
            manage_streams,
        }
    }

    /// Works until `stop` is cancelled, then gives the claim up.
    pub(super) async fn run(mut self, news: mpsc::Sender<News>, stop: CancellationToken) {
        let mut connection = self.bus.connection();
        let mut renewal = tokio::time::interval(RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut set_up_at = None;
        let mut reported = None;
        loop {
            let now = connection.borrow_and_update().clone();
            if reported.as_ref().map(is_connected) != Some(is_connected(&now)) {
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
                () = due => {
                    let outcome = self.set_up().await;
                    set_up_at = outcome.is_err().then(|| Instant::now() + PAUSE);
                    Some(match outcome {
                        Ok(Outcome::Ours) => News::Faults(Vec::new()),
                        Ok(other) => ousted(other),
                        Err(faults) => News::Faults(faults),
                    })
                }
                _ = renewal.tick(), if is_connected(&now) && set_up_at.is_none() => {
                    match self.claim.renew(&self.bus).await {
                        Ok(Outcome::Ours) => None,
                        Ok(other) => Some(ousted(other)),
                        Err(error) => {
                            // The store is gone or broken: all is to be looked at again.
                            set_up_at = Some(Instant::now() + PAUSE);
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
    async fn set_up(&mut self) -> Result<Outcome, Vec<String>> {
        let one = |error: &dyn std::fmt::Display| vec![error.to_string()];
        match self.claim.renew(&self.bus).await.map_err(|error| one(&error))? {
            Outcome::Ours => {}
            other => return Ok(other),
        }
        let faults = self.streams().await.map_err(|error| one(&error))?;
        self.store.compare();
        self.requests
            .answer(&self.bus)
            .await
            .map_err(|error| one(&error))?;
        if faults.is_empty() {
            Ok(Outcome::Ours)
        } else {
            Err(faults
                .iter()
                .map(|fault| format!("stream {}: {}", fault.stream, fault.text))
                .collect())
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
