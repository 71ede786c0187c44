//! A step of the demo: a command, its real output, and what must be in it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tcs_testkit::{Machine, NatsServer, Output, Stage, eventually_blocking};

use crate::output;

/// The machine, its NATS server, and the binaries on the host's side.
pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) server: NatsServer,
    pub(crate) stage: Stage,
}

/// Where a command is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the machine, as root.
    Machine,
    /// Outside, with nothing of the machine in reach but its network: no D-Bus, no files.
    Outside,
}

/// One command and what the demo claims of it.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    place: Place,
    command: &'a str,
    expected: &'a [&'a str],
    within: Duration,
    code: i32,
}

impl<'a> Step<'a> {
    /// A command typed in the machine; the step holds when it ends with 0.
    pub(crate) fn inside(command: &'a str) -> Self {
        Self {
            place: Place::Machine,
            command,
            expected: &[],
            within: Duration::ZERO,
            code: 0,
        }
    }

    /// A command typed outside, which reaches the machine through NATS only.
    pub(crate) fn outside(command: &'a str) -> Self {
        Self {
            place: Place::Outside,
            ..Self::inside(command)
        }
    }

    /// Claims that all of these are in the output; `a|b` is one or the other.
    pub(crate) fn shows(mut self, expected: &'a [&'a str]) -> Self {
        self.expected = expected;
        self
    }

    /// Claims it of the output at the latest after so long; the command is run until it is so.
    pub(crate) fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Claims another exit code than 0.
    pub(crate) fn ends_with(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

impl Scene {
    /// Runs a step, prints its command and what it really printed, and fails when a claim does not hold.
    pub(crate) fn play(&self, step: Step<'_>) -> Result<Output> {
        let begun = Instant::now();
        let mut last = None;
        let outcome = eventually_blocking("the claim holds", step.within, || {
            let output = self.perform(&step).map_err(|error| format!("{error:#}"))?;
            let missing = missing(&step, &output);
            last = Some(output);
            missing.map_or(Ok(()), Err)
        });
        let prompt = if step.place == Place::Machine {
            "$"
        } else {
            "(outside) $"
        };
        output::line(&format!("\n{prompt} {}", step.command));
        let Some(shown) = last else {
            bail!("`{}` could not be run: {:?}", step.command, outcome.err())
        };
        if !shown.both().trim().is_empty() {
            output::line(shown.both().trim_end());
        }
        if step.within > Duration::ZERO {
            output::line(&format!("   [{} ms]", begun.elapsed().as_millis()));
        }
        match outcome {
            Ok(()) => Ok(shown),
            Err(late) => bail!("the demo's claim does not hold: `{}` {}", step.command, late.last),
        }
    }

    fn perform(&self, step: &Step<'_>) -> Result<Output> {
        let output = match step.place {
            Place::Machine => return Ok(self.machine.run(&["sh", "-c", step.command])?),
            Place::Outside => {
                let namespace = format!("--net=/proc/{}/ns/net", self.machine.leader_pid());
                let mut command = Command::new("nsenter");
                command
                    .args([&namespace, "--", "sh", "-c", step.command])
                    .stdin(Stdio::null());
                let path = std::env::var("PATH").unwrap_or_default();
                command.env(
                    "PATH",
                    format!("{}/usr/bin:{path}", self.stage.directory().display()),
                );
                // Nothing of this host's own configuration, if it has any, may answer for the machine's.
                command.current_dir("/").env_remove("TCS_CONFIG").output()?
            }
        };
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// The first claim that does not hold.
fn missing(step: &Step<'_>, output: &Output) -> Option<String> {
    if output.code() != step.code {
        return Some(format!(
            "ended with {}, expected was {}",
            output.code(),
            step.code
        ));
    }
    let text = output.both();
    let absent = step
        .expected
        .iter()
        .find(|claim| !claim.split('|').any(|either| text.contains(either)))?;
    Some(format!("printed no `{absent}`"))
}
