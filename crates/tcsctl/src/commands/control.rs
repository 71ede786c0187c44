//! `tcsctl start|stop|restart ID..`

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tcs_client::{ControlOptions, Site, Verb, parse_name};
use tcs_wire::rpc::ControlReply;
use tcs_wire::{Exit, ServiceId};

use super::{Reach, reach};
use crate::cli::ControlArgs;
use crate::failure::Failure;
use crate::printer::{Printer, plain};
use crate::settings::Settings;

pub(super) async fn run(
    verb: Verb,
    arguments: &ControlArgs,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut ids: Vec<ServiceId> = Vec::new();
    for text in &arguments.ids {
        let id = parse_name(text).map_err(|error| Failure::of_name(&error))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let options = ControlOptions {
        timeout: arguments.timeout,
        no_block: arguments.no_block,
        host: arguments.host.clone(),
    };
    let reach = reach(settings, printer).await?;
    let mirror = match &reach {
        Reach::Site(site) => {
            let read = site.mirror().await;
            read.map_err(|error| Failure::of_client(&error, settings, &printer.clock))?
        }
        Reach::Local(_) => Vec::new(),
    };
    let order = |id: ServiceId| {
        let (reach, mirror, options) = (&reach, &mirror, &options);
        async move {
            let outcome = match reach {
                Reach::Site(site) => over_nats(site, verb, &id, mirror, options, settings, printer).await,
                Reach::Local(local) => local.control(verb, &id, options).await,
            };
            (id, outcome)
        }
    };
    let mut orders: FuturesUnordered<_> = ids.into_iter().map(order).collect();
    let mut exit = Exit::Done;
    while let Some((id, outcome)) = orders.next().await {
        match outcome {
            Ok(reply) => told(verb, &reply, printer),
            Err(failure) => {
                exit = worse(exit, failure.exit);
                failed(verb, &id, &failure, printer);
            }
        }
    }
    Ok(exit)
}

async fn over_nats(
    site: &Site,
    verb: Verb,
    id: &ServiceId,
    mirror: &[tcs_wire::Snapshot],
    options: &ControlOptions,
    settings: &Settings,
    printer: &Printer,
) -> Result<ControlReply, Failure> {
    let reply = site.control(verb, id, mirror, options).await;
    reply.map_err(|error| Failure::of_client(&error, settings, &printer.clock))
}

fn told(verb: Verb, reply: &ControlReply, printer: &Printer) {
    if printer.json {
        let value = json!({
            "service_id": reply.service_id, "verb": verb.as_str(), "ok": true, "unit": reply.unit,
            "job": reply.job, "state": reply.state, "message": reply.message,
        });
        return printer.json(&value, true);
    }
    printer.out(sentence(reply));
}

/// Returns what the answering side says, with the name of the service where it is not in there.
fn sentence(reply: &ControlReply) -> String {
    let message = plain(&reply.message);
    match message.as_str() {
        "" => format!("{} is {}", reply.service_id, reply.state),
        named if named.contains(reply.service_id.as_str()) => message,
        unnamed => format!("{}: {unnamed}", reply.service_id),
    }
}

fn failed(verb: Verb, id: &ServiceId, failure: &Failure, printer: &Printer) {
    if printer.json {
        let value = json!({
            "service_id": id, "verb": verb.as_str(), "ok": false,
            "exit_code": failure.exit.code(), "message": failure.message, "hints": failure.hints,
        });
        return printer.json(&value, true);
    }
    let message = if failure.message.contains(id.as_str()) {
        failure.message.clone()
    } else {
        format!("cannot {} {id}: {}", verb.as_str(), failure.message)
    };
    printer.failure(&Failure {
        message,
        ..failure.clone()
    });
}

/// Returns the exit code of several orders: the one they share, else 1.
fn worse(so_far: Exit, next: Exit) -> Exit {
    if so_far == Exit::Done || so_far == next {
        next
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use tcs_wire::State;

    use super::*;

    #[test]
    fn outcomes_are_told_in_one_line() {
        let reply = |job: &str, state, message: &str| ControlReply {
            service_id: ServiceId::parse("plan_runner.zb08").unwrap(),
            unit: "tcs@plan_runner.zb08.service".into(),
            job: job.into(),
            state,
            message: message.into(),
        };
        let named = "plan_runner.zb08 is running, process 7";
        assert_eq!(sentence(&reply("done", State::Running, named)), named);
        assert_eq!(
            sentence(&reply("queued", State::Running, "job 4\nis queued")),
            "plan_runner.zb08: job 4 is queued"
        );
        assert_eq!(
            sentence(&reply("done", State::Stopped, "")),
            "plan_runner.zb08 is stopped"
        );
    }

    #[test]
    fn different_failures_together_are_a_failure() {
        assert_eq!(worse(Exit::Done, Exit::NoSuchUnit), Exit::NoSuchUnit);
        assert_eq!(worse(Exit::NoSuchUnit, Exit::NoSuchUnit), Exit::NoSuchUnit);
        assert_eq!(worse(Exit::NoSuchUnit, Exit::NotPermitted), Exit::Failed);
    }
}
