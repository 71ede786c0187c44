//! The one connection of a process to NATS.
//!
//! The client library is wrapped whole: nothing else in the workspace names it. What the wrapper adds is what a
//! telescope's night needs: nothing waits for ever, a server that is away stops nobody, and what must not be lost
//! goes out in order when it is back.
//!
//! # How it works
//!
//! [`Bus::connect`] returns at once and reconnects for ever. Events and statuses go through the outbox: one task that
//! sends in order, keeps what was not acknowledged and sends it again under the same message id, so the server drops
//! a repeat. A newer status replaces an older one that still waits; a heartbeat is never kept. Requests, reads and
//! [`Bus::publish_acked`] go to the server directly and end in an error by their deadline.

mod acked;
mod bus;
mod entry;
mod kv;
mod outbox;
mod presence;
mod read;
mod request;
mod respond;
mod streams;

pub use acked::{Acked, PublishError};
pub use bus::{Bus, BusOptions, ConnectError, Connection, Credentials};
pub use entry::{Keep, Outgoing};
pub use kv::{Kv, KvChange, KvEntry, KvError};
pub use presence::{Presence, PresenceOptions};
pub use read::{Received, Subscription};
pub use request::RequestError;
pub use respond::{Request, Responder, ResponderError, ResponderInfo};
pub use streams::{StreamFault, StreamsError};
