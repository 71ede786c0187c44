//! What happens on a site from now on.

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll, unfold};
use tcs_bus::{Connection, Received, Subscription};
use tcs_wire::{Bucket, WireTime};
use tokio::sync::watch;

use crate::error::ClientError;
use crate::join::Collector;
use crate::site::Site;

/// Where a message belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The mirror; the subject is the entry's key.
    State,
    /// Status reports.
    Status,
    /// Heartbeats.
    Heartbeat,
    /// Lifecycle events.
    Registry,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::State, Self::Status, Self::Heartbeat, Self::Registry];
}

/// Something new.
#[derive(Debug, Clone)]
pub enum Change {
    /// A message came.
    Message(Source, Received),
    /// The server is away; what happens meanwhile is not seen here.
    Away {
        /// Since when.
        since: WireTime,
    },
    /// The server is back: take a fresh look.
    Back,
}

/// The changes of a site in the order in which they come.
pub struct Follow {
    messages: SelectAll<BoxStream<'static, (Source, Received)>>,
    connection: watch::Receiver<Connection>,
    away: bool,
}

impl Site {
    /// Follows `sources` from now on. For a whole picture, begin to follow first, then [`Site::collect`].
    ///
    /// # Errors
    /// When the server is away.
    pub async fn follow(&self, sources: &[Source]) -> Result<Follow, ClientError> {
        let mut messages = SelectAll::new();
        for source in sources {
            let filter = self.filter(*source);
            let subscription = self.bus().subscribe(&filter).await;
            let subscription = subscription.map_err(|error| ClientError::of_stream(error, self.urls()))?;
            messages.push(stream(*source, filter, subscription));
        }
        let mut connection = self.bus().connection();
        connection.mark_unchanged();
        Ok(Follow {
            messages,
            connection,
            away: !self.bus().is_connected(),
        })
    }

    fn filter(&self, source: Source) -> String {
        let prefix = self.bus().prefix();
        match source {
            // A bucket is a stream: what is written to it passes by on its subjects.
            Source::State => format!("$KV.{}.>", prefix.bucket(Bucket::State)),
            Source::Status => format!("{prefix}.status.>"),
            Source::Heartbeat => format!("{prefix}.heartbeat.>"),
            Source::Registry => format!("{prefix}.registry.>"),
        }
    }
}

fn stream(
    source: Source,
    filter: String,
    subscription: Subscription,
) -> BoxStream<'static, (Source, Received)> {
    let bucket = filter.trim_end_matches('>').to_owned();
    let next = move |(mut subscription, bucket): (Subscription, String)| async move {
        let mut received = subscription.next().await?;
        if source == Source::State {
            received.subject = received
                .subject
                .strip_prefix(&bucket)
                .unwrap_or(&received.subject)
                .to_owned();
        }
        Some(((source, received), (subscription, bucket)))
    };
    unfold((subscription, bucket), next).boxed()
}

impl Follow {
    /// Waits for the next change; none once the connection is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            tokio::select! {
                biased;
                changed = self.connection.changed() => {
                    changed.ok()?;
                    // While it is away the reason changes with every attempt, which is no news.
                    match (&*self.connection.borrow_and_update(), self.away) {
                        (Connection::Connected, true) => {
                            self.away = false;
                            return Some(Change::Back);
                        }
                        (Connection::Away { since, .. }, false) => {
                            self.away = true;
                            return Some(Change::Away { since: *since });
                        }
                        _ => {}
                    }
                }
                message = self.messages.next() => {
                    return message.map(|(source, received)| Change::Message(source, received));
                }
            }
        }
    }
}

impl Collector {
    /// Takes a message of [`Follow`].
    pub fn take(&mut self, source: Source, message: &Received) {
        match source {
            Source::State => self.state(&message.subject, &message.body),
            Source::Status => self.status(&message.subject, &message.body),
            Source::Heartbeat => self.heartbeat(&message.subject, &message.body),
            Source::Registry => self.registry(&message.subject, &message.body),
        }
    }
}
