//! The fold: a run's state is what its events add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{BlobRef, Envelope, RunEvent, RunStarted, Spent, Usage};
use crate::clock::Timestamp;
use crate::convergence::{
    Decision, History, Judgement, PriceTable, Spending, Step, StopRule, Totals, TurnClass,
    UsageLimit, best, steps_without_progress,
};
use crate::id::{RunId, ScenarioId};
use crate::pipeline::Walk;

const DONE: &str = "done";

/// A run as far as its events tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The run.
    pub run: RunId,
    /// Its settings.
    pub started: RunStarted,
    /// When it began.
    pub started_at: Timestamp,
    /// When its last event was written.
    pub last_at: Timestamp,
    /// How many events there are.
    pub events: u64,
    /// How many agent turns the run may take, a later change included.
    pub max_iterations: u32,
    /// What was used up, and what limits it.
    pub spent: Spent,
    /// Where the walk stands.
    pub walk: Walk,
    /// Judgements and turns without one, oldest first, each with its iteration.
    pub steps: Vec<(u32, Step)>,
    /// The agent's turns, oldest first; the last one may still be going on.
    pub turns: Vec<Turn>,
    /// The last decision; none before the first.
    pub decision: Option<Decision>,
    /// The feedback of each iteration.
    pub feedback: BTreeMap<u32, BlobRef>,
    /// The commit and tree of the candidate that is, or was last, judged.
    pub candidate: (String, String),
    /// The last commit on the run's branch.
    pub tip: String,
    /// What is known of the candidate.
    pub visit: Visit,
    /// Satisfied scenarios of the last complete judgement before the present one.
    pub satisfied_before: BTreeSet<ScenarioId>,
    /// Scenarios that had a verdict other than skipped in any complete judgement.
    pub ever_judged: BTreeSet<ScenarioId>,
    /// The question that waits for an answer.
    pub question: Option<BlobRef>,
    /// The last question that was answered, and the answer, until a turn has had them.
    pub answered: Option<(BlobRef, BlobRef)>,
    /// Which agent takes the turns, counted in `agent.fallback` from 1; 0 is the first.
    pub agent: usize,
    /// The usage limit that stops the run, and when it is lifted if that is known.
    pub limited: Option<Option<Timestamp>>,
    /// How the run ended; none while it goes on, and after a kill.
    pub ended: Option<Ended>,
}

/// What one judgement has found so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Visit {
    /// Whether `candidate.judged` has closed it.
    pub closed: bool,
    /// Whether a set-up command failed for the candidate.
    pub prepare_failed: bool,
    /// Set-up commands whose result is known, with their output.
    pub prepared: BTreeMap<usize, (bool, Option<BlobRef>)>,
    /// Gates and quality checks by index: passed, blocking, result.
    pub gates: BTreeMap<usize, (bool, bool, BlobRef)>,
    /// The changed definition files.
    pub flagged: Option<(usize, BlobRef)>,
    /// Scenarios: the verdict's word, the result.
    pub scenarios: BTreeMap<ScenarioId, (String, BlobRef)>,
}

/// One turn of the agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// Counts from 1.
    pub turn: u32,
    /// How often the agent was started for it.
    pub attempts: u32,
    /// How many of these were cut short, their cost unknown.
    pub interrupted: u32,
    /// How the last attempt ended; none while it goes on.
    pub class: Option<String>,
    /// The exit code of the last attempt that ended; none where it has none.
    pub exit: Option<i32>,
    /// How long the attempts took that ended, in milliseconds.
    pub ms: u64,
    /// What the agent says it used in the attempts that ended.
    pub usage: Usage,
    /// Whether more may have been used in these than the agent has said.
    pub usage_is_partial: bool,
    /// The model of the last attempt that ended, as the agent names it.
    pub model: Option<String>,
    /// The backend of the last attempt, where it is not the run's first.
    pub backend: Option<String>,
    /// What was wrong with the last attempt that ended, in the agent's words.
    pub trouble: Option<BlobRef>,
    /// The last words of the last attempt that ended.
    pub says: Option<BlobRef>,
    /// Which agent took the last attempt, counted in `agent.fallback` from 1; 0 is the first.
    pub agent: usize,
    /// When the provider's limit is lifted that the last attempt ran into.
    pub resets: Option<Timestamp>,
    /// Whether the agent said that there was nothing to do.
    pub nothing_to_do: bool,
    /// What the agent did in the last attempt that ended.
    pub activity: Option<BlobRef>,
    /// Attempts that an outage or a crash ended, since the run began or went on, or another agent took over.
    pub failures: u32,
    /// How long it was put off in all, since the run began or went on.
    pub waited: Duration,
    /// When it is tried again, where the last attempt was put off.
    pub again_at: Option<Timestamp>,
    /// Processes that the last attempt had left and that were ended.
    pub reaped: u32,
    /// Whom the last attempt asked for by way of the broker; none where it asked for nobody.
    pub contacted: Option<BlobRef>,
    /// The receipt as it was begun for the last attempt; none in runs of earlier versions.
    pub begun: Option<BlobRef>,
    /// The receipt; none before the turn has ended.
    pub receipt: Option<BlobRef>,
    /// What came of it; none before the delivery.
    pub delivery: Option<TurnDelivery>,
}

/// What came of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnDelivery {
    /// It, or part of it, became a candidate.
    Accepted {
        /// The commit.
        commit: String,
        /// Paths changed.
        files: usize,
        /// Paths dropped.
        dropped: usize,
        /// The detail.
        detail: BlobRef,
    },
    /// It brought nothing.
    Unchanged {
        /// Paths dropped.
        dropped: usize,
        /// The detail.
        detail: BlobRef,
    },
    /// It was refused as a whole.
    Refused {
        /// Why, a class.
        class: String,
        /// The detail.
        detail: BlobRef,
    },
}

impl Visit {
    /// Returns whether a gate or a set-up command failed.
    pub fn gate_failed(&self) -> bool {
        self.prepare_failed || self.gates.values().any(|(passed, blocking, _)| *blocking && !passed)
    }
}

impl TurnDelivery {
    /// Returns the blob that names the paths.
    pub fn detail(&self) -> &BlobRef {
        match self {
            Self::Accepted { detail, .. }
            | Self::Unchanged { detail, .. }
            | Self::Refused { detail, .. } => detail,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// The walk reached its end.
    Finished {
        /// The last decision's class.
        outcome: String,
        /// The exit code.
        exit: u8,
    },
    /// One step was asked for, and it is done.
    Paused,
    /// A signal stopped it.
    Interrupted {
        /// The exit code.
        exit: u8,
    },
    /// The factory failed.
    Failed {
        /// The class.
        class: String,
        /// What went wrong.
        message: BlobRef,
    },
}

impl Summary {
    /// Begins the fold; none where the first event does not begin a run.
    pub fn begin(first: &Envelope) -> Option<Self> {
        let RunEvent::RunStarted(started) = &first.event else { return None };
        Some(Self {
            run: first.run.clone(),
            started: (**started).clone(),
            started_at: first.time,
            last_at: first.time,
            events: 1,
            max_iterations: started.max_iterations,
            spent: Spent::begin(started, first.time),
            walk: Walk::default(),
            steps: Vec::new(),
            turns: Vec::new(),
            decision: None,
            feedback: BTreeMap::new(),
            candidate: (started.base.clone(), started.tree.clone()),
            tip: started.base.clone(),
            visit: Visit::default(),
            satisfied_before: BTreeSet::new(),
            ever_judged: BTreeSet::new(),
            question: None,
            answered: None,
            agent: 0,
            limited: None,
            ended: None,
        })
    }

    /// Folds a whole run; none where it is empty or does not begin with `run.started`.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Envelope>) -> Option<Self> {
        let mut events = events.into_iter();
        let mut summary = Self::begin(events.next()?)?;
        for envelope in events {
            summary.apply(envelope);
        }
        Some(summary)
    }

    /// Adds one event.
    pub fn apply(&mut self, envelope: &Envelope) {
        self.events += 1;
        self.spent.apply(self.last_at, envelope);
        self.last_at = envelope.time;
        let node = envelope.node.as_ref();
        match &envelope.event {
            RunEvent::RunStarted(_)
            | RunEvent::AttemptShelved { .. }
            | RunEvent::GateStarted { .. }
            | RunEvent::ScenarioStarted { .. }
            | RunEvent::WorkspaceChecked { .. } => {}
            RunEvent::RunPaused {} => self.ended = Some(Ended::Paused),
            RunEvent::RunResumed { max_iterations, node, .. } => {
                self.ended = None;
                self.limited = None;
                if let Some(turn) = self.turns.last_mut() {
                    turn.failures = 0;
                    turn.waited = Duration::ZERO;
                }
                // Who lets it go on knows what was spent in vain.
                if matches!(self.decision, Some(Decision::OverBudget { .. })) {
                    self.spent.forgiven = self.turns_taken();
                }
                if let Some(node) = node {
                    self.walk.go_to(node);
                }
                self.max_iterations = max_iterations.unwrap_or(self.max_iterations);
            }
            RunEvent::NodeStarted { visit, attempt } => {
                if let Some(node) = node {
                    self.walk.started(node, *visit, *attempt);
                }
            }
            RunEvent::NodeFinished { attempt, outcome, .. } => {
                if let Some(node) = node {
                    self.walk.finished(node, *attempt, outcome);
                }
            }
            RunEvent::EdgeTaken { to } => {
                if let Some(node) = node {
                    self.walk.taken(node, to);
                }
            }
            RunEvent::PrepareFinished { step, passed, output, .. } => {
                let visit = self.open_visit();
                visit.prepared.insert(*step, (*passed, output.clone()));
                visit.prepare_failed = visit.prepared.values().any(|(passed, _)| !passed);
            }
            RunEvent::GateFinished { gate, passed, blocking, result, .. } => {
                self.open_visit().gates.insert(*gate, (*passed, *blocking, result.clone()));
            }
            RunEvent::GatesFlagged { files, paths } => {
                self.open_visit().flagged = Some((*files, paths.clone()));
            }
            RunEvent::ScenarioJudged { scenario, verdict, result, .. } => {
                self.open_visit()
                    .scenarios
                    .insert(scenario.clone(), (verdict.clone(), result.clone()));
            }
            RunEvent::CandidateJudged(judgement) => {
                let iteration = envelope.iteration.unwrap_or(self.started.first_iteration);
                self.steps.push((iteration, Step::Judged(judgement.clone())));
                self.open_visit().closed = true;
            }
            RunEvent::DecisionMade { decision } => self.decision = Some(decision.clone()),
            RunEvent::FeedbackWritten { feedback, commit, .. } => {
                self.feedback.insert(envelope.iteration.unwrap_or_default(), feedback.clone());
                if let Some(commit) = commit {
                    self.tip.clone_from(commit);
                }
            }
            RunEvent::ReceiptBegun { turn, receipt, .. } => {
                self.turn(*turn).begun = Some(receipt.clone());
            }
            RunEvent::ReceiptWritten { turn, receipt, .. } => {
                self.turn(*turn).receipt = Some(receipt.clone());
            }
            RunEvent::AgentStarted { turn, attempt, backend, .. } => {
                let agent = self.agent;
                let turn = self.turn(*turn);
                turn.agent = agent;
                turn.attempts = *attempt;
                turn.class = None;
                turn.again_at = None;
                turn.backend.clone_from(backend);
            }
            RunEvent::AgentFinished {
                turn,
                class,
                ms,
                usage,
                usage_is_partial,
                model,
                trouble,
                resets,
                nothing_to_do,
                activity,
                reaped,
                contacted,
                exit,
                says,
                ..
            } => {
                let known = TurnClass::parse(class);
                let outage = known.is_some_and(TurnClass::is_outage);
                let turn = self.turn(*turn);
                turn.reaped = *reaped;
                turn.contacted.clone_from(contacted);
                turn.class = Some(class.clone());
                turn.exit = *exit;
                turn.says.clone_from(says);
                turn.ms += ms;
                turn.usage = turn.usage.plus(*usage);
                turn.usage_is_partial |= usage_is_partial;
                turn.model.clone_from(model);
                turn.trouble.clone_from(trouble);
                turn.resets = *resets;
                turn.nothing_to_do = *nothing_to_do;
                turn.activity.clone_from(activity);
                turn.failures += u32::from(outage || known == Some(TurnClass::Crashed));
                if !outage {
                    self.answered = None;
                }
            }
            RunEvent::TurnPostponed { turn, until, agent, takes_over, stops, .. } => {
                let (changes, stops) = (takes_over.is_some(), *stops);
                self.agent = *agent;
                self.limited = stops.then_some(*until);
                let turn = self.turn(*turn);
                if changes {
                    turn.failures = 0;
                }
                turn.again_at = until.filter(|_| !stops);
                turn.waited += turn.again_at.map_or(Duration::ZERO, |at| at.since(envelope.time));
            }
            RunEvent::AgentInterrupted { turn, .. } => {
                let turn = self.turn(*turn);
                turn.interrupted += 1;
                turn.class = Some("interrupted".to_owned());
            }
            RunEvent::DeliveryAccepted { turn, commit, tree, files, dropped, detail } => {
                self.turn(*turn).delivery = Some(TurnDelivery::Accepted {
                    commit: commit.clone(),
                    files: *files,
                    dropped: *dropped,
                    detail: detail.clone(),
                });
                self.candidate = (commit.clone(), tree.clone());
                self.tip.clone_from(commit);
                self.open_visit();
            }
            RunEvent::DeliveryUnchanged { turn, dropped, detail } => {
                let entry = self.turn(*turn);
                entry.delivery =
                    Some(TurnDelivery::Unchanged { dropped: *dropped, detail: detail.clone() });
                if *dropped == 0 && !entry.nothing_to_do && entry.class.as_deref() == Some(DONE) {
                    entry.class = Some(TurnClass::NoOp.name().to_owned());
                }
                self.steps.push((self.started.first_iteration + turn, Step::Unchanged));
            }
            RunEvent::DeliveryRefused { turn, class, detail } => {
                self.turn(*turn).delivery =
                    Some(TurnDelivery::Refused { class: class.clone(), detail: detail.clone() });
                self.steps.push((self.started.first_iteration + turn, Step::Unchanged));
            }
            RunEvent::QuestionAsked { question, .. } => self.question = Some(question.clone()),
            RunEvent::QuestionAnswered { answer } => {
                if let Some(question) = self.question.take() {
                    self.answered = Some((question, answer.clone()));
                }
            }
            RunEvent::RunInterrupted { exit } => {
                self.ended = Some(Ended::Interrupted { exit: *exit });
            }
            RunEvent::RunFailed { class, message } => {
                self.ended = Some(Ended::Failed { class: class.clone(), message: message.clone() });
            }
            RunEvent::RunFinished { outcome, exit } => {
                self.ended = Some(Ended::Finished { outcome: outcome.clone(), exit: *exit });
            }
        }
    }

    /// Returns the visit that is being filled; begins one where the last is closed.
    fn open_visit(&mut self) -> &mut Visit {
        if self.visit.closed {
            let last = std::mem::take(&mut self.visit);
            if !last.scenarios.is_empty() {
                let with = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<ScenarioId> {
                    last.scenarios
                        .iter()
                        .filter(|(_, (verdict, _))| wanted(verdict))
                        .map(|(id, _)| id.clone())
                        .collect()
                };
                self.satisfied_before = with(&|verdict| verdict == "satisfied");
                self.ever_judged.extend(with(&|v| matches!(v, "satisfied" | "unsatisfied")));
            }
        }
        &mut self.visit
    }

    fn turn(&mut self, number: u32) -> &mut Turn {
        let at = self.turns.iter().position(|turn| turn.turn == number).unwrap_or_else(|| {
            self.turns.push(Turn { turn: number, ..Turn::default() });
            self.turns.len() - 1
        });
        &mut self.turns[at]
    }

    /// Returns how many turns were delivered, accepted or not; only these count.
    pub fn turns_taken(&self) -> u32 {
        u32::try_from(self.turns.iter().filter(|turn| turn.delivery.is_some()).count())
            .unwrap_or(u32::MAX)
    }

    /// Returns the number of the present iteration: the base's, and one more for each turn taken.
    pub fn iteration(&self) -> u32 {
        self.started.first_iteration + self.turns_taken()
    }

    /// Returns whether the candidate waits for its judgement.
    pub fn candidate_is_open(&self) -> bool {
        !self.visit.closed
    }

    /// Returns the judgements with their iterations, oldest first.
    pub fn judgements(&self) -> impl DoubleEndedIterator<Item = (u32, &Judgement)> {
        self.steps.iter().filter_map(|(iteration, step)| match step {
            Step::Judged(judgement) => Some((*iteration, judgement)),
            Step::Unchanged => None,
        })
    }

    /// Returns the best judgement with its iteration; none where nothing was judged. In a run that
    /// converged it is the one that did, even after a higher score that lacked something critical.
    pub fn best(&self) -> Option<(u32, &Judgement)> {
        let decided = matches!(self.ended, Some(Ended::Finished { .. }));
        if decided && self.decision.as_ref().is_some_and(Decision::has_converged) {
            return self.judgements().next_back();
        }
        let winner = best(self.judgements().map(|(_, judgement)| judgement))?;
        self.judgements().find(|(_, judgement)| std::ptr::eq(*judgement, winner))
    }

    /// Returns what a decision is made from.
    pub fn history(&self, spending: Spending) -> History {
        History {
            steps: self.steps.iter().map(|(_, step)| step.clone()).collect(),
            question_pending: self.question.is_some(),
            turns: self.turns_taken(),
            spending,
            usage_limit: self
                .limited
                .map(|until| UsageLimit { until: until.map(Timestamp::unix_millis) }),
        }
    }

    /// Returns what was used up at the moment `now`. `model` is the one that the settings name,
    /// `elsewhere` what other runs used within the last 24 hours.
    pub fn spending(
        &self,
        prices: &PriceTable,
        model: Option<&str>,
        elsewhere: Totals,
        now: Timestamp,
    ) -> Spending {
        let vain = steps_without_progress(self.steps.iter().map(|(_, step)| step));
        let vain = u32::try_from(vain).unwrap_or(u32::MAX);
        let progress = self.turns_taken().saturating_sub(vain);
        self.spent.spending(&self.spent.ledger(prices, model), progress, elsewhere, now)
    }

    /// Returns when the run stops.
    pub fn stop_rule(&self) -> StopRule {
        StopRule {
            threshold: self.started.threshold,
            max_iterations: self.max_iterations,
            stalled_after: self.started.stalled_after,
            has_agent: self.started.agent.is_some(),
            limits: self.spent.limits,
            deadline: self.spent.deadline,
        }
    }

    /// Returns whether `iterate --resume` can go on with the run: it was cut short, failed or was
    /// interrupted, or it ended in a way that a person can change.
    pub fn is_resumable(&self) -> bool {
        match &self.ended {
            None | Some(Ended::Paused | Ended::Interrupted { .. } | Ended::Failed { .. }) => {
                !self.started.in_place
            }
            Some(Ended::Finished { exit, .. }) => *exit == 5,
        }
    }
}

impl Usage {
    /// Adds two usages; a number that neither knows stays unknown.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        fn add<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a + b),
                (one, other) => one.or(other),
            }
        }
        Self {
            input_tokens: add(self.input_tokens, other.input_tokens),
            output_tokens: add(self.output_tokens, other.output_tokens),
            cached_tokens: add(self.cached_tokens, other.cached_tokens),
            cache_write_tokens: add(self.cache_write_tokens, other.cache_write_tokens),
            cost_usd: add(self.cost_usd, other.cost_usd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Label, Tier};
    use super::*;
    use crate::convergence::{Limit, Limits, Raise, Shortfall};
    use crate::id::{Digest, NodeId};
    use crate::verdict::Satisfaction;

    fn blob() -> BlobRef {
        BlobRef { digest: Digest::of(b""), bytes: 0, label: Label::Internal }
    }

    fn judgement(commit: &str, passed: usize) -> RunEvent {
        RunEvent::CandidateJudged(Judgement {
            commit: commit.into(),
            tree: commit.into(),
            gates_passed: true,
            gates: Some(1),
            gates_changed: false,
            satisfaction: Some(Satisfaction {
                total: 2,
                passed,
                failed: 2 - passed,
                weight_satisfied: passed as f64,
                weight_judged: 2.0,
                ..Satisfaction::default()
            }),
        })
    }

    fn verdict(scenario: &str, verdict: &str) -> RunEvent {
        RunEvent::ScenarioJudged {
            scenario: ScenarioId::parse(scenario).unwrap(),
            verdict: verdict.into(),
            ms: 1,
            result: blob(),
        }
    }

    fn accepted(turn: u32, commit: &str) -> RunEvent {
        RunEvent::DeliveryAccepted {
            turn,
            commit: commit.into(),
            tree: commit.into(),
            files: 1,
            dropped: 0,
            detail: blob(),
        }
    }

    fn fold(events: Vec<(u32, RunEvent)>) -> Summary {
        let started = RunEvent::RunStarted(Box::new(RunStarted {
            version: String::new(),
            graph: "converge".into(),
            base: "c0".into(),
            tree: "c0".into(),
            base_branch: None,
            branch: "factory/r".into(),
            first_iteration: 4,
            threshold: 1.0,
            stalled_after: 3,
            max_iterations: 5,
            limits: Limits::default(),
            deadline: None,
            scenarios: 2,
            agent: Some("replay".into()),
            tier: Tier::Copy,
            judge_tier: Tier::Copy,
            in_place: false,
            product: String::new(),
            frozen: blob(),
        }));
        let envelopes: Vec<Envelope> = std::iter::once((4, started))
            .chain(events)
            .enumerate()
            .map(|(i, (iteration, event))| Envelope {
                seq: i as u64 + 1,
                time: Timestamp::from_unix_millis(0),
                run: RunId::parse("r").unwrap(),
                node: Some(NodeId::parse("n").unwrap()),
                iteration: Some(iteration),
                event,
                prev: None,
            })
            .collect();
        Summary::of(&envelopes).unwrap()
    }

    #[test]
    fn iterations_go_on_from_the_first_and_count_turns_with_a_delivery() {
        let unchanged = RunEvent::DeliveryUnchanged { turn: 2, dropped: 0, detail: blob() };
        let started = RunEvent::AgentStarted { turn: 3, attempt: 1, prompt: blob(), backend: None };
        let summary = fold(vec![
            (4, judgement("c0", 0)),
            (4, accepted(1, "c1")),
            (5, judgement("c1", 1)),
            (5, unchanged),
            (6, started),
        ]);
        assert_eq!((summary.iteration(), summary.turns_taken()), (6, 2));
        assert_eq!(summary.best().map(|(iteration, _)| iteration), Some(5));
        assert_eq!(summary.history(Spending::default()).steps.len(), 3);
    }

    #[test]
    fn a_new_judgement_begins_empty_and_remembers_what_was_satisfied() {
        let summary = fold(vec![
            (4, verdict("a", "satisfied")),
            (4, verdict("b", "skipped")),
            (4, judgement("c0", 1)),
            (4, accepted(1, "c1")),
            (5, verdict("a", "unsatisfied")),
        ]);
        assert_eq!(summary.visit.scenarios.len(), 1);
        assert_eq!(
            summary.satisfied_before.iter().map(ScenarioId::as_str).collect::<Vec<_>>(),
            ["a"]
        );
        assert_eq!(summary.ever_judged.len(), 1, "a skipped scenario was not judged");
        assert!(summary.candidate_is_open());
    }

    #[test]
    fn a_candidate_waits_until_it_is_judged() {
        assert!(fold(vec![]).candidate_is_open());
        assert!(!fold(vec![(4, judgement("c0", 1))]).candidate_is_open());
        assert!(fold(vec![(4, judgement("c0", 1)), (4, accepted(1, "c1"))]).candidate_is_open());
    }

    #[test]
    fn a_turn_that_was_cut_short_keeps_its_attempts_apart() {
        let start =
            |attempt| RunEvent::AgentStarted { turn: 1, attempt, prompt: blob(), backend: None };
        let cut = RunEvent::AgentInterrupted {
            turn: 1,
            attempt: 1,
            ended_processes: 2,
            exit: None,
            diff: None,
        };
        let summary = fold(vec![(4, judgement("c0", 0)), (4, start(1)), (4, cut), (4, start(2))]);
        let turn = &summary.turns[0];
        assert_eq!((turn.attempts, turn.interrupted, turn.class.as_deref()), (2, 1, None));
        assert_eq!(summary.turns_taken(), 0);
    }

    #[test]
    fn an_answer_belongs_to_the_question_before_it() {
        let asked = RunEvent::QuestionAsked { turn: 1, question: blob() };
        let answered = RunEvent::QuestionAnswered { answer: blob() };
        let waits = fold(vec![(4, asked.clone())]).history(Spending::default()).question_pending;
        assert!(waits);
        let summary = fold(vec![(4, asked), (4, answered)]);
        assert!(summary.question.is_none() && summary.answered.is_some());
    }

    #[test]
    fn usage_that_nobody_knows_stays_unknown() {
        let known = Usage { input_tokens: Some(3), ..Usage::default() };
        assert_eq!(known.plus(Usage::default()), known);
        assert_eq!(known.plus(known).input_tokens, Some(6));
    }

    fn finished(turn: u32, attempt: u32, cost_usd: Option<f64>) -> RunEvent {
        let usage = Usage { input_tokens: Some(10), cost_usd, ..Usage::default() };
        RunEvent::agent_finished(turn, attempt, 5, usage)
    }

    fn begun(turn: u32, attempt: u32) -> RunEvent {
        RunEvent::AgentStarted { turn, attempt, prompt: blob(), backend: None }
    }

    fn spending(summary: &Summary) -> Spending {
        let now = Timestamp::from_unix_millis(0);
        summary.spending(&PriceTable::default(), None, Totals::default(), now)
    }

    #[test]
    fn an_attempt_that_was_cut_is_in_the_ledger_with_a_cost_that_nobody_knows() {
        let cut = RunEvent::AgentInterrupted {
            turn: 1,
            attempt: 1,
            ended_processes: 0,
            exit: None,
            diff: None,
        };
        let events =
            vec![(4, begun(1, 1)), (4, cut), (4, begun(1, 2)), (4, finished(1, 2, Some(0.5)))];
        for (events, shown) in [
            (events[..1].to_vec(), "unknown"),
            (events[..3].to_vec(), "unknown"),
            (events, "at least $0.50 (+ 1 attempt unknown)"),
        ] {
            assert_eq!(spending(&fold(events)).run.show_cost(), shown);
        }
    }

    #[test]
    fn the_breaker_counts_from_the_last_better_score_or_a_persons_word() {
        let unchanged = |turn| RunEvent::DeliveryUnchanged { turn, dropped: 0, detail: blob() };
        let mut events = vec![
            (4, judgement("c0", 0)),
            (4, begun(1, 1)),
            (4, finished(1, 1, Some(1.0))),
            (4, accepted(1, "c1")),
            (5, judgement("c1", 1)),
            (5, begun(2, 1)),
            (5, finished(2, 1, Some(2.0))),
            (5, unchanged(2)),
        ];
        let summary = fold(events.clone());
        assert_eq!((spending(&summary).run.usd, spending(&summary).since_progress.usd), (3.0, 2.0));
        let limit = Limit::ProgressMoney;
        let shortfall = Shortfall { limit, spent: 2.0, allowed: 1.0, unknown: 0, needed: None };
        let decision = Decision::OverBudget { shortfall };
        events.push((5, RunEvent::DecisionMade { decision }));
        let budget = Raise { money: Some(9.0), ..Raise::default() };
        let deadline = Some(7);
        events
            .push((5, RunEvent::RunResumed { max_iterations: None, node: None, budget, deadline }));
        let summary = fold(events);
        assert_eq!((spending(&summary).run.usd, spending(&summary).since_progress.usd), (3.0, 0.0));
        assert_eq!(
            (summary.stop_rule().limits.money, summary.stop_rule().deadline),
            (Some(9.0), Some(7))
        );
    }
}
