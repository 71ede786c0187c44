//! From the command line to rendered files: nothing is changed here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use tcs_config::{
    Diagnostic, Diagnostics, Found, SERVICE_PATH_VARIABLE, SYSTEM_FILE, ServiceEntry, Site, TypeCatalog,
    When, find_below, load,
};

use crate::failure::Failure;
use crate::plan::Change;
use crate::render::{Rendered, render};
use crate::root::Root;
use crate::system;

/// A configuration that is right, and what follows from it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) site: Site,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) rendered: Rendered,
    /// Where each file lies, or will lie, when services read it.
    at_run_time: BTreeMap<PathBuf, PathBuf>,
}

impl Prepared {
    /// Reads, checks and renders the configuration of a tree: the file given, else `/etc/tcs`, else
    /// `./config/services.yaml`.
    pub(crate) fn new(root: &Root, explicit: Option<&Path>) -> Result<Self, Failure> {
        let mut found = find_below(root.path(), explicit, false)?;
        if found.files.is_empty() {
            let elsewhere = find_below(root.path(), None, true)?;
            if elsewhere.files.is_empty() {
                return Err(no_configuration(&elsewhere));
            }
            found = elsewhere;
        }
        let types = catalog(root, &found);
        let loaded = load(&found, &types)?;
        check_schedules(&loaded.site)?;
        let at_run_time: BTreeMap<_, _> = found
            .files
            .iter()
            .map(|file| (file.clone(), run_time_path(file)))
            .collect();
        let source = |entry: &ServiceEntry| {
            let file = at_run_time.get(&entry.place.file).unwrap_or(&entry.place.file);
            format!("{}:{}", file.display(), entry.place.line)
        };
        let rendered = render(&loaded.site, &source, &|path| root.exists(path));
        Ok(Self {
            site: loaded.site,
            warnings: loaded.warnings,
            rendered,
            at_run_time,
        })
    }

    /// Returns the files that have to be copied to where services read them.
    ///
    /// # Errors
    /// When others lie there, which only `force` replaces.
    pub(crate) fn copies(&self, root: &Root, force: bool) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        for (file, path) in &self.at_run_time {
            if is_same(file, &root.below(path)) {
                continue;
            }
            let after = fs::read_to_string(file).unwrap_or_default();
            let before = root.read(path)?;
            match &before {
                Some(before) if *before == after => {}
                Some(_) if !force => {
                    let installed = root.below(path).display().to_string();
                    return Err(Failure::OtherConfiguration {
                        installed,
                        given: file.display().to_string(),
                    });
                }
                _ => changes.push(Change::Write {
                    path: path.clone(),
                    before,
                    after,
                }),
            }
        }
        let folder = Path::new(SYSTEM_FILE).with_file_name("services.d");
        for name in root
            .list(&folder)?
            .iter()
            .filter(|name| name.ends_with(".yaml") && !name.starts_with('.'))
        {
            let path = folder.join(name);
            if !self.at_run_time.values().any(|known| *known == path) {
                return Err(Failure::OtherPart(root.below(&path).display().to_string()));
            }
        }
        Ok(changes)
    }
}

/// Returns the installed service types of a tree.
pub(crate) fn catalog(root: &Root, found: &Found) -> TypeCatalog {
    let from_file = found.variables.host.get(SERVICE_PATH_VARIABLE).cloned();
    let service_path = env::var(SERVICE_PATH_VARIABLE).ok().or(from_file);
    TypeCatalog::installed(root.path(), service_path.as_deref())
}

fn no_configuration(found: &Found) -> Failure {
    let looked_at: Vec<String> = found
        .looked_at
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Failure::NoConfiguration {
        looked_at: looked_at.join(", "),
    }
}

/// Returns where services will read a file: its place in `/etc/tcs`.
fn run_time_path(file: &Path) -> PathBuf {
    let system = Path::new(SYSTEM_FILE);
    let is_part = file
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|folder| folder == "services.d");
    match file.file_name() {
        Some(name) if is_part => system.with_file_name("services.d").join(name),
        _ => system.to_owned(),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Asks systemd whether the schedules are times; without `systemd-analyze` they pass.
fn check_schedules(site: &Site) -> Result<(), Diagnostics> {
    let mut refused = Vec::new();
    let mut answers: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for entry in &site.services {
        let Some(timer) = &entry.timer else { continue };
        let When::Calendar { events, .. } = &timer.when else {
            continue;
        };
        for event in events {
            let answer = answers
                .entry(event.expression())
                .or_insert_with(|| system::check_calendar(event.expression()).and_then(Result::err));
            if let Some(reason) = answer {
                refused.push(event.refused(reason));
            }
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(refused.into_iter().collect())
    }
}
