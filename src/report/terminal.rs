//! What a person sees while the loop runs: a few lines for each iteration and turn, and on a
//! terminal a live line of what is running now.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{Instant, human};
use crate::convergence::{Decision, Step, TurnClass};
use crate::event::{
    Activity, DeliveryDetail, Envelope, Receipt, RunEvent, RunStarted, Summary, TurnDelivery, Usage,
};
use crate::id::ScenarioId;
use crate::text::{self, one_line, plural, visible};
use crate::verdict::{GateResult, show_score};

use super::activity::{doing, interrupted_by, postponed};
use super::receipt::receipt_line;
use super::{Output, Reporter, Scene};

/// How many paths or names are shown of a list.
const LISTED: usize = 5;
/// How often it is said what the agent does, where there is no live line.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How wide the first column is.
const COLUMN: usize = 11;

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TerminalDetail {
    /// Whether only decisions and warnings are shown.
    pub quiet: bool,
    /// Whether there is a terminal for a live line.
    pub live: bool,
}

/// Shows a run as it goes on.
pub struct TerminalReporter {
    output: Output,
    detail: TerminalDetail,
    live: Option<ProgressBar>,
    iteration: Option<u32>,
    gates: Vec<String>,
    gate_ms: u64,
    judged: usize,
    scenario_ms: u64,
    /// The agent at work.
    agent: String,
    /// When it was last said what it does, where there is no live line.
    said: Option<Instant>,
}

impl TerminalReporter {
    /// Returns a reporter that writes to `output`.
    pub fn new(output: Output, detail: TerminalDetail) -> Self {
        let live = detail.live.then(|| {
            let live = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                live.set_style(style);
            }
            live.enable_steady_tick(Duration::from_millis(120));
            live
        });
        Self {
            output,
            detail,
            live,
            iteration: None,
            gates: Vec::new(),
            gate_ms: 0,
            judged: 0,
            scenario_ms: 0,
            agent: String::new(),
            said: None,
        }
    }

    fn line(&mut self, line: &str) {
        match &self.live {
            Some(live) => live.suspend(|| self.output.line(line)),
            None => self.output.line(line),
        }
    }

    /// Writes a line that `quiet` leaves out.
    fn detail(&mut self, name: &str, text: &str) {
        if !self.detail.quiet {
            self.line(&format!("  {name:COLUMN$}{text}"));
        }
    }

    fn now(&self, what: String) {
        if let Some(live) = &self.live {
            live.reset_elapsed();
            live.set_message(what);
        }
    }

    fn header(&mut self, scene: &Scene<'_>, run: &RunStarted) {
        let base = match (&run.base_branch, run.base.get(..7)) {
            (Some(branch), Some(short)) => format!("{branch} at {short}"),
            (None, Some(short)) => short.to_owned(),
            _ => "the working tree".to_owned(),
        };
        let base = if run.in_place { "the working tree".to_owned() } else { base };
        let base = match run.product.as_str() {
            "" => base,
            product => format!("{product}, {base}"),
        };
        self.line(&format!("run {}", scene.summary.run));
        let what = format!(
            "{base}, {}, threshold {}",
            plural(run.scenarios, "scenario"),
            show_score(run.threshold)
        );
        self.line(&format!("  {:COLUMN$}{what}", "judging"));
        if let Some(agent) = &run.agent {
            let text = format!(
                "{agent}, at most {}; isolation `{}`",
                plural(run.max_iterations as usize, "turn"),
                run.tier
            );
            self.line(&format!("  {:COLUMN$}{text}", "agent"));
            self.line(&format!("  {:COLUMN$}{}", "branch", run.branch));
        }
    }

    /// Writes the head of an iteration once, when its candidate is looked at first.
    fn iteration_begins(&mut self, scene: &Scene<'_>) {
        let iteration = scene.summary.iteration();
        if !scene.summary.candidate_is_open() || self.iteration == Some(iteration) {
            return;
        }
        self.iteration = Some(iteration);
        let base = if scene.summary.turns_taken() == 0 { ", the base" } else { "" };
        if !self.detail.quiet {
            self.line(&format!("iteration {iteration}{base}"));
        }
    }

    fn gates_are_through(&mut self) {
        if !self.gates.is_empty() {
            let text = format!("{}  ({})", self.gates.join(", "), human(ms(self.gate_ms)));
            self.gates.clear();
            self.gate_ms = 0;
            self.detail("gates", &text);
        }
    }

    fn judged(&mut self, scene: &Scene<'_>) {
        let summary = scene.summary;
        let Some((_, judgement)) = summary.judgements().next_back() else { return };
        let Some(satisfaction) = judgement.satisfaction else {
            self.detail("scenarios", "not judged, since a gate failed");
            return;
        };
        let score = show_score(satisfaction.score());
        let mut text = format!(
            "{} of {} satisfied, score {score}  ({})",
            satisfaction.passed,
            satisfaction.total,
            human(ms(self.scenario_ms))
        );
        for (count, word) in
            [(satisfaction.skipped, "skipped"), (satisfaction.undecided, "undecided")]
        {
            if count > 0 {
                let _ = write!(text, ", {count} {word}");
            }
        }
        self.scenario_ms = 0;
        self.judged = 0;
        self.detail("scenarios", &text);
        for (word, names) in changes(summary, scene) {
            self.detail("", &format!("{word}: {}", listed(&names)));
        }
    }

    fn delivered(&mut self, scene: &Scene<'_>, files: Option<usize>, detail: &DeliveryDetail) {
        let text = match (files, &detail.refused) {
            (Some(files), _) => format!("{} changed", plural(files, "file")),
            (None, Some(why)) => format!("refused: {why}"),
            (None, None) if detail.patch.is_some() && detail.dropped.is_empty() => format!(
                "nothing: the turn did not end well; its changes are kept as {}",
                kept(detail).unwrap_or_default()
            ),
            (None, None) => "nothing that could be judged".to_owned(),
        };
        self.detail("delivered", &text);
        for kind in detail.dropped_kinds() {
            for entry in kind.entries.iter().take(LISTED) {
                let fact =
                    entry.fact.as_deref().map_or_else(String::new, |fact| format!("{fact} "));
                self.detail("", &format!("dropped {}: {fact}{}", entry.name(), kind.rule));
            }
            let more = kind.entries.len().saturating_sub(LISTED);
            if more > 0 {
                let run = &scene.summary.run;
                self.detail("", &format!("and {more} more like these, see `factory show {run}`"));
            }
        }
        if let (true, Some(kept)) =
            (detail.refused.is_some() || !detail.dropped.is_empty(), kept(detail))
        {
            let run = &scene.summary.run;
            self.detail(
                "",
                &format!("what is not taken is kept as {kept}, see `factory show {run}`"),
            );
        }
        if !detail.ignored.is_empty() {
            self.detail(
                "",
                &format!("new and ignored by git, so not delivered: {}", listed(&detail.ignored)),
            );
        }
    }

    fn gate_finished(
        &mut self,
        scene: &Scene<'_>,
        gate: usize,
        passed: bool,
        blocking: bool,
        ms: u64,
    ) {
        let word = match (passed, blocking) {
            (true, _) => "ok",
            (false, true) => "FAILED",
            (false, false) => "not ok",
        };
        self.gates.push(format!("{} {word}", visible(scene.names.gate(gate))));
        self.gate_ms += ms;
    }
}

/// Returns what keeps that of a turn which is not taken; none where nothing does.
fn kept(detail: &DeliveryDetail) -> Option<String> {
    detail.patch.as_ref()?;
    Some(match detail.patch_leaves_out {
        0 => "a patch".to_owned(),
        1 => "a patch, but for 1 file".to_owned(),
        count => format!("a patch, but for {} files", text::show_count(count)),
    })
}

/// Returns the name of the agent whose turn it is.
fn agent_of(summary: &Summary) -> String {
    let turn = summary.turns.last().and_then(|turn| turn.backend.clone());
    turn.or_else(|| summary.started.agent.clone()).unwrap_or_else(|| "agent".to_owned())
}

impl Reporter for TerminalReporter {
    fn activity(&mut self, activities: &[Activity]) {
        let warned = activities.iter().find(|one| matches!(one, Activity::Warned { .. }));
        let Some(text) = warned.or(activities.last()).and_then(doing) else { return };
        if warned.is_some() {
            self.line(&format!("  {:COLUMN$}{}: {text}", "agent", self.agent));
        } else if let Some(live) = &self.live {
            live.set_message(format!("{}: {text}", self.agent));
        } else if self.said.is_none_or(|since| since.left(HEARTBEAT).is_zero()) {
            self.said = Some(Instant::now());
            self.detail("", &format!("{}: {text}", self.agent));
        }
    }

    fn event(&mut self, scene: &Scene<'_>, envelope: &Envelope) {
        let summary = scene.summary;
        match &envelope.event {
            RunEvent::RunStarted(run) => self.header(scene, run),
            RunEvent::RunResumed { .. } => {
                self.line(&format!(
                    "run {} goes on, iteration {}",
                    summary.run,
                    summary.iteration()
                ));
            }
            RunEvent::NodeStarted { attempt, .. } => {
                let node = envelope.node.as_ref().map_or("", |node| node.as_str());
                self.iteration_begins(scene);
                if *attempt > 1 {
                    self.detail(node, &format!("attempt {attempt}"));
                }
                self.now(node.to_owned());
            }
            RunEvent::NodeFinished { .. } => self.gates_are_through(),
            RunEvent::EdgeTaken { .. } | RunEvent::RunPaused {} => {}
            RunEvent::PrepareFinished { step, cached, passed, ms: millis, network, .. } => {
                let name = scene.names.prepare.get(*step).map_or("?", String::as_str);
                let how = match (passed, cached) {
                    (true, true) => "kept".to_owned(),
                    (true, false) => format!("done  ({})", human(ms(*millis))),
                    (false, _) => "FAILED".to_owned(),
                };
                let network = network.map_or_else(String::new, |one| format!("  {}", one.said()));
                self.detail("prepare", &format!("{} {how}{network}", visible(name)));
            }
            RunEvent::GateStarted { gate } => {
                self.now(format!("gate {}", visible(scene.names.gate(*gate))));
            }
            RunEvent::GateFinished { gate, passed, blocking, ms, result } => {
                self.gate_finished(scene, *gate, *passed, *blocking, *ms);
                if !passed && *blocking && !self.detail.quiet {
                    let last = scene.json::<GateResult>(result).map(|r| last_line(&r.output));
                    if let Some(last) = last.filter(|last| !last.is_empty()) {
                        self.gates.push(format!("`{last}`"));
                    }
                }
            }
            RunEvent::GatesFlagged { files, paths } => {
                let paths: Vec<String> = scene.json(paths).unwrap_or_default();
                let text = format!(
                    "{} that define gates changed: {}",
                    plural(*files, "file"),
                    listed(&paths)
                );
                self.line(&format!("  {:COLUMN$}{text}", "warning"));
            }
            RunEvent::ScenarioStarted { scenario } => {
                let (done, total) = (self.judged, summary.started.scenarios);
                self.now(format!(
                    "scenario {}/{total} {}",
                    done + 1,
                    visible(scene.names.scenario(scenario))
                ));
            }
            RunEvent::ScenarioJudged { ms, .. } => {
                self.judged += 1;
                self.scenario_ms += ms;
            }
            RunEvent::CandidateJudged(_) => {
                self.gates_are_through();
                self.judged(scene);
            }
            RunEvent::DecisionMade { decision } => {
                let next =
                    if matches!(decision, Decision::Continue { .. }) { "continue" } else { "stop" };
                let text = format!("{next}: {}", decision.reason());
                self.line(&format!("  {:COLUMN$}{text}", "decision"));
            }
            RunEvent::FeedbackWritten { .. } => {}
            RunEvent::WorkspaceChecked { withheld, paths, .. } => {
                if let (true, Some(paths)) = (*withheld > 0, paths) {
                    let paths: Vec<String> = scene.json(paths).unwrap_or_default();
                    let text = format!(
                        "{} hold an evaluation and are kept from the agent: {}",
                        plural(*withheld, "file"),
                        listed(&paths)
                    );
                    self.line(&format!("  {:COLUMN$}{text}", "warning"));
                }
            }
            RunEvent::ReceiptBegun { .. } => {}
            RunEvent::ReceiptWritten { contaminated, receipt, .. } => {
                if let Some(receipt) = scene.json::<Receipt>(receipt) {
                    let text = receipt_line(&receipt);
                    match contaminated {
                        true => self.line(&format!("  {:COLUMN$}{text}", "receipt")),
                        false => self.detail("receipt", &text),
                    }
                }
            }
            RunEvent::AgentStarted { turn, attempt, .. } => {
                self.agent = agent_of(summary);
                self.said = Some(Instant::now());
                let agent = self.agent.clone();
                let again =
                    if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                if !self.detail.quiet {
                    self.line(&format!("turn {turn} of {}{again}", summary.max_iterations));
                }
                self.now(format!("{agent} is at work"));
            }
            RunEvent::AgentFinished { class, ms: millis, usage, says, trouble, reaped, .. } => {
                let agent = agent_of(summary);
                let class = TurnClass::parse(class).map_or(class.as_str(), |class| class.words());
                let mut text = format!("{agent} {class}, {}{}", human(ms(*millis)), used(*usage));
                if *reaped > 0 {
                    let _ = write!(
                        text,
                        ", {} left over and ended",
                        plural(*reaped as usize, "process")
                    );
                }
                self.detail("agent", &text);
                let text = |blob: &Option<_>| blob.as_ref().and_then(|blob| scene.text(blob));
                let (says, trouble) = (text(says), text(trouble));
                if let Some(says) = says.filter(|says| Some(says) != trouble.as_ref()) {
                    self.detail("", &format!("\"{}\"", one_line(&says, 90)));
                }
                if let Some(trouble) = trouble {
                    self.line(&format!("  {:COLUMN$}{}", "", one_line(&trouble, 200)));
                }
            }
            RunEvent::TurnPostponed { class, until, takes_over, stops, .. } => {
                let next = takes_over.as_deref();
                let said = postponed(class, *until, envelope.time, next, *stops);
                self.line(&format!("  {:COLUMN$}{} {said}", "agent", self.agent));
                self.now(format!("{} {said}", self.agent));
            }
            RunEvent::AttemptShelved { .. } => {
                self.detail("", "what it had changed is kept as a patch");
            }
            RunEvent::AgentInterrupted { ended_processes, exit, diff, .. } => {
                let kept = if diff.is_some() { "; its changes are kept as a patch" } else { "" };
                let why = exit.map_or("cut short", interrupted_by);
                let text = format!(
                    "{why}, what it cost is not known; {} ended{kept}",
                    plural(*ended_processes, "process")
                );
                self.line(&format!("  {:COLUMN$}{text}", "agent"));
            }
            RunEvent::DeliveryAccepted { files, detail, .. } => {
                let detail = scene.json(detail).unwrap_or_default();
                self.delivered(scene, Some(*files), &detail);
            }
            RunEvent::DeliveryUnchanged { detail, .. }
            | RunEvent::DeliveryRefused { detail, .. } => {
                let detail = scene.json(detail).unwrap_or_default();
                self.delivered(scene, None, &detail);
            }
            RunEvent::QuestionAsked { question, .. } => {
                let text = scene.text(question).unwrap_or_default();
                self.line(&format!("  {:COLUMN$}{}", "question", one_line(&text, 200)));
            }
            RunEvent::QuestionAnswered { .. } => {}
            RunEvent::RunInterrupted { .. }
            | RunEvent::RunFailed { .. }
            | RunEvent::RunFinished { .. } => {
                if let Some(live) = self.live.take() {
                    live.finish_and_clear();
                }
            }
        }
    }
}

/// Returns what the last judgement changed against the one before: words and names.
fn changes(summary: &Summary, scene: &Scene<'_>) -> Vec<(&'static str, Vec<String>)> {
    if summary.turns_taken() == 0 {
        return Vec::new();
    }
    let now: BTreeSet<&ScenarioId> = summary
        .visit
        .scenarios
        .iter()
        .filter(|(_, (verdict, _))| verdict == "satisfied")
        .map(|(id, _)| id)
        .collect();
    let before: BTreeSet<&ScenarioId> = summary.satisfied_before.iter().collect();
    let names = |ids: Vec<&&ScenarioId>| -> Vec<String> {
        ids.into_iter().map(|id| visible(scene.names.scenario(id))).collect()
    };
    [
        ("newly satisfied", names(now.difference(&before).collect())),
        ("no longer satisfied", names(before.difference(&now).collect())),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .collect()
}

/// Returns the trajectory as a table: a line for each iteration, the best one marked.
pub fn trajectory(summary: &Summary) -> String {
    let best = summary.best().map(|(iteration, _)| iteration);
    let mut out = format!(
        "{:>9}  {:5}  {:>5}  {:>9}  what the turn brought\n",
        "iteration", "gates", "score", "satisfied"
    );
    for (iteration, step) in &summary.steps {
        let (gates, score, passed) = match step {
            Step::Unchanged => ("-", "-".to_owned(), "-".to_owned()),
            Step::Judged(judgement) => {
                let gates = match (judgement.gates_passed, judgement.gates_changed) {
                    (true, false) if judgement.gates == Some(0) => "none",
                    (true, false) => "ok",
                    (true, true) => "ok, !",
                    (false, _) => "FAIL",
                };
                let satisfaction = judgement.satisfaction;
                (
                    gates,
                    show_score(judgement.score()),
                    satisfaction.map_or("-".to_owned(), |s| format!("{}/{}", s.passed, s.total)),
                )
            }
        };
        let mark = if Some(*iteration) == best { "*" } else { " " };
        let brought = brought(summary, *iteration);
        let line = format!("{mark}{iteration:>8}  {gates:5}  {score:>5}  {passed:>9}  {brought}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push_str("* the best candidate\n");
    out
}

/// Returns in a few words what the turn before an iteration brought.
fn brought(summary: &Summary, iteration: u32) -> String {
    let first = summary.started.first_iteration;
    if iteration == first {
        return "the base".to_owned();
    }
    let Some(turn) = summary.turns.iter().find(|turn| first + turn.turn == iteration) else {
        return String::new();
    };
    let mut text = match &turn.delivery {
        Some(TurnDelivery::Accepted { files, dropped: 0, .. }) => plural(*files, "file"),
        Some(TurnDelivery::Accepted { files, dropped, .. }) => {
            format!("{}, {dropped} dropped", plural(*files, "file"))
        }
        Some(TurnDelivery::Unchanged { dropped: 0, .. }) => "nothing".to_owned(),
        Some(TurnDelivery::Unchanged { dropped, .. }) => format!("nothing, {dropped} dropped"),
        Some(TurnDelivery::Refused { class, .. }) => format!("refused ({class})"),
        None => String::new(),
    };
    if let Some(class) = turn.class.as_deref().filter(|class| !matches!(*class, "done" | "no_op")) {
        let _ = write!(text, "; the agent ended as `{class}`");
    }
    if turn.interrupted > 0 {
        let _ = write!(text, "; {} cut short", plural(turn.interrupted as usize, "attempt"));
    }
    text
}

/// Returns what an agent says that it used; empty where it says nothing.
fn used(usage: Usage) -> String {
    let mut text = String::new();
    if let (Some(input), Some(output)) = (usage.input_tokens, usage.output_tokens) {
        let _ = write!(text, ", {input} tokens in, {output} out");
    }
    if let Some(cost) = usage.cost_usd {
        let _ = write!(text, ", ${cost:.2}");
    }
    text
}

fn listed(names: &[String]) -> String {
    text::listed(names, LISTED)
}

fn last_line(output: &str) -> String {
    let last = output.lines().rev().find(|line| {
        // make's own last line says less than the one before it.
        !line.trim().is_empty() && !line.starts_with("make")
    });
    one_line(last.unwrap_or(""), 80)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
