//! Where log lines go: the journal, a terminal or a plain stream, chosen once at the start.

use std::fmt;
use std::io::{self, IsTerminal};

use jiff::Timestamp;
use jiff::tz::Offset;
use tcs_wire::ServiceId;
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// Journal fields of the author's own values get this in front, so that none shadows one of the journal's.
const FIELD_PREFIX: &str = "TCS";

/// Reads what `--log` says: a level, or `target=level` pairs with commas between.
///
/// # Errors
/// The part that is neither. (The library would take a misspelt level for a target, and log nothing else.)
pub(crate) fn filter(text: &str) -> Result<Targets, String> {
    let is_level = |level: &str| level.parse::<LevelFilter>().is_ok();
    let part_fits = |part: &str| {
        part.split_once('=')
            .map_or_else(|| is_level(part), |(_, level)| is_level(level))
    };
    if let Some(part) = text.split(',').find(|part| !part_fits(part.trim())) {
        return Err(format!(
            "`{part}` is neither a level (error, warn, info, debug, trace, off) nor `target=level`"
        ));
    }
    let targets: Targets = text.parse().map_err(|error: ParseError| error.to_string())?;
    // A lost connection is told by the SDK in better words than the client's own.
    Ok(if text.contains("async_nats") {
        targets
    } else {
        targets.with_target("async_nats", LevelFilter::ERROR)
    })
}

/// Sends log lines to where this process's reader looks for them.
pub(crate) fn init(id: &ServiceId, filter: Targets) {
    let registry = tracing_subscriber::registry().with(filter);
    let to_journal = stderr_is_the_journal();
    if let Some(journal) = to_journal.then(|| journal(id).ok()).flatten() {
        let _ = registry.with(journal).try_init();
        return;
    }
    let style = if to_journal {
        Style::Prioritised
    } else if io::stderr().is_terminal() {
        Style::Coloured
    } else {
        Style::Plain
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(style == Style::Coloured)
        .event_format(Lines {
            style,
            name: id.to_string(),
        });
    let _ = registry.with(lines).try_init();
}

fn journal(id: &ServiceId) -> io::Result<tracing_journald::Layer> {
    Ok(tracing_journald::layer()?
        .with_syslog_identifier(id.to_string())
        .with_field_prefix(Some(FIELD_PREFIX.to_owned()))
        .with_custom_fields([
            ("TCS_SERVICE", id.as_str()),
            ("TCS_VARIANT", id.variant().as_str()),
        ])
        .with_priority_mappings(PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        }))
}

/// Whether stderr is the stream that `JOURNAL_STREAM` names (`systemd.exec(5)`).
pub(crate) fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream
        .to_str()
        .and_then(|text| text.split_once(':'))
        .is_some_and(|(device, inode)| device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// For eyes.
    Coloured,
    /// For files.
    Plain,
    /// For a journal that reads a stream: `<N>` in front of each line (`sd-daemon(3)`).
    Prioritised,
}

struct Lines {
    style: Style,
    name: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        match self.style {
            Style::Prioritised => write!(to, "<{}>", priority(level))?,
            Style::Plain => write!(to, "{} {level:5} {}: ", time(), self.name)?,
            Style::Coloured => {
                let (dim, colour, off) = ("\x1b[2m", colour(level), "\x1b[0m");
                write!(
                    to,
                    "{dim}{}{off} {colour}{level:5}{off} {dim}{}{off} ",
                    time(),
                    self.name
                )?;
            }
        }
        ctx.format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}

/// The time of day in UTC, to the millisecond.
fn time() -> impl fmt::Display {
    Offset::UTC
        .to_datetime(Timestamp::now())
        .time()
        .strftime("%H:%M:%S.%3f")
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[1;31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

/// Lets a panic appear once, as a line of the log with its place, before the SDK makes a failure of it.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        tracing::error!("{panic}{backtrace}");
    }));
}
