//! Waiting for a value, never for a time.

use std::fmt::Display;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(20);

/// A value that did not come in time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}: not within {} s; the last value seen: {last}", deadline.as_secs_f32())]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub deadline: Duration,
    /// What the probe said last.
    pub last: String,
}

/// Asks `probe` again and again until it says `Ok`; the last `Err` it gave is in the message when it never does.
///
/// # Errors
/// When the deadline has passed; a probe that hangs counts as passed too.
pub async fn eventually<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let end = tokio::time::Instant::now() + deadline;
    let mut last = String::from("none, the probe did not answer");
    loop {
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = format!("{seen:#}"),
            Err(_) => {
                return Err(TimedOut {
                    what: what.into(),
                    deadline,
                    last,
                });
            }
        }
        if tokio::time::timeout_at(end, tokio::time::sleep(EVERY))
            .await
            .is_err()
        {
            return Err(TimedOut {
                what: what.into(),
                deadline,
                last,
            });
        }
    }
}

/// The same for a blocking probe, such as a command that is run in a machine.
///
/// # Errors
/// When the deadline has passed.
pub fn eventually_blocking<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + deadline;
    loop {
        let last = match probe() {
            Ok(value) => return Ok(value),
            Err(seen) => format!("{seen:#}"),
        };
        if Instant::now() >= end {
            return Err(TimedOut {
                what: what.into(),
                deadline,
                last,
            });
        }
        pause(EVERY);
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a value")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_is_in_the_message() {
        let mut asked = 0;
        let result: Result<(), _> =
            eventually_blocking("the unit is active", Duration::from_millis(50), || {
                asked += 1;
                Err(format!("activating, {asked}"))
            });
        let error = result.expect_err("the probe never says Ok").to_string();
        assert!(asked >= 2);
        assert_eq!(
            error,
            format!("the unit is active: not within 0.05 s; the last value seen: activating, {asked}")
        );
    }

    #[tokio::test]
    async fn a_hanging_probe_is_given_up() {
        let error = eventually("an answer", Duration::from_millis(30), async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await
        .expect_err("it hangs");
        assert!(error.to_string().contains("did not answer"), "{error}");
    }
}
