//! What is not there is told in one message, with the line to change or the command to run.

use std::time::Duration;

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::{Consent, NatsOptions, NatsServer, Prerequisites, eventually_blocking};

use super::{GROUP, ends_with, holds, json, row};

const SERVICES: &str = "services:\n  - type: hello_world\n  - {type: mute, exec: /bin/sleep infinity}\n";

pub(crate) fn tests() -> Vec<Case> {
    let config = || SiteConfig::with_services(SERVICES);
    vec![
        Case::group("a_server_without_jetstream_is_told", &GROUP, no_jetstream),
        Case::group("a_server_without_a_manager_is_told", &GROUP, no_manager),
        Case::group("a_refused_login_is_told", &GROUP, no_login),
        Case::group("a_wrong_configuration_is_told", &GROUP, wrong_configuration),
        Case::own("a_silent_manager_is_told", config, silent_manager),
    ]
}

/// Another server in the machine's network.
fn server(site: &Site, options: &NatsOptions) -> Result<NatsServer> {
    let binary = Prerequisites::new(Consent::Absent, |_| ()).nats_server()?;
    Ok(NatsServer::start(&binary, site.machine.network(), options)?)
}

fn no_jetstream(site: &Site) -> Result<()> {
    let options = NatsOptions {
        jetstream: false,
        ..NatsOptions::default()
    };
    let server = server(site, &options)?;
    for command in ["list", "status hello_world", "start hello_world", "events"] {
        let output = ends_with(site, 69, &format!("tcsctl --nats {} {command}", server.url()))?;
        holds(
            &output.stderr,
            &[
                &server.url(),
                "without JetStream",
                "`jetstream {}`",
                "systemctl restart nats-server",
            ],
        )?;
    }
    Ok(())
}

fn no_manager(site: &Site) -> Result<()> {
    let server = server(site, &NatsOptions::default())?;
    for command in ["list", "status hello_world", "start hello_world"] {
        let output = ends_with(site, 69, &format!("tcsctl --nats {} {command}", server.url()))?;
        holds(
            &output.stderr,
            &["no manager has reported", "systemctl start tcs-manager", "--nats"],
        )?;
    }
    Ok(())
}

fn no_login(site: &Site) -> Result<()> {
    let more = "authorization { user: dome, password: shutter }\n".to_owned();
    let options = NatsOptions {
        more,
        ..NatsOptions::default()
    };
    let server = server(site, &options)?;
    let output = ends_with(site, 77, &format!("tcsctl --nats {} list", server.url()))?;
    holds(
        &output.stderr,
        &["refuses the login", "--nats", "nats://USER:PASSWORD@"],
    )?;
    let with = server.url().replace("://", "://dome:wrong@");
    let output = ends_with(site, 77, &format!("tcsctl --nats {with} list"))?;
    ensure!(
        !output.both().contains("wrong"),
        "the password is shown: {}",
        output.both()
    );
    Ok(())
}

fn wrong_configuration(site: &Site) -> Result<()> {
    let path = "/tmp/wrong/services.yaml";
    site.machine
        .write_file(path, "nats:\n  prot: 4222\nservices: []\n")?;
    let output = ends_with(site, 78, &format!("tcsctl --config {path} list"))?;
    holds(
        &output.stderr,
        &["/tmp/wrong/services.yaml:2:3", "`prot`", "`port`"],
    )?;
    // Whoever names the server does without the file.
    let url = site.nats()?.url();
    let output = ends_with(site, 0, &format!("tcsctl --config {path} --nats {url} list"))?;
    holds(&output.stderr, &["the configuration is passed over"])?;
    let missing = ends_with(site, 78, "tcsctl --config /tmp/no/such.yaml list")?;
    holds(&missing.stderr, &["/tmp/no/such.yaml"])
}

/// A manager that is stopped in its tracks looks like a host that hangs: its connection stays, and it says nothing.
fn silent_manager(site: &Site) -> Result<()> {
    // systemd would kill and start it anew, which is not what is looked at here.
    let patient = "[Service]\nWatchdogSec=0\n";
    site.machine
        .write_file("/etc/systemd/system/tcs-manager.service.d/patient.conf", patient)?;
    site.install()?;
    site.machine.run_ok(&[
        "systemctl",
        "start",
        "tcs@hello_world.service",
        "tcs@mute.service",
    ])?;
    let soon = Duration::from_secs(20);
    eventually_blocking("both are mirrored", soon, || {
        ends_with(site, 0, "tcsctl status mute")?;
        holds(
            &ends_with(site, 0, "tcsctl status hello_world")?.stdout,
            &["Health: ok"],
        )
    })?;
    site.machine
        .run_ok(&["systemctl", "kill", "--signal=STOP", "tcs-manager.service"])?;
    let listed = eventually_blocking("the silence is told", Duration::from_secs(25), || {
        let listed = ends_with(site, 0, "tcsctl list")?;
        holds(
            &listed.stderr,
            &[
                "manager of obs1 silent since ",
                " UTC",
                "systemctl start tcs-manager",
            ],
        )?;
        anyhow::Ok(listed)
    })?;
    let table = json(site, "tcsctl --json list")?;
    ensure!(table["managers"][0]["state"] == "silent", "{table}");
    ensure!(
        row(&table, "hello_world.main")?["certain"] == true,
        "it beats: {table}"
    );
    // What does not beat itself is known from the manager alone.
    ensure!(row(&table, "mute.main")?["certain"] == false, "{table}");
    holds(&listed.stdout, &["running?"])?;

    let page = ends_with(site, 0, "tcsctl status hello_world")?;
    holds(&page.stdout, &["manager.obs1: silent since "])?;
    let start = ends_with(site, 69, "tcsctl start --timeout 0.5 hello_world")?;
    let told = [
        "the manager of obs1",
        "does not answer: silent since ",
        "systemctl restart tcs-manager",
    ];
    holds(&start.stderr, &told)?;

    site.machine
        .run_ok(&["systemctl", "kill", "--signal=CONT", "tcs-manager.service"])?;
    eventually_blocking("it is heard again", soon, || {
        let listed = ends_with(site, 0, "tcsctl list")?;
        ensure!(listed.stderr.is_empty(), "{}", listed.stderr);
        Ok(())
    })?;
    Ok(())
}
