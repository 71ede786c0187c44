//! One service: its unit, its timer, how far its story is told, and its record.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tcs_wire::{Kind, RestartPolicy, ServiceId, Snapshot, UnitKind, UnitName};

use super::effect::{Effect, Teller};
use super::run::{Circumstances, Happening, Run, is_passing};
use super::{Declared, record};
use crate::systemd::{ClockReading, Properties, UnitState};

/// How long after its timer elapsed a job may start and still count as started by it.
const TRIGGER_SLACK: SignedDuration = SignedDuration::from_secs(5);

/// One of the two units of a service.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: UnitState,
    /// What the first half of a change brought.
    half: Properties,
    /// systemd has it in memory, as far as is known.
    loaded: bool,
    /// Its properties were read as a whole since it was loaded.
    whole: bool,
    /// Something is known of it at all.
    pub(super) known: bool,
}

impl Slot {
    fn new(name: UnitName) -> Self {
        let half = Properties::default();
        Self {
            state: UnitState::unloaded(name),
            half,
            loaded: false,
            whole: false,
            known: false,
        }
    }

    /// Takes over a state. systemd forgets the times of the last run when it unloads a unit; here they stay.
    fn set(&mut self, mut next: UnitState) {
        let past = &self.state;
        if next.exec_main_start.is_none() {
            (next.exec_main_start, next.exec_main_exit) = (past.exec_main_start, past.exec_main_exit);
        }
        next.state_change = next.state_change.or(past.state_change);
        next.last_trigger = next.last_trigger.or(past.last_trigger);
        self.state = next;
        (self.loaded, self.known) = (true, true);
    }
}

/// What the first sight of a service means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing: what is known of the past cannot be had, so it may have been told already.
    Adopt,
    /// It has never been told of: what can be seen of its last run is news, if late.
    Late,
    /// It came up before our eyes.
    Live,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: ServiceId,
    pub(super) declared: Option<Declared>,
    pub(super) service: Slot,
    pub(super) timer: Slot,
    run: Run,
    /// Whether `run` holds something, be it from an earlier run of the manager.
    seen: bool,
    /// Nothing has been read yet: what differs from what is remembered happened while nobody was looking.
    remembered: bool,
    /// Start of the run that `by_timer` is about.
    triggered_start: Option<Timestamp>,
    by_timer: bool,
    /// The last elapse of the timer that a run answers for: a start by hand soon after is no answer to it.
    answered: Option<Timestamp>,
    jobs: BTreeSet<u32>,
    /// Jobs that were queued while the service was up: they ask for its end.
    ending_jobs: BTreeSet<u32>,
    record: Option<Snapshot>,
    /// The record is older than what is known.
    dirty: bool,
}

impl Tracked {
    pub(super) fn new(id: ServiceId) -> Self {
        Self {
            declared: None,
            service: Slot::new(UnitName::service(&id)),
            timer: Slot::new(UnitName::timer(&id)),
            run: Run::default(),
            seen: false,
            remembered: false,
            triggered_start: None,
            by_timer: false,
            answered: None,
            jobs: BTreeSet::new(),
            ending_jobs: BTreeSet::new(),
            record: None,
            dirty: false,
            id,
        }
    }

    pub(super) fn unit(&self) -> &UnitState {
        &self.service.state
    }

    pub(super) fn record(&self) -> Option<&Snapshot> {
        self.record.as_ref()
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.declared {
            Some(declared) => declared.kind,
            None if self.unit().is_oneshot() => Kind::Job,
            None => self.record.as_ref().map(|record| record.kind).unwrap_or_default(),
        }
    }

    pub(super) fn restart_policy(&self) -> Option<RestartPolicy> {
        match self.unit().restart.as_str() {
            "no" => Some(RestartPolicy::No),
            "always" => Some(RestartPolicy::Always),
            "on-failure" => Some(RestartPolicy::OnFailure),
            "on-abnormal" => Some(RestartPolicy::OnAbnormal),
            _ => self.declared.as_ref().map(|declared| declared.restart_policy),
        }
    }

    pub(super) fn max_restarts(&self) -> Option<u32> {
        let unit = self.unit();
        if unit.restart.is_empty() {
            return self.declared.as_ref().and_then(|declared| declared.max_restarts);
        }
        // The first start counts against the burst too (design decision 17).
        unit.start_limit_interval
            .map(|_| unit.start_limit_burst.saturating_sub(1))
    }

    /// Returns what started a job's present or last run.
    pub(super) fn trigger(&self) -> Option<&'static str> {
        self.triggered_start?;
        Some(if self.by_timer { "timer" } else { "manual" })
    }

    /// Finds out whether the timer started the present run; the news of its elapse may come after that of the start.
    fn find_trigger(&mut self) {
        let Some(start) = self.unit().exec_main_start else {
            return;
        };
        if self.triggered_start != Some(start) {
            (self.triggered_start, self.by_timer) = (Some(start), false);
        }
        let elapsed = self.timer.state.last_trigger.filter(|elapsed| {
            let since = start.duration_since(*elapsed);
            !since.is_negative() && since <= TRIGGER_SLACK
        });
        if !self.by_timer && elapsed.is_some() && elapsed != self.answered {
            (self.by_timer, self.answered) = (true, elapsed);
        }
    }

    pub(super) fn is_active(&self, kind: UnitKind) -> bool {
        kind == UnitKind::Service && self.run.is_up() && self.service.state.main_pid != 0
    }

    pub(super) fn remember(&mut self, record: Snapshot) {
        record::restore(&record, &mut self.service.state, &mut self.timer.state);
        self.timer.known = record.timer.is_some();
        self.service.known = true;
        self.run = Run::adopt(&self.service.state);
        self.find_trigger();
        self.answered = self.timer.state.last_trigger;
        self.seen = true;
        self.remembered = true;
        self.record = Some(record);
    }

    /// Takes over a unit's properties as a whole.
    pub(super) fn read(&mut self, unit: UnitState, sight: Sight, teller: &Teller, effects: &mut Vec<Effect>) {
        let slot = self.slot(unit.kind());
        if slot.loaded && unit.state_change_monotonic < slot.state.state_change_monotonic {
            // A signal that was newer than this answer has been here before it.
            return;
        }
        let is_service = unit.kind() == UnitKind::Service;
        slot.set(unit);
        slot.half = Properties::default();
        slot.whole = true;
        self.dirty = true;
        if is_service {
            self.advance(true, sight, teller, effects);
        }
    }

    /// Takes over a part of a unit's properties; returns whether that completes a change.
    pub(super) fn apply(
        &mut self,
        name: &UnitName,
        complete: bool,
        properties: &Properties,
        clock: &ClockReading,
        teller: &Teller,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let is_service = name.kind() == UnitKind::Service;
        let slot = self.slot(name.kind());
        if !complete {
            slot.half = properties.clone();
            return false;
        }
        let half = std::mem::take(&mut slot.half);
        let mut next = slot.state.clone();
        next.apply(&half, clock);
        next.apply(properties, clock);
        if slot.loaded && next.state_change_monotonic < slot.state.state_change_monotonic {
            // A reading that was newer than this signal has been here before it.
            return false;
        }
        slot.set(next);
        let idle = slot.state.active_state == "inactive" && slot.state.main_pid == 0;
        if !slot.whole && !idle {
            // Some properties never come in a signal. A unit at rest is not asked: it may be unloaded by now, and the
            // question would load it, which is news of which it would be asked, and so on.
            slot.whole = true;
            effects.push(Effect::Query(name.clone()));
        }
        self.dirty = true;
        if is_service {
            self.advance(false, Sight::Live, teller, effects);
        }
        true
    }

    /// Takes over that systemd has the unit no more in memory: it then is as it would be shown after loading.
    ///
    /// With `vanished` it was not seen to end, but is gone at that time.
    pub(super) fn unload(
        &mut self,
        kind: UnitKind,
        vanished: Option<Timestamp>,
        teller: &Teller,
        effects: &mut Vec<Effect>,
    ) {
        let ended = vanished.filter(|_| kind == UnitKind::Service && self.run.is_up());
        let slot = self.slot(kind);
        slot.state = slot.state.clone().at_rest();
        slot.half = Properties::default();
        (slot.loaded, slot.whole) = (false, false);
        self.dirty = true;
        if kind == UnitKind::Service {
            self.jobs.clear();
            self.ending_jobs.clear();
        }
        let late = kind == UnitKind::Service && std::mem::take(&mut self.remembered);
        if let Some(now) = ended {
            let told = self.run.vanish(now);
            self.tell(told, late, teller, effects);
        }
    }

    pub(super) fn unit_file(&mut self, kind: UnitKind, state: Option<String>) {
        let slot = self.slot(kind);
        slot.known |= state.is_some();
        if !slot.loaded {
            slot.state.load_state = match state.as_deref() {
                None => "not-found",
                Some("masked" | "masked-runtime") => "masked",
                Some("bad") => "bad-setting",
                Some(_) => "loaded",
            }
            .to_owned();
        }
        slot.state.unit_file_state = state.unwrap_or_default();
        self.dirty = true;
    }

    pub(super) fn job_began(&mut self, id: u32) {
        if self.run.is_up() && self.jobs.insert(id) {
            self.ending_jobs.insert(id);
        }
        self.jobs.insert(id);
    }

    pub(super) fn job_ended(&mut self, id: u32) {
        self.jobs.remove(&id);
        self.ending_jobs.remove(&id);
    }

    /// Returns the units that a full reading must hold, unless they are gone.
    pub(super) fn expected_units(&self) -> impl Iterator<Item = UnitName> {
        let slots = [&self.service, &self.timer].into_iter();
        slots
            .filter(|slot| slot.loaded || self.remembered)
            .map(|slot| slot.state.name.clone())
    }

    pub(super) fn loaded_units(&self) -> impl Iterator<Item = UnitName> {
        [&self.service, &self.timer]
            .into_iter()
            .filter(|slot| slot.loaded)
            .map(|slot| slot.state.name.clone())
    }

    pub(super) fn unloaded_units(&self) -> impl Iterator<Item = UnitName> {
        // Every instance has a timer in name, since there is a template; only a schedule makes it one.
        let scheduled = self.timer.known || self.declared.as_ref().is_some_and(|declared| declared.scheduled);
        let slots = [Some(&self.service), Some(&self.timer).filter(|_| scheduled)];
        slots
            .into_iter()
            .flatten()
            .filter(|slot| !slot.loaded)
            .map(|slot| slot.state.name.clone())
    }

    /// Returns the record as it would be now, in the middle of a change too.
    pub(super) fn current(&self, teller: &Teller, now: Timestamp) -> Snapshot {
        record::record(self, &teller.identity, now)
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.dirty || self.run.is_expecting_restart(&self.service.state)
    }

    pub(super) fn look_again(&self, effects: &mut Vec<Effect>) {
        if self.run.is_expecting_restart(&self.service.state) && self.service.loaded {
            effects.push(Effect::Query(self.service.state.name.clone()));
        }
    }

    /// Writes the record where it has changed: at once when the service came to another state, else when `all`.
    pub(super) fn put(&mut self, teller: &Teller, now: Timestamp, all: bool, effects: &mut Vec<Effect>) {
        if !self.dirty || (!self.service.known && self.declared.is_none()) {
            self.dirty = false;
            return;
        }
        let unit = &self.service.state;
        let passing = is_passing(unit) || self.run.is_leaving_wait(unit, !self.jobs.is_empty());
        if passing || (self.run.is_expecting_restart(unit) && !all) {
            return;
        }
        let mut next = record::record(self, &teller.identity, now);
        if let Some(record) = &self.record {
            next.updated = record.updated;
            if next == *record {
                self.dirty = false;
                return;
            }
            if !all && !record::is_news(record, &next) {
                return;
            }
        }
        next.updated = now.into();
        self.dirty = false;
        self.record = Some(next.clone());
        effects.push(Effect::Put(Box::new(next)));
    }

    fn advance(&mut self, settled: bool, sight: Sight, teller: &Teller, effects: &mut Vec<Effect>) {
        let first = !std::mem::replace(&mut self.seen, true);
        if first && sight == Sight::Adopt {
            self.run = Run::adopt(&self.service.state);
            self.find_trigger();
            return;
        }
        let late = std::mem::take(&mut self.remembered) || (first && sight == Sight::Late);
        let (asked, job_pending) = (!self.ending_jobs.is_empty(), !self.jobs.is_empty());
        let told = self.run.advance(
            &self.service.state,
            Circumstances {
                asked,
                job_pending,
                settled,
                late,
            },
        );
        self.tell(told, late, teller, effects);
    }

    fn tell(&mut self, told: Vec<Happening>, late: bool, teller: &Teller, effects: &mut Vec<Effect>) {
        self.find_trigger();
        let last = told.len().saturating_sub(1);
        for (index, happening) in told.iter().enumerate() {
            teller.tell(self, happening, late, index == last, effects);
        }
    }

    fn slot(&mut self, kind: UnitKind) -> &mut Slot {
        match kind {
            UnitKind::Service => &mut self.service,
            UnitKind::Timer => &mut self.timer,
        }
    }
}
