//! Where the configuration lies, and the variables that it may refer to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use thiserror::Error;

use crate::catalog::below;

/// The configuration of a host.
pub const SYSTEM_FILE: &str = "/etc/tcs/services.yaml";
/// The configuration that a run by hand looks for first.
pub const LOCAL_FILE: &str = "config/services.yaml";
/// Variables of the host, for unit lines and for every service (design decision 12).
pub const ENVIRONMENT_FILE: &str = "/etc/tcs/env";
/// Variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "TCS_CONFIG";
/// Variable with further folders of service binaries, colons between.
pub const SERVICE_PATH_VARIABLE: &str = "TCS_SERVICE_PATH";

/// Why the configuration files cannot be had.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file that was asked for is not there.
    #[error("there is no configuration file `{path}` ({asked_by})")]
    Missing {
        /// The file.
        path: String,
        /// What names it: `--config` or `TCS_CONFIG`.
        asked_by: &'static str,
    },
    /// A file or folder cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line of the environment file is no assignment.
    #[error("{path}:{line}: expected `NAME=value`")]
    Environment {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
}

/// The files of a configuration, in the order in which later ones are laid over earlier ones.
#[derive(Debug, Clone)]
pub struct Found {
    /// What stands for `/`.
    pub root: PathBuf,
    /// The files; empty when there is no configuration, which is one too.
    pub files: Vec<PathBuf>,
    /// Where was looked.
    pub looked_at: Vec<PathBuf>,
    /// What `${VAR}` may refer to.
    pub variables: Variables,
}

/// What `${VAR}` may refer to.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Those of `/etc/tcs/env`: they alone go into units.
    pub host: BTreeMap<String, String>,
    /// Those of this process, for what is read at run time.
    pub process: BTreeMap<String, String>,
}

impl Variables {
    /// Returns a variable of the process, else of the host.
    pub fn at_run_time(&self, name: &str) -> Option<&str> {
        self.process
            .get(name)
            .or_else(|| self.host.get(name))
            .map(String::as_str)
    }

    /// Returns a variable that may go into a unit.
    pub fn of_host(&self, name: &str) -> Option<&str> {
        self.host.get(name).map(String::as_str)
    }
}

/// Finds the configuration of this process: `explicit` (`--config`), else `TCS_CONFIG`, else for a run `by_hand`
/// `./config/services.yaml`, else `/etc/tcs/services.yaml`; with each goes the folder `services.d` beside it.
///
/// # Errors
/// When a file that was asked for is not there, or one that is there cannot be read.
pub fn find(explicit: Option<&Path>, by_hand: bool) -> Result<Found, ConfigError> {
    find_below(Path::new("/"), explicit, by_hand)
}

/// As [`find`], with `root` in place of `/` for what lies in `/etc`.
///
/// # Errors
/// As [`find`].
pub fn find_below(root: &Path, explicit: Option<&Path>, by_hand: bool) -> Result<Found, ConfigError> {
    let process: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let host = read_environment(&below(root, Path::new(ENVIRONMENT_FILE)))?;
    let from_variable = process
        .get(CONFIG_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let mut found = Found {
        root: root.to_owned(),
        variables: Variables { host, process },
        ..Found::files([])
    };
    let asked = explicit
        .map(|path| (path.to_owned(), "--config"))
        .or(from_variable.map(|path| (path, CONFIG_VARIABLE)));
    if let Some((path, asked_by)) = asked {
        if !path.is_file() {
            return Err(ConfigError::Missing {
                path: path.display().to_string(),
                asked_by,
            });
        }
        found.add(path)?;
        return Ok(found);
    }
    let local = by_hand.then(|| PathBuf::from(LOCAL_FILE));
    for path in local.into_iter().chain([below(root, Path::new(SYSTEM_FILE))]) {
        found.add(path)?;
        if !found.files.is_empty() {
            break;
        }
    }
    Ok(found)
}

impl Found {
    /// Takes exactly these files, without looking anywhere.
    pub fn files(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            root: PathBuf::from("/"),
            files: files.into_iter().collect(),
            looked_at: Vec::new(),
            variables: Variables::default(),
        }
    }

    /// Adds a file and the `services.d` beside it, as far as they are there.
    fn add(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let folder = path.with_file_name("services.d");
        if path.exists() {
            self.files.push(path.clone());
        }
        self.looked_at.push(path);
        let read = |source| ConfigError::Read {
            path: folder.display().to_string(),
            source,
        };
        let mut parts = Vec::new();
        match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(read(error)),
            Ok(entries) => {
                for entry in entries {
                    let part = entry.map_err(read)?.path();
                    let hidden = part
                        .file_name()
                        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                    if !hidden && part.extension().is_some_and(|extension| extension == "yaml") {
                        parts.push(part);
                    }
                }
            }
        }
        parts.sort();
        self.files.extend(parts);
        self.looked_at.push(folder.join("*.yaml"));
        Ok(())
    }
}

/// Reads `NAME=value` lines as `EnvironmentFile=` of `systemd.exec(5)` does: comments, and quotes around a value.
fn read_environment(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let name = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        // It may hold secrets that only systemd may read; then nothing here can refer to them.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(BTreeMap::new());
        }
        Err(source) => return Err(ConfigError::Read { path: name(), source }),
    };
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(ConfigError::Environment {
                path: name(),
                line: index + 1,
            });
        };
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        variables.insert(key.trim().to_owned(), unquoted.unwrap_or(value).to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_read_as_systemd_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        fs::write(&path, "# site\nSITE=oca\n\n QUOTED = \"a b\" \nEMPTY=\n").unwrap();
        let variables = read_environment(&path).unwrap();
        assert_eq!(variables["SITE"], "oca");
        assert_eq!(variables["QUOTED"], "a b");
        assert_eq!(variables["EMPTY"], "");
        fs::write(&path, "A=1\nnot an assignment\n").unwrap();
        let error = read_environment(&path).unwrap_err().to_string();
        assert!(error.ends_with("env:2: expected `NAME=value`"), "{error}");
    }

    #[test]
    fn the_folder_beside_the_file_belongs_to_it() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/tcs");
        fs::create_dir_all(etc.join("services.d")).unwrap();
        for name in [
            "services.yaml",
            "services.d/20-b.yaml",
            "services.d/10-a.yaml",
            "services.d/notes.txt",
        ] {
            fs::write(etc.join(name), "").unwrap();
        }
        let found = find_below(root.path(), None, false).unwrap();
        let names: Vec<_> = found
            .files
            .iter()
            .map(|path| path.strip_prefix(&etc).unwrap())
            .collect();
        assert_eq!(
            names,
            ["services.yaml", "services.d/10-a.yaml", "services.d/20-b.yaml"].map(Path::new)
        );
    }

    #[test]
    fn no_configuration_is_one_too_but_a_named_file_must_be_there() {
        let root = tempfile::tempdir().unwrap();
        let found = find_below(root.path(), None, false).unwrap();
        assert!(found.files.is_empty());
        assert_eq!(found.looked_at.len(), 2);
        let missing = root.path().join("other.yaml");
        let error = find_below(root.path(), Some(&missing), false).unwrap_err();
        assert!(matches!(
            error,
            ConfigError::Missing {
                asked_by: "--config",
                ..
            }
        ));
    }
}
