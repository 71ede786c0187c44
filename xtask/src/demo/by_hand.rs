//! Where no machine can be booted: a service by hand, against a NATS server of its own on a free port.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tcs_testkit::{
    Contents, Guarded, NatsOptions, NatsServer, Network, Prerequisites, Profile, Stage, eventually_blocking,
};

use crate::output;

pub(crate) fn run(prerequisites: &Prerequisites) -> Result<()> {
    output::heading("A service by hand instead");
    let server = NatsServer::start(
        &prerequisites.nats_server()?,
        &Network::host(),
        &NatsOptions::default(),
    )?;
    output::note(&format!(
        "NATS server `{}` with JetStream at {}",
        server.name(),
        server.url()
    ));
    output::note("building the suite: cargo build");
    let stage = Stage::build(Profile::Dev, Contents::Suite)?;
    let binary = |name: &str| {
        stage
            .binary(name)
            .with_context(|| format!("the stage holds no {name}"))
    };

    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let configuration = directory.path().join("services.yaml");
    let text = format!(
        "nats:\n  url: {}\nservices:\n  - type: hello_world\n    interval: 1s\n",
        server.url()
    );
    std::fs::write(&configuration, &text)
        .with_context(|| format!("cannot write {}", configuration.display()))?;

    output::line(&format!(
        "\n$ hello_world &    (TCS_CONFIG={})",
        configuration.display()
    ));
    let mut command = Command::new(binary("hello_world")?);
    command.env("TCS_CONFIG", &configuration);
    let mut service = Guarded::spawn(&command)?;

    let mut list = Command::new(binary("tcsctl")?);
    list.arg("list").env("TCS_CONFIG", &configuration);
    let listed = eventually_blocking("tcsctl list shows the service", Duration::from_secs(10), || {
        let output = list.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Without a variant, what is run by hand is `dev`.
        if text.contains("hello_world.dev") {
            Ok(text)
        } else {
            Err(text + &String::from_utf8_lossy(&output.stderr))
        }
    });
    output::line(service.last_lines().trim_end());
    let listed = listed.context("the demo's claim does not hold")?;
    output::line("\n$ tcsctl list");
    output::line(listed.trim_end());
    service.kill();
    Ok(())
}
