//! The time before this run of the manager, while nobody can say what an earlier run has told of it: NATS, which keeps
//! the mirror, is away.

use jiff::Timestamp;
use tcs_wire::Snapshot;

use super::engine::Reading;
use crate::mirror::{Declared, Effect, Identity, Mirror};

/// Events that are held back; past it the oldest are dropped, as the outbox does.
const CAPACITY: usize = 10_000;

/// What was there at the start, and the events since then: they must not overtake what is late.
pub(super) struct UnknownPast {
    declared: Vec<Declared>,
    first: Reading,
    held: Vec<Effect>,
}

impl UnknownPast {
    pub(super) fn new(declared: Vec<Declared>, first: Reading) -> Self {
        Self {
            declared,
            first,
            held: Vec::new(),
        }
    }

    /// Keeps an event back.
    pub(super) fn hold(&mut self, event: Effect) {
        if self.held.len() == CAPACITY {
            self.held.remove(0);
        }
        self.held.push(event);
    }

    /// Works out what an earlier run, which knew `records`, has missed; gives it and the events since then.
    ///
    /// A late status is told only of a service that has not changed since (`mirror` is the present).
    pub(super) fn tell(
        self,
        identity: &Identity,
        records: Vec<Snapshot>,
        mirror: &Mirror,
    ) -> (Vec<Effect>, Vec<Effect>) {
        let now = Timestamp::now();
        let mut earlier = Mirror::new(identity.clone());
        earlier.remember(records);
        // These are told already.
        drop(earlier.declare(self.declared, now));
        let mut missed = earlier.read(self.first.0, self.first.1, now);
        missed.retain(|effect| match effect {
            Effect::Event { .. } => true,
            Effect::Status { report, .. } => {
                let name = report.name.as_str();
                let state = |mirror: &Mirror| {
                    let mut records = mirror.records();
                    let found = records.find(|record| record.service_id.as_str() == name);
                    found.map(|record| (record.unit.invocation_id.clone(), record.state()))
                };
                state(mirror) == state(&earlier)
            }
            _ => false,
        });
        (missed, self.held)
    }
}
