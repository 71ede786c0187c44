//! The job: one run, and what the bus and systemd learn of it.

use std::io;
use std::path::PathBuf;

use tcs_service::prelude::*;

use crate::config::WeatherConfig;
use crate::cursor::CursorError;
use crate::import::{Batch, Import, ImportError, Reconciled};
use crate::publish::Publisher;
use crate::sample::{Sample, Station};
use crate::summary::{Counts, Summary};

/// Refused lines that the journal names in one run; the quarantine has them all.
const NAMED: u64 = 20;

/// Imports what is new in the stations' files, once.
#[derive(Debug, Default)]
pub struct WeatherImporter;

impl Service for WeatherImporter {
    type Config = WeatherConfig;
    const KIND: Kind = Kind::Job;

    async fn run(&mut self, ctx: Context<Self>) -> Result<()> {
        let config = ctx.config();
        let settings = config.settings().map_err(Error::configuration)?;
        let state = state_directory(ctx.id())?;
        let now = jiff::Timestamp::now();
        ctx.alive();
        let import = ctx.blocking(move || {
            std::fs::create_dir_all(&state).map_err(|source| ImportError::State {
                path: state.clone(),
                source,
            })?;
            Import::open(settings, &state, now)
        });
        let import = import.await.map_err(failure)?;
        let imported = import_all(&ctx, import).await?;
        report(&ctx, &imported);
        let Imported::Whole(summary) = imported else {
            // Without a word of its own the SDK calls the job stopped, with the counts so far.
            return Ok(());
        };
        let outcome = if summary.degraded(config.degraded_share) {
            Outcome::Degraded
        } else {
            Outcome::Done
        };
        ctx.finish(outcome, &summary);
        Ok(())
    }
}

/// How far a run came.
enum Imported {
    /// All files are read.
    Whole(Summary),
    /// A stop came before that; the next run goes on from there.
    Part(Summary),
}

/// Publishes batch after batch; files are read and written beside the runtime.
///
/// Only a wait for NATS may be long: a file that does not let itself be read is a hang.
async fn import_all(ctx: &Context<WeatherImporter>, mut import: Import) -> Result<Imported> {
    let mut publisher = None;
    let mut named = 0;
    while !ctx.is_stopping() {
        ctx.alive();
        let (back, batch) = ctx
            .blocking(move || {
                let batch = import.next_batch();
                (import, batch)
            })
            .await;
        import = back;
        let Some(mut batch) = batch else {
            let finished = ctx.blocking(move || import.finish()).await;
            return finished.map(Imported::Whole).map_err(failure);
        };
        name_refused(&batch, &mut named);
        if !batch.samples.is_empty() {
            // A run that finds nothing new has no need of NATS.
            let publisher = match &mut publisher {
                Some(publisher) => publisher,
                none => match ctx.idle(Publisher::new(ctx.bus()?)).await {
                    Some(connected) => none.insert(connected?),
                    None => break,
                },
            };
            if import.needs_last(&batch) {
                let Some(last) = ctx.idle(publisher.last(&batch.station)).await else {
                    break;
                };
                let found = import.reconcile(&mut batch, last?);
                tell(&batch.station, found);
            }
            let (back, prepared) = ctx
                .blocking(move || {
                    let prepared = import.prepare(&batch).map(|()| batch);
                    (import, prepared)
                })
                .await;
            import = back;
            batch = prepared.map_err(failure)?;
            if !publish_all(ctx, publisher, &batch.samples).await? {
                break;
            }
        }
        import = ctx
            .blocking(move || import.commit(batch).map(|()| import))
            .await
            .map_err(failure)?;
    }
    Ok(Imported::Part(import.give_up()))
}

/// Publishes records in their order; false when a stop came before the last one.
async fn publish_all(
    ctx: &Context<WeatherImporter>,
    publisher: &Publisher<'_>,
    samples: &[Sample],
) -> Result<bool> {
    for sample in samples {
        match ctx.idle(publisher.publish(sample)).await {
            Some(published) => published?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

fn name_refused(batch: &Batch, named: &mut u64) {
    for refused in &batch.refused {
        *named += 1;
        match *named {
            ..=NAMED => warn!("{refused}"),
            n if n == NAMED + 1 => warn!("further refused lines are in the quarantine only"),
            _ => {}
        }
    }
}

fn tell(station: &Station, found: Reconciled) {
    match found {
        Reconciled::Agreed => {}
        Reconciled::Resumed(count) => {
            info!("{station}: {count} records of a run that did not end are in the stream")
        }
        Reconciled::Behind(until) => warn!(
            "{station}: the stream holds records up to {until} that this importer knows nothing of; \
             what is older counts as published"
        ),
    }
}

/// Tells what is wrong with whole files, and puts the counts into the last status.
fn report(ctx: &Context<WeatherImporter>, imported: &Imported) {
    let (summary, whole) = match imported {
        Imported::Whole(summary) => (summary, true),
        Imported::Part(summary) => (summary, false),
    };
    for (path, error) in &summary.failed {
        warn!("{}: {error}", path.display());
    }
    if !summary.unknown.is_empty() {
        let names: Vec<_> = summary
            .unknown
            .iter()
            .filter_map(|path| path.file_name())
            .collect();
        info!("passed over, their format is not known: {names:?}");
    }
    let Counts {
        read,
        published,
        duplicates,
        refused,
        late,
        too_old,
        deferred,
    } = summary.counts;
    if too_old > 0 {
        let max_age = ctx.config().max_age;
        warn!(
            "{too_old} records are older than {max_age} and not published; `max_age` in the configuration sets the limit"
        );
    }
    for (name, count) in [
        ("read", read),
        ("published", published),
        ("duplicates", duplicates),
        ("refused", refused),
        ("late", late),
        ("too_old", too_old),
        ("deferred", deferred),
        ("files_failed", summary.failed.len() as u64),
        ("files_unknown", summary.unknown.len() as u64),
    ] {
        // The words for a stopped run are made of these counts, and need no nought.
        if whole || count > 0 {
            ctx.count(name, count);
        }
    }
}

/// Gives an error its exit code.
fn failure(error: ImportError) -> Error {
    let exit = match &error {
        ImportError::Source { source, .. } | ImportError::State { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::NotPermitted
        }
        ImportError::Source { .. } => Exit::Unavailable,
        ImportError::Busy { .. } => Exit::HeldElsewhere,
        ImportError::Cursor(CursorError::Spoilt { .. } | CursorError::Newer { .. }) => Exit::BadInput,
        ImportError::State { .. } | ImportError::Cursor(CursorError::Io { .. }) => Exit::Failed,
    };
    Error::from(error).exit(exit)
}

/// Returns systemd's state directory of the unit, or by hand one of the user's own.
fn state_directory(id: &ServiceId) -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("STATE_DIRECTORY") {
        return Ok(directory.into());
    }
    let home = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
    let home = home.ok_or_else(|| {
        Error::configuration(
            "no place for the cursor: set STATE_DIRECTORY (systemd does), XDG_STATE_HOME or HOME",
        )
    })?;
    Ok(home.join("tcs").join(id.as_str()))
}
