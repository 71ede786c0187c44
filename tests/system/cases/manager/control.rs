//! Start, stop and restart over NATS.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::eventually_blocking;

use super::mirror::equals_systemctl;
use super::{MANAGER, SOON, ask, becomes, installed, main_pid, property, systemctl};

const SERVICES: &str = "services:
  - {type: hello_world, interval: 1h}
  - {type: misfit, variant: a}
  - {type: misfit, variant: b}
  - {type: misfit, variant: slow, mode: slow_start, delay: 2s}
  - {type: misfit, variant: broken, mode: fail_start, restart: 'no'}
  - {type: misfit, variant: limit, mode: exit_after, delay: 20ms, restart_sec: 10ms, restart_max: 1}
  - {type: misfit_job, variant: well}
  - {type: misfit_job, variant: fails, mode: fail}
";

pub(super) fn tests() -> Vec<Case> {
    let site = || SiteConfig::with_services(SERVICES);
    vec![
        Case::own("commands_are_answered_with_their_outcome", site, outcomes),
        Case::own("commands_that_nobody_may_give_are_refused", site, refusals),
        Case::own("commands_come_at_the_same_time", site, at_once),
    ]
}

/// Gives a command to the manager.
fn command(site: &Site, word: &str, id: &str, arguments: &str) -> Result<Value> {
    ask(site, &format!("svc.rpc.manager.obs1.v1.{word}.{id}"), arguments)
}

fn done(site: &Site, word: &str, id: &str, arguments: &str) -> Result<Value> {
    let mut reply = command(site, word, id, arguments)?;
    ensure!(
        reply["status"] == "ok" && reply["result"]["service_id"] == id,
        "{word} {id}: {reply}"
    );
    Ok(reply["result"].take())
}

/// Gives a command that must fail in this way; gives the words of the answer.
fn refused(site: &Site, word: &str, id: &str, arguments: &str, kind: &str) -> Result<String> {
    let reply = command(site, word, id, arguments)?;
    ensure!(
        reply["status"] == "error" && reply["error"] == kind,
        "{word} {id}: {reply}"
    );
    let message = reply["message"].as_str().context("no message")?;
    Ok(message.to_owned())
}

fn outcomes(site: &Site) -> Result<()> {
    installed(site)?;
    let hello = "tcs@hello_world";
    let reply = done(site, "start", "hello_world.main", "")?;
    ensure!(reply["job"] == "done" && reply["state"] == "running", "{reply}");
    ensure!(reply["unit"] == "tcs@hello_world.service", "{reply}");
    let pid = main_pid(site, hello)?;
    // Started already: nothing happens, and that is no failure.
    done(site, "start", "hello_world.main", "{}")?;
    ensure!(main_pid(site, hello)? == pid);
    done(site, "restart", "hello_world.main", "")?;
    ensure!(main_pid(site, hello)? != pid);
    // To the service itself, the same.
    let reply = ask(site, "svc.rpc.hello_world.main.v1.stop", "")?;
    ensure!(
        reply["result"]["state"] == "stopped" && reply["status"] == "ok",
        "{reply}"
    );
    ensure!(property(site, hello, "ActiveState")? == "inactive");

    let reply = done(site, "start", "misfit_job.well", "")?;
    ensure!(reply["state"] == "finished", "{reply}");
    let message = refused(site, "start", "misfit_job.fails", "", "job_failed")?;
    ensure!(message.contains("exit code 1"), "{message}");
    let message = refused(site, "start", "misfit.broken", "", "job_failed")?;
    ensure!(
        message.contains("did not start") && message.contains("journalctl -u"),
        "{message}"
    );
    ensure!(property(site, "tcs@misfit.broken", "ActiveState")? == "failed");

    // Once it has given up, a person who starts it begins its count anew.
    done(site, "start", "misfit.limit", "").ok();
    becomes(site, "tcs@misfit.limit", "ActiveState", "failed")?;
    let again = command(site, "start", "misfit.limit", "")?;
    ensure!(
        !again.to_string().contains("started too often"),
        "the failures were not forgotten: {again}"
    );
    becomes(site, "tcs@misfit.limit", "ActiveState", "failed")?;

    // A start that takes its time: the answer at once, or after a deadline, or when it is done.
    let reply = done(site, "start", "misfit.slow", r#"{"no_block": true}"#)?;
    ensure!(reply["job"] == "queued", "{reply}");
    ensure!(property(site, "tcs@misfit.slow", "ActiveState")? == "activating");
    let message = refused(site, "start", "misfit.slow", r#"{"timeout_s": 0.2}"#, "timeout")?;
    ensure!(message.contains("the job"), "{message}");
    let reply = done(site, "start", "misfit.slow", "")?;
    ensure!(reply["state"] == "running", "{reply}");

    // One command id, one deed.
    let first = done(site, "restart", "misfit.a", r#"{"command_id": "7f3"}"#)?;
    let pid = main_pid(site, "tcs@misfit.a")?;
    ensure!(done(site, "restart", "misfit.a", r#"{"command_id": "7f3"}"#)? == first);
    ensure!(
        main_pid(site, "tcs@misfit.a")? == pid,
        "a repeated command was carried out again"
    );
    done(site, "restart", "misfit.a", r#"{"command_id": "7f4"}"#)?;
    ensure!(main_pid(site, "tcs@misfit.a")? != pid);

    let list = ask(site, "svc.rpc.manager.obs1.v1.list", "")?;
    let services = list["result"]["services"].as_array().context("no services")?;
    ensure!(
        services.len() == 8 && list["result"]["manager"] == "manager.obs1",
        "{list}"
    );
    let status = ask(site, "svc.rpc.misfit.a.v1.status", "")?;
    ensure!(
        status["result"]["unit"]["main_pid"] == main_pid(site, "tcs@misfit.a")?,
        "{status}"
    );
    equals_systemctl(site, "after the commands")?;
    Ok(())
}

fn refusals(site: &Site) -> Result<()> {
    installed(site)?;
    let message = refused(site, "start", "misfit.c", "", "unknown_service")?;
    ensure!(message.contains("misfit.c"), "{message}");
    for other in ["dbus.service", "dbus", "systemd-journald.socket"] {
        let reply = command(site, "stop", other, "")?;
        let kind = reply["error"].as_str().unwrap_or_default();
        ensure!(
            matches!(kind, "unknown_service" | "bad_request"),
            "{other}: {reply}"
        );
    }
    refused(site, "start", "misfit.a", r#"{"timeout_s": -1}"#, "bad_request")?;
    refused(site, "start", "misfit.a", r#"{"no_blok": true}"#, "bad_request")?;
    refused(site, "start", "misfit.a", "[1]", "bad_request")?;

    let hold = "/var/lib/tcs-manager/holds/misfit.a";
    site.machine.write_file(hold, "")?;
    let message = refused(site, "start", "misfit.a", "", "condition_failed")?;
    ensure!(message.contains(hold), "{message}");
    ensure!(property(site, "tcs@misfit.a", "ActiveState")? == "inactive");
    site.machine.run_ok(&["rm", hold])?;
    done(site, "start", "misfit.a", "")?;
    systemctl(site, &["mask", "--runtime", "tcs@misfit.b"])?;
    refused(site, "start", "misfit.b", "", "condition_failed")?;
    systemctl(site, &["unmask", "--runtime", "tcs@misfit.b"])?;

    // What polkit lets the manager do, and nothing else.
    let as_manager = |words: &[&str]| -> Result<bool> {
        let all = [["systemctl", "--no-ask-password"].as_slice(), words].concat();
        Ok(site.machine.run_as("tcs-manager", &all)?.status.success())
    };
    ensure!(as_manager(&["restart", "tcs@misfit.a"])?);
    for words in [
        ["stop", "dbus.socket"].as_slice(),
        &["set-property", "tcs@misfit.a", "CPUWeight=7"],
        &["mask", "tcs@misfit.a"],
        &["daemon-reload"],
        &["start", "tcs.target"],
        &["stop", MANAGER],
    ] {
        ensure!(!as_manager(words)?, "the manager's user may {words:?}");
    }

    let found = "find /etc/polkit-1/rules.d /usr/share/polkit-1/rules.d -name '50-tcs.rules'";
    let rule = site.machine.run_ok(&["sh", "-c", found])?;
    let rule = rule.lines().next().context("no polkit rule is installed")?;
    site.machine.run_ok(&["mv", rule, "/root/50-tcs.rules"])?;
    let message = eventually_blocking("polkit has noticed", SOON, || {
        refused(site, "stop", "misfit.a", "", "not_permitted").map_err(|error| {
            // It may have been stopped before polkit noticed.
            drop(systemctl(site, &["start", "tcs@misfit.a"]));
            format!("{error:#}")
        })
    })?;
    ensure!(message.contains("polkit"), "{message}");
    ensure!(property(site, "tcs@misfit.a", "ActiveState")? == "active");
    site.machine.run_ok(&["mv", "/root/50-tcs.rules", rule])?;
    eventually_blocking("polkit has noticed", SOON, || {
        done(site, "stop", "misfit.a", "").map_err(|error| format!("{error:#}"))
    })?;
    equals_systemctl(site, "after the refusals")?;
    Ok(())
}

fn at_once(site: &Site) -> Result<()> {
    installed(site)?;
    let ids = ["hello_world.main", "misfit.a", "misfit.b"];
    let verbs = ["start", "restart", "stop", "restart"];
    let commands = ids
        .iter()
        .flat_map(|id| verbs.iter().map(move |verb| (*verb, *id)));
    let replies: Vec<Result<Value>> = std::thread::scope(|scope| {
        let threads: Vec<_> = commands
            .map(|(verb, id)| scope.spawn(move || command(site, verb, id, "")))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("the thread panicked")))
            .collect()
    });
    for reply in replies {
        let reply = reply?;
        // Jobs of one unit take each other's place: a caller is told, and one of them wins.
        let fine =
            reply["status"] == "ok" || matches!(reply["error"].as_str(), Some("canceled" | "job_failed"));
        ensure!(fine, "{reply}");
    }
    equals_systemctl(site, "after commands at the same time")?;
    for id in ids {
        ensure!(done(site, "start", id, "")?["state"] == "running");
    }
    equals_systemctl(site, "in the end")?;
    Ok(())
}
