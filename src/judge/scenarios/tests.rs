//! Tests of the judge with a real bash.

use super::*;
use crate::clock::Instant;
use crate::config::FixtureSettings;
use crate::process::{Signal, Variables};
use crate::scenario::{
    CodeBlock, Diagnostic, EvidenceItem, FrontMatter, History, Order, Precondition, Scenario,
    Severity, from_files, phases,
};
use crate::verdict::{Attempt, Miss, satisfaction};

fn entry(id: &str, script: &str) -> Entry {
    Entry {
        id: ScenarioId::parse(id).unwrap(),
        name: id.to_owned(),
        file: format!("scenarios/{id}.md"),
        category: String::new(),
        scenario: Ok(Box::new(Scenario {
            preconditions: Vec::new(),
            expectation: String::new(),
            evaluation: vec![CodeBlock { code: script.to_owned(), line: 1 }],
            pass_criteria: String::new(),
            criteria: Vec::new(),
            evidence: Vec::new(),
            front: FrontMatter::default(),
        })),
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
    Settings { grace: Duration::from_millis(200), ..Settings::new(Duration::from_secs(30)) }
}

fn path() -> Variables {
    [("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())].into()
}

struct Bench {
    dir: tempfile::TempDir,
    settings: Settings,
    before: BTreeSet<ScenarioId>,
    env: Variables,
    fixtures: Vec<FixtureSettings>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            settings: settings(),
            before: BTreeSet::new(),
            env: path(),
            fixtures: Vec::new(),
        }
    }

    fn judge(
        &self,
        entries: &[Entry],
        cancel: &Cancel,
        progress: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Vec<Judged> {
        let place = Place::open(self.dir.path(), self.env.clone());
        let entries: Vec<&Entry> = entries.iter().collect();
        let logs = self.dir.path().with_extension("logs");
        let fixtures = Fixtures::new(&self.fixtures, &place, &logs, cancel).unwrap();
        let work = Work {
            fixtures: &fixtures,
            entries: &entries,
            phases: &phases(&entries, Order::File, &History::default()),
            place: &place,
            judged_before: &self.before,
            sum_before: Satisfaction::default(),
        };
        let mut judged = Vec::new();
        let sum = judge_scenarios(work, &self.settings, cancel, &mut |one| {
            if let Progress::Judged(one) = &one {
                judged.push(one.clone());
            }
            progress(one);
        });
        assert_eq!(sum, satisfaction(&judged));
        judged
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
    let scenario = |limit| with(entry("a", "sleep 60; true"), |s| s.front.timeout = Some(limit));
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

/// Judges the entries; returns the ids in the order in which they were told, with their verdicts.
fn told(bench: &Bench, entries: &[Entry]) -> Vec<(String, Verdict)> {
    let judged = bench.judge(entries, &Cancel::never(), &mut |_| {});
    judged.into_iter().map(|one| (one.id.to_string(), one.verdict)).collect()
}

fn ids(told: &[(String, Verdict)]) -> Vec<&str> {
    told.iter().map(|(id, _)| id.as_str()).collect()
}

#[test]
fn several_at_a_time_are_told_as_they_end() {
    let mut bench = Bench::new();
    bench.settings.jobs = 2;
    // The other has time to end after it has said so, on a machine that is busy too.
    let waits = "until test -e ready; do sleep 0.01; done; sleep 0.5";
    let told = told(&bench, &[entry("a", waits), entry("b", "touch ready"), entry("c", "true")]);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(_, verdict)| *verdict == Verdict::Satisfied));
    assert_eq!(told[0].0, "b");
}

#[test]
fn slow_ones_run_after_the_others_and_serial_ones_alone() {
    let mut bench = Bench::new();
    bench.settings.jobs = 4;
    // Fails where two are in it at the same time.
    let alone = "mkdir busy && sleep 0.1 && rmdir busy";
    let serial = |id| with(entry(id, alone), |s| s.front.serial = true);
    let slow = |id, script| with(entry(id, script), |s| s.front.slow = true);
    let all = [
        slow("slow", "test -e quick"),
        serial("one"),
        serial("two"),
        entry("quick", "touch quick"),
    ];
    let told = told(&bench, &all);
    assert_eq!(ids(&told), ["quick", "one", "two", "slow"]);
    assert!(told.iter().all(|(_, verdict)| *verdict == Verdict::Satisfied), "{told:?}");
}

#[test]
fn slow_ones_wait_until_the_others_reach_the_threshold() {
    let slow = || with(entry("slow", "touch slow"), |s| s.front.slow = true);
    let deferred = Verdict::Undecided { why: Obstacle::Deferred };
    for (threshold, expected) in
        [(Some(0.6), &deferred), (Some(0.5), &Verdict::Satisfied), (None, &Verdict::Satisfied)]
    {
        let mut bench = Bench::new();
        bench.settings.threshold = threshold;
        let told = told(&bench, &[slow(), entry("a", "true"), entry("b", "false")]);
        assert_eq!(&told[2], &("slow".to_owned(), expected.clone()));
        assert_eq!(bench.dir.path().join("slow").exists(), *expected == Verdict::Satisfied);
    }
    // One of them is not put off because another has failed.
    let mut bench = Bench::new();
    bench.settings.threshold = Some(0.9);
    let serial = with(entry("late", "true"), |s| (s.front.slow, s.front.serial) = (true, true));
    let failing = with(entry("slow", "false"), |s| s.front.slow = true);
    assert_eq!(told(&bench, &[entry("a", "true"), failing, serial])[2].1, Verdict::Satisfied);
    // Alone, there is nothing to wait for.
    let mut bench = Bench::new();
    bench.settings.threshold = Some(1.0);
    assert_eq!(told(&bench, &[slow()])[0].1, Verdict::Satisfied);
}

#[test]
fn after_the_first_failure_nothing_more_begins_where_that_is_asked_for() {
    let mut bench = Bench::new();
    bench.settings.fail_fast = true;
    let all = [entry("a", "true"), entry("b", "false"), entry("c", "touch c")];
    let told = told(&bench, &all);
    assert_eq!(told[2].1, Verdict::Undecided { why: Obstacle::NotRun });
    assert!(!bench.dir.path().join("c").exists());
}

#[test]
fn a_repeated_evaluation_has_to_pass_each_time() {
    let mut bench = Bench::new();
    bench.settings.repeat = 3;
    let second_fails = "echo >> tries; test $(wc -l < tries) != 2";
    let judged = bench.judge(&[entry("a", second_fails)], &Cancel::never(), &mut |_| {});
    assert_eq!(judged[0].verdict, missed(Miss::Exit { code: 1 }));
    assert_eq!((judged[0].attempts.len(), judged[0].is_flaky()), (3, true));
}

#[test]
fn retries_asked_for_go_before_the_scenarios_own() {
    let mut bench = Bench::new();
    bench.settings.retries = Some(2);
    let judged = bench.judge(&[entry("a", "false")], &Cancel::never(), &mut |_| {});
    assert_eq!((judged[0].attempts.len(), judged[0].is_flaky()), (3, false));
}

#[test]
fn output_is_handed_on_as_it_comes_and_time_passes() {
    let mut bench = Bench::new();
    bench.settings.live = true;
    bench.settings.tick = Some(Duration::from_millis(20));
    let (mut seen, mut ticks) = (Vec::new(), 0);
    bench.judge(&[entry("a", "echo hello; sleep 0.3")], &Cancel::never(), &mut |progress| {
        match progress {
            Progress::Output(_, stream, bytes) => seen.push((stream, bytes)),
            Progress::Tick => ticks += 1,
            Progress::Started(_) | Progress::Judged(_) => {}
        }
    });
    assert_eq!(seen, [(Stream::Stdout, b"hello\n".to_vec())]);
    assert!(ticks > 3, "{ticks}");
}

#[test]
fn evidence_is_copied_after_the_evaluation() {
    let mut bench = Bench::new();
    let kept = tempfile::tempdir().unwrap();
    let dir = EvidenceDir { path: kept.path().to_owned(), shown: "kept".to_owned() };
    bench.settings.evidence = Some(dir);
    let scenario = with(entry("a", "echo seen > out.log"), |s| {
        let paths = vec!["*.log".to_owned(), "none".to_owned()];
        s.evidence = vec![EvidenceItem { text: String::new(), paths }];
    });
    let judged = bench.judge(&[scenario], &Cancel::never(), &mut |_| {}).remove(0);
    assert_eq!(judged.evidence[0].files, ["kept/a/out.log"]);
    assert_eq!(judged.evidence[1].missing, "nothing has that name");
    assert_eq!(std::fs::read_to_string(kept.path().join("a/out.log")).unwrap(), "seen\n");
}

#[test]
fn much_output_keeps_its_beginning_and_its_end() {
    let (_, attempts) =
        Bench::new().verdict(entry("a", "echo first; yes | head -c 100000; echo end"));
    assert!(attempts[0].stdout_head.starts_with("first\ny\n"));
    assert_eq!(attempts[0].stdout_head.len(), 2_000);
    assert!(attempts[0].stdout.ends_with("end\n"));
    let (_, attempts) = Bench::new().verdict(entry("a", "echo first; yes | head -c 10000"));
    assert_eq!((attempts[0].stdout_head.as_str(), attempts[0].stdout.len()), ("", 10_006));
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

/// Judges one scenario with these pass criteria; returns what does not hold.
fn criteria(script: &str, items: &[&str]) -> Vec<String> {
    let text = format!(
        "# Scenario: S\n## Evaluation Method\n```bash\n{script}\n```\n## Pass Criteria\n- {}\n",
        items.join("\n- ")
    );
    let set = from_files("scenarios", vec![(b"s.md".to_vec(), text.into_bytes())]);
    let bench = Bench::new();
    let judged = bench.judge(&set.entries, &Cancel::never(), &mut |_| {}).remove(0);
    let unmet = &judged.attempts[0].unmet;
    assert_eq!(judged.is_satisfied(), judged.attempts[0].ending.is_success() && unmet.is_empty());
    unmet.iter().map(|one| one.criterion.clone()).collect()
}

#[test]
fn pass_criteria_are_checked_beside_the_exit_code() {
    let items = ["stdout contains \"hello\"", "stderr is empty", "file exists `out`"];
    assert!(criteria("echo hello; touch out", &items).is_empty());
    assert_eq!(criteria("echo bye; echo oops >&2; mkdir sub", &items), items);
    // Where the evaluation fails, that is what there is to say.
    assert!(criteria("exit 3", &items).is_empty());
}

#[test]
fn a_megabyte_of_output_is_looked_through() {
    let script = "yes filler | head -c 900000; echo needle; yes filler | head -c 900000";
    assert!(criteria(script, &["stdout contains \"needle\""]).is_empty());
    let much = script.replace("900000", "9000000");
    assert_eq!(criteria(&much, &["stdout does not contain \"nothing\""]).len(), 1);
}
