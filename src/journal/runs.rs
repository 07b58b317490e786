//! The runs of a repository: `artifacts/factory/runs/`.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::dir_store::io;
use super::{StoreError, read_chain};
use crate::event::{BlobRef, Envelope, Summary};
use crate::id::{Digest, RunId};

/// How much of a journal is read at a time.
const BUFFER: usize = 256 * 1024;

/// The directory that holds a repository's runs.
#[derive(Debug, Clone)]
pub struct RunsDir(PathBuf);

impl RunsDir {
    /// Names the runs of the repository at `root`; nothing is made.
    pub fn of(root: &Path) -> Self {
        Self(root.join("artifacts/factory/runs"))
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the directory of one run, there or not.
    pub fn run(&self, run: &RunId) -> PathBuf {
        self.0.join(run.as_str())
    }

    /// Returns the ids of all runs, oldest first; empty where there is none. Among them is what was
    /// ended before its first event was written (a kill, a full disk), so that it can be removed.
    ///
    /// # Errors
    /// The directory is there and can't be read.
    pub fn list(&self) -> Result<Vec<RunId>, StoreError> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("reading", &self.0)(error)),
        };
        let mut runs: Vec<RunId> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("events.jsonl").is_file())
            .filter_map(|entry| RunId::parse(entry.file_name().to_str()?).ok())
            .collect();
        runs.sort();
        Ok(runs)
    }

    /// Returns the id of the newest run that has begun; none where there is none.
    ///
    /// # Errors
    /// The directory is there and can't be read.
    pub fn newest(&self) -> Result<Option<RunId>, StoreError> {
        let mut runs = self.list()?;
        runs.retain(|run| has_begun(&self.run(run).join("events.jsonl")));
        Ok(runs.pop())
    }

    /// Finds the run that `wanted` names (the whole id, or a part that only one has); the newest
    /// where nothing is asked for.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, wanted: Option<&str>) -> Result<RunId, StoreError> {
        let Some(wanted) = wanted else {
            return self.newest()?.ok_or_else(|| StoreError::NoRuns { path: self.0.clone() });
        };
        let runs = self.list()?;
        let matching: Vec<&RunId> = runs
            .iter()
            .filter(|run| run.as_str() == wanted)
            .chain(runs.iter().filter(|run| run.as_str().contains(wanted)))
            .collect();
        match matching.as_slice() {
            [one] => Ok((*one).clone()),
            [exact, ..] if exact.as_str() == wanted => Ok((*exact).clone()),
            _ => Err(StoreError::NoRun { run: wanted.to_owned(), path: self.0.clone() }),
        }
    }
}

/// Returns whether a journal has a line.
fn has_begun(path: &Path) -> bool {
    let mut line = Vec::new();
    let read = File::open(path).and_then(|file| BufReader::new(file).read_until(b'\n', &mut line));
    read.is_ok() && line.ends_with(b"\n")
}

/// Reads the events of the run in `dir` and folds them. With `brief` the lines of single scenarios,
/// gates and set-up commands are passed over, which is what makes the status of a long run quick;
/// the chain is then not checked, and what the summary says of these is empty.
///
/// # Errors
/// The journal can't be read, or is damaged.
pub fn read_summary(dir: &Path, brief: bool) -> Result<(Summary, Vec<Envelope>), StoreError> {
    let path = dir.join("events.jsonl");
    let events = if brief { read_brief(&path)? } else { read_whole(&path)? };
    let summary = Summary::of(&events).ok_or(StoreError::NotBegun { path })?;
    Ok((summary, events))
}

/// Returns the bytes of a blob of the run in `dir`, without opening the run for writing.
///
/// # Errors
/// It is missing, or its bytes are not those that were kept.
pub fn read_blob(dir: &Path, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
    let path = blob_path(dir, blob);
    let bytes = std::fs::read(&path).map_err(io("reading", &path))?;
    let found = Digest::of(&bytes);
    if found == blob.digest { Ok(bytes) } else { Err(StoreError::Damaged { path, found }) }
}

/// Returns the file of a blob of the run in `dir`.
pub fn blob_path(dir: &Path, blob: &BlobRef) -> PathBuf {
    dir.join("blobs").join(blob.digest.as_str())
}

fn read_whole(path: &Path) -> Result<Vec<Envelope>, StoreError> {
    let bytes = std::fs::read(path).map_err(io("reading", path))?;
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    read_chain(String::from_utf8_lossy(&bytes[..complete]).lines(), path)
}

/// Reads the lines that a summary can't do without, and passes over the others in the buffer: a
/// long journal is never in memory as a whole.
fn read_brief(path: &Path) -> Result<Vec<Envelope>, StoreError> {
    let file = File::open(path).map_err(io("opening", path))?;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut glance = Glance::default();
    let mut events = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        if glance.is_detail(reader.fill_buf().map_err(io("reading", path))?) {
            reader.skip_until(b'\n').map_err(io("reading", path))?;
            continue;
        }
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(io("reading", path))?;
        // The last line may still be in the making.
        if line.pop() != Some(b'\n') {
            break;
        }
        // The buffer had ended within it.
        if glance.is_detail(&line) {
            continue;
        }
        let event = Envelope::from_line(&String::from_utf8_lossy(&line))
            .map_err(|source| StoreError::Line { path: path.to_owned(), line: number, source })?;
        events.push(event);
    }
    Ok(events)
}

/// Tells lines apart by a look at their beginning.
#[derive(Default)]
struct Glance {
    /// Where the event's name was last: the lines of a journal begin alike.
    at: usize,
}

impl Glance {
    /// Returns whether `bytes` begin with the line of a single scenario, gate or set-up command,
    /// or of another event that a brief summary does without; no where they end too early to say.
    fn is_detail(&mut self, bytes: &[u8]) -> bool {
        const EVENT: &[u8] = b"\"event\":\"";
        const DETAILS: [&[u8]; 4] =
            [b"scenario.", b"gate.", b"prepare.finished\"", b"workspace.checked\""];
        if !bytes.get(self.at..).is_some_and(|rest| rest.starts_with(EVENT)) {
            let head = &bytes[..bytes.len().min(256)];
            let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
            match head[..end].windows(EVENT.len()).position(|window| window == EVENT) {
                Some(at) => self.at = at,
                None => return false,
            }
        }
        let name = &bytes[self.at + EVENT.len()..];
        DETAILS.iter().any(|detail| name.starts_with(detail))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{DirStore, Journal};
    use super::*;
    use crate::clock::{SteppingClock, Timestamp};
    use crate::event::{Label, RunEvent, RunStarted, Tier};
    use crate::id::ScenarioId;
    use crate::text::Redaction;

    /// Writes a run of `scenarios` lines of single scenarios and some others.
    fn write(dir: &Path, scenarios: usize) {
        let store = Box::new(DirStore::open(dir).unwrap());
        let clock = Arc::new(SteppingClock::starting_at(Timestamp::from_unix_millis(0)));
        let run = RunId::parse("r").unwrap();
        let mut journal = Journal::begin(store, run, clock, Redaction::default());
        let blob = journal.put(Label::Holdout, b"text".to_vec()).unwrap();
        let started = RunEvent::RunStarted(Box::new(RunStarted {
            version: String::new(),
            graph: "converge".into(),
            base: "c".into(),
            tree: "t".into(),
            base_branch: None,
            branch: "factory/r".into(),
            first_iteration: 0,
            threshold: 0.8,
            stalled_after: 3,
            max_iterations: 5,
            limits: crate::convergence::Limits::default(),
            deadline: None,
            scenarios,
            agent: None,
            tier: Tier::Copy,
            judge_tier: Tier::Copy,
            in_place: false,
            product: String::new(),
            frozen: blob.clone(),
        }));
        journal.append(None, Some(0), started).unwrap();
        for number in 0..scenarios {
            let scenario = ScenarioId::parse(&format!("s{number}")).unwrap();
            let judged = RunEvent::ScenarioJudged {
                scenario,
                verdict: "satisfied".into(),
                ms: 1,
                result: blob.clone(),
            };
            journal.append(None, Some(0), RunEvent::GateStarted { gate: number }).unwrap();
            journal.append(None, Some(0), judged).unwrap();
        }
        journal.append(None, Some(0), RunEvent::RunPaused {}).unwrap();
    }

    fn names(dir: &Path, brief: bool) -> usize {
        read_summary(dir, brief).unwrap().1.len()
    }

    #[test]
    fn a_brief_summary_passes_over_single_scenarios() {
        let dir = tempfile::tempdir().unwrap();
        // More than the buffer holds, so that it ends within lines.
        write(dir.path(), 700);
        assert!(std::fs::metadata(dir.path().join("events.jsonl")).unwrap().len() > 262_144);
        assert_eq!((names(dir.path(), true), names(dir.path(), false)), (2, 1_402));
        let (brief, _) = read_summary(dir.path(), true).unwrap();
        assert_eq!(brief.ended, read_summary(dir.path(), false).unwrap().0.ended);
    }

    #[test]
    fn a_line_in_the_making_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2);
        let path = dir.path().join("events.jsonl");
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        assert_eq!((names(dir.path(), true), names(dir.path(), false)), (1, 5));
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2);
        let path = dir.path().join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        std::fs::write(&path, format!("{first}\n{{}}\n{rest}")).unwrap();
        let error = read_summary(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("events.jsonl:2: "), "{error}");
    }

    #[test]
    fn a_run_is_found_by_a_part_that_only_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let runs = RunsDir::of(dir.path());
        assert!(matches!(runs.find(None), Err(StoreError::NoRuns { .. })));
        for run in ["20261120-0001", "20261120-0002"] {
            write(&runs.run(&RunId::parse(run).unwrap()), 0);
        }
        let found = |wanted| runs.find(wanted).map(|run| run.to_string()).ok();
        assert_eq!(found(None).as_deref(), Some("20261120-0002"));
        assert_eq!(found(Some("0001")).as_deref(), Some("20261120-0001"));
        assert_eq!(found(Some("20261120")), None);
    }
}
