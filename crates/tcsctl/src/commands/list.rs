//! `tcsctl list`

use serde_json::json;
use tcs_client::{ServiceView, SiteSnapshot, matches, similar};
use tcs_wire::Exit;

use super::{Reach, reach};
use crate::cli::ListArgs;
use crate::describe;
use crate::failure::Failure;
use crate::json;
use crate::printer::Printer;
use crate::settings::Settings;

pub(super) async fn run(
    arguments: &ListArgs,
    settings: &Settings,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let clock = &printer.clock;
    let (site, source, managers) = match reach(settings, printer).await? {
        Reach::Site(site) => {
            let collected = site.collect().await;
            let collector = collected.map_err(|error| Failure::of_client(&error, settings, clock))?;
            (
                collector.view(clock.now()),
                "nats",
                collector.manager_services(clock.now()),
            )
        }
        Reach::Local(local) => (local.snapshot(clock.now()).await?, "systemd", Vec::new()),
    };
    let services = choose(&site, &managers, arguments, printer);
    let notes = describe::notes(&site, clock);
    if printer.json {
        let rows: Vec<_> = services
            .iter()
            .map(|service| json::service(service, false))
            .collect();
        let managers: Vec<_> = site.managers.iter().map(json::manager).collect();
        let value = json!({ "taken": site.taken, "source": source, "notes": notes, "managers": managers, "services": rows });
        printer.json(&value, false);
    } else {
        notes.iter().for_each(|note| printer.note(note));
        if !services.is_empty() || arguments.patterns.is_empty() {
            printer.out(describe::table(&services, printer));
        }
    }
    if services.is_empty() {
        return nothing(&site, arguments, printer);
    }
    Ok(Exit::Done)
}

/// Returns the services that were asked for; managers only where a pattern names them.
fn choose<'a>(
    site: &'a SiteSnapshot,
    managers: &'a [ServiceView],
    arguments: &ListArgs,
    printer: &Printer,
) -> Vec<&'a ServiceView> {
    let now = printer.clock.now();
    let patterns = &arguments.patterns;
    let asked = |service: &&ServiceView| patterns.iter().any(|pattern| matches(pattern, &service.name));
    let named = |service: &&ServiceView| patterns.contains(&service.name);
    let on_host = |service: &&ServiceView| arguments.host.is_none() || arguments.host == service.host;
    let remembered = |service: &&ServiceView| arguments.all || named(service) || !service.is_forgotten(now);
    let services = site
        .services
        .iter()
        .filter(|service| patterns.is_empty() || asked(service));
    let managers = managers.iter().filter(|manager| {
        patterns
            .iter()
            .any(|pattern| pattern.starts_with("manager") && matches(pattern, &manager.name))
    });
    services
        .chain(managers)
        .filter(on_host)
        .filter(remembered)
        .collect()
}

fn nothing(site: &SiteSnapshot, arguments: &ListArgs, printer: &Printer) -> Result<Exit, Failure> {
    let [pattern, ..] = arguments.patterns.as_slice() else {
        if !printer.json {
            printer.note("declare services in /etc/tcs/services.yaml, then: tcs-systemd-gen install");
        }
        return Ok(Exit::Done);
    };
    let known = site.services.iter().map(|service| service.name.as_str());
    let failure = Failure::new(Exit::NoSuchUnit, format!("no service matches `{pattern}`"));
    Err(failure.near(&similar(pattern, known)))
}
