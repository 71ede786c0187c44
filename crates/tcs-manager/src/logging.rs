//! Where the log goes: to the journal, with fields, when systemd reads it; else to the terminal.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins to log by `filter`, for example `info` or `tcs_manager=debug,info`.
///
/// # Errors
/// For a filter that cannot be read.
pub fn start_logging(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let journal = goes_to_journal()
        .then(tracing_journald::layer)
        .and_then(Result::ok);
    let terminal = journal.is_none().then(|| {
        let colours = std::io::stderr().is_terminal();
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colours)
            .with_target(false)
    });
    let journal = journal.map(|layer| layer.with_field_prefix(Some("TCS".to_owned())));
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(terminal)
        .init();
    Ok(())
}

/// Returns whether standard error is the stream that systemd made for this service, and not one put in its place
/// (systemd.exec(5), `$JOURNAL_STREAM`).
fn goes_to_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let Some((device, inode)) = stream.split_once(':') else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino())
}
