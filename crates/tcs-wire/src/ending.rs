//! How a service ended, in the words of an operator: everywhere the same.

use crate::exit::Exit;
use crate::snapshot::UnitSnapshot;

/// Names of the signals 1 to 31 on Linux (signal(7)).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Returns an exit code in words; a negative one is the signal that killed the process.
pub fn exit_words(code: i32) -> String {
    if code < 0 {
        let name = usize::try_from(-(code + 1))
            .ok()
            .and_then(|index| SIGNALS.get(index));
        return match name {
            Some(name) => format!("killed by SIG{name}"),
            None => format!("killed by signal {}", code.unsigned_abs()),
        };
    }
    match exit_meaning(code) {
        Some(meaning) => format!("exit code {code} ({meaning})"),
        None => format!("exit code {code}"),
    }
}

/// Says what an exit code stands for: the suite's own (design decision 18) and systemd's (systemd.exec(5)). 0, 1 and
/// those of the tools alone say nothing of a service.
fn exit_meaning(code: i32) -> Option<&'static str> {
    let own = Exit::ALL.into_iter().find(|exit| i32::from(exit.code()) == code);
    Some(match (own, code) {
        (Some(Exit::Done | Exit::Failed | Exit::NotRunning | Exit::NoSuchUnit), _) => return None,
        (Some(Exit::Usage), _) => "usage",
        (Some(Exit::Degraded), _) => "done, but degraded",
        (Some(Exit::BadInput), _) => "bad input data",
        (Some(Exit::Unavailable), _) => "a peer or source is away",
        (Some(Exit::Bug), _) => "bug",
        (Some(Exit::HeldElsewhere), _) => "id held elsewhere",
        (Some(Exit::NotPermitted), _) => "not permitted",
        (Some(Exit::Configuration), _) => "configuration",
        (Some(Exit::StopDeadline), _) => "stop deadline passed",
        (None, 200) => "working directory",
        (None, 203) => "program cannot be executed",
        (None, 216) => "no such group",
        (None, 217) => "no such user",
        (None, 218) => "capabilities",
        (None, 226) => "sandbox could not be set up",
        (None, 238) => "state directory",
        (None, _) => return None,
    })
}

/// Describes an end by systemd's word for it (systemd.exec(5), `$SERVICE_RESULT`) and the exit code.
pub fn end_words(result: &str, exit_code: Option<i32>) -> String {
    let exit = exit_code.map(exit_words);
    let cause = match result {
        "success" | "exit-code" | "signal" | "" => {
            return exit.unwrap_or_else(|| "ended in an unknown way".to_owned());
        }
        "core-dump" => "dumped core",
        "watchdog" => "no sign of life within WatchdogSec",
        "timeout" => "did not start or stop in time",
        "oom-kill" => "out of memory",
        "protocol" => "ended before it said READY=1",
        // A code that belongs to an earlier run explains nothing about a start that was refused.
        "start-limit-hit" => return "started too often, systemd has given up".to_owned(),
        "resources" => "systemd could not set it up",
        "exec-condition" => "its ExecCondition= does not hold",
        other => other,
    };
    match exit {
        Some(exit) => format!("{cause}: {exit}"),
        None => cause.to_owned(),
    }
}

impl UnitSnapshot {
    /// Returns how the last run ended, in words; none where it ended in order or has not ended.
    pub fn ending(&self) -> Option<String> {
        let in_order = matches!(self.result.as_str(), "" | "success");
        (!in_order).then(|| end_words(&self.result, self.exit_code()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_read_as_words() {
        for (result, code, words) in [
            ("signal", Some(-9), "killed by SIGKILL"),
            ("signal", Some(-44), "killed by signal 44"),
            ("exit-code", Some(3), "exit code 3"),
            ("exit-code", Some(78), "exit code 78 (configuration)"),
            (
                "exit-code",
                Some(203),
                "exit code 203 (program cannot be executed)",
            ),
            ("core-dump", Some(-11), "dumped core: killed by SIGSEGV"),
            (
                "watchdog",
                Some(-6),
                "no sign of life within WatchdogSec: killed by SIGABRT",
            ),
            (
                "start-limit-hit",
                Some(1),
                "started too often, systemd has given up",
            ),
            ("resources", None, "systemd could not set it up"),
            ("brand-new", None, "brand-new"),
            ("success", None, "ended in an unknown way"),
        ] {
            assert_eq!(end_words(result, code), words);
        }
        assert_eq!(exit_words(-31), "killed by SIGSYS");
        assert_eq!(exit_words(i32::MIN), "killed by signal 2147483648");
    }

    #[test]
    fn an_end_in_order_is_none() {
        let unit = |result: &str, code, status| UnitSnapshot {
            result: result.into(),
            exec_main_code: code,
            exec_main_status: status,
            ..UnitSnapshot::default()
        };
        assert_eq!(unit("success", 1, 0).ending(), None);
        assert_eq!(unit("", 0, 0).ending(), None);
        assert_eq!(
            unit("signal", 2, 9).ending().as_deref(),
            Some("killed by SIGKILL")
        );
    }
}
