//! A run as JSON for machines, and the one form from which text, markdown, the summary of a CI
//! job and a pull request are made.
//!
//! These types are a contract of their own: fields may be added under the same version, and what
//! the journal calls things may change without them. They hold numbers, ids, paths and reasons,
//! and of longer text what their reader may see; never the text of a scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blobs::{Blobs, placeholder};
use super::details::Details;
use super::next_steps::{NextStep, better_than_base, branch_of, next_steps};
use super::outcome::Outcome;
use crate::clock::Timestamp;
use crate::convergence::{Step, TurnClass};
use crate::event::{
    BlobRef, DeliveryDetail, DroppedEntry, Ended, Judgement, Summary, Tier, Turn, TurnDelivery,
    Usage,
};
use crate::id::RunId;
use crate::journal::StoreError;
use crate::verdict::GateResult;

/// The version of these types.
pub const SCHEMA: u32 = 1;
/// How many bytes the file has at most.
pub const FILE_BYTES: usize = 8 << 20;
/// How many characters are kept of a longer text.
const CHARACTERS: usize = 4_000;

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its id.
    pub run: RunId,
    /// What it is doing, or how it ended.
    pub state: State,
    /// What it came to; none while a process works on it, and where that was killed.
    pub outcome: Option<Outcome>,
    /// The exit code; none likewise.
    pub exit_code: Option<u8>,
    /// Why it ended, in a sentence; none likewise.
    pub reason: Option<String>,
    /// The factory's own failure with its causes, one a line; none where it did not fail.
    pub failure: Option<String>,
    /// Whether it converged with the gates as the base has them.
    pub satisfied: bool,
    /// The score of the best candidate, exactly; none where its scenarios were not judged.
    pub final_score: Option<f64>,
    /// The score that converges.
    pub threshold: f64,
    /// When it began.
    pub started_at: Timestamp,
    /// When its last event was written.
    pub last_event_at: Timestamp,
    /// The factory's version.
    pub version: String,
    /// The graph.
    pub graph: String,
    /// The node at which it stands.
    pub node: Option<String>,
    /// The number of the present iteration.
    pub iteration: u32,
    /// The base commit; empty where an unversioned directory was judged in place.
    pub base: String,
    /// The branch that it began from, short; none on a detached head.
    pub base_branch: Option<String>,
    /// The branch with the agent's work; none for a judgement in place.
    pub branch: Option<String>,
    /// The last commit on it.
    pub tip: String,
    /// Whether the working tree was judged in place.
    pub in_place: bool,
    /// Where in the repository the product lies; not there where it is the whole of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// The agent's backend; none without an agent.
    pub agent: Option<String>,
    /// What was enforced to keep the holdout from the agent.
    pub isolation: Tier,
    /// How many turns it may take.
    pub max_iterations: u32,
    /// How many turns it took.
    pub turns_taken: u32,
    /// How many scenarios there are.
    pub scenarios: usize,
    /// The question that waits for an answer; none where none does.
    pub question: Option<String>,
    /// Whether `iterate --resume` goes on.
    pub resumable: bool,
    /// What the agent says that all turns used.
    pub usage: Usage,
    /// The candidate that the run offers: the one that converged, else the best, which may be the
    /// base. None where nothing was judged.
    pub best: Option<Best>,
    /// One entry an iteration, oldest first; the last may be in the making.
    pub iterations: Vec<Iteration>,
    /// What comes next, the most likely first.
    pub next: Vec<NextStep>,
}

/// What a run is doing, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A process works on it.
    Active,
    /// The process that worked on it was killed.
    CutShort,
    /// One step was asked for, and is done.
    Paused,
    /// A signal stopped it.
    Interrupted,
    /// The factory failed.
    Failed,
    /// It came to its end.
    Finished,
}

/// The candidate that a run offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its iteration.
    pub iteration: u32,
    /// Its commit; empty for a working tree judged in place.
    pub commit: String,
    /// Its score; none where a gate failed.
    pub score: Option<f64>,
    /// Whether it is another one than the base, and better.
    pub better_than_base: bool,
    /// Whether its gate definitions differ from the base's.
    pub gates_changed: bool,
}

/// One iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Iteration {
    /// Its number.
    pub iteration: u32,
    /// What came of it.
    pub result: IterationResult,
    /// The candidate; none where the turn brought none.
    pub commit: Option<String>,
    /// The score; none where no scenario was judged.
    pub score: Option<f64>,
    /// Satisfied scenarios.
    pub passed: usize,
    /// Unsatisfied ones.
    pub failed: usize,
    /// Skipped ones.
    pub skipped: usize,
    /// Undecided ones.
    pub undecided: usize,
    /// All.
    pub total: usize,
    /// How many gates there were; none where no candidate was judged, or an earlier version judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<usize>,
    /// Whether files that define gates differ from the base's.
    pub gates_changed: bool,
    /// The turn that led to it; none for the base.
    pub turn: Option<TurnReport>,
    /// What single scenarios and gates came to; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<IterationDetails>,
}

/// What came of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IterationResult {
    /// The candidate's scenarios were judged.
    Judged,
    /// A gate failed, so that they were not.
    GatesFailed,
    /// The turn changed nothing that counts.
    Unchanged,
    /// The turn was refused as a whole.
    Refused,
    /// It is not over.
    Pending,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnReport {
    /// Its number, from 1.
    pub turn: u32,
    /// How often the agent was started for it.
    pub attempts: u32,
    /// How many of these were cut short; what they cost is not known.
    pub interrupted: u32,
    /// How the agent ended; none while it works.
    pub ended: Option<String>,
    /// How long it worked.
    pub seconds: f64,
    /// What it says that it used.
    pub usage: Usage,
    /// What came of its delivery; none before that.
    pub delivery: Option<Delivery>,
    /// How many paths were accepted.
    pub files: usize,
    /// How many paths were dropped.
    pub dropped: usize,
}

/// What came of a turn's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It, or part of it, became a candidate.
    Accepted,
    /// It brought nothing.
    Unchanged,
    /// It was refused as a whole.
    Refused,
}

/// What single scenarios, gates and paths came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IterationDetails {
    /// The gates that failed.
    pub failed_gates: Vec<String>,
    /// The files that define gates and differ from the base's.
    pub changed_gate_files: Vec<String>,
    /// Scenarios that were satisfied in the last complete judgement and no longer are.
    pub regressions: Vec<String>,
    /// Scenarios that are unsatisfied or undecided.
    pub unsatisfied: Vec<String>,
    /// The paths that the turn changed.
    pub accepted: Vec<String>,
    /// The paths that were dropped.
    pub dropped: Vec<DroppedPath>,
    /// New paths that git ignores.
    pub not_delivered: Vec<String>,
    /// Why the turn was refused.
    pub refused: Option<String>,
    /// Files that the agent did not get since they hold an evaluation.
    pub withheld: Vec<String>,
    /// The turn's attempts that were cut short.
    pub cut_short: Vec<CutShort>,
    /// What the turn had changed and is not taken: all of it where the agent did not end well or the
    /// turn was refused, else what was dropped. A file that `git apply` reads.
    pub patch: Option<String>,
    /// How many files the patch leaves out, since it would be too large or can't hold them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub patch_leaves_out: usize,
    /// How many entries of these lists are left out, since the file would be too large.
    #[serde(default)]
    pub left_out: usize,
}

/// An attempt at a turn that was cut short, or ended by an outage and taken again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutShort {
    /// Its number.
    pub attempt: u32,
    /// How it ended, where that is known, and its cost with it; none where its process was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What it had changed: a file that `git apply` reads; none where nothing.
    pub patch: Option<String>,
}

/// A path that was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedPath {
    /// The path.
    pub path: String,
    /// The reason in sentences.
    pub reason: String,
    /// The rule that it was dropped by, one word; none in reports of versions that did not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How many files the entry stands for, where it is a directory, or stands for others too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
}

impl DroppedPath {
    /// Returns the path, with how many files it stands for where that is more than its own.
    pub fn name(&self) -> String {
        let (path, files) = (self.path.clone(), self.files);
        DroppedEntry { path, fact: None, files }.name()
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl RunReport {
    /// Makes the report of a run. `active` says that a process works on it, `newest` that it is the
    /// newest of the repository.
    ///
    /// # Errors
    /// What is known of a failure or a question can't be read.
    pub fn of(
        summary: &Summary,
        active: bool,
        newest: bool,
        blobs: &Blobs,
    ) -> Result<Self, StoreError> {
        let started = &summary.started;
        let text = |blob: &BlobRef| Ok::<_, StoreError>(head(&blobs.text(blob)?));
        let outcome = if active { None } else { Outcome::of(summary) };
        let exit_code = match &summary.ended {
            Some(Ended::Finished { exit, .. } | Ended::Interrupted { exit }) => Some(*exit),
            Some(Ended::Paused) => Some(5),
            Some(Ended::Failed { .. }) => Some(3),
            None => None,
        };
        let failure = match &summary.ended {
            Some(Ended::Failed { message, .. }) if !active => Some(text(message)?),
            _ => None,
        };
        let best = summary.best().map(|(iteration, judgement)| Best {
            iteration,
            commit: judgement.commit.clone(),
            score: judgement.score(),
            better_than_base: better_than_base(summary).is_some(),
            gates_changed: judgement.gates_changed,
        });
        Ok(Self {
            schema: SCHEMA,
            run: summary.run.clone(),
            state: match outcome {
                Some(outcome) => outcome.state(),
                None if active => State::Active,
                None => State::CutShort,
            },
            outcome,
            exit_code: exit_code.filter(|_| !active),
            reason: outcome.map(|outcome| outcome.reason(summary.decision.as_ref())),
            failure,
            satisfied: outcome.is_some_and(Outcome::is_satisfied),
            final_score: best.as_ref().and_then(|best| best.score),
            threshold: started.threshold,
            started_at: summary.started_at,
            last_event_at: summary.last_at,
            version: started.version.clone(),
            graph: started.graph.clone(),
            node: summary.walk.positions.first().map(|position| position.node.to_string()),
            iteration: summary.iteration(),
            base: started.base.clone(),
            base_branch: branch_of(summary).map(str::to_owned),
            branch: (!started.branch.is_empty()).then(|| started.branch.clone()),
            tip: summary.tip.clone(),
            in_place: started.in_place,
            product: started.product.clone(),
            agent: started.agent.clone(),
            isolation: started.tier,
            max_iterations: summary.max_iterations,
            turns_taken: summary.turns_taken(),
            scenarios: started.scenarios,
            question: summary.question.as_ref().map(text).transpose()?,
            resumable: !active && summary.is_resumable(),
            usage: summary.turns.iter().fold(Usage::default(), |sum, turn| sum.plus(turn.usage)),
            best,
            iterations: iterations(summary),
            next: next_steps(summary, active, newest),
        })
    }

    /// Tells the report how the run ended where the journal could not be told any more; the exit code is none
    /// where nobody has seen it.
    pub fn set_end(&mut self, outcome: Outcome, exit_code: Option<u8>, failure: Option<&str>) {
        self.state = outcome.state();
        self.outcome = Some(outcome);
        self.exit_code = exit_code;
        self.reason = Some(outcome.reason(None));
        self.failure = failure.map(head);
    }

    /// Tells the report where the run's base branch is now: what is there already need not be
    /// applied.
    pub fn set_base_now(&mut self, commit: &str) {
        if self.best.as_ref().is_some_and(|best| best.better_than_base && best.commit == commit) {
            self.next.retain(|step| !step.command.starts_with("factory apply"));
            self.next.push(NextStep {
                command: format!("factory discard {}", self.run),
                why: "its best candidate is applied; removes the run".to_owned(),
            });
        }
    }

    /// Adds what single scenarios, gates and paths came to, as far as the reader may see it.
    ///
    /// # Errors
    /// A blob is missing or damaged.
    pub fn add_details(
        &mut self,
        summary: &Summary,
        details: &Details,
        blobs: &Blobs,
    ) -> Result<(), StoreError> {
        for iteration in &mut self.iterations {
            let mut found = IterationDetails::default();
            if let Some(judged) = details.iterations.get(&iteration.iteration) {
                for gate in &judged.failed_gates {
                    let known: Option<GateResult> = blobs.json(gate)?;
                    found.failed_gates.push(known.map_or_else(|| placeholder(gate), |g| g.name));
                }
                found.changed_gate_files = paths(blobs, judged.gates_changed.as_ref())?;
                found.regressions = judged.regressions.iter().map(ToString::to_string).collect();
                found.unsatisfied = judged.unsatisfied.iter().map(ToString::to_string).collect();
            }
            let number = iteration.turn.as_ref().map(|turn| turn.turn);
            if let Some(turn) = number.and_then(|number| details.turns.get(&number)) {
                found.withheld = paths(blobs, turn.withheld.as_ref())?;
                let cut = turn.interrupted.iter().map(|cut| CutShort {
                    attempt: cut.attempt,
                    ended: cut.ended.clone(),
                    patch: cut.diff.as_ref().map(|diff| file(blobs, diff)),
                });
                found.cut_short = cut.collect();
            }
            let delivery = summary
                .turns
                .iter()
                .find(|turn| Some(turn.turn) == number)
                .and_then(|turn| turn.delivery.as_ref());
            if let Some(delivery) = delivery {
                add_delivery(&mut found, delivery.detail(), blobs)?;
            }
            if let Some(turn) = &mut iteration.turn {
                turn.dropped = turn.dropped.max(found.dropped.len());
            }
            iteration.details = Some(found);
        }
        Ok(())
    }

    /// Returns the file's bytes, at most [`FILE_BYTES`] as long as there is a detail to leave out:
    /// indented JSON with a line feed at its end.
    ///
    /// # Errors
    /// A number that JSON can't hold.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        for entries in [200, 50, 10, 0] {
            if json.len() < FILE_BYTES {
                break;
            }
            let mut shorter = self.clone();
            let details = shorter.iterations.iter_mut().filter_map(|one| one.details.as_mut());
            details.for_each(|details| details.shorten(entries));
            json = serde_json::to_vec_pretty(&shorter)?;
        }
        json.push(b'\n');
        Ok(json)
    }

    /// Returns what a reader of a page can do now; none before the run has ended.
    pub fn advice(&self) -> Option<&'static str> {
        let outcome = self.outcome?;
        let since = self.best.as_ref().map_or(0, |best| best.iteration);
        let late = self.iterations.iter().filter(|one| one.iteration > since);
        let lost =
            late.filter_map(|one| Some((one.result, one.turn.as_ref()?))).any(|(result, turn)| {
                match result {
                    IterationResult::Refused => true,
                    IterationResult::Unchanged => {
                        let class = turn.ended.as_deref().and_then(TurnClass::parse);
                        turn.dropped > 0 || !class.is_some_and(TurnClass::delivers)
                    }
                    _ => false,
                }
            });
        if lost && outcome == Outcome::Stalled {
            return Some(
                "Read what of the turns was not taken, and why; put that right (`.gitignore`, `delivery` and `protected` in dark-factory.yaml), and begin a new run.",
            );
        }
        Some(outcome.advice())
    }

    /// Returns the last iteration whose candidate was judged, or failed a gate.
    pub fn last_judged(&self) -> Option<&Iteration> {
        self.iterations.iter().rev().find(|iteration| {
            matches!(iteration.result, IterationResult::Judged | IterationResult::GatesFailed)
        })
    }
}

impl IterationDetails {
    /// Leaves at most `entries` in each list.
    fn shorten(&mut self, entries: usize) {
        let mut cut = |list: &mut Vec<String>| {
            self.left_out += list.len().saturating_sub(entries);
            list.truncate(entries);
        };
        cut(&mut self.failed_gates);
        cut(&mut self.changed_gate_files);
        cut(&mut self.regressions);
        cut(&mut self.unsatisfied);
        cut(&mut self.accepted);
        cut(&mut self.not_delivered);
        cut(&mut self.withheld);
        self.left_out += self.dropped.len().saturating_sub(entries);
        self.dropped.truncate(entries);
        self.left_out += self.cut_short.len().saturating_sub(entries);
        self.cut_short.truncate(entries);
    }
}

fn add_delivery(
    found: &mut IterationDetails,
    detail: &BlobRef,
    blobs: &Blobs,
) -> Result<(), StoreError> {
    let Some(known) = blobs.json::<DeliveryDetail>(detail)? else {
        found.accepted = vec![placeholder(detail)];
        return Ok(());
    };
    found.accepted = known.accepted;
    found.not_delivered = known.ignored;
    found.refused = known.refused;
    found.patch = known.patch.as_ref().map(|patch| file(blobs, patch));
    found.patch_leaves_out = known.patch_leaves_out;
    let mut about: BTreeMap<&str, (&str, Option<usize>)> = BTreeMap::new();
    for kind in &known.kinds {
        let entries = kind.entries.iter();
        about.extend(entries.map(|one| (one.path.as_str(), (kind.class.as_str(), one.files))));
    }
    let dropped = known.dropped.iter().map(|(path, reason)| {
        let (class, files) = about.get(path.as_str()).copied().unzip();
        let (path, reason) = (path.clone(), reason.clone());
        DroppedPath { path, reason, class: class.map(str::to_owned), files: files.flatten() }
    });
    found.dropped = dropped.collect();
    Ok(())
}

/// Returns the file of a blob, or what stands in its place.
fn file(blobs: &Blobs, blob: &BlobRef) -> String {
    blobs.path(blob).map_or_else(|| placeholder(blob), |path| path.display().to_string())
}

/// Reads a blob that is a list of paths.
fn paths(blobs: &Blobs, blob: Option<&BlobRef>) -> Result<Vec<String>, StoreError> {
    match blob {
        None => Ok(Vec::new()),
        Some(blob) => Ok(blobs.json(blob)?.unwrap_or_else(|| vec![placeholder(blob)])),
    }
}

/// Returns the beginning of a text, and how much there is more.
fn head(text: &str) -> String {
    match text.chars().count().saturating_sub(CHARACTERS) {
        0 => text.to_owned(),
        cut => {
            let head: String = text.chars().take(CHARACTERS).collect();
            format!("{head}\n[{cut} more characters]")
        }
    }
}

fn iterations(summary: &Summary) -> Vec<Iteration> {
    let first = summary.started.first_iteration;
    let turn_of = |iteration: u32| {
        summary.turns.iter().find(|turn| first.saturating_add(turn.turn) == iteration)
    };
    let mut iterations: Vec<Iteration> = summary
        .steps
        .iter()
        .map(|(iteration, step)| match step {
            Step::Judged(judgement) => judged(*iteration, judgement, turn_of(*iteration)),
            Step::Unchanged => {
                let turn = turn_of(*iteration);
                let refused = matches!(
                    turn.and_then(|turn| turn.delivery.as_ref()),
                    Some(TurnDelivery::Refused { .. })
                );
                let result =
                    if refused { IterationResult::Refused } else { IterationResult::Unchanged };
                empty(*iteration, result, turn)
            }
        })
        .collect();
    // The base or a candidate that is being judged, and a turn that is being taken.
    let known = |iterations: &[Iteration], wanted: u32| {
        iterations.iter().any(|iteration| iteration.iteration == wanted)
    };
    let numbers = std::iter::once(first)
        .chain(summary.turns.iter().map(|turn| first.saturating_add(turn.turn)));
    for number in numbers {
        if !known(&iterations, number) {
            iterations.push(empty(number, IterationResult::Pending, turn_of(number)));
        }
    }
    iterations
}

fn judged(iteration: u32, judgement: &Judgement, turn: Option<&Turn>) -> Iteration {
    let sum = judgement.satisfaction.unwrap_or_default();
    let result =
        if judgement.gates_passed { IterationResult::Judged } else { IterationResult::GatesFailed };
    Iteration {
        commit: (!judgement.commit.is_empty()).then(|| judgement.commit.clone()),
        score: judgement.score(),
        passed: sum.passed,
        failed: sum.failed,
        skipped: sum.skipped,
        undecided: sum.undecided,
        total: sum.total,
        gates: judgement.gates,
        gates_changed: judgement.gates_changed,
        ..empty(iteration, result, turn)
    }
}

fn empty(iteration: u32, result: IterationResult, turn: Option<&Turn>) -> Iteration {
    Iteration {
        iteration,
        result,
        commit: None,
        score: None,
        passed: 0,
        failed: 0,
        skipped: 0,
        undecided: 0,
        total: 0,
        gates: None,
        gates_changed: false,
        turn: turn.map(turn_report),
        details: None,
    }
}

fn turn_report(turn: &Turn) -> TurnReport {
    let (delivery, files, dropped) = match &turn.delivery {
        None => (None, 0, 0),
        Some(TurnDelivery::Accepted { files, dropped, .. }) => {
            (Some(Delivery::Accepted), *files, *dropped)
        }
        Some(TurnDelivery::Unchanged { dropped, .. }) => (Some(Delivery::Unchanged), 0, *dropped),
        Some(TurnDelivery::Refused { .. }) => (Some(Delivery::Refused), 0, 0),
    };
    TurnReport {
        turn: turn.turn,
        attempts: turn.attempts,
        interrupted: turn.interrupted,
        ended: turn.class.clone(),
        seconds: turn.ms as f64 / 1_000.0,
        usage: turn.usage,
        delivery,
        files,
        dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestRun, eventful};
    use super::*;
    use crate::convergence::Decision;
    use crate::event::{Audience, Label, RunEvent};
    use crate::journal::read_summary;
    use crate::verdict::Satisfaction;

    fn report(run: &TestRun, audience: Label, active: bool) -> RunReport {
        let (summary, events) = read_summary(&run.dir(), false).unwrap();
        let blobs = Blobs::of(&run.dir(), Audience(audience));
        let mut report = RunReport::of(&summary, active, true, &blobs).unwrap();
        report.add_details(&summary, &Details::of(&events), &blobs).unwrap();
        report
    }

    #[test]
    fn the_published_form_is_a_contract() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        let report = report(&run, Label::Holdout, false);
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
    }

    #[test]
    fn a_reader_of_public_text_sees_numbers_and_placeholders() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        let json = serde_json::to_string(&report(&run, Label::Public, false)).unwrap();
        assert!(json.contains("[internal: ") && !json.contains("src/b.py"), "{json}");
    }

    #[test]
    fn what_is_in_the_making_is_pending() {
        let mut run = TestRun::begin("20261120-091500-0001");
        let results = |run: &TestRun| -> Vec<IterationResult> {
            report(run, Label::Holdout, true).iterations.iter().map(|i| i.result).collect()
        };
        assert_eq!(results(&run), [IterationResult::Pending]);
        run.judged("aa", &[("a", "unsatisfied")]).turn("done");
        assert_eq!(results(&run), [IterationResult::Judged, IterationResult::Pending]);
        run.accepted("bb", &["x"], &[]);
        assert_eq!(results(&run), [IterationResult::Judged, IterationResult::Pending]);
        run.closed("bb", None, false);
        assert_eq!(results(&run), [IterationResult::Judged, IterationResult::GatesFailed]);
    }

    #[test]
    fn what_is_applied_need_not_be_applied_again() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        let commands = |now: &str| -> Vec<String> {
            let mut report = report(&run, Label::Holdout, false);
            report.set_base_now(now);
            report.next.into_iter().map(|step| step.command).collect()
        };
        assert_eq!(commands("c0ffee"), ["factory apply"]);
        let applied = format!("{:0<40}", "2222");
        assert_eq!(commands(&applied), ["factory discard 20261120-091500-0001"]);
    }

    #[test]
    fn a_run_without_an_end_was_killed_unless_it_is_active() {
        let mut run = TestRun::begin("20261120-091500-0001");
        assert_eq!(report(&run, Label::Holdout, true).state, State::Active);
        assert_eq!(report(&run, Label::Holdout, false).state, State::CutShort);
        let message = run.put(Label::Internal, "the disk is full");
        run.event(RunEvent::RunFailed { class: "disk".into(), message });
        let report = report(&run, Label::Holdout, false);
        assert_eq!((report.state, report.exit_code), (State::Failed, Some(3)));
        assert_eq!(report.failure.as_deref(), Some("the disk is full"));
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        let report = report(&run, Label::Holdout, false);
        let json = report.to_json().unwrap();
        assert_eq!(serde_json::from_slice::<RunReport>(&json).unwrap(), report);
    }

    #[test]
    fn a_report_tells_each_iteration_and_turn() {
        let (yes, no) = ("satisfied", "unsatisfied");
        let mut run = TestRun::begin("r1");
        run.judged(&"c0ffee0000".repeat(4), &[("a", yes), ("b", no), ("c", no), ("d", no)]);
        run.turn("done").accepted("1", &["x"], &[("specs/a.md", "It is protected.")]);
        run.judged("1", &[("a", yes), ("b", yes), ("c", yes), ("d", no)]);
        run.turn("done").refused("too_many_files", "Too much.");
        run.finished(Decision::Stalled { steps: 1 });
        let report = report(&run, Label::Internal, false);
        let iterations: Vec<_> = report
            .iterations
            .iter()
            .map(|one| (one.iteration, one.result, one.score, one.commit.as_ref().map(|c| &c[..1])))
            .collect();
        assert_eq!(
            iterations,
            [
                (0, IterationResult::Judged, Some(0.25), Some("c")),
                (1, IterationResult::Judged, Some(0.75), Some("1")),
                (2, IterationResult::Refused, None, None)
            ]
        );
        let best = report.best.as_ref().unwrap();
        assert_eq!((best.iteration, best.score, best.better_than_base), (1, Some(0.75), true));
        assert_eq!((report.satisfied, report.final_score), (false, Some(0.75)));
        let details = |at: usize| report.iterations[at].details.as_ref().unwrap();
        assert_eq!(details(1).dropped[0].path, "specs/a.md");
        assert_eq!(details(2).refused.as_deref(), Some("Too much."));
        assert_eq!((report.turns_taken, report.usage.cost_usd), (2, Some(0.5)));
    }

    #[test]
    fn a_base_that_stays_the_best_is_offered_to_nobody() {
        let base = "c0ffee0000".repeat(4);
        let mut run = TestRun::begin("r1");
        run.judged(&base, &[("a", "unsatisfied")]).turn("done").accepted("1", &["x"], &[]);
        run.judged("1", &[("a", "unsatisfied")]).finished(Decision::Exhausted { turns: 1 });
        let best = report(&run, Label::Internal, false).best.unwrap();
        assert_eq!((best.iteration, best.better_than_base), (0, false));
    }

    #[test]
    fn what_converged_is_offered_even_after_a_higher_score() {
        let all = |passed: usize, critical_missing: usize| {
            let (weight_satisfied, weight_judged) = (passed as f64, 4.0);
            let (total, failed) = (4, 4 - passed);
            let (skipped, undecided) = (0, 0);
            Some(Satisfaction {
                total,
                passed,
                failed,
                skipped,
                undecided,
                weight_satisfied,
                weight_judged,
                critical_missing,
                ..Satisfaction::default()
            })
        };
        let mut run = TestRun::begin("r1");
        run.closed(&"c0ffee0000".repeat(4), all(3, 1), false);
        run.turn("done").accepted("1", &["Makefile"], &[]);
        let paths = run.json(Label::Internal, &["Makefile"]);
        run.event(RunEvent::GatesFlagged { files: 1, paths }).closed("1", all(2, 0), true);
        run.finished(Decision::ConvergedGatesChanged { score: 0.5, threshold: 0.5 });
        let report = report(&run, Label::Internal, false);
        let best = report.best.unwrap();
        assert_eq!((best.iteration, best.better_than_base, best.gates_changed), (1, true, true));
        assert_eq!((report.satisfied, report.exit_code), (false, Some(5)));
        let changed = &report.iterations[1].details.as_ref().unwrap().changed_gate_files;
        assert_eq!(*changed, ["Makefile"]);
    }

    #[test]
    fn holdout_text_is_left_out_even_where_a_blob_points_to_it() {
        let mut run = TestRun::begin("r1");
        let question = run.put(Label::Holdout, "EXAM");
        run.event(RunEvent::QuestionAsked { turn: 1, question }).finished(Decision::Asked);
        let found = report(&run, Label::Internal, false);
        assert_eq!(found.question.as_deref(), Some("[holdout: 4 bytes]"));
        assert!(!String::from_utf8(found.to_json().unwrap()).unwrap().contains("EXAM"));

        let question = run.put(Label::Internal, "q".repeat(5_000));
        run.event(RunEvent::QuestionAsked { turn: 1, question });
        let found = report(&run, Label::Internal, false);
        assert!(found.question.unwrap().ends_with("q\n[1000 more characters]"));
    }

    #[test]
    fn a_file_that_would_be_too_large_leaves_details_out_and_says_so() {
        let mut run = TestRun::begin("20261120-091500-0001");
        eventful(&mut run);
        let mut report = report(&run, Label::Internal, false);
        let details = report.iterations[1].details.as_mut().unwrap();
        details.accepted = vec!["p".repeat(20_000); 500];
        let json = report.to_json().unwrap();
        assert!(json.len() <= FILE_BYTES);
        let read: RunReport = serde_json::from_slice(&json).unwrap();
        let details = read.iterations[1].details.as_ref().unwrap();
        assert_eq!((details.accepted.len(), details.left_out), (200, 300));
    }

    #[test]
    fn an_end_that_the_journal_could_not_be_told_is_told() {
        let run = TestRun::begin("20261120-091500-0001");
        let mut report = report(&run, Label::Internal, false);
        assert_eq!(report.outcome, None);
        report.set_end(Outcome::Failed, Some(3), Some("the disk is full"));
        assert_eq!((report.state, report.exit_code), (State::Failed, Some(3)));
        assert_eq!(report.failure.as_deref(), Some("the disk is full"));
    }
}
