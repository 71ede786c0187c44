//! The second thread of a service: it takes the signals, and ends a process whose first thread no longer can.
//!
//! A service that hangs in `loop {}` holds the runtime. STOPPING=1, the second Ctrl-C, the deadline for the stop and
//! the end of a silent job must still work then, so they live here.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tcs_wire::Exit;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::notify;
use crate::stop::Stop;
use crate::watchdog::Watchdog;

/// What the first thread of a silent job has for its farewell before it is cut off.
const GRACE: Duration = Duration::from_secs(4);

/// The longest silence of a job, and the book that knows it.
pub(crate) type Silence = (Duration, Arc<Watchdog>);

/// The handle of the guard thread; dropping it ends the thread.
pub(crate) struct Guard {
    ended: CancellationToken,
}

impl Guard {
    /// Starts the thread; once this returns, a signal is a request to stop.
    ///
    /// `silence` is given for a job only: systemd watches over a permanent service.
    pub(crate) fn start(stop: Arc<Stop>, silence: Option<Silence>) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let until = ended.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (started, has_started) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("tcs-guard".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                runtime.block_on(async move {
                    match Signals::new() {
                        Ok(mut signals) => {
                            let _ = started.send(Ok(()));
                            tokio::select! {
                                () = until.cancelled() => {}
                                () = signals.watch(&stop) => {}
                                () = cut_off(&stop) => {}
                                () = listen(silence, &stop) => {}
                            }
                        }
                        Err(error) => {
                            let _ = started.send(Err(error));
                        }
                    }
                });
            })?;
        has_started.recv().map_err(io::Error::other)??;
        Ok(Self { ended })
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
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Takes the first signal as a request, and the second Ctrl-C as an order.
    async fn watch(&mut self, stop: &Stop) {
        loop {
            let (name, interrupted) = tokio::select! {
                _ = self.terminate.recv() => ("SIGTERM", false),
                _ = self.interrupt.recv() => ("SIGINT", true),
                _ = self.hangup.recv() => {
                    info!("SIGHUP: the configuration is read at the start, restart the service to change it");
                    continue;
                }
            };
            if stop.ask() {
                info!("stopping: {name}");
            } else if interrupted {
                end_now(
                    stop,
                    Exit::StopDeadline,
                    "interrupted a second time, ending at once",
                );
            }
        }
    }
}

/// Ends a process that is still there well after its deadline.
async fn cut_off(stop: &Stop) {
    stop.cut_off().await;
    end_now(
        stop,
        Exit::StopDeadline,
        "the deadline for the stop passed and the service does not yield",
    );
}

/// Tells the first thread of a silent job, and ends the process if that does not listen either.
async fn listen(silence: Option<Silence>, stop: &Stop) {
    let Some((limit, watchdog)) = silence.filter(|(limit, _)| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    let mut look = interval((limit / 4).min(Duration::from_secs(1)));
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while watchdog.silence().is_none_or(|silence| silence < limit) {
        look.tick().await;
    }
    error!("the job hangs: no sign of life for {} s", limit.as_secs_f64());
    stop.hung.cancel();
    sleep(GRACE).await;
    end_now(stop, Exit::Bug, "the job hangs and does not yield");
}

#[expect(
    clippy::exit,
    reason = "the first thread hangs: nothing but the end of the process ends it"
)]
fn end_now(stop: &Stop, exit: Exit, why: &str) {
    if let Some(decided) = stop.decided() {
        // The service has told how it ended; that its farewell is cut short changes nothing.
        std::process::exit(decided.code().into());
    }
    error!("{why}");
    notify::status(&format!("failed: {why}"));
    std::process::exit(exit.code().into());
}
