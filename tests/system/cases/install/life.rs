//! Install, start, install again, uninstall.

use anyhow::{Context, Result, ensure};
use tcs_system_tests::{Case, Site};
use tcs_wire::EventKind;

use super::{UNITS, difference, fresh, listing};
use crate::observe::{Told, Unit, start};

pub(super) fn tests() -> Vec<Case> {
    vec![Case::own("comes_goes_and_leaves_no_trace", fresh, comes_and_goes)]
}

const EVERYTHING: &str = "/etc /usr/lib/systemd /usr/lib/sysusers.d /usr/share/polkit-1 /var/lib/systemd /var/lib/tcs \
                          /var/lib/tcs-manager /var/cache/tcs";

fn comes_and_goes(site: &Site) -> Result<()> {
    let before = names(site)?;
    let said = site.install()?;
    ensure!(
        said.contains("add      /etc/systemd/system/tcs@.service\n"),
        "{said}"
    );
    ensure!(
        reloads(site)? == 1,
        "one daemon-reload is needed, and one is enough"
    );
    ensure!(
        start(site, "tcs@hello_world")? == 0,
        "`systemctl start tcs@hello_world` fails"
    );
    Unit::read(site, "tcs@hello_world.service")?
        .has(&[("ActiveState", "active"), ("SubState", "running")])?;
    // It was there before the manager that it brought, and its story is told all the same.
    let story = [EventKind::Start, EventKind::Ready];
    Told::until(site, "hello_world.main", |told| told.happened(&story))?;
    ensure!(
        start(site, "tcs.target")? == 0,
        "`systemctl start tcs.target` fails"
    );

    installs_again(site)?;

    // Its timer leaves a stamp and its run a state directory.
    ensure!(
        start(site, "tcs@weather_importer")? == 0,
        "an empty folder is no failure"
    );
    let stamp = "/var/lib/systemd/timers/stamp-tcs@weather_importer.timer";
    site.machine.run_ok(&["test", "-e", stamp])?;
    site.machine.run_ok(&["tcs-systemd-gen", "uninstall", "--now"])?;
    let gone = site.machine.run(&["test", "-e", stamp])?;
    ensure!(gone.code() == 1, "the timer's stamp is still there");
    let left: Vec<String> = difference(&before, &names(site)?)
        .into_iter()
        .filter(|line| !kept_on_purpose(line))
        .collect();
    ensure!(left.is_empty(), "left behind: {left:#?}");
    let units = site
        .machine
        .run_ok(&["systemctl", "list-units", "--all", "--no-legend", "tcs*"])?;
    let units: Vec<_> = units
        .lines()
        .filter(|line| !line.contains("tcs-test.target"))
        .collect();
    ensure!(units.is_empty(), "systemd still knows {units:?}");
    let again = site.machine.run_ok(&["tcs-systemd-gen", "uninstall"])?;
    ensure!(again == "nothing changed: nothing is installed\n", "{again}");
    Ok(())
}

fn installs_again(site: &Site) -> Result<()> {
    let before = listing(site, UNITS)?;
    let pid = Unit::read(site, "tcs@hello_world.service")?
        .get("MainPID")?
        .to_owned();
    let reloads_before = reloads(site)?;
    let said = site.install()?;
    ensure!(said == "nothing changed: 5 services as declared\n", "{said}");
    let changed = difference(&before, &listing(site, UNITS)?);
    ensure!(changed.is_empty(), "{changed:#?}");
    ensure!(
        reloads(site)? == reloads_before,
        "systemd was made to reload for nothing"
    );
    Unit::read(site, "tcs@hello_world.service")?.has(&[("ActiveState", "active"), ("MainPID", &pid)])?;
    let diff = site.machine.run(&["tcs-systemd-gen", "diff"])?;
    ensure!(diff.code() == 0 && diff.stdout.is_empty(), "{}", diff.both());
    Ok(())
}

/// Every path with its kind, without times: an uninstall may touch a folder.
fn names(site: &Site) -> Result<Vec<String>> {
    let script = format!("find {EVERYTHING} -printf '%p %y %m %u:%g %l\\n' 2>/dev/null | sort");
    let text = site.machine.run(&["sh", "-c", &script])?.stdout;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The users and their data stay (and `uninstall` says so): the account files, and what belongs to tcs.
fn kept_on_purpose(line: &str) -> bool {
    let path = line
        .get(2..)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default();
    let account_file = ["passwd", "group", "shadow", "gshadow"].iter().any(|name| {
        path.strip_prefix("/etc/")
            .is_some_and(|file| file.trim_end_matches('-') == *name)
    });
    let data = ["/var/lib/tcs", "/var/lib/tcs-manager", "/var/cache/tcs"];
    let data = data
        .iter()
        .any(|folder| path == *folder || path.starts_with(&format!("{folder}/")));
    account_file || data || path == "/etc/.pwd.lock"
}

/// How often systemd has read its units again, by its own log.
fn reloads(site: &Site) -> Result<usize> {
    site.machine.run_ok(&["journalctl", "--sync"])?;
    let lines = site
        .machine
        .run_ok(&["journalctl", "--output=cat", "_PID=1"])
        .context("the journal")?;
    Ok(lines
        .lines()
        .filter(|line| *line == "Reloading." || line.starts_with("Reloading requested"))
        .count())
}
