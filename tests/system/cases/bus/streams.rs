//! Streams: made when they are missing, looked at when they are there.

use anyhow::{Result, ensure};
use async_nats::jetstream;
use serde_json::json;
use tcs_bus::{KvError, StreamsError};
use tcs_system_tests::{Case, Lab};
use tcs_testkit::NatsOptions;
use tcs_wire::{Bucket, MessageId};

use super::{SOON, block_on, connected, plain, server};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("missing_streams_are_made_once", made_once),
        Case::lab("faults_of_existing_streams_are_told_and_left", faults),
        Case::lab(
            "a_server_without_jetstream_is_named_with_its_remedy",
            no_jetstream,
        ),
        Case::lab("a_repeated_message_id_is_dropped", repeats),
    ]
}

fn made_once(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        let missing = bus.check_streams().await?;
        ensure!(
            missing.len() == 3 && missing[0].text.contains("manage_streams: true"),
            "{missing:?}"
        );
        ensure!(bus.ensure_streams().await?.is_empty());
        ensure!(
            bus.ensure_streams().await?.is_empty(),
            "the second time finds its own streams faulty"
        );
        ensure!(bus.check_streams().await?.is_empty());
        let context = jetstream::new(plain(&server).await?);
        for definition in bus.prefix().streams() {
            let config = context
                .get_stream(&definition.name)
                .await?
                .cached_info()
                .config
                .clone();
            ensure!(config.max_messages_per_subject == definition.max_messages_per_subject && !config.no_ack);
            ensure!(
                config.max_age.as_secs() == definition.max_age_s && config.max_bytes == definition.max_bytes
            );
            ensure!(bus.stream_of(&definition.subjects).await? == definition.name);
        }
        let nowhere = bus.stream_of("elsewhere.>").await;
        ensure!(
            nowhere == Err(StreamsError::NoStream("elsewhere.>".into())),
            "{nowhere:?}"
        );
        Ok(())
    })
}

fn faults(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        let context = jetstream::new(plain(&server).await?);
        let make = async |name: &str, subject: &str, no_ack| {
            let config = jetstream::stream::Config {
                name: name.into(),
                subjects: vec![subject.into()],
                no_ack,
                ..Default::default()
            };
            context.create_stream(config).await
        };
        make("beats", "svc.heartbeat.>", true).await?;
        make("some_events", "svc.registry.start.>", false).await?;
        let told = bus.ensure_streams().await?;
        let texts = |stream: &str| {
            told.iter()
                .filter(|fault| fault.stream == stream)
                .map(|fault| fault.text.as_str())
                .collect::<Vec<_>>()
        };
        ensure!(
            texts("beats")
                .iter()
                .any(|text| text.contains("set `no_ack` to false")),
            "{told:?}"
        );
        ensure!(
            texts("some_events")
                .iter()
                .any(|text| text.contains("only a part of `svc.registry.>`")),
            "{told:?}"
        );
        ensure!(told.len() == 2, "{told:?}");
        let left = context.get_stream("beats").await?.cached_info().config.clone();
        ensure!(left.no_ack, "an existing stream was changed");

        for name in ["beats", "some_events", "svc_status"] {
            context.delete_stream(name).await?;
        }
        make("all", "svc.>", false).await?;
        let told = bus.check_streams().await?;
        ensure!(
            told.iter()
                .all(|fault| fault.stream == "all" && fault.text.contains("requests included")),
            "{told:?}"
        );
        ensure!(!told.is_empty());
        Ok(())
    })
}

fn no_jetstream(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions {
        jetstream: false,
        ..NatsOptions::default()
    })?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        for said in [
            bus.ensure_streams().await.map(drop),
            bus.check_streams().await.map(drop),
            bus.last_per_subject("svc.status.>").await.map(drop),
            bus.kv_entries(Bucket::State).await.map(drop),
        ] {
            ensure!(said == Err(StreamsError::NoJetStream), "{said:?}");
        }
        let bucket = bus.kv(Bucket::State).await.map(drop);
        ensure!(
            matches!(bucket, Err(KvError::Stream(StreamsError::NoJetStream))),
            "{bucket:?}"
        );
        let text = StreamsError::NoJetStream.to_string();
        ensure!(text.contains("add `jetstream {}` to its configuration"), "{text}");
        Ok(())
    })
}

fn repeats(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "weather_importer.main").await?;
        bus.ensure_streams().await?;
        let fact = MessageId::of_fact("wx:davis:2026-11-22T22:00:00Z");
        let mut acked = Vec::new();
        for _ in 0..2 {
            acked.push(
                bus.publish_acked("svc.status.x.main", &bus.message(&json!({"n": 1})), &fact, SOON)
                    .await?,
            );
        }
        ensure!(
            acked[0].stream == "svc_status" && !acked[0].duplicate && acked[1].duplicate,
            "{acked:?}"
        );
        let received = bus.all("svc.status.>").await?;
        ensure!(
            received.len() == 1 && received[0].message_id.as_deref() == Some(fact.as_str()),
            "{received:?}"
        );
        ensure!(received[0].sequence == 1);
        Ok(())
    })
}
