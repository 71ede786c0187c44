//! One life of one service: start, ready, run, stop, end.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tcs_wire::{Exit, Kind, Status};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info};

use crate::context::{Context, Core};
use crate::ending::{End, Ended, Failure};
use crate::error::Result;
use crate::notify;
use crate::service::Service;

/// The longest time between two health checks (contract section 6).
const HEALTH_INTERVAL: Duration = Duration::from_secs(30);

/// Lives through all of it, publishes the last status and returns what the process ends with.
pub(crate) async fn live<S: Service>(
    service: &mut S,
    ctx: &Context<S>,
    required: bool,
    mut failures: UnboundedReceiver<Failure>,
) -> End {
    let core = ctx.core();
    core.monitor.set(Status::Startup, "starting");
    let lived = go(service, ctx, required, &mut failures).await;
    core.stop.begin();
    let interrupted = core.stop.was_asked();
    let end = match lived {
        Ok(()) => in_order(core, S::KIND, interrupted),
        Err(failure) => failure.into(),
    };
    match end.status {
        Status::Failed => error!("{} (exit code {})", end.message, end.exit.code()),
        _ => info!("{}", end.message),
    }
    let took = core.started.elapsed();
    let details = (S::KIND == Kind::Job).then(|| core.record().details(end.status, interrupted, took));
    core.monitor.end(end.status, &end.message, details);
    end
}

fn in_order(core: &Core, kind: Kind, interrupted: bool) -> End {
    let (exit, message) = match kind {
        Kind::Job => (core.record().outcome.exit(), core.record().summary(interrupted)),
        Kind::Permanent if interrupted => (Exit::Done, "stopped".to_owned()),
        Kind::Permanent => (Exit::Done, "completed".to_owned()),
    };
    End {
        exit,
        status: Status::Shutdown,
        message,
    }
}

async fn go<S: Service>(
    service: &mut S,
    ctx: &Context<S>,
    required: bool,
    failures: &mut UnboundedReceiver<Failure>,
) -> Result<(), Failure> {
    let core = ctx.core();
    if required && !nats_is_there(core).await {
        return Ok(());
    }
    let starting = guarded(async { service.start(ctx).await });
    if let Some(failure) = within(core, "start", starting).await?.failure(Some("start")) {
        return Err(failure);
    }
    let mut failure = if core.stop.has_begun() {
        None
    } else {
        work(service, ctx, failures).await.err()
    };
    core.stop.begin();
    if !failure
        .as_ref()
        .is_some_and(|failure| failure.panicked || failure.exit == Exit::StopDeadline)
    {
        let stopping = guarded(async { service.stop(ctx).await });
        let stopped = match within(core, "stop", stopping).await {
            Ok(ended) => ended.failure(Some("stop")),
            Err(late) => Some(late),
        };
        if let (Some(_), Some(second)) = (&failure, &stopped) {
            error!("after the failure: {}", second.message);
        }
        failure = failure.or(stopped);
    }
    core.tasks.close();
    let tasks = within(core, "a task", core.tasks.wait()).await;
    failure = failure.or(tasks.err()).or_else(|| failures.try_recv().ok());
    failure.map_or(Ok(()), Err)
}

/// Polls `run` and says that the service is ready; returns when there is nothing left to wait for.
async fn work<S: Service>(
    service: &mut S,
    ctx: &Context<S>,
    failures: &mut UnboundedReceiver<Failure>,
) -> Result<(), Failure> {
    let core = ctx.core();
    let mut run = pin!(
        core.watchdog
            .track_main(guarded(async { service.run(ctx.clone()).await }))
    );
    // What fails before it has waited for anything was never ready.
    let ended = match poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx))).await {
        Poll::Ready(ended) => {
            let failure = ended.failure(None);
            if failure.is_none() {
                ready(core, S::KIND);
            }
            failure
        }
        Poll::Pending => {
            ready(core, S::KIND);
            tokio::select! {
                ended = within(core, "run", run.as_mut()) => ended?.failure(None),
                Some(failure) = failures.recv() => {
                    core.stop.begin();
                    let _ = within(core, "run", run.as_mut()).await;
                    Some(failure)
                }
            }
        }
    };
    match ended {
        Some(failure) => Err(failure),
        None => outlive_tasks(core, failures).await,
    }
}

async fn outlive_tasks(core: &Core, failures: &mut UnboundedReceiver<Failure>) -> Result<(), Failure> {
    core.tasks.close();
    tokio::select! {
        biased;
        Some(failure) = failures.recv() => Err(failure),
        () = core.stop.hung.cancelled() => Err(silent()),
        () = core.stop.begun() => Ok(()),
        () = core.tasks.wait() => failures.try_recv().map_or(Ok(()), Err),
    }
}

fn ready(core: &Core, kind: Kind) {
    if core.stop.has_begun() {
        return;
    }
    core.monitor.set_if_starting(
        if kind == Kind::Job {
            Status::Busy
        } else {
            Status::Ok
        },
        "running",
    );
    notify::ready();
    let _ = core.ready.set(());
}

/// Turns a panic into an end like any other.
async fn guarded(work: impl Future<Output = Result<()>>) -> Ended {
    Ended::of(AssertUnwindSafe(work).catch_unwind().await)
}

/// Awaits a part of the service's life, but not beyond the deadline of the stop, nor when the work hangs.
async fn within<F: Future>(core: &Core, part: &str, future: F) -> Result<F::Output, Failure> {
    let mut future = pin!(future);
    tokio::select! {
        biased;
        output = future.as_mut() => Ok(output),
        () = core.stop.hung.cancelled() => Err(silent()),
        () = core.stop.deadline() => {
            let limit = core.stop.for_the_service().as_secs_f64();
            Err(Failure::new(Exit::StopDeadline, format!("{part} did not end within the {limit} s of a stop")))
        }
    }
}

fn silent() -> Failure {
    Failure::new(Exit::Bug, "the job hangs: its loop shows no sign of life")
}

/// Waits for the server, and says so; false when the stop comes first.
async fn nats_is_there(core: &Core) -> bool {
    let Some(bus) = core.process.bus() else {
        return true;
    };
    if !bus.is_connected() {
        core.monitor.set(
            Status::Startup,
            format!("waiting for NATS at {}", core.process.addresses()),
        );
    }
    let connected = async { while !bus.wait_connected(HEALTH_INTERVAL).await {} };
    tokio::select! {
        () = core.stop.begun() => false,
        () = connected => {
            core.monitor.set(Status::Startup, "starting");
            true
        }
    }
}

/// Asks the health check now and then, and pings where the loops do not speak for themselves.
pub(crate) async fn check_health(core: Arc<Core>) {
    core.ready.wait().await;
    let every = core
        .watchdog
        .timer_interval()
        .map_or(HEALTH_INTERVAL, |every| every.min(HEALTH_INTERVAL));
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let answered = match core.check() {
            None => true,
            Some(check) => {
                let answer = timeout(every, check()).await;
                core.monitor.set_complaint(match &answer {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some(format!("no answer within {} s", every.as_secs_f64())),
                });
                answer.is_ok()
            }
        };
        if answered {
            core.watchdog.timer_ping();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tcs_config::NatsSettings;
    use tcs_wire::ServiceId;

    use super::*;
    use crate::error::Error;
    use crate::process::ProcessContext;
    use crate::stop::Stop;
    use crate::watchdog::{Watchdog, WatchdogFeed};

    /// Fails, and then does not end its stop either.
    struct Stuck;

    impl Service for Stuck {
        type Config = ();

        async fn run(&mut self, _: Context<Self>) -> Result<()> {
            Err(Error::configuration("no device is configured"))
        }

        async fn stop(&mut self, _: &Context<Self>) -> Result<()> {
            pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_is_late_does_not_hide_the_failure_before_it() {
        let id = ServiceId::parse("stuck.dev").unwrap();
        let process = ProcessContext::new(&id, &NatsSettings::default(), true, None).await;
        let watchdog = Watchdog::new(WatchdogFeed::Loop);
        let stop = Stop::new(Duration::from_secs(3));
        let (core, failures) = Core::new(id, process.unwrap(), stop, watchdog);
        let ctx = Context::<Stuck>::new(core, ());
        let end = live(&mut Stuck, &ctx, false, failures).await;
        assert_eq!(
            (end.exit, end.message.as_str()),
            (Exit::Configuration, "no device is configured")
        );
    }
}
