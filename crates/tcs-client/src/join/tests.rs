use jiff::ToSpan as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use tcs_wire::{Status, WireTime};

use super::*;

fn now() -> Timestamp {
    "2026-11-22T18:00:00Z".parse().unwrap()
}

/// A time on the wire, `seconds` before now.
fn ago(seconds: i64) -> Value {
    serde_json::to_value(WireTime::from(now() - seconds.seconds())).unwrap()
}

fn envelope(data: Value) -> Vec<u8> {
    json!({ "data": data, "meta": {} }).to_string().into_bytes()
}

#[derive(Default)]
struct Site(Collector);

impl Site {
    fn state(mut self, id: &str, host: &str, unit: Value) -> Self {
        let manager = format!("manager.{host}");
        let snapshot = json!({
            "service_id": id, "manager": manager, "host": host, "kind": "permanent", "declared": true,
            "unit": unit, "updated": ago(5),
        });
        self.0
            .state(&format!("{manager}.{id}"), snapshot.to_string().as_bytes());
        self
    }

    fn status(mut self, name: &str, seconds: i64, mut more: Value) -> Self {
        more["name"] = name.into();
        more["timestamp"] = ago(seconds);
        self.0.status(&format!("svc.status.{name}"), &envelope(more));
        self
    }

    fn beat(mut self, name: &str, seconds: i64) -> Self {
        let data = json!({ "service_id": name, "timestamp": ago(seconds), "status": "ok" });
        self.0
            .heartbeat(&format!("svc.heartbeat.{name}"), &envelope(data));
        self
    }

    fn event(mut self, name: &str, event: &str, seconds: i64, mut more: Value) -> Self {
        more["event"] = event.into();
        more["service_id"] = name.into();
        more["timestamp"] = ago(seconds);
        self.0
            .registry(&format!("svc.registry.{event}.{name}"), &envelope(more));
        self
    }

    fn see(&self) -> SiteSnapshot {
        self.0.view(now())
    }

    fn only(&self) -> ServiceView {
        let services = self.see().services;
        assert_eq!(services.len(), 1, "{services:#?}");
        services.into_iter().next().unwrap()
    }
}

fn running(pid: u32) -> Value {
    json!({
        "load_state": "loaded", "active_state": "active", "sub_state": "running", "result": "success",
        "main_pid": pid, "started": ago(600), "since": ago(599),
    })
}

#[test]
fn a_running_service_is_joined_with_what_it_says_of_itself() {
    let service = Site::default()
        .beat("manager.obs1", 3)
        .state("plan_runner.zb08", "obs1", running(42))
        .status(
            "plan_runner.zb08",
            500,
            json!({ "status": "busy", "message": "exposing", "pid": 42, "parent": "manager.obs1" }),
        )
        .beat("plan_runner.zb08", 2)
        .only();
    assert_eq!(service.condition, Condition::Unit(State::Running));
    assert_eq!(service.health, Some(Health::Reported(Status::Busy)));
    assert_eq!((service.pid, service.host.as_deref()), (Some(42), Some("obs1")));
    assert_eq!(service.message.as_deref(), Some("exposing"));
    assert!(service.certain);
}

#[test]
fn what_the_run_before_said_is_not_held_against_this_one() {
    let service = Site::default()
        .beat("manager.obs1", 3)
        .state("plan_runner.zb08", "obs1", running(42))
        .status(
            "plan_runner.zb08",
            700,
            json!({ "status": "failed", "pid": 41, "parent": "manager.obs1", "message": "old" }),
        )
        .only();
    assert_eq!((service.health, service.message), (None, None));
}

#[test]
fn a_service_that_beats_no_more_is_silent_while_systemd_still_has_it() {
    let service = Site::default()
        .beat("manager.obs1", 3)
        .state("plan_runner.zb08", "obs1", running(42))
        .status("plan_runner.zb08", 500, json!({ "status": "ok", "pid": 42 }))
        .beat("plan_runner.zb08", 31)
        .only();
    assert_eq!(service.condition, Condition::Unit(State::Running));
    assert_eq!(service.health, Some(Health::Silent));
}

#[test]
fn between_two_runs_there_is_no_health() {
    let waiting = json!({
        "load_state": "loaded", "active_state": "activating", "sub_state": "auto-restart", "result": "signal",
        "exec_main_code": 2, "exec_main_status": 9, "started": ago(60), "since": ago(1),
    });
    let service = Site::default()
        .beat("manager.obs1", 3)
        .state("a.main", "obs1", waiting)
        .status(
            "a.main",
            50,
            json!({ "status": "ok", "pid": 42, "parent": "manager.obs1" }),
        )
        .beat("a.main", 2)
        .only();
    assert_eq!(service.condition, Condition::Unit(State::Restarting));
    assert_eq!((service.health, service.pid), (None, None));
    assert_eq!(service.message.as_deref(), Some("killed by SIGKILL; restart 1"));
}

#[test]
fn a_silent_manager_leaves_its_states_uncertain_but_not_those_that_prove_themselves() {
    let site = Site::default()
        .beat("manager.obs1", 16)
        .state("a.main", "obs1", running(1))
        .state("b.main", "obs1", running(2))
        .beat("b.main", 4)
        .see();
    assert_eq!(
        site.managers[0].liveness,
        Liveness::Silent {
            since: now() - 16.seconds()
        }
    );
    assert_eq!(site.managers[0].services, 2);
    assert_eq!(
        site.services
            .iter()
            .map(|service| service.certain)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn managers_are_alive_silent_stopped_or_never_heard() {
    let live = |site: Site| site.see().managers[0].liveness;
    assert_eq!(live(Site::default().beat("manager.obs1", 15)), Liveness::Alive);
    // A clock that runs ahead of the reader's.
    assert_eq!(live(Site::default().beat("manager.obs1", -300)), Liveness::Alive);
    let stopped =
        Site::default()
            .beat("manager.obs1", 9)
            .status("manager.obs1", 8, json!({ "status": "shutdown" }));
    assert_eq!(
        live(stopped),
        Liveness::Stopped {
            since: now() - 8.seconds()
        }
    );
    let again =
        Site::default()
            .beat("manager.obs1", 1)
            .status("manager.obs1", 8, json!({ "status": "shutdown" }));
    assert_eq!(live(again), Liveness::Alive);
    assert_eq!(
        live(Site::default().state("a.main", "obs1", running(1))),
        Liveness::NeverHeard
    );
}

#[test]
fn one_name_on_two_hosts_is_two_services() {
    let services = Site::default()
        .state("a.main", "obs1", running(1))
        .state("a.main", "obs2", running(2))
        .see()
        .services;
    let hosts: Vec<_> = services.iter().map(|service| service.host.as_deref()).collect();
    assert_eq!(hosts, [Some("obs1"), Some("obs2")]);
}

#[test]
fn a_run_by_hand_beside_a_stopped_unit_is_seen() {
    let stopped = json!({ "load_state": "loaded", "active_state": "inactive", "sub_state": "dead" });
    let services = Site::default()
        .beat("manager.obs1", 3)
        .state("a.main", "obs1", stopped)
        .status(
            "a.main",
            20,
            json!({ "status": "ok", "pid": 77, "hostname": "obs1" }),
        )
        .beat("a.main", 4)
        .see()
        .services;
    assert_eq!(services.len(), 2, "{services:#?}");
    assert_eq!(services[0].condition, Condition::Unit(State::NeverStarted));
    assert_eq!(
        (services[1].condition, services[1].pid),
        (Condition::Unit(State::Running), Some(77))
    );
    assert_eq!(services[1].parent, None);
}

#[test]
fn removed_entries_are_gone() {
    let mut site = Site::default().state("a.main", "obs1", running(1));
    site.0.state("manager.obs1.a.main", b"");
    assert!(site.see().services.is_empty());
}

#[test]
fn python_services_appear_from_their_own_messages() {
    // The order of a Python process launcher: start, four times ok, heartbeats.
    let site = Site::default()
        .event(
            "dome.dev",
            "declared",
            100,
            json!({ "restart_policy": "no", "parent": "launcher.x" }),
        )
        .event(
            "dome.dev",
            "start",
            90,
            json!({ "status": "startup", "hostname": "obs9", "pid": 7, "parent": "launcher.x" }),
        )
        .status(
            "dome.dev",
            88,
            json!({ "status": "ok", "message": "Service running", "pid": 7, "hostname": "obs9" }),
        );
    let alive = Site(site.0.clone()).beat("dome.dev", 4).only();
    assert_eq!(alive.condition, Condition::Unit(State::Running));
    assert_eq!(alive.since, Some(now() - 90.seconds()));
    assert_eq!(
        (alive.pid, alive.host.as_deref(), alive.declared),
        (Some(7), Some("obs9"), true)
    );
    assert_eq!(alive.parent.as_deref(), Some("launcher.x"));

    let silent = Site(site.0.clone()).beat("dome.dev", 31).only();
    assert_eq!((silent.condition, silent.health), (Condition::Silent, None));
    assert_eq!(silent.since, Some(now() - 31.seconds()));

    // After an ordered stop its last status is `ok` all the same.
    let stopped = Site(site.0.clone())
        .beat("dome.dev", 21)
        .status(
            "dome.dev",
            20,
            json!({ "status": "ok", "message": "Service stopped" }),
        )
        .event(
            "dome.dev",
            "stop",
            20,
            json!({ "status": "shutdown", "reason": "terminated" }),
        )
        .only();
    assert_eq!(
        (stopped.condition, stopped.pid),
        (Condition::Unit(State::Stopped), None)
    );

    let crashed = Site(site.0)
        .beat("dome.dev", 21)
        .event(
            "dome.dev",
            "crashed",
            20,
            json!({ "status": "failed", "exit_code": -9, "will_restart": false }),
        )
        .only();
    assert_eq!(crashed.condition, Condition::Unit(State::Failed));
    assert_eq!(crashed.message.as_deref(), Some("killed by SIGKILL"));
}

#[test]
fn what_nobody_declared_is_forgotten_after_a_day() {
    let site = |seconds| {
        Site::default()
            .status("try.dev", seconds, json!({ "status": "shutdown" }))
            .only()
    };
    assert!(!site(86_000).is_forgotten(now()));
    assert!(site(87_000).is_forgotten(now()));
    let declared = Site::default()
        .event("old.dev", "declared", 900_000, json!({}))
        .only();
    assert_eq!(declared.condition, Condition::Unknown);
    assert!(!declared.is_forgotten(now()));
}

#[test]
fn unreadable_messages_are_set_aside_with_the_reason() {
    let mut site = Site::default().beat("a.main", 1);
    site.0.status(
        "svc.status.b.main",
        &envelope(json!({ "name": "b.main", "status": "running", "timestamp": ago(1) })),
    );
    site.0.status("svc.status.c.main", b"");
    let site = site.see();
    assert_eq!(site.services.len(), 1);
    assert_eq!(site.unreadable.len(), 2);
    assert!(
        site.unreadable[0].1.contains("unknown variant `running`"),
        "{:?}",
        site.unreadable
    );
}

proptest! {
    #[test]
    fn no_order_of_messages_changes_the_picture(order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let step = |site: Site, step: usize| match step {
            0 => site.beat("manager.obs1", 3),
            1 => site.state("a.main", "obs1", running(42)),
            2 => site.status("a.main", 50, json!({ "status": "ok", "pid": 42 })),
            3 => site.status("a.main", 40, json!({ "status": "busy", "pid": 42 })),
            4 => site.beat("a.main", 4),
            _ => site.event("a.main", "start", 600, json!({ "pid": 42 })),
        };
        let expected = (0..6).fold(Site::default(), step).see();
        prop_assert_eq!(order.into_iter().fold(Site::default(), step).see(), expected);
    }

    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut collector = Collector::default();
        collector.state("manager.x.y", &body);
        collector.status("s", &body);
        collector.heartbeat("h", &body);
        collector.registry("r", &body);
        let _ = collector.view(now());
    }
}
