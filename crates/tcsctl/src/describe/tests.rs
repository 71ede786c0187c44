use jiff::ToSpan as _;
use serde_json::{Value, json};
use tcs_client::Collector;
use tcs_wire::{EventKind, RegistryEvent, WireTime};

use super::*;
use crate::cli::Color;

fn now() -> Timestamp {
    "2026-11-22T18:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Value {
    serde_json::to_value(WireTime::from(now() - seconds.seconds())).unwrap()
}

fn printer() -> Printer {
    let mut printer = Printer::new(Color::Never, false, false);
    printer.clock = Clock::new(now(), false);
    printer
}

fn state(collector: &mut Collector, id: &str, host: &str, unit: Value, more: Value) {
    let mut snapshot = json!({
        "service_id": id, "manager": format!("manager.{host}"), "host": host, "kind": "permanent", "declared": true,
        "restart_policy": "on-failure", "max_restarts": 5, "unit": unit, "updated": ago(5),
    });
    snapshot
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let key = format!("manager.{host}.{id}");
    collector.state(&key, snapshot.to_string().as_bytes());
}

fn said(name: &str, mut data: Value, seconds: i64) -> Vec<u8> {
    data["name"] = name.into();
    data["service_id"] = name.into();
    data["timestamp"] = ago(seconds);
    json!({ "data": data, "meta": {} }).to_string().into_bytes()
}

/// A night at two hosts: one manager is silent, one service runs without any.
fn site() -> SiteSnapshot {
    let mut collector = Collector::default();
    let unit = |active: &str, sub: &str, more: Value| {
        let mut unit = json!({ "load_state": "loaded", "unit_file_state": "enabled", "active_state": active, "sub_state": sub });
        unit.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        unit
    };
    let running = json!({
        "name": "tcs@plan_runner.zb08.service", "main_pid": 4242, "started": ago(182), "since": ago(181), "restarts": 1,
        "invocation_id": "00ff00ff00ff00ff00ff00ff00ff00ff", "status_text": "plan 12 of 40",
        "exec_main_code": 2, "exec_main_status": 9, "result": "success", "exited": ago(183),
    });
    state(
        &mut collector,
        "plan_runner.zb08",
        "obs1",
        unit("active", "running", running),
        json!({}),
    );
    collector.status(
        "",
        &said(
            "plan_runner.zb08",
            json!({ "status": "busy", "message": "exposing\n\u{1b}[31mV 20 s", "pid": 4242 }),
            60,
        ),
    );
    collector.heartbeat("", &said("plan_runner.zb08", json!({ "status": "busy" }), 3));
    let failed = json!({
        "name": "tcs@plan_runner.jk15.service", "since": ago(90_000), "result": "exit-code", "exec_main_code": 1,
        "exec_main_status": 78, "restarts": 0, "started": ago(90_002), "exited": ago(90_000),
    });
    state(
        &mut collector,
        "plan_runner.jk15",
        "obs1",
        unit("failed", "failed", failed),
        json!({}),
    );
    let again = json!({ "since": ago(1), "result": "signal", "exec_main_code": 2, "exec_main_status": 9, "restarts": 1 });
    state(
        &mut collector,
        "hello_world.main",
        "obs1",
        unit("activating", "auto-restart", again),
        json!({}),
    );
    let job = json!({
        "name": "tcs@weather_importer.service", "since": ago(600), "result": "success", "exec_main_code": 1, "exec_main_status": 10,
        "started": ago(605), "exited": ago(600),
    });
    let timer = json!({
        "kind": "job", "timer": { "name": "tcs@weather_importer.timer", "active_state": "active", "sub_state": "waiting",
        "next": ago(-300), "last": ago(605) },
    });
    state(
        &mut collector,
        "weather_importer.main",
        "obs1",
        unit("inactive", "dead", job),
        timer,
    );
    collector.heartbeat("", &said("manager.obs1", json!({ "status": "ok" }), 4));
    state(
        &mut collector,
        "dome.main",
        "obs2",
        unit("active", "running", json!({ "main_pid": 9, "since": ago(4000) })),
        json!({}),
    );
    collector.heartbeat("", &said("manager.obs2", json!({ "status": "ok" }), 200));
    collector.status(
        "",
        &said(
            "guider.dev",
            json!({ "status": "ok", "message": "Service running", "pid": 77, "hostname": "obs9" }),
            70,
        ),
    );
    collector.heartbeat("", &said("guider.dev", json!({ "status": "ok" }), 5));
    collector.status("svc.status.broken", b"{\"data\":{\"status\":\"fine\"}}");
    collector.view(now())
}

fn show(name: &str) -> String {
    let site = site();
    let service = site.services.iter().find(|service| service.name == name).unwrap();
    let manager = service
        .snapshot
        .as_ref()
        .and_then(|snapshot| site.manager(snapshot.manager.as_str()));
    page(service, manager, &printer())
}

#[test]
fn a_site_is_listed() {
    let site = site();
    insta::assert_snapshot!(table(&site.services.iter().collect::<Vec<_>>(), &printer()));
}

#[test]
fn an_empty_site_has_no_heads() {
    assert_eq!(table(&[], &printer()), "0 services\n");
}

#[test]
fn silent_managers_and_broken_messages_are_noted() {
    insta::assert_snapshot!(notes(&site(), &printer().clock).join("\n"));
}

#[test]
fn a_running_service_has_a_page() {
    insta::assert_snapshot!(show("plan_runner.zb08"));
}

#[test]
fn a_failed_service_has_a_page() {
    insta::assert_snapshot!(show("plan_runner.jk15"));
}

#[test]
fn a_job_with_a_timer_has_a_page() {
    insta::assert_snapshot!(show("weather_importer.main"));
}

#[test]
fn a_service_of_a_silent_manager_has_a_page() {
    insta::assert_snapshot!(show("dome.main"));
}

#[test]
fn a_service_without_a_manager_has_a_page() {
    insta::assert_snapshot!(show("guider.dev"));
}

#[test]
fn events_read_as_lines() {
    let time = WireTime::from(now());
    let id = "plan_runner.zb08";
    let start = RegistryEvent {
        hostname: Some("obs1".into()),
        pid: Some(7),
        ..RegistryEvent::new(EventKind::Start, id, time)
    };
    let ready = RegistryEvent {
        startup_duration_seconds: Some(0.0421),
        ..RegistryEvent::new(EventKind::Ready, id, time)
    };
    let crashed = RegistryEvent {
        result: Some("signal".into()),
        ..RegistryEvent::crashed(id, time, -9, true)
    };
    let again = RegistryEvent {
        restart_attempt: Some(2),
        max_restarts: Some(Some(5)),
        ..RegistryEvent::new(EventKind::Restarting, id, time)
    };
    let failed = RegistryEvent {
        reason: Some("start-limit-hit".into()),
        result: Some("start-limit-hit".into()),
        restart_count: Some(5),
        late: Some(true),
        ..RegistryEvent::new(EventKind::Failed, id, time)
    };
    let stop = RegistryEvent {
        reason: Some("completed".into()),
        exit_code: Some(0),
        duration_s: Some(4.96),
        trigger: Some("timer".into()),
        ..RegistryEvent::new(EventKind::Stop, "weather_importer.main", time)
    };
    let lines: Vec<String> = [start, ready, crashed, again, failed, stop]
        .iter()
        .map(|event| event_line(event, &printer()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
