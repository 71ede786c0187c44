//! services.yaml: its model, its search path and its diagnostics.
//!
//! [`find()`] says which files make up a configuration, [`load()`] and its kin read them into a [`Site`]. Whatever is wrong
//! comes back as [`Diagnostics`]: file, line, column, what was expected and what to do, all problems at once. Nothing
//! here talks to NATS or systemd, and nothing is executed.

mod catalog;
mod diagnostic;
mod duration;
mod entry;
mod expand;
mod find;
mod keys;
mod load;
mod merge;
mod model;
mod reader;
mod schema;
mod settings;
mod source;
mod suggest;
mod timer;
mod words;
mod yaml;

pub use catalog::{InstalledType, ManifestError, SERVICE_PATH, TypeCatalog};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use duration::{format_duration, parse_duration};
pub use expand::{ExpandError, expand};
pub use find::{
    CONFIG_VARIABLE, ConfigError, ENVIRONMENT_FILE, Found, LOCAL_FILE, SERVICE_PATH_VARIABLE, SYSTEM_FILE,
    Variables, find, find_below,
};
pub use keys::{ENTRY_KEYS, Key, NATS_KEYS, TOP_KEYS, entry_names, reference};
pub use load::{Loaded, load, load_service, load_settings, load_sound};
pub use model::{
    CalendarEvent, DEFAULT_NATS_URL, Enabled, LogLevel, NatsSettings, Program, Restart, ServiceEntry, Site,
    Timer, When,
};
pub use source::Place;
