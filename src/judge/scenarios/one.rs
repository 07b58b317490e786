//! Judges one scenario: its preconditions, then its attempts.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::process::{Cancel, Captured, Finished, Keep, Stream};
use crate::scenario::{Diagnostic, Entry, Scenario, Visibility, canary};
use crate::text::{Cut, Redaction, TreePath, head};
use crate::verdict::criteria::{Observed, unmet};
use crate::verdict::{
    Attempt, Ending, Evidence, Judged, Miss, Obstacle, Unmet, Verdict, of_attempt, of_attempts,
    of_ending, of_unmet_precondition,
};

use crate::wall::confine::Network;

use super::super::bash::Limits;
use super::super::evidence::collect;
use super::super::look::look_at;
use super::{EvidenceDir, Listener, Progress, Settings, Work, undecided};

/// What is kept of each stream of an attempt: enough for the characters of any kind that are shown.
const KEEP: Keep = Keep { head: 8_000, tail: 20_000 };
/// What is kept where pass criteria are checked against it.
const KEEP_FOR_CRITERIA: Keep = Keep { head: 1 << 20, tail: 1 << 20 };
/// How many bytes of a stream's end are kept beyond the attempt itself, and above how many.
const END: usize = 20_000;
const MUCH: usize = 28_000;
/// How many characters of a stream's beginning are kept where its end is not all of it.
const HEAD: usize = 2_000;

/// What every worker has in hand.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) work: Work<'a>,
    pub(super) settings: &'a Settings,
    pub(super) cancel: &'a Cancel,
    /// Set once nothing more shall begin.
    pub(super) stop: &'a AtomicBool,
}

impl Judge<'_> {
    pub(super) fn judge(&self, entry: &Entry, listener: &Listener<'_>) -> Judged {
        let judged = match &entry.scenario {
            Err(diagnostics) => {
                let message = diagnostics.first().map_or_else(String::new, place_and_message);
                let because = vec![Miss::Invalid { message }];
                Judged::of(entry, Verdict::Unsatisfied { because }, Vec::new())
            }
            Ok(_) if self.is_over() => undecided(entry, Obstacle::NotRun),
            Ok(scenario) => {
                listener.tell(Progress::Started(entry));
                match self.stopped_by_precondition(entry, scenario) {
                    Some(verdict) => Judged::of(entry, verdict, Vec::new()),
                    None => self.with_fixtures(entry, scenario, listener),
                }
            }
        };
        if self.settings.fail_fast && matches!(judged.verdict, Verdict::Unsatisfied { .. }) {
            self.stop.store(true, Ordering::SeqCst);
        }
        judged
    }

    fn is_over(&self) -> bool {
        self.cancel.tripped().is_some() || self.stop.load(Ordering::SeqCst)
    }

    /// Runs the checks among the preconditions; returns the verdict that the first one that is not
    /// met makes, and none when all are.
    fn stopped_by_precondition(&self, entry: &Entry, scenario: &Scenario) -> Option<Verdict> {
        scenario.preconditions.iter().find_map(|precondition| {
            let command = precondition.check.as_ref()?;
            let finished = self.run(command, scenario, &scenario.front.env, &mut |_, _| {});
            match finished.ending {
                Ending::Exited { code: 0 } => None,
                Ending::Interrupted | Ending::CouldNotStart { .. } => {
                    Some(of_ending(&finished.ending))
                }
                Ending::Exited { .. }
                | Ending::Signalled { .. }
                | Ending::TimedOut { .. }
                | Ending::Idle { .. } => {
                    let judged_before = self.work.judged_before.contains(&entry.id);
                    Some(of_unmet_precondition(&precondition.text, judged_before))
                }
            }
        })
    }

    /// Has ready what the scenario needs, and evaluates it.
    fn with_fixtures(&self, entry: &Entry, scenario: &Scenario, listener: &Listener<'_>) -> Judged {
        if scenario.front.needs.is_empty() {
            return self.evaluate(entry, scenario, &scenario.front.env, listener);
        }
        let fixtures = self.work.fixtures;
        let judged = match fixtures.need(&scenario.front.needs, &entry.id) {
            Ok(mut variables) => {
                variables.extend(scenario.front.env.clone());
                self.evaluate(entry, scenario, &variables, listener)
            }
            Err(not_ready) => Judged::of(entry, not_ready.verdict(), Vec::new()),
        };
        fixtures.scenario_done(&entry.id);
        judged
    }

    /// Runs the evaluation as often as it is asked for: until it passes or has no retry left, or
    /// each time.
    fn evaluate(
        &self,
        entry: &Entry,
        scenario: &Scenario,
        variables: &BTreeMap<String, String>,
        listener: &Listener<'_>,
    ) -> Judged {
        let mut script = scenario.script();
        if let Some(seed) = &self.settings.canary
            && entry.visibility() == Visibility::Holdout
        {
            // Behind the last line, so that those of messages stay what they are.
            script.push_str(&format!("\n# {}\n", canary(seed, &entry.id)));
        }
        let retries = self.settings.retries.unwrap_or(scenario.front.retries) as usize;
        let repeat = self.settings.repeat.max(1) as usize;
        let mut attempts: Vec<Attempt> = Vec::new();
        loop {
            let redaction = &self.work.place.redaction;
            let mut streams = [redaction.stream(), redaction.stream()];
            let tell = |stream, bytes: Vec<u8>| {
                if !bytes.is_empty() {
                    listener.tell(Progress::Output(entry, stream, bytes));
                }
            };
            let mut live = |stream: Stream, bytes: &[u8]| {
                if self.settings.live {
                    tell(stream, streams[stream as usize].push(bytes));
                }
            };
            let (finished, changed) = self
                .with_exam_kept(&mut || self.run(&script, scenario, variables, &mut live))
                .unwrap_or_else(|error| (never_began(&error), None));
            for stream in [Stream::Stdout, Stream::Stderr] {
                tell(stream, streams[stream as usize].finish());
            }
            // What is checked is what was written; what is told of it knows no secret.
            let mut unmet = self.unmet(scenario, &finished);
            unmet.extend(changed.filter(|_| finished.ending.is_success()));
            let attempt = Attempt { unmet, ..attempt_of(finished, redaction) };
            let verdict = of_attempt(&attempt);
            attempts.push(attempt);
            let made = attempts.len();
            let again = match verdict {
                Verdict::Satisfied => made < repeat,
                Verdict::Unsatisfied { .. } if repeat > 1 => made < repeat,
                Verdict::Unsatisfied { .. } => made <= retries,
                Verdict::Undecided { .. } | Verdict::Skipped { .. } => false,
            };
            if !again || self.cancel.tripped().is_some() {
                break;
            }
        }
        let verdict = of_attempts(&attempts, repeat > 1);
        let evidence = self.evidence(entry, scenario);
        Judged { evidence, ..Judged::of(entry, verdict, attempts) }
    }

    /// Puts back what of the tree no verdict may hang on the change of; returns what had been changed.
    fn put_back(&self) -> io::Result<Vec<TreePath>> {
        self.work.place.kept.as_ref().map_or(Ok(Vec::new()), |kept| kept.put_back())
    }

    /// Runs an evaluation with everything in its place, and says whether the exam was changed meanwhile.
    fn with_exam_kept(
        &self,
        run: &mut dyn FnMut() -> Finished,
    ) -> io::Result<(Finished, Option<Unmet>)> {
        self.put_back()?;
        let finished = run();
        Ok((finished, self.of_exam(self.put_back()?)))
    }

    /// Says that the exam was changed during the evaluation, which nobody passes; none where it was not.
    fn of_exam(&self, changed: Vec<TreePath>) -> Option<Unmet> {
        let kept = self.work.place.kept.as_ref()?;
        let path = changed.into_iter().find(|path| kept.is_whole(path))?;
        Some(Unmet {
            criterion: "The scenarios' files stay as they are".to_owned(),
            expected: "the files of the scenarios' directory as they were".to_owned(),
            actual: format!("`{path}` was changed, made or removed while this was judged"),
        })
    }

    /// Returns the pass criteria that do not hold after an evaluation that exited with 0.
    fn unmet(&self, scenario: &Scenario, finished: &Finished) -> Vec<Unmet> {
        if !has_checks(scenario) || !finished.ending.is_success() {
            return Vec::new();
        }
        let (stdout, stderr) = (kept(&finished.stdout), kept(&finished.stderr));
        let observed = Observed {
            stdout: &stdout,
            stdout_cut: finished.stdout.is_cut(),
            stderr: &stderr,
            stderr_cut: finished.stderr.is_cut(),
            file: &|path| look_at(&self.work.place.root, path),
            redaction: &self.work.place.redaction,
        };
        unmet(&scenario.criteria, &observed)
    }

    fn evidence(&self, entry: &Entry, scenario: &Scenario) -> Vec<Evidence> {
        let Some(EvidenceDir { path, shown }) = &self.settings.evidence else { return Vec::new() };
        let wanted: Vec<&str> =
            scenario.evidence.iter().flat_map(|item| &item.paths).map(String::as_str).collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let id = entry.id.as_str();
        collect(self.work.place, &wanted, &path.join(id), &format!("{shown}/{id}"))
    }

    fn run(
        &self,
        script: &str,
        scenario: &Scenario,
        variables: &BTreeMap<String, String>,
        live: &mut dyn FnMut(Stream, &[u8]),
    ) -> Finished {
        let keep = if has_checks(scenario) { KEEP_FOR_CRITERIA } else { KEEP };
        let place = self.work.place;
        let network = match &place.confined {
            Some(judging) if !scenario.front.needs.is_empty() => judging.network_of_fixtures(),
            _ if scenario.front.network => Ok(Network::Open),
            _ => Ok(Network::Own),
        };
        let network = match network {
            Ok(network) => network,
            Err(error) => {
                return Finished::never_began(Ending::CouldNotStart { why: error.to_string() });
            }
        };
        let of_fixtures = variables.iter().filter(|(name, _)| name.starts_with("FACTORY_DIR_"));
        let shown = of_fixtures.map(|(_, dir)| PathBuf::from(dir)).collect();
        let grace = self.settings.grace;
        let limits = Limits { time: self.limit(scenario), grace, keep, network, shown };
        place.bash(script, variables, limits, self.cancel, live)
    }

    fn limit(&self, scenario: &Scenario) -> Duration {
        let settings = self.settings;
        settings.timeout_override.or(scenario.front.timeout).unwrap_or(settings.timeout)
    }
}

fn never_began(error: &io::Error) -> Finished {
    let why = format!("the files that it is judged by can't be put back: {error}");
    Finished::never_began(Ending::CouldNotStart { why })
}

fn has_checks(scenario: &Scenario) -> bool {
    scenario.criteria.iter().any(|criterion| criterion.check.is_some())
}

/// Returns what was kept of a stream, a line feed where its middle was not.
fn kept(captured: &Captured) -> Vec<u8> {
    let between: &[u8] = if captured.is_cut() { b"\n" } else { b"" };
    [captured.head.as_slice(), between, captured.tail.as_slice()].concat()
}

fn attempt_of(finished: Finished, redaction: &Redaction) -> Attempt {
    let Finished { ending, stdout, stderr, duration, leaked, stopped } = finished;
    let ((stdout_head, stdout_end), (stderr_head, stderr_end)) =
        (ends(&stdout, redaction), ends(&stderr, redaction));
    Attempt {
        stdout_head,
        stderr_head,
        stdout_bytes: stdout.total,
        stderr_bytes: stderr.total,
        leaked,
        stopped,
        ..Attempt::new(ending, &stdout_end, &stderr_end, duration)
    }
}

/// Returns the beginning and the end of a stream; all of it is the end where it is not much.
/// Secrets are replaced before anything is cut.
fn ends(captured: &Captured, redaction: &Redaction) -> (String, String) {
    let clean = if redaction.is_empty() { None } else { Some(without(captured, redaction)) };
    let captured = clean.as_ref().unwrap_or(captured);
    let length = captured.head.len() + captured.tail.len();
    if !captured.is_cut() && length <= MUCH {
        return (String::new(), captured.text());
    }
    let bytes = captured.bytes();
    let end = Captured {
        head: Vec::new(),
        tail: bytes[length.saturating_sub(END)..].to_vec(),
        total: captured.total,
    };
    let beginning = String::from_utf8_lossy(&bytes[..length.min(4 * HEAD)]);
    (head(&beginning, HEAD).to_owned(), end.tail_text())
}

/// Returns what was kept of a stream without the secrets in it, nor what a cut has left of one.
fn without(captured: &Captured, redaction: &Redaction) -> Captured {
    let left_out =
        captured.total.saturating_sub((captured.head.len() + captured.tail.len()) as u64);
    if left_out == 0 {
        let tail = redaction.apply(captured.bytes());
        return Captured { total: tail.len() as u64, head: Vec::new(), tail };
    }
    let head = redaction.apply_cut(captured.head.clone(), Cut { start: false, end: true });
    let tail = redaction.apply_cut(captured.tail.clone(), Cut { start: true, end: false });
    let total = left_out + (head.len() + tail.len()) as u64;
    Captured { head, tail, total }
}

/// Returns what is wrong with a scenario, with its line where it is about one.
fn place_and_message(found: &Diagnostic) -> String {
    match found.span {
        Some(_) => format!("line {}: {}", found.line, found.message),
        None => found.message.clone(),
    }
}
