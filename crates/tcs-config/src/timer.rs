//! When a job runs by itself: `schedule`, `every` and what goes with them.

use crate::diagnostic::Diagnostic;
use crate::model::{CalendarEvent, Timer, When};
use crate::reader::Reader;

/// Reads the timer of a job.
pub(crate) fn read_timer(reader: &mut Reader<'_>) -> Option<Timer> {
    let every = reader.positive("every");
    let schedule = reader.texts("schedule");
    let persistent = reader.flag("persistent");
    let jitter = reader.positive("jitter");
    if let (Some(every), Some(_)) = (reader.own("every"), reader.own("schedule")) {
        let problem = Diagnostic::error(&every.span, "a job has `schedule` or `every`, not both");
        reader.problems.push(problem.help("remove one of them"));
    }
    if let (Some(node), Some(true)) = (reader.own("persistent"), persistent)
        && reader.node("schedule").is_none()
    {
        // Persistent= does nothing without OnCalendar= (systemd.timer(5)).
        let problem = Diagnostic::error(&node.span, "`persistent` goes with `schedule` only");
        reader
            .problems
            .push(problem.help("remove it: with `every` the first run is made at once after boot"));
    }
    if let Some(node) = reader.own("jitter")
        && reader.node("schedule").or(reader.node("every")).is_none()
    {
        let problem = Diagnostic::error(&node.span, "`jitter` goes with `schedule` or `every` only");
        reader
            .problems
            .push(problem.help("say when the job runs, or remove it"));
    }
    let when = match (schedule, every) {
        (Some(texts), _) => {
            let events: Vec<CalendarEvent> = texts
                .into_iter()
                .map(|(text, span)| CalendarEvent {
                    expression: with_zone(&text),
                    span,
                })
                .collect();
            for event in events
                .iter()
                .filter(|event| !event.expression.chars().all(is_calendar_sign))
            {
                reader
                    .problems
                    .push(event.refused("it has signs that no time has"));
            }
            When::Calendar {
                events,
                persistent: persistent.unwrap_or(true),
            }
        }
        (None, Some(every)) => When::Every(every),
        (None, None) => return None,
    };
    Some(Timer { when, jitter })
}

/// Adds `UTC` to an expression that names no time zone.
fn with_zone(expression: &str) -> String {
    let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    if names_zone(&expression) {
        expression
    } else {
        format!("{expression} UTC")
    }
}

/// Returns whether the last word is a time zone: a word beside others that is not a list of days.
fn names_zone(expression: &str) -> bool {
    let Some((_, last)) = expression.rsplit_once(' ') else {
        return false;
    };
    last.starts_with(|c: char| c.is_ascii_alphabetic()) && !last.split([',', '.']).all(is_day)
}

/// Returns whether a sign can stand in a calendar expression, so that none can begin another line of a unit.
fn is_calendar_sign(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || " :*/.,~_+-".contains(sign)
}

fn is_day(word: &str) -> bool {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let word = word.to_ascii_lowercase();
    word.is_empty() || DAYS.iter().any(|day| *day == word || day[..3] == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_utc_unless_they_name_a_zone() {
        for (written, meant) in [
            ("hourly", "hourly UTC"),
            ("*:0/10", "*:0/10 UTC"),
            ("Mon..Fri 06:30", "Mon..Fri 06:30 UTC"),
            ("Mon,Sat", "Mon,Sat UTC"),
            ("06:30 Europe/Warsaw", "06:30 Europe/Warsaw"),
            ("daily UTC", "daily UTC"),
            ("2026-01-01  12:00  CET", "2026-01-01 12:00 CET"),
        ] {
            assert_eq!(with_zone(written), meant);
        }
    }
}
