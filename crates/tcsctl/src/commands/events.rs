//! `tcsctl events`

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

pub(super) async fn run(
    arguments: &EventsArgs,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let told = |error: ClientError| {
        let failure = Failure::of_client(&error, settings, &printer.clock);
        failure.hint("what happened on this host: journalctl -u 'tcs@*'")
    };
    let site = reach_site(settings, printer).await?;
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
    match events.past(usize::MAX).await {
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
