//! Runs scenarios: their preconditions, their attempts, several at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::id::ScenarioId;
use crate::process::{Cancel, Finished, Keep};
use crate::scenario::{Diagnostic, Entry, Scenario};
use crate::verdict::{
    Attempt, Ending, Judged, Miss, Obstacle, Verdict, of_ending, of_unmet_precondition,
};

use super::Place;
use super::bash::Limits;

/// What is kept of each stream of an attempt: enough for 5,000 characters of any kind.
const KEEP: Keep = Keep { head: 0, tail: 20_000 };

/// How scenarios are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The time limit of one attempt of a scenario that has none of its own.
    pub timeout: Duration,
    /// The time limit of every attempt, whatever the scenario says; none leaves it its own.
    pub timeout_override: Option<Duration>,
    /// How many run at a time; 0 counts as 1.
    pub jobs: usize,
    /// The time between TERM and KILL when one has to end.
    pub grace: Duration,
}

impl Settings {
    fn limit(&self, scenario: &Scenario) -> Duration {
        self.timeout_override.or(scenario.front.timeout).unwrap_or(self.timeout)
    }
}

/// What goes on while scenarios are judged.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The scenario's first command is about to run; does not come for one of which nothing is run.
    Started(&'a Entry),
    /// The verdict is there; comes once for every entry.
    Judged(&'a Judged),
}

/// Judges the entries, and returns the results in their order.
///
/// `settings.jobs` run at a time, those marked slow after the others. `judged_before` are the
/// scenarios that were judged earlier in this run, and so can't be skipped now. `progress` is
/// called on the calling thread. Once the token is tripped, what runs is ended and what has not
/// begun is `NotRun`.
pub fn judge_scenarios(
    entries: &[&Entry],
    place: &Place,
    settings: &Settings,
    judged_before: &BTreeSet<ScenarioId>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Vec<Judged> {
    let is_slow = |entry: &Entry| entry.scenario.as_ref().is_ok_and(|s| s.front.slow);
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| is_slow(entries[*at]));
    let next = AtomicUsize::new(0);
    let mut results: Vec<Option<Judged>> = vec![None; entries.len()];
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.clamp(1, entries.len().max(1)) {
            let send = send.clone();
            let (order, next) = (&order, &next);
            scope.spawn(move || {
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let entry = entries[*at];
                    let started = &mut || drop(send.send((*at, None)));
                    let judge = Judge { place, settings, cancel, judged_before };
                    let judged = judge.judge(entry, started);
                    if send.send((*at, Some(judged))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        for (at, judged) in receive {
            match judged {
                None => progress(Progress::Started(entries[at])),
                Some(judged) => progress(Progress::Judged(results[at].insert(judged))),
            }
        }
    });
    results.into_iter().flatten().collect()
}

/// Returns what is wrong with a scenario, with its line where it is about one.
fn place_and_message(found: &Diagnostic) -> String {
    match found.span {
        Some(_) => format!("line {}: {}", found.line, found.message),
        None => found.message.clone(),
    }
}

/// What every worker has in hand.
struct Judge<'a> {
    place: &'a Place,
    settings: &'a Settings,
    cancel: &'a Cancel,
    judged_before: &'a BTreeSet<ScenarioId>,
}

impl Judge<'_> {
    fn judge(&self, entry: &Entry, started: &mut dyn FnMut()) -> Judged {
        let (verdict, attempts) = match &entry.scenario {
            Err(diagnostics) => {
                let message = diagnostics.first().map_or_else(String::new, place_and_message);
                (Verdict::Unsatisfied { because: vec![Miss::Invalid { message }] }, Vec::new())
            }
            Ok(_) if self.cancel.tripped().is_some() => {
                (Verdict::Undecided { why: Obstacle::NotRun }, Vec::new())
            }
            Ok(scenario) => {
                started();
                match self.stopped_by_precondition(&entry.id, scenario) {
                    Some(verdict) => (verdict, Vec::new()),
                    None => self.attempts(scenario),
                }
            }
        };
        Judged::of(entry, verdict, attempts)
    }

    /// Runs the checks among the preconditions; returns the verdict that the first one that is not
    /// met makes, and none when all are.
    fn stopped_by_precondition(&self, id: &ScenarioId, scenario: &Scenario) -> Option<Verdict> {
        scenario.preconditions.iter().find_map(|precondition| {
            let finished = self.run(precondition.check.as_ref()?, scenario);
            match finished.ending {
                Ending::Exited { code: 0 } => None,
                Ending::Interrupted | Ending::CouldNotStart { .. } => {
                    Some(of_ending(&finished.ending))
                }
                Ending::Exited { .. }
                | Ending::Signalled { .. }
                | Ending::TimedOut { .. }
                | Ending::Idle { .. } => {
                    Some(of_unmet_precondition(&precondition.text, self.judged_before.contains(id)))
                }
            }
        })
    }

    /// Runs the evaluation until it is not unsatisfied, or has no retry left.
    fn attempts(&self, scenario: &Scenario) -> (Verdict, Vec<Attempt>) {
        let script = scenario.script();
        let mut attempts = Vec::new();
        loop {
            let finished = self.run(&script, scenario);
            let verdict = of_ending(&finished.ending);
            attempts.push(Attempt {
                ending: finished.ending,
                stdout: finished.stdout.tail_text(),
                stderr: finished.stderr.tail_text(),
                stdout_bytes: finished.stdout.total,
                stderr_bytes: finished.stderr.total,
                duration: finished.duration,
                leaked: finished.leaked,
                stdout_head: String::new(),
                stderr_head: String::new(),
                stopped: false,
                unmet: Vec::new(),
            });
            let again = matches!(verdict, Verdict::Unsatisfied { .. })
                && attempts.len() <= scenario.front.retries as usize
                && self.cancel.tripped().is_none();
            if !again {
                return (verdict, attempts);
            }
        }
    }

    fn run(&self, script: &str, scenario: &Scenario) -> Finished {
        let limits =
            Limits { time: self.settings.limit(scenario), grace: self.settings.grace, keep: KEEP };
        self.place.bash(script, &scenario.front.env, limits, self.cancel, &mut |_, _| {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::process::{Signal, Variables};
    use crate::scenario::{CodeBlock, FrontMatter, Precondition, Severity};

    fn entry(id: &str, script: &str) -> Entry {
        Entry {
            id: ScenarioId::parse(id).unwrap(),
            name: id.to_owned(),
            file: format!("scenarios/{id}.md"),
            category: String::new(),
            scenario: Ok(Scenario {
                preconditions: Vec::new(),
                expectation: String::new(),
                evaluation: vec![CodeBlock { code: script.to_owned(), line: 1 }],
                pass_criteria: String::new(),
                evidence: Vec::new(),
                front: FrontMatter::default(),
            }),
        }
    }

    fn with(mut entry: Entry, change: impl FnOnce(&mut Scenario)) -> Entry {
        change(entry.scenario.as_mut().unwrap());
        entry
    }

    fn check_item(command: &str) -> Precondition {
        let text = format!("check: `{command}`");
        Precondition { text, check: Some(command.to_owned()), line: 1 }
    }

    fn settings() -> Settings {
        Settings {
            timeout: Duration::from_secs(30),
            timeout_override: None,
            jobs: 1,
            grace: Duration::from_millis(200),
        }
    }

    fn path() -> Variables {
        [("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())].into()
    }

    struct Bench {
        dir: tempfile::TempDir,
        settings: Settings,
        before: BTreeSet<ScenarioId>,
        env: Variables,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir, settings: settings(), before: BTreeSet::new(), env: path() }
        }

        fn judge(
            &self,
            entries: &[Entry],
            cancel: &Cancel,
            progress: &mut dyn FnMut(Progress<'_>),
        ) -> Vec<Judged> {
            let place = Place { root: self.dir.path().to_owned(), env: self.env.clone() };
            let entries: Vec<&Entry> = entries.iter().collect();
            judge_scenarios(&entries, &place, &self.settings, &self.before, cancel, progress)
        }

        fn verdict(&self, entry: Entry) -> (Verdict, Vec<Attempt>) {
            let judged = self.judge(&[entry], &Cancel::never(), &mut |_| {}).remove(0);
            (judged.verdict, judged.attempts)
        }
    }

    fn missed(miss: Miss) -> Verdict {
        Verdict::Unsatisfied { because: vec![miss] }
    }

    #[test]
    fn exit_0_is_a_pass_and_any_other_code_is_not() {
        let bench = Bench::new();
        assert_eq!(bench.verdict(entry("a", "true")).0, Verdict::Satisfied);
        assert_eq!(bench.verdict(entry("a", "exit 3")).0, missed(Miss::Exit { code: 3 }));
        assert_eq!(bench.verdict(entry("a", "kill -9 $$")).0, missed(Miss::Signal { signal: 9 }));
    }

    #[test]
    fn an_evaluation_runs_in_the_root_and_reads_nothing() {
        let bench = Bench::new();
        let (_, attempts) = bench.verdict(entry("a", "pwd; cat; echo e >&2"));
        assert_eq!(attempts[0].stdout.trim(), bench.dir.path().to_str().unwrap());
        assert_eq!((attempts[0].stderr.as_str(), attempts[0].stderr_bytes), ("e\n", 2));
    }

    #[test]
    fn the_front_matters_variables_win_and_none_steers_bash() {
        let mut bench = Bench::new();
        std::fs::write(bench.dir.path().join("rc"), "echo from the rc file").unwrap();
        bench.env.insert("A".into(), "place".into());
        bench.env.insert("B".into(), "place".into());
        bench.env.insert("BASH_ENV".into(), bench.dir.path().join("rc").into());
        let scenario = with(entry("a", "echo $A $B"), |s| {
            s.front.env.insert("B".into(), "scenario".into());
            s.front.env.insert("PATH".into(), "/nowhere".into());
        });
        assert_eq!(bench.verdict(scenario).1[0].stdout, "place scenario\n");
    }

    #[test]
    fn messages_of_bash_do_not_tell_where_bash_is() {
        let (_, attempts) = Bench::new().verdict(entry("a", "no-such-tool"));
        assert_eq!(attempts[0].stderr, "bash: line 1: no-such-tool: command not found\n");
    }

    #[test]
    fn a_script_too_long_for_an_argument_runs_and_leaves_no_file() {
        let bench = Bench::new();
        let script = format!("{}\necho $0; ls", "# filler\n".repeat(20_000));
        let (verdict, attempts) = bench.verdict(entry("a", &script));
        assert_eq!(verdict, Verdict::Satisfied);
        let file = attempts[0].stdout.trim();
        assert!(file.ends_with(".sh") && !std::path::Path::new(file).exists(), "{file}");
    }

    #[test]
    fn a_timeout_is_the_scenarios_unless_the_caller_overrides_it() {
        let mut bench = Bench::new();
        let long = Duration::from_secs(300);
        let short = Duration::from_millis(100);
        let scenario =
            |limit| with(entry("a", "sleep 60; true"), |s| s.front.timeout = Some(limit));
        bench.settings.timeout = long;
        assert_eq!(bench.verdict(scenario(short)).0, missed(Miss::Timeout { limit: short }));
        bench.settings.timeout_override = Some(short);
        assert_eq!(bench.verdict(scenario(long)).0, missed(Miss::Timeout { limit: short }));
    }

    #[test]
    fn an_unmet_precondition_skips_before_anything_is_evaluated() {
        let mut bench = Bench::new();
        let scenario = with(entry("a", "touch evaluated"), |s| {
            s.preconditions = vec![check_item("true"), check_item("exit 1"), check_item("touch c")];
        });
        let unmet = "check: `exit 1`".to_owned();
        let verdict = bench.verdict(scenario.clone());
        assert_eq!(verdict, (Verdict::Skipped { unmet: unmet.clone() }, Vec::new()));
        bench.before.insert(scenario.id.clone());
        assert_eq!(bench.verdict(scenario).0, missed(Miss::PreconditionLost { unmet }));
        assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_precondition_that_hangs_is_unmet() {
        let mut bench = Bench::new();
        bench.settings.timeout = Duration::from_millis(100);
        let scenario =
            with(entry("a", "true"), |s| s.preconditions = vec![check_item("sleep 60; true")]);
        assert!(matches!(bench.verdict(scenario).0, Verdict::Skipped { .. }));
    }

    #[test]
    fn every_attempt_is_kept_and_the_last_one_counts() {
        let bench = Bench::new();
        let flaky = "echo >> tries; test $(wc -l < tries) = 3";
        let scenario = |retries| with(entry("a", flaky), |s| s.front.retries = retries);
        let (verdict, attempts) = bench.verdict(scenario(1));
        assert_eq!((verdict, attempts.len()), (missed(Miss::Exit { code: 1 }), 2));
        let (verdict, attempts) = bench.verdict(scenario(5));
        assert_eq!((verdict, attempts.len()), (Verdict::Satisfied, 1));
    }

    #[test]
    fn a_scenario_that_cannot_be_read_is_unsatisfied() {
        let diagnostic = Diagnostic {
            code: "S001".into(),
            severity: Severity::Error,
            message: "no evaluation".into(),
            file: String::new(),
            span: None,
            line: 1,
            column: 1,
            help: String::new(),
        };
        let entry = Entry { scenario: Err(vec![diagnostic]), ..entry("a", "") };
        let (verdict, attempts) = Bench::new().verdict(entry);
        assert_eq!(verdict, missed(Miss::Invalid { message: "no evaluation".into() }));
        assert!(attempts.is_empty());
    }

    #[test]
    fn without_bash_nothing_is_decided() {
        let mut bench = Bench::new();
        bench.env = [("PATH".into(), "/nowhere".into())].into();
        let (verdict, _) = bench.verdict(entry("a", "true"));
        let why = "`bash` is not installed, or not on PATH".to_owned();
        assert_eq!(verdict, Verdict::Undecided { why: Obstacle::CouldNotStart { why } });
    }

    #[test]
    fn several_at_a_time_come_back_in_order() {
        let mut bench = Bench::new();
        bench.settings.jobs = 3;
        let entries: Vec<Entry> = (0..6)
            .map(|n| {
                let pause = if n % 2 == 0 { "sleep 0.2;" } else { "" };
                entry(&format!("s{n}"), &format!("{pause} echo {n}"))
            })
            .collect();
        let mut told = 0;
        let judged = bench.judge(&entries, &Cancel::never(), &mut |progress| {
            told += usize::from(matches!(progress, Progress::Judged(_)));
        });
        let outputs: String = judged.iter().map(|j| j.attempts[0].stdout.as_str()).collect();
        assert_eq!((outputs.as_str(), told), ("0\n1\n2\n3\n4\n5\n", 6));
    }

    #[test]
    fn slow_ones_run_after_the_others_and_come_back_in_their_place() {
        let bench = Bench::new();
        let entries: Vec<Entry> = (0..3)
            .map(|n| {
                let script = format!("echo {n} | tee -a order");
                with(entry(&format!("s{n}"), &script), |s| s.front.slow = n == 0)
            })
            .collect();
        let judged = bench.judge(&entries, &Cancel::never(), &mut |_| {});
        let outputs: String = judged.iter().map(|j| j.attempts[0].stdout.as_str()).collect();
        let order = std::fs::read_to_string(bench.dir.path().join("order")).unwrap();
        assert_eq!((outputs.as_str(), order.as_str()), ("0\n1\n2\n", "1\n2\n0\n"));
    }

    #[test]
    fn ten_megabytes_leave_the_last_part() {
        let (_, attempts) = Bench::new().verdict(entry("a", "yes ä | head -c 9999999; echo end"));
        assert_eq!(attempts[0].stdout_bytes, 10_000_003);
        assert!(attempts[0].stdout.len() <= 20_000 && attempts[0].stdout.ends_with("end\n"));
    }

    #[test]
    fn an_interrupt_keeps_what_was_judged() {
        let bench = Bench::new();
        let cancel = Cancel::new().unwrap();
        let begin = Instant::now();
        let entries = [entry("a", "true"), entry("b", "sleep 300; true"), entry("c", "true")];
        let judged = bench.judge(&entries, &cancel, &mut |progress| {
            if matches!(progress, Progress::Started(entry) if entry.id.as_str() == "b") {
                cancel.trip(Signal::Interrupt);
            }
        });
        let verdicts: Vec<Verdict> = judged.into_iter().map(|judged| judged.verdict).collect();
        let undecided = |why| Verdict::Undecided { why };
        assert_eq!(
            verdicts,
            [Verdict::Satisfied, undecided(Obstacle::Interrupted), undecided(Obstacle::NotRun)]
        );
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_a_scenario_leaves_running_is_flagged() {
        let (verdict, attempts) = Bench::new().verdict(entry("a", "sleep 300 & true"));
        assert!(verdict == Verdict::Satisfied && attempts[0].leaked);
    }
}
