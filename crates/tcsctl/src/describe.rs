//! What a service looks like: a row of the table, a page of `status`, a line of `events`.

mod event;

pub(crate) use event::event_line;

use jiff::Timestamp;
use tcs_client::{Condition, Health, Liveness, ManagerView, ServiceView, SiteSnapshot};
use tcs_wire::{Kind, Snapshot, State, Status, UnitName, WireTime, exit_words};

use crate::clock::{Clock, span};
use crate::printer::{Printer, Tint, plain};
use crate::table::{Cell, render};

/// Renders the table of `tcsctl list`, with the count below it.
pub(crate) fn table(services: &[&ServiceView], printer: &Printer) -> String {
    let zone = printer.clock.zone_name();
    let heads = [
        "SERVICE".to_owned(),
        "STATE".to_owned(),
        "HEALTH".to_owned(),
        format!("SINCE ({zone})"),
        "HOST".to_owned(),
        "PID".to_owned(),
        "RESTARTS".to_owned(),
        "NEXT".to_owned(),
        "MESSAGE".to_owned(),
    ];
    let rows: Vec<Vec<Cell>> = services
        .iter()
        .map(|service| row(service, &printer.clock))
        .collect();
    let table = if rows.is_empty() {
        String::new()
    } else {
        render(&heads, &rows, printer.width(), printer.is_colored())
    };
    format!("{table}{}\n", count(services))
}

fn row(service: &ServiceView, clock: &Clock) -> Vec<Cell> {
    let time = |time: Option<Timestamp>| time.map(|time| clock.short(time)).unwrap_or_default();
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    vec![
        Cell::new(plain(&service.name)),
        Cell::tinted(state_words(service), condition_tint(service)),
        Cell::tinted(
            service
                .health
                .map(|health| health.to_string())
                .unwrap_or_default(),
            service.health.and_then(health_tint),
        ),
        Cell::new(time(service.since)),
        Cell::new(plain(service.host.as_deref().unwrap_or_default())),
        Cell::new(number(service.pid)),
        Cell::new(number(service.restarts)),
        Cell::new(time(service.next)),
        Cell::new(plain(service.message.as_deref().unwrap_or_default())),
    ]
}

/// Returns the state, with a question mark where it is as of a silent manager's last word.
fn state_words(service: &ServiceView) -> String {
    if service.certain {
        service.condition.to_string()
    } else {
        format!("{}?", service.condition)
    }
}

fn condition_tint(service: &ServiceView) -> Option<Tint> {
    match service.condition {
        _ if !service.certain => Some(Tint::Warn),
        Condition::Unit(State::Running) => Some(Tint::Good),
        Condition::Unit(State::Failed) => Some(Tint::Bad),
        Condition::Unit(State::Activating | State::Restarting | State::Reloading | State::Deactivating)
        | Condition::Silent => Some(Tint::Warn),
        Condition::Unit(State::NotInstalled) if service.declared => Some(Tint::Bad),
        Condition::Unit(State::Finished) => None,
        _ => Some(Tint::Dim),
    }
}

fn health_tint(health: Health) -> Option<Tint> {
    match health {
        Health::Silent => Some(Tint::Warn),
        Health::Reported(Status::Ok | Status::Idle | Status::Busy) => Some(Tint::Good),
        Health::Reported(Status::Error | Status::Failed) => Some(Tint::Bad),
        Health::Reported(Status::Degraded | Status::Warning) => Some(Tint::Warn),
        Health::Reported(_) => None,
    }
}

/// Returns the closing line, for example `7 services: 5 running, 1 failed, 1 stopped`.
pub(crate) fn count(services: &[&ServiceView]) -> String {
    let counts = SiteSnapshot::counts(services.iter().copied());
    let parts: Vec<String> = counts
        .iter()
        .map(|(condition, count)| format!("{count} {condition}"))
        .collect();
    match services.len() {
        0 => "0 services".to_owned(),
        1 => format!("1 service: {}", parts.join(", ")),
        number => format!("{number} services: {}", parts.join(", ")),
    }
}

/// Returns what qualifies a picture: managers that are away, messages that cannot be read.
pub(crate) fn notes(site: &SiteSnapshot, clock: &Clock) -> Vec<String> {
    let mut notes = Vec::new();
    for manager in site.managers.iter().filter(|manager| manager.services > 0) {
        let (word, since) = match manager.liveness {
            Liveness::Alive => continue,
            Liveness::Silent { since } => ("silent", Some(since)),
            Liveness::Stopped { since } => ("stopped", Some(since)),
            Liveness::NeverHeard => ("not heard of", None),
        };
        let since = since
            .map(|since| format!(" since {} ({})", clock.long(since), clock.distance(since)))
            .unwrap_or_default();
        let host = &manager.host;
        notes.push(format!(
            "manager of {host} {word}{since}, states with a `?` are as of then; on {host}: systemctl start tcs-manager"
        ));
    }
    for (place, why) in &site.unreadable {
        notes.push(format!("{} cannot be read: {}", plain(place), plain(why)));
    }
    notes
}

/// Renders the page of `tcsctl status`.
pub(crate) fn page(service: &ServiceView, manager: Option<&ManagerView>, printer: &Printer) -> String {
    let clock = &printer.clock;
    let mut lines: Vec<(&str, String)> = Vec::new();
    match &service.snapshot {
        Some(snapshot) => unit_lines(snapshot, service, clock, &mut lines),
        None => {
            let since = service
                .since
                .map(|time| format!(" since {}", clock.full(time)))
                .unwrap_or_default();
            lines.push(("State", format!("{}{since}", service.condition)));
            if let Some(pid) = service.pid {
                lines.push(("Process", pid.to_string()));
            }
            let nobody = if service.name.starts_with("manager.") {
                "systemd, as tcs-manager.service"
            } else {
                "nobody: it was started by hand"
            };
            lines.push(("Run by", plain(service.parent.as_deref().unwrap_or(nobody))));
        }
    }
    if let Some(health) = service.health {
        let beat = service
            .last_heartbeat
            .map(|time| format!("; heartbeat {}", clock.distance(time)))
            .unwrap_or_default();
        lines.push((
            "Health",
            printer.paint(health.as_str(), health_tint(health)) + &beat,
        ));
    }
    let message = service.message.as_deref().map(plain).unwrap_or_default();
    // How the last run ended, and what systemd was told, stand there already.
    if !message.is_empty()
        && message != service.condition.as_str()
        && !lines.iter().any(|(_, text)| text.starts_with(&message))
    {
        lines.push(("Message", message));
    }
    if let Some(manager) = manager {
        lines.push((
            "Manager",
            format!("{}{}", manager.id, manager_words(manager.liveness, clock)),
        ));
    }
    if let Some(snapshot) = &service.snapshot {
        lines.push((
            "Logs",
            format!("journalctl -u {} (on {})", unit_name(snapshot), snapshot.host),
        ));
    }
    let tint = condition_tint(service);
    let bullet = if service.condition.is_alive() {
        "●"
    } else if tint == Some(Tint::Bad) {
        "×"
    } else {
        "○"
    };
    let host = service
        .host
        .as_deref()
        .map(|host| format!(" on {}", plain(host)))
        .unwrap_or_default();
    let head = format!(
        "{} {}{host}: {}",
        printer.paint(bullet, tint),
        plain(&service.name),
        printer.paint(&state_words(service), tint)
    );
    let body = lines.iter().map(|(label, text)| format!("{label:>10}: {text}\n"));
    std::iter::once(format!("{head}\n")).chain(body).collect()
}

fn unit_lines(snapshot: &Snapshot, service: &ServiceView, clock: &Clock, lines: &mut Vec<(&str, String)>) {
    let unit = &snapshot.unit;
    let words = [unit.load_state.as_str(), unit.unit_file_state.as_str()];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let declared = if snapshot.declared {
        "declared"
    } else {
        "not declared"
    };
    lines.push((
        "Unit",
        format!(
            "{} ({}; {}, {declared})",
            unit_name(snapshot),
            words.join("; "),
            snapshot.kind
        ),
    ));
    let since = service
        .since
        .map(|time| format!(" since {}", clock.full(time)))
        .unwrap_or_default();
    lines.push((
        "Active",
        format!("{} ({}){since}", unit.active_state, unit.sub_state),
    ));
    let time = |time: Option<WireTime>| time.map(|time| clock.full(time.timestamp()));
    if unit.main_pid != 0 {
        let started = time(unit.started)
            .map(|time| format!(", started {time}"))
            .unwrap_or_default();
        lines.push(("Main PID", format!("{}{started}", unit.main_pid)));
    }
    if let Some(code) = unit.exit_code() {
        let words = unit.ending().unwrap_or_else(|| exit_words(code));
        let at = time(unit.exited)
            .map(|time| format!(", {time}"))
            .unwrap_or_default();
        let ran = unit.started.zip(unit.exited).filter(|(start, end)| end >= start);
        let ran = ran.map(|(start, end)| {
            format!(
                ", after {}",
                span(end.timestamp().duration_since(start.timestamp()))
            )
        });
        lines.push(("Last end", format!("{words}{at}{}", ran.unwrap_or_default())));
    }
    if snapshot.kind == Kind::Permanent {
        let most = snapshot
            .max_restarts
            .map(|most| format!(" of {most}"))
            .unwrap_or_default();
        let policy = snapshot
            .restart_policy
            .map(|policy| format!(", policy {policy}"))
            .unwrap_or_default();
        lines.push(("Restarts", format!("{}{most}{policy}", unit.restarts)));
    }
    if let Some(timer) = &snapshot.timer {
        let next = time(timer.next).unwrap_or_else(|| "not due".to_owned());
        let last = time(timer.last)
            .map(|last| format!(", last {last}"))
            .unwrap_or_default();
        lines.push((
            "Timer",
            format!("{} ({}), next {next}{last}", timer.name, timer.active_state),
        ));
    }
    if !unit.status_text.is_empty() {
        lines.push(("Status", plain(&unit.status_text)));
    }
    if !unit.invocation_id.is_empty() {
        lines.push(("Invocation", unit.invocation_id.clone()));
    }
    if unit.need_daemon_reload {
        lines.push((
            "Changed",
            "its unit changed on disk: systemctl daemon-reload".to_owned(),
        ));
    }
}

fn unit_name(snapshot: &Snapshot) -> UnitName {
    UnitName::service(&snapshot.service_id)
}

fn manager_words(liveness: Liveness, clock: &Clock) -> String {
    match liveness {
        Liveness::Alive => String::new(),
        other => crate::failure::absence(other, clock),
    }
}

#[cfg(test)]
mod tests;
