//! Key-value buckets.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use tcs_bus::{KvChange, KvError, StreamsError};
use tcs_system_tests::{Case, Lab};
use tcs_testkit::NatsOptions;
use tcs_wire::Bucket;

use super::{SOON, block_on, connected, server};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("a_bucket_is_made_and_opened", made),
        Case::lab("who_writes_second_is_told", conflicts),
        Case::lab("a_whole_bucket_is_read_at_once", entries),
        Case::lab("a_bucket_that_changes_is_read_whole", entries_while_they_change),
        Case::lab("changes_of_a_bucket_are_followed", follow),
    ]
}

fn made(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        let missing = bus.kv_existing(Bucket::State).await.map(drop);
        ensure!(
            matches!(missing, Err(KvError::Stream(StreamsError::NoStream(_)))),
            "{missing:?}"
        );
        let missing = bus.kv_entries(Bucket::State).await.map(drop);
        ensure!(matches!(missing, Err(StreamsError::NoStream(_))), "{missing:?}");
        bus.kv(Bucket::State).await?;
        let bucket = bus.kv(Bucket::State).await?;
        ensure!(bucket.entries().await?.is_empty() && bus.kv_entries(Bucket::State).await?.is_empty());
        ensure!(bucket.get("manager.obs1.x.main").await?.is_none());
        Ok(())
    })
}

fn conflicts(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        let bucket = bus.kv(Bucket::Claims).await?;
        let first = bucket.create("hello_world.main", "one").await?;
        let again = bucket.create("hello_world.main", "two").await;
        ensure!(
            matches!(&again, Err(KvError::Conflict(key)) if key == "hello_world.main"),
            "{again:?}"
        );
        let second = bucket.update("hello_world.main", "two", first).await?;
        ensure!(second > first);
        let late = bucket.update("hello_world.main", "three", first).await;
        ensure!(matches!(late, Err(KvError::Conflict(_))), "{late:?}");
        let entry = bucket.get("hello_world.main").await?;
        ensure!(entry.is_some_and(|entry| entry.value == "two" && entry.revision == second));
        bucket.delete("hello_world.main").await?;
        ensure!(bucket.get("hello_world.main").await?.is_none());
        bucket.create("hello_world.main", "four").await?;
        Ok(())
    })
}

fn entries(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "manager.obs1").await?;
        let bucket = bus.kv(Bucket::State).await?;
        for round in 0..2 {
            for n in 0..300 {
                bucket
                    .put(&format!("manager.obs1.s{n}.main"), format!("{round}/{n}"))
                    .await?;
            }
        }
        bucket.delete("manager.obs1.s7.main").await?;
        for entries in [bucket.entries().await?, bus.kv_entries(Bucket::State).await?] {
            ensure!(entries.len() == 299, "{}", entries.len());
            ensure!(
                entries.iter().all(|entry| entry.value.starts_with(b"1/")),
                "an old value is among them"
            );
            ensure!(entries.iter().all(|entry| entry.key != "manager.obs1.s7.main"));
            ensure!(entries[0].key == "manager.obs1.s0.main", "{}", entries[0].key);
        }
        Ok(())
    })
}

/// What is replaced between the count and the reading is delivered at another place: each key is there once all the same.
fn entries_while_they_change(_: &Lab) -> Result<()> {
    const KEYS: usize = 40;
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let (bus, other) = (
            connected(&server, "manager.obs1").await?,
            connected(&server, "reader").await?,
        );
        let bucket = bus.kv(Bucket::State).await?;
        for key in 0..KEYS {
            bucket.put(&format!("manager.obs1.x.{key}"), "0").await?;
        }
        let replace = async {
            for round in 1_u64.. {
                for key in 0..KEYS {
                    bucket
                        .put(&format!("manager.obs1.x.{key}"), round.to_string())
                        .await?;
                }
            }
            anyhow::Ok(())
        };
        let read = async {
            for _ in 0..60 {
                let entries = other.kv_entries(Bucket::State).await?;
                let keys: BTreeSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
                ensure!(keys.len() == KEYS, "{} of {KEYS} keys", keys.len());
                ensure!(entries.len() == KEYS, "{} entries of {KEYS} keys", entries.len());
            }
            Ok(())
        };
        tokio::select! {
            failed = replace => failed,
            outcome = read => outcome,
        }
    })
}

fn follow(_: &Lab) -> Result<()> {
    let server = server(&NatsOptions::default())?;
    block_on(async {
        let bus = connected(&server, "tcsctl").await?;
        let bucket = bus.kv(Bucket::State).await?;
        bucket.put("before", "0").await?;
        let mut seen = Vec::new();
        let following = bucket.follow(|change| {
            let done = matches!(&change, KvChange::Deleted(key) if key == "a.b");
            match change {
                KvChange::Put(entry) => seen.push((entry.key, Some(entry.value))),
                KvChange::Deleted(key) => seen.push((key, None)),
            }
            !done
        });
        let writing = async {
            // Written again until the watch is there: it shows what happens from then on.
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                bucket.put("a.b", "1").await?;
                bucket.delete("a.b").await?;
            }
            #[expect(unreachable_code, reason = "names the type of the errors")]
            Ok::<(), KvError>(())
        };
        tokio::select! {
            followed = tokio::time::timeout(SOON, following) => followed??,
            written = writing => written?,
        }
        ensure!(
            seen.iter().all(|(key, _)| key == "a.b"),
            "what was there before is told: {seen:?}"
        );
        ensure!(seen.last().is_some_and(|(_, value)| value.is_none()));
        Ok(())
    })
}
