//! Child processes that never outlive the process that started them.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::error::{Result, TestkitError};

const KEPT_LINES: usize = 60;

/// A long-running child. It dies with us, however we end: the kernel's parent death signal hangs on the *thread* that
/// started it, so a thread of its own starts it and waits for it.
#[derive(Debug)]
pub struct Guarded {
    pid: Pid,
    shared: Arc<Shared>,
    // Held open for as long as the child may live: its end of file tells the clean-up that we are gone.
    stdin: Option<ChildStdin>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    status: Option<ExitStatus>,
    lines: std::collections::VecDeque<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: String) {
        let mut state = self.lock();
        if state.lines.len() == KEPT_LINES {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }
}

impl Guarded {
    /// Starts `setpriv --pdeathsig KILL PROGRAM ARGS…` and keeps the last lines of what it writes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(program: &Command) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program.get_program())
            .args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let what = format!("cannot start `{}`", crate::command::shown(&command));

        let shared = Arc::new(Shared::default());
        let (tell, told) = mpsc::channel();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let readers = [child.stdout.take().map(boxed), child.stderr.take().map(boxed)];
            for reader in readers.into_iter().flatten() {
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || {
                    for line in BufReader::new(reader)
                        .split(b'\n')
                        .map_while(std::result::Result::ok)
                    {
                        shared.keep(plain(&line));
                    }
                });
            }
            let pid = Pid::from_child(&child);
            drop(tell.send(Ok((pid, child.stdin.take()))));
            // Not reaped before the lock is held, so that `kill` can never reach a stranger with the same number.
            let ended = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let mut state = of_thread.lock();
            state.status = ended
                .ok()
                .and_then(|_| child.wait().ok())
                .or(Some(ExitStatus::default()));
            of_thread.ended.notify_all();
        });
        match told.recv() {
            Ok(Ok((pid, stdin))) => Ok(Self { pid, shared, stdin }),
            Ok(Err(source)) => Err(TestkitError::Io { what, source }),
            Err(_) => Err(TestkitError::io_from(what, std::io::ErrorKind::BrokenPipe)),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.lock().status
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let state = self.shared.lock();
        if state.status.is_none() {
            // It can only have ended meanwhile, which is what is wanted.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits until it has ended; `None` when the deadline passed first.
    #[must_use]
    pub fn wait(&self, deadline: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        while state.status.is_none() {
            let left = end.checked_duration_since(Instant::now())?;
            state = self
                .shared
                .ended
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.status
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.wait(Duration::from_secs(10));
        drop(self.stdin.take());
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let state = self.shared.lock();
        state.lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

fn boxed(reader: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(reader)
}

/// A console line without its colours and cursor movements.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // CSI sequences end with a letter; others are two characters long.
                if characters.next() == Some('[') {
                    characters.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            '\r' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(
            plain(b"[\x1b[0;32m  OK  \x1b[0m] Reached \x1b[0;1;39mtarget\x1b[0m\r"),
            "[  OK  ] Reached target"
        );
    }

    #[test]
    fn the_end_of_a_child_and_its_words_are_seen() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo said; exit 3"]);
        let child = Guarded::spawn(&command).expect("sh starts");
        let status = child.wait(Duration::from_secs(10)).expect("it ends");
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_child_dies_with_its_owner() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let child = Guarded::spawn(&command).expect("sleep starts");
        let proc = format!("/proc/{}", child.pid().as_raw_nonzero());
        assert!(std::path::Path::new(&proc).exists());
        drop(child);
        assert!(!std::path::Path::new(&proc).exists());
    }
}
