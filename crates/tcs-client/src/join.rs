//! Joins what the mirror, the status, the heartbeat and the registry say into one picture.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tcs_wire::{
    DecodeError, EventKind, Heartbeat, HostName, Kind, Message, RegistryEvent, ServiceId, Snapshot, State,
    StatusReport,
};

use crate::observed::Traces;
use crate::sentence::explanation;
use crate::view::{Condition, Health, Liveness, ManagerView, ServiceView, SiteSnapshot};

/// Begins every manager's id.
const MANAGER_PREFIX: &str = "manager.";

/// Takes in messages in any order and makes a [`SiteSnapshot`] of them.
///
/// No message stops it: one that cannot be read is set aside and told.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    snapshots: BTreeMap<(ServiceId, HostName, ServiceId), Snapshot>,
    traces: BTreeMap<String, Traces>,
    unreadable: BTreeMap<String, String>,
}

impl Collector {
    /// Takes one entry of the mirror; an empty one stands for its removal.
    pub fn state(&mut self, key: &str, value: &[u8]) {
        if value.is_empty() {
            self.snapshots.retain(|_, snapshot| snapshot.key() != key);
            return;
        }
        if let Some(snapshot) = self.read::<Snapshot>(key, decode_state(value)) {
            let place = (
                snapshot.service_id.clone(),
                snapshot.host.clone(),
                snapshot.manager.clone(),
            );
            self.snapshots.insert(place, snapshot);
        }
    }

    /// Takes a status message; an older one than the last is left out.
    pub fn status(&mut self, subject: &str, body: &[u8]) {
        if let Some(report) = self.read::<StatusReport>(subject, decode("status report", body)) {
            let traces = self.traces.entry(report.name.clone()).or_default();
            if traces
                .report
                .as_ref()
                .is_none_or(|last| last.timestamp <= report.timestamp)
            {
                traces.report = Some(report);
            }
        }
    }

    /// Takes a heartbeat; an older one than the last is left out.
    pub fn heartbeat(&mut self, subject: &str, body: &[u8]) {
        if let Some(heartbeat) = self.read::<Heartbeat>(subject, decode("heartbeat", body)) {
            let traces = self.traces.entry(heartbeat.service_id.clone()).or_default();
            if traces
                .heartbeat
                .as_ref()
                .is_none_or(|last| last.timestamp <= heartbeat.timestamp)
            {
                traces.heartbeat = Some(heartbeat);
            }
        }
    }

    /// Takes a registry event; an older one than the last of its kind is left out.
    pub fn registry(&mut self, subject: &str, body: &[u8]) {
        if let Some(event) = self.read::<RegistryEvent>(subject, decode("registry event", body)) {
            let events = &mut self.traces.entry(event.service_id.clone()).or_default().events;
            match events.iter_mut().find(|known| known.event == event.event) {
                Some(known) if known.timestamp <= event.timestamp => *known = event,
                Some(_) => {}
                None => events.push(event),
            }
        }
    }

    /// Returns what the reader sees of it at `now`.
    pub fn view(&self, now: Timestamp) -> SiteSnapshot {
        let managers = self.managers(now);
        let mut services = Vec::with_capacity(self.traces.len());
        let mut explained = BTreeSet::new();
        for snapshot in self.snapshots.values() {
            let manager = managers
                .iter()
                .find(|manager| manager.id == snapshot.manager.as_str());
            let certain = manager.is_some_and(|manager| manager.liveness == Liveness::Alive);
            let name = snapshot.service_id.as_str();
            let traces = self
                .traces
                .get(name)
                .filter(|traces| belongs(traces, snapshot, now));
            if traces.is_some() {
                explained.insert(name);
            }
            services.push(managed(snapshot, traces, certain, now));
        }
        for (name, traces) in &self.traces {
            let mirrored = self.snapshots.keys().any(|(id, ..)| id.as_str() == name);
            // A name that a manager answers for appears a second time only while another process has it.
            if name.starts_with(MANAGER_PREFIX)
                || explained.contains(name.as_str())
                || mirrored && !traces.is_alive(now)
            {
                continue;
            }
            services.push(unmanaged(name, traces, now));
        }
        services.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
        let unreadable = self
            .unreadable
            .iter()
            .map(|(place, why)| (place.clone(), why.clone()))
            .collect();
        SiteSnapshot {
            taken: now,
            services,
            managers,
            unreadable,
        }
    }

    /// Returns the managers as if they were services, for those who ask for one by name.
    pub fn manager_services(&self, now: Timestamp) -> Vec<ServiceView> {
        let managers = self
            .traces
            .iter()
            .filter(|(name, _)| name.starts_with(MANAGER_PREFIX));
        managers
            .map(|(name, traces)| unmanaged(name, traces, now))
            .collect()
    }

    fn managers(&self, now: Timestamp) -> Vec<ManagerView> {
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        for snapshot in self.snapshots.values() {
            *ids.entry(snapshot.manager.as_str()).or_default() += 1;
        }
        for name in self.traces.keys().filter(|name| name.starts_with(MANAGER_PREFIX)) {
            ids.entry(name).or_default();
        }
        let view = |(id, services): (&str, usize)| {
            let traces = self.traces.get(id).cloned().unwrap_or_default();
            ManagerView {
                host: id.strip_prefix(MANAGER_PREFIX).unwrap_or(id).to_owned(),
                liveness: Liveness::judge(traces.beat(), traces.report.as_ref(), now),
                report: traces.report,
                services,
                id: id.to_owned(),
            }
        };
        ids.into_iter().map(view).collect()
    }

    fn read<T>(&mut self, place: &str, message: Result<T, DecodeError>) -> Option<T> {
        match message {
            Ok(message) => {
                self.unreadable.remove(place);
                Some(message)
            }
            Err(error) => {
                let why = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                self.unreadable.insert(place.to_owned(), why);
                None
            }
        }
    }
}

/// Reads an entry of the mirror, bare or in an envelope.
pub(crate) fn decode_state(value: &[u8]) -> Result<Snapshot, DecodeError> {
    match serde_json::from_slice(value) {
        Ok(snapshot) => Ok(snapshot),
        Err(bare) => match Message::decode(value)? {
            Message { data: None, .. } => Err(DecodeError::Data {
                expected: "snapshot",
                source: bare,
            }),
            message => message.read("snapshot"),
        },
    }
}

pub(crate) fn decode<T: DeserializeOwned>(expected: &'static str, body: &[u8]) -> Result<T, DecodeError> {
    Message::decode(body)?.read(expected)
}

/// Returns whether the traces are those of the service that the snapshot is of, rather than of a process of the same
/// name elsewhere or by hand.
fn belongs(traces: &Traces, snapshot: &Snapshot, now: Timestamp) -> bool {
    let Some(report) = &traces.report else {
        return true;
    };
    let run_by_manager = report.parent.as_deref() == Some(snapshot.manager.as_str());
    let main_process = snapshot.unit.main_pid != 0 && report.pid == Some(snapshot.unit.main_pid);
    if run_by_manager || main_process {
        return true;
    }
    let here = report
        .hostname
        .as_deref()
        .is_none_or(|name| HostName::from_system(name) == snapshot.host);
    // A unit's process may report from a child of its main process; a stopped unit has no process at all.
    here && (Condition::Unit(snapshot.state()).is_alive() || !traces.is_alive(now))
}

fn managed(snapshot: &Snapshot, traces: Option<&Traces>, manager_alive: bool, now: Timestamp) -> ServiceView {
    let unit = &snapshot.unit;
    let state = snapshot.state();
    let condition = Condition::Unit(state);
    let started = unit.started.map(|time| time.timestamp());
    // What an earlier run said of itself says nothing about this one.
    let current = traces.filter(|traces| {
        let report = traces.report.as_ref();
        report.is_some_and(|report| report.pid == Some(unit.main_pid)) || traces.reported() >= started
    });
    // Between two runs there is nobody to be healthy.
    let mut health = current
        .filter(|_| unit.main_pid != 0)
        .and_then(|traces| traces.health(condition, now));
    if state == State::Finished && unit.exit_code() == Some(10) {
        health = Some(Health::Reported(tcs_wire::Status::Degraded));
    }
    let said = current.and_then(|traces| traces.report.as_ref()?.message.clone());
    let status_text = Some(unit.status_text.clone()).filter(|text| !text.is_empty() && condition.is_alive());
    let beats = traces.is_some_and(|traces| traces.is_alive(now));
    ServiceView {
        name: snapshot.service_id.to_string(),
        host: Some(snapshot.host.to_string()),
        kind: Some(snapshot.kind),
        condition,
        certain: manager_alive || (state == State::Running && beats),
        health,
        since: unit
            .since
            .map(|time| time.timestamp())
            .filter(|_| state != State::NeverStarted),
        pid: Some(unit.main_pid).filter(|pid| *pid != 0),
        restarts: Some(unit.restarts),
        next: snapshot
            .timer
            .as_ref()
            .and_then(|timer| timer.next)
            .map(|time| time.timestamp()),
        message: explanation(snapshot).or(said).or(status_text),
        declared: snapshot.declared,
        parent: Some(snapshot.manager.to_string()),
        snapshot: Some(snapshot.clone()),
        report: traces.and_then(|traces| traces.report.clone()),
        last_heartbeat: traces.and_then(Traces::beat),
    }
}

fn unmanaged(name: &str, traces: &Traces, now: Timestamp) -> ServiceView {
    let (condition, since, words) = traces.condition(now);
    let said = traces.report.as_ref().and_then(|report| report.message.clone());
    let restarting = traces
        .event(EventKind::Restarting)
        .and_then(|event| event.restart_attempt);
    ServiceView {
        name: name.to_owned(),
        host: traces.host(),
        kind: None::<Kind>,
        condition,
        certain: true,
        health: traces.health(condition, now),
        since,
        pid: traces.pid().filter(|_| condition.is_alive()),
        restarts: restarting,
        next: None,
        message: words.or(said),
        declared: traces.event(EventKind::Declared).is_some(),
        parent: traces.parent(),
        snapshot: None,
        report: traces.report.clone(),
        last_heartbeat: traces.beat(),
    }
}

#[cfg(test)]
mod tests;
