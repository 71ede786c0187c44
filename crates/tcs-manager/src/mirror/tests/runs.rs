//! What happens in a service's life.

use tcs_wire::EventKind::{Crashed, Failed, Ready, Restarting, Start, Stop, Stopping};
use tcs_wire::{Kind, RestartPolicy, State, Status};

use super::machine::{BOOT, Fake, Machine, clock, id, now, number, text};
use crate::mirror::{Effect, LastWord};
use crate::systemd::{Change, JobResult, Properties, Value};

#[test]
fn a_start_is_start_then_ready_with_systemds_times() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    assert_eq!(machine.events(), [Start, Ready]);
    let start = machine.event(Start);
    assert_eq!(
        (start.pid, start.hostname.as_deref()),
        (Some(38), Some("obs1.example.org"))
    );
    assert_eq!(
        i128::from(start.timestamp.timestamp().as_microsecond()),
        BOOT + 5_000_000
    );
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
    assert_eq!(
        (crashed.status, crashed.max_restarts),
        (Some(Status::Error), Some(Some(3)))
    );
    assert_eq!(crashed.restart_policy, Some(RestartPolicy::OnFailure));
    assert_eq!(
        i128::from(crashed.timestamp.timestamp().as_microsecond()),
        BOOT + 6_000_000
    );
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
            (
                Status::Error,
                LastWord::ServiceIfFinal(38),
                "killed by SIGKILL; restart 1 of 3 in 1 s".to_owned()
            ),
            (Status::Startup, LastWord::Manager, "restart 1 of 3".to_owned()),
        ]
    );
    assert_eq!(
        machine.puts(),
        [
            State::Restarting,
            State::Activating,
            State::Running,
            State::Running
        ]
    );
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
    assert_eq!(
        machine.puts(),
        [],
        "systemd leaves `failed` within the same instant"
    );
}

#[test]
fn a_crash_is_told_while_the_rest_of_the_service_is_still_dying() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.main_ends(6_000_000, 3, 11, "core-dump");
    machine
        .unit
        .state(6_000_500, "deactivating", "final-sigterm", &[]);
    machine.signal();
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!(
        (
            machine.event(Crashed).exit_code,
            machine.event(Crashed).will_restart
        ),
        (Some(-11), Some(true))
    );
    assert_eq!(machine.puts(), [State::Deactivating]);
    assert!(
        !machine.mirror.is_unsettled(),
        "nothing to ask for while it takes its time"
    );
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
    assert_eq!(
        (machine.event(Crashed).will_restart, machine.event(Crashed).status),
        (Some(false), Some(Status::Failed))
    );
    assert_eq!(machine.event(Failed).reason.as_deref(), Some("exit-code"));
    assert_eq!(
        machine.statuses(),
        [(
            Status::Failed,
            LastWord::ServiceIfFinal(38),
            "exit code 7".to_owned()
        )]
    );
    assert_eq!(machine.puts(), [State::Failed]);
}

#[test]
fn a_failed_service_that_is_started_again_has_not_failed_again() {
    let mut machine = Machine::new();
    machine.unit.main(&[("Restart", text("no"))]);
    let mut machine = machine.listed();
    machine.start(5_000_000, "aa", 38);
    machine.main_ends(6_000_000, 1, 7, "exit-code");
    machine.fails(6_001_000);
    machine.told.clear();
    // systemd tells the new process first, while the unit still is as it was.
    machine.hear(Change::JobNew {
        id: 7,
        unit: machine.unit.name.clone(),
    });
    machine.unit.main(&[
        ("MainPID", number(50)),
        ("ExecMainPID", number(50)),
        ("ExecMainStartTimestamp", number(BOOT + 8_000_000)),
        ("ExecMainExitTimestamp", number(0)),
        ("ExecMainCode", number(0)),
        ("ExecMainStatus", number(0)),
        ("Result", text("success")),
    ]);
    Fake::set(&mut machine.unit.unit, &[("InvocationID", text("bb"))]);
    machine.signal();
    assert_eq!(machine.told, []);
    machine.start(8_000_000, "bb", 50);
    assert_eq!(machine.events(), [Start, Ready]);
    assert_eq!(machine.statuses(), []);
}

#[test]
fn an_exit_code_that_forbids_the_restart_is_final() {
    let mut machine = Machine::new();
    let forbidden = crate::systemd::ExitSet {
        codes: vec![2, 75, 77, 78],
        signals: vec![],
    };
    machine
        .unit
        .main(&[("RestartPreventExitStatus", Value::Exits(forbidden))]);
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
    machine.hear(Change::JobNew {
        id: 7,
        unit: machine.unit.name.clone(),
    });
    machine.starting(5_000_000, "aa", 38);
    machine.main_ends(5_100_000, 1, 4, "exit-code");
    machine.fails(5_100_300);
    // The start's own job fails in between, and the state is sent once more.
    machine.hear(Change::JobRemoved {
        id: 7,
        unit: machine.unit.name.clone(),
        result: JobResult::Failed,
    });
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
    machine.hear(Change::JobNew {
        id: 180,
        unit: machine.unit.name.clone(),
    });
    machine.unit.state(6_999_800, "inactive", "dead", &[]);
    machine.signal();
    machine.fails(7_000_000);
    machine.hear(Change::JobRemoved {
        id: 180,
        unit: machine.unit.name.clone(),
        result: JobResult::Failed,
    });
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
    assert_eq!(
        (stop.reason.as_deref(), stop.exit_code),
        (Some("terminated"), Some(0))
    );
    assert_eq!(
        machine.statuses(),
        [(
            Status::Shutdown,
            LastWord::ServiceIfFinal(38),
            "stopped".to_owned()
        )]
    );
    assert_eq!(machine.puts(), [State::Deactivating, State::Stopped]);
}

#[test]
fn a_stop_that_comes_in_one_change_is_known_by_its_job() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.hear(Change::JobNew {
        id: 200,
        unit: machine.unit.name.clone(),
    });
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
    machine.hear(Change::JobNew {
        id: 200,
        unit: machine.unit.name.clone(),
    });
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
    machine
        .unit
        .state(7_000_000, "deactivating", "stop-watchdog", &[]);
    machine.signal();
    assert_eq!(machine.events(), [], "the process is still there");
    machine.main_ends(7_002_000, 2, 6, "watchdog");
    machine.fails(7_002_100);
    machine.waits(7_002_200);
    assert_eq!(machine.events(), [Crashed]);
    assert_eq!(machine.event(Crashed).result.as_deref(), Some("watchdog"));
    assert!(
        machine.statuses()[0]
            .2
            .starts_with("no sign of life within WatchdogSec: killed by SIGABRT; restart 1")
    );
}

#[test]
fn two_restarts_within_one_signal_are_both_told() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    machine.unit.main(&[("NRestarts", number(2))]);
    machine.start(8_000_000, "cc", 60);
    assert_eq!(
        machine.events(),
        [Crashed, Restarting, Start, Crashed, Restarting, Start, Ready]
    );
    let coalesced: Vec<bool> = machine
        .told
        .iter()
        .filter_map(|effect| {
            if let Effect::Event { event, .. } = effect {
                Some(event.coalesced == Some(true))
            } else {
                None
            }
        })
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
        (
            false,
            vec![
                ("LastTriggerUSec", number(BOOT + 4_999_000)),
                ("NextElapseUSecRealtime", number(BOOT + 35_000_000)),
            ],
        ),
        (
            true,
            vec![("ActiveState", text("active")), ("SubState", text("running"))],
        ),
    ] {
        let unit = timer.clone();
        machine.hear(Change::Properties {
            unit,
            complete,
            properties: Properties::of(values),
            clock: clock(),
        });
    }
    machine.starting(5_000_000, "aa", 48);
    machine.main_ends(5_300_000, 1, 0, "success");
    machine.unit.state(
        5_300_400,
        "inactive",
        "dead",
        &[("InactiveEnterTimestamp", number(BOOT + 5_300_400))],
    );
    machine.signal();
    assert_eq!(machine.events(), [Start, Stop]);
    let stop = machine.event(Stop);
    assert_eq!(
        (stop.reason.as_deref(), stop.exit_code, stop.duration_s),
        (Some("completed"), Some(0), Some(0.3))
    );
    assert_eq!(stop.trigger.as_deref(), Some("timer"));
    assert_eq!(
        machine.statuses(),
        [(
            Status::Shutdown,
            LastWord::ServiceIfFinal(48),
            "completed".to_owned()
        )]
    );
    let record = machine.mirror.record(&id()).unwrap();
    assert_eq!(record.state(), State::Finished);
    let timer = record.timer.as_ref().unwrap();
    assert_eq!(
        i128::from(timer.next.unwrap().timestamp().as_microsecond()),
        BOOT + 35_000_000
    );
}

#[test]
fn a_job_started_by_hand_right_after_its_timer_is_so_started() {
    let mut machine = Machine::declaring(Kind::Job).listed();
    let timer = machine.timer.name.clone();
    let elapsed = vec![("LastTriggerUSec", number(BOOT + 4_999_000))];
    for (complete, values) in [(false, elapsed), (true, vec![("ActiveState", text("active"))])] {
        let unit = timer.clone();
        machine.hear(Change::Properties {
            unit,
            complete,
            properties: Properties::of(values),
            clock: clock(),
        });
    }
    for (at, invocation, trigger) in [(5_000_000, "aa", "timer"), (6_000_000, "bb", "manual")] {
        machine.starting(at, invocation, 48);
        machine.main_ends(at + 300_000, 1, 0, "success");
        machine.unit.state(at + 300_400, "inactive", "dead", &[]);
        machine.signal();
        assert_eq!(machine.event(Start).trigger.as_deref(), Some(trigger));
        assert_eq!(machine.event(Stop).trigger.as_deref(), Some(trigger));
    }
}

#[test]
fn a_service_that_says_that_it_stops_by_itself_is_completed() {
    let mut machine = Machine::new().listed();
    machine.start(5_000_000, "aa", 38);
    machine.told.clear();
    // STOPPING=1, and no job that asks for it.
    machine.unit.state(6_000_000, "deactivating", "stop-sigterm", &[]);
    machine.signal();
    machine.main_ends(6_000_500, 1, 0, "success");
    machine.unit.state(6_000_900, "inactive", "dead", &[]);
    machine.signal();
    assert_eq!(machine.events(), [Stopping, Stop]);
    assert_eq!(machine.event(Stop).reason.as_deref(), Some("completed"));
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
