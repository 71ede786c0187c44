//! Values of the `Nats-Msg-Id` header, by which JetStream drops a repeat (contract section 2.3).

use std::fmt;

use crate::registry::EventKind;

/// The value of a `Nats-Msg-Id` header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// Returns the id of any message: unique by the process's random `instance` and its counter.
    pub fn counted(instance: &str, counter: u64) -> Self {
        Self(format!("{instance}:{counter}"))
    }

    /// Returns the id of a lifecycle event: a function of the fact, the same whether it was seen live or read from
    /// the journal (design decision 26). `n` tells apart facts of one kind within one run.
    pub fn lifecycle(boot_id: &str, invocation_id: &str, event: EventKind, n: Option<u32>) -> Self {
        Self(match n {
            Some(n) => format!("tcs:{boot_id}:{invocation_id}:{event}:{n}"),
            None => format!("tcs:{boot_id}:{invocation_id}:{event}"),
        })
    }

    /// Returns an id that the publisher made of the fact itself, for example `wx:davis:2026-11-22T22:00:00Z`.
    pub fn of_fact(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
