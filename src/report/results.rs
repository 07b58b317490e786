//! `scenario_results.json`: what a judgement came to, in the operating manual's fields and ours.
//!
//! The types here are the published format, version 1, and nobody else's. `exit_code` is always a
//! number, as the manual's readers expect: what the evaluation exited with, 128 and the signal's
//! number where a signal ended it, and below zero where there is no exit code: -1 timed out, -2
//! could not start, -3 empty or invalid, -4 not evaluated to an end (skipped, interrupted, not
//! run; `verdict` and `error_summary` say which). `passed` is true for `satisfied` alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::adapter::strip_str;
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::{Timestamp, human};
use crate::id::ScenarioId;
use crate::scenario::Visibility;
use crate::text::{head, one_line, tail};
use crate::verdict::{
    Attempt, Ending, Evidence, Judged, Miss, Obstacle, Satisfaction, Unmet, Verdict, of_attempt,
};

/// The version of the format that is written, and the last that is read.
pub const SCHEMA: u32 = 1;
/// How many characters of a stream are published.
const SHOWN: usize = 5_000;
/// How many characters of its beginning, where that is not all.
const FIRST: usize = 2_000;
/// How many characters a summary has at most.
const SUMMARY: usize = 300;

const TIMED_OUT: i32 = -1;
const COULD_NOT_START: i32 = -2;
const INVALID: i32 = -3;
const NOT_EVALUATED: i32 = -4;

const UNMET: &str = "precondition not met: ";
const LOST: &str = "precondition no longer met: ";
const CANNOT_BE_JUDGED: &str = "can't be judged: ";
const DID_NOT_START: &str = "could not start: ";
const INTERRUPTED: &str = "interrupted";
const NOT_RUN: &str = "not run: the judging ended before its turn";
const DEFERRED: &str = "not run: it is slow, and the others do not reach the threshold";
const CRITERION: &str = "pass criterion not met: ";
const FIXTURE: &str = "fixture did not start: ";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The version of the format; 0 for a file of the operating manual's own script.
    #[serde(default)]
    pub schema: u32,
    /// When the judging ended, RFC 3339; as found where another program wrote it.
    #[serde(default)]
    pub timestamp: String,
    /// Scenarios in all.
    pub total: usize,
    /// Those that are satisfied.
    pub passed: usize,
    /// Those that are not.
    pub failed: usize,
    /// Those whose precondition is unmet.
    #[serde(default)]
    pub skipped: usize,
    /// Those that could not be decided.
    #[serde(default)]
    pub undecided: usize,
    /// Those among the undecided that the judging did not come to.
    #[serde(default)]
    pub not_run: usize,
    /// Those of which some attempts passed and others did not.
    #[serde(default)]
    pub flaky: usize,
    /// Whether scenarios were not run, so that nothing final can be said.
    #[serde(default)]
    pub partial: bool,
    /// The weight satisfied over the weight not skipped; null where nothing was judged.
    #[serde(default)]
    pub satisfaction_score: Option<f64>,
    /// Whether a gate failed, so that no scenario was judged.
    #[serde(default, deserialize_with = "null_as_default")]
    pub gate1_failed: bool,
    /// How many scenarios ran at a time; null where the judgement was not one of `run-scenarios`.
    #[serde(default)]
    pub jobs: Option<usize>,
    /// What they were shuffled by; null where they were not.
    #[serde(default)]
    pub seed: Option<u64>,
    /// One result a scenario, in the order of their files.
    #[serde(default)]
    pub results: Vec<ScenarioResult>,
}

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// The scenario's id; empty where another program wrote the file.
    #[serde(default)]
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its file, as people see it: `scenarios/login.md`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub file_path: String,
    /// Its category; empty where none is given.
    #[serde(default, deserialize_with = "null_as_default")]
    pub category: String,
    /// The verdict; none where another program wrote the file.
    #[serde(default)]
    pub verdict: Option<PublishedVerdict>,
    /// Whether it is satisfied.
    pub passed: bool,
    /// See the head of the module.
    #[serde(default = "not_evaluated", deserialize_with = "null_as_not_evaluated")]
    pub exit_code: i32,
    /// The last 5,000 characters of the last attempt's stdout.
    #[serde(default, deserialize_with = "null_as_default")]
    pub stdout: String,
    /// The last 5,000 characters of the last attempt's stderr.
    #[serde(default, deserialize_with = "null_as_default")]
    pub stderr: String,
    /// The first characters of stdout where `stdout` does not hold all of it; else empty.
    #[serde(default)]
    pub stdout_head: String,
    /// The first characters of stderr, likewise.
    #[serde(default)]
    pub stderr_head: String,
    /// How long all attempts took.
    #[serde(default, deserialize_with = "null_as_default")]
    pub duration_seconds: f64,
    /// One line on why it is not satisfied; empty when it is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error_summary: String,
    /// What it weighs in the score.
    #[serde(default = "one")]
    pub weight: f64,
    /// Whether nothing converges without it.
    #[serde(default)]
    pub critical: bool,
    /// Who may read the scenario.
    #[serde(default)]
    pub visibility: Visibility,
    /// Every attempt, oldest first.
    #[serde(default)]
    pub attempts: Vec<PublishedAttempt>,
    /// Whether some attempts passed and others did not.
    #[serde(default)]
    pub flaky: bool,
    /// What became of the evidence, in the order written; empty where none is asked for.
    #[serde(default)]
    pub evidence: Vec<PublishedEvidence>,
}

/// What became of one path or glob of the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedEvidence {
    /// The path or glob as written.
    pub wanted: String,
    /// The copies, as paths relative to the root of the product, sorted.
    pub files: Vec<String>,
    /// Why something is missing; empty where nothing is.
    pub missing: String,
}

/// A verdict in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedVerdict {
    /// The product behaves as the scenario asks.
    Satisfied,
    /// It does not.
    Unsatisfied,
    /// The factory could not find out.
    Undecided,
    /// A precondition was not met.
    Skipped,
}

/// One attempt; the output of the last one stands in the result itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedAttempt {
    /// As in the result.
    pub exit_code: i32,
    /// The signal that ended it; null where none did.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The limit at which it was ended; null where it was not.
    #[serde(default)]
    pub limit_seconds: Option<f64>,
    /// How long it took.
    pub duration_seconds: f64,
    /// How many bytes came on stdout in all.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// How many bytes came on stderr in all.
    #[serde(default)]
    pub stderr_bytes: u64,
    /// Whether it left processes running, which were then ended.
    #[serde(default)]
    pub leaked: bool,
    /// Whether it was stopped when its time was up, as what reads from a terminal is.
    #[serde(default)]
    pub stopped: bool,
    /// The pass criteria that do not hold.
    #[serde(default)]
    pub unmet: Vec<PublishedUnmet>,
    /// One line on why it failed; empty when it did not.
    #[serde(default)]
    pub error_summary: String,
}

/// A pass criterion that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedUnmet {
    /// The criterion as written.
    pub criterion: String,
    /// What it asks for.
    pub expected: String,
    /// What was found instead.
    pub actual: String,
}

/// A file that can't be taken as scenario results, and why.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// It can't be read.
    #[error("can't read scenario results `{}`; make them with `run-scenarios`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no JSON, or other JSON.
    #[error("`{}` holds no scenario results", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        source: serde_json::Error,
    },
    /// A later version of this program wrote it.
    #[error("`{}` has schema {schema}, and this program reads up to {SCHEMA}; update it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        schema: u32,
    },
}

impl Results {
    /// Makes the file of what was judged.
    pub fn new(
        timestamp: Timestamp,
        judged: &[Judged],
        satisfaction: &Satisfaction,
        gate1_failed: bool,
    ) -> Self {
        Self {
            schema: SCHEMA,
            timestamp: timestamp.to_string(),
            total: satisfaction.total,
            passed: satisfaction.passed,
            failed: satisfaction.failed,
            skipped: satisfaction.skipped,
            undecided: satisfaction.undecided,
            not_run: satisfaction.not_run,
            flaky: satisfaction.flaky,
            partial: satisfaction.is_partial(),
            satisfaction_score: satisfaction.score(),
            gate1_failed,
            jobs: None,
            seed: None,
            results: judged.iter().map(ScenarioResult::of).collect(),
        }
    }

    /// Returns the bytes of the file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("text and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the file at `path`, ours or one that the operating manual's script wrote.
    ///
    /// # Errors
    /// It is not there, holds something else, or is of a later version.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let path = path.to_owned();
        match fs::read(&path) {
            Err(source) => Err(ResultsError::Read { path, source }),
            Ok(bytes) => match serde_json::from_slice::<Self>(&bytes) {
                Err(source) => Err(ResultsError::Parse { path, source }),
                Ok(Self { schema, .. }) if schema > SCHEMA => {
                    Err(ResultsError::Newer { path, schema })
                }
                Ok(results) => Ok(results),
            },
        }
    }

    /// Returns what was judged, as far as the file tells: of earlier attempts no output, of all
    /// others the last 5,000 characters of each stream.
    pub fn judged(&self) -> Vec<Judged> {
        self.results.iter().map(ScenarioResult::judged).collect()
    }
}

impl ScenarioResult {
    /// Returns what is published of one scenario.
    pub fn of(judged: &Judged) -> Self {
        let last = judged.attempts.last();
        let (stdout, stderr) = last
            .map_or(("", ""), |last| (tail(&last.stdout, SHOWN).0, tail(&last.stderr, SHOWN).0));
        Self {
            id: judged.id.to_string(),
            name: judged.name.clone(),
            file_path: judged.file.clone(),
            category: judged.category.clone(),
            verdict: Some(PublishedVerdict::of(&judged.verdict)),
            passed: judged.is_satisfied(),
            exit_code: exit_code(judged),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            stdout_head: last
                .map_or("", |last| first_part(&last.stdout_head, &last.stdout))
                .to_owned(),
            stderr_head: last
                .map_or("", |last| first_part(&last.stderr_head, &last.stderr))
                .to_owned(),
            duration_seconds: seconds(judged.duration()),
            error_summary: error_summary(judged),
            weight: judged.weight,
            critical: judged.critical,
            visibility: judged.visibility,
            attempts: judged.attempts.iter().map(PublishedAttempt::of).collect(),
            flaky: judged.is_flaky(),
            evidence: judged.evidence.iter().map(PublishedEvidence::of).collect(),
        }
    }

    /// Returns it as a line of JSON, with the line feed at its end.
    pub fn to_line(&self) -> Vec<u8> {
        let texts = self.stdout.len() + self.stderr.len();
        let mut line = Vec::with_capacity(2 * texts + 1_000);
        serde_json::to_writer(&mut line, self).expect("text and numbers are JSON");
        line.push(b'\n');
        line
    }

    /// Returns what was judged, as far as this tells.
    pub fn judged(&self) -> Judged {
        let mut attempts: Vec<Attempt> =
            self.attempts.iter().map(PublishedAttempt::attempt).collect();
        let ran = self.exit_code > INVALID || self.exit_code < NOT_EVALUATED;
        if attempts.is_empty() && self.verdict.is_none() && ran {
            attempts.push(self.only_attempt());
        }
        if let Some(last) = attempts.last_mut() {
            last.stdout.clone_from(&self.stdout);
            last.stderr.clone_from(&self.stderr);
            last.stdout_head.clone_from(&self.stdout_head);
            last.stderr_head.clone_from(&self.stderr_head);
        }
        Judged {
            id: ScenarioId::parse(&self.id).unwrap_or_else(|_| {
                let shown = if self.file_path.is_empty() { &self.name } else { &self.file_path };
                let file = shown.rsplit('/').next().unwrap_or(shown);
                ScenarioId::for_file(file)
            }),
            name: self.name.clone(),
            file: self.file_path.clone(),
            category: self.category.clone(),
            weight: self.weight,
            critical: self.critical,
            visibility: self.visibility,
            verdict: self.found(attempts.last()),
            attempts,
            evidence: self.evidence.iter().map(PublishedEvidence::evidence).collect(),
        }
    }

    /// Returns the verdict that the file tells of, with its reasons.
    fn found(&self, last: Option<&Attempt>) -> Verdict {
        let rest = |prefix| {
            self.error_summary.strip_prefix(prefix).unwrap_or(&self.error_summary).to_owned()
        };
        match self.verdict {
            Some(PublishedVerdict::Satisfied) => Verdict::Satisfied,
            None if self.passed => Verdict::Satisfied,
            Some(PublishedVerdict::Skipped) => Verdict::Skipped { unmet: rest(UNMET) },
            Some(PublishedVerdict::Undecided) => Verdict::Undecided {
                why: if self.exit_code == COULD_NOT_START {
                    Obstacle::CouldNotStart { why: rest(DID_NOT_START) }
                } else if self.error_summary == INTERRUPTED {
                    Obstacle::Interrupted
                } else if self.error_summary == DEFERRED {
                    Obstacle::Deferred
                } else if let Some((name, why)) = self.fixture() {
                    Obstacle::Fixture { name, why }
                } else {
                    Obstacle::NotRun
                },
            },
            Some(PublishedVerdict::Unsatisfied) | None => {
                let miss = match self.exit_code {
                    NOT_EVALUATED if let Some((name, why)) = self.fixture() => {
                        Miss::Fixture { name, why }
                    }
                    INVALID => Miss::Invalid { message: rest(CANNOT_BE_JUDGED) },
                    NOT_EVALUATED => Miss::PreconditionLost { unmet: rest(LOST) },
                    code => match last.map(of_attempt) {
                        Some(verdict @ Verdict::Unsatisfied { .. }) => return verdict,
                        // What could not start was a failure to the manual's script.
                        _ => Miss::Exit { code },
                    },
                };
                Verdict::Unsatisfied { because: vec![miss] }
            }
        }
    }

    /// Returns the fixture that the summary blames, and what went wrong with it.
    fn fixture(&self) -> Option<(String, String)> {
        let (name, why) = self.error_summary.strip_prefix(FIXTURE)?.split_once(": ")?;
        Some((name.to_owned(), why.to_owned()))
    }

    /// Returns the one attempt that a file of the manual's script tells of.
    fn only_attempt(&self) -> Attempt {
        PublishedAttempt {
            exit_code: self.exit_code,
            signal: None,
            limit_seconds: None,
            duration_seconds: self.duration_seconds,
            stdout_bytes: self.stdout.len() as u64,
            stderr_bytes: self.stderr.len() as u64,
            leaked: false,
            stopped: false,
            unmet: Vec::new(),
            error_summary: self.error_summary.clone(),
        }
        .attempt()
    }
}

impl PublishedVerdict {
    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Satisfied => Self::Satisfied,
            Verdict::Unsatisfied { .. } => Self::Unsatisfied,
            Verdict::Undecided { .. } => Self::Undecided,
            Verdict::Skipped { .. } => Self::Skipped,
        }
    }
}

impl PublishedAttempt {
    fn of(attempt: &Attempt) -> Self {
        Self {
            exit_code: code_of(&attempt.ending),
            signal: match attempt.ending {
                Ending::Signalled { signal } => Some(signal),
                _ => None,
            },
            limit_seconds: match attempt.ending {
                Ending::TimedOut { limit } | Ending::Idle { limit } => Some(limit.as_secs_f64()),
                _ => None,
            },
            duration_seconds: seconds(attempt.duration),
            stdout_bytes: attempt.stdout_bytes,
            stderr_bytes: attempt.stderr_bytes,
            leaked: attempt.leaked,
            stopped: attempt.stopped,
            unmet: attempt.unmet.iter().map(PublishedUnmet::of).collect(),
            error_summary: attempt_summary(attempt),
        }
    }

    fn attempt(&self) -> Attempt {
        let duration = Duration::try_from_secs_f64(self.duration_seconds).unwrap_or_default();
        let ending = match (self.exit_code, self.signal) {
            (_, Some(signal)) => Ending::Signalled { signal },
            (TIMED_OUT, None) => Ending::TimedOut {
                limit: self
                    .limit_seconds
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .unwrap_or(duration),
            },
            (COULD_NOT_START, None) => {
                let why = self.error_summary.strip_prefix(DID_NOT_START);
                Ending::CouldNotStart { why: why.unwrap_or(&self.error_summary).to_owned() }
            }
            (NOT_EVALUATED, None) => Ending::Interrupted,
            (code, None) => Ending::Exited { code },
        };
        Attempt {
            stdout_bytes: self.stdout_bytes,
            stderr_bytes: self.stderr_bytes,
            leaked: self.leaked,
            stopped: self.stopped,
            unmet: self.unmet.iter().map(PublishedUnmet::unmet).collect(),
            ..Attempt::new(ending, "", "", duration)
        }
    }
}

impl PublishedUnmet {
    fn of(unmet: &Unmet) -> Self {
        let Unmet { criterion, expected, actual } = unmet.clone();
        Self { criterion, expected, actual }
    }

    fn unmet(&self) -> Unmet {
        let Self { criterion, expected, actual } = self.clone();
        Unmet { criterion, expected, actual }
    }
}

impl PublishedEvidence {
    fn of(evidence: &Evidence) -> Self {
        let Evidence { wanted, files, missing } = evidence.clone();
        Self { wanted, files, missing }
    }

    fn evidence(&self) -> Evidence {
        let Self { wanted, files, missing } = self.clone();
        Evidence { wanted, files, missing }
    }
}

/// Returns the first characters of a stream of which `SHOWN` characters are published at the most:
/// those that were kept, or else those of `text` that would be lost.
fn first_part<'a>(kept: &'a str, text: &'a str) -> &'a str {
    let lost = tail(text, SHOWN).1;
    if kept.is_empty() { head(text, lost.min(FIRST)) } else { kept }
}

/// Returns one line on why a scenario is not satisfied; empty when it is.
pub fn error_summary(judged: &Judged) -> String {
    let summary = match &judged.verdict {
        Verdict::Satisfied => return String::new(),
        Verdict::Skipped { unmet } => format!("{UNMET}{unmet}"),
        Verdict::Undecided { why } => match why {
            Obstacle::CouldNotStart { why } => format!("{DID_NOT_START}{why}"),
            Obstacle::Interrupted => INTERRUPTED.to_owned(),
            Obstacle::NotRun => NOT_RUN.to_owned(),
            Obstacle::Deferred => DEFERRED.to_owned(),
            Obstacle::Fixture { name, why } => format!("{FIXTURE}{name}: {why}"),
        },
        Verdict::Unsatisfied { because } => match (because.first(), judged.attempts.last()) {
            (Some(Miss::Invalid { message }), _) => format!("{CANNOT_BE_JUDGED}{message}"),
            (Some(Miss::PreconditionLost { unmet }), _) => format!("{LOST}{unmet}"),
            (Some(Miss::Fixture { name, why }), _) => format!("{FIXTURE}{name}: {why}"),
            (_, Some(last)) => return attempt_summary(last),
            (Some(Miss::Criterion(unmet)), None) => criterion_summary(unmet),
            (Some(Miss::Exit { code }), None) => format!("exit code {code}"),
            (Some(Miss::Signal { signal }), None) => format!("ended by signal {signal}"),
            (Some(Miss::Timeout { limit }), None) => format!("timed out after {}", human(*limit)),
            (None, None) => "unsatisfied".to_owned(),
        },
    };
    one_line(&summary, SUMMARY)
}

/// Returns one line on why an attempt failed; empty when it did not.
pub(super) fn attempt_summary(attempt: &Attempt) -> String {
    let (what, said) = match &attempt.ending {
        Ending::Exited { code: 0 } => {
            let summary = attempt.unmet.first().map(criterion_summary).unwrap_or_default();
            return one_line(&summary, SUMMARY);
        }
        Ending::Exited { code } => (format!("exit code {code}"), true),
        Ending::Signalled { signal } => (format!("ended by signal {signal}"), true),
        Ending::TimedOut { limit } => (format!("timed out after {}", human(*limit)), false),
        Ending::Idle { limit } => (format!("silent for {}", human(*limit)), false),
        Ending::Interrupted => (INTERRUPTED.to_owned(), false),
        Ending::CouldNotStart { why } => (format!("{DID_NOT_START}{why}"), false),
    };
    let line = [&attempt.stderr, &attempt.stdout].into_iter().find_map(|text| last_line(text));
    match line.filter(|_| said) {
        Some(line) => one_line(&format!("{what}: {line}"), SUMMARY),
        None => one_line(&what, SUMMARY),
    }
}

fn criterion_summary(Unmet { criterion, actual, .. }: &Unmet) -> String {
    format!("{CRITERION}{criterion}: {actual}")
}

/// Returns the last line with a letter or digit in it, without colours.
fn last_line(text: &str) -> Option<String> {
    let mut plain = text.lines().rev().map(|line| strip_str(line.trim()).to_string());
    plain.find(|line| line.contains(char::is_alphanumeric))
}

fn exit_code(judged: &Judged) -> i32 {
    if let Some(last) = judged.attempts.last() {
        return code_of(&last.ending);
    }
    match &judged.verdict {
        Verdict::Satisfied => 0,
        Verdict::Skipped { .. } => NOT_EVALUATED,
        Verdict::Undecided { why } => match why {
            Obstacle::CouldNotStart { .. } => COULD_NOT_START,
            Obstacle::Interrupted
            | Obstacle::NotRun
            | Obstacle::Deferred
            | Obstacle::Fixture { .. } => NOT_EVALUATED,
        },
        Verdict::Unsatisfied { because } => match because.first() {
            Some(Miss::Exit { code }) => *code,
            Some(Miss::Signal { signal }) => 128 + signal,
            Some(Miss::Timeout { .. }) => TIMED_OUT,
            Some(Miss::Invalid { .. }) => INVALID,
            Some(Miss::Criterion(_)) => 0,
            Some(Miss::PreconditionLost { .. } | Miss::Fixture { .. }) | None => NOT_EVALUATED,
        },
    }
}

fn code_of(ending: &Ending) -> i32 {
    match ending {
        Ending::Exited { code } => *code,
        Ending::Signalled { signal } => 128 + signal,
        Ending::TimedOut { .. } | Ending::Idle { .. } => TIMED_OUT,
        Ending::CouldNotStart { .. } => COULD_NOT_START,
        Ending::Interrupted => NOT_EVALUATED,
    }
}

/// Returns seconds to the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

fn one() -> f64 {
    1.0
}

fn not_evaluated() -> i32 {
    NOT_EVALUATED
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn null_as_not_evaluated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(NOT_EVALUATED))
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::testing::{all, missed, of};
    use super::*;
    use crate::verdict::satisfaction;

    fn results(judged: &[Judged]) -> Results {
        let time = Timestamp::from_unix_millis(1_795_166_100_250);
        Results::new(time, judged, &satisfaction(judged), false)
    }

    #[test]
    fn every_ending_has_its_code_and_its_line() {
        let shown: Vec<String> = results(&all())
            .results
            .iter()
            .map(|r| {
                format!("{} {} {:?} {}", r.id, r.exit_code, r.verdict.unwrap(), r.error_summary)
            })
            .collect();
        assert_eq!(
            shown.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
            [
                "pass 0 Satisfied",
                "fail 1 Unsatisfied exit code 1: ValueError: no",
                "quiet 7 Unsatisfied exit code 7: only stdout",
                "killed 137 Unsatisfied ended by signal 9",
                "slow -1 Unsatisfied timed out after 5 min",
                "invalid -3 Unsatisfied can't be judged: no evaluation",
                "skipped -4 Skipped precondition not met: a GPU",
                "lost -4 Unsatisfied precondition no longer met: a GPU",
                "nobash -2 Undecided could not start: no bash",
                "cut -4 Undecided interrupted",
                "notrun -4 Undecided not run: the judging ended before its turn",
                "flaky 0 Satisfied",
                "heavy 0 Satisfied",
                "criterion 0 Unsatisfied pass criterion not met: stdout contains \"ok\": stdout is \"no\"",
                "notready -4 Undecided fixture did not start: db: x: y",
                "noserver -4 Unsatisfied fixture did not start: web: no",
                "deferred -4 Undecided not run: it is slow, and the others do not reach the threshold",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        let written = results(&all());
        super::super::write_atomically(&path, &written.to_json()).unwrap();
        let read = Results::read(&path).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.judged(), all());
        let score = satisfaction(&read.judged()).score();
        assert_eq!(score, read.satisfaction_score);
    }

    #[test]
    fn the_manuals_fields_come_by_their_names() {
        let json: serde_json::Value =
            serde_json::from_slice(&results(&all()[..2]).to_json()).unwrap();
        assert_eq!(json["timestamp"], "2026-11-20T09:15:00.250Z");
        assert_eq!(
            (&json["total"], &json["passed"], &json["failed"]),
            (&2.into(), &1.into(), &1.into())
        );
        assert_eq!(
            (&json["satisfaction_score"], &json["gate1_failed"]),
            (&0.5.into(), &false.into())
        );
        let result = &json["results"][1];
        for (field, value) in [
            ("name", "The fail".into()),
            ("file_path", "scenarios/fail.md".into()),
            ("category", "pipeline".into()),
            ("passed", false.into()),
            ("exit_code", 1.into()),
            ("stdout", "".into()),
            ("duration_seconds", serde_json::Value::from(1.25)),
            ("verdict", "unsatisfied".into()),
        ] {
            assert_eq!(result[field], value, "{field}");
        }
    }

    #[test]
    fn a_summary_has_no_colours() {
        let stderr = "\u{1b}[31mError: no\u{1b}[0m\n\u{1b}[0m\n";
        let summary = error_summary(&of("a", Ending::Exited { code: 1 }, "", stderr));
        assert_eq!(summary, "exit code 1: Error: no");
    }

    #[test]
    fn nothing_judged_has_no_score() {
        let json = String::from_utf8(results(&[]).to_json()).unwrap();
        assert!(json.contains("\"satisfaction_score\": null"), "{json}");
    }

    #[test]
    fn the_last_5000_characters_are_published() {
        let long = format!("{}end", "ä".repeat(6_000));
        let result = ScenarioResult::of(&of("a", Ending::Exited { code: 1 }, &long, &long));
        assert_eq!(result.stdout.chars().count(), 5_000);
        assert!(result.stdout.ends_with("end"));
        assert_eq!(result.stdout_head, "ä".repeat(1_003));
        assert!(result.error_summary.chars().count() <= SUMMARY);
        assert_eq!(result.attempts[0].stdout_bytes, 12_003);
    }

    #[test]
    fn a_file_of_the_manuals_script_is_read() {
        let json = r#"{"timestamp": "2026-02-20T10:00:00.123456", "total": 3, "passed": 1,
            "failed": 2, "satisfaction_score": 0.33, "unknown": 1, "results": [
            {"name": "A", "file_path": "scenarios/01_a.md", "category": null, "passed": true,
             "exit_code": 0, "stdout": "", "stderr": "", "duration_seconds": 0.1,
             "error_summary": null},
            {"name": "B", "passed": false, "exit_code": -1, "stdout": "x", "duration_seconds": 300},
            {"name": "C", "passed": false, "exit_code": -3, "error_summary": "no command"}]}"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), json).unwrap();
        let results = Results::read(file.path()).unwrap();
        assert_eq!((results.schema, results.gate1_failed), (0, false));
        let judged = results.judged();
        let limit = Duration::from_secs(300);
        assert_eq!(judged[0].id.as_str(), "01_a");
        assert_eq!(
            judged.iter().map(|judged| judged.verdict.clone()).collect::<Vec<_>>(),
            [
                Verdict::Satisfied,
                missed(Miss::Timeout { limit }),
                missed(Miss::Invalid { message: "no command".into() }),
            ]
        );
        assert_eq!(judged[1].attempts[0].stdout, "x");
    }

    #[test]
    fn what_is_no_results_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = |json: &str, expected: &str| {
            fs::write(file.path(), json).unwrap();
            let error = Results::read(file.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("[]", "holds no scenario results");
        check(r#"{"schema": 2, "total": 0, "passed": 0, "failed": 0}"#, "reads up to 1; update it");
        let error = Results::read(Path::new("/no/such")).unwrap_err().to_string();
        assert!(error.contains("make them with `run-scenarios`"), "{error}");
    }
}
