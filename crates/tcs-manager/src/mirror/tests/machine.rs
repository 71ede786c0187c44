//! A machine that does to the mirror what systemd does.

use jiff::{SignedDuration, Timestamp};
use tcs_wire::{EventKind, HostName, Kind, RegistryEvent, RestartPolicy, ServiceId, State, Status, UnitName};

use crate::mirror::{Declared, Effect, Identity, LastWord, Mirror};
use crate::systemd::{Change, ClockReading, JobResult, Properties, UnitState, Value};

pub(super) const BOOT: i128 = 1_795_374_000_000_000;

/// A machine that does to the mirror what systemd does: time, one service, one timer.
pub(super) struct Machine {
    pub(super) mirror: Mirror,
    pub(super) unit: Fake,
    pub(super) timer: Fake,
    pub(super) told: Vec<Effect>,
}

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) name: UnitName,
    pub(super) kind: Vec<(&'static str, Value)>,
    pub(super) unit: Vec<(&'static str, Value)>,
    pub(super) monotonic: i128,
}

pub(super) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub(super) fn number(value: i128) -> Value {
    Value::Number(value)
}

impl Fake {
    pub(super) fn new(name: UnitName) -> Self {
        Self {
            name,
            kind: Vec::new(),
            unit: Vec::new(),
            monotonic: 0,
        }
    }

    pub(super) fn set(list: &mut Vec<(&'static str, Value)>, values: &[(&'static str, Value)]) {
        for (name, value) in values {
            list.retain(|(known, _)| known != name);
            list.push((name, value.clone()));
        }
    }

    /// A new state, `at` microseconds after boot.
    pub(super) fn state(&mut self, at: i128, active: &str, sub: &str, more: &[(&'static str, Value)]) {
        self.monotonic = at;
        Self::set(
            &mut self.unit,
            &[
                ("ActiveState", text(active)),
                ("SubState", text(sub)),
                ("StateChangeTimestamp", number(BOOT + at)),
                ("StateChangeTimestampMonotonic", number(at)),
            ],
        );
        Self::set(&mut self.unit, more);
    }

    pub(super) fn main(&mut self, values: &[(&'static str, Value)]) {
        Self::set(&mut self.kind, values);
    }

    pub(super) fn whole(&self) -> UnitState {
        let mut state = UnitState::unloaded(self.name.clone());
        let all = self.kind.iter().chain(&self.unit).cloned();
        state.apply(&Properties::of(all), &clock());
        state
    }
}

pub(super) fn clock() -> ClockReading {
    ClockReading {
        realtime: now(),
        monotonic: SignedDuration::from_secs(1000),
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_microsecond(i64::try_from(BOOT).unwrap() + 1_000_000_000).unwrap()
}

pub(super) fn id() -> ServiceId {
    ServiceId::parse("hello.main").unwrap()
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::declaring(Kind::Permanent)
    }

    pub(super) fn declaring(kind: Kind) -> Self {
        let host = HostName::parse("obs1").unwrap();
        let mut mirror = Mirror::new(Identity {
            manager: ServiceId::manager(&host),
            host,
            hostname: "obs1.example.org".into(),
            boot_id: "b00".into(),
            run_id: "r1".into(),
        });
        let restart_policy = RestartPolicy::OnFailure;
        let declared = Declared {
            id: id(),
            kind,
            restart_policy,
            max_restarts: Some(3),
            scheduled: kind == Kind::Job,
        };
        let told = mirror.declare(vec![declared], now());
        let mut unit = Fake::new(UnitName::service(&id()));
        let service_type = if kind == Kind::Job { "oneshot" } else { "notify" };
        let restart = if kind == Kind::Job { "no" } else { "on-failure" };
        unit.main(&[
            ("Type", text(service_type)),
            ("Restart", text(restart)),
            ("RestartUSec", number(1_000_000)),
            ("MainPID", number(0)),
            ("ExecMainCode", number(0)),
            ("ExecMainStatus", number(0)),
            ("NRestarts", number(0)),
            ("Result", text("success")),
        ]);
        unit.state(
            0,
            "inactive",
            "dead",
            &[
                ("StartLimitBurst", number(4)),
                ("StartLimitIntervalUSec", number(60_000_000)),
            ],
        );
        let timer = Fake::new(UnitName::timer(&id()));
        Self {
            mirror,
            unit,
            timer,
            told,
        }
    }

    pub(super) fn listed(mut self) -> Self {
        let files = [UnitName::service(&id()), UnitName::timer(&id())];
        let files = files
            .into_iter()
            .map(|name| (name, Some("enabled".to_owned())))
            .collect();
        let effects = self.mirror.read(vec![self.unit.whole()], files, now());
        self.told.extend(effects);
        self.told.clear();
        self
    }

    pub(super) fn hear(&mut self, change: Change) {
        let effects = self.mirror.change(change, now());
        self.told.extend(effects);
    }

    /// Sends both halves of a change.
    pub(super) fn signal(&mut self) {
        for (complete, values) in [(false, self.unit.kind.clone()), (true, self.unit.unit.clone())] {
            let unit = self.unit.name.clone();
            self.hear(Change::Properties {
                unit,
                complete,
                properties: Properties::of(values),
                clock: clock(),
            });
        }
    }

    /// Sends the first half alone, as systemd does in between.
    pub(super) fn half_signal(&mut self) {
        let (unit, properties) = (self.unit.name.clone(), Properties::of(self.unit.kind.clone()));
        self.hear(Change::Properties {
            unit,
            complete: false,
            properties,
            clock: clock(),
        });
    }

    pub(super) fn starting(&mut self, at: i128, invocation: &str, pid: i128) {
        self.unit.main(&[
            ("MainPID", number(pid)),
            ("ExecMainPID", number(pid)),
            ("ExecMainStartTimestamp", number(BOOT + at)),
            ("ExecMainExitTimestamp", number(0)),
            ("ExecMainCode", number(0)),
            ("ExecMainStatus", number(0)),
            ("Result", text("success")),
        ]);
        Fake::set(
            &mut self.unit.unit,
            &[
                ("InvocationID", text(invocation)),
                ("ActiveState", text("inactive")),
                ("SubState", text("dead")),
            ],
        );
        self.signal();
        self.unit.state(
            at + 300,
            "activating",
            "start",
            &[("InactiveExitTimestamp", number(BOOT + at + 300))],
        );
        self.signal();
    }

    pub(super) fn start(&mut self, at: i128, invocation: &str, pid: i128) {
        self.starting(at, invocation, pid);
        self.unit.state(
            at + 10_000,
            "active",
            "running",
            &[("ActiveEnterTimestamp", number(BOOT + at + 10_000))],
        );
        self.signal();
    }

    pub(super) fn main_ends(&mut self, at: i128, code: i128, status: i128, result: &str) {
        self.unit.main(&[
            ("MainPID", number(0)),
            ("ExecMainExitTimestamp", number(BOOT + at)),
            ("ExecMainCode", number(code)),
            ("ExecMainStatus", number(status)),
            ("Result", text(result)),
        ]);
    }

    pub(super) fn fails(&mut self, at: i128) {
        self.unit.state(
            at,
            "failed",
            "failed",
            &[("InactiveEnterTimestamp", number(BOOT + at))],
        );
        self.signal();
    }

    pub(super) fn waits(&mut self, at: i128) {
        self.unit.state(at, "activating", "auto-restart", &[]);
        self.signal();
    }

    pub(super) fn crash(&mut self, at: i128) {
        self.main_ends(at, 2, 9, "signal");
        self.half_signal();
        self.half_signal();
        self.fails(at + 1000);
        self.waits(at + 1300);
    }

    pub(super) fn restart(&mut self, at: i128, invocation: &str, pid: i128, count: i128) {
        self.unit.main(&[("NRestarts", number(count))]);
        self.half_signal();
        self.hear(Change::JobNew {
            id: 179,
            unit: self.unit.name.clone(),
        });
        self.signal();
        self.start(at, invocation, pid);
        self.hear(Change::JobRemoved {
            id: 179,
            unit: self.unit.name.clone(),
            result: JobResult::Done,
        });
    }

    pub(super) fn stop(&mut self, at: i128) {
        self.hear(Change::JobNew {
            id: 200,
            unit: self.unit.name.clone(),
        });
        self.unit.state(
            at,
            "deactivating",
            "stop-sigterm",
            &[("ActiveExitTimestamp", number(BOOT + at))],
        );
        self.signal();
    }

    pub(super) fn stopped(&mut self, at: i128) {
        self.unit.state(
            at,
            "inactive",
            "dead",
            &[("InactiveEnterTimestamp", number(BOOT + at))],
        );
        self.signal();
        self.hear(Change::JobRemoved {
            id: 200,
            unit: self.unit.name.clone(),
            result: JobResult::Done,
        });
        self.signal();
    }

    pub(super) fn events(&self) -> Vec<EventKind> {
        let kind = |effect: &Effect| {
            if let Effect::Event { kind, .. } = effect {
                Some(*kind)
            } else {
                None
            }
        };
        self.told.iter().filter_map(kind).collect()
    }

    pub(super) fn event(&self, wanted: EventKind) -> &RegistryEvent {
        let found = self.told.iter().rev().find_map(|effect| match effect {
            Effect::Event { kind, event, .. } if *kind == wanted => Some(event),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {wanted} in {:#?}", self.told))
    }

    pub(super) fn statuses(&self) -> Vec<(Status, LastWord, String)> {
        let status = |effect: &Effect| match effect {
            Effect::Status { report, last_word } => {
                Some((report.status, *last_word, report.message.clone().unwrap()))
            }
            _ => None,
        };
        self.told.iter().filter_map(status).collect()
    }

    pub(super) fn puts(&self) -> Vec<State> {
        let put = |effect: &Effect| {
            if let Effect::Put(record) = effect {
                Some(record.state())
            } else {
                None
            }
        };
        self.told.iter().filter_map(put).collect()
    }

    pub(super) fn message_ids(&self) -> Vec<String> {
        let message_id = |effect: &Effect| match effect {
            Effect::Event { message_id, .. } => Some(message_id.to_string()),
            _ => None,
        };
        self.told.iter().filter_map(message_id).collect()
    }
}
