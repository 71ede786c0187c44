//! The mirror's record of a service, made of what is known of its units, and read back.

use jiff::Timestamp;
use tcs_wire::{Snapshot, TimerSnapshot, UnitSnapshot, WireTime};

use super::Identity;
use super::tracked::Tracked;
use crate::systemd::UnitState;

pub(super) fn record(service: &Tracked, identity: &Identity, now: Timestamp) -> Snapshot {
    Snapshot {
        service_id: service.id.clone(),
        manager: identity.manager.clone(),
        host: identity.host.clone(),
        kind: service.kind(),
        declared: service.declared.is_some(),
        restart_policy: service.restart_policy(),
        max_restarts: service.max_restarts(),
        unit: unit(&service.service.state),
        timer: service.timer.known.then(|| timer(&service.timer.state)),
        updated: now.into(),
    }
}

/// Returns what the mirror keeps of a service unit.
pub(super) fn unit(state: &UnitState) -> UnitSnapshot {
    UnitSnapshot {
        name: state.name.to_string(),
        load_state: state.load_state.clone(),
        active_state: state.active_state.clone(),
        sub_state: state.sub_state.clone(),
        result: state.result.clone(),
        unit_file_state: state.unit_file_state.clone(),
        need_daemon_reload: state.need_daemon_reload,
        main_pid: state.main_pid,
        exec_main_code: state.exec_main_code,
        exec_main_status: state.exec_main_status,
        invocation_id: state.invocation_id.clone(),
        restarts: state.n_restarts,
        status_text: state.status_text.clone(),
        since: state.state_change.map(WireTime::from),
        started: state.exec_main_start.map(WireTime::from),
        exited: state.exec_main_exit.map(WireTime::from),
    }
}

/// Returns what the mirror keeps of a timer unit.
pub(super) fn timer(state: &UnitState) -> TimerSnapshot {
    TimerSnapshot {
        name: state.name.to_string(),
        active_state: state.active_state.clone(),
        sub_state: state.sub_state.clone(),
        unit_file_state: state.unit_file_state.clone(),
        next: state.next_elapse.map(WireTime::from),
        last: state.last_trigger.map(WireTime::from),
    }
}

/// Returns whether a reader should learn of the difference at once.
pub(super) fn is_news(old: &Snapshot, new: &Snapshot) -> bool {
    let run = |unit: &UnitSnapshot| {
        (
            unit.load_state.clone(),
            unit.active_state.clone(),
            unit.sub_state.clone(),
            unit.invocation_id.clone(),
            unit.main_pid,
        )
    };
    run(&old.unit) != run(&new.unit)
}

/// Puts a record of an earlier run of the manager back into the units' states.
pub(super) fn restore(record: &Snapshot, service: &mut UnitState, timer: &mut UnitState) {
    let UnitSnapshot {
        since,
        started,
        exited,
        ..
    } = record.unit;
    let unit = record.unit.clone();
    service.load_state = unit.load_state;
    service.active_state = unit.active_state;
    service.sub_state = unit.sub_state;
    service.result = unit.result;
    service.unit_file_state = unit.unit_file_state;
    service.main_pid = unit.main_pid;
    service.exec_main_pid = unit.main_pid;
    service.exec_main_code = unit.exec_main_code;
    service.exec_main_status = unit.exec_main_status;
    service.invocation_id = unit.invocation_id;
    service.n_restarts = unit.restarts;
    service.status_text = unit.status_text;
    service.state_change = since.map(WireTime::timestamp);
    service.exec_main_start = started.map(WireTime::timestamp);
    service.exec_main_exit = exited.map(WireTime::timestamp);
    if let Some(unit) = &record.timer {
        timer.active_state.clone_from(&unit.active_state);
        timer.sub_state.clone_from(&unit.sub_state);
        timer.unit_file_state.clone_from(&unit.unit_file_state);
        timer.last_trigger = unit.last.map(WireTime::timestamp);
    }
}
