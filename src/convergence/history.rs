//! What has been judged so far, and which of it is the best.

use serde::{Deserialize, Serialize};

use super::budget::{Spending, UsageLimit};
use crate::verdict::Satisfaction;

/// What came of judging a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The candidate's commit; empty for a working tree judged in place.
    pub commit: String,
    /// Its tree; likewise.
    pub tree: String,
    /// Whether every gate passed, and the set-up commands before them.
    pub gates_passed: bool,
    /// How many gates there were; none in a record that an earlier version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<usize>,
    /// Whether files that define gates differ from the base's.
    pub gates_changed: bool,
    /// The satisfaction; none where the scenarios were not judged since a gate failed.
    pub satisfaction: Option<Satisfaction>,
}

impl Judgement {
    /// Returns the score; none where the scenarios were not judged.
    pub fn score(&self) -> Option<f64> {
        self.satisfaction.and_then(|satisfaction| satisfaction.score())
    }
}

/// What is known when a decision is due.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The base's judgement, and then one step a turn, oldest first.
    pub steps: Vec<Step>,
    /// Whether the agent waits for a person's answer.
    pub question_pending: bool,
    /// How many agent turns were taken.
    pub turns: u32,
    /// What was used up.
    pub spending: Spending,
    /// That the agent's provider gives no more for now; none where it does.
    pub usage_limit: Option<UsageLimit>,
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A candidate was judged.
    Judged(Judgement),
    /// A turn brought nothing that could be judged.
    Unchanged,
}

impl History {
    /// Returns the judgements, oldest first.
    pub fn judgements(&self) -> impl DoubleEndedIterator<Item = &Judgement> {
        self.steps.iter().filter_map(|step| match step {
            Step::Judged(judgement) => Some(judgement),
            Step::Unchanged => None,
        })
    }

    /// Returns how many of the last steps in a row were not better than the best before them.
    pub fn steps_without_progress(&self) -> usize {
        steps_without_progress(&self.steps)
    }
}

/// Returns how many of the last steps in a row were not better than the best before them.
pub fn steps_without_progress<'a>(steps: impl IntoIterator<Item = &'a Step>) -> usize {
    let mut best: Option<&Judgement> = None;
    let mut since = 0;
    for step in steps {
        match step {
            Step::Judged(judgement) if best.is_none_or(|best| is_better(judgement, best)) => {
                best = Some(judgement);
                since = 0;
            }
            Step::Judged(_) | Step::Unchanged => since += 1,
        }
    }
    since
}

/// Returns whether `one` is better than `other`: gates that pass first, then the score, then fewer
/// critical scenarios missing. A failed gate is never better.
pub fn is_better(one: &Judgement, other: &Judgement) -> bool {
    if !one.gates_passed {
        return false;
    }
    if !other.gates_passed {
        return true;
    }
    let rank = |judgement: &Judgement| {
        judgement.satisfaction.map_or((-1.0, 0), |s| {
            (s.score().unwrap_or(-1.0), -i64::try_from(s.critical_missing).unwrap_or(i64::MAX))
        })
    };
    let ((score, critical), (other_score, other_critical)) = (rank(one), rank(other));
    // Scores are quotients of sums of weights: equal ones may differ by rounding.
    if (score - other_score).abs() > 1e-9 { score > other_score } else { critical > other_critical }
}

/// Returns the best of the judgements, the earliest of equals; none where nothing was judged.
pub fn best<'a>(judgements: impl Iterator<Item = &'a Judgement>) -> Option<&'a Judgement> {
    judgements.fold(None, |best, judgement| match best {
        Some(best) if !is_better(judgement, best) => Some(best),
        _ => Some(judgement),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A judgement of `passed` of ten scenarios; none means that a gate failed.
    pub(in crate::convergence) fn judged(passed: Option<usize>) -> Judgement {
        Judgement {
            commit: String::new(),
            tree: String::new(),
            gates_passed: passed.is_some(),
            gates: Some(1),
            gates_changed: false,
            satisfaction: passed.map(|passed| Satisfaction {
                total: 10,
                passed,
                failed: 10 - passed,
                weight_satisfied: passed as f64,
                weight_judged: 10.0,
                ..Satisfaction::default()
            }),
        }
    }

    fn history(passed: &[Option<usize>]) -> History {
        History {
            steps: passed.iter().map(|passed| Step::Judged(judged(*passed))).collect(),
            ..History::default()
        }
    }

    #[test]
    fn the_earliest_of_equals_is_the_best() {
        let all = [judged(Some(3)), judged(None), judged(Some(5)), judged(Some(5))];
        let best = best(all.iter()).unwrap();
        assert!(std::ptr::eq(best, &raw const all[2]));
    }

    #[test]
    fn a_failed_gate_is_no_progress() {
        for (passed, without) in [
            (vec![Some(1)], 0),
            (vec![Some(1), None, None], 2),
            (vec![None, Some(0)], 0),
            (vec![None, None], 1),
            (vec![Some(4), Some(6), Some(5), Some(6)], 2),
        ] {
            assert_eq!(history(&passed).steps_without_progress(), without, "{passed:?}");
        }
    }

    #[test]
    fn a_turn_without_changes_is_no_progress() {
        let mut history = history(&[Some(1), Some(2)]);
        history.steps.push(Step::Unchanged);
        assert_eq!(history.steps_without_progress(), 1);
    }
}
