//! `tcsctl streams check` and `tcsctl streams create NAME`

use tcs_bus::StreamsError;
use tcs_wire::Exit;

use super::reach_site;
use crate::cli::StreamsCommand;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::site_streams;

pub(super) async fn run(
    command: &StreamsCommand,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let site = reach_site(settings, printer).await?;
    match command {
        StreamsCommand::Check => {
            let faults = site
                .bus()
                .check_streams()
                .await
                .map_err(|error| told(&error, site.urls()))?;
            for fault in &faults {
                printer.out(format!("{}: {}", fault.stream, fault.text));
            }
            if faults.is_empty() {
                let streams = site.bus().prefix().streams().map(|stream| stream.name).join(", ");
                printer.out(format!("all is well with {streams}"));
                return Ok(Exit::Done);
            }
            Ok(Exit::Failed)
        }
        StreamsCommand::Create { name } => {
            let Some((definition, subjects)) = site_streams::find(name) else {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("no definition of a stream `{name}`"),
                ));
            };
            // Everything is found by subject: a stream of another name that holds them will do, and is left alone.
            match site.bus().stream_of(&definition.subjects).await {
                Ok(stream) => printer.out(format!(
                    "`{}` is held by the stream `{stream}`: nothing to do",
                    definition.subjects
                )),
                Err(StreamsError::NoStream(_)) => {
                    let created = site.bus().create_stream_on(&definition, &subjects).await;
                    created.map_err(|error| told(&error, site.urls()))?;
                    printer.out(format!("created the stream `{name}` for {}", subjects.join(", ")));
                }
                Err(error) => return Err(told(&error, site.urls())),
            }
            Ok(Exit::Done)
        }
    }
}

fn told(error: &StreamsError, urls: &str) -> Failure {
    let failure = Failure::new(Exit::Unavailable, format!("{error} (at {urls})"));
    match error {
        StreamsError::NoJetStream => failure.hint("then restart it: systemctl restart nats-server"),
        StreamsError::Refused(words) if words.contains("insufficient storage") => failure.hint(
            "the server's streams may not be larger together than `max_file_store` in its `jetstream {}`",
        ),
        _ => failure,
    }
}
