//! Lifecycle events: the last ones, and those that follow, each once.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tcs_bus::Received;
use tcs_wire::{RegistryEvent, WireTime};

use crate::error::ClientError;
use crate::follow::{Change, Follow, Source};
use crate::join::decode;
use crate::name::matches;
use crate::site::Site;

/// How many events are remembered to tell a repeat.
const REMEMBERED: usize = 20_000;

/// The events of a site, or of the services that match some patterns.
pub struct Events {
    site: Site,
    patterns: Vec<String>,
    follow: Option<Follow>,
    seen: Seen,
    /// Where the last reading of the stream ended.
    last_sequence: u64,
}

/// What an [`Events`] hands out.
#[derive(Debug, Clone)]
pub enum EventNews {
    /// An event.
    Event(Box<RegistryEvent>),
    /// The server is away; events that happen meanwhile are handed out when it is back.
    Away {
        /// Since when.
        since: WireTime,
    },
    /// The server is back.
    Back,
}

impl Site {
    /// Prepares to read events of the services that match any of `patterns`; of all services without one.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn events(&self, patterns: Vec<String>, follow: bool) -> Result<Events, ClientError> {
        // Subscribed before the past is read: what happens in between comes twice rather than never.
        let follow = if follow {
            Some(self.follow(&[Source::Registry]).await?)
        } else {
            None
        };
        Ok(Events {
            site: self.clone(),
            patterns,
            follow,
            seen: Seen::default(),
            last_sequence: 0,
        })
    }
}

impl Events {
    /// Returns the last `count` events that the stream holds and that were not handed out before, oldest first.
    ///
    /// # Errors
    /// When the server is away or has no JetStream; a missing stream has no events.
    pub async fn past(&mut self, count: usize) -> Result<Vec<RegistryEvent>, ClientError> {
        let filter = format!("{}.registry.>", self.site.bus().prefix());
        let read = self
            .site
            .if_there(self.site.bus().all(&filter).await)?
            .unwrap_or_default();
        let last = read
            .last()
            .map_or(self.last_sequence, |received| received.sequence);
        // A stream that was made anew counts from 1 again.
        let known = if last < self.last_sequence {
            0
        } else {
            self.last_sequence
        };
        self.last_sequence = last;
        let unread = read.iter().filter(|received| received.sequence > known);
        let mut events: Vec<RegistryEvent> = unread.filter_map(|received| self.admit(received)).collect();
        events.drain(..events.len().saturating_sub(count));
        Ok(events)
    }

    /// Waits for what comes next; none when it does not follow, or the connection is closed.
    pub async fn next(&mut self) -> Option<EventNews> {
        loop {
            match self.follow.as_mut()?.next().await? {
                Change::Message(_, received) => {
                    if let Some(event) = self.admit(&received) {
                        return Some(EventNews::Event(Box::new(event)));
                    }
                }
                Change::Away { since } => return Some(EventNews::Away { since }),
                Change::Back => return Some(EventNews::Back),
            }
        }
    }

    /// Reads an event unless it was seen before, cannot be read, or is nobody's that was asked for.
    fn admit(&mut self, received: &Received) -> Option<RegistryEvent> {
        if !self.seen.is_new(received) {
            return None;
        }
        let event: RegistryEvent = decode("registry event", &received.body).ok()?;
        let wanted = self.patterns.is_empty()
            || self
                .patterns
                .iter()
                .any(|pattern| matches(pattern, &event.service_id));
        wanted.then_some(event)
    }
}

/// Tells repeats by message id, else by what the message says.
#[derive(Debug, Default)]
struct Seen {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    fn is_new(&mut self, received: &Received) -> bool {
        let mut hasher = DefaultHasher::new();
        match &received.message_id {
            Some(id) => id.hash(&mut hasher),
            None => (&received.subject, &received.body).hash(&mut hasher),
        }
        let key = hasher.finish();
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
