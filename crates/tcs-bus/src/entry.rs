//! What goes out through the outbox.

use tcs_wire::{Message, MessageId};

/// What becomes of a message while it cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// It waits, in order, with all the others.
    Event,
    /// It waits until a newer one with the same subject replaces it.
    Latest,
}

/// A message on its way to a stream.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// What is said.
    pub message: Message,
    /// By what the server recognises a repeat.
    pub message_id: MessageId,
    /// What becomes of it while it cannot be sent.
    pub keep: Keep,
}

impl Outgoing {
    /// Tells whether `older` need not be sent any more once this message is there.
    pub(crate) fn supersedes(&self, older: &Self) -> bool {
        self.keep == Keep::Latest && older.keep == Keep::Latest && self.subject == older.subject
    }

    /// Returns the stream that the subject belongs to, as far as the subject tells: its first two tokens.
    pub(crate) fn category(&self) -> &str {
        let mut dots = self.subject.match_indices('.');
        dots.nth(1)
            .map_or(self.subject.as_str(), |(end, _)| &self.subject[..end])
    }
}
