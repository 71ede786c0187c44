//! The configuration of one instance: files, environment and command line, as the service's own type.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tcs_config::{ConfigError, Diagnostics, ExpandError, NatsSettings};
use tcs_wire::Manifest;
use thiserror::Error;

use crate::arguments::Arguments;
use crate::overlay::{self, Override, UnknownKey};

/// How long systemd waits for an orderly end unless the entry says otherwise: as in the unit's template.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest silence of a job's loop unless the entry says otherwise (design decision 17).
const SILENCE: Duration = Duration::from_secs(30);

/// Why there is no configuration to run with; exit code 78.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Find(#[from] ConfigError),
    #[error(transparent)]
    File(#[from] Diagnostics),
    #[error(transparent)]
    Expand(#[from] ExpandError),
    #[error(transparent)]
    Unknown(#[from] UnknownKey),
    #[error("{origin}: `{key}` is wrong: {reason}")]
    Value {
        origin: String,
        key: String,
        reason: String,
    },
    #[error("the configuration is wrong: {reason}")]
    Whole { reason: String },
}

/// What an instance runs with, its own values still as JSON.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The service's own values, without the defaults of the code.
    pub(crate) fields: Map<String, Value>,
    pub(crate) nats: NatsSettings,
    pub(crate) manage_streams: bool,
    pub(crate) required: bool,
    pub(crate) stop_timeout: Duration,
    /// Zero means that silence does not matter.
    pub(crate) silence: Duration,
    pub(crate) log: String,
    /// What the user should know of the files.
    pub(crate) warnings: Vec<String>,
    /// Where all this is from, in one line.
    pub(crate) source: String,
    overrides: Vec<Override>,
}

/// Reads the configuration of the instance that `arguments` name.
pub(crate) fn read(
    arguments: &Arguments,
    manifest: &Manifest,
    by_hand: bool,
) -> Result<Settings, SettingsError> {
    let found = tcs_config::find(arguments.config.as_deref(), by_hand)?;
    let loaded = tcs_config::load_service(&found, &arguments.id, manifest)?;
    let entry = loaded.site.services.first();
    let lookup = |name: &str| found.variables.at_run_time(name).map(str::to_owned);
    let written = entry.map(|entry| entry.fields.clone()).unwrap_or_default();
    let mut fields = tcs_config::expand(&written, &manifest.config, &lookup)?;
    let variables = found.variables.process.clone();
    let mut overrides = overlay::from_environment(&manifest.service_type, variables);
    overrides.extend(overlay::from_arguments(&arguments.set));
    for from in &overrides {
        overlay::apply(&mut fields, from, &manifest.config)?;
    }
    let level = entry
        .and_then(|entry| entry.log_level)
        .map(|level| level.as_str().to_owned());
    let names = |paths: &[std::path::PathBuf]| {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    Ok(Settings {
        fields,
        manage_streams: loaded.site.manage_streams,
        required: entry.map_or(loaded.site.nats.required, |entry| entry.required),
        stop_timeout: entry.and_then(|entry| entry.stop_timeout).unwrap_or(STOP_TIMEOUT),
        silence: entry.and_then(|entry| entry.watchdog).unwrap_or(SILENCE),
        log: arguments
            .log
            .clone()
            .or(level)
            .unwrap_or_else(|| "info".to_owned()),
        warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        source: match (found.files.as_slice(), entry.is_some_and(|entry| entry.declared)) {
            ([], _) => format!(
                "no configuration file (looked for {}), defaults are used",
                names(&found.looked_at)
            ),
            (files, true) => format!("configuration from {}", names(files)),
            (files, false) => format!(
                "{} is not declared in {}, defaults are used",
                arguments.id,
                names(files)
            ),
        },
        nats: loaded.site.nats,
        overrides,
    })
}

impl Settings {
    /// Makes the service's own type out of the values.
    pub(crate) fn typed<C: DeserializeOwned>(&self) -> Result<C, SettingsError> {
        let read = |fields: &Map<String, Value>| serde_json::from_value::<C>(Value::Object(fields.clone()));
        let error = match read(&self.fields) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let reason = error.to_string();
        // serde does not say which key it was: the one without which the same complaint is not made.
        let culprit = self.fields.keys().find(|key| {
            let mut without = self.fields.clone();
            without.remove(*key);
            read(&without).map_or_else(|other| other.to_string() != reason, |_| true)
        });
        let Some(key) = culprit else {
            return Err(SettingsError::Whole { reason });
        };
        let top = |from: &&Override| from.key.split('.').next() == Some(key);
        let origin = self
            .overrides
            .iter()
            .rfind(top)
            .map_or(&self.source, |from| &from.origin);
        Err(SettingsError::Value {
            origin: origin.clone(),
            key: key.clone(),
            reason,
        })
    }

    /// Returns the values with the defaults of the code below them, as far as the schema tells these.
    pub(crate) fn effective(&self, schema: &Value) -> Map<String, Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut values: Map<String, Value> = properties
            .into_iter()
            .flatten()
            .filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())))
            .collect();
        values.extend(self.fields.clone());
        values
    }
}
