//! What is to be done about what happened.

use jiff::{SignedDuration, Timestamp};
use tcs_wire::{
    EventKind, Kind, MessageId, RegistryEvent, ServiceId, Snapshot, Status, StatusReport, StopReason,
    UnitName, WireTime, end_words,
};

use super::run::Happening;
use super::tracked::Tracked;
use super::{Declared, Identity};

/// One thing to do. Effects are carried out in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Publish a lifecycle event.
    Event {
        /// Its kind, for the subject.
        kind: EventKind,
        /// Whose it is.
        id: ServiceId,
        /// What it says.
        event: Box<RegistryEvent>,
        /// A function of the fact, so that a repeat is dropped.
        message_id: MessageId,
    },
    /// Publish a status on behalf of a service.
    Status {
        /// What it says.
        report: Box<StatusReport>,
        /// Whether the service's own last word goes before.
        last_word: LastWord,
    },
    /// Write a record of the mirror.
    Put(Box<Snapshot>),
    /// Read a loaded unit as a whole, and hand it to [`super::Mirror::read_unit`].
    Query(UnitName),
    /// Read everything, and hand it to [`super::Mirror::read`].
    Resync,
}

/// Whose status counts when a service has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWord {
    /// The manager's, whatever the service said last.
    Manager,
    /// The service's, if its last status is final and of the process with this id.
    ServiceIfFinal(u32),
}

/// Puts happenings into the words of the contract.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) identity: Identity,
}

impl Teller {
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity }
    }

    /// Tells that the configuration names a service, in the `n`th configuration of this run.
    pub(super) fn declared(&self, entry: &Declared, n: u32, now: Timestamp) -> Effect {
        let mut event = self.event(EventKind::Declared, &entry.id, now);
        event.restart_policy = Some(entry.restart_policy);
        event.max_restarts = Some(entry.max_restarts);
        let Identity { boot_id, run_id, .. } = &self.identity;
        let message_id = MessageId::of_fact(format!("tcs:{boot_id}:{run_id}:declared:{}:{n}", entry.id));
        Effect::Event {
            kind: EventKind::Declared,
            id: entry.id.clone(),
            event: Box::new(event),
            message_id,
        }
    }

    fn event(&self, kind: EventKind, id: &ServiceId, at: Timestamp) -> RegistryEvent {
        let manager = &self.identity.manager;
        let mut event = RegistryEvent::new(kind, id.as_str(), WireTime::from(at));
        event.parent = Some(manager.to_string());
        event.runner_id = Some(format!("{manager}.{id}"));
        event
    }

    /// Tells one happening: the event, and where the service can no longer speak for itself, its status.
    ///
    /// A status speaks of the present: of what is `late` or unseen only the `last` that happened has one.
    pub(super) fn tell(
        &self,
        service: &Tracked,
        happening: &Happening,
        late: bool,
        last: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Happening { kind, at, detail, .. } = happening;
        let id = &service.id;
        let unit = service.unit();
        let job = service.kind() == Kind::Job;
        let mut event = self.event(*kind, id, *at);
        event.invocation_id = Some(happening.invocation.clone()).filter(|invocation| !invocation.is_empty());
        event.coalesced = happening.coalesced.then_some(true);
        event.late = late.then_some(true);
        if job {
            event.trigger = service.trigger().map(str::to_owned);
        }
        match kind {
            EventKind::Start => {
                event.pid = detail.pid;
                event.hostname = Some(self.identity.hostname.clone());
            }
            EventKind::Ready => event.startup_duration_seconds = detail.duration.map(seconds),
            EventKind::Stop => {
                event.exit_code = detail.exit_code;
                event.reason = detail.reason.map(|reason| reason_word(reason).to_owned());
                event.duration_s = detail.duration.filter(|_| job).map(seconds);
            }
            EventKind::Crashed => {
                event.status = Some(if detail.will_restart {
                    Status::Error
                } else {
                    Status::Failed
                });
                event.exit_code = detail.exit_code;
                event.result.clone_from(&detail.result);
                event.will_restart = Some(detail.will_restart);
                event.restart_policy = service.restart_policy();
                event.max_restarts = Some(service.max_restarts());
                event.duration_s = detail.duration.filter(|_| job).map(seconds);
            }
            EventKind::Restarting => {
                event.restart_attempt = Some(detail.restarts);
                event.max_restarts = Some(service.max_restarts());
            }
            EventKind::Failed => {
                event.reason.clone_from(&detail.result);
                event.result = Some(unit.result.clone());
                event.restart_count = Some(detail.restarts);
                event.will_restart = Some(false);
            }
            EventKind::Declared | EventKind::Stopping => {}
        }
        let Identity { boot_id, .. } = &self.identity;
        let message_id = MessageId::lifecycle(boot_id, &happening.invocation, *kind, happening.n);
        effects.push(Effect::Event {
            kind: *kind,
            id: id.clone(),
            event: Box::new(event),
            message_id,
        });
        if last || !(late || happening.coalesced) {
            effects.extend(self.status(service, happening));
        }
    }

    fn status(&self, service: &Tracked, happening: &Happening) -> Option<Effect> {
        let Happening { kind, at, detail, .. } = happening;
        let unit = service.unit();
        let result = detail.result.as_deref().unwrap_or_default();
        let limit = |limit: Option<u32>| limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        let own_if_final = LastWord::ServiceIfFinal(unit.exec_main_pid);
        let (status, last_word, message) = match kind {
            EventKind::Crashed if detail.will_restart => {
                let next = detail.restarts + 1;
                let end = end_words(result, detail.exit_code);
                let delay = unit
                    .restart_delay
                    .map_or_else(String::new, |delay| format!(" in {}", delay_words(delay)));
                let message = match service.max_restarts() {
                    Some(max) if next > max => format!("{end}; all {max} restarts are used up"),
                    max => format!("{end}; restart {next}{}{delay}", limit(max)),
                };
                (Status::Error, own_if_final, message)
            }
            EventKind::Restarting => {
                let message = format!("restart {}{}", detail.restarts, limit(service.max_restarts()));
                (Status::Startup, LastWord::Manager, message)
            }
            EventKind::Failed => {
                let message = end_words(result, detail.exit_code);
                let last_word = if result == "start-limit-hit" {
                    LastWord::Manager
                } else {
                    own_if_final
                };
                (Status::Failed, last_word, message)
            }
            EventKind::Stop => (
                Status::Shutdown,
                own_if_final,
                stop_words(detail.reason).to_owned(),
            ),
            _ => return None,
        };
        let report = StatusReport {
            name: service.id.to_string(),
            status,
            timestamp: WireTime::from(*at),
            message: Some(message),
            details: None,
            parent: Some(self.identity.manager.to_string()),
            pid: Some(unit.exec_main_pid).filter(|pid| *pid != 0),
            hostname: Some(self.identity.hostname.clone()),
        };
        Some(Effect::Status {
            report: Box::new(report),
            last_word,
        })
    }
}

fn reason_word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Completed => "completed",
        StopReason::Terminated => "terminated",
        StopReason::ForceKilled => "force_killed",
    }
}

fn stop_words(reason: Option<StopReason>) -> &'static str {
    match reason {
        Some(StopReason::Completed) => "completed",
        Some(StopReason::ForceKilled) => "killed, since it did not stop in time",
        _ => "stopped",
    }
}

fn delay_words(delay: SignedDuration) -> String {
    let milliseconds = delay.as_millis();
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{} s", seconds(delay))
    }
}

/// Returns seconds to the millisecond, which is what an operator can use.
fn seconds(duration: SignedDuration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
