//! What a judgement of the working tree leaves as it goes on, so that a kill loses nothing: a line
//! for each finished scenario, after a first one that names all that are to be judged, in a
//! directory of the judgement's own below `judgements/`.
//!
//! The lines are the published results. The writer holds a lock on its file, which tells a judgement
//! that goes on from one that was killed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Instant, Timestamp};
use crate::id::ScenarioId;
use crate::process::mark;
use crate::report::results::ScenarioResult;
use crate::scenario::{LastStatus, Past};

/// Where judgements lie in the factory's directory.
pub(super) const JUDGEMENTS: &str = "judgements";
/// The lines of a judgement that goes on, or was killed and not met since.
const RESULTS: &str = "results.jsonl";
/// The lines of a judgement that was killed, once somebody has met them.
const CUT_SHORT: &str = "cut-short.jsonl";
/// How many judgements are kept.
const KEPT: usize = 5;
/// How long the file of a dead runner may stay locked.
const LETTING_GO: Duration = Duration::from_secs(2);

/// The record of one judgement that goes on.
#[derive(Debug)]
pub struct JudgementRecord {
    dir: PathBuf,
    file: File,
}

/// The record of a judgement that was killed.
#[derive(Debug, Clone, PartialEq)]
pub struct CutShort {
    /// Its lines.
    pub file: PathBuf,
    /// The ids of all that were to be judged.
    pub scenarios: Vec<ScenarioId>,
    /// What had been judged, in the order of its end.
    pub results: Vec<ScenarioResult>,
}

/// The first line of a record.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Begun {
    scenarios: Vec<ScenarioId>,
    /// Who writes it; empty in those of earlier versions.
    #[serde(default)]
    runner: String,
}

impl CutShort {
    /// Returns what is remembered of it: what came of those that had been judged, and that the
    /// others were not run.
    pub fn pasts(&self) -> Vec<(ScenarioId, Past)> {
        let not_run = Past { status: LastStatus::NotRun, seconds: None, flaky: false };
        let mut pasts: BTreeMap<ScenarioId, Past> =
            self.scenarios.iter().map(|id| (id.clone(), not_run)).collect();
        let judged = self.results.iter().map(ScenarioResult::judged);
        pasts.extend(judged.map(|judged| (judged.id.clone(), judged.past())));
        pasts.into_iter().collect()
    }
}

impl JudgementRecord {
    /// Begins a record of the judgement of `scenarios` in `state`, the factory's directory in the
    /// product, and drops the oldest ones beyond five.
    ///
    /// # Errors
    /// The directory or its file can't be made.
    pub fn begin(state: &Path, now: Timestamp, scenarios: &[ScenarioId]) -> io::Result<Self> {
        let all = state.join(JUDGEMENTS);
        fs::create_dir_all(&all)?;
        prune(&all);
        let dir = new_dir(&all, &now.compact())?;
        // Locked before it has its name: without a lock it would be taken for a dead runner's.
        let unnamed = dir.join(".results.tmp");
        let file = OpenOptions::new().write(true).create_new(true).open(&unnamed)?;
        file.lock()?;
        fs::rename(&unnamed, dir.join(RESULTS))?;
        let record = Self { dir, file };
        let begun = Begun { scenarios: scenarios.to_vec(), runner: mark::runner().to_owned() };
        let mut line = serde_json::to_vec(&begun)?;
        line.push(b'\n');
        record.add(&line)?;
        Ok(record)
    }

    /// Returns the judgement's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds the line of one scenario, the JSON of its result with a line feed. It outlives this process,
    /// not the machine's power.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn add(&self, line: &[u8]) -> io::Result<()> {
        // One write, so that lines of several threads do not mix.
        (&self.file).write_all(line)
    }

    /// Ends the record: the lines are dropped, since the results hold them now. Evidence and logs
    /// stay.
    pub fn finish(self) {
        // What can't be removed is met as cut short the next time, and is then the same results.
        let _ = fs::remove_file(self.dir.join(RESULTS));
        // Only an empty one goes.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Returns the judgements that were killed since somebody last looked, oldest first. `met` makes of
/// each what has to be remembered; once it has, the record is set aside.
///
/// # Errors
/// A record can't be read, or `met` fails; it is met again the next time.
pub fn meet_cut_short(
    state: &Path,
    met: &mut dyn FnMut(&CutShort) -> io::Result<()>,
) -> io::Result<Vec<CutShort>> {
    let mut found = Vec::new();
    for dir in judgements(&state.join(JUDGEMENTS)) {
        let path = dir.join(RESULTS);
        let Some(file) = unlocked(&path)? else { continue };
        let set_aside = dir.join(CUT_SHORT);
        let cut_short = read(&fs::read(&path)?, set_aside.clone());
        met(&cut_short)?;
        fs::rename(&path, &set_aside)?;
        drop(file);
        found.push(cut_short);
    }
    Ok(found)
}

/// Opens and locks a record whose writer is gone; none where there is no record, or a writer.
fn unlocked(path: &Path) -> io::Result<Option<File>> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let began = Instant::now();
    loop {
        match file.try_lock() {
            // It may have been set aside by somebody else in between.
            Ok(()) => return Ok(path.exists().then_some(file)),
            // A child that it was starting when it was killed has the file open for a moment still.
            Err(fs::TryLockError::WouldBlock)
                if began.elapsed() < LETTING_GO && is_of_a_dead_runner(path) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Returns whether a record says whose it is, and that process is dead.
fn is_of_a_dead_runner(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut line = String::new();
    let read = BufReader::new(file).read_line(&mut line);
    let begun: Begun = serde_json::from_str(&line).unwrap_or_default();
    read.is_ok() && mark::is_dead(&begun.runner)
}

/// Reads a record, without a last line that was cut off.
fn read(bytes: &[u8], file: PathBuf) -> CutShort {
    let mut lines =
        bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let begun: Begun =
        lines.next().and_then(|line| serde_json::from_slice(line).ok()).unwrap_or_default();
    let results = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    CutShort { file, scenarios: begun.scenarios, results }
}

/// Returns the directories of judgements, oldest first.
fn judgements(all: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(all) else { return Vec::new() };
    let mut dirs: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    dirs.sort();
    dirs
}

fn new_dir(all: &Path, name: &str) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        // Zeros, so that names sort as the judgements began.
        let dir = all.join(format!("{name}-{number:03}"));
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            other => return other.map(|()| dir),
        }
    }
}

/// Removes the oldest judgements that are over.
fn prune(all: &Path) {
    let mut over: Vec<PathBuf> =
        judgements(all).into_iter().filter(|dir| !dir.join(RESULTS).exists()).collect();
    over.truncate(over.len().saturating_sub(KEPT - 1));
    for dir in over {
        // One that stays is tried again the next time.
        let _ = fs::remove_dir_all(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, passed: bool) -> ScenarioResult {
        serde_json::from_value(serde_json::json!({"id": id, "name": id, "passed": passed})).unwrap()
    }

    fn begin(state: &Path, second: i64) -> JudgementRecord {
        let now = Timestamp::from_unix_millis(1_795_166_100_000 + second * 1_000);
        let scenarios = ["a", "b", "c"].map(|id| ScenarioId::parse(id).unwrap());
        JudgementRecord::begin(state, now, &scenarios).unwrap()
    }

    /// Returns of each judgement that is met the ids and what is remembered of them.
    fn meet(state: &Path) -> Vec<Vec<(String, LastStatus)>> {
        let met = meet_cut_short(state, &mut |_| Ok(())).unwrap();
        let pasts = |one: CutShort| {
            one.pasts().into_iter().map(|(id, past)| (id.to_string(), past.status)).collect()
        };
        met.into_iter().map(pasts).collect()
    }

    #[test]
    fn a_judgement_that_is_over_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let record = begin(state.path(), 0);
        record.add(&result("a", true).to_line()).unwrap();
        record.finish();
        assert_eq!(judgements(&state.path().join(JUDGEMENTS)), Vec::<PathBuf>::new());
        assert!(meet(state.path()).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn one_that_was_killed_is_met_though_its_child_lets_go_a_moment_later() {
        let state = tempfile::tempdir().unwrap();
        let record = begin(state.path(), 0);
        // The same process number, of a process that began at another time.
        let path = record.dir().join(RESULTS);
        let runner = mark::runner();
        let dead = format!("{}.1", runner.rsplit_once('.').unwrap().0);
        let line = fs::read_to_string(&path).unwrap().replace(runner, &dead);
        fs::write(&path, line).unwrap();
        let child = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(record);
        });
        assert_eq!(meet(state.path()).len(), 1);
        child.join().unwrap();
    }

    #[test]
    fn one_that_goes_on_is_nobodys_business_and_one_that_was_killed_is_met_once() {
        let state = tempfile::tempdir().unwrap();
        let record = begin(state.path(), 0);
        record.add(&result("a", true).to_line()).unwrap();
        record.add(&result("b", false).to_line()).unwrap();
        assert!(meet(state.path()).is_empty());
        // In the middle of a line.
        (&record.file).write_all(b"{\"id\": \"c\", \"na").unwrap();
        drop(record);
        let expected = [
            ("a", LastStatus::Satisfied),
            ("b", LastStatus::Unsatisfied),
            ("c", LastStatus::NotRun),
        ];
        assert_eq!(meet(state.path()), [expected.map(|(id, status)| (id.to_owned(), status))]);
        assert!(meet(state.path()).is_empty());
    }

    #[test]
    fn what_could_not_be_remembered_is_met_again() {
        let state = tempfile::tempdir().unwrap();
        drop(begin(state.path(), 0));
        let full = &mut |_: &CutShort| Err(io::ErrorKind::StorageFull.into());
        assert!(meet_cut_short(state.path(), full).is_err());
        assert_eq!(meet(state.path()).len(), 1);
    }

    #[test]
    fn judgements_of_one_second_have_directories_of_their_own_and_few_are_kept() {
        let state = tempfile::tempdir().unwrap();
        for second in [0, 0, 1, 2, 3, 4, 5] {
            let record = begin(state.path(), second);
            fs::create_dir(record.dir().join("evidence")).unwrap();
            record.finish();
        }
        let kept = judgements(&state.path().join(JUDGEMENTS));
        assert_eq!(kept.len(), KEPT);
        assert!(kept[0].ends_with("20261120-091501-000"), "{kept:?}");
    }
}
