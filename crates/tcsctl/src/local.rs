//! The local view: what systemd on this host says, for when NATS is away.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use tcs_client::{Collector, ControlOptions, SiteSnapshot, Verb};
use tcs_config::{SERVICE_PATH_VARIABLE, TypeCatalog};
use tcs_manager::judge;
use tcs_manager::mirror::{Declared, Identity, Mirror};
use tcs_manager::systemd::{Changes, JobVerb, Systemd, SystemdError};
use tcs_wire::rpc::ControlReply;
use tcs_wire::{Exit, ServiceId, State, UnitName};

use crate::clock::Clock;
use crate::failure::Failure;
use crate::settings::Settings;

/// Where the manager says whether it reaches NATS.
const MANAGER_FILE: &str = "/run/tcs-manager/nats.json";

/// systemd of this host, and the services that its configuration names.
pub(crate) struct Local {
    systemd: Systemd,
    /// Dropped only at the end: jobs are told through it.
    _changes: Changes,
    identity: Identity,
    declared: Vec<Declared>,
    manager: Option<ManagerFile>,
}

/// What the manager wrote of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct ManagerFile {
    connected: bool,
    since: Timestamp,
}

impl Local {
    /// Returns whether this machine runs systemd.
    pub(crate) fn is_possible() -> bool {
        Path::new("/run/systemd/system").exists()
    }

    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let (systemd, changes) = Systemd::connect(None)
            .await
            .map_err(|error| Failure::of_systemd(&error))?;
        let hostname = settings.host.to_string();
        let identity = Identity {
            manager: ServiceId::manager(&settings.host),
            host: settings.host.clone(),
            hostname,
            boot_id: String::new(),
            run_id: String::new(),
        };
        let manager = fs::read(MANAGER_FILE)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self {
            systemd,
            _changes: changes,
            identity,
            declared: declared(settings),
            manager,
        })
    }

    /// Returns the line above every answer of the local view.
    pub(crate) fn heading(&self, failure: &str, clock: &Clock) -> String {
        heading(self.manager, failure, clock)
    }

    /// Returns the services of this host as systemd has them.
    pub(crate) async fn snapshot(&self, now: Timestamp) -> Result<SiteSnapshot, Failure> {
        self.read(None, now)
            .await
            .map_err(|error| Failure::of_systemd(&error))
    }

    /// As [`Local::snapshot`], with a service that may be neither declared nor loaded.
    pub(crate) async fn snapshot_with(
        &self,
        id: &ServiceId,
        now: Timestamp,
    ) -> Result<SiteSnapshot, Failure> {
        self.read(Some(id), now)
            .await
            .map_err(|error| Failure::of_systemd(&error))
    }

    async fn read(&self, asked: Option<&ServiceId>, now: Timestamp) -> Result<SiteSnapshot, SystemdError> {
        let mirror = self.mirror(asked, now).await?;
        let mut collector = Collector::default();
        for record in mirror.records() {
            collector.state(&record.key(), &serde_json::to_vec(record).unwrap_or_default());
        }
        let mut site = collector.view(now);
        // systemd itself was asked: no manager stands in between.
        site.managers.clear();
        site.services
            .iter_mut()
            .for_each(|service| service.certain = true);
        Ok(site)
    }

    /// Reads systemd as the manager does at its start.
    async fn mirror(&self, asked: Option<&ServiceId>, now: Timestamp) -> Result<Mirror, SystemdError> {
        let mut mirror = Mirror::new(self.identity.clone());
        mirror.declare(self.declared.clone(), now);
        let mut units = self.systemd.units().await?;
        let known: BTreeSet<&ServiceId> = units
            .iter()
            .map(|unit| unit.name.id())
            .chain(self.declared.iter().map(|entry| &entry.id))
            .collect();
        // One that was asked for by name may be loaded for it, as `systemctl status` does.
        if let Some(id) = asked.filter(|id| !known.contains(id)) {
            let unit = self.systemd.unit(&UnitName::service(id)).await?;
            if unit.load_state != "not-found"
                && (unit.exec_main_code != 0 || unit.unit_file_state != "disabled")
            {
                units.push(unit);
            }
        }
        let files = self.systemd.unit_file_states(mirror.unloaded_units()).await?;
        mirror.read(units, files, now);
        Ok(mirror)
    }

    /// Has systemd start, stop or restart a service.
    pub(crate) async fn control(
        &self,
        verb: Verb,
        id: &ServiceId,
        options: &ControlOptions,
    ) -> Result<ControlReply, Failure> {
        if let Some(host) = options
            .host
            .as_ref()
            .filter(|host| *host != self.identity.host.as_str())
        {
            let message = format!("NATS is away, and host `{host}` cannot be reached without it");
            return Err(
                Failure::new(Exit::Unavailable, message).hint(format!("log in on {host} and say it there"))
            );
        }
        let told = |error: SystemdError| Failure::of_systemd(&error);
        let before = self.mirror(Some(id), Timestamp::now()).await.map_err(told)?;
        let Some(record) = before.record(id) else {
            let known: Vec<&str> = before
                .records()
                .map(|record| record.service_id.as_str())
                .collect();
            return Err(Failure::no_such_service("this host has no", id.as_str(), known));
        };
        let unit = UnitName::service(id);
        let job = match verb {
            Verb::Start => JobVerb::Start,
            Verb::Stop => JobVerb::Stop,
            Verb::Restart => JobVerb::Restart,
        };
        if verb != Verb::Stop && record.state() == State::Failed {
            // A person who starts it has seen the failure: the count towards the limit begins anew.
            self.systemd.reset_failed(&unit).await.map_err(told)?;
        }
        let queued = self.systemd.submit(job, &unit).await.map_err(told)?;
        if options.no_block {
            return Ok(ControlReply {
                service_id: id.clone(),
                unit: unit.to_string(),
                job: "queued".to_owned(),
                state: record.state(),
                message: format!("job {} is queued", queued.id()),
            });
        }
        let ended = queued.end(options.timeout).await;
        let result = ended.map_err(|error| slow(&error, id))?;
        let now = Timestamp::now();
        let after = self.mirror(Some(id), now).await.map_err(told)?;
        let (record, state) = after
            .current(id, now)
            .ok_or_else(|| Failure::new(Exit::Failed, "systemd has forgotten its unit meanwhile"))?;
        judge(job, &result, &record, state).map_err(|refusal| Failure::of_refusal(&refusal))
    }
}

/// Returns what the configuration names; without one, or with a broken one, what is loaded has to do.
fn declared(settings: &Settings) -> Vec<Declared> {
    let service_path = env::var(SERVICE_PATH_VARIABLE).ok();
    let types = TypeCatalog::installed(Path::new("/"), service_path.as_deref());
    let Ok(loaded) = tcs_config::load_sound(&settings.found, &types) else {
        return Vec::new();
    };
    let entry = |entry: tcs_config::ServiceEntry| Declared {
        id: entry.id,
        kind: entry.kind,
        restart_policy: entry.restart.policy,
        max_restarts: Some(entry.restart.max).filter(|max| *max != 0),
        scheduled: entry.timer.is_some(),
    };
    loaded.site.services.into_iter().map(entry).collect()
}

fn heading(manager: Option<ManagerFile>, failure: &str, clock: &Clock) -> String {
    match manager {
        Some(ManagerFile {
            connected: false,
            since,
        }) => {
            format!("local view, NATS away since {}: {failure}", clock.full(since))
        }
        Some(ManagerFile {
            connected: true,
            since,
        }) => format!(
            "local view: {failure}, though the manager of this host is connected since {}; look at --nats and TCS_NATS_URL",
            clock.full(since)
        ),
        None => format!(
            "local view, NATS away: {failure}; tcs-manager does not run either: systemctl start tcs-manager"
        ),
    }
}

fn slow(error: &SystemdError, id: &ServiceId) -> Failure {
    match error {
        SystemdError::Deadline { after, .. } => {
            let seconds = after.as_secs_f64();
            let message = format!("the job of {id} has not ended within {seconds} s; it goes on");
            Failure::new(Exit::StopDeadline, message)
        }
        other => Failure::of_systemd(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_view_says_why_it_is_one() {
        let clock = Clock::new("2026-11-22T18:00:00Z".parse().unwrap(), false);
        let file = |text: &str| serde_json::from_str::<ManagerFile>(text).ok();
        let failure = "no NATS server answers at nats://127.0.0.1:4222";
        insta::assert_snapshot!(
            heading(file(r#"{"connected":false,"since":"2026-11-22T17:57:00Z"}"#), failure, &clock),
            @"local view, NATS away since 2026-11-22 17:57:00 UTC; 3 min ago: no NATS server answers at nats://127.0.0.1:4222"
        );
        insta::assert_snapshot!(
            heading(file(r#"{"connected":true,"since":"2026-11-22T12:00:00Z"}"#), failure, &clock),
            @"local view: no NATS server answers at nats://127.0.0.1:4222, though the manager of this host is connected since 2026-11-22 12:00:00 UTC; 6 h ago; look at --nats and TCS_NATS_URL"
        );
        insta::assert_snapshot!(
            heading(file("broken"), failure, &clock),
            @"local view, NATS away: no NATS server answers at nats://127.0.0.1:4222; tcs-manager does not run either: systemctl start tcs-manager"
        );
    }
}
