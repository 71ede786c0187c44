//! What systemd tells unasked, decoded and in its order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use tcs_wire::UnitName;
use tokio::sync::mpsc;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, Variant};

use super::calls::{BUS, MANAGER, SYSTEMD, SYSTEMD_PATH};
use super::jobs::{JobResult, JobTable};
use super::path::unit_of_path;
use super::properties::Properties;
use super::state::ClockReading;

/// Every unit of the suite has a path that begins like this.
const OUR_UNITS: &str = "/org/freedesktop/systemd1/unit/tcs_40";

/// One piece of news from systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Properties of a unit changed.
    Properties {
        /// The unit.
        unit: UnitName,
        /// Whether this closes a change: systemd sends the properties of the unit's kind first, then those that all
        /// units have, both with the values of one moment.
        complete: bool,
        /// The values.
        properties: Properties,
        /// When it was received.
        clock: ClockReading,
    },
    /// A unit was loaded; it need not have been started.
    Loaded(UnitName),
    /// A unit was unloaded: nothing of it runs any more.
    Unloaded(UnitName),
    /// A job of a unit is queued.
    JobNew {
        /// The job's number, unique in one boot.
        id: u32,
        /// The unit.
        unit: UnitName,
    },
    /// A job of a unit has ended; all changes that it made to the unit came before.
    JobRemoved {
        /// The job's number.
        id: u32,
        /// The unit.
        unit: UnitName,
        /// How it ended.
        result: JobResult,
    },
    /// systemd reads its configuration again (true), or has done so (false). In between it drops and re-creates every
    /// unit, which means nothing.
    Reloading(bool),
    /// Units were enabled or disabled, or their files written.
    UnitFilesChanged,
    /// systemd has left the bus or come back to it, as on `daemon-reexec`.
    OwnerChanged {
        /// Whether it is there.
        present: bool,
    },
    /// The connection is gone; nothing follows.
    Closed,
}

/// Asks the bus for the signals that [`forward`] decodes.
pub(super) async fn subscribe(connection: &Connection) -> zbus::Result<()> {
    let units = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .path_namespace(SYSTEMD_PATH)
        .build()?;
    let owner = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(0, SYSTEMD)
        .build()?;
    for rule in [units, owner] {
        connection
            .call_method(
                Some(BUS),
                "/org/freedesktop/DBus",
                Some(BUS),
                "AddMatch",
                &rule.to_string(),
            )
            .await?;
    }
    Ok(())
}

/// Hands on every signal and does nothing else: an unread stream would stall the connection.
pub(super) async fn forward(
    mut stream: MessageStream,
    owner: String,
    jobs: Arc<Mutex<JobTable>>,
    changes: mpsc::UnboundedSender<Change>,
) {
    let mut decoder = Decoder { owner };
    while let Some(Ok(message)) = stream.next().await {
        match decoder.decode(&message) {
            Ok(Some(change)) => {
                let ended = match &change {
                    Change::JobRemoved { id, result, .. } => Some((*id, result.clone())),
                    _ => None,
                };
                // Nobody may be reading: then only the ends of jobs matter.
                let _ = changes.send(change);
                if let Some((id, result)) = ended {
                    jobs.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .end(id, result);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, %message, "unreadable signal"),
        }
    }
    let _ = changes.send(Change::Closed);
    jobs.lock().unwrap_or_else(PoisonError::into_inner).close();
}

struct Decoder {
    /// systemd's unique name on the bus. The bus checks the sender of what it broadcasts, but anyone may send a signal
    /// to this connection directly.
    owner: String,
}

impl Decoder {
    fn decode(&mut self, message: &Message) -> zbus::Result<Option<Change>> {
        if message.message_type() != Type::Signal {
            return Ok(None);
        }
        let header = message.header();
        let (Some(sender), Some(path), Some(interface), Some(member)) = (
            header.sender(),
            header.path(),
            header.interface(),
            header.member(),
        ) else {
            return Ok(None);
        };
        if sender.as_str() == BUS && member.as_str() == "NameOwnerChanged" {
            let body = message.body();
            let (name, _, new): (&str, &str, &str) = body.deserialize()?;
            if name != SYSTEMD {
                return Ok(None);
            }
            new.clone_into(&mut self.owner);
            return Ok(Some(Change::OwnerChanged {
                present: !new.is_empty(),
            }));
        }
        if sender.as_str() != self.owner {
            return Ok(None);
        }
        match (interface.as_str(), member.as_str()) {
            ("org.freedesktop.DBus.Properties", "PropertiesChanged") => {
                properties_changed(message, path.as_str())
            }
            (MANAGER, member) => manager_signal(message, member),
            _ => Ok(None),
        }
    }
}

fn properties_changed(message: &Message, path: &str) -> zbus::Result<Option<Change>> {
    if !path.starts_with(OUR_UNITS) {
        return Ok(None);
    }
    let Some(unit) = unit_of_path(path).and_then(|name| ours(&name)) else {
        return Ok(None);
    };
    let body = message.body();
    let (interface, changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize()?;
    Ok(Some(Change::Properties {
        unit,
        complete: interface == "org.freedesktop.systemd1.Unit",
        properties: Properties::decode(&changed),
        clock: ClockReading::now(),
    }))
}

fn manager_signal(message: &Message, member: &str) -> zbus::Result<Option<Change>> {
    let body = message.body();
    Ok(match member {
        "UnitNew" | "UnitRemoved" => {
            let (name, _): (&str, OwnedObjectPath) = body.deserialize()?;
            let change = if member == "UnitNew" {
                Change::Loaded
            } else {
                Change::Unloaded
            };
            ours(name).map(change)
        }
        "JobNew" => {
            let (id, _, name): (u32, OwnedObjectPath, &str) = body.deserialize()?;
            ours(name).map(|unit| Change::JobNew { id, unit })
        }
        "JobRemoved" => {
            let (id, _, name, result): (u32, OwnedObjectPath, &str, &str) = body.deserialize()?;
            ours(name).map(|unit| Change::JobRemoved {
                id,
                unit,
                result: JobResult::from(result),
            })
        }
        "Reloading" => Some(Change::Reloading(body.deserialize()?)),
        "UnitFilesChanged" => Some(Change::UnitFilesChanged),
        _ => None,
    })
}

/// Reads a unit's name; a unit that is none of the suite's concerns nobody here.
fn ours(name: &str) -> Option<UnitName> {
    UnitName::parse(name).ok()
}
