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
use crate::entry::Outgoing;

/// Messages that may wait; past it the oldest is dropped and counted.
const CAPACITY: usize = 10_000;
/// How long to wait before a subject without a stream is tried again, at first and at most: on a new server the
/// manager makes the streams within a moment.
const NO_STREAM_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long to wait for an acknowledgement: a server that is just making the stream may never send it.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);
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
    client: async_nats::Client,
    connection: watch::Receiver<Connection>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Outbox {
    let (sender, incoming) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::default());
    let task = Task {
        context: jetstream::ContextBuilder::new()
            .timeout(ACKNOWLEDGED_WITHIN)
            .build(client),
        connection,
        incoming,
        shared: Arc::clone(&shared),
        queue: VecDeque::new(),
        sent: None,
        parked: VecDeque::new(),
        retry: NO_STREAM_RETRY.0,
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
    /// One at a time: when a connection breaks, the client loses some of what it was handed and sends the rest at the
    /// next one, so a second message under way could overtake the first.
    sent: Option<Sent>,
    /// Messages whose subject no stream takes, and what came after them; they must not hold up the others.
    parked: VecDeque<Outgoing>,
    retry: Duration,
    backoff: Duration,
}

impl Task {
    async fn run(mut self) {
        let mut retry_at = tokio::time::Instant::now();
        loop {
            if self.parked.is_empty() {
                retry_at = tokio::time::Instant::now() + self.retry;
            }
            if *self.connection.borrow_and_update() == Connection::Connected {
                self.send().await;
            }
            let acknowledged = async {
                match &mut self.sent {
                    Some(sent) => (&mut sent.ack).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = acknowledged => self.settle(outcome).await,
                // Whatever changed, an acknowledgement of the old connection does not come any more.
                changed = self.connection.changed() => match changed {
                    Ok(()) => self.take_back(),
                    Err(_) => return,
                },
                outgoing = self.incoming.recv() => match outgoing {
                    Some(outgoing) => self.accept(outgoing),
                    None => return,
                },
                () = tokio::time::sleep_until(retry_at), if !self.parked.is_empty() => self.unpark(),
            }
        }
    }

    /// Queues a message; one that is superseded leaves its place to it.
    fn accept(&mut self, outgoing: Outgoing) {
        for list in [&mut self.queue, &mut self.parked] {
            if let Some(place) = list.iter().position(|older| outgoing.supersedes(older)) {
                list.remove(place);
                self.shared.done(1);
            }
        }
        self.queue.push_back(outgoing);
        while self.queue.len() + self.parked.len() > CAPACITY {
            let oldest = self.parked.pop_front().or_else(|| self.queue.pop_front());
            if oldest.is_some() {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                self.shared.done(1);
            }
        }
    }

    /// Sends the first message that waits, unless one is under way.
    async fn send(&mut self) {
        while self.sent.is_none()
            && let Some(outgoing) = self.queue.pop_front()
        {
            if self
                .parked
                .iter()
                .any(|parked| parked.category() == outgoing.category())
            {
                self.parked.push_back(outgoing);
                continue;
            }
            let publish = PublishMessage::build()
                .message_id(outgoing.message_id.as_str())
                .payload(outgoing.message.encode().into());
            match self.context.send_publish(outgoing.subject.clone(), publish).await {
                Ok(ack) => {
                    self.sent = Some(Sent {
                        outgoing,
                        ack: acknowledgement(ack),
                    })
                }
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    let subject = &outgoing.subject;
                    tracing::error!(subject, "message is larger than the server takes; dropped");
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    self.shared.done(1);
                }
                Err(error) => {
                    tracing::debug!(%error, subject = outgoing.subject, "not sent; kept");
                    self.queue.push_front(outgoing);
                    self.back_off().await;
                    return;
                }
            }
        }
    }

    /// Deals with the outcome of the message under way.
    async fn settle(&mut self, outcome: Result<(), PublishErrorKind>) {
        match outcome {
            Ok(()) => {
                self.backoff = BACKOFF.0;
                if self.parked.is_empty() {
                    self.retry = NO_STREAM_RETRY.0;
                }
                self.sent = None;
                self.shared.done(1);
            }
            Err(PublishErrorKind::StreamNotFound) => self.set_aside("no stream takes this subject; kept"),
            Err(kind @ (PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe)) => {
                tracing::debug!(?kind, "not acknowledged; sent again");
                self.take_back();
                self.back_off().await;
            }
            // The server answered, and does not take it: a stream that is full, for example.
            Err(kind) => self.set_aside(&format!("the server refuses this subject ({kind}); kept")),
        }
    }

    /// Sets the message under way aside, so that it holds up no other subject.
    fn set_aside(&mut self, why: &str) {
        if let Some(sent) = self.sent.take() {
            // Said once, and not for the moment in which a new server's streams are made.
            if (NO_STREAM_RETRY.1 / 2..NO_STREAM_RETRY.1).contains(&self.retry) {
                tracing::warn!(subject = sent.outgoing.subject, "{why}");
            }
            self.park(sent.outgoing);
        }
    }

    /// Sets a message aside, unless a newer one that supersedes it waits.
    fn park(&mut self, outgoing: Outgoing) {
        if self.queue.iter().any(|newer| newer.supersedes(&outgoing)) {
            self.shared.done(1);
        } else {
            self.parked.push_back(outgoing);
        }
    }

    /// Puts what was set aside back in front, in order.
    fn unpark(&mut self) {
        self.retry = (2 * self.retry).min(NO_STREAM_RETRY.1);
        while let Some(outgoing) = self.parked.pop_back() {
            self.queue.push_front(outgoing);
        }
    }

    /// Puts the message under way back in front; the server drops it if it has it already.
    fn take_back(&mut self) {
        let Some(Sent { outgoing, .. }) = self.sent.take() else {
            return;
        };
        if self.queue.iter().any(|newer| newer.supersedes(&outgoing)) {
            self.shared.done(1);
        } else {
            self.queue.push_front(outgoing);
        }
    }

    async fn back_off(&mut self) {
        let connection = &mut self.connection;
        let _ = tokio::time::timeout(self.backoff, connection.changed()).await;
        self.backoff = (2 * self.backoff).min(BACKOFF.1);
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
