//! Where no machine can be booted: the services by hand, against a NATS server of their own on a free port.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcs_testkit::{
    Contents, Guarded, NatsOptions, NatsServer, Network, Prerequisites, Profile, RawNats, Stage,
    eventually_blocking,
};

use super::weather;
use crate::output;

pub(crate) fn run(prerequisites: &Prerequisites) -> Result<()> {
    output::heading("The services by hand instead");
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
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let configuration = directory.path().join("services.yaml");
    let stations = directory.path().join("stations");
    std::fs::create_dir(&stations).with_context(|| format!("cannot create {}", stations.display()))?;
    write(
        &stations.join("davis.csv"),
        &weather::records(jiff::Timestamp::now()),
    )?;
    // Without a variant, what is run by hand is `dev`.
    let text = format!(
        "nats:\n  url: {}\nservices:\n  - {{type: hello_world, variant: dev, interval: 1s}}\n  \
         - {{type: weather_importer, variant: dev, directory: {}}}\n",
        server.url(),
        stations.display()
    );
    write(&configuration, &text)?;
    output::line(&format!(
        "\n$ cat {}\n{}",
        configuration.display(),
        text.trim_end()
    ));
    output::line(&format!("\n$ export TCS_CONFIG={}", configuration.display()));
    let command = |name: &str| -> Result<Command> {
        let binary = stage.binary(name);
        let mut command = Command::new(binary.with_context(|| format!("the stage holds no {name}"))?);
        command.env("TCS_CONFIG", &configuration);
        command.env("XDG_STATE_HOME", directory.path());
        Ok(command)
    };

    output::line("\n$ hello_world &");
    let mut service = Guarded::spawn(&command("hello_world")?)?;
    let mut client = RawNats::connect(&server)?;
    weather::make_stream(&mut client)?;
    output::line("\n$ weather_importer");
    let import = command("weather_importer")?
        .output()
        .context("cannot run weather_importer")?;
    output::line(String::from_utf8_lossy(&import.stderr).trim_end());
    ensure!(
        import.status.success(),
        "the importer ended with {}",
        import.status
    );
    weather::read_back(&mut client)?;

    let mut list = command("tcsctl")?;
    list.args(["list", "--all"]);
    let listed = eventually_blocking("tcsctl list shows the services", Duration::from_secs(10), || {
        let output = list.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = [
            "hello_world.dev",
            "weather_importer.dev",
            "read 31, published 30, refused 1",
        ];
        if shown.iter().all(|part| text.contains(part)) {
            Ok(text)
        } else {
            Err(text + &String::from_utf8_lossy(&output.stderr))
        }
    });
    output::line(&format!(
        "\nhello_world said:\n{}",
        service.last_lines().trim_end()
    ));
    let listed = listed.context("the demo's claim does not hold")?;
    output::line("\n$ tcsctl list --all");
    output::line(listed.trim_end());
    service.kill();
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
