//! What a person sees while scenarios are judged: a line a scenario, the end of what a failed one
//! printed, a sum, and on a terminal a live line of what is running.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use styles::{BOLD, DIM, GREEN, RED, RESET, YELLOW};

use crate::clock::human;
use crate::scenario::{Entry, History, LastStatus};
use crate::text::{one_line, plural, tail, visible};
use crate::verdict::{Judged, Satisfaction, Verdict, show_score};

use super::Output;
use super::results::{SCHEMA, error_summary};

/// How many lines of a failed scenario's output are shown.
const LINES: usize = 10;
/// How many characters of such a line.
const WIDTH: usize = 200;

/// What is shown, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detail {
    /// Whether scenarios that are satisfied get no line.
    pub quiet: bool,
    /// Whether nothing at all is written.
    pub silent: bool,
    /// Whether there is a terminal for a live line.
    pub live: bool,
}

/// Shows a judgement as it goes on.
#[derive(Debug)]
pub struct ScenarioReporter<'a> {
    output: &'a mut Output,
    detail: Detail,
    live: Option<ProgressBar>,
    running: Vec<String>,
    total: usize,
    done: usize,
    first_failed: Option<String>,
}

impl<'a> ScenarioReporter<'a> {
    /// Returns a reporter that expects `total` scenarios.
    pub fn new(output: &'a mut Output, detail: Detail, total: usize) -> Self {
        let live = detail.live.then(|| {
            let live = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                live.set_style(style);
            }
            live.enable_steady_tick(Duration::from_millis(120));
            live
        });
        Self { output, detail, live, running: Vec::new(), total, done: 0, first_failed: None }
    }

    /// Says that a scenario has begun.
    pub fn started(&mut self, entry: &Entry) {
        self.running.push(entry.name.clone());
        self.refresh();
    }

    /// Says what came of a scenario.
    pub fn judged(&mut self, judged: &Judged) {
        self.done += 1;
        if self.first_failed.is_none() && matches!(judged.verdict, Verdict::Unsatisfied { .. }) {
            self.first_failed = Some(judged.id.to_string());
        }
        if let Some(at) = self.running.iter().position(|name| *name == judged.name) {
            self.running.remove(at);
        }
        if !(self.detail.quiet && judged.is_satisfied()) {
            let lines = describe(judged);
            self.print(&lines);
        }
        self.refresh();
    }

    /// Says what came of all, and how to run the first of those that failed again:
    /// `rerun` makes the command from the scenario's id.
    pub fn finished(
        &mut self,
        sum: &Satisfaction,
        duration: Duration,
        rerun: &dyn Fn(&str) -> String,
    ) {
        if let Some(live) = self.live.take() {
            live.finish_and_clear();
        }
        let mut lines = vec![String::new(), summary(sum, duration)];
        if let Some(first) = &self.first_failed {
            lines.push(format!("run one again: {}", rerun(first)));
        }
        self.print(&lines);
    }

    /// Writes one more line.
    pub fn note(&mut self, line: &str) {
        self.print(&[line.to_owned()]);
    }

    fn print(&mut self, lines: &[String]) {
        if self.detail.silent {
            return;
        }
        let output = &mut *self.output;
        let mut write = || lines.iter().for_each(|line| output.line(line));
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    fn refresh(&self) {
        if let Some(live) = &self.live {
            let running = one_line(&self.running.join(", "), WIDTH);
            live.set_message(format!("{}/{} {running}", self.done, self.total));
        }
    }
}

/// Returns the lines on one scenario: its own, and the end of its output where it failed.
pub fn describe(judged: &Judged) -> Vec<String> {
    let (colour, label) = match &judged.verdict {
        Verdict::Satisfied => (GREEN, "PASS"),
        Verdict::Unsatisfied { .. } => (RED, "FAIL"),
        Verdict::Undecided { .. } => (YELLOW, "UNDECIDED"),
        Verdict::Skipped { .. } => (YELLOW, "SKIP"),
    };
    let time = judged.duration().as_secs_f64();
    let name = one_line(&judged.name, WIDTH);
    let mut line = format!("{colour}{label}{RESET}  {time:.1}s  {name}");
    if judged.attempts.len() > 1 {
        let attempts = plural(judged.attempts.len(), "attempt");
        line.push_str(&if judged.is_satisfied() {
            format!("  {YELLOW}(flaky: passed after {attempts}){RESET}")
        } else {
            format!("  ({attempts})")
        });
    }
    if judged.attempts.last().is_some_and(|last| last.leaked) {
        line.push_str(&format!("  {YELLOW}(left processes running){RESET}"));
    }
    let mut lines = vec![line];
    let why = error_summary(judged);
    if !why.is_empty() {
        lines.push(format!("      {why}"));
    }
    if matches!(judged.verdict, Verdict::Unsatisfied { .. })
        && let Some(last) = judged.attempts.last()
    {
        let text = if last.stderr.trim().is_empty() { &last.stdout } else { &last.stderr };
        lines.extend(last_lines(text).map(|line| format!("      {DIM}|{RESET} {line}")));
    }
    lines
}

/// Returns the sum in one line: `7 of 9 satisfied, 1 failed, 1 skipped; score 0.88; 3.2 s`.
pub fn summary(sum: &Satisfaction, duration: Duration) -> String {
    let mut line = format!("{BOLD}{} of {} satisfied{RESET}", sum.passed, sum.total);
    for (count, what) in
        [(sum.failed, "failed"), (sum.undecided, "undecided"), (sum.skipped, "skipped")]
    {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    match sum.score() {
        Some(score) => line.push_str(&format!("; score {}", show_score(score))),
        None => line.push_str("; nothing judged"),
    }
    line.push_str(&format!("; {}", human(duration)));
    line
}

fn last_lines(text: &str) -> impl Iterator<Item = String> {
    let text = text.trim_end();
    let begin = text.rmatch_indices('\n').nth(LINES - 1).map_or(0, |(at, _)| at + 1);
    text[begin..].lines().map(|line| visible(tail(line.trim_end(), WIDTH).0))
}

/// A scenario in a list: `--list --format json`.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    file_path: &'a str,
    category: &'a str,
    tags: &'a [String],
    slow: bool,
    serial: bool,
    valid: bool,
    /// The verdict of the last time; null where there is no record.
    last_status: Option<LastStatus>,
}

impl<'a> Listed<'a> {
    fn of(entry: &'a Entry, history: &History) -> Self {
        Self {
            id: entry.id.as_str(),
            name: &entry.name,
            file_path: &entry.file,
            category: &entry.category,
            tags: entry.tags(),
            slow: entry.is_slow(),
            serial: entry.is_serial(),
            valid: entry.scenario.is_ok(),
            last_status: history.status(&entry.id),
        }
    }

    /// Returns the list as JSON, with what came of each scenario the last time.
    pub fn json(entries: &'a [Entry], history: &History) -> String {
        let scenarios: Vec<_> = entries.iter().map(|entry| Self::of(entry, history)).collect();
        format!("{:#}", serde_json::json!({ "schema": SCHEMA, "scenarios": scenarios }))
    }

    /// Returns the list as lines: id, category, name, in columns.
    pub fn lines(entries: &[Entry]) -> Vec<String> {
        let width = |text: fn(&Entry) -> &str| {
            entries.iter().map(|entry| text(entry).chars().count()).max().unwrap_or(0)
        };
        let ids = width(|entry| entry.id.as_str());
        let categories = width(|entry| &entry.category);
        let line = |entry: &Entry| {
            let name = one_line(&entry.name, WIDTH);
            let category = visible(&entry.category);
            let invalid = if entry.scenario.is_ok() { "" } else { "  (invalid)" };
            format!("{:ids$}  {category:categories$}  {name}{invalid}", entry.id.as_str())
        };
        entries.iter().map(line).collect()
    }
}

/// The few styles that are used; `Output` takes them out where nobody can see them.
mod styles {
    pub(super) const BOLD: &str = "\u{1b}[1m";
    pub(super) const DIM: &str = "\u{1b}[2m";
    pub(super) const RED: &str = "\u{1b}[31m";
    pub(super) const GREEN: &str = "\u{1b}[32m";
    pub(super) const YELLOW: &str = "\u{1b}[33m";
    pub(super) const RESET: &str = "\u{1b}[0m";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ScenarioId;
    use crate::scenario::Visibility;
    use crate::verdict::{Attempt, Ending, of_ending, satisfaction};

    fn judged(codes: &[i32], stderr: &str) -> Judged {
        let attempts: Vec<Attempt> = codes
            .iter()
            .map(|code| {
                let ending = Ending::Exited { code: *code };
                Attempt::new(ending, "", stderr, Duration::from_millis(140))
            })
            .collect();
        Judged {
            id: ScenarioId::parse("login").unwrap(),
            name: "Log in".to_owned(),
            file: "scenarios/login.md".to_owned(),
            category: String::new(),
            weight: 1.0,
            critical: false,
            visibility: Visibility::Holdout,
            verdict: of_ending(&attempts.last().unwrap().ending),
            attempts,
            evidence: Vec::new(),
        }
    }

    fn check(judged: &Judged, expected: &str) {
        let lines = describe(judged).join("\n");
        let plain = regex::Regex::new("\u{1b}\\[\\d+m").unwrap().replace_all(&lines, "");
        assert_eq!(plain, expected);
    }

    #[test]
    fn a_pass_is_one_line() {
        check(&judged(&[0], "noise"), "PASS  0.1s  Log in");
    }

    #[test]
    fn a_failure_shows_its_last_lines() {
        let text: String = (1..=12).map(|n| format!("line {n}\n")).collect();
        let shown: String = (3..=12).map(|n| format!("\n      | line {n}")).collect();
        check(
            &judged(&[1], &text),
            &format!("FAIL  0.1s  Log in\n      exit code 1: line 12{shown}"),
        );
    }

    #[test]
    fn a_pass_after_a_failure_is_flaky_and_says_so() {
        check(&judged(&[1, 0], ""), "PASS  0.3s  Log in  (flaky: passed after 2 attempts)");
    }

    #[test]
    fn no_escape_sequence_of_the_product_is_shown() {
        let lines = describe(&judged(&[1], "\u{1b}[2Jgone")).join("\n");
        assert!(!lines.contains("\u{1b}[2J"), "{lines:?}");
    }

    #[test]
    fn the_score_is_not_rounded_up() {
        let mut all = vec![judged(&[0], ""); 999];
        all.push(judged(&[1], ""));
        let line = summary(&satisfaction(&all), Duration::from_secs(2));
        assert!(
            line.ends_with("999 of 1000 satisfied\u{1b}[0m, 1 failed; score 0.99; 2.0 s"),
            "{line}"
        );
    }
}
