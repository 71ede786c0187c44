//! Signs of life: a ping to systemd means that the service's own work goes on, not that a timer ran.
//!
//! # How it works
//!
//! Each task that the SDK runs (`run` itself, and what `Context::spawn` started) may be a loop. The first time it
//! waits through the context it is *armed*. While it waits there it is alive, and pings go out; once it is back at
//! its work it has one watchdog period for it. A ping goes out only if no other armed loop is overdue, so a hung
//! worker is not hidden by a lively one. As long as no loop is armed, the runtime's own timer pings (design decision
//! 36). The same book tells how long a job has been silent, which the SDK itself acts on (design decision 14).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::notify;

/// What keeps a service's watchdog quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchdogFeed {
    /// The service's own loops, from the first `ctx.sleep`, `every`, `idle` or `alive` on; until then the runtime.
    #[default]
    Loop,
    /// The health check alone: for services that only wait for others.
    Health,
}

impl WatchdogFeed {
    /// Returns the word that stands in the manifest.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Health => "health",
        }
    }
}

tokio::task_local! {
    static CURRENT: LoopId;
}

/// One task that the SDK runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LoopId(u64);

/// The task that `run` is polled in; also anything that the SDK did not start.
const MAIN: LoopId = LoopId(0);

#[derive(Debug)]
struct Loop {
    /// How many waits it is in at the moment.
    waits: usize,
    last_life: Instant,
}

impl Loop {
    fn overdue(&self, limit: Duration, now: Instant) -> bool {
        self.waits == 0 && now.duration_since(self.last_life) >= limit
    }
}

#[derive(Debug, Default)]
struct Book {
    loops: HashMap<LoopId, Loop>,
    last_ping: Option<Instant>,
}

/// The watchdog of one service.
#[derive(Debug)]
pub(crate) struct Watchdog {
    feed: WatchdogFeed,
    /// The longest silence that systemd allows; none when it does not watch.
    period: Option<Duration>,
    book: Mutex<Book>,
    next_id: AtomicU64,
    ping: fn(),
}

impl Watchdog {
    pub(crate) fn new(feed: WatchdogFeed) -> Arc<Self> {
        Self::with(feed, notify::watchdog_period(), notify::watchdog)
    }

    fn with(feed: WatchdogFeed, period: Option<Duration>, ping: fn()) -> Arc<Self> {
        Arc::new(Self {
            feed,
            period,
            book: Mutex::default(),
            next_id: AtomicU64::new(1),
            ping,
        })
    }

    /// Returns the time between two pings of the runtime's own timer, when one is called for.
    pub(crate) fn timer_interval(&self) -> Option<Duration> {
        self.period.map(|period| period / 3)
    }

    /// Pings in the name of the runtime or of the health check, unless the loops speak for themselves.
    pub(crate) fn timer_ping(&self) {
        let mut book = self.book();
        if self.feed == WatchdogFeed::Health || book.loops.is_empty() {
            book.last_ping = Some(Instant::now());
            (self.ping)();
        }
    }

    /// Notes a sign of life of the current loop, and arms it.
    pub(crate) fn alive(&self) {
        self.note(|_| ());
    }

    /// Awaits what may take long without being a hang: the wait itself is a sign of life.
    pub(crate) async fn idle<F: Future>(&self, future: F) -> F::Output {
        let _waiting = Waiting::begin(self);
        let Some(period) = self.period else {
            return future.await;
        };
        let mut future = pin!(future);
        let mut tick = interval(period / 4);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return output,
                _ = tick.tick() => self.alive(),
            }
        }
    }

    /// Runs a task whose waits count as its own; when it has ended, nothing is expected of it any more.
    pub(crate) async fn track<F: Future>(&self, future: F) -> F::Output {
        let end = LoopEnd(self, LoopId(self.next_id.fetch_add(1, Ordering::Relaxed)));
        CURRENT.scope(end.1, future).await
    }

    /// As [`Watchdog::track`], for `run`.
    pub(crate) async fn track_main<F: Future>(&self, future: F) -> F::Output {
        let _end = LoopEnd(self, MAIN);
        CURRENT.scope(MAIN, future).await
    }

    /// Returns for how long the quietest armed loop has shown no sign of life.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let now = Instant::now();
        let book = self.book();
        let working = book.loops.values().filter(|each| each.waits == 0);
        working.map(|each| now.duration_since(each.last_life)).max()
    }

    fn note(&self, change: impl FnOnce(&mut Loop)) {
        let id = CURRENT.try_with(|id| *id).unwrap_or(MAIN);
        let now = Instant::now();
        let mut book = self.book();
        let current = book.loops.entry(id).or_insert(Loop {
            waits: 0,
            last_life: now,
        });
        current.last_life = now;
        change(current);
        let Some(period) = self.period.filter(|_| self.feed == WatchdogFeed::Loop) else {
            return;
        };
        // A loop of a thousand rounds a second must not become a thousand datagrams.
        let recent = book
            .last_ping
            .is_some_and(|last| now.duration_since(last) < period / 16);
        let overdue = book.loops.values().any(|each| each.overdue(period / 2, now));
        if !recent && !overdue {
            book.last_ping = Some(now);
            (self.ping)();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait of the current loop; ends also when the wait is dropped half-way.
struct Waiting<'a>(&'a Watchdog);

impl<'a> Waiting<'a> {
    fn begin(watchdog: &'a Watchdog) -> Self {
        watchdog.note(|current| current.waits += 1);
        Self(watchdog)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0
            .note(|current| current.waits = current.waits.saturating_sub(1));
    }
}

/// Strikes a loop off the book when its task ends, in whatever way.
struct LoopEnd<'a>(&'a Watchdog, LoopId);

impl Drop for LoopEnd<'_> {
    fn drop(&mut self) {
        self.0.book().loops.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(2);

    // Each test has a thread of its own, and the paused runtime stays on it.
    thread_local! {
        static PINGS: Cell<u32> = const { Cell::new(0) };
    }

    fn count() {
        PINGS.set(PINGS.get() + 1);
    }

    fn take_pings() -> u32 {
        PINGS.take()
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_pings_at_least_twice_a_period() {
        let watchdog = Watchdog::with(WatchdogFeed::Loop, Some(PERIOD), count);
        watchdog.idle(sleep(Duration::from_secs(60))).await;
        assert!(take_pings() >= 60, "30 periods");
    }

    #[tokio::test(start_paused = true)]
    async fn work_after_a_wait_is_silent_even_though_the_runtime_turns() {
        let watchdog = Watchdog::with(WatchdogFeed::Loop, Some(PERIOD), count);
        watchdog.idle(sleep(PERIOD)).await;
        take_pings();
        sleep(PERIOD * 5).await;
        watchdog.timer_ping();
        assert_eq!(take_pings(), 0);
        assert_eq!(watchdog.silence(), Some(PERIOD * 5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_runtime_feeds_until_a_loop_is_armed() {
        let watchdog = Watchdog::with(WatchdogFeed::Loop, Some(PERIOD), count);
        watchdog.timer_ping();
        assert_eq!(take_pings(), 1);
        assert_eq!(watchdog.silence(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_task_is_not_hidden_by_a_lively_loop() {
        let watchdog = Watchdog::with(WatchdogFeed::Loop, Some(PERIOD), count);
        let worker = Arc::clone(&watchdog);
        let task = tokio::spawn(async move {
            worker
                .track(async {
                    worker.idle(sleep(Duration::from_millis(10))).await;
                    pending::<()>().await;
                })
                .await;
        });
        watchdog.idle(sleep(PERIOD)).await;
        take_pings();
        watchdog.idle(sleep(PERIOD * 5)).await;
        assert_eq!(take_pings(), 0);

        task.abort();
        let _ = task.await;
        watchdog.idle(sleep(PERIOD)).await;
        assert!(take_pings() > 0, "an ended task is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_was_dropped_is_over() {
        let watchdog = Watchdog::with(WatchdogFeed::Loop, None, count);
        assert!(timeout(PERIOD, watchdog.idle(pending::<()>())).await.is_err());
        advance(PERIOD).await;
        assert_eq!(watchdog.silence(), Some(PERIOD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_loop_does_not_flood_systemd() {
        let watchdog = Watchdog::with(WatchdogFeed::Loop, Some(PERIOD), count);
        for _ in 0..2000 {
            watchdog.idle(sleep(Duration::from_millis(1))).await;
        }
        assert!(take_pings() <= 17);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_fed_by_its_health_check_is_not_fed_by_its_loops() {
        let watchdog = Watchdog::with(WatchdogFeed::Health, Some(PERIOD), count);
        watchdog.idle(sleep(PERIOD * 3)).await;
        assert_eq!(take_pings(), 0);
        watchdog.timer_ping();
        assert_eq!(take_pings(), 1);
    }
}
