//! Commands: start, stop and restart, carried out by the manager that has the service.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;
use tcs_bus::RequestError;
use tcs_wire::rpc::{ControlArgs, ControlReply, Word};
use tcs_wire::{ServiceId, Snapshot};

use crate::error::ClientError;
use crate::name::similar;
use crate::site::Site;
use crate::view::Liveness;

/// What an answer may take beyond the time that the job itself is given.
const ROUND_TRIP: Duration = Duration::from_secs(3);

/// What is to be done with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start it; nothing if it runs.
    Start,
    /// Stop it; nothing if it is stopped.
    Stop,
    /// Stop and start it.
    Restart,
}

impl Verb {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        self.word().as_str()
    }

    fn word(self) -> Word {
        match self {
            Self::Start => Word::Start,
            Self::Stop => Word::Stop,
            Self::Restart => Word::Restart,
        }
    }
}

/// How a command is to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlOptions {
    /// How long to wait for the outcome.
    pub timeout: Duration,
    /// Whether to return once the job is queued.
    pub no_block: bool,
    /// Which host's service is meant, where several have it.
    pub host: Option<String>,
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(90),
            no_block: false,
            host: None,
        }
    }
}

impl Site {
    /// Has a service started, stopped or restarted and waits for the outcome.
    ///
    /// `mirror` is what [`Site::mirror`] read before: it tells which hosts have the service.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the manager's reason when it was not done; else why nobody could be asked, as far as
    /// it can be told.
    pub async fn control(
        &self,
        verb: Verb,
        id: &ServiceId,
        mirror: &[Snapshot],
        options: &ControlOptions,
    ) -> Result<ControlReply, ClientError> {
        let arguments = ControlArgs {
            no_block: options.no_block,
            command_id: None,
            timeout_s: Some(options.timeout.as_secs_f64()),
        };
        let subject = self.subject(verb.word(), id, mirror, options.host.as_deref())?;
        let what = format!("the {} of `{id}`", verb.as_str());
        match self
            .bus()
            .request(&subject, &arguments, options.timeout + ROUND_TRIP)
            .await
        {
            Err(RequestError::NoResponders(_)) => Err(self.who_has(id, options.host.as_deref()).await),
            Err(error @ RequestError::Timeout { .. }) => {
                let why = self.who_has(id, options.host.as_deref()).await;
                Err(if is_away(&why) {
                    why
                } else {
                    ClientError::of_request(error, &what)
                })
            }
            other => other.map_err(|error| ClientError::of_request(error, &what)),
        }
    }

    /// Asks the manager that has a service what systemd says of it now.
    ///
    /// # Errors
    /// As [`Site::control`].
    pub async fn status(
        &self,
        id: &ServiceId,
        host: Option<&str>,
        deadline: Duration,
    ) -> Result<Snapshot, ClientError> {
        let mirror = self.mirror().await?;
        let subject = self.subject(Word::Status, id, &mirror, host)?;
        match self.bus().request(&subject, &Map::new(), deadline).await {
            Err(RequestError::NoResponders(_)) => Err(self.who_has(id, host).await),
            other => other.map_err(|error| ClientError::of_request(error, &format!("the status of `{id}`"))),
        }
    }

    /// Returns the subject on which exactly one manager answers.
    fn subject(
        &self,
        word: Word,
        id: &ServiceId,
        mirror: &[Snapshot],
        host: Option<&str>,
    ) -> Result<String, ClientError> {
        let prefix = self.bus().prefix();
        let owners = owners(id, mirror);
        let hosts = || {
            owners
                .iter()
                .map(|owner| owner.host.to_string())
                .collect::<Vec<_>>()
        };
        match (host, owners.as_slice()) {
            (None, []) => Ok(prefix.rpc(id, word)),
            // A manager answers on a subject of its own for all that it mirrors, on the service's for what is declared.
            (None, [owner]) => Ok(prefix.rpc_about(&owner.manager, word, id)),
            (None, _) => Err(ClientError::SeveralHosts {
                id: id.clone(),
                hosts: hosts(),
            }),
            (Some(host), _) => match owners.iter().find(|owner| owner.host.as_str() == host) {
                Some(owner) => Ok(prefix.rpc_about(&owner.manager, word, id)),
                None => Err(ClientError::NotOnHost {
                    id: id.clone(),
                    host: host.to_owned(),
                    hosts: hosts(),
                }),
            },
        }
    }

    /// Finds out why nobody answered for a service.
    async fn who_has(&self, id: &ServiceId, host: Option<&str>) -> ClientError {
        let collector = match self.collect().await {
            Ok(collector) => collector,
            Err(error) => return error,
        };
        let site = collector.view(Timestamp::now());
        let on_host = |there: Option<&str>| host.is_none() || host == there;
        let mut services = site.services.iter();
        let found = services.find(|service| service.name == id.as_str() && on_host(service.host.as_deref()));
        let Some(found) = found else {
            // Names are looked for only where somebody would answer for the right one.
            if site.managers.is_empty() {
                return ClientError::NoManager {
                    urls: self.urls().to_owned(),
                };
            }
            let known = site.services.iter().map(|service| service.name.as_str());
            let similar = similar(id.as_str(), known)
                .into_iter()
                .map(str::to_owned)
                .collect();
            return ClientError::NoSuchService {
                id: id.clone(),
                similar,
            };
        };
        match &found.snapshot {
            Some(snapshot) => ClientError::ManagerAway {
                id: id.clone(),
                host: snapshot.host.to_string(),
                liveness: site
                    .manager(snapshot.manager.as_str())
                    .map_or(Liveness::NeverHeard, |manager| manager.liveness),
            },
            None => ClientError::Unmanaged {
                id: id.clone(),
                parent: found.parent.clone(),
                host: found.host.clone(),
                pid: found.pid,
                heard: found.last_heartbeat,
            },
        }
    }
}

/// Returns whether a manager is known not to be there; one that still beats is only slow.
fn is_away(error: &ClientError) -> bool {
    matches!(error, ClientError::ManagerAway { liveness, .. } if *liveness != Liveness::Alive)
}

/// Returns the entries of the hosts that have a service; what was left of an undeclared one does not count beside them.
fn owners<'a>(id: &ServiceId, mirror: &'a [Snapshot]) -> Vec<&'a Snapshot> {
    let all: Vec<&Snapshot> = mirror
        .iter()
        .filter(|snapshot| snapshot.service_id == *id)
        .collect();
    let alive = |snapshot: &&&Snapshot| snapshot.declared || snapshot.unit.main_pid != 0;
    let real: Vec<&Snapshot> = all.iter().filter(alive).copied().collect();
    if real.is_empty() { all } else { real }
}
