//! Explains how one judgement differs from another, scenario by scenario.
//!
//! Of each result only the outline is kept, so that ten thousand fit in a few megabytes. Nothing
//! here says which of the two is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::human;
use crate::id::ScenarioId;
use crate::text::{listed, one_line, plural};
use crate::verdict::Judged;

use super::results::{PublishedVerdict, ResultsError, SCHEMA, ScenarioResult};

/// How many characters of a name or a reason are shown.
const WIDTH: usize = 200;
/// How many scenarios of one kind are explained; the others are counted.
const EXPLAINED: usize = 50;
/// How many names a line lists.
const NAMES: usize = 5;
/// A duration differs if it is this many times the other ...
const TIMES: u32 = 3;
/// ... and the longer of the two is at least so long.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// What is compared of a judgement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outline {
    /// How many scenarios ran at a time, if that is known.
    pub jobs: Option<usize>,
    /// What they were shuffled by; none where they were not, or it is not known.
    pub seed: Option<u64>,
    /// The scenarios, in any order.
    pub scenarios: Vec<Known>,
}

/// What is compared of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its id.
    pub id: ScenarioId,
    /// Its name.
    pub name: String,
    /// Its file; empty where that is not known.
    pub file: String,
    /// What came of it.
    pub verdict: PublishedVerdict,
    /// As in the results.
    pub exit_code: i32,
    /// One line on why it is not satisfied; empty when it is.
    pub why: String,
    /// The pass criteria that did not hold in the last attempt.
    pub unmet: Vec<String>,
    /// Whether some attempts passed and others did not.
    pub flaky: bool,
    /// How long all attempts took.
    pub duration: Duration,
}

/// The fields of a results file that are looked at.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    schema: u32,
    #[serde(default)]
    jobs: Option<usize>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(rename = "total")]
    _total: usize,
    results: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: String,
    name: String,
    #[serde(default)]
    file_path: Option<String>,
    #[serde(default)]
    verdict: Option<PublishedVerdict>,
    passed: bool,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    error_summary: Option<String>,
    #[serde(default)]
    duration_seconds: Option<f64>,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    attempts: Vec<AttemptLine>,
}

#[derive(Deserialize)]
struct AttemptLine {
    #[serde(default)]
    unmet: Vec<UnmetLine>,
}

#[derive(Deserialize)]
struct UnmetLine {
    criterion: String,
}

impl Outline {
    /// Reads the results file at `path`, without the outputs.
    ///
    /// # Errors
    /// It is not there, holds something else, or is of a later version.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let path = path.to_owned();
        let file = match File::open(&path) {
            Ok(file) => BufReader::new(file),
            Err(source) => return Err(ResultsError::Read { path, source }),
        };
        match serde_json::from_reader::<_, Document>(file) {
            Err(error) if error.is_io() => Err(ResultsError::Read { path, source: error.into() }),
            Err(source) => Err(ResultsError::Parse { path, source }),
            Ok(Document { schema, .. }) if schema > SCHEMA => {
                Err(ResultsError::Newer { path, schema })
            }
            Ok(file) => Ok(Self {
                jobs: file.jobs,
                seed: file.seed,
                scenarios: file.results.into_iter().map(Known::from).collect(),
            }),
        }
    }
}

impl Known {
    /// Returns the outline of what was judged.
    pub fn of(judged: &Judged) -> Self {
        let result = ScenarioResult::of(judged);
        let unmet = judged.attempts.last().map_or(&[][..], |last| &last.unmet);
        Self {
            id: judged.id.clone(),
            name: result.name,
            file: judged.file.clone(),
            verdict: PublishedVerdict::of(&judged.verdict),
            exit_code: result.exit_code,
            why: result.error_summary,
            unmet: unmet.iter().map(|one| one.criterion.clone()).collect(),
            flaky: result.flaky,
            duration: judged.duration(),
        }
    }

    fn outcome(&self) -> String {
        let word = match self.verdict {
            PublishedVerdict::Satisfied if self.flaky => "satisfied, but flaky",
            PublishedVerdict::Satisfied => "satisfied",
            PublishedVerdict::Unsatisfied if self.why.is_empty() => "not satisfied",
            PublishedVerdict::Undecided if self.why.is_empty() => "undecided",
            PublishedVerdict::Skipped if self.why.is_empty() => "skipped",
            _ => return one_line(&self.why, WIDTH),
        };
        word.to_owned()
    }
}

impl From<Line> for Known {
    fn from(line: Line) -> Self {
        let passed_or_not =
            if line.passed { PublishedVerdict::Satisfied } else { PublishedVerdict::Unsatisfied };
        let file = line.file_path.unwrap_or_default();
        let shown = if file.is_empty() { &line.name } else { &file };
        let unmet = line.attempts.into_iter().next_back().map(|last| last.unmet);
        Self {
            id: ScenarioId::parse(&line.id).unwrap_or_else(|_| {
                ScenarioId::for_file(shown.rsplit('/').next().unwrap_or(shown))
            }),
            verdict: line.verdict.unwrap_or(passed_or_not),
            exit_code: line.exit_code.unwrap_or(0),
            why: line.error_summary.unwrap_or_default(),
            unmet: unmet.into_iter().flatten().map(|one| one.criterion).collect(),
            flaky: line.flaky,
            duration: Duration::try_from_secs_f64(line.duration_seconds.unwrap_or(0.0))
                .unwrap_or_default(),
            name: line.name,
            file,
        }
    }
}

/// How a scenario differs; the order is that in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It was satisfied, and is not.
    NewlyFailing,
    /// Neither time it was satisfied, for different reasons.
    FailsOtherwise,
    /// Some attempts passed and others did not, which was not so before.
    NewlyFlaky,
    /// Another verdict in another way: skipped, undecided, or not so any more.
    OtherVerdict,
    /// It was not satisfied, and is.
    NewlyPassing,
    /// The same, and it took more than three times as long.
    Slower,
    /// The same, and it took less than a third of the time.
    Faster,
    /// Only the old judgement has it.
    OnlyOld,
    /// Only the new judgement has it.
    OnlyNew,
}

impl Change {
    /// Every change, in the order told.
    const ALL: [Self; 9] = [
        Self::NewlyFailing,
        Self::FailsOtherwise,
        Self::NewlyFlaky,
        Self::OtherVerdict,
        Self::NewlyPassing,
        Self::Slower,
        Self::Faster,
        Self::OnlyOld,
        Self::OnlyNew,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::NewlyFailing => "newly failing",
            Self::FailsOtherwise => "failing otherwise",
            Self::NewlyFlaky => "newly flaky",
            Self::OtherVerdict => "another verdict",
            Self::NewlyPassing => "newly passing",
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::OnlyOld => "only before",
            Self::OnlyNew => "only now",
        }
    }

    /// Returns whether the product, or what it was judged in, must have behaved differently.
    fn is_of_verdict(self) -> bool {
        match self {
            Self::NewlyFailing
            | Self::FailsOtherwise
            | Self::NewlyFlaky
            | Self::OtherVerdict
            | Self::NewlyPassing => true,
            Self::Slower | Self::Faster | Self::OnlyOld | Self::OnlyNew => false,
        }
    }
}

/// One scenario that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its id.
    pub id: ScenarioId,
    /// Its name.
    pub name: String,
    /// How it differs.
    pub change: Change,
    /// What it came to before; empty where it was not there.
    pub before: String,
    /// What it comes to now; empty where it is not there.
    pub now: String,
    /// What differs beside the verdict, as fragments.
    pub details: Vec<String>,
}

/// How two judgements differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The scenarios that differ, by change, then by id.
    pub differences: Vec<Difference>,
    /// How many do not.
    pub same: usize,
    /// How the two were run differently, as fragments.
    pub conditions: Vec<String>,
}

/// Compares an old judgement with a new one.
pub fn compare(old: &Outline, new: &Outline) -> Comparison {
    let before: BTreeMap<&ScenarioId, &Known> =
        old.scenarios.iter().map(|one| (&one.id, one)).collect();
    let now: BTreeSet<&ScenarioId> = new.scenarios.iter().map(|one| &one.id).collect();
    // The same file under another id, as an earlier version gave it.
    let renamed = old.scenarios.iter().filter(|one| !one.file.is_empty() && !now.contains(&one.id));
    let renamed: BTreeMap<&str, &Known> = renamed.map(|one| (one.file.as_str(), one)).collect();
    let mut found = BTreeSet::new();
    let mut differences = Vec::new();
    for one in &new.scenarios {
        let same_file = || renamed.get(one.file.as_str()).inspect(|old| _ = found.insert(&old.id));
        match before.get(&one.id).or_else(same_file) {
            None => differences.push(difference(Change::OnlyNew, None, Some(one))),
            Some(old) => {
                if let Some(change) = change(old, one) {
                    differences.push(difference(change, Some(old), Some(one)));
                }
            }
        }
    }
    let same = new.scenarios.len() - differences.len();
    let is_gone = |one: &&Known| !now.contains(&one.id) && !found.contains(&one.id);
    let gone = old.scenarios.iter().filter(is_gone);
    differences.extend(gone.map(|one| difference(Change::OnlyOld, Some(one), None)));
    differences.sort_by(|a, b| (a.change, &a.id).cmp(&(b.change, &b.id)));
    Comparison { conditions: conditions(old, new, &differences), differences, same }
}

fn change(old: &Known, new: &Known) -> Option<Change> {
    use PublishedVerdict::{Satisfied, Unsatisfied};
    let longer = old.duration.max(new.duration) >= WORTH_TELLING;
    Some(match (old.verdict, new.verdict) {
        (Satisfied, Unsatisfied) => Change::NewlyFailing,
        (Unsatisfied, Satisfied) if !new.flaky => Change::NewlyPassing,
        _ if new.flaky && !old.flaky => Change::NewlyFlaky,
        (Unsatisfied, Satisfied) => Change::NewlyPassing,
        (before, now) if before != now => Change::OtherVerdict,
        (Unsatisfied, _) if old.exit_code != new.exit_code || old.unmet != new.unmet => {
            Change::FailsOtherwise
        }
        _ if longer && new.duration > old.duration * TIMES => Change::Slower,
        _ if longer && old.duration > new.duration * TIMES => Change::Faster,
        _ => return None,
    })
}

fn difference(change: Change, old: Option<&Known>, new: Option<&Known>) -> Difference {
    let known = new.or(old).expect("a difference is of one that is there");
    let mut details = Vec::new();
    if let (Some(old), Some(new)) = (old, new) {
        if old.exit_code != new.exit_code {
            details.push(format!("exit code {}, was {}", new.exit_code, old.exit_code));
        }
        for (list, other, what) in [
            (&new.unmet, &old.unmet, "no longer met"),
            (&old.unmet, &new.unmet, "not unmet any more"),
        ] {
            let only: Vec<&String> = list.iter().filter(|one| !other.contains(one)).collect();
            if !only.is_empty() {
                details.push(format!("{what}: {}", listed(&only, NAMES)));
            }
        }
        let (long, short) = (old.duration.max(new.duration), old.duration.min(new.duration));
        if long >= WORTH_TELLING && long > short * TIMES {
            details.push(format!("took {}, was {}", human(new.duration), human(old.duration)));
        }
    }
    Difference {
        id: known.id.clone(),
        name: known.name.clone(),
        change,
        before: old.map(Known::outcome).unwrap_or_default(),
        now: new.map(Known::outcome).unwrap_or_default(),
        details,
    }
}

/// Says what differs in how the two were run, as far as the results tell.
fn conditions(old: &Outline, new: &Outline, differences: &[Difference]) -> Vec<String> {
    let mut conditions = Vec::new();
    if let (Some(before), Some(now)) = (old.jobs, new.jobs)
        && before != now
    {
        conditions.push(format!("{now} at a time, was {before}"));
    }
    // Without `jobs` the file says nothing of how it was made.
    if old.jobs.is_some() && old.seed != new.seed {
        let shown = |seed: Option<u64>| seed.map_or("none".to_owned(), |seed| seed.to_string());
        conditions.push(format!("seed {}, was {}", shown(new.seed), shown(old.seed)));
    }
    let other = |one: &Difference| matches!(one.change, Change::OnlyOld | Change::OnlyNew);
    if differences.iter().any(other) {
        conditions.push("other scenarios".to_owned());
    }
    conditions
}

impl Comparison {
    /// Returns what people read: a sum, each difference that is not of presence alone, and a hint
    /// where the order may be to blame.
    pub fn lines(&self) -> Vec<String> {
        let of = |change: Change| self.differences.iter().filter(move |one| one.change == change);
        let mut counts: Vec<String> = Change::ALL
            .into_iter()
            .map(|change| (of(change).count(), change.words()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        counts.push(format!("{} as before", self.same));
        let mut lines = vec![format!("compared: {}", counts.join(", "))];
        for change in Change::ALL {
            let found: Vec<&Difference> = of(change).collect();
            if found.is_empty() {
                continue;
            }
            if matches!(change, Change::OnlyOld | Change::OnlyNew) {
                let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
                lines.push(format!("  {}: {}", change.words(), listed(&names, NAMES)));
                continue;
            }
            for one in found.iter().take(EXPLAINED) {
                lines.push(format!("  {}: {}", change.words(), one_line(&one.name, WIDTH)));
                if change.is_of_verdict() {
                    lines.push(format!("      before: {}", one.before));
                    lines.push(format!("      now:    {}", one.now));
                }
                lines.extend(one.details.iter().map(|detail| format!("      {detail}")));
            }
            if found.len() > EXPLAINED {
                lines.push(format!("  and {} more {}", found.len() - EXPLAINED, change.words()));
            }
        }
        let differ = self.differences.iter().filter(|one| one.change.is_of_verdict()).count();
        if differ > 0 && !self.conditions.is_empty() {
            lines.push(format!("  run differently: {}", self.conditions.join("; ")));
            lines.push(format!(
                "  if the product is the same, {} may depend on what another leaves behind; run \
                 each alone to see",
                plural(differ, "scenario")
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::results::Results;
    use super::super::scenarios::testing::{all, of};
    use super::*;
    use crate::clock::Timestamp;
    use crate::verdict::{Ending, satisfaction};

    fn outline(judged: &[Judged]) -> Outline {
        Outline { jobs: Some(1), seed: None, scenarios: judged.iter().map(Known::of).collect() }
    }

    fn exited(id: &str, code: i32) -> Judged {
        of(id, Ending::Exited { code }, "", "")
    }

    fn took(mut judged: Judged, millis: u64) -> Judged {
        judged.attempts[0].duration = Duration::from_millis(millis);
        judged
    }

    fn flaky(id: &str) -> Judged {
        let mut judged = exited(id, 0);
        judged.attempts.insert(0, exited(id, 1).attempts.remove(0));
        judged
    }

    #[track_caller]
    fn check(old: &Judged, new: &Judged, expected: Option<Change>) {
        let comparison = compare(&outline(from_ref(old)), &outline(from_ref(new)));
        assert_eq!(comparison.differences.first().map(|one| one.change), expected);
        assert_eq!(comparison.same, usize::from(expected.is_none()));
    }

    #[test]
    fn a_file_that_has_another_id_now_is_the_same_scenario() {
        let (old, new) = (exited("scenario", 1), exited("scenario-0123abcd", 0));
        check(&old, &Judged { file: old.file.clone(), ..new }, Some(Change::NewlyPassing));
        // Where another one has the old id, that is this.
        let other = Judged { file: "scenarios/other.md".into(), ..exited("scenario", 1) };
        let new = Judged { file: old.file.clone(), ..exited("scenario-0123abcd", 0) };
        let found = compare(&outline(&[old]), &outline(&[other, new]));
        assert_eq!(found.differences.len(), 1);
        assert_eq!(found.differences[0].change, Change::OnlyNew);
    }

    #[test]
    fn each_change_is_told_from_the_others() {
        let (pass, fail) = (exited("a", 0), exited("a", 1));
        check(&pass, &pass, None);
        check(&fail, &fail, None);
        check(&pass, &fail, Some(Change::NewlyFailing));
        check(&fail, &pass, Some(Change::NewlyPassing));
        check(&fail, &exited("a", 2), Some(Change::FailsOtherwise));
        check(&pass, &flaky("a"), Some(Change::NewlyFlaky));
        check(&fail, &flaky("a"), Some(Change::NewlyFlaky));
        check(&flaky("a"), &flaky("a"), None);
        check(&pass, &of("a", Ending::Interrupted, "", ""), Some(Change::OtherVerdict));
    }

    #[test]
    fn three_times_as_long_is_told_where_it_matters() {
        let pass = || exited("a", 0);
        check(&took(pass(), 400), &took(pass(), 1_300), Some(Change::Slower));
        check(&took(pass(), 1_300), &took(pass(), 400), Some(Change::Faster));
        check(&took(pass(), 400), &took(pass(), 1_200), None);
        check(&took(pass(), 1), &took(pass(), 400), None);
    }

    #[test]
    fn the_same_judgement_differs_in_nothing_and_reading_loses_nothing() {
        let judged = all();
        let results =
            Results::new(Timestamp::from_unix_millis(0), &judged, &satisfaction(&judged), false);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), Results { jobs: Some(1), ..results }.to_json()).unwrap();
        let read = Outline::read(file.path()).unwrap();
        assert_eq!(read, outline(&judged));
        let comparison = compare(&read, &outline(&judged));
        assert_eq!(comparison.lines(), [format!("compared: {} as before", judged.len())]);
    }

    #[test]
    fn a_difference_is_explained_and_the_order_suspected() {
        let old = outline(&[exited("a", 0), exited("b", 1), exited("c", 0)]);
        let mut new = outline(&[exited("a", 7), exited("b", 0), exited("d", 0)]);
        (new.jobs, new.seed) = (Some(4), Some(9));
        assert_eq!(
            compare(&old, &new).lines(),
            [
                "compared: 1 newly failing, 1 newly passing, 1 only before, 1 only now, 0 as before",
                "  newly failing: The a",
                "      before: satisfied",
                "      now:    exit code 7",
                "      exit code 7, was 0",
                "  newly passing: The b",
                "      before: exit code 1",
                "      now:    satisfied",
                "      exit code 0, was 1",
                "  only before: The c",
                "  only now: The d",
                "  run differently: 4 at a time, was 1; seed 9, was none; other scenarios",
                "  if the product is the same, 2 scenarios may depend on what another leaves \
                 behind; run each alone to see",
            ]
        );
    }

    #[test]
    fn a_file_of_the_manuals_script_can_be_compared() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let json = r#"{"total": 1, "results": [{"name": "A", "file_path": "x/A.md", "passed": false,
            "exit_code": null, "error_summary": null}]}"#;
        std::fs::write(file.path(), json).unwrap();
        let old = Outline::read(file.path()).unwrap();
        let new = outline(&[exited("a", 0)]);
        assert_eq!(compare(&old, &new).differences[0].change, Change::NewlyPassing);
        std::fs::write(file.path(), "[]").unwrap();
        assert!(matches!(Outline::read(file.path()), Err(ResultsError::Parse { .. })));
        assert!(matches!(Outline::read(Path::new("/no")), Err(ResultsError::Read { .. })));
    }
}
