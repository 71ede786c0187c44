//! `exec`: what the bare template executes for an instance that nobody declared.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use tcs_config::{Found, TypeCatalog, find, load_settings, load_sound};
use tcs_wire::{HostName, ServiceId};

use crate::failure::Failure;
use crate::prepare::catalog;
use crate::root::Root;

/// Replaces this process with the installed binary of the instance's type. Returns only when that failed.
pub fn exec(instance: &str) -> Failure {
    let root = Root::new("/");
    // A configuration that is wrong is for the service to tell, which reads it itself.
    let found = find(None, false).unwrap_or_else(|_| Found::files([]));
    let types = catalog(&root, &found);
    let id = match ServiceId::from_instance(instance) {
        Ok(id) => id,
        Err(problem) => {
            return Failure::Name {
                problem,
                known: known(&found, &types),
            };
        }
    };
    let service_type = id.service_type();
    let Some(installed) = types.get(&service_type) else {
        return Failure::NotInstalled {
            service_type: service_type.to_string(),
            instance: instance.to_owned(),
            known: known(&found, &types),
        };
    };
    let manager = ServiceId::manager(&host(&found));
    let source = Command::new(&installed.binary)
        .args(["--id", id.as_str()])
        .env("TCS_MANAGER", manager.as_str())
        .env("TCS_RUNNER_ID", format!("{manager}.{id}"))
        .exec();
    Failure::Execute {
        binary: installed.binary.clone(),
        source,
    }
}

fn host(found: &Found) -> HostName {
    let settings = load_settings(found).or_else(|_| load_settings(&Found::files([])));
    settings.map_or_else(|_| HostName::from_system(""), |loaded| loaded.site.host)
}

/// Names the types that are installed and the services that are declared, in one line for `systemctl status`.
fn known(found: &Found, types: &TypeCatalog) -> String {
    let types_known: Vec<&str> = types.iter().map(|(name, _)| name.as_str()).collect();
    let declared = load_sound(found, types)
        .map(|loaded| loaded.site.services)
        .unwrap_or_default();
    let declared: Vec<&str> = declared.iter().map(|entry| entry.id.instance()).collect();
    let list = |names: &[&str]| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let folders: Vec<_> = types
        .directories()
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    format!(
        "installed types: {} (in {}); declared services: {}",
        list(&types_known),
        folders.join(", "),
        list(&declared)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn known_names_types_and_services_or_says_none() {
        let types = TypeCatalog::installed(Path::new("/nonexistent"), None);
        let text = known(&Found::files([]), &types);
        assert_eq!(
            text,
            "installed types: none (in /usr/local/lib/tcs/services, /usr/lib/tcs/services); declared services: none"
        );
    }
}
