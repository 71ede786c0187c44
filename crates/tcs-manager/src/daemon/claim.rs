//! One manager of a name: a claim in the bucket `tcs_claims`, by compare-and-set, renewed while it lives (design
//! decisions 4 and 25).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tcs_bus::{Bus, Kv, KvEntry, KvError};
use tcs_wire::{Bucket, ServiceId, WireTime};

use super::error::ManagerError;
use super::store::open;
use crate::mirror::Identity;

/// Time between renewals; a host that is gone is known to be within three of them.
pub(super) const RENEWAL: Duration = Duration::from_millis(1500);
/// How long a claim that nobody renews is watched before it counts as dead.
const WATCHED: Duration = Duration::from_millis(4000);

/// What stands in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The manager's id.
    holder: String,
    /// The host, as it calls itself.
    host: String,
    pid: u32,
    /// When the process began, in the kernel's ticks: tells it from a later one with its id.
    #[serde(default)]
    pid_start: u64,
    /// The namespace that the process id is of.
    #[serde(default)]
    pid_namespace: String,
    boot_id: String,
    invocation_id: String,
    /// Grows with each holder.
    epoch: u64,
    renewed: WireTime,
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is ours.
    Ours,
    /// It is another one's, who is alive.
    HeldElsewhere { id: ServiceId, host: String, pid: u32 },
}

/// Makes an error of a claim that is another one's.
pub(super) fn held(outcome: Outcome) -> Result<(), ManagerError> {
    match outcome {
        Outcome::Ours => Ok(()),
        Outcome::HeldElsewhere { id, host, pid } => Err(ManagerError::HeldElsewhere { id, host, pid }),
    }
}

/// The claim of this manager to its id.
#[derive(Debug)]
pub(super) struct Claim {
    id: ServiceId,
    mine: Entry,
    /// The revision that is ours, once there is one.
    revision: Option<u64>,
    makes_bucket: bool,
}

impl Claim {
    pub(super) fn new(identity: &Identity, makes_bucket: bool) -> Self {
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let mine = Entry {
            holder: identity.manager.to_string(),
            host: identity.hostname.clone(),
            pid: std::process::id(),
            pid_start: start_of(std::process::id()).unwrap_or_default(),
            pid_namespace: namespace.to_string_lossy().into_owned(),
            boot_id: identity.boot_id.clone(),
            invocation_id: identity.run_id.clone(),
            epoch: 0,
            renewed: WireTime::now(),
        };
        Self {
            id: identity.manager.clone(),
            mine,
            revision: None,
            makes_bucket,
        }
    }

    /// Takes the claim, or finds that another manager holds it. A server that cannot say leaves it open: the keeper
    /// asks again.
    pub(super) async fn take(&mut self, bus: &Bus) -> Result<Outcome, ManagerError> {
        match self.renew(bus).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                tracing::warn!(%error, "cannot claim {} yet", self.id);
                Ok(Outcome::Ours)
            }
        }
    }

    /// Takes the claim or renews it.
    pub(super) async fn renew(&mut self, bus: &Bus) -> Result<Outcome, KvError> {
        let kv = open(bus, Bucket::Claims, self.makes_bucket).await?;
        self.mine.renewed = WireTime::now();
        if let Some(revision) = self.revision {
            match self.write(&kv, Some(revision)).await {
                Err(KvError::Conflict(_)) => self.revision = None,
                other => return other.map(|()| Outcome::Ours),
            }
        }
        loop {
            let Some(entry) = kv.get(self.id.as_str()).await? else {
                match self.write(&kv, None).await {
                    Err(KvError::Conflict(_)) => continue,
                    other => return other.map(|()| Outcome::Ours),
                }
            };
            if let Some(other) = self.other(&entry) {
                if self.is_alive(&kv, &entry, &other).await? {
                    return Ok(Outcome::HeldElsewhere {
                        id: self.id.clone(),
                        host: other.host,
                        pid: other.pid,
                    });
                }
                tracing::info!(
                    host = other.host,
                    pid = other.pid,
                    "taking over the claim of a manager that is gone"
                );
                self.mine.epoch = other.epoch + 1;
            }
            match self.write(&kv, Some(entry.revision)).await {
                Err(KvError::Conflict(_)) => {}
                other => return other.map(|()| Outcome::Ours),
            }
        }
    }

    /// Gives the claim up at an orderly end.
    pub(super) async fn release(&mut self, bus: &Bus) {
        if self.revision.take().is_some()
            && let Ok(kv) = bus.kv_existing(Bucket::Claims).await
            && let Err(error) = kv.delete(self.id.as_str()).await
        {
            tracing::debug!(%error, "claim not released");
        }
    }

    async fn write(&mut self, kv: &Kv, revision: Option<u64>) -> Result<(), KvError> {
        let body = serde_json::to_vec(&self.mine).unwrap_or_default();
        let written = match revision {
            Some(revision) => kv.update(self.id.as_str(), body, revision).await,
            None => kv.create(self.id.as_str(), body).await,
        };
        self.revision = Some(written?);
        Ok(())
    }

    /// Returns whose claim it is, unless it is ours or unreadable.
    fn other(&self, entry: &KvEntry) -> Option<Entry> {
        let found = serde_json::from_slice::<Entry>(&entry.value).ok()?;
        let same_process = found.pid == self.mine.pid && found.is_of_the_same_boot(&self.mine);
        (!same_process).then_some(found)
    }

    async fn is_alive(&self, kv: &Kv, entry: &KvEntry, other: &Entry) -> Result<bool, KvError> {
        if other.is_of_the_same_boot(&self.mine) {
            return Ok(start_of(other.pid) == Some(other.pid_start));
        }
        // Another boot, of this host or another one: a live holder renews, whatever the two clocks say.
        tracing::info!(
            host = other.host,
            "another manager claims {}; watching whether it is alive",
            self.id
        );
        tokio::time::sleep(WATCHED).await;
        Ok(kv
            .get(self.id.as_str())
            .await?
            .is_some_and(|now| now.revision != entry.revision))
    }
}

impl Entry {
    fn is_of_the_same_boot(&self, other: &Self) -> bool {
        self.boot_id == other.boot_id && self.pid_namespace == other.pid_namespace
    }
}

/// Returns when a process began; none if there is none, or only what is left of one until its parent looks (proc(5)).
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = start_of(std::process::id()).unwrap();
        assert!(own > 0);
        assert_eq!(start_of(std::process::id()), Some(own));
        assert_eq!(start_of(u32::MAX), None);
    }

    #[test]
    fn a_process_that_nobody_has_looked_for_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // WNOWAIT: the process has ended and stays as it is.
        let id = rustix::process::Pid::from_child(&child);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(id), options).unwrap();
        assert_eq!(start_of(pid), None);
        child.wait().unwrap();
    }
}
