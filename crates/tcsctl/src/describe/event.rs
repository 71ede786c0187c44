//! An event as one line.

use tcs_wire::{EventKind, RegistryEvent, exit_words};

use crate::printer::{Printer, Tint, plain};

/// Returns one event as a line: when, what, whose, and how it reads.
pub(crate) fn event_line(event: &RegistryEvent, printer: &Printer) -> String {
    let tint = match event.kind() {
        Some(EventKind::Crashed | EventKind::Failed) => Some(Tint::Bad),
        Some(EventKind::Restarting) => Some(Tint::Warn),
        Some(EventKind::Ready) => Some(Tint::Good),
        Some(EventKind::Declared) => Some(Tint::Dim),
        _ => None,
    };
    let when = printer.clock.exact(event.timestamp.timestamp());
    let word = printer.paint(&format!("{:<10}", plain(&event.event)), tint);
    let line = format!(
        "{when}  {word}  {:<24}  {}",
        plain(&event.service_id),
        event_words(event)
    );
    line.trim_end().to_owned()
}

/// Returns what an event says beyond who and when, in words.
fn event_words(event: &RegistryEvent) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(host) = &event.hostname {
        parts.push(format!("on {}", plain(host)));
    }
    if let Some(pid) = event.pid.filter(|pid| *pid != 0) {
        parts.push(format!("pid {pid}"));
    }
    if let Some(seconds) = event.startup_duration_seconds {
        parts.push(format!("after {seconds:.3} s"));
    }
    if let Some(reason) = &event.reason {
        parts.push(plain(reason));
    }
    if let Some(code) = event
        .exit_code
        .filter(|code| *code != 0 || event.kind() == Some(EventKind::Crashed))
    {
        parts.push(exit_words(code));
    }
    let told = event.reason.as_deref();
    let result = event
        .result
        .as_deref()
        .filter(|result| !matches!(*result, "success" | "exit-code" | "signal") && Some(*result) != told);
    if let Some(result) = result {
        parts.push(plain(result));
    }
    if let Some(attempt) = event.restart_attempt {
        let most = event
            .max_restarts
            .flatten()
            .map(|most| format!(" of {most}"))
            .unwrap_or_default();
        parts.push(format!("attempt {attempt}{most}"));
    }
    if let Some(count) = event.restart_count {
        parts.push(format!("after {count} restarts"));
    }
    match event.will_restart {
        Some(true) => parts.push("will be restarted".to_owned()),
        Some(false) => parts.push("will not be restarted".to_owned()),
        None => {}
    }
    if let Some(seconds) = event.duration_s {
        parts.push(format!("ran {seconds:.1} s"));
    }
    if let Some(trigger) = &event.trigger {
        parts.push(format!("by {}", plain(trigger)));
    }
    for (flag, word) in [(event.coalesced, "not seen itself"), (event.late, "told late")] {
        if flag == Some(true) {
            parts.push(word.to_owned());
        }
    }
    parts.join(", ")
}
