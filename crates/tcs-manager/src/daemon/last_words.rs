//! Statuses on behalf of services that died: the manager has the last word, unless the service spoke its own.

use std::collections::HashMap;
use std::time::Duration;

use tcs_bus::{Bus, Connection, Keep, Outgoing, Received, Subscription};
use tcs_wire::{ServiceId, Status, StatusReport, WireTime};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::mirror::LastWord;

/// How long a service's own last status may be on its way after its process has ended.
const GRACE: Duration = Duration::from_millis(150);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

enum Message {
    Say(Box<StatusReport>, LastWord),
    /// The service runs again and speaks for itself.
    Alive(ServiceId),
}

/// The way in.
pub(super) struct LastWords(mpsc::UnboundedSender<Message>);

impl LastWords {
    pub(super) fn spawn(bus: &Bus, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        let task = Task {
            bus: bus.clone(),
            messages,
            waiting: Vec::new(),
            heard: HashMap::new(),
        };
        tasks.spawn(async move { task.run(stop).await });
        Self(sender)
    }

    pub(super) fn say(&self, report: Box<StatusReport>, last_word: LastWord) {
        let _ = self.0.send(Message::Say(report, last_word));
    }

    pub(super) fn alive(&self, id: &ServiceId) {
        let _ = self.0.send(Message::Alive(id.clone()));
    }
}

struct Waiting {
    due: Instant,
    report: Box<StatusReport>,
    /// The process whose own last word goes before; none where the manager's counts in any case.
    pid: Option<u32>,
}

/// The last status of a name.
struct Heard {
    status: Status,
    pid: Option<u32>,
    at: WireTime,
}

struct Task {
    bus: Bus,
    messages: mpsc::UnboundedReceiver<Message>,
    waiting: Vec<Waiting>,
    heard: HashMap<String, Heard>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut connection = self.bus.connection();
        let mut subscription: Option<Subscription> = None;
        let mut listen_at = Some(Instant::now());
        loop {
            let next = async {
                match &mut subscription {
                    Some(subscription) => subscription.next().await,
                    None => std::future::pending().await,
                }
            };
            let connected = *connection.borrow() == Connection::Connected;
            let first = self
                .waiting
                .first()
                .map(|waiting| waiting.due)
                .filter(|_| connected);
            tokio::select! {
                biased;
                received = next => match received {
                    Some(received) => self.hear(&received),
                    None => return,
                },
                message = self.messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = until(listen_at.filter(|_| connected)) => {
                    listen_at = self.listen(&mut subscription).await.err().map(|()| Instant::now() + PAUSE);
                }
                // After a return the server may hold statuses that were not heard.
                changed = connection.changed() => match changed {
                    Ok(()) => listen_at = Some(Instant::now()),
                    Err(_) => return,
                },
                () = until(first) => self.speak(Instant::now()),
                () = stop.cancelled() => {
                    self.speak(Instant::now() + GRACE);
                    return;
                }
            }
        }
    }

    async fn listen(&mut self, subscription: &mut Option<Subscription>) -> Result<(), ()> {
        let all = self.bus.prefix().status(">");
        let failed = |error| tracing::debug!(%error, "cannot hear the services' statuses; tried again");
        if subscription.is_none() {
            *subscription = Some(self.bus.subscribe(&all).await.map_err(failed)?);
        }
        for received in self.bus.last_per_subject(&all).await.map_err(failed)? {
            self.hear(&received);
        }
        Ok(())
    }

    fn hear(&mut self, received: &Received) {
        let report = received
            .decode()
            .ok()
            .and_then(|message| message.read::<StatusReport>("status").ok());
        let Some(StatusReport {
            name,
            status,
            timestamp: at,
            pid,
            ..
        }) = report
        else {
            return;
        };
        // What the stream holds and what comes by may cross.
        if self.heard.get(&name).is_none_or(|heard| heard.at <= at) {
            self.heard.insert(name, Heard { status, pid, at });
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Alive(id) => self.waiting.retain(|waiting| waiting.report.name != id.as_str()),
            Message::Say(report, last_word) => {
                self.waiting.retain(|waiting| waiting.report.name != report.name);
                let (due, pid) = match last_word {
                    LastWord::Manager if self.bus.is_connected() => return self.publish(&report),
                    // Not into the outbox: by the time the server is back, it may not be true any more.
                    LastWord::Manager => (Instant::now(), None),
                    LastWord::ServiceIfFinal(pid) => (Instant::now() + GRACE, Some(pid)),
                };
                self.waiting.push(Waiting { due, report, pid });
            }
        }
    }

    fn speak(&mut self, now: Instant) {
        while self.waiting.first().is_some_and(|waiting| waiting.due <= now) {
            let Waiting { report, pid, .. } = self.waiting.remove(0);
            let own = pid.and_then(|_| self.heard.get(&report.name));
            let own = own.filter(|own| own.status.is_final() && own.pid == pid);
            // An orderly end that systemd saw as a failure was none: a job cut off by its time limit, for example.
            if own.is_none_or(|own| own.status == Status::Shutdown && report.status != Status::Shutdown) {
                self.publish(&report);
            }
        }
    }

    fn publish(&self, report: &StatusReport) {
        let mut message = self.bus.message(report);
        message.meta.timestamp = Some(report.timestamp);
        self.bus.publish(Outgoing {
            subject: self.bus.prefix().status(&report.name),
            message,
            message_id: self.bus.message_id(),
            keep: Keep::Latest,
        });
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
