//! The score: the weight satisfied over the weight not skipped.

use serde::{Deserialize, Serialize};

use super::{Judged, Verdict};

/// How satisfied the scenarios are, with the parts that the score is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Satisfaction {
    /// Scenarios in all.
    pub total: usize,
    /// Those that are satisfied.
    pub passed: usize,
    /// Those that are not.
    pub failed: usize,
    /// Those whose precondition is unmet.
    pub skipped: usize,
    /// Those that the factory could not decide.
    pub undecided: usize,
    /// The weight of those satisfied.
    pub weight_satisfied: f64,
    /// The weight of all but the skipped.
    pub weight_judged: f64,
    /// Those among the undecided that the judging did not come to.
    #[serde(default)]
    pub not_run: usize,
    /// Those of which some attempts passed and others did not, whatever the verdict.
    #[serde(default)]
    pub flaky: usize,
    /// Critical scenarios that are neither satisfied nor skipped.
    pub critical_missing: usize,
}

impl Satisfaction {
    /// Returns the score from 0 to 1; none where nothing was judged.
    pub fn score(&self) -> Option<f64> {
        (self.weight_judged > 0.0 && self.passed + self.failed > 0)
            .then(|| self.weight_satisfied / self.weight_judged)
    }

    /// Counts one more scenario in.
    pub fn add(&mut self, one: &Judged) {
        self.total += 1;
        self.not_run += usize::from(one.is_not_run());
        self.flaky += usize::from(one.is_flaky());
        match one.verdict {
            Verdict::Satisfied => {
                self.passed += 1;
                self.weight_satisfied += one.weight;
            }
            Verdict::Unsatisfied { .. } => self.failed += 1,
            Verdict::Undecided { .. } => self.undecided += 1,
            Verdict::Skipped { .. } => {
                self.skipped += 1;
                return;
            }
        }
        self.weight_judged += one.weight;
        self.critical_missing += usize::from(one.is_critical_missing());
    }

    /// Returns whether scenarios were not run, so that nothing final can be said.
    pub fn is_partial(&self) -> bool {
        self.not_run > 0
    }

    /// Returns whether the score reaches `threshold` and nothing critical is missing; never where
    /// scenarios were not run.
    ///
    /// The comparison allows for the rounding of sums of weights, one part in a thousand million.
    pub fn reaches(&self, threshold: f64) -> bool {
        !self.is_partial()
            && self.critical_missing == 0
            && self.score().is_some_and(|score| score + 1e-9 >= threshold)
    }
}

/// Returns a score or threshold as people read it, with two decimals, cut and not rounded, so that
/// none reads as the threshold that it misses; `-` where there is none.
pub fn show_score(score: impl Into<Option<f64>>) -> String {
    score.into().map_or_else(
        || "-".to_owned(),
        |score| format!("{:.2}", (score * 100.0 + 1e-6).floor() / 100.0),
    )
}

/// Adds up what was judged.
pub fn satisfaction(judged: &[Judged]) -> Satisfaction {
    let mut sum = Satisfaction::default();
    judged.iter().for_each(|one| sum.add(one));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ScenarioId;
    use crate::scenario::Visibility;
    use crate::verdict::{Miss, Obstacle};

    fn judged(weight: f64, critical: bool, verdict: Verdict) -> Judged {
        Judged {
            id: ScenarioId::parse("a").unwrap(),
            name: String::new(),
            file: String::new(),
            category: String::new(),
            weight,
            critical,
            visibility: Visibility::Holdout,
            verdict,
            attempts: Vec::new(),
            evidence: Vec::new(),
        }
    }

    fn failed() -> Verdict {
        Verdict::Unsatisfied { because: vec![Miss::Exit { code: 1 }] }
    }

    #[test]
    fn skipped_scenarios_count_neither_for_nor_against() {
        let sum = satisfaction(&[
            judged(1.0, false, Verdict::Satisfied),
            judged(5.0, false, Verdict::Skipped { unmet: "gpu".into() }),
        ]);
        assert_eq!(sum.score(), Some(1.0));
    }

    #[test]
    fn a_score_that_misses_the_threshold_does_not_read_as_the_threshold() {
        assert_eq!(show_score(0.799_9), "0.79");
        assert_eq!(show_score(0.8), "0.80");
        assert_eq!(show_score(0.57), "0.57");
        assert_eq!(show_score(0.29), "0.29");
        assert_eq!(show_score(1.0), "1.00");
        assert_eq!(show_score(None), "-");
    }

    #[test]
    fn undecided_scenarios_keep_the_score_down() {
        let undecided = Verdict::Undecided { why: Obstacle::NotRun };
        let sum =
            satisfaction(&[judged(1.0, false, Verdict::Satisfied), judged(1.0, false, undecided)]);
        assert_eq!(sum.score(), Some(0.5));
    }

    #[test]
    fn nothing_judged_has_no_score_and_reaches_nothing() {
        let undecided = Verdict::Undecided { why: Obstacle::NotRun };
        for judged in [vec![], vec![judged(1.0, false, undecided)]] {
            let sum = satisfaction(&judged);
            assert_eq!(sum.score(), None);
            assert!(!sum.reaches(0.0));
        }
    }

    #[test]
    fn a_critical_scenario_that_fails_keeps_any_threshold_away() {
        let sum =
            satisfaction(&[judged(9.0, false, Verdict::Satisfied), judged(1.0, true, failed())]);
        assert!(!sum.reaches(0.5));
    }

    #[test]
    fn a_partial_judgement_reaches_nothing() {
        let mut all = vec![judged(1.0, false, Verdict::Satisfied); 9];
        assert!(satisfaction(&all).reaches(0.8));
        all.push(judged(1.0, false, Verdict::Undecided { why: Obstacle::Deferred }));
        let sum = satisfaction(&all);
        assert_eq!((sum.score(), sum.reaches(0.8)), (Some(0.9), false));
    }

    #[test]
    fn tenths_add_up_to_the_threshold() {
        let mut all = vec![judged(0.1, false, Verdict::Satisfied); 8];
        all.extend([judged(0.1, false, failed()), judged(0.1, false, failed())]);
        assert!(satisfaction(&all).reaches(0.8));
    }
}
