//! What goes by on NATS, as a bare client sees it.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tcs_bus::{Bus, BusOptions};
use tcs_system_tests::Site;
use tcs_testkit::{RawMessage, RawNats, inside};

use super::SOON;

const EVENTS: &str = "svc.registry.";
const STATUSES: &str = "svc.status.";
const MIRROR: &str = "$KV.tcs_state.manager.obs1.";

/// One message.
#[derive(Debug)]
pub(super) struct Note {
    subject: String,
    pub(super) data: Value,
    sender: String,
    pub(super) message_id: Option<String>,
    pub(super) received: Instant,
}

/// A recording of events, statuses and mirror writes from its start on.
pub(super) struct Tape {
    client: RawNats,
    notes: Vec<Note>,
}

impl Tape {
    pub(super) fn start(site: &Site) -> Result<Self> {
        let mut client = RawNats::connect(site.nats()?)?;
        for prefix in [EVENTS, STATUSES, MIRROR] {
            client.subscribe(&format!("{prefix}>"))?;
        }
        Ok(Self {
            client,
            notes: Vec::new(),
        })
    }

    /// Records until `found` says something.
    pub(super) fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            let Some(message) = self.client.next(end.saturating_duration_since(Instant::now()))? else {
                let seen: Vec<String> = self
                    .notes
                    .iter()
                    .map(|note| format!("{} {}", note.subject, note.data))
                    .collect();
                bail!("{what}: not seen; on the tape is:\n{}", seen.join("\n"));
            };
            self.notes.push(Note::read(&message)?);
        }
    }

    /// Records until `count` events of this kind have come by.
    pub(super) fn until_event(&mut self, id: &str, event: &str, count: usize) -> Result<()> {
        self.until(&format!("`{event}` no. {count} of {id}"), |tape| {
            let seen = tape.event_words(id).iter().filter(|word| **word == event).count();
            (seen >= count).then_some(())
        })
    }

    pub(super) fn events(&self, id: &str) -> Vec<&Note> {
        let of_id = |note: &&Note| note.subject.starts_with(EVENTS) && note.data["service_id"] == id;
        self.notes.iter().filter(of_id).collect()
    }

    pub(super) fn event_words(&self, id: &str) -> Vec<&str> {
        self.events(id)
            .iter()
            .filter_map(|note| note.data["event"].as_str())
            .collect()
    }

    /// The last event of a kind.
    pub(super) fn event(&self, id: &str, event: &str) -> Result<&Value> {
        let events = self.events(id);
        let found = events.into_iter().rev().find(|note| note.data["event"] == event);
        Ok(&found.with_context(|| format!("no `{event}` of {id}"))?.data)
    }

    /// Status and message of each report on a service that this sender sent.
    pub(super) fn statuses(&self, id: &str, sender: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.notes
            .iter()
            .filter(|note| note.subject.starts_with(STATUSES) && note.data["name"] == id)
            .filter(|note| note.sender == sender)
            .map(|note| (text(&note.data["status"]), text(&note.data["message"])))
            .collect()
    }

    /// The records of a service that were written into the mirror.
    pub(super) fn records(&self, id: &str) -> Vec<&Value> {
        let of_id = |note: &&Note| note.subject.strip_prefix(MIRROR) == Some(id);
        self.notes.iter().filter(of_id).map(|note| &note.data).collect()
    }

    /// Forgets all that was recorded.
    pub(super) fn rewind(&mut self) {
        self.notes.clear();
    }
}

impl Note {
    fn read(message: &RawMessage) -> Result<Self> {
        let text = message.text();
        let mut body: Value =
            serde_json::from_str(&text).with_context(|| format!("{}: {text:?}", message.subject))?;
        let in_envelope = !message.subject.starts_with("$KV.");
        let id = |line: &str| line.strip_prefix("Nats-Msg-Id: ").map(str::to_owned);
        Ok(Self {
            subject: message.subject.clone(),
            sender: body["meta"]["sender"].as_str().unwrap_or_default().to_owned(),
            data: if in_envelope { body["data"].take() } else { body },
            message_id: message.headers.lines().find_map(id),
            received: message.received,
        })
    }
}

/// The lifecycle events of a service that the stream holds, oldest first, with their message ids.
pub(super) fn stored_events(site: &Site, id: &str) -> Result<Vec<(Value, String)>> {
    let url = site.nats()?.url();
    let filter = format!("{EVENTS}*.{id}");
    inside(&site.machine, || async {
        let bus = Bus::connect(BusOptions::new(url.as_str(), "reader")).await?;
        anyhow::ensure!(bus.wait_connected(SOON).await, "not connected");
        let mut events = Vec::new();
        for received in bus.all(&filter).await? {
            let body: Value = serde_json::from_slice(&received.body)?;
            events.push((body["data"].clone(), received.message_id.unwrap_or_default()));
        }
        bus.close(SOON).await;
        anyhow::Ok(events)
    })?
}

/// The words of stored events, and a check that none is there twice.
pub(super) fn words_once(events: &[(Value, String)]) -> Result<Vec<&str>> {
    let mut ids: Vec<&String> = events.iter().map(|(_, id)| id).collect();
    ids.sort();
    ids.dedup();
    anyhow::ensure!(ids.len() == events.len(), "an event is there twice: {events:#?}");
    Ok(events
        .iter()
        .filter_map(|(event, _)| event["event"].as_str())
        .collect())
}
