//! The local view: what systemd on this host says, for when NATS is away.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use tcs_client::{Collector, ControlOptions, SiteSnapshot, Verb};
use tcs_config::{SERVICE_PATH_VARIABLE, TypeCatalog};
use tcs_manager::mirror::{Declared, Identity, Mirror};
use tcs_manager::systemd::{Changes, JobResult, JobVerb, Systemd, SystemdError, UnitState};
use tcs_wire::rpc::ControlReply;
use tcs_wire::{Exit, Kind, ServiceId, State, UnitName};

use crate::clock::Clock;
use crate::failure::Failure;
use crate::settings::Settings;

/// Where the manager says whether it reaches NATS.
const MANAGER_FILE: &str = "/run/tcs-manager/nats.json";
/// Where holds lie (design decision 10).
const HOLDS: &str = "/var/lib/tcs-manager/holds";

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
        let unit = UnitName::service(id);
        let job = match verb {
            Verb::Start => JobVerb::Start,
            Verb::Stop => JobVerb::Stop,
            Verb::Restart => JobVerb::Restart,
        };
        let told = |error: SystemdError| Failure::of_systemd(&error);
        if verb != Verb::Stop && self.is_failed(&unit).await.map_err(told)? {
            // A person who starts it has seen the failure: the count towards the limit begins anew.
            self.systemd.reset_failed(&unit).await.map_err(told)?;
        }
        let queued = self.systemd.submit(job, &unit).await.map_err(told)?;
        let number = queued.id();
        let job = if options.no_block {
            "queued".to_owned()
        } else {
            match queued
                .end(options.timeout)
                .await
                .map_err(|error| slow(&error, &unit))?
            {
                JobResult::Done => "done".to_owned(),
                other => return Err(self.not_done(&other, &unit).await),
            }
        };
        let unit_state = self.systemd.unit(&unit).await.map_err(told)?;
        let kind = if unit_state.is_oneshot() {
            Kind::Job
        } else {
            Kind::Permanent
        };
        let state = snapshot_of(&unit_state).state(kind);
        if verb != Verb::Stop && !options.no_block {
            if !unit_state.condition_result {
                return Err(condition_failed(id));
            }
            if kind == Kind::Permanent && state != State::Running {
                return Err(self.not_done(&JobResult::Done, &unit).await);
            }
        }
        let message = match (options.no_block, kind, state) {
            (true, ..) => format!("job {number} is queued"),
            (_, Kind::Job, _) if verb != Verb::Stop => format!("{id} has run, it is {state}"),
            (_, _, State::Running) => format!("{id} is {state}, process {}", unit_state.main_pid),
            _ => format!("{id} is {state}"),
        };
        Ok(ControlReply {
            service_id: id.clone(),
            unit: unit.to_string(),
            job,
            state,
            message,
        })
    }

    async fn is_failed(&self, unit: &UnitName) -> Result<bool, SystemdError> {
        let listed = self.systemd.list().await?;
        Ok(listed
            .iter()
            .any(|listed| listed.name == *unit && listed.active_state == "failed"))
    }

    /// Says why a job failed, with the unit's own result where it has one.
    async fn not_done(&self, result: &JobResult, unit: &UnitName) -> Failure {
        let ending = match self.systemd.unit(unit).await {
            Ok(state) => tcs_client::ending(&snapshot_of(&state)),
            Err(_) => None,
        };
        let words = ending.unwrap_or_else(|| format!("systemd's job ended as `{result}`"));
        Failure::new(Exit::Failed, words).hint(format!("what it said: journalctl -u {unit} -n 30"))
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

/// `systemctl start` says nothing of a skipped start (design decision 10).
fn condition_failed(id: &ServiceId) -> Failure {
    let hold = Path::new(HOLDS).join(id.instance());
    let unit = UnitName::service(id);
    if hold.exists() {
        let message = format!("it is held by {}", hold.display());
        return Failure::new(Exit::Failed, message).hint("systemd skips every start until that file is gone");
    }
    Failure::new(
        Exit::Failed,
        "a condition of its unit does not hold, so systemd skipped the start",
    )
    .hint(format!("which one: systemctl status {unit}"))
}

fn slow(error: &SystemdError, unit: &UnitName) -> Failure {
    match error {
        SystemdError::Deadline { after, .. } => Failure::new(
            Exit::Failed,
            format!(
                "its job has not ended within {} s; it goes on",
                after.as_secs_f64()
            ),
        )
        .hint(format!("how it goes: systemctl status {unit}")),
        other => Failure::of_systemd(other),
    }
}

fn snapshot_of(state: &UnitState) -> tcs_wire::UnitSnapshot {
    tcs_wire::UnitSnapshot {
        load_state: state.load_state.clone(),
        active_state: state.active_state.clone(),
        sub_state: state.sub_state.clone(),
        result: state.result.clone(),
        unit_file_state: state.unit_file_state.clone(),
        exec_main_code: state.exec_main_code,
        exec_main_status: state.exec_main_status,
        started: state.exec_main_start.map(Into::into),
        ..tcs_wire::UnitSnapshot::default()
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

    #[test]
    fn a_skipped_start_is_told() {
        let failure = condition_failed(&ServiceId::parse("no_such_service.main").unwrap());
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.hints,
            ["which one: systemctl status tcs@no_such_service.service"]
        );
    }
}
