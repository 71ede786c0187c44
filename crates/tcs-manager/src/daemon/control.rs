//! Start, stop and restart: the job, its end, and what the service is then, in words.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tcs_wire::rpc::{ControlArgs, ControlReply, ErrorKind, RpcError};
use tcs_wire::{Kind, ServiceId, Snapshot, State, UnitName, end_words};
use tokio::sync::OnceCell;

use super::requests::Asks;
use crate::systemd::{JobResult, JobVerb, Systemd, SystemdError, UnitState};

/// The longest wait for an outcome when the request names none: systemd's own limit for a start.
const DEFAULT_WAIT: Duration = Duration::from_secs(90);
/// The longest wait that a request may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);
/// How long a command is known by its id (design decision 31).
const REMEMBERED: Duration = Duration::from_secs(600);
/// Holds: a file named after the instance (design decision 10).
const HOLDS: &str = "/var/lib/tcs-manager/holds";

type Outcome = Result<ControlReply, RpcError>;
/// What came of a command, once it is known, and since when the command is.
type Remembered = (Instant, Arc<OnceCell<Outcome>>);

/// Carries commands out; clones share what was done.
#[derive(Debug, Clone)]
pub(super) struct Control {
    systemd: Systemd,
    asks: Asks,
    done: Arc<Mutex<HashMap<String, Remembered>>>,
}

impl Control {
    pub(super) fn new(systemd: Systemd, asks: Asks) -> Self {
        Self {
            systemd,
            asks,
            done: Arc::default(),
        }
    }

    /// Carries a command out, once for each command id, and answers what came of it.
    pub(super) async fn run(&self, verb: JobVerb, id: &ServiceId, arguments: &ControlArgs) -> Outcome {
        let Some(command) = &arguments.command_id else {
            return self.carry_out(verb, id, arguments).await;
        };
        let outcome = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
            let key = format!("{verb:?} {id} {command}");
            Arc::clone(
                &done
                    .entry(key)
                    .or_insert_with(|| (Instant::now(), Arc::default()))
                    .1,
            )
        };
        outcome
            .get_or_init(|| self.carry_out(verb, id, arguments))
            .await
            .clone()
    }

    async fn carry_out(&self, verb: JobVerb, id: &ServiceId, arguments: &ControlArgs) -> Outcome {
        let wait = wait(arguments)?;
        let (before, _) = self.asks.one(id).await?;
        let unit = UnitName::service(id);
        if verb != JobVerb::Stop && before.state() == State::Failed {
            // A person who starts it has seen the failure: the count towards the limit begins anew.
            self.systemd
                .reset_failed(&unit)
                .await
                .map_err(|error| refused(&error, &unit))?;
        }
        let submitted = tokio::time::timeout(wait, self.systemd.submit(verb, &unit)).await;
        let job = submitted
            .map_err(|_| {
                let seconds = wait.as_secs_f64();
                let message =
                    format!("too many jobs are under way: that of {id} was not begun within {seconds} s");
                RpcError::new(ErrorKind::Timeout, message)
            })?
            .map_err(|error| refused(&error, &unit))?;
        if arguments.no_block {
            let number = job.id();
            // The job counts against the limit for as long as a caller would have waited for it.
            tokio::spawn(job.end(wait));
            return Ok(ControlReply {
                service_id: id.clone(),
                unit: unit.to_string(),
                job: "queued".to_owned(),
                state: before.state(),
                message: format!("job {number} is queued"),
            });
        }
        let result = job.end(wait).await.map_err(|error| match error {
            SystemdError::Deadline { after, .. } => {
                let seconds = after.as_secs_f64();
                let message = format!("the job of {id} has not ended within {seconds} s; it goes on");
                RpcError::new(ErrorKind::Timeout, message)
            }
            error => refused(&error, &unit),
        })?;
        let (record, state) = self.asks.one(id).await?;
        judge(verb, &result, &record, &state)
    }
}

fn wait(arguments: &ControlArgs) -> Result<Duration, RpcError> {
    let Some(seconds) = arguments.timeout_s else {
        return Ok(DEFAULT_WAIT);
    };
    let wait = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|wait| !wait.is_zero());
    let wrong = || {
        RpcError::new(
            ErrorKind::BadRequest,
            format!("`timeout_s` is {seconds}; expected seconds above zero"),
        )
    };
    Ok(wait.ok_or_else(wrong)?.min(LONGEST_WAIT))
}

/// Says what came of a job: `done` alone means little, since a start that a condition skips ends so too.
///
/// `record` and `unit` are what the service is after the job's end.
///
/// # Errors
/// Why the service is not what was asked for, in the words that the caller is to be told.
pub fn judge(
    verb: JobVerb,
    result: &JobResult,
    record: &Snapshot,
    unit: &UnitState,
) -> Result<ControlReply, RpcError> {
    let id = &record.service_id;
    let (state, name) = (record.state(), unit.name.to_string());
    let reply = |message: String| {
        Ok(ControlReply {
            service_id: id.clone(),
            unit: name.clone(),
            job: result.to_string(),
            state,
            message,
        })
    };
    let failed = |kind, message: String| Err(RpcError::new(kind, message));
    let why = || format!("see journalctl -u {name}");
    match (result, verb) {
        (JobResult::Canceled, _) => failed(
            ErrorKind::Canceled,
            format!("another job took the place of this one; {id} is {state}"),
        ),
        (JobResult::Timeout, _) => failed(
            ErrorKind::JobFailed,
            format!("{id} took too long; it is {state}; {}", why()),
        ),
        (JobResult::Dependency, _) => failed(
            ErrorKind::JobFailed,
            format!("a unit that {name} needs did not start; {}", why()),
        ),
        (JobResult::Failed, JobVerb::Stop) => {
            failed(ErrorKind::JobFailed, format!("{id} did not stop; {}", why()))
        }
        (JobResult::Failed, _) if record.kind == Kind::Job => {
            let end = end_words(&unit.result, unit.exit_code());
            failed(ErrorKind::JobFailed, format!("{id} failed: {end}; {}", why()))
        }
        (JobResult::Failed, _) => {
            let end = end_words(&unit.result, unit.exit_code());
            failed(
                ErrorKind::JobFailed,
                format!("{id} did not start: {end}; it is {state}; {}", why()),
            )
        }
        (JobResult::Skipped, _) => failed(ErrorKind::ConditionFailed, skipped(id, &name)),
        (JobResult::Done | JobResult::Other(_), JobVerb::Stop) if state == State::Failed => reply(format!(
            "{id} ended, but not in order: {}",
            end_words(&unit.result, unit.exit_code())
        )),
        (JobResult::Done | JobResult::Other(_), JobVerb::Stop) => reply(format!("{id} is {state}")),
        (JobResult::Done | JobResult::Other(_), _) if !unit.condition_result => {
            failed(ErrorKind::ConditionFailed, skipped(id, &name))
        }
        (JobResult::Done | JobResult::Other(_), _) => match (record.kind, state) {
            (Kind::Job, _) => reply(format!("{id} has run, it is {state}")),
            (Kind::Permanent, State::Running) => reply(format!("{id} is {state}, process {}", unit.main_pid)),
            (Kind::Permanent, _) => {
                let end = end_words(&unit.result, unit.exit_code());
                failed(
                    ErrorKind::JobFailed,
                    format!("{id} started, and is {state} by now: {end}; {}", why()),
                )
            }
        },
    }
}

fn skipped(id: &ServiceId, unit: &str) -> String {
    let hold = Path::new(HOLDS).join(id.instance());
    if hold.exists() {
        format!("{id} was not started: it is held by {}", hold.display())
    } else {
        format!("{id} was not started: a condition of {unit} does not hold; see systemctl status {unit}")
    }
}

fn refused(error: &SystemdError, unit: &UnitName) -> RpcError {
    let kind = match error {
        SystemdError::Denied(_) => ErrorKind::NotPermitted,
        SystemdError::NoSuchUnit(_) => ErrorKind::UnknownService,
        SystemdError::Masked(_) => ErrorKind::ConditionFailed,
        SystemdError::Deadline { .. } => ErrorKind::Timeout,
        SystemdError::Closed | SystemdError::Connect { .. } => ErrorKind::Unavailable,
        SystemdError::Refused { .. } => ErrorKind::JobFailed,
        SystemdError::TooOld { .. } | SystemdError::Protocol { .. } => ErrorKind::Internal,
    };
    let hint = match error {
        SystemdError::Denied(_) => ": the polkit rule of the manager is missing or older than this version",
        SystemdError::NoSuchUnit(_) => ": run tcs-systemd-gen install",
        _ => "",
    };
    RpcError::new(kind, format!("{unit}: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(active: &str, sub: &str) -> (Snapshot, UnitState) {
        let id = ServiceId::parse("hello.main").unwrap();
        let mut unit = UnitState::unloaded(UnitName::service(&id));
        (unit.active_state, unit.sub_state) = (active.to_owned(), sub.to_owned());
        unit.main_pid = 7;
        let mut snapshot = crate::mirror::snapshot_for_tests(&id, &unit);
        snapshot.kind = Kind::Permanent;
        (snapshot, unit)
    }

    #[test]
    fn a_done_job_is_judged_by_what_the_service_is() {
        let (running, unit) = record("active", "running");
        let reply = judge(JobVerb::Start, &JobResult::Done, &running, &unit).unwrap();
        assert_eq!(
            (reply.state, reply.message.as_str()),
            (State::Running, "hello.main is running, process 7")
        );
        let (stopped, mut unit) = record("inactive", "dead");
        let error = judge(JobVerb::Start, &JobResult::Done, &stopped, &unit).unwrap_err();
        assert_eq!(error.kind, ErrorKind::JobFailed);
        unit.condition_result = false;
        let error = judge(JobVerb::Start, &JobResult::Done, &stopped, &unit).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ConditionFailed);
        assert!(judge(JobVerb::Stop, &JobResult::Done, &stopped, &unit).is_ok());
    }

    #[test]
    fn a_failed_start_says_how_it_ended() {
        let (failed, mut unit) = record("failed", "failed");
        (unit.result, unit.exec_main_code, unit.exec_main_status) = ("exit-code".to_owned(), 1, 4);
        let error = judge(JobVerb::Start, &JobResult::Failed, &failed, &unit).unwrap_err();
        assert_eq!(error.kind, ErrorKind::JobFailed);
        assert!(
            error.message.contains("exit code 4") && error.message.contains("journalctl"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_wait_is_seconds_above_zero() {
        let arguments = |timeout_s| ControlArgs {
            timeout_s,
            ..ControlArgs::default()
        };
        assert_eq!(wait(&arguments(None)).unwrap(), DEFAULT_WAIT);
        assert_eq!(wait(&arguments(Some(2.5))).unwrap(), Duration::from_millis(2500));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                wait(&arguments(Some(wrong))).unwrap_err().kind,
                ErrorKind::BadRequest
            );
        }
    }
}
