//! What a summary leaves out and a person asks for: one fold over the whole journal, that keeps
//! for each iteration and turn where its text is.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{BlobRef, Envelope, RunEvent};
use crate::id::ScenarioId;

/// What the journal holds beyond the summary.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Each iteration's judgement.
    pub iterations: BTreeMap<u32, JudgementDetails>,
    /// Each turn's texts.
    pub turns: BTreeMap<u32, TurnDetails>,
    /// Each scenario's verdicts, oldest first.
    pub scenarios: BTreeMap<ScenarioId, Vec<ScenarioDetails>>,
    /// The agent's questions with their answers, oldest first.
    pub questions: Vec<QuestionDetails>,
}

/// What came of one judgement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JudgementDetails {
    /// The results of the gates that failed, in order; quality checks are none of them.
    pub failed_gates: Vec<BlobRef>,
    /// The paths of changed gate definitions, a JSON list.
    pub gates_changed: Option<BlobRef>,
    /// Scenarios that were satisfied in the last complete judgement and no longer are.
    pub regressions: Vec<ScenarioId>,
    /// Scenarios that are neither satisfied nor skipped.
    pub unsatisfied: Vec<ScenarioId>,
}

/// The texts of one turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TurnDetails {
    /// The prompt of the last attempt.
    pub prompt: Option<BlobRef>,
    /// The last attempt.
    pub attempt: u32,
    /// The agent's last words; none where the backend can't tell.
    pub says: Option<BlobRef>,
    /// The receipt; none before the turn has ended.
    pub receipt: Option<BlobRef>,
    /// Attempts that were cut short, oldest first.
    pub interrupted: Vec<InterruptedAttempt>,
    /// Files kept from the agent since they hold an evaluation: a JSON list of paths.
    pub withheld: Option<BlobRef>,
}

/// An attempt that was cut short.
#[derive(Debug, Clone, PartialEq)]
pub struct InterruptedAttempt {
    /// Its number.
    pub attempt: u32,
    /// How it ended; none where its process was killed, its cost unknown.
    pub ended: Option<String>,
    /// What it had changed, as a patch.
    pub diff: Option<BlobRef>,
}

/// One verdict of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioDetails {
    /// The iteration.
    pub iteration: u32,
    /// The verdict's word.
    pub verdict: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The [`crate::verdict::Judged`] as JSON.
    pub result: BlobRef,
}

/// A question of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct QuestionDetails {
    /// The turn that left it.
    pub turn: u32,
    /// The question.
    pub question: BlobRef,
    /// The answer; none while it waits for one.
    pub answer: Option<BlobRef>,
}

impl Details {
    /// Folds a whole journal.
    pub fn of(events: &[Envelope]) -> Self {
        let mut details = Self::default();
        let mut verdicts: BTreeMap<ScenarioId, String> = BTreeMap::new();
        let mut satisfied: BTreeSet<ScenarioId> = BTreeSet::new();
        // A check that the agent is shown comes before the turn that it belongs to.
        let mut withheld = None;
        for envelope in events {
            let iteration = envelope.iteration.unwrap_or_default();
            match &envelope.event {
                RunEvent::GateFinished { passed: false, blocking: true, result, .. } => {
                    details.iteration(iteration).failed_gates.push(result.clone());
                }
                RunEvent::PrepareFinished { passed: false, output: Some(output), .. } => {
                    details.iteration(iteration).failed_gates.push(output.clone());
                }
                RunEvent::GatesFlagged { paths, .. } => {
                    details.iteration(iteration).gates_changed = Some(paths.clone());
                }
                RunEvent::ScenarioJudged { scenario, verdict, ms, result } => {
                    verdicts.insert(scenario.clone(), verdict.clone());
                    details.scenarios.entry(scenario.clone()).or_default().push(ScenarioDetails {
                        iteration,
                        verdict: verdict.clone(),
                        ms: *ms,
                        result: result.clone(),
                    });
                }
                RunEvent::CandidateJudged(_) => {
                    let judged = std::mem::take(&mut verdicts);
                    let with = |wanted: &[&str]| -> Vec<ScenarioId> {
                        let is_wanted = |verdict: &str| wanted.contains(&verdict);
                        let found = judged.iter().filter(|(_, verdict)| is_wanted(verdict));
                        found.map(|(id, _)| id.clone()).collect()
                    };
                    let unsatisfied = with(&["unsatisfied", "undecided"]);
                    let entry = details.iteration(iteration);
                    entry.regressions =
                        unsatisfied.iter().filter(|id| satisfied.contains(id)).cloned().collect();
                    entry.unsatisfied = unsatisfied;
                    if !judged.is_empty() {
                        satisfied = with(&["satisfied"]).into_iter().collect();
                    }
                }
                RunEvent::WorkspaceChecked { paths, .. } => withheld = paths.clone(),
                RunEvent::ReceiptWritten { turn, receipt, .. } => {
                    details.turn(*turn).receipt = Some(receipt.clone());
                }
                RunEvent::AgentStarted { turn, attempt, prompt, .. } => {
                    let entry = details.turn(*turn);
                    entry.prompt = Some(prompt.clone());
                    entry.attempt = *attempt;
                    entry.withheld = withheld.take();
                }
                RunEvent::AgentFinished { turn, says, .. } => {
                    details.turn(*turn).says = says.clone();
                }
                RunEvent::AgentInterrupted { turn, attempt, diff, .. } => {
                    let cut =
                        InterruptedAttempt { attempt: *attempt, ended: None, diff: diff.clone() };
                    details.turn(*turn).interrupted.push(cut);
                }
                RunEvent::AttemptShelved { turn, attempt, class, diff } => {
                    let cut = InterruptedAttempt {
                        attempt: *attempt,
                        ended: Some(class.clone()),
                        diff: Some(diff.clone()),
                    };
                    details.turn(*turn).interrupted.push(cut);
                }
                RunEvent::QuestionAsked { turn, question } => {
                    let question = question.clone();
                    details.questions.push(QuestionDetails { turn: *turn, question, answer: None });
                }
                RunEvent::QuestionAnswered { answer } => {
                    if let Some(last) = details.questions.last_mut() {
                        last.answer = Some(answer.clone());
                    }
                }
                RunEvent::RunStarted(_)
                | RunEvent::RunResumed { .. }
                | RunEvent::RunPaused {}
                | RunEvent::NodeStarted { .. }
                | RunEvent::NodeFinished { .. }
                | RunEvent::EdgeTaken { .. }
                | RunEvent::PrepareFinished { .. }
                | RunEvent::GateStarted { .. }
                | RunEvent::GateFinished { .. }
                | RunEvent::ScenarioStarted { .. }
                | RunEvent::DecisionMade { .. }
                | RunEvent::FeedbackWritten { .. }
                | RunEvent::ReceiptBegun { .. }
                | RunEvent::TurnPostponed { .. }
                | RunEvent::DeliveryAccepted { .. }
                | RunEvent::DeliveryUnchanged { .. }
                | RunEvent::DeliveryRefused { .. }
                | RunEvent::RunInterrupted { .. }
                | RunEvent::RunFailed { .. }
                | RunEvent::RunFinished { .. } => {}
            }
        }
        details
    }

    fn iteration(&mut self, iteration: u32) -> &mut JudgementDetails {
        self.iterations.entry(iteration).or_default()
    }

    fn turn(&mut self, turn: u32) -> &mut TurnDetails {
        self.turns.entry(turn).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestRun, eventful};
    use super::*;
    use crate::event::Label;
    use crate::journal::read_summary;

    fn details(run: &TestRun) -> Details {
        Details::of(&read_summary(&run.dir(), false).unwrap().1)
    }

    fn regressions(details: &Details, iteration: u32) -> Vec<&str> {
        details.iterations[&iteration].regressions.iter().map(ScenarioId::as_str).collect()
    }

    #[test]
    fn what_was_satisfied_and_is_no_longer_is_a_regression() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        let details = details(&run);
        assert_eq!(regressions(&details, 0), [""; 0]);
        assert_eq!(regressions(&details, 1), ["a"]);
        assert_eq!(regressions(&details, 4), [""; 0]);
        assert_eq!(details.iterations[&1].unsatisfied.len(), 2);
        assert_eq!(details.scenarios[&ScenarioId::parse("a").unwrap()].len(), 3);
    }

    #[test]
    fn a_failed_gate_in_between_forgets_no_regression() {
        let mut run = TestRun::begin("20261120-091500-0001");
        run.judged("aa", &[("a", "satisfied")]).turn("done").accepted("bb", &["x"], &[]);
        run.closed("bb", None, false).turn("done").accepted("cc", &["x"], &[]);
        run.judged("cc", &[("a", "unsatisfied")]);
        assert_eq!(regressions(&details(&run), 2), ["a"]);
    }

    #[test]
    fn attempts_that_were_cut_short_keep_their_patch() {
        let mut run = TestRun::begin("20261120-091500-0001");
        let prompt = run.put(Label::Public, "p");
        let diff = Some(run.put(Label::Internal, "patch"));
        run.event(RunEvent::AgentStarted { turn: 1, attempt: 1, prompt, backend: None });
        run.event(RunEvent::AgentInterrupted {
            turn: 1,
            attempt: 1,
            ended_processes: 0,
            exit: None,
            diff: diff.clone(),
        });
        run.turn("done");
        let turn = &details(&run).turns[&1];
        assert_eq!(turn.interrupted, [InterruptedAttempt { attempt: 1, ended: None, diff }]);
        assert!(turn.says.is_some());
    }

    #[test]
    fn an_answer_belongs_to_the_last_question() {
        let mut run = TestRun::begin("20261120-091500-0001");
        let (question, answer) = (run.put(Label::Internal, "?"), run.put(Label::Internal, "!"));
        run.event(RunEvent::QuestionAsked { turn: 1, question });
        assert_eq!(details(&run).questions[0].answer, None);
        run.event(RunEvent::QuestionAnswered { answer: answer.clone() });
        assert_eq!(details(&run).questions[0].answer, Some(answer));
    }
}
