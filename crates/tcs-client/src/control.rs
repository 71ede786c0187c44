//! Commands: start, stop and restart, carried out by the manager that has the service.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;
use tcs_bus::RequestError;
use tcs_wire::rpc::{ControlArgs, ControlReply, Word};
use tcs_wire::{ServiceId, Snapshot, SubjectPrefix};

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
        let subject = subject(
            self.bus().prefix(),
            verb.word(),
            id,
            mirror,
            options.host.as_deref(),
        )?;
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
        let subject = subject(self.bus().prefix(), Word::Status, id, &mirror, host)?;
        match self.bus().request(&subject, &Map::new(), deadline).await {
            Err(RequestError::NoResponders(_)) => Err(self.who_has(id, host).await),
            other => other.map_err(|error| ClientError::of_request(error, &format!("the status of `{id}`"))),
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
        // A manager that has only just begun, or ended early, has declared what it mirrors later.
        let owner = match &found.snapshot {
            Some(snapshot) => Some(snapshot.manager.to_string()),
            None => found
                .parent
                .clone()
                .filter(|parent| parent.starts_with("manager.")),
        };
        let Some(owner) = owner else {
            return ClientError::Unmanaged {
                id: id.clone(),
                parent: found.parent.clone(),
                host: found.host.clone(),
                pid: found.pid,
                heard: found.last_heartbeat,
            };
        };
        ClientError::ManagerAway {
            id: id.clone(),
            host: owner.trim_start_matches("manager.").to_owned(),
            liveness: site
                .manager(&owner)
                .map_or(Liveness::NeverHeard, |manager| manager.liveness),
        }
    }
}

/// Returns the subject on which exactly one manager answers.
fn subject(
    prefix: &SubjectPrefix,
    word: Word,
    id: &ServiceId,
    mirror: &[Snapshot],
    host: Option<&str>,
) -> Result<String, ClientError> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(host: &str, declared: bool, main_pid: u32) -> Snapshot {
        let record = json!({
            "service_id": "focuser.dome", "manager": format!("manager.{host}"), "host": host, "kind": "permanent",
            "declared": declared, "unit": { "main_pid": main_pid }, "updated": [2026, 11, 22, 18, 0, 0, 0],
        });
        serde_json::from_value(record).unwrap()
    }

    fn asked(mirror: &[Snapshot], host: Option<&str>) -> Result<String, String> {
        let id = ServiceId::parse("focuser.dome").unwrap();
        let subject = subject(&SubjectPrefix::default(), Word::Stop, &id, mirror, host);
        subject.map_err(|error| error.to_string())
    }

    #[test]
    fn the_one_host_that_has_a_service_is_asked() {
        assert_eq!(asked(&[], None).unwrap(), "svc.rpc.focuser.dome.v1.stop");
        let obs1 = "svc.rpc.manager.obs1.v1.stop.focuser.dome";
        assert_eq!(asked(&[entry("obs1", true, 0)], None).unwrap(), obs1);
        // What is left of it on a host where it is not declared any more is no second owner, unless it runs.
        let left = |main_pid| [entry("obs1", true, 0), entry("obs2", false, main_pid)];
        assert_eq!(asked(&left(0), None).unwrap(), obs1);
        assert!(asked(&left(7), None).is_err());
    }

    #[test]
    fn of_several_hosts_one_has_to_be_named() {
        let both = [entry("obs1", true, 5), entry("obs2", true, 6)];
        assert_eq!(
            asked(&both, None).unwrap_err(),
            "`focuser.dome` is on several hosts: obs1, obs2"
        );
        let obs2 = "svc.rpc.manager.obs2.v1.stop.focuser.dome";
        assert_eq!(asked(&both, Some("obs2")).unwrap(), obs2);
        let elsewhere = asked(&both, Some("obs3")).unwrap_err();
        assert_eq!(elsewhere, "host `obs3` has no service `focuser.dome`");
    }
}
