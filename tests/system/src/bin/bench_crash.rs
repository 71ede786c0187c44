//! `cargo xtask bench crash`: how long after systemd's own D-Bus signal the news of a crash is at a NATS subscriber
//! (design decision 41).
//!
//! The clock starts at the first `PropertiesChanged` of the unit at a bare second D-Bus subscriber and stops when the
//! `crashed` event, and the new entry of the mirror, are at a bare NATS subscriber. Both read on threads of this one
//! process, so it is one clock. From the kill itself is printed besides. Where the release build does not keep the
//! promised 10 ms, the exit code is 1. `--dev` measures the dev build, to try the program itself.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tcs_system_tests::SiteConfig;
use tcs_testkit::{
    Consent, Contents, Machine, NatsServer, Prerequisites, Profile, RawNats, Stage, eventually_blocking,
};
use zbus::{MatchRule, MessageStream};
use zbus_systemd::systemd1::ManagerProxy;

const RUNS: usize = 50;
/// What the project promises of the median.
const PROMISED: Duration = Duration::from_millis(10);
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
    killed: Instant,
    signal: Instant,
    event: Instant,
    mirror: Instant,
}

fn main() -> Result<ExitCode> {
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
    let kept = report(&runs, if dev { "dev" } else { "release" });
    Ok(if dev || kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

    let process = on_the_host(machine, &pid)?;
    let killed = Instant::now();
    kill_process(process, Signal::KILL).context("cannot kill the service")?;
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
        killed,
        signal,
        event,
        mirror,
    })
}

/// The host's number of a process of the machine (proc_pid_status(5), `NSpid`): a `kill` that is run inside would
/// take as long as what is measured.
fn on_the_host(machine: &Machine, pid: &str) -> Result<Pid> {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let ours = namespace(&machine.leader_pid().to_string()).context("the machine has ended")?;
    let is_it = |process: &str| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let inner = numbers.and_then(|numbers| numbers.split_whitespace().last());
        inner == Some(pid) && namespace(process).as_ref() == Some(&ours)
    };
    let mut processes =
        std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found = processes
        .find(|process| is_it(process))
        .and_then(|process| process.parse().ok());
    found
        .and_then(Pid::from_raw)
        .with_context(|| format!("process {pid} of the machine is not on the host"))
}

/// Prints the figures and tells whether the promise is kept.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn report(runs: &[Run], build: &str) -> bool {
    let line = |name: &str, pick: fn(&Run) -> Duration| {
        let mut values: Vec<Duration> = runs.iter().map(pick).collect();
        values.sort();
        let at = |percent: usize| values[(values.len() * percent / 100).min(values.len() - 1)];
        let milliseconds = |percent: usize| at(percent).as_secs_f64() * 1000.0;
        println!(
            "  {name:<48} median {:6.2} ms   95 % {:6.2} ms   worst {:6.2} ms",
            milliseconds(50),
            milliseconds(95),
            milliseconds(100),
        );
        at(50)
    };
    println!(
        "{build} build, a service killed with SIGKILL {} times:",
        runs.len()
    );
    let event = line("D-Bus signal -> `crashed` event at a subscriber", |run| {
        run.event.saturating_duration_since(run.signal)
    });
    let mirror = line("D-Bus signal -> mirror entry at a subscriber", |run| {
        run.mirror.saturating_duration_since(run.signal)
    });
    line("kill -> D-Bus signal", |run| {
        run.signal.saturating_duration_since(run.killed)
    });
    line("kill -> `crashed` event at a subscriber", |run| {
        run.event.saturating_duration_since(run.killed)
    });
    line("kill -> mirror entry at a subscriber", |run| {
        run.mirror.saturating_duration_since(run.killed)
    });
    let kept = event.max(mirror) <= PROMISED;
    println!(
        "the promised median of {} ms from the signal is {}",
        PROMISED.as_millis(),
        if kept { "kept" } else { "not kept" }
    );
    kept
}

#[expect(clippy::print_stderr, reason = "what is being fetched, beside the figures")]
fn tell(line: &str) {
    eprintln!("{line}");
}
