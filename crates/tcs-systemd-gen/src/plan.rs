//! What has to change so that a tree holds what was rendered, and what must be left alone.

use std::path::{Path, PathBuf};

use tcs_config::Enabled;
use tcs_wire::UnitName;

use crate::mark::{self, Origin};
use crate::render::{DROP_IN, Link, Rendered, STATICS, UNIT_FOLDER, enabled_word};
use crate::root::{FileError, Root};

/// One change of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Write {
        path: PathBuf,
        before: Option<String>,
        after: String,
    },
    Remove {
        path: PathBuf,
        before: String,
    },
    Enable {
        path: PathBuf,
        target: PathBuf,
    },
    Disable {
        path: PathBuf,
    },
}

/// A file that somebody else has to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    pub(crate) why: &'static str,
    /// What `--force` would make of it.
    pub(crate) change: Change,
}

/// All changes, in an order that can be broken off anywhere: the next run does the rest.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) kept: Vec<Kept>,
    /// What this user may not look at.
    pub(crate) unread: Vec<PathBuf>,
}

impl Change {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Write { path, .. } | Self::Remove { path, .. } => path,
            Self::Enable { path, .. } | Self::Disable { path } => path,
        }
    }

    /// Returns whether systemd has to read its units again.
    pub(crate) fn concerns_systemd(&self) -> bool {
        self.path().starts_with(UNIT_FOLDER)
    }

    pub(crate) fn apply(&self, root: &Root) -> Result<(), FileError> {
        match self {
            Self::Write { path, after, .. } => root.write(path, after),
            Self::Remove { path, .. } | Self::Disable { path } => root.remove(path),
            Self::Enable { path, target } => root.link(path, target),
        }
    }
}

impl Plan {
    /// Compares a tree with what it should hold.
    pub(crate) fn install(root: &Root, rendered: &Rendered) -> Result<Self, FileError> {
        let mut plan = Self::default();
        // Links come first: that a unit is new is seen from the file that is not there yet.
        for link in &rendered.links {
            plan.link(root, link)?;
        }
        for (path, after) in &rendered.files {
            plan.write(root, path, after)?;
        }
        for path in written_files(root)?
            .into_iter()
            .filter(|path| !rendered.files.contains_key(path))
        {
            plan.disable_with(root, &path);
            plan.remove(root, path)?;
        }
        for (path, _) in rendered.files.iter().filter(|(_, text)| is_job(text)) {
            // It was declared as a permanent service before; of a job only the timer starts with the machine.
            plan.disable_with(root, path);
        }
        plan.changes
            .sort_by_key(|change| !matches!(change, Change::Enable { .. } | Change::Disable { .. }));
        Ok(plan)
    }

    /// Finds everything that was ever installed.
    pub(crate) fn uninstall(root: &Root) -> Result<Self, FileError> {
        let mut plan = Self::default();
        let packaged = root.exists(Path::new(STATICS[0].packaged));
        for path in links_in(root)? {
            // With a package's template, an instance that was never declared here is not ours to disable.
            if !packaged || root.exists(&declared_by(&path)) {
                plan.changes.push(Change::Disable { path });
            }
        }
        for path in written_files(root)? {
            plan.remove(root, path)?;
        }
        let stamps = Path::new("/var/lib/systemd/timers");
        for name in root
            .list(stamps)?
            .iter()
            .filter(|name| name.starts_with("stamp-tcs@"))
        {
            plan.changes.push(Change::Remove {
                path: stamps.join(name),
                before: String::new(),
            });
        }
        Ok(plan)
    }

    fn link(&mut self, root: &Root, link: &Link) -> Result<(), FileError> {
        let wanted = link.enabled == Enabled::True;
        let witness = root.read(&link.witness)?;
        let was_job = witness.as_deref().is_some_and(is_job);
        let known = match witness.as_deref().map(mark::read) {
            None => None,
            // The service of a job never had a link, whatever its drop-in says of `enabled`.
            Some(Origin::Ours { .. }) if was_job => None,
            Some(Origin::Ours { enabled }) => Some(enabled.unwrap_or_else(|| "true".to_owned())),
            // Whoever edits our file decides about the rest, too.
            Some(Origin::Changed | Origin::Foreign) => return Ok(()),
        };
        if known.as_deref() == Some(enabled_word(link.enabled)) {
            return Ok(());
        }
        let (path, target) = (link.path.clone(), link.target.clone());
        match (wanted, root.exists(&link.path)) {
            (true, false) => self.changes.push(Change::Enable { path, target }),
            // Not the first time, so the link is ours or the administrator's answer to what was declared before.
            (false, true) if known.as_deref() == Some("true") => self.changes.push(Change::Disable { path }),
            _ => {}
        }
        Ok(())
    }

    /// Takes the unit of a drop-in out of what starts with the machine.
    fn disable_with(&mut self, root: &Root, drop_in: &Path) {
        let unit = drop_in
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy();
        let Some(unit) = unit.strip_suffix(".d") else {
            return;
        };
        let path = Path::new(UNIT_FOLDER).join("tcs.target.wants").join(unit);
        if root.exists(&path) {
            self.changes.push(Change::Disable { path });
        }
    }

    fn write(&mut self, root: &Root, path: &Path, after: &str) -> Result<(), FileError> {
        let before = match root.read(path) {
            Err(error) if error.is_permission_denied() => {
                self.unread.push(path.to_owned());
                return Ok(());
            }
            other => other?,
        };
        if before.as_deref() == Some(after) {
            return Ok(());
        }
        let origin = before.as_deref().map(mark::read);
        let change = Change::Write {
            path: path.to_owned(),
            before,
            after: after.to_owned(),
        };
        self.add(origin, change);
        Ok(())
    }

    fn remove(&mut self, root: &Root, path: PathBuf) -> Result<(), FileError> {
        let Some(before) = root.read(&path)? else {
            return Ok(());
        };
        let origin = mark::read(&before);
        if origin != Origin::Foreign {
            self.add(Some(origin), Change::Remove { path, before });
        }
        Ok(())
    }

    fn add(&mut self, origin: Option<Origin>, change: Change) {
        let why = match origin {
            None | Some(Origin::Ours { .. }) => return self.changes.push(change),
            Some(Origin::Changed) => "it was changed by hand",
            Some(Origin::Foreign) => "it was not written by tcs-systemd-gen",
        };
        self.kept.push(Kept {
            path: change.path().to_owned(),
            why,
            change,
        });
    }
}

/// Returns whether a drop-in makes a job of a service.
fn is_job(drop_in: &str) -> bool {
    drop_in.lines().any(|line| line == "Type=oneshot")
}

/// Returns the places where files of ours may lie, as far as there are files.
fn written_files(root: &Root) -> Result<Vec<PathBuf>, FileError> {
    let mut paths: Vec<PathBuf> = STATICS.iter().map(|file| file.installed.into()).collect();
    for name in root.list(Path::new(UNIT_FOLDER))? {
        if name
            .strip_suffix(".d")
            .is_some_and(|unit| UnitName::parse(unit).is_ok())
        {
            paths.push(Path::new(UNIT_FOLDER).join(name).join(DROP_IN));
        }
    }
    paths.retain(|path| root.exists(path));
    Ok(paths)
}

/// Returns the links that start units of ours with others.
fn links_in(root: &Root) -> Result<Vec<PathBuf>, FileError> {
    let mut links = Vec::new();
    for folder in ["tcs.target.wants", "multi-user.target.wants"] {
        let folder = Path::new(UNIT_FOLDER).join(folder);
        for name in root.list(&folder)? {
            let ours =
                name == "tcs.target" || name == "tcs-manager.service" || UnitName::parse(&name).is_ok();
            if ours {
                links.push(folder.join(name));
            }
        }
    }
    Ok(links)
}

/// Returns the drop-in of the unit that a link starts.
fn declared_by(link: &Path) -> PathBuf {
    let unit = link.file_name().unwrap_or_default().to_string_lossy();
    Path::new(UNIT_FOLDER).join(format!("{unit}.d")).join(DROP_IN)
}
