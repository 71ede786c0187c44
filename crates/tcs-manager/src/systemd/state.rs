//! What systemd says of one unit.

use jiff::{SignedDuration, Timestamp};
use tcs_wire::{UnitKind, UnitName};

use super::properties::{ExitSet, Properties, Value};

/// "Not set" and "never" in systemd's counts of microseconds.
const NEVER: i128 = u64::MAX as i128;

/// The present on the two clocks that systemd counts by, for times that it gives on one of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// CLOCK_REALTIME.
    pub realtime: Timestamp,
    /// CLOCK_MONOTONIC since boot.
    pub monotonic: SignedDuration,
}

impl ClockReading {
    /// Reads both clocks.
    pub fn now() -> Self {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let nanoseconds = i32::try_from(monotonic.tv_nsec).unwrap_or_default();
        Self {
            realtime: Timestamp::now(),
            monotonic: SignedDuration::new(monotonic.tv_sec, nanoseconds),
        }
    }

    /// Returns the wall-clock time of an instant on the monotonic clock.
    fn realtime_of(&self, monotonic: SignedDuration) -> Option<Timestamp> {
        self.realtime.checked_add(monotonic - self.monotonic).ok()
    }
}

/// One unit's properties, named as systemd names them (org.freedesktop.systemd1(5)).
///
/// Fields of the other kind of unit stay at their defaults. Texts are empty and times absent where systemd has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// Id.
    pub name: UnitName,
    /// LoadState, e.g. `loaded`, `not-found`, `masked`, `bad-setting`.
    pub load_state: String,
    /// ActiveState, e.g. `active`, `activating`, `failed`.
    pub active_state: String,
    /// SubState, e.g. `running`, `auto-restart`, `waiting`.
    pub sub_state: String,
    /// Result of the last run, e.g. `success`, `signal`, `watchdog`.
    pub result: String,
    /// Description.
    pub description: String,
    /// UnitFileState, e.g. `enabled`, `disabled`, `static`.
    pub unit_file_state: String,
    /// NeedDaemonReload: the files changed since they were read.
    pub need_daemon_reload: bool,
    /// FragmentPath.
    pub fragment_path: String,
    /// DropInPaths.
    pub drop_in_paths: Vec<String>,
    /// InvocationID in hexadecimal; empty when it has not run since it was loaded.
    pub invocation_id: String,
    /// ConditionResult: false when the last start was skipped by a condition.
    pub condition_result: bool,
    /// StateChangeTimestamp.
    pub state_change: Option<Timestamp>,
    /// StateChangeTimestampMonotonic in microseconds; orders what is known of a unit, whatever the clock is set to.
    pub state_change_monotonic: u64,
    /// ActiveEnterTimestamp: when it was last ready.
    pub active_enter: Option<Timestamp>,
    /// ActiveExitTimestamp.
    pub active_exit: Option<Timestamp>,
    /// InactiveExitTimestamp: when the last start began.
    pub inactive_exit: Option<Timestamp>,
    /// InactiveEnterTimestamp: when it last ended.
    pub inactive_enter: Option<Timestamp>,

    /// Type, e.g. `notify`, `oneshot`.
    pub service_type: String,
    /// Restart, e.g. `on-failure`.
    pub restart: String,
    /// RestartPreventExitStatus.
    pub restart_prevent: ExitSet,
    /// RestartForceExitStatus.
    pub restart_force: ExitSet,
    /// RestartUSec: the pause before an automatic restart.
    pub restart_delay: Option<SignedDuration>,
    /// StartLimitBurst.
    pub start_limit_burst: u32,
    /// StartLimitIntervalUSec; none when there is no limit.
    pub start_limit_interval: Option<SignedDuration>,
    /// WatchdogUSec; none when it has no watchdog.
    pub watchdog: Option<SignedDuration>,
    /// MainPID, 0 when no main process runs.
    pub main_pid: u32,
    /// ExecMainPID: of the last main process, also after its end.
    pub exec_main_pid: u32,
    /// ExecMainCode: 0 unset, 1 exited, 2 killed, 3 dumped core (the CLD_ codes of waitid(2)).
    pub exec_main_code: i32,
    /// ExecMainStatus: the exit code or the signal's number.
    pub exec_main_status: i32,
    /// ExecMainStartTimestamp.
    pub exec_main_start: Option<Timestamp>,
    /// ExecMainExitTimestamp.
    pub exec_main_exit: Option<Timestamp>,
    /// NRestarts: automatic restarts since the last start by hand.
    pub n_restarts: u32,
    /// StatusText, the last `STATUS=`.
    pub status_text: String,

    /// When the timer elapses next: NextElapseUSecRealtime and NextElapseUSecMonotonic in one, as `systemctl
    /// list-timers` does.
    pub next_elapse: Option<Timestamp>,
    /// LastTriggerUSec.
    pub last_trigger: Option<Timestamp>,
    next_realtime: Option<Timestamp>,
    next_monotonic: Option<(SignedDuration, Option<Timestamp>)>,
}

impl UnitState {
    /// Returns the state of a unit that has never run, as systemd would show it after loading.
    pub fn unloaded(name: UnitName) -> Self {
        Self {
            name,
            load_state: "loaded".to_owned(),
            active_state: "inactive".to_owned(),
            sub_state: "dead".to_owned(),
            result: "success".to_owned(),
            description: String::new(),
            unit_file_state: String::new(),
            need_daemon_reload: false,
            fragment_path: String::new(),
            drop_in_paths: Vec::new(),
            invocation_id: String::new(),
            condition_result: true,
            state_change: None,
            state_change_monotonic: 0,
            active_enter: None,
            active_exit: None,
            inactive_exit: None,
            inactive_enter: None,
            service_type: String::new(),
            restart: String::new(),
            restart_prevent: ExitSet::default(),
            restart_force: ExitSet::default(),
            restart_delay: None,
            start_limit_burst: 0,
            start_limit_interval: None,
            watchdog: None,
            main_pid: 0,
            exec_main_pid: 0,
            exec_main_code: 0,
            exec_main_status: 0,
            exec_main_start: None,
            exec_main_exit: None,
            n_restarts: 0,
            status_text: String::new(),
            next_elapse: None,
            last_trigger: None,
            next_realtime: None,
            next_monotonic: None,
        }
    }

    /// Returns the state after unloading: as systemd would show the unit after loading it again, but with the times of
    /// its last run, which systemd forgets.
    #[must_use]
    pub fn at_rest(self) -> Self {
        Self {
            load_state: self.load_state,
            unit_file_state: self.unit_file_state,
            description: self.description,
            fragment_path: self.fragment_path,
            drop_in_paths: self.drop_in_paths,
            service_type: self.service_type,
            restart: self.restart,
            start_limit_burst: self.start_limit_burst,
            start_limit_interval: self.start_limit_interval,
            state_change: self.state_change,
            condition_result: self.condition_result,
            exec_main_pid: self.exec_main_pid,
            exec_main_start: self.exec_main_start,
            exec_main_exit: self.exec_main_exit,
            last_trigger: self.last_trigger,
            ..Self::unloaded(self.name)
        }
    }

    /// Takes over what a message brought; what it did not bring stays.
    pub fn apply(&mut self, properties: &Properties, clock: &ClockReading) {
        for (name, value) in properties.iter() {
            match value {
                Value::Text(text) => self.apply_text(name, text),
                Value::Number(number) => self.apply_number(name, *number, clock),
                Value::Flag(flag) => match name {
                    "NeedDaemonReload" => self.need_daemon_reload = *flag,
                    "ConditionResult" => self.condition_result = *flag,
                    _ => {}
                },
                Value::List(list) if name == "DropInPaths" => self.drop_in_paths.clone_from(list),
                Value::List(_) => {}
                Value::Exits(set) => match name {
                    "RestartPreventExitStatus" => self.restart_prevent.clone_from(set),
                    "RestartForceExitStatus" => self.restart_force.clone_from(set),
                    _ => {}
                },
            }
        }
        let monotonic = self.next_monotonic.and_then(|(_, realtime)| realtime);
        self.next_elapse = match (self.next_realtime, monotonic) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn apply_text(&mut self, name: &str, text: &str) {
        let field = match name {
            "LoadState" => &mut self.load_state,
            "ActiveState" => &mut self.active_state,
            "SubState" => &mut self.sub_state,
            "Result" => &mut self.result,
            "Description" => &mut self.description,
            "UnitFileState" => &mut self.unit_file_state,
            "FragmentPath" => &mut self.fragment_path,
            "InvocationID" => &mut self.invocation_id,
            "StatusText" => &mut self.status_text,
            "Type" => &mut self.service_type,
            "Restart" => &mut self.restart,
            _ => return,
        };
        if field != text {
            text.clone_into(field);
        }
    }

    fn apply_number(&mut self, name: &str, number: i128, clock: &ClockReading) {
        match name {
            "StateChangeTimestamp" => self.state_change = instant(number),
            "StateChangeTimestampMonotonic" => {
                self.state_change_monotonic = u64::try_from(number).unwrap_or_default();
            }
            "ActiveEnterTimestamp" => self.active_enter = instant(number),
            "ActiveExitTimestamp" => self.active_exit = instant(number),
            "InactiveExitTimestamp" => self.inactive_exit = instant(number),
            "InactiveEnterTimestamp" => self.inactive_enter = instant(number),
            "ExecMainStartTimestamp" => self.exec_main_start = instant(number),
            "ExecMainExitTimestamp" => self.exec_main_exit = instant(number),
            "LastTriggerUSec" => self.last_trigger = instant(number),
            "NextElapseUSecRealtime" => self.next_realtime = instant(number),
            "NextElapseUSecMonotonic" => {
                let next = span(number);
                // Converted once per value: two clock readings a moment apart would show a change where there is none.
                if self.next_monotonic.map(|(known, _)| known) != next {
                    self.next_monotonic = next.map(|next| (next, clock.realtime_of(next)));
                }
            }
            "RestartUSec" => self.restart_delay = duration(number),
            "StartLimitIntervalUSec" => self.start_limit_interval = span(number),
            "WatchdogUSec" => self.watchdog = span(number),
            "StartLimitBurst" => self.start_limit_burst = unsigned(number),
            "MainPID" => self.main_pid = unsigned(number),
            "ExecMainPID" => self.exec_main_pid = unsigned(number),
            "NRestarts" => self.n_restarts = unsigned(number),
            "ExecMainCode" => self.exec_main_code = i32::try_from(number).unwrap_or_default(),
            "ExecMainStatus" => self.exec_main_status = i32::try_from(number).unwrap_or_default(),
            _ => {}
        }
    }

    /// Returns the id's unit kind.
    pub fn kind(&self) -> UnitKind {
        self.name.kind()
    }

    /// Returns how the main process ended, as the contract writes it: negative for a signal; none while it runs or
    /// before there was one.
    pub fn exit_code(&self) -> Option<i32> {
        match self.exec_main_code {
            1 => Some(self.exec_main_status),
            2 | 3 => Some(-self.exec_main_status),
            _ => None,
        }
    }

    /// Returns whether a job to completion (`Type=oneshot`) rather than a permanent service.
    pub fn is_oneshot(&self) -> bool {
        self.service_type == "oneshot"
    }

    /// Returns whether systemd waits before it starts the service again by itself.
    pub fn is_waiting_for_restart(&self) -> bool {
        self.active_state == "activating" && self.sub_state.starts_with("auto-restart")
    }

    /// Returns whether systemd starts the service again by itself after this end (systemd.service(5), Restart=),
    /// provided that nobody asked for the end.
    ///
    /// systemd tells the end first and the restart a moment later: this spares the wait.
    pub fn shall_restart(&self) -> bool {
        let exit_code = self.exit_code();
        if exit_code.is_some_and(|code| self.restart_prevent.contains(code)) {
            return false;
        }
        if exit_code.is_some_and(|code| self.restart_force.contains(code)) {
            return true;
        }
        let result = self.result.as_str();
        match self.restart.as_str() {
            "always" => result != "exec-condition",
            "on-success" => result == "success",
            "on-failure" => !matches!(result, "success" | "exec-condition"),
            "on-abnormal" => !matches!(result, "success" | "exit-code" | "exec-condition"),
            "on-watchdog" => result == "watchdog",
            "on-abort" => matches!(result, "signal" | "core-dump"),
            _ => false,
        }
    }
}

fn unsigned(number: i128) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn instant(microseconds: i128) -> Option<Timestamp> {
    if microseconds == 0 || microseconds == NEVER {
        return None;
    }
    Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
}

fn duration(microseconds: i128) -> Option<SignedDuration> {
    (microseconds != NEVER)
        .then(|| i64::try_from(microseconds).ok().map(SignedDuration::from_micros))
        .flatten()
}

fn span(microseconds: i128) -> Option<SignedDuration> {
    duration(microseconds).filter(|span| !span.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(seconds: i64) -> ClockReading {
        ClockReading {
            realtime: Timestamp::from_second(1_800_000_000 + seconds).unwrap(),
            monotonic: SignedDuration::from_secs(500 + seconds),
        }
    }

    fn timer() -> UnitState {
        UnitState::unloaded(UnitName::parse("tcs@weather.timer").unwrap())
    }

    #[test]
    fn unset_and_never_are_no_times() {
        let mut state = timer();
        for unset in [0, NEVER] {
            state.apply(
                &Properties::of([("LastTriggerUSec", Value::Number(unset))]),
                &clock(0),
            );
            assert_eq!(state.last_trigger, None);
        }
        state.apply(
            &Properties::of([("LastTriggerUSec", Value::Number(1_500_000))]),
            &clock(0),
        );
        assert_eq!(state.last_trigger.unwrap().as_microsecond(), 1_500_000);
    }

    #[test]
    fn monotonic_elapse_becomes_wall_clock_once() {
        let mut state = timer();
        let next = |at| Properties::of([("NextElapseUSecMonotonic", Value::Number(at))]);
        state.apply(&next(530_000_000), &clock(0));
        assert_eq!(state.next_elapse, Some(clock(30).realtime));
        // The wall clock was set forward: the value itself has not changed, so it does not flicker.
        let stepped = ClockReading {
            realtime: clock(3600).realtime,
            ..clock(0)
        };
        state.apply(&next(530_000_000), &stepped);
        assert_eq!(state.next_elapse, Some(clock(30).realtime));
        state.apply(&next(NEVER), &clock(40));
        assert_eq!(state.next_elapse, None);
    }

    #[test]
    fn the_earlier_of_both_clocks_counts() {
        let mut state = timer();
        let realtime = i128::from(clock(10).realtime.as_microsecond());
        state.apply(
            &Properties::of([
                ("NextElapseUSecRealtime", Value::Number(realtime)),
                ("NextElapseUSecMonotonic", Value::Number(530_000_000)),
            ]),
            &clock(0),
        );
        assert_eq!(state.next_elapse, Some(clock(10).realtime));
    }

    #[test]
    fn signals_are_negative_exit_codes() {
        let mut state = UnitState::unloaded(UnitName::parse("tcs@a.service").unwrap());
        assert_eq!(state.exit_code(), None);
        let end = |code, status| {
            Properties::of([
                ("ExecMainCode", Value::Number(code)),
                ("ExecMainStatus", Value::Number(status)),
            ])
        };
        state.apply(&end(2, 9), &clock(0));
        assert_eq!(state.exit_code(), Some(-9));
        state.apply(&end(3, 6), &clock(0));
        assert_eq!(state.exit_code(), Some(-6));
        state.apply(&end(1, 78), &clock(0));
        assert_eq!(state.exit_code(), Some(78));
    }
}
