//! The connection itself: options, state, and the way in to everything else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, jetstream};
use futures_util::StreamExt;
use serde::Serialize;
use tcs_wire::{Message, MessageId, Meta, SubjectPrefix, WireTime};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::entry::Outgoing;
use crate::outbox::{self, Outbox};

/// How long one question to the server may take.
pub(crate) const SERVER_DEADLINE: Duration = Duration::from_secs(5);

/// How to reach NATS, and as whom.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// One or more `nats://host:port`.
    pub urls: Vec<String>,
    /// The connection's name in the server's lists, and the sender of every message: a service id or a tool's name.
    pub name: String,
    /// The first tokens of all subjects.
    pub prefix: SubjectPrefix,
    /// How to log in.
    pub credentials: Option<Credentials>,
}

impl BusOptions {
    /// Returns options for `name` at one server, without a login and with the prefix `svc`.
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            name: name.into(),
            prefix: SubjectPrefix::default(),
            credentials: None,
        }
    }
}

/// How to log in.
#[derive(Clone)]
pub enum Credentials {
    /// A file as `nsc` writes it.
    File(PathBuf),
    /// User and password.
    User {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Whether the server is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// It is.
    Connected,
    /// It is not.
    Away {
        /// Since when.
        since: WireTime,
        /// What the last attempt ended in, where it said so.
        reason: Option<String>,
    },
}

/// Options that no connection can be made with.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// An address that cannot be read.
    #[error("`{url}` is not the address of a NATS server: expected `nats://host:port`")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// A credentials file that cannot be used.
    #[error("cannot read the NATS credentials in {}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that the client refuses.
    #[error("cannot set up the connection to NATS")]
    Setup(#[source] async_nats::ConnectError),
}

/// The connection to NATS; clones share it.
#[derive(Clone)]
pub struct Bus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) context: jetstream::Context,
    pub(crate) prefix: SubjectPrefix,
    pub(crate) connection: watch::Receiver<Connection>,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    name: String,
    instance: String,
    counter: AtomicU64,
    outbox: Outbox,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Sets the connection up and returns at once; it is made, and made again, in the background.
    ///
    /// # Errors
    /// For options that can never work; a server that is away is none.
    pub async fn connect(mut options: BusOptions) -> Result<Self, ConnectError> {
        let addresses = addresses(&options.urls)?;
        options.credentials = options.credentials.or_else(|| login_in(&addresses));
        let away = Connection::Away {
            since: WireTime::now(),
            reason: None,
        };
        let (state, connection) = watch::channel(away);
        let client = connect_options(&options, state)
            .await?
            .connect(addresses)
            .await
            .map_err(ConnectError::Setup)?;
        let context = jetstream::ContextBuilder::new()
            .timeout(SERVER_DEADLINE)
            .build(client.clone());
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let outbox = outbox::spawn(client.clone(), connection.clone(), &tracker, stop.clone());
        let instance = format!("tcs{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let (prefix, name) = (options.prefix, options.name);
        let counter = AtomicU64::new(0);
        let inner = Inner {
            client,
            context,
            prefix,
            connection,
            tracker,
            stop,
            name,
            instance,
            counter,
            outbox,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the first tokens of all subjects.
    pub fn prefix(&self) -> &SubjectPrefix {
        &self.inner.prefix
    }

    /// Returns the name that messages are sent under.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the state of the connection, to be read or waited on.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.inner.connection.clone()
    }

    /// Returns whether the server is there now.
    pub fn is_connected(&self) -> bool {
        *self.inner.connection.borrow() == Connection::Connected
    }

    /// Waits until the server is there; false when `deadline` passes first.
    pub async fn wait_connected(&self, deadline: Duration) -> bool {
        let mut connection = self.connection();
        let connected = connection.wait_for(|state| *state == Connection::Connected);
        matches!(tokio::time::timeout(deadline, connected).await, Ok(Ok(_)))
    }

    /// Returns the version of the server that is or was last connected, for example `2.10.1`.
    pub fn server_version(&self) -> Option<String> {
        self.inner.client.try_server_info().map(|info| info.version)
    }

    /// Returns the name of the server that is or was last connected.
    pub fn server_name(&self) -> Option<String> {
        self.inner.client.try_server_info().map(|info| info.server_name)
    }

    /// Returns a new meta with the next message number of this process.
    pub fn meta(&self) -> Meta {
        let number = self.inner.counter.fetch_add(1, Ordering::Relaxed) + 1;
        Meta::new(format!("msg-{number}"), self.inner.name.clone(), WireTime::now())
    }

    /// Wraps `data` in an envelope of this process.
    pub fn message<T: Serialize>(&self, data: &T) -> Message {
        Message::new(data, self.meta())
    }

    /// Returns a message id that no other message has.
    pub fn message_id(&self) -> MessageId {
        MessageId::counted(
            &self.inner.instance,
            self.inner.counter.fetch_add(1, Ordering::Relaxed) + 1,
        )
    }

    /// Hands a message to the outbox; it goes out in order, now or when the server is back.
    pub fn publish(&self, outgoing: Outgoing) {
        self.inner.outbox.push(outgoing);
    }

    /// Returns how many messages wait for the server, and how many were dropped because too many did.
    pub fn outbox_counts(&self) -> (usize, u64) {
        self.inner.outbox.counts()
    }

    /// Waits until the server has taken note of all that it was told before, such as endpoints; false when it is away.
    pub async fn settled(&self) -> bool {
        let there_and_back = async {
            let inbox = self.inner.client.new_inbox();
            let mut back = self.inner.client.subscribe(inbox.clone()).await.ok()?;
            self.inner.client.publish(inbox, bytes::Bytes::new()).await.ok()?;
            back.next().await
        };
        self.is_connected()
            && matches!(
                tokio::time::timeout(SERVER_DEADLINE, there_and_back).await,
                Ok(Some(_))
            )
    }

    /// Waits until all that was published is acknowledged; false when `deadline` passes first.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let sent = tokio::time::timeout(deadline, self.inner.outbox.drained())
            .await
            .is_ok();
        let flushed = self.is_connected()
            && tokio::time::timeout(deadline, self.inner.client.flush())
                .await
                .is_ok();
        sent && flushed
    }

    /// Flushes, ends every task and the connection; false when `deadline` passed before all was acknowledged.
    pub async fn close(&self, deadline: Duration) -> bool {
        let flushed = self.is_connected() && self.flush(deadline).await;
        self.inner.stop.cancel();
        self.inner.tracker.close();
        let _ = tokio::time::timeout(deadline, self.inner.tracker.wait()).await;
        if self.is_connected() {
            // Nobody is sent a request any more that nobody would answer.
            let _ = tokio::time::timeout(deadline, self.settled()).await;
            let _ = tokio::time::timeout(Duration::from_millis(500), self.inner.client.drain()).await;
        }
        flushed
    }
}

fn addresses(urls: &[String]) -> Result<Vec<async_nats::ServerAddr>, ConnectError> {
    let read = |url: &String| {
        let wrong = |source| ConnectError::Address {
            url: url.clone(),
            source,
        };
        let address: async_nats::ServerAddr = url.parse().map_err(wrong)?;
        if address.host().is_empty() {
            return Err(wrong(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "there is no host in it",
            )));
        }
        Ok(address)
    };
    urls.iter().map(read).collect()
}

/// Returns the login that stands in an address: the client itself passes it over.
fn login_in(addresses: &[async_nats::ServerAddr]) -> Option<Credentials> {
    addresses.iter().find_map(|address| {
        let user = address.username()?.to_owned();
        Some(match address.password() {
            Some(password) => Credentials::User {
                user,
                password: password.to_owned(),
            },
            None => Credentials::Token(user),
        })
    })
}

async fn connect_options(
    options: &BusOptions,
    state: watch::Sender<Connection>,
) -> Result<ConnectOptions, ConnectError> {
    let mut connect = ConnectOptions::new()
        .name(&options.name)
        .retry_on_initial_connect()
        .connection_timeout(Duration::from_secs(2))
        .request_timeout(Some(SERVER_DEADLINE))
        // Two missed pings end a connection whose peer is dead: 15 s, not the library's three minutes.
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            note(&state, &event);
            std::future::ready(())
        });
    connect = match &options.credentials {
        None => connect,
        Some(Credentials::Token(token)) => connect.token(token.clone()),
        Some(Credentials::User { user, password }) => {
            connect.user_and_password(user.clone(), password.clone())
        }
        Some(Credentials::File(path)) => {
            connect
                .credentials_file(path)
                .await
                .map_err(|source| ConnectError::Credentials {
                    path: path.clone(),
                    source,
                })?
        }
    };
    Ok(connect)
}

/// Delays between attempts: quick at first, 2 s at most, and never two processes in step.
fn reconnect_delay(attempt: usize) -> Duration {
    let base = 20_u64.saturating_mul(1 << attempt.min(7)).min(1_600);
    let jitter = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * base / 1024;
    // The client counts from 1, and waits before the first attempt as well.
    Duration::from_millis(if attempt <= 1 { 0 } else { base + jitter })
}

fn note(state: &watch::Sender<Connection>, event: &Event) {
    match event {
        Event::Connected => {
            state.send_replace(Connection::Connected);
        }
        Event::Disconnected | Event::Closed => {
            state.send_if_modified(|now| {
                let was = *now == Connection::Connected;
                if was {
                    *now = Connection::Away {
                        since: WireTime::now(),
                        reason: None,
                    };
                }
                was
            });
        }
        Event::ServerError(error) => away_because(state, &error.to_string()),
        Event::ClientError(error) => away_because(state, &error.to_string()),
        Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining => tracing::debug!(%event, "NATS"),
    }
}

fn away_because(state: &watch::Sender<Connection>, text: &str) {
    tracing::debug!(error = text, "NATS");
    state.send_if_modified(|now| match now {
        Connection::Away { reason, .. } if reason.as_deref() != Some(text) => {
            *reason = Some(text.to_owned());
            true
        }
        _ => false,
    });
}
