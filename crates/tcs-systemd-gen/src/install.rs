//! `install` and `uninstall`.

use std::path::Path;

use tcs_config::Enabled;
use tcs_wire::{Exit, Kind, UnitName};

use crate::failure::Failure;
use crate::output::Printer;
use crate::plan::{Change, Plan};
use crate::prepare::Prepared;
use crate::render::STATICS;
use crate::root::Root;
use crate::system;

/// How `install` and `uninstall` go about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Only says what would be done.
    pub dry_run: bool,
    /// Replaces what somebody else wrote or changed, keeping a copy.
    pub force: bool,
    /// Starts, or stops, as well.
    pub now: bool,
}

/// The programs that the units of the suite execute.
const PROGRAMS: [&str; 2] = ["/usr/bin/tcs-systemd-gen", "/usr/lib/tcs/tcs-manager"];

/// Puts the units of a configuration into a tree.
///
/// # Errors
/// Whatever is wrong with the configuration, before anything is changed; a step that failed.
pub fn install(
    root: &Root,
    explicit: Option<&Path>,
    manner: Manner,
    printer: Printer,
) -> Result<Exit, Failure> {
    check_rights(root, manner, "install")?;
    let prepared = Prepared::new(root, explicit)?;
    printer.diagnostics(&prepared.warnings);
    let mut plan = Plan::install(root, &prepared.rendered)?;
    let copies = prepared.copies(root, manner.force)?;
    for program in PROGRAMS
        .iter()
        .filter(|program| !root.below(Path::new(program)).exists())
    {
        printer.note(format!("warning: `{program}` is not there, but units execute it"));
    }
    let force_copies = manner.force
        && copies
            .iter()
            .any(|copy| matches!(copy, Change::Write { before: Some(_), .. }));
    plan.changes.splice(0..0, copies);
    let done = carry_out(root, &plan, manner, printer, force_copies)?;
    if manner.dry_run {
        return Ok(Exit::Done);
    }
    let followed = root.is_live() && after_install(&prepared, &plan, manner, printer)?;
    if done == 0 && !followed {
        let count = prepared.site.services.len();
        let services = if count == 1 { "service" } else { "services" };
        printer.line(format!("nothing changed: {count} {services} as declared"));
    }
    Ok(if plan.kept.is_empty() || manner.force {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Takes everything out of a tree that `install` ever put there. What runs goes on running unless `now`.
///
/// # Errors
/// A step that failed.
pub fn uninstall(root: &Root, manner: Manner, printer: Printer) -> Result<Exit, Failure> {
    check_rights(root, manner, "uninstall")?;
    let plan = Plan::uninstall(root)?;
    let live = root.is_live() && system::is_booted() && !manner.dry_run;
    if live && manner.now {
        stop_all()?;
        printer.line("stopped  tcs.target and everything below it");
    }
    let done = carry_out(root, &plan, manner, printer, false)?;
    if manner.dry_run {
        return Ok(Exit::Done);
    }
    if live && done > 0 {
        system::run("systemctl", &["daemon-reload"])?;
        if !manner.now {
            tell_what_runs(printer)?;
        }
    }
    if done == 0 {
        printer.line("nothing changed: nothing is installed");
    } else {
        printer.line(
            "kept     /etc/tcs, the users tcs and tcs-manager, and their data in /var/lib and /var/cache",
        );
    }
    Ok(if plan.kept.is_empty() || manner.force {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Stops what there is, timers first. Patterns match what is loaded and do not fail when nothing is.
fn stop_all() -> Result<(), Failure> {
    const ALL: [&str; 5] = [
        "tcs@*.timer",
        "tcs@*.service",
        "tcs[.]target",
        "tcs-manager[.]service",
        "tcs[.]slice",
    ];
    let with = |verb| [&[verb], &ALL[..]].concat();
    system::run("systemctl", &with("stop"))?;
    system::run("systemctl", &with("reset-failed"))?;
    Ok(())
}

fn check_rights(root: &Root, manner: Manner, verb: &'static str) -> Result<(), Failure> {
    if manner.dry_run || !root.is_live() || system::is_root() {
        return Ok(());
    }
    Err(Failure::NotPermitted { verb })
}

/// Carries a plan out and returns how many steps were taken.
fn carry_out(
    root: &Root,
    plan: &Plan,
    manner: Manner,
    printer: Printer,
    back_up: bool,
) -> Result<usize, Failure> {
    for change in &plan.changes {
        printer.line(describe(change));
        if manner.dry_run {
            continue;
        }
        if back_up && !change.concerns_systemd() && matches!(change, Change::Write { before: Some(_), .. }) {
            let copy = root.back_up(change.path())?;
            printer.line(format!("copy     {}", copy.display()));
        }
        change.apply(root)?;
    }
    let mut done = plan.changes.len();
    for kept in &plan.kept {
        let path = kept.path.display();
        if !manner.force {
            printer.line(format!(
                "left     {path}: {} (--force replaces it and keeps a copy)",
                kept.why
            ));
            continue;
        }
        done += 1;
        printer.line(format!("{} ({})", describe(&kept.change), kept.why));
        if !manner.dry_run {
            let copy = root.back_up(&kept.path)?;
            printer.line(format!("copy     {}", copy.display()));
            kept.change.apply(root)?;
        }
    }
    Ok(done)
}

fn describe(change: &Change) -> String {
    let (verb, path) = match change {
        Change::Write {
            path, before: None, ..
        } => ("add     ", path),
        Change::Write { path, .. } => ("change  ", path),
        Change::Remove { path, .. } => ("remove  ", path),
        Change::Enable { path, .. } => ("enable  ", path),
        Change::Disable { path } => ("disable ", path),
    };
    format!("{verb} {}", path.display())
}

/// Makes the running system follow: users, one reload, the start if it was asked for. Returns whether it was behind.
fn after_install(
    prepared: &Prepared,
    plan: &Plan,
    manner: Manner,
    printer: Printer,
) -> Result<bool, Failure> {
    // What was written is to be read by systemd also when the users cannot be made.
    let users = make_users(plan, printer);
    if !system::is_booted() {
        let made = users?;
        printer.note("systemd does not run here: it reads the units when it boots");
        return Ok(made);
    }
    let forced = plan.kept.iter().filter(|_| manner.force).map(|kept| &kept.change);
    let changed = plan.changes.iter().chain(forced).any(Change::concerns_systemd);
    // An earlier run may have been broken off between writing and the reload.
    let reload = changed || system::needs_reload()?;
    if reload {
        system::run("systemctl", &["daemon-reload"])?;
        printer.line("reload   systemd has read its units");
    }
    let followed = users? || reload;
    let units = enabled_units(prepared);
    if manner.now {
        let arguments: Vec<&str> = ["start", "--"]
            .into_iter()
            .chain(units.iter().map(String::as_str))
            .collect();
        system::run("systemctl", &arguments)?;
        printer.line(format!("started  {}", units.join(" ")));
    } else if !plan.changes.is_empty() {
        printer.line("start what is enabled with `systemctl start tcs.target`, one service with `systemctl start tcs@NAME`");
    }
    Ok(followed)
}

/// Makes the users when they are not there or declared anew, and returns whether that was so.
fn make_users(plan: &Plan, printer: Printer) -> Result<bool, Failure> {
    let users = STATICS.iter().find(|file| file.installed.contains("sysusers"));
    if let Some(users) = users
        && (!has_users()
            || plan
                .changes
                .iter()
                .any(|change| change.path() == Path::new(users.installed)))
    {
        let file = [users.installed, users.packaged]
            .into_iter()
            .find(|file| Path::new(file).exists());
        if let Some(file) = file {
            system::run("systemd-sysusers", &[file])?;
            printer.line("users    tcs and tcs-manager");
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns what starts with the machine, as declared and not disabled by the administrator.
fn enabled_units(prepared: &Prepared) -> Vec<String> {
    let mut units = vec!["tcs.target".to_owned(), "tcs-manager.service".to_owned()];
    for entry in prepared
        .site
        .services
        .iter()
        .filter(|entry| entry.enabled == Enabled::True)
    {
        let unit = match (entry.kind, &entry.timer) {
            (Kind::Permanent, _) => UnitName::service(&entry.id),
            (Kind::Job, Some(_)) => UnitName::timer(&entry.id),
            (Kind::Job, None) => continue,
        };
        let link = Path::new(crate::UNIT_FOLDER)
            .join("tcs.target.wants")
            .join(unit.to_string());
        if link.symlink_metadata().is_ok() {
            units.push(unit.to_string());
        }
    }
    units
}

fn has_users() -> bool {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["tcs:", "tcs-manager:"]
        .iter()
        .all(|user| passwd.lines().any(|line| line.starts_with(user)))
}

fn tell_what_runs(printer: Printer) -> Result<(), Failure> {
    let list = system::run(
        "systemctl",
        &[
            "list-units",
            "--plain",
            "--no-legend",
            "--state=active",
            "tcs@*",
            "tcs-manager.service",
        ],
    )?;
    let units: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if !units.is_empty() {
        printer.line(format!(
            "running  {} (`systemctl stop` ends them)",
            units.join(" ")
        ));
    }
    Ok(())
}
