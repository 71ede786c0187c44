//! The connection to NATS against a real server: what goes out, what comes back, and what happens when it is away.

mod kv;
mod outbox;
mod requests;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcs_bus::{Bus, BusOptions, Keep, Outgoing};
use tcs_system_tests::Case;
use tcs_testkit::{Consent, NatsOptions, NatsServer, Network, Prerequisites};
use tcs_wire::ServiceId;

/// How long anything may take that the server has to do.
const SOON: Duration = Duration::from_secs(10);

pub(crate) fn tests() -> Vec<Case> {
    [outbox::tests(), streams::tests(), requests::tests(), kv::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// A server of the case's own on a free port of the host.
fn server(options: &NatsOptions) -> Result<Arc<NatsServer>> {
    let binary = Prerequisites::new(Consent::Absent, |_| ()).nats_server()?;
    Ok(Arc::new(NatsServer::start(&binary, &Network::host(), options)?))
}

/// Runs an async test on a runtime like that of every program of the suite.
fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(test)
}

/// Does something with the server while the clients go on.
async fn aside<T: Send + 'static>(
    server: &Arc<NatsServer>,
    work: impl FnOnce(&NatsServer) -> T + Send + 'static,
) -> Result<T> {
    let server = Arc::clone(server);
    Ok(tokio::task::spawn_blocking(move || work(&server)).await?)
}

async fn connect(url: &str, name: &str) -> Result<Bus> {
    Ok(Bus::connect(BusOptions::new(url, name)).await?)
}

async fn connected(server: &NatsServer, name: &str) -> Result<Bus> {
    let bus = connect(&server.url(), name).await?;
    ensure!(
        bus.wait_connected(SOON).await,
        "not connected to {}",
        server.url()
    );
    Ok(bus)
}

/// A client without anything of the suite's, as a peer has it.
async fn plain(server: &NatsServer) -> Result<async_nats::Client> {
    async_nats::connect(server.url()).await.context("a plain client")
}

fn id(text: &str) -> Result<ServiceId> {
    Ok(ServiceId::parse(text)?)
}

/// An event with a number, by which its place is known.
fn numbered(bus: &Bus, subject: &str, number: u64, keep: Keep) -> Outgoing {
    Outgoing {
        subject: subject.to_owned(),
        message: bus.message(&json!({"n": number})),
        message_id: bus.message_id(),
        keep,
    }
}

/// The numbers that a stream holds on a subject, in its order.
async fn numbers(bus: &Bus, filter: &str) -> Result<Vec<u64>> {
    let received = bus.all(filter).await?;
    let number = |data: Option<tcs_wire::Object>| data?.get("n").and_then(Value::as_u64);
    received
        .iter()
        .map(|one| number(one.decode()?.data).context("a message without a number"))
        .collect()
}
