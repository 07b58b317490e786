//! Judgements for tests.

use std::path::Path;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::ScenarioId;
use crate::report::Output;
use crate::report::results::Results;
use crate::scenario::{CodeBlock, Entry, FrontMatter, Scenario, Visibility};
use crate::verdict::{
    Attempt, Ending, Evidence, Judged, Miss, Obstacle, Unmet, Verdict, of_attempt, satisfaction,
};

use super::{Begun, Finished, JudgementReporter, Target};

/// A scenario whose evaluation begins on line 12.
pub(in crate::report) fn entry(id: &str) -> Entry {
    Entry {
        id: ScenarioId::parse(id).unwrap(),
        name: format!("The {id}"),
        file: format!("scenarios/{id}.md"),
        category: "pipeline".to_owned(),
        scenario: Ok(Box::new(Scenario {
            preconditions: Vec::new(),
            expectation: String::new(),
            evaluation: vec![CodeBlock { code: "true\n".into(), line: 12 }],
            pass_criteria: String::new(),
            criteria: Vec::new(),
            evidence: Vec::new(),
            front: FrontMatter::default(),
        })),
    }
}

/// What a reporter wrote, beside the results of the same judgement.
pub(in crate::report) struct Told {
    pub(in crate::report) text: String,
    pub(in crate::report) results: Results,
}

/// Tells a judgement to a reporter, the last scenario first.
pub(in crate::report) fn told(
    judged: &[Judged],
    make: impl for<'t> FnOnce(Target<'t>, &Path) -> Box<dyn JudgementReporter + 't>,
) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report");
    let mut output = Output::new(Box::new(std::fs::File::create(&file).unwrap()), false);
    let mut reporter = make(Target::Stream(&mut output), dir.path());
    let entries: Vec<Entry> = judged.iter().map(|one| entry(one.id.as_str())).collect();
    let entries: Vec<&Entry> = entries.iter().collect();
    let begun = Begun { entries: &entries, jobs: 2, seed: Some(7), expected: &[].into() };
    reporter.begun(&begun);
    for (one, entry) in judged.iter().zip(&entries).rev() {
        reporter.started(entry);
        reporter.judged(one);
    }
    let sum = satisfaction(judged);
    let timestamp = Timestamp::from_unix_millis(1_795_166_100_250);
    reporter.finished(&Finished {
        timestamp,
        sum: &sum,
        duration: Duration::from_secs(3),
        cut_short: None,
        results: Some(Path::new("artifacts/results.json")),
        comparison: None,
        notes: &["a note".to_owned()],
    });
    reporter.close().unwrap();
    output.finish().unwrap();
    let results = Results::new(timestamp, judged, &sum, false);
    Told {
        text: std::fs::read_to_string(file).unwrap(),
        results: Results { jobs: Some(2), seed: Some(7), ..results },
    }
}

pub(in crate::report) fn attempt(ending: Ending, stdout: &str, stderr: &str) -> Attempt {
    Attempt::new(ending, stdout, stderr, Duration::from_millis(1_250))
}

pub(in crate::report) fn judged(id: &str, verdict: Verdict, attempts: Vec<Attempt>) -> Judged {
    Judged {
        id: ScenarioId::parse(id).unwrap(),
        name: format!("The {id}"),
        file: format!("scenarios/{id}.md"),
        category: "pipeline".to_owned(),
        weight: 1.0,
        critical: false,
        visibility: Visibility::Holdout,
        verdict,
        attempts,
        evidence: Vec::new(),
    }
}

pub(in crate::report) fn of(id: &str, ending: Ending, stdout: &str, stderr: &str) -> Judged {
    let attempt = attempt(ending, stdout, stderr);
    judged(id, of_attempt(&attempt), vec![attempt])
}

pub(in crate::report) fn missed(miss: Miss) -> Verdict {
    Verdict::Unsatisfied { because: vec![miss] }
}

pub(in crate::report) fn undecided(why: Obstacle) -> Verdict {
    Verdict::Undecided { why }
}

pub(in crate::report) fn all() -> Vec<Judged> {
    let limit = Duration::from_secs(300);
    let unmet = || "a GPU".to_owned();
    let mut flaky = of("flaky", Ending::Exited { code: 0 }, "ok\n", "");
    flaky.attempts.insert(0, attempt(Ending::Signalled { signal: 11 }, "", ""));
    let mut heavy = of("heavy", Ending::Exited { code: 0 }, "", "");
    (heavy.weight, heavy.critical, heavy.visibility) = (2.5, true, Visibility::Public);
    let mut criterion = of("criterion", Ending::Exited { code: 0 }, "no\n", "");
    let last = &mut criterion.attempts[0];
    last.unmet = vec![Unmet {
        criterion: "stdout contains \"ok\"".into(),
        expected: "\"ok\" in stdout".into(),
        actual: "stdout is \"no\"".into(),
    }];
    (last.stdout_head, last.leaked, last.stopped) = ("head".into(), true, true);
    criterion.verdict = of_attempt(last);
    criterion.evidence = vec![Evidence {
        wanted: "*.log".into(),
        files: vec!["artifacts/factory/a.log".into()],
        missing: "too large".into(),
    }];
    vec![
        of("pass", Ending::Exited { code: 0 }, "ok\n", ""),
        of("fail", Ending::Exited { code: 1 }, "", "Traceback:\nValueError: no\n\n---\n"),
        of("quiet", Ending::Exited { code: 7 }, "only stdout\n", " \n"),
        of("killed", Ending::Signalled { signal: 9 }, "", ""),
        of("slow", Ending::TimedOut { limit }, "partial\n", ""),
        judged("invalid", missed(Miss::Invalid { message: "no evaluation".into() }), vec![]),
        judged("skipped", Verdict::Skipped { unmet: unmet() }, vec![]),
        judged("lost", missed(Miss::PreconditionLost { unmet: unmet() }), vec![]),
        of("nobash", Ending::CouldNotStart { why: "no bash".into() }, "", ""),
        of("cut", Ending::Interrupted, "begun\n", ""),
        judged("notrun", undecided(Obstacle::NotRun), vec![]),
        flaky,
        heavy,
        criterion,
        judged(
            "notready",
            undecided(Obstacle::Fixture { name: "db".into(), why: "x: y".into() }),
            vec![],
        ),
        judged("noserver", missed(Miss::Fixture { name: "web".into(), why: "no".into() }), vec![]),
        judged("deferred", undecided(Obstacle::Deferred), vec![]),
    ]
}
