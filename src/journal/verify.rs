//! Whether a run's record is what was written: its chain of lines, its blobs, its commits.
//!
//! A changed line or blob shows by its digest. A journal that was recomputed as a whole is right by
//! itself; it shows by the run's commits, each of which holds the digest of the line before it was
//! made. Nothing here asks git: what a repository has of the commits is handed in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::StoreError;
use super::dir_store::io;
use super::runs::blob_path;
use crate::event::{BlobRef, Envelope, RunEvent};
use crate::id::{Digest, RunId};

/// The trailer of a commit that holds the digest of the journal's last line before it was made.
const TRAILER: &str = "Factory-Journal";
/// The trailer that names the run.
const RUN_TRAILER: &str = "Factory-Run";

/// Fields of events and details whose blobs are texts of products, agents and people. A text that
/// looks like the name of a blob is none.
const TEXTS: [&str; 11] = [
    "activity", "answer", "diff", "feedback", "message", "output", "patch", "prompt", "question",
    "says", "trouble",
];

/// A run's journal and blobs, read and checked as far as they tell by themselves.
#[derive(Debug)]
pub struct Record {
    run: RunId,
    /// The digest of each complete line.
    lines: Vec<Digest>,
    /// The commits that events name, each with its line.
    commits: Vec<(usize, String)>,
    /// The blobs that events name, each with its line; looked at by [`Record::read`].
    named: VecDeque<Named>,
    blobs: usize,
    findings: Vec<Finding>,
}

/// A commit as the repository has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// It is not there.
    Missing,
    /// It is there, and its bytes are not those that its id is the digest of.
    Damaged,
    /// It is there.
    Whole {
        /// Its message.
        message: String,
    },
}

/// What was checked, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Complete lines of the journal.
    pub events: usize,
    /// Blobs that events name, each counted once.
    pub blobs: usize,
    /// Commits that events name.
    pub commits: usize,
    /// Events that the last commit with a good trailer holds: those of the unbroken chain that
    /// ends with the line it names. The others are held by nothing outside the journal.
    pub held: usize,
    /// What was found, by line; what belongs to no line comes last.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Returns whether the record is what was written, as far as that can be known.
    pub fn holds(&self) -> bool {
        !self.findings.iter().any(Finding::is_failure)
    }
}

/// One thing that was found. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The journal has no first event.
    #[error("the journal does not begin with `run.started`")]
    NotBegun,
    /// A line is no event.
    #[error("the line is no event ({why})")]
    NotAnEvent {
        /// The line.
        line: usize,
        /// Why.
        why: String,
    },
    /// A line does not hold the digest of the one before.
    #[error(
        "the line does not follow the one before: one of the two was changed, or lines between them are gone"
    )]
    Broken {
        /// The line.
        line: usize,
    },
    /// A line has not the next number.
    #[error("the event has number {found}, and {expected} is next")]
    Number {
        /// The line.
        line: usize,
        /// Its number.
        found: u64,
        /// The number after that of the line before.
        expected: u64,
    },
    /// A line is of another run.
    #[error("the event is of run {run}")]
    OtherRun {
        /// The line.
        line: usize,
        /// The run that it names.
        run: RunId,
    },
    /// The last line has no line feed: the run was killed while it was written, or goes on.
    #[error("the last line is unfinished and was left out: the run was killed, or goes on")]
    Unfinished {
        /// The line.
        line: usize,
    },
    /// A blob is not there.
    #[error("blob {digest} is missing")]
    BlobMissing {
        /// The line that names it, itself or by another blob.
        line: usize,
        /// The blob.
        digest: Digest,
    },
    /// A blob's bytes are others.
    #[error("blob {digest} was changed: its digest is {found}")]
    BlobChanged {
        /// The line that names it, itself or by another blob.
        line: usize,
        /// The blob.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// A blob has another size.
    #[error("blob {digest} has {found} bytes, and the event says {expected}")]
    BlobSize {
        /// The line that names it, itself or by another blob.
        line: usize,
        /// The blob.
        digest: Digest,
        /// The size of what is there.
        found: u64,
        /// The size that it should have.
        expected: u64,
    },
    /// Something lies among the blobs that no event names; a kill can leave it.
    #[error("no event names it: a kill can leave such a file")]
    Stray {
        /// The file's name.
        name: String,
    },
    /// A commit is not in the repository.
    #[error(
        "commit {commit} is not in the repository: its branch was deleted, or it was never fetched"
    )]
    CommitMissing {
        /// The line that names it.
        line: usize,
        /// The commit.
        commit: String,
    },
    /// A commit's bytes are others.
    #[error("commit {commit} is damaged: its id is not that of its bytes")]
    CommitDamaged {
        /// The line that names it.
        line: usize,
        /// The commit.
        commit: String,
    },
    /// A commit does not say what stood before it.
    #[error(
        "commit {commit} has no `Factory-Journal` trailer and holds nothing: an earlier version made it"
    )]
    NoTrailer {
        /// The line that names it.
        line: usize,
        /// The commit.
        commit: String,
    },
    /// A commit was made after a line that does not stand before the one that names the commit.
    #[error(
        "commit {commit} was made after a line that is not before this one: the journal was rewritten since"
    )]
    Rewritten {
        /// The line that names it.
        line: usize,
        /// The commit.
        commit: String,
    },
    /// No event names a commit of the run that the repository has on some branch.
    #[error(
        "commit {commit} is of this run and named by no event: the journal was cut short or rewritten"
    )]
    CommitNotNamed {
        /// The commit.
        commit: String,
    },
}

impl Finding {
    /// Returns whether the record is not what was written, rather than something to know.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Unfinished { .. } | Self::Stray { .. } | Self::NoTrailer { .. })
    }

    /// Returns the line of the journal; none where it is about no line.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::NotBegun | Self::Stray { .. } | Self::CommitNotNamed { .. } => None,
            Self::NotAnEvent { line, .. }
            | Self::Broken { line }
            | Self::Number { line, .. }
            | Self::OtherRun { line, .. }
            | Self::Unfinished { line }
            | Self::BlobMissing { line, .. }
            | Self::BlobChanged { line, .. }
            | Self::BlobSize { line, .. }
            | Self::CommitMissing { line, .. }
            | Self::CommitDamaged { line, .. }
            | Self::NoTrailer { line, .. }
            | Self::Rewritten { line, .. } => Some(*line),
        }
    }

    /// Returns whether the chain of digests does not reach from this line to the one before.
    fn breaks(&self) -> bool {
        matches!(self, Self::NotAnEvent { .. } | Self::Broken { .. } | Self::Number { .. })
    }
}

/// A blob that an event names, itself or by another blob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    line: usize,
    blob: BlobRef,
    /// Whether it is the factory's own JSON, which may name further blobs.
    is_ours: bool,
}

impl Record {
    /// Reads the record of `run` in `dir` whole: journal and blobs. Nothing is changed.
    ///
    /// # Errors
    /// The disk said no; what is missing is a finding.
    pub fn read(dir: &Path, run: &RunId) -> Result<Self, StoreError> {
        let path = dir.join("events.jsonl");
        let bytes = std::fs::read(&path).map_err(io("reading", &path))?;
        let mut record = Self::of(run, &bytes);
        record.read_blobs(dir)?;
        Ok(record)
    }

    /// Checks the bytes of a journal by themselves, and gathers what they name.
    fn of(run: &RunId, bytes: &[u8]) -> Self {
        let mut record = Self {
            run: run.clone(),
            lines: Vec::new(),
            commits: Vec::new(),
            named: VecDeque::new(),
            blobs: 0,
            findings: Vec::new(),
        };
        let mut seq = 0_u64;
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            record.take(&rest[..end], &mut seq);
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            record.findings.push(Finding::Unfinished { line: record.lines.len() + 1 });
        }
        if record.lines.is_empty() {
            record.findings.push(Finding::NotBegun);
        }
        record
    }

    /// Takes the next line; `seq` is the number of the one before.
    fn take(&mut self, bytes: &[u8], seq: &mut u64) {
        let line = self.lines.len() + 1;
        let expected = seq.wrapping_add(1);
        *seq = expected;
        match read_line(bytes) {
            Err(why) => self.findings.push(Finding::NotAnEvent { line, why }),
            Ok(envelope) => {
                *seq = envelope.seq;
                self.hold_against(&envelope, line, expected);
            }
        }
        // Also of a line that is no event: what it names may be all that is left of it.
        if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
            gather(&value, "", &mut |blob, is_ours| {
                self.named.push_back(Named { line, blob, is_ours });
            });
        }
        self.lines.push(Digest::of(bytes));
    }

    /// Holds a line against the one before it.
    fn hold_against(&mut self, envelope: &Envelope, line: usize, expected: u64) {
        if envelope.prev.as_ref() != self.lines.last() {
            self.findings.push(Finding::Broken { line });
        }
        if envelope.seq != expected {
            self.findings.push(Finding::Number { line, found: envelope.seq, expected });
        }
        if envelope.run != self.run {
            self.findings.push(Finding::OtherRun { line, run: envelope.run.clone() });
        }
        if line == 1 && !matches!(envelope.event, RunEvent::RunStarted(_)) {
            self.findings.push(Finding::NotBegun);
        }
        if let RunEvent::DeliveryAccepted { commit, .. }
        | RunEvent::FeedbackWritten { commit: Some(commit), .. } = &envelope.event
        {
            self.commits.push((line, commit.clone()));
        }
    }

    /// Looks at every blob that is named, and at what lies beside them.
    fn read_blobs(&mut self, dir: &Path) -> Result<(), StoreError> {
        let mut seen = BTreeSet::new();
        let mut digests = BTreeSet::new();
        while let Some(Named { line, blob, is_ours }) = self.named.pop_front() {
            if !seen.insert((blob.digest.clone(), blob.bytes, is_ours)) {
                continue;
            }
            digests.insert(blob.digest.as_str().to_owned());
            let Some(bytes) = stored(dir, &blob)? else {
                self.find(Finding::BlobMissing { line, digest: blob.digest });
                continue;
            };
            if let Some(finding) = compare(line, &blob, &bytes) {
                self.find(finding);
            } else if is_ours && let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
                gather(&value, "", &mut |blob, is_ours| {
                    self.named.push_back(Named { line, blob, is_ours });
                });
            }
        }
        self.blobs = digests.len();
        let there = names(&dir.join("blobs"))?;
        let strays = there.into_iter().filter(|name| !digests.contains(name));
        self.findings.extend(strays.map(|name| Finding::Stray { name }));
        Ok(())
    }

    /// Adds a finding that is not there yet.
    fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Returns the commits that events name, oldest first.
    pub fn commits(&self) -> impl Iterator<Item = &str> {
        self.commits.iter().map(|(_, commit)| commit.as_str())
    }

    /// Returns the text by which a commit of `run` is known.
    pub fn mark(run: &RunId) -> String {
        format!("{RUN_TRAILER}: {run}")
    }

    /// Returns the trailers of a commit of `run` that is made when the journal ends with the line of
    /// this digest; `more` stand between.
    pub fn trailers(run: &RunId, more: &str, head: Option<&Digest>) -> String {
        let held = head.map(|head| format!("{TRAILER}: {head}\n")).unwrap_or_default();
        format!("{}\n{more}{held}", Self::mark(run))
    }

    /// Holds the journal against the commits: those that events name, and those that say that they
    /// are of the run, `marked`. A commit that is not among `commits` is missing.
    pub fn check(mut self, commits: &BTreeMap<String, Commit>, marked: &[String]) -> Check {
        let line_of: BTreeMap<&str, usize> =
            self.lines.iter().enumerate().map(|(at, digest)| (digest.as_str(), at + 1)).collect();
        let mut named = BTreeSet::new();
        let mut known = BTreeSet::new();
        let mut last = 0;
        for (line, commit) in &self.commits {
            let (line, commit) = (*line, commit.clone());
            named.insert(commit.clone());
            let finding = match commits.get(&commit) {
                None | Some(Commit::Missing) => Finding::CommitMissing { line, commit },
                Some(Commit::Damaged) => Finding::CommitDamaged { line, commit },
                Some(Commit::Whole { message }) => match trailer(message, TRAILER) {
                    None => Finding::NoTrailer { line, commit },
                    Some(digest) => {
                        known.insert(digest);
                        match line_of.get(digest) {
                            Some(at) if *at < line => {
                                last = last.max(*at);
                                continue;
                            }
                            _ => Finding::Rewritten { line, commit },
                        }
                    }
                },
            };
            self.findings.push(finding);
        }
        for commit in marked.iter().filter(|commit| !named.contains(*commit)) {
            let Some(Commit::Whole { message }) = commits.get(commit) else { continue };
            let is_of_the_run = trailer(message, RUN_TRAILER) == Some(self.run.as_str());
            // A commit that a person made anew keeps the trailers of the factory's.
            let is_new = trailer(message, TRAILER).is_some_and(|held| !known.contains(held));
            if is_of_the_run && is_new {
                self.findings.push(Finding::CommitNotNamed { commit: commit.clone() });
            }
        }
        let broken = self.findings.iter().filter(|finding| finding.breaks());
        let since = broken.filter_map(Finding::line).filter(|line| *line <= last).max();
        self.findings.sort_by_key(|finding| finding.line().unwrap_or(usize::MAX));
        Check {
            events: self.lines.len(),
            blobs: self.blobs,
            commits: named.len(),
            held: (last + 1).saturating_sub(since.unwrap_or(1)),
            findings: self.findings,
        }
    }
}

fn read_line(bytes: &[u8]) -> Result<Envelope, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    Envelope::from_line(text).map_err(|error| error.to_string())
}

/// Calls `each` for every blob that `value` names, and with whether it may name more; `field` is
/// where the value stands.
fn gather(value: &Value, field: &str, each: &mut dyn FnMut(BlobRef, bool)) {
    match value {
        Value::Object(fields) => {
            if fields.len() == 3
                && let Ok(blob) = serde_json::from_value::<BlobRef>(value.clone())
            {
                each(blob, !TEXTS.contains(&field));
                return;
            }
            for (name, value) in fields {
                gather(value, name, each);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, field, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Holds a blob against what is named.
fn compare(line: usize, blob: &BlobRef, bytes: &[u8]) -> Option<Finding> {
    let (found, size) = (Digest::of(bytes), bytes.len() as u64);
    let digest = blob.digest.clone();
    if found != digest {
        return Some(Finding::BlobChanged { line, digest, found });
    }
    (size != blob.bytes).then_some(Finding::BlobSize {
        line,
        digest,
        found: size,
        expected: blob.bytes,
    })
}

/// Returns the bytes of a blob's file; none where there is no such file.
fn stored(dir: &Path, blob: &BlobRef) -> Result<Option<Vec<u8>>, StoreError> {
    let digest = blob.digest.as_str();
    // A name that is no digest would lead elsewhere.
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = blob_path(dir, blob);
    let is_no_file = std::fs::metadata(&path).is_ok_and(|found| !found.is_file());
    if !is_digest || is_no_file {
        return Ok(None);
    }
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("reading", &path)(error)),
    }
}

/// Returns the names in a directory, sorted; empty where it is not there.
fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("reading", dir)(error)),
    };
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(io("reading", dir))?;
    names.sort();
    Ok(names)
}

/// Returns the value of a trailer in the last paragraph of a commit's message; none without one.
fn trailer<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    let last = message.trim_end().rsplit("\n\n").next()?;
    last.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, LazyLock};

    use proptest::prelude::*;

    use super::super::{DirStore, Journal};
    use super::*;
    use crate::clock::{SteppingClock, Timestamp};
    use crate::event::{DeliveryDetail, Label};
    use crate::text::Redaction;

    /// A run with a patch, two commits and an event after the last of them.
    struct Run {
        dir: tempfile::TempDir,
        id: RunId,
        commits: BTreeMap<String, Commit>,
    }

    const FIRST: &str = "1111111111111111111111111111111111111111";
    const SECOND: &str = "2222222222222222222222222222222222222222";

    fn message(run: &RunId, held: &str) -> Commit {
        let message = format!("Turn 1: 1 file\n\nFactory-Run: {run}\n{TRAILER}: {held}\n");
        Commit::Whole { message }
    }

    fn run() -> Run {
        let dir = tempfile::tempdir().unwrap();
        let id = RunId::parse("r").unwrap();
        let clock = Arc::new(SteppingClock::starting_at(Timestamp::from_unix_millis(0)));
        let store = Box::new(DirStore::open(dir.path()).unwrap());
        let mut journal = Journal::begin(store, id.clone(), clock, Redaction::default());
        let put =
            |journal: &Journal, bytes: &[u8]| journal.put(Label::Internal, bytes.to_vec()).unwrap();
        let frozen = put(&journal, b"{}");
        let started = serde_json::json!({ "event": "run.started", "data": {
            "version": "1", "graph": "g", "base": "b", "tree": "t", "base_branch": null,
            "branch": "factory/r", "first_iteration": 0, "threshold": 0.8, "stalled_after": 3,
            "max_iterations": 5, "scenarios": 1, "agent": null, "tier": "copy", "in_place": false,
            "frozen": frozen,
        }});
        journal.append(None, None, serde_json::from_value(started).unwrap()).unwrap();
        let mut commits = BTreeMap::new();
        commits.insert(FIRST.to_owned(), message(&id, journal.head().unwrap().as_str()));
        let feedback = put(&journal, b"# Feedback");
        let commit = Some(FIRST.to_owned());
        let written = RunEvent::FeedbackWritten { feedback, masked: 0, commit };
        journal.append(None, None, written).unwrap();
        // What an agent says is no name of a blob, whatever it looks like.
        let patch = put(&journal, b"patch");
        let mut absent = patch.clone();
        absent.digest = Digest::of(b"nowhere");
        let says = put(&journal, &serde_json::to_vec(&absent).unwrap());
        journal.append(None, None, RunEvent::QuestionAnswered { answer: says }).unwrap();
        commits.insert(SECOND.to_owned(), message(&id, journal.head().unwrap().as_str()));
        let detail = DeliveryDetail { patch: Some(patch), ..DeliveryDetail::default() };
        let detail = put(&journal, &serde_json::to_vec(&detail).unwrap());
        let accepted = RunEvent::DeliveryAccepted {
            turn: 1,
            commit: SECOND.to_owned(),
            tree: "t".into(),
            files: 1,
            dropped: 0,
            detail,
        };
        journal.append(None, None, accepted).unwrap();
        journal.append(None, None, RunEvent::RunPaused {}).unwrap();
        Run { dir, id, commits }
    }

    impl Run {
        fn journal(&self) -> PathBuf {
            self.dir.path().join("events.jsonl")
        }

        fn bytes(&self) -> Vec<u8> {
            std::fs::read(self.journal()).unwrap()
        }

        fn check(&self) -> Check {
            let marked = [SECOND.to_owned(), FIRST.to_owned()];
            Record::read(self.dir.path(), &self.id).unwrap().check(&self.commits, &marked)
        }

        /// Checks a journal of these bytes and says what was found.
        fn check_bytes(&self, bytes: impl AsRef<[u8]>) -> Vec<Finding> {
            std::fs::write(self.journal(), bytes).unwrap();
            self.check().findings
        }

        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.bytes()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn an_honest_record_holds_up_to_its_last_commit() {
        let check = run().check();
        assert_eq!(check.findings, []);
        // The patch is named by the detail alone.
        assert_eq!((check.events, check.blobs, check.commits, check.held), (5, 5, 2, 3));
        assert!(check.holds());
    }

    #[test]
    fn a_blob_that_only_a_blob_names_is_looked_at() {
        let run = run();
        let path = run.dir.path().join("blobs").join(Digest::of(b"patch").as_str());
        std::fs::write(&path, "Patch").unwrap();
        let (digest, found) = (Digest::of(b"patch"), Digest::of(b"Patch"));
        assert_eq!(run.check().findings, [Finding::BlobChanged { line: 4, digest, found }]);
    }

    #[test]
    fn a_size_that_the_blob_has_not_is_found() {
        let run = run();
        let lines = run.lines().join("\n") + "\n";
        let changed = lines.replacen("\"bytes\":2,", "\"bytes\":3,", 1);
        let found = run.check_bytes(changed);
        assert!(
            matches!(found[0], Finding::BlobSize { line: 1, found: 2, expected: 3, .. }),
            "{found:?}"
        );
    }

    #[test]
    fn a_line_that_is_gone_breaks_the_chain_once() {
        let run = run();
        let mut lines = run.lines();
        lines.remove(2);
        let found = run.check_bytes(lines.join("\n") + "\n");
        assert!(found.contains(&Finding::Broken { line: 3 }), "{found:?}");
        assert!(found.contains(&Finding::Number { line: 3, found: 4, expected: 3 }), "{found:?}");
        assert!(!found.iter().any(|one| one.breaks() && one.line() != Some(3)), "{found:?}");
    }

    #[test]
    fn what_stands_before_a_break_is_held_by_no_commit() {
        let run = run();
        let text = run.lines().join("\n") + "\n";
        std::fs::write(run.journal(), text.replacen("\"threshold\":0.8", "\"threshold\":0.1", 1))
            .unwrap();
        let check = run.check();
        assert_eq!(check.held, 2);
        assert_eq!(
            check.findings,
            [Finding::Broken { line: 2 }, Finding::Rewritten { line: 2, commit: FIRST.into() }]
        );
    }

    #[test]
    fn a_line_of_another_run_is_found() {
        let mut run = run();
        run.id = RunId::parse("s").unwrap();
        let found = run.check().findings;
        assert!(found.iter().all(|one| matches!(one, Finding::OtherRun { .. })), "{found:?}");
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn a_commit_may_be_missing_damaged_or_without_trailer() {
        let mut run = run();
        let commit = || SECOND.to_owned();
        for (state, finding, holds) in [
            (Commit::Missing, Finding::CommitMissing { line: 4, commit: commit() }, false),
            (Commit::Damaged, Finding::CommitDamaged { line: 4, commit: commit() }, false),
            (
                Commit::Whole { message: "Turn 1\n\nFactory-Run: r\n".into() },
                Finding::NoTrailer { line: 4, commit: commit() },
                true,
            ),
        ] {
            run.commits.insert(commit(), state);
            let check = run.check();
            assert_eq!((check.findings.as_slice(), check.holds()), (&[finding][..], holds));
            assert_eq!(check.held, 1);
        }
    }

    #[test]
    fn a_commit_does_not_hold_the_line_that_names_it() {
        let mut run = run();
        let line = run.lines().remove(4);
        let held = Digest::of(line.as_bytes());
        run.commits.insert(SECOND.to_owned(), message(&run.id, held.as_str()));
        let found = run.check().findings;
        assert_eq!(found, [Finding::Rewritten { line: 4, commit: SECOND.into() }]);
    }

    #[test]
    fn a_journal_that_is_empty_or_begins_otherwise_is_no_record() {
        let run = run();
        let rest = run.lines()[1..].join("\n") + "\n";
        assert!(run.check_bytes("").contains(&Finding::NotBegun));
        assert!(run.check_bytes(rest).contains(&Finding::NotBegun));
    }

    #[test]
    fn what_no_event_names_is_noted() {
        let run = run();
        std::fs::write(run.dir.path().join("blobs/.x.tmp"), "half").unwrap();
        let check = run.check();
        assert_eq!(check.findings, [Finding::Stray { name: ".x.tmp".into() }]);
        assert!(check.holds());
    }

    #[test]
    fn a_name_that_leads_elsewhere_names_no_blob() {
        let run = run();
        std::fs::write(run.dir.path().join("outside"), "{}").unwrap();
        let text = run.lines().join("\n") + "\n";
        let found = run.check_bytes(text.replacen(Digest::of(b"{}").as_str(), "../outside", 1));
        assert!(matches!(found[0], Finding::BlobMissing { line: 1, .. }), "{found:?}");
    }

    #[test]
    fn a_trailer_stands_in_the_last_paragraph() {
        let check = |message: &str, expected| {
            assert_eq!(trailer(message, TRAILER), expected, "{message}");
        };
        check("Turn\n\nFactory-Run: r\nFactory-Journal: abc\n", Some("abc"));
        check("Turn\n\nFactory-Journal: abc\n\nmore\n", None);
        check("Turn\n\nFactory-Journals: abc\n", None);
        check("", None);
    }

    #[test]
    fn every_byte_changed_before_the_last_line_is_found() {
        let run = run();
        let bytes = run.bytes();
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for at in 0..last {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let record = Record::of(&run.id, &changed);
            assert!(record.findings.iter().any(Finding::is_failure), "byte {at}");
        }
    }

    static HONEST: LazyLock<Vec<u8>> = LazyLock::new(|| run().bytes());

    proptest! {
        #[test]
        fn any_byte_put_anywhere_before_the_last_line_is_found(at: usize, byte: u8) {
            let mut bytes = HONEST.clone();
            let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
            let at = at % (last + 1);
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let record = Record::of(&RunId::parse("r").unwrap(), &bytes);
            prop_assert!(record.findings.iter().any(Finding::is_failure), "byte {at}");
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_checked(bytes: Vec<u8>) {
            let record = Record::of(&RunId::parse("r").unwrap(), &bytes);
            prop_assert!(!record.check(&BTreeMap::new(), &[]).holds());
        }
    }
}
