//! What a run can come to: the class that machines read, what people call it, the reason, and what
//! a reader of a page can do, who may be far from the machine of the run.
//!
//! What can be done on that machine, as commands, is told by [`super::next_steps`].

use serde::{Deserialize, Serialize};

use crate::convergence::Decision;
use crate::event::{Ended, Summary};

use super::published::State;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The score reaches the threshold, and every gate that there is passed.
    Converged,
    /// It does, but the agent changed files that define the gates.
    ConvergedGatesChanged,
    /// The last iterations were no better than the best before them.
    Stalled,
    /// All turns are taken.
    Exhausted,
    /// A budget does not pay for another turn.
    OverBudget,
    /// There was no time for another turn before the deadline.
    Deadline,
    /// The agent's provider gave no more.
    UsageLimit,
    /// Judged and not good enough, and there was no agent to go on with.
    BelowThreshold,
    /// The agent has a question for a person.
    Asked,
    /// There was no scenario that could be judged.
    NothingToJudge,
    /// More turns may be taken.
    Continue,
    /// One step was asked for, and is done.
    Paused,
    /// A signal stopped it.
    Interrupted,
    /// The factory or its surroundings failed.
    Failed,
}

impl Outcome {
    /// Returns what a run came to; none where nothing says so, since a process works on it or was
    /// killed.
    pub fn of(summary: &Summary) -> Option<Self> {
        Some(match summary.ended.as_ref()? {
            Ended::Finished { .. } => {
                summary.decision.as_ref().map_or(Self::NothingToJudge, Self::of_decision)
            }
            Ended::Paused => Self::Paused,
            Ended::Interrupted { .. } => Self::Interrupted,
            Ended::Failed { .. } => Self::Failed,
        })
    }

    fn of_decision(decision: &Decision) -> Self {
        match decision {
            Decision::Converged { .. } => Self::Converged,
            Decision::ConvergedGatesChanged { .. } => Self::ConvergedGatesChanged,
            Decision::Continue { .. } => Self::Continue,
            Decision::Stalled { .. } => Self::Stalled,
            Decision::Exhausted { .. } => Self::Exhausted,
            Decision::OverBudget { .. } => Self::OverBudget,
            Decision::Deadline { .. } => Self::Deadline,
            Decision::UsageLimit { .. } => Self::UsageLimit,
            Decision::Asked => Self::Asked,
            Decision::BelowThreshold { .. } => Self::BelowThreshold,
            Decision::NothingToJudge => Self::NothingToJudge,
        }
    }

    /// Returns the class, as JSON and `GITHUB_OUTPUT` name it.
    pub fn class(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::ConvergedGatesChanged => "converged_gates_changed",
            Self::Stalled => "stalled",
            Self::Exhausted => "exhausted",
            Self::OverBudget => "over_budget",
            Self::Deadline => "deadline",
            Self::UsageLimit => "usage_limit",
            Self::BelowThreshold => "below_threshold",
            Self::Asked => "asked",
            Self::NothingToJudge => "nothing_to_judge",
            Self::Continue => "continue",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// Returns the class in words: `below threshold`.
    pub fn words(self) -> String {
        self.class().replace('_', " ")
    }

    /// Returns what is said of the run where there is room: `waits for an answer`.
    pub fn headline(self) -> String {
        match self {
            Self::ConvergedGatesChanged => "converged, gates changed".to_owned(),
            Self::Asked => "waits for an answer".to_owned(),
            Self::Deadline => "stopped before its deadline".to_owned(),
            Self::UsageLimit => "waits for the agent's provider".to_owned(),
            Self::Continue => "stopped on the way".to_owned(),
            Self::Paused => "paused after one step".to_owned(),
            Self::Failed => "the factory failed".to_owned(),
            _ => self.words(),
        }
    }

    /// Returns the headline as a title begins.
    pub fn title(self) -> String {
        let headline = self.headline();
        let mut chars = headline.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    }

    /// Returns the reason in a sentence. `decision` is the last one, which has it where the run
    /// was decided.
    pub fn reason(self, decision: Option<&Decision>) -> String {
        match self {
            Self::Paused => "One step was asked for, and it is done.".to_owned(),
            Self::Interrupted => "A signal stopped the run; what was judged is kept.".to_owned(),
            Self::Failed => {
                "The factory or its surroundings failed; nothing is said of the product.".to_owned()
            }
            _ => decision.map_or_else(|| "Nothing was judged.".to_owned(), Decision::reason),
        }
    }

    /// Returns what a reader of a page can do now.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Converged => "Review the branch, and merge it.",
            Self::ConvergedGatesChanged => {
                "Look at what became of the gates first: they may pass because they ask for less. Merge the branch only if the change is right."
            }
            Self::Stalled => {
                "Read the last feedback, change specs or scenarios, and begin a new run."
            }
            Self::Exhausted => "Begin a new run, or one with more turns (`--max-iterations`).",
            Self::OverBudget => {
                "Begin a new run with a larger budget (`--budget`); on the machine of this run, `iterate --resume --budget USD` goes on."
            }
            Self::UsageLimit => {
                "Begin a new run once the provider gives more; on the machine of this run, `iterate --resume` goes on."
            }
            Self::BelowThreshold => "Read the feedback, or begin a run with an agent.",
            Self::Asked => {
                "Answer it in the specs, and begin a new run; on the machine of this run, `iterate --resume --answer TEXT` goes on."
            }
            Self::NothingToJudge => {
                "Write a scenario (`factory lint --explain S002` shows how), or meet the preconditions of those there are."
            }
            Self::Continue | Self::Interrupted | Self::Deadline => {
                "Begin a new run; on the machine of this run, `iterate --resume` goes on."
            }
            Self::Paused => "On the machine of this run, `iterate --resume` goes on.",
            Self::Failed => {
                "Remove the cause, and begin a new run; on the machine of this run, `iterate --resume` goes on."
            }
        }
    }

    /// Returns the state of a run that came to this.
    pub fn state(self) -> State {
        match self {
            Self::Paused => State::Paused,
            Self::Interrupted => State::Interrupted,
            Self::Failed => State::Failed,
            _ => State::Finished,
        }
    }

    /// Returns whether the run converged with the gates as the base has them, so that no person
    /// has to look at these.
    pub fn is_satisfied(self) -> bool {
        self == Self::Converged
    }

    /// Returns whether the run converged, the gates changed or not.
    pub fn has_converged(self) -> bool {
        matches!(self, Self::Converged | Self::ConvergedGatesChanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::{Limit, Shortfall};

    #[test]
    fn an_outcome_is_named_as_its_decision_is() {
        let threshold = 0.8;
        let limit = Limit::Money;
        let shortfall = Shortfall { limit, spent: 2.0, allowed: 1.0, unknown: 0, needed: None };
        for decision in [
            Decision::Converged { score: 1.0, threshold, gates: Some(1) },
            Decision::ConvergedGatesChanged { score: 1.0, threshold },
            Decision::Continue { turns_left: 1 },
            Decision::Stalled { steps: 1 },
            Decision::Exhausted { turns: 1 },
            Decision::OverBudget { shortfall },
            Decision::Deadline { at: 0, left_ms: 0, needed_ms: 0 },
            Decision::UsageLimit { until: None },
            Decision::Asked,
            Decision::BelowThreshold { score: None, threshold },
            Decision::NothingToJudge,
        ] {
            let outcome = Outcome::of_decision(&decision);
            assert_eq!(outcome.class(), decision.class());
            assert_eq!(outcome.is_satisfied(), decision.exit_code() == 0);
            assert_eq!(outcome.reason(Some(&decision)), decision.reason());
            check_json(outcome);
        }
        [Outcome::Paused, Outcome::Interrupted, Outcome::Failed].into_iter().for_each(check_json);
    }

    fn check_json(outcome: Outcome) {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.class());
    }

    #[test]
    fn a_title_begins_with_a_capital() {
        assert_eq!(Outcome::Failed.title(), "The factory failed");
        assert_eq!(Outcome::ConvergedGatesChanged.title(), "Converged, gates changed");
    }
}
