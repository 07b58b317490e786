//! What came of scenarios the last time: what `last(..)`, `--failed` and the order by duration ask.
//! Where it is kept is the caller's business.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ScenarioId;

/// What came of each scenario the last time that it was to be judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(BTreeMap<ScenarioId, Past>);

/// What came of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Its verdict.
    pub status: LastStatus,
    /// How long all its attempts took; none where it was not judged to an end.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Whether some attempts passed and others did not.
    #[serde(default)]
    pub flaky: bool,
}

/// A verdict without its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastStatus {
    /// The product behaved as the scenario asks.
    Satisfied,
    /// It did not.
    Unsatisfied,
    /// The factory could not find out.
    Undecided,
    /// A precondition was not met.
    Skipped,
    /// The judging ended before its turn, or in it.
    NotRun,
}

impl LastStatus {
    /// Returns whether the scenario is to be judged again by who wants all of them satisfied:
    /// unsatisfied, undecided or not run.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Unsatisfied | Self::Undecided | Self::NotRun => true,
            Self::Satisfied | Self::Skipped => false,
        }
    }

    /// Returns the word that is published.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::Unsatisfied => "unsatisfied",
            Self::Undecided => "undecided",
            Self::Skipped => "skipped",
            Self::NotRun => "not_run",
        }
    }
}

impl History {
    /// The history of which nothing is on record.
    pub const NOTHING: Self = Self(BTreeMap::new());

    /// Returns what came of the scenario; none where there is no record.
    pub fn past(&self, id: &ScenarioId) -> Option<&Past> {
        self.0.get(id)
    }

    /// Returns its last verdict; none where there is no record.
    pub fn status(&self, id: &ScenarioId) -> Option<LastStatus> {
        self.past(id).map(|past| past.status)
    }

    /// Returns how long it took; none where that is not known.
    pub fn duration(&self, id: &ScenarioId) -> Option<Duration> {
        Duration::try_from_secs_f64(self.past(id)?.seconds?).ok()
    }

    /// Sets what came of a scenario, in place of what came of it before.
    pub fn record(&mut self, id: ScenarioId, past: Past) {
        self.0.insert(id, past);
    }

    /// Returns whether nothing is on record.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is on record, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ScenarioId, &Past)> {
        self.0.iter()
    }
}

impl FromIterator<(ScenarioId, Past)> for History {
    fn from_iter<T: IntoIterator<Item = (ScenarioId, Past)>>(pasts: T) -> Self {
        Self(pasts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_what_it_wrote_and_what_lacks_a_duration() {
        let id = |text: &str| ScenarioId::parse(text).unwrap();
        let past = |status, seconds| Past { status, seconds, flaky: false };
        let history: History = [
            (id("b"), past(LastStatus::NotRun, None)),
            (id("a"), past(LastStatus::Satisfied, Some(1.5))),
        ]
        .into_iter()
        .collect();
        let json = serde_json::to_string(&history).unwrap();
        assert_eq!(
            json,
            r#"{"a":{"status":"satisfied","seconds":1.5,"flaky":false},"b":{"status":"not_run","seconds":null,"flaky":false}}"#
        );
        assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
        let least: History = serde_json::from_str(r#"{"a":{"status":"undecided"}}"#).unwrap();
        assert_eq!(least.status(&id("a")), Some(LastStatus::Undecided));
        assert_eq!((least.duration(&id("a")), least.status(&id("b"))), (None, None));
        assert!(serde_json::from_str::<History>(r#"{"No Id":{"status":"undecided"}}"#).is_err());
    }

    #[test]
    fn a_duration_that_makes_no_sense_is_unknown() {
        let id = ScenarioId::parse("a").unwrap();
        for (seconds, expected) in [(0.25, Some(Duration::from_millis(250))), (-1.0, None)] {
            let past = Past { status: LastStatus::Satisfied, seconds: Some(seconds), flaky: false };
            let history: History = [(id.clone(), past)].into_iter().collect();
            assert_eq!(history.duration(&id), expected);
        }
    }

    #[test]
    fn a_status_is_published_by_its_word() {
        for status in [
            LastStatus::Satisfied,
            LastStatus::Unsatisfied,
            LastStatus::Undecided,
            LastStatus::Skipped,
            LastStatus::NotRun,
        ] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
