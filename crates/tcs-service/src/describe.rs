//! What a binary says of itself.

use serde_json::Value;
use tcs_wire::{CONTRACT_VERSION, Manifest, ServiceType};

use crate::program::Binary;
use crate::service::Service;

/// Returns the manifest, which lies beside the installed binary as `TYPE.json`.
pub(crate) fn manifest<S: Service>(binary: &Binary, service_type: &ServiceType) -> Manifest {
    Manifest {
        service_type: service_type.clone(),
        kind: S::KIND,
        version: binary.version.to_owned(),
        sdk: env!("CARGO_PKG_VERSION").to_owned(),
        contract: CONTRACT_VERSION,
        description: binary.description.to_owned(),
        config: Value::from(schemars::schema_for!(S::Config)),
        commands: Vec::new(),
        watchdog: Some(S::WATCHDOG.as_str().to_owned()),
    }
}
