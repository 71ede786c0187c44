//! The streams of the suite: made when they are missing, never changed when they are there (design decision 24).

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use tcs_wire::StreamDefinition;
use thiserror::Error;

use crate::bus::{Bus, SERVER_DEADLINE};

/// Why nothing can be said or read of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamsError {
    /// The server is away.
    #[error("NATS is away")]
    NotConnected,
    /// The server runs without JetStream.
    #[error(
        "the NATS server runs without JetStream: add `jetstream {{}}` to its configuration and restart it"
    )]
    NoJetStream,
    /// No stream holds the subject.
    #[error("no stream holds `{0}`")]
    NoStream(String),
    /// No answer in time.
    #[error("the NATS server did not answer in time")]
    Timeout,
    /// Anything else, in the server's words.
    #[error("the NATS server refused: {0}")]
    Refused(String),
}

/// Something about an existing stream that will hurt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFault {
    /// The stream.
    pub stream: String,
    /// What is wrong, and what to change.
    pub text: String,
}

impl StreamsError {
    pub(crate) fn of_consumer(stream: &str, error: jetstream::stream::ConsumerError) -> Self {
        use jetstream::stream::ConsumerErrorKind as Kind;
        match error.kind() {
            Kind::TimedOut => Self::Timeout,
            Kind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Self::NoStream(stream.to_owned())
            }
            _ => Self::of_text(error.to_string()),
        }
    }

    /// Sorts errors that the client hands on as text.
    pub(crate) fn of_text(text: String) -> Self {
        let lower = text.to_lowercase();
        if lower.contains("jetstream not enabled")
            || lower.contains("no responders")
            // What the client makes of "no responders" on a subject of the JetStream API.
            || lower.contains("requested jetstream resource does not exist")
            || lower.contains("unavailable")
            // The client's words for a server where nobody answers for JetStream.
            || lower.contains("requested jetstream resource does not exist")
        {
            Self::NoJetStream
        } else if lower.contains("timed out") || lower.contains("timeout") {
            Self::Timeout
        } else {
            Self::Refused(text)
        }
    }
}

impl Bus {
    /// Returns the name of the stream that holds `subject`.
    ///
    /// # Errors
    /// When none does, or the server cannot say.
    pub async fn stream_of(&self, subject: &str) -> Result<String, StreamsError> {
        if !self.is_connected() {
            return Err(StreamsError::NotConnected);
        }
        let asked =
            tokio::time::timeout(SERVER_DEADLINE, self.inner.context.stream_by_subject(subject)).await;
        asked.map_err(|_| StreamsError::Timeout)?.map_err(|error| {
            use jetstream::context::GetStreamByNameErrorKind as Kind;
            match error.kind() {
                Kind::NotFound => StreamsError::NoStream(subject.to_owned()),
                _ => StreamsError::of_text(chain(&error)),
            }
        })
    }

    /// Makes the suite's three streams where they are missing and looks at those that are there.
    ///
    /// # Errors
    /// When the server is away or has no JetStream.
    pub async fn ensure_streams(&self) -> Result<Vec<StreamFault>, StreamsError> {
        let mut faults = Vec::new();
        for definition in self.prefix().streams() {
            match self.stream_of(&definition.subjects).await {
                Ok(stream) => faults.extend(self.faults(&stream, &definition).await?),
                Err(StreamsError::NoStream(_)) => self.create_stream(&definition).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(faults)
    }

    /// Looks at the suite's three streams without making any; a missing one is a fault.
    ///
    /// # Errors
    /// When the server is away or has no JetStream.
    pub async fn check_streams(&self) -> Result<Vec<StreamFault>, StreamsError> {
        let mut faults = Vec::new();
        for definition in self.prefix().streams() {
            match self.stream_of(&definition.subjects).await {
                Ok(stream) => faults.extend(self.faults(&stream, &definition).await?),
                Err(StreamsError::NoStream(subject)) => {
                    let text =
                        format!("no stream holds `{subject}`: create it, or set `manage_streams: true`");
                    faults.push(StreamFault {
                        stream: definition.name,
                        text,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(faults)
    }

    /// Makes one stream; one that is there with the same definition is left alone.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn create_stream(&self, definition: &StreamDefinition) -> Result<(), StreamsError> {
        self.create_stream_on(definition, std::slice::from_ref(&definition.subjects))
            .await
    }

    /// As [`Bus::create_stream`], with several subjects in place of the one of the definition.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn create_stream_on(
        &self,
        definition: &StreamDefinition,
        subjects: &[String],
    ) -> Result<(), StreamsError> {
        let config = Config {
            name: definition.name.clone(),
            subjects: subjects.to_vec(),
            max_messages_per_subject: definition.max_messages_per_subject,
            max_bytes: definition.max_bytes,
            max_age: std::time::Duration::from_secs(definition.max_age_s),
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        };
        self.create(config).await
    }

    pub(crate) async fn create(&self, config: Config) -> Result<(), StreamsError> {
        if !self.is_connected() {
            return Err(StreamsError::NotConnected);
        }
        let name = config.name.clone();
        let made = tokio::time::timeout(SERVER_DEADLINE, self.inner.context.create_stream(config)).await;
        match made.map_err(|_| StreamsError::Timeout)? {
            Ok(_) => {
                tracing::info!(stream = name, "stream created");
                Ok(())
            }
            Err(error) => Err(StreamsError::of_text(chain(&error))),
        }
    }

    async fn faults(
        &self,
        stream: &str,
        definition: &StreamDefinition,
    ) -> Result<Vec<StreamFault>, StreamsError> {
        let asked = tokio::time::timeout(SERVER_DEADLINE, self.inner.context.get_stream(stream)).await;
        let found = asked
            .map_err(|_| StreamsError::Timeout)?
            .map_err(|error| StreamsError::of_text(chain(&error)))?;
        Ok(faults_of(found.cached_info(), definition))
    }
}

fn faults_of(info: &Info, definition: &StreamDefinition) -> Vec<StreamFault> {
    let stream = &info.config.name;
    let rpc = definition
        .subjects
        .split('.')
        .next()
        .map(|first| format!("{first}.>"))
        .unwrap_or_default();
    let mut texts = Vec::new();
    if info.config.no_ack {
        texts.push(
            "it does not acknowledge, so every Python publisher waits 15 s: set `no_ack` to false".to_owned(),
        );
    }
    if !info
        .config
        .subjects
        .iter()
        .any(|subject| covers(subject, &definition.subjects))
    {
        let subjects = &definition.subjects;
        texts.push(format!(
            "it holds only a part of `{subjects}`, and readers look in one stream: let it hold all"
        ));
    }
    if info.config.subjects.contains(&rpc) {
        texts.push(format!(
            "it holds `{rpc}`, requests included, which then fail: list the categories instead"
        ));
    }
    texts
        .into_iter()
        .map(|text| StreamFault {
            stream: stream.clone(),
            text,
        })
        .collect()
}

/// Tells whether every subject that `narrow` matches is matched by `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Returns an error with its causes, once each: the client's own texts repeat them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_it_matches() {
        assert!(covers("svc.status.>", "svc.status.>"));
        assert!(covers("svc.>", "svc.status.>"));
        assert!(!covers("svc.status.*", "svc.status.>"));
        assert!(!covers("svc.status.a", "svc.status.>"));
        assert!(covers("svc.*.x", "svc.status.x"));
    }
}
