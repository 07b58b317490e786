//! What a scenario is once it has been read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Criterion;
use crate::id::ScenarioId;

/// Every scenario of a run in the order of their files' names, those that can't be judged
/// included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioSet {
    /// One entry a file; ids are unique.
    pub entries: Vec<Entry>,
    /// What was found about files that are no scenario at all (a dangling link, a FIFO), and
    /// warnings about those that are; errors of an invalid scenario stand in its entry.
    pub diagnostics: Vec<Diagnostic>,
}

/// One scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique within the set.
    pub id: ScenarioId,
    /// The title without `Scenario:`; the file's name where there is no title.
    pub name: String,
    /// The path that people see, relative to the directory above the scenarios' one:
    /// `scenarios/login.md`.
    pub file: String,
    /// The category as written, trimmed; empty where none is given.
    pub category: String,
    /// The scenario, or why it can't be judged (never empty then). Such an entry counts as
    /// unsatisfied.
    pub scenario: Result<Box<Scenario>, Vec<Diagnostic>>,
}

impl Entry {
    /// Returns what the scenario weighs in the score; 1 where it is invalid.
    pub fn weight(&self) -> f64 {
        self.scenario.as_ref().map_or(1.0, |s| s.front.weight)
    }

    /// Returns whether the run can't converge without this scenario; false where it is invalid.
    pub fn critical(&self) -> bool {
        self.scenario.as_ref().is_ok_and(|s| s.front.critical)
    }

    /// Returns its tags as written; none where it is invalid.
    pub fn tags(&self) -> &[String] {
        self.scenario.as_ref().map_or(&[], |s| &s.front.tags)
    }

    /// Returns whether it is judged after the others; false where it is invalid.
    pub fn is_slow(&self) -> bool {
        self.scenario.as_ref().is_ok_and(|s| s.front.slow)
    }

    /// Returns whether nothing else runs while it does; false where it is invalid.
    pub fn is_serial(&self) -> bool {
        self.scenario.as_ref().is_ok_and(|s| s.front.serial)
    }

    /// Returns whether the agent may read the scenario; an invalid one is holdout.
    pub fn visibility(&self) -> Visibility {
        self.scenario.as_ref().map_or(Visibility::Holdout, |s| s.front.visibility)
    }
}

/// A scenario that can be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// `## Preconditions`, item by item.
    pub preconditions: Vec<Precondition>,
    /// `## Behavioral Expectation` as markdown, trimmed; empty where there is none.
    pub expectation: String,
    /// The blocks of `## Evaluation Method` that are run, in order; never empty.
    pub evaluation: Vec<CodeBlock>,
    /// `## Pass Criteria` as markdown, trimmed; empty where there is none.
    pub pass_criteria: String,
    /// The list items of `## Pass Criteria`, in order; empty where there are none.
    #[serde(default)]
    pub criteria: Vec<Criterion>,
    /// `## Evidence Required`, item by item.
    pub evidence: Vec<EvidenceItem>,
    /// The YAML above the title.
    pub front: FrontMatter,
}

impl Scenario {
    /// Returns the script that bash runs: the blocks in order, each ended by a line feed.
    pub fn script(&self) -> String {
        self.evaluation.iter().fold(String::new(), |mut script, block| {
            script.push_str(&block.code);
            if !script.ends_with('\n') {
                script.push('\n');
            }
            script
        })
    }

    /// Returns the texts that no agent may see: evaluation, pass criteria, preconditions and
    /// evidence list, in this order.
    pub fn holdout_texts(&self) -> impl Iterator<Item = &str> {
        self.evaluation
            .iter()
            .map(|block| block.code.as_str())
            .chain([self.pass_criteria.as_str()])
            .chain(self.preconditions.iter().map(|item| item.text.as_str()))
            .chain(self.evidence.iter().map(|item| item.text.as_str()))
    }
}

/// A fenced block of the evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBlock {
    /// The code between the fences, as written.
    pub code: String,
    /// The line of the file on which the code begins, from 1.
    pub line: usize,
}

/// One item under `## Preconditions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// The item as written.
    pub text: String,
    /// The command of an item that reads ``check: `command` ``.
    pub check: Option<String>,
    /// Its line in the file, from 1.
    pub line: usize,
}

/// One item under `## Evidence Required`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceItem {
    /// The item as written.
    pub text: String,
    /// The paths and globs in backticks, in order.
    pub paths: Vec<String>,
}

/// Who may read a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// The judge alone.
    #[default]
    Holdout,
    /// The agent too.
    Public,
}

/// The optional YAML at the head of a scenario. Unknown keys are an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontMatter {
    /// Free words to select by.
    pub tags: Vec<String>,
    /// The time limit of one attempt; none means the configured one.
    #[serde(with = "seconds", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What it weighs in the score; positive and finite.
    pub weight: f64,
    /// Whether nothing converges without it.
    pub critical: bool,
    /// Whether it is run after the others, and only when they reach the threshold.
    pub slow: bool,
    /// Whether nothing else runs while it does.
    pub serial: bool,
    /// Whether it may use the machine's network, where what is judged is confined.
    pub network: bool,
    /// The fixtures that it needs, by name.
    pub needs: Vec<String>,
    /// How many more attempts a failure gets.
    pub retries: u32,
    /// Who may read it.
    pub visibility: Visibility,
    /// Variables set for its evaluation.
    pub env: BTreeMap<String, String>,
}

impl Default for FrontMatter {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            timeout: None,
            weight: 1.0,
            critical: false,
            slow: false,
            serial: false,
            network: false,
            needs: Vec::new(),
            retries: 0,
            visibility: Visibility::Holdout,
            env: BTreeMap::new(),
        }
    }
}

/// A time limit: a number of seconds on the wire, and what `clock::parse_duration` takes from people.
mod seconds {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;

    use crate::clock::parse_duration;
    use crate::text::yaml::parse_scalar;

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_f64(duration.as_secs_f64()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        struct Limit(Duration);
        impl std::str::FromStr for Limit {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                parse_duration(text).map(Self)
            }
        }
        struct Optional;
        impl<'de> Visitor<'de> for Optional {
            type Value = Option<Duration>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time")
            }
            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<Self::Value, D::Error> {
                parse_scalar::<D, Limit>(some).map(|limit| Some(limit.0))
            }
        }
        deserializer.deserialize_option(Optional)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The scenario is judged all the same.
    Warning,
    /// The scenario is invalid, and counts as unsatisfied.
    Error,
}

/// Something found in a file that a person wrote, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Names the check, for ever: `S001`; empty where it is about no file.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a lower-case fragment without a full stop.
    pub message: String,
    /// The file, as people see it.
    pub file: String,
    /// The bytes of the file that it is about; none when it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// The line of the span's beginning, from 1; 1 when there is no span.
    pub line: usize,
    /// The column of the span's beginning in characters, from 1; 1 when there is no span.
    pub column: usize,
    /// What to do about it; empty when there is nothing to say.
    pub help: String,
}
