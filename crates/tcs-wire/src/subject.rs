//! Subjects, streams and buckets: where each kind of message goes (contract sections 1, 3.1 and 10).

use std::fmt;

use crate::id::ServiceId;
use crate::registry::EventKind;
use crate::rpc::Word;

/// The first tokens of all subjects of one site; `svc` unless configured otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubjectPrefix(String);

/// A prefix that cannot stand in a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a subject prefix: expected words of letters, digits, `_` and `-` with dots between, for example `svc`"
)]
pub struct PrefixError(String);

impl Default for SubjectPrefix {
    fn default() -> Self {
        Self("svc".to_owned())
    }
}

impl SubjectPrefix {
    /// Checks that `text` is made of plain subject tokens.
    ///
    /// # Errors
    /// For an empty token, a wildcard, white space or another sign.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let token = |t: &str| {
            !t.is_empty()
                && t.chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        };
        if text.split('.').all(token) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PrefixError(text.to_owned()))
        }
    }

    /// Returns the prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the subject of a lifecycle event.
    pub fn registry(&self, event: EventKind, id: &str) -> String {
        format!("{}.registry.{event}.{id}", self.0)
    }

    /// Returns the subject of a service's status.
    pub fn status(&self, id: &str) -> String {
        format!("{}.status.{id}", self.0)
    }

    /// Returns the subject of a service's heartbeat.
    pub fn heartbeat(&self, id: &str) -> String {
        format!("{}.heartbeat.{id}", self.0)
    }

    /// Returns the subject of a request to a service or a manager.
    pub fn rpc(&self, id: &ServiceId, word: Word) -> String {
        format!("{}.rpc.{id}.v1.{word}", self.0)
    }

    /// Returns the subject of a request to a manager about one of its services, for example
    /// `svc.rpc.manager.obs1.v1.start.plan_runner.zb08`.
    pub fn rpc_about(&self, manager: &ServiceId, word: Word, id: &ServiceId) -> String {
        format!("{}.rpc.{manager}.v1.{word}.{id}", self.0)
    }

    /// Returns the name of a key-value bucket: another prefix than `svc` is appended.
    pub fn bucket(&self, bucket: Bucket) -> String {
        if self.0 == "svc" {
            bucket.as_str().to_owned()
        } else {
            format!("{}_{}", bucket.as_str(), self.0.replace('.', "_"))
        }
    }

    /// Returns the three streams of the suite (contract section 3.1, design decision 24).
    pub fn streams(&self) -> [StreamDefinition; 3] {
        let stream = |name: &str, per_subject, max_bytes, max_age_s| StreamDefinition {
            name: format!("{}_{name}", self.0.replace('.', "_")),
            subjects: format!("{}.{name}.>", self.0),
            max_messages_per_subject: per_subject,
            max_bytes,
            max_age_s,
        };
        const MB: i64 = 1_000_000;
        const DAY: u64 = 86_400;
        [
            stream("registry", 100, 10 * MB, 0),
            stream("status", 100, 500 * MB, 30 * DAY),
            stream("heartbeat", 10, 100 * MB, DAY),
        ]
    }
}

impl fmt::Display for SubjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The key-value buckets of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// The mirror: `MANAGER_ID.SERVICE_ID` -> [`crate::Snapshot`].
    State,
    /// Configuration by NATS.
    Config,
    /// Who runs what: `SERVICE_ID` -> claim; so far only managers claim their ids (design decision 25).
    Claims,
}

impl Bucket {
    /// All buckets.
    pub const ALL: [Self; 3] = [Self::State, Self::Config, Self::Claims];

    /// Returns the name under the prefix `svc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "tcs_state",
            Self::Config => "tcs_config",
            Self::Claims => "tcs_claims",
        }
    }
}

/// A stream as the suite makes it: file storage, limits, discard old, acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDefinition {
    /// The stream's name; free, since everything is found by subject.
    pub name: String,
    /// The one subject filter.
    pub subjects: String,
    /// Messages kept per subject.
    pub max_messages_per_subject: i64,
    /// Bytes kept in all.
    pub max_bytes: i64,
    /// Seconds kept; 0 keeps for ever.
    pub max_age_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_those_of_the_contract() {
        let prefix = SubjectPrefix::default();
        let id = ServiceId::parse("wire.exiter.onfail").unwrap();
        assert_eq!(
            prefix.registry(EventKind::Crashed, id.as_str()),
            "svc.registry.crashed.wire.exiter.onfail"
        );
        assert_eq!(
            prefix.rpc(&id, Word::Health),
            "svc.rpc.wire.exiter.onfail.v1.health"
        );
        assert_eq!(prefix.bucket(Bucket::State), "tcs_state");
        assert_eq!(
            SubjectPrefix::parse("site.b").unwrap().bucket(Bucket::State),
            "tcs_state_site_b"
        );
        assert_eq!(prefix.streams()[2].subjects, "svc.heartbeat.>");
        for wrong in ["", "a.", "a.*", ">", "a b"] {
            assert!(SubjectPrefix::parse(wrong).is_err(), "{wrong}");
        }
    }
}
