//! `cargo xtask bench crash`: how long after systemd's own D-Bus signal the news of a crash is at a NATS subscriber
//! (design decision 41).
//!
//! The clock starts at the first `PropertiesChanged` of the unit at a bare second D-Bus subscriber and stops when the
//! `crashed` event, and the new entry of the mirror, are at a bare NATS subscriber. Both read on threads of this one
//! process, so it is one clock. `--dev` measures the dev build, to try the program itself.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use tcs_system_tests::SiteConfig;
use tcs_testkit::{
    Consent, Contents, Machine, NatsServer, Prerequisites, Profile, RawNats, Stage, eventually_blocking,
};
use zbus::{MatchRule, MessageStream};
use zbus_systemd::systemd1::ManagerProxy;

const RUNS: usize = 50;
const UNIT: &str = "tcs@hello_world.service";
const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/tcs_40hello_5fworld_2eservice";
const CRASHED: &str = "svc.registry.crashed.hello_world.main";
const MIRROR: &str = "$KV.tcs_state.manager.obs1.hello_world.main";
const PATIENCE: Duration = Duration::from_secs(10);
const SERVICES: &str = "services:
  - type: hello_world
    interval: 1s
    restart_sec: 100ms
    restart_max: 0
";

/// What reached us, and when.
struct Seen {
    what: What,
    at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    DBus,
    Crashed,
    Mirror,
}

struct Run {
    from_signal_event: Duration,
    from_signal_mirror: Duration,
    from_kill_event: Duration,
}

fn main() -> Result<()> {
    let prerequisites = Prerequisites::new(Consent::Absent, tell);
    prerequisites.for_machines()?;
    let dev = std::env::args().any(|argument| argument == "--dev");
    let stage = Stage::build(if dev { Profile::Dev } else { Profile::Release }, Contents::Suite)?;
    let config = SiteConfig::with_services(SERVICES);
    let machine = Machine::boot(&config.machine.with_stage(&stage))?;
    let options = config.nats.context("the default site has a server")?;
    let server = NatsServer::start(&prerequisites.nats_server()?, machine.network(), &options)?;
    machine.run_ok(&["tcs-systemd-gen", "install"])?;
    machine.run_ok(&["systemctl", "start", UNIT])?;
    eventually_blocking("the manager runs", PATIENCE, || {
        machine
            .run_ok(&["systemctl", "is-active", "tcs-manager.service"])
            .map_err(|error| error.to_string())
    })?;

    let seen = listen(&machine, &server)?;
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        runs.push(crash(&machine, &seen)?);
    }
    report(&runs);
    Ok(())
}

/// Starts both listeners; each note is taken when the message is read from its socket.
fn listen(machine: &Machine, server: &NatsServer) -> Result<Receiver<Seen>> {
    let (tell, seen) = channel();
    let mut client = RawNats::connect(server)?;
    client.subscribe(CRASHED)?;
    client.subscribe(MIRROR)?;
    let of_nats = tell.clone();
    std::thread::spawn(move || {
        while let Ok(message) = client.next(Duration::from_secs(3600)) {
            let Some(message) = message else { continue };
            // Only the entry that says so is the news of a crash; those of the restart follow.
            let what = match message.subject.as_str() {
                CRASHED => What::Crashed,
                _ if message.text().contains("\"signal\"") => What::Mirror,
                _ => continue,
            };
            if of_nats
                .send(Seen {
                    what,
                    at: message.received,
                })
                .is_err()
            {
                break;
            }
        }
    });
    let address = machine.dbus_address();
    let (ready, is_ready) = channel();
    std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let connection = zbus::connection::Builder::address(address.as_str())
                .build()
                .await?;
            ManagerProxy::new(&connection).await?.subscribe().await?;
            let rule = MatchRule::builder()
                .msg_type(zbus::message::Type::Signal)
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .path(UNIT_PATH)
                .build()?;
            let mut signals = MessageStream::for_match_rule(rule, &connection, None).await?;
            let _ = ready.send(());
            while let Some(Ok(_)) = signals.next().await {
                if tell
                    .send(Seen {
                        what: What::DBus,
                        at: Instant::now(),
                    })
                    .is_err()
                {
                    break;
                }
            }
            Ok(())
        })
    });
    is_ready.recv_timeout(PATIENCE).context("no D-Bus subscription")?;
    Ok(seen)
}

/// Kills the service once and takes the times.
fn crash(machine: &Machine, seen: &Receiver<Seen>) -> Result<Run> {
    let pid = eventually_blocking("the service is up again", PATIENCE, || {
        let shown = machine.run_ok(&["systemctl", "show", "--property=ActiveState,MainPID", UNIT]);
        let shown = shown.map_err(|error| error.to_string())?;
        let pid = shown
            .lines()
            .find_map(|line| line.strip_prefix("MainPID="))
            .filter(|pid| *pid != "0");
        pid.filter(|_| shown.contains("ActiveState=active"))
            .map(str::to_owned)
            .ok_or(shown)
    })?;
    // What belongs to the restart is not the news of the next crash: on until nothing more comes.
    while seen.recv_timeout(Duration::from_millis(300)).is_ok() {}

    let killed = Instant::now();
    machine.run_ok(&["kill", "-KILL", &pid])?;
    let (mut signal, mut event, mut mirror) = (None, None, None);
    while signal.is_none() || event.is_none() || mirror.is_none() {
        let Seen { what, at } = seen
            .recv_timeout(PATIENCE)
            .context("the news of a crash did not come")?;
        if at < killed {
            continue;
        }
        let slot = match what {
            What::DBus => &mut signal,
            What::Crashed => &mut event,
            What::Mirror => &mut mirror,
        };
        slot.get_or_insert(at);
    }
    let (Some(signal), Some(event), Some(mirror)) = (signal, event, mirror) else {
        unreachable!("the loop ends when all three are there")
    };

    Ok(Run {
        from_signal_event: event.saturating_duration_since(signal),
        from_signal_mirror: mirror.saturating_duration_since(signal),
        from_kill_event: event.saturating_duration_since(killed),
    })
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn report(runs: &[Run]) {
    let line = |name: &str, pick: fn(&Run) -> Duration| {
        let mut values: Vec<f64> = runs.iter().map(|run| pick(run).as_secs_f64() * 1000.0).collect();
        values.sort_by(f64::total_cmp);
        let (median, last) = (values[values.len() / 2], values[values.len() - 1]);
        let ninety = values[values.len() * 9 / 10];
        println!("{name:<48} median {median:6.2} ms   90 % {ninety:6.2} ms   worst {last:6.2} ms");
    };
    println!("a service killed with SIGKILL, {} times:", runs.len());
    line("D-Bus signal -> `crashed` event at a subscriber", |run| {
        run.from_signal_event
    });
    line("D-Bus signal -> mirror entry at a subscriber", |run| {
        run.from_signal_mirror
    });
    line("start of `kill` -> `crashed` event", |run| run.from_kill_event);
}

#[expect(clippy::print_stderr, reason = "what is being fetched, beside the figures")]
fn tell(line: &str) {
    eprintln!("{line}");
}
