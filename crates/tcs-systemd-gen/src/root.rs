//! The tree that is installed into, with the few steps that change it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};

use thiserror::Error;

/// A step on a file that failed.
#[derive(Debug, Error)]
#[error("cannot {step} `{path}`")]
pub struct FileError {
    step: &'static str,
    path: String,
    source: io::Error,
}

impl FileError {
    /// Returns whether another user could have done it.
    pub(crate) fn is_permission_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// The folder that stands for `/`.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// Takes a folder as `/`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns whether this is the running system itself.
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Returns the folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns where an absolute path lies.
    pub fn below(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.below(path).symlink_metadata().is_ok()
    }

    /// Reads a file; nothing when it is not there.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<String>, FileError> {
        let on_disk = self.below(path);
        match fs::read(&on_disk) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &on_disk, source)),
        }
    }

    /// Returns the names in a folder, sorted; none when it is not there.
    pub(crate) fn list(&self, folder: &Path) -> Result<Vec<String>, FileError> {
        let on_disk = self.below(folder);
        let entries = match fs::read_dir(&on_disk) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", &on_disk, source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| failed("list", &on_disk, source))?;
            names.extend(entry.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Puts a file in place in one step, so that a reader sees the old or the new one and a crash leaves one of them.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), FileError> {
        let on_disk = self.below(path);
        let folder = on_disk.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".tcs-").tempfile_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist(&on_disk).map_err(|error| error.error)?;
            sync(folder)
        };
        write().map_err(|source| failed("write", &on_disk, source))
    }

    /// Makes a symlink, in one step as well.
    pub(crate) fn link(&self, path: &Path, target: &Path) -> Result<(), FileError> {
        let on_disk = self.below(path);
        let folder = on_disk.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
        let make = || match std::os::unix::fs::symlink(target, &on_disk) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync(folder),
        };
        make().map_err(|source| failed("link", &on_disk, source))
    }

    /// Removes a file or link, and its folder when `install` makes that one and it is left empty.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), FileError> {
        let on_disk = self.below(path);
        match fs::remove_file(&on_disk) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &on_disk, error));
            }
            _ => {}
        }
        if let Some(folder) = on_disk.parent()
            && let Some(name) = folder.file_name().map(std::ffi::OsStr::as_encoded_bytes)
            && (name.starts_with(b"tcs") || name.ends_with(b".wants") || name == b"sysusers.d")
        {
            // Fails when something else is in it, which is as well.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    /// Keeps a copy beside a file that is about to be replaced: `NAME.bak`, or `NAME.bak.1` and so on when earlier
    /// copies are there.
    pub(crate) fn back_up(&self, path: &Path) -> Result<PathBuf, FileError> {
        let on_disk = self.below(path);
        let keep = || {
            let bytes = fs::read(&on_disk)?;
            let permissions = fs::metadata(&on_disk)?.permissions();
            let (copy, mut file) = self.create_copy(path)?;
            let write = file
                .write_all(&bytes)
                .and_then(|()| file.set_permissions(permissions))
                .and_then(|()| file.sync_all())
                .and_then(|()| sync(on_disk.parent().unwrap_or(&self.0)));
            if write.is_err() {
                // Half a copy would only mislead.
                let _ = fs::remove_file(self.below(&copy));
            }
            write.map(|()| copy)
        };
        keep().map_err(|source| failed("copy", &on_disk, source))
    }

    /// Creates the first copy of a file whose name is free, readable for nobody else yet.
    fn create_copy(&self, path: &Path) -> io::Result<(PathBuf, fs::File)> {
        let mut number = 0_u32;
        loop {
            let mut copy = path.as_os_str().to_owned();
            copy.push(".bak");
            if number > 0 {
                copy.push(format!(".{number}"));
            }
            let copy = PathBuf::from(copy);
            let mut options = fs::OpenOptions::new();
            match options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(self.below(&copy))
            {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                other => return other.map(|file| (copy, file)),
            }
        }
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

fn failed(step: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError {
        step,
        path: path.display().to_string(),
        source,
    }
}
