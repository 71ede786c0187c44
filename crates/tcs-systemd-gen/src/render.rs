//! From a site to files: a pure function, the same on every host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tcs_config::{Enabled, Program, Restart, ServiceEntry, Site, When, format_duration};
use tcs_wire::{Kind, RestartPolicy, UnitName};

use crate::mark::{Comment, seal};
use crate::unit_file::UnitFile;

/// Where units of the administrator lie.
pub const UNIT_FOLDER: &str = "/etc/systemd/system";
/// The name of every drop-in that is written; others beside it are the administrator's.
pub const DROP_IN: &str = "10-tcs.conf";
/// How long a job may run when its entry does not say (design decision 14).
const MAX_RUNTIME: Duration = Duration::from_secs(3600);

/// A file that is the same on every host.
pub(crate) struct Static {
    /// Its place when a package brings it.
    pub(crate) packaged: &'static str,
    /// Its place when `install` writes it.
    pub(crate) installed: &'static str,
    comment: Comment,
    text: &'static str,
}

macro_rules! unit {
    ($name:literal) => {
        Static {
            packaged: concat!("/usr/lib/systemd/system/", $name),
            installed: concat!("/etc/systemd/system/", $name),
            comment: Comment::Hash,
            text: include_str!(concat!("../../../systemd/", $name)),
        }
    };
}

/// The templates, the units of the suite itself, its users and its rights.
pub(crate) const STATICS: [Static; 7] = [
    unit!("tcs@.service"),
    unit!("tcs@.timer"),
    unit!("tcs.target"),
    unit!("tcs.slice"),
    unit!("tcs-manager.service"),
    Static {
        packaged: "/usr/share/polkit-1/rules.d/50-tcs.rules",
        installed: "/etc/polkit-1/rules.d/50-tcs.rules",
        comment: Comment::Slashes,
        text: include_str!("../../../systemd/50-tcs.rules"),
    },
    Static {
        packaged: "/usr/lib/sysusers.d/tcs.conf",
        installed: "/etc/sysusers.d/tcs.conf",
        comment: Comment::Hash,
        text: include_str!("../../../systemd/tcs.conf"),
    },
];

/// Everything that should be there.
#[derive(Debug, Default)]
pub struct Rendered {
    /// Files by their path below the root.
    pub files: BTreeMap<PathBuf, String>,
    /// What starts with the machine.
    pub(crate) links: Vec<Link>,
}

/// A unit that can start with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The symlink below the root.
    pub(crate) path: PathBuf,
    /// The unit file or template that it points to.
    pub(crate) target: PathBuf,
    /// The file of ours that tells whether the unit was there before.
    pub(crate) witness: PathBuf,
    /// What is declared.
    pub(crate) enabled: Enabled,
}

/// Renders a site. `source` turns a place in a file into what the heads of units say; `packaged` tells which static
/// files a package has brought already.
pub fn render(
    site: &Site,
    source: &dyn Fn(&ServiceEntry) -> String,
    packaged: &dyn Fn(&Path) -> bool,
) -> Rendered {
    let mut rendered = Rendered::default();
    let place = |file: &Static| {
        if packaged(Path::new(file.packaged)) {
            file.packaged
        } else {
            file.installed
        }
    };
    for file in STATICS.iter().filter(|file| !packaged(Path::new(file.packaged))) {
        let advice = "An edited copy is left alone and told; for units, a file in NAME.d/ beside it is the better way.";
        let text = seal(file.comment, "its own template", advice, None, file.text);
        rendered.files.insert(file.installed.into(), text);
    }
    let wanted = [
        ("multi-user.target", "tcs.target"),
        ("tcs.target", "tcs-manager.service"),
    ];
    for (by, unit) in wanted {
        let file = STATICS.iter().find(|file| file.installed.ends_with(unit));
        // What a package brings, the package enables.
        if let Some(file) = file.filter(|file| !packaged(Path::new(file.packaged))) {
            rendered.links.push(Link {
                path: Path::new(UNIT_FOLDER).join(format!("{by}.wants")).join(unit),
                target: file.installed.into(),
                witness: file.installed.into(),
                enabled: Enabled::True,
            });
        }
    }
    let (service_template, timer_template) = (place(&STATICS[0]), place(&STATICS[1]));
    for entry in &site.services {
        let source = source(entry);
        let service = UnitName::service(&entry.id);
        rendered.drop_in(&service, &source, entry.enabled, &service_drop_in(site, entry));
        if entry.kind == Kind::Permanent {
            rendered.link(&service, service_template, entry.enabled);
        }
        if let Some(drop_in) = timer_drop_in(entry) {
            let timer = UnitName::timer(&entry.id);
            rendered.drop_in(&timer, &source, entry.enabled, &drop_in);
            rendered.link(&timer, timer_template, entry.enabled);
        }
    }
    rendered
}

impl Rendered {
    fn drop_in(&mut self, unit: &UnitName, source: &str, enabled: Enabled, body: &UnitFile) {
        let advice =
            "Your own lines go into another file beside this one; an edited copy is left alone and told.";
        let text = seal(
            Comment::Hash,
            source,
            advice,
            Some(enabled_word(enabled)),
            &format!("\n{body}"),
        );
        self.files.insert(drop_in_path(unit), text);
    }

    fn link(&mut self, unit: &UnitName, template: &str, enabled: Enabled) {
        self.links.push(Link {
            path: Path::new(UNIT_FOLDER)
                .join("tcs.target.wants")
                .join(unit.to_string()),
            target: template.into(),
            witness: drop_in_path(unit),
            enabled,
        });
    }
}

pub(crate) fn drop_in_path(unit: &UnitName) -> PathBuf {
    Path::new(UNIT_FOLDER).join(format!("{unit}.d")).join(DROP_IN)
}

pub(crate) fn enabled_word(enabled: Enabled) -> &'static str {
    match enabled {
        Enabled::True => "true",
        Enabled::False => "false",
        Enabled::Manual => "manual",
    }
}

/// Writes what an instance has beyond the template.
fn service_drop_in(site: &Site, entry: &ServiceEntry) -> UnitFile {
    let mut unit = UnitFile::default();
    match entry.kind {
        Kind::Permanent => permanent(&mut unit, entry),
        Kind::Job => job(&mut unit, entry),
    }
    unit.reset("Service", "ExecStart");
    match &entry.program {
        Program::Installed(binary) => {
            let binary = binary.to_string_lossy();
            unit.command("Service", "ExecStart", [&*binary, "--id", entry.id.as_str()]);
        }
        Program::Exec { command, .. } => {
            unit.command("Service", "ExecStart", command.iter().map(String::as_str));
            // SIGHUP ends what does not know it.
            unit.reset("Service", "ExecReload");
        }
    }
    if let Some(timeout) = entry.stop_timeout {
        unit.add("Service", "TimeoutStopSec", format_duration(timeout));
    }
    let manager = site.manager_id();
    unit.variable("TCS_MANAGER", manager.as_str());
    unit.variable("TCS_RUNNER_ID", &format!("{manager}.{}", entry.id));
    for (name, value) in &entry.environment {
        unit.variable(name, value);
    }
    unit.add(
        "Service",
        "LogExtraFields",
        format_args!("TCS_SERVICE={}", entry.id),
    );
    if entry.kind == Kind::Job {
        unit.reset("Install", "WantedBy");
    }
    unit
}

fn permanent(unit: &mut UnitFile, entry: &ServiceEntry) {
    let template = Restart::default();
    let Restart { policy, delay, .. } = &entry.restart;
    start_limit(unit, &entry.restart, &template);
    let foreign = match &entry.program {
        Program::Exec { notify, .. } => {
            if !notify {
                unit.add("Service", "Type", "exec");
            }
            true
        }
        Program::Installed(_) => false,
    };
    match entry.watchdog {
        Some(silence) => unit.add("Service", "WatchdogSec", format_duration(silence)),
        // What is not built on the SDK does not know of it.
        None if foreign => unit.add("Service", "WatchdogSec", 0),
        None => {}
    }
    if *policy != template.policy {
        unit.add("Service", "Restart", policy);
    }
    if *delay != template.delay {
        unit.add("Service", "RestartSec", format_duration(*delay));
    }
    if let Some(timeout) = entry.start_timeout {
        unit.add("Service", "TimeoutStartSec", format_duration(timeout));
    }
}

/// Writes how many starts are too many, as far as it is not what the template says.
fn start_limit(unit: &mut UnitFile, restart: &Restart, template: &Restart) {
    if restart.max == 0 {
        unit.add("Unit", "StartLimitIntervalSec", 0);
        return;
    }
    if restart.window != template.window {
        unit.add("Unit", "StartLimitIntervalSec", format_duration(restart.window));
    }
    if restart.max != template.max {
        // The first start counts as one.
        unit.add("Unit", "StartLimitBurst", u64::from(restart.max) + 1);
    }
}

/// Writes what makes a job of the template for permanent services (design decision 14).
fn job(unit: &mut UnitFile, entry: &ServiceEntry) {
    let restarted = entry.restart.policy != RestartPolicy::No;
    if restarted {
        start_limit(unit, &entry.restart, &Restart::default());
    } else {
        unit.add("Unit", "StartLimitIntervalSec", 0);
    }
    unit.add("Service", "Type", "oneshot");
    unit.add("Service", "Restart", entry.restart.policy);
    if restarted && entry.restart.delay != Restart::default().delay {
        unit.add("Service", "RestartSec", format_duration(entry.restart.delay));
    }
    unit.add("Service", "WatchdogSec", 0);
    unit.add("Service", "NotifyAccess", "main");
    unit.add(
        "Service",
        "TimeoutStartSec",
        format_duration(entry.max_runtime.unwrap_or(MAX_RUNTIME)),
    );
    unit.add("Service", "SuccessExitStatus", 10);
}

fn timer_drop_in(entry: &ServiceEntry) -> Option<UnitFile> {
    let timer = entry.timer.as_ref()?;
    let mut unit = UnitFile::default();
    match &timer.when {
        When::Calendar { events, persistent } => {
            for event in events {
                unit.add("Timer", "OnCalendar", event.expression());
            }
            unit.add("Timer", "Persistent", if *persistent { "yes" } else { "no" });
        }
        When::Every(pause) => {
            // OnUnitInactiveSec= alone never fires for a job that has not run yet (design decision 15).
            unit.add("Timer", "OnActiveSec", 0);
            unit.add("Timer", "OnUnitInactiveSec", format_duration(*pause));
        }
    }
    if let Some(jitter) = timer.jitter {
        unit.add("Timer", "RandomizedDelaySec", format_duration(jitter));
    }
    Some(unit)
}
