//! From what was observed to a verdict, from verdicts to satisfaction.
//!
//! Nothing here runs anything. `Undecided` comes from the factory or a fixture, never from what
//! the product did.

pub mod criteria;
mod gate;
mod satisfaction;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ScenarioId;
use crate::scenario::{Entry, LastStatus, Past, Visibility};

pub use gate::{GateResult, GateStatus};
pub use satisfaction::{Satisfaction, satisfaction, show_score};

/// How a child process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it, and it was not the factory's.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// Its time was up, and the factory ended it.
    TimedOut {
        /// The limit that it had.
        limit: Duration,
    },
    /// It wrote nothing for longer than its idle limit, and the factory ended it.
    Idle {
        /// The limit that it had.
        limit: Duration,
    },
    /// The person interrupted the factory, which ended it.
    Interrupted,
    /// It never began.
    CouldNotStart {
        /// What the system said.
        why: String,
    },
}

impl Ending {
    /// Returns whether it exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

/// What the judge says of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The product behaves as the scenario asks.
    Satisfied,
    /// It does not.
    Unsatisfied {
        /// Why, in the order found; never empty.
        because: Vec<Miss>,
    },
    /// The factory could not find out.
    Undecided {
        /// What stood in the way.
        why: Obstacle,
    },
    /// A precondition was not met, and never had been in this run.
    Skipped {
        /// The precondition's text.
        unmet: String,
    },
}

/// One reason why a scenario is not satisfied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "miss")]
pub enum Miss {
    /// The evaluation exited with another code than 0.
    Exit {
        /// The code.
        code: i32,
    },
    /// A signal ended the evaluation.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// The evaluation was ended at its time limit.
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The scenario can't be judged as it is written.
    Invalid {
        /// The first diagnostic's message.
        message: String,
    },
    /// A precondition is unmet that had been met before in this run.
    PreconditionLost {
        /// The precondition's text.
        unmet: String,
    },
    /// The evaluation exited with 0, and a pass criterion that can be checked does not hold.
    Criterion(Unmet),
    /// A fixture that is the product would not start.
    Fixture {
        /// Its name.
        name: String,
        /// What went wrong, as a fragment.
        why: String,
    },
}

/// A pass criterion that was checked and does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The criterion as written.
    pub criterion: String,
    /// What it asks for, as a fragment.
    pub expected: String,
    /// What was found instead, as a fragment, bounded.
    pub actual: String,
}

/// What kept the factory from a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "obstacle")]
pub enum Obstacle {
    /// bash could not be started.
    CouldNotStart {
        /// What the system said.
        why: String,
    },
    /// The person interrupted the judging.
    Interrupted,
    /// The run ended before its turn came.
    NotRun,
    /// It is slow, and the others do not reach the threshold.
    Deferred,
    /// A fixture that is not the product would not start.
    Fixture {
        /// Its name.
        name: String,
        /// What went wrong, as a fragment.
        why: String,
    },
}

/// One attempt at an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How bash ended.
    pub ending: Ending,
    /// What it wrote to stdout, decoded leniently, the last part where it was much.
    pub stdout: String,
    /// What it wrote to stderr, likewise.
    pub stderr: String,
    /// The first part of stdout where `stdout` does not hold all of it; else empty.
    #[serde(default)]
    pub stdout_head: String,
    /// The first part of stderr, likewise.
    #[serde(default)]
    pub stderr_head: String,
    /// How many bytes came on stdout in all.
    pub stdout_bytes: u64,
    /// How many bytes came on stderr in all.
    pub stderr_bytes: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether processes that it started were still alive when bash had ended.
    pub leaked: bool,
    /// Whether it was stopped when its time was up, as what reads from a terminal is.
    #[serde(default)]
    pub stopped: bool,
    /// The pass criteria that do not hold, in their order; empty where bash did not exit with 0.
    #[serde(default)]
    pub unmet: Vec<Unmet>,
}

impl Attempt {
    /// Returns an attempt that ended so, wrote this and nothing else, and left nothing behind.
    pub fn new(ending: Ending, stdout: &str, stderr: &str, duration: Duration) -> Self {
        Self {
            ending,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            stdout_head: String::new(),
            stderr_head: String::new(),
            stdout_bytes: stdout.len() as u64,
            stderr_bytes: stderr.len() as u64,
            duration,
            leaked: false,
            stopped: false,
            unmet: Vec::new(),
        }
    }

    /// Returns whether this attempt alone would satisfy the scenario.
    pub fn is_pass(&self) -> bool {
        self.ending.is_success() && self.unmet.is_empty()
    }
}

/// What became of one path or glob of a scenario's evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The path or glob as written.
    pub wanted: String,
    /// The copies, as paths relative to the root of the product, sorted; empty where there are none.
    pub files: Vec<String>,
    /// Why something is missing, as a fragment; empty where nothing is.
    pub missing: String,
}

/// A scenario with what came of judging it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The scenario's id.
    pub id: ScenarioId,
    /// Its name.
    pub name: String,
    /// Its file, as people see it.
    pub file: String,
    /// Its category; empty where none is given.
    pub category: String,
    /// What it weighs.
    pub weight: f64,
    /// Whether nothing converges without it.
    pub critical: bool,
    /// Who may read it.
    pub visibility: Visibility,
    /// The verdict, see [`of_attempts`].
    pub verdict: Verdict,
    /// Every attempt, oldest first; empty where none was made.
    pub attempts: Vec<Attempt>,
    /// What became of its evidence, in the order written; empty where none is asked for, or no
    /// attempt was made.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
}

impl Judged {
    /// Returns what came of `entry`, with no evidence yet.
    pub fn of(entry: &Entry, verdict: Verdict, attempts: Vec<Attempt>) -> Self {
        Self {
            id: entry.id.clone(),
            name: entry.name.clone(),
            file: entry.file.clone(),
            category: entry.category.clone(),
            weight: entry.weight(),
            critical: entry.critical(),
            visibility: entry.visibility(),
            verdict,
            attempts,
            evidence: Vec::new(),
        }
    }

    /// Returns whether the verdict is `Satisfied`.
    pub fn is_satisfied(&self) -> bool {
        matches!(self.verdict, Verdict::Satisfied)
    }

    /// Returns whether it keeps every threshold away: critical, and neither satisfied nor skipped.
    pub fn is_critical_missing(&self) -> bool {
        self.critical && !matches!(self.verdict, Verdict::Satisfied | Verdict::Skipped { .. })
    }

    /// Returns whether some attempts pass and others do not.
    pub fn is_flaky(&self) -> bool {
        self.attempts.iter().any(Attempt::is_pass) && !self.attempts.iter().all(Attempt::is_pass)
    }

    /// Returns whether no verdict was reached because the judging did not come to it, or was ended
    /// in it.
    pub fn is_not_run(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Undecided {
                why: Obstacle::NotRun | Obstacle::Deferred | Obstacle::Interrupted
            }
        )
    }

    /// Returns what is remembered of it for the next time.
    pub fn past(&self) -> Past {
        let status = match &self.verdict {
            Verdict::Satisfied => LastStatus::Satisfied,
            Verdict::Unsatisfied { .. } => LastStatus::Unsatisfied,
            Verdict::Skipped { .. } => LastStatus::Skipped,
            Verdict::Undecided { .. } if self.is_not_run() => LastStatus::NotRun,
            Verdict::Undecided { .. } => LastStatus::Undecided,
        };
        // How long it took until it was interrupted says nothing about how long it takes.
        let whole = matches!(status, LastStatus::Satisfied | LastStatus::Unsatisfied);
        let seconds = (whole && !self.attempts.is_empty()).then(|| self.duration().as_secs_f64());
        Past { status, seconds, flaky: self.is_flaky() }
    }

    /// Returns the time that all attempts took together.
    pub fn duration(&self) -> Duration {
        self.attempts.iter().map(|attempt| attempt.duration).sum()
    }
}

/// Decides what an attempt's ending means for the scenario.
pub fn of_ending(ending: &Ending) -> Verdict {
    let miss = match ending {
        Ending::Exited { code: 0 } => return Verdict::Satisfied,
        Ending::Exited { code } => Miss::Exit { code: *code },
        Ending::Signalled { signal } => Miss::Signal { signal: *signal },
        Ending::TimedOut { limit } | Ending::Idle { limit } => Miss::Timeout { limit: *limit },
        Ending::Interrupted => return Verdict::Undecided { why: Obstacle::Interrupted },
        Ending::CouldNotStart { why } => {
            return Verdict::Undecided { why: Obstacle::CouldNotStart { why: why.clone() } };
        }
    };
    Verdict::Unsatisfied { because: vec![miss] }
}

/// Decides what an attempt means for the scenario: its ending, and then the criteria that it misses.
pub fn of_attempt(attempt: &Attempt) -> Verdict {
    match of_ending(&attempt.ending) {
        Verdict::Satisfied if !attempt.unmet.is_empty() => Verdict::Unsatisfied {
            because: attempt.unmet.iter().cloned().map(Miss::Criterion).collect(),
        },
        other => other,
    }
}

/// Decides what all attempts mean together: what the last one does, or, where each of them has to
/// pass, what the first one does that did not; undecided where the last one is.
pub fn of_attempts(attempts: &[Attempt], each_has_to_pass: bool) -> Verdict {
    let Some(last) = attempts.last().map(of_attempt) else {
        return Verdict::Undecided { why: Obstacle::NotRun };
    };
    if !each_has_to_pass || matches!(last, Verdict::Undecided { .. }) {
        return last;
    }
    attempts.iter().map(of_attempt).find(|one| *one != Verdict::Satisfied).unwrap_or(last)
}

/// Decides what an unmet precondition means: a scenario that was judged before in this run and
/// can't be now is unsatisfied, so that nothing a product does makes a scenario count for less.
pub fn of_unmet_precondition(unmet: &str, judged_before: bool) -> Verdict {
    let unmet = unmet.to_owned();
    if judged_before {
        Verdict::Unsatisfied { because: vec![Miss::PreconditionLost { unmet }] }
    } else {
        Verdict::Skipped { unmet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_failed_product_and_an_unstartable_bash_is_not() {
        assert!(matches!(
            of_ending(&Ending::Signalled { signal: 11 }),
            Verdict::Unsatisfied { .. }
        ));
        let ending = Ending::CouldNotStart { why: "no such file".into() };
        assert!(matches!(of_ending(&ending), Verdict::Undecided { .. }));
    }

    #[test]
    fn a_scenario_that_was_judged_before_is_not_skipped_later() {
        assert!(matches!(of_unmet_precondition("gpu", false), Verdict::Skipped { .. }));
        assert!(matches!(of_unmet_precondition("gpu", true), Verdict::Unsatisfied { .. }));
    }

    #[test]
    fn what_is_remembered_is_the_verdict_and_how_long_a_whole_one_took() {
        let set = crate::scenario::from_files("s", vec![(b"a.md".to_vec(), Vec::new())]);
        let past = |verdict: Verdict, codes: &[i32]| {
            let attempt = |code: &i32| {
                Attempt::new(Ending::Exited { code: *code }, "", "", Duration::from_millis(500))
            };
            let attempts = codes.iter().map(attempt).collect();
            let past = Judged::of(&set.entries[0], verdict, attempts).past();
            (past.status, past.seconds, past.flaky)
        };
        assert_eq!(past(Verdict::Satisfied, &[1, 0]), (LastStatus::Satisfied, Some(1.0), true));
        let undecided = |why| Verdict::Undecided { why };
        let interrupted = past(undecided(Obstacle::Interrupted), &[1]);
        assert_eq!(interrupted, (LastStatus::NotRun, None, false));
        let fixture = Obstacle::Fixture { name: "db".into(), why: "gone".into() };
        assert_eq!(past(undecided(fixture), &[]), (LastStatus::Undecided, None, false));
        let skipped = Verdict::Skipped { unmet: "gpu".into() };
        assert_eq!(past(skipped, &[]), (LastStatus::Skipped, None, false));
        let unsatisfied = Verdict::Unsatisfied { because: Vec::new() };
        assert_eq!(past(unsatisfied, &[]), (LastStatus::Unsatisfied, None, false));
    }
}
