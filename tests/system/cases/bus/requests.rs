//! Requests and who answers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tcs_bus::{Bus, Request, RequestError, Responder, ResponderInfo};
use tcs_system_tests::{Case, Lab};
use tcs_testkit::{NatsOptions, NatsServer, Store, eventually};
use tcs_wire::rpc::{ControlArgs, ErrorKind, RpcError};

use super::{SOON, aside, block_on, connected, id, plain, server};

const SUBJECT: &str = "svc.rpc.hello_world.main.v1.echo";

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("each_way_to_have_no_answer_is_told_apart", no_answer),
        Case::lab("bare_and_wrapped_callers_get_their_own", bare_and_wrapped),
        Case::lab("what_is_no_request_is_answered_too", undecodable),
        Case::lab("requests_are_worked_on_at_the_same_time", concurrent),
        Case::lab("of_two_responders_one_answers", one_of_two),
        Case::lab("the_nats_service_api_shows_who_is_there", micro),
        Case::lab(
            "a_responder_is_back_after_a_restart_and_gone_after_close",
            restart,
        ),
    ]
}

/// Answers on [`SUBJECT`] with the arguments as they came; `fail` is refused, `wait` takes a while.
async fn responder(bus: &Bus) -> Result<Responder> {
    let info = ResponderInfo {
        id: id("hello_world.main")?,
        version: "1.2.3".into(),
        description: "says hello".into(),
    };
    let responder = bus.responder(info).await?;
    responder.endpoint("echo", SUBJECT, echo).await?;
    ensure!(bus.settled().await);
    Ok(responder)
}

async fn echo(request: Request) -> Result<Value, RpcError> {
    let arguments: Value = request.arguments()?;
    if arguments["fail"] == true {
        return Err(RpcError::new(ErrorKind::JobFailed, "it was asked to fail"));
    }
    assert!(arguments["panic"] != true, "it was asked to panic");
    if let Some(seconds) = arguments["wait_s"].as_f64() {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }
    Ok(json!({"arguments": arguments, "sender": request.claimed_sender()}))
}

async fn ask(bus: &Bus, arguments: Value, deadline: Duration) -> Result<Value, RequestError> {
    bus.request(SUBJECT, &arguments, deadline).await
}

fn no_answer(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let (bus, caller) = (
            connected(&server, "hello_world.main").await?,
            connected(&server, "tcsctl").await?,
        );
        let begun = Instant::now();
        let nobody = ask(&caller, json!({}), SOON).await;
        ensure!(
            matches!(&nobody, Err(RequestError::NoResponders(subject)) if subject == SUBJECT),
            "{nobody:?}"
        );
        ensure!(
            begun.elapsed() < Duration::from_secs(1),
            "no responders took {:?}",
            begun.elapsed()
        );

        let _responder = responder(&bus).await?;
        let answer = ask(&caller, json!({"a": 1}), SOON).await?;
        ensure!(
            answer == json!({"arguments": {"a": 1}, "sender": "tcsctl"}),
            "{answer}"
        );
        let refused = ask(&caller, json!({"fail": true}), SOON).await;
        let Err(RequestError::Refused(error)) = &refused else {
            anyhow::bail!("{refused:?}")
        };
        ensure!(error.kind == ErrorKind::JobFailed && error.message == "it was asked to fail");
        let broken = ask(&caller, json!({"panic": true}), SOON).await;
        let Err(RequestError::Refused(error)) = &broken else {
            anyhow::bail!("{broken:?}")
        };
        ensure!(error.kind == ErrorKind::Internal, "{error:?}");
        let late = ask(&caller, json!({"wait_s": 30.0}), Duration::from_millis(200)).await;
        ensure!(matches!(late, Err(RequestError::Timeout { .. })), "{late:?}");

        aside(&server, NatsServer::stop).await??;
        caller
            .connection()
            .wait_for(|state| *state != tcs_bus::Connection::Connected)
            .await?;
        let away = ask(&caller, json!({}), SOON).await;
        ensure!(matches!(away, Err(RequestError::NotConnected)), "{away:?}");
        Ok(())
    })
}

/// Sends bytes and returns the reply, as a client of any kind does.
async fn raw(server: &NatsServer, body: &'static str) -> Result<Value> {
    let client = plain(server).await?;
    let reply = tokio::time::timeout(SOON, client.request(SUBJECT, body.into())).await??;
    Ok(serde_json::from_slice(&reply.payload)?)
}

fn bare_and_wrapped(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "hello_world.main").await?;
        let _responder = responder(&bus).await?;
        for (body, arguments) in [
            ("", json!({})),
            ("{}", json!({})),
            (r#"{"a":1}"#, json!({"a": 1})),
        ] {
            let reply = raw(&server, body).await?;
            ensure!(
                reply["status"] == "ok" && reply["result"]["arguments"] == arguments,
                "{body}: {reply}"
            );
            ensure!(
                reply.get("meta").is_none(),
                "a bare caller got an envelope: {reply}"
            );
        }
        for (body, arguments) in [
            (r#"{"meta":{"id":"msg"}}"#, json!({})),
            (r#"{"data":{"a":1}}"#, json!({"a": 1})),
        ] {
            let reply = raw(&server, body).await?;
            ensure!(
                reply["data"]["result"]["arguments"] == arguments,
                "{body}: {reply}"
            );
            ensure!(reply["meta"]["sender"] == "hello_world.main" && reply["meta"]["message_type"] == "rpc");
        }
        let reply = raw(&server, r#"{"data":{"fail":true},"meta":{}}"#).await?;
        ensure!(
            reply["data"]["error"] == "job_failed" && reply["data"]["code"] == 1,
            "{reply}"
        );
        ensure!(
            reply["meta"]["status"] == "error" && reply["meta"]["error"] == "it was asked to fail",
            "{reply}"
        );
        Ok(())
    })
}

fn undecodable(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        let responder = responder(&bus).await?;
        let strict = async |request: Request| request.arguments::<ControlArgs>();
        responder.endpoint("strict", "svc.rpc.strict", strict).await?;
        ensure!(bus.settled().await);
        for body in ["hello", "[1]", r#"{"a": "#, "\u{0}"] {
            let reply = raw(&server, body).await?;
            ensure!(
                reply["error"] == "bad_request" && reply.get("meta").is_none(),
                "{body}: {reply}"
            );
        }
        for body in [r#"{"data":null}"#, r#"{"data":{},"meta""#] {
            let reply = raw(&server, body).await?;
            ensure!(
                reply["data"]["error"] == "bad_request" && reply["meta"]["status"] == "error",
                "{body}: {reply}"
            );
        }
        let wrong = bus
            .request::<_, Value>("svc.rpc.strict", &json!({"no_blok": true}), SOON)
            .await;
        let Err(RequestError::Refused(error)) = &wrong else {
            anyhow::bail!("{wrong:?}")
        };
        ensure!(
            error.kind == ErrorKind::BadRequest && error.message.contains("no_blok"),
            "{error:?}"
        );
        Ok(())
    })
}

fn concurrent(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let (bus, caller) = (
            connected(&server, "hello_world.main").await?,
            connected(&server, "tcsctl").await?,
        );
        let _responder = responder(&bus).await?;
        let begun = Instant::now();
        let answers = join_all((0..40).map(|_| ask(&caller, json!({"wait_s": 0.3}), SOON))).await;
        ensure!(answers.iter().all(Result::is_ok));
        ensure!(
            begun.elapsed() < Duration::from_secs(3),
            "one after the other: {:?}",
            begun.elapsed()
        );
        Ok(())
    })
}

fn one_of_two(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let caller = connected(&server, "tcsctl").await?;
        let mut held = Vec::new();
        let counts = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        for count in &counts {
            let bus = connected(&server, "hello_world.main").await?;
            let info = ResponderInfo {
                id: id("hello_world.main")?,
                version: "1.2.3".into(),
                description: String::new(),
            };
            let responder = bus.responder(info).await?;
            let count = Arc::clone(count);
            let handler = move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Ok(json!({})))
            };
            responder.endpoint("echo", SUBJECT, handler).await?;
            ensure!(bus.settled().await);
            held.push((bus, responder));
        }
        for _ in 0..60 {
            ask(&caller, json!({}), SOON).await?;
        }
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        ensure!(counts[0] + counts[1] == 60, "each request once: {counts:?}");
        ensure!(
            counts.iter().all(|count| *count > 0),
            "both take part: {counts:?}"
        );
        Ok(())
    })
}

fn micro(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "hello_world.main").await?;
        let _responder = responder(&bus).await?;
        let client = plain(&server).await?;
        for subject in [
            "$SRV.PING",
            "$SRV.PING.hello_world_main",
            "$SRV.INFO.hello_world_main",
        ] {
            let reply = tokio::time::timeout(SOON, client.request(subject, "".into())).await??;
            let reply: Value = serde_json::from_slice(&reply.payload)?;
            ensure!(
                reply["name"] == "hello_world_main" && reply["version"] == "1.2.3",
                "{subject}: {reply}"
            );
            ensure!(
                reply["metadata"]["service_id"] == "hello_world.main",
                "{subject}: {reply}"
            );
            if subject.starts_with("$SRV.INFO") {
                let endpoint = &reply["endpoints"][0];
                ensure!(
                    endpoint["subject"] == SUBJECT && endpoint["queue_group"] == SUBJECT,
                    "{reply}"
                );
                ensure!(reply["description"] == "says hello");
            }
        }
        Ok(())
    })
}

fn restart(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let (bus, caller) = (
            connected(&server, "hello_world.main").await?,
            connected(&server, "tcsctl").await?,
        );
        let responder = responder(&bus).await?;
        aside(&server, |server| server.restart(Store::Keep)).await??;
        eventually("it answers again", SOON, async || {
            ask(&caller, json!({}), SOON).await.map(drop)
        })
        .await?;
        drop(responder);
        let answered = ask(&caller, json!({}), SOON).await;
        ensure!(
            answered.is_ok(),
            "endpoints answer until the bus closes: {answered:?}"
        );
        bus.close(SOON).await;
        let gone = ask(&caller, json!({}), SOON).await;
        ensure!(matches!(gone, Err(RequestError::NoResponders(_))), "{gone:?}");
        Ok(())
    })
}
