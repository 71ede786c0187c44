//! `tcsctl events`

use std::time::Duration;

use serde_json::json;
use tcs_client::{ClientError, EventNews, Events};
use tcs_wire::{Exit, RegistryEvent};

use super::reach_site;
use crate::cli::EventsArgs;
use crate::describe::event_line;
use crate::failure::Failure;
use crate::json::with_rfc3339;
use crate::printer::Printer;
use crate::settings::Settings;

/// Pauses between attempts to read a stream after a restart of the server.
const STREAM_PAUSES_MS: [u64; 4] = [100, 300, 1000, 3000];

pub(super) async fn run(
    arguments: &EventsArgs,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let elsewhere = |failure: Failure| failure.hint("what happened on this host: journalctl -u 'tcs@*'");
    let told = |error: ClientError| elsewhere(Failure::of_client(&error, settings, &printer.clock));
    let site = reach_site(settings, printer).await.map_err(elsewhere)?;
    let mut events = site
        .events(arguments.patterns.clone(), arguments.follow)
        .await
        .map_err(told)?;
    for event in events.past(arguments.lines).await.map_err(told)? {
        show(&event, printer);
    }
    while let Some(news) = events.next().await {
        match news {
            EventNews::Event(event) => show(&event, printer),
            EventNews::Away { since } => {
                printer.note(format!(
                    "NATS away since {}, waiting for it",
                    printer.clock.long(since.timestamp())
                ));
            }
            EventNews::Back => catch_up(&mut events, printer).await,
        }
    }
    Ok(Exit::Done)
}

/// Shows what happened while the server was away, as far as the stream knows.
async fn catch_up(events: &mut Events, printer: &Printer) {
    let mut read = events.past(usize::MAX).await;
    // A server that has just come up may need a moment to open its streams.
    for pause in STREAM_PAUSES_MS {
        if read.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        read = events.past(usize::MAX).await;
    }
    match read {
        Ok(missed) => {
            printer.note("NATS is back");
            missed.iter().for_each(|event| show(event, printer));
        }
        Err(error) => printer.note(format!(
            "NATS is back, but what happened meanwhile cannot be read: {error}"
        )),
    }
}

fn show(event: &RegistryEvent, printer: &Printer) {
    if printer.json {
        printer.json(&with_rfc3339(json!(event)), true);
    } else {
        printer.out(event_line(event, printer));
    }
}
