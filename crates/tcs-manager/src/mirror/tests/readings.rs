//! Readings against signals: nothing twice, nothing undone, nothing made up.

use tcs_wire::EventKind::{Crashed, Declared, Failed, Ready, Start, Stop};
use tcs_wire::{State, Status, UnitName};

use super::machine::{Fake, Machine, id, now, number, text};
use crate::mirror::{Effect, LastWord};
use crate::systemd::{Change, Value};

#[test]
fn a_declared_service_has_an_event_and_a_record_before_it_ever_runs() {
    let mut machine = Machine::new();
    assert_eq!(machine.events(), [Declared]);
    assert_eq!(machine.event(Declared).max_restarts, Some(Some(3)));
    let files = vec![(UnitName::service(&id()), Some("enabled".to_owned()))];
    let effects = machine.mirror.read(Vec::new(), files, now());
    machine.told.extend(effects);
    assert_eq!(machine.puts(), [State::NeverStarted]);
    let record = machine.mirror.record(&id()).unwrap();
    assert!(record.declared && record.timer.is_none());
    assert_eq!(
        (
            record.unit.load_state.as_str(),
            record.unit.unit_file_state.as_str()
        ),
        ("loaded", "enabled")
    );
}

#[test]
fn a_declared_service_without_files_is_not_installed() {
    let mut machine = Machine::new();
    machine
        .mirror
        .read(Vec::new(), vec![(UnitName::service(&id()), None)], now());
    assert_eq!(machine.mirror.record(&id()).unwrap().state(), State::NotInstalled);
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
    Fake::set(
        &mut machine.unit.unit,
        &[
            ("ActiveState", text("active")),
            ("NeedDaemonReload", Value::Flag(true)),
        ],
    );
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
fn what_ended_during_the_reading_after_a_reload_is_told_too() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.hear(Change::Reloading(true));
    machine.hear(Change::Reloading(false));
    let read_before = machine.unit.whole();
    machine.told.clear();
    machine.crash(6_000_000);
    assert_eq!(machine.events(), []);
    let effects = machine.mirror.read(vec![read_before], Vec::new(), now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!(machine.mirror.record(&id()).unwrap().state(), State::Restarting);
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
    assert_eq!(
        (record.unit.exec_main_code, record.unit.invocation_id.as_str()),
        (0, "")
    );
    assert_eq!(
        (record.unit.load_state.as_str(), record.unit.result.as_str()),
        ("loaded", "success")
    );
    // Loaded again by a start that a condition skips: it has still run before.
    machine.unit = Fake {
        monotonic: 0,
        ..Machine::new().unit
    };
    Fake::set(
        &mut machine.unit.kind,
        &[
            ("ExecMainStartTimestamp", number(0)),
            ("ExecMainExitTimestamp", number(0)),
        ],
    );
    Fake::set(
        &mut machine.unit.unit,
        &[
            ("StateChangeTimestamp", number(0)),
            ("ConditionResult", Value::Flag(false)),
        ],
    );
    machine.signal();
    assert_eq!(
        machine.mirror.current(&id(), now()).unwrap().0.state(),
        State::Stopped
    );
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
    assert!(
        !machine
            .told
            .iter()
            .any(|effect| matches!(effect, Effect::Query(_)))
    );
    machine.starting(5_000_000, "aa", 38);
    let queries = machine
        .told
        .iter()
        .filter(|effect| matches!(effect, Effect::Query(_)))
        .count();
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
    assert_eq!(
        later.events(),
        [Start, Ready],
        "how the first run ended nobody knows"
    );
    assert_eq!(later.event(Start).late, Some(true));
    assert_eq!(later.message_ids()[0], "tcs:b00:bb:start");
    assert_eq!(later.statuses(), []);

    let mut same = Machine::new();
    same.mirror
        .remember(vec![machine.mirror.record(&id()).unwrap().clone()]);
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
    later
        .mirror
        .remember(vec![machine.mirror.record(&id()).unwrap().clone()]);
    later.told.clear();
    let files = vec![(UnitName::service(&id()), Some("enabled".to_owned()))];
    let effects = later.mirror.read(Vec::new(), files, now());
    later.told.extend(effects);
    assert_eq!(later.events(), [Stop]);
    let stop = later.event(Stop);
    assert_eq!(
        (stop.late, stop.coalesced, stop.exit_code),
        (Some(true), Some(true), None)
    );
    assert_eq!(
        later.statuses(),
        [(
            Status::Shutdown,
            LastWord::ServiceIfFinal(38),
            "stopped".to_owned()
        )]
    );
    assert_eq!(later.puts(), [State::Stopped]);
    assert_eq!(later.mirror.record(&id()).unwrap().unit.status_text, "");
}

#[test]
fn what_failed_while_the_manager_was_away_is_told_with_its_status_of_now() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    let mut later = Machine::new();
    later
        .mirror
        .remember(vec![machine.mirror.record(&id()).unwrap().clone()]);
    later.told.clear();
    machine.start(8_000_000, "bb", 50);
    machine.main_ends(9_000_000, 1, 7, "exit-code");
    machine.fails(9_000_100);
    let effects = later.mirror.read(vec![machine.unit.whole()], Vec::new(), now());
    later.told.extend(effects);
    assert_eq!(later.events(), [Start, Ready, Crashed, Failed]);
    assert_eq!(
        later.event(Crashed).will_restart,
        Some(false),
        "it is down, and nothing is about to change that"
    );
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
fn what_came_up_before_anybody_ever_looked_is_told_late() {
    let mut machine = Machine::new();
    machine.mirror.remember(Vec::new());
    machine.told.clear();
    let mut running = Machine::new().listed();
    running.start(5_000_000, "aa", 38);
    let effects = machine.mirror.read(vec![running.unit.whole()], Vec::new(), now());
    machine.told.extend(effects);
    assert_eq!(machine.events(), [Start, Ready]);
    assert_eq!(
        (machine.event(Start).late, machine.event(Start).pid),
        (Some(true), Some(38))
    );
    assert_eq!(machine.message_ids(), ["tcs:b00:aa:start", "tcs:b00:aa:ready"]);
    assert_eq!(machine.statuses(), []);
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
