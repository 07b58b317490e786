//! The report of a run: one JSON file for machines, with what the run came to, iteration by
//! iteration and turn by turn.
//!
//! A published type with a version of its own. It holds paths and reasons, which are for the
//! people of the repository, and no text of a scenario.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::convergence::Step;
use crate::event::{
    Audience, BlobRef, DeliveryDetail, Judgement, Label, Summary, Tier, Turn, TurnDelivery, Usage,
};
use crate::id::RunId;
use crate::text::tail;

/// The version of the file.
pub const SCHEMA: u32 = 1;

/// How many paths a list of the report names at most.
const LISTED: usize = 200;
/// How many characters of a longer text it holds.
const CHARACTERS: usize = 4_000;

/// What a run came to, as whoever drove it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeView {
    /// The class of the last decision, or `paused`, `interrupted`, `failed`.
    pub outcome: String,
    /// The exit code.
    pub exit: u8,
    /// The reason in a sentence.
    pub reason: String,
    /// The factory's own failure with its causes, one a line; none where it did not fail.
    pub failure: Option<String>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The version of the file; always [`SCHEMA`].
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// The factory's version.
    pub version: String,
    /// The class of the last decision, or `paused`, `interrupted`, `failed`.
    pub outcome: String,
    /// The exit code.
    pub exit: u8,
    /// The reason in a sentence.
    pub reason: String,
    /// Whether the run converged with the gates as the base has them.
    pub satisfied: bool,
    /// The score of the best candidate; none where the scenarios were not judged.
    pub final_score: Option<f64>,
    /// The score that converges.
    pub threshold: f64,
    /// When it began.
    pub started_at: Timestamp,
    /// When its last event was written.
    pub ended_at: Timestamp,
    /// The base commit.
    pub base: String,
    /// The branch that was checked out (`main`); none on a detached head.
    pub base_branch: Option<String>,
    /// The branch that has the agent's work, `factory/RUN`; empty for a run in place.
    pub branch: String,
    /// The candidate that the run offers: the one that converged, else the best; it may be the
    /// base. None where nothing was judged.
    pub best: Option<BestCandidate>,
    /// One entry for each iteration, oldest first; the first is the base's.
    pub iterations: Vec<IterationReport>,
    /// The agent's turns, oldest first.
    pub turns: Vec<TurnReport>,
    /// Files that define gates and differ from the base's in the last candidate.
    pub gates_changed: Vec<String>,
    /// The agent's backend; none where no agent was to be started.
    pub agent: Option<String>,
    /// What kept the holdout from the agent.
    pub isolation: Tier,
    /// What the agent says that it used in all.
    pub usage: Usage,
    /// The question that waits for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The factory's own failure with its causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The candidate that a run offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestCandidate {
    /// Its iteration.
    pub iteration: u32,
    /// Its commit; empty for a working tree judged in place.
    pub commit: String,
    /// Its score; none where a gate failed or nothing was judged.
    pub score: Option<f64>,
}

/// One iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IterationReport {
    /// Its number.
    pub iteration: u32,
    /// `base`, `no change` or `refused`; empty for the judgement of a new candidate.
    pub note: String,
    /// Whether every gate passed. Where there was no judgement, this and what follows are those of
    /// the candidate that stayed.
    pub gates_passed: bool,
    /// The score; none where a gate failed or nothing was judged.
    pub score: Option<f64>,
    /// Satisfied scenarios.
    pub passed: usize,
    /// Scenarios in all.
    pub total: usize,
    /// The candidate's commit.
    pub commit: String,
}

/// One turn of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnReport {
    /// Counts from 1.
    pub turn: u32,
    /// How the agent ended, a class; none where the turn had not ended.
    pub agent: Option<String>,
    /// How often it was cut short, its cost unknown.
    pub interrupted: u32,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// `accepted`, `unchanged` or `refused`; none before the delivery.
    pub delivery: Option<String>,
    /// Paths that were accepted.
    pub files: usize,
    /// Paths that were dropped.
    pub dropped: usize,
    /// The first of these, with the reason.
    pub dropped_paths: Vec<DroppedPath>,
    /// Why the turn was refused as a whole; none where it was not.
    pub refused: Option<String>,
    /// What the agent says that it used.
    pub usage: Usage,
}

/// A path that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedPath {
    /// The path.
    pub path: String,
    /// Why, in a sentence.
    pub reason: String,
}

impl RunReport {
    /// Makes the report of a run. `read` returns the bytes of a blob, or none where it can't be
    /// read; what it held is then left out.
    pub fn new(
        summary: &Summary,
        outcome: &OutcomeView,
        read: &dyn Fn(&BlobRef) -> Option<Vec<u8>>,
    ) -> Self {
        let read = |blob: &BlobRef| {
            Audience(Label::Internal).may_read(blob.label).then(|| read(blob)).flatten()
        };
        let text = |blob: &BlobRef| Some(String::from_utf8_lossy(&read(blob)?).into_owned());
        let started = &summary.started;
        let best = offered(summary, &outcome.outcome);
        let gates_changed: Vec<String> = summary
            .visit
            .flagged
            .as_ref()
            .and_then(|(_, paths)| serde_json::from_slice(&read(paths)?).ok())
            .unwrap_or_default();
        Self {
            schema: SCHEMA,
            run: summary.run.clone(),
            version: started.version.clone(),
            outcome: outcome.outcome.clone(),
            exit: outcome.exit,
            reason: outcome.reason.clone(),
            satisfied: is_satisfied(&outcome.outcome),
            final_score: best.and_then(|(_, judgement)| score_of(judgement)),
            threshold: started.threshold,
            started_at: summary.started_at,
            ended_at: summary.last_at,
            base: started.base.clone(),
            base_branch: started.base_branch.clone(),
            branch: started.branch.clone(),
            best: best.map(|(iteration, judgement)| BestCandidate {
                iteration,
                commit: judgement.commit.clone(),
                score: score_of(judgement),
            }),
            iterations: iterations(summary),
            turns: summary.turns.iter().map(|turn| TurnReport::of(turn, &read)).collect(),
            gates_changed: gates_changed.into_iter().take(LISTED).collect(),
            agent: started.agent.clone(),
            isolation: started.tier,
            usage: summary.turns.iter().fold(Usage::default(), |sum, turn| sum.plus(turn.usage)),
            question: summary.question.as_ref().and_then(text).map(|text| bounded(&text)),
            failure: outcome.failure.as_deref().map(bounded),
        }
    }

    /// Returns the file's bytes: indented JSON with a line feed at its end.
    pub fn to_json(&self) -> Vec<u8> {
        // Numbers and texts only; a score that is no number does not occur.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Returns the candidate that the run offers, if it is better than the base.
    pub fn better_than_base(&self) -> Option<&BestCandidate> {
        self.best.as_ref().filter(|best| !best.commit.is_empty() && best.commit != self.base)
    }

    /// Returns how many turns the agent took.
    pub fn turns_taken(&self) -> usize {
        self.turns.iter().filter(|turn| turn.delivery.is_some()).count()
    }
}

impl TurnReport {
    fn of(turn: &Turn, read: &dyn Fn(&BlobRef) -> Option<Vec<u8>>) -> Self {
        let detail: DeliveryDetail = turn
            .delivery
            .as_ref()
            .and_then(|delivery| serde_json::from_slice(&read(delivery.detail())?).ok())
            .unwrap_or_default();
        let (delivery, files, dropped) = match &turn.delivery {
            None => (None, 0, 0),
            Some(TurnDelivery::Accepted { files, dropped, .. }) => {
                (Some("accepted"), *files, *dropped)
            }
            Some(TurnDelivery::Unchanged { dropped, .. }) => (Some("unchanged"), 0, *dropped),
            Some(TurnDelivery::Refused { .. }) => (Some("refused"), 0, detail.dropped.len()),
        };
        Self {
            turn: turn.turn,
            agent: turn.class.clone(),
            interrupted: turn.interrupted,
            ms: turn.ms,
            delivery: delivery.map(str::to_owned),
            files,
            dropped,
            dropped_paths: detail
                .dropped
                .into_iter()
                .take(LISTED)
                .map(|(path, reason)| DroppedPath { path, reason })
                .collect(),
            refused: detail.refused,
            usage: turn.usage,
        }
    }
}

/// Returns whether a run of this outcome converged, and no person has to look at its gates.
pub(super) fn is_satisfied(outcome: &str) -> bool {
    outcome == "converged"
}

/// Returns the judgement of the candidate that a run offers, with its iteration. What converged
/// wins over a higher score before it that lacked something critical.
pub(super) fn offered<'a>(summary: &'a Summary, outcome: &str) -> Option<(u32, &'a Judgement)> {
    match outcome {
        "converged" | "converged_gates_changed" => summary.judgements().next_back(),
        _ => summary.best(),
    }
}

pub(super) fn score_of(judgement: &Judgement) -> Option<f64> {
    judgement.satisfaction.and_then(|satisfaction| satisfaction.score())
}

fn iterations(summary: &Summary) -> Vec<IterationReport> {
    let first = summary.started.first_iteration;
    let mut all: Vec<IterationReport> = Vec::new();
    for (iteration, step) in &summary.steps {
        let note = |turn: &Turn| match turn.delivery {
            Some(TurnDelivery::Refused { .. }) => "refused",
            _ => "no change",
        };
        let next = match (step, all.last()) {
            (Step::Judged(judgement), _) => IterationReport {
                iteration: *iteration,
                note: if *iteration == first { "base".to_owned() } else { String::new() },
                gates_passed: judgement.gates_passed,
                score: score_of(judgement),
                passed: judgement.satisfaction.map_or(0, |s| s.passed),
                total: judgement.satisfaction.map_or(summary.started.scenarios, |s| s.total),
                commit: judgement.commit.clone(),
            },
            // A turn follows a judgement.
            (Step::Unchanged, None) => continue,
            (Step::Unchanged, Some(before)) => {
                let turn = summary.turns.iter().find(|turn| first + turn.turn == *iteration);
                IterationReport {
                    iteration: *iteration,
                    note: turn.map_or("no change", note).to_owned(),
                    ..before.clone()
                }
            }
        };
        all.push(next);
    }
    all
}

fn bounded(text: &str) -> String {
    match tail(text, CHARACTERS) {
        (_, 0) => text.to_owned(),
        (_, cut) => {
            let head: String = text.chars().take(CHARACTERS).collect();
            format!("{head}\n[{cut} more characters]")
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SteppingClock;
    use crate::convergence::Decision;
    use crate::event::{Envelope, RunEvent, RunStarted};
    use crate::id::NodeId;
    use crate::journal::{DirStore, Journal};
    use crate::report::{Names, Reporter, Scene};
    use crate::text::Redaction;
    use crate::verdict::Satisfaction;

    /// A run as it is recorded, told to one reporter.
    pub(crate) struct Told<R> {
        pub(crate) journal: Journal,
        pub(crate) summary: Summary,
        pub(crate) names: Names,
        pub(crate) reporter: R,
        _dir: tempfile::TempDir,
    }

    impl<R: Reporter> Told<R> {
        pub(crate) fn new(reporter: R) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Box::new(DirStore::open(dir.path()).unwrap());
            let run = RunId::parse("r1").unwrap();
            let clock = Arc::new(SteppingClock::starting_at(Timestamp::from_unix_millis(0)));
            let mut journal = Journal::begin(store, run, clock, Redaction::default());
            let frozen = journal.put(Label::Holdout, b"EXAM".to_vec()).unwrap();
            let begun = journal
                .append(
                    None,
                    Some(0),
                    RunEvent::RunStarted(Box::new(RunStarted {
                        version: "0.1.0".into(),
                        graph: "converge".into(),
                        base: "b".repeat(40),
                        tree: "t".repeat(40),
                        base_branch: Some("main".into()),
                        branch: "factory/r1".into(),
                        first_iteration: 0,
                        threshold: 0.8,
                        stalled_after: 3,
                        max_iterations: 5,
                        scenarios: 4,
                        agent: Some("replay".into()),
                        tier: Tier::Copy,
                        in_place: false,
                        frozen,
                    })),
                )
                .unwrap();
            let summary = Summary::begin(&begun).unwrap();
            let names = Names { gates: vec!["make lint".into()], ..Names::default() };
            let mut told = Self { journal, summary, names, reporter, _dir: dir };
            told.show(&begun);
            told
        }

        fn show(&mut self, envelope: &Envelope) {
            let scene =
                Scene { summary: &self.summary, names: &self.names, journal: &self.journal };
            self.reporter.event(&scene, envelope);
        }

        pub(crate) fn tell(&mut self, event: RunEvent) {
            let node = NodeId::parse("n").unwrap();
            let iteration = Some(self.summary.iteration());
            let envelope = self.journal.append(Some(&node), iteration, event).unwrap();
            self.summary.apply(&envelope);
            self.show(&envelope);
        }

        pub(crate) fn blob(&self, value: &impl Serialize) -> BlobRef {
            self.journal.put(Label::Internal, serde_json::to_vec(value).unwrap()).unwrap()
        }

        pub(crate) fn judged(&mut self, commit: &str, passed: usize, gates_changed: bool) {
            self.tell(RunEvent::NodeStarted { visit: 1, attempt: 1 });
            self.tell(RunEvent::CandidateJudged(Judgement {
                commit: commit.repeat(40),
                tree: commit.repeat(40),
                gates_passed: true,
                gates_changed,
                satisfaction: Some(Satisfaction {
                    total: 4,
                    passed,
                    failed: 4 - passed,
                    weight_satisfied: passed as f64,
                    weight_judged: 4.0,
                    ..Satisfaction::default()
                }),
            }));
        }

        pub(crate) fn delivered(&mut self, turn: u32, commit: &str, detail: &DeliveryDetail) {
            let prompt = self.blob(&"p");
            self.tell(RunEvent::AgentStarted { turn, attempt: 1, prompt });
            self.tell(RunEvent::AgentFinished {
                turn,
                attempt: 1,
                class: "done".into(),
                ms: 2_000,
                usage: Usage { input_tokens: Some(3), ..Usage::default() },
                reaped: 0,
                says: None,
            });
            let detail_blob = self.blob(detail);
            self.tell(RunEvent::DeliveryAccepted {
                turn,
                commit: commit.repeat(40),
                tree: commit.repeat(40),
                files: 2,
                dropped: detail.dropped.len(),
                detail: detail_blob,
            });
        }

        pub(crate) fn refused(&mut self, turn: u32, why: &str) {
            let detail = DeliveryDetail { refused: Some(why.into()), ..DeliveryDetail::default() };
            let detail = self.blob(&detail);
            self.tell(RunEvent::DeliveryRefused { turn, class: "too_many_files".into(), detail });
        }

        pub(crate) fn finished(&mut self, decision: Decision) {
            let (outcome, exit) = (decision.class().to_owned(), decision.exit_code());
            self.tell(RunEvent::DecisionMade { decision });
            self.tell(RunEvent::RunFinished { outcome, exit });
        }

        pub(crate) fn outcome(&self) -> OutcomeView {
            let decision = self.summary.decision.as_ref().unwrap();
            OutcomeView {
                outcome: decision.class().to_owned(),
                exit: decision.exit_code(),
                reason: decision.reason(),
                failure: None,
            }
        }

        pub(crate) fn report(&self) -> RunReport {
            RunReport::new(&self.summary, &self.outcome(), &|blob| self.journal.get(blob).ok())
        }
    }

    struct Nobody;

    impl Reporter for Nobody {
        fn event(&mut self, _: &Scene<'_>, _: &Envelope) {}
    }

    fn dropped(path: &str, reason: &str) -> DeliveryDetail {
        DeliveryDetail {
            dropped: vec![(path.to_owned(), reason.to_owned())],
            ..DeliveryDetail::default()
        }
    }

    #[test]
    fn a_report_tells_each_iteration_and_turn() {
        let mut told = Told::new(Nobody);
        told.judged("b", 1, false);
        told.delivered(1, "1", &dropped("specs/a.md", "It is protected."));
        told.judged("1", 3, false);
        told.refused(2, "Too much.");
        told.finished(Decision::Stalled { steps: 1 });
        let report = told.report();
        assert_eq!(serde_json::from_slice::<RunReport>(&report.to_json()).unwrap(), report);
        let iterations: Vec<_> = report
            .iterations
            .iter()
            .map(|one| (one.iteration, one.note.as_str(), one.score, &one.commit[..1]))
            .collect();
        assert_eq!(
            iterations,
            [
                (0, "base", Some(0.25), "b"),
                (1, "", Some(0.75), "1"),
                (2, "refused", Some(0.75), "1")
            ]
        );
        let best = report.better_than_base().unwrap();
        assert_eq!((best.iteration, best.score, report.satisfied), (1, Some(0.75), false));
        assert_eq!(report.turns[0].dropped_paths[0].path, "specs/a.md");
        assert_eq!(report.turns[1].refused.as_deref(), Some("Too much."));
        assert_eq!((report.turns_taken(), report.usage.input_tokens), (2, Some(3)));
    }

    #[test]
    fn a_base_that_stays_the_best_is_offered_to_nobody() {
        let mut told = Told::new(Nobody);
        told.judged("b", 1, false);
        told.delivered(1, "1", &DeliveryDetail::default());
        told.judged("1", 1, false);
        told.finished(Decision::Exhausted { turns: 1 });
        assert_eq!(told.report().best.map(|best| best.iteration), Some(0));
        assert_eq!(told.report().better_than_base(), None);
    }

    #[test]
    fn what_converged_is_offered_even_after_a_higher_score() {
        let mut told = Told::new(Nobody);
        told.judged("b", 4, false);
        told.delivered(1, "1", &DeliveryDetail::default());
        told.judged("1", 3, true);
        let paths = told.blob(&["Makefile"]);
        told.tell(RunEvent::GatesFlagged { files: 1, paths });
        told.finished(Decision::ConvergedGatesChanged { score: 0.75, threshold: 0.7 });
        let report = told.report();
        assert_eq!(report.best.map(|best| best.iteration), Some(1));
        assert_eq!((report.satisfied, report.exit, report.gates_changed.len()), (false, 5, 1));
    }

    #[test]
    fn holdout_text_is_left_out_even_where_a_blob_points_to_it() {
        let mut told = Told::new(Nobody);
        told.judged("b", 1, false);
        let question = told.journal.put(Label::Holdout, b"EXAM".to_vec()).unwrap();
        told.tell(RunEvent::QuestionAsked { turn: 1, question });
        told.finished(Decision::Asked);
        assert_eq!(told.report().question, None);

        let long = told.journal.put(Label::Internal, vec![b'q'; 5_000]).unwrap();
        told.summary.question = Some(long);
        assert!(told.report().question.unwrap().ends_with("q\n[1000 more characters]"));
    }
}
