//! The test machinery itself: what the other tests stand on.

use anyhow::{Context, Result, ensure};
use tcs_system_tests::{Case, Lab, Site};
use tcs_testkit::{MachineConfig, NatsOptions, Store, inside};
use zbus::connection::Builder;

pub(crate) fn tests() -> Vec<Case> {
    vec![
        Case::lab("a_machine_reaches_its_target", a_machine_reaches_its_target),
        Case::lab("jetstream_answers_inside", jetstream_answers_inside),
        Case::lab("dbus_and_polkit_answer", dbus_and_polkit_answer),
        Case::lab("two_machines_do_not_meet", two_machines_do_not_meet),
        Case::shared(
            "the_shared_machine_has_the_suite",
            the_shared_machine_has_the_suite,
        ),
    ]
}

fn a_machine_reaches_its_target(lab: &Lab) -> Result<()> {
    let machine = lab.boot(&MachineConfig::new("dome7").with_file("/etc/tcs/env", "A=1\n", 0o640))?;
    ensure!(machine.run_ok(&["systemctl", "is-system-running"])?.trim() == "running");
    ensure!(
        machine
            .run_ok(&["systemctl", "is-active", "tcs-test.target"])?
            .trim()
            == "active"
    );
    let version = machine.run_ok(&["systemctl", "--version"])?;
    ensure!(version.starts_with("systemd 25"), "{version}");
    ensure!(machine.run_ok(&["hostname"])?.trim() == "dome7");
    ensure!(machine.run_ok(&["stat", "-c", "%a %U", "/etc/tcs/env"])?.trim() == "640 root");
    machine.write_file("/etc/tcs/a/b.yaml", "c: 1\n")?;
    ensure!(machine.read_file("/etc/tcs/a/b.yaml")? == "c: 1\n");
    ensure!(machine.run_as("nobody", &["id", "-un"])?.stdout.trim() == "nobody");
    ensure!(machine.run(&["false"])?.code() == 1);
    machine.power_off()?;
    Ok(())
}

fn jetstream_answers_inside(lab: &Lab) -> Result<()> {
    let machine = lab.boot(&MachineConfig::default())?;
    let server = lab.nats(&machine, &NatsOptions::of_machine())?;
    let stream = || async_nats::jetstream::stream::Config {
        name: "probe".into(),
        subjects: vec!["probe.>".into()],
        ..Default::default()
    };
    let url = server.url();
    let published = inside(&machine, || async {
        let client = async_nats::connect(&url).await?;
        let jetstream = async_nats::jetstream::new(client);
        jetstream.create_stream(stream()).await?;
        let ack = jetstream.publish("probe.a", "hello".into()).await?.await?;
        anyhow::Ok(ack.sequence)
    })??;
    ensure!(published == 1, "the sequence is {published}");

    for (store, expected) in [(Store::Keep, Some(1)), (Store::Wipe, None)] {
        server.restart(store)?;
        let messages = inside(&machine, || async {
            let client = async_nats::connect(&url).await?;
            let stream = async_nats::jetstream::new(client).get_stream("probe").await;
            anyhow::Ok(stream.ok().map(|stream| stream.cached_info().state.messages))
        })??;
        ensure!(messages == expected, "{store:?}: {messages:?}");
    }
    Ok(())
}

fn dbus_and_polkit_answer(lab: &Lab) -> Result<()> {
    let machine = lab.boot(&MachineConfig::default())?;
    let address = machine.dbus_address();
    let units = inside(&machine, || async {
        let connection = Builder::address(address.as_str()).build().await?;
        let systemd = zbus_systemd::systemd1::ManagerProxy::new(&connection).await?;
        anyhow::Ok(
            systemd
                .list_units_by_patterns(vec!["active".into()], vec!["dbus.*".into()])
                .await?,
        )
    })?
    .context("no D-Bus from the host's side")?;
    ensure!(units.iter().any(|unit| unit.0 == "dbus.service"), "{units:?}");

    let action = "org.freedesktop.systemd1.manage-units";
    let described = machine.run_ok(&["pkaction", "--verbose", "--action-id", action])?;
    ensure!(described.contains("implicit active"), "{described}");
    let refused = machine.run_as(
        "nobody",
        &["systemctl", "--no-ask-password", "stop", "dbus.socket"],
    )?;
    ensure!(!refused.status.success(), "an ordinary user may stop units");
    Ok(())
}

fn the_shared_machine_has_the_suite(site: &Site) -> Result<()> {
    let unit = site
        .machine
        .run_ok(&["systemctl", "cat", "tcs@hello_world.service"])?;
    ensure!(unit.contains("/usr/lib/tcs/services/hello_world"), "{unit}");
    ensure!(
        site.machine
            .run(&["/usr/lib/tcs/services/misfit", "describe"])?
            .status
            .success()
    );
    let manifest = site
        .machine
        .read_file("/usr/lib/tcs/services/weather_importer.json")?;
    ensure!(manifest.contains("\"weather_importer\""), "{manifest}");
    site.nats()?;
    Ok(())
}

fn two_machines_do_not_meet(lab: &Lab) -> Result<()> {
    let first = lab.boot(&MachineConfig::new("obs1"))?;
    let second = lab.boot(&MachineConfig::new("obs2"))?;
    let server = lab.nats(&first, &NatsOptions::of_machine())?;
    let other = lab.nats(&second, &NatsOptions::of_machine())?;
    ensure!(server.url() == other.url() && server.name() != other.name());
    let id = |machine: &tcs_testkit::Machine| machine.read_file("/etc/machine-id");
    ensure!(id(&first)? != id(&second)?);
    // In one control group, the second's systemd would find and end the first's services.
    second.run_ok(&["systemd-run", "--unit=probe", "sleep", "600"])?;
    first.run_ok(&["systemd-run", "--unit=probe", "sleep", "600"])?;
    second.run_ok(&["systemctl", "stop", "probe"])?;
    ensure!(first.run_ok(&["systemctl", "is-active", "probe"])?.trim() == "active");
    drop(second);
    ensure!(first.run_ok(&["systemctl", "is-system-running"])?.trim() == "running");
    Ok(())
}
