//! Requests as any client of the bus sends them, to the real manager and a real service.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcs_system_tests::{Case, Site};
use tcs_testkit::{RawNats, eventually_blocking};
use tcs_wire::reference::{RequestExample, requests};
use tcs_wire::rpc::ErrorKind;
use tcs_wire::{ServiceId, SubjectPrefix};

use crate::tcsctl::GROUP;

const MANAGER: &str = "manager.obs1";
const SERVICE: &str = "hello_world.asked";
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Case> {
    vec![
        Case::group("bare_and_wrapped_requests_get_the_like", &GROUP, bare_and_wrapped),
        Case::group("each_refusal_has_its_kind", &GROUP, refusals),
        Case::group("a_command_is_carried_out_once", &GROUP, once),
    ]
}

fn bare_and_wrapped(site: &Site) -> Result<()> {
    let mut client = ready(site, SERVICE)?;
    let (manager, service) = (ServiceId::parse(MANAGER)?, ServiceId::parse(SERVICE)?);
    for example in requests(&SubjectPrefix::default(), &manager, &service) {
        let line = example.nats_line();
        let bare = ask(&mut client, &example.subject, example.body.as_bytes())?;
        ensure!(
            bare.get("meta").is_none() && bare["status"] == "ok",
            "{line}: {bare}"
        );
        check(&example, &bare["result"])?;

        let arguments: Value = match example.body {
            "" => json!({}),
            body => serde_json::from_str(body)?,
        };
        let meta = json!({"id": "ask-1", "sender": "dome.main", "ts": [2026, 11, 22, 18, 0, 0, 5], "message_type": "rpc"});
        let body = json!({"data": arguments, "meta": meta}).to_string();
        let wrapped = ask(&mut client, &example.subject, body.as_bytes())?;
        ensure!(wrapped["data"]["status"] == "ok", "{line}: {wrapped}");
        let meta = &wrapped["meta"];
        ensure!(
            meta["ts"].as_array().is_some_and(|ts| ts.len() == 7) && meta["id"].is_string(),
            "{meta}"
        );
        ensure!(meta["sender"] == MANAGER || meta["sender"] == SERVICE, "{meta}");
        check(&example, &wrapped["data"]["result"])?;
        // What serverish sends when there are no arguments.
        if example.body.is_empty() {
            let without = ask(&mut client, &example.subject, br#"{"meta": {"id": "ask-2"}}"#)?;
            ensure!(without["data"]["status"] == "ok", "{line}: {without}");
        }
    }
    Ok(())
}

fn refusals(site: &Site) -> Result<()> {
    let mut client = ready(site, "hello_world.refused")?;
    let service = |word: &str| format!("svc.rpc.hello_world.refused.v1.{word}");
    let of_manager = |word: &str| format!("svc.rpc.{MANAGER}.v1.{word}");
    let cases = [
        (
            service("stop"),
            r#"{"tmeout_s": 1}"#,
            ErrorKind::BadRequest,
            "tmeout_s",
        ),
        (
            service("start"),
            r#"{"timeout_s": "soon"}"#,
            ErrorKind::BadRequest,
            "soon",
        ),
        (
            service("start"),
            r#"{"timeout_s": -1}"#,
            ErrorKind::BadRequest,
            "timeout_s",
        ),
        (service("start"), r#"{"timeout_s": "#, ErrorKind::BadRequest, ""),
        (service("start"), "[1]", ErrorKind::BadRequest, ""),
        (of_manager("status.Hello"), "", ErrorKind::BadRequest, "Hello"),
        (
            of_manager("status.no_such.main"),
            "",
            ErrorKind::UnknownService,
            "no_such.main",
        ),
        (
            of_manager("start.no_such.main"),
            "",
            ErrorKind::UnknownService,
            "no_such.main",
        ),
        (
            of_manager("start.misfit.refused"),
            "",
            ErrorKind::JobFailed,
            "exit code 1",
        ),
        (
            of_manager("start.report.refused"),
            "",
            ErrorKind::JobFailed,
            "exit code 3",
        ),
    ];
    for (subject, body, kind, word) in cases {
        let refused = ask(&mut client, &subject, body.as_bytes())?;
        let told = refused["message"].as_str().unwrap_or_default();
        ensure!(
            refused["status"] == "error" && refused["error"] == kind.as_str(),
            "{subject} {body}: {refused}"
        );
        ensure!(
            refused["code"] == kind.exit_code() && told.contains(word) && !told.is_empty(),
            "{refused}"
        );
        ensure!(refused.get("result").is_none(), "{refused}");

        if serde_json::from_str::<Value>(body).is_ok_and(|body| body.is_object()) {
            let body = format!(r#"{{"data": {body}, "meta": {{"id": "ask-3"}}}}"#);
            let wrapped = ask(&mut client, &subject, body.as_bytes())?;
            ensure!(
                wrapped["data"]["error"] == kind.as_str() && wrapped["meta"]["status"] == "error",
                "{wrapped}"
            );
        }
    }
    // A word that nobody answers ends without an answer, at once.
    let nobody = client.request(&service("jump"), b"", SOON);
    ensure!(nobody.is_err_and(|error| format!("{error:?}").contains("NotConnected")));
    // All of that was refused: the service still runs.
    let state = ask(&mut client, &service("status"), b"")?;
    ensure!(state["result"]["unit"]["active_state"] == "active", "{state}");
    Ok(())
}

/// The same command again, as a caller sends it that got no answer, has the answer of the first and does nothing.
fn once(site: &Site) -> Result<()> {
    let mut client = ready(site, "hello_world.once")?;
    let restart = |id: &str| format!(r#"{{"command_id": "{id}"}}"#);
    let subject = "svc.rpc.hello_world.once.v1.restart";
    let first = ask(&mut client, subject, restart("night-1").as_bytes())?;
    ensure!(first["result"]["job"] == "done", "{first}");
    let again = ask(&mut client, subject, restart("night-1").as_bytes())?;
    ensure!(
        again["result"]["message"] == first["result"]["message"],
        "{first} {again}"
    );
    let other = ask(&mut client, subject, restart("night-2").as_bytes())?;
    ensure!(
        other["result"]["message"] != first["result"]["message"],
        "{first} {other}"
    );
    Ok(())
}

/// Starts a service, and connects when the manager and the service answer.
fn ready(site: &Site, service: &str) -> Result<RawNats> {
    let unit = format!("tcs@{service}.service");
    site.machine
        .run_ok(&["systemctl", "start", "tcs-manager.service", &unit])?;
    let mut client = RawNats::connect(site.nats()?)?;
    for id in [MANAGER, service] {
        let subject = format!("svc.rpc.{id}.v1.health");
        eventually_blocking(&subject, SOON, || client.request(&subject, b"", SOON).map(drop))?;
    }
    Ok(client)
}

/// Sends a request; a service that was restarted a moment ago may not answer yet.
fn ask(client: &mut RawNats, subject: &str, body: &[u8]) -> Result<Value> {
    let reply = eventually_blocking(subject, SOON, || client.request(subject, body, SOON))?;
    serde_json::from_slice(&reply.payload).with_context(|| format!("{subject}: {}", reply.text()))
}

fn check(example: &RequestExample, result: &Value) -> Result<()> {
    example
        .reply
        .check(result.clone())
        .with_context(|| format!("{}: {result}", example.nats_line()))
}
