//! The files that units are made of: systemd tells nobody when they change, yet says so when it is asked
//! (`NeedDaemonReload`).

use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::signals::Change;

/// How the files of the suite's units, and the folders of their drop-ins, begin.
const OURS: &str = "tcs@";
/// Files are written in groups: one word for all that follow each other so closely.
const QUIET: Duration = Duration::from_millis(100);

/// Watches the folders of systemd's search path.
pub(super) struct UnitFiles {
    inotify: AsyncFd<OwnedFd>,
    directories: Vec<PathBuf>,
    /// The watches of `directories`; the others are of folders of drop-ins.
    top: HashSet<i32>,
}

impl UnitFiles {
    /// Begins to watch; a folder that does not exist has no files, and systemd does not look there either.
    ///
    /// # Errors
    /// When the kernel has no watch to give.
    pub(super) fn watch(directories: Vec<PathBuf>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that may change their descriptor, which this one cannot"
        )]
        let inotify = AsyncFd::new(inotify)?;
        let mut files = Self {
            inotify,
            directories,
            top: HashSet::new(),
        };
        files.look_for_drop_ins();
        Ok(files)
    }

    /// Says each time that files have changed, until nobody listens.
    pub(super) async fn tell(mut self, changes: mpsc::UnboundedSender<Change>) {
        while self.changed().await.is_ok() {
            while matches!(tokio::time::timeout(QUIET, self.changed()).await, Ok(Ok(()))) {}
            self.look_for_drop_ins();
            if changes.send(Change::UnitFilesChanged).is_err() {
                return;
            }
        }
    }

    /// Waits for a change that concerns the suite. Dropping the future loses nothing that is not told again.
    async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut ours = false;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| name.to_bytes()).unwrap_or_default();
                        let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                        ours |= lost || !self.top.contains(&event.wd()) || name.starts_with(OURS.as_bytes());
                    }
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if ours {
                return Ok(());
            }
        }
    }

    /// Watches what has come up since the last time; watching a folder twice is watching it once.
    fn look_for_drop_ins(&mut self) {
        for directory in &self.directories {
            if let Some(watch) = self.add(directory) {
                self.top.insert(watch);
            }
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let drop_ins = entries.map(|entry| entry.path()).filter(|path| {
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                name.starts_with(OURS) && path.extension().is_some_and(|extension| extension == "d")
            });
            for folder in drop_ins {
                self.add(&folder);
            }
        }
    }

    fn add(&self, directory: &Path) -> Option<i32> {
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(self.inotify.get_ref(), directory, events) {
            Ok(watch) => Some(watch),
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(error) => {
                tracing::warn!(%error, directory = %directory.display(), "cannot watch the files of units");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_changed_drop_in_is_told_and_a_stranger_is_not() {
        let directory = std::env::temp_dir().join(format!("tcs-unit-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let files = UnitFiles::watch(vec![directory.clone(), "/nowhere".into()]).unwrap();
        let (sender, mut changes) = mpsc::unbounded_channel();
        let telling = tokio::spawn(files.tell(sender));
        std::fs::write(directory.join("other.service"), "").unwrap();
        let drop_ins = directory.join("tcs@a.service.d");
        std::fs::create_dir(&drop_ins).unwrap();
        assert_eq!(changes.recv().await, Some(Change::UnitFilesChanged));
        assert!(changes.try_recv().is_err());
        // The folder is new, and watched by now.
        std::fs::write(drop_ins.join("10-tcs.conf"), "").unwrap();
        assert_eq!(changes.recv().await, Some(Change::UnitFilesChanged));
        telling.abort();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
