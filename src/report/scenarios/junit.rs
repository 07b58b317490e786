//! JUnit's XML, in the dialect of Surefire, which knows retries.
//!
//! Written by hand: the crate for it keeps the whole report in memory, and brings two libraries
//! for times and ids that a report of ours doesn't need. A test case goes to the spool once it is
//! judged, so that memory does not grow with what scenarios print; only the output of what did
//! not pass is in the report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anstream::adapter::strip_str;

use crate::clock::Timestamp;
use crate::id::ScenarioId;
use crate::report::WriteError;
use crate::report::results::{attempt_summary, error_summary};
use crate::text::{Subtree, visible};
use crate::verdict::{Attempt, Ending, Judged, Miss, Obstacle, Verdict};

use super::describe::{LEFT_PROCESSES, NEEDS_A_TERMINAL, printed};
use super::spool::Spool;
use super::target::Target;
use super::{Begun, Finished, JudgementReporter, line_of};

/// Writes a test suite with a test case for each scenario.
#[derive(Debug)]
pub struct JunitReporter<'a> {
    target: Option<Target<'a>>,
    spool: Option<Spool>,
    lines: BTreeMap<ScenarioId, usize>,
    counts: Counts,
    at: Subtree,
    result: Result<(), WriteError>,
}

#[derive(Debug, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

/// What a test case is to JUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passed,
    Failure,
    Error,
    Skipped,
}

impl<'a> JunitReporter<'a> {
    /// Returns a reporter that keeps what it has so far in a file without name in `scratch`.
    pub fn new(target: Target<'a>, scratch: &Path) -> Self {
        Self {
            target: Some(target),
            spool: Some(Spool::begin(scratch)),
            lines: BTreeMap::new(),
            counts: Counts::default(),
            at: Subtree::default(),
            result: Ok(()),
        }
    }

    /// Names the files from the root of the repository, in which they lie at `at`.
    #[must_use]
    pub fn of_product(self, at: Subtree) -> Self {
        Self { at, ..self }
    }

    fn head(&self, finished: &Finished<'_>) -> String {
        let Counts { tests, failures, errors, skipped } = self.counts;
        let time = seconds(finished.duration);
        let ended = finished.timestamp.unix_millis();
        let took = i64::try_from(finished.duration.as_millis()).unwrap_or(0);
        let counts = format!(
            "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
             time=\"{time}\" timestamp=\"{}\"",
            Timestamp::from_unix_millis(ended - took)
        );
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"run-scenarios\" {counts}>\n  \
             <testsuite name=\"scenarios\" {counts}>\n"
        )
    }
}

impl JudgementReporter for JunitReporter<'_> {
    fn begun(&mut self, begun: &Begun<'_>) {
        if let Some(spool) = &mut self.spool {
            spool.order(begun.entries);
        }
        let line = |entry: &&crate::scenario::Entry| Some((entry.id.clone(), line_of(entry)?));
        self.lines = begun.entries.iter().filter_map(line).collect();
    }

    fn judged(&mut self, judged: &Judged) {
        self.counts.tests += 1;
        match kind(judged) {
            Kind::Passed => {}
            Kind::Failure => self.counts.failures += 1,
            Kind::Error => self.counts.errors += 1,
            Kind::Skipped => self.counts.skipped += 1,
        }
        let case = case(judged, &self.at, self.lines.get(&judged.id).copied());
        if let Some(spool) = &mut self.spool {
            spool.add(&judged.id, case.as_bytes());
        }
    }

    fn finished(&mut self, finished: &Finished<'_>) {
        let head = self.head(finished);
        let (Some(target), Some(spool)) = (self.target.take(), self.spool.take()) else { return };
        self.result = target.write(|to| {
            to.write_all(head.as_bytes())?;
            spool.copy_to(to, b"")?;
            to.write_all(b"  </testsuite>\n</testsuites>\n")
        });
    }

    fn close(self: Box<Self>) -> Result<(), WriteError> {
        self.result
    }
}

fn kind(judged: &Judged) -> Kind {
    match &judged.verdict {
        Verdict::Satisfied => Kind::Passed,
        Verdict::Skipped { .. } => Kind::Skipped,
        Verdict::Undecided { why } => match why {
            Obstacle::NotRun | Obstacle::Deferred => Kind::Skipped,
            Obstacle::CouldNotStart { .. } | Obstacle::Interrupted | Obstacle::Fixture { .. } => {
                Kind::Error
            }
        },
        Verdict::Unsatisfied { because } => match because.first() {
            Some(Miss::Invalid { .. }) => Kind::Error,
            _ => Kind::Failure,
        },
    }
}

fn case(judged: &Judged, at: &Subtree, line: Option<usize>) -> String {
    let mut xml = format!(
        "    <testcase name=\"{}\" classname=\"{}\" file=\"{}\"",
        escape(&judged.name),
        escape(if judged.category.is_empty() { "scenarios" } else { &judged.category }),
        escape(&at.path(&judged.file)),
    );
    if let Some(line) = line {
        let _ = write!(xml, " line=\"{line}\"");
    }
    let _ = write!(xml, " time=\"{}\"", seconds(judged.duration()));
    let mut inner = String::new();
    match kind(judged) {
        Kind::Passed => {
            for attempt in judged.attempts.iter().filter(|attempt| !attempt.is_pass()) {
                again(&mut inner, "flakyFailure", attempt);
            }
        }
        Kind::Skipped => {
            let _ =
                writeln!(inner, "      <skipped message=\"{}\"/>", escape(&error_summary(judged)));
        }
        kind @ (Kind::Failure | Kind::Error) => {
            let (name, rerun) = match kind {
                Kind::Error => ("error", "rerunError"),
                _ => ("failure", "rerunFailure"),
            };
            // The first attempt is the failure, the others are its reruns.
            let only = judged.attempts.len() < 2;
            let (kind, summary) = match judged.attempts.first() {
                Some(first) if !only => (kind_of_attempt(first), attempt_summary(first)),
                _ => (kind_of(judged), error_summary(judged)),
            };
            let text = text_of(&summary, judged.attempts.first());
            let _ = writeln!(
                inner,
                "      <{name} message=\"{}\" type=\"{kind}\">{}</{name}>",
                escape(&summary),
                escape(&text),
            );
            judged.attempts.iter().skip(1).for_each(|attempt| again(&mut inner, rerun, attempt));
            if let Some(first) = judged.attempts.first() {
                outputs(&mut inner, "      ", first);
            }
        }
    }
    if inner.is_empty() {
        xml.push_str("/>\n");
    } else {
        let _ = write!(xml, ">\n{inner}    </testcase>\n");
    }
    xml
}

/// Adds an attempt that is not the one the case itself is about.
fn again(xml: &mut String, name: &str, attempt: &Attempt) {
    let summary = attempt_summary(attempt);
    let _ = writeln!(
        xml,
        "      <{name} message=\"{}\" type=\"{}\">\n        <stackTrace>{}</stackTrace>",
        escape(&summary),
        kind_of_attempt(attempt),
        escape(&text_of(&summary, Some(attempt))),
    );
    outputs(xml, "        ", attempt);
    let _ = writeln!(xml, "      </{name}>");
}

fn outputs(xml: &mut String, indent: &str, attempt: &Attempt) {
    for (name, head, tail, bytes) in [
        ("system-out", &attempt.stdout_head, &attempt.stdout, attempt.stdout_bytes),
        ("system-err", &attempt.stderr_head, &attempt.stderr, attempt.stderr_bytes),
    ] {
        if tail.is_empty() && head.is_empty() {
            continue;
        }
        let _ = write!(xml, "{indent}<{name}>{}", escape(head));
        if (head.len() + tail.len()) as u64 != bytes && !head.is_empty() {
            let _ = write!(xml, "\n[of {bytes} bytes in all, the first and the last]\n");
        }
        let _ = writeln!(xml, "{}</{name}>", escape(tail));
    }
}

/// Returns what is to be said of an attempt: viewers show this text, and few show more.
fn text_of(summary: &str, attempt: Option<&Attempt>) -> String {
    let mut text = summary.to_owned();
    let Some(attempt) = attempt else { return text };
    for unmet in &attempt.unmet {
        let _ = write!(
            text,
            "\nnot met: {}\n  expected: {}\n  actual: {}",
            unmet.criterion, unmet.expected, unmet.actual
        );
    }
    if attempt.stopped {
        let _ = write!(text, "\n{NEEDS_A_TERMINAL}");
    }
    if attempt.leaked {
        let _ = write!(text, "\n{LEFT_PROCESSES}");
    }
    for line in printed(attempt) {
        let _ = write!(text, "\n| {line}");
    }
    text
}

fn kind_of(judged: &Judged) -> &'static str {
    match &judged.verdict {
        Verdict::Satisfied => "satisfied",
        Verdict::Skipped { .. } => "skipped",
        Verdict::Undecided { why } => match why {
            Obstacle::CouldNotStart { .. } => "could_not_start",
            Obstacle::Interrupted => "interrupted",
            Obstacle::NotRun => "not_run",
            Obstacle::Deferred => "deferred",
            Obstacle::Fixture { .. } => "fixture",
        },
        Verdict::Unsatisfied { because } => match because.first() {
            Some(Miss::Exit { .. }) | None => "exit",
            Some(Miss::Signal { .. }) => "signal",
            Some(Miss::Timeout { .. }) => "timeout",
            Some(Miss::Invalid { .. }) => "invalid",
            Some(Miss::PreconditionLost { .. }) => "precondition_lost",
            Some(Miss::Criterion(_)) => "criterion",
            Some(Miss::Fixture { .. }) => "fixture",
        },
    }
}

fn kind_of_attempt(attempt: &Attempt) -> &'static str {
    match attempt.ending {
        Ending::Exited { code: 0 } => "criterion",
        Ending::Exited { .. } => "exit",
        Ending::Signalled { .. } => "signal",
        Ending::TimedOut { .. } | Ending::Idle { .. } => "timeout",
        Ending::Interrupted => "interrupted",
        Ending::CouldNotStart { .. } => "could_not_start",
    }
}

/// Returns `text` as it may stand in XML 1.0, in text and in an attribute: without colours, what
/// no XML may hold as `\u{..}`.
fn escape(text: &str) -> String {
    let plain = visible(&strip_str(&text.replace("\r\n", "\n")).to_string());
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            // `]]>` may stand in no text.
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::{Document, Node};

    use super::super::testing::{all, attempt, judged, told};
    use super::*;
    use crate::verdict::of_attempt;

    fn xml(judged: &[Judged]) -> String {
        told(judged, |target, dir| Box::new(JunitReporter::new(target, dir))).text
    }

    fn cases<'a>(document: &'a Document<'_>) -> Vec<Node<'a, 'a>> {
        document.descendants().filter(|node| node.has_tag_name("testcase")).collect()
    }

    fn children<'a>(node: &Node<'a, 'a>) -> Vec<&'a str> {
        let children = node.children().filter(Node::is_element);
        children.map(|child| child.tag_name().name()).collect()
    }

    #[test]
    fn every_verdict_has_its_element() {
        let text = xml(&all());
        insta::assert_snapshot!(text);
        let document = Document::parse(&text).unwrap();
        let suite = document.root_element().first_element_child().unwrap();
        let count = |name| suite.attribute(name).unwrap().parse::<usize>().unwrap();
        let with = |name: &str| {
            cases(&document).iter().filter(|case| children(case).contains(&name)).count()
        };
        assert_eq!(count("tests"), cases(&document).len());
        assert_eq!(count("failures"), with("failure"));
        assert_eq!(count("errors"), with("error"));
        assert_eq!(count("skipped"), with("skipped"));
    }

    #[test]
    fn retries_are_in_it_once() {
        let codes = |codes: &[i32]| {
            let mut one = judged("a", Verdict::Satisfied, vec![]);
            let ending = |code: &i32| Ending::Exited { code: *code };
            one.attempts = codes.iter().map(|c| attempt(ending(c), "out", "err")).collect();
            one.verdict = of_attempt(one.attempts.last().unwrap());
            one
        };
        let check = |attempts: &[i32], expected: &[&str]| {
            let text = xml(&[codes(attempts)]);
            let document = Document::parse(&text).unwrap();
            let cases = cases(&document);
            assert_eq!((cases.len(), children(&cases[0])), (1, expected.to_vec()));
        };
        check(&[0], &[]);
        check(&[1, 1, 0], &["flakyFailure", "flakyFailure"]);
        check(&[1, 2], &["failure", "rerunFailure", "system-out", "system-err"]);
    }

    #[test]
    fn nothing_judged_is_valid_too() {
        assert_eq!(cases(&Document::parse(&xml(&[])).unwrap()).len(), 0);
    }

    proptest! {
        #[test]
        fn whatever_is_printed_it_can_be_read(text in "\\PC*|[\\x00-\\x7f]*|(]]>|&amp;|\u{1b}\\[1m|\u{ffff}|😀|\r\n|\t)*") {
            let mut one = judged("a", Verdict::Satisfied, vec![]);
            one.attempts = vec![attempt(Ending::Exited { code: 1 }, &text, &text)];
            one.verdict = of_attempt(&one.attempts[0]);
            (one.name, one.category) = (text.clone(), text.clone());
            let xml = xml(&[one]);
            let document = Document::parse(&xml).unwrap();
            let out = document.descendants().find(|node| node.has_tag_name("system-out"));
            let is_plain = text.chars().all(|c| !c.is_control() || c == '\n')
                && !text.contains(['\u{ffff}', '\u{fffe}']);
            if is_plain && !text.is_empty() && visible(&text) == text {
                prop_assert_eq!(out.unwrap().text().unwrap_or_default(), text);
            }
        }
    }
}
