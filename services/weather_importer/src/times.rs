//! A compact set of times: what has been published.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A set of times in whole microseconds, kept as runs of equal steps: a month of one-minute records is one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct TimeSet {
    /// Runs by their start; their spans do not overlap.
    runs: BTreeMap<i64, Run>,
}

/// `count` times from `start`, `step` microseconds apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(i64, i64, i64)", into = "(i64, i64, i64)")]
struct Run {
    start: i64,
    step: i64,
    count: i64,
}

impl Run {
    const fn single(start: i64) -> Self {
        Self {
            start,
            step: 1,
            count: 1,
        }
    }

    const fn last(self) -> i64 {
        self.start + self.step * (self.count - 1)
    }

    fn contains(self, time: i64) -> bool {
        (self.start..=self.last()).contains(&time) && (time - self.start) % self.step == 0
    }

    /// Returns both as one run, if they are one; two single times always are.
    fn join(self, next: Self) -> Option<Self> {
        let step = next.start - self.last();
        let fits = |run: Self| run.count == 1 || run.step == step;
        (fits(self) && fits(next)).then_some(Self {
            start: self.start,
            step,
            count: self.count + next.count,
        })
    }
}

impl TimeSet {
    /// Returns whether the time is in the set.
    pub fn contains(&self, time: Timestamp) -> bool {
        let time = time.as_microsecond();
        self.before(time).is_some_and(|run| run.contains(time))
    }

    /// Adds a time, and returns whether it is new.
    pub fn insert(&mut self, time: Timestamp) -> bool {
        let time = time.as_microsecond();
        if let Some(run) = self.before(time) {
            if run.contains(time) {
                return false;
            }
            if time < run.last() {
                let kept = (time - run.start) / run.step + 1;
                let rest = Run {
                    start: run.start + kept * run.step,
                    count: run.count - kept,
                    ..run
                };
                self.put(Run { count: kept, ..run });
                self.put(rest);
            }
        }
        self.put(Run::single(time));
        self.join_around(time);
        true
    }

    /// Adds every time after the last one, from `floor` up to `until`.
    pub fn cover(&mut self, floor: Timestamp, until: Timestamp) {
        let after_last = self.runs.last_key_value().map(|(_, run)| run.last() + 1);
        let start = after_last.unwrap_or(i64::MIN).max(floor.as_microsecond());
        let count = until.as_microsecond() - start + 1;
        if count > 0 {
            self.put(Run {
                start,
                step: 1,
                count,
            });
        }
    }

    /// Removes what is older than the horizon.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        let horizon = horizon.as_microsecond();
        while let Some((&start, &run)) = self.runs.first_key_value().filter(|(start, _)| **start < horizon) {
            self.runs.remove(&start);
            if run.last() >= horizon {
                let gone = (horizon - start + run.step - 1) / run.step;
                self.put(Run {
                    start: start + gone * run.step,
                    count: run.count - gone,
                    ..run
                });
                break;
            }
        }
    }

    /// Returns the newest time.
    pub fn last(&self) -> Option<Timestamp> {
        let (_, run) = self.runs.last_key_value()?;
        Timestamp::from_microsecond(run.last()).ok()
    }

    fn before(&self, time: i64) -> Option<Run> {
        self.runs.range(..=time).next_back().map(|(_, run)| *run)
    }

    fn put(&mut self, run: Run) {
        self.runs.insert(run.start, run);
    }

    /// Joins the run that starts here with its neighbours where they go on in equal steps.
    fn join_around(&mut self, time: i64) {
        let mut start = time;
        if let Some((_, &left)) = self.runs.range(..time).next_back()
            && let Some(joined) = left.join(Run::single(time))
        {
            self.runs.remove(&time);
            self.put(joined);
            start = joined.start;
        }
        if let (Some(&run), Some((_, &right))) = (self.runs.get(&start), self.runs.range(time + 1..).next())
            && let Some(joined) = run.join(right)
        {
            self.runs.remove(&right.start);
            self.put(joined);
        }
    }
}

impl From<(i64, i64, i64)> for Run {
    fn from((start, step, count): (i64, i64, i64)) -> Self {
        Self { start, step, count }
    }
}

impl From<Run> for (i64, i64, i64) {
    fn from(run: Run) -> Self {
        (run.start, run.step, run.count)
    }
}

impl TryFrom<Vec<Run>> for TimeSet {
    type Error = &'static str;

    fn try_from(runs: Vec<Run>) -> Result<Self, Self::Error> {
        let mut previous = None;
        let mut set = Self::default();
        for run in runs {
            let valid = |time: i64| Timestamp::from_microsecond(time).is_ok();
            let last = run
                .count
                .checked_sub(1)
                .and_then(|n| n.checked_mul(run.step)?.checked_add(run.start));
            let last = last.filter(|last| run.step > 0 && run.count > 0 && valid(run.start) && valid(*last));
            let last = last.ok_or("a run of times is not [start, step, count]")?;
            if previous.is_some_and(|previous| run.start <= previous) {
                return Err("runs of times overlap");
            }
            previous = Some(last);
            set.put(run);
        }
        Ok(set)
    }
}

impl From<TimeSet> for Vec<Run> {
    fn from(set: TimeSet) -> Self {
        set.runs.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(time: i64) -> Timestamp {
        Timestamp::from_microsecond(time).unwrap()
    }

    #[test]
    fn a_regular_month_with_a_late_sample_is_one_run() {
        let mut set = TimeSet::default();
        for minute in (0..43_200).filter(|minute| *minute != 200) {
            assert!(set.insert(at(minute * 60_000_000)));
        }
        assert_eq!(set.runs.len(), 2);
        assert!(set.insert(at(200 * 60_000_000)));
        assert!(!set.insert(at(200 * 60_000_000)));
        assert_eq!(serde_json::to_string(&set).unwrap(), "[[0,60000000,43200]]");
    }

    #[test]
    fn covering_takes_what_lies_after_the_last_time() {
        let mut set = TimeSet::default();
        set.insert(at(50));
        set.cover(at(10), at(90));
        assert!(
            !set.contains(at(49)) && set.contains(at(51)) && set.contains(at(90)) && !set.contains(at(91))
        );
        set.cover(at(0), at(80));
        assert_eq!(set.last(), Some(at(90)));
    }

    #[test]
    fn a_spoilt_set_is_refused() {
        for text in [
            "[[0,0,2]]",
            "[[0,1,0]]",
            "[[0,10,3],[20,1,1]]",
            "[[9223372036854775807,5,9]]",
            "[[0,9223372036854775807,9]]",
        ] {
            assert!(serde_json::from_str::<TimeSet>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set(times in proptest::collection::vec(0i64..60, 0..80), horizon in 0i64..60) {
            let mut set = TimeSet::default();
            let mut model = BTreeSet::new();
            for time in times {
                prop_assert_eq!(set.insert(at(time)), model.insert(time));
            }
            let check = |set: &TimeSet, model: &BTreeSet<i64>| {
                (0..60).all(|time| set.contains(at(time)) == model.contains(&time))
                    && set.last() == model.last().map(|time| at(*time))
            };
            prop_assert!(check(&set, &model));
            let text = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(&serde_json::from_str::<TimeSet>(&text).unwrap(), &set);
            set.forget_before(at(horizon));
            model.retain(|time| *time >= horizon);
            prop_assert!(check(&set, &model));
        }
    }
}
