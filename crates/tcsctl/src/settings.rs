//! Which server is spoken to, and who says so.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tcs_bus::BusOptions;
use tcs_config::{Found, NatsSettings};
use tcs_wire::{HostName, SubjectPrefix};

use crate::cli::Global;
use crate::failure::Failure;

/// Names the server when no option does.
pub(crate) const URL_VARIABLE: &str = "TCS_NATS_URL";

/// What a command needs to know of the site.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) urls: Vec<String>,
    pub(crate) prefix: SubjectPrefix,
    pub(crate) origin: Origin,
    /// This host's name in ids.
    pub(crate) host: HostName,
    /// The configuration's files, for the local view.
    pub(crate) found: Found,
}

/// What set the address of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--nats`
    Option,
    /// An environment variable.
    Variable(&'static str),
    /// `nats:` in a file, at a line.
    File(PathBuf, usize),
    /// Nobody; with the places where somebody could.
    Default(Vec<PathBuf>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => f.write_str("--nats"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::File(path, line) => write!(f, "`nats:` in {}:{line}", path.display()),
            Self::Default(looked_at) => {
                f.write_str("nowhere, it is the default")?;
                match looked_at.last() {
                    Some(path) => write!(f, "; set it by `nats: {{url: …}}` in {}", path.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Settings {
    /// Decides by option, then `TCS_NATS_URL`, then the configuration, then the default.
    pub(crate) fn find(global: &Global) -> Result<(Self, Option<Failure>), Failure> {
        let from_variable: Vec<String> = env::var(URL_VARIABLE)
            .map(|urls| split(&urls))
            .unwrap_or_default();
        let named = if !global.nats.is_empty() {
            Some((global.nats.clone(), Origin::Option))
        } else if from_variable.is_empty() {
            None
        } else {
            Some((from_variable, Origin::Variable(URL_VARIABLE)))
        };
        match (read(global), named) {
            (Ok(read), named) => {
                let (urls, origin) = match named {
                    Some(named) => named,
                    None => (read.nats.urls.clone(), origin(&read)),
                };
                let prefix = global.prefix.clone().unwrap_or(read.nats.subject_prefix);
                Ok((
                    Self {
                        urls,
                        prefix,
                        origin,
                        host: read.host,
                        found: read.found,
                    },
                    None,
                ))
            }
            // Whoever names the server does not need the configuration to be right.
            (Err(failure), Some((urls, origin))) => {
                let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
                let prefix = global.prefix.clone().unwrap_or_default();
                let host = HostName::from_system(name.trim());
                Ok((
                    Self {
                        urls,
                        prefix,
                        origin,
                        host,
                        found: Found::files([]),
                    },
                    Some(failure),
                ))
            }
            (Err(failure), None) => Err(failure),
        }
    }

    /// Returns how to connect.
    pub(crate) fn bus_options(&self) -> BusOptions {
        BusOptions {
            urls: self.urls.clone(),
            name: "tcsctl".to_owned(),
            prefix: self.prefix.clone(),
            credentials: None,
        }
    }
}

struct Read {
    nats: NatsSettings,
    host: HostName,
    found: Found,
}

fn read(global: &Global) -> Result<Read, Failure> {
    let found =
        tcs_config::find(global.config.as_deref(), true).map_err(|error| Failure::of_files(&error))?;
    let loaded =
        tcs_config::load_settings(&found).map_err(|problems| Failure::of_configuration(&problems))?;
    Ok(Read {
        nats: loaded.site.nats,
        host: loaded.site.host,
        found,
    })
}

fn origin(read: &Read) -> Origin {
    // The last file that has the key wins, as in the configuration itself.
    let lines = read
        .found
        .files
        .iter()
        .rev()
        .filter_map(|path| Some((path, line_of_nats(path)?)));
    if let Some((path, line)) = lines.into_iter().next() {
        return Origin::File(path.clone(), line);
    }
    let set = |name: &&&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    match ["NATS_HOST", "NATS_PORT"].iter().find(set) {
        Some(name) => Origin::Variable(name),
        None => Origin::Default(
            read.found
                .looked_at
                .iter()
                .filter(|path| !path.ends_with("*.yaml"))
                .cloned()
                .collect(),
        ),
    }
}

fn line_of_nats(path: &Path) -> Option<usize> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .position(|line| line.starts_with("nats:"))
        .map(|index| index + 1)
}

fn split(urls: &str) -> Vec<String> {
    urls.split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect()
}
