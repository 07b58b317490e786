//! The journal: events appended one line at a time, blobs beside them, both read back.
//!
//! An event is written and synced before what follows from it. A line that a crash cut short was
//! never acted upon; it is dropped when the run is opened again.

mod dir_store;
mod file;
mod runs;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::event::{BlobRef, Envelope, Label, LineError, RunEvent};
use crate::id::{Digest, NodeId, RunId};
use crate::text::Redaction;

pub use dir_store::DirStore;
pub use file::{make_private_dir, write_durably, write_durably_private, write_durably_with};
pub use runs::{RunsDir, blob_path, read_blob, read_summary};
pub use verify::{Check, Commit, Finding, Record};

/// Where a run's state is kept. The one implementation is a directory; another may keep it in a
/// git ref or an artifact, so that a run can go on elsewhere.
pub trait RunStore: Send {
    /// Appends a line, and returns once it is on the disk if `sync` is set.
    ///
    /// # Errors
    /// The store could not take it.
    fn append(&mut self, line: &str, sync: bool) -> Result<(), StoreError>;
    /// Returns the complete lines, oldest first, and drops one that was cut short.
    ///
    /// # Errors
    /// The store could not be read.
    fn lines(&mut self) -> Result<Vec<String>, StoreError>;
    /// Keeps bytes under their digest; keeping the same bytes twice is no error.
    ///
    /// # Errors
    /// The store could not take them.
    fn put(&self, label: Label, bytes: &[u8]) -> Result<BlobRef, StoreError>;
    /// Returns the bytes of a blob.
    ///
    /// # Errors
    /// It is missing, or its bytes are not those that were kept.
    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError>;
}

/// What can go wrong with a run's state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("{doing} {} failed", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A blob's bytes are not those that were written.
    #[error("the blob {} is damaged; its digest is {found}", path.display())]
    Damaged {
        /// The blob's file.
        path: PathBuf,
        /// The digest of what is there.
        found: Digest,
    },
    /// A line that is no event.
    #[error("{}:{line}: {source}", path.display())]
    Line {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: LineError,
    },
    /// A line that does not follow the one before.
    #[error("{}:{line}: the line does not follow the one before; the journal was changed by hand", path.display())]
    Chain {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// There is no run of this id.
    #[error("there is no run {run} under {}; `factory runs` lists them", path.display())]
    NoRun {
        /// The id, as asked for.
        run: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no run at all.
    #[error("there is no run under {} yet; `iterate` begins one", path.display())]
    NoRuns {
        /// Where they would be.
        path: PathBuf,
    },
    /// A journal without its first event.
    #[error("the journal {} does not begin with `run.started`; `factory discard` removes it", path.display())]
    NotBegun {
        /// The journal.
        path: PathBuf,
    },
    /// A number that JSON can't hold.
    #[error("an event can't be written")]
    Json(#[from] serde_json::Error),
}

impl StoreError {
    /// Returns whether what was asked for makes no sense, rather than the store being broken.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::NoRun { .. } | Self::NoRuns { .. })
    }
}

/// Appends the events of one run.
pub struct Journal {
    store: Box<dyn RunStore>,
    clock: Arc<dyn Clock>,
    redaction: Redaction,
    run: RunId,
    seq: u64,
    prev: Option<Digest>,
}

impl Journal {
    /// Begins the journal of a new run in an empty store.
    pub fn begin(
        store: Box<dyn RunStore>,
        run: RunId,
        clock: Arc<dyn Clock>,
        redaction: Redaction,
    ) -> Self {
        Self { store, clock, redaction, run, seq: 0, prev: None }
    }

    /// Opens the journal of a run and returns its events, oldest first.
    ///
    /// # Errors
    /// A line is no event or does not follow the one before it, or the store can't be read.
    pub fn open(
        mut store: Box<dyn RunStore>,
        path: &Path,
        run: RunId,
        clock: Arc<dyn Clock>,
        redaction: Redaction,
    ) -> Result<(Self, Vec<Envelope>), StoreError> {
        let lines = store.lines()?;
        let events = read_chain(lines.iter().map(String::as_str), path)?;
        let prev = lines.last().map(|line| Digest::of(line.as_bytes()));
        let seq = events.last().map_or(0, |last| last.seq);
        Ok((Self { store, clock, redaction, run, seq, prev }, events))
    }

    /// Returns the digest of the last line, without its line feed: what the next line will hold as
    /// the one before; none before the first.
    pub fn head(&self) -> Option<&Digest> {
        self.prev.as_ref()
    }

    /// Takes the secrets that are kept out from here on.
    #[must_use]
    pub fn with_redaction(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    /// From now on keeps out these values too.
    pub fn learn_secrets(&mut self, values: Vec<String>) {
        self.redaction.learn(values);
    }

    /// Appends an event and returns it in its envelope, once it is on the disk; events that only
    /// say that something began are not waited for, since nothing follows from them.
    ///
    /// # Errors
    /// The store could not take it.
    pub fn append(
        &mut self,
        node: Option<&NodeId>,
        iteration: Option<u32>,
        event: RunEvent,
    ) -> Result<Envelope, StoreError> {
        let sync =
            !matches!(event, RunEvent::GateStarted { .. } | RunEvent::ScenarioStarted { .. });
        let envelope = Envelope {
            seq: self.seq + 1,
            time: self.clock.now(),
            run: self.run.clone(),
            node: node.cloned(),
            iteration,
            event,
            prev: self.prev.clone(),
        };
        let line = envelope.to_line()?;
        self.store.append(&line, sync)?;
        self.seq += 1;
        self.prev = Some(Digest::of(line.as_bytes()));
        Ok(envelope)
    }

    /// Keeps `bytes` as a blob, secrets taken out first.
    ///
    /// # Errors
    /// The store could not take them.
    pub fn put(&self, label: Label, bytes: Vec<u8>) -> Result<BlobRef, StoreError> {
        self.store.put(label, &self.redaction.apply(bytes))
    }

    /// Returns a text without the secrets.
    pub fn without_secrets(&self, text: &str) -> String {
        self.redaction.apply_to(text)
    }

    /// Keeps a value as a blob of JSON, secrets taken out of its texts first: in JSON as it is written, what
    /// is replaced could be a part of its own signs.
    ///
    /// # Errors
    /// The store could not take it.
    pub fn put_json<T: serde::Serialize>(
        &self,
        label: Label,
        value: &T,
    ) -> Result<BlobRef, StoreError> {
        if self.redaction.is_empty() {
            return self.store.put(label, &serde_json::to_vec(value)?);
        }
        let mut value = serde_json::to_value(value)?;
        self.redact(&mut value);
        self.store.put(label, &serde_json::to_vec(&value)?)
    }

    /// Takes the secrets out of the texts of a value.
    fn redact(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            _ if self.redaction.is_empty() => {}
            Value::String(text) => *text = self.redaction.apply_to(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.redact(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns the bytes of a blob.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
        self.store.get(blob)
    }
}

/// Reads lines as events and holds each against the one before it.
fn read_chain<'a>(
    lines: impl Iterator<Item = &'a str>,
    path: &std::path::Path,
) -> Result<Vec<Envelope>, StoreError> {
    let mut prev = None;
    let mut events = Vec::new();
    for (i, line) in lines.enumerate() {
        let number = i + 1;
        let event = Envelope::from_line(line).map_err(|source| StoreError::Line {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        if event.prev != prev || event.seq != number as u64 {
            return Err(StoreError::Chain { path: path.to_owned(), line: number });
        }
        prev = Some(Digest::of(line.as_bytes()));
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SteppingClock, Timestamp};

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SteppingClock::starting_at(Timestamp::from_unix_millis(0)))
    }

    fn open(dir: &std::path::Path) -> Result<(Journal, Vec<Envelope>), StoreError> {
        let store = Box::new(DirStore::open(dir).unwrap());
        let run = RunId::parse("r").unwrap();
        Journal::open(store, &dir.join("events.jsonl"), run, clock(), Redaction::default())
    }

    fn write_three(dir: &std::path::Path) {
        let (mut journal, _) = open(dir).unwrap();
        for gate in 0..3 {
            journal.append(None, None, RunEvent::GateStarted { gate }).unwrap();
        }
    }

    #[test]
    fn what_was_appended_is_read_back_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        write_three(dir.path());
        let (mut journal, events) = open(dir.path()).unwrap();
        assert_eq!(events.len(), 3);
        let next = journal.append(None, None, RunEvent::GateStarted { gate: 3 }).unwrap();
        assert_eq!(next.seq, 4);
        assert_eq!(open(dir.path()).unwrap().1.len(), 4);
    }

    #[test]
    fn a_line_that_was_cut_short_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        write_three(dir.path());
        let path = dir.path().join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        for keep in [text.len() - 1, text.len() - 20] {
            std::fs::write(&path, &text[..keep]).unwrap();
            assert_eq!(open(dir.path()).unwrap().1.len(), 2);
            assert!(std::fs::read_to_string(&path).unwrap().ends_with('\n'));
        }
    }

    #[test]
    fn a_line_that_was_changed_is_found() {
        let dir = tempfile::tempdir().unwrap();
        write_three(dir.path());
        let path = dir.path().join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"gate\":1", "\"gate\":7", 1)).unwrap();
        let error = open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("events.jsonl:3: the line does not follow"), "{error}");
    }

    #[test]
    fn a_damaged_blob_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path()).unwrap();
        let blob = journal.put(Label::Internal, b"text".to_vec()).unwrap();
        assert_eq!(journal.get(&blob).unwrap(), b"text");
        std::fs::write(dir.path().join("blobs").join(blob.digest.as_str()), "other").unwrap();
        assert!(matches!(journal.get(&blob), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_secret_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Box::new(DirStore::open(dir.path()).unwrap());
        let redaction = Redaction::new(["sk-12345678".to_owned()]);
        let journal = Journal::begin(store, RunId::parse("r").unwrap(), clock(), redaction);
        let blob = journal.put(Label::Internal, b"key sk-12345678.".to_vec()).unwrap();
        assert_eq!(journal.get(&blob).unwrap(), b"key [redacted].");
    }

    #[test]
    fn json_without_a_secret_is_json() {
        let dir = tempfile::tempdir().unwrap();
        let store = Box::new(DirStore::open(dir.path()).unwrap());
        let redaction = Redaction::new(["says-it\"".to_owned()]);
        let journal = Journal::begin(store, RunId::parse("r").unwrap(), clock(), redaction);
        let value = serde_json::json!({"a": ["it says-it", "it says-it\""], "n": 1.5});
        let blob = journal.put_json(Label::Internal, &value).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&journal.get(&blob).unwrap()).unwrap();
        assert_eq!(kept, serde_json::json!({"a": ["it says-it", "it [redacted]"], "n": 1.5}));
    }
}
