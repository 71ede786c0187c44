//! What systemd and NATS say of one service, side by side.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::{FutureExt, StreamExt};
use serde::de::DeserializeOwned;
use tcs_bus::{Bus, BusOptions};
use tcs_system_tests::Site;
use tcs_testkit::{eventually, eventually_blocking, inside};
use tcs_wire::{EventKind, RegistryEvent, ServiceId, Status, StatusReport, UnitName};
use zbus::connection::Builder;
use zbus::{MatchRule, Message, MessageStream, OwnedVariant, message};
use zbus_systemd::systemd1::ManagerProxy;

/// How long anything may take that is not itself a matter of time.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const JOURNAL_LINES: u32 = 60;

/// Signals that may wait here; more than any start has.
const QUEUE: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// The properties of a unit, as `systemctl show` prints them.
#[derive(Debug)]
pub(crate) struct Unit(BTreeMap<String, String>);

impl Unit {
    /// Reads them all.
    pub(crate) fn read(site: &Site, unit: &str) -> Result<Self> {
        let text = site.machine.run_ok(&["systemctl", "show", unit])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    /// Waits until they are as expected.
    pub(crate) fn eventually(site: &Site, unit: &str, expected: &[(&str, &str)]) -> Result<Self> {
        let probe = || {
            let read = Self::read(site, unit)?;
            read.has(expected)?;
            anyhow::Ok(read)
        };
        Ok(eventually_blocking(unit, SOON, probe)?)
    }

    /// Checks that these properties have exactly these values.
    pub(crate) fn has(&self, expected: &[(&str, &str)]) -> Result<()> {
        for (key, value) in expected {
            let seen = self.get(key)?;
            ensure!(seen == *value, "{key} is `{seen}`, not `{value}`");
        }
        Ok(())
    }

    /// Returns the value of a property; an empty one is not always printed.
    pub(crate) fn get(&self, key: &str) -> Result<&str> {
        let known = self.0.get(key).map(String::as_str);
        let known = known.or_else(|| ["DropInPaths", "StatusText"].contains(&key).then_some(""));
        known.with_context(|| format!("no property {key}"))
    }

    /// Returns a number, such as a monotonic time in microseconds.
    pub(crate) fn number(&self, key: &str) -> Result<u64> {
        let value = self.get(key)?;
        value.parse().with_context(|| format!("{key} is `{value}`"))
    }
}

/// What the streams hold of a service, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Its lifecycle events without `declared`, which each start of the manager repeats.
    pub(crate) events: Vec<RegistryEvent>,
    /// Its statuses.
    pub(crate) statuses: Vec<StatusReport>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for RegistryEvent {
            event,
            exit_code,
            result,
            reason,
            ..
        } in &self.events
        {
            write!(
                f,
                "{event} (exit {exit_code:?}, result {result:?}, reason {reason:?}), "
            )?;
        }
        for StatusReport { status, message, .. } in &self.statuses {
            write!(f, "{status} `{}`, ", message.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Told {
    /// Reads both streams until they are as `complete` says.
    pub(crate) fn until(
        site: &Site,
        id: &str,
        complete: impl Fn(&Self) -> Result<()> + Send,
    ) -> Result<Self> {
        on_bus(site, async move |bus| {
            let probe = async || {
                let told = Self::read(&bus, id).await?;
                complete(&told).with_context(|| told.to_string())?;
                anyhow::Ok(told)
            };
            Ok(eventually(id, SOON, probe).await?)
        })
    }

    /// Waits for these events, no others, and a last status that is final.
    pub(crate) fn ended(site: &Site, id: &str, events: &[EventKind]) -> Result<Self> {
        Self::until(site, id, |told| {
            told.happened(events)?;
            let last = told.last()?;
            ensure!(last.status.is_final(), "the last status is {}", last.status);
            Ok(())
        })
    }

    async fn read(bus: &Bus, id: &str) -> Result<Self> {
        let mut events: Vec<RegistryEvent> = all(bus, &format!("svc.registry.*.{id}")).await?;
        events.retain(|event| event.kind() != Some(EventKind::Declared));
        let statuses = all(bus, &format!("svc.status.{id}")).await?;
        Ok(Self { events, statuses })
    }

    /// Checks that these events, and no others, happened in this order. `stopping` counts only where it is expected:
    /// an end may be quicker than systemd tells that it has begun.
    pub(crate) fn happened(&self, expected: &[EventKind]) -> Result<()> {
        let counts = |event: &&RegistryEvent| {
            event.kind() != Some(EventKind::Stopping) || expected.contains(&EventKind::Stopping)
        };
        let seen = self.events.iter().filter(counts);
        let seen: Vec<&str> = seen.map(|event| event.event.as_str()).collect();
        let expected: Vec<&str> = expected.iter().map(|kind| kind.as_str()).collect();
        ensure!(seen == expected, "events are {seen:?}, not {expected:?}");
        Ok(())
    }

    /// Returns the last event of a kind.
    pub(crate) fn event(&self, kind: EventKind) -> Result<&RegistryEvent> {
        let found = self.events.iter().rfind(|event| event.kind() == Some(kind));
        found.with_context(|| format!("no `{kind}` event"))
    }

    /// Returns the last status.
    pub(crate) fn last(&self) -> Result<&StatusReport> {
        self.statuses.last().context("no status at all")
    }

    /// Checks the last status and its words.
    pub(crate) fn last_is(&self, status: Status, words: &str) -> Result<()> {
        let last = self.last()?;
        let message = last.message.as_deref().unwrap_or_default();
        ensure!(
            last.status == status && message.contains(words),
            "the last status is {}: `{message}`, not {status}: `{words}`",
            last.status
        );
        Ok(())
    }
}

/// Reads what a stream holds on a subject; a message that is none of ours fails the test.
pub(crate) async fn all<T: DeserializeOwned>(bus: &Bus, subject: &str) -> Result<Vec<T>> {
    let received = bus.all(subject).await?;
    let read = |one: &tcs_bus::Received| anyhow::Ok(one.decode()?.read("a message of the contract")?);
    received.iter().map(read).collect()
}

/// Does something with a connection to the site's NATS server.
pub(crate) fn on_bus<T: Send>(site: &Site, work: impl AsyncFnOnce(Bus) -> Result<T> + Send) -> Result<T> {
    let url = site.nats()?.url();
    inside(&site.machine, || async move {
        let bus = Bus::connect(BusOptions::new(url, "system-tests")).await?;
        ensure!(bus.wait_connected(SOON).await, "no connection to the NATS server");
        work(bus).await
    })?
}

/// A start that systemd was watched at.
#[derive(Debug)]
pub(crate) struct Start {
    /// The result of its job: `done`, `failed`, …
    pub(crate) job: String,
    /// Every `ActiveState` that was signalled, and the one after the job.
    pub(crate) states: Vec<String>,
}

impl Start {
    /// Starts a unit and collects the states that systemd tells until the start's job is over.
    pub(crate) fn watched(site: &Site, unit: &str) -> Result<Self> {
        let address = site.machine.dbus_address();
        inside(&site.machine, || async move {
            let watched = Self::watch(&address, unit);
            tokio::time::timeout(2 * SOON, watched)
                .await
                .with_context(|| format!("the start of {unit} does not end"))?
        })?
    }

    async fn watch(address: &str, unit: &str) -> Result<Self> {
        let connection = Builder::address(address).build().await?;
        let systemd = ManagerProxy::new(&connection).await?;
        systemd.subscribe().await?;
        let path = systemd.load_unit(unit.to_owned()).await?;
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .path(path.as_str())
            .interface("org.freedesktop.DBus.Properties")
            .build()?;
        let mut changes = MessageStream::for_match_rule(rule, &connection, Some(QUEUE)).await?;
        let mut ends = systemd.receive_job_removed().await?;
        let own = systemd.start_unit(unit.to_owned(), "replace".to_owned()).await?;
        let mut states = Vec::new();
        let job = loop {
            tokio::select! {
                biased;
                Some(change) = changes.next() => states.extend(active_state(&change?)?),
                Some(end) = ends.next() => {
                    let end = end.args()?;
                    if end.job == own {
                        break end.result.clone();
                    }
                }
            }
        };
        // What was signalled before the answer to a later call is here when that is.
        let state: String = zbus_systemd::systemd1::UnitProxy::new(&connection, path)
            .await?
            .active_state()
            .await?;
        while let Some(Some(change)) = changes.next().now_or_never() {
            states.extend(active_state(&change?)?);
        }
        states.push(state);
        Ok(Self { job, states })
    }

    /// Returns whether a state was seen.
    pub(crate) fn saw(&self, state: &str) -> bool {
        self.states.iter().any(|seen| seen == state)
    }
}

fn active_state(change: &Message) -> Result<Option<String>> {
    let body = change.body();
    let (_, mut values, _): (String, HashMap<String, OwnedVariant>, Vec<String>) = body.deserialize()?;
    let state = values.remove("ActiveState").map(String::try_from).transpose();
    Ok(state?)
}

/// Returns the service unit of an id.
pub(crate) fn unit_of(id: &str) -> Result<String> {
    Ok(UnitName::service(&ServiceId::parse(id)?).to_string())
}

/// Starts a unit and gives the exit code of `systemctl`.
pub(crate) fn start(site: &Site, unit: &str) -> Result<i32> {
    Ok(site.machine.run(&["systemctl", "start", unit])?.code())
}

/// A failure comes with the end of the machine's journal.
pub(crate) fn with_journal(site: &Site, result: Result<()>) -> Result<()> {
    result.map_err(|error| {
        let journal = site.machine.journal(JOURNAL_LINES);
        anyhow!("{error:#}\n--- the last {JOURNAL_LINES} lines of the machine's journal:\n{journal}")
    })
}
