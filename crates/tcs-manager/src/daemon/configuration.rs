//! What services.yaml says, read at the start, after systemd has read its own files again, and on SIGHUP.

use std::path::Path;

use tcs_config::{ServiceEntry, Site, TypeCatalog};

use super::error::ManagerError;
use crate::mirror::Declared;

/// Reads the configuration; what is wrong in one entry leaves that entry out and no other. Blocks.
pub(super) fn read(explicit: Option<&Path>) -> Result<Site, ManagerError> {
    let found = tcs_config::find(explicit, false)?;
    let service_path = found.variables.at_run_time(tcs_config::SERVICE_PATH_VARIABLE);
    let types = TypeCatalog::installed(&found.root, service_path);
    let loaded = tcs_config::load_sound(&found, &types)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.site)
}

/// Returns what of the services concerns the mirror.
pub(super) fn declared(site: &Site) -> Vec<Declared> {
    site.services.iter().map(entry).collect()
}

fn entry(entry: &ServiceEntry) -> Declared {
    Declared {
        id: entry.id.clone(),
        kind: entry.kind,
        restart_policy: entry.restart.policy,
        max_restarts: Some(entry.restart.max).filter(|max| *max != 0),
        scheduled: entry.timer.is_some(),
    }
}
