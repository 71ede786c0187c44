//! The loop that owns the mirror.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tcs_bus::{Bus, Connection, Keep, Outgoing, Presence};
use tcs_config::{NatsSettings, Site};
use tcs_wire::{EventKind, Exit, MessageId, RegistryEvent, ServiceId, Snapshot, Status, UnitName, end_words};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::configuration;
use super::error::ManagerError;
use super::keeper::{Keeper, News};
use super::last_words::LastWords;
use super::notify::Notifier;
use super::own;
use super::past::UnknownPast;
use super::requests::Ask;
use super::store::Store;
use crate::mirror::{Effect, Identity, Mirror};
use crate::systemd::{Change, Changes, Systemd, SystemdError, UnitState};

/// How long after a change the rest is written: what systemd is still in the middle of, and what can wait.
const SETTLE: Duration = Duration::from_millis(100);
/// How long to wait before a reading that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A full reading of systemd.
pub(super) type Reading = (Vec<UnitState>, Vec<(UnitName, Option<String>)>);

/// What a task of the engine brought.
enum Done {
    Configuration(u32, Result<Box<Site>, ManagerError>),
    All(Result<Reading, SystemdError>),
    One(UnitName, Result<Box<UnitState>, SystemdError>),
}

pub(super) struct Engine {
    identity: Identity,
    bus: Bus,
    systemd: Systemd,
    mirror: Mirror,
    store: Store,
    last_words: LastWords,
    presence: Arc<Presence>,
    work: JoinSet<Done>,
    /// A full reading is under way.
    reading: bool,
    /// The one under way is too old already, or none is: read (again).
    read_again: bool,
    settle_at: Option<Instant>,
    /// What an earlier run of the manager knew could not be had yet.
    past: Option<UnknownPast>,
    connection: Option<Connection>,
    faults: Vec<String>,
    systemd_fault: Option<String>,
    /// Where the configuration is, and what is wrong with it since it was last taken over.
    config: Option<PathBuf>,
    config_fault: Option<String>,
    /// How often it was read; what an older reading brings does not count.
    config_readings: u32,
    /// What of it counts for a whole run.
    fixed: Option<(ServiceId, NatsSettings, bool)>,
    declared: watch::Sender<Vec<ServiceId>>,
}

impl Engine {
    pub(super) fn new(
        identity: &Identity,
        bus: Bus,
        systemd: Systemd,
        store: Store,
        last_words: LastWords,
        presence: Arc<Presence>,
        config: Option<PathBuf>,
    ) -> Self {
        Self {
            identity: identity.clone(),
            bus,
            systemd,
            mirror: Mirror::new(identity.clone()),
            store,
            last_words,
            presence,
            work: JoinSet::new(),
            reading: false,
            read_again: false,
            settle_at: None,
            past: None,
            connection: None,
            faults: Vec::new(),
            systemd_fault: None,
            config,
            config_fault: None,
            config_readings: 0,
            fixed: None,
            declared: watch::Sender::new(Vec::new()),
        }
    }

    /// Returns the declared services, now and whenever the configuration changes.
    pub(super) fn declared(&self) -> watch::Receiver<Vec<ServiceId>> {
        self.declared.subscribe()
    }

    /// Declares the services and reads systemd for the first time.
    pub(super) async fn begin(
        &mut self,
        site: &Site,
        remembered: Option<Vec<Snapshot>>,
    ) -> Result<(), ManagerError> {
        self.own_event(EventKind::Declared, None);
        self.own_event(EventKind::Start, None);
        let known = remembered.is_some();
        if let Some(remembered) = remembered {
            self.mirror.remember(remembered);
        }
        self.fixed = Some(fixed(site));
        let declared = configuration::declared(site);
        self.declared
            .send_replace(declared.iter().map(|entry| entry.id.clone()).collect());
        for record in self.mirror.records() {
            self.store.know(Box::new(record.clone()));
        }
        let effects = self.mirror.declare(declared.clone(), Timestamp::now());
        self.carry_out(effects);
        let (units, files) = read(self.systemd.clone(), self.mirror.unloaded_units()).await?;
        if !known {
            let first = (units.clone(), files.clone());
            self.past = Some(UnknownPast::new(declared, first));
        }
        let effects = self.mirror.read(units, files, Timestamp::now());
        self.carry_out(effects);
        self.own_event(EventKind::Ready, None);
        let counts = self.mirror.counts();
        tracing::info!(
            services = counts.services,
            running = counts.running,
            failed = counts.failed,
            "mirror is complete"
        );
        Ok(())
    }

    /// Follows systemd and answers, until `stop` is cancelled or it cannot go on.
    pub(super) async fn run(
        &mut self,
        mut changes: Changes,
        mut asked: mpsc::Receiver<Ask>,
        mut hangup: Signal,
        keeper: Keeper,
        notifier: &Notifier,
        stop: CancellationToken,
    ) -> Result<(), ManagerError> {
        let (sender, mut news) = mpsc::channel(8);
        let keeper_stop = stop.child_token();
        let keeper = tokio::spawn(keeper.run(sender, keeper_stop.clone()));
        let mut watchdog = notifier.watchdog_period().map(tokio::time::interval);
        if let Some(watchdog) = &mut watchdog {
            watchdog.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        self.tell(notifier);
        let outcome = loop {
            let settle_at = self.settle_at;
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                // News of systemd goes before everything: an answer must not be older than the job it is about.
                change = changes.next() => {
                    if change == Change::Closed {
                        break Err(ManagerError::BusLost);
                    }
                    self.change(change);
                }
                Some(done) = self.work.join_next() => {
                    if let Ok(done) = done {
                        self.done(done);
                        self.tell(notifier);
                    }
                }
                Some(()) = hangup.recv() => self.read_configuration(),
                () = at(settle_at) => {
                    self.settle_at = None;
                    let effects = self.mirror.settle(Timestamp::now());
                    self.carry_out(effects);
                    self.tell(notifier);
                }
                // An answer in the middle of a reading would be older than the job it is about.
                Some(ask) = asked.recv(), if !self.mirror.is_holding() || self.systemd_fault.is_some() => {
                    self.answer(ask);
                }
                Some(piece) = news.recv() => match piece {
                    News::Connection(connection) => {
                        log_connection(&connection, &self.bus);
                        notifier.nats(&connection).await;
                        self.connection = Some(connection);
                        self.tell(notifier);
                    }
                    News::Faults(faults) => {
                        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
                            tracing::warn!("NATS: {fault}");
                        }
                        self.faults = faults;
                        self.tell(notifier);
                    }
                    News::Past(records) => self.recall(records),
                    News::Ousted(error) => break Err(error),
                },
                () = tick(&mut watchdog) => notifier.alive(),
            }
        };
        keeper_stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), keeper).await;
        outcome
    }

    /// Tells the end of the manager itself.
    pub(super) fn farewell(&mut self, error: Option<&ManagerError>) {
        let (status, message) = match error {
            None => (Status::Shutdown, "stopped".to_owned()),
            Some(error) => (Status::Failed, error.to_string()),
        };
        // Another manager speaks under this name.
        if !matches!(error, Some(ManagerError::HeldElsewhere { .. })) {
            match error {
                None => self.own_event(EventKind::Stop, Some(Exit::Done)),
                Some(error) => self.own_event(EventKind::Crashed, Some(error.exit())),
            }
            self.presence.set(status, message);
        }
    }

    fn change(&mut self, change: Change) {
        if matches!(change, Change::Reloading(_) | Change::OwnerChanged { .. }) {
            self.read_again = self.reading;
        }
        if change == Change::Reloading(false) {
            // An installation ends so: the configuration behind the units may be another.
            self.read_configuration();
        }
        let effects = self.mirror.change(change, Timestamp::now());
        self.carry_out(effects);
        self.settle_later();
    }

    fn settle_later(&mut self) {
        if self.settle_at.is_none() && self.mirror.is_unsettled() {
            self.settle_at = Some(Instant::now() + SETTLE);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Configuration(reading, _) if reading != self.config_readings => {}
            Done::Configuration(_, Ok(site)) => self.take_over(&site),
            Done::Configuration(_, Err(error)) => {
                tracing::error!("the configuration stays as it was: {error}");
                self.config_fault = Some(format!("configuration not taken over: {error}"));
            }
            Done::All(outcome) => {
                self.reading = false;
                match outcome {
                    Ok(_) if self.read_again => self.read_all(Duration::ZERO),
                    Ok((units, files)) => {
                        self.systemd_fault = None;
                        let effects = self.mirror.read(units, files, Timestamp::now());
                        self.carry_out(effects);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the units; tried again");
                        self.systemd_fault = Some(format!("cannot read the units: {error}"));
                        self.read_all(READ_AGAIN);
                    }
                }
                self.settle_at.get_or_insert_with(Instant::now);
            }
            Done::One(_, Ok(unit)) => {
                let effects = self.mirror.read_unit(*unit, Timestamp::now());
                self.carry_out(effects);
                self.settle_later();
            }
            Done::One(_, Err(SystemdError::NoSuchUnit(_))) => {}
            Done::One(name, Err(error)) => {
                tracing::warn!(%error, unit = %name, "cannot read the unit; all are read again");
                self.read_all(READ_AGAIN);
            }
        }
    }

    fn read_configuration(&mut self) {
        self.config_readings += 1;
        let (reading, config) = (self.config_readings, self.config.clone());
        self.work.spawn_blocking(move || {
            Done::Configuration(reading, configuration::read(config.as_deref()).map(Box::new))
        });
    }

    fn take_over(&mut self, site: &Site) {
        self.config_fault = (self.fixed != Some(fixed(site))).then(|| {
            "`host`, `nats` or `manage_streams` has changed: `systemctl restart tcs-manager`".to_owned()
        });
        let declared = configuration::declared(site);
        self.declared
            .send_replace(declared.iter().map(|entry| entry.id.clone()).collect());
        let effects = self.mirror.declare(declared, Timestamp::now());
        tracing::info!(
            services = site.services.len(),
            changed = effects.len(),
            "configuration read again"
        );
        self.carry_out(effects);
        self.read_all(Duration::ZERO);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Event {
                    kind,
                    id,
                    event,
                    message_id,
                } => {
                    if kind == EventKind::Start && event.late.is_none() {
                        self.last_words.alive(&id);
                    }
                    log_event(kind, &id, &event);
                    match &mut self.past {
                        // What is late goes first, once it is known.
                        Some(past) => past.hold(Effect::Event {
                            kind,
                            id,
                            event,
                            message_id,
                        }),
                        None => self.publish(kind, &id, &event, message_id),
                    }
                }
                Effect::Status { report, last_word } => self.last_words.say(report, last_word),
                Effect::Put(record) => self.store.put(record),
                Effect::Query(name) => {
                    let systemd = self.systemd.clone();
                    self.work.spawn(async move {
                        let unit = systemd.unit(&name).await.map(Box::new);
                        Done::One(name, unit)
                    });
                }
                Effect::Resync => self.read_all(Duration::ZERO),
            }
        }
    }

    /// Tells what happened before this run of the manager, now that it is known what the earlier one knew, and then
    /// what has happened since.
    fn recall(&mut self, records: Vec<Snapshot>) {
        let Some(past) = self.past.take() else {
            return;
        };
        let (missed, held) = past.tell(&self.identity, records, &self.mirror);
        self.carry_out(missed);
        for effect in held {
            if let Effect::Event {
                kind,
                id,
                event,
                message_id,
            } = effect
            {
                self.publish(kind, &id, &event, message_id);
            }
        }
    }

    fn read_all(&mut self, after: Duration) {
        if self.reading {
            self.read_again = true;
            return;
        }
        (self.reading, self.read_again) = (true, false);
        let (systemd, names) = (self.systemd.clone(), self.mirror.units());
        self.work.spawn(async move {
            tokio::time::sleep(after).await;
            Done::All(read(systemd, names).await)
        });
    }

    fn answer(&self, ask: Ask) {
        let now = Timestamp::now();
        match ask {
            Ask::List(reply) => {
                let ids = self.mirror.records().map(|record| record.service_id.clone());
                let current = ids.filter_map(|id| self.mirror.current(&id, now).map(|(record, _)| record));
                let _ = reply.send(current.collect());
            }
            Ask::One(id, reply) => {
                let current = self
                    .mirror
                    .current(&id, now)
                    .map(|(record, unit)| (record, unit.clone()));
                let _ = reply.send(current.map(Box::new));
            }
        }
    }

    /// Tells systemd's status line and the manager's own status what is known now.
    fn tell(&self, notifier: &Notifier) {
        let counts = self.mirror.counts();
        let nats = match &self.connection {
            Some(Connection::Connected) => "NATS connected".to_owned(),
            Some(Connection::Away { since, .. }) => {
                format!("NATS away since {}", since.timestamp().strftime("%FT%TZ"))
            }
            None => "NATS not yet asked".to_owned(),
        };
        let fault = self
            .systemd_fault
            .iter()
            .chain(&self.config_fault)
            .chain(&self.faults)
            .next();
        let mut line = format!(
            "{} units, {} running, {} failed; {nats}",
            counts.services, counts.running, counts.failed
        );
        if let Some(fault) = fault {
            line = format!("{line}; {fault}");
        }
        notifier.status(&line);
        match fault {
            Some(fault) => self.presence.set(Status::Degraded, fault),
            None => self
                .presence
                .set(Status::Ok, format!("follows systemd {}", self.systemd.version())),
        }
    }

    /// Publishes an event of the manager itself, so that tools show it as they show a service.
    fn own_event(&self, kind: EventKind, exit: Option<Exit>) {
        let (event, message_id) = own::event(&self.identity, kind, exit);
        self.publish(kind, &self.identity.manager, &event, message_id);
    }

    fn publish(&self, kind: EventKind, id: &ServiceId, event: &RegistryEvent, message_id: MessageId) {
        self.bus.publish(Outgoing {
            subject: self.bus.prefix().registry(kind, id.as_str()),
            message: self.bus.message(event),
            message_id,
            keep: Keep::Event,
        });
    }
}

/// Reads all loaded units, and the files of those of `names` that are not among them.
async fn read(systemd: Systemd, mut names: Vec<UnitName>) -> Result<Reading, SystemdError> {
    let units = systemd.units().await?;
    names.retain(|name| !units.iter().any(|unit| unit.name == *name));
    let files = systemd.unit_file_states(names).await?;
    Ok((units, files))
}

/// Returns what of the configuration is used at the start only.
fn fixed(site: &Site) -> (ServiceId, NatsSettings, bool) {
    (site.manager_id(), site.nats.clone(), site.manage_streams)
}

fn log_event(kind: EventKind, id: &ServiceId, event: &RegistryEvent) {
    match kind {
        EventKind::Crashed | EventKind::Failed => {
            let result = event
                .reason
                .as_deref()
                .or(event.result.as_deref())
                .unwrap_or_default();
            tracing::warn!(service = %id, "{id} {kind}: {}", end_words(result, event.exit_code));
        }
        EventKind::Declared => tracing::debug!(service = %id, "{id} {kind}"),
        _ => tracing::info!(service = %id, "{id} {kind}"),
    }
}

fn log_connection(connection: &Connection, bus: &Bus) {
    match connection {
        Connection::Connected => tracing::info!(server = bus.server_version(), "NATS connected"),
        Connection::Away { reason, .. } => {
            tracing::warn!(
                reason = reason.as_deref(),
                "NATS is away; events wait, commands by NATS are not heard"
            );
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
