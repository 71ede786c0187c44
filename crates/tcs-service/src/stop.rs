//! The stop of a process: asked for once, over by a deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tcs_wire::Exit;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::notify;

/// Shared by the guard, which takes the signals, and by everything that ends at a stop.
#[derive(Debug)]
pub(crate) struct Stop {
    begun: CancellationToken,
    first: OnceLock<First>,
    decided: OnceLock<Exit>,
    limit: Duration,
    /// Cancelled when the work shows no sign of life any more.
    pub(crate) hung: CancellationToken,
}

/// What the first one to begin a stop said.
#[derive(Debug)]
struct First {
    at: Instant,
    asked: bool,
}

impl Stop {
    /// Returns a stop that systemd cuts off after `limit` (`TimeoutStopSec=`).
    pub(crate) fn new(limit: Duration) -> Arc<Self> {
        let (begun, hung) = (CancellationToken::new(), CancellationToken::new());
        Arc::new(Self {
            begun,
            first: OnceLock::new(),
            decided: OnceLock::new(),
            limit,
            hung,
        })
    }

    /// Begins the stop because somebody outside wants it; false when one is under way.
    pub(crate) fn ask(&self) -> bool {
        self.begin_as(true)
    }

    /// Begins the stop because the service ends by itself.
    pub(crate) fn begin(&self) {
        self.begin_as(false);
    }

    fn begin_as(&self, asked: bool) -> bool {
        let first = self
            .first
            .set(First {
                at: Instant::now(),
                asked,
            })
            .is_ok();
        if first {
            notify::stopping();
            self.begun.cancel();
        }
        first
    }

    /// Returns whether a stop is under way.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Returns whether it is one that was asked for.
    pub(crate) fn was_asked(&self) -> bool {
        self.first.get().is_some_and(|first| first.asked)
    }

    /// Notes what the process ends with: only the last word on NATS is to come.
    pub(crate) fn decide(&self, exit: Exit) {
        let _ = self.decided.set(exit);
    }

    /// Returns what the process ends with, once the service has ended.
    pub(crate) fn decided(&self) -> Option<Exit> {
        self.decided.get().copied()
    }

    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until the service must be over; what is left of the limit is for the last word on NATS.
    pub(crate) async fn deadline(&self) {
        self.after(self.for_the_service()).await;
    }

    /// Waits until the last word must be said, which leaves the process the time to end by itself.
    pub(crate) async fn last_word(&self) {
        self.after(self.limit * 17 / 20).await;
    }

    /// Waits until the process must be over: shortly before systemd would kill it without a reason.
    pub(crate) async fn cut_off(&self) {
        self.after(self.limit * 9 / 10).await;
    }

    /// Returns how much of the limit the service itself has.
    pub(crate) fn for_the_service(&self) -> Duration {
        self.limit * 2 / 3
    }

    async fn after(&self, time: Duration) {
        self.begun().await;
        if let Some(first) = self.first.get() {
            sleep_until(first.at + time).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_word_ends_between_the_service_and_the_cut_off() {
        let stop = Stop::new(Duration::from_secs(20));
        stop.begin();
        let begun = Instant::now();
        stop.deadline().await;
        assert_eq!(begun.elapsed().as_secs(), 13);
        stop.last_word().await;
        assert_eq!(begun.elapsed().as_secs(), 17);
        stop.cut_off().await;
        assert_eq!(begun.elapsed().as_secs(), 18);
    }

    #[test]
    fn the_first_decision_stands() {
        let stop = Stop::new(Duration::from_secs(3));
        assert_eq!(stop.decided(), None);
        stop.decide(Exit::Configuration);
        stop.decide(Exit::Done);
        assert_eq!(stop.decided(), Some(Exit::Configuration));
    }
}
