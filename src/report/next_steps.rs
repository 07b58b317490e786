//! What a person can do next with a run, as commands that can be pasted.

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::convergence::{Decision, TurnClass};
use crate::event::{Judgement, Summary, TurnDelivery};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStep {
    /// The command.
    pub command: String,
    /// What it is good for.
    pub why: String,
}

/// Returns what comes next, the most likely first; never empty. `active` says that a process works
/// on the run, `newest` that commands need not name it.
pub fn next_steps(summary: &Summary, active: bool, newest: bool) -> Vec<NextStep> {
    let run = if newest { String::new() } else { format!(" {}", summary.run) };
    let step = |command: String, why: &str| NextStep { command, why: why.to_owned() };
    let show = |flags: &str, why: &str| step(format!("factory show{run}{flags}"), why);
    let resume = |flags: &str, why: &str| step(format!("iterate --resume{run}{flags}"), why);
    if active {
        return vec![step("factory status".to_owned(), "it is at work; look again")];
    }
    if summary.started.in_place {
        let found = show(" --feedback", "what the judgement found");
        return match Outcome::of(summary) {
            Some(Outcome::Converged) => vec![found],
            _ => vec![found, step("iterate".to_owned(), "lets the agent work on it")],
        };
    }
    let mut steps = match Outcome::of(summary) {
        None => vec![resume("", "goes on where it was cut off")],
        Some(Outcome::Paused) => vec![resume(" --once", "takes the next step")],
        Some(Outcome::Interrupted) => vec![resume("", "goes on where it was interrupted")],
        Some(Outcome::Failed) => vec![
            resume("", "goes on once the cause is gone, with what it began with"),
            step(
                "iterate".to_owned(),
                "begins anew, with settings and files as they are committed by then",
            ),
        ],
        Some(Outcome::Converged) => vec![],
        Some(Outcome::ConvergedGatesChanged) => {
            vec![show(" --diff", "look at the files that define the gates: the agent changed them")]
        }
        Some(Outcome::Exhausted) => vec![
            show(" --feedback", "what was still missing"),
            resume(
                &format!(" --max-iterations {}", summary.max_iterations.saturating_add(5)),
                "gives it five more turns",
            ),
        ],
        Some(Outcome::OverBudget) => vec![
            resume(&more_budget(summary), "goes on"),
            show("", "what was spent, and what came of it"),
        ],
        Some(Outcome::Deadline) => vec![resume("", "goes on without a deadline")],
        Some(Outcome::UsageLimit) => {
            vec![resume("", "goes on once the agent's provider gives more")]
        }
        Some(Outcome::Stalled) if lost_turns(summary) => vec![
            show("", "what of its turns was not taken, and what to do about it"),
            show(" --feedback", "what it could not get past"),
            step("iterate".to_owned(), "begins a new run"),
        ],
        // Scenarios were never judged: no spec is to be blamed here either.
        Some(Outcome::Stalled) if summary.best().is_some_and(|(_, best)| !best.gates_passed) => {
            vec![
                show(" --feedback", "which gate it could not get past: it failed at the base too"),
                step("iterate".to_owned(), "begins a new run"),
            ]
        }
        Some(Outcome::Stalled) => vec![
            show(" --feedback", "what it could not get past; make specs or scenarios clearer"),
            step("iterate".to_owned(), "begins a new run"),
        ],
        Some(Outcome::Asked) => vec![
            show(" --question", "what the agent wants to know"),
            resume(" --answer \"...\"", "answers, and goes on"),
        ],
        Some(Outcome::NothingToJudge) => {
            vec![step("factory lint".to_owned(), "why no scenario could be judged")]
        }
        Some(Outcome::BelowThreshold | Outcome::Continue) => vec![
            show(" --feedback", "what is missing"),
            step("iterate".to_owned(), "lets the agent work on it"),
        ],
    };
    if let Some((iteration, _)) = better_than_base(summary) {
        let branch = branch_of(summary).unwrap_or("your branch");
        let why = format!("brings the best candidate, of iteration {iteration}, to {branch}");
        steps.push(step(format!("factory apply{run}"), &why));
    }
    if steps.is_empty() {
        steps.push(show("", "what was judged: nothing had to be changed"));
    }
    steps
}

/// Whether of a turn after the best candidate nothing was taken though the agent had changed
/// something, or had not ended well: then no spec is to be blamed.
fn lost_turns(summary: &Summary) -> bool {
    let first = summary.started.first_iteration;
    let best = summary.best().map_or(first, |(iteration, _)| iteration);
    let late = summary.turns.iter().filter(|turn| first.saturating_add(turn.turn) > best);
    late.filter_map(|turn| Some((turn, turn.delivery.as_ref()?))).any(|(turn, delivery)| {
        match delivery {
            TurnDelivery::Accepted { .. } => false,
            TurnDelivery::Refused { .. } => true,
            TurnDelivery::Unchanged { dropped, .. } => {
                let class = turn.class.as_deref().and_then(TurnClass::parse);
                *dropped > 0 || !class.is_some_and(TurnClass::delivers)
            }
        }
    })
}

/// Returns the flags that give a run more of the budget that stopped it; empty where none does.
fn more_budget(summary: &Summary) -> String {
    let Some(Decision::OverBudget { shortfall }) = &summary.decision else { return String::new() };
    let command = shortfall.command();
    command.strip_prefix("iterate --resume").unwrap_or_default().to_owned()
}

/// Returns the best candidate with its iteration where it is another than the base, which it then
/// is better than.
pub fn better_than_base(summary: &Summary) -> Option<(u32, &Judgement)> {
    summary.best().filter(|(iteration, _)| *iteration != summary.started.first_iteration)
}

/// Returns the short name of the branch that the run began from; none on a detached head.
pub fn branch_of(summary: &Summary) -> Option<&str> {
    let name = summary.started.base_branch.as_deref()?;
    Some(name.strip_prefix("refs/heads/").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestRun, eventful};
    use super::*;
    use crate::convergence::{Limit, Shortfall};
    use crate::event::RunEvent;

    fn check(run: &TestRun, active: bool, expected: &[&str]) {
        let steps = next_steps(&run.summary(), active, true);
        let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(commands, expected);
    }

    fn judged() -> TestRun {
        let mut run = TestRun::begin("20261120-091500-0001");
        run.judged("aa", &[("a", "unsatisfied")]);
        run
    }

    #[test]
    fn a_converged_run_is_applied() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        check(&run, false, &["factory apply"]);
        let step = &next_steps(&run.summary(), false, false)[0];
        assert_eq!(step.command, "factory apply 20261120-091500-0001");
        assert_eq!(step.why, "brings the best candidate, of iteration 4, to main");
    }

    #[test]
    fn a_base_that_was_good_enough_needs_no_apply() {
        let mut run = TestRun::begin("20261120-091500-0001");
        run.judged("aa", &[("a", "satisfied")]);
        run.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
        check(&run, false, &["factory show"]);
    }

    #[test]
    fn what_was_cut_off_goes_on() {
        let mut run = judged();
        check(&run, false, &["iterate --resume"]);
        check(&run, true, &["factory status"]);
        run.event(RunEvent::RunInterrupted { exit: 130 });
        check(&run, false, &["iterate --resume"]);
    }

    #[test]
    fn every_end_has_a_way_on() {
        let threshold = 0.8;
        let limit = Limit::Money;
        let shortfall =
            Shortfall { limit, spent: 4.5, allowed: 5.0, unknown: 0, needed: Some(1.0) };
        for (decision, expected) in [
            (
                Decision::Exhausted { turns: 5 },
                &["factory show --feedback", "iterate --resume --max-iterations 10"][..],
            ),
            (Decision::OverBudget { shortfall }, &["iterate --resume --budget 10", "factory show"]),
            (Decision::Deadline { at: 0, left_ms: 0, needed_ms: 0 }, &["iterate --resume"]),
            (Decision::UsageLimit { until: None }, &["iterate --resume"]),
            (Decision::Stalled { steps: 3 }, &["factory show --feedback", "iterate"]),
            (Decision::Asked, &["factory show --question", "iterate --resume --answer \"...\""]),
            (
                Decision::BelowThreshold { score: None, threshold },
                &["factory show --feedback", "iterate"],
            ),
            (Decision::NothingToJudge, &["factory lint"]),
            (Decision::ConvergedGatesChanged { score: 1.0, threshold }, &["factory show --diff"]),
        ] {
            let mut run = judged();
            run.finished(decision);
            check(&run, false, expected);
        }
    }

    #[test]
    fn a_run_whose_turns_were_not_taken_blames_no_spec() {
        let mut run = judged();
        run.turn("done").refused("contaminated", "Why.").finished(Decision::Stalled { steps: 1 });
        check(&run, false, &["factory show", "factory show --feedback", "iterate"]);
        let steps = next_steps(&run.summary(), false, true);
        assert!(steps.iter().all(|step| !step.why.contains("specs")), "{steps:?}");
    }

    #[test]
    fn a_run_that_no_candidate_passed_the_gates_of_blames_the_gate() {
        let mut run = TestRun::begin("20261120-091500-0001");
        run.closed("aa", None, false);
        run.turn("done").accepted("bb", &["x"], &[]).closed("bb", None, false);
        run.finished(Decision::Stalled { steps: 1 });
        check(&run, false, &["factory show --feedback", "iterate"]);
        let why = &next_steps(&run.summary(), false, true)[0].why;
        assert_eq!(why, "which gate it could not get past: it failed at the base too");
    }

    #[test]
    fn a_better_candidate_of_a_stalled_run_can_be_had() {
        let mut run = judged();
        run.turn("done").accepted("bb", &["x"], &[]).judged("bb", &[("a", "satisfied")]);
        run.finished(Decision::Stalled { steps: 3 });
        check(&run, false, &["factory show --feedback", "iterate", "factory apply"]);
    }

    #[test]
    fn a_judgement_in_place_has_nothing_to_apply() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = TestRun::begin_at(dir.path(), "r", |started| started.in_place = true);
        run.judged("", &[("a", "satisfied")]);
        check(&run, false, &["factory show --feedback", "iterate"]);
    }
}
