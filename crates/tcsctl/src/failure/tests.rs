use std::path::PathBuf;

use jiff::ToSpan as _;
use tcs_config::Found;
use tcs_wire::rpc::ErrorKind;
use tcs_wire::{HostName, ServiceId, SubjectPrefix};

use super::*;
use crate::settings::Origin;

fn render(error: &ClientError) -> String {
    let settings = Settings {
        urls: vec!["nats://obs1:4222".into()],
        prefix: SubjectPrefix::default(),
        origin: Origin::File(PathBuf::from("/etc/tcs/services.yaml"), 3),
        host: HostName::from_system("obs1"),
        found: Found::files([]),
    };
    let failure = Failure::of_client(error, &settings, &Clock::new(now(), false));
    let lines = failure
        .hints
        .iter()
        .map(|hint| format!("\n  {hint}"))
        .collect::<String>();
    format!("[{}] {}{lines}", failure.exit.code(), failure.message)
}

fn now() -> jiff::Timestamp {
    "2026-11-22T18:00:00Z".parse().unwrap()
}

/// Every way in which a site can be away, in the words that the night shift reads.
#[test]
fn each_absence_has_one_message_that_says_what_to_do() {
    let urls = || "nats://obs1:4222".to_owned();
    let id = || ServiceId::parse("plan_runner.zb08").unwrap();
    let errors = [
        ClientError::NoNats {
            urls: urls(),
            reason: Some("connection refused".into()),
        },
        ClientError::Login {
            urls: urls(),
            reason: "authorization violation".into(),
        },
        ClientError::NoJetStream { urls: urls() },
        ClientError::NoManager { urls: urls() },
        ClientError::ManagerAway {
            id: id(),
            host: "obs1".into(),
            liveness: Liveness::Silent {
                since: now() - 3.minutes(),
            },
        },
        ClientError::NoSuchService {
            id: id(),
            similar: vec!["plan_runner.jk15".into()],
        },
        ClientError::NoSuchService {
            id: id(),
            similar: Vec::new(),
        },
        ClientError::SeveralHosts {
            id: id(),
            hosts: vec!["obs1".into(), "obs2".into()],
        },
        ClientError::NotOnHost {
            id: id(),
            host: "obs3".into(),
            hosts: vec!["obs1".into()],
        },
        ClientError::Unmanaged {
            id: id(),
            parent: Some("launcher.launcher.g7Qdpg.obs9-process-launcher".into()),
            host: Some("obs9".into()),
            pid: Some(77),
            heard: Some(now() - 5.seconds()),
        },
        ClientError::NoAnswer {
            what: "the start of `plan_runner.zb08`".into(),
            after: std::time::Duration::from_secs(93),
        },
        ClientError::Refused(RpcError::new(
            ErrorKind::ConditionFailed,
            "held by pilecki until 06:00: mirror cleaning",
        )),
        ClientError::Lost,
    ];
    let messages: Vec<String> = errors.iter().map(render).collect();
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn an_old_systemd_is_told_with_the_version_that_is_needed() {
    let failure = Failure::of_systemd(&SystemdError::TooOld {
        found: "249.11".into(),
        needed: 252,
    });
    assert_eq!(failure.exit, Exit::Unavailable);
    assert_eq!(
        failure.message,
        "systemd 249.11 is too old: version 252 or newer is needed"
    );
    assert_eq!(failure.hints.len(), 1);
}
