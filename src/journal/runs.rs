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

    /// Returns the ids of all runs, oldest first; empty where there is none. What was ended before
    /// its first event was written (a kill, a full disk) is no run.
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
            .filter(|entry| has_begun(&entry.path().join("events.jsonl")))
            .filter_map(|entry| RunId::parse(entry.file_name().to_str()?).ok())
            .collect();
        runs.sort();
        Ok(runs)
    }

    /// Finds the run that `wanted` names (the whole id, or a part that only one has); the newest
    /// where nothing is asked for.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, wanted: Option<&str>) -> Result<RunId, StoreError> {
        let mut runs = self.list()?;
        let Some(wanted) = wanted else {
            return runs.pop().ok_or_else(|| StoreError::NoRuns { path: self.0.clone() });
        };
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
    use std::io::{BufRead as _, BufReader};
    let mut line = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| BufReader::new(file).read_until(b'\n', &mut line));
    read.is_ok() && line.ends_with(b"\n")
}

/// Reads the events of the run in `dir` and folds them. With `brief` the lines of single scenarios
/// are passed over, which is what makes the status of a long run quick; the chain is then not
/// checked, and what the summary says of single scenarios is empty.
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

/// Reads the lines that a summary can't do without, in pieces of one buffer: a long journal is
/// never in memory as a whole.
fn read_brief(path: &Path) -> Result<Vec<Envelope>, StoreError> {
    let file = File::open(path).map_err(io("opening", path))?;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut events = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(io("reading", path))?;
        // The last line may still be in the making.
        if line.pop() != Some(b'\n') {
            break;
        }
        if is_detail(&line) {
            continue;
        }
        let event = Envelope::from_line(&String::from_utf8_lossy(&line))
            .map_err(|source| StoreError::Line { path: path.to_owned(), line: number, source })?;
        events.push(event);
    }
    Ok(events)
}

/// Returns whether a line is that of a single scenario, or tells only that something began, by a
/// look at its beginning.
fn is_detail(line: &[u8]) -> bool {
    const EVENT: &[u8] = b"\"event\":\"";
    let head = &line[..line.len().min(256)];
    let Some(at) = head.windows(EVENT.len()).position(|window| window == EVENT) else {
        return false;
    };
    let name = &head[at + EVENT.len()..];
    name.starts_with(b"scenario.") || name.starts_with(b"gate.started\"")
}
