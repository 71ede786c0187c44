//! What services.yaml says, checked and typed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tcs_wire::{HostName, Kind, RestartPolicy, ServiceId, SubjectPrefix, Variant};

use crate::diagnostic::Diagnostic;
use crate::source::{Place, Span};

/// The server that is spoken to when nothing else is said.
pub const DEFAULT_NATS_URL: &str = "nats://127.0.0.1:4222";

/// The configuration of one host.
#[derive(Debug, Clone)]
pub struct Site {
    /// The host's name in ids and keys (design decision 4).
    pub host: HostName,
    /// How NATS is reached.
    pub nats: NatsSettings,
    /// Whether missing streams are made by the suite (`false`: the site makes them itself).
    pub manage_streams: bool,
    /// The variant of entries that name none.
    pub default_variant: Variant,
    /// The declared services, in the order of the files.
    pub services: Vec<ServiceEntry>,
    /// The files that all this was read from.
    pub sources: Vec<PathBuf>,
}

impl Site {
    /// Returns the entry of a declared service.
    pub fn service(&self, id: &ServiceId) -> Option<&ServiceEntry> {
        self.services.iter().find(|entry| entry.id == *id)
    }

    /// Returns the id of this host's manager.
    pub fn manager_id(&self) -> ServiceId {
        ServiceId::manager(&self.host)
    }
}

/// How NATS is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// Addresses of one cluster, each `nats://HOST:PORT` or `tls://HOST:PORT`.
    pub urls: Vec<String>,
    /// The first tokens of all subjects.
    pub subject_prefix: SubjectPrefix,
    /// Whether every service waits for NATS before it is ready (design decision 32).
    pub required: bool,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            urls: vec![DEFAULT_NATS_URL.to_owned()],
            subject_prefix: SubjectPrefix::default(),
            required: false,
        }
    }
}

/// One declared service.
#[derive(Debug, Clone)]
pub struct ServiceEntry {
    /// Its name everywhere.
    pub id: ServiceId,
    /// Whether it runs until it is stopped or to completion.
    pub kind: Kind,
    /// What runs.
    pub program: Program,
    /// Whether it starts at boot.
    pub enabled: Enabled,
    /// What follows when it ends by itself.
    pub restart: Restart,
    /// When a job runs by itself.
    pub timer: Option<Timer>,
    /// Longest run of a job.
    pub max_runtime: Option<Duration>,
    /// Longest time from its start until it is ready.
    pub start_timeout: Option<Duration>,
    /// Longest time for an orderly end.
    pub stop_timeout: Option<Duration>,
    /// Longest silence of its own loop; zero turns the watchdog off.
    pub watchdog: Option<Duration>,
    /// Variables for the process, beside those of `/etc/tcs/env`.
    pub environment: BTreeMap<String, String>,
    /// How much it logs.
    pub log_level: Option<LogLevel>,
    /// Whether it is ready only when NATS is there.
    pub required: bool,
    /// The service's own values as written, `${VAR}` not yet expanded (see [`expand`](crate::expand())).
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// Where its type is named.
    pub place: Place,
    /// Whether a file declares it; else it is what the defaults make of an installed type.
    pub declared: bool,
    pub(crate) span: Span,
}

impl ServiceEntry {
    /// Makes an error that points at this entry.
    pub fn problem(&self, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.span, message).help(help)
    }
}

/// What a service's unit executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A binary built on the SDK that was found on the service path.
    Installed(PathBuf),
    /// Anything else, given by `exec:`.
    Exec {
        /// The program and its arguments; `${VAR}` in arguments is left to systemd.
        command: Vec<String>,
        /// Whether it tells systemd by itself when it is ready.
        notify: bool,
    },
}

impl Program {
    /// Returns the file that is executed.
    pub fn path(&self) -> &Path {
        match self {
            Self::Installed(binary) => binary,
            Self::Exec { command, .. } => Path::new(command.first().map_or("", String::as_str)),
        }
    }
}

/// Whether a service, or the timer of a job, starts with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enabled {
    /// It does.
    True,
    /// It does not.
    False,
    /// It does not, and is meant to be started by a person.
    Manual,
}

/// What follows when a service ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// After which ends it is started again.
    pub policy: RestartPolicy,
    /// How long to wait before.
    pub delay: Duration,
    /// How many restarts within the window are tried; zero is no limit.
    pub max: u32,
    /// The window that `max` counts in.
    pub window: Duration,
}

impl Default for Restart {
    /// One second, five times in a minute (design decision 17).
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            delay: Duration::from_secs(1),
            max: 5,
            window: Duration::from_secs(60),
        }
    }
}

/// When a job runs by itself.
#[derive(Debug, Clone)]
pub struct Timer {
    /// The moments.
    pub when: When,
    /// Longest random delay after each.
    pub jitter: Option<Duration>,
}

/// The moments at which a job runs.
#[derive(Debug, Clone)]
pub enum When {
    /// At the times of a calendar; one of them at least.
    Calendar {
        /// The expressions.
        events: Vec<CalendarEvent>,
        /// Whether a run that was missed while the machine was off is made up for.
        persistent: bool,
    },
    /// That long after the end of the run before.
    Every(Duration),
}

/// A calendar expression (`systemd.time(7)`) that names its time zone.
#[derive(Debug, Clone)]
pub struct CalendarEvent {
    pub(crate) expression: String,
    pub(crate) span: Span,
}

impl CalendarEvent {
    /// Returns the expression, with `UTC` where the file names no zone.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Makes the error that this is not a calendar expression, with what systemd says of it.
    pub fn refused(&self, reason: &str) -> Diagnostic {
        Diagnostic::error(&self.span, "this is not a time that systemd understands")
            .label(reason)
            .help("write it as in systemd.time(7), for example `hourly`, `*:0/10` or `Mon..Fri 06:30 Europe/Warsaw`")
    }
}

/// How much a service logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what should be looked at.
    Warn,
    /// And what the service does.
    Info,
    /// And how it does it.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// Returns the name that services.yaml has for it.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, level)| *level == self)
            .map_or("info", |(name, _)| name)
    }
}
