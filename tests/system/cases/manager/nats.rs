//! NATS away, empty, made by others, or shared with a second manager.

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, stream::Config};
use tcs_system_tests::{Case, Lab, Site, SiteConfig};
use tcs_testkit::{Store, eventually_blocking, inside};

use super::mirror::equals_systemctl;
use super::tape::{Tape, stored_events, words_once};
use super::{MANAGER, SOON, answers, becomes, installed, kill, logs, property, systemctl};

const HELLO: &str = "hello_world.main";
const HELLO_UNIT: &str = "tcs@hello_world.service";
const SERVICES: &str = "services:\n  - {type: hello_world, interval: 1h, restart_sec: 100ms}\n";
const UNMANAGED: &str =
    "manage_streams: false\nservices:\n  - {type: hello_world, interval: 1h, restart_sec: 100ms}\n";

pub(super) fn tests() -> Vec<Case> {
    let site = || SiteConfig::with_services(SERVICES);
    vec![
        Case::lab("nothing_is_lost_while_nats_is_away", away),
        Case::own("an_empty_server_is_filled_again", site, wiped),
        Case::lab("streams_of_others_are_told_and_not_changed", streams),
        Case::own("one_manager_of_a_name", site, second),
    ]
}

fn away(lab: &Lab) -> Result<()> {
    let site = lab.site(SiteConfig::with_services(SERVICES))?;
    let server = site.nats()?;
    server.stop()?;
    site.install()?;
    // As at boot: the service is up before the manager looks for the first time, and NATS comes last.
    systemctl(&site, &["mask", "--runtime", MANAGER])?;
    systemctl(&site, &["start", HELLO_UNIT])?;
    systemctl(&site, &["unmask", "--runtime", MANAGER])?;
    systemctl(&site, &["start", MANAGER])?;
    eventually_blocking("the manager says that NATS is away", SOON, || {
        let text = property(&site, MANAGER, "StatusText").map_err(|error| error.to_string())?;
        if text.contains("NATS away since") {
            Ok(())
        } else {
            Err(text)
        }
    })?;
    kill(&site, HELLO_UNIT)?;
    becomes(&site, HELLO_UNIT, "NRestarts", "1")?;
    becomes(&site, HELLO_UNIT, "ActiveState", "active")?;
    server.start_again()?;
    answers(&site)?;
    let first = [
        "declared",
        "start",
        "ready",
        "crashed",
        "restarting",
        "start",
        "ready",
    ];
    stored(&site, &first)?;
    let events = stored_events(&site, HELLO)?;
    ensure!(
        events
            .iter()
            .map(|(event, _)| event["late"] == true)
            .eq([false, true, true, false, false, false, false]),
        "{events:#?}"
    );
    equals_systemctl(&site, "when NATS came")?;
    becomes(
        &site,
        MANAGER,
        "StatusText",
        "1 units, 1 running, 0 failed; NATS connected",
    )?;

    server.kill();
    kill(&site, HELLO_UNIT)?;
    becomes(&site, HELLO_UNIT, "NRestarts", "2")?;
    becomes(&site, HELLO_UNIT, "ActiveState", "active")?;
    systemctl(&site, &["stop", HELLO_UNIT])?;
    server.start_again()?;
    let second = ["crashed", "restarting", "start", "ready", "stopping", "stop"];
    stored(&site, &[first.as_slice(), &second].concat())?;
    equals_systemctl(&site, "when NATS was back")?;
    // Its last words were late, and have come.
    let last = |site: &Site| inside(&site.machine, || last_status(server.url()));
    eventually_blocking("the last status", SOON, || match last(&site) {
        Ok(Ok(status)) if status == "shutdown" => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    Ok(())
}

async fn last_status(url: String) -> Result<String> {
    let bus = tcs_bus::Bus::connect(tcs_bus::BusOptions::new(url, "reader")).await?;
    ensure!(bus.wait_connected(SOON).await, "not connected");
    let last = bus.last_per_subject(&format!("svc.status.{HELLO}")).await?;
    bus.close(SOON).await;
    let body: serde_json::Value = serde_json::from_slice(&last.first().context("no status")?.body)?;
    Ok(body["data"]["status"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the stream holds exactly these events of the one service, each once.
fn stored(site: &Site, expected: &[&str]) -> Result<()> {
    eventually_blocking("the events in their order", SOON, || {
        let events = stored_events(site, HELLO).map_err(|error| format!("{error:#}"))?;
        match words_once(&events) {
            Ok(words) if words == expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    Ok(())
}

fn wiped(site: &Site) -> Result<()> {
    installed(site)?;
    systemctl(site, &["start", HELLO_UNIT])?;
    equals_systemctl(site, "before")?;
    site.nats()?.restart(Store::Wipe)?;
    equals_systemctl(site, "on the empty server")?;
    answers(site)?;
    let streams = [
        "KV_tcs_claims",
        "KV_tcs_state",
        "svc_heartbeat",
        "svc_registry",
        "svc_status",
    ];
    eventually_blocking("the streams are there again", SOON, || {
        let found = stream_names(site).map_err(|error| format!("{error:#}"))?;
        if found == streams {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })?;
    // What happens from here on is told, and followed by what hears it live.
    let mut tape = Tape::start(site)?;
    kill(site, HELLO_UNIT)?;
    tape.until_event(HELLO, "ready", 1)?;
    ensure!(tape.event_words(HELLO) == ["crashed", "restarting", "start", "ready"]);
    equals_systemctl(site, "after a crash")?;
    Ok(())
}

fn stream_names(site: &Site) -> Result<Vec<String>> {
    let url = site.nats()?.url();
    inside(&site.machine, || async {
        use futures_util::TryStreamExt;
        let context = jetstream::new(async_nats::connect(&url).await?);
        let mut names: Vec<String> = context.stream_names().try_collect().await?;
        names.sort();
        anyhow::Ok(names)
    })?
}

fn streams(lab: &Lab) -> Result<()> {
    let site = lab.site(SiteConfig::with_services(UNMANAGED))?;
    site.install()?;
    systemctl(&site, &["start", MANAGER, HELLO_UNIT])?;
    logs(&site, MANAGER, "no stream holds `svc.registry.>`")?;
    logs(&site, MANAGER, "manage_streams")?;
    let status = property(&site, MANAGER, "StatusText")?;
    ensure!(
        status.contains("NATS connected; ") && status.contains("no stream holds"),
        "{status}"
    );
    ensure!(stream_names(&site)?.is_empty(), "{:?}", stream_names(&site)?);

    // A site makes its own: one that does not acknowledge, one that holds too much, one that holds too little.
    let url = site.nats()?.url();
    let config = |name: &str, subjects: &[&str], no_ack: bool| Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        no_ack,
        ..Config::default()
    };
    let made = [
        config("events", &["svc.registry.>"], false),
        config("beats", &["svc.heartbeat.>"], true),
        config("states", &["svc.status.*.main", "svc.status.*.obs1"], false),
        config("KV_tcs_state", &["$KV.tcs_state.>"], false),
        config("KV_tcs_claims", &["$KV.tcs_claims.>"], false),
    ];
    let before = inside(&site.machine, || async {
        let context = jetstream::new(async_nats::connect(&url).await?);
        let mut before = Vec::new();
        for mut stream in made {
            if stream.name.starts_with("KV_") {
                (
                    stream.max_messages_per_subject,
                    stream.allow_rollup,
                    stream.allow_direct,
                ) = (1, true, true);
            }
            before.push(context.create_stream(stream).await?.cached_info().config.clone());
        }
        anyhow::Ok(before)
    })??;
    logs(&site, MANAGER, "stream beats: it does not acknowledge")?;
    logs(&site, MANAGER, "`svc.status.>`")?;
    // What waited for its stream goes out, and the mirror is complete.
    stored(&site, &["declared", "start", "ready"])?;
    equals_systemctl(&site, "with the site's streams")?;
    let after = inside(&site.machine, || async {
        let context = jetstream::new(async_nats::connect(&url).await?);
        let mut after = Vec::new();
        for stream in &before {
            after.push(
                context
                    .get_stream(&stream.name)
                    .await?
                    .cached_info()
                    .config
                    .clone(),
            );
        }
        anyhow::Ok(after)
    })??;
    ensure!(before == after, "a stream was changed");
    ensure!(
        stream_names(&site)?.len() == before.len(),
        "{:?}",
        stream_names(&site)?
    );
    Ok(())
}

fn second(site: &Site) -> Result<()> {
    installed(site)?;
    let pid = property(site, MANAGER, "MainPID")?;
    let second = site
        .machine
        .run_as("tcs-manager", &["timeout", "20", "/usr/lib/tcs/tcs-manager"])?;
    ensure!(
        second.code() == 75,
        "it ended with {}:\n{}",
        second.code(),
        second.both()
    );
    let holder = format!("another manager.obs1 is running on `obs1` (pid {pid})");
    ensure!(second.both().contains(&holder), "{}", second.both());
    // The first one has not noticed: no event, no other status.
    answers(site)?;
    ensure!(property(site, MANAGER, "MainPID")? == pid);
    let events = stored_events(site, "manager.obs1")?;
    ensure!(
        words_once(&events)? == ["declared", "start", "ready"],
        "{events:#?}"
    );

    // Another host of the same name: it renews its claim, so it is alive, whatever the clocks say.
    let other = Other::start(site)?;
    becomes(site, MANAGER, "ActiveState", "failed")?;
    ensure!(property(site, MANAGER, "ExecMainStatus")? == "75");
    ensure!(
        !site
            .machine
            .run(&["systemctl", "start", MANAGER])?
            .status
            .success()
    );
    logs(
        site,
        MANAGER,
        "another manager.obs1 is running on `dome7` (pid 4711)",
    )?;
    let events = stored_events(site, "manager.obs1")?;
    ensure!(
        words_once(&events)? == ["declared", "start", "ready"],
        "it spoke for the other: {events:#?}"
    );
    // One that does not renew it any more is gone.
    drop(other);
    systemctl(site, &["start", MANAGER])?;
    logs(site, MANAGER, "taking over the claim of a manager that is gone")?;
    answers(site)
}

/// A manager on another host, as far as its claim shows: it is renewed until this is dropped.
struct Other {
    end: Option<std::sync::mpsc::Sender<()>>,
    renewing: Option<std::thread::JoinHandle<()>>,
}

impl Other {
    fn start(site: &Site) -> Result<Self> {
        let mut client = tcs_testkit::RawNats::connect(site.nats()?)?;
        let (end, ended) = std::sync::mpsc::channel();
        let renewing = std::thread::spawn(move || {
            for renewal in 0.. {
                let claim = serde_json::json!({
                    "holder": "manager.obs1", "host": "dome7", "pid": 4711, "boot_id": "b0", "invocation_id": "i0",
                    "epoch": 7, "renewed": [2026, 1, 1, 0, 0, renewal % 60, 0],
                });
                let subject = "$KV.tcs_claims.manager.obs1";
                let written = client.publish(subject, None, claim.to_string().as_bytes());
                let period = std::time::Duration::from_secs(1);
                if written.is_err()
                    || ended.recv_timeout(period) != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    return;
                }
            }
        });
        Ok(Self {
            end: Some(end),
            renewing: Some(renewing),
        })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(renewing) = self.renewing.take() {
            renewing.join().ok();
        }
    }
}
