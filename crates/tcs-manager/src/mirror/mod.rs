//! What is known of the host's services, and what follows from news of them. Pure: no I/O, no clock of its own.
//!
//! Full listings and single changes go in; out come, in order, events for the registry, statuses on behalf of services
//! that died, and records for the mirror. Every record equals what `systemctl show` says, except in the middle of a
//! change: states that systemd itself leaves within the same instant are written only if they last.

mod effect;
mod record;
mod run;
mod tracked;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tcs_wire::{HostName, Kind, RestartPolicy, ServiceId, Snapshot, State, UnitKind, UnitName};

pub use effect::{Effect, LastWord};

use crate::systemd::{Change, UnitState};
use effect::Teller;
use tracked::{Sight, Tracked};

/// Who keeps the mirror.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The manager's own id.
    pub manager: ServiceId,
    /// The host in ids and keys.
    pub host: HostName,
    /// The host as it calls itself.
    pub hostname: String,
    /// This boot of the machine, for message ids.
    pub boot_id: String,
    /// This run of the manager, for message ids.
    pub run_id: String,
}

/// A service that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Declared {
    /// The service.
    pub id: ServiceId,
    /// Permanent or job.
    pub kind: Kind,
    /// When it is started again.
    pub restart_policy: RestartPolicy,
    /// Restarts in a row; none where there is no limit.
    pub max_restarts: Option<u32>,
    /// Whether it has a timer.
    pub scheduled: bool,
}

/// How many services are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that are known.
    pub services: usize,
    /// Those that run.
    pub running: usize,
    /// Those that failed.
    pub failed: usize,
}

/// The state table of one host.
#[derive(Debug)]
pub struct Mirror {
    teller: Teller,
    services: BTreeMap<ServiceId, Tracked>,
    /// systemd is reading its configuration: what it says of units meanwhile means nothing.
    holding: bool,
    /// Changes since systemd has read it, kept until the reading that they may be newer than: none until then.
    kept: Option<Vec<Change>>,
    /// All that was ever told is known: what an earlier run of the manager remembered, or that there is nothing.
    knows_past: bool,
    /// systemd has been read.
    begun: bool,
    /// How often the configuration was taken over.
    declarations: u32,
}

impl Mirror {
    /// Returns an empty mirror.
    pub fn new(identity: Identity) -> Self {
        Self {
            teller: Teller::new(identity),
            services: BTreeMap::new(),
            holding: false,
            kept: None,
            knows_past: false,
            begun: false,
            declarations: 0,
        }
    }

    /// Takes over what the configuration names; each service that is new or declared otherwise than before gets its
    /// event. A reading has to follow, since the units that are expected may be others.
    pub fn declare(&mut self, declared: Vec<Declared>, now: Timestamp) -> Vec<Effect> {
        let taken = |service: &mut Tracked| service.declared.take();
        let before: BTreeSet<Declared> = self.services.values_mut().filter_map(taken).collect();
        let mut effects = Vec::with_capacity(declared.len());
        for entry in declared {
            if !before.contains(&entry) {
                effects.push(self.teller.declared(&entry, self.declarations, now));
            }
            let id = entry.id.clone();
            self.services
                .entry(id.clone())
                .or_insert_with(|| Tracked::new(id))
                .declared = Some(entry);
        }
        self.declarations += 1;
        effects
    }

    /// Takes records of an earlier run of the manager as what was known last, before the first listing. With none at all
    /// nothing has ever been told; where the records cannot be had, this is not called.
    pub fn remember(&mut self, records: Vec<Snapshot>) {
        self.knows_past = true;
        for record in records {
            let id = record.service_id.clone();
            self.services
                .entry(id.clone())
                .or_insert_with(|| Tracked::new(id))
                .remember(record);
        }
    }

    /// Takes over a full reading: all loaded units, and for the others whether they are enabled.
    ///
    /// What is neither declared, nor loaded, nor remembered is forgotten.
    pub fn read(
        &mut self,
        mut units: Vec<UnitState>,
        files: Vec<(UnitName, Option<String>)>,
        now: Timestamp,
    ) -> Vec<Effect> {
        self.holding = false;
        let sight = match (std::mem::replace(&mut self.begun, true), self.knows_past) {
            (true, _) => Sight::Live,
            (false, true) => Sight::Late,
            (false, false) => Sight::Adopt,
        };
        let mut effects = Vec::new();
        let mut unseen: BTreeSet<UnitName> =
            self.services.values().flat_map(Tracked::expected_units).collect();
        // Timers first: when one elapsed tells what started its job.
        units.sort_by_key(|unit| unit.kind() == UnitKind::Service);
        for unit in units {
            unseen.remove(&unit.name);
            let id = unit.name.id().clone();
            let service = self
                .services
                .entry(id.clone())
                .or_insert_with(|| Tracked::new(id));
            service.read(unit, sight, &self.teller, &mut effects);
        }
        for name in unseen {
            if let Some(service) = self.services.get_mut(name.id()) {
                service.unload(name.kind(), Some(now), &self.teller, &mut effects);
            }
        }
        for (name, state) in files {
            if let Some(service) = self.services.get_mut(name.id()) {
                service.unit_file(name.kind(), state);
            }
        }
        for service in self.services.values_mut() {
            service.put(&self.teller, now, true, &mut effects);
        }
        // What is older than the reading of its unit changes nothing.
        for change in self.kept.take().unwrap_or_default() {
            effects.extend(self.change(change, now));
        }
        effects
    }

    /// Returns whether a reading has to come before anything can be said of the units.
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// Takes over the reading of one unit that [`Effect::Query`] asked for.
    pub fn read_unit(&mut self, unit: UnitState, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.holding {
            let id = unit.name.id().clone();
            let service = self
                .services
                .entry(id.clone())
                .or_insert_with(|| Tracked::new(id));
            service.read(unit, Sight::Live, &self.teller, &mut effects);
            service.put(&self.teller, now, false, &mut effects);
        }
        effects
    }

    /// Works out what a change means.
    pub fn change(&mut self, change: Change, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match change {
            Change::Reloading(true) | Change::OwnerChanged { present: false } => {
                (self.holding, self.kept) = (true, None);
            }
            Change::Reloading(false) | Change::OwnerChanged { present: true } => {
                (self.holding, self.kept) = (true, Some(Vec::new()));
                effects.push(Effect::Resync);
            }
            Change::UnitFilesChanged => effects.push(Effect::Resync),
            Change::JobNew { id, unit } => self.tracked(&unit).job_began(id),
            Change::JobRemoved { id, unit, .. } => self.tracked(&unit).job_ended(id),
            Change::Properties { .. } | Change::Loaded(_) | Change::Unloaded(_) if self.holding => {
                if let Some(kept) = &mut self.kept {
                    kept.push(change);
                }
            }
            Change::Loaded(_) | Change::Closed => {}
            Change::Unloaded(unit) => {
                let teller = &self.teller;
                if let Some(service) = self.services.get_mut(unit.id()) {
                    if service.is_active(unit.kind()) {
                        // systemd unloads nothing that is active: this is part of a re-execution.
                        effects.push(Effect::Resync);
                    } else {
                        service.unload(unit.kind(), None, teller, &mut effects);
                        service.put(teller, now, false, &mut effects);
                    }
                }
            }
            Change::Properties {
                unit,
                complete,
                properties,
                clock,
            } => {
                let id = unit.id().clone();
                let service = self
                    .services
                    .entry(id.clone())
                    .or_insert_with(|| Tracked::new(id));
                let settled = service.apply(&unit, complete, &properties, &clock, &self.teller, &mut effects);
                if settled {
                    service.put(&self.teller, now, false, &mut effects);
                }
            }
        }
        effects
    }

    /// Returns what may be written late and what should be looked at again, a moment after the changes.
    pub fn settle(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.holding {
            return effects;
        }
        for service in self
            .services
            .values_mut()
            .filter(|service| service.is_unsettled())
        {
            service.look_again(&mut effects);
            service.put(&self.teller, now, true, &mut effects);
        }
        effects
    }

    /// Returns whether [`Mirror::settle`] has something to do.
    pub fn is_unsettled(&self) -> bool {
        !self.holding && self.services.values().any(Tracked::is_unsettled)
    }

    /// Returns every record, to be written anew where the store was lost.
    pub fn records(&self) -> impl Iterator<Item = &Snapshot> {
        self.services.values().filter_map(Tracked::record)
    }

    /// Returns the record of one service.
    pub fn record(&self, id: &ServiceId) -> Option<&Snapshot> {
        self.services.get(id).and_then(Tracked::record)
    }

    /// Returns the record of one service as it is at this moment, which may be the middle of a change, and its unit.
    pub fn current(&self, id: &ServiceId, now: Timestamp) -> Option<(Snapshot, &UnitState)> {
        let service = self.services.get(id)?;
        Some((service.current(&self.teller, now), service.unit()))
    }

    /// Returns the units that are not known to be loaded: whether they are enabled is in their files alone.
    pub fn unloaded_units(&self) -> Vec<UnitName> {
        self.services.values().flat_map(Tracked::unloaded_units).collect()
    }

    /// Returns every unit that is followed, loaded or not.
    pub fn units(&self) -> Vec<UnitName> {
        let mut names = self.unloaded_units();
        names.extend(self.loaded_units());
        names
    }

    fn loaded_units(&self) -> Vec<UnitName> {
        self.services.values().flat_map(Tracked::loaded_units).collect()
    }

    /// Returns how many services are how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in self.records() {
            counts.services += 1;
            match record.state() {
                State::Running | State::Reloading => counts.running += 1,
                State::Failed => counts.failed += 1,
                _ => {}
            }
        }
        counts
    }

    fn tracked(&mut self, unit: &UnitName) -> JobSlot<'_> {
        // Jobs of timers say nothing about how a service ends.
        JobSlot(
            self.services
                .get_mut(unit.id())
                .filter(|_| unit.kind() == UnitKind::Service),
        )
    }
}

/// The service that a job is of, where there is one.
struct JobSlot<'a>(Option<&'a mut Tracked>);

impl JobSlot<'_> {
    fn job_began(self, id: u32) {
        if let Some(service) = self.0 {
            service.job_began(id);
        }
    }

    fn job_ended(self, id: u32) {
        if let Some(service) = self.0 {
            service.job_ended(id);
        }
    }
}

/// Returns a record of one unit, for tests elsewhere in the crate.
#[cfg(test)]
pub(crate) fn snapshot_for_tests(id: &ServiceId, unit: &UnitState) -> Snapshot {
    let host = HostName::from_system("obs1");
    Snapshot {
        service_id: id.clone(),
        manager: ServiceId::manager(&host),
        host,
        kind: Kind::Permanent,
        declared: true,
        restart_policy: None,
        max_restarts: None,
        unit: record::unit(unit),
        timer: None,
        updated: tcs_wire::WireTime::now(),
    }
}
