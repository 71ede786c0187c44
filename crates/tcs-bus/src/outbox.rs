//! The outbox: one task that sends messages in order and keeps them until the server has them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::{
    self, context::PublishAckFuture, context::PublishErrorKind, message::PublishMessage,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::Connection;
use crate::entry::{Keep, Outgoing};

/// Messages that may wait; past it the oldest is dropped and counted.
const CAPACITY: usize = 10_000;
/// Messages under way before the first of them is acknowledged.
const IN_FLIGHT: usize = 64;
/// How long to wait before a subject without a stream is tried again.
const NO_STREAM_RETRY: Duration = Duration::from_secs(2);
/// How long to wait after a failure, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The way in to the outbox.
pub(crate) struct Outbox {
    sender: mpsc::UnboundedSender<Outgoing>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    drained: Notify,
}

impl Outbox {
    /// Adds a message behind all others.
    pub(crate) fn push(&self, outgoing: Outgoing) {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        // The task lives as long as the bus; after its end nothing can be sent any more.
        let _ = self.sender.send(outgoing);
    }

    /// Returns how many wait and how many were dropped.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (
            self.shared.waiting.load(Ordering::Acquire),
            self.shared.dropped.load(Ordering::Relaxed),
        )
    }

    /// Waits until nothing waits.
    pub(crate) async fn drained(&self) {
        loop {
            let notified = self.shared.drained.notified();
            if self.shared.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// Starts the task.
pub(crate) fn spawn(
    context: jetstream::Context,
    connection: watch::Receiver<Connection>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Outbox {
    let (sender, incoming) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::default());
    let task = Task {
        context,
        connection,
        incoming,
        shared: Arc::clone(&shared),
        queue: VecDeque::new(),
        in_flight: VecDeque::new(),
        parked: VecDeque::new(),
        backoff: BACKOFF.0,
    };
    tracker.spawn(async move {
        let _ = stop.run_until_cancelled(task.run()).await;
    });
    Outbox { sender, shared }
}

/// A message that was sent and not yet acknowledged.
struct Sent {
    outgoing: Outgoing,
    ack: BoxFuture<'static, Result<(), PublishErrorKind>>,
}

struct Task {
    context: jetstream::Context,
    connection: watch::Receiver<Connection>,
    incoming: mpsc::UnboundedReceiver<Outgoing>,
    shared: Arc<Shared>,
    queue: VecDeque<Outgoing>,
    in_flight: VecDeque<Sent>,
    /// Messages whose subject no stream takes; they must not hold up the others.
    parked: VecDeque<Outgoing>,
    backoff: Duration,
}

impl Task {
    async fn run(mut self) {
        let mut retry = tokio::time::interval(NO_STREAM_RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let connected = *self.connection.borrow() == Connection::Connected;
            if connected {
                self.send().await;
            } else {
                self.take_back();
            }
            let acknowledged = async {
                match self.in_flight.front_mut() {
                    Some(sent) => (&mut sent.ack).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = acknowledged => self.settle(outcome).await,
                changed = self.connection.changed() => if changed.is_err() { return },
                outgoing = self.incoming.recv() => match outgoing {
                    Some(outgoing) => self.accept(outgoing),
                    None => return,
                },
                _ = retry.tick(), if !self.parked.is_empty() => {
                    while let Some(outgoing) = self.parked.pop_back() {
                        self.queue.push_front(outgoing);
                    }
                }
            }
        }
    }

    /// Queues a message; one that is superseded leaves its place to it.
    fn accept(&mut self, outgoing: Outgoing) {
        if outgoing.keep == Keep::Latest {
            let older =
                |waiting: &Outgoing| waiting.keep == Keep::Latest && waiting.subject == outgoing.subject;
            for list in [&mut self.queue, &mut self.parked] {
                if let Some(place) = list.iter().position(older) {
                    list.remove(place);
                    self.shared.done(1);
                }
            }
        }
        let parked = self
            .parked
            .iter()
            .any(|waiting| waiting.category() == outgoing.category());
        if parked {
            self.parked.push_back(outgoing)
        } else {
            self.queue.push_back(outgoing)
        }
        while self.queue.len() + self.parked.len() > CAPACITY {
            let oldest = self.queue.pop_front().or_else(|| self.parked.pop_front());
            if oldest.is_some() {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                self.shared.done(1);
            }
        }
    }

    /// Sends what waits, as far as the window reaches.
    async fn send(&mut self) {
        while self.in_flight.len() < IN_FLIGHT
            && let Some(outgoing) = self.queue.pop_front()
        {
            let publish = PublishMessage::build()
                .message_id(outgoing.message_id.as_str())
                .payload(outgoing.message.encode().into());
            match self.context.send_publish(outgoing.subject.clone(), publish).await {
                Ok(ack) => self.in_flight.push_back(Sent {
                    outgoing,
                    ack: acknowledgement(ack),
                }),
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    tracing::error!(
                        subject = outgoing.subject,
                        "message is larger than the server takes; dropped"
                    );
                    self.shared.done(1);
                }
                Err(error) => {
                    tracing::debug!(%error, subject = outgoing.subject, "not sent; kept");
                    self.queue.push_front(outgoing);
                    return;
                }
            }
        }
    }

    /// Deals with the outcome of the oldest message under way.
    async fn settle(&mut self, outcome: Result<(), PublishErrorKind>) {
        match outcome {
            Ok(()) => {
                self.backoff = BACKOFF.0;
                self.in_flight.pop_front();
                self.shared.done(1);
            }
            Err(PublishErrorKind::StreamNotFound) => {
                if let Some(sent) = self.in_flight.pop_front() {
                    if self.parked.is_empty() {
                        tracing::warn!(
                            subject = sent.outgoing.subject,
                            "no stream takes this subject; kept"
                        );
                    }
                    self.parked.push_back(sent.outgoing);
                }
            }
            Err(kind) => {
                tracing::debug!(?kind, "not acknowledged; sent again");
                self.take_back();
                tokio::time::sleep(self.backoff).await;
                self.backoff = (2 * self.backoff).min(BACKOFF.1);
            }
        }
    }

    /// Puts what was not acknowledged back in front, in order; the server drops what it has already.
    fn take_back(&mut self) {
        while let Some(sent) = self.in_flight.pop_back() {
            self.queue.push_front(sent.outgoing);
        }
    }
}

impl Shared {
    fn done(&self, count: usize) {
        if self.waiting.fetch_sub(count, Ordering::AcqRel) == count {
            self.drained.notify_waiters();
        }
    }
}

fn acknowledgement(ack: PublishAckFuture) -> BoxFuture<'static, Result<(), PublishErrorKind>> {
    std::future::IntoFuture::into_future(ack)
        .map(|outcome| outcome.map(drop).map_err(|error| error.kind()))
        .boxed()
}
