//! Temporary directories that go away even when this process is killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{Result, TestkitError};

/// Waits for the end of its standard input, which the kernel closes with us, and not for Ctrl-C.
const REMOVE: &str = "trap '' INT TERM HUP; cat; rm -rf --one-file-system \"$1\"";

/// A temporary directory, and the small process that removes it when we let go of it or are gone.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    path: PathBuf,
    remover: Child,
}

impl ScratchDir {
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .map_err(TestkitError::io("cannot make a temporary directory"))?;
        let remover = Command::new("sh")
            .args(["-c", REMOVE, "remove"])
            .arg(made.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(TestkitError::io("cannot start `sh`"))?;
        Ok(Self {
            path: made.keep(),
            remover,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        drop(self.remover.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_ends_with_its_owner() {
        let scratch = ScratchDir::new("tcs-scratch-").expect("a directory");
        let path = scratch.path().to_path_buf();
        std::fs::write(path.join("file"), "content").expect("a file in it");
        drop(scratch);
        assert!(!path.exists());
    }
}
