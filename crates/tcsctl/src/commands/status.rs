//! `tcsctl status ID`

use tcs_client::{Condition, ServiceView, SiteSnapshot, parse_name};
use tcs_wire::{Exit, ServiceId, State};

use super::{Reach, reach};
use crate::cli::StatusArgs;
use crate::describe;
use crate::failure::Failure;
use crate::json;
use crate::printer::Printer;
use crate::settings::Settings;

pub(super) async fn run(
    arguments: &StatusArgs,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let clock = &printer.clock;
    let name = name(&arguments.id)?;
    let (site, managers) = match reach(settings, printer).await? {
        Reach::Site(site) => {
            let collected = site.collect().await;
            let collector = collected.map_err(|error| Failure::of_client(&error, settings, clock))?;
            (
                collector.view(clock.now()),
                collector.manager_services(clock.now()),
            )
        }
        Reach::Local(local) => {
            let id = ServiceId::parse(&name).map_err(|error| Failure::of_name(&error))?;
            (local.snapshot_with(&id, clock.now()).await?, Vec::new())
        }
    };
    let on_host = |service: &&ServiceView| arguments.host.is_none() || arguments.host == service.host;
    let all = site.services.iter().chain(&managers);
    let found: Vec<&ServiceView> = all
        .filter(|service| service.name == name)
        .filter(on_host)
        .collect();
    if found.is_empty() {
        return Err(unknown(&name, arguments, &site));
    }
    if printer.json {
        let value = found.iter().map(|service| json::service(service, true)).collect();
        printer.json(&value, false);
    } else {
        for (index, service) in found.iter().enumerate() {
            if index > 0 {
                printer.out("\n");
            }
            let manager = service
                .snapshot
                .as_ref()
                .and_then(|snapshot| site.manager(snapshot.manager.as_str()));
            printer.out(describe::page(service, manager, printer));
        }
    }
    Ok(found
        .iter()
        .map(|service| exit(service.condition))
        .min_by_key(|exit| exit.code())
        .unwrap_or(Exit::NoSuchUnit))
}

/// Reads the name; a service of another framework may have any.
fn name(text: &str) -> Result<String, Failure> {
    match parse_name(text) {
        Ok(id) => Ok(id.to_string()),
        Err(_) if text.contains('.') && !text.contains('@') => Ok(text.to_owned()),
        Err(error) => Err(Failure::of_name(&error)),
    }
}

fn unknown(name: &str, arguments: &StatusArgs, site: &SiteSnapshot) -> Failure {
    let place = arguments
        .host
        .as_ref()
        .map_or("no host has a".to_owned(), |host| {
            format!("host `{host}` does not have a")
        });
    let known = site.services.iter().map(|service| service.name.as_str());
    Failure::no_such_service(&place, name, known)
}

/// Returns systemctl's exit code for a state (design decision 18).
fn exit(condition: Condition) -> Exit {
    match condition {
        Condition::Unit(State::NotInstalled) => Exit::NoSuchUnit,
        condition if condition.is_alive() => Exit::Done,
        _ => Exit::NotRunning,
    }
}
