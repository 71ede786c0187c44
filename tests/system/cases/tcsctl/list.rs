//! `list` and `status`.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use jiff::civil::DateTime;
use tcs_system_tests::{Case, Site};

use super::{GROUP, ends_with, holds, json, property, row, run};

pub(crate) fn tests() -> Vec<Case> {
    vec![
        Case::group(
            "the_table_and_the_json_say_what_systemd_says",
            &GROUP,
            table_and_json,
        ),
        Case::group("status_says_it_by_its_exit_code", &GROUP, exit_codes_of_status),
        Case::group("times_are_utc_and_local_when_asked", &GROUP, times),
        Case::group("an_unprivileged_user_sees_and_controls", &GROUP, unprivileged),
        Case::group("completions_and_manual_pages_are_written", &GROUP, generated),
    ]
}

fn table_and_json(site: &Site) -> Result<()> {
    let (id, unit) = ("hello_world.listed", "tcs@hello_world.listed.service");
    ends_with(site, 0, "tcsctl start hello_world.listed")?;
    let pid = property(site, unit, "MainPID")?;

    let list = ends_with(site, 0, "tcsctl list")?.stdout;
    let mut lines = list.lines();
    let heads: Vec<&str> = lines
        .next()
        .context("no head")?
        .split("  ")
        .map(str::trim)
        .collect();
    let heads: Vec<&str> = heads.into_iter().filter(|head| !head.is_empty()).collect();
    let expected = [
        "SERVICE",
        "STATE",
        "HEALTH",
        "SINCE (UTC)",
        "HOST",
        "PID",
        "RESTARTS",
        "NEXT",
        "MESSAGE",
    ];
    ensure!(heads == expected, "{list}");
    let line = lines.find(|line| line.starts_with(id)).context("no row")?;
    let cells: Vec<&str> = line.split_whitespace().collect();
    ensure!(
        cells[1] == "running" && cells[4] == "obs1" && cells[5] == pid && cells[6] == "0",
        "{line}"
    );
    ensure!(
        list.lines()
            .last()
            .is_some_and(|line| line.contains(" services: ")),
        "{list}"
    );

    let names = |text: &str| -> Vec<String> {
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        text.lines()
            .skip(1)
            .filter(|line| !line.contains(" services: "))
            .filter_map(first)
            .collect()
    };
    let bare = ends_with(site, 0, "tcsctl")?.stdout;
    ensure!(
        names(&bare) == names(&list) && names(&bare).len() > 5,
        "bare:\n{bare}list:\n{list}"
    );

    let listed = json(site, "tcsctl list --json")?;
    ensure!(
        listed["source"] == "nats" && listed["managers"][0]["state"] == "alive",
        "{listed}"
    );
    let service = row(&listed, id)?;
    ensure!(
        service["state"] == "running" && service["pid"] == pid.parse::<u64>()?,
        "{service}"
    );
    ensure!(
        service["health"].is_string() && service["parent"] == "manager.obs1",
        "{service}"
    );
    ensure!(
        service["since"]
            .as_str()
            .context("no since")?
            .parse::<Timestamp>()
            .is_ok(),
        "{service}"
    );
    ensure!(row(&listed, "report.broken")?["kind"] == "job", "{listed}");

    let picked = json(site, "tcsctl list --json *.listed")?;
    ensure!(
        picked["services"].as_array().is_some_and(|all| all.len() == 1),
        "{picked}"
    );
    let nothing = ends_with(site, 4, "tcsctl list hello_wrld")?;
    holds(
        &nothing.stderr,
        &["no service matches `hello_wrld`", "did you mean `hello_world"],
    )
}

fn exit_codes_of_status(site: &Site) -> Result<()> {
    ends_with(site, 0, "tcsctl start tcs@hello_world")?;
    let page = ends_with(site, 0, "tcsctl status hello_world")?.stdout;
    let pid = property(site, "tcs@hello_world.service", "MainPID")?;
    let invocation = property(site, "tcs@hello_world.service", "InvocationID")?;
    let process = format!("Main PID: {pid}");
    holds(
        &page,
        &[
            "● hello_world.main on obs1: running",
            &process,
            &invocation,
            "active (running)",
            "journalctl -u",
        ],
    )?;
    ends_with(site, 0, "tcsctl status tcs@hello_world.service")?;
    ends_with(site, 3, "tcsctl status report.broken")?;
    let unknown = ends_with(site, 4, "tcsctl status hello_wrld")?;
    holds(
        &unknown.stderr,
        &["`hello_wrld.main`", "did you mean `hello_world"],
    )?;
    ends_with(site, 4, "tcsctl status hello_world --host obs7")?;
    ends_with(site, 2, "tcsctl status Hello")?;
    ends_with(site, 2, "tcsctl stauts hello_world")?;
    Ok(())
}

fn times(site: &Site) -> Result<()> {
    ends_with(site, 0, "tcsctl start hello_world.timed")?;
    let first = |text: &str, zone: &str| -> Result<DateTime> {
        let active = text
            .lines()
            .find(|line| line.contains("Active: "))
            .context("no line `Active`")?;
        let time = active.split(" since ").nth(1).context("no time")?;
        let (time, _) = time
            .split_once(&format!(" {zone};"))
            .with_context(|| format!("no zone {zone}: {active}"))?;
        Ok(time.parse()?)
    };
    let utc = first(&run(site, "tcsctl status hello_world.timed")?.stdout, "UTC")?;
    let local = run(site, "env TZ=Asia/Tokyo tcsctl --local status hello_world.timed")?.stdout;
    ensure!(
        first(&local, "JST")? == utc + jiff::Span::new().hours(9),
        "UTC {utc}, {local}"
    );
    // The zone of the environment alone changes nothing.
    let unasked = run(site, "env TZ=Asia/Tokyo tcsctl status hello_world.timed")?.stdout;
    ensure!(first(&unasked, "UTC")? == utc, "{unasked}");
    let head = run(site, "env TZ=Asia/Tokyo tcsctl --local list")?.stdout;
    holds(&head, &["SINCE (JST)"])?;

    let listed = json(
        site,
        "env TZ=Asia/Tokyo tcsctl --local --json list hello_world.timed",
    )?;
    let since: Timestamp = row(&listed, "hello_world.timed")?["since"]
        .as_str()
        .context("no time")?
        .parse()?;
    ensure!(
        since
            .to_zoned(jiff::tz::TimeZone::UTC)
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string()
            == utc.strftime("%Y-%m-%d %H:%M:%S").to_string()
    );
    Ok(())
}

fn unprivileged(site: &Site) -> Result<()> {
    let unit = "tcs@hello_world.guest.service";
    let as_nobody = |arguments: &[&str]| site.machine.run_as("nobody", &[&["tcsctl"], arguments].concat());
    let started = as_nobody(&["start", "hello_world.guest"])?;
    ensure!(started.code() == 0, "{}", started.both());
    ensure!(property(site, unit, "ActiveState")? == "active");
    let listed = as_nobody(&["list", "hello_world.guest"])?;
    ensure!(
        listed.code() == 0 && listed.stderr.is_empty(),
        "{}",
        listed.both()
    );
    holds(&listed.stdout, &["hello_world.guest  running"])?;
    let stopped = as_nobody(&["stop", "hello_world.guest"])?;
    ensure!(stopped.code() == 0, "{}", stopped.both());
    ensure!(property(site, unit, "ActiveState")? == "inactive");
    Ok(())
}

fn generated(site: &Site) -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        holds(
            &ends_with(site, 0, &format!("tcsctl completions {shell}"))?.stdout,
            &["tcsctl", "no-block"],
        )?;
    }
    ends_with(site, 0, "tcsctl man /tmp/man")?;
    let pages = run(site, "ls /tmp/man")?.stdout;
    holds(&pages, &["tcsctl.1", "tcsctl-list.1", "tcsctl-streams-create.1"])?;
    holds(
        &run(site, "cat /tmp/man/tcsctl-start.1")?.stdout,
        &[".TH", "no\\-block"],
    )
}
