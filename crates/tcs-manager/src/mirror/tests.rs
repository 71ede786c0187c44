//! Sequences as systemd 252 sends them, recorded from a booted machine, and what must come out.

use jiff::{SignedDuration, Timestamp};
use tcs_wire::{EventKind, HostName, Kind, RestartPolicy, ServiceId, State, Status, UnitName};

use super::{Declared, Effect, Identity, LastWord, Mirror};
use crate::systemd::{Change, ClockReading, JobResult, Properties, UnitState, Value};

const BOOT: i128 = 1_795_374_000_000_000;

/// A machine that does to the mirror what systemd does: time, one service, one timer.
struct Machine {
    mirror: Mirror,
    unit: Fake,
    timer: Fake,
    told: Vec<Effect>,
}

#[derive(Clone)]
struct Fake {
    name: UnitName,
    kind: Vec<(&'static str, Value)>,
    unit: Vec<(&'static str, Value)>,
    monotonic: i128,
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn number(value: i128) -> Value {
    Value::Number(value)
}

impl Fake {
    fn new(name: UnitName) -> Self {
        Self { name, kind: Vec::new(), unit: Vec::new(), monotonic: 0 }
    }

    fn set(list: &mut Vec<(&'static str, Value)>, values: &[(&'static str, Value)]) {
        for (name, value) in values {
            list.retain(|(known, _)| known != name);
            list.push((name, value.clone()));
        }
    }

    /// A new state, `at` microseconds after boot.
    fn state(&mut self, at: i128, active: &str, sub: &str, more: &[(&'static str, Value)]) {
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

    fn main(&mut self, values: &[(&'static str, Value)]) {
        Self::set(&mut self.kind, values);
    }

    fn whole(&self) -> UnitState {
        let mut state = UnitState::unloaded(self.name.clone());
        let all = self.kind.iter().chain(&self.unit).cloned();
        state.apply(&Properties::of(all), &clock());
        state
    }
}

fn clock() -> ClockReading {
    ClockReading { realtime: now(), monotonic: SignedDuration::from_secs(1000) }
}

fn now() -> Timestamp {
    Timestamp::from_microsecond(i64::try_from(BOOT).unwrap() + 1_000_000_000).unwrap()
}

fn id() -> ServiceId {
    ServiceId::parse("hello.main").unwrap()
}

impl Machine {
    fn new() -> Self {
        Self::declaring(Kind::Permanent)
    }

    fn declaring(kind: Kind) -> Self {
        let host = HostName::parse("obs1").unwrap();
        let mut mirror = Mirror::new(Identity {
            manager: ServiceId::manager(&host),
            host,
            hostname: "obs1.example.org".into(),
            boot_id: "b00".into(),
            run_id: "r1".into(),
        });
        let restart_policy = RestartPolicy::OnFailure;
        let declared = Declared { id: id(), kind, restart_policy, max_restarts: Some(3), scheduled: kind == Kind::Job };
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
        unit.state(0, "inactive", "dead", &[("StartLimitBurst", number(4)), ("StartLimitIntervalUSec", number(60_000_000))]);
        let timer = Fake::new(UnitName::timer(&id()));
        Self { mirror, unit, timer, told }
    }

    fn listed(mut self) -> Self {
        let files = [UnitName::service(&id()), UnitName::timer(&id())];
        let files = files.into_iter().map(|name| (name, Some("enabled".to_owned()))).collect();
        let effects = self.mirror.read(vec![self.unit.whole()], files, now());
        self.told.extend(effects);
        self.told.clear();
        self
    }

    fn hear(&mut self, change: Change) {
        let effects = self.mirror.change(change, now());
        self.told.extend(effects);
    }

    /// Sends both halves of a change.
    fn signal(&mut self) {
        for (complete, values) in [(false, self.unit.kind.clone()), (true, self.unit.unit.clone())] {
            let unit = self.unit.name.clone();
            self.hear(Change::Properties { unit, complete, properties: Properties::of(values), clock: clock() });
        }
    }

    /// Sends the first half alone, as systemd does in between.
    fn half_signal(&mut self) {
        let (unit, properties) = (self.unit.name.clone(), Properties::of(self.unit.kind.clone()));
        self.hear(Change::Properties { unit, complete: false, properties, clock: clock() });
    }

    fn starting(&mut self, at: i128, invocation: &str, pid: i128) {
        self.unit.main(&[
            ("MainPID", number(pid)),
            ("ExecMainPID", number(pid)),
            ("ExecMainStartTimestamp", number(BOOT + at)),
            ("ExecMainExitTimestamp", number(0)),
            ("ExecMainCode", number(0)),
            ("ExecMainStatus", number(0)),
            ("Result", text("success")),
        ]);
        Fake::set(&mut self.unit.unit, &[("InvocationID", text(invocation)), ("ActiveState", text("inactive")), ("SubState", text("dead"))]);
        self.signal();
        self.unit.state(at + 300, "activating", "start", &[("InactiveExitTimestamp", number(BOOT + at + 300))]);
        self.signal();
    }

    fn start(&mut self, at: i128, invocation: &str, pid: i128) {
        self.starting(at, invocation, pid);
        self.unit.state(at + 10_000, "active", "running", &[("ActiveEnterTimestamp", number(BOOT + at + 10_000))]);
        self.signal();
    }

    fn main_ends(&mut self, at: i128, code: i128, status: i128, result: &str) {
        self.unit.main(&[
            ("MainPID", number(0)),
            ("ExecMainExitTimestamp", number(BOOT + at)),
            ("ExecMainCode", number(code)),
            ("ExecMainStatus", number(status)),
            ("Result", text(result)),
        ]);
    }

    fn fails(&mut self, at: i128) {
        self.unit.state(at, "failed", "failed", &[("InactiveEnterTimestamp", number(BOOT + at))]);
        self.signal();
    }

    fn waits(&mut self, at: i128) {
        self.unit.state(at, "activating", "auto-restart", &[]);
        self.signal();
    }

    fn crash(&mut self, at: i128) {
        self.main_ends(at, 2, 9, "signal");
        self.half_signal();
        self.half_signal();
        self.fails(at + 1000);
        self.waits(at + 1300);
    }

    fn restart(&mut self, at: i128, invocation: &str, pid: i128, count: i128) {
        self.unit.main(&[("NRestarts", number(count))]);
        self.half_signal();
        self.hear(Change::JobNew { id: 179, unit: self.unit.name.clone() });
        self.signal();
        self.start(at, invocation, pid);
        self.hear(Change::JobRemoved { id: 179, unit: self.unit.name.clone(), result: JobResult::Done });
    }

    fn stop(&mut self, at: i128) {
        self.hear(Change::JobNew { id: 200, unit: self.unit.name.clone() });
        self.unit.state(at, "deactivating", "stop-sigterm", &[("ActiveExitTimestamp", number(BOOT + at))]);
        self.signal();
    }

    fn stopped(&mut self, at: i128) {
        self.unit.state(at, "inactive", "dead", &[("InactiveEnterTimestamp", number(BOOT + at))]);
        self.signal();
        self.hear(Change::JobRemoved { id: 200, unit: self.unit.name.clone(), result: JobResult::Done });
        self.signal();
    }

    fn events(&self) -> Vec<EventKind> {
        let kind = |effect: &Effect| if let Effect::Event { kind, .. } = effect { Some(*kind) } else { None };
        self.told.iter().filter_map(kind).collect()
    }

    fn event(&self, wanted: EventKind) -> &tcs_wire::RegistryEvent {
        let found = self.told.iter().rev().find_map(|effect| match effect {
            Effect::Event { kind, event, .. } if *kind == wanted => Some(event),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {wanted} in {:#?}", self.told))
    }

    fn statuses(&self) -> Vec<(Status, LastWord, String)> {
        let status = |effect: &Effect| match effect {
            Effect::Status { report, last_word } => Some((report.status, *last_word, report.message.clone().unwrap())),
            _ => None,
        };
        self.told.iter().filter_map(status).collect()
    }

    fn puts(&self) -> Vec<State> {
        let put = |effect: &Effect| if let Effect::Put(record) = effect { Some(record.state()) } else { None };
        self.told.iter().filter_map(put).collect()
    }

    fn message_ids(&self) -> Vec<String> {
        let message_id = |effect: &Effect| match effect {
            Effect::Event { message_id, .. } => Some(message_id.to_string()),
            _ => None,
        };
        self.told.iter().filter_map(message_id).collect()
    }
}

use EventKind::{Crashed, Declared as DeclaredEvent, Failed, Ready, Restarting, Start, Stop, Stopping};

#[test]
fn a_declared_service_has_an_event_and_a_record_before_it_ever_runs() {
    let mut machine = Machine::new();
    assert_eq!(machine.events(), [DeclaredEvent]);
    assert_eq!(machine.event(DeclaredEvent).max_restarts, Some(Some(3)));
    let files = vec![(UnitName::service(&id()), Some("enabled".to_owned()))];
    let effects = machine.mirror.read(Vec::new(), files, now());
    machine.told.extend(effects);
    assert_eq!(machine.puts(), [State::NeverStarted]);
    let record = machine.mirror.record(&id()).unwrap();
    assert!(record.declared && record.timer.is_none());
    assert_eq!((record.unit.load_state.as_str(), record.unit.unit_file_state.as_str()), ("loaded", "enabled"));
}

#[test]
fn a_declared_service_without_files_is_not_installed() {
    let mut machine = Machine::new();
    machine.mirror.read(Vec::new(), vec![(UnitName::service(&id()), None)], now());
    assert_eq!(machine.mirror.record(&id()).unwrap().state(), State::NotInstalled);
}

#[test]
fn a_start_is_start_then_ready_with_systemds_times() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    assert_eq!(machine.events(), [Start, Ready]);
    let start = machine.event(Start);
    assert_eq!((start.pid, start.hostname.as_deref()), (Some(38), Some("obs1.example.org")));
    assert_eq!(i128::from(start.timestamp.timestamp().as_microsecond()), BOOT + 5_000_000);
    assert_eq!(start.parent.as_deref(), Some("manager.obs1"));
    assert_eq!(start.runner_id.as_deref(), Some("manager.obs1.hello.main"));
    assert_eq!(machine.event(Ready).startup_duration_seconds, Some(0.01));
    assert_eq!(machine.puts(), [State::Activating, State::Running]);
    assert_eq!(machine.message_ids(), ["tcs:b00:aa:start", "tcs:b00:aa:ready"]);
}

#[test]
fn a_late_ready_shows_activating_meanwhile() {
    let mut machine = Machine::new().listed();
    machine.starting(5_000_000, "aa", 38);
    assert_eq!(machine.events(), [Start]);
    assert_eq!(machine.mirror.record(&id()).unwrap().state(), State::Activating);
}

#[test]
fn a_kill_and_restart_is_four_events_two_statuses_four_records() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.crash(6_000_000);
    assert_eq!(machine.events(), [Crashed]);
    let crashed = machine.event(Crashed);
    assert_eq!((crashed.exit_code, crashed.will_restart), (Some(-9), Some(true)));
    assert_eq!((crashed.status, crashed.max_restarts), (Some(Status::Error), Some(Some(3))));
    assert_eq!(crashed.restart_policy, Some(RestartPolicy::OnFailure));
    assert_eq!(i128::from(crashed.timestamp.timestamp().as_microsecond()), BOOT + 6_000_000);
    machine.restart(7_000_000, "bb", 42, 1);
    Fake::set(&mut machine.unit.kind, &[("StatusText", text("up"))]);
    machine.signal();
    let effects = machine.mirror.settle(now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), [Crashed, Restarting, Start, Ready]);
    assert_eq!(machine.event(Restarting).restart_attempt, Some(1));
    assert_eq!(
        machine.statuses(),
        [
            (Status::Error, LastWord::ServiceIfFinal(38), "killed by SIGKILL; restart 1 of 3 in 1 s".to_owned()),
            (Status::Startup, LastWord::Manager, "restart 1 of 3".to_owned()),
        ]
    );
    assert_eq!(machine.puts(), [State::Restarting, State::Activating, State::Running, State::Running]);
    assert_eq!(machine.mirror.record(&id()).unwrap().unit.status_text, "up");
}

#[test]
fn the_crash_is_told_with_the_first_complete_change() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.main_ends(6_000_000, 2, 9, "signal");
    machine.fails(6_001_000);
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!(machine.event(Crashed).will_restart, Some(true));
    assert_eq!(machine.puts(), [], "systemd leaves `failed` within the same instant");
}

#[test]
fn a_crash_is_told_while_the_rest_of_the_service_is_still_dying() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.main_ends(6_000_000, 3, 11, "core-dump");
    machine.unit.state(6_000_500, "deactivating", "final-sigterm", &[]);
    machine.signal();
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!((machine.event(Crashed).exit_code, machine.event(Crashed).will_restart), (Some(-11), Some(true)));
    assert_eq!(machine.puts(), [State::Deactivating]);
    assert!(!machine.mirror.is_unsettled(), "nothing to ask for while it takes its time");
    machine.fails(7_000_000);
    machine.waits(7_000_300);
    assert_eq!(machine.events(), [Crashed]);
}

#[test]
fn without_a_restart_a_crash_is_crashed_and_failed_with_one_status() {
    let mut machine = Machine::new();
    machine.unit.main(&[("Restart", text("no"))]);
    let mut machine = machine.listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.main_ends(6_000_000, 1, 7, "exit-code");
    machine.fails(6_001_000);
    assert_eq!(machine.events(), [Crashed, Failed]);
    assert_eq!((machine.event(Crashed).will_restart, machine.event(Crashed).status), (Some(false), Some(Status::Failed)));
    assert_eq!(machine.event(Failed).reason.as_deref(), Some("exit-code"));
    assert_eq!(machine.statuses(), [(Status::Failed, LastWord::ServiceIfFinal(38), "exit code 7".to_owned())]);
    assert_eq!(machine.puts(), [State::Failed]);
}

#[test]
fn an_exit_code_that_forbids_the_restart_is_final() {
    let mut machine = Machine::new();
    let forbidden = crate::systemd::ExitSet { codes: vec![2, 75, 77, 78], signals: vec![] };
    machine.unit.main(&[("RestartPreventExitStatus", Value::Exits(forbidden))]);
    let mut machine = machine.listed();
    machine.starting(5_000_000, "aa", 38);
    machine.told.clear();
    machine.main_ends(5_100_000, 1, 78, "exit-code");
    machine.fails(5_100_300);
    assert_eq!(machine.events(), [Crashed, Failed]);
    assert_eq!(machine.event(Crashed).will_restart, Some(false));
}

#[test]
fn a_start_that_fails_before_it_is_ready_is_never_ready() {
    let mut machine = Machine::new().listed();
    machine.hear(Change::JobNew { id: 7, unit: machine.unit.name.clone() });
    machine.starting(5_000_000, "aa", 38);
    machine.main_ends(5_100_000, 1, 4, "exit-code");
    machine.fails(5_100_300);
    // The start's own job fails in between, and the state is sent once more.
    machine.hear(Change::JobRemoved { id: 7, unit: machine.unit.name.clone(), result: JobResult::Failed });
    machine.signal();
    machine.waits(5_100_400);
    assert_eq!(machine.events(), [Start, Crashed]);
    assert!(!machine.puts().contains(&State::Running));
}

#[test]
fn the_start_limit_ends_in_failed_and_says_so() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.crash(6_000_000);
    machine.told.clear();
    // systemd 252: the restart is refused, Result stays that of the last run.
    machine.unit.main(&[("NRestarts", number(1))]);
    machine.hear(Change::JobNew { id: 180, unit: machine.unit.name.clone() });
    machine.unit.state(6_999_800, "inactive", "dead", &[]);
    machine.signal();
    machine.fails(7_000_000);
    machine.hear(Change::JobRemoved { id: 180, unit: machine.unit.name.clone(), result: JobResult::Failed });
    assert_eq!(machine.events(), [Failed]);
    assert_eq!(machine.event(Failed).reason.as_deref(), Some("start-limit-hit"));
    assert_eq!(machine.statuses()[0].0, Status::Failed);
    assert_eq!(machine.statuses()[0].1, LastWord::Manager);
    assert_eq!(machine.puts(), [State::Failed]);
}

#[test]
fn a_start_that_is_refused_is_a_failure_without_a_run() {
    let mut machine = Machine::new().listed();
    machine.unit.main(&[("Result", text("start-limit-hit"))]);
    machine.fails(5_000_000);
    assert_eq!(machine.events(), [Failed]);
    assert_eq!(machine.event(Failed).reason.as_deref(), Some("start-limit-hit"));
}

#[test]
fn an_ordered_stop_is_stopping_then_one_stop() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.stop(6_000_000);
    machine.main_ends(6_001_300, 1, 0, "success");
    machine.stopped(6_001_500);
    assert_eq!(machine.events(), [Stopping, Stop]);
    let stop = machine.event(Stop);
    assert_eq!((stop.reason.as_deref(), stop.exit_code), (Some("terminated"), Some(0)));
    assert_eq!(machine.statuses(), [(Status::Shutdown, LastWord::ServiceIfFinal(38), "stopped".to_owned())]);
    assert_eq!(machine.puts(), [State::Deactivating, State::Stopped]);
}

#[test]
fn a_stop_that_comes_in_one_change_is_known_by_its_job() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.hear(Change::JobNew { id: 200, unit: machine.unit.name.clone() });
    machine.main_ends(6_001_300, 1, 0, "success");
    machine.stopped(6_001_500);
    assert_eq!(machine.events(), [Stop]);
    assert_eq!(machine.event(Stop).reason.as_deref(), Some("terminated"));
}

#[test]
fn a_service_that_did_not_stop_in_time_was_killed_and_failed() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.stop(6_000_000);
    machine.unit.main(&[("Result", text("timeout"))]);
    machine.unit.state(9_000_000, "deactivating", "stop-sigkill", &[]);
    machine.signal();
    machine.main_ends(9_001_000, 2, 9, "timeout");
    machine.fails(9_001_100);
    assert_eq!(machine.events(), [Stopping, Stop, Failed]);
    assert_eq!(machine.event(Stop).reason.as_deref(), Some("force_killed"));
    assert_eq!(machine.event(Stop).exit_code, Some(-9));
    assert_eq!(machine.event(Failed).reason.as_deref(), Some("timeout"));
}

#[test]
fn a_service_that_ends_by_itself_in_order_is_completed() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.main_ends(6_000_000, 1, 0, "success");
    machine.stopped(6_000_100);
    assert_eq!(machine.events(), [Stop]);
    assert_eq!(machine.event(Stop).reason.as_deref(), Some("completed"));
}

#[test]
fn a_stop_while_it_waits_for_its_restart_ends_in_order() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.crash(6_000_000);
    machine.told.clear();
    machine.hear(Change::JobNew { id: 200, unit: machine.unit.name.clone() });
    machine.stopped(6_500_000);
    assert_eq!(machine.events(), [Stop]);
    assert_eq!(machine.statuses().len(), 1);
    assert_eq!(machine.puts(), [State::Stopped]);
}

#[test]
fn a_hang_is_told_as_such() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.unit.main(&[("Result", text("watchdog"))]);
    machine.unit.state(7_000_000, "deactivating", "stop-watchdog", &[]);
    machine.signal();
    assert_eq!(machine.events(), [], "the process is still there");
    machine.main_ends(7_002_000, 2, 6, "watchdog");
    machine.fails(7_002_100);
    machine.waits(7_002_200);
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!(machine.event(Crashed).result.as_deref(), Some("watchdog"));
    assert!(machine.statuses()[0].2.starts_with("no sign of life within WatchdogSec (killed by SIGABRT); restart 1"));
}

#[test]
fn two_restarts_within_one_signal_are_both_told() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.unit.main(&[("NRestarts", number(2))]);
    machine.start(8_000_000, "cc", 60);
    assert_eq!(machine.events(), [Crashed, Restarting, Start, Crashed, Restarting, Start, Ready]);
    let coalesced: Vec<bool> = machine
        .told
        .iter()
        .filter_map(|effect| if let Effect::Event { event, .. } = effect { Some(event.coalesced == Some(true)) } else { None })
        .collect();
    assert_eq!(coalesced, [true, true, true, true, false, false, false]);
    assert_eq!(machine.event(Restarting).restart_attempt, Some(2));
    let ids = machine.message_ids();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
}

#[test]
fn a_restart_by_hand_within_one_signal_is_a_stop_and_a_start() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.start(8_000_000, "bb", 60);
    assert_eq!(machine.events(), [Stop, Start, Ready]);
    assert_eq!(machine.event(Stop).coalesced, Some(true));
}

#[test]
fn a_job_tells_its_run_with_duration_and_trigger() {
    let mut machine = Machine::declaring(Kind::Job).listed();
    let timer = machine.timer.name.clone();
    for (complete, values) in [
        (false, vec![("LastTriggerUSec", number(BOOT + 4_999_000)), ("NextElapseUSecRealtime", number(BOOT + 35_000_000))]),
        (true, vec![("ActiveState", text("active")), ("SubState", text("running"))]),
    ] {
        let unit = timer.clone();
        machine.hear(Change::Properties { unit, complete, properties: Properties::of(values), clock: clock() });
    }
    machine.starting(5_000_000, "aa", 48);
    machine.main_ends(5_300_000, 1, 0, "success");
    machine.unit.state(5_300_400, "inactive", "dead", &[("InactiveEnterTimestamp", number(BOOT + 5_300_400))]);
    machine.signal();
    assert_eq!(machine.events(), [Start, Stop]);
    let stop = machine.event(Stop);
    assert_eq!((stop.reason.as_deref(), stop.exit_code, stop.duration_s), (Some("completed"), Some(0), Some(0.3)));
    assert_eq!(stop.trigger.as_deref(), Some("timer"));
    assert_eq!(machine.statuses(), [(Status::Shutdown, LastWord::ServiceIfFinal(48), "completed".to_owned())]);
    let record = machine.mirror.record(&id()).unwrap();
    assert_eq!(record.state(), State::Finished);
    let timer = record.timer.as_ref().unwrap();
    assert_eq!(i128::from(timer.next.unwrap().timestamp().as_microsecond()), BOOT + 35_000_000);
}

#[test]
fn a_job_that_fails_is_crashed_and_failed() {
    let mut machine = Machine::declaring(Kind::Job).listed();
    machine.starting(5_000_000, "aa", 48);
    machine.main_ends(5_300_000, 1, 3, "exit-code");
    machine.fails(5_300_400);
    assert_eq!(machine.events(), [Start, Crashed, Failed]);
    assert_eq!(machine.event(Crashed).trigger.as_deref(), Some("manual"));
    assert_eq!(machine.event(Crashed).will_restart, Some(false));
}

#[test]
fn what_comes_twice_is_told_once() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.crash(6_000_000);
    machine.told.clear();
    machine.signal();
    machine.signal();
    assert_eq!(machine.told, []);
}

#[test]
fn an_older_signal_does_not_undo_a_newer_reading() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    let older = machine.unit.clone();
    machine.crash(6_000_000);
    machine.restart(7_000_000, "bb", 42, 1);
    let effects = machine.mirror.read_unit(machine.unit.whole(), now());
    machine.told.extend(effects);
    machine.told.clear();
    let newer = std::mem::replace(&mut machine.unit, older);
    machine.signal();
    machine.unit = newer;
    assert_eq!(machine.told, []);
    assert_eq!(machine.mirror.record(&id()).unwrap().unit.invocation_id, "bb");
}

#[test]
fn a_reload_is_held_back_and_ends_in_one_reading() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    let unit = machine.unit.name.clone();
    machine.hear(Change::Reloading(true));
    machine.hear(Change::Unloaded(unit.clone()));
    machine.hear(Change::Loaded(unit));
    Fake::set(&mut machine.unit.unit, &[("ActiveState", text("inactive"))]);
    machine.signal();
    assert_eq!(machine.told, []);
    machine.hear(Change::Reloading(false));
    assert_eq!(machine.told, [Effect::Resync]);
    machine.told.clear();
    Fake::set(&mut machine.unit.unit, &[("ActiveState", text("active")), ("NeedDaemonReload", Value::Flag(true))]);
    let effects = machine.mirror.read(vec![machine.unit.whole()], Vec::new(), now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), []);
    assert!(machine.mirror.record(&id()).unwrap().unit.need_daemon_reload);
}

#[test]
fn what_ended_during_a_reload_is_told_after_it() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.hear(Change::Reloading(true));
    machine.crash(6_000_000);
    machine.hear(Change::Reloading(false));
    machine.told.clear();
    let effects = machine.mirror.read(vec![machine.unit.whole()], Vec::new(), now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!(machine.event(Crashed).exit_code, Some(-9));
}

#[test]
fn a_stopped_unit_that_is_unloaded_keeps_its_past() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.stop(6_000_000);
    machine.main_ends(6_001_300, 1, 0, "success");
    machine.stopped(6_001_500);
    machine.hear(Change::Unloaded(machine.unit.name.clone()));
    let effects = machine.mirror.settle(now());
    machine.told.extend(effects);
    let record = machine.mirror.record(&id()).unwrap();
    assert_eq!(record.state(), State::Stopped);
    // As `systemctl show` has it after loading the unit anew.
    assert_eq!((record.unit.exec_main_code, record.unit.invocation_id.as_str()), (0, ""));
    assert_eq!((record.unit.load_state.as_str(), record.unit.result.as_str()), ("loaded", "success"));
    // Loaded again by a start that a condition skips: it has still run before.
    machine.unit = Fake { monotonic: 0, ..Machine::new().unit };
    Fake::set(&mut machine.unit.kind, &[("ExecMainStartTimestamp", number(0)), ("ExecMainExitTimestamp", number(0))]);
    Fake::set(&mut machine.unit.unit, &[("StateChangeTimestamp", number(0)), ("ConditionResult", Value::Flag(false))]);
    machine.signal();
    assert_eq!(machine.mirror.current(&id(), now()).unwrap().0.state(), State::Stopped);
    machine.told.clear();
    machine.start(9_000_000, "bb", 70);
    assert_eq!(machine.events(), [Start, Ready]);
}

#[test]
fn a_unit_at_rest_is_never_asked() {
    let mut machine = Machine::new();
    machine.mirror.read(Vec::new(), Vec::new(), now());
    machine.told.clear();
    machine.hear(Change::Loaded(machine.unit.name.clone()));
    machine.signal();
    assert!(!machine.told.iter().any(|effect| matches!(effect, Effect::Query(_))));
    machine.starting(5_000_000, "aa", 38);
    let queries = machine.told.iter().filter(|effect| matches!(effect, Effect::Query(_))).count();
    assert_eq!(queries, 1);
}

#[test]
fn systemd_re_executing_stops_nothing() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.hear(Change::Unloaded(machine.unit.name.clone()));
    machine.hear(Change::OwnerChanged { present: false });
    machine.hear(Change::OwnerChanged { present: true });
    assert!(machine.told.iter().all(|effect| *effect == Effect::Resync));
    assert_eq!(machine.mirror.record(&id()).unwrap().state(), State::Running);
}

#[test]
fn what_happened_while_the_manager_was_away_is_told_late_and_not_made_up() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    let record = machine.mirror.record(&id()).unwrap().clone();
    let mut later = Machine::new();
    later.mirror.remember(vec![record.clone()]);
    later.told.clear();
    machine.start(9_000_000, "bb", 90);
    let effects = later.mirror.read(vec![machine.unit.whole()], Vec::new(), now());
    later.told.extend(effects);
    assert_eq!(later.events(), [Start, Ready], "how the first run ended nobody knows");
    assert_eq!(later.event(Start).late, Some(true));
    assert_eq!(later.message_ids()[0], "tcs:b00:bb:start");
    assert_eq!(later.statuses(), []);

    let mut same = Machine::new();
    same.mirror.remember(vec![machine.mirror.record(&id()).unwrap().clone()]);
    same.told.clear();
    let effects = same.mirror.read(vec![machine.unit.whole()], Vec::new(), now());
    same.told.extend(effects);
    assert_eq!(same.events(), [], "nothing happened");
}

#[test]
fn what_stopped_and_was_unloaded_while_the_manager_was_away_is_at_rest() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    let mut later = Machine::new();
    later.mirror.remember(vec![machine.mirror.record(&id()).unwrap().clone()]);
    later.told.clear();
    let files = vec![(UnitName::service(&id()), Some("enabled".to_owned()))];
    let effects = later.mirror.read(Vec::new(), files, now());
    later.told.extend(effects);
    assert_eq!(later.events(), [Stop]);
    let stop = later.event(Stop);
    assert_eq!((stop.late, stop.coalesced, stop.exit_code), (Some(true), Some(true), None));
    assert_eq!(later.statuses(), [(Status::Shutdown, LastWord::ServiceIfFinal(38), "stopped".to_owned())]);
    assert_eq!(later.puts(), [State::Stopped]);
    assert_eq!(later.mirror.record(&id()).unwrap().unit.status_text, "");
}

#[test]
fn what_failed_while_the_manager_was_away_is_told_with_its_status_of_now() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    let mut later = Machine::new();
    later.mirror.remember(vec![machine.mirror.record(&id()).unwrap().clone()]);
    later.told.clear();
    machine.start(8_000_000, "bb", 50);
    machine.main_ends(9_000_000, 1, 7, "exit-code");
    machine.fails(9_000_100);
    let effects = later.mirror.read(vec![machine.unit.whole()], Vec::new(), now());
    later.told.extend(effects);
    assert_eq!(later.events(), [Start, Ready, Crashed, Failed]);
    assert_eq!(later.event(Crashed).will_restart, Some(false), "it is down, and nothing is about to change that");
    assert_eq!(later.statuses().len(), 1);
    assert_eq!(later.statuses()[0].0, Status::Failed);
}

#[test]
fn the_first_sight_of_a_running_service_is_no_news() {
    let mut machine = Machine::new();
    machine.told.clear();
    let mut running = Machine::new().listed();
    running.start(5_000_000, "aa", 38);
    let effects = machine.mirror.read(vec![running.unit.whole()], Vec::new(), now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), []);
    assert_eq!(machine.puts(), [State::Running]);
}

#[test]
fn a_restart_that_never_comes_is_noticed() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.main_ends(6_000_000, 2, 9, "signal");
    machine.fails(6_001_000);
    machine.told.clear();
    assert!(machine.mirror.is_unsettled());
    let effects = machine.mirror.settle(now());
    assert!(effects.contains(&Effect::Query(machine.unit.name.clone())));
    let effects = machine.mirror.read_unit(machine.unit.whole(), now());
    machine.told.extend(effects);
    let effects = machine.mirror.settle(now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), [Failed]);
    assert_eq!(machine.mirror.record(&id()).unwrap().state(), State::Failed);
    assert!(!machine.mirror.is_unsettled());
}
