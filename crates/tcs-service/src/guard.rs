//! The second thread of a service: it takes the signals, and ends a process whose first thread no longer can.
//!
//! A service that hangs in `loop {}` holds the runtime. STOPPING=1, the second Ctrl-C, the deadline for the stop and
//! the end of a silent job must still work then, so they live here.

use std::io;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tcs_wire::Exit;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::notify;
use crate::watchdog::Watchdog;

/// What the first thread has for saying goodbye after the deadline, before it is cut off.
const GRACE: Duration = Duration::from_secs(3);

/// What a guard watches over.
pub(crate) struct Watched {
    /// How long an orderly end may take.
    pub(crate) stop_timeout: Duration,
    /// The longest silence of a job, and the book that knows it; none for a permanent service, which systemd watches.
    pub(crate) silence: Option<(Duration, Arc<Watchdog>)>,
}

/// The handle of the guard thread; dropping it ends the thread.
pub(crate) struct Guard {
    stop: CancellationToken,
    ended: CancellationToken,
    deadline: Arc<OnceLock<Instant>>,
    stop_timeout: Duration,
}

impl Guard {
    /// Starts the thread; once this returns, a signal is a request to stop.
    pub(crate) fn start(watched: Watched) -> io::Result<Self> {
        let guard = Self {
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            deadline: Arc::default(),
            stop_timeout: watched.stop_timeout,
        };
        let (stop, ended, deadline) = (guard.stop.clone(), guard.ended.clone(), Arc::clone(&guard.deadline));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (started, has_started) = mpsc::sync_channel(1);
        thread::Builder::new().name("tcs-guard".to_owned()).stack_size(256 * 1024).spawn(move || {
            runtime.block_on(async move {
                match Signals::new() {
                    Ok(signals) => {
                        let _ = started.send(Ok(()));
                        watch(signals, &stop, &ended, &deadline, watched).await;
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            });
        })?;
        has_started.recv().map_err(io::Error::other)??;
        Ok(guard)
    }

    /// Returns the token that is cancelled when a stop is asked for.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Returns when the orderly end must be over, counted from the moment the stop was asked for.
    pub(crate) fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + self.stop_timeout)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

async fn watch(
    mut signals: Signals,
    stop: &CancellationToken,
    ended: &CancellationToken,
    deadline: &OnceLock<Instant>,
    watched: Watched,
) {
    let begin = |why: &str| {
        notify::stopping();
        info!("stopping: {why}");
        deadline.get_or_init(|| Instant::now() + watched.stop_timeout);
        stop.cancel();
    };
    let limit = watched.silence.as_ref().map_or(Duration::from_secs(3600), |(limit, _)| *limit);
    let mut look = interval(limit / 4);
    loop {
        let cut_off = deadline.get().map(|deadline| *deadline + GRACE);
        tokio::select! {
            biased;
            () = ended.cancelled() => return,
            _ = signals.terminate.recv() => if !stop.is_cancelled() { begin("SIGTERM") },
            _ = signals.interrupt.recv() => {
                if stop.is_cancelled() {
                    end_now(Exit::StopDeadline, "interrupted a second time, ending at once");
                }
                begin("SIGINT");
            }
            () = sleep_until(cut_off.unwrap_or_else(Instant::now)), if cut_off.is_some() => {
                end_now(Exit::StopDeadline, "the deadline for the stop passed and the service does not yield");
            }
            _ = look.tick() => if let Some((limit, watchdog)) = &watched.silence {
                if watchdog.silence().is_some_and(|silence| silence >= *limit) {
                    let limit = limit.as_secs_f64();
                    end_now(Exit::Bug, &format!("the job hangs: no sign of life for {limit} s"));
                }
            }
        }
    }
}

#[expect(clippy::exit, reason = "the first thread hangs: nothing but the end of the process ends it")]
fn end_now(exit: Exit, why: &str) {
    error!("{why}");
    notify::status(&format!("failed: {why}"));
    std::process::exit(exit.code().into());
}
