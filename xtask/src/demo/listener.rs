//! The event stream as a bare subscriber sees it, noted at the moment it comes in while commands are being run.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tcs_testkit::{NatsServer, RawMessage, RawNats};

use crate::output;

/// Messages of one subject, read on a thread that ends when the server or this does.
pub(crate) struct Listener {
    messages: Receiver<RawMessage>,
}

impl Listener {
    /// Subscribes; what is published from here on is seen.
    pub(crate) fn new(server: &NatsServer, subject: &str) -> Result<Self> {
        let mut client = RawNats::connect(server)?;
        client.subscribe(subject)?;
        let (tell, messages) = channel();
        std::thread::spawn(move || {
            while let Ok(message) = client.next(Duration::from_secs(3600)) {
                if message.is_some_and(|message| tell.send(message).is_err()) {
                    break;
                }
            }
        });
        Ok(Self { messages })
    }

    /// Prints messages, with their time after `begun`, until one on a subject with one of these ends; that one must be
    /// there within the deadline.
    pub(crate) fn show_until(&self, ends: &[&str], begun: Instant, deadline: Duration) -> Result<()> {
        loop {
            let left = (begun + deadline).saturating_duration_since(Instant::now());
            let event = match self.messages.recv_timeout(left) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no event `{}` within {} s", ends.join("|"), deadline.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the NATS server is gone"),
            };
            let after = event.received.saturating_duration_since(begun);
            output::line(&format!(
                "   +{} ms  {}  {}",
                after.as_millis(),
                event.subject,
                event.text()
            ));
            if ends.iter().any(|end| event.subject.ends_with(end)) {
                if after > deadline {
                    bail!("`{}` came {} ms after it", event.subject, after.as_millis());
                }
                return Ok(());
            }
        }
    }
}
