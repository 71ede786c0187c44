//! The keys of services.yaml: the one list that is checked against, suggested from and documented.

use std::fmt::Write as _;

/// A key of services.yaml.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What stands behind it.
    pub takes: &'static str,
    /// What holds when it is left out.
    pub default: &'static str,
    /// What it does, with the systemd directive that it becomes.
    pub says: &'static str,
}

const fn key(name: &'static str, takes: &'static str, default: &'static str, says: &'static str) -> Key {
    Key {
        name,
        takes,
        default,
        says,
    }
}

/// The keys at the top of the file.
pub const TOP_KEYS: [Key; 7] = [
    key(
        "host",
        "name",
        "the short host name",
        "Name of this host in ids and keys, as in `manager.HOST`: a-z, 0-9, `_`, `-`.",
    ),
    key("nats", "map", "see below", "How NATS is reached."),
    key(
        "manage_streams",
        "true, false",
        "true",
        "Whether missing JetStream streams of the suite are made; `false` where the site makes them itself.",
    ),
    key(
        "default_variant",
        "name",
        "`main`",
        "The variant of entries that name none.",
    ),
    key(
        "defaults",
        "map",
        "none",
        "Keys of an entry that hold for all entries; an entry's own key wins, maps are merged.",
    ),
    key("services", "list", "none", "The entries, one per service."),
    key(
        "registry",
        "any",
        "none",
        "Of the Python framework; not read here.",
    ),
];

/// The keys below `nats:`.
pub const NATS_KEYS: [Key; 6] = [
    key(
        "url",
        "URL or list of URLs",
        "`nats://127.0.0.1:4222`",
        "Servers of one cluster: `nats://HOST:PORT`, or `tls://HOST:PORT`.",
    ),
    key(
        "host",
        "name or address",
        "`$NATS_HOST`",
        "One server, in place of `url`.",
    ),
    key("port", "number", "`$NATS_PORT`, else 4222", "Its port."),
    key(
        "subject_prefix",
        "words with dots",
        "`svc`",
        "The first tokens of all subjects.",
    ),
    key(
        "required",
        "true, false",
        "false",
        "Whether every service is ready only when it is connected.",
    ),
    key(
        "config_subject",
        "text",
        "none",
        "Of the Python framework; not read here.",
    ),
];

/// The keys of an entry below `services:` that are not the service's own.
pub const ENTRY_KEYS: [Key; 22] = [
    key(
        "type",
        "name",
        "required",
        "The service type: the name of its binary.",
    ),
    key(
        "variant",
        "name",
        "`default_variant`",
        "Tells instances of one type apart; the service is `TYPE.VARIANT`.",
    ),
    key("instance_context", "name", "none", "The old name of `variant`."),
    key(
        "exec",
        "command or list",
        "the installed binary",
        "What runs, for what is not built on the SDK: `ExecStart=`. `${VAR}` in arguments is filled in by systemd from `/etc/tcs/env`.",
    ),
    key(
        "kind",
        "`permanent`, `job`",
        "`permanent`",
        "With `exec:` only; a binary's manifest says it otherwise.",
    ),
    key(
        "notify",
        "true, false",
        "false",
        "With `exec:` only: the program tells systemd itself when it is ready: `Type=notify` in place of `exec`.",
    ),
    key(
        "enabled",
        "true, false, `manual`",
        "true",
        "Whether it, or the timer of a job, starts with the machine. Applied by `install` the first time and when this key changes, so that `systemctl disable` stands.",
    ),
    key(
        "restart",
        "`no`, `always`, `on-failure`, `on-abnormal`",
        "`on-failure`; a job: `no`",
        "After which ends it is started again: `Restart=`.",
    ),
    key(
        "restart_sec",
        "time",
        "`1s`",
        "How long to wait before: `RestartSec=`.",
    ),
    key(
        "restart_max",
        "number",
        "5",
        "How many restarts within `restart_window` are tried before it stays failed (`StartLimitBurst=` is one more); 0: no limit.",
    ),
    key(
        "restart_window",
        "time",
        "`1min`",
        "The window of `restart_max`: `StartLimitIntervalSec=`.",
    ),
    key(
        "schedule",
        "calendar time or list",
        "none",
        "When a job runs: `OnCalendar=`, in UTC unless a zone is named.",
    ),
    key(
        "every",
        "time",
        "none",
        "A job runs that long after its last run has ended, for the first time at once: `OnUnitInactiveSec=`.",
    ),
    key(
        "persistent",
        "true, false",
        "true",
        "With `schedule`: whether a run missed while the machine was off is made up for: `Persistent=`.",
    ),
    key(
        "jitter",
        "time",
        "none",
        "Longest random delay of each run: `RandomizedDelaySec=`.",
    ),
    key(
        "max_runtime",
        "time",
        "`1h`",
        "A job is ended after that: its `TimeoutStartSec=`.",
    ),
    key(
        "start_timeout",
        "time",
        "`1min 30s`",
        "A permanent service must be ready within: `TimeoutStartSec=`.",
    ),
    key(
        "stop_timeout",
        "time",
        "`15s`",
        "Time for an orderly end, then it is killed: `TimeoutStopSec=`.",
    ),
    key(
        "watchdog",
        "time",
        "`30s`",
        "Longest silence of the service's own loop: a permanent service is killed and restarted (`WatchdogSec=`), a job ends itself with code 70; 0: no watchdog.",
    ),
    key(
        "environment",
        "map of texts",
        "none",
        "Variables of the process: `Environment=`. Secrets belong into `/etc/tcs/env`, which every service reads.",
    ),
    key(
        "log_level",
        "`error`, `warn`, `info`, `debug`, `trace`",
        "`info`",
        "How much the service logs.",
    ),
    key(
        "required",
        "true, false",
        "that of `nats:`",
        "Whether the service is ready only when it is connected to NATS.",
    ),
];

/// Returns the names of an entry's common keys, for suggestions and for checking that no service has a field of that
/// name.
pub fn entry_names() -> impl Iterator<Item = &'static str> {
    ENTRY_KEYS.iter().map(|key| key.name)
}

/// Returns all keys as tables in Markdown, for the documentation.
pub fn reference() -> String {
    let mut text = String::new();
    let groups: [(&str, &[Key]); 3] = [
        ("At the top", &TOP_KEYS),
        ("Below `nats:`", &NATS_KEYS),
        ("In an entry of `services:`", &ENTRY_KEYS),
    ];
    for (title, keys) in groups {
        let _ = write!(
            text,
            "### {title}\n\n| key | takes | default | |\n| --- | --- | --- | --- |\n"
        );
        for key in keys {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                key.name, key.takes, key.default, key.says
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
