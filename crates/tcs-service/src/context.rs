//! The service's view of everything around it.

use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tcs_bus::{Bus, Presence, PresenceOptions};
use tcs_wire::{ServiceId, Status};
use tokio::sync::{SetOnce, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::directories;
use crate::ending::{Ended, Failure};
use crate::error::{Error, Result};
use crate::job::{Outcome, Record};
use crate::monitor::Monitor;
use crate::notify;
use crate::process::ProcessContext;
use crate::service::Service;
use crate::stop::Stop;
use crate::watchdog::Watchdog;

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// What the SDK keeps of one service, whatever its type.
pub(crate) struct Core {
    pub(crate) id: ServiceId,
    pub(crate) process: Arc<ProcessContext>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) monitor: Monitor,
    pub(crate) tasks: TaskTracker,
    pub(crate) started: Instant,
    pub(crate) ready: SetOnce<()>,
    failures: mpsc::UnboundedSender<Failure>,
    record: Mutex<Record>,
    check: Mutex<Option<Check>>,
}

impl Core {
    pub(crate) fn new(
        id: ServiceId,
        process: Arc<ProcessContext>,
        stop: Arc<Stop>,
        watchdog: Arc<Watchdog>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Failure>) {
        let (failures, failed) = mpsc::unbounded_channel();
        let core = Self {
            id,
            process,
            stop,
            watchdog,
            monitor: Monitor::default(),
            tasks: TaskTracker::new(),
            started: Instant::now(),
            ready: SetOnce::new(),
            failures,
            record: Mutex::default(),
            check: Mutex::default(),
        };
        (Arc::new(core), failed)
    }

    /// Lets the status appear on NATS.
    pub(crate) fn announce(&self) {
        if let Some(bus) = self.process.bus() {
            let options = PresenceOptions {
                id: self.id.clone(),
                parent: self.process.manager().cloned(),
                hostname: self.process.hostname().to_owned(),
            };
            self.monitor.attach(Presence::new(bus, options));
        }
    }

    pub(crate) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn check(&self) -> Option<Check> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A service's way to its configuration, to time, to NATS and to those who watch it. Clones are the same context.
pub struct Context<S: Service> {
    core: Arc<Core>,
    config: Arc<S::Config>,
}

impl<S: Service> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            config: Arc::clone(&self.config),
        }
    }
}

impl<S: Service> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}

impl<S: Service> Context<S> {
    pub(crate) fn new(core: Arc<Core>, config: S::Config) -> Self {
        Self {
            core,
            config: Arc::new(config),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Returns the service's name.
    pub fn id(&self) -> &ServiceId {
        &self.core.id
    }

    /// Returns the configuration.
    pub fn config(&self) -> Arc<S::Config> {
        Arc::clone(&self.config)
    }

    /// Returns what all services of this process share.
    pub fn process(&self) -> &Arc<ProcessContext> {
        &self.core.process
    }

    /// Returns the connection to NATS. The server may be away at the time.
    ///
    /// # Errors
    /// When the process runs without NATS (`--no-nats`); exit code 69.
    pub fn bus(&self) -> Result<&Bus> {
        self.core
            .process
            .bus()
            .ok_or_else(|| Error::unavailable("this run is without NATS (--no-nats)"))
    }

    /// Returns the directory for what must outlive a restart: `StateDirectory=` under systemd, else below
    /// `$XDG_STATE_HOME/tcs`. It is there when this returns.
    ///
    /// # Errors
    /// When it cannot be made, or nothing says where.
    pub fn state_directory(&self) -> Result<PathBuf> {
        directories::state(&self.core.id)
    }

    /// Waits for `time`. Returns false, at once, when the service is to stop.
    ///
    /// The wait counts as a sign of life; see [`Context::idle`].
    pub async fn sleep(&self, time: impl Into<Duration>) -> bool {
        self.idle(tokio::time::sleep(time.into())).await.is_some()
    }

    /// Returns a clock that ticks now and then once every `interval`.
    ///
    /// A tick that comes while the service is at work is made up for once, not as often as it was missed.
    ///
    /// # Panics
    /// For an interval of zero.
    pub fn every(&self, interval: impl Into<Duration>) -> Every<S> {
        let mut interval = tokio::time::interval(interval.into());
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Every {
            ctx: self.clone(),
            interval,
        }
    }

    /// Waits for anything that may rightly take long: a message, a connection, a person.
    ///
    /// While the service waits here it is alive; once it is back at its work, it has to come here again, or call
    /// [`Context::alive`], within its watchdog period. Returns none when the service is to stop; `future` is
    /// dropped then.
    pub async fn idle<F: Future>(&self, future: F) -> Option<F::Output> {
        let stopped_or_done = async {
            tokio::select! {
                biased;
                () = self.core.stop.begun() => None,
                output = future => Some(output),
            }
        };
        self.core.watchdog.idle(stopped_or_done).await
    }

    /// Waits until the service is to stop.
    pub async fn shutdown(&self) {
        self.core.watchdog.idle(self.core.stop.begun()).await;
    }

    /// Returns whether the service is to stop.
    pub fn is_stopping(&self) -> bool {
        self.core.stop.has_begun()
    }

    /// Shows a sign of life in the midst of long work.
    pub fn alive(&self) {
        self.core.watchdog.alive();
    }

    /// Says how the service is; published when it differs from what was said before.
    pub fn set_status(&self, status: Status, message: impl fmt::Display) {
        self.core.monitor.set(status, message.to_string());
    }

    /// Returns the status as it is shown, with the health check in it.
    pub fn status(&self) -> Status {
        self.core.monitor.shown().0
    }

    /// Sets the check that is asked every 30 s, or as often as the watchdog needs it.
    ///
    /// Its error becomes the status `error` until it is content again. One that does not return counts as a hang.
    pub fn health_check<C, F>(&self, check: C)
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        *self.core.check.lock().unwrap_or_else(PoisonError::into_inner) = Some(check);
    }

    /// Runs a task of the service beside `run`. Its error or panic is the service's failure, under the task's name.
    ///
    /// At a stop the task is waited for, within the deadline, so its loop ends by [`Context::sleep`] and its kin.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (core, name) = (Arc::clone(&self.core), name.into());
        self.core.tasks.spawn(async move {
            let ended = Ended::of(core.watchdog.track(AssertUnwindSafe(task).catch_unwind()).await);
            if let Some(failure) = ended.failure(Some(&name)) {
                // Nobody listens any more only when the service has ended already.
                let _ = core.failures.send(failure);
            }
        });
    }

    /// Runs work that blocks its thread, such as large files or a driver without async, beside everything else.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(output) => output,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime is being torn down; so is whoever waits here.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns a child process to be started, without the variables that belong to this process alone.
    ///
    /// It is killed when its handle is dropped.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        notify::OWN_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.kill_on_drop(true);
        command
    }

    /// Adds to one of the numbers that stand in the last status; a sign of life in a job.
    pub fn count(&self, name: &str, by: u64) {
        *self.record_mut().counts.entry(name.to_owned()).or_default() += by;
        if S::KIND == tcs_wire::Kind::Job {
            self.alive();
        }
    }

    /// Says how the job ended, and in what words. Without it, a job that returns `Ok` is done.
    pub fn finish(&self, outcome: Outcome, message: impl fmt::Display) {
        let mut record = self.record_mut();
        record.outcome = outcome;
        record.message = Some(message.to_string());
    }

    fn record_mut(&self) -> std::sync::MutexGuard<'_, Record> {
        self.core.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock of a service; see [`Context::every`].
pub struct Every<S: Service> {
    ctx: Context<S>,
    interval: Interval,
}

impl<S: Service> Every<S> {
    /// Waits for the next tick. Returns false, at once, when the service is to stop.
    pub async fn tick(&mut self) -> bool {
        let Self { ctx, interval } = self;
        ctx.idle(interval.tick()).await.is_some()
    }
}
