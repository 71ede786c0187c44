//! One service's runs: what happened, worked out from what its unit looks like now and looked like before.
//!
//! Runs are told apart by their invocation id and by systemd's count of restarts, never by watching states pass: under
//! load several changes come as one.

use jiff::{SignedDuration, Timestamp};
use tcs_wire::{EventKind, StopReason};

use crate::systemd::UnitState;

/// Runs between two sightings that are told one by one; beyond it only the last ones are.
const MAX_COALESCED: u32 = 20;

/// Something that happened to a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happening {
    pub(super) kind: EventKind,
    pub(super) at: Timestamp,
    /// The run that it belongs to.
    pub(super) invocation: String,
    /// Tells apart happenings of one kind in one run.
    pub(super) n: Option<u32>,
    /// Over before it could be seen.
    pub(super) coalesced: bool,
    pub(super) detail: Detail,
}

/// What belongs to some kinds only.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Detail {
    pub(super) pid: Option<u32>,
    pub(super) exit_code: Option<i32>,
    pub(super) result: Option<String>,
    pub(super) reason: Option<StopReason>,
    pub(super) will_restart: bool,
    /// Restarts so far; with `restarting` the number of this one.
    pub(super) restarts: u32,
    pub(super) duration: Option<SignedDuration>,
}

/// What else is known at the moment of a change.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Circumstances {
    /// Somebody asked for the end of the service.
    pub(super) asked: bool,
    /// A job of the unit is under way: what looks like an end may be the middle of a start.
    pub(super) job_pending: bool,
    /// This is a reading, so no moment in the middle of a change.
    pub(super) settled: bool,
    /// Nobody was looking before: the end of a run that is no more is not made up.
    pub(super) late: bool,
}

/// How far the story of the present run has been told.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    invocation: String,
    restarts: u32,
    /// Start of the last main process seen, by which a new one is known.
    main_start: Option<Timestamp>,
    started: bool,
    ready: bool,
    stopping: bool,
    ended: bool,
    /// A restart is expected after the end.
    will_restart: bool,
    /// systemd was seen waiting to restart it.
    waited: bool,
    /// The failure has been told.
    failed: bool,
}

impl Run {
    /// Takes the present as known, without telling anything.
    pub(super) fn adopt(unit: &UnitState) -> Self {
        let waiting = unit.is_waiting_for_restart();
        let down = is_down(unit);
        Self {
            invocation: unit.invocation_id.clone(),
            restarts: unit.n_restarts,
            main_start: unit.exec_main_start,
            started: unit.exec_main_start.is_some(),
            ready: unit.active_state == "active" || down,
            stopping: unit.active_state == "deactivating",
            ended: down,
            will_restart: waiting,
            waited: waiting,
            failed: unit.active_state == "failed",
        }
    }

    /// Returns whether a main process of this run was started and its end has not been told.
    pub(super) fn is_up(&self) -> bool {
        self.started && !self.ended
    }

    /// Returns whether it is down and systemd should have begun to restart it, but was not seen to.
    pub(super) fn is_expecting_restart(&self, unit: &UnitState) -> bool {
        let down = matches!(unit.active_state.as_str(), "failed" | "inactive");
        down && self.ended && self.will_restart && !self.waited && !self.failed
    }

    /// Returns whether it was waiting for its restart and is now on the way to a start, a failure or an orderly end.
    pub(super) fn is_leaving_wait(&self, unit: &UnitState, job_pending: bool) -> bool {
        self.ended && self.waited && unit.active_state == "inactive" && job_pending
    }

    /// Works out what happened, oldest first.
    pub(super) fn advance(&mut self, unit: &UnitState, circumstances: Circumstances) -> Vec<Happening> {
        let Circumstances {
            job_pending,
            settled,
            late,
            ..
        } = circumstances;
        let mut told = Vec::new();
        if is_passing(unit) || self.is_leaving_wait(unit, job_pending) {
            return told;
        }
        let main_is_new = unit.exec_main_start.is_some() && unit.exec_main_start != self.main_start;
        let other_run = !unit.invocation_id.is_empty() && unit.invocation_id != self.invocation;
        if other_run && (unit.active_state != "inactive" || main_is_new) {
            self.begin(unit, late, &mut told);
        }
        let same_run = unit.invocation_id == self.invocation;
        if same_run && !self.started && main_is_new {
            self.started = true;
            self.main_start = unit.exec_main_start;
            let at = unit.exec_main_start.unwrap_or_else(|| changed(unit));
            let detail = Detail {
                pid: Some(unit.exec_main_pid),
                ..Detail::default()
            };
            told.push(self.happening(EventKind::Start, at, detail));
        }
        if same_run && self.is_up() {
            self.ready(unit, &mut told);
            self.stopping(unit, &mut told);
        }
        let down = is_down(unit);
        if same_run {
            self.end(unit, circumstances, &mut told);
        }
        if unit.is_waiting_for_restart() {
            self.waited = true;
        } else if same_run && self.ended && self.waited && unit.active_state == "inactive" {
            // Stopped while it waited: what began as a failure ends in order.
            self.waited = false;
            self.will_restart = false;
            let detail = Detail {
                reason: Some(StopReason::Terminated),
                ..Detail::default()
            };
            told.push(self.happening(EventKind::Stop, changed(unit), detail));
        }
        if settled && down && !self.waited {
            self.will_restart = false;
        }
        self.failed(unit, &mut told);
        told
    }

    /// Tells the end of a run whose unit is gone: systemd unloads what ended in order, so that much is known.
    pub(super) fn vanish(&mut self, now: Timestamp) -> Vec<Happening> {
        self.ended = true;
        vec![self.unseen(EventKind::Stop, now, None, Detail::default())]
    }

    fn begin(&mut self, unit: &UnitState, late: bool, told: &mut Vec<Happening>) {
        let restarted = unit.n_restarts > self.restarts && !self.invocation.is_empty();
        let at = unit.inactive_enter.unwrap_or_else(|| changed(unit));
        if self.is_up() {
            if restarted {
                let detail = Detail {
                    will_restart: true,
                    ..Detail::default()
                };
                told.push(self.unseen(EventKind::Crashed, at, None, detail));
            } else if !late {
                told.push(self.unseen(EventKind::Stop, at, None, Detail::default()));
            }
        }
        let before = std::mem::take(self);
        self.invocation.clone_from(&unit.invocation_id);
        self.restarts = unit.n_restarts;
        self.main_start = before.main_start;
        if restarted {
            self.uncounted(before.restarts, at, told);
            let detail = Detail {
                restarts: unit.n_restarts,
                ..Detail::default()
            };
            let at = unit.inactive_exit.unwrap_or_else(|| changed(unit));
            // systemd notes the process a moment before the unit: a restart is not later than its start.
            let start = unit
                .exec_main_start
                .filter(|start| self.main_start != Some(*start));
            let at = start.map_or(at, |start| start.min(at));
            told.push(self.happening(EventKind::Restarting, at, detail));
        }
    }

    /// Tells the runs that came and went unseen, known by systemd's count alone.
    fn uncounted(&self, counted: u32, at: Timestamp, told: &mut Vec<Happening>) {
        let first = (counted + 1).max(self.restarts.saturating_sub(MAX_COALESCED));
        for n in first..self.restarts {
            let detail = Detail {
                restarts: n,
                ..Detail::default()
            };
            told.push(self.unseen(EventKind::Restarting, at, Some(n), detail));
            told.push(self.unseen(EventKind::Start, at, Some(n), Detail::default()));
            let detail = Detail {
                will_restart: true,
                restarts: n,
                ..Detail::default()
            };
            told.push(self.unseen(EventKind::Crashed, at, Some(n), detail));
        }
    }

    fn ready(&mut self, unit: &UnitState, told: &mut Vec<Happening>) {
        let was_active = unit
            .active_enter
            .zip(unit.exec_main_start)
            .is_some_and(|(active, start)| active >= start);
        let is_active = matches!(unit.active_state.as_str(), "active" | "reloading" | "refreshing");
        if self.ready || !(is_active || was_active) {
            return;
        }
        self.ready = true;
        let at = unit.active_enter.unwrap_or_else(|| changed(unit));
        let duration = unit.exec_main_start.map(|start| at.duration_since(start));
        told.push(self.happening(
            EventKind::Ready,
            at,
            Detail {
                duration,
                ..Detail::default()
            },
        ));
    }

    fn stopping(&mut self, unit: &UnitState, told: &mut Vec<Happening>) {
        if !self.stopping
            && unit.active_state == "deactivating"
            && unit.main_pid != 0
            && unit.result == "success"
        {
            self.stopping = true;
            let at = unit.active_exit.unwrap_or_else(|| changed(unit));
            told.push(self.happening(EventKind::Stopping, at, Detail::default()));
        }
    }

    fn end(&mut self, unit: &UnitState, circumstances: Circumstances, told: &mut Vec<Happening>) {
        let Circumstances {
            asked, settled, late, ..
        } = circumstances;
        let down = is_down(unit);
        let main_ended = self.started && unit.exec_main_code != 0 && unit.main_pid == 0;
        // What is left of a dead service may take its time to go; the death is news at once.
        let dying = unit.active_state == "deactivating" && main_ended && unit.result != "success";
        if self.ended || !(down || dying) {
            return;
        }
        self.ended = true;
        let in_between = dying || !settled;
        self.will_restart = unit.is_waiting_for_restart() || (in_between && !asked && unit.shall_restart());
        if !self.started {
            return;
        }
        let at = match unit.exec_main_exit {
            Some(at) if main_ended => at,
            _ => unit.inactive_enter.unwrap_or_else(|| changed(unit)),
        };
        let exit_code = unit.exit_code();
        let duration = unit.exec_main_start.map(|start| at.duration_since(start));
        let in_order = matches!(unit.result.as_str(), "success" | "exec-condition");
        let detail = Detail {
            exit_code,
            duration,
            result: Some(unit.result.clone()),
            ..Detail::default()
        };
        let happening = if in_order || asked {
            let reason = match exit_code {
                Some(-9) if !in_order => Some(StopReason::ForceKilled),
                _ if asked || exit_code == Some(-15) => Some(StopReason::Terminated),
                // Whether somebody asked for it, nobody saw.
                _ if late => None,
                _ => Some(StopReason::Completed),
            };
            self.happening(EventKind::Stop, at, Detail { reason, ..detail })
        } else {
            let detail = Detail {
                will_restart: self.will_restart,
                restarts: unit.n_restarts,
                ..detail
            };
            self.happening(EventKind::Crashed, at, detail)
        };
        told.push(happening);
    }

    fn failed(&mut self, unit: &UnitState, told: &mut Vec<Happening>) {
        match unit.active_state.as_str() {
            "failed" => {}
            "inactive" => {
                self.failed = false;
                return;
            }
            _ => return,
        }
        if self.failed || self.is_expecting_restart(unit) {
            return;
        }
        self.failed = true;
        // After the limit systemd 252 leaves Result as the last run had it, and counts the restart that it refused.
        let (result, restarts) = if self.waited {
            ("start-limit-hit".to_owned(), self.restarts)
        } else {
            (unit.result.clone(), unit.n_restarts)
        };
        let at = unit.inactive_enter.unwrap_or_else(|| changed(unit));
        let exit_code = unit.exit_code().filter(|_| self.started);
        let detail = Detail {
            result: Some(result),
            exit_code,
            restarts,
            ..Detail::default()
        };
        // A start that is refused begins no run of its own.
        let n = (!self.started || self.waited).then(|| u32::try_from(at.as_second()).unwrap_or_default());
        told.push(Happening {
            n,
            ..self.happening(EventKind::Failed, at, detail)
        });
    }

    fn happening(&self, kind: EventKind, at: Timestamp, detail: Detail) -> Happening {
        Happening {
            kind,
            at,
            invocation: self.invocation.clone(),
            n: None,
            coalesced: false,
            detail,
        }
    }

    fn unseen(&self, kind: EventKind, at: Timestamp, n: Option<u32>, detail: Detail) -> Happening {
        Happening {
            n,
            coalesced: true,
            ..self.happening(kind, at, detail)
        }
    }
}

/// Returns whether the unit is in the middle of a start: systemd tells the new process before the new state.
pub(super) fn is_passing(unit: &UnitState) -> bool {
    matches!(unit.active_state.as_str(), "inactive" | "failed") && unit.main_pid != 0
}

fn is_down(unit: &UnitState) -> bool {
    matches!(unit.active_state.as_str(), "inactive" | "failed") || unit.is_waiting_for_restart()
}

fn changed(unit: &UnitState) -> Timestamp {
    unit.state_change.unwrap_or(Timestamp::UNIX_EPOCH)
}
