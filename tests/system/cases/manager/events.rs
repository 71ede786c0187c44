//! What happens to services, and what is said of it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use serde_json::Value;
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::Machine;
use zbus::{MatchRule, MessageStream};
use zbus_systemd::systemd1::ManagerProxy;

use super::mirror::equals_systemctl;
use super::tape::{Tape, stored_events, words_once};
use super::{SOON, becomes, installed, kill, main_pid, systemctl};

const MANAGER_ID: &str = "manager.obs1";
const HELLO: &str = "hello_world.main";
const HELLO_UNIT: &str = "tcs@hello_world.service";
const HELLO_PATH: &str = "/org/freedesktop/systemd1/unit/tcs_40hello_5fworld_2eservice";
/// Restarts of the service that cannot stay up.
const LOOPS: usize = 60;

const SERVICES: &str = "services:
  - {type: hello_world, interval: 1h, restart_sec: 300ms}
  - {type: misfit, variant: limit, mode: exit_after, delay: 20ms, code: 3, restart_sec: 50ms}
  - {type: misfit, variant: mute, mode: exit_after, delay: 20ms, code: 7, restart: 'no'}
  - {type: misfit, variant: ends, mode: finish, delay: 20ms}
  - {type: misfit, variant: refuses, mode: fail_configuration}
  - {type: misfit_job, variant: timed, every: 1h}
  - {type: misfit_job, variant: fails, mode: fail}
  - {type: script, exec: [/bin/sh, -c, 'exit 3'], kind: job}
  - {type: looper, exec: [/bin/sh, -c, 'exit 4'], restart: always, restart_sec: 0s, restart_max: 0}
";

pub(super) fn tests() -> Vec<Case> {
    let site = || SiteConfig::with_services(SERVICES);
    vec![
        Case::own("a_kill_is_four_events_two_statuses_four_records", site, killed),
        Case::own("ends_are_told_as_they_were", site, ends),
        Case::own("jobs_tell_their_runs", site, jobs),
        Case::own("restarts_without_a_pause_are_all_told", site, loops),
    ]
}

/// What a bare second subscriber on D-Bus sees of a unit; each note is when it was received.
fn signals(machine: &Machine) -> Result<Receiver<Instant>> {
    let (tell, seen) = channel();
    let (ready, is_ready) = channel();
    let address = machine.dbus_address();
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
                .path(HELLO_PATH)
                .build()?;
            let mut signals = MessageStream::for_match_rule(rule, &connection, None).await?;
            ready.send(()).ok();
            while let Some(Ok(_)) = signals.next().await {
                if tell.send(Instant::now()).is_err() {
                    break;
                }
            }
            Ok(())
        })
    });
    is_ready.recv_timeout(SOON).context("no D-Bus subscription")?;
    Ok(seen)
}

fn killed(site: &Site) -> Result<()> {
    installed(site)?;
    systemctl(site, &["start", HELLO_UNIT])?;
    equals_systemctl(site, "while it runs")?;
    let pid = main_pid(site, HELLO_UNIT)?;
    let signals = signals(&site.machine)?;
    let mut tape = Tape::start(site)?;
    let begun = Instant::now();
    kill(site, HELLO_UNIT)?;
    tape.until_event(HELLO, "ready", 1)?;
    let signal = signals
        .recv_timeout(SOON)
        .context("no signal at the second subscriber")?;
    equals_systemctl(site, "after the restart")?;
    // Whatever is still to come of the crash comes before the news of this.
    systemctl(site, &["stop", HELLO_UNIT])?;
    tape.until_event(HELLO, "stop", 1)?;
    equals_systemctl(site, "after the stop")?;
    let inactive = |tape: &Tape| {
        let last = tape.records(HELLO).last().copied()?;
        (last["unit"]["active_state"] == "inactive").then_some(())
    };
    tape.until("the record of the stop", inactive)?;

    let words = tape.event_words(HELLO);
    ensure!(
        words == ["crashed", "restarting", "start", "ready", "stopping", "stop"],
        "{words:?}"
    );
    let events = tape.events(HELLO);
    let message_ids: BTreeSet<_> = events.iter().map(|note| &note.message_id).collect();
    ensure!(
        message_ids.len() == events.len() && !message_ids.contains(&None),
        "{message_ids:?}"
    );
    ensure!(
        events
            .iter()
            .all(|note| note.data["parent"] == MANAGER_ID && note.data.get("late").is_none())
    );
    ensure!(signal > begun && events[0].received > begun);
    let crashed = tape.event(HELLO, "crashed")?;
    ensure!(
        crashed["exit_code"] == -9 && crashed["will_restart"] == true,
        "{crashed}"
    );
    ensure!(
        crashed["status"] == "error" && crashed["result"] == "signal",
        "{crashed}"
    );
    ensure!(
        crashed["restart_policy"] == "on-failure" && crashed["max_restarts"] == 5,
        "{crashed}"
    );
    let restarting = tape.event(HELLO, "restarting")?;
    ensure!(
        restarting["restart_attempt"] == 1 && restarting["status"] == "startup",
        "{restarting}"
    );
    let start = tape.event(HELLO, "start")?;
    ensure!(start["hostname"] == "obs1" && start["pid"] != pid, "{start}");
    ensure!(crashed["invocation_id"] != start["invocation_id"]);
    ensure!(start["invocation_id"] == tape.event(HELLO, "ready")?["invocation_id"]);

    let statuses = tape.statuses(HELLO, MANAGER_ID);
    let words: Vec<&str> = statuses.iter().map(|(status, _)| status.as_str()).collect();
    ensure!(words == ["error", "startup"], "{statuses:?}");
    ensure!(
        statuses[0].1 == "killed by SIGKILL; restart 1 of 5 in 300 ms",
        "{statuses:?}"
    );

    // What the service says of itself (STATUS=) comes when it likes, and is no part of the crash.
    let mut records: Vec<Value> = tape.records(HELLO).into_iter().map(without_words).collect();
    records.dedup();
    let states: Vec<String> = records.iter().map(state).collect();
    let of_the_crash: Vec<&str> = states
        .iter()
        .map(String::as_str)
        .take_while(|state| !state.starts_with("deactivating"))
        .collect();
    ensure!(
        of_the_crash.len() <= 4,
        "more than four records of a crash: {records:#?}"
    );
    ensure!(
        of_the_crash.first() == Some(&"activating/auto-restart"),
        "{states:?}"
    );
    ensure!(of_the_crash.last() == Some(&"active/running"), "{states:?}");
    Ok(())
}

fn without_words(record: &Value) -> Value {
    let mut record = record.clone();
    record["updated"] = Value::Null;
    record["unit"]["status_text"] = Value::Null;
    record
}

fn state(record: &Value) -> String {
    let word = |field: &str| record["unit"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", word("active_state"), word("sub_state"))
}

fn ends(site: &Site) -> Result<()> {
    installed(site)?;
    let mut tape = Tape::start(site)?;

    // Ended by itself, in order: its own last word stands.
    systemctl(site, &["start", "tcs@misfit.ends"])?;
    tape.until_event("misfit.ends", "stop", 1)?;
    let stop = tape.event("misfit.ends", "stop")?;
    ensure!(stop["reason"] == "completed" && stop["exit_code"] == 0, "{stop}");
    // Ended on demand, in order.
    systemctl(site, &["start", HELLO_UNIT])?;
    systemctl(site, &["stop", HELLO_UNIT])?;
    tape.until_event(HELLO, "stop", 1)?;
    let words = tape.event_words(HELLO);
    ensure!(words == ["start", "ready", "stopping", "stop"], "{words:?}");
    let stop = tape.event(HELLO, "stop")?;
    ensure!(stop["reason"] == "terminated" && stop["exit_code"] == 0, "{stop}");

    // Ended without a word, and nobody restarts it: `crashed`, `failed` and one status.
    systemctl(site, &["start", "tcs@misfit.mute"])?;
    tape.until_event("misfit.mute", "failed", 1)?;
    let crashed = tape.event("misfit.mute", "crashed")?;
    ensure!(
        crashed["exit_code"] == 7 && crashed["will_restart"] == false,
        "{crashed}"
    );
    ensure!(
        crashed["status"] == "failed" && crashed["restart_policy"] == "no",
        "{crashed}"
    );
    let by_manager =
        |tape: &Tape| Some(tape.statuses("misfit.mute", MANAGER_ID)).filter(|all| !all.is_empty());
    let statuses = tape.until("the manager's last word", by_manager)?;
    ensure!(
        statuses == [("failed".to_owned(), "exit code 7".to_owned())],
        "{statuses:?}"
    );
    // The manager speaks in order: what it had to say on the two before would be here by now.
    for id in ["misfit.ends", HELLO] {
        ensure!(
            tape.statuses(id, MANAGER_ID).is_empty(),
            "a second last word on {id}"
        );
        let own = tape.statuses(id, id);
        ensure!(
            own.last().is_some_and(|(status, _)| status == "shutdown"),
            "{id}: {own:?}"
        );
    }

    // It says itself why it cannot start, and trying again heals nothing.
    let refused = site.machine.run(&["systemctl", "start", "tcs@misfit.refuses"])?;
    ensure!(!refused.status.success());
    tape.until_event("misfit.refuses", "failed", 1)?;
    let words = tape.event_words("misfit.refuses");
    ensure!(words == ["start", "crashed", "failed"], "{words:?}");
    ensure!(tape.event("misfit.refuses", "crashed")?["exit_code"] == 78);

    // Never up for long: five restarts, then systemd gives up.
    systemctl(site, &["start", "tcs@misfit.limit"])?;
    tape.until_event("misfit.limit", "failed", 1)?;
    let words = tape.event_words("misfit.limit");
    let count = |wanted: &str| words.iter().filter(|word| **word == wanted).count();
    let counts = (
        count("start"),
        count("crashed"),
        count("restarting"),
        count("failed"),
    );
    ensure!(counts == (6, 6, 5, 1), "{words:?}");
    let failed = tape.event("misfit.limit", "failed")?;
    ensure!(
        failed["restart_count"] == 5 && failed["will_restart"] == false,
        "{failed}"
    );
    ensure!(
        failed["reason"] == "start-limit-hit" && failed["status"] == "failed",
        "{failed}"
    );
    let given_up = |tape: &Tape| {
        let last = tape.statuses("misfit.limit", MANAGER_ID).pop()?;
        (last.0 == "failed").then_some(last.1)
    };
    let message = tape.until("the status after the limit", given_up)?;
    ensure!(message == "started too often, systemd has given up", "{message}");
    let mirror = equals_systemctl(site, "after all these ends")?;
    ensure!(mirror.of("misfit.limit")?.state() == tcs_wire::State::Failed);
    ensure!(mirror.of("misfit.ends")?.state() == tcs_wire::State::Stopped);
    Ok(())
}

fn jobs(site: &Site) -> Result<()> {
    installed(site)?;
    let mut tape = Tape::start(site)?;
    systemctl(site, &["start", "tcs@misfit_job.timed.timer"])?;
    tape.until_event("misfit_job.timed", "stop", 1)?;
    systemctl(site, &["start", "tcs@misfit_job.timed.service"])?;
    tape.until_event("misfit_job.timed", "stop", 2)?;
    let events = tape.events("misfit_job.timed");
    let words = tape.event_words("misfit_job.timed");
    ensure!(words == ["start", "stop", "start", "stop"], "{words:?}");
    for (index, trigger) in [(1, "timer"), (3, "manual")] {
        let stop = &events[index].data;
        ensure!(stop["reason"] == "completed" && stop["exit_code"] == 0, "{stop}");
        ensure!(
            stop["duration_s"].as_f64().is_some_and(|seconds| seconds > 0.0),
            "{stop}"
        );
        ensure!(
            stop["trigger"] == trigger && events[index - 1].data["trigger"] == trigger,
            "{stop}"
        );
    }

    for (unit, id, exit_code) in [
        ("tcs@misfit_job.fails", "misfit_job.fails", 1),
        ("tcs@script", "script.main", 3),
    ] {
        ensure!(!site.machine.run(&["systemctl", "start", unit])?.status.success());
        tape.until_event(id, "failed", 1)?;
        let words = tape.event_words(id);
        ensure!(words == ["start", "crashed", "failed"], "{words:?}");
        let crashed = tape.event(id, "crashed")?;
        ensure!(
            crashed["exit_code"] == exit_code && crashed["will_restart"] == false,
            "{crashed}"
        );
        ensure!(
            crashed["trigger"] == "manual" && crashed["duration_s"].is_number(),
            "{crashed}"
        );
    }
    // A script cannot speak for itself; the others have.
    let by_manager = |tape: &Tape| tape.statuses("script.main", MANAGER_ID).pop();
    let last = tape.until("the manager's word on the script", by_manager)?;
    ensure!(
        last == ("failed".to_owned(), "exit code 3".to_owned()),
        "{last:?}"
    );
    for (id, status) in [("misfit_job.timed", "shutdown"), ("misfit_job.fails", "failed")] {
        ensure!(
            tape.statuses(id, MANAGER_ID).is_empty(),
            "a second last word on {id}"
        );
        let own = tape.statuses(id, id).pop();
        ensure!(own.as_ref().is_some_and(|(last, _)| last == status), "{own:?}");
    }
    equals_systemctl(site, "after the jobs")?;
    Ok(())
}

fn loops(site: &Site) -> Result<()> {
    const UNIT: &str = "tcs@looper.service";
    installed(site)?;
    let mut tape = Tape::start(site)?;
    systemctl(site, &["start", "--no-block", UNIT])?;
    tape.until_event("looper.main", "restarting", LOOPS)?;
    systemctl(site, &["stop", UNIT])?;
    becomes(site, UNIT, "ActiveState", "inactive")?;
    let mirror = equals_systemctl(site, "after the loop")?;
    ensure!(mirror.of("looper.main")?.state() == tcs_wire::State::Stopped);

    // systemd's own count, in its journal.
    let counter = |line: &str| -> Option<u64> {
        line.split_once("restart counter is at ")?
            .1
            .trim_end_matches('.')
            .parse()
            .ok()
    };
    let journal =
        site.machine
            .run_ok(&["journalctl", "--quiet", "--output=cat", &format!("--unit={UNIT}")])?;
    let counted = journal
        .lines()
        .filter_map(counter)
        .max()
        .context("no restart in the journal")?;
    let events = stored_events(site, "looper.main")?;
    words_once(&events)?;
    let attempts: BTreeSet<u64> = tape
        .events("looper.main")
        .iter()
        .filter_map(|note| note.data["restart_attempt"].as_u64())
        .chain(
            events
                .iter()
                .filter_map(|(event, _)| event["restart_attempt"].as_u64()),
        )
        .collect();
    let missing: Vec<u64> = (1..=counted)
        .filter(|attempt| !attempts.contains(attempt))
        .collect();
    ensure!(
        missing.is_empty() && attempts.last() == Some(&counted),
        "of {counted}: {missing:?} not told"
    );
    Ok(())
}
