//! GitHub Actions: workflow commands while a run goes on, the outputs and the summary of the step
//! at its end.
//!
//! The runner acts on lines that begin with `::` and on `##[` anywhere in a line. Every line here
//! begins with a text of ours, and what comes from outside is put on one line without `##[`; no
//! output of a product or an agent is written as it is.

use std::fs::OpenOptions;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::human;
use crate::config::Environment;
use crate::convergence::TurnClass;
use crate::event::{DeliveryDetail, Envelope, Receipt, RunEvent, Summary, TurnDelivery};
use crate::id::Digest;
use crate::text::{listed, one_line, plural, visible};
use crate::verdict::{GateResult, GateStatus, show_score};

use super::activity::{interrupted_by, postponed};
use super::published::RunReport;
use super::receipt::receipt_line;
use super::{Outcome, Output, Reporter, Scene, markdown};

/// How many warnings a step shows is bounded by GitHub at ten; the rest are lines.
const WARNINGS: usize = 10;
/// The summary of a step may have 1 MiB.
const SUMMARY_BYTES: usize = 1_000_000;
/// How many names or paths are shown of a list.
const LISTED: usize = 5;

/// How much an annotation matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Notice,
    /// Something was not as it should be, and the run goes on.
    Warning,
    /// The run came to no good end.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Returns the workflow command for an annotation. Line feeds of `text` are kept.
pub fn annotation(level: Level, title: &str, text: &str) -> String {
    format!("::{} title={}::{}", level.word(), property(title), data(text))
}

/// Returns the workflow command for an annotation at a place in a file; without a line, at the
/// file as a whole.
pub fn annotation_at(
    level: Level,
    file: &str,
    line: Option<usize>,
    title: &str,
    text: &str,
) -> String {
    let place = match line {
        Some(line) => format!("file={},line={line}", value(file)),
        None => format!("file={}", value(file)),
    };
    format!("::{} {place},title={}::{}", level.word(), property(title), data(text))
}

/// Returns a token for `::stop-commands::` that nobody can guess.
pub fn stop_token() -> String {
    // The keys of a new state are random; what is hashed with them need not be.
    let word = || RandomState::new().hash_one(0_u8);
    format!("factory-{:016x}{:016x}", word(), word())
}

/// Returns `text` as a line of the log that commands nothing.
pub fn harmless(text: &str) -> String {
    let line = visible(text).replace(['\n', '\t'], " ").replace("##[", "##\u{200b}[");
    match line.trim_start().strip_prefix("::") {
        Some(rest) => format!(":\u{200b}:{rest}"),
        None => line,
    }
}

/// Escapes what stands after the second `::` of a command.
fn data(text: &str) -> String {
    let text = visible(text).replace("##[", "##\u{200b}[");
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property of a command, and bounds it.
fn property(text: &str) -> String {
    value(&one_line(text, 120))
}

/// Escapes the value of a property of a command.
fn value(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Writes workflow commands and plain lines as a run goes on: a group for each iteration,
/// annotations for failed gates, what was not delivered, and what the run came to.
#[derive(Debug)]
pub struct GithubReporter {
    output: Output,
    group: Option<u32>,
    warnings: usize,
}

impl GithubReporter {
    /// Returns a reporter that writes to `output`, the step's standard output.
    pub fn new(output: Output) -> Self {
        Self { output, group: None, warnings: 0 }
    }

    fn line(&mut self, text: &str) {
        self.output.line(harmless(text));
    }

    fn annotate(&mut self, level: Level, title: &str, text: &str) {
        self.output.line(annotation(level, title, text));
    }

    fn warn(&mut self, title: &str, text: &str) {
        self.warnings += 1;
        if self.warnings <= WARNINGS {
            self.annotate(Level::Warning, title, text);
        } else {
            self.line(&format!("warning: {title}: {}", one_line(text, 400)));
        }
    }

    fn open(&mut self, iteration: u32) {
        if self.group != Some(iteration) {
            self.close();
            self.group = Some(iteration);
            self.output.line(format_args!("::group::iteration {iteration}"));
        }
    }

    fn close(&mut self) {
        if self.group.take().is_some() {
            self.output.line("::endgroup::");
        }
    }

    fn gate(&mut self, scene: &Scene<'_>, envelope: &Envelope) {
        let RunEvent::GateFinished { gate, passed, blocking, ms, result } = &envelope.event else {
            return;
        };
        let name = scene.names.gate(*gate);
        let word = if *passed { "passed" } else { "failed" };
        self.line(&format!("gate {name}: {word} ({})", human(Duration::from_millis(*ms))));
        if *passed {
            return;
        }
        let how = scene
            .json::<GateResult>(result)
            .map_or_else(|| "It failed.".to_owned(), |result| describe(&result));
        let iteration = envelope.iteration.unwrap_or_default();
        let what = if *blocking { "Gate" } else { "Quality check" };
        self.warn(&format!("{what} failed: {name}"), &format!("Iteration {iteration}. {how}"));
    }

    fn delivered(&mut self, turn: u32, verb: &str, detail: &DeliveryDetail) {
        self.line(&format!("turn {turn}: {verb}"));
        if !detail.dropped.is_empty() {
            let listed: Vec<String> = detail
                .dropped
                .iter()
                .take(LISTED)
                .map(|(path, why)| format!("{}: {}", one_line(path, 200), one_line(why, 200)))
                .collect();
            let rest = match detail.dropped.len().saturating_sub(LISTED) {
                0 => String::new(),
                rest => format!("\nand {rest} more"),
            };
            let count = plural(detail.dropped.len(), "path");
            self.warn(
                &format!("Turn {turn}: {count} not delivered"),
                &format!("{}{rest}", listed.join("\n")),
            );
        }
        if !detail.ignored.is_empty() {
            let listed = listed(&detail.ignored, LISTED);
            self.line(&format!("turn {turn}: new and ignored by git, so not delivered: {listed}"));
        }
        if let Some(refused) = &detail.refused {
            self.warn(&format!("Turn {turn} was refused"), &one_line(refused, 400));
        }
    }

    fn judged(&mut self, summary: &Summary) {
        let Some((iteration, judgement)) = summary.judgements().next_back() else { return };
        match &judgement.satisfaction {
            None => self.line(&format!(
                "iteration {iteration}: the scenarios were not judged, since a gate failed"
            )),
            Some(found) => self.line(&format!(
                "iteration {iteration}: {} of {} satisfied, {} failed, {} skipped, {} undecided; score {}",
                found.passed,
                found.total,
                found.failed,
                found.skipped,
                found.undecided,
                show_score(found.score()),
            )),
        }
    }

    /// Says what the run came to.
    fn ended(&mut self, summary: &Summary) {
        self.close();
        let Some(outcome) = Outcome::of(summary) else { return };
        let level = match outcome {
            Outcome::Converged => Level::Notice,
            Outcome::Paused => Level::Warning,
            _ => Level::Error,
        };
        let reason = outcome.reason(summary.decision.as_ref());
        self.annotate(level, &outcome.title(), &reason);
    }
}

impl Reporter for GithubReporter {
    fn event(&mut self, scene: &Scene<'_>, envelope: &Envelope) {
        let summary = scene.summary;
        let detail =
            |turn: &TurnDelivery| scene.json::<DeliveryDetail>(turn.detail()).unwrap_or_default();
        let last = || {
            let turn = summary.turns.iter().rev().find_map(|turn| turn.delivery.as_ref());
            turn.map(detail).unwrap_or_default()
        };
        match &envelope.event {
            RunEvent::RunStarted(started) => {
                let product = match started.product.as_str() {
                    "" => String::new(),
                    product => format!("{product}, "),
                };
                self.line(&format!(
                    "run {}: {product}{}, threshold {}, at most {}",
                    summary.run,
                    plural(started.scenarios, "scenario"),
                    show_score(started.threshold),
                    plural(started.max_iterations as usize, "agent turn"),
                ));
                let agent = started.agent.as_deref().unwrap_or("none");
                self.line(&format!("agent {agent}; isolation `{}`", started.tier));
            }
            RunEvent::RunResumed { .. } => self.line(&format!("run {} goes on", summary.run)),
            RunEvent::NodeStarted { .. } => {
                if let Some(iteration) = envelope.iteration {
                    self.open(iteration);
                }
            }
            RunEvent::NodeFinished { .. }
            | RunEvent::EdgeTaken { .. }
            | RunEvent::GateStarted { .. }
            | RunEvent::ScenarioStarted { .. }
            | RunEvent::FeedbackWritten { .. }
            | RunEvent::QuestionAnswered { .. } => {}
            RunEvent::CandidateJudged(_) => self.judged(summary),
            RunEvent::PrepareFinished { step, cached, passed, network, .. } => {
                let name =
                    scene.names.prepare.get(*step).map_or_else(|| step.to_string(), Clone::clone);
                let word = match (passed, cached) {
                    (true, true) => "from the cache",
                    (true, false) => "passed",
                    (false, _) => "failed",
                };
                let network = network.map_or_else(String::new, |one| format!(", {}", one.said()));
                self.line(&format!("prepare {name}: {word}{network}"));
                if !passed {
                    self.warn(&format!("Set-up failed: {name}"), "The scenarios are not judged.");
                }
            }
            RunEvent::GateFinished { .. } => self.gate(scene, envelope),
            RunEvent::GatesFlagged { files, paths } => {
                let paths = scene.json::<Vec<String>>(paths).unwrap_or_default();
                self.warn(
                    &format!("Gates changed: {} that define them", plural(*files, "file")),
                    &format!("A person must look at them: {}", listed(&paths, LISTED)),
                );
            }
            RunEvent::ScenarioJudged { scenario, verdict, ms, .. } => self.line(&format!(
                "{verdict}: {} ({})",
                scene.names.scenario(scenario),
                human(Duration::from_millis(*ms))
            )),
            RunEvent::DecisionMade { decision } => self.line(&format!(
                "decision: {}: {}",
                decision.class().replace('_', " "),
                decision.reason()
            )),
            RunEvent::WorkspaceChecked { files, withheld, .. } => {
                self.line(&format!("workspace: {}", plural(*files, "file")));
                if *withheld > 0 {
                    self.line(&format!(
                        "workspace: {} left out, since an evaluation stands there",
                        plural(*withheld, "file")
                    ));
                }
            }
            RunEvent::ReceiptBegun { .. } => {}
            RunEvent::ReceiptWritten { turn, contaminated, receipt } => {
                if let Some(receipt) = scene.json::<Receipt>(receipt) {
                    let text = receipt_line(&receipt);
                    self.line(&format!("turn {turn}: {text}"));
                    if *contaminated {
                        self.warn(&format!("Turn {turn} is contaminated"), &text);
                    }
                }
            }
            RunEvent::AgentStarted { turn, attempt, .. } => {
                let again = if *attempt > 1 { " again" } else { "" };
                self.line(&format!("turn {turn}: the agent was started{again}"));
            }
            RunEvent::AgentFinished { turn, class, ms, trouble, reaped, .. } => {
                let time = human(Duration::from_millis(*ms));
                self.line(&format!("turn {turn}: the agent ended as `{class}` after {time}"));
                if *reaped > 0 {
                    let count = plural(*reaped as usize, "process");
                    self.line(&format!("turn {turn}: {count} of it still ran, and was ended"));
                }
                let known = TurnClass::parse(class).unwrap_or(TurnClass::Crashed);
                if known != TurnClass::Done {
                    let rest = if known.delivers() {
                        "What it brought is judged."
                    } else {
                        "Nothing of the attempt is delivered."
                    };
                    let said = trouble.as_ref().and_then(|said| scene.text(said));
                    let said = said.map(|said| format!(" It says: {}", one_line(&said, 300)));
                    self.warn(
                        &format!("Turn {turn}: the agent {}", known.words()),
                        &format!("After {time}.{} {rest}", said.unwrap_or_default()),
                    );
                }
            }
            RunEvent::TurnPostponed { turn, class, until, takes_over, stops, .. } => {
                let next = takes_over.as_deref();
                let said = postponed(class, *until, envelope.time, next, *stops);
                self.line(&format!("turn {turn}: the agent {said}"));
            }
            RunEvent::AttemptShelved { turn, .. } => {
                self.line(&format!("turn {turn}: what it had changed is kept as a patch"));
            }
            RunEvent::AgentInterrupted { turn, exit, .. } => {
                let why = exit.map_or("The factory died during it".to_owned(), |exit| {
                    format!("The factory was {} during it", interrupted_by(exit))
                });
                self.warn(
                    &format!("Turn {turn} was cut short"),
                    &format!("{why}; what it had cost is not known."),
                );
            }
            RunEvent::DeliveryAccepted { turn, files, .. } => {
                self.delivered(*turn, &format!("{} delivered", plural(*files, "file")), &last());
            }
            RunEvent::DeliveryUnchanged { turn, .. } => {
                self.delivered(*turn, "nothing delivered", &last());
            }
            RunEvent::DeliveryRefused { turn, class, .. } => {
                self.delivered(*turn, &format!("refused ({class})"), &last());
            }
            RunEvent::QuestionAsked { turn, question } => {
                let question = scene.text(question).unwrap_or_default();
                self.warn(&format!("Turn {turn}: the agent asks"), &one_line(&question, 1_000));
            }
            RunEvent::RunFailed { message, .. } => {
                self.close();
                let message = scene.text(message).unwrap_or_default();
                self.annotate(Level::Error, &Outcome::Failed.title(), message.trim_end());
            }
            RunEvent::RunPaused {}
            | RunEvent::RunInterrupted { .. }
            | RunEvent::RunFinished { .. } => self.ended(summary),
        }
    }
}

/// Says how a gate failed, with the last line that it wrote.
fn describe(result: &GateResult) -> String {
    let how = match &result.status {
        GateStatus::Passed => "It passed.".to_owned(),
        GateStatus::Failed { code } => format!("It exited with {code}."),
        GateStatus::Signalled { signal } => format!("Signal {signal} ended it."),
        GateStatus::TimedOut { limit } => format!("It took longer than {}.", human(*limit)),
        GateStatus::TargetGone { target } => {
            format!("The make target `{target}` of the base is gone.")
        }
        GateStatus::CouldNotStart { why } => format!("It could not be started: {why}."),
        GateStatus::Interrupted => "It was interrupted.".to_owned(),
    };
    match result.output.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        Some(last) => format!("{how}\n{}", one_line(last, 400)),
        None => how,
    }
}

/// Returns the outputs of the step: `satisfied` (`true` only for a clean convergence),
/// `final_score` (of the best candidate; two decimals, cut and not rounded; empty where nothing
/// was judged), `iterations` (turns that the agent took) and `outcome`.
pub fn outputs(report: &RunReport) -> Vec<(String, String)> {
    let score = report.final_score.map_or_else(String::new, show_score);
    let pairs = [
        ("satisfied", report.satisfied.to_string()),
        ("final_score", score),
        ("iterations", report.turns_taken.to_string()),
        ("outcome", report.outcome.map_or_else(String::new, |one| one.class().to_owned())),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the summary of the step, as markdown of less than 1 MB.
pub fn step_summary(report: &RunReport) -> String {
    format!("## Dark Factory\n\n{}", markdown::page(report, SUMMARY_BYTES))
}

/// A file of the job that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write `{}`, which {variable} names", path.display())]
pub struct JobFileError {
    variable: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Appends the outputs to the file that `GITHUB_OUTPUT` names, and the summary, where there is one, to the one
/// that `GITHUB_STEP_SUMMARY` names; what is not set is left out.
///
/// # Errors
/// A file can't be written.
pub fn write_job_files(
    env: &Environment,
    outputs: &[(String, String)],
    summary: Option<&str>,
) -> Result<(), JobFileError> {
    let named = |variable| env.get(variable).map(|path| (variable, env.current_dir().join(path)));
    let failed = |variable, path: &Path| {
        let path = path.to_owned();
        move |source| JobFileError { variable, path, source }
    };
    if let Some((variable, path)) = named("GITHUB_OUTPUT") {
        write_outputs(&path, outputs).map_err(failed(variable, &path))?;
    }
    if let (Some(summary), Some((variable, path))) = (summary, named("GITHUB_STEP_SUMMARY")) {
        append(&path, &format!("{summary}\n")).map_err(failed(variable, &path))?;
    }
    Ok(())
}

/// Appends outputs to the file at `path`, each value between delimiters that do not occur in it.
///
/// # Errors
/// The file can't be written.
pub fn write_outputs(path: &Path, pairs: &[(String, String)]) -> io::Result<()> {
    let mut text = String::new();
    for (name, value) in pairs {
        let mut delimiter = format!("end-{}", Digest::of(value.as_bytes()));
        while value.contains(&delimiter) {
            delimiter = format!("end-{}", Digest::of(delimiter.as_bytes()));
        }
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    append(path, &text)
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::convergence::Decision;
    use crate::event::{Audience, Label};
    use crate::report::testing::TestRun;
    use crate::report::{Blobs, Names};
    use crate::verdict::Satisfaction;

    /// Tells a run to a reporter, and returns the lines that it wrote.
    fn said(gate: &str, run: impl FnOnce(&mut TestRun)) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let output = Output::new(Box::new(file.reopen().unwrap()), false);
        let mut told = TestRun::begin("r1");
        run(&mut told);
        let names = Names { gates: vec![gate.to_owned()], ..Names::default() };
        told.tell(&names, &mut GithubReporter::new(output));
        fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn gate_failed(run: &mut TestRun, output: &str) {
        let result = GateResult {
            name: "make lint".into(),
            status: GateStatus::Failed { code: 2 },
            duration: Duration::from_secs(1),
            output: output.into(),
            output_bytes: 0,
        };
        let result = run.json(Label::Internal, &result);
        let (gate, passed, blocking, ms) = (0, false, true, 1_000);
        run.event(RunEvent::GateFinished { gate, passed, blocking, ms, result });
    }

    /// Judges four scenarios, of which the first `passed` are satisfied.
    fn judged(run: &mut TestRun, commit: &str, passed: usize) {
        let found = Satisfaction {
            total: 4,
            passed,
            failed: 4 - passed,
            weight_satisfied: passed as f64,
            weight_judged: 4.0,
            ..Satisfaction::default()
        };
        run.at("judge").closed(commit, Some(found), false);
    }

    /// Returns whether the runner would act on the line, by its own rules.
    fn commands(line: &str) -> bool {
        line.trim_start().starts_with("::") || line.contains("##[")
    }

    #[test]
    fn a_run_is_told_in_groups_with_annotations() {
        let lines = said("make lint", |run| {
            judged(run, "b", 1);
            run.turn("done");
            run.accepted("1", &["a", "b"], &[("specs/a.md", "The path is protected.")]);
            judged(run, "1", 4);
            run.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
        });
        assert_eq!(
            lines,
            [
                "run r1: 4 scenarios, threshold 0.80, at most 5 agent turns",
                "agent replay; isolation `copy`",
                "::group::iteration 0",
                "iteration 0: 1 of 4 satisfied, 3 failed, 0 skipped, 0 undecided; score 0.25",
                "turn 1: the agent was started",
                "turn 1: the agent ended as `done` after 12 s",
                "turn 1: 2 files delivered",
                "::warning title=Turn 1%3A 1 path not delivered::specs/a.md: The path is protected.",
                "::endgroup::",
                "::group::iteration 1",
                "iteration 1: 4 of 4 satisfied, 0 failed, 0 skipped, 0 undecided; score 1.00",
                "decision: converged: The score 1.00 reaches the threshold 0.80, and every gate passed.",
                "::endgroup::",
                "::notice title=Converged::The score 1.00 reaches the threshold 0.80, and every gate passed.",
            ]
        );
    }

    #[test]
    fn a_run_that_ends_badly_is_an_error() {
        let lines = said("make lint", |run| {
            judged(run, "b", 1);
            gate_failed(run, "lots\nerror: 100% wrong\n\n");
            run.turn("done").refused("too_many_files", "Too much.");
            run.finished(Decision::Stalled { steps: 3 });
        });
        let gate = "::warning title=Gate failed%3A make lint::Iteration 0. It exited with 2.%0A\
                    error: 100%25 wrong";
        assert!(lines.iter().any(|line| line == gate), "{lines:#?}");
        assert!(lines.contains(&"::warning title=Turn 1 was refused::Too much.".to_owned()));
        let last = lines.last().unwrap();
        assert!(last.starts_with("::error title=Stalled::The last 3 iterations"), "{last}");
    }

    #[test]
    fn nothing_from_outside_commands_the_runner() {
        let evil = "\n::error::x\r::set-env name=A::b\u{85}##[add-path]c";
        let mut count = 0;
        let lines = said(evil, |run| {
            judged(run, "b", 1);
            gate_failed(run, evil);
            let detail = DeliveryDetail {
                dropped: vec![(evil.to_owned(), evil.to_owned())],
                ignored: vec![evil.to_owned()],
                ..DeliveryDetail::default()
            };
            let detail = run.json(Label::Internal, &detail);
            run.event(RunEvent::DeliveryUnchanged { turn: 1, dropped: 1, detail });
            run.refused("too_many_files", evil);
            let paths = run.json(Label::Internal, &[evil]);
            run.event(RunEvent::GatesFlagged { files: 1, paths });
            let question = run.put(Label::Internal, evil);
            run.event(RunEvent::QuestionAsked { turn: 2, question });
            let message = run.put(Label::Internal, evil);
            run.event(RunEvent::RunFailed { class: "git".into(), message });
        });
        for line in &lines {
            assert!(!line.contains('\r') && !line.contains('\u{85}'), "{line}");
            if commands(line) {
                count += 1;
                let ours = ["::group::", "::endgroup::", "::warning title=", "::error title="];
                assert!(ours.iter().any(|ours| line.starts_with(ours)), "{line}");
                // A comma would begin another property.
                let title = line.split("::").nth(1).unwrap();
                assert!(!title.contains(','), "{line}");
            }
        }
        assert_eq!(count, 8, "{lines:#?}");
    }

    #[test]
    fn a_line_that_would_command_is_made_harmless() {
        for text in ["::error::x", "  ::error::x", "a ##[error]x", "\n::x::", "a\n::error::b"] {
            assert!(!commands(&harmless(text)), "{text:?}");
            assert!(!harmless(text).contains('\n'));
        }
        assert_eq!(harmless("a: b::c # d"), "a: b::c # d");
        let error = annotation(Level::Error, "a,b:c\n::d", "1%\n::error::x");
        assert_eq!(error, "::error title=a%2Cb%3Ac %3A%3Ad::1%25%0A::error::x");
    }

    #[test]
    fn the_eleventh_warning_is_a_line() {
        let lines = said("make lint", |run| (0..12).for_each(|_| gate_failed(run, "no")));
        let shown = lines.iter().filter(|line| line.starts_with("::warning")).count();
        let told = lines.iter().filter(|line| line.starts_with("warning: Gate failed")).count();
        assert_eq!((shown, told), (10, 2));
    }

    #[test]
    fn the_outputs_are_those_of_the_offered_candidate() {
        let report = |run: &TestRun| {
            let blobs = Blobs::of(&run.dir(), Audience(Label::Internal));
            RunReport::of(&run.summary(), false, true, &blobs).unwrap()
        };
        let mut nothing = TestRun::begin("r1");
        nothing.finished(Decision::NothingToJudge);
        let expected = [
            ("satisfied", "false"),
            ("final_score", ""),
            ("iterations", "0"),
            ("outcome", "nothing_to_judge"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(outputs(&report(&nothing)), expected);
        let mut run = TestRun::begin("r1");
        judged(&mut run, "b", 1);
        run.turn("done").accepted("1", &["a"], &[]);
        judged(&mut run, "1", 4);
        run.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
        let values: Vec<_> = outputs(&report(&run)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["true", "1.00", "1", "converged"]);
    }

    #[test]
    fn a_value_cannot_end_itself_or_name_another() {
        let dir = tempfile::tempdir().unwrap();
        let (outputs, summary) = (dir.path().join("o"), dir.path().join("s"));
        let hostile = format!("a\nend-{}\nevil=1", Digest::of(b"a"));
        let variables = [
            ("GITHUB_OUTPUT".into(), outputs.clone().into()),
            ("GITHUB_STEP_SUMMARY".into(), summary.clone().into()),
        ];
        let env = Environment::from_parts(variables.into(), dir.path().to_owned());
        fs::write(&outputs, "kept=1\n").unwrap();
        write_job_files(&env, &[("name".into(), hostile.clone())], Some("# S")).unwrap();
        let text = fs::read_to_string(&outputs).unwrap();
        let (head, rest) = text.strip_prefix("kept=1\n").unwrap().split_once('\n').unwrap();
        let delimiter = head.strip_prefix("name<<").unwrap();
        assert!(!hostile.contains(delimiter));
        assert_eq!(rest, format!("{hostile}\n{delimiter}\n"));
        assert_eq!(fs::read_to_string(&summary).unwrap(), "# S\n");
        let nowhere = Environment::from_parts(
            [("GITHUB_OUTPUT".into(), "/no/such/file".into())].into(),
            dir.path().to_owned(),
        );
        let error = write_job_files(&nowhere, &[], Some("")).unwrap_err();
        assert!(error.to_string().ends_with("which GITHUB_OUTPUT names"), "{error}");
        let nothing = Environment::from_parts([].into(), dir.path().to_owned());
        write_job_files(&nothing, &[], Some("")).unwrap();
    }
}
