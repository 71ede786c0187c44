//! The daemon: systemd's news into the mirror, the mirror onto NATS, requests from there to systemd.
//!
//! # How it works
//!
//! One loop owns the mirror. Changes from D-Bus go in first, before everything else; what comes out is handed to tasks
//! that wait for NATS in its place: the outbox of the bus (events, in order), the store (records, the latest of each)
//! and the last words (statuses on behalf of services that died). Whether NATS is there is the business of the keeper,
//! which claims the manager's id, makes what is missing on the server and sets up the answering side.

mod claim;
mod configuration;
mod control;
mod engine;
mod error;
mod identity;
mod keeper;
mod last_words;
mod notify;
mod own;
mod past;
mod requests;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tcs_bus::{Bus, BusOptions, Presence, PresenceOptions};
use tcs_wire::Status;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use control::judge;
pub use error::ManagerError;

use crate::systemd::Systemd;
use claim::Claim;
use engine::Engine;
use keeper::Keeper;
use last_words::LastWords;
use notify::Notifier;
use store::Store;

/// How long the start waits for NATS, to learn what an earlier run knew; without it the manager starts all the same.
const NATS_AT_START: Duration = Duration::from_millis(500);
/// How long an orderly end may take.
const END_DEADLINE: Duration = Duration::from_secs(2);

/// How to run the manager.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The configuration file; found on the usual path when none is given.
    pub config: Option<PathBuf>,
    /// The address of the D-Bus bus; the system bus when none is given.
    pub bus_address: Option<String>,
}

/// Runs the manager until SIGTERM or SIGINT asks for an orderly end.
///
/// # Errors
/// As [`run`].
pub async fn run_until_signal(options: Options) -> Result<(), ManagerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ManagerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ManagerError::Signals)?;
    let stop = CancellationToken::new();
    let running = run(options, stop.clone());
    tokio::pin!(running);
    tokio::select! {
        outcome = &mut running => return outcome,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    running.await
}

/// Runs the manager until `stop` is cancelled.
///
/// # Errors
/// A configuration that is wrong, no D-Bus, or another manager with the same name.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), ManagerError> {
    let site = configuration::read(options.config.as_deref())?;
    let hangup = signal(SignalKind::hangup()).map_err(ManagerError::Signals)?;
    let notifier = Notifier::new();
    notifier.status("connecting to systemd over D-Bus");
    let (systemd, changes) = Systemd::connect(options.bus_address.as_deref()).await?;
    tracing::info!("connected to systemd {}", systemd.version());

    let identity = identity::identity(&site);
    let bus = Bus::connect(BusOptions {
        urls: site.nats.urls.clone(),
        name: identity.manager.to_string(),
        prefix: site.nats.subject_prefix.clone(),
        credentials: None,
    })
    .await?;
    let mut claim = Claim::new(&identity, site.manage_streams);
    let mut remembered = None;
    if bus.wait_connected(NATS_AT_START).await {
        notifier.status(&format!("asking whether {} runs elsewhere", identity.manager));
        if let Err(error) = claim.take(&bus).await.and_then(claim::held) {
            bus.close(END_DEADLINE).await;
            return Err(error);
        }
        remembered = store::remembered(&bus, &identity.manager).await;
        // Before the first event: what is published for no stream has to wait. The keeper looks at all again.
        if site.manage_streams
            && let Err(error) = bus.ensure_streams().await
        {
            tracing::warn!(%error, "cannot make the streams yet");
        }
    } else {
        tracing::warn!(urls = ?site.nats.urls, "NATS is not there yet; its news will wait");
    }

    let tasks = TaskTracker::new();
    let presence = Arc::new(Presence::new(
        &bus,
        PresenceOptions {
            id: identity.manager.clone(),
            parent: None,
            hostname: identity.hostname.clone(),
        },
    ));
    presence.set(Status::Startup, "reading systemd's units");
    let store = Store::spawn(&bus, &identity.manager, site.manage_streams, &tasks, stop.clone());
    let last_words = LastWords::spawn(&bus, &tasks, stop.clone());
    let (asks, asked) = mpsc::channel(64);
    let mut engine = Engine::new(
        &identity,
        bus.clone(),
        systemd.clone(),
        store.clone(),
        last_words,
        Arc::clone(&presence),
        options.config,
    );
    let past_unknown = remembered.is_none();
    if let Err(error) = engine.begin(&site, remembered).await {
        engine.farewell(Some(&error));
        end(&bus, &tasks, &stop).await;
        return Err(error);
    }
    notifier.ready();

    let requests = requests::Requests::new(asks, systemd, Arc::clone(&presence), &identity);
    let keeper = Keeper::new(
        &bus,
        claim,
        store,
        requests,
        &site,
        past_unknown,
        engine.declared(),
    );
    let outcome = engine
        .run(changes, asked, hangup, keeper, &notifier, stop.clone())
        .await;

    notifier.stopping();
    engine.farewell(outcome.as_ref().err());
    end(&bus, &tasks, &stop).await;
    outcome
}

/// Hands the last news to NATS, as far as it takes them in time.
async fn end(bus: &Bus, tasks: &TaskTracker, stop: &CancellationToken) {
    stop.cancel();
    tasks.close();
    let _ = tokio::time::timeout(END_DEADLINE, tasks.wait()).await;
    if !bus.close(END_DEADLINE).await {
        tracing::warn!("not all could be handed to NATS before the end");
    }
}
