//! Ends of services as an operator reads them.

/// Names of the signals 1 to 31 on Linux (signal(7)).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Describes how a process ended; negative for a signal.
pub(crate) fn exit_words(exit_code: i32) -> String {
    if exit_code >= 0 {
        return format!("exit code {exit_code}");
    }
    let index = usize::try_from(-exit_code - 1).ok();
    match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => format!("killed by SIG{name}"),
        None => format!("killed by signal {}", -exit_code),
    }
}

/// Describes an end by systemd's word for it and the exit code (systemd.exec(5), `$SERVICE_RESULT`).
pub(crate) fn end_words(result: &str, exit_code: Option<i32>) -> String {
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
        "start-limit-hit" => "started too often, systemd has given up",
        "resources" => "systemd could not set it up",
        "exec-condition" => "its ExecCondition= does not hold",
        other => other,
    };
    match exit {
        // A code that belongs to an earlier run explains nothing about a start that was refused.
        Some(exit) if result != "start-limit-hit" => format!("{cause} ({exit})"),
        _ => cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_read_as_words() {
        assert_eq!(end_words("signal", Some(-9)), "killed by SIGKILL");
        assert_eq!(end_words("exit-code", Some(3)), "exit code 3");
        assert_eq!(
            end_words("watchdog", Some(-6)),
            "no sign of life within WatchdogSec (killed by SIGABRT)"
        );
        assert_eq!(
            end_words("start-limit-hit", Some(1)),
            "started too often, systemd has given up"
        );
        assert_eq!(end_words("resources", None), "systemd could not set it up");
        assert_eq!(exit_words(-31), "killed by SIGSYS");
        assert_eq!(exit_words(-40), "killed by signal 40");
    }
}
