//! Answering: endpoints of the NATS service API whose subjects are the suite's own (design decisions 30 and 31).

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::{self, ServiceExt};
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tcs_wire::rpc::{ErrorKind, RpcError, reply};
use tcs_wire::{Message, ServiceId};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::bus::Bus;
use crate::streams::chain;

/// Requests of one endpoint that are worked on at a time; more wait.
const CONCURRENT: usize = 64;
/// What requests that are being worked on are given when the bus closes.
const GRACE: Duration = Duration::from_secs(1);

/// The answering side could not be set up.
#[derive(Debug, Error)]
#[error("cannot answer on `{subject}`: {text}")]
pub struct ResponderError {
    subject: String,
    text: String,
}

/// What `nats micro ls` shows of a service or manager.
#[derive(Debug, Clone)]
pub struct ResponderInfo {
    /// The service id; its name there is the id with `_` for each dot.
    pub id: ServiceId,
    /// A semantic version.
    pub version: String,
    /// One line for people.
    pub description: String,
}

/// A request as a handler sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The subject that it came on.
    pub subject: String,
    /// What is asked.
    pub message: Message,
}

impl Request {
    /// Returns the arguments.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] with what is wrong with them.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        self.message
            .read("request")
            .map_err(|error| RpcError::new(ErrorKind::BadRequest, chain(&error)))
    }

    /// Returns who asks, as the request claims; nobody has verified it.
    pub fn claimed_sender(&self) -> Option<&str> {
        self.message.meta.sender.as_deref()
    }
}

/// The endpoints of one service or manager; they answer until the bus closes, also when this is dropped.
pub struct Responder {
    bus: Bus,
    service: Arc<service::Service>,
}

impl Bus {
    /// Announces `info` to the NATS service API; endpoints are added to what this returns.
    ///
    /// # Errors
    /// For a version that is not semantic.
    pub async fn responder(&self, info: ResponderInfo) -> Result<Responder, ResponderError> {
        let metadata = HashMap::from([("service_id".to_owned(), info.id.to_string())]);
        let service = self
            .inner
            .client
            .service_builder()
            .description(info.description)
            .metadata(metadata)
            .start(info.id.micro_name(), info.version)
            .await
            .map_err(|error| ResponderError {
                subject: info.id.to_string(),
                text: error.to_string(),
            })?;
        Ok(Responder {
            bus: self.clone(),
            service: Arc::new(service),
        })
    }
}

impl Responder {
    /// Answers every request on `subject` by `handler`, several at a time. [`Bus::settled`] waits until the server knows.
    ///
    /// The queue group is the subject itself, as with the Python responders. What cannot be decoded is answered too.
    ///
    /// # Errors
    /// For an illegal subject.
    pub async fn endpoint<F, Fut, R>(
        &self,
        name: &str,
        subject: &str,
        handler: F,
    ) -> Result<(), ResponderError>
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
        R: Serialize,
    {
        let mut endpoint = self
            .service
            .endpoint_builder()
            .name(name)
            .queue_group(subject)
            .add(subject)
            .await
            .map_err(|error| ResponderError {
                subject: subject.to_owned(),
                text: error.to_string(),
            })?;
        let (bus, handler) = (self.bus.clone(), Arc::new(handler));
        // The client ends all endpoints of a service that is dropped.
        let service = Arc::clone(&self.service);
        let stop = bus.inner.stop.clone();
        self.bus.inner.tracker.spawn(async move {
            let mut running = JoinSet::new();
            let mut stopping = false;
            loop {
                let request = tokio::select! {
                    () = stop.cancelled(), if !stopping => {
                        // What is here already is answered; it ends the stream after that.
                        stopping = true;
                        let _ = endpoint.stop().await;
                        continue;
                    }
                    Some(_) = running.join_next() => continue,
                    request = endpoint.next(), if running.len() < CONCURRENT => request,
                };
                let Some(request) = request else { break };
                let (bus, handler) = (bus.clone(), Arc::clone(&handler));
                running.spawn(async move { answer(&bus, request, &*handler).await });
            }
            drop(service);
            let rest = async { while running.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(GRACE, rest).await;
        });
        Ok(())
    }
}

async fn answer<F, Fut, R>(bus: &Bus, request: service::Request, handler: &F)
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<R, RpcError>>,
    R: Serialize,
{
    let subject = request.message.subject.to_string();
    let (outcome, bare) = match Message::decode_request(&request.message.payload) {
        Ok(message) => {
            let bare = message.bare;
            let work = AssertUnwindSafe(handler(Request {
                subject: subject.clone(),
                message,
            }));
            let outcome = work.catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(subject, "the handler of a request panicked");
                Err(RpcError::new(
                    ErrorKind::Internal,
                    "the handler of the request panicked",
                ))
            });
            (outcome, bare)
        }
        Err(error) => (
            Err(RpcError::new(ErrorKind::BadRequest, chain(&error))),
            !meant_as_envelope(&request.message.payload),
        ),
    };
    let outcome = outcome.map(|result| serde_json::to_value(result).unwrap_or(Value::Null));
    let body = reply(&outcome, bus.meta(), bare).encode();
    if let Err(error) = request.respond(Ok(body.into())).await {
        tracing::debug!(%error, "reply not sent");
    }
}

/// Tells whether a body that cannot be read comes from somebody who wraps messages, and waits for a wrapped reply.
fn meant_as_envelope(body: &[u8]) -> bool {
    let has = |key: &[u8]| body.windows(key.len()).any(|part| part == key);
    has(b"\"data\"") || has(b"\"meta\"")
}
