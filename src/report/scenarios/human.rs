//! What people see of a judgement, as it goes on and at its end.
//!
//! Three manners of one reader: for a terminal or a log (`human`), the same without anything that
//! differs between two judgements of one product (`plain`), and with GitHub's annotations
//! (`github`). Of what was printed it keeps the lines of the first failures, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anstream::adapter::strip_str;

use crate::clock::{Instant, human};
use crate::id::ScenarioId;
use crate::process::Stream;
use crate::report::github::{Level, annotation_at, harmless};
use crate::report::results::error_summary;
use crate::report::{Output, WriteError};
use crate::scenario::Entry;
use crate::text::{Subtree, listed, one_line, plural, visible};
use crate::verdict::{Judged, Obstacle, Satisfaction, Verdict, show_score};

use super::describe::{WIDTH, describe};
use super::live::{Live, Picture, time_left};
use super::styles::{BOLD, DIM, RED, RESET, YELLOW};
use super::target::{Lines, Target};
use super::{Begun, Finished, JudgementReporter, line_of};

/// How many failures are told again at the end.
const REPEATED: usize = 50;
/// After how many other lines they are.
const BETWEEN: usize = 20;
/// How many of the slowest are listed where nobody says how many.
const SLOWEST: usize = 10;
/// Faster ones are not listed then.
const NOT_SLOW: Duration = Duration::from_secs(1);
/// Nor are those of a judgement of so few.
const FEW: usize = 5;
/// How many names a line lists.
const NAMES: usize = 5;

/// What is shown, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// Whether scenarios that are satisfied get no line.
    pub quiet: bool,
    /// Whether there is a terminal for a live display, on standard error.
    pub live: bool,
    /// Whether times are told, and scenarios in the order in which they are judged; else all is in
    /// the order of the files, and two judgements that came to the same differ in nothing.
    pub timed: bool,
    /// Whether lines go to a log that obeys commands in it, as that of a GitHub job does.
    pub obeyed: bool,
    /// How failures are told to the log of a GitHub job; none tells them as elsewhere.
    pub github: Option<GithubLog>,
    /// How long a scenario may take before it is said to be slow.
    pub slow_after: Duration,
    /// How many of the slowest scenarios are listed; none leaves it to the reader.
    pub slowest: Option<usize>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            quiet: false,
            live: false,
            timed: true,
            obeyed: false,
            github: None,
            slow_after: Duration::from_secs(60),
            slowest: None,
        }
    }
}

/// How lines are told to the log of a GitHub job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubLog {
    /// What ends the time in which commands are not obeyed; nobody may guess it.
    pub token: String,
    /// Whether what is not satisfied gets an annotation.
    pub annotate: bool,
    /// Where in the repository the scenarios' files lie, which GitHub names from its root.
    pub at: Subtree,
}

/// Tells people.
pub struct HumanReporter<'a> {
    lines: Lines<'a>,
    stderr: Option<Output>,
    manner: Manner,
    rerun: Box<dyn Fn(&str) -> String + Send + 'a>,
    live: Option<Live>,
    begun: BTreeMap<ScenarioId, Instant>,
    running: Vec<Running>,
    /// The place of each scenario and the line of its evaluation; empty where neither is asked for.
    places: BTreeMap<ScenarioId, (usize, Option<usize>)>,
    /// Lines that wait for those of the scenarios before.
    held: BTreeMap<usize, Told>,
    next: usize,
    picture: Picture,
    expected: BTreeMap<ScenarioId, Duration>,
    jobs: usize,
    passed_through: BTreeSet<ScenarioId>,
    mid_line: bool,
    failures: Vec<Vec<String>>,
    more_failures: usize,
    since_failure: usize,
    slowest: Vec<(Duration, String)>,
    flaky: Names,
    interrupted: Names,
    not_run: Names,
    deferred: Names,
}

impl std::fmt::Debug for HumanReporter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HumanReporter").field("manner", &self.manner).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Running {
    id: ScenarioId,
    name: String,
    slow: bool,
}

/// What is to be written of one scenario.
#[derive(Debug, Default)]
struct Told {
    name: String,
    lines: Vec<String>,
    /// The whole output, for a group of a log.
    output: Vec<String>,
    annotation: Option<String>,
    failed: bool,
}

/// The first few names of some scenarios, and how many there are.
#[derive(Debug, Default)]
struct Names {
    first: Vec<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < NAMES {
            self.first.push(one_line(name, WIDTH));
        }
    }

    fn listed(&self) -> String {
        match self.count - self.first.len() {
            0 => listed(&self.first, NAMES),
            more => format!("{} and {more} more", self.first.join(", ")),
        }
    }
}

impl<'a> HumanReporter<'a> {
    /// Returns a reader that writes to `target`; `rerun` makes the command that runs a scenario
    /// again from its id.
    pub fn new(
        target: Target<'a>,
        manner: Manner,
        rerun: impl Fn(&str) -> String + Send + 'a,
    ) -> Self {
        Self {
            lines: Lines::open(target),
            stderr: None,
            live: None,
            manner,
            rerun: Box::new(rerun),
            begun: BTreeMap::new(),
            running: Vec::new(),
            places: BTreeMap::new(),
            held: BTreeMap::new(),
            next: 0,
            picture: Picture::default(),
            expected: BTreeMap::new(),
            jobs: 1,
            passed_through: BTreeSet::new(),
            mid_line: false,
            failures: Vec::new(),
            more_failures: 0,
            since_failure: 0,
            slowest: Vec::new(),
            flaky: Names::default(),
            interrupted: Names::default(),
            not_run: Names::default(),
            deferred: Names::default(),
        }
    }

    /// Passes what a scenario writes to its standard error on to `stderr`, instead of to the
    /// report.
    #[must_use]
    pub fn with_stderr(mut self, stderr: Output) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Writes while the live display is away.
    fn write(&mut self, write: impl FnOnce(&mut Lines<'a>)) {
        let lines = &mut self.lines;
        let mid_line = std::mem::take(&mut self.mid_line);
        let write = || {
            if mid_line {
                lines.raw(b"\n");
            }
            write(lines);
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    fn print(&mut self, lines: &[String]) {
        let shaped: Vec<String> = lines.iter().map(|line| shaped(&self.manner, line)).collect();
        self.write(|to| shaped.iter().for_each(|line| to.line(line)));
    }

    fn tell(&mut self, told: &Told) {
        let failed = told.failed;
        if !failed {
            self.since_failure += told.lines.len();
        }
        let log = self.manner.github.clone();
        let shaped: Vec<String> =
            told.lines.iter().map(|line| shaped(&self.manner, line)).collect();
        self.write(|to| {
            shaped.iter().for_each(|line| to.line(line));
            if let Some(GithubLog { token, .. }) = &log
                && !told.output.is_empty()
            {
                to.line(format_args!("::group::output of {}", told.name));
                to.line(format_args!("::stop-commands::{token}"));
                told.output.iter().for_each(|line| to.line(line));
                to.line(format_args!("::{token}::"));
                to.line("::endgroup::");
            }
            if let Some(annotation) = &told.annotation {
                to.line(annotation);
            }
        });
        if failed {
            if self.failures.is_empty() {
                self.since_failure = 0;
            }
            if self.failures.len() < REPEATED {
                self.failures.push(told.lines.clone());
            } else {
                self.more_failures += 1;
            }
        }
    }

    fn told(&mut self, judged: &Judged) -> Told {
        // What the judging did not come to is told in one line at the end.
        let never_begun = matches!(
            judged.verdict,
            Verdict::Undecided { why: Obstacle::NotRun | Obstacle::Deferred }
        );
        if never_begun || self.manner.quiet && judged.is_satisfied() && !judged.is_flaky() {
            return Told::default();
        }
        let failed = matches!(judged.verdict, Verdict::Unsatisfied { .. });
        let rerun = failed.then(|| (self.rerun)(judged.id.as_str()));
        let shown = self.passed_through.contains(&judged.id).then(|| without_output(judged));
        let shown = shown.as_ref().unwrap_or(judged);
        let mut told = Told {
            name: harmless(&one_line(&judged.name, WIDTH)),
            lines: describe(shown, self.manner.timed, rerun.as_deref()),
            failed,
            ..Told::default()
        };
        if let Some(log) = &self.manner.github {
            if failed {
                told.output = whole_output(shown);
            }
            if log.annotate {
                let line = self.places.get(&judged.id).and_then(|(_, line)| *line);
                told.annotation = annotation_of(judged, &log.at, line);
            }
        }
        told
    }

    fn count(&mut self, judged: &Judged) {
        match &judged.verdict {
            Verdict::Satisfied => self.picture.passed += 1,
            Verdict::Unsatisfied { .. } => self.picture.failed += 1,
            Verdict::Undecided { why } => {
                self.picture.others += 1;
                match why {
                    Obstacle::Interrupted => self.interrupted.add(&judged.name),
                    Obstacle::NotRun => self.not_run.add(&judged.name),
                    Obstacle::Deferred => self.deferred.add(&judged.name),
                    Obstacle::CouldNotStart { .. } | Obstacle::Fixture { .. } => {}
                }
            }
            Verdict::Skipped { .. } => self.picture.others += 1,
        }
        if judged.is_flaky() {
            self.flaky.add(&judged.name);
        }
        let duration = judged.duration();
        let most = self.manner.slowest.unwrap_or(SLOWEST);
        if self.manner.slowest.is_some() || duration > NOT_SLOW {
            let at = self.slowest.partition_point(|(other, _)| *other >= duration);
            if at < most {
                self.slowest.insert(at, (duration, one_line(&judged.name, WIDTH)));
                self.slowest.truncate(most);
            }
        }
    }

    fn draw(&mut self) {
        let Some(live) = &self.live else { return };
        self.picture.left = time_left(&self.expected, &self.begun, self.jobs);
        self.picture.running = self
            .running
            .iter()
            .filter_map(|one| {
                let elapsed = self.begun.get(&one.id)?.elapsed();
                Some((one.name.clone(), elapsed, elapsed > self.manner.slow_after))
            })
            .collect();
        live.show(&self.picture);
    }

    /// Returns the lines at the end that come before the sum.
    fn ending(&self, finished: &Finished<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        if self.since_failure > BETWEEN && !self.manner.quiet {
            lines.push(String::new());
            lines.push(format!("{BOLD}failures:{RESET}"));
            lines.extend(self.failures.iter().flatten().cloned());
            if self.more_failures > 0 {
                lines.push(format!("and {} more, told above", self.more_failures));
            }
        }
        if let Some(comparison) = finished.comparison {
            lines.push(String::new());
            lines.extend(comparison.lines());
        }
        let few = self.manner.slowest.is_none() && finished.sum.total <= FEW;
        if self.manner.timed && !few && !self.slowest.is_empty() {
            lines.push(String::new());
            lines.push(format!("{BOLD}slowest:{RESET}"));
            let line = |(time, name): &(Duration, String)| {
                format!("  {:>7.1}s  {name}", time.as_secs_f64())
            };
            lines.extend(self.slowest.iter().map(line));
        }
        lines.push(String::new());
        if self.flaky.count > 0 {
            lines.push(format!("{YELLOW}flaky:{RESET} {}", self.flaky.listed()));
        }
        lines.extend(self.partial(finished));
        lines
    }

    fn partial(&self, finished: &Finished<'_>) -> Vec<String> {
        if !finished.sum.is_partial() {
            return Vec::new();
        }
        let count = plural(finished.sum.not_run, "scenario");
        let why = finished.cut_short.map(|why| format!(": {why}")).unwrap_or_default();
        let mut lines =
            vec![format!("{BOLD}{RED}PARTIAL RESULT{RESET}: {count} not judged to an end{why}")];
        for (names, what) in [
            (&self.interrupted, "interrupted"),
            (&self.not_run, "not run"),
            (&self.deferred, "slow, left out while the others do not reach the threshold"),
        ] {
            if names.count > 0 {
                lines.push(format!("  {what}: {}", names.listed()));
            }
        }
        lines
    }
}

impl JudgementReporter for HumanReporter<'_> {
    fn begun(&mut self, begun: &Begun<'_>) {
        if !self.manner.timed || self.manner.github.is_some() {
            let place = |(at, entry): (usize, &&Entry)| (entry.id.clone(), (at, line_of(entry)));
            self.places = begun.entries.iter().enumerate().map(place).collect();
        }
        self.picture.total = begun.entries.len();
        self.jobs = begun.jobs;
        let mean = mean(begun.expected.values());
        if let Some(mean) = mean.filter(|_| self.manner.live) {
            let expected = |entry: &&Entry| {
                (entry.id.clone(), begun.expected.get(&entry.id).copied().unwrap_or(mean))
            };
            self.expected = begun.entries.iter().map(expected).collect();
        }
        if let Some(seed) = begun.seed {
            self.print(&[format!("shuffled by --seed {seed}")]);
        }
        if self.manner.live {
            self.live = Some(Live::begin());
            self.draw();
        }
    }

    fn started(&mut self, entry: &Entry) {
        self.begun.insert(entry.id.clone(), Instant::now());
        let (id, name) = (entry.id.clone(), entry.name.clone());
        self.running.push(Running { id, name, slow: false });
    }

    fn output(&mut self, entry: &Entry, stream: Stream, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        let first = self.passed_through.insert(entry.id.clone());
        let log = self.manner.github.clone();
        if let Some(GithubLog { token, .. }) = log.as_ref().filter(|_| first) {
            let name = harmless(&one_line(&entry.name, WIDTH));
            self.print(&[
                format!("::group::output of {name}"),
                format!("::stop-commands::{token}"),
            ]);
        }
        // The runner reads two streams each at its own pace: there all goes to the one that is
        // told to obey no commands.
        let stderr = self.stderr.as_mut().filter(|_| stream == Stream::Stderr && log.is_none());
        let lines = &mut self.lines;
        self.mid_line = stderr.is_none() && *last != b'\n' || stderr.is_some() && self.mid_line;
        let write = || match stderr {
            Some(stderr) => {
                stderr.raw(bytes);
                // Failures are remembered; the text of the scenario is in the results too.
                let _ = std::io::Write::flush(stderr);
            }
            None => {
                lines.raw(bytes);
                if let Some(output) = lines.output() {
                    // Failures are remembered.
                    let _ = std::io::Write::flush(output);
                }
            }
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    fn tick(&mut self) {
        let slow_after = self.manner.slow_after;
        let mut warnings = Vec::new();
        for one in self.running.iter_mut().filter(|one| !one.slow) {
            if self.begun.get(&one.id).is_some_and(|begun| begun.elapsed() > slow_after) {
                one.slow = true;
                let (name, limit) = (one_line(&one.name, WIDTH), human(slow_after));
                warnings.push(format!("{YELLOW}SLOW{RESET}  > {limit}  {name}"));
            }
        }
        // What is passed through would be torn by a line between.
        if self.manner.timed && !warnings.is_empty() && self.passed_through.is_empty() {
            self.print(&warnings);
        }
        self.draw();
    }

    fn judged(&mut self, judged: &Judged) {
        self.running.retain(|one| one.id != judged.id);
        self.begun.remove(&judged.id);
        self.expected.remove(&judged.id);
        self.count(judged);
        let log = self.manner.github.clone();
        if let Some(GithubLog { token, .. }) = log
            && self.passed_through.contains(&judged.id)
        {
            self.write(|to| {
                to.line(format_args!("::{token}::"));
                to.line("::endgroup::");
            });
        }
        let told = self.told(judged);
        self.passed_through.remove(&judged.id);
        // Before the lines: then the display comes back once, as it is now.
        self.draw();
        match self.places.get(&judged.id).filter(|_| !self.manner.timed) {
            None => self.tell(&told),
            Some((place, _)) => {
                self.held.insert(*place, told);
                while let Some(told) = self.held.remove(&self.next) {
                    self.tell(&told);
                    self.next += 1;
                }
            }
        }
    }

    fn finished(&mut self, finished: &Finished<'_>) {
        if let Some(live) = self.live.take() {
            live.end();
        }
        for (_, told) in std::mem::take(&mut self.held) {
            self.tell(&told);
        }
        let mut lines = self.ending(finished);
        lines.push(summary(finished.sum, self.manner.timed.then_some(finished.duration)));
        if let Some(path) = finished.results {
            lines.push(format!("results: {}", visible(&path.display().to_string())));
        }
        lines.extend(finished.notes.iter().cloned());
        self.print(&lines);
    }

    fn close(self: Box<Self>) -> Result<(), WriteError> {
        if let Some(live) = self.live {
            live.end();
        }
        self.lines.close()
    }
}

/// Returns the sum in one line: `7 of 9 satisfied, 1 failed, 1 skipped; score 0.88; 3.2 s`.
pub fn summary(sum: &Satisfaction, duration: Option<Duration>) -> String {
    let mut line = format!("{BOLD}{} of {} satisfied{RESET}", sum.passed, sum.total);
    for (count, what) in [
        (sum.failed, "failed"),
        (sum.undecided, "undecided"),
        (sum.skipped, "skipped"),
        (sum.flaky, "flaky"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    match sum.score() {
        Some(score) => line.push_str(&format!("; score {}", show_score(score))),
        None => line.push_str("; nothing judged"),
    }
    if let Some(duration) = duration {
        line.push_str(&format!("; {}", human(duration)));
    }
    line
}

/// Returns a line of ours as the manner wants it: where times are left out colours are too, and a
/// log that obeys commands gets none.
fn shaped(manner: &Manner, line: &str) -> String {
    let line = if manner.timed { line.to_owned() } else { strip_str(line).to_string() };
    if manner.obeyed { line.replace("##[", "##\u{200b}[") } else { line }
}

fn without_output(judged: &Judged) -> Judged {
    let mut judged = judged.clone();
    for attempt in &mut judged.attempts {
        [
            &mut attempt.stdout,
            &mut attempt.stderr,
            &mut attempt.stdout_head,
            &mut attempt.stderr_head,
        ]
        .into_iter()
        .for_each(String::clear);
    }
    judged
}

/// Returns what the last attempt printed, as far as it is kept, as lines that command nobody.
fn whole_output(judged: &Judged) -> Vec<String> {
    let Some(last) = judged.attempts.last() else { return Vec::new() };
    let mut lines = Vec::new();
    for (name, head, tail, bytes) in [
        ("stdout", &last.stdout_head, &last.stdout, last.stdout_bytes),
        ("stderr", &last.stderr_head, &last.stderr, last.stderr_bytes),
    ] {
        if tail.trim().is_empty() && head.trim().is_empty() {
            continue;
        }
        lines.push(format!("{DIM}{name}, {}:{RESET}", plural(bytes as usize, "byte")));
        if !head.is_empty() {
            lines.extend(head.lines().map(log_line));
            lines.push(format!("{DIM}...{RESET}"));
        }
        lines.extend(tail.lines().map(log_line));
    }
    lines
}

fn log_line(line: &str) -> String {
    harmless(&strip_str(line.trim_end()).to_string())
}

fn annotation_of(judged: &Judged, at: &Subtree, line: Option<usize>) -> Option<String> {
    let (level, what) = match &judged.verdict {
        Verdict::Unsatisfied { .. } => (Level::Error, "Not satisfied"),
        Verdict::Undecided { .. } => (Level::Warning, "Undecided"),
        Verdict::Satisfied if judged.is_flaky() => (Level::Warning, "Flaky"),
        Verdict::Satisfied | Verdict::Skipped { .. } => return None,
    };
    let text = match error_summary(judged) {
        empty if empty.is_empty() => "Some attempts passed and others did not.".to_owned(),
        why => why,
    };
    let title = format!("{what}: {}", judged.name);
    Some(annotation_at(level, &at.path(&judged.file), line, &title, &text))
}

fn mean<'d>(durations: impl Iterator<Item = &'d Duration>) -> Option<Duration> {
    let (sum, count) = durations.fold((Duration::ZERO, 0_u32), |(sum, n), one| (sum + *one, n + 1));
    (count > 0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, attempt, entry, judged, of, told};
    use super::*;
    use crate::verdict::{Ending, of_attempt, satisfaction};

    fn shown(judged: &[Judged], manner: &Manner) -> String {
        told(judged, |target, _| {
            let rerun = |id: &str| format!("run-scenarios {id}");
            Box::new(HumanReporter::new(target, manner.clone(), rerun))
        })
        .text
    }

    fn plain() -> Manner {
        Manner { timed: false, ..Manner::default() }
    }

    fn github() -> Manner {
        let log = GithubLog { token: "TOKEN".into(), annotate: true, at: Subtree::default() };
        Manner { obeyed: true, github: Some(log), ..Manner::default() }
    }

    #[test]
    fn people_see_every_verdict() {
        insta::assert_snapshot!(shown(&all(), &Manner::default()));
    }

    #[test]
    fn plain_text_has_no_times_and_the_order_of_the_files() {
        insta::assert_snapshot!(shown(&all(), &plain()));
    }

    #[test]
    fn plain_text_has_no_colours_on_a_terminal_either() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut output = Output::new(Box::new(file.reopen().unwrap()), true);
        let mut reader = HumanReporter::new(Target::Stream(&mut output), plain(), str::to_owned);
        all().iter().for_each(|one| reader.judged(one));
        drop(reader);
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("FAIL") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_log_of_github_has_groups_and_annotations() {
        insta::assert_snapshot!(shown(&all(), &github()));
    }

    #[test]
    fn a_quiet_reader_says_what_is_not_satisfied_or_flaky() {
        let manner = Manner { quiet: true, ..plain() };
        let text = shown(&all(), &manner);
        assert!(!text.contains("The pass") && text.contains("flaky: 1 of 2"), "{text}");
    }

    #[test]
    fn failures_are_told_again_after_many_other_lines() {
        let pass = |n: usize| of(&format!("p{n}"), Ending::Exited { code: 0 }, "", "");
        let fail = || of("fail", Ending::Exited { code: 1 }, "", "why");
        for (others, expected) in [(20, 1), (21, 2)] {
            let all: Vec<Judged> = [fail()].into_iter().chain((0..others).map(pass)).collect();
            let text = shown(&all, &plain());
            assert_eq!(text.matches("FAIL  The fail").count(), expected, "{text}");
        }
    }

    #[test]
    fn only_the_first_failures_are_kept() {
        let mut all: Vec<Judged> = (0..REPEATED + 7)
            .map(|n| of(&format!("f{n:03}"), Ending::Exited { code: 1 }, "", ""))
            .collect();
        all.extend((0..30).map(|n| of(&format!("p{n}"), Ending::Exited { code: 0 }, "", "")));
        assert!(shown(&all, &plain()).contains("\nand 7 more, told above\n"));
    }

    #[test]
    fn the_slowest_are_listed_where_that_helps() {
        let took = |n: u64| {
            let mut one = of(&format!("s{n}"), Ending::Exited { code: 0 }, "", "");
            one.attempts[0].duration = Duration::from_millis(n * 300);
            one
        };
        let all: Vec<Judged> = (0..14).map(took).collect();
        let names = |judged: &[Judged], slowest| {
            let text = shown(judged, &Manner { slowest, ..Manner::default() });
            let listed = text.split_once("slowest:\n").map(|(_, rest)| rest.to_owned());
            let listed = listed.unwrap_or_default();
            let lines = listed.lines().take_while(|line| line.starts_with("  "));
            lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        let listed = names(&all, None);
        assert_eq!((listed.len(), listed[0].as_str()), (10, "3.9s  The s13"));
        assert_eq!(names(&all[..5], None).len(), 0);
        assert_eq!(names(&all[..5], Some(3)).len(), 3);
        assert_eq!(names(&all, Some(0)).len(), 0);
    }

    #[test]
    fn nothing_of_a_scenario_commands_the_runner() {
        let evil = "\n::error::x\n  ::set-env name=A::b\n##[add-path]c\n::TOKEN::\n::stop-commands::y\r::error::z";
        let mut one = judged("a", Verdict::Satisfied, vec![]);
        one.attempts = vec![attempt(Ending::Exited { code: 1 }, evil, evil)];
        one.verdict = of_attempt(&one.attempts[0]);
        (one.name, one.file) = (evil.into(), format!("scenarios/a,b:{evil}.md"));
        let text = shown(&[one], &github());
        let commands: Vec<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
            .map(|line| line.trim_start()[2..].split([':', ' ']).next().unwrap())
            .collect();
        assert_eq!(commands, ["group", "stop-commands", "TOKEN", "endgroup", "error"], "{text}");
        let annotation = text.lines().find(|line| line.starts_with("::error")).unwrap();
        assert_eq!(annotation.split("::").nth(1).unwrap().matches(',').count(), 2, "{annotation}");
    }

    #[test]
    fn what_is_passed_through_is_not_shown_twice_and_commands_nobody() {
        let passed = |manner: Manner| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut output = Output::new(Box::new(file.reopen().unwrap()), false);
            let mut reader = HumanReporter::new(Target::Stream(&mut output), manner, str::to_owned);
            let one = of("a", Ending::Exited { code: 1 }, "::error::x\u{1b}[1m", "");
            let entry = entry("a");
            reader.started(&entry);
            reader.output(&entry, Stream::Stdout, b"::error::");
            reader.output(&entry, Stream::Stdout, b"x\x1b[1m");
            reader.judged(&one);
            drop(reader);
            std::fs::read_to_string(file.path()).unwrap()
        };
        assert_eq!(
            passed(plain()),
            "::error::x\u{1b}[1m\nFAIL  The a\n      exit code 1\n      rerun: a\n"
        );
        let text = passed(Manner { timed: false, ..github() });
        let begin = "::group::output of The a\n::stop-commands::TOKEN\n::error::x\u{1b}[1m\n\
                     ::TOKEN::\n::endgroup::\nFAIL  The a\n";
        assert!(text.starts_with(begin), "{text}");
    }

    #[test]
    fn a_slow_scenario_is_named_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut output = Output::new(Box::new(file.reopen().unwrap()), false);
        let manner = Manner { slow_after: Duration::ZERO, ..Manner::default() };
        let mut reader = HumanReporter::new(Target::Stream(&mut output), manner, str::to_owned);
        reader.started(&entry("a"));
        std::thread::sleep(Duration::from_millis(2));
        reader.tick();
        reader.tick();
        drop(reader);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "SLOW  > 0.0 s  The a\n");
    }

    #[test]
    fn the_score_is_not_rounded_up() {
        let mut all = vec![of("a", Ending::Exited { code: 0 }, "", ""); 999];
        all.push(of("b", Ending::Exited { code: 1 }, "", ""));
        let line = summary(&satisfaction(&all), Some(Duration::from_secs(2)));
        assert!(
            line.ends_with("999 of 1000 satisfied\u{1b}[0m, 1 failed; score 0.99; 2.0 s"),
            "{line}"
        );
    }
}
