//! What the demo shows, in order.

use std::time::{Duration, Instant};

use anyhow::Result;
use tcs_testkit::RawNats;

use super::listener::Listener;
use super::scene::{Scene, Step};
use super::weather;
use crate::output;

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn run(scene: &Scene) -> Result<()> {
    install(scene)?;
    start(scene)?;
    crash(scene)?;
    control(scene)?;
    weather_records(scene)
}

fn install(scene: &Scene) -> Result<()> {
    output::heading("1. The units come from services.yaml");
    scene.play(Step::inside("cat /etc/tcs/services.yaml"))?;
    scene.play(
        Step::inside("tcs-systemd-gen install").shows(&["tcs@.service", "tcs@weather_importer.timer"]),
    )?;
    scene.play(Step::inside("tcs-systemd-gen install").shows(&["nothing changed"]))?;
    Ok(())
}

fn start(scene: &Scene) -> Result<()> {
    output::heading("2. systemd runs them");
    weather::make_stream(&mut RawNats::connect(&scene.server)?)?;
    scene.play(Step::inside("systemctl start tcs@hello_world"))?;
    scene.play(Step::inside("systemctl start tcs@weather_importer.timer"))?;
    scene
        .play(Step::inside("systemctl status tcs@hello_world").shows(&["active (running)", "hello_world"]))?;
    scene.play(Step::inside("systemctl list-timers 'tcs@*'").shows(&["tcs@weather_importer.timer"]))?;

    output::heading("3. One list of all of them, over NATS");
    // The manager came with the first service (Wants=); its first mirror takes a moment.
    let both = [
        "hello_world.main",
        "weather_importer.main",
        "1 running",
        "1 never-started",
    ];
    scene.play(Step::inside("tcsctl list").shows(&both).within(5 * SECOND))?;
    scene.play(Step::outside("tcsctl list").shows(&both).within(SECOND))?;
    Ok(())
}

fn crash(scene: &Scene) -> Result<()> {
    output::heading("4. A service is killed");
    let events = Listener::new(&scene.server, "svc.registry.>")?;
    output::line("\n(outside) a bare NATS subscriber on svc.registry.> listens from here on");
    let killed = Instant::now();
    scene.play(Step::inside("systemctl kill --signal=SIGKILL tcs@hello_world"))?;
    scene.play(
        Step::inside("tcsctl list")
            .shows(&["restarting|crashed"])
            .within(SECOND),
    )?;
    output::line("\n(outside) the subscriber has, in ms after the kill:");
    events.show_until(&["crashed.hello_world.main"], killed, SECOND)?;
    events.show_until(&["start.hello_world.main"], killed, 5 * SECOND)?;
    let told = Step::outside("tcsctl events -n 4 hello_world").shows(&["crashed", "restarting", "ready"]);
    scene.play(told.within(5 * SECOND))?;
    let again = Step::inside("tcsctl status hello_world").shows(&["active (running)", "Restarts: 1"]);
    scene.play(again.within(5 * SECOND))?;
    Ok(())
}

fn control(scene: &Scene) -> Result<()> {
    output::heading("5. Stopped and started from outside, through NATS");
    scene.play(Step::outside("tcsctl stop hello_world"))?;
    scene.play(
        Step::inside("systemctl is-active tcs@hello_world")
            .shows(&["inactive"])
            .ends_with(3),
    )?;
    scene.play(
        Step::outside("tcsctl list")
            .shows(&["hello_world.main", "stopped|inactive"])
            .within(SECOND),
    )?;
    scene.play(Step::outside("tcsctl start hello_world"))?;
    scene.play(Step::inside("systemctl is-active tcs@hello_world").shows(&["active"]))?;
    Ok(())
}

fn weather_records(scene: &Scene) -> Result<()> {
    output::heading(
        "6. The weather importer's job, now rather than at its next time, and its records read back from JetStream",
    );
    scene.play(Step::inside("systemctl start tcs@weather_importer"))?;
    scene.play(
        Step::inside("systemctl show --property=Result,ExecMainStatus tcs@weather_importer")
            .shows(&["Result=success"]),
    )?;
    weather::read_back(&mut RawNats::connect(&scene.server)?)?;
    scene.play(
        Step::outside("tcsctl list")
            .shows(&["finished", "published 30, refused 1"])
            .within(SECOND),
    )?;
    Ok(())
}
