//! How a service ended, as a sentence.

use tcs_wire::{Snapshot, State, UnitSnapshot};

/// Returns how the unit's last run ended, in words; none where it ended in order or has not ended.
pub fn ending(unit: &UnitSnapshot) -> Option<String> {
    let exit = || unit.exit_code().map(exit_words);
    Some(match unit.result.as_str() {
        "" | "success" => return None,
        "exit-code" | "signal" => exit().unwrap_or_else(|| unit.result.clone()),
        "core-dump" => format!("{}, core dumped", exit().unwrap_or_else(|| "killed".to_owned())),
        "watchdog" => "killed by the watchdog: no sign of work in time".to_owned(),
        "timeout" => "took too long to start or to stop".to_owned(),
        "oom-kill" => "killed for lack of memory".to_owned(),
        "start-limit-hit" => "restarted too often, gave up".to_owned(),
        "protocol" => "ended before it was ready".to_owned(),
        "resources" => "systemd could not set it up".to_owned(),
        other => other.to_owned(),
    })
}

/// Returns an exit code in words; a negative one is the signal that killed the process.
pub fn exit_words(code: i32) -> String {
    if code < 0 {
        return match signal_name(-code) {
            Some(name) => format!("killed by {name}"),
            None => format!("killed by signal {}", -code),
        };
    }
    match exit_meaning(code) {
        Some(meaning) => format!("exit code {code} ({meaning})"),
        None => format!("exit code {code}"),
    }
}

/// Says what an exit code stands for, for the suite's own (design decision 18) and systemd's (systemd.exec(5)).
fn exit_meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        2 => "usage",
        10 => "done, but degraded",
        65 => "bad input data",
        69 => "a peer or source is away",
        70 => "bug",
        75 => "id held elsewhere",
        77 => "not permitted",
        78 => "configuration",
        124 => "stop deadline passed",
        200 => "working directory",
        203 => "program cannot be executed",
        216 => "no such group",
        217 => "no such user",
        218 => "capabilities",
        226 => "sandbox could not be set up",
        238 => "state directory",
        _ => return None,
    })
}

/// Names the signals that end services; their numbers are the same on all Linux platforms that systemd serves.
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// Returns the one line that goes with a service's state when the service itself has nothing to say of it.
pub fn explanation(snapshot: &Snapshot) -> Option<String> {
    let unit = &snapshot.unit;
    match snapshot.state() {
        State::Failed => ending(unit),
        State::Restarting => {
            let attempt = unit.restarts.saturating_add(1);
            let count = match snapshot.max_restarts {
                Some(most) => format!("restart {attempt} of {most}"),
                None => format!("restart {attempt}"),
            };
            Some(ending(unit).map_or_else(|| count.clone(), |ending| format!("{ending}; {count}")))
        }
        State::Masked => Some("the administrator made it impossible to start".to_owned()),
        State::NotInstalled => Some(match unit.load_state.as_str() {
            "not-found" | "" => "no such unit on this host".to_owned(),
            other => format!("systemd cannot read its unit ({other})"),
        }),
        _ if unit.need_daemon_reload => Some("its unit changed on disk: systemctl daemon-reload".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_read_as_sentences() {
        let unit = |result: &str, code, status| UnitSnapshot {
            result: result.into(),
            exec_main_code: code,
            exec_main_status: status,
            ..UnitSnapshot::default()
        };
        for (unit, sentence) in [
            (unit("signal", 2, 9), "killed by SIGKILL"),
            (unit("signal", 2, 44), "killed by signal 44"),
            (unit("core-dump", 3, 11), "killed by SIGSEGV, core dumped"),
            (unit("exit-code", 1, 3), "exit code 3"),
            (unit("exit-code", 1, 78), "exit code 78 (configuration)"),
            (
                unit("exit-code", 1, 203),
                "exit code 203 (program cannot be executed)",
            ),
            (
                unit("watchdog", 2, 6),
                "killed by the watchdog: no sign of work in time",
            ),
            (unit("brand-new", 0, 0), "brand-new"),
        ] {
            assert_eq!(ending(&unit).as_deref(), Some(sentence));
        }
        assert_eq!(ending(&unit("success", 1, 0)), None);
    }
}
