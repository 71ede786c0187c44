//! What is published while the server comes and goes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tcs_bus::{
    Bus, BusOptions, ConnectError, Connection, Keep, Presence, PresenceOptions, PublishError, RequestError,
};
use tcs_system_tests::{Case, Lab};
use tcs_testkit::{NatsOptions, NatsServer, Store, eventually};
use tcs_wire::{Message, Status, StatusReport, StreamDefinition};

use super::{SOON, aside, block_on, connect, connected, id, numbered, numbers, server};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("connect_returns_at_once_without_a_server", returns_at_once),
        Case::lab("an_address_that_is_none_is_refused", wrong_address),
        Case::lab(
            "with_the_server_away_statuses_are_superseded_and_events_wait",
            away,
        ),
        Case::lab("restarts_in_mid_stream_lose_double_and_reorder_nothing", restarts),
        Case::lab("a_server_without_its_store_hears_of_everybody_again", wiped),
        Case::lab(
            "a_subject_without_a_stream_waits_and_holds_up_no_other",
            no_stream,
        ),
        Case::lab("a_frozen_server_ends_no_call_later_than_its_deadline", frozen),
        Case::lab("a_status_that_is_the_same_is_not_sent_again", same_status),
        Case::lab("close_sends_what_waits_and_gives_up_in_time", close),
    ]
}

/// A stream that keeps all of `order.>`.
fn order() -> StreamDefinition {
    StreamDefinition {
        name: "order".to_owned(),
        subjects: "order.>".to_owned(),
        max_messages_per_subject: -1,
        max_bytes: -1,
        max_age_s: 0,
    }
}

fn returns_at_once(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    server.stop()?;
    block_on(async {
        let begun = Instant::now();
        let bus = connect(&server.url(), "early").await?;
        ensure!(
            begun.elapsed() < Duration::from_millis(500),
            "connect took {:?}",
            begun.elapsed()
        );
        ensure!(matches!(*bus.connection().borrow(), Connection::Away { .. }));
        ensure!(!bus.wait_connected(Duration::from_millis(300)).await);

        let message = bus.message(&json!({}));
        let published = bus
            .publish_acked("svc.status.x", &message, &bus.message_id(), SOON)
            .await;
        ensure!(
            matches!(published, Err(PublishError::NotConnected)),
            "{published:?}"
        );
        let asked = bus
            .request::<_, serde_json::Value>("svc.rpc.x", &json!({}), SOON)
            .await;
        ensure!(matches!(asked, Err(RequestError::NotConnected)), "{asked:?}");
        ensure!(bus.ensure_streams().await.is_err());
        ensure!(
            begun.elapsed() < Duration::from_secs(2),
            "something waited: {:?}",
            begun.elapsed()
        );

        aside(&server, |server| server.start_again()).await??;
        ensure!(
            bus.wait_connected(SOON).await,
            "the server is there and was not found"
        );
        ensure!(bus.server_name().as_deref() == Some(server.name()));
        Ok(())
    })
}

fn wrong_address(_: &Lab) -> Result<()> {
    block_on(async {
        for wrong in ["http://127.0.0.1:4222", "nats://", "nats://host:port"] {
            let error = Bus::connect(BusOptions::new(wrong, "x")).await;
            ensure!(
                matches!(&error, Err(ConnectError::Address { url, .. }) if url == wrong),
                "{wrong}: {error:?}"
            );
        }
        Ok(())
    })
}

fn away(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "hello_world.main").await?;
        bus.ensure_streams().await?;
        aside(&server, NatsServer::stop).await??;
        let mut connection = bus.connection();
        connection
            .wait_for(|state| *state != Connection::Connected)
            .await?;

        for n in 1..=90 {
            bus.publish(numbered(
                &bus,
                "svc.registry.start.hello_world.main",
                n,
                Keep::Event,
            ));
            bus.publish(numbered(&bus, "svc.status.hello_world.main", n, Keep::Latest));
            bus.publish(numbered(&bus, "svc.status.other.main", n, Keep::Latest));
        }
        eventually(
            "the outbox has all events and two statuses",
            SOON,
            async || match bus.outbox_counts() {
                (92, 0) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await?;

        aside(&server, |server| server.start_again()).await??;
        ensure!(
            bus.flush(SOON).await,
            "not all was sent: {:?}",
            bus.outbox_counts()
        );
        ensure!(numbers(&bus, "svc.registry.>").await? == (1..=90).collect::<Vec<_>>());
        ensure!(numbers(&bus, "svc.status.hello_world.main").await? == [90]);
        ensure!(numbers(&bus, "svc.status.other.main").await? == [90]);
        Ok(())
    })
}

fn restarts(_: &Lab) -> Result<()> {
    const COUNT: u64 = 6_000;
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "sender").await?;
        let reader = connected(&server, "reader").await?;
        bus.create_stream(&order()).await?;
        let mut sent = 0;
        for kill in 1..=4 {
            while sent < kill * COUNT / 5 {
                sent += 1;
                bus.publish(numbered(&bus, "order.a", sent, Keep::Event));
            }
            // In mid-stream: some of what was handed over is stored, the rest is not.
            let enough = sent - COUNT / 10;
            let stored = async || match numbers(&reader, "order.a").await {
                Ok(numbers) if numbers.len() as u64 >= enough => Ok(()),
                Ok(numbers) => Err(format!("{} stored", numbers.len())),
                Err(error) => Err(format!("{error:#}")),
            };
            eventually("most is stored", SOON, stored).await?;
            aside(&server, |server| server.restart(Store::Keep)).await??;
            ensure!(reader.wait_connected(SOON).await);
        }
        while sent < COUNT {
            sent += 1;
            bus.publish(numbered(&bus, "order.a", sent, Keep::Event));
        }
        ensure!(
            bus.flush(2 * SOON).await,
            "not all was sent: {:?}",
            bus.outbox_counts()
        );
        let numbers = numbers(&reader, "order.a").await?;
        let wrong = numbers
            .iter()
            .zip(1..)
            .find(|(found, expected)| *found != expected);
        ensure!(
            wrong.is_none() && numbers.len() as u64 == COUNT,
            "{} messages, first wrong: {wrong:?}",
            numbers.len()
        );
        ensure!(bus.outbox_counts() == (0, 0));
        Ok(())
    })
}

fn wiped(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "hello_world.main").await?;
        ensure!(bus.ensure_streams().await?.is_empty());
        let options = PresenceOptions {
            id: id("hello_world.main")?,
            parent: Some(id("manager.obs1")?),
            hostname: "obs1".into(),
        };
        let presence = Presence::new(&bus, options);
        presence.set(Status::Busy, "greeting");
        ensure!(bus.flush(SOON).await);

        let manager = connected(&server, "manager.obs1").await?;
        aside(&server, |server| server.restart(Store::Wipe)).await??;
        eventually("the streams are made again", SOON, async || {
            manager.ensure_streams().await.map(drop)
        })
        .await?;
        let begun = Instant::now();
        for subject in ["svc.status.hello_world.main", "svc.heartbeat.hello_world.main"] {
            let there = async || match manager.last_per_subject(subject).await {
                Ok(received) if received.len() == 1 => Ok(received[0].clone()),
                other => Err(format!("{other:?}")),
            };
            let last = eventually(subject, Duration::from_secs(6), there)
                .await?
                .decode()?;
            ensure!(last.data.is_some_and(|data| data["status"] == "busy"));
        }
        // Sooner than the next heartbeat is due.
        ensure!(begun.elapsed() < Duration::from_secs(6));
        Ok(())
    })
}

fn no_stream(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "sender").await?;
        bus.ensure_streams().await?;
        let message = bus.message(&json!({}));
        let refused = bus
            .publish_acked("order.a", &message, &bus.message_id(), SOON)
            .await;
        let Err(PublishError::NoStream(subject)) = &refused else {
            anyhow::bail!("{refused:?}")
        };
        ensure!(subject == "order.a");

        for n in 1..=300 {
            bus.publish(numbered(&bus, "order.a", n, Keep::Event));
            bus.publish(numbered(&bus, "order.latest", n, Keep::Latest));
        }
        bus.publish(numbered(&bus, "svc.registry.start.x.main", 7, Keep::Event));
        eventually("the other subject is served", SOON, async || {
            match numbers(&bus, "svc.registry.>").await {
                Ok(numbers) if numbers == [7] => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        ensure!(bus.outbox_counts() == (301, 0), "{:?}", bus.outbox_counts());

        bus.create_stream(&order()).await?;
        for n in 301..=400 {
            bus.publish(numbered(&bus, "order.a", n, Keep::Event));
        }
        ensure!(
            bus.flush(SOON).await,
            "not all was sent: {:?}",
            bus.outbox_counts()
        );
        ensure!(numbers(&bus, "order.a").await? == (1..=400).collect::<Vec<_>>());
        ensure!(numbers(&bus, "order.latest").await? == [300]);
        Ok(())
    })
}

fn frozen(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "sender").await?;
        bus.ensure_streams().await?;
        server.freeze();
        let deadline = Duration::from_millis(400);
        let begun = Instant::now();
        let message = bus.message(&json!({"n": 1}));
        let published = bus
            .publish_acked("svc.status.x", &message, &bus.message_id(), deadline)
            .await;
        ensure!(
            matches!(published, Err(PublishError::Timeout { .. })),
            "{published:?}"
        );
        let asked = bus
            .request::<_, serde_json::Value>("svc.rpc.x", &json!({}), deadline)
            .await;
        ensure!(matches!(asked, Err(RequestError::Timeout { .. })), "{asked:?}");
        for n in 1..=50 {
            bus.publish(numbered(&bus, "svc.registry.start.x.main", n, Keep::Event));
        }
        ensure!(!bus.flush(deadline).await, "nothing was acknowledged");
        ensure!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        // Past the time in which a ping must be answered, so that the connection is given up and made again.
        let mut connection = bus.connection();
        tokio::time::timeout(
            Duration::from_secs(30),
            connection.wait_for(|state| *state != Connection::Connected),
        )
        .await??;
        server.thaw();
        ensure!(bus.wait_connected(SOON).await);
        ensure!(bus.flush(2 * SOON).await, "{:?}", bus.outbox_counts());
        ensure!(numbers(&bus, "svc.registry.>").await? == (1..=50).collect::<Vec<_>>());
        Ok(())
    })
}

fn same_status(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "hello_world.main").await?;
        bus.ensure_streams().await?;
        let options = PresenceOptions {
            id: id("hello_world.main")?,
            parent: None,
            hostname: "obs1".into(),
        };
        let presence = Presence::new(&bus, options);
        for (status, message) in [
            (Status::Startup, ""),
            (Status::Ok, "works"),
            (Status::Ok, "works"),
            (Status::Ok, "works well"),
            (Status::Shutdown, "stopped"),
        ] {
            presence.set(status, message);
            ensure!(bus.flush(SOON).await);
        }
        let reports: Vec<Message> = bus
            .all("svc.status.>")
            .await?
            .iter()
            .map(|one| one.decode())
            .collect::<Result<_, _>>()?;
        let reports: Vec<StatusReport> = reports
            .iter()
            .map(|message| message.read("status"))
            .collect::<Result<_, _>>()?;
        let seen: Vec<_> = reports
            .iter()
            .map(|report| (report.status, report.message.as_deref()))
            .collect();
        ensure!(
            seen == [
                (Status::Startup, None),
                (Status::Ok, Some("works")),
                (Status::Ok, Some("works well")),
                (Status::Shutdown, Some("stopped"))
            ],
            "{seen:?}"
        );
        ensure!(reports[0].parent.is_none() && reports[0].pid == Some(std::process::id()));
        eventually("a heartbeat at once", Duration::from_secs(2), async || {
            let beats = bus
                .all("svc.heartbeat.>")
                .await
                .map_err(|error| error.to_string())?;
            if beats.len() == 1 {
                Ok(())
            } else {
                Err(format!("{} heartbeats", beats.len()))
            }
        })
        .await?;
        Ok(())
    })
}

fn close(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "sender").await?;
        let reader = connected(&server, "reader").await?;
        bus.ensure_streams().await?;
        for n in 1..=80 {
            bus.publish(numbered(&bus, "svc.registry.start.x.main", n, Keep::Event));
        }
        ensure!(bus.close(SOON).await, "close said that something was left");
        ensure!(numbers(&reader, "svc.registry.>").await?.len() == 80);

        aside(&server, NatsServer::stop).await??;
        let begun = Instant::now();
        ensure!(
            !reader.close(Duration::from_secs(1)).await,
            "nothing can be flushed without a server"
        );
        ensure!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        Ok(())
    })
}
