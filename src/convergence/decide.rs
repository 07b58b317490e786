//! The decision: converged, go on, or a truthful reason to stop.

use serde::{Deserialize, Serialize};

use super::budget::{Fund, Limits, Shortfall, may_begin, show_ms};
use super::history::{History, Judgement, Step};
use crate::clock::Timestamp;
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
    /// What may be used up.
    #[serde(default)]
    pub limits: Limits,
    /// When it is to be over, in milliseconds since 1970 began.
    #[serde(default)]
    pub deadline: Option<i64>,
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
        /// How many gates it passed; none in a record that an earlier version wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gates: Option<usize>,
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
    /// What is left of a budget does not pay for another turn.
    OverBudget {
        /// Which budget, and how much is used.
        shortfall: Shortfall,
    },
    /// Another turn and its judgement would not be over before the deadline.
    Deadline {
        /// The deadline, in milliseconds since 1970 began.
        at: i64,
        /// How long it still was, in milliseconds.
        left_ms: u64,
        /// How long a turn and its judgement are likely to take, in milliseconds.
        needed_ms: u64,
    },
    /// The agent's provider gives no more for now.
    UsageLimit {
        /// When it does again, in milliseconds since 1970 began; none where it does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
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
            Self::OverBudget { .. } => "over_budget",
            Self::Deadline { .. } => "deadline",
            Self::UsageLimit { .. } => "usage_limit",
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
            Self::ConvergedGatesChanged { .. }
            | Self::Asked
            | Self::OverBudget { .. }
            | Self::Deadline { .. }
            | Self::UsageLimit { .. }
            | Self::Continue { .. } => 5,
        }
    }

    /// Returns whether the candidate is good enough, its gates changed or not.
    pub fn has_converged(&self) -> bool {
        matches!(self, Self::Converged { .. } | Self::ConvergedGatesChanged { .. })
    }

    /// Returns the reason in a sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Converged { score, threshold, gates } => format!(
                "The score {} reaches the threshold {}{}",
                show_score(*score),
                show_score(*threshold),
                // Gates that do not exist have not passed.
                match gates {
                    Some(0) => "; the product has no gates.",
                    Some(_) | None => ", and every gate passed.",
                }
            ),
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
            Self::OverBudget { shortfall } => shortfall.reason(),
            Self::Deadline { at, left_ms: 0, .. } => format!(
                "The deadline, {}, has passed; `iterate --resume` goes on without one.",
                moment(*at)
            ),
            Self::Deadline { at, left_ms, needed_ms } => format!(
                "The deadline, {}, is in {}, and a turn with its judgement takes about {}; `iterate --resume` goes on without one.",
                moment(*at),
                show_ms(*left_ms),
                show_ms(*needed_ms)
            ),
            Self::UsageLimit { until: Some(until) } => format!(
                "The agent's provider gives no more before {}; `iterate --resume` goes on then.",
                moment(*until)
            ),
            Self::UsageLimit { until: None } => {
                "The agent's provider gives no more for now; `iterate --resume` goes on later."
                    .to_owned()
            }
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

/// Returns a moment to the second, in UTC.
fn moment(unix_millis: i64) -> String {
    Timestamp::from_unix_millis(unix_millis - unix_millis.rem_euclid(1_000))
        .to_string()
        .replace(".000Z", "Z")
}

/// Decides what follows from the history, its last step being the newest.
///
/// A candidate is looked at once: where the last step is no judgement (the turn brought nothing),
/// the candidate before it was not good enough, and still is not. Converging wins over every
/// reason to stop, and a question over the bounds, since an answer may be what is missing. What a
/// person can't lift by waiting or paying goes before what they can.
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
                    Decision::Converged { score, threshold, gates: judgement.gates }
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
    if let Some(limit) = history.usage_limit {
        return Decision::UsageLimit { until: limit.until };
    }
    match may_begin(&rule.limits, rule.deadline, &history.spending) {
        Fund::Yes(_) => Decision::Continue { turns_left: rule.max_iterations - history.turns },
        Fund::No(shortfall) => Decision::OverBudget { shortfall },
        Fund::Late { at, left_ms, needed_ms } => Decision::Deadline { at, left_ms, needed_ms },
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::UsageLimit;
    use super::super::history::tests::judged;
    use super::super::ledger::tests::ledger;
    use super::*;
    use crate::verdict::Satisfaction;

    fn rule() -> StopRule {
        StopRule {
            threshold: 0.8,
            max_iterations: 5,
            stalled_after: 3,
            has_agent: true,
            limits: Limits::default(),
            deadline: None,
        }
    }

    fn history(passed: &[Option<usize>]) -> History {
        History {
            steps: passed.iter().map(|passed| Step::Judged(judged(*passed))).collect(),
            turns: u32::try_from(passed.len()).unwrap() - 1,
            ..History::default()
        }
    }

    fn check(passed: &[Option<usize>], class: &str) {
        assert_eq!(decide(&rule(), &history(passed)).class(), class, "{passed:?}");
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
    fn gates_that_do_not_exist_are_not_said_to_have_passed() {
        for (gates, said) in [
            (Some(0), "The score 0.90 reaches the threshold 0.80; the product has no gates."),
            (Some(2), "The score 0.90 reaches the threshold 0.80, and every gate passed."),
            // A record of an earlier version does not say.
            (None, "The score 0.90 reaches the threshold 0.80, and every gate passed."),
        ] {
            let steps = vec![Step::Judged(Judgement { gates, ..judged(Some(9)) })];
            let decision = decide(&rule(), &History { steps, ..History::default() });
            assert_eq!((decision.class(), decision.exit_code()), ("converged", 0));
            assert_eq!(decision.reason(), said);
        }
    }

    #[test]
    fn changed_gates_ask_for_a_person() {
        let mut changed = judged(Some(10));
        changed.gates_changed = true;
        let history = History { steps: vec![Step::Judged(changed)], ..History::default() };
        let decision = decide(&rule(), &history);
        assert_eq!((decision.class(), decision.exit_code()), ("converged_gates_changed", 5));
    }

    #[test]
    fn a_question_waits_unless_the_candidate_is_good() {
        let mut asked = history(&[Some(3), Some(4)]);
        asked.question_pending = true;
        assert_eq!(decide(&rule(), &asked), Decision::Asked);
        let mut good = history(&[Some(3), Some(9)]);
        good.question_pending = true;
        assert_eq!(decide(&rule(), &good).class(), "converged");
    }

    #[test]
    fn no_scenario_is_nothing_to_judge_whatever_the_threshold() {
        let mut none = judged(Some(0));
        none.satisfaction = Some(Satisfaction::default());
        let history = History { steps: vec![Step::Judged(none)], ..History::default() };
        assert_eq!(decide(&rule(), &history).exit_code(), 4);
    }

    #[test]
    fn a_candidate_is_not_judged_good_after_a_turn_without_changes() {
        let mut history = history(&[Some(3)]);
        history.steps.push(Step::Unchanged);
        history.turns = 1;
        assert_eq!(decide(&rule(), &history).class(), "continue");
    }

    #[test]
    fn without_an_agent_the_verdict_is_the_end() {
        let rule = StopRule { has_agent: false, ..rule() };
        assert_eq!(decide(&rule, &history(&[Some(3)])).exit_code(), 1);
        assert_eq!(decide(&rule, &history(&[Some(9)])).exit_code(), 0);
    }

    /// Checks the decision of a run that has spent 2 dollars in a turn and may spend `money`.
    fn check_spent(money: f64, passed: &[Option<usize>], class: &str) {
        let ledger = ledger(&[Some(2.0)]);
        let mut history = history(passed);
        history.spending.run = ledger.totals();
        history.spending.usual = ledger.usual();
        let limits = Limits { money: Some(money), ..Limits::default() };
        let decision = decide(&StopRule { limits, ..rule() }, &history);
        assert_eq!(decision.class(), class, "{passed:?}");
    }

    #[test]
    fn a_budget_stops_what_it_cannot_pay_and_nothing_else() {
        check_spent(5.0, &[Some(1), Some(2)], "continue");
        check_spent(3.0, &[Some(1), Some(2)], "over_budget");
        check_spent(3.0, &[Some(1), Some(9)], "converged");
        check_spent(3.0, &[Some(3), Some(3), None, Some(2)], "stalled");
    }

    #[test]
    fn a_stop_that_a_person_can_lift_ends_with_5() {
        let mut limited = history(&[Some(1)]);
        limited.usage_limit = Some(UsageLimit { until: Some(1_795_166_100_250) });
        let decision = decide(&rule(), &limited);
        assert_eq!((decision.class(), decision.exit_code()), ("usage_limit", 5));
        assert_eq!(
            decision.reason(),
            "The agent's provider gives no more before 2026-11-20T09:15:00Z; `iterate --resume` goes on then."
        );
        let mut late = history(&[Some(1)]);
        late.spending.now = 60_000;
        let decision = decide(&StopRule { deadline: Some(0), ..rule() }, &late);
        assert_eq!((decision.class(), decision.exit_code()), ("deadline", 5));
        assert!(decision.reason().contains("1970-01-01T00:00:00Z, has passed"));
    }

    #[test]
    fn a_decision_of_an_earlier_version_is_read() {
        let old = r#"{"threshold":0.8,"max_iterations":5,"stalled_after":3,"has_agent":true}"#;
        assert_eq!(serde_json::from_str::<StopRule>(old).unwrap(), rule());
        let converged = r#"{"decision":"converged","score":1.0,"threshold":0.8}"#;
        let decision = Decision::Converged { score: 1.0, threshold: 0.8, gates: None };
        assert_eq!(serde_json::from_str::<Decision>(converged).unwrap(), decision);
        assert_eq!(serde_json::to_string(&decision).unwrap(), converged);
        let judgement = r#"{"commit":"","tree":"","gates_passed":true,"gates_changed":false,"satisfaction":null}"#;
        let judgement: Judgement = serde_json::from_str(judgement).unwrap();
        assert_eq!((judgement.gates_passed, judgement.gates), (true, None));
        let limit = r#"{"decision":"usage_limit"}"#;
        let decision = Decision::UsageLimit { until: None };
        assert_eq!(serde_json::from_str::<Decision>(limit).unwrap(), decision);
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
