//! The answering side: the manager's words and those of its services, on the NATS service API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tcs_bus::{Bus, Presence, Request, Responder, ResponderError, ResponderInfo};
use tcs_wire::rpc::{ControlArgs, ControlReply, ErrorKind, HealthReply, ListReply, RpcError, Word};
use tcs_wire::{ServiceId, Snapshot, SubjectPrefix, WireTime};
use tokio::sync::{mpsc, oneshot};

use super::control::Control;
use crate::mirror::Identity;
use crate::systemd::{JobVerb, Systemd, UnitState};

/// A question to the engine.
#[derive(Debug)]
pub(super) enum Ask {
    /// All records as they are at this moment.
    List(oneshot::Sender<Vec<Snapshot>>),
    /// One of them, and the unit behind it.
    One(ServiceId, oneshot::Sender<Option<Box<(Snapshot, UnitState)>>>),
}

/// The way to the engine.
#[derive(Debug, Clone)]
pub(super) struct Asks(mpsc::Sender<Ask>);

impl Asks {
    async fn list(&self) -> Result<Vec<Snapshot>, RpcError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::List(reply), answer).await
    }

    pub(super) async fn one(&self, id: &ServiceId) -> Result<(Snapshot, UnitState), RpcError> {
        let (reply, answer) = oneshot::channel();
        let found = self.ask(Ask::One(id.clone(), reply), answer).await?;
        let unknown = || {
            RpcError::new(
                ErrorKind::UnknownService,
                format!("this manager knows no service `{id}`"),
            )
        };
        found.map(|found| *found).ok_or_else(unknown)
    }

    async fn ask<T>(&self, ask: Ask, answer: oneshot::Receiver<T>) -> Result<T, RpcError> {
        let ending = |_| RpcError::new(ErrorKind::Unavailable, "the manager is about to end");
        self.0
            .send(ask)
            .await
            .map_err(|_| RpcError::new(ErrorKind::Unavailable, "the manager is about to end"))?;
        answer.await.map_err(ending)
    }
}

/// All that is needed to answer.
pub(super) struct Requests {
    control: Control,
    asks: Asks,
    presence: Arc<Presence>,
    manager: ServiceId,
    hostname: String,
    started: Instant,
    answered: BTreeSet<ServiceId>,
    responder: Option<Responder>,
}

impl Requests {
    pub(super) fn new(
        asks: mpsc::Sender<Ask>,
        systemd: Systemd,
        presence: Arc<Presence>,
        identity: &Identity,
    ) -> Self {
        let asks = Asks(asks);
        Self {
            control: Control::new(systemd, asks.clone()),
            asks,
            presence,
            manager: identity.manager.clone(),
            hostname: identity.hostname.clone(),
            started: Instant::now(),
            answered: BTreeSet::new(),
            responder: None,
        }
    }

    /// Answers for the manager and these services from now on; the subscriptions outlive a restart of the server.
    ///
    /// For a service that is not declared any more the answer stays, and is that there is none.
    pub(super) async fn answer(&mut self, bus: &Bus, services: &[ServiceId]) -> Result<(), ResponderError> {
        let responder = match self.responder.take() {
            Some(responder) => responder,
            None => self.announce(bus).await?,
        };
        let mut outcome = Ok(());
        for id in services
            .iter()
            .filter(|id| !self.answered.contains(id))
            .cloned()
            .collect::<Vec<_>>()
        {
            outcome = self.answer_for_service(&responder, bus.prefix(), &id).await;
            if outcome.is_err() {
                break;
            }
            self.answered.insert(id);
        }
        self.responder = Some(responder);
        outcome
    }

    async fn announce(&self, bus: &Bus) -> Result<Responder, ResponderError> {
        let responder = bus
            .responder(ResponderInfo {
                id: self.manager.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                description: format!("manager of the services on {}", self.hostname),
            })
            .await?;
        self.answer_for_manager(&responder, bus.prefix()).await?;
        Ok(responder)
    }

    async fn answer_for_manager(
        &self,
        responder: &Responder,
        prefix: &SubjectPrefix,
    ) -> Result<(), ResponderError> {
        let (asks, manager) = (self.asks.clone(), self.manager.clone());
        let list = move |_: Request| {
            let (asks, manager) = (asks.clone(), manager.clone());
            async move {
                Ok(ListReply {
                    manager,
                    services: asks.list().await?,
                })
            }
        };
        responder
            .endpoint("list", &prefix.rpc(&self.manager, Word::List), list)
            .await?;

        let (presence, id, hostname, started) = (
            Arc::clone(&self.presence),
            self.manager.clone(),
            self.hostname.clone(),
            self.started,
        );
        let health = move |_: Request| {
            let status = presence.status();
            let reply = HealthReply {
                service_id: id.clone(),
                service_status: status,
                healthy: status.is_healthy(),
                message: presence.message(),
                pid: std::process::id(),
                hostname: hostname.clone(),
                uptime_s: started.elapsed().as_secs_f64(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                timestamp: WireTime::now(),
            };
            std::future::ready(Ok(reply))
        };
        responder
            .endpoint("health", &prefix.rpc(&self.manager, Word::Health), health)
            .await?;

        let asks = self.asks.clone();
        let status = move |request: Request| {
            let asks = asks.clone();
            async move { Ok(asks.one(&service_of(&request.subject)?).await?.0) }
        };
        let about = |word: Word| format!("{}.>", prefix.rpc(&self.manager, word));
        responder.endpoint("status", &about(Word::Status), status).await?;
        for (word, verb) in VERBS {
            let control = self.control.clone();
            let run = move |request: Request| {
                let control = control.clone();
                async move { run(control, verb, service_of(&request.subject)?, &request).await }
            };
            responder.endpoint(word.as_str(), &about(word), run).await?;
        }
        Ok(())
    }

    async fn answer_for_service(
        &self,
        responder: &Responder,
        prefix: &SubjectPrefix,
        id: &ServiceId,
    ) -> Result<(), ResponderError> {
        let name = |word: Word| format!("{}-{word}", id.micro_name());
        let (asks, service) = (self.asks.clone(), id.clone());
        let status = move |_: Request| {
            let (asks, service) = (asks.clone(), service.clone());
            async move { Ok(asks.one(&service).await?.0) }
        };
        responder
            .endpoint(&name(Word::Status), &prefix.rpc(id, Word::Status), status)
            .await?;
        for (word, verb) in VERBS {
            let (control, service) = (self.control.clone(), id.clone());
            let run = move |request: Request| {
                let (control, service) = (control.clone(), service.clone());
                async move { run(control, verb, service, &request).await }
            };
            responder
                .endpoint(&name(word), &prefix.rpc(id, word), run)
                .await?;
        }
        Ok(())
    }
}

const VERBS: [(Word, JobVerb); 3] = [
    (Word::Start, JobVerb::Start),
    (Word::Stop, JobVerb::Stop),
    (Word::Restart, JobVerb::Restart),
];

async fn run(
    control: Control,
    verb: JobVerb,
    id: ServiceId,
    request: &Request,
) -> Result<ControlReply, RpcError> {
    let arguments: ControlArgs = request.arguments()?;
    let sender = request.claimed_sender().unwrap_or("somebody unnamed");
    tracing::info!(service = %id, sender, "{id}: {verb:?} asked for over NATS by {sender}");
    control.run(verb, &id, &arguments).await
}

/// Reads the service out of `PREFIX.rpc.manager.HOST.v1.WORD.SERVICE_ID`.
fn service_of(subject: &str) -> Result<ServiceId, RpcError> {
    // A prefix may hold a part that is called `v1`; a host's name and a word hold no dots.
    let after = subject
        .split_once(".rpc.manager.")
        .and_then(|(_, rest)| rest.split_once(".v1."))
        .and_then(|(_, rest)| rest.split_once('.'));
    let id = after.map_or("", |(_, id)| id);
    ServiceId::parse(id).map_err(|error| RpcError::new(ErrorKind::BadRequest, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_stands_behind_the_word() {
        let id = service_of("svc.rpc.manager.obs1.v1.start.plan_runner.zb08").unwrap();
        assert_eq!(id.as_str(), "plan_runner.zb08");
        let id = service_of("site.v1.tcs.rpc.manager.obs1.v1.start.plan_runner.zb08").unwrap();
        assert_eq!(id.as_str(), "plan_runner.zb08");
        let error = service_of("svc.rpc.manager.obs1.v1.start.plan_runner").unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest);
    }
}
