//! The decision: converged, go on, or a truthful reason to stop.

use serde::{Deserialize, Serialize};

use super::history::{History, Judgement, Step};
use crate::text::plural;
use crate::verdict::show_score;

/// When a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StopRule {
    /// The score that converges.
    pub threshold: f64,
    /// How many agent turns may be taken.
    pub max_iterations: u32,
    /// How many steps in a row without progress are a stall.
    pub stalled_after: u32,
    /// Whether there is an agent to go on with.
    pub has_agent: bool,
}

/// What follows from the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// The candidate is good enough.
    Converged {
        /// Its score.
        score: f64,
        /// The score asked for.
        threshold: f64,
    },
    /// It would be, but the agent changed what defines a gate: a person must look.
    ConvergedGatesChanged {
        /// Its score.
        score: f64,
        /// The score asked for.
        threshold: f64,
    },
    /// Another turn.
    Continue {
        /// How many turns may still be taken.
        turns_left: u32,
    },
    /// Too many steps in a row were no better.
    Stalled {
        /// How many.
        steps: usize,
    },
    /// All turns are taken.
    Exhausted {
        /// How many there were.
        turns: u32,
    },
    /// The agent has a question for a person.
    Asked,
    /// Judged and not good enough, and there is no agent to go on with.
    BelowThreshold {
        /// The score; none where a gate failed.
        score: Option<f64>,
        /// The score asked for.
        threshold: f64,
    },
    /// There is no scenario that could be judged.
    NothingToJudge,
}

impl Decision {
    /// Returns the class, as events and `GITHUB_OUTPUT` name it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Converged { .. } => "converged",
            Self::ConvergedGatesChanged { .. } => "converged_gates_changed",
            Self::Continue { .. } => "continue",
            Self::Stalled { .. } => "stalled",
            Self::Exhausted { .. } => "exhausted",
            Self::Asked => "asked",
            Self::BelowThreshold { .. } => "below_threshold",
            Self::NothingToJudge => "nothing_to_judge",
        }
    }

    /// Returns the exit code of a run that ends with this decision; a run that could go on counts
    /// as stopped and resumable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Converged { .. } => 0,
            Self::Stalled { .. } | Self::Exhausted { .. } | Self::BelowThreshold { .. } => 1,
            Self::NothingToJudge => 4,
            Self::ConvergedGatesChanged { .. } | Self::Asked | Self::Continue { .. } => 5,
        }
    }

    /// Returns whether the candidate is good enough, its gates changed or not.
    pub fn has_converged(&self) -> bool {
        matches!(self, Self::Converged { .. } | Self::ConvergedGatesChanged { .. })
    }

    /// Returns the reason in a sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Converged { score, threshold } => {
                format!(
                    "The score {} reaches the threshold {}, and every gate passed.",
                    show_score(*score),
                    show_score(*threshold)
                )
            }
            Self::ConvergedGatesChanged { score, threshold } => format!(
                "The score {} reaches the threshold {}, but the agent changed files that define the gates; a person must look at them.",
                show_score(*score),
                show_score(*threshold)
            ),
            Self::Continue { turns_left } => {
                format!("Not there yet; {} left.", plural(*turns_left as usize, "agent turn"))
            }
            Self::Stalled { steps: 1 } => {
                "The last iteration was no better than the best before it.".to_owned()
            }
            Self::Stalled { steps } => format!(
                "The last {} were no better than the best before them.",
                plural(*steps, "iteration")
            ),
            Self::Exhausted { turns } => format!(
                "{} taken, and the threshold is not reached.",
                match turns {
                    0 => "No agent turn may be".to_owned(),
                    1 => "The one agent turn is".to_owned(),
                    _ => format!("All {turns} agent turns are"),
                }
            ),
            Self::Asked => "The agent asks a person.".to_owned(),
            // The score alone does not converge: nothing critical may be missing.
            Self::BelowThreshold { score: Some(score), threshold }
                if score + 1e-9 >= *threshold =>
            {
                format!(
                    "The score {} reaches the threshold {}, but a critical scenario is not satisfied.",
                    show_score(*score),
                    show_score(*threshold)
                )
            }
            Self::BelowThreshold { score: Some(score), threshold } => format!(
                "The score {} is below the threshold {}.",
                show_score(*score),
                show_score(*threshold)
            ),
            Self::BelowThreshold { score: None, .. } => "A gate failed.".to_owned(),
            Self::NothingToJudge => "There is no scenario that could be judged.".to_owned(),
        }
    }
}

/// Decides what follows from the history, its last step being the newest.
///
/// A candidate is looked at once: where the last step is no judgement (the turn brought nothing),
/// the candidate before it was not good enough, and still is not. Converging wins over every
/// reason to stop, and a question over the bounds, since an answer may be what is missing.
pub fn decide(rule: &StopRule, history: &History) -> Decision {
    let threshold = rule.threshold;
    if let Some(Step::Judged(judgement)) = history.steps.last()
        && judgement.gates_passed
    {
        match judgement.satisfaction {
            Some(satisfaction) if satisfaction.reaches(threshold) => {
                let score = satisfaction.score().unwrap_or_default();
                return if judgement.gates_changed {
                    Decision::ConvergedGatesChanged { score, threshold }
                } else {
                    Decision::Converged { score, threshold }
                };
            }
            Some(satisfaction) if satisfaction.total == satisfaction.skipped => {
                return Decision::NothingToJudge;
            }
            _ => {}
        }
    }
    if history.question_pending {
        return Decision::Asked;
    }
    if !rule.has_agent {
        let last = history.judgements().next_back();
        return Decision::BelowThreshold { score: last.and_then(Judgement::score), threshold };
    }
    if history.turns >= rule.max_iterations {
        return Decision::Exhausted { turns: history.turns };
    }
    let steps = history.steps_without_progress();
    if steps >= rule.stalled_after as usize {
        return Decision::Stalled { steps };
    }
    Decision::Continue { turns_left: rule.max_iterations - history.turns }
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::judged;
    use super::*;
    use crate::verdict::Satisfaction;

    const RULE: StopRule =
        StopRule { threshold: 0.8, max_iterations: 5, stalled_after: 3, has_agent: true };

    fn history(passed: &[Option<usize>]) -> History {
        History {
            steps: passed.iter().map(|passed| Step::Judged(judged(*passed))).collect(),
            question_pending: false,
            turns: u32::try_from(passed.len()).unwrap() - 1,
        }
    }

    fn check(passed: &[Option<usize>], class: &str) {
        assert_eq!(decide(&RULE, &history(passed)).class(), class, "{passed:?}");
    }

    #[test]
    fn the_threshold_itself_converges() {
        check(&[Some(8)], "converged");
        check(&[Some(7)], "continue");
    }

    #[test]
    fn success_on_the_last_turn_is_success() {
        check(&[Some(1), Some(2), Some(3), Some(4), Some(5), Some(9)], "converged");
        check(&[Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)], "exhausted");
    }

    #[test]
    fn an_earlier_good_candidate_does_not_make_the_last_one_good() {
        check(&[Some(1), Some(7), None], "continue");
    }

    #[test]
    fn three_iterations_without_progress_are_a_stall() {
        check(&[Some(3), Some(3), None], "continue");
        check(&[Some(3), Some(3), None, Some(2)], "stalled");
    }

    #[test]
    fn a_failed_gate_never_converges() {
        check(&[None], "continue");
    }

    #[test]
    fn changed_gates_ask_for_a_person() {
        let mut changed = judged(Some(10));
        changed.gates_changed = true;
        let history = History { steps: vec![Step::Judged(changed)], ..History::default() };
        let decision = decide(&RULE, &history);
        assert_eq!((decision.class(), decision.exit_code()), ("converged_gates_changed", 5));
    }

    #[test]
    fn a_question_waits_unless_the_candidate_is_good() {
        let mut asked = history(&[Some(3), Some(4)]);
        asked.question_pending = true;
        assert_eq!(decide(&RULE, &asked), Decision::Asked);
        let mut good = history(&[Some(3), Some(9)]);
        good.question_pending = true;
        assert_eq!(decide(&RULE, &good).class(), "converged");
    }

    #[test]
    fn no_scenario_is_nothing_to_judge_whatever_the_threshold() {
        let mut none = judged(Some(0));
        none.satisfaction = Some(Satisfaction::default());
        let history = History { steps: vec![Step::Judged(none)], ..History::default() };
        assert_eq!(decide(&RULE, &history).exit_code(), 4);
    }

    #[test]
    fn a_candidate_is_not_judged_good_after_a_turn_without_changes() {
        let mut history = history(&[Some(3)]);
        history.steps.push(Step::Unchanged);
        history.turns = 1;
        assert_eq!(decide(&RULE, &history).class(), "continue");
    }

    #[test]
    fn without_an_agent_the_verdict_is_the_end() {
        let rule = StopRule { has_agent: false, ..RULE };
        assert_eq!(decide(&rule, &history(&[Some(3)])).exit_code(), 1);
        assert_eq!(decide(&rule, &history(&[Some(9)])).exit_code(), 0);
    }

    #[test]
    fn a_score_below_the_threshold_never_reads_as_one_that_reaches_it() {
        let reason = |score| {
            let threshold = 0.8;
            Decision::BelowThreshold { score: Some(score), threshold }.reason()
        };
        assert_eq!(reason(0.799), "The score 0.79 is below the threshold 0.80.");
        assert!(reason(0.9).ends_with("but a critical scenario is not satisfied."));
    }
}
