//! The connection to systemd and the calls on it.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tcs_wire::UnitName;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;
use zbus::message::Message;
use zbus::{Connection, DynamicType, MessageStream, OwnedObjectPath, Variant, connection};

use super::error::SystemdError;
use super::files::UnitFiles;
use super::jobs::{Job, JobTable, JobVerb};
use super::path::unit_path;
use super::properties::{Properties, Value, value};
use super::signals::{Change, forward, subscribe};
use super::state::{ClockReading, UnitState};

pub(super) const BUS: &str = "org.freedesktop.DBus";
pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The oldest systemd that the suite runs under: Debian 12's.
const OLDEST_VERSION: u32 = 252;
/// The longest wait for an answer.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Calls in flight: dbus-daemon refuses at 128 per connection.
const MAX_CALLS: usize = 64;
/// Jobs in flight: beyond some 500 PID 1 exceeds its own limit of match rules.
const MAX_JOBS: usize = 32;
/// Signals that may wait for the forwarding task.
const QUEUED_SIGNALS: NonZeroUsize = NonZeroUsize::new(4096).expect("a constant above zero");

/// What a listing says of one loaded unit, without asking the unit itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUnit {
    /// The unit.
    pub name: UnitName,
    /// LoadState.
    pub load_state: String,
    /// ActiveState.
    pub active_state: String,
    /// SubState.
    pub sub_state: String,
}

/// A row of ListUnitsByPatterns: name, description, load, active and sub state, followed unit, path, job.
type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// systemd, over D-Bus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systemd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    calls: Connection,
    /// Signals have a connection of their own: a full queue there must not hold up an answer.
    _signals: Connection,
    jobs: Arc<Mutex<JobTable>>,
    free_jobs: Arc<Semaphore>,
    version: String,
    _forwarder: AbortOnDropHandle<()>,
    _files: Option<AbortOnDropHandle<()>>,
}

/// The changes of the suite's units, in systemd's order.
#[derive(Debug)]
pub struct Changes(mpsc::UnboundedReceiver<Change>);

impl Changes {
    /// Waits for the next change. After [`Change::Closed`] there is none.
    pub async fn next(&mut self) -> Change {
        self.0.recv().await.unwrap_or(Change::Closed)
    }
}

impl Systemd {
    /// Connects to the system bus, or to the bus at `address`, and subscribes to systemd's signals.
    ///
    /// # Errors
    /// No bus, no systemd on it, or one that is too old.
    pub async fn connect(address: Option<&str>) -> Result<(Self, Changes), SystemdError> {
        let open = tokio::time::timeout(CALL_DEADLINE, async {
            let calls = builder(address).build().await?;
            let signals = builder(address).max_queued(QUEUED_SIGNALS).build().await?;
            Ok((calls, signals))
        });
        let failed = |source| {
            let address = address.unwrap_or("the system bus").to_owned();
            SystemdError::Connect { address, source }
        };
        let deadline = |_| SystemdError::Deadline {
            what: "the connection to D-Bus",
            after: CALL_DEADLINE,
        };
        let (calls, signals) = open.await.map_err(deadline)?.map_err(failed)?;

        // Listening comes first: what changes from here on is seen, or already in the first listing.
        let stream = MessageStream::from(&signals);
        subscribe(&signals)
            .await
            .map_err(|error| SystemdError::from_call("AddMatch", CALL_DEADLINE, error))?;
        call(&signals, SYSTEMD_PATH, MANAGER, "Subscribe", &()).await?;
        let reply = call_bus(&signals, "GetNameOwner", SYSTEMD).await?;
        let owner: String = read("GetNameOwner", &reply)?;
        let version = version(&calls).await?;

        let jobs = Arc::new(Mutex::new(JobTable::default()));
        let (sender, receiver) = mpsc::unbounded_channel();
        let files = follow_files(&calls, sender.clone()).await;
        let forwarder = tokio::spawn(forward(stream, owner, Arc::clone(&jobs), sender));
        let inner = Inner {
            calls,
            _signals: signals,
            jobs,
            free_jobs: Arc::new(Semaphore::new(MAX_JOBS)),
            version,
            _forwarder: AbortOnDropHandle::new(forwarder),
            _files: files,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            Changes(receiver),
        ))
    }

    /// Returns systemd's version as it gives it, e.g. `252.39-1~deb12u2`.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// Lists the suite's loaded units. Units that are stopped and unreferenced are not loaded, hence not among them.
    ///
    /// # Errors
    /// As any call.
    pub async fn list(&self) -> Result<Vec<ListedUnit>, SystemdError> {
        let body = (Vec::<&str>::new(), vec!["tcs@*"]);
        let reply = self.manager("ListUnitsByPatterns", &body).await?;
        let rows: Vec<Row> = read("ListUnitsByPatterns", &reply)?;
        let listed = |(name, _, load_state, active_state, sub_state, ..): Row| {
            let name = UnitName::parse(&name).ok()?;
            Some(ListedUnit {
                name,
                load_state,
                active_state,
                sub_state,
            })
        };
        Ok(rows.into_iter().filter_map(listed).collect())
    }

    /// Reads a loaded unit at one moment.
    ///
    /// Only for units that are loaded: asking for another one loads it, and tells everybody so.
    ///
    /// # Errors
    /// As any call.
    pub async fn unit(&self, name: &UnitName) -> Result<UnitState, SystemdError> {
        let path = unit_path(&name.to_string());
        // An empty interface stands for all of them, in one message and of one moment.
        let reply = call(&self.inner.calls, path.as_str(), PROPERTIES, "GetAll", &"").await?;
        let body = reply.body();
        let all: HashMap<&str, Variant<'_>> =
            body.deserialize().map_err(|source| SystemdError::Protocol {
                what: "GetAll",
                source,
            })?;
        let mut state = UnitState::unloaded(name.clone());
        state.apply(&Properties::decode(&all), &ClockReading::now());
        Ok(state)
    }

    /// Reads all the suite's loaded units, at most 64 at a time.
    ///
    /// # Errors
    /// As any call; a unit that was unloaded meanwhile is none.
    pub async fn units(&self) -> Result<Vec<UnitState>, SystemdError> {
        let listed = self.list().await?;
        let states = stream::iter(listed)
            .map(|unit| async move { self.unit(&unit.name).await })
            .buffer_unordered(MAX_CALLS)
            .collect::<Vec<_>>()
            .await;
        let gone = |state: &Result<UnitState, _>| matches!(state, Err(SystemdError::NoSuchUnit(_)));
        states.into_iter().filter(|state| !gone(state)).collect()
    }

    /// Reads whether a unit is enabled, without loading it; none when it has no file.
    ///
    /// # Errors
    /// As any call.
    pub async fn unit_file_state(&self, name: &UnitName) -> Result<Option<String>, SystemdError> {
        match self.manager("GetUnitFileState", &name.to_string()).await {
            Ok(reply) => read("GetUnitFileState", &reply).map(Some),
            Err(SystemdError::NoSuchUnit(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads whether each of `names` is enabled, at most 64 at a time.
    ///
    /// # Errors
    /// As any call.
    pub async fn unit_file_states(
        &self,
        names: Vec<UnitName>,
    ) -> Result<Vec<(UnitName, Option<String>)>, SystemdError> {
        stream::iter(names)
            .map(|name| async move { self.unit_file_state(&name).await.map(|state| (name, state)) })
            .buffer_unordered(MAX_CALLS)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect()
    }

    /// Queues a job, as soon as fewer than 32 are in flight.
    ///
    /// # Errors
    /// What systemd or polkit refuses at once; how the job goes is told by [`Job::end`].
    pub async fn submit(&self, verb: JobVerb, unit: &UnitName) -> Result<Job, SystemdError> {
        let free = Arc::clone(&self.inner.free_jobs).acquire_owned();
        let permit = free.await.map_err(|_| SystemdError::Closed)?;
        let what = verb.method();
        let reply = self.manager(what, &(unit.to_string(), "replace")).await?;
        let path: OwnedObjectPath = read(what, &reply)?;
        let id = path.as_str().rsplit('/').next().and_then(|id| id.parse().ok());
        let id = id.ok_or(SystemdError::Protocol {
            what,
            source: zbus::Error::InvalidReply,
        })?;
        let end = self
            .inner
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait(id);
        Ok(Job {
            id,
            end,
            _permit: permit,
        })
    }

    /// Queues a job and waits for its end.
    ///
    /// # Errors
    /// As [`Systemd::submit`] and [`Job::end`].
    pub async fn run(
        &self,
        verb: JobVerb,
        unit: &UnitName,
        within: Duration,
    ) -> Result<super::JobResult, SystemdError> {
        self.submit(verb, unit).await?.end(within).await
    }

    /// Forgets a unit's failure and its count of restarts, so that the start limit begins anew.
    ///
    /// # Errors
    /// As any call.
    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), SystemdError> {
        self.manager("ResetFailedUnit", &unit.to_string()).await.map(drop)
    }

    async fn manager<B>(&self, method: &'static str, body: &B) -> Result<Message, SystemdError>
    where
        B: serde::Serialize + DynamicType,
    {
        call(&self.inner.calls, SYSTEMD_PATH, MANAGER, method, body).await
    }
}

fn builder(address: Option<&str>) -> connection::Builder<'_> {
    let builder = match address {
        Some(address) => connection::Builder::address(address),
        None => connection::Builder::system(),
    };
    builder.method_timeout(CALL_DEADLINE)
}

async fn call<B>(
    connection: &Connection,
    path: &str,
    interface: &'static str,
    method: &'static str,
    body: &B,
) -> Result<Message, SystemdError>
where
    B: serde::Serialize + DynamicType,
{
    let reply = connection
        .call_method(Some(SYSTEMD), path, Some(interface), method, body)
        .await;
    reply.map_err(|error| SystemdError::from_call(method, CALL_DEADLINE, error))
}

async fn call_bus(
    connection: &Connection,
    method: &'static str,
    name: &str,
) -> Result<Message, SystemdError> {
    let reply = connection
        .call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), method, &name)
        .await;
    reply.map_err(|error| SystemdError::from_call(method, CALL_DEADLINE, error))
}

fn read<T>(what: &'static str, reply: &Message) -> Result<T, SystemdError>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
    reply
        .body()
        .deserialize()
        .map_err(|source| SystemdError::Protocol { what, source })
}

/// Reads a property of systemd itself.
async fn property(connection: &Connection, name: &'static str) -> Result<Value, SystemdError> {
    let reply = call(connection, SYSTEMD_PATH, PROPERTIES, "Get", &(MANAGER, name)).await?;
    let body = reply.body();
    let found: Variant<'_> = body
        .deserialize()
        .map_err(|source| SystemdError::Protocol { what: name, source })?;
    value(&found).ok_or_else(|| wrong_type(name))
}

fn wrong_type(what: &'static str) -> SystemdError {
    SystemdError::Protocol {
        what,
        source: zbus::Error::IncorrectType,
    }
}

/// Watches the files of units; without a watch all works but that a file that systemd has not read yet is seen late.
async fn follow_files(
    connection: &Connection,
    changes: mpsc::UnboundedSender<Change>,
) -> Option<AbortOnDropHandle<()>> {
    let directories = match property(connection, "UnitPath").await {
        Ok(Value::List(paths)) => paths.into_iter().map(PathBuf::from).collect(),
        other => {
            tracing::warn!(?other, "systemd does not say where its units are");
            return None;
        }
    };
    match UnitFiles::watch(directories) {
        Ok(files) => Some(AbortOnDropHandle::new(tokio::spawn(files.tell(changes)))),
        Err(error) => {
            tracing::warn!(%error, "cannot watch the files of units");
            None
        }
    }
}

async fn version(connection: &Connection) -> Result<String, SystemdError> {
    let Value::Text(found) = property(connection, "Version").await? else {
        return Err(wrong_type("Version"));
    };
    if major(&found).is_some_and(|major| major < OLDEST_VERSION) {
        return Err(SystemdError::TooOld {
            found,
            needed: OLDEST_VERSION,
        });
    }
    Ok(found)
}

/// Returns the number that a version begins with, e.g. 252 of `252.39-1~deb12u2` and of `v252`.
fn major(version: &str) -> Option<u32> {
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_read() {
        for (text, number) in [
            ("252.39-1~deb12u2", 252),
            ("257", 257),
            ("v249-rc2", 249),
            ("systemd 241 (241)", 241),
        ] {
            assert_eq!(major(text), Some(number), "{text}");
        }
        assert_eq!(major("devel"), None);
    }
}
